//! The recipients of a vault's secrets: adding and removing them, and invalid changes.

#![allow(clippy::disallowed_methods, reason = "tests change files as any program could")]

use std::path::{Path, PathBuf};

use crate::support::{Ran, Sandbox, require};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A vault of three secrets in three scopes, and the paths of their files.
fn vault() -> (Sandbox, [PathBuf; 3]) {
    let sandbox = Sandbox::new();
    sandbox.secret("a", "value of a", &[]);
    sandbox.secret("b", b"\xff\0", &["-p", "p"]);
    sandbox.secret("c", "", &["-p", "p", "-d", "d"]);
    let files = ["org/a", "project/p/b", "project/p/domain/d/c"].map(|place| sandbox.secret_file(place));
    (sandbox, files)
}

/// Makes a key with `ssh-keygen`, and returns its file. The public key lies beside it.
fn ssh_key(sandbox: &Sandbox, name: &str, kind: &[&str]) -> PathBuf {
    sandbox.ssh_key(name, &[kind, &["-C", "a comment"]].concat(), "")
}

/// Makes an identity with `age-keygen`, and returns its file and its recipient.
fn age_key(sandbox: &Sandbox, name: &str) -> (PathBuf, String) {
    require("age-keygen", "age");
    let file = sandbox.work().join(name);
    assert!(sandbox.program("age-keygen").arg("-o").arg(&file).output().expect("it starts").status.success());
    let public = Ran::from(sandbox.program("age-keygen").arg("-y").arg(&file).output().expect("it starts"));
    (file, public.text().trim().to_owned())
}

/// Returns whether stock age opens this file.
fn opens(sandbox: &Sandbox, identity: &Path, file: &Path) -> bool {
    require("age", "age");
    let output = sandbox.program("age").arg("-d").arg("-i").arg(identity).arg(file).output();
    output.expect("age starts").status.success()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("text")
}

#[test]
#[ignore = "needs OpenSSH and age: scripts/test"]
fn a_new_recipient_of_each_kind_opens_every_secret_with_stock_age() {
    let (sandbox, files) = vault();
    let (age, public) = age_key(&sandbox, "age.txt");
    let ed25519 = ssh_key(&sandbox, "ed25519", &["ed25519"]);
    let small = ssh_key(&sandbox, "rsa2048", &["rsa", "-b", "2048", "-m", "PEM"]);
    let large = ssh_key(&sandbox, "rsa4096", &["rsa", "-b", "4096"]);
    let half = |key: &Path| read(&key.with_extension("pub"));
    for (identity, key) in [(&age, public), (&ed25519, half(&ed25519)), (&small, half(&small)), (&large, half(&large))]
    {
        for file in &files {
            assert!(!opens(&sandbox, identity, file), "{} opens it already", identity.display());
        }
        let ran = sandbox.run(&["create", "recipient", &key, "--name", "them"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stderr.contains("re-encrypted 3 secrets"), "{ran:?}");
        for file in &files {
            assert!(opens(&sandbox, identity, file), "{} with {}", file.display(), identity.display());
        }
    }
    let listed = Ran::from(sandbox.command(&["get", "recipient"]).output().expect("it starts")).text();
    assert_eq!(listed.matches("\nthem ").count(), 4, "{listed}");
    assert!(listed.contains("\nowner") && !listed.contains("a comment"), "{listed}");
    // Values, types and times stay the same, and new secrets are encrypted to all recipients as well.
    assert_eq!(sandbox.ok(&["get", "secret", "b", "-p", "p", "--reveal"]), b"\xff\0");
    sandbox.secret("new", "v", &[]);
    assert!(opens(&sandbox, &large, &sandbox.secret_file("org/new")));
    assert_eq!(sandbox.run(&["check"]).code, 0);
}

#[test]
#[ignore = "needs OpenSSH and age: scripts/test"]
fn a_file_of_keys_is_read_like_authorized_keys() {
    let (sandbox, files) = vault();
    let (one, two) = (ssh_key(&sandbox, "one", &["ed25519"]), ssh_key(&sandbox, "two", &["ed25519"]));
    let other = ssh_key(&sandbox, "other", &["ecdsa"]);
    let half = |key: &Path| read(&key.with_extension("pub"));
    let lines = format!(
        "# of alice\n\n{}\nno-pty,command=\"echo \\\"ssh-ed25519 AAAA\\\"\" {}{}",
        half(&one),
        half(&two),
        half(&other)
    );
    let file = sandbox.file("authorized_keys", lines);
    let ran = sandbox.run(&["create", "recipient", "--from-file", text(&file), "--name", "alice"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("skipped line 6 of") && ran.stderr.contains("ecdsa-sha2-nistp256"), "{ran:?}");
    for identity in [&one, &two] {
        assert!(files.iter().all(|file| opens(&sandbox, identity, file)), "{}", identity.display());
    }
    for (line, added) in [
        // A key inside a quoted command does not count.
        (format!("command=\"echo \\\" {} \\\" \" {}", half(&two).trim(), half(&one)), Some(half(&one))),
        (format!("\u{feff}restrict\t{}\r\n", half(&one).trim().replace(' ', "\t")), Some(half(&one))),
        (format!("{0}{0}", half(&one)), Some(half(&one))),
        (format!("cert-authority {}", half(&one)), None),
        (format!("@revoked * {}", half(&one)), None),
        (format!("host.example.com {}", half(&one)), None),
        (format!("no-pty some words {}", half(&one)), None),
    ] {
        let fresh = Sandbox::new();
        let file = fresh.file("keys", &line);
        let ran = fresh.run(&["create", "recipient", "--from-file", text(&file), "--name", "bob"]);
        assert_eq!(ran.code == 0, added.is_some(), "{line}: {ran:?}");
        let listed: Vec<_> = fresh.open_vault().recipients()[1..].iter().map(|known| known.key.clone()).collect();
        let added: Vec<_> = added.iter().map(|key| key.parse().expect("a key")).collect();
        assert_eq!(listed, added, "{line}");
    }
    let only_other = sandbox.run(&["create", "recipient", "--from-file", "other.pub", "--name", "alice"]);
    assert_eq!(only_other.code, 2, "{only_other:?}");
    // One name is one person, so all her keys are removed.
    let ran = sandbox.run(&["delete", "recipient", "alice"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for identity in [&one, &two] {
        assert!(!files.iter().any(|file| opens(&sandbox, identity, file)), "{}", identity.display());
    }
}

#[test]
#[ignore = "needs age: scripts/test"]
fn a_removed_recipient_opens_nothing_and_the_secrets_they_saw_are_listed() {
    let (sandbox, files) = vault();
    let (bob, key) = age_key(&sandbox, "bob.txt");
    sandbox.ok(&["create", "recipient", &key, "--name", "bob"]);
    let ran = sandbox.run(&["--output-format", "table-simple", "delete", "recipient", "bob"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!files.iter().any(|file| opens(&sandbox, &bob, file)));
    assert!(files.iter().all(|file| opens(&sandbox, &sandbox.identity(), file)));
    assert!(ran.stderr.contains("They can still read these secrets in every copy"), "{ran:?}");
    let names: Vec<_> =
        ran.text().lines().skip(1).filter_map(|line| line.split_whitespace().nth(2).map(str::to_owned)).collect();
    assert_eq!(names, ["a", "b", "c"]);
    // A key selects one of two recipients with the same name.
    let (first, second) = (age_key(&sandbox, "first").1, age_key(&sandbox, "second").1);
    sandbox.ok(&["create", "recipient", &first, "--name", "carol"]);
    sandbox.ok(&["create", "recipient", &second, "--name", "carol"]);
    sandbox.ok(&["delete", "recipient", &first]);
    let listed = String::from_utf8(sandbox.ok(&["get", "recipient"])).expect("UTF-8");
    assert!(listed.contains(&second) && !listed.contains(&first), "{listed}");
}

#[test]
#[ignore = "needs age: scripts/test"]
fn swapping_two_names_does_not_change_who_is_removed() {
    let (sandbox, _) = vault();
    let [(alice, first), (mallory, second)] = ["alice", "mallory"].map(|name| age_key(&sandbox, name));
    sandbox.ok(&["create", "recipient", &first, "--name", "alice"]);
    sandbox.ok(&["create", "recipient", &second, "--name", "mallory"]);
    let file = sandbox.vault().join("vault.toml");
    let before = sandbox.open_vault().fingerprint();
    let exchanged = read(&file).replace("alice", "x").replace("mallory", "alice").replace("\"x\"", "\"mallory\"");
    std::fs::write(&file, exchanged).expect("written");
    let ran = sandbox.run(&["delete", "recipient", "mallory"]);
    assert_eq!(ran.code, 13, "{ran:?}");
    assert!(ran.stderr.contains(&format!("- recipient \"alice\" {first}")), "{ran:?}");
    assert!(ran.stderr.contains(&format!("+ recipient \"mallory\" {first}")), "{ran:?}");
    assert_ne!(sandbox.open_vault().fingerprint(), before, "the change was accepted silently");
    assert!(
        opens(&sandbox, &alice, &sandbox.secret_file("org/a"))
            && opens(&sandbox, &mallory, &sandbox.secret_file("org/a"))
    );
    // A name that looks like a key does not select the key.
    let lookalike = read(&file).replace("mallory", &second);
    std::fs::write(&file, lookalike).expect("written");
    sandbox.ok(&["update", "vault", "--accept"]);
    sandbox.ok(&["delete", "recipient", &second]);
    let left: Vec<_> = sandbox.open_vault().recipients().iter().map(|known| known.key.to_string()).collect();
    assert!(left.contains(&first) && !left.contains(&second), "{left:?}");
}

/// Runs `create recipient` with a fault, in strace's form, in its `when`th rename. The renames are of the pin, of
/// `vault.toml`, and of the pin again.
fn with_fault(sandbox: &Sandbox, key: &str, fault: &str, when: usize) -> Ran {
    require("strace", "strace");
    let mut command = sandbox.program("strace");
    let inject = format!("inject=renameat:{fault}:when={when}");
    command.args(["-f", "-o", "/dev/null", "-e", &inject, crate::support::FLYTE_LOCAL]);
    Ran::from(command.args(["create", "recipient", key, "--name", "bob"]).output().expect("strace starts"))
}

#[test]
#[ignore = "needs age and strace: scripts/test"]
fn an_interrupted_change_still_counts_as_the_users_own() {
    let signal = 128 + 9;
    for (fault, codes) in [("error=EIO", [1, 1, 0]), ("signal=KILL", [signal; 3])] {
        for (when, code) in codes.into_iter().enumerate() {
            let (sandbox, files) = vault();
            let (bob, key) = age_key(&sandbox, "bob");
            let ran = with_fault(&sandbox, &key, fault, when + 1);
            assert!(ran.code == code || code == signal && ran.code < 0, "{fault} {when}: {ran:?}");
            // Nothing has changed before `vault.toml` is written, and everything after that.
            assert_eq!(read(&sandbox.vault().join("vault.toml")).contains("bob"), when == 2, "{fault} {when}");
            // The user need not accept the change: the repeated command continues, or says that the work is done.
            let read = sandbox.run(&["--strict", "get", "secret", "a", "--reveal"]);
            assert_eq!((read.code, read.stderr.as_str()), (0, ""), "{fault} {when}: {read:?}");
            let again = sandbox.run(&["create", "recipient", &key, "--name", "bob"]);
            assert_eq!(again.code, if when == 2 { 12 } else { 0 }, "{fault} {when}: {again:?}");
            assert_eq!(sandbox.run(&["rekey"]).code, 0);
            assert!(files.iter().all(|file| opens(&sandbox, &bob, file)), "{fault} {when}");
            assert_eq!(sandbox.run(&["check"]).code, 0);
        }
    }
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_forged_change_does_not_pass_for_an_interrupted_one() {
    let (sandbox, _) = vault();
    let [(_, key), (_, other)] = ["bob", "eve"].map(|name| age_key(&sandbox, name));
    with_fault(&sandbox, &key, "signal=KILL", 2);
    let file = sandbox.vault().join("vault.toml");
    let added = format!("{}\n[[recipients]]\nname = \"bob\"\nkey = \"{other}\"\n", read(&file));
    std::fs::write(&file, added).expect("written");
    let ran = sandbox.run(&["create", "secret", "new", "v"]);
    assert_eq!(ran.code, 13, "{ran:?}");
    assert!(ran.stderr.contains(&format!("+ recipient \"bob\" {other}")), "{ran:?}");
}

#[test]
#[ignore = "needs age: scripts/test"]
fn a_change_by_the_same_user_at_the_same_time_raises_no_alarm() {
    let (sandbox, _) = vault();
    let (_, key) = age_key(&sandbox, "bob");
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let commands = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut commands = 0;
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                let ran = sandbox.run(&["--strict", "get", "secret", "a", "--reveal"]);
                assert_eq!(ran.code, 0, "{ran:?}");
                commands += 1;
            }
            commands
        });
        for _ in 0..20 {
            sandbox.ok(&["create", "recipient", &key, "--name", "bob"]);
            sandbox.ok(&["delete", "recipient", "bob"]);
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        reading.join().expect("no panic")
    });
    assert!(commands > 0);
}

#[test]
#[ignore = "needs age: scripts/test"]
fn an_interrupted_removal_names_the_remaining_work() {
    let (sandbox, _) = vault();
    let (_, key) = age_key(&sandbox, "bob");
    sandbox.ok(&["create", "recipient", &key, "--name", "bob"]);
    let own: Vec<_> = sandbox.identities().iter().map(flyte_local::crypto::Identity::recipient).collect();
    sandbox.open_vault().writer().expect("writable").remove_recipients("bob", &own).expect("removed");
    let ran = sandbox.run(&["delete", "recipient", "bob"]);
    assert_eq!(ran.code, 10, "{ran:?}");
    assert!(ran.stderr.contains("re-encrypt the secrets that are out of date: flyte-local rekey"), "{ran:?}");
}

#[test]
#[ignore = "needs OpenSSH: scripts/test"]
fn users_cannot_remove_their_own_last_key() {
    let (sandbox, _) = vault();
    let before = read(&sandbox.vault().join("vault.toml"));
    for attempt in 0..2 {
        let ran = sandbox.run(&["delete", "recipient", "owner"]);
        assert_eq!(ran.code, 13, "{ran:?}");
        assert!(ran.stderr.contains("none of your identities could open this vault"), "{ran:?}");
        assert_eq!(read(&sandbox.vault().join("vault.toml")).contains("owner"), before.contains("owner"));
        // At first the user is the only recipient, and then the only recipient with an identity here.
        if attempt == 0 {
            sandbox.ok(&["create", "recipient", &age_key(&sandbox, "bob").1, "--name", "bob"]);
        }
    }
    // One of the user's two keys can be removed.
    let (mine, key) = age_key(&sandbox, "mine");
    sandbox.ok(&["create", "recipient", &key, "--name", "mine"]);
    sandbox.ok(&["--identity", text(&mine), "delete", "recipient", "owner"]);
    assert_eq!(sandbox.ok(&["--identity", text(&mine), "get", "secret", "a", "--reveal"]), b"value of a");
    // A key whose passphrase may be forgotten must not be the only one left.
    require("ssh-keygen", "openssh-client");
    let locked = sandbox.work().join("locked");
    let made =
        sandbox.program("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "forgotten", "-f"]).arg(&locked).output();
    assert!(made.expect("ssh-keygen starts").status.success());
    sandbox.ok(&["--identity", text(&mine), "create", "recipient", "--from-file", "locked.pub", "--name", "locked"]);
    let both = ["--identity", text(&mine), "--identity", "locked", "delete", "recipient", "mine"];
    assert_eq!(sandbox.run(&both).code, 13);
    sandbox.ok(&["--identity", text(&mine), "delete", "recipient", "locked"]);
    // A user who cannot open the vault could not re-encrypt it.
    let ran = sandbox.run(&["delete", "recipient", "bob"]);
    assert_eq!(ran.code, 11, "{ran:?}");
    assert!(ran.stderr.contains("your identity is not a recipient of this vault"), "{ran:?}");
}

#[test]
#[ignore = "needs OpenSSH: scripts/test"]
fn invalid_recipients_are_refused_and_change_nothing() {
    let (sandbox, files) = vault();
    let (_, key) = age_key(&sandbox, "bob");
    let own = Ran::from(sandbox.program("age-keygen").arg("-y").arg(sandbox.identity()).output().expect("it starts"));
    let ecdsa = read(&ssh_key(&sandbox, "ecdsa", &["ecdsa"]).with_extension("pub"));
    sandbox.file("only-ecdsa", &ecdsa);
    let weak = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAQQDGV2Z";
    let private = "AGE-SECRET-KEY-1QYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQS3QZ0XY";
    let openssh = read(&ssh_key(&sandbox, "private", &["ed25519"]));
    let long = "n".repeat(65);
    let state = |sandbox: &Sandbox| {
        let files = files.iter().map(|file| std::fs::read(file).expect("there"));
        (read(&sandbox.vault().join("vault.toml")), files.collect::<Vec<_>>())
    };
    let before = state(&sandbox);
    for (key, name, code, told) in [
        ("hunter2", "bob", 2, "not a recipient (age1…"),
        ("", "bob", 2, "not a recipient (age1…"),
        ("age1hunter2", "bob", 2, "not an age recipient"),
        (&key[..key.len() - 1], "bob", 2, "not an age recipient"),
        (weak, "bob", 2, "not an OpenSSH key"),
        (&ecdsa, "bob", 2, "of type ecdsa-sha2-nistp256"),
        (&ecdsa, "bob", 2, "or ssh-keygen -t ed25519"),
        (private, "bob", 2, "this is a private key"),
        (&private.to_lowercase(), "bob", 2, "this is a private key"),
        (&openssh, "bob", 2, "this is a private key"),
        (own.text().trim(), "bob", 12, "is a recipient already, \"owner\""),
        (&key, &long, 2, "more than 64 characters"),
        (&key, "", 2, "--name must be a visible name"),
        (&key, " bob", 2, "--name must be a visible name"),
        (&key, "b\u{200b}ob", 2, "--name must be a visible name"),
        (&key, &key, 2, "--name must be a visible name"),
        (&format!("{key}\n{key}"), "bob", 2, "this option takes one key"),
    ] {
        let ran = sandbox.run(&["create", "recipient", "--name", name, "--", key]);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
        assert!(!ran.stderr.contains("hunter2") && !ran.stderr.to_uppercase().contains("1QYQSZ"), "{ran:?}");
        assert!(state(&sandbox) == before, "{told}: the vault was changed");
    }
    for (arguments, code, told) in [
        (&["delete", "recipient", "bob"][..], 10, "has no recipient \"bob\""),
        (&["create", "recipient", &key], 2, "--name"),
        (&["create", "recipient", "--name", "bob"], 2, "--from-file"),
        (&["create", "recipient", &key, "--from-file", "bob", "--name", "bob"], 2, "cannot be used with"),
        (&["create", "recipient", "--from-file", "none", "--name", "bob"], 10, "there is no file none"),
        (&["create", "recipient", "--from-file", "only-ecdsa", "--name", "bob"], 2, "or ssh-keygen -t ed25519"),
        (&["create", "recipient", "--from-file", "bob", "--name", "bob"], 2, "this is a private key"),
    ] {
        let ran = sandbox.run(arguments);
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
        assert!(state(&sandbox) == before, "{told}: the vault was changed");
    }
}

#[test]
fn a_vault_has_at_most_as_many_recipients_as_fit_a_header() {
    let sandbox = Sandbox::new();
    sandbox.secret("a", "v", &[]);
    let key = |_| flyte_local::crypto::Identity::generate().recipient().to_string() + "\n";
    let many = sandbox.file("many", (0..61).map(key).collect::<String>());
    sandbox.ok(&["create", "recipient", "--from-file", text(&many), "--name", "many"]);
    assert_eq!(sandbox.ok(&["get", "secret", "a", "--reveal"]), b"v");
    let ran = sandbox.run(&["create", "recipient", key(0).trim(), "--name", "one more"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("63 recipients, and may have 62"), "{ran:?}");
    assert_eq!(sandbox.ok(&["get", "secret", "a", "--reveal"]), b"v");
}

#[test]
#[ignore = "needs age: scripts/test"]
fn changed_recipients_are_accepted_by_their_fingerprint() {
    let (sandbox, _) = vault();
    let (_, key) = age_key(&sandbox, "bob");
    let file = sandbox.vault().join("vault.toml");
    let added = format!("{}\n[[recipients]]\nname = \"bob\"\nkey = \"{key}\"\n", read(&file));
    std::fs::write(&file, added).expect("written");
    let refused = sandbox.run(&["create", "secret", "new", "v"]);
    assert_eq!(refused.code, 13, "{refused:?}");
    let accept = refused.stderr.lines().find_map(|line| line.split_once(" update vault ")).expect("a hint").1;
    let options: Vec<_> = accept.split(' ').collect();
    let ["--accept", "--expect", fingerprint] = options[..] else { panic!("{refused:?}") };

    let other = "0".repeat(64);
    let wrong = sandbox.run(&["update", "vault", "--accept", "--expect", &other]);
    assert_eq!(wrong.code, 13, "{wrong:?}");
    assert!(wrong.stderr.contains(&format!("its fingerprint is {fingerprint}")), "{wrong:?}");
    assert_eq!(sandbox.run(&["create", "secret", "new", "v"]).code, 13, "nothing was accepted");
    // Without a comparison of fingerprints, `--expect` must not be accepted silently.
    let author = sandbox.author_key().author().to_string();
    for other in [&["--trust-author", &author][..], &["--accept-older"]] {
        let ran = sandbox.run(&[&["update", "vault", "--expect", fingerprint], other].concat());
        assert_eq!(ran.code, 2, "{ran:?}");
    }
    sandbox.ok(&["update", "vault", "--accept", "--expect", fingerprint]);
    sandbox.secret("new", "v", &[]);
    assert!(sandbox.run(&["check"]).text().contains(fingerprint));

    // A machine that never saw the vault accepts only this fingerprint, and records nothing otherwise.
    let fresh = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        Ran::from(command.env("FLYTE_LOCAL_STATE", sandbox.work().join("fresh")).output().expect("it starts"))
    };
    assert_eq!(fresh(&["update", "vault", "--accept", "--expect", &other]).code, 13);
    assert_eq!(fresh(&["--strict", "get", "secret", "a", "--reveal"]).code, 13, "the vault was never accepted");
    assert_eq!(fresh(&["update", "vault", "--accept", "--expect", fingerprint]).code, 0);
    assert_eq!(fresh(&["--strict", "get", "secret", "a", "--reveal"]).stdout, b"value of a");
}
