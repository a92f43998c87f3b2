//! Says which values a file holds.

use std::collections::BTreeSet;
use std::io::{self, Read};

use aho_corasick::Anchored;
use aho_corasick::automaton::Automaton as _;
use aho_corasick::nfa::noncontiguous::NFA;
use zeroize::Zeroizing;

use super::Watchlist;

/// What is read at once, in bytes.
const CHUNK: usize = 1 << 16;

/// Looks for values of [`MIN_BYTES`](super::MIN_BYTES) or more, and their base64. Shorter ones are in any large file.
pub struct Finder {
    nfa: NFA,
    /// The name of the value that a pattern is of, by the pattern's number. A pattern of two values is there twice.
    names: Vec<String>,
}

impl Finder {
    /// For the values of now; `None` if there is none to look for.
    pub fn new(list: &Watchlist) -> Option<Self> {
        let kept = list.kept();
        let patterns = || kept.iter().flat_map(|(name, patterns)| patterns.iter().map(move |pattern| (name, pattern)));
        let names: Vec<String> = patterns().map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            return None;
        }
        let nfa = NFA::builder().prefilter(false).build(patterns().map(|(_, pattern)| pattern));
        Some(Self { nfa: nfa.expect("fewer than 2^31 bytes of secrets"), names })
    }

    /// The names of the values that occur, each once.
    ///
    /// # Errors
    /// It cannot be read to its end.
    pub fn names_in(&self, mut reader: impl Read) -> io::Result<BTreeSet<&str>> {
        let mut found = BTreeSet::new();
        let mut state = self.nfa.start_state(Anchored::No).expect("an NFA searches anywhere");
        let mut chunk = Zeroizing::new(vec![0; CHUNK]);
        loop {
            let length = match reader.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if length == 0 {
                return Ok(found);
            }
            for &byte in &chunk[..length] {
                state = self.nfa.next_state(Anchored::No, state, byte);
                let matches = if self.nfa.is_match(state) { self.nfa.match_len(state) } else { 0 };
                found.extend((0..matches).map(|at| self.names[self.nfa.match_pattern(state, at)].as_str()));
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
        let Some(finder) = Finder::new(&list) else { return Vec::new() };
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
    fn short_values_are_not_looked_for() {
        assert_eq!(found(&[("a", "7 bytes\n"), ("b", "")], "7 bytes"), Vec::<String>::new());
        assert_eq!(found(&[("a", "7 bytes\n"), ("b", "8 bytes.\n")], "7 bytes 8 bytes."), ["b"]);
    }
}
