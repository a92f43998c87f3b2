//! `check` finds each problem of a vault, says which command fixes it, and shows no value.

#![allow(clippy::disallowed_methods, reason = "tests damage files as any program could")]

use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, forger, require};
use flyte_local::crypto::Identity;
use flyte_local::vault::NamedRecipient;
use serde_json::Value;

const CANARY: &str = "a-value-that-check-must-not-show";

/// Returns a sandbox whose vault has two secrets in each kind of scope.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    for scope in [&[][..], &["-p", "p"], &["-d", "d"], &["-p", "p", "-d", "d"]] {
        sandbox.secret("s", CANARY, scope);
        sandbox.secret("t", CANARY, scope);
    }
    sandbox
}

/// Runs `check`, and returns its findings and how it ended.
fn checked(sandbox: &Sandbox, options: &[&str]) -> (Vec<Value>, Ran) {
    let ran = sandbox.run(&[options, &["--output-format", "json", "check"]].concat());
    assert!(!ran.all().contains(CANARY), "{ran:?}");
    (serde_json::from_slice(&ran.stdout).expect("JSON"), ran)
}

fn failed(found: &[Value]) -> Vec<&Value> {
    found.iter().filter(|finding| finding["ok"] == false).collect()
}

fn detail<'a>(found: &'a [Value], what: &str) -> &'a str {
    let finding = found.iter().find(|finding| finding["what"] == what);
    finding.unwrap_or_else(|| panic!("nothing on {what}: {found:?}"))["detail"].as_str().expect("text")
}

/// Runs the command at the end of a hint, which must succeed.
fn type_command(sandbox: &Sandbox, hint: &str) {
    let starts = ["chmod ", "rm ", "flyte-local "].iter().filter_map(|start| hint.rfind(start));
    let command = &hint[starts.max().unwrap_or_else(|| panic!("no command: {hint}"))..];
    let ours = Path::new(FLYTE_LOCAL).parent().expect("a directory").display();
    let path = std::env::var("PATH").expect("PATH is set");
    let ran = sandbox.program("sh").args(["-c", command]).env("PATH", format!("{ours}:{path}")).output();
    let ran = Ran::from(ran.expect("sh starts"));
    assert_eq!(ran.code, 0, "{command}: {ran:?}");
}

#[test]
fn a_sound_vault_passes_every_check() {
    let sandbox = filled();
    let (found, ran) = checked(&sandbox, &[]);
    assert_eq!((ran.code, failed(&found).len(), ran.stderr.as_str()), (0, 0, ""), "{ran:?}");
    let what: Vec<_> = found.iter().map(|finding| finding["what"].as_str().expect("text")).collect();
    assert_eq!(
        what,
        [
            "vault",
            "identity",
            "signing key",
            "recipient",
            "author",
            "fingerprint",
            "trust",
            "encryption",
            "all secrets",
            "file secrets",
            "system"
        ]
    );
    assert_eq!(detail(&found, "all secrets"), "8 opened and intact, each by a trusted author");
    assert_eq!(detail(&found, "signing key"), sandbox.author().display().to_string());
    let (author, recipient) = (sandbox.author_key().author(), sandbox.identities()[0].recipient());
    assert_eq!(detail(&found, "author"), format!("\"me\" {author} (yours)"));
    assert_eq!(detail(&found, "recipient"), format!("\"owner\" {recipient} (yours)"));
    assert!(detail(&found, "system").starts_with("openat2; "), "{ran:?}");

    let (found, ran) = checked(&Sandbox::new(), &[]);
    assert_eq!((ran.code, detail(&found, "all secrets")), (0, "none yet"), "{ran:?}");
}

/// A way to damage a sound vault, and the finding that must result.
struct Damage {
    name: &'static str,
    apply: fn(&Sandbox),
    what: &'static str,
    detail: &'static str,
}

fn file(sandbox: &Sandbox) -> PathBuf {
    sandbox.secret_file("project/p/domain/d/s")
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("there");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("written");
}

fn put(from: &Path, to: &Path) {
    std::fs::copy(from, to).expect("copied");
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("set");
}

const DAMAGES: [Damage; 16] = [
    Damage {
        name: "a flipped bit of the value",
        apply: |sandbox| change(&file(sandbox), |bytes| *bytes.last_mut().expect("not empty") ^= 1),
        what: "secret",
        detail: "s.age, the file of secret s (project p, domain d): ",
    },
    Damage {
        name: "a flipped bit of the header",
        apply: |sandbox| change(&file(sandbox), |bytes| bytes[300] ^= 1),
        what: "secret",
        detail: "s.age, the file of secret s (project p, domain d): ",
    },
    Damage {
        name: "a truncated file",
        apply: |sandbox| change(&file(sandbox), |bytes| bytes.truncate(bytes.len() - 1)),
        what: "secret",
        detail: "refused ",
    },
    Damage {
        name: "an empty file",
        apply: |sandbox| std::fs::write(file(sandbox), "").expect("written"),
        what: "secret",
        detail: "refused ",
    },
    Damage {
        name: "another secret's file",
        apply: |sandbox| put(&sandbox.secret_file("org/t"), &file(sandbox)),
        what: "misplaced secret",
        detail: "s.age holds secret t (organization) from ",
    },
    Damage {
        name: "an age file without a binding",
        apply: |sandbox| {
            let recipient = sandbox.identities()[0].recipient().to_string();
            std::fs::write(file(sandbox), forger::file(&recipient, "other", b"", b"planted")).expect("written");
        },
        what: "secret",
        detail: "refused ",
    },
    Damage {
        name: "a symlink",
        apply: |sandbox| {
            std::fs::rename(file(sandbox), sandbox.work().join("moved")).expect("moved");
            std::os::unix::fs::symlink(sandbox.work().join("moved"), file(sandbox)).expect("a symlink");
        },
        what: "secret",
        detail: "it is not a regular file",
    },
    Damage {
        name: "a file that others can write",
        apply: |sandbox| set_mode(&file(sandbox), 0o620),
        what: "secret",
        detail: "others can write to it (its mode is 0620)",
    },
    Damage {
        name: "a directory that others can write",
        apply: |sandbox| set_mode(&sandbox.vault().join("secrets/project/p"), 0o770),
        what: "directory",
        detail: "others can write to it (its mode is 0770)",
    },
    Damage {
        name: "a file that is not a secret",
        apply: |sandbox| std::fs::write(sandbox.vault().join("secrets/org/notes.txt"), "x").expect("written"),
        what: "stray file",
        detail: "/org/notes.txt does not belong in a vault",
    },
    Damage {
        name: "a secret file outside any scope",
        apply: |sandbox| put(&file(sandbox), &sandbox.vault().join("secrets/s.age")),
        what: "misplaced secret",
        detail: "secrets/s.age holds secret s (project p, domain d) from ",
    },
    Damage {
        name: "a directory that is not a scope",
        apply: |sandbox| std::fs::create_dir(sandbox.vault().join("secrets/project/not a name")).expect("made"),
        what: "stray file",
        detail: "/project/not a name does not belong in a vault",
    },
    Damage {
        name: "a name that is not UTF-8",
        apply: |sandbox| {
            let name = std::ffi::OsStr::from_bytes(b"s\xff.age");
            std::fs::write(sandbox.vault().join("secrets/org").join(name), "x").expect("written");
        },
        what: "stray file",
        detail: "does not belong in a vault",
    },
    Damage {
        name: "an unfinished write",
        apply: |sandbox| std::fs::write(file(sandbox).with_file_name(".tmp"), "x").expect("written"),
        what: "leftover",
        detail: "d/.tmp was left behind",
    },
    Damage {
        name: "an older file",
        apply: |sandbox| {
            let old = std::fs::read(file(sandbox)).expect("there");
            sandbox.ok(&["update", "secret", "s", "new", "-p", "p", "-d", "d"]);
            std::fs::write(file(sandbox), old).expect("put back");
        },
        what: "trust",
        detail: "secret s (project p, domain d) dates from ",
    },
    Damage {
        name: "a rekey that is due",
        apply: |sandbox| {
            let bob = NamedRecipient { name: "bob".to_owned(), key: Identity::generate().recipient() };
            sandbox.open_vault().writer().expect("writable").add_recipients(vec![bob]).expect("added");
        },
        what: "encryption",
        detail: "the recipients of 8 secrets are out of date",
    },
];

#[test]
fn each_damage_is_found_and_its_hint_repairs_it() {
    for damage in DAMAGES {
        let (name, sandbox) = (damage.name, filled());
        (damage.apply)(&sandbox);
        let (found, ran) = checked(&sandbox, &[]);
        assert_eq!(ran.code, 13, "{name}: {ran:?}");
        let [failure] = failed(&found)[..] else { panic!("{name}: not one finding: {ran:?}") };
        assert_eq!(failure["what"], damage.what, "{name}: {ran:?}");
        assert!(failure["detail"].as_str().expect("text").contains(damage.detail), "{name}: {ran:?}");
        let hint = failure["hints"][0].as_str().expect("text");
        if name == "a name that is not UTF-8" {
            assert!(hint.contains("ls -b ") && !hint.contains("rm "), "{hint}");
        }
        // The user has to look at a symlink, and cannot type a name that is not UTF-8.
        if !["a symlink", "a name that is not UTF-8"].contains(&name) {
            type_command(&sandbox, hint);
            let (_, ran) = checked(&sandbox, &[]);
            assert_eq!(ran.code, 0, "{name}: {hint}: {ran:?}");
        }
    }
}

#[test]
fn all_problems_are_reported_at_once() {
    let sandbox = filled();
    let without_mode = DAMAGES.iter().filter(|damage| {
        ["stray file", "leftover"].contains(&damage.what) || damage.name == "a secret file outside any scope"
    });
    without_mode.clone().for_each(|damage| (damage.apply)(&sandbox));
    let (found, ran) = checked(&sandbox, &[]);
    assert_eq!((ran.code, failed(&found).len()), (13, without_mode.count()), "{ran:?}");
    assert_eq!(detail(&found, "all secrets"), "8 opened and intact, each by a trusted author");
    assert_eq!(ran.stderr.matches("hint: ").count(), failed(&found).len(), "each finding has a hint: {ran:?}");
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn an_abandoned_temporary_file_beside_a_key_is_reported() {
    require("flock", "util-linux");
    let sandbox = filled();
    let key = std::fs::read(sandbox.identity()).expect("there");
    let beside = |name: &str| sandbox.identity().with_file_name(name);
    let [abandoned, empty, locked] = [1, 2, 3].map(|number| beside(&format!(".flyte-local-{number}-1.tmp")));
    std::fs::write(&abandoned, &key).expect("ours");
    // An empty file may belong to a writer that is about to lock it, and a locked file belongs to a live writer.
    std::fs::write(&empty, "").expect("ours");
    std::fs::write(&locked, &key).expect("ours");
    std::fs::write(beside("notes.tmp"), &key).expect("ours");
    let mut writer = sandbox.program("flock");
    writer.arg(&locked).args(["sh", "-c", "echo locked; read line"]);
    let mut writer = writer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("flock starts");
    let mut line = String::new();
    BufReader::new(writer.stdout.take().expect("piped")).read_line(&mut line).expect("it says so");

    let (found, ran) = checked(&sandbox, &[]);
    assert_eq!((ran.code, failed(&found).len()), (13, 1), "{ran:?}");
    assert!(detail(&found, "leftover").starts_with(abandoned.to_str().expect("UTF-8")), "{ran:?}");
    type_command(&sandbox, failed(&found)[0]["hints"][0].as_str().expect("text"));
    let (_, ran) = checked(&sandbox, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    drop(writer.stdin.take());
    writer.wait().expect("it ends");
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn a_write_in_progress_is_not_reported_as_a_leftover() {
    require("flock", "util-linux");
    let sandbox = filled();
    std::fs::write(file(&sandbox).with_file_name(".tmp"), "x").expect("written");
    let mut writer = sandbox.program("flock");
    writer.arg(sandbox.vault().join(".lock")).args(["-c", "echo held; cat >/dev/null"]);
    let mut writer = writer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("flock starts");
    BufReader::new(writer.stdout.as_mut().expect("piped")).read_line(&mut String::new()).expect("a line");
    let (_, ran) = checked(&sandbox, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    drop(writer.stdin.take());
    assert!(writer.wait().expect("it ends").success());
    assert_eq!(checked(&sandbox, &[]).1.code, 13);
}

#[test]
fn other_files_in_the_vault_directory_are_ignored() {
    let sandbox = filled();
    std::fs::create_dir(sandbox.vault().join(".git")).expect("made");
    std::fs::write(sandbox.vault().join("README.md"), "x").expect("written");
    assert_eq!(checked(&sandbox, &[]).1.code, 0);
}

#[test]
fn without_an_identity_only_headers_are_checked() {
    let sandbox = filled();
    let (found, ran) = checked(&sandbox, &["--identity", "/none"]);
    assert_eq!(ran.code, 10, "{ran:?}");
    assert_eq!(detail(&found, "all secrets"), "8 with an intact header; not opened, because there is no identity");
    std::fs::copy(sandbox.secret_file("org/t"), file(&sandbox)).expect("copied");
    let (found, _) = checked(&sandbox, &["--identity", "/none"]);
    assert_eq!(failed(&found).len(), 2, "{found:?}");
    assert!(detail(&found, "misplaced secret").contains("s.age holds secret t (organization) from "), "{found:?}");
}

#[test]
fn keys_that_others_can_read_are_found() {
    let sandbox = filled();
    for (key, what) in [(sandbox.identity(), "identity"), (sandbox.author(), "signing key")] {
        set_mode(&key, 0o644);
        let (found, ran) = checked(&sandbox, &[]);
        assert_eq!((ran.code, failed(&found).len()), (13, 1), "{ran:?}");
        assert!(detail(&found, what).contains("others can read it (its mode is 0644)"), "{ran:?}");
        type_command(&sandbox, failed(&found)[0]["hints"][0].as_str().expect("text"));
        assert_eq!(checked(&sandbox, &[]).1.code, 0);
    }
}

#[test]
fn check_says_how_to_become_an_author() {
    let (sandbox, other) = (filled(), Sandbox::new());
    std::fs::copy(other.author(), sandbox.author()).expect("copied");
    let (found, ran) = checked(&sandbox, &[]);
    assert_eq!((ran.code, failed(&found).len()), (0, 0), "a reader need not be an author: {ran:?}");
    assert!(
        detail(&found, "signing key").ends_with("author.key; it is not the key of one of the vault's authors"),
        "{ran:?}"
    );
    let hint = found.iter().find(|finding| finding["what"] == "signing key").expect("there")["hints"][0].clone();
    type_command(&sandbox, hint.as_str().expect("text"));
    sandbox.ok(&["update", "secret", "s", "new"]);

    std::fs::remove_file(sandbox.author()).expect("there");
    let (found, ran) = checked(&sandbox, &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(detail(&found, "signing key").starts_with("none yet: "), "{ran:?}");
}
