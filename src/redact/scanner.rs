//! Finds the values in a stream, also where escape sequences interrupt them.
//!
//! One search takes every byte as text. A second one begins where an escape sequence interrupts the possible start of a value,
//! and takes the bytes of sequences for absent. It ends as soon as it knows no more than the first.

use std::sync::Arc;

use aho_corasick::automaton::StateID;

use super::automaton::Automaton;
use super::sequences::{ESC, Role, SequenceReader};

/// The most bytes of sequences that the possible start of a value holds back.
const MAX_SKIPPED: usize = 1 << 20;

/// The values in the held bytes, and the sequences between their bytes.
#[derive(Default)]
pub(super) struct Findings {
    /// Ranges to mask, in order, apart or touching.
    pub(super) ranges: Vec<(usize, usize)>,
    /// Sequences that interrupt the possible start of a value, in order.
    pub(super) sequences: Vec<FoundSequence>,
    /// The byte before the held ones.
    pub(super) before: u8,
}

/// An escape sequence.
pub(super) struct FoundSequence {
    pub(super) start: usize,
    pub(super) end: usize,
    /// True if a part of it belongs to a value.
    pub(super) is_secret: bool,
}

impl Findings {
    /// Adds a range that ends last. Returns its start.
    fn add(&mut self, held: &[u8], mut start: usize, end: usize) -> usize {
        // A backslash that ends a sequence looks like the first byte of a quoted value. Without it, the sequence would go on.
        let before = start.checked_sub(1).map_or(self.before, |before| held[before]);
        if before == ESC && held[start] == b'\\' && end - start > 1 {
            start += 1;
        }
        let own = start;
        while let Some((earlier, _)) = self.ranges.pop_if(|(_, its_end)| *its_end > start) {
            start = start.min(earlier);
        }
        self.ranges.push((start, end));
        own
    }

    pub(super) fn clear(&mut self) {
        self.ranges.clear();
        self.sequences.clear();
    }

    /// Follows the held bytes, which lose their first ones.
    pub(super) fn forget(&mut self, bytes: usize) {
        for range in &mut self.ranges {
            *range = (range.0 - bytes, range.1 - bytes);
        }
        self.sequences.retain(|sequence| sequence.end > bytes);
        for sequence in &mut self.sequences {
            (sequence.start, sequence.end) = (sequence.start.saturating_sub(bytes), sequence.end - bytes);
        }
    }
}

/// The searches in one stream. Positions count from the first byte that is held.
pub(super) struct Scanner {
    automaton: Arc<Automaton>,
    state: StateID,
    /// The search that skips sequences, while it may find other values.
    skipping: Option<Skipping>,
    /// A buffer for the next such search: coloured output begins many.
    spare: Vec<Gap>,
}

impl Scanner {
    pub(super) fn new(automaton: Arc<Automaton>) -> Self {
        Self { state: automaton.start(), automaton, skipping: None, spare: Vec::new() }
    }

    /// Returns the number of leading bytes of new input that cannot belong to a value, if no bytes are held.
    pub(super) fn passes(&self, input: &[u8]) -> usize {
        self.automaton.passes(input)
    }

    /// Searches the held bytes from this position on, for values that end after `shown`. Returns the position from which bytes
    /// may be the start of a value.
    pub(super) fn scan(&mut self, held: &[u8], from: usize, shown: usize, found: &mut Findings) -> usize {
        let Self { automaton, state, skipping, spare } = self;
        let mut end = from;
        while end < held.len() {
            if *state == automaton.start() && skipping.is_none() {
                end += automaton.passes(&held[end..]);
                if end == held.len() {
                    break;
                }
            }
            let byte = held[end];
            end += 1;
            if byte == ESC && skipping.is_none() && automaton.facts(*state).may_go_on > 0 {
                *skipping = Some(Skipping::new(*state, std::mem::take(spare)));
            }
            *state = automaton.next(*state, byte);
            if let Some(search) = skipping {
                let goes_on = search.take(automaton, held, end, shown, found);
                if !goes_on || search.knows_no_more(automaton, *state, end) {
                    *spare = std::mem::take(&mut search.gaps);
                    *skipping = None;
                }
            }
            let ends = automaton.facts(*state).ends as usize;
            // In a repeated search, some of the bytes have been shown.
            if ends > 0 && end > shown {
                // It includes the shorter patterns that end here.
                let start = found.add(held, end - ends, end);
                let secret = found.sequences.iter_mut().rev().take_while(|sequence| sequence.end > start);
                secret.for_each(|sequence| sequence.is_secret = true);
            }
        }
        let plain = held.len() - automaton.facts(*state).may_go_on as usize;
        skipping.as_ref().map_or(plain, |search| search.pending(automaton, held.len()).min(plain))
    }

    /// Follows the held bytes, which lose their first ones.
    pub(super) fn forget(&mut self, bytes: usize) {
        if let Some(search) = &mut self.skipping {
            search.forget(bytes);
        }
    }
}

/// A search that skips sequences.
struct Skipping {
    state: StateID,
    reader: SequenceReader,
    gaps: Vec<Gap>,
    /// The sum of the gaps' lengths.
    skipped: usize,
}

/// Sequences between two bytes of text.
struct Gap {
    start: usize,
    end: usize,
    /// The number of held bytes of text before it.
    text: usize,
}

impl Skipping {
    fn new(state: StateID, mut gaps: Vec<Gap>) -> Self {
        gaps.clear();
        Self { state, reader: SequenceReader::default(), gaps, skipped: 0 }
    }

    /// Takes the byte that ends at this position. Returns false once no value can begin before it.
    fn take(&mut self, automaton: &Automaton, held: &[u8], end: usize, shown: usize, found: &mut Findings) -> bool {
        let byte = held[end - 1];
        match self.reader.role(byte) {
            Role::Text => {
                self.state = automaton.next(self.state, byte);
                let facts = automaton.facts(self.state);
                if facts.ends > 0 && end > shown {
                    found.add(held, self.position(end - self.skipped - facts.ends as usize), end);
                }
                return facts.may_go_on > 0;
            }
            Role::First => {
                found.sequences.push(FoundSequence { start: end - 1, end, is_secret: false });
                match self.gaps.last_mut() {
                    Some(gap) if gap.end == end - 1 => gap.end = end,
                    _ => self.gaps.push(Gap { start: end - 1, end, text: end - 1 - self.skipped }),
                }
                self.skipped += 1;
            }
            Role::Inside | Role::Last => {
                if let (Some(sequence), Some(gap)) = (found.sequences.last_mut(), self.gaps.last_mut()) {
                    (sequence.end, gap.end) = (end, end);
                }
                self.skipped += 1;
            }
            Role::TooLong => return false,
        }
        self.skipped <= MAX_SKIPPED
    }

    /// Returns true if the search that skips nothing finds the same values from here on, at the same positions.
    fn knows_no_more(&self, automaton: &Automaton, plain: StateID, end: usize) -> bool {
        let since = end - self.gaps.last().map_or(0, |gap| gap.end);
        self.state == plain && !self.reader.is_inside() && automaton.facts(plain).may_go_on as usize <= since
    }

    /// Returns the position from which bytes may be the start of a value.
    fn pending(&self, automaton: &Automaton, end: usize) -> usize {
        self.position(end - self.skipped - automaton.facts(self.state).may_go_on as usize)
    }

    /// Returns the position of a byte of text by its number.
    fn position(&self, text: usize) -> usize {
        let before = self.gaps.partition_point(|gap| gap.text <= text);
        before.checked_sub(1).map_or(text, |last| self.gaps[last].end + (text - self.gaps[last].text))
    }

    fn forget(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        // The other search may need the end of a gap, where its own possible start of a value is.
        let forgotten = |gap: &Gap| gap.end.min(bytes).saturating_sub(gap.start);
        let skipped: usize = self.gaps.iter().map(forgotten).sum();
        self.skipped -= skipped;
        self.gaps.retain(|gap| gap.end > bytes);
        for gap in &mut self.gaps {
            let start = gap.start.saturating_sub(bytes);
            (gap.start, gap.end, gap.text) = (start, gap.end - bytes, gap.text - (bytes - skipped));
        }
    }
}
