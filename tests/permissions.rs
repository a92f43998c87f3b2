//! What we write is for its owner alone, whatever the umask: directories 0700, files 0600.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use support::{FLYTE_LOCAL, Ran, Sandbox, require};

/// Nothing, the usual, the strict, and one that takes even the owner's own permissions.
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

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it exists").permissions().mode() & 0o7777
}

/// A copy of the binary in the sandbox, for a user who cannot reach ours.
fn reachable_binary(sandbox: &Sandbox) -> PathBuf {
    let copy = sandbox.work().join("flyte-local");
    std::fs::copy(FLYTE_LOCAL, &copy).expect("copied");
    copy
}

/// `flyte-local` under this umask, as an ordinary user: root passes over permissions, and would hide a missing one.
fn under(umask: &str, sandbox: &Sandbox, binary: &Path, arguments: &[&str]) -> Ran {
    let is_root = rustix::process::getuid().is_root();
    let mut command = sandbox.program(if is_root { "setpriv" } else { "env" });
    if is_root {
        require("setpriv", "util-linux");
        for path in [sandbox.home(), &sandbox.work()] {
            std::os::unix::fs::chown(path, Some(65534), Some(65534)).expect("root may");
        }
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    }
    command.args(["sh", "-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(binary).args(arguments);
    Ran::from(command.output().expect("it starts"))
}

/// Every mode below `directory`.
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
        // And nothing beside the list is open to others.
        for (path, mode) in [".config", ".local"].iter().flat_map(|top| modes(&sandbox.home().join(top))) {
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "umask {umask}: {} is {mode:o}", path.display());
        }
    }
}

#[test]
fn an_update_closes_a_file_that_was_opened_to_others() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    let file = sandbox.secret_file("org/s");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("our own file");
    sandbox.ok(&["update", "secret", "s", "new"]);
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn a_directory_of_the_user_keeps_its_mode() {
    let sandbox = Sandbox::empty();
    let directory = sandbox.work().join("mine");
    std::fs::create_dir(&directory).expect("created");
    std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).expect("our own directory");
    sandbox.ok(&["--vault", "mine/vault", "init"]);
    assert_eq!(mode(&directory), 0o755, "what we did not make is not ours to change");
    assert_eq!(mode(&directory.join("vault")), 0o700);
}

#[test]
fn a_temporary_file_is_never_open_to_others() {
    require("strace", "strace");
    let sandbox = Sandbox::new();
    let log = sandbox.work().join("strace.log");
    let mut command = sandbox.program("strace");
    command.arg("-f").arg("-o").arg(&log).args(["-e", "inject=write:signal=KILL:when=1", "sh", "-c"]);
    command.arg("umask 000; exec \"$0\" \"$@\"").arg(FLYTE_LOCAL).args(["create", "secret", "s", "value"]);
    command.output().expect("strace starts");
    let temporary = sandbox.secret_file("org/s").with_file_name(".tmp");
    assert_eq!(mode(&temporary), 0o600, "before its first byte is written");
}
