//! A private key in the place of a path or a name: nothing of it is shown, and no file gets its name.

#![allow(clippy::disallowed_methods, reason = "tests write files as any program could")]

use std::collections::BTreeMap;
use std::fs::{read_to_string, write};
use std::path::Path;

use crate::support::{Ran, Sandbox, regressions};
use serde::Deserialize;

/// A case of `tests/regressions/pasted_keys.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PastedKey {
    why: String,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    configuration: Option<String>,
    /// More of `vault.toml`.
    vault: Option<String>,
    command: Vec<String>,
    says: String,
    code: Option<i32>,
}

const OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n\
    b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\nQyNTUxOQAAACBbVm1vbm9ncmFtZm9ydGVzdHM=\n\
    -----END OPENSSH PRIVATE KEY-----\n";

/// Returns the names in a directory and below it, as paths.
fn names(directory: &Path) -> Vec<String> {
    let entries = directory.read_dir().into_iter().flatten().map(|entry| entry.expect("listed").path());
    entries.flat_map(|path| [vec![path.display().to_string()], names(&path)].concat()).collect()
}

/// Returns what went wrong.
fn failure(case: &PastedKey) -> Option<String> {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    let file = read_to_string(sandbox.identity()).expect("there is one");
    let key_in = |text: &str, start: &str| text.lines().find(|line| line.starts_with(start)).expect("a key").to_owned();
    let age = key_in(&file, "AGE-SECRET-KEY-1");
    let author = key_in(&read_to_string(sandbox.author()).expect("there is one"), "FLYTE-AUTHOR-KEY-1");
    let plugin = format!("AGE-PLUGIN-YUBIKEY-1{}", "QYQSZQGPX3".repeat(4));
    let quantum = format!("AGE-SECRET-KEY-PQ-1{}", "QYQSZQGPX3".repeat(20));
    let keys = [
        ("{age}", age.as_str()),
        ("{lower}", &age.to_lowercase()),
        ("{author}", &author),
        ("{plugin}", &plugin),
        ("{quantum}", &quantum),
        ("{openssh}", OPENSSH),
        ("{file}", &file),
    ];
    let filled = |text: &String| keys.iter().fold(text.clone(), |text, (word, key)| text.replace(word, key));
    if let Some(text) = &case.configuration {
        sandbox.file("../.config/flyte-local/config.toml", filled(text));
    }
    if let Some(text) = &case.vault {
        let path = sandbox.vault().join("vault.toml");
        write(&path, read_to_string(&path).expect("there") + &filled(text)).expect("written");
    }
    let command: Vec<_> = case.command.iter().map(filled).collect();
    let variables = case.variables.iter().map(|(name, text)| (name, filled(text)));
    let ran = Ran::from(sandbox.command(&command).envs(variables).output().expect("it starts"));

    // The public key of a file may be shown.
    let lines = keys.iter().flat_map(|(_, key)| key.lines()).filter(|line| !line.starts_with(['#', '-']));
    let pieces: Vec<_> = lines.flat_map(|line| line.as_bytes().windows(12).skip(20)).collect();
    let has_piece = |text: &str| {
        let text = text.to_uppercase();
        pieces.iter().any(|piece| text.contains(&String::from_utf8_lossy(piece).to_uppercase()))
    };
    let is_named = names(sandbox.home()).iter().any(|name| has_piece(name));
    let is_right = ran.code == case.code.unwrap_or(ran.code) && ran.code != 0 && ran.all().contains(&case.says);
    let is_good = is_right && !has_piece(&ran.all()) && !is_named;
    (!is_good).then(|| format!("{}: a file has its name: {is_named}: {ran:?}", case.why))
}

#[test]
fn a_private_key_in_the_place_of_a_path_or_a_name_is_not_repeated() {
    let cases: Vec<PastedKey> = regressions("pasted_keys");
    let failures: Vec<_> = cases.iter().filter_map(failure).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
