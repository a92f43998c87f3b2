//! A value appears only where it was asked for: not in a command's messages, in an argument list or in another file.

#![allow(clippy::disallowed_methods, reason = "tests damage files as any program could")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::support::{Ran, Sandbox, keyring_turn};
use flyte_local::crypto::Identity;

const MARKER: &str = "hunter2-c0ffee";

/// Runs `flyte-local` with the marker on standard input and in the file `value`. Its output must not contain the marker.
fn silent(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let mut command = sandbox.command(arguments);
    command
        .env("RUST_BACKTRACE", "1")
        .env("EDITOR", "false")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // The command may refuse before it has read everything.
    let _ = child.stdin.take().expect("piped").write_all(MARKER.as_bytes());
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    assert!(!ran.all().contains(MARKER), "{arguments:?}: {ran:?}");
    ran
}

#[test]
fn no_command_prints_a_value() {
    let sandbox = Sandbox::new();
    let value = sandbox.file("value", MARKER);
    // Some cases use the file as an identity, and an identity that others can read is refused unread.
    std::fs::set_permissions(value, PermissionsExt::from_mode(0o600)).expect("our own file");
    sandbox.file("too_large", MARKER.repeat(100_000));
    sandbox.file("not_utf8", [MARKER.as_bytes(), b"\xff"].concat());
    sandbox.file("new.env", format!("NEW={MARKER}\ns=another-{MARKER}\n"));
    sandbox.locked_identity("locked", "another passphrase");
    let bob = Identity::generate().recipient().to_string();
    let cases: &[(i32, &[&str])] = &[
        (0, &["create", "secret", "s", MARKER]),
        (0, &["create", "secret", "option", "--value", MARKER]),
        (0, &["create", "secret", "file", "--from-file", "value"]),
        (0, &["create", "secret", "stdin"]),
        (0, &["create", "secret", "bytes", "--from-file", "not_utf8"]),
        (0, &["update", "secret", "s", MARKER]),
        (0, &["update", "secret", "s"]),
        (0, &["get", "secret"]),
        (0, &["get", "secret", "s"]),
        (0, &["get", "secret", "s", "--output-format", "json"]),
        (0, &["exec", "--secret", "s", "--", "true"]),
        (12, &["create", "secret", "s", MARKER]),
        (12, &["create", "secret", "s", "--value", MARKER]),
        (12, &["create", "secret", "s"]),
        (10, &["update", "secret", "missing", MARKER]),
        (10, &["update", "secret", "missing"]),
        (1, &["create", "secret", "large", "--from-file", "too_large"]),
        (1, &["exec", "--secret", "bytes", "--", "true"]),
        (1, &["exec", "--secret", "s=LD_PRELOAD", "--", "true"]),
        (127, &["exec", "--secret", "s", "--", "no-such-command"]),
        (1, &["--identity", "value", "get", "secret", "s", "--reveal"]),
        (1, &["--identity", "value", "exec", "--secret", "s", "--", "true"]),
        (1, &["--vault", "new", "--identity", "value", "init"]),
        (0, &["create", "secret", "p", "--type=image_pull", "--registry=r.io", "--username=u", "--password", MARKER]),
        (12, &["import", "new.env"]),
        (0, &["import", "new.env", "--overwrite", "--only", "NEW", "--dry-run"]),
        (1, &["import", "value"]),
        (1, &["import", "value", "--format", "json"]),
        (1, &["import", "-", "--format", "yaml"]),
        (0, &["export", "s", "-o", "exported.env"]),
        (1, &["edit", "secret", "s"]),
        (0, &["create", "recipient", &bob, "--name", "bob"]),
        (0, &["rekey"]),
        (0, &["delete", "recipient", "bob"]),
        (2, &["create", "recipient", MARKER, "--name", "x"]),
        (2, &["create", "recipient", &format!("AGE-SECRET-KEY-1{MARKER}"), "--name", "x"]),
        (2, &["create", "recipient", "--from-file", "value", "--name", "x"]),
        // Cases with the passphrase on a descriptor.
        (11, &["--passphrase-fd=0", "--identity=locked", "get", "secret", "s", "--reveal"]),
        (11, &["--passphrase-fd=0", "--identity=locked", "unlock"]),
        (11, &["--passphrase-fd=0", "--identity=locked", "update", "identity", "--no-passphrase"]),
        (0, &["--passphrase-fd=0", "--vault=v", "--identity=made", "init", "--passphrase"]),
        (0, &["--passphrase-fd=0", "--identity=made", "unlock", "--for=1h"]),
        (0, &["--identity=made", "lock"]),
        (1, &["--passphrase-fd=0", "--identity=made", "update", "identity", "--passphrase"]),
        (0, &["--passphrase-fd=0", "--identity=made", "update", "identity", "--no-passphrase"]),
    ];
    let _turn = keyring_turn();
    for (code, arguments) in cases {
        let ran = silent(&sandbox, arguments);
        assert_eq!(ran.code, *code, "{arguments:?}: {ran:?}");
    }
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), MARKER.as_bytes(), "only --reveal prints it");
}

#[test]
fn an_error_does_not_repeat_a_value_in_the_wrong_place() {
    let sandbox = Sandbox::new();
    let spaced = format!("{MARKER} ");
    let cases: &[&[&str]] = &[
        &["create", "secret", "s", "two", MARKER],
        &["create", "secret", "s", "two", "three", MARKER],
        &["create", "secret", "s", MARKER, "--value", MARKER],
        &["create", "secret", "s", MARKER, "--from-file", MARKER],
        &["create", "secret", "s", "--value", MARKER, "--from-file", MARKER],
        &["create", "secret", "s", "--value", MARKER, "--value", MARKER],
        &["create", "secret", &spaced, "s"],
        &["create", "s", MARKER],
        &["update", "secret", "s", "--vaule", MARKER],
        &["update", "secret", "s", &format!("--vaule={MARKER}")],
        &["update", "secret", "s", &format!("-S{MARKER}")],
        &["get", "secret", "s", MARKER],
        &["get", "secret", &spaced],
        &["delete", "secret", "s", MARKER],
        &["exec", "--secret", &format!("s={MARKER}"), "--", "true"],
        &["create", "secret", "s", &format!("--generate={MARKER}")],
        &["create", "recipient", "age1", MARKER, "--name", "x"],
        &["delete", "recipient", "x", MARKER],
        &["rekey", MARKER],
        &["unlock", MARKER],
        &["unlock", "--for", MARKER],
        &["lock", MARKER],
        &["update", "identity", "--passphrase", MARKER],
        &["update", "identity", &format!("--passphrase={MARKER}")],
        &["--passphrase-fd", MARKER, "unlock"],
        &["init", &format!("--passphrase={MARKER}")],
        &["import", "new.env", "--map", MARKER],
        &["import", "new.env", MARKER],
        &["edit", "secret", "s", MARKER],
    ];
    for arguments in cases {
        let ran = silent(&sandbox, arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
    }
}

#[test]
fn an_error_does_not_repeat_the_text_after_an_options_equals_sign() {
    let sandbox = Sandbox::new();
    for option in ["--raw", "--type"] {
        let ran = silent(&sandbox, &["create", "secret", "s", "one", &format!("{option}={MARKER}")]);
        assert_eq!(ran.code, 2, "{option}: {ran:?}");
    }
    let ran = silent(&sandbox, &["get", "secret", "s", &format!("--reveal={MARKER}")]);
    assert_eq!(ran.code, 2, "{ran:?}");
}

/// `flyte-local create secret NAME "$VALUE"` must not succeed without creating anything, whatever the value begins with.
#[test]
fn a_value_that_begins_like_the_help_flag_is_not_taken_for_it() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["create", "secret", "s", "-hunter2"]);
    let created = sandbox.run(&["get", "secret", "s", "--reveal"]).stdout == b"-hunter2";
    assert!(created || ran.code == 2, "{ran:?}");
}

#[test]
fn a_damaged_file_reveals_nothing() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", MARKER]);
    let path = sandbox.secret_file("org/s");
    let good = std::fs::read(&path).expect("the secret's file");
    let half = [&good[..good.len() - 1], b"x"].concat();
    for bad in [half.as_slice(), MARKER.as_bytes(), &good[..good.len() / 2]] {
        std::fs::File::create(&path).and_then(|mut file| file.write_all(bad)).expect("damaged");
        for arguments in [&["get", "secret", "s", "--reveal"][..], &["exec", "--secret", "s", "--", "true"]] {
            assert_eq!(silent(&sandbox, arguments).code, 13, "{arguments:?}");
        }
    }
}
