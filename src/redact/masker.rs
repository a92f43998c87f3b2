//! Masks the values in one stream.

use zeroize::Zeroizing;

use super::scanner::{Findings, Scanner};
use super::{MASK, Watchlist};

/// Replaces every value in a stream by [`MASK`], however the stream is split.
///
/// It masks all occurrences of all patterns. Overlapping ones become one mask; two that only touch become two. Every other byte
/// passes unchanged and at once, unless it belongs to the longest end of the stream that may be the start of a value. It never
/// holds back more than the longest pattern, and a megabyte of escape sequences.
///
/// Escape sequences do not interrupt a value. They stay, after its mask, so that the terminal's colours stay right.
pub struct Masker {
    list: Watchlist,
    version: usize,
    /// `None` while there is nothing to mask.
    scanner: Option<Scanner>,
    /// The end of the stream that may be the start of a value. The positions below count from its first byte.
    held: Zeroizing<Vec<u8>>,
    /// The output already covers the bytes before this position, as they were or by a mask.
    shown: usize,
    /// True if a mask was shown last; it stands for bytes up to `shown`.
    masked: bool,
    /// Each range ends after `shown`.
    found: Findings,
}

impl Masker {
    /// Makes a masker for the start of a stream.
    pub fn new(list: Watchlist) -> Self {
        let held = Zeroizing::new(Vec::new());
        Self { list, version: 0, scanner: None, held, shown: 0, masked: false, found: Findings::default() }
    }

    /// Takes the next bytes of the stream, and appends the bytes that may be shown to `output`.
    pub fn feed(&mut self, input: &[u8], output: &mut Vec<u8>) {
        self.update();
        let Some(scanner) = &self.scanner else {
            output.extend_from_slice(input);
            return;
        };
        let passes = if self.held.is_empty() { scanner.passes(input) } else { 0 };
        output.extend_from_slice(&input[..passes]);
        if let Some(last) = input[..passes].last() {
            self.found.before = *last;
        }
        let from = self.held.len();
        append(&mut self.held, &input[passes..]);
        let certain = self.scan(from);
        self.show(certain, output);
        self.forget(certain);
    }

    /// Returns true if bytes are held back. [`Masker::flush`] is due then, once the stream is idle.
    pub fn holds_back(&self) -> bool {
        self.shown < self.held.len()
    }

    /// Shows the bytes that are held back, because the stream is idle or at its end.
    ///
    /// If the rest of a value arrives later, that rest is masked.
    pub fn flush(&mut self, output: &mut Vec<u8>) {
        self.show(self.held.len(), output);
    }

    /// Searches the held bytes again if the list has changed.
    fn update(&mut self) {
        if self.list.version() == self.version {
            return;
        }
        let (version, automaton) = self.list.automaton();
        self.version = version;
        self.scanner = automaton.map(Scanner::new);
        // The search finds them again: none begins before the held bytes.
        self.found.clear();
        self.scan(0);
    }

    /// Searches the held bytes from this position on. Returns the position from which they may be the start of a value.
    fn scan(&mut self, from: usize) -> usize {
        let scanner = self.scanner.as_mut();
        scanner.map_or(self.held.len(), |scanner| scanner.scan(&self.held, from, self.shown, &mut self.found))
    }

    /// Shows the bytes before `limit`, and a range that begins before it as a whole.
    fn show(&mut self, limit: usize, output: &mut Vec<u8>) {
        let begun = self.found.ranges.iter().take_while(|(start, _)| *start < limit).count();
        let mut sequences = self.found.sequences.iter().peekable();
        for (start, end) in self.found.ranges.drain(..begun) {
            if start > self.shown {
                output.extend_from_slice(&self.held[self.shown..start]);
            }
            let goes_on = self.masked && start < self.shown;
            if !goes_on {
                output.extend_from_slice(MASK);
            }
            while let Some(sequence) = sequences.next_if(|sequence| sequence.end <= end) {
                let is_kept = sequence.start >= start && sequence.end > self.shown && !sequence.is_secret;
                if is_kept {
                    output.extend_from_slice(&self.held[sequence.start.max(self.shown)..sequence.end]);
                }
            }
            (self.shown, self.masked) = (end, true);
        }
        if limit > self.shown {
            output.extend_from_slice(&self.held[self.shown..limit]);
            (self.shown, self.masked) = (limit, false);
        }
    }

    /// Drops the bytes before `start`, which cannot be part of a value any more.
    fn forget(&mut self, start: usize) {
        if let Some(last) = self.held[..start].last() {
            self.found.before = *last;
        }
        self.held.drain(..start);
        self.shown -= start;
        self.found.forget(start);
        if let Some(scanner) = &mut self.scanner {
            scanner.forget(start);
        }
    }
}

/// Appends, and wipes the old buffer if a larger one is needed, unlike a vector that grows.
fn append(buffer: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) {
    let needed = buffer.len() + bytes.len();
    if needed > buffer.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * buffer.capacity())));
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
    buffer.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn list(values: &[&str]) -> Watchlist {
        let list = Watchlist::new();
        values.iter().for_each(|value| list.add("a name", value.as_bytes()));
        list
    }

    /// Returns the output after each piece; `|` is a flush, `$` the end.
    fn pieces(values: &[&str], input: &[&str]) -> Vec<String> {
        let mut masker = Masker::new(list(values));
        let shown = input.iter().map(|piece| {
            let mut output = Vec::new();
            match *piece {
                "|" | "$" => masker.flush(&mut output),
                piece => masker.feed(piece.as_bytes(), &mut output),
            }
            String::from_utf8(output).expect("UTF-8")
        });
        shown.collect()
    }

    fn masked(values: &[&str], input: &str) -> String {
        pieces(values, &[input, "$"]).concat()
    }

    #[test]
    fn nothing_is_held_back_that_cannot_be_the_start_of_a_value() {
        assert_eq!(
            pieces(&["hunter2"], &["a line\n", "hun", "ger", "hhunter", "2", "."]),
            ["a line\n", "", "hunger", "h", "*****", "."]
        );
        // The end of one value may be the start of the next, but a mask already stands for it.
        assert_eq!(pieces(&["abcab"], &["abcab", "c", "a", "b", "x"]), ["*****", "", "", "", "x"]);
    }

    #[test]
    fn a_value_may_be_the_start_the_end_or_the_middle_of_another() {
        assert_eq!(pieces(&["ab", "abcd"], &["ab", "c", "x"]), ["", "", "*****cx"]);
        assert_eq!(pieces(&["ab", "abcd"], &["ab", "c", "d"]), ["", "", "*****"]);
        assert_eq!(masked(&["cd", "abcd"], "abcd cd abc"), "***** ***** abc");
        assert_eq!(masked(&["aa", "xaay"], "xaaz xaay"), "x*****z *****");
    }

    #[test]
    fn overlapping_values_are_one_mask_and_touching_ones_are_two() {
        assert_eq!(masked(&["abc", "cde"], "-abcde-"), "-*****-");
        assert_eq!(masked(&["abc", "def"], "-abcdef-"), "-**********-");
        assert_eq!(masked(&["aaaa"], "aaa aaaa aaaaaaaaa"), "aaa ***** *****");
        assert_eq!(pieces(&["aa"], &["a", "a", "a", "a", "b"]), ["", "*****", "", "", "b"]);
    }

    #[test]
    fn a_value_of_one_byte_is_masked() {
        assert_eq!(masked(&["7"], "7 of 77"), "***** of **********");
    }

    #[test]
    fn the_rest_of_a_value_after_a_flush_is_masked() {
        assert_eq!(pieces(&["abcd"], &["xab", "|", "cd."]), ["x", "ab", "*****."]);
        assert_eq!(pieces(&["abcd"], &["xab", "|", "c", "|", "d."]), ["x", "ab", "", "c", "*****."]);
        assert_eq!(pieces(&["abcd"], &["xab", "|", "x"]), ["x", "ab", "x"]);
        // The mask shown stands for the whole, if nothing was shown after it.
        assert_eq!(pieces(&["ab", "abcd"], &["ab", "|", "cd."]), ["", "*****", "."]);
        assert_eq!(pieces(&["ab", "abcd"], &["abc", "|", "d."]), ["", "*****c", "*****."]);
    }

    #[test]
    fn a_flush_shows_everything_and_only_once() {
        let mut masker = Masker::new(list(&["abcd"]));
        let mut output = Vec::new();
        masker.feed(b"abc", &mut output);
        assert!(masker.holds_back());
        masker.flush(&mut output);
        assert!(!masker.holds_back());
        masker.flush(&mut output);
        assert_eq!(output, b"abc");
    }

    #[test]
    fn a_terminal_ends_lines_in_two_bytes() {
        assert_eq!(masked(&["one\ntwo\n"], "one\r\ntwo\r\none\ntwo\n"), "*****\r\n*****\n");
        assert_eq!(masked(&["one\r\ntwo"], "one\r\r\ntwo one\r\ntwo"), "***** *****");
    }

    #[test]
    fn bytes_that_are_not_text_pass_unchanged() {
        let every: Vec<u8> = (0..=255).collect();
        let mut masker = Masker::new(list(&["hunter2"]));
        let mut output = Vec::new();
        masker.feed(&every, &mut output);
        assert_eq!(output, every);
        let binary = Watchlist::new();
        binary.add("a name", b"\xff\xfe\x00\x80");
        let mut masker = Masker::new(binary);
        output.clear();
        masker.feed(b"\xff\xff\xfe\x00\x80\xc3", &mut output);
        assert_eq!(output, b"\xff*****\xc3");
    }

    #[test]
    fn a_value_added_while_output_flows_is_known_from_the_next_chunk_on() {
        let list = list(&["abcd"]);
        let mut masker = Masker::new(list.clone());
        let mut feed = |input: &str| {
            let mut output = Vec::new();
            masker.feed(input.as_bytes(), &mut output);
            String::from_utf8(output).expect("UTF-8")
        };
        assert_eq!(feed("bcx ab"), "bcx ");
        list.add("another", b"bcx");
        // The new value is also found in the held bytes.
        assert_eq!(feed("cx bc"), "a***** ");
        list.add("another", b"bc");
        assert_eq!(feed(""), "");
        assert_eq!(feed("y"), "*****y");
        assert_eq!(feed("abc"), "");
        list.add("a third", b"c");
        assert_eq!(feed("d"), "*****");
    }

    #[test]
    fn output_before_its_value_was_added_is_not_repeated() {
        let list = list(&["abcd"]);
        let mut masker = Masker::new(list.clone());
        let mut output = Vec::new();
        masker.feed(b"abc", &mut output);
        masker.flush(&mut output);
        list.add("another", b"ab");
        list.add("a third", b"cx");
        masker.feed(b"x", &mut output);
        assert_eq!(output, b"abc*****");
    }

    #[test]
    fn base64_in_a_header_is_masked() {
        assert_eq!(masked(&["password"], "Basic dXNlcjpwYXNzd29yZA=="), "Basic dXNlcjp*****==");
        assert_eq!(masked(&["password"], "cGFzc3dvcmQ= cGFzc3dvcmQK"), "***** *****K");
    }

    #[test]
    fn base64_in_lines_is_masked_line_by_line() {
        let value = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(3);
        for length in [64, 76] {
            let encoded = STANDARD.encode(&value).into_bytes();
            let lines: Vec<_> = encoded.chunks(length).map(|line| std::str::from_utf8(line).expect("text")).collect();
            let shown = masked(&[&value], &format!("{}\n", lines.join("\n")));
            assert_eq!(shown, "*****\n".repeat(lines.len()), "{length}");
        }
    }
}
