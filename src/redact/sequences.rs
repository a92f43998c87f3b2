//! Escape sequences of terminals: colours, links, titles (ECMA-48, and the strings of xterm).
//!
//! Only those that begin with ESC. The one-byte forms of ISO 8859 (0x9b for `ESC [`) are bytes of UTF-8 text.

/// The byte that begins a sequence.
pub(super) const ESC: u8 = 0x1b;

/// The most bytes of sequences between two bytes of text. After more, they count as text.
const MAX_BETWEEN: usize = 4096;

/// Tells the bytes of sequences from text, byte by byte.
#[derive(Clone, Default)]
pub(super) struct SequenceReader {
    /// `None` in text.
    part: Option<Part>,
    /// The number of bytes since the last byte of text.
    length: usize,
}

/// The part of a sequence that comes next.
#[derive(Clone, Copy)]
enum Part {
    /// The byte after ESC.
    Second,
    /// More bytes from 0x20 to 0x2f, or the last byte, as in `ESC ( B`.
    Final,
    /// Parameters, or the last byte, as in `ESC [ 1 m` (CSI).
    Parameters,
    /// Any bytes up to BEL or another sequence (OSC); `ESC \` is one.
    Command,
    /// Any bytes up to another sequence (DCS, SOS, PM, APC).
    Text,
}

/// The role of a byte.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Role {
    Text,
    /// The first byte of a sequence.
    First,
    Inside,
    Last,
    /// The sequences since the last byte of text are too long.
    TooLong,
}

impl SequenceReader {
    /// Returns true inside a sequence.
    pub(super) fn is_inside(&self) -> bool {
        self.part.is_some()
    }

    /// Takes the next byte.
    pub(super) fn role(&mut self, byte: u8) -> Role {
        let (next, role) = match (self.part, byte) {
            (Some(Part::Command | Part::Text), ESC) => (Some(Part::Second), Role::Inside),
            (_, ESC) => (Some(Part::Second), Role::First),
            (Some(Part::Second), b'[') => (Some(Part::Parameters), Role::Inside),
            (Some(Part::Second), b']') => (Some(Part::Command), Role::Inside),
            (Some(Part::Second), b'P' | b'X' | b'^' | b'_') => (Some(Part::Text), Role::Inside),
            (Some(Part::Second | Part::Final), 0x20..=0x2f) => (Some(Part::Final), Role::Inside),
            (Some(Part::Second | Part::Final), 0x30..=0x7e) => (None, Role::Last),
            (Some(Part::Parameters), 0x20..=0x3f) => (self.part, Role::Inside),
            (Some(Part::Parameters), 0x40..=0x7e) => (None, Role::Last),
            (Some(Part::Command), 0x07) => (None, Role::Last),
            (Some(Part::Command | Part::Text), _) => (self.part, Role::Inside),
            (None | Some(Part::Second | Part::Final | Part::Parameters), _) => (None, Role::Text),
        };
        self.part = next;
        self.length = if role == Role::Text { 0 } else { self.length + 1 };
        if self.length <= MAX_BETWEEN {
            return role;
        }
        *self = Self::default();
        Role::TooLong
    }
}

/// Returns the bytes outside of sequences.
pub(super) fn without_sequences(bytes: &[u8]) -> Vec<u8> {
    let mut reader = SequenceReader::default();
    // Allocated once: a vector that grows leaves copies of a value behind.
    let mut text = Vec::with_capacity(bytes.len());
    text.extend(bytes.iter().filter(|byte| matches!(reader.role(**byte), Role::Text | Role::TooLong)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &str) -> String {
        String::from_utf8(without_sequences(bytes.as_bytes())).expect("UTF-8")
    }

    #[test]
    fn sequences_of_every_kind_are_told_from_text() {
        for sequence in
            ["\x1b[m", "\x1b[38;5;1m", "\x1b[?25h", "\x1b[1 q", "\x1b(B", "\x1b7", "\x1bc", "\x1b=", "\x1b\\"]
        {
            assert_eq!(text(&format!("a{sequence}b")), "ab", "{sequence:?}");
        }
        for sequence in [
            "\x1b]0;title\x07",
            "\x1b]8;;http://é\x1b\\",
            "\x1bPq#0\n\x07\x1b\\",
            "\x1bXa\x1b\\",
            "\x1b^a\x1b\\",
            "\x1b_Ga\x1b\\",
        ] {
            assert_eq!(text(&format!("a{sequence}b")), "ab", "{sequence:?}");
        }
    }

    #[test]
    fn a_sequence_that_is_cut_off_ends_where_it_cannot_go_on() {
        assert_eq!(text("a\x1b[31\nb"), "a\nb");
        assert_eq!(text("a\x1béb"), "aéb");
        assert_eq!(text("a\x1b\x1b[\x1b[1mb"), "ab");
        assert_eq!(text("a\x1b]0;title\x1b[1mb"), "ab");
    }

    #[test]
    fn a_sequence_without_an_end_becomes_text() {
        let long = "x".repeat(2 * MAX_BETWEEN);
        assert_eq!(text(&format!("a\x1b]{long}")).len(), 1 + 2 + long.len() - MAX_BETWEEN);
    }
}
