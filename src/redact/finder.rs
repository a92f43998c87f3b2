//! Finds the values that a file holds.

use std::collections::BTreeSet;
use std::io::{self, Read};

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::noncontiguous::NFA;
use zeroize::Zeroizing;

use super::Watchlist;
use super::sequences::{ESC, Role, SequenceReader};

/// The size of one read, in bytes.
const CHUNK: usize = 1 << 16;

/// Searches for values of [`MIN_BYTES`](super::MIN_BYTES) or more, and their base64. Shorter ones are in any large file.
pub struct ValueFinder {
    nfa: NFA,
    /// The name of each pattern's value, by the pattern's number. A pattern of two values is there twice.
    names: Vec<String>,
    /// A buffer for all files: making and wiping one for each would take longer than searching a small file.
    chunk: Zeroizing<Vec<u8>>,
}

impl ValueFinder {
    /// Makes a finder for the list's current values; `None` if it has no value long enough.
    pub fn new(list: &Watchlist) -> Option<Self> {
        let kept = list.kept();
        let patterns = || kept.iter().flat_map(|(name, patterns)| patterns.iter().map(move |pattern| (name, pattern)));
        let names: Vec<String> = patterns().map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            return None;
        }
        let nfa = NFA::builder().prefilter(false).build(patterns().map(|(_, pattern)| pattern));
        Some(Self { nfa: nfa.expect("fewer than 2^31 bytes of secrets"), names, chunk: Zeroizing::new(vec![0; CHUNK]) })
    }

    /// Returns the names of the values that occur, each once.
    ///
    /// # Errors
    /// The reader fails before its end.
    pub fn names_in(&mut self, mut reader: impl Read) -> io::Result<BTreeSet<&str>> {
        let Self { nfa, names, chunk } = self;
        let mut found = BTreeSet::new();
        let start = nfa.start_state(Anchored::No).expect("an NFA searches anywhere");
        let mut state = start;
        // A second search, which skips escape sequences, while it may find more.
        let mut skipping: Option<(StateID, SequenceReader)> = None;
        let mut note = |state| {
            let matches = if nfa.is_match(state) { nfa.match_len(state) } else { 0 };
            found.extend((0..matches).map(|at| names[nfa.match_pattern(state, at)].as_str()));
        };
        loop {
            let length = match reader.read(chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if length == 0 {
                return Ok(found);
            }
            for &byte in &chunk[..length] {
                if byte == ESC && skipping.is_none() && state != start {
                    skipping = Some((state, SequenceReader::default()));
                }
                state = nfa.next_state(Anchored::No, state, byte);
                note(state);
                let Some((bare, sequences)) = &mut skipping else { continue };
                let role = sequences.role(byte);
                if role == Role::Text {
                    *bare = nfa.next_state(Anchored::No, *bare, byte);
                    note(*bare);
                }
                let knows_no_more = !sequences.is_inside() && (*bare == state || *bare == start);
                if knows_no_more || role == Role::TooLong {
                    skipping = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &[(&str, &str)], text: &str) -> Vec<String> {
        let list = Watchlist::new();
        values.iter().for_each(|(name, value)| list.add(name, value.as_bytes()));
        let Some(mut finder) = ValueFinder::new(&list) else { return Vec::new() };
        // One byte at a time, so that every value is split.
        let bytes = text
            .as_bytes()
            .chunks(1)
            .fold(Box::new(io::empty()) as Box<dyn Read>, |all, byte| Box::new(all.chain(byte)));
        finder.names_in(bytes).expect("memory can be read").into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn every_value_that_occurs_is_named_once() {
        let values =
            [("a", "password"), ("b", "password"), ("c", "a password"), ("d", "passwords"), ("e", "unused value")];
        assert_eq!(found(&values, "it is: a password, password"), ["a", "b", "c"]);
        assert_eq!(found(&values, "Basic dXNlcjpwYXNzd29yZA=="), ["a", "b"]);
    }

    #[test]
    fn files_share_a_buffer_and_nothing_else() {
        let list = Watchlist::new();
        list.add("a", b"password");
        let mut finder = ValueFinder::new(&list).expect("something to look for");
        let mut first = io::Cursor::new([&[b'.'; CHUNK - 4][..], b"password"].concat());
        assert_eq!(finder.names_in(&mut first).expect("memory can be read").len(), 1);
        let buffer = finder.chunk.as_ptr();
        for rest in ["word", "", "pass", "word"] {
            assert_eq!(finder.names_in(rest.as_bytes()).expect("memory can be read").len(), 0, "{rest}");
        }
        assert_eq!(finder.chunk.as_ptr(), buffer);
    }

    #[test]
    fn the_strings_of_json_are_looked_for() {
        let account = r#"{"private_key": "one\ntwo \"three\"", "short": "7 bytes"}"#;
        assert_eq!(found(&[("a", account)], "one\ntwo \"three\""), ["a"]);
        assert_eq!(found(&[("a", account)], r#"{"key": "one\ntwo \"three\""}"#), ["a"]);
        assert_eq!(found(&[("a", account)], "b25lCnR3byAidGhyZWUi"), ["a"]);
        assert_eq!(found(&[("a", account)], "private_key 7 bytes"), Vec::<String>::new());
    }

    #[test]
    fn short_values_are_not_looked_for() {
        assert_eq!(found(&[("a", "7 bytes\n"), ("b", "")], "7 bytes"), Vec::<String>::new());
        assert_eq!(found(&[("a", "7 bytes\n"), ("b", "8 bytes.\n")], "7 bytes 8 bytes."), ["b"]);
    }
}
