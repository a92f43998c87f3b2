//! Patterns for the forms that a value has in output and in files.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::{Zeroize, Zeroizing};

use super::forms::{Forms, forms};
use super::json::{JsonStrings, json_strings};
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

/// The most bytes of forms other than base64 and usual quotes, for shorter values first. Each takes about 40 bytes of memory.
const MAX_ENCODED_BYTES: usize = 1 << 20;

/// Strings to look for, each once. Wiped when dropped.
#[derive(Default)]
pub(super) struct Patterns(BTreeSet<Vec<u8>>);

impl Patterns {
    /// Makes the patterns for a program's output: each value as it is, as a terminal changes it, its longer lines and their
    /// parts, its forms, and its base64 in parts; and the same for each secret string in a JSON value.
    pub(super) fn printed<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut patterns = Self::default();
        let mut values: Vec<_> = values.map(|value| (value, json_strings(value))).collect();
        values.sort_by_key(|(value, _)| value.len());
        let (mut left, mut room) = (MAX_WINDOWS, MAX_ENCODED_BYTES);
        for (value, strings) in &values {
            patterns.add_shown(value, strings, &mut room);
            for text in &strings.secret {
                patterns.add_shown(text.as_bytes(), &JsonStrings::default(), &mut room);
            }
            if strings.is_empty() {
                patterns.add_parts(value, &mut left);
            }
            // JSON's own punctuation and names occur in other output too.
            strings.secret.iter().for_each(|text| patterns.add_parts(text.as_bytes(), &mut left));
        }
        for (value, strings) in &values {
            let all = [*value].into_iter().chain(strings.secret.iter().map(|text| text.as_bytes())).flat_map(texts);
            for text in all.filter(|text| text.len() <= MAX_OTHER_FORMS) {
                let encoded = Zeroizing::new(STANDARD_NO_PAD.encode(text));
                patterns.add_windows(encoded.as_bytes(), &mut left);
            }
        }
        patterns
    }

    fn add_shown(&mut self, value: &[u8], strings: &JsonStrings, room: &mut usize) {
        for text in texts(value) {
            self.add(text.to_vec());
            if text.contains(&ESC) {
                let bare = Zeroizing::new(without_sequences(text));
                self.add_shown(&bare, strings, room);
            }
            // A terminal puts a carriage return before every line feed; other programs only before those that have none.
            self.add(with_carriage_returns(text, LineFeeds::Bare));
            self.add(with_carriage_returns(text, LineFeeds::All));
            let is_secret = |line: &&[u8]| line.len() >= MIN_BYTES && !is_public(line, strings) && !is_pem_marker(line);
            for line in lines(text).flat_map(texts).filter(is_secret) {
                self.add(line.to_vec());
            }
        }
        self.add_forms(value, 1, room);
    }

    /// Makes the patterns of a value for files: the value as it is and its forms, if it is too long to occur by chance; and the
    /// same for each secret string in a JSON value.
    pub(super) fn kept<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut patterns, mut room) = (Self::default(), MAX_ENCODED_BYTES);
        for value in values {
            patterns.add_kept(value, &mut room);
            for text in json_strings(value).secret {
                patterns.add_kept(text.as_bytes(), &mut room);
            }
        }
        patterns
    }

    fn add_kept(&mut self, value: &[u8], room: &mut usize) {
        for text in texts(value).filter(|text| text.len() >= MIN_BYTES) {
            self.add(text.to_vec());
            if text.contains(&ESC) {
                let bare = Zeroizing::new(without_sequences(text));
                self.add_kept(&bare, room);
            }
        }
        self.add_forms(value, MIN_BYTES, room);
    }

    fn add_parts(&mut self, value: &[u8], left: &mut usize) {
        lines(without_newline(value)).for_each(|line| self.add_windows(without_scheme(line), left));
    }

    /// Adds every part of a line that may be broken anywhere, except rulers and blanks, as long as any are `left`.
    fn add_windows(&mut self, line: &[u8], left: &mut usize) {
        if line.len() < MIN_BROKEN || is_pem_marker(line.trim_ascii()) {
            return;
        }
        for window in line.windows(WINDOW).take(*left) {
            *left -= 1;
            if !is_blank(window) && window.iter().any(|byte| *byte != window[0]) {
                self.add(window.to_vec());
            }
        }
    }

    /// Adds the forms of a value with at least this many bytes, some only as long as there is room.
    fn add_forms(&mut self, value: &[u8], least: usize, room: &mut usize) {
        let forms = forms_of_texts(value, least);
        forms.common.iter().for_each(|form| self.add(form.to_vec()));
        for form in &forms.encoded {
            if let Some(rest) = room.checked_sub(form.len()) {
                *room = rest;
                self.add(form.to_vec());
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

/// Returns the forms of each of the texts of a value that has at least this many bytes.
pub(super) fn forms_of_texts(value: &[u8], least: usize) -> Forms {
    let mut all = Forms::default();
    for (number, text) in texts(value).enumerate().filter(|(_, text)| text.len() >= least) {
        let Forms { common, encoded } = forms(if number == 0 { value } else { text }, text);
        all.common.extend(common);
        all.encoded.extend(encoded);
    }
    all
}

/// Returns what programs print of a value: it without the newlines at its end and, if that differs, without the blanks around it.
/// Returns nothing of a blank value.
pub(super) fn texts(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = Some(without_newline(value)).filter(|text| !is_blank(text));
    let bare = text.map(without_blanks).filter(|bare| !bare.is_empty() && Some(*bare) != text);
    text.into_iter().chain(bare)
}

/// Strips the white space around a text, which shells, HTTP libraries and `strip` drop: Unicode's, and what Python adds to it.
fn without_blanks(text: &[u8]) -> &[u8] {
    let is_stripped = |character: char| {
        character.is_whitespace() || ('\x1c'..='\x1f').contains(&character) || character == '\u{feff}'
    };
    std::str::from_utf8(text).map_or(text.trim_ascii(), |text| text.trim_matches(is_stripped).as_bytes())
}

/// Strips the line feed at the end of a file: it does not belong to the secret, and programs strip or print it at will.
fn without_newline(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
    &value[..end.map_or(0, |last| last + 1)]
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Returns true for a line of a JSON value with public strings and without secret ones.
fn is_public(line: &[u8], strings: &JsonStrings) -> bool {
    let holds = |text: &Zeroizing<String>| line.windows(text.len()).any(|part| part == text.as_bytes());
    strings.public.iter().any(holds) && !strings.secret.iter().any(holds)
}

/// Returns true for a line that begins or ends a key in PEM, which every key of its kind has.
fn is_pem_marker(line: &[u8]) -> bool {
    let inner = line.strip_prefix(b"-----BEGIN ").or_else(|| line.strip_prefix(b"-----END "));
    let label = inner.and_then(|inner| inner.strip_suffix(b"-----"));
    label.is_some_and(|label| {
        label.iter().all(|&byte| byte == b' ' || byte.is_ascii_uppercase() || byte.is_ascii_digit())
    })
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

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

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
        assert_eq!(Patterns::kept([&b"7 bytes\n"[..]].into_iter()).iter().count(), 0);
        let patterns = Patterns::kept([&b"8 bytes.\n"[..]].into_iter());
        assert!(patterns.iter().any(|pattern| pattern == b"8 bytes."));
    }
}
