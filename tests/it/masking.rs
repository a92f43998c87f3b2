//! Masking, compared with an oracle that sees the whole stream at once and is too simple to be wrong.
//!
//! 100,000 random cases, ten times as many with `FLYTE_LOCAL_TEST_LONG=1`. `FLYTE_LOCAL_TEST_SEED` repeats a run's choices.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test may read its own variables, and say what it did"
)]

use flyte_local::redact::{Masker, Watchlist, forms_of};

use crate::support::{Ran, Random, SDKS, Sandbox, python};

const CASES: u32 = 100_000;

/// The number of cases per list of values: making the list takes longer than masking a stream.
const CASES_A_LIST: u32 = 20;

impl Random {
    pub(crate) fn up_to(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("less than the limit")
    }

    /// Returns bytes of a small alphabet, so that values overlap, repeat and contain each other.
    pub(crate) fn bytes(&mut self, alphabet: &[u8], length: usize) -> Vec<u8> {
        (0..length).map(|_| alphabet[self.up_to(alphabet.len())]).collect()
    }
}

pub(crate) fn cases() -> u32 {
    if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 10 * CASES } else { CASES }
}

/// No alphabet has the mask's `*`, so that a mask cannot become part of an occurrence.
pub(crate) const ALPHABETS: [&[u8]; 5] = [b"a", b"ab", b"ab\n", b"abc\r\n ", b"\xff\xc3\xa9\0=Y"];

fn base64(bytes: &[u8], url_safe: bool) -> Vec<u8> {
    let last_two = if url_safe { b"-_" } else { b"+/" };
    let digits: Vec<u8> = (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*last_two).collect();
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |six: &[u8]| digits[(0..6).fold(0, |sum, at| 2 * sum + usize::from(six.get(at) == Some(&1)))];
    bits.chunks(6).map(digit).collect()
}

/// Returns everything that must be masked of a value, according to the documentation.
fn patterns(value: &[u8]) -> Vec<Vec<u8>> {
    let bare = without_blanks(value);
    let stripped = if bare == without_newlines(value) || bare.is_empty() { Vec::new() } else { patterns_of(bare) };
    [patterns_of(value), stripped].concat()
}

fn without_newlines(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b'\n' | b'\r'] = text {
        text = rest;
    }
    text
}

fn without_blanks(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// Returns the same without regard to the blanks around a value.
fn patterns_of(value: &[u8]) -> Vec<Vec<u8>> {
    let text = without_newlines(value);
    let blank = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_whitespace);
    if blank(text) {
        return Vec::new();
    }
    let (mut lone, mut every) = (Vec::new(), Vec::new());
    for &byte in text {
        if byte == b'\n' {
            every.push(b'\r');
            if lone.last() != Some(&b'\r') {
                lone.push(b'\r');
            }
        }
        lone.push(byte);
        every.push(byte);
    }
    let mut patterns = vec![text.to_vec(), lone, every];
    let mut broken = vec![base64(text, false)];
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() >= 8 && !blank(line) {
            broken.push(line.to_vec());
        }
        // Programs strip lines as they strip values.
        let line = without_newlines(line);
        let stripped = [line, without_blanks(line)].into_iter().filter(|line| line.len() >= 8 && !blank(line));
        patterns.extend(stripped.map(<[u8]>::to_vec));
    }
    // Any 12 bytes of a line of 24 or more, since a program may break the line anywhere. Runs of one character are left alone.
    for line in broken.iter().filter(|line| line.len() >= 24) {
        let rule = |part: &[u8]| blank(part) || part.iter().all(|byte| *byte == part[0]);
        patterns.extend((0..=line.len() - 12).map(|at| line[at..at + 12].to_vec()).filter(|part| !rule(part)));
    }
    // The value as JSON and Python show it. The alphabets have no quotes and no backslash.
    let by_byte = |show: &dyn Fn(u8) -> String| text.iter().map(|byte| show(*byte)).collect::<String>().into_bytes();
    patterns.push(by_byte(&|byte| match byte {
        b'\n' => "\\n".to_owned(),
        b'\r' => "\\r".to_owned(),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    }));
    if let Ok(text) = std::str::from_utf8(text) {
        let shown = text.replace('\n', "\\n").replace('\r', "\\r");
        let json = shown.replace('\0', "\\u0000");
        let ascii = json.chars().map(|it| if it.is_ascii() { it.to_string() } else { format!("\\u{:04x}", it as u32) });
        patterns.extend([shown.replace('\0', "\\x00").into_bytes(), ascii.collect::<String>().into(), json.into()]);
    }
    for url_safe in [false, true] {
        for whole in [value, text] {
            let encoded = base64(whole, url_safe);
            let padding = [b'='].repeat((4 - encoded.len() % 4) % 4);
            patterns.push([&encoded[..], &padding].concat());
            if text.len() >= 8 {
                patterns.push(encoded);
            }
        }
        if text.len() >= 8 {
            for before in 0..3 {
                // Without the digits that share bits with a neighbour; then also with the last digit, as at the end of a text.
                let shifted = base64(&[&[0; 2][..before], text].concat(), url_safe);
                let (first, certain) = ([0, 2, 3][before], 8 * (before + text.len()) / 6);
                patterns.push(shifted[first..certain].to_vec());
                patterns.push(shifted[first..].to_vec());
            }
        }
    }
    // Other encodings. `masking_forms` compares them with what programs write.
    patterns.extend(forms_of(value).iter().map(|form| form.to_vec()));
    patterns
}

/// Returns what may be shown of a stream of which this much is known: all of it if the stream has ended, otherwise the part
/// that cannot change any more.
fn oracle(patterns: &[Vec<u8>], stream: &[u8], ended: bool) -> Vec<u8> {
    let starts_one = |end: &&[u8]| patterns.iter().any(|pattern| pattern.len() > end.len() && pattern.starts_with(end));
    let held = (0..stream.len()).map(|at| &stream[at..]).find(starts_one).map_or(0, <[u8]>::len);
    let limit = if ended { stream.len() } else { stream.len() - held };

    // The end of the longest occurrence at each position.
    let mut ends = vec![0; stream.len()];
    for pattern in patterns {
        for at in 0..stream.len() {
            if stream[at..].starts_with(pattern) {
                ends[at] = ends[at].max(at + pattern.len());
            }
        }
    }
    let mut output = Vec::new();
    let mut at = 0;
    while at < limit {
        if ends[at] == 0 {
            output.push(stream[at]);
            at += 1;
            continue;
        }
        let mut end = ends[at];
        while at < end {
            end = end.max(ends[at]);
            at += 1;
        }
        output.extend_from_slice(b"*****");
    }
    output
}

struct Values {
    list: Watchlist,
    alphabet: &'static [u8],
    values: Vec<Vec<u8>>,
    patterns: Vec<Vec<u8>>,
}

impl Values {
    fn random(random: &mut Random) -> Self {
        let alphabet = ALPHABETS[random.up_to(ALPHABETS.len())];
        let mut values = Vec::new();
        for _ in 0..=random.up_to(3) {
            let length = if random.up_to(12) == 0 {
                24 + random.up_to(20)
            } else {
                [random.up_to(4), random.up_to(12), random.up_to(24)][random.up_to(3)]
            };
            values.push(random.bytes(alphabet, length));
        }
        let list = Watchlist::new();
        values.iter().enumerate().for_each(|(name, value)| list.add(&name.to_string(), value));
        let mut patterns: Vec<_> = values.iter().flat_map(|value| patterns(value)).collect();
        patterns.sort();
        patterns.dedup();
        Self { list, alphabet, values, patterns }
    }

    /// Returns a mixture of noise, values, parts of masked patterns, and base64 of texts that contain a value.
    fn stream(&self, random: &mut Random) -> Vec<u8> {
        let mut stream = Vec::new();
        for _ in 0..random.up_to(6) {
            let length = random.up_to(6);
            let noise = random.bytes(self.alphabet, length);
            let value = &self.values[random.up_to(self.values.len())];
            let pattern =
                self.patterns.get(random.up_to(self.patterns.len().max(1))).map_or(&b""[..], |pattern| pattern);
            match random.up_to(5) {
                0 => stream.extend(noise),
                1 => stream.extend_from_slice(value),
                2 => stream.extend_from_slice(pattern),
                3 => stream.extend_from_slice(&pattern[..random.up_to(pattern.len() + 1)]),
                _ => stream.extend(base64(&[&noise[..], value, &noise].concat(), random.up_to(2) == 0)),
            }
        }
        stream
    }
}

pub(crate) fn pieces<'a>(random: &mut Random, mut stream: &'a [u8]) -> Vec<&'a [u8]> {
    let most = [1, 4, 1000][random.up_to(3)];
    let mut pieces = Vec::new();
    while !stream.is_empty() {
        let (piece, rest) = stream.split_at(random.up_to(most.min(stream.len()) + 1));
        pieces.push(piece);
        stream = rest;
    }
    pieces
}

fn different(output: &[u8], expected: &[u8]) -> String {
    format!("{} instead of {}", output.escape_ascii(), expected.escape_ascii())
}

fn assert_hidden(patterns: &[Vec<u8>], output: &[u8], what: &str) {
    for pattern in patterns {
        let found = output.windows(pattern.len()).any(|bytes| bytes == pattern);
        assert!(!found, "{what}: {} is in {}", pattern.escape_ascii(), output.escape_ascii());
    }
}

#[test]
fn a_stream_is_masked_the_same_however_it_is_split() {
    let mut random = Random::seeded();
    let mut masks = 0;
    for case in 0..cases() / CASES_A_LIST {
        let values = Values::random(&mut random);
        for _ in 0..CASES_A_LIST / 2 {
            // Two streams with one list, fed in turns, like standard output and standard error.
            let streams = [values.stream(&mut random), values.stream(&mut random)];
            let mut maskers = [Masker::new(values.list.clone()), Masker::new(values.list.clone())];
            let mut rest = [pieces(&mut random, &streams[0]), pieces(&mut random, &streams[1])].map(Vec::into_iter);
            let (mut fed, mut outputs) = ([0, 0], [Vec::new(), Vec::new()]);
            let what = |at: usize| {
                let shown: Vec<_> = values.values.iter().map(|value| value.escape_ascii().to_string()).collect();
                format!("case {case}, values {shown:?}, stream {}", streams[at].escape_ascii())
            };
            while rest.iter().any(|pieces| pieces.len() > 0) {
                let at = random.up_to(2);
                let Some(piece) = rest[at].next() else { continue };
                maskers[at].feed(piece, &mut outputs[at]);
                fed[at] += piece.len();
                if random.up_to(4) == 0 {
                    let expected = oracle(&values.patterns, &streams[at][..fed[at]], false);
                    assert!(outputs[at] == expected, "{}: {}", what(at), different(&outputs[at], &expected));
                }
            }
            for at in [0, 1] {
                maskers[at].flush(&mut outputs[at]);
                let expected = oracle(&values.patterns, &streams[at], true);
                assert!(outputs[at] == expected, "{}: {}", what(at), different(&outputs[at], &expected));
                assert!(!maskers[at].holds_back(), "{}", what(at));
                assert_hidden(&values.patterns, &outputs[at], &what(at));
                masks += usize::from(outputs[at] != streams[at]);
            }
        }
    }
    // The test proves something only if many cases contain a value.
    assert!(masks > cases() as usize / 4, "only {masks} cases contained a value");
}

#[test]
fn added_values_and_flushes_let_nothing_through() {
    let mut random = Random::seeded();
    for case in 0..cases() / CASES_A_LIST {
        let values = Values::random(&mut random);
        let stream = values.stream(&mut random);
        let list = Watchlist::new();
        let mut masker = Masker::new(list.clone());
        let (mut output, mut known) = (Vec::new(), Vec::new());
        let mut unknown = values.values.iter().enumerate();
        // No value may come through after the last addition or flush.
        let mut since = 0;
        for piece in pieces(&mut random, &stream) {
            match random.up_to(6) {
                0 => {
                    if let Some((name, value)) = unknown.next() {
                        list.add(&name.to_string(), value);
                        known.extend(patterns(value));
                        since = output.len();
                    }
                }
                1 => {
                    masker.flush(&mut output);
                    since = output.len();
                }
                _ => {}
            }
            masker.feed(piece, &mut output);
            let what = || format!("case {case}, stream {}", stream.escape_ascii());
            assert_hidden(&known, &output[since..], &what());
        }
    }
}

fn masked(values: &[&str], text: &str) -> String {
    let list = Watchlist::new();
    values.iter().for_each(|value| list.add("a name", value.as_bytes()));
    let mut masker = Masker::new(list);
    let mut output = Vec::new();
    masker.feed(text.as_bytes(), &mut output);
    masker.flush(&mut output);
    String::from_utf8(output).expect("UTF-8")
}

fn letters(random: &mut Random, length: usize) -> String {
    let alphabet: Vec<u8> = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').collect();
    String::from_utf8(random.bytes(&alphabet, length)).expect("ASCII")
}

/// Returns whether any 12 consecutive bytes of the value are in the text.
fn holds_a_part(text: &str, value: &str) -> bool {
    (0..=value.len() - 12).any(|at| text.contains(&value[at..at + 12]))
}

#[test]
fn no_long_part_stays_of_a_value_broken_into_lines() {
    let mut random = Random::seeded();
    for _ in 0..200 {
        let length = 24 + random.up_to(400);
        let value = letters(&mut random, length);
        let encoded = String::from_utf8(base64(value.as_bytes(), false)).expect("ASCII");
        for shown in [&value, &encoded] {
            // As in a panel: the lines are framed, and the first one begins at any column.
            let width = 12 + random.up_to(80);
            let first = random.up_to(width);
            let (head, rest) = shown.split_at(first.min(shown.len()));
            let rest: Vec<_> =
                rest.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
            let panel = format!("│ token: {head} │\n│ {} │", rest.join(" │\n│ "));
            let output = masked(&[&value], &panel);
            assert!(!holds_a_part(&output, shown), "{panel}\n{output}");
            assert!(output.starts_with("│ token: "), "{panel}\n{output}");
        }
    }
    // The lines of a key are masked too, also among other values. Other text is left alone.
    let lines: Vec<String> = (0..50).map(|_| letters(&mut random, 64)).collect();
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let output = masked(
        &["another value", &key],
        &lines
            .concat()
            .as_bytes()
            .chunks(77)
            .map(|line| format!("{}\n", String::from_utf8_lossy(line)))
            .collect::<String>(),
    );
    assert!(lines.iter().all(|line| !holds_a_part(&output, line)), "{output}");
    let address = "postgresql://me:0123456789abcdef@db.example.org/a";
    assert_eq!(masked(&[address], "postgresql://you@localhost"), "postgresql://you@localhost");
    assert_eq!(masked(&[address], "me:0123456789abc\ndef@db.example.org/a"), "*****\n*****");
    let rules = ["-".repeat(12), " ".repeat(40), "=".repeat(12)].join("|");
    assert_eq!(masked(&[&format!("{}{}{}x", "-".repeat(24), " ".repeat(24), "=".repeat(24))], &rules), rules);
}

#[test]
fn parts_of_a_large_value_are_searched_up_to_a_limit() {
    let mut random = Random::seeded();
    let value = letters(&mut random, 1 << 20);
    let shown = |at: usize| masked(&[&value], &format!("<{}>", &value[at..at + 40]));
    let last = (1 << 15) - 1;
    assert_eq!((shown(0), shown(last - 28)), ("<*****>".to_owned(), "<*****>".to_owned()));
    assert_eq!(shown(last + 1), format!("<{}>", &value[last + 1..last + 41]));
    assert_eq!(masked(&[&value], &value), "*****");
    // The limit leaves room for the parts of other values.
    let token = letters(&mut random, 93);
    assert_eq!(masked(&[&value, &token], &format!("{}\n{}", &token[..40], &token[40..])), "*****\n*****");
}

#[test]
fn strings_in_a_json_value_are_masked_separately() {
    let lines = ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw", "ggSjAgEAAoIBAQC7VJTUt9Us8cKjMzEfYyji"];
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let account = format!(
        r#"{{ "type": "account", "private_key": "{}", "more": [{{"password": "caf\u00e9 \"secret"}}, 12345678, "short"] }}"#,
        key.replace('\n', "\\n")
    );
    let shown = |text: &str| masked(&[&account], text);
    assert_eq!(shown(&account), "*****");
    assert_eq!(shown(&key), "*****\n");
    assert_eq!(shown(lines[1]), "*****");
    assert_eq!(shown(&format!("{}\n{}", &lines[0][..15], &lines[0][15..])), "*****\n*****");
    let encoded = String::from_utf8(base64(key.as_bytes(), false)).expect("ASCII");
    assert_eq!(shown(&encoded), "*****");
    // The string as it is, and as JSON and Python quote it.
    assert_eq!(shown("<café \"secret> <caf\\u00e9 \\\"secret> <café \\\"secret>"), "<*****> <*****> <*****>");
    assert_eq!(shown("private_key password account 12345678 short"), "private_key password account 12345678 short");
    // Names of members and numbers occur in other output too, so they are not masked. Incomplete JSON counts as plain text.
    for value in [&account[..account.len() - 1], r#""a string""#, "[1, 2, 3]", "{}"] {
        assert_eq!(masked(&[value], "a string 1, 2 caf\u{e9} \"secret"), "a string 1, 2 caf\u{e9} \"secret", "{value}");
    }
}

#[test]
fn a_value_is_masked_as_json_and_python_quote_it() {
    let masks = |value: &str, text: &str| assert_eq!(masked(&[value], &format!("<{text}>")), "<*****>", "{value:?}");
    masks("pa\"ss\\wo\trd", r#"pa\"ss\\wo\trd"#);
    masks("pa\"ss\\wo\trd", r#"pa"ss\\wo\trd"#);
    masks("it's", "it's");
    masks("it's \"it\"", r#"it\'s "it""#);
    masks("\u{8}\u{c}\u{1}\u{7f}\u{1f511}", r"\b\f\u0001\u007f\ud83d\udd11");
    masks("\u{8}\u{c}\u{1}\u{7f}\u{1f511}", "\\b\\f\\u0001\u{7f}\u{1f511}");
    masks("\u{8}\u{c}\u{1}\u{7f}\u{1f511}", "\\x08\\x0c\\x01\\x7f\u{1f511}");
    masks("a\u{1f511}\n\n", r"a\xf0\x9f\x94\x91");
    masks("one\r\ntwo", r"one\r\ntwo");
}

#[test]
fn only_the_padded_base64_of_a_short_value_is_masked() {
    assert_eq!(masked(&["1", "a"], "MQ MQo YQ MQ== YQ=="), "MQ MQo YQ ***** *****");
    assert_eq!(masked(&["7 bytes"], "NyBieXRlcw NyBieXRlcw=="), "NyBieXRlcw *****");
    assert_eq!(masked(&["8 bytes."], "OCBieXRlcy4 OCBieXRlcy4="), "***** *****");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_token_in_the_panel_of_an_error_is_masked() {
    let tasks = "
import os, textwrap
import flyte

env = flyte.TaskEnvironment(name='env', secrets='token')

@env.task
def main() -> str:
    print(textwrap.fill('the token ' + os.environ['TOKEN'], 40))
    raise ValueError('cannot log in with ' + os.environ['TOKEN'])
";
    let mut random = Random::seeded();
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let value = letters(&mut random, 93);
        sandbox.secret("token", &value, &[]);
        sandbox.file("task.py", tasks);
        for columns in ["60", "80", "200"] {
            let mut command = sandbox.command(&["run", "--python"]);
            command.arg(python(sdk)).args(["task.py", "main"]).env("COLUMNS", columns);
            let ran = Ran::from(command.output().expect("flyte-local starts"));
            assert!(ran.code == 1 && ran.all().contains("cannot log in with"), "{sdk}: {ran:?}");
            assert!(ran.all().contains("*****") && !holds_a_part(&ran.all(), &value), "{sdk}: {ran:?}");
        }
    }
}
