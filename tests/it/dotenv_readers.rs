//! A `.env` file that `export` writes is read alike by python-dotenv, the shells that source it, `uv run --env-file` and npm's
//! dotenv. A value for which there is no such file is refused.

#![allow(clippy::disallowed_methods, reason = "tests look at files as any program could")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::regressions::regressions;
use crate::support::{Random, python, require, tally};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flyte_local::secret::{SecretName, SecretValue};
use flyte_local::transfer::{SpecialNames, dotenv};
use serde::Deserialize;

type Values = BTreeMap<String, String>;

/// The readers of `env_readers.py`.
const READERS: [&str; 5] = ["bash", "dash", "npm's dotenv", "python-dotenv", "uv"];

/// Returns the file for these values, or the names that are refused.
fn rendered(values: &Values) -> Result<Vec<u8>, Vec<String>> {
    let secret = |(name, text): (&String, &String)| {
        let value = SecretValue::new(text.as_bytes().to_vec().into()).expect("small");
        (name.parse::<SecretName>().expect("good"), value)
    };
    let secrets: Vec<_> = values.iter().map(secret).collect();
    let file = dotenv::render(&secrets, SpecialNames::Refused).map(|file| file.to_vec());
    file.map_err(|unfit| unfit.iter().map(|unfit| unfit.name.to_string()).collect())
}

/// Asserts that every reader finds exactly these values in these files, and that nothing in them runs as a command.
fn assert_read_alike(all: &[(Values, Vec<u8>)]) {
    require("bash", "bash");
    require("dash", "dash");
    let directory = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let mut lines = String::new();
    for (index, (values, file)) in all.iter().enumerate() {
        let path = directory.path().join(format!("{index}.env"));
        std::fs::write(&path, file).expect("written");
        let names: String = values.keys().map(|name| format!(" {name}")).collect();
        lines.push_str(&format!("{}{names}\n", path.display()));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/env_readers.py");
    let mut command = Command::new(python("newest"));
    command.arg(script).arg(python("uv").with_file_name("uv"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
    let mut input = child.stdin.take().expect("piped");
    let asking = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    asking.join().expect("no panic").expect("written");
    assert!(output.status.success(), "a reader failed");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(text.lines().count(), all.len());
    for ((values, file), line) in all.iter().zip(text.lines()) {
        let read: BTreeMap<String, Values> = serde_json::from_str(line).expect("JSON");
        assert!(read.keys().eq(READERS), "{:?}", read.keys());
        for (reader, found) in read {
            let found: Values = found.into_iter().map(|(name, value)| (name, decoded(&value))).collect();
            assert_eq!(found, *values, "{reader}: {}", String::from_utf8_lossy(file));
        }
        let ours = dotenv::parse(file).unwrap_or_else(|malformed| panic!("{malformed:?}"));
        let ours: Values =
            ours.into_iter().map(|e| (e.name.to_string(), e.value.expect("a value").to_string())).collect();
        assert_eq!(ours, *values, "import: {}", String::from_utf8_lossy(file));
    }
    assert!(!directory.path().join("ran").exists(), "a value ran as a command");
}

fn decoded(value: &str) -> String {
    String::from_utf8(BASE64_STANDARD.decode(value).expect("base64")).expect("UTF-8")
}

/// A small input that once went wrong.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    value: String,
    /// The file, or nothing if the value is refused.
    file: Option<String>,
    why: String,
}

#[test]
#[ignore = "needs the Flyte SDKs and uv: scripts/test"]
fn values_that_readers_once_read_differently_are_written_alike_or_refused() {
    let mut written = Vec::new();
    for Case { value, file, why } in regressions::<Case>("dotenv") {
        let values = Values::from([("N".to_owned(), value)]);
        match (rendered(&values), file) {
            (Ok(bytes), Some(file)) => {
                assert_eq!(String::from_utf8_lossy(&bytes), file, "{why}");
                written.push((values, bytes));
            }
            (Err(_), None) => {}
            (other, file) => panic!("{why}: {other:?}, and not {file:?}"),
        }
    }
    assert_read_alike(&written);
}

/// Returns random text: pieces that shells and readers of `.env` files treat specially.
fn text(random: &mut Random) -> String {
    const PIECES: [&str; 54] = [
        "a",
        "Z0",
        " ",
        "\t",
        "\n",
        "\r",
        "'",
        "'",
        "\"",
        "\"",
        "\\",
        "\\n",
        "\\\\",
        "#",
        " #",
        "=",
        "$",
        "$A",
        "${A}",
        "${A",
        "${A:-b}",
        "`",
        "$(touch ran)",
        "`touch ran`",
        "\ntouch ran\n",
        ";touch ran;",
        "' ; touch ran #",
        "\" ; touch ran #",
        "\nB=c",
        "\nexport B=c",
        "!",
        "é",
        "日",
        "🔑",
        "\u{7f}",
        "\u{1b}",
        "\u{b}",
        "\u{c}",
        "\u{1c}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{feff}",
        "~",
        ":~",
        "%",
        "@",
        "{a,b}",
        "*",
        "&",
        "|",
        "<",
        ">",
        "-",
    ];
    (0..random.below(9)).map(|_| PIECES[random.below(PIECES.len() as u64) as usize]).collect()
}

#[test]
#[ignore = "needs the Flyte SDKs and uv: scripts/test"]
fn every_reader_finds_the_same_values_in_an_exported_file_and_none_runs_as_a_command() {
    const NAMES: [&str; 24] = [
        "B1", "b_c", "null", "yes", "export", "if", "then", "done", "case", "function", "alias", "eval", "exit",
        "test", "N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8", "N9", "__x",
    ];
    let count = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 1000 } else { 40 };
    let mut random = Random::seeded();
    let (mut files, mut refused) = (Vec::new(), 0);
    for _ in 0..count {
        let mut values: Values = NAMES.iter().map(|name| ((*name).to_owned(), text(&mut random))).collect();
        if let Err(unfit) = rendered(&values) {
            refused += unfit.len();
            values.retain(|name, _| !unfit.contains(name));
        }
        let file = rendered(&values).expect("the others fit");
        files.push((values, file));
    }
    assert_read_alike(&files);
    let written: usize = files.iter().map(|(values, _)| values.len()).sum();
    // Otherwise the test would show little.
    assert!(written > refused, "{written} written, {refused} refused");
    tally(&format!("dotenv: {written} values read alike by {} readers, {refused} refused", READERS.len()));
}

#[test]
fn names_that_a_shell_would_run_as_a_command_are_refused() {
    for name in ["a-b", "1", "-", "_", "PATH", "PS4"] {
        let refused = rendered(&Values::from([(name.to_owned(), "x".to_owned())]));
        assert_eq!(refused, Err(vec![name.to_owned()]));
    }
}
