//! The columns and the cells of a table.

use jiff::Timestamp;

use crate::cli::ui::Color;

/// A column's name, and whether a terminal that is too narrow can do without it.
pub(crate) struct Column {
    pub(super) name: &'static str,
    pub(super) is_spare: bool,
}

impl Column {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, is_spare: false }
    }

    /// A column that a narrow terminal does not show.
    pub(crate) const fn spare(name: &'static str) -> Self {
        Self { name, is_spare: true }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Rows below the names of their columns.
    Headed,
    /// Rows alone.
    Bare,
    /// Rows below the names of their columns, or, where a terminal is too narrow for that, a line for each cell.
    Stacked,
}

/// The text of a cell, and a shorter one for a terminal that is too narrow.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(super) text: String,
    pub(super) short: Option<String>,
    pub(super) color: Option<Color>,
}

impl Cell {
    pub(crate) fn new(text: impl ToString) -> Self {
        Self { text: text.to_string(), short: None, color: None }
    }

    /// The text, or a dash where there is nothing.
    pub(crate) fn or_dash(text: Option<impl ToString>) -> Self {
        text.map_or_else(|| Self::new("-"), Self::new)
    }

    /// A time to the second; in short, to the minute.
    pub(crate) fn time(time: Timestamp) -> Self {
        let seconds = format!("{time:.0}");
        let minutes = seconds.rsplit_once(':').map(|(minutes, _)| format!("{minutes}Z"));
        Self { short: minutes, ..Self::new(seconds) }
    }

    /// Text that may name public keys, which are shortened where they are too wide.
    pub(crate) fn with_keys(text: impl ToString) -> Self {
        let text = Self::new(text);
        let words: Vec<_> = text.text.split(' ').map(shortened_key).collect();
        Self { short: Some(words.join(" ")), ..text }
    }

    #[must_use]
    pub(crate) fn short(self, short: impl ToString) -> Self {
        Self { short: Some(short.to_string()), ..self }
    }

    #[must_use]
    pub(crate) fn color(self, color: Color) -> Self {
        Self { color: Some(color), ..self }
    }
}

/// Shortens a word that is a public key to its beginning and its end. The 20 characters that are left of an age key are 100 bits,
/// so an attacker cannot make a key that looks the same.
fn shortened_key(word: &str) -> String {
    const KEPT: usize = 10;
    let kinds = [("age1", 50), ("flyteauthor1", 60), ("AAAA", 60)];
    let kind = kinds.iter().find(|(start, least)| word.starts_with(start) && word.len() >= *least && word.is_ascii());
    // The beginning of an OpenSSH key is its kind, and the same in all.
    let head = kind.map(|(start, _)| if *start == "AAAA" { 4 } else { start.len() + KEPT });
    head.map_or_else(|| word.to_owned(), |head| format!("{}…{}", &word[..head], &word[word.len() - KEPT..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shortened_and_other_words_are_not() {
        let key = "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq";
        let author = format!("flyteauthor1{}", &key[4..]);
        let ssh = format!("AAAAC3NzaC1lZDI1NTE5AAAAI{}", &key[4..]);
        for (text, short) in [
            (format!("\"alice\" {key} (yours)"), "\"alice\" age1qyqszqgpqy…qyqs3290gq (yours)"),
            (author, "flyteauthor1qyqszqgpqy…qyqs3290gq"),
            (format!("ssh-ed25519 {ssh}"), "ssh-ed25519 AAAA…qyqs3290gq"),
            ("age1 AAAA of a file".to_owned(), "age1 AAAA of a file"),
        ] {
            let cell = Cell::with_keys(&text);
            assert_eq!((cell.text, cell.short.as_deref()), (text, Some(short)));
        }
    }
}
