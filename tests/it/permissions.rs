//! Files and directories that we write belong to their owner alone, whatever the umask: directories 0700, files 0600.

#![allow(clippy::disallowed_methods, reason = "a test moves a vault")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::support::permissions::{chmod, mode, reachable_binary, run_the_hint, under};
use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require};

/// The umasks: none, the usual, the strict, and one that takes even the owner's own permissions away.
const UMASKS: [&str; 4] = ["000", "022", "077", "0777"];

const MODES: [(&str, u32); 13] = [
    (".config", 0o700),
    (".config/flyte-local", 0o700),
    (".config/flyte-local/identity.txt", 0o600),
    (".local/share/flyte-local", 0o700),
    (".local/share/flyte-local/vault", 0o700),
    (".local/share/flyte-local/vault/.lock", 0o600),
    (".local/share/flyte-local/vault/vault.toml", 0o600),
    (".local/share/flyte-local/vault/secrets", 0o700),
    (".local/share/flyte-local/vault/secrets/org", 0o700),
    (".local/share/flyte-local/vault/secrets/org/s.age", 0o600),
    (".local/share/flyte-local/vault/secrets/project/p/domain", 0o700),
    (".local/share/flyte-local/vault/secrets/project/p/domain/d", 0o700),
    (".local/share/flyte-local/vault/secrets/project/p/domain/d/s.age", 0o600),
];

/// Returns every mode below `directory`.
fn modes(directory: &Path) -> BTreeMap<PathBuf, u32> {
    let mut found = BTreeMap::new();
    let mut unvisited = vec![directory.to_owned()];
    while let Some(path) = unvisited.pop() {
        found.insert(path.clone(), mode(&path));
        if path.is_dir() {
            unvisited.extend(path.read_dir().expect("listed").map(|entry| entry.expect("listed").path()));
        }
    }
    found
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn modes_do_not_follow_the_umask() {
    for umask in UMASKS {
        let sandbox = Sandbox::empty();
        let binary = reachable_binary(&sandbox);
        for arguments in [
            &["init"][..],
            &["create", "secret", "s", "value"],
            &["create", "secret", "s", "value", "-p", "p", "-d", "d"],
            &["update", "secret", "s", "new"],
            &["get", "secret", "s", "--reveal"],
        ] {
            let ran = under(umask, &sandbox, &binary, arguments);
            assert_eq!(ran.code, 0, "umask {umask}: {arguments:?}: {ran:?}");
        }
        for (path, expected) in MODES {
            let found = mode(&sandbox.home().join(path));
            assert_eq!(found, expected, "umask {umask}: {path} is {found:o}");
        }
        // Files and directories outside the list are closed to others too.
        for (path, mode) in [".config", ".local"].iter().flat_map(|top| modes(&sandbox.home().join(top))) {
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "umask {umask}: {} is {mode:o}", path.display());
        }
    }
}

#[test]
fn an_update_closes_a_file_that_others_could_read() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    let file = sandbox.secret_file("org/s");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("our own file");
    sandbox.ok(&["update", "secret", "s", "new"]);
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn an_existing_directory_keeps_its_mode() {
    let sandbox = Sandbox::empty();
    let directory = sandbox.work().join("mine");
    std::fs::create_dir(&directory).expect("created");
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).expect("our own directory");
    sandbox.ok(&["--vault", "mine/vault", "init"]);
    assert_eq!(mode(&directory), 0o755, "the mode of an existing directory stays");
    assert_eq!(mode(&directory.join("vault")), 0o700);
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_temporary_file_is_never_open_to_others() {
    require("strace", "strace");
    let sandbox = Sandbox::new();
    let log = sandbox.work().join("strace.log");
    let mut command = sandbox.program("strace");
    command.arg("-f").arg("-o").arg(&log).args(["-e", "inject=write:signal=KILL:when=1", "sh", "-c"]);
    command.arg("umask 000; exec \"$0\" \"$@\"").arg(FLYTE_LOCAL).args(["create", "secret", "s", "value"]);
    command.output().expect("strace starts");
    let temporary = sandbox.secret_file("org/s").with_file_name(".tmp");
    assert_eq!(mode(&temporary), 0o600, "the temporary file is private before its first byte");
}

#[test]
fn an_identity_that_others_can_read_is_refused_until_the_hint_is_followed() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    for mode in [0o640, 0o604, 0o620, 0o601, 0o677] {
        for arguments in [
            &["get", "secret", "s", "--reveal"][..],
            &["exec", "--secret", "s", "--", "touch", "started"],
            &["--vault", "another", "init"],
            &["check"],
        ] {
            chmod(&sandbox.identity(), mode);
            let ran = sandbox.run(arguments);
            assert_eq!(ran.code, 13, "{mode:o} {arguments:?}: {ran:?}");
            assert!(ran.stderr.contains(&format!("others can read it (its mode is 0{mode:o})\n")), "{ran:?}");
            assert!(!sandbox.work().join("another").exists() && !sandbox.work().join("started").exists());
            run_the_hint(&sandbox, &ran, ": chmod 600 ");
        }
        assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"value", "{mode:o}");
    }
    // Commands that only write need no identity.
    chmod(&sandbox.identity(), 0o644);
    sandbox.ok(&["update", "secret", "s", "new"]);
    sandbox.ok(&["get", "secret"]);
    // A mode stricter than ours is accepted.
    chmod(&sandbox.identity(), 0o400);
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"new");
}

/// A password manager gives an identity like this: `--identity <(pass show id)`.
#[test]
fn an_identity_may_come_through_a_pipe() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    let mut command = sandbox.program("sh");
    command.args(["-c", "cat \"$1\" | \"$0\" --identity /dev/stdin get secret s --reveal", FLYTE_LOCAL]);
    let ran = Ran::from(command.arg(sandbox.identity()).output().expect("sh starts"));
    assert_eq!((ran.code, ran.text().as_str()), (0, "value"), "{ran:?}");
}

#[test]
fn a_vault_that_others_can_write_to_is_refused_until_the_hint_is_followed() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value", "-p", "p", "-d", "d"]);
    let scope = ["-p", "p", "-d", "d"];
    for place in ["", "vault.toml", "secrets", "secrets/project", "secrets/project/p", "secrets/project/p/domain/d"] {
        let path = sandbox.vault().join(place);
        for open in [0o020, 0o002, 0o1022] {
            let good = mode(&path);
            for (verb, rest) in [
                (&["get", "secret", "s", "--reveal"][..], &[][..]),
                (&["get", "secret"], &[]),
                (&["update", "secret", "s", "new"], &[]),
                (&["create", "secret", "t", "new"], &[]),
                (&["delete", "secret", "s"], &[]),
                (&["exec", "--secret", "s"], &["--", "true"]),
            ] {
                chmod(&path, good | open);
                let ran = sandbox.run(&[verb, &scope, rest].concat());
                assert_eq!(ran.code, 13, "{place} {open:o} {verb:?}: {ran:?}");
                assert!(ran.stderr.contains("others can write to it"), "{ran:?}");
                run_the_hint(&sandbox, &ran, ": chmod -R go-w ");
            }
            chmod(&path, good);
        }
    }
    let file = sandbox.secret_file("project/p/domain/d/s");
    chmod(&file, 0o666);
    let reveal = [&["get", "secret", "s", "--reveal"][..], &scope].concat();
    let ran = sandbox.run(&reveal);
    assert_eq!(ran.code, 13, "{ran:?}");
    run_the_hint(&sandbox, &ran, ": chmod -R go-w ");
    assert_eq!(sandbox.ok(&reveal), b"value");
    // An existing directory that others can write to does not become a vault either.
    let place = sandbox.work().join("place");
    std::fs::create_dir(&place).expect("made");
    chmod(&place, 0o777);
    assert_eq!(sandbox.run(&["--vault", "place", "init"]).code, 13);
    assert_eq!(place.read_dir().expect("listed").count(), 0, "init left the directory empty");
}

/// The variable is for file systems without permissions.
#[test]
fn permissions_are_ignored_only_if_the_variable_says_so() {
    let sandbox = Sandbox::empty();
    sandbox.ok(&["init"]);
    sandbox.ok(&["create", "secret", "s", "value"]);
    chmod(&sandbox.identity(), 0o777);
    chmod(&sandbox.vault(), 0o777);
    chmod(&sandbox.state(), 0o777);
    let with = |value: &str, arguments: &[&str]| {
        Ran::from(sandbox.command(arguments).env("FLYTE_LOCAL_PERMISSIONS", value).output().expect("it starts"))
    };
    let reveal = ["get", "secret", "s", "--reveal"];
    assert_eq!(with("", &reveal).code, 13);
    assert_eq!(with("ignored", &reveal).code, 2);
    assert_eq!(with("ignore", &reveal).text(), "value");
    assert_eq!(with("ignore", &["update", "secret", "s", "new"]).code, 0);
    assert_eq!(with("ignore", &["--vault", "second", "init"]).code, 0);
    assert_eq!(with("ignore", &reveal).text(), "new");
}
