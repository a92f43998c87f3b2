//! Signs that a value was pasted wrong. The value is stored as it is, and one line names the signs without the value.

use super::ui::Ui;
use flyte_local::secret::SecretName;

/// Says what is odd about a value that was stored, or will be.
pub(crate) fn tell(ui: &Ui, name: &SecretName, value: &[u8]) {
    tell_change(ui, name, b"", value);
}

/// Says what is odd about a value that was edited, and was not odd about it before.
pub(crate) fn tell_change(ui: &Ui, name: &SecretName, before: &[u8], value: &[u8]) {
    let known = signs(before);
    let signs: Vec<_> = signs(value).into_iter().filter(|sign| !known.contains(sign)).collect();
    if let Some((last, others)) = signs.split_last() {
        let signs = if others.is_empty() { (*last).to_owned() } else { format!("{} and {last}", others.join(", ")) };
        ui.say(&format!("flyte-local: the value of {name} has {signs}; it is stored as it is"));
    }
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Returns what looks as if it did not belong to a value.
fn signs(value: &[u8]) -> Vec<&'static str> {
    let Ok(text) = std::str::from_utf8(value) else {
        let is_utf16 = value.starts_with(b"\xff\xfe") || value.starts_with(b"\xfe\xff");
        return if is_utf16 { vec!["a byte order mark of UTF-16 at its beginning"] } else { Vec::new() };
    };
    let mut signs = Vec::new();
    if text.starts_with(BYTE_ORDER_MARK) {
        signs.push("a byte order mark at its beginning");
    }
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if text.starts_with(is_space) {
        signs.push("white space at its beginning");
    }
    // A text of several lines usually ends with a line end.
    let one_less = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text);
    let body = if one_less.contains('\n') { one_less } else { text };
    if body.ends_with('\r') {
        signs.push("a carriage return at its end");
    } else if body.ends_with(is_space) {
        signs.push("white space at its end");
    }
    if text.contains(is_no_break_space) {
        signs.push("a no-break space");
    }
    if text.contains('\u{200b}') {
        signs.push("a zero-width space");
    }
    if is_quoted(text.trim_matches(|c| is_space(c) || is_no_break_space(c))) {
        signs.push("quotes around it");
    }
    signs
}

fn is_space(c: char) -> bool {
    c.is_whitespace() && !is_no_break_space(c)
}

fn is_no_break_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{202f}' | '\u{2007}')
}

fn is_quoted(text: &str) -> bool {
    const QUOTES: [(char, char); 5] =
        [('"', '"'), ('\'', '\''), ('`', '`'), ('\u{201c}', '\u{201d}'), ('\u{2018}', '\u{2019}')];
    let is_between = |(open, close): (char, char)| text.strip_prefix(open).is_some_and(|rest| rest.ends_with(close));
    QUOTES.into_iter().any(is_between)
}
