//! A value that was pasted wrong is stored as it is, and one line says so without the value. An identity that is empty or cut in a
//! variable is named with the likely cause.

use crate::support::regressions::regressions;
use crate::support::{Ran, Sandbox};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    value: String,
    says: Option<String>,
    why: String,
}

/// Makes a file that `import` finds private.
fn private_file(sandbox: &Sandbox, name: &str, content: &str) {
    sandbox.file(name, content);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(sandbox.work().join(name), mode).expect("set");
}

/// Returns the notices of a run, without the line about the action.
fn notices(ran: &Ran) -> Vec<&str> {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stderr.lines().filter(|line| line.starts_with("flyte-local: ")).collect()
}

#[test]
fn signs_of_a_wrong_paste_are_told_and_the_value_is_stored_as_it_is() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "first"]);
    for (index, Case { value, says, why }) in regressions::<Case>("pasted").into_iter().enumerate() {
        let name = format!("n{index}");
        let line = |name: &str| says.iter().map(|says| notice(name, says)).collect::<Vec<_>>();
        sandbox.file("value", &value);
        let created = sandbox.run(&["create", "secret", &name, "--from-file", "value"]);
        assert_eq!(notices(&created), line(&name), "create {value:?}: {why}");
        let updated = sandbox.run(&["update", "secret", "s", "--value", &value]);
        assert_eq!(notices(&updated), line("s"), "update {value:?}: {why}");
        for place in [format!("org/{name}"), "org/s".to_owned()] {
            assert_eq!(sandbox.value(&place).as_deref(), Some(value.as_bytes()), "{why}");
        }
        let imported = format!("i{index}");
        let file = serde_json::json!({ &imported: &value }).to_string();
        private_file(&sandbox, "values.json", &file);
        let dry = sandbox.run(&["import", "values.json", "--dry-run"]);
        assert_eq!(notices(&dry), line(&imported), "import --dry-run {value:?}: {why}");
        let ran = sandbox.run(&["import", "values.json"]);
        assert_eq!(notices(&ran), line(&imported), "import {value:?}: {why}");
        let again = sandbox.run(&["import", "values.json"]);
        assert_eq!(notices(&again), [""; 0], "a value that is there already is not written: {why}");
    }
}

fn notice(name: &str, says: &str) -> String {
    format!("flyte-local: the value of {name} has {says}; it is stored as it is")
}

#[test]
fn an_edited_value_is_looked_at_too() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "first"]);
    let mut edit = sandbox.command(&["edit", "secret", "s"]);
    let edited = Ran::from(edit.env("EDITOR", "printf '\"hunter2\"' >").output().expect("it starts"));
    assert_eq!(notices(&edited), [notice("s", "quotes around it")]);
    assert!(!edited.all().contains("hunter2"), "{edited:?}");
}

#[test]
fn a_secret_that_no_identity_of_this_machine_opens_is_told() {
    let sandbox = Sandbox::new();
    let ordinary = sandbox.run(&["create", "secret", "s", "v"]);
    assert_eq!(notices(&ordinary), [""; 0]);
    let other = flyte_local::crypto::Identity::generate();
    private_file(&sandbox, "other.txt", &other.to_file("now"));
    private_file(&sandbox, "pairs.json", r#"{"a": "v", "b": "v"}"#);
    let path = sandbox.work().join("other.txt");
    for (arguments, what) in [
        (&["create", "secret", "t", "v"][..], "it"),
        (&["update", "secret", "s", "w"], "it"),
        (&["import", "pairs.json"], "the imported secrets"),
    ] {
        let says = format!(
            "flyte-local: no identity of this machine opens {what}, only the vault's recipients do: flyte-local get recipient"
        );
        let ran = Ran::from(sandbox.command(arguments).env("FLYTE_LOCAL_IDENTITY", &path).output().expect("it starts"));
        assert_eq!(notices(&ran), [says], "{arguments:?}");
    }
    let missing = sandbox.command(&["update", "secret", "s", "x"]).env("FLYTE_LOCAL_IDENTITY", "nowhere").output();
    let missing = Ran::from(missing.expect("it starts"));
    assert_eq!(notices(&missing).len(), 1, "{missing:?}");
}

/// Runs `get secret s --reveal` with a value of the identity variable, in a vault whose default identity is gone.
fn reveal(sandbox: &Sandbox, variable: &str, value: &str) -> Ran {
    let ran = sandbox.command(&["get", "secret", "s", "--reveal"]).env(variable, value).output();
    Ran::from(ran.expect("flyte-local starts"))
}

#[test]
fn an_identity_variable_that_is_empty_is_named_with_the_likely_cause() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "v"]);
    assert_eq!(reveal(&sandbox, "FLYTE_LOCAL_IDENTITY_KEY", "").text(), "v", "an empty variable does not count");
    let file = sandbox.home().join(".config/flyte-local/identity.txt");
    let text = std::fs::read_to_string(&file).expect("the identity");
    std::fs::remove_file(&file).expect("removed");
    for variable in ["FLYTE_LOCAL_IDENTITY_KEY", "FLYTE_LOCAL_IDENTITY"] {
        let ran = reveal(&sandbox, variable, "");
        let cause =
            format!("caused by: {variable} is set and empty; in CI, a pull request from a fork gets no secrets\n");
        assert!(ran.code == 10 && ran.stderr.contains(&cause), "{ran:?}");
    }
    let unset = sandbox.run(&["get", "secret", "s", "--reveal"]);
    assert!(!unset.stderr.contains("is set and empty"), "{unset:?}");
    let blank = reveal(&sandbox, "FLYTE_LOCAL_IDENTITY_KEY", " \n");
    assert!(blank.code == 1 && blank.stderr.contains("it has only white space; in CI, a pull request"), "{blank:?}");

    let key = text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).expect("a key");
    assert_eq!(reveal(&sandbox, "FLYTE_LOCAL_IDENTITY_KEY", key).text(), "v");
    for length in [17, 40, 73] {
        let cut = reveal(&sandbox, "FLYTE_LOCAL_IDENTITY_KEY", &key[..length]);
        let cause = format!("caused by: the key has {length} characters of 74: the copy is probably cut\n");
        assert!(cut.code == 1 && cut.stderr.contains(&cause), "{cut:?}");
        assert!(!cut.all().contains(&key[16..length.min(24)]) || length < 24, "{cut:?}");
    }
    for (open_ssh, cause) in [
        (
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n",
            "no line -----END …-----: the copy is probably cut",
        ),
        ("-----BEGIN OPENSSH PRIVATE KEY----- b3Bl -----END OPENSSH PRIVATE KEY-----", "probably lost its line ends"),
    ] {
        let ran = reveal(&sandbox, "FLYTE_LOCAL_IDENTITY_KEY", open_ssh);
        assert!(ran.code == 1 && ran.stderr.contains(cause), "{ran:?}");
    }
}
