//! Searches for all patterns at once, byte by byte.

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::noncontiguous::NFA;

use super::patterns::Patterns;

/// An Aho-Corasick automaton, with facts about each state for masking.
///
/// It holds the values' bytes and, unlike other buffers, cannot be wiped when dropped: the crate does not offer it.
pub(super) struct Automaton {
    nfa: NFA,
    start: StateID,
    /// By the state's number.
    facts: Vec<Facts>,
    starts: [bool; 256],
}

/// Facts about a state.
#[derive(Clone, Copy, Default)]
pub(super) struct Facts {
    /// The longest pattern that ends here, in bytes; 0 if none does.
    pub(super) ends: u32,
    /// The number of last bytes that may be the start of a longer pattern.
    pub(super) may_go_on: u32,
}

impl Automaton {
    /// `None` if there is nothing to look for.
    pub(super) fn new(patterns: &Patterns) -> Option<Self> {
        let mut by_length: Vec<&[u8]> = patterns.iter().collect();
        by_length.sort_by_key(|pattern| pattern.len());
        if by_length.is_empty() {
            return None;
        }
        // The default kind of match reports every pattern that ends in a state. Prefilters are for its own searches.
        let nfa = NFA::builder().prefilter(false).build(&by_length).expect("fewer than 2^31 bytes of secrets");
        let start = nfa.start_state(Anchored::No).expect("an NFA searches anywhere");
        let mut automaton = Self { nfa, start, facts: Vec::new(), starts: [false; 256] };
        automaton.learn(&by_length);
        Some(automaton)
    }

    /// Walks every pattern. The state after n bytes of it stands for exactly these bytes, the longest suffix that starts a
    /// pattern.
    fn learn(&mut self, by_length: &[&[u8]]) {
        let mut leaves = Vec::new();
        for pattern in by_length {
            self.starts[usize::from(pattern[0])] = true;
            let mut state = self.start;
            for (index, &byte) in pattern.iter().enumerate() {
                state = self.next(state, byte);
                let (depth, number) = (index + 1, state.as_usize());
                if self.facts.len() <= number {
                    self.facts.resize(number + 1, Facts::default());
                }
                let matches = if self.nfa.is_match(state) { self.nfa.match_len(state) } else { 0 };
                let lengths = (0..matches).map(|at| self.nfa.pattern_len(self.nfa.match_pattern(state, at)));
                self.facts[number].ends = size(lengths.max().unwrap_or(0));
                if depth < pattern.len() {
                    self.facts[number].may_go_on = size(depth);
                }
            }
            leaves.push((state, *pattern));
        }
        // If no pattern continues from the end of another, the longest shorter suffix counts: the state that is reached
        // without the first byte. Shorter patterns come first, so the facts of that state are complete.
        for (state, pattern) in leaves {
            if self.facts[state.as_usize()].may_go_on == 0 {
                let suffix = pattern[1..].iter().fold(self.start, |state, &byte| self.next(state, byte));
                self.facts[state.as_usize()].may_go_on = self.facts(suffix).may_go_on;
            }
        }
    }

    pub(super) fn start(&self) -> StateID {
        self.start
    }

    pub(super) fn next(&self, state: StateID, byte: u8) -> StateID {
        self.nfa.next_state(Anchored::No, state, byte)
    }

    pub(super) fn facts(&self, state: StateID) -> Facts {
        // The start state may have a number beyond those of all others.
        self.facts.get(state.as_usize()).copied().unwrap_or_default()
    }

    /// Returns the number of leading bytes that start no pattern.
    pub(super) fn passes(&self, bytes: &[u8]) -> usize {
        bytes.iter().position(|&byte| self.starts[usize::from(byte)]).unwrap_or(bytes.len())
    }
}

/// Converts a length; patterns are a few megabytes at most.
fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a pattern of less than 4 GiB")
}
