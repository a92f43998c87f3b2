//! A text between quotes, as JSON and Python write it.

use super::escapes::{is_printable, python_escape};
use super::{Form, HexDigits, written};
use crate::json_escape::unicode_escape;

/// How a language writes a text between quotes.
#[derive(Clone, Copy)]
enum Quoting {
    Json(JsonStyle),
    /// Python's `repr(text)`.
    Python(PythonQuote),
    /// Python's `ascii(text)`.
    PythonAscii(PythonQuote),
    /// Python's `repr(text.encode())`.
    PythonBytes,
}

/// Python's ways to write `'`.
#[derive(Clone, Copy, PartialEq)]
enum PythonQuote {
    /// With a backslash if the text also has `"`: Python prefers the other kind of quotes.
    AsNeeded,
    /// With a backslash: the text is a part of one that has both.
    Escaped,
}

/// How a program writes JSON.
#[derive(Clone, Copy)]
struct JsonStyle {
    beyond_ascii: JsonBeyondAscii,
    /// Characters that are written as `\uXXXX`, so that HTML may hold the JSON.
    hidden: &'static str,
    /// The characters that get a backslash.
    backslashed: &'static str,
    digits: HexDigits,
}

#[derive(Clone, Copy, PartialEq)]
enum JsonBeyondAscii {
    AsIs,
    Escaped,
}

/// Most languages, and Python with `ensure_ascii=False`.
const PLAIN: JsonStyle =
    JsonStyle { beyond_ascii: JsonBeyondAscii::AsIs, hidden: "", backslashed: "\"\\", digits: HexDigits::Lower };

/// Python.
const ASCII: JsonStyle = JsonStyle { beyond_ascii: JsonBeyondAscii::Escaped, ..PLAIN };

/// PHP.
const SLASHES: JsonStyle = JsonStyle { backslashed: "\"\\/", ..ASCII };

/// Other programs.
const OTHERS: [JsonStyle; 8] = [
    SLASHES,
    JsonStyle { beyond_ascii: JsonBeyondAscii::AsIs, ..SLASHES },
    JsonStyle { digits: HexDigits::Upper, ..ASCII },
    // Go and Rails; Jinja; Gson.
    JsonStyle { hidden: "<>&\u{2028}\u{2029}", ..PLAIN },
    JsonStyle { hidden: "<>&'", ..ASCII },
    JsonStyle { hidden: "<>&='", ..PLAIN },
    // .NET; PHP with its JSON_HEX flags.
    JsonStyle { hidden: "<>&'+`\"", digits: HexDigits::Upper, ..ASCII },
    JsonStyle { hidden: "<>&'\"", digits: HexDigits::Upper, ..SLASHES },
];

/// Returns the text as JSON and Python usually write it.
pub(super) fn quoted(text: &[u8]) -> Vec<Form> {
    let mut all = vec![escaped(text.iter().map(|&byte| char::from(byte)), text.len(), Quoting::PythonBytes)];
    if let Ok(text) = std::str::from_utf8(text) {
        let kinds = [Quoting::Json(PLAIN), Quoting::Json(ASCII), Quoting::Python(PythonQuote::AsNeeded)];
        all.extend(kinds.map(|quoting| escaped(text.chars(), text.len(), quoting)));
    }
    all
}

/// Returns the text as other programs write JSON.
pub(super) fn quoted_otherwise(text: &str) -> Vec<Form> {
    let json = OTHERS.iter().map(|json| Quoting::Json(*json));
    let ascii = [PythonQuote::AsNeeded, PythonQuote::Escaped].map(Quoting::PythonAscii);
    json.chain([Quoting::Python(PythonQuote::Escaped)])
        .chain(ascii)
        .map(|quoting| escaped(text.chars(), text.len(), quoting))
        .collect()
}

/// Returns the text as JSON in JSON, and as a log quotes JSON.
pub(super) fn quoted_twice(text: &str) -> Vec<Form> {
    let [plain, ascii, slashes] = [PLAIN, ASCII, SLASHES].map(Quoting::Json);
    let [python, escaping] = [PythonQuote::AsNeeded, PythonQuote::Escaped].map(Quoting::Python);
    let mut forms = Vec::new();
    for inner in [plain, ascii, slashes, python, Quoting::PythonAscii(PythonQuote::AsNeeded)] {
        let once = escaped(text.chars(), text.len(), inner);
        let Ok(once) = std::str::from_utf8(&once) else { continue };
        let outer = [plain, ascii, slashes, python, escaping];
        forms.extend(outer.map(|outer| escaped(once.chars(), once.len(), outer)));
    }
    forms
}

fn escaped(text: impl Iterator<Item = char> + Clone, bytes: usize, quoting: Quoting) -> Form {
    let json = match quoting {
        Quoting::Json(json) => Some(json),
        Quoting::Python(_) | Quoting::PythonAscii(_) | Quoting::PythonBytes => None,
    };
    let is_escaped =
        matches!(quoting, Quoting::Python(PythonQuote::Escaped) | Quoting::PythonAscii(PythonQuote::Escaped))
            || text.clone().any(|it| it == '"');
    let backslashed = json.map_or(if is_escaped { "'\\" } else { "\\" }, |json| json.backslashed);
    let hidden = json.map_or("", |json| json.hidden);
    // A byte becomes six at most.
    written(text.clone(), 6 * bytes, |character, form| match character {
        '\n' => form.extend(b"\\n"),
        '\r' => form.extend(b"\\r"),
        '\t' => form.extend(b"\\t"),
        '\x08' if json.is_some() => form.extend(b"\\b"),
        '\x0c' if json.is_some() => form.extend(b"\\f"),
        _ if backslashed.contains(character) && !hidden.contains(character) => {
            form.extend([b'\\', character as u8]);
        }
        _ => {
            let code = u32::from(character);
            let is_hidden = hidden.contains(character)
                || match (json.map(|json| json.beyond_ascii), quoting) {
                    (Some(JsonBeyondAscii::Escaped), _) | (_, Quoting::PythonBytes | Quoting::PythonAscii(_)) => {
                        !(0x20..0x7f).contains(&code)
                    }
                    (Some(JsonBeyondAscii::AsIs), _) => code < 0x20,
                    (None, _) => !is_printable(character),
                };
            match (is_hidden, json) {
                (false, _) => form.extend(character.encode_utf8(&mut [0; 4]).bytes()),
                (true, Some(json)) => {
                    let escape = unicode_escape(character);
                    let is_upper = json.digits == HexDigits::Upper;
                    let upper = |byte: u8| if is_upper && byte != b'u' { byte.to_ascii_uppercase() } else { byte };
                    form.extend(escape.bytes().map(upper));
                }
                (true, None) => form.extend(python_escape(character, HexDigits::Lower).bytes()),
            }
        }
    })
}
