//! A vault that this machine neither made nor accepted is read, but not written to.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::path::Path;

use serde_json::{Value, json};

use crate::support::http::{Serving, about, with_value};
use crate::support::served::files;
use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require, secret_id};
use flyte_local::crypto::{AuthorKey, Identity};
use flyte_local::secret::{SecretType, SecretValue};
use flyte_local::vault::VaultError;

/// A vault that a user made on one machine, to which an attacker added a recipient, and the same user's other machine. The
/// user's keys are on both.
struct Machines {
    first: Sandbox,
    second: Sandbox,
    fingerprint: String,
    eve: Identity,
}

impl Machines {
    fn new() -> Self {
        let (first, second, eve) = (Sandbox::new(), Sandbox::empty(), Identity::generate());
        first.ok(&["create", "secret", "s", "a value"]);
        first.ok(&["create", "recipient", &eve.recipient().to_string(), "--name", "eve"]);
        std::fs::create_dir_all(second.identity().parent().expect("a directory")).expect("made");
        std::fs::copy(first.identity(), second.identity()).expect("copied");
        std::fs::copy(first.author(), second.author()).expect("copied");
        let fingerprint = first.open_vault().fingerprint();
        Self { first, second, fingerprint, eve }
    }

    fn arguments<'a>(&self, vault: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["--vault", vault][..], arguments].concat()
    }

    fn vault(&self) -> String {
        self.first.vault().display().to_string()
    }

    /// Runs a command on the second machine.
    fn run(&self, arguments: &[&str]) -> Ran {
        self.second.run(&self.arguments(&self.vault(), arguments))
    }

    /// Asserts that a command was refused, that its error has the keys and the fingerprint, and that the vault is unchanged.
    fn assert_refused(&self, ran: &Ran, what: &dyn std::fmt::Debug) {
        assert_eq!(ran.code, 13, "{what:?} {ran:?}");
        for part in [
            "was never accepted on this machine\n  + id ",
            &format!("\n  + recipient \"eve\" {}\n", self.eve.recipient()),
            &format!("\n  + author \"me\" {}\n", self.first.author_key().author()),
            &format!("update vault --accept --expect {}", self.fingerprint),
        ] {
            assert!(ran.stderr.contains(part), "{part}: {what:?} {ran:?}");
        }
    }
}

/// Each command that writes to a vault.
fn writers(machines: &Machines) -> Vec<Vec<String>> {
    let another = AuthorKey::generate().expect("randomness").author().to_string();
    let recipient = Identity::generate().recipient().to_string();
    machines.second.file("values.env", "imported=value\n");
    let lines = [
        "create secret new value".to_owned(),
        "create secret new --generate".to_owned(),
        // The refusal comes before the value is read, even from a file that does not exist.
        "create secret new --from-file none".to_owned(),
        "update secret s value".to_owned(),
        "update secret s --adopt".to_owned(),
        "edit secret s".to_owned(),
        "delete secret s".to_owned(),
        "import values.env".to_owned(),
        format!("create recipient {recipient} --name another"),
        "delete recipient eve".to_owned(),
        "rekey".to_owned(),
        "update identity --rotate".to_owned(),
        format!("update vault --trust-author {another}"),
        "update vault --distrust-author me".to_owned(),
        "init --git".to_owned(),
        "serve --port 0".to_owned(),
        "serve -- flyte-local create secret new value".to_owned(),
    ];
    lines.iter().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
}

#[test]
fn a_vault_that_was_never_accepted_is_read_and_not_written() {
    let machines = Machines::new();
    let before = files(&machines.first);
    for is_read_before in [false, true] {
        for writer in writers(&machines) {
            if !is_read_before {
                let _ = std::fs::remove_dir_all(machines.second.state());
            }
            let arguments: Vec<_> = writer.iter().map(String::as_str).collect();
            let vault = machines.vault();
            let mut command = machines.second.command(&machines.arguments(&vault, &arguments));
            let ran = Ran::from(command.env("EDITOR", "echo >>").output().expect("flyte-local starts"));
            machines.assert_refused(&ran, &(is_read_before, &writer));
            assert!(files(&machines.first) == before, "{writer:?} wrote");
            assert!(!machines.second.work().join("vault").exists());
        }
        let read = machines.run(&["get", "secret", "s", "--reveal"]);
        assert_eq!((read.code, &read.stdout[..]), (0, &b"a value"[..]), "{read:?}");
        assert!(
            is_read_before || read.stderr.contains("first use of "),
            "a refused write is not a first use: {read:?}"
        );
    }
    let refused = machines.run(&["create", "secret", "new", "value"]);
    let accepted = machines.second.type_hint(&refused, "--accept");
    assert_eq!(accepted.code, 0, "{accepted:?}");
    assert!(accepted.stderr.contains(&format!("fingerprint {}\n", machines.fingerprint)), "{accepted:?}");
    let created = machines.run(&["create", "secret", "new", "value"]);
    assert_eq!((created.code, created.stderr.as_str()), (0, "created secret new (organization)\n"));
}

/// Puts a copy of another user's vault, without files that flyte-local makes when it is used, in the place of this one.
fn replaced(machines: &Machines) {
    let (other, vault) = (Sandbox::new(), machines.first.vault());
    other.ok(&["create", "secret", "s", "another value"]);
    std::fs::rename(&vault, vault.with_extension("old")).expect("renamed");
    let copied = machines.first.program("cp").arg("-r").args([other.vault(), vault.clone()]).status();
    assert!(copied.expect("cp starts").success());
    std::fs::remove_file(vault.join(".lock")).expect("there");
}

#[test]
fn no_file_is_made_in_a_vault_that_was_replaced_or_never_accepted() {
    let machines = Machines::new();
    let run = |sandbox: &Sandbox, arguments: &[&str]| {
        let vault = machines.vault();
        let mut command = sandbox.command(&machines.arguments(&vault, arguments));
        Ran::from(command.env("EDITOR", "echo >>").output().expect("flyte-local starts"))
    };
    machines.first.file("values.env", "imported=value\n");
    replaced(&machines);
    let before = files(&machines.first);
    let pinned = |vault: flyte_local::vault::Vault| vault.authors()[0].key.to_string();
    let listed = pinned(machines.first.open_vault());
    let trust = ["update", "vault", "--trust-author", &listed];
    for (sandbox, what) in [(&machines.first, "replaced"), (&machines.second, "never accepted")] {
        for writer in writers(&machines) {
            // `serve` reads from a vault that has changed, and each of its writes is refused.
            if writer[0] == "serve" {
                continue;
            }
            let ran = run(sandbox, &writer.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(ran.code, 13, "{what}: {writer:?}: {ran:?}");
            assert!(files(&machines.first) == before, "{what}: {writer:?} wrote: {ran:?}");
        }
        // These change only what this machine remembers.
        for arguments in [&["update", "vault", "--accept-older"][..], &trust] {
            let ran = run(sandbox, arguments);
            assert_eq!(ran.code, 0, "{what}: {arguments:?}: {ran:?}");
            assert!(files(&machines.first) == before, "{what}: {arguments:?} wrote: {ran:?}");
        }
    }
}

#[test]
fn a_vault_in_the_place_of_another_is_not_listed() {
    let machines = Machines::new();
    let serving = machines.first.serve();
    assert_eq!(serving.connect().call("ListSecrets", "{}").status, 200);
    replaced(&machines);
    for arguments in [
        &["get", "secret"][..],
        &["get", "secret", "s"],
        &["get", "recipient"],
        &["rekey", "--dry-run"],
        &["get", "secret", "s", "--reveal"],
    ] {
        for strict in [&[][..], &["--strict"]] {
            let ran = machines.first.run(&[strict, arguments].concat());
            assert_eq!((ran.code, ran.text().as_str()), (13, ""), "{arguments:?}: {ran:?}");
            assert!(ran.stderr.contains("has changed since it was accepted on this machine\n  - id "), "{ran:?}");
        }
    }
    for (method, body) in [("ListSecrets", "{}".to_owned()), ("GetSecret", about("s"))] {
        let reply = serving.connect().call(method, &body);
        assert_eq!(reply.json()["code"], "failed_precondition", "{method}: {reply:?}");
    }
    assert_eq!(serving.end(rustix::process::Signal::TERM), 0);
    let check = machines.first.run(&["check"]);
    assert!(check.code != 0 && check.text().contains("has changed since"), "{check:?}");
}

#[test]
fn no_command_believes_pins_in_the_vault() {
    let machines = Machines::new();
    let pins = machines.first.vault().join("pins");
    let copied = machines.first.program("cp").arg("-r").args([machines.first.state(), pins.clone()]).status();
    assert!(copied.expect("cp starts").success());
    let before = files(&machines.first);
    for arguments in [
        &["get", "secret"][..],
        &["get", "secret", "s", "--reveal"],
        &["check"],
        &["init", "--git"],
        &["delete", "secret", "s"],
        &["create", "secret", "new", "value"],
        &["update", "vault", "--accept-older"],
        &["exec", "--secret", "s", "--", "true"],
    ] {
        let vault = machines.vault();
        let mut command = machines.second.command(&machines.arguments(&vault, arguments));
        let ran = Ran::from(command.env("FLYTE_LOCAL_STATE", &pins).output().expect("flyte-local starts"));
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("the state directory, would be inside the vault"), "{arguments:?}: {ran:?}");
        assert!(files(&machines.first) == before, "{arguments:?} wrote");
    }
}

#[test]
fn a_key_that_is_added_after_the_first_reading_is_shown_with_all_others() {
    let machines = Machines::new();
    assert_eq!(machines.run(&["get", "secret"]).code, 0);
    let (manifest, mallory) = (machines.first.vault().join("vault.toml"), Identity::generate().recipient());
    let text = std::fs::read_to_string(&manifest).expect("there");
    let added = format!("{text}\n[[recipients]]\nname = \"mallory\"\nkey = \"{mallory}\"\n");
    std::fs::write(&manifest, added).expect("written");
    let ran = machines.run(&["create", "secret", "new", "value"]);
    let line = format!("\n  + recipient \"mallory\" {mallory}\n");
    assert!(ran.code == 13 && ran.stderr.contains(&line) && ran.stderr.contains("\n  + recipient \"eve\" "), "{ran:?}");
    let read = machines.run(&["get", "secret", "s", "--reveal"]);
    assert!(read.stderr.contains("has changed since this machine first read it"), "{read:?}");
}

#[test]
fn strict_mode_does_not_read_a_vault_that_was_read_and_never_accepted() {
    let machines = Machines::new();
    assert_eq!(machines.run(&["get", "secret", "s", "--reveal"]).code, 0);
    let strict = machines.run(&["--strict", "get", "secret", "s", "--reveal"]);
    machines.assert_refused(&strict, &"get secret");
    assert!(strict.stdout.is_empty(), "{strict:?}");
    assert_eq!(machines.run(&["update", "vault", "--accept", "--expect", &machines.fingerprint]).code, 0);
    assert_eq!(machines.run(&["--strict", "get", "secret", "s", "--reveal"]).stdout, b"a value");
}

#[test]
fn check_says_that_a_vault_was_not_accepted() {
    let machines = Machines::new();
    for _ in 0..2 {
        let checked = machines.run(&["check"]);
        assert!(
            checked.all().contains("not accepted on this machine, which therefore does not write to it"),
            "{checked:?}"
        );
        let hint = format!("update vault --accept --expect {}", machines.fingerprint);
        assert!(checked.stderr.contains(&hint), "{checked:?}");
    }
    assert_eq!(machines.run(&["update", "vault", "--accept"]).code, 0);
    assert!(machines.run(&["check"]).all().contains("recipients and authors as accepted on this machine"));
}

#[test]
fn a_vault_with_another_fingerprint_is_not_accepted() {
    let machines = Machines::new();
    let ran = machines.run(&["update", "vault", "--accept", "--expect", &"0".repeat(64)]);
    assert!(ran.code == 13 && ran.stderr.contains("is not the expected one"), "{ran:?}");
    machines.assert_refused(&machines.run(&["create", "secret", "new", "value"]), &"create");
}

#[test]
fn the_library_does_not_write_to_a_vault_that_was_never_accepted() {
    let machines = Machines::new();
    let before = files(&machines.first);
    let mut vault = machines.second.open_vault_at(&machines.first.vault());
    let refused = [
        vault.writer().map(drop).expect_err("not accepted"),
        vault.require_writable().expect_err("not accepted"),
        vault
            .lock()
            .and_then(|mut locked| locked.delete_secret(&secret_id("org/s")))
            .map(drop)
            .expect_err("not accepted"),
        vault.require_updatable(&secret_id("org/s")).map(drop).expect_err("not accepted"),
    ];
    for error in refused {
        assert!(matches!(error, VaultError::Unaccepted { .. }), "{error:?}");
    }
    assert!(files(&machines.first) == before);
    // The user saw a vault that has changed since.
    let accepted = vault.accept(&"0".repeat(64));
    assert!(matches!(accepted, Err(VaultError::Unexpected { .. })), "{accepted:?}");
    assert!(matches!(vault.writer().map(drop), Err(VaultError::Unaccepted { .. })));
    vault.accept(&machines.fingerprint).expect("accepted");
    let value = SecretValue::new(b"v".to_vec().into()).expect("small enough");
    vault
        .writer()
        .and_then(|mut writer| writer.create_secret(&secret_id("org/new"), SecretType::Regular, &value))
        .expect("created");
}

#[test]
fn a_service_does_not_write_to_a_vault_whose_acceptance_was_withdrawn() {
    let machines = Machines::new();
    assert_eq!(machines.run(&["update", "vault", "--accept"]).code, 0);
    let vault = machines.vault();
    let command = machines.second.command(&machines.arguments(&vault, &["serve", "--port", "0"]));
    let serving = Serving::start(command, &machines.second.work());
    std::fs::remove_dir_all(machines.second.state()).expect("forgotten");
    let before = files(&machines.first);
    for (method, body) in [
        ("CreateSecret", with_value("new", "value")),
        ("UpdateSecret", with_value("s", "value")),
        ("DeleteSecret", about("s")),
    ] {
        let reply = serving.connect().call(method, &body);
        assert_eq!(reply.json()["code"], "failed_precondition", "{reply:?}");
        assert!(reply.json()["message"].as_str().is_some_and(|told| told.contains("was never accepted")), "{reply:?}");
    }
    assert!(files(&machines.first) == before);
    assert_eq!(serving.end(rustix::process::Signal::TERM), 0);
}

/// Plays `steps` with a command on the second machine's terminal.
fn play(machines: &Machines, arguments: &[&str], steps: &Value) -> Value {
    require("python3", "python3");
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/terminal.py");
    let mut command = machines.second.program("python3");
    command.arg(driver).arg(steps.to_string()).arg(FLYTE_LOCAL);
    let played = Ran::from(command.args(machines.arguments(&machines.vault(), arguments)).output().expect("it starts"));
    serde_json::from_slice(&played.stdout).unwrap_or_else(|_| panic!("{played:?}"))
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn on_a_terminal_the_user_is_asked_to_accept_a_vault() {
    let machines = Machines::new();
    let before = files(&machines.first);
    let (create, accept) = (["create", "secret", "new", "value"], ["update", "vault", "--accept"]);
    for arguments in [&create[..], &accept] {
        for answer in ["n\r", "\r"] {
            let steps = json!([["expect", "[y/N] "], ["type", answer], ["end"]]);
            let session = play(&machines, arguments, &steps);
            let shown = session["shown"].as_str().expect("text");
            assert_eq!(session["code"], 13, "{session}");
            assert!(shown.contains("+ recipient \"eve\" age1") && shown.contains(&machines.fingerprint), "{session}");
            assert!(files(&machines.first) == before, "{session}");
        }
    }
    let yes = json!([["expect", "[y/N] "], ["type", "y\r"], ["end"]]);
    let session = play(&machines, &create, &yes);
    assert_eq!(session["code"], 0, "{session}");
    assert!(session["shown"].as_str().expect("text").contains("created secret new"), "{session}");
    assert_eq!(play(&machines, &["delete", "secret", "new"], &json!([["end"]]))["code"], 0, "it asks once");
}
