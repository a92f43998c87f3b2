//! A value that can be found anywhere, in its literal form or in the forms in which programs encode values.

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The text that is searched for. Its length is a multiple of three, so that each line of the value has the same base64.
const MARK: &str = "hunter2-c0ffee-7Qzk9;";

/// The number of lines: enough that no page, block or buffer can hide all of them at its border.
const LINES: usize = 400;

/// The searched forms, and the automaton that finds them.
pub struct Canary {
    mark: &'static str,
    names: Vec<String>,
    forms: Vec<Vec<u8>>,
    finder: AhoCorasick,
}

impl Canary {
    pub fn new() -> Self {
        Self::of(MARK)
    }

    pub fn of(text: &'static str) -> Self {
        Self { mark: text, ..Self::from_bytes(text.as_bytes()) }
    }

    /// Returns a canary that is only searched for.
    pub fn from_bytes(mark: &[u8]) -> Self {
        let mut all: Vec<(String, Vec<u8>)> = vec![("raw".into(), mark.to_vec())];
        for shift in 0..3 {
            // Only whole groups of three bytes: the base64 of others depends on the surrounding bytes.
            let rest = &mark[shift..];
            let groups = &rest[..rest.len() / 3 * 3];
            all.push((format!("base64, from byte {shift}"), STANDARD_NO_PAD.encode(groups).into()));
            all.push((format!("base64 for URLs, from byte {shift}"), URL_SAFE_NO_PAD.encode(groups).into()));
        }
        let hex: String = mark.iter().map(|byte| format!("{byte:02x}")).collect();
        all.push(("hex".into(), hex.clone().into()));
        all.push(("HEX".into(), hex.to_uppercase().into()));
        all.push(("UTF-16 LE".into(), mark.iter().flat_map(|&byte| [byte, 0]).collect()));
        // Without the first zero, which may belong to the character before it.
        all.push(("UTF-16 BE".into(), mark.iter().flat_map(|&byte| [0, byte]).skip(1).collect()));
        // The two alphabets of base64 differ in two characters. If the mark has neither, the forms are equal.
        all.dedup_by(|one, other| one.1 == other.1);
        let (names, forms): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let finder = AhoCorasick::new(&forms).expect("a few patterns");
        Self { mark: "", names, forms, finder }
    }

    /// Returns the value: several lines, without a final newline.
    pub fn value(&self) -> Vec<u8> {
        self.mark.repeat(LINES).into_bytes()
    }

    /// Returns one line of the value, as text.
    pub fn line(&self) -> &str {
        self.mark
    }

    /// Returns each form with its description.
    pub fn forms(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.names.iter().map(String::as_str).zip(self.forms.iter().map(Vec::as_slice))
    }

    /// Finds the canary. Returns each position and the form found there.
    pub fn find(&self, bytes: &[u8]) -> Vec<(usize, &str)> {
        let found = self.finder.find_overlapping_iter(bytes);
        found.map(|found| (found.start(), self.names[found.pattern().as_usize()].as_str())).collect()
    }

    /// Searches like [`Canary::find`] in a file that is mostly zeros.
    pub fn find_in_file(&self, file: &std::path::Path) -> Vec<(u64, String)> {
        use std::os::unix::fs::FileExt;
        const STEP: u64 = 1 << 16;
        /// Longer than the longest form.
        const OVERLAP: u64 = 128;
        let opened = std::fs::File::open(file).expect("it is there");
        let length = opened.metadata().expect("ours").len();
        let (mut found, zeros) = (Vec::new(), vec![0; (STEP + OVERLAP) as usize]);
        for start in (0..length).step_by(STEP as usize) {
            let mut bytes = vec![0; (STEP + OVERLAP).min(length - start) as usize];
            opened.read_exact_at(&mut bytes, start).expect("read");
            if bytes != zeros[..bytes.len()] {
                let here = self.find(&bytes).into_iter().filter(|(at, _)| (*at as u64) < STEP);
                found.extend(here.map(|(at, form)| (start + at as u64, form.to_owned())));
            }
        }
        found
    }
}
