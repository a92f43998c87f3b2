//! Paths that begin with `~`: the home directory, or an error, and never the name of a file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{Ran, Sandbox, regressions};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    why: String,
    #[serde(default)]
    variables: BTreeMap<String, String>,
    configuration: Option<String>,
    command: Vec<String>,
    creates: Option<String>,
    says: Option<String>,
    #[serde(default)]
    code: i32,
}

/// Returns the entries of a directory whose names begin with `~`.
fn tildes(directory: &Path) -> Vec<String> {
    let entries = directory.read_dir().expect("listed").map(|entry| entry.expect("listed").file_name());
    entries.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with('~')).collect()
}

/// Returns what went wrong.
fn failure(case: &Case) -> Option<String> {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    sandbox.file("task.py", "");
    if let Some(text) = &case.configuration {
        sandbox.file("../.config/flyte-local/config.toml", text);
    }
    let ran = Ran::from(sandbox.command(&case.command).envs(&case.variables).output().expect("it starts"));
    let home = sandbox.home().to_str().expect("UTF-8");
    let says = case.says.as_ref().is_none_or(|says| ran.all().contains(&says.replace("{home}", home)));
    let creates = case.creates.as_ref().is_none_or(|path| sandbox.home().join(path).exists());
    let settings = sandbox.home().join(".config/flyte-local");
    let made: Vec<_> = [sandbox.home(), &sandbox.work(), &settings].into_iter().flat_map(tildes).collect();
    let is_clean = made.is_empty() || case.creates.iter().any(|path| path.contains('~'));
    let is_good = ran.code == case.code && says && creates && is_clean;
    (!is_good).then(|| format!("{}: made {made:?}: {ran:?}", case.why))
}

#[test]
fn a_tilde_is_the_home_directory_or_refused() {
    let cases: Vec<Case> = regressions("tilde");
    let failures: Vec<_> = cases.iter().filter_map(failure).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
