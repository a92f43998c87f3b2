//! Forms of a value in output, other than base64: the strings in a JSON value, and a text between quotes.

use serde_json::Value;
use zeroize::Zeroizing;

use super::MIN_BYTES;
use crate::json_escape::unicode_escape;

/// Returns the strings in a value that is a JSON object or array, such as a service account's key: a program that parses it
/// prints them bare. Leaves out the names of members, and strings so short that they occur in other data.
///
/// Accepts the JSON that serde_json accepts: nested at most 128 deep, with finite numbers.
pub(super) fn json_strings(value: &[u8]) -> Vec<Zeroizing<String>> {
    let mut strings = Vec::new();
    if matches!(value.trim_ascii_start().first(), Some(b'{' | b'[')) {
        // The parser's own copies are not wiped: it does not offer that.
        collect(serde_json::from_slice(value).unwrap_or_default(), &mut strings);
    }
    strings
}

fn collect(value: Value, strings: &mut Vec<Zeroizing<String>>) {
    match value {
        Value::String(text) => {
            let text = Zeroizing::new(text);
            if text.len() >= MIN_BYTES {
                strings.push(text);
            }
        }
        Value::Array(values) => values.into_iter().for_each(|value| collect(value, strings)),
        Value::Object(members) => members.into_iter().for_each(|(_, value)| collect(value, strings)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Ways to write a text between quotes.
#[derive(Clone, Copy, PartialEq)]
enum Quoting {
    /// `json.dumps(text, ensure_ascii=False)`, as most other languages do.
    Json,
    /// `json.dumps(text)`.
    JsonAscii,
    /// `repr(text)`, but for the rare characters that Python does not find printable.
    Python,
    /// `repr(text.encode())`.
    PythonBytes,
}

/// Returns the text as JSON and Python write it between quotes.
pub(super) fn quoted(text: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![escaped(text.iter().map(|&byte| char::from(byte)), text.len(), Quoting::PythonBytes)];
    if let Ok(text) = std::str::from_utf8(text) {
        let kinds = [Quoting::Json, Quoting::JsonAscii, Quoting::Python];
        all.extend(kinds.map(|quoting| escaped(text.chars(), text.len(), quoting)));
    }
    all
}

fn escaped(text: impl Iterator<Item = char> + Clone, bytes: usize, quoting: Quoting) -> Vec<u8> {
    let is_json = matches!(quoting, Quoting::Json | Quoting::JsonAscii);
    // Python prefers the other kind of quotes to escaping.
    let has = |quote| text.clone().any(|character| character == quote);
    let quote = if is_json { '"' } else { '\'' };
    let quote_is_escaped = is_json || has('"');
    // Allocated once: a byte becomes six at most.
    let mut shown = Zeroizing::new(Vec::with_capacity(6 * bytes));
    for character in text {
        match character {
            '\\' => shown.extend(b"\\\\"),
            '\n' => shown.extend(b"\\n"),
            '\r' => shown.extend(b"\\r"),
            '\t' => shown.extend(b"\\t"),
            '\x08' if is_json => shown.extend(b"\\b"),
            '\x0c' if is_json => shown.extend(b"\\f"),
            _ if character == quote && quote_is_escaped => shown.extend([b'\\', character as u8]),
            _ => {
                let code = u32::from(character);
                let is_hidden = match quoting {
                    Quoting::Json => code < 0x20,
                    Quoting::JsonAscii | Quoting::PythonBytes => !(0x20..0x7f).contains(&code),
                    Quoting::Python => code < 0x20 || code == 0x7f,
                };
                match (is_hidden, is_json) {
                    (false, _) => shown.extend(character.encode_utf8(&mut [0; 4]).bytes()),
                    (true, true) => shown.extend(unicode_escape(character).bytes()),
                    (true, false) => shown.extend(format!("\\x{code:02x}").bytes()),
                }
            }
        }
    }
    // Drops the unused capacity.
    shown.to_vec()
}
