//! Masking among the escape sequences of a terminal.
//!
//! 100,000 random cases, ten times as many with `FLYTE_LOCAL_TEST_LONG=1`. `FLYTE_LOCAL_TEST_SEED` repeats a run's choices.

use flyte_local::redact::{Masker, ValueFinder, Watchlist};
use serde::Deserialize;

use crate::masking::{ALPHABETS, cases, pieces};
use crate::masking_forms::encodings;
use crate::support::{Random, regressions};

/// The number of cases per list of values: making the list takes longer than masking a stream.
const CASES_A_LIST: u32 = 50;

/// Splits output into its text and its escape sequences, with the whole stream at hand.
pub(crate) fn split(mut rest: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (mut text, mut sequences) = (Vec::new(), Vec::new());
    while let Some(&byte) = rest.first() {
        let length = if byte == 0x1b { length_of_sequence(rest) } else { 0 };
        if length == 0 {
            text.push(byte);
            rest = &rest[1..];
        } else {
            sequences.push(rest[..length].to_vec());
            rest = &rest[length..];
        }
    }
    (text, sequences)
}

/// Returns the length of the well-formed sequence at the start of `bytes`; 0 if there is not any.
fn length_of_sequence(bytes: &[u8]) -> usize {
    let leading = |from: usize, range: std::ops::RangeInclusive<u8>| {
        from + bytes[from..].iter().take_while(|byte| range.contains(byte)).count()
    };
    let whole = |last: usize, finals: std::ops::RangeInclusive<u8>| {
        bytes.get(last).filter(|byte| finals.contains(byte)).map_or(0, |_| last + 1)
    };
    let until = |ends: &[&[u8]]| {
        (2..bytes.len())
            .find_map(|at| ends.iter().find(|end| bytes[at..].starts_with(end)).map(|end| at + end.len()))
            .unwrap_or(0)
    };
    match bytes.get(1) {
        Some(b'[') => whole(leading(2, 0x20..=0x3f), 0x40..=0x7e),
        Some(b']') => until(&[b"\x07", b"\x1b\\"]),
        Some(b'P' | b'X' | b'^' | b'_') => until(&[b"\x1b\\"]),
        Some(0x20..=0x2f) => whole(leading(1, 0x20..=0x2f), 0x30..=0x7e),
        Some(0x30..=0x7e) => 2,
        _ => 0,
    }
}

/// Returns a random sequence, whose bytes are in none of the [`ALPHABETS`].
fn sequence(random: &mut Random) -> Vec<u8> {
    let length = random.up_to(12);
    let parameters = random.bytes(b"0123456789;:?", length);
    let length = random.up_to(40);
    let content = random.bytes(b"0123456789;:/.ZQ?", length);
    let from = |random: &mut Random, all: &[&[u8]]| all[random.up_to(all.len())].to_vec();
    match random.up_to(6) {
        // A shell writes ` ` as a backslash and a blank, so a backslash may not be last.
        0 => [b"\x1b]", &content[..], &from(random, &[b"\x07", b"\x1b\\\x1b[m"])].concat(),
        1 => [&from(random, &[b"\x1bP", b"\x1bX", b"\x1b^", b"\x1b_"])[..], &content, b"\x1b\\\x1b[m"].concat(),
        2 => from(random, &[b"\x1b7", b"\x1bM", b"\x1b>", b"\x1b(B", b"\x1b#8", b"\x1b $)3"]),
        _ => [b"\x1b[", &parameters[..], &from(random, &[b"m", b"K", b"H", b"h", b" q", b"$|"])].concat(),
    }
}

/// Puts sequences between bytes: between all of them, or between a few.
fn coloured(random: &mut Random, text: &[u8]) -> Vec<u8> {
    let one_in = [1, 2, 8][random.up_to(3)];
    let mut stream = Vec::new();
    for &byte in text {
        while random.up_to(one_in) == 0 {
            stream.extend(sequence(random));
            if random.up_to(2) == 0 {
                break;
            }
        }
        stream.push(byte);
    }
    stream
}

fn list(values: &[Vec<u8>]) -> Watchlist {
    let list = Watchlist::new();
    values.iter().enumerate().for_each(|(name, value)| list.add(&name.to_string(), value));
    list
}

/// Masks a stream that arrives in these pieces.
fn masked(list: &Watchlist, pieces: &[&[u8]]) -> Vec<u8> {
    let mut masker = Masker::new(list.clone());
    let mut output = Vec::new();
    pieces.iter().for_each(|piece| masker.feed(piece, &mut output));
    masker.flush(&mut output);
    output
}

fn holds(text: &[u8], value: &[u8]) -> bool {
    text.windows(value.len()).any(|part| part == value)
}

#[test]
fn sequences_do_not_change_what_is_masked_and_all_of_them_stay() {
    let mut random = Random::seeded();
    let mut masks = 0;
    for case in 0..cases() / CASES_A_LIST {
        let alphabet = ALPHABETS[random.up_to(ALPHABETS.len())];
        let values: Vec<_> = (0..=random.up_to(3))
            .map(|_| {
                let length = [random.up_to(4), random.up_to(12), random.up_to(24), random.up_to(80)][random.up_to(4)];
                random.bytes(alphabet, length)
            })
            .collect();
        let list = list(&values);
        for _ in 0..CASES_A_LIST {
            let mut text = Vec::new();
            for _ in 0..random.up_to(5) {
                let length = random.up_to(6);
                text.extend(random.bytes(alphabet, length));
                text.extend_from_slice(&values[random.up_to(values.len())]);
            }
            let stream = coloured(&mut random, &text);
            let output = masked(&list, &pieces(&mut random, &stream));
            let expected = masked(&list, &[&text]);
            let (shown, kept) = split(&output);
            let what = || format!("case {case}, stream {}, output {}", stream.escape_ascii(), output.escape_ascii());
            let without = || format!("{} instead of {}", shown.escape_ascii(), expected.escape_ascii());
            assert!(shown == expected, "{}: {}", without(), what());
            assert!(kept == split(&stream).1, "{}", what());
            masks += usize::from(expected != text);
        }
    }
    // The test proves something only if many cases contain a value.
    assert!(masks > cases() as usize / 2, "only {masks} cases contained a value");
}

#[test]
fn no_value_of_any_bytes_comes_through_between_sequences() {
    let mut random = Random::seeded();
    let every: Vec<u8> = (0..=255).filter(|byte| *byte != 0x1b).collect();
    let printable: Vec<u8> = (b' '..=b'~').collect();
    for case in 0..cases() / CASES_A_LIST {
        let alphabet = if random.up_to(3) == 0 { &every } else { &printable };
        let mut value = Vec::new();
        while value.trim_ascii().len() < 8 {
            let length = 8 + [random.up_to(4), random.up_to(12), random.up_to(100)][random.up_to(3)];
            value = random.bytes(alphabet, length);
        }
        let list = list(std::slice::from_ref(&value));
        // Newlines at the end do not belong to the value.
        let end = value.iter().rposition(|byte| !b"\r\n".contains(byte)).expect("more than newlines");
        let value = &value[..=end];
        for _ in 0..CASES_A_LIST {
            let length = random.up_to(20);
            // As it is, or as a program encodes it.
            let encoded = encodings::random(&mut random, value);
            let value = &encoded[..];
            let (before, after) = (random.bytes(alphabet, length), random.bytes(alphabet, length));
            let stream = [coloured(&mut random, &before), coloured(&mut random, value), coloured(&mut random, &after)];
            let stream = stream.concat();
            let output = masked(&list, &pieces(&mut random, &stream));
            let is_hidden = !holds(&output, value) && !holds(&split(&output).0, value);
            let what = format!("case {case}, value {}, stream {}", value.escape_ascii(), stream.escape_ascii());
            assert!(is_hidden, "{what}, output {}", output.escape_ascii());
            let found = ValueFinder::new(&list).map(|mut finder| finder.names_in(&stream[..]).expect("memory").len());
            assert_eq!(found, Some(1), "{what}");
        }
    }
}

#[test]
fn a_long_run_of_sequences_is_not_held_back_for_ever() {
    let list = list(&[b"password".to_vec()]);
    let mut masker = Masker::new(list);
    let mut output = Vec::new();
    masker.feed(b"pass", &mut output);
    for fed in 1..20_000 {
        masker.feed(b"\x1b[31m", &mut output);
        assert!(5 * fed < output.len() + 8192, "{} of {} bytes are shown", output.len(), 5 * fed);
    }
    // A sequence without an end is not held back for ever either, and values in it are masked.
    for start in [&b"\x1b]"[..], b"\x1bP", b"\x1b[", b"\x1b"] {
        let mut stream = [b"pass", start].concat();
        stream.extend(b"0123456789".repeat(2000));
        stream.extend(b"a password");
        let shown = [&stream[..stream.len() - 8], b"*****"].concat();
        for size in [1, 7, stream.len()] {
            let mut output = Vec::new();
            let mut masker = Masker::new(self::list(&[b"password".to_vec()]));
            for piece in stream.chunks(size) {
                masker.feed(piece, &mut output);
            }
            assert_eq!(output.escape_ascii().to_string(), shown.escape_ascii().to_string());
        }
    }
}

/// A case of `tests/regressions/mask.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    why: String,
    values: Vec<String>,
    output: String,
    shown: String,
}

#[test]
fn outputs_of_programs_are_masked_as_the_regression_file_says() {
    for Case { why, values, output, shown } in regressions::<Case>("mask") {
        let values: Vec<_> = values.into_iter().map(String::into_bytes).collect();
        let list = list(&values);
        for size in [1, 3, output.len().max(1)] {
            let pieces: Vec<_> = output.as_bytes().chunks(size).collect();
            let got = masked(&list, &pieces);
            assert_eq!(got.escape_ascii().to_string(), shown.as_bytes().escape_ascii().to_string(), "{why}");
        }
    }
}
