//! The order of system calls, which no result shows. A new directory survives a power cut because its parent is synced, also
//! if another process made it. And a lock is held until the work on what it guards is done.

#![allow(clippy::disallowed_methods, reason = "the rules on files are for the product")]

use std::path::Path;

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require};

/// Runs `flyte-local`, which must succeed. Returns the directories that it made and synced, in order.
fn traced(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Call> {
    require("strace", "strace");
    let log = sandbox.work().join("strace.log");
    let mut command = sandbox.program("strace");
    command.arg("-y").arg("-o").arg(&log).args(["-e", "trace=mkdir,mkdirat,fsync,fdatasync", FLYTE_LOCAL]);
    let ran = Ran::from(command.args(arguments).output().expect("strace starts"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let log = std::fs::read_to_string(&log).expect("strace's log");
    log.lines().filter(|line| line.ends_with(" = 0")).map(Call::parse).collect()
}

/// A system call with the path that `strace -y` prints in angle brackets.
#[derive(Debug, PartialEq)]
enum Call {
    /// A directory was made in this one.
    MadeIn(String),
    Synced(String),
}

impl Call {
    fn parse(line: &str) -> Self {
        let path = line.split(['<', '>']).nth(1).unwrap_or_else(|| panic!("a path in {line}")).to_owned();
        match line.split('(').next() {
            Some("mkdirat") => Call::MadeIn(path),
            Some("fsync") => Call::Synced(path),
            _ => panic!("a call by handle, not {line}"),
        }
    }
}

fn name(path: &Path) -> String {
    path.canonicalize().expect("it exists").into_os_string().into_string().expect("UTF-8")
}

/// Asserts that the parent of each new directory is synced before the next directory is made.
fn assert_each_is_synced(calls: &[Call], made: usize) {
    let made_in: Vec<_> = calls.iter().enumerate().filter(|(_, call)| matches!(call, Call::MadeIn(_))).collect();
    assert_eq!(made_in.len(), made, "{calls:?}");
    for (index, call) in made_in {
        let Call::MadeIn(parent) = call else { continue };
        assert_eq!(calls.get(index + 1), Some(&Call::Synced(parent.clone())), "{calls:?}");
    }
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn the_parent_of_a_new_directory_is_synced() {
    let sandbox = Sandbox::empty();
    // `.config`, `.local` and their subdirectories, then `secrets`; and the directories from `.local/state` to the pins of vaults and of paths.
    assert_each_is_synced(&traced(&sandbox, &["init"]), 7 + 6);
    // `project`, `newproj`, `domain`, `dev`; and the same in `seen`, below the vault's pins.
    let calls = traced(&sandbox, &["create", "secret", "a", "v", "-p", "newproj", "-d", "dev"]);
    assert_each_is_synced(&calls, 4 + 5);
    let secrets = name(&sandbox.vault().join("secrets"));
    assert!(calls.contains(&Call::MadeIn(secrets)), "{calls:?}");
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_writer_syncs_directories_left_unsynced_by_another() {
    let sandbox = Sandbox::new();
    let secrets = sandbox.vault().join("secrets");
    // The state that a writer leaves if it is killed before any sync.
    let scope = secrets.join("project/p/domain/d");
    std::fs::create_dir_all(&scope).expect("made");
    let calls = traced(&sandbox, &["create", "secret", "a", "v", "-p", "p", "-d", "d"]);
    let vault = name(&sandbox.vault());
    let is_made = |call: &Call| matches!(call, Call::MadeIn(parent) if parent.starts_with(&vault));
    assert!(!calls.iter().any(is_made), "{calls:?}");
    let above = scope.ancestors().take_while(|path| path.starts_with(sandbox.vault()));
    for directory in above {
        assert!(calls.contains(&Call::Synced(name(directory))), "{} was not: {calls:?}", directory.display());
    }
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_temporary_file_is_removed_while_its_lock_is_held() {
    require("strace", "strace");
    let sandbox = Sandbox::empty();
    let left = sandbox.identity().with_file_name(".flyte-local-1-1.tmp");
    std::fs::create_dir_all(left.parent().expect("it has one")).expect("made");
    std::fs::write(&left, "half a key").expect("written");
    let log = sandbox.work().join("strace.log");
    let mut command = sandbox.program("strace");
    command.arg("-y").arg("-o").arg(&log).args(["-e", "trace=flock,unlinkat,close", FLYTE_LOCAL, "init"]);
    let ran = Ran::from(command.output().expect("strace starts"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let log = std::fs::read_to_string(&log).expect("strace's log");
    let of_it: Vec<_> = log.lines().filter(|line| line.contains(".flyte-local-1-1.tmp")).collect();
    let calls: Vec<_> = of_it.iter().filter_map(|line| line.split('(').next()).collect();
    // Closed earlier, the file would be free for its writer, which would continue with a file that is about to be removed.
    assert_eq!(calls, ["flock", "unlinkat", "close"], "{of_it:?}");
}
