//! `.env` files are read as python-dotenv reads them, and python-dotenv reads back the ones that we write.

#![allow(clippy::disallowed_methods, reason = "tests read their own variables")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Random, python, tally};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flyte_local::secret::{SecretName, SecretValue};
use flyte_local::transfer::{SpecialNames, dotenv};
use serde::Deserialize;

/// The number of generated files; the long form has ten times as many.
const GENERATED: usize = 3000;

/// The result of reading a file with python-dotenv.
#[derive(Debug, Deserialize)]
struct Read {
    values: Option<BTreeMap<String, Option<String>>>,
    errors: Vec<usize>,
    expanded: BTreeSet<String>,
}

/// Reads each file with python-dotenv, in one process.
fn python_reads(files: &[Vec<u8>]) -> Vec<Read> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/dotenv_reader.py");
    let mut child = Command::new(python("newest"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = child.stdin.take().expect("piped");
    let lines: String = files.iter().map(|file| BASE64_STANDARD.encode(file) + "\n").collect();
    // The process answers while it still reads, so a thread writes.
    let asking = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    asking.join().expect("no panic").expect("written");
    assert!(output.status.success(), "python-dotenv did not run: scripts/test installs it");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let read: Vec<Read> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(read.len(), files.len());
    read
}

/// Asserts that we read each file as python-dotenv does, and refuse a file with the numbers of the lines that
/// python-dotenv would skip. Returns how many files were read, and how many refused.
fn compare(files: &[Vec<u8>]) -> (usize, usize) {
    let (mut read, mut refused) = (0, 0);
    for (file, theirs) in files.iter().zip(python_reads(files)) {
        let text = || String::from_utf8_lossy(file).into_owned();
        match dotenv::parse(file) {
            Ok(entries) => {
                read += 1;
                assert_eq!(theirs.errors, [0; 0], "we read a file of which python-dotenv skips lines: {:?}", text());
                let value = |value: &Option<zeroize::Zeroizing<String>>| value.as_deref().cloned();
                let ours: BTreeMap<_, _> = entries.iter().map(|e| (e.name.to_string(), value(&e.value))).collect();
                assert_eq!(ours.len(), entries.len(), "a name occurs twice: {:?}", text());
                let expanded = entries.iter().filter(|e| e.value.as_deref().is_some_and(|v| dotenv::is_expanded(v)));
                let expanded: BTreeSet<_> = expanded.map(|e| e.name.to_string()).collect();
                assert_eq!(expanded, theirs.expanded, "{:?}", text());
                assert_eq!(Some(ours), theirs.values, "{:?}", text());
            }
            Err(malformed) => {
                refused += 1;
                let lines: Vec<_> = malformed.first().iter().map(|malformed| malformed.line).collect();
                let is_same =
                    theirs.errors.starts_with(&lines) && theirs.errors.len() == lines.len() + malformed.more();
                assert!(theirs.values.is_none() || is_same, "{lines:?}: {theirs:?}: {:?}", text());
            }
        }
    }
    (read, refused)
}

/// Returns every combination of a start, a value and an end of a file.
fn systematic() -> Vec<Vec<u8>> {
    let starts = ["A=", "export A=", "A = ", "  'A'=", "A=\t", "\u{feff}A=", "# c\n\nA=", "B='x'\r\nA="];
    let values: [&str; 49] = [
        "",
        "x",
        " x ",
        "x y",
        "x#y",
        "x #y",
        "x\t# y # z",
        "#x",
        "# x",
        "''",
        "'x'",
        "' x '",
        "'x' # y",
        "'x'#y",
        "'x#y'",
        "'x' y",
        "'x",
        r"'x\'y'",
        r"'x\\'",
        r"'x\ny'",
        r"'x\\ny'",
        "'x\ny'",
        "'x\r\ny'",
        "'\"'",
        "\"\"",
        "\"x\"",
        "\"x\" # y",
        "\"x\" y",
        "\"x",
        r#""x\"y""#,
        r#""x\\""#,
        r#""x\\\"y""#,
        r#""\a\b\f\n\r\t\v\'\z\0\x41\u0041""#,
        "\"x\ny\n\nz\"",
        "\"x\r\n# y\r\"",
        "\"'\"",
        r"x\ny\",
        "x'y'",
        "x\"y\"",
        "=x==",
        "${B}",
        "'${B:-d}'",
        "\"$B $${B} ${} ${B:x} ${B\"",
        "${B:x${C:-}",
        "${B:x} ${C:-",
        "${B:${C:-d} }",
        "naïve 日本 🔑",
        "x\u{a0}#\u{2028}y\u{85}\u{1c}",
        "x\0y",
    ];
    let ends = ["", "\n", "\r\nC=z\n"];
    let all = starts.iter().flat_map(|start| values.iter().map(move |value| format!("{start}{value}")));
    all.flat_map(|line| ends.map(|end| format!("{line}{end}").into_bytes())).collect()
}

/// Returns files that [`systematic`] does not make.
fn peculiar() -> Vec<Vec<u8>> {
    let texts = [
        "",
        "\n\n",
        "# only\n#comments",
        "A",
        "A\n",
        "A # c\n",
        "export A\n",
        "export A B\n",
        "export=x",
        "export =x",
        "export\tA=x",
        "exportA=x",
        "export\nA=x",
        "=x",
        "A B=x",
        "A=1\nA=2\n",
        "A=1\nB=2\nA\n",
        "A\nA=1\n",
        "'A B'=x",
        "'A\nB'=x",
        "'A=x",
        "''=x",
        "\"A\"=x",
        "A-B.C=x",
        "é=x",
        "A#B=x",
        "A=\"x\nB=y\nC=\"z\"\n",
        "A='it's'\nB=y",
        "A=x\rB=y\rC",
        "A=x\u{b}B=y",
        "\u{c}A=x",
        "A=x\n\u{feff}B=y",
        "A=\"\\",
        "A='\\'",
        "A=-----BEGIN KEY-----\nabc+/=\n-----END KEY-----\n",
    ];
    let bytes = [&b"A=\xff"[..], b"A=x\nB=\xc3\n", b"\xef\xbb\xbf", b"\xff\xfeA\0=\0"];
    texts.iter().map(|text| text.as_bytes().to_vec()).chain(bytes.map(<[u8]>::to_vec)).collect()
}

/// Returns files of random pieces.
fn generated(random: &mut Random, count: usize) -> Vec<Vec<u8>> {
    const PIECES: [&str; 40] = [
        "A", "B", "A=", "B=", "=", "=", "'", "'", "\"", "\"", "\\", "\\", "\n", "\n", "\r\n", "\r", " ", " ", "\t",
        "#", "#", "export ", "export", "${A}", "${", "}", ":-", "$", "x", "n", "é", "\u{feff}", "\u{a0}", "\u{1c}",
        "\u{85}", "\u{2028}", "\u{b}", "\0", "\u{3000}", "z",
    ];
    let mut file = || {
        let length = random.below(24);
        (0..length).map(|_| PIECES[random.below(PIECES.len() as u64) as usize]).collect::<String>().into_bytes()
    };
    (0..count).map(|_| file()).collect()
}

/// Returns the number of files to generate.
fn many() -> usize {
    if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 10 * GENERATED } else { GENERATED }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_file_is_read_as_python_dotenv_reads_it() {
    let table = [systematic(), peculiar()].concat();
    let (read, refused) = compare(&table);
    let mut random = Random::seeded();
    let (generated_read, generated_refused) = compare(&generated(&mut random, many()));
    // Otherwise the random pieces would prove little.
    assert!(generated_read > many() / 20 && generated_refused > many() / 20, "{generated_read}, {generated_refused}");
    tally(&format!(
        "dotenv: {} written and {} generated files read as by python-dotenv, {} of them refused where it skips lines",
        table.len(),
        many(),
        refused + generated_refused
    ));
    assert!(read >= 200, "{read}");
}

/// Returns a random text without a zero byte.
fn text(random: &mut Random) -> String {
    const CHARACTERS: [char; 28] = [
        'a', 'Z', '0', ' ', '\t', '\n', '\r', '\'', '"', '\\', '\\', '#', '=', '$', '{', '}', ':', '-', '`', '\u{7}',
        '\u{1c}', '\u{85}', '\u{a0}', '\u{2028}', '\u{feff}', 'é', '日', '🔑',
    ];
    let length = random.below(12);
    (0..length).map(|_| CHARACTERS[random.below(CHARACTERS.len() as u64) as usize]).collect()
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn rendered_files_are_read_back_by_python_dotenv_and_by_us() {
    let mut random = Random::seeded();
    let names: Vec<SecretName> =
        ["A", "b_c", "null", "export", "A1", "__"].map(|name| name.parse().expect("good")).to_vec();
    let mut originals: Vec<BTreeMap<SecretName, String>> =
        (0..many()).map(|_| names.iter().map(|name| (name.clone(), text(&mut random))).collect()).collect();
    let files: Vec<Vec<u8>> = originals
        .iter_mut()
        .map(|original| {
            let value = |text: &String| SecretValue::new(text.as_bytes().to_vec().into()).expect("small");
            let secrets = |original: &BTreeMap<SecretName, String>| -> Vec<_> {
                original.iter().map(|(name, text)| (name.clone(), value(text))).collect()
            };
            if let Err(unfit) = dotenv::render(&secrets(original), SpecialNames::Refused) {
                unfit.iter().for_each(|unfit| drop(original.remove(&unfit.name)));
            }
            dotenv::render(&secrets(original), SpecialNames::Refused).expect("the others fit").to_vec()
        })
        .collect();
    let written: usize = originals.iter().map(BTreeMap::len).sum();
    assert!(written > many() * names.len() / 3, "{written} values were not refused");
    compare(&files);
    for (original, theirs) in originals.iter().zip(python_reads(&files)) {
        let theirs: BTreeMap<_, _> = theirs.values.expect("text").into_iter().collect();
        let ours: BTreeMap<_, _> = original.iter().map(|(name, text)| (name.to_string(), Some(text.clone()))).collect();
        assert_eq!(theirs, ours);
    }
    tally(&format!("dotenv: {written} values written, and read back by python-dotenv and by flyte-local"));
}
