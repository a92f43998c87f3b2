//! Escapes of single characters, as Python and YAML write them, and doubled quotes.

use zeroize::Zeroizing;

use super::{Form, HexDigits, written};

/// YAML's escapes with a letter: the character, and the letter.
const YAML: [(char, u8); 15] = [
    ('\0', b'0'),
    ('\x07', b'a'),
    ('\x08', b'b'),
    ('\t', b't'),
    ('\n', b'n'),
    ('\x0b', b'v'),
    ('\x0c', b'f'),
    ('\r', b'r'),
    ('\x1b', b'e'),
    ('"', b'"'),
    ('\\', b'\\'),
    ('\u{85}', b'N'),
    ('\u{a0}', b'_'),
    ('\u{2028}', b'L'),
    ('\u{2029}', b'P'),
];

/// Returns the escape that Python and YAML write for a character.
pub(super) fn python_escape(character: char, digits: HexDigits) -> Zeroizing<String> {
    let code = u32::from(character);
    Zeroizing::new(match (code, digits) {
        (..=0xff, HexDigits::Lower) => format!("\\x{code:02x}"),
        (..=0xff, HexDigits::Upper) => format!("\\x{code:02X}"),
        (..=0xffff, HexDigits::Lower) => format!("\\u{code:04x}"),
        (..=0xffff, HexDigits::Upper) => format!("\\u{code:04X}"),
        (_, HexDigits::Lower) => format!("\\U{code:08x}"),
        (_, HexDigits::Upper) => format!("\\U{code:08X}"),
    })
}

/// Returns true for what Python's `str.isprintable` finds printable. Rust's `escape_debug` has the same rule. A letter comes
/// first because a combining character at the start of a text gets an escape there.
pub(super) fn is_printable(character: char) -> bool {
    let mut text = [b'a'; 5];
    let length = 1 + character.encode_utf8(&mut text[1..]).len();
    let text = std::str::from_utf8(&text[..length]).expect("a letter and a character");
    text.escape_debug().nth(2) != Some('u') && character != '\0'
}

/// Returns the text as Python's `backslashreplace` writes it in ASCII, as on standard error, and in Latin-1; as YAML's double
/// quotes hold it; and with doubled quotes, as YAML's single quotes, CSV, SQL and PowerShell have them.
pub(super) fn escaped(text: &str) -> Vec<Form> {
    let replaced = |from: char| {
        written(text.chars(), 4 * text.len(), move |character, form| {
            if character < from {
                form.extend(character.encode_utf8(&mut [0; 4]).bytes());
            } else {
                form.extend(python_escape(character, HexDigits::Lower).bytes());
            }
        })
    };
    let doubled = |quote: char| {
        written(text.chars(), 2 * text.len(), move |character, form| {
            let times = if character == quote { 2 } else { 1 };
            (0..times).for_each(|_| form.extend(character.encode_utf8(&mut [0; 4]).bytes()));
        })
    };
    vec![
        replaced('\u{80}'),
        replaced('\u{100}'),
        yaml(text, '~'),
        // PyYAML with `allow_unicode`; libyaml and others.
        yaml(text, '\u{fffd}'),
        yaml(text, char::MAX),
        doubled('\''),
        doubled('"'),
    ]
}

/// The inside of YAML's double quotes. Characters beyond ASCII up to `last` are left as they are.
fn yaml(text: &str, last: char) -> Form {
    let is_left = |character| match character {
        '"' | '\\' | '\u{2028}' | '\u{2029}' | '\u{feff}' => false,
        ' '..='~' => true,
        _ => ('\u{a0}'..=last).contains(&character),
    };
    written(text.chars(), 6 * text.len(), |character, form| {
        if is_left(character) {
            form.extend(character.encode_utf8(&mut [0; 4]).bytes());
        } else if let Some((_, letter)) = YAML.iter().find(|(escaped, _)| *escaped == character) {
            form.extend([b'\\', *letter]);
        } else {
            form.extend(python_escape(character, HexDigits::Upper).bytes());
        }
    })
}
