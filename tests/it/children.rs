//! Programs that flyte-local starts do not inherit the variable with the identity, and cannot read the passphrase.

#![allow(clippy::disallowed_methods, reason = "tests write files as any program could")]

use std::os::unix::fs::PermissionsExt;

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require};

const PASSPHRASE: &str = "correct horse";

/// A program that notes the variable and the next line of descriptor 3.
const SPY: &str = r#"#!/bin/sh
printf '%s %s; ' "${FLYTE_LOCAL_IDENTITY_KEY-no-key}" "$(head -n 1 <&3 | tr -d '\n')" >>"$HOME/seen"
case "$0 $1" in */uv\ python) echo "$HOME/bin/spy" ;; esac
"#;

/// Returns a sandbox with a secret, and programs in `bin` that note what they see.
fn sandbox() -> Sandbox {
    require("bash", "bash");
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "its value"]);
    for name in ["spy", "uv", "docker-credential-spy"] {
        let path = sandbox.file(&format!("../bin/{name}"), SPY);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("the test's own file");
    }
    sandbox.file("task.py", "");
    sandbox.file("script.py", "# /// script\n# dependencies = []\n# ///\n");
    sandbox.file("docker.json", r#"{"credHelpers": {"ghcr.io": "spy"}}"#);
    sandbox
}

/// Runs a shell command with the key in the variable, if one is given, and the passphrase and another line on descriptor 3.
fn spied(sandbox: &Sandbox, key: Option<&str>, script: &str) -> (Ran, String) {
    spied_from(sandbox, key, script, &format!("<(printf '%s\\n' '{PASSPHRASE}' another)"))
}

/// Runs a shell command as [`spied`], with descriptor 3 opened from `source`.
fn spied_from(sandbox: &Sandbox, key: Option<&str>, script: &str, source: &str) -> (Ran, String) {
    let seen = sandbox.home().join("seen");
    let _ = std::fs::remove_file(&seen);
    let mut command = sandbox.program("bash");
    let path = std::env::var("PATH").expect("PATH is set");
    command.env("PATH", format!("{}:{path}", sandbox.home().join("bin").display())).env("EDITOR", "spy");
    command.envs(key.map(|key| ("FLYTE_LOCAL_IDENTITY_KEY", key)));
    command.args(["-c", &format!("{script} 3< {source}"), FLYTE_LOCAL]);
    let ran = Ran::from(command.output().expect("bash starts"));
    (ran, std::fs::read_to_string(seen).unwrap_or_default())
}

const KINDS: [&str; 8] = [
    "exec --secret s -- spy",
    "exec --secret s --mask -- spy",
    "serve -- spy",
    "edit secret s",
    "run --python spy task.py",
    "run --python spy --dry-run task.py",
    "push secret --yes --python spy",
    "create secret i --type image_pull --from-docker-config --docker-config-path docker.json --registries ghcr.io",
];

#[test]
#[ignore = "needs Bash: scripts/test"]
fn a_child_inherits_neither_the_identity_nor_the_passphrase() {
    let sandbox = sandbox();
    let key = std::fs::read_to_string(sandbox.identity()).expect("an identity");
    let key = key.lines().last().expect("its key");
    let (_, control) = spied(&sandbox, Some(key), "spy");
    assert_eq!(control, format!("{key} {PASSPHRASE}; "), "a program that the shell starts sees both");
    for kind in KINDS {
        let (ran, seen) = spied(&sandbox, Some(key), &format!("\"$0\" --passphrase-fd 3 {kind}"));
        assert_eq!(seen, "no-key ; ", "{kind}: {ran:?}");
    }
    // The run starts uv twice, then once more for the path of the interpreter, and then the interpreter.
    let (ran, seen) = spied(&sandbox, Some(key), "\"$0\" --passphrase-fd 3 run script.py");
    assert_eq!(seen, "no-key ; ".repeat(4), "uv: {ran:?}");
}

#[test]
#[ignore = "needs Bash: scripts/test"]
fn a_passphrase_unlocks_the_identity_although_uv_starts_first() {
    let sandbox = sandbox();
    sandbox.lock_identity(PASSPHRASE);
    let (ran, seen) = spied(&sandbox, None, "\"$0\" --passphrase-fd 3 run script.py");
    assert_eq!(seen, "no-key ; ".repeat(4), "{ran:?}");
    assert!(ran.stderr.contains("did not start as a Python interpreter"), "the run got past the identity: {ran:?}");
}

#[test]
#[ignore = "needs Bash: scripts/test"]
fn no_child_starts_if_the_passphrase_is_in_a_file() {
    let sandbox = sandbox();
    sandbox.file("passphrases", format!("{PASSPHRASE}\n"));
    let scripts = KINDS.iter().copied().chain(["run script.py"]);
    for kind in scripts {
        let (ran, seen) = spied_from(&sandbox, None, &format!("\"$0\" --passphrase-fd 3 {kind}"), "passphrases");
        assert_eq!((ran.code, seen.as_str()), (2, ""), "{kind}: {ran:?}");
        assert!(ran.stderr.starts_with("error: file descriptor 3 is a regular file, "), "{kind}: {ran:?}");
    }
}
