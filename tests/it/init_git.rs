//! `init --git`, judged by git: a clone has the secrets byte for byte, whatever git does to line ends, and files that belong
//! to one machine stay out of it.

#![allow(clippy::disallowed_methods, reason = "tests write files as any program could")]

use std::path::{Path, PathBuf};

use crate::support::{Ran, Sandbox, require};

/// Enough secrets that some have no zero byte, so that git takes them for text.
const SECRETS: usize = 12;

/// Runs git with line end conversion wherever possible.
fn git(sandbox: &Sandbox, directory: &Path, arguments: &[&str]) -> Ran {
    require("git", "git");
    let mut command = sandbox.program("git");
    command.current_dir(directory).args([
        "-c",
        "core.autocrlf=true",
        "-c",
        "user.name=me",
        "-c",
        "user.email=me@localhost",
    ]);
    Ran::from(command.args(["-c", "init.defaultBranch=main"]).args(arguments).output().expect("git starts"))
}

fn ok(sandbox: &Sandbox, directory: &Path, arguments: &[&str]) -> String {
    let ran = git(sandbox, directory, arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    ran.text()
}

/// A repository with a vault in its directory `vault`, made with `options`, and a clone of the repository.
fn cloned(sandbox: &Sandbox, options: &[&str]) -> (PathBuf, PathBuf) {
    let (repository, clone) = (sandbox.work().join("repository"), sandbox.work().join("clone"));
    ok(sandbox, &sandbox.work(), &["init", "--quiet", "repository"]);
    // `init --git` needs no other program.
    let mut init = sandbox.command(&["--vault", "repository/vault", "init"]);
    let ran = Ran::from(init.args(options).env("PATH", "/nonexistent").output().expect("it starts"));
    assert_eq!(ran.code, 0, "{ran:?}");
    for number in 0..SECRETS {
        sandbox.ok(&["--vault", "repository/vault", "create", "secret", &format!("s{number}"), "value"]);
    }
    sandbox.file("repository/vault/secrets/org/.tmp", "left behind");
    sandbox.file("repository/vault/.flyte-local-0123.tmp", "left behind");
    ok(sandbox, &repository, &["add", "."]);
    ok(sandbox, &repository, &["commit", "--quiet", "--message", "a vault"]);
    ok(sandbox, &sandbox.work(), &["clone", "--quiet", "repository", "clone"]);
    (repository, clone)
}

/// Returns how many secrets of the clone open.
fn open(sandbox: &Sandbox) -> usize {
    let reveal = |number| sandbox.run(&["--vault", "clone/vault", "get", "secret", &format!("s{number}"), "--reveal"]);
    (0..SECRETS).map(reveal).filter(|ran| ran.code == 0 && ran.stdout == b"value").count()
}

#[test]
#[ignore = "needs Git: scripts/test"]
fn a_clone_has_every_secret_unchanged_and_nothing_else() {
    let sandbox = Sandbox::in_memory();
    let (repository, clone) = cloned(&sandbox, &["--git"]);
    assert_eq!(open(&sandbox), SECRETS);
    let found = sandbox.run(&["--vault", "clone/vault", "check"]);
    assert_eq!(found.code, 0, "{found:?}");
    let files = ok(&sandbox, &repository, &["ls-files"]);
    let others: Vec<_> = files.lines().filter(|file| !file.ends_with(".age")).collect();
    assert_eq!(others, ["vault/.gitattributes", "vault/.gitignore", "vault/vault.toml"]);
    assert_eq!(files.lines().count(), SECRETS + others.len());
    let manifest = std::fs::read(clone.join("vault/vault.toml")).expect("there");
    assert!(!manifest.contains(&b'\r'), "the line ends of vault.toml were changed");
    assert_eq!(ok(&sandbox, &repository, &["status", "--porcelain"]), "");
}

/// Without the attributes, git damages secrets, so the test above can fail.
#[test]
#[ignore = "needs Git: scripts/test"]
fn a_clone_of_a_vault_made_without_git_is_damaged() {
    let sandbox = Sandbox::in_memory();
    cloned(&sandbox, &[]);
    assert!(open(&sandbox) < SECRETS);
}

#[test]
#[ignore = "needs Git: scripts/test"]
fn two_changes_of_one_secret_conflict_and_are_not_mixed() {
    let sandbox = Sandbox::in_memory();
    let (repository, _) = cloned(&sandbox, &["--git"]);
    let update = |value: &str| {
        sandbox.ok(&["--vault", "repository/vault", "update", "secret", "s0", value]);
        ok(&sandbox, &repository, &["commit", "--quiet", "--all", "--message", value]);
    };
    ok(&sandbox, &repository, &["switch", "--quiet", "--create", "other"]);
    update("theirs");
    ok(&sandbox, &repository, &["switch", "--quiet", "main"]);
    update("ours");
    let merged = git(&sandbox, &repository, &["merge", "other"]);
    assert_eq!(merged.code, 1, "{merged:?}");
    let reveal = ["--vault", "repository/vault", "get", "secret", "s0", "--reveal"];
    assert_eq!(sandbox.ok(&reveal), b"ours");
    ok(&sandbox, &repository, &["checkout", "--theirs", "vault/secrets/org/s0.age"]);
    assert_eq!(sandbox.run(&reveal).stdout, b"theirs");
}

#[test]
#[ignore = "needs Git: scripts/test"]
fn existing_lines_are_kept_and_a_symlink_is_refused() {
    let sandbox = Sandbox::in_memory();
    sandbox.file("v/.gitignore", "mine\n*.tmp");
    let init = |options: &[&str]| sandbox.run(&[&["--vault", "v", "init"][..], options].concat());
    assert_eq!(init(&["--git"]).code, 0);
    let ignore = || std::fs::read_to_string(sandbox.work().join("v/.gitignore")).expect("there");
    let first = ignore();
    assert!(first.starts_with("mine\n*.tmp\n# ") && first.contains("\n/.lock\n.tmp\n"), "{first}");
    // An existing vault gets the files too, and their lines only once.
    assert_eq!(init(&[]).code, 12);
    assert_eq!(init(&["--git"]).code, 0);
    assert_eq!(ignore(), first);
    std::fs::remove_file(sandbox.work().join("v/.gitattributes")).expect("it was there");
    assert_eq!(init(&["--git"]).code, 0);
    assert!(sandbox.work().join("v/.gitattributes").exists());

    std::fs::remove_file(sandbox.work().join("v/.gitattributes")).expect("it was there");
    std::os::unix::fs::symlink("elsewhere", sandbox.work().join("v/.gitattributes")).expect("made");
    let refused = init(&["--git"]);
    assert_eq!(refused.code, 13, "{refused:?}");
    assert!(!sandbox.work().join("v/elsewhere").exists());
}
