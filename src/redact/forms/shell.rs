//! Shell quoting.

use super::{Form, written};
use crate::redact::MIN_BYTES;

/// The characters that bash's `printf %q` puts a backslash before, wherever they are.
const BACKSLASHED: &[u8] = b" \t'\"\\|&;()<>!{}*[]?^$`,";

pub(super) fn quoted(text: &[u8]) -> Vec<Form> {
    let mut forms = between_quotes(text);
    // Without its blanks, a text may be short enough to occur by chance.
    forms.extend(Some(split(text)).filter(|form| form.len() >= MIN_BYTES.min(text.len())));
    forms
}

fn between_quotes(text: &[u8]) -> Vec<Form> {
    let replaced = |special: &'static [u8], with: &'static [u8]| {
        written(text.iter(), 5 * text.len(), move |byte, form| {
            form.extend_from_slice(if special.contains(byte) { with } else { std::slice::from_ref(byte) });
        })
    };
    vec![
        // Between single quotes: bash's `set` and `set -x`, and jq's `@sh`; Python's `shlex.quote`; dash's `export -p`.
        replaced(b"'", b"'\\''"),
        replaced(b"'", b"'\"'\"'"),
        double_quoted_quotes(text),
        // Between double quotes: bash's `declare -p` and `export -p`.
        backslashed(text, |_, byte| b"\"\\$`".contains(&byte)),
        // Bare: bash's `printf %q`. Newer versions also mark a `~` inside of a word.
        backslashed(text, |before, byte| BACKSLASHED.contains(&byte) || (before.is_none() && b"#~".contains(&byte))),
        backslashed(text, |before, byte| {
            let starts_word = before.is_none_or(|before| b":=".contains(&before));
            BACKSLASHED.contains(&byte) || (before.is_none() && byte == b'#') || (starts_word && byte == b'~')
        }),
        dollar_quoted(text, ShellBeyondAscii::AsIs),
        dollar_quoted(text, ShellBeyondAscii::Octal),
    ]
}

/// Puts each run of single quotes between double quotes, outside of the single ones.
fn double_quoted_quotes(text: &[u8]) -> Form {
    let is_quote = |at: Option<usize>| at.and_then(|at| text.get(at)) == Some(&b'\'');
    written(text.iter().enumerate(), 5 * text.len(), |(at, &byte), form| {
        if byte == b'\'' && !is_quote(at.checked_sub(1)) {
            form.extend(b"'\"");
        }
        form.push(byte);
        if byte == b'\'' && !is_quote(Some(at + 1)) {
            form.extend(b"\"'");
        }
    })
}

/// Puts a backslash before the bytes that are special, which may depend on the byte before.
fn backslashed(text: &[u8], is_special: impl Fn(Option<u8>, u8) -> bool) -> Form {
    let mut before = None;
    written(text.iter(), 2 * text.len(), |&byte, form| {
        if is_special(before.replace(byte), byte) {
            form.push(b'\\');
        }
        form.push(byte);
    })
}

/// Joins the words of the text with one blank each, as `echo $V` does without quotes.
fn split(text: &[u8]) -> Form {
    let words = text.split(|byte| b" \t\n".contains(byte)).filter(|word| !word.is_empty());
    written(words.enumerate(), text.len(), |(number, word), form| {
        form.extend_from_slice(if number == 0 { b"" } else { b" " });
        form.extend_from_slice(word);
    })
}

/// How bytes beyond ASCII are written: the locale decides.
#[derive(Clone, Copy, PartialEq)]
enum ShellBeyondAscii {
    AsIs,
    Octal,
}

/// The inside of `$'…'`.
fn dollar_quoted(text: &[u8], beyond: ShellBeyondAscii) -> Form {
    // Bytes that are not text are in octal in every locale.
    let is_text = std::str::from_utf8(text).is_ok();
    written(text.iter(), 4 * text.len(), |&byte, form| {
        let escape = match byte {
            b'\\' | b'\'' => byte,
            0x07 => b'a',
            0x08 => b'b',
            0x1b => b'E',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            _ if byte < b' ' || byte == 0x7f || (byte > 0x7f && (beyond == ShellBeyondAscii::Octal || !is_text)) => {
                form.extend(format!("\\{byte:03o}").bytes());
                return;
            }
            _ => {
                form.push(byte);
                return;
            }
        };
        form.extend([b'\\', escape]);
    })
}
