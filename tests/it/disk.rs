//! Disks that are read-only, full or damaged: no stored value may be lost.

#![allow(clippy::disallowed_methods, reason = "tests damage files as any program could")]

use std::io::Write;

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require};

/// Runs a script in a separate mount namespace, with a small disk on `disk`. The disk has a vault with one secret, `a`,
/// whose value is `old`. `try` prints a command's exit code and its standard error.
fn on_a_small_disk(script: &str) -> String {
    require("unshare", "util-linux");
    let sandbox = Sandbox::empty();
    let script = format!(
        r#"
        try() {{ "$@" 2>stderr; echo "$1 $2: $?"; sed 's/^/  /' stderr; }}
        fl() {{ "$FLYTE_LOCAL" --vault disk/vault "$@"; }}
        create() {{ fl create secret "$@"; }}
        update() {{ fl update secret "$@"; }}
        delete() {{ fl delete secret "$@"; }}
        get() {{ fl get secret "$@"; }}
        reveal() {{ fl get secret "$1" --reveal; echo; }}
        set -u
        mkdir disk && mount -t tmpfs -o size=256k,mode=0700 disk disk
        fl init 2>/dev/null && create a old 2>/dev/null || exit
        {script}
        "#
    );
    let mut command = sandbox.program("unshare");
    let ran = Ran::from(
        command.args(["-rm", "sh", "-c", &script]).env("FLYTE_LOCAL", FLYTE_LOCAL).output().expect("unshare starts"),
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    ran.text()
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn a_read_only_vault_can_be_read_but_not_written() {
    let said = on_a_small_disk(
        "
        mount -o remount,bind,ro disk
        try create b new; try create p new -p p; try update a new; try delete a
        try reveal a; try get a > list; head -n 1 list | cut -c 1-7; tail -n 1 list
        try fl exec --secret a -- printenv A
        mount -o remount,bind,rw disk
        try update a new; try reveal a",
    );
    let refused = "caused by: Read-only file system (os error 30)\n  hint: the file system is read-only: secrets can be read there, but not written";
    let expected = format!(
        "create b: 1
  error: cannot open disk/vault/.lock
  {refused}
create p: 1
  error: cannot open disk/vault/.lock
  {refused}
update a: 1
  error: cannot open disk/vault/.lock
  {refused}
delete a: 1
  error: cannot open disk/vault/.lock
  {refused}
old
reveal a: 0
project
get a: 0
old
fl exec: 0
update a: 0
  updated secret a (organization)
new
reveal a: 0
"
    );
    assert_eq!(said, expected);
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn a_full_disk_loses_nothing() {
    let said = on_a_small_disk(
        "
        head -c 50000 /dev/zero > large
        head -c 1000000 /dev/zero > disk/filling 2>/dev/null
        try create b --from-file large; try create p --from-file large -p p; try update a --from-file large
        try reveal a
        find disk/vault -type f -not -name '*.age' | sort
        rm disk/filling
        try create b --from-file large; try update a --from-file large
        fl get secret a --reveal | cmp - large && fl get secret b --reveal | cmp - large && echo whole
        head -c 1000000 /dev/zero > disk/filling 2>/dev/null
        try delete b; try get b",
    );
    let refused = "  caused by: No space left on device (os error 28)
  hint: nothing was changed; free some space and try again";
    let expected = format!(
        "create b: 1
  error: cannot write disk/vault/secrets/org/b.age
{refused}
create p: 1
  error: cannot write disk/vault/secrets/project/p/p.age
{refused}
update a: 1
  error: cannot write disk/vault/secrets/org/a.age
{refused}
old
reveal a: 0
disk/vault/.lock
disk/vault/vault.toml
create b: 0
  created secret b (organization)
update a: 0
  updated secret a (organization)
whole
delete b: 0
  deleted secret b (organization)
get b: 10
  error: there is no secret b (organization)
  hint: list the secrets: flyte-local --vault disk/vault get secret
"
    );
    assert_eq!(said, expected);
}

/// `init` on a full disk leaves no partial vault, and can be repeated.
#[test]
#[ignore = "needs util-linux: scripts/test"]
fn init_on_a_full_disk_can_be_repeated() {
    let said = on_a_small_disk(
        "
        head -c 1000000 /dev/zero > disk/filling 2>/dev/null
        second() { FLYTE_LOCAL_AUTHOR=author.key \"$FLYTE_LOCAL\" --vault disk/second --identity disk/identity.txt \"$@\"; }
        try second init
        rm disk/filling
        try second init; try second create secret a one; try second get secret a --reveal",
    );
    let expected = "second init: 1
  error: cannot write disk/identity.txt
  caused by: No space left on device (os error 28)
  hint: nothing was changed; free some space and try again
second init: 0
  vault:    disk/second
  identity: disk/identity.txt
  author:   author.key
  Keep a copy of the identity in a safe place: without it, you cannot open your secrets again.
  hint: create a secret: flyte-local --vault disk/second --identity disk/identity.txt create secret NAME
second create: 0
  created secret a (organization)
onesecond get: 0
";
    assert_eq!(said, expected);
}

/// Every secret has the vault's id in it: with a new `vault.toml`, the old secrets would belong to another vault.
#[test]
fn init_does_not_take_over_secrets_whose_vault_toml_is_gone() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "a", "one"]);
    let manifest = sandbox.vault().join("vault.toml");
    let kept = std::fs::read(&manifest).expect("the vault's");
    std::fs::remove_file(&manifest).expect("it was there");
    let ran = sandbox.run(&["init"]);
    assert!(ran.code != 0 && !manifest.exists(), "{ran:?}");
    std::fs::File::create(&manifest).and_then(|mut file| file.write_all(&kept)).expect("put back");
    assert_eq!(sandbox.ok(&["get", "secret", "a", "--reveal"]), b"one");
}

/// A list and `--all` must report an unreadable file in a secret's place, not skip it.
#[test]
fn a_symlink_in_a_secrets_place_is_reported() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "a", "one"]);
    sandbox.ok(&["create", "secret", "b", "two"]);
    let place = sandbox.secret_file("org/a");
    std::fs::rename(&place, sandbox.work().join("a.age")).expect("moved away");
    std::os::unix::fs::symlink(sandbox.work().join("a.age"), &place).expect("a symlink");
    for arguments in [&["get", "secret", "a"][..], &["get", "secret"], &["exec", "--all", "--", "true"]] {
        let ran = sandbox.run(arguments);
        assert_eq!(ran.code, 13, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("org/a.age"), "{arguments:?}: {ran:?}");
    }
}
