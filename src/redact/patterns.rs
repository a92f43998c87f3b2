//! Patterns for the forms that a value has in output and in files.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::{Zeroize, Zeroizing};

use super::forms::{json_strings, quoted};
use super::sequences::{ESC, without_sequences};
use super::{MAX_OTHER_FORMS, MIN_BYTES};

/// Programs break long lines at any byte, as the SDK's panels do. So each part of a line that is this long is a pattern: on
/// either side of a break, fewer bytes than this stay bare.
const WINDOW: usize = 12;

/// The shortest line that is searched in parts. Parts of shorter ones are more likely to occur in other output by chance.
const MIN_BROKEN: usize = 24;

/// The most parts to search: first those of lines, then those of base64, and shorter values first, so that a file does not
/// crowd out a token. Each takes about a kilobyte of memory and five microseconds.
const MAX_WINDOWS: usize = 1 << 15;

/// Lengths of the lines into which programs break base64: MIME and `base64(1)`, and PEM.
const BASE64_LINES: [usize; 2] = [76, 64];

/// Strings to look for, each once. Wiped when dropped.
#[derive(Default)]
pub(super) struct Patterns(BTreeSet<Vec<u8>>);

impl Patterns {
    /// Makes the patterns for a program's output: each value as it is, as a terminal changes it and as JSON and Python quote it,
    /// its longer lines and their parts, and its base64; and the same for each string in a JSON value.
    pub(super) fn printed<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut patterns = Self::default();
        let mut values: Vec<_> = values.map(|value| (value, strings_in(value))).collect();
        values.sort_by_key(|(value, _)| value.len());
        let mut left = MAX_WINDOWS;
        for (value, strings) in &values {
            patterns.add_shown(value);
            strings.iter().for_each(|text| patterns.add_shown(text.as_bytes()));
            if strings.is_empty() {
                patterns.add_parts(value, &mut left);
            }
            // JSON's own punctuation and names occur in other output too.
            strings.iter().for_each(|text| patterns.add_parts(text.as_bytes(), &mut left));
        }
        for (value, strings) in &values {
            let all = [*value].into_iter().chain(strings.iter().map(|text| text.as_bytes())).map(without_newline);
            for text in all.filter(|text| text.len() <= MAX_OTHER_FORMS) {
                let encoded = Zeroizing::new(STANDARD_NO_PAD.encode(text));
                patterns.add_windows(encoded.as_bytes(), &mut left);
            }
        }
        patterns
    }

    fn add_shown(&mut self, value: &[u8]) {
        let text = without_newline(value);
        if is_blank(text) {
            return;
        }
        self.add(text.to_vec());
        if text.contains(&ESC) {
            let bare = Zeroizing::new(without_sequences(text));
            self.add_shown(&bare);
        }
        // A terminal puts a carriage return before every line feed; other programs only before those that have none.
        self.add(with_carriage_returns(text, LineFeeds::Bare));
        self.add(with_carriage_returns(text, LineFeeds::All));
        for line in lines(text).filter(|line| line.len() >= MIN_BYTES && !is_blank(line)) {
            self.add(line.to_vec());
        }
        self.add_other_forms(value);
    }

    /// Adds the patterns of a value for files: the value as it is, quoted and as base64, if it is too long to occur by chance; and
    /// the same for each string in a JSON value.
    pub(super) fn add_kept(&mut self, value: &[u8]) {
        let strings = strings_in(value);
        for value in [value].into_iter().chain(strings.iter().map(|text| text.as_bytes())) {
            let text = without_newline(value);
            if text.len() >= MIN_BYTES && !is_blank(text) {
                self.add(text.to_vec());
                if text.contains(&ESC) {
                    let bare = Zeroizing::new(without_sequences(text));
                    self.add_kept(&bare);
                }
                self.add_other_forms(value);
            }
        }
    }

    fn add_parts(&mut self, value: &[u8], left: &mut usize) {
        lines(without_newline(value)).for_each(|line| self.add_windows(without_scheme(line), left));
    }

    /// Adds every part of a line that may be broken anywhere, except rulers and blanks, as long as any are `left`.
    fn add_windows(&mut self, line: &[u8], left: &mut usize) {
        if line.len() < MIN_BROKEN {
            return;
        }
        for window in line.windows(WINDOW).take(*left) {
            *left -= 1;
            if !is_blank(window) && window.iter().any(|byte| *byte != window[0]) {
                self.add(window.to_vec());
            }
        }
    }

    fn add_other_forms(&mut self, value: &[u8]) {
        let text = without_newline(value);
        if text.len() > MAX_OTHER_FORMS {
            return;
        }
        quoted(text).into_iter().for_each(|form| self.add(form));
        // Without its padding, a short value's base64 occurs in other output by chance.
        let engines: &[_] = if text.len() < MIN_BYTES {
            &[&STANDARD, &URL_SAFE]
        } else {
            &[&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
        };
        for whole in [value, text] {
            for engine in engines {
                let mut encoded = engine.encode(whole).into_bytes();
                for length in BASE64_LINES {
                    let lines = encoded.chunks(length).filter(|line| line.len() >= MIN_BYTES);
                    lines.for_each(|line| self.add(line.to_vec()));
                }
                self.add(encoded.clone());
                encoded.zeroize();
            }
        }
        if text.len() >= MIN_BYTES {
            for before in 0..3 {
                base64_inside(&STANDARD_NO_PAD, text, before).into_iter().for_each(|pattern| self.add(pattern));
                base64_inside(&URL_SAFE_NO_PAD, text, before).into_iter().for_each(|pattern| self.add(pattern));
            }
        }
    }

    fn add(&mut self, mut pattern: Vec<u8>) {
        if self.0.contains(&pattern) {
            pattern.zeroize();
        } else {
            self.0.insert(pattern);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

impl Drop for Patterns {
    fn drop(&mut self) {
        while let Some(mut pattern) = self.0.pop_first() {
            pattern.zeroize();
        }
    }
}

/// Strips the line feed at the end of a file: it does not belong to the secret, and programs strip or print it at will.
fn without_newline(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
    &value[..end.map_or(0, |last| last + 1)]
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn strings_in(value: &[u8]) -> Vec<Zeroizing<String>> {
    if value.len() <= MAX_OTHER_FORMS { json_strings(value) } else { Vec::new() }
}

/// Strips a scheme such as `postgresql://` from an address, because other addresses begin with it too.
fn without_scheme(line: &[u8]) -> &[u8] {
    let name = line.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
    line[name..].strip_prefix(b"://").unwrap_or(line)
}

/// Returns true for white space: masking it would make every output unreadable.
fn is_blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
}

/// The line feeds before which programs put a carriage return.
#[derive(Clone, Copy, PartialEq)]
enum LineFeeds {
    /// Every one, as a terminal does.
    All,
    /// Those without one.
    Bare,
}

/// Puts a carriage return before line feeds.
fn with_carriage_returns(text: &[u8], before: LineFeeds) -> Vec<u8> {
    // Allocated once: a vector that grows leaves copies of the value behind.
    let mut changed = Vec::with_capacity(2 * text.len());
    for (index, &byte) in text.iter().enumerate() {
        if byte == b'\n' && (before == LineFeeds::All || index == 0 || text[index - 1] != b'\r') {
            changed.push(b'\r');
        }
        changed.push(byte);
    }
    changed
}

/// The base64 of `text` where it stands `before` bytes (modulo 3) into a longer text, as after `user:` in an
/// `Authorization` header: without the characters that depend on its neighbours too, and as it is where none follows.
fn base64_inside(engine: &impl Engine, text: &[u8], before: usize) -> [Vec<u8>; 2] {
    let mut shifted = Vec::with_capacity(before + text.len());
    shifted.resize(before, 0);
    shifted.extend_from_slice(text);
    let mut encoded = engine.encode(&shifted).into_bytes();
    // A character holds 6 bits, a byte 8.
    let (first, end) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
    let inside = [encoded[first..end].to_vec(), encoded[first..].to_vec()];
    shifted.zeroize();
    encoded.zeroize();
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(value: &[u8]) -> Vec<String> {
        let patterns = Patterns::printed([value].into_iter());
        patterns.iter().map(|pattern| String::from_utf8_lossy(pattern).into_owned()).collect()
    }

    #[test]
    fn nothing_is_looked_for_of_a_value_that_is_empty_or_blank() {
        for value in [&b""[..], b"\n", b"\r\n", b"        ", b" \t\n"] {
            assert_eq!(printed(value), Vec::<String>::new(), "{value:?}");
        }
    }

    #[test]
    fn a_short_value_is_looked_for_whole() {
        assert_eq!(printed(b"ab\n"), ["YWI=", "YWIK", "ab"]);
    }

    #[test]
    fn a_value_of_several_lines_is_looked_for_line_by_line_too() {
        let found = printed(b"first line\r\nshort\n        \nthird line\n");
        for pattern in ["first line", "third line", "first line\r\nshort\r\n        \r\nthird line"] {
            assert!(found.iter().any(|other| other == pattern), "{pattern:?}");
        }
        for pattern in ["short", "        ", "first line\r"] {
            assert!(!found.iter().any(|other| other == pattern), "{pattern:?}");
        }
    }

    #[test]
    fn the_parts_of_a_line_are_without_the_newlines_at_the_end() {
        let found = printed(b"a line that is long enough\r\r\n");
        assert!(found.iter().any(|pattern| pattern == " long enough"));
        assert!(!found.iter().any(|pattern| pattern.ends_with('\r')), "{found:?}");
    }

    #[test]
    fn base64_is_found_wherever_it_stands_in_a_longer_one() {
        for value in [&b"eight by"[..], b"nine byte", b"ten bytes.", b"\xfb\xff\xfe\xfb\xff\xfe\xfb\xff\xfe"] {
            let patterns = Patterns::printed([value].into_iter());
            for before in 0..6 {
                for after in 0..6 {
                    let whole = [&vec![b'{'; before], value, &vec![b'}'; after]].concat();
                    for encoded in [STANDARD.encode(&whole), URL_SAFE.encode(&whole)] {
                        let holds = |pattern: &[u8]| encoded.as_bytes().windows(pattern.len()).any(|at| at == pattern);
                        let found = patterns.iter().filter(|pattern| holds(pattern)).map(<[u8]>::len).max();
                        // All but what a neighbour has a part in, at either end.
                        let certain = value.len() * 8 / 6 - 1;
                        assert!(found.is_some_and(|length| length >= certain), "{before} {after} {encoded}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_short_value_is_not_looked_for_in_a_file() {
        let mut patterns = Patterns::default();
        patterns.add_kept(b"7 bytes\n");
        assert_eq!(patterns.iter().count(), 0);
        patterns.add_kept(b"8 bytes.\n");
        assert!(patterns.iter().any(|pattern| pattern == b"8 bytes."));
    }
}
