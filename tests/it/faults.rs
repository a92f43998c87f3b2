//! Writes on systems that fail or lack a system call, and the order in which a write syncs. strace injects the faults:
//! a `signal=KILL` comes before the call, and an `error=` replaces it. `faults_calls` injects them at every system
//! call.

#![allow(clippy::disallowed_methods, reason = "tests damage files as any program could")]

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require, scope_options, secret_id};

const OLD: &[u8] = b"the old value";
const NEW: &[u8] = b"the new value, of another length";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Verb {
    /// Into a scope that has no directory yet.
    Create,
    Update,
    Delete,
}

use Verb::{Create, Delete, Update};

impl Verb {
    fn word(self) -> &'static str {
        match self {
            Create => "create",
            Update => "update",
            Delete => "delete",
        }
    }

    fn before(self) -> Option<&'static [u8]> {
        (self != Create).then_some(OLD)
    }

    fn after(self) -> Option<&'static [u8]> {
        (self != Delete).then_some(NEW)
    }
}

struct Bench {
    sandbox: Sandbox,
    new: PathBuf,
    runs: usize,
}

/// The outcome of a write with an injected fault.
struct Outcome {
    ran: Ran,
    place: String,
    /// True if the fault occurred: a command may make fewer calls than its position.
    injected: bool,
}

impl Bench {
    fn new() -> Self {
        require("strace", "strace");
        let sandbox = Sandbox::new();
        let new = sandbox.file("new", NEW);
        Self { sandbox, new, runs: 0 }
    }

    /// Prepares a new secret's place, and runs a write there with an injected `fault`, as `strace -e inject=` takes it.
    fn run(&mut self, verb: Verb, fault: &str) -> Outcome {
        self.runs += 1;
        let place = match verb {
            Create => format!("project/p{}/domain/d/s", self.runs),
            Update | Delete => format!("domain/d/s{}", self.runs),
        };
        if let Some(old) = verb.before() {
            let old = flyte_local::secret::SecretValue::new(old.to_vec().into()).expect("small enough");
            let mut vault = self.sandbox.open_vault();
            vault
                .writer()
                .expect("writable")
                .create_secret(&secret_id(&place), flyte_local::secret::SecretType::Regular, &old)
                .expect("created");
        }
        let log = self.sandbox.work().join("strace.log");
        let name = secret_id(&place).name.to_string();
        let call = fault.split(':').next().expect("a fault begins with a call");
        let mut command = self.sandbox.program("strace");
        command.arg("-f").arg("-o").arg(&log);
        command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={fault}"), FLYTE_LOCAL]);
        command.args([verb.word(), "secret", &name]).args(scope_options(&place));
        if verb != Delete {
            command.arg("--from-file").arg(&self.new);
        }
        let output = command.output().expect("strace starts");
        let killed = output.status.signal().is_some();
        let ran = Ran::from(output);
        let log = std::fs::read_to_string(&log).expect("strace's log");
        assert!(log.contains("+++"), "strace did not work: {ran:?}");
        Outcome { ran, place, injected: killed || log.contains("(INJECTED)") }
    }
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn an_error_names_the_file_and_the_reason() {
    let mut bench = Bench::new();
    let full = bench.run(Update, "write:error=ENOSPC:when=1");
    assert_eq!(full.ran.code, 1, "{:?}", full.ran);
    let file = bench.sandbox.secret_file(&full.place).display().to_string();
    for part in [&file, "No space left on device", "hint: nothing was changed; free some space and try again"] {
        assert!(full.ran.stderr.contains(part), "{part}: {:?}", full.ran);
    }
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn an_interrupted_wait_for_the_lock_continues() {
    let mut bench = Bench::new();
    let Outcome { ran, place, injected } = bench.run(Update, "flock:error=EINTR:when=1");
    assert!(injected && ran.code == 0, "{ran:?}");
    assert_eq!(bench.sandbox.value(&place).as_deref(), Some(NEW));
}

/// Before Linux 5.6 there is no `openat2`, and some sandboxes forbid it.
#[test]
#[ignore = "needs strace: scripts/test"]
fn a_system_without_openat2_is_supported() {
    let mut bench = Bench::new();
    for error in ["ENOSYS", "EPERM"] {
        for verb in [Create, Update, Delete] {
            let Outcome { ran, place, injected } = bench.run(verb, &format!("openat2:error={error}"));
            assert!(injected && ran.code == 0, "{verb:?} {error}: {ran:?}");
            assert_eq!(bench.sandbox.value(&place).as_deref(), verb.after(), "{verb:?} {error}");
        }
        bench.sandbox.ok(&["create", "secret", error, "v"]);
        let file = bench.sandbox.secret_file(&format!("org/{error}"));
        std::fs::rename(&file, bench.sandbox.work().join("elsewhere")).expect("moved");
        std::os::unix::fs::symlink(bench.sandbox.work().join("elsewhere"), &file).expect("a symlink");
        let mut command = bench.sandbox.program("strace");
        command.args(["-o", "log", "-e", &format!("inject=openat2:error={error}"), FLYTE_LOCAL, "get", "secret"]);
        let ran = Ran::from(command.args([error, "--reveal"]).output().expect("strace starts"));
        assert_eq!((ran.code, ran.text().as_str()), (13, ""), "a symlink must not be followed: {ran:?}");
        std::fs::remove_file(file).expect("the symlink");
        let mut command = bench.sandbox.program("strace");
        command.args(["-o", "log", "-e", &format!("inject=openat2:error={error}"), FLYTE_LOCAL, "check"]);
        let ran = Ran::from(command.output().expect("strace starts"));
        assert!(ran.text().contains("no openat2: flyte-local opens paths one component at a time; "), "{ran:?}");
    }
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_file_system_without_rename_noreplace_is_supported() {
    let mut bench = Bench::new();
    let Outcome { ran, place, injected } = bench.run(Create, "renameat2:error=EINVAL:when=1");
    assert!(injected && ran.code == 0, "{ran:?}");
    assert_eq!(bench.sandbox.value(&place).as_deref(), Some(NEW));
    assert_eq!(bench.sandbox.sound_but_for_leftovers(), 0);
}

#[test]
fn a_short_write_leaves_the_old_value() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "the old value"]);
    let large = sandbox.file("large", vec![b'x'; 1 << 20]);
    // A real short write: the kernel writes up to the limit, then ends the process with SIGXFSZ.
    let script = "ulimit -f 100 && exec \"$0\" update secret s --from-file \"$1\"";
    let ran =
        Ran::from(sandbox.program("sh").args(["-c", script, FLYTE_LOCAL]).arg(large).output().expect("sh starts"));
    assert!(ran.code > 0, "{ran:?}");
    let leftover = sandbox.secret_file("org/s").with_file_name(".tmp");
    assert!(
        leftover.metadata().is_ok_and(|file| file.len() > 0),
        "the process ended before it wrote anything: {ran:?}"
    );
    assert_eq!(sandbox.value("org/s").as_deref(), Some(OLD));
    assert_eq!(sandbox.sound_but_for_leftovers(), 1);
    sandbox.ok(&["update", "secret", "s", "new"]);
    assert_eq!(sandbox.sound_but_for_leftovers(), 0);
}

/// Runs `flyte-local`, which must succeed, and returns strace's log of the named system calls, with the files' paths.
fn traced(sandbox: &Sandbox, calls: &str, arguments: &[String]) -> String {
    require("strace", "strace");
    let log = sandbox.work().join("strace.log");
    let mut command = sandbox.program("strace");
    command.arg("-y").arg("-o").arg(&log).args(["-e", &format!("trace={calls}"), FLYTE_LOCAL]).args(arguments);
    let ran = Ran::from(command.output().expect("strace starts"));
    assert_eq!(ran.code, 0, "{ran:?}");
    std::fs::read_to_string(&log).expect("strace's log")
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_write_is_synced_before_its_rename_and_its_directory_after_it() {
    let sandbox = Sandbox::new();
    for (arguments, change) in [
        ("create secret s one", "renameat"),
        ("create secret s one -p p -d d", "renameat"),
        ("update secret s two", "renameat"),
        ("delete secret s", "unlinkat"),
    ] {
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        let log = traced(&sandbox, "fsync,renameat,renameat2,unlinkat", &arguments);
        // Only calls in the vault count: the guarantee does not cover the state directory.
        let is_in_vault = |line: &&str| line.ends_with(" = 0") && !line.contains("/.local/state/");
        let calls: Vec<_> = log.lines().filter(is_in_vault).collect();
        // The last three calls are on the file, the change and the directory. A delete has only the last two.
        let [.., file, middle, directory] = &calls[..] else {
            assert!(
                matches!(&calls[..], [one, other] if one.starts_with(change) && other.starts_with("fsync")),
                "{log}"
            );
            continue;
        };
        assert!(file.starts_with("fsync") && file.contains("/.tmp>"), "{log}");
        assert!(middle.starts_with(change), "{log}");
        assert!(directory.starts_with("fsync"), "{log}");
        // The synced directory must be the one that was changed: strace prints both in angle brackets.
        let path = |call: &str| call.split(['<', '>']).nth(1).expect("a path").to_owned();
        assert_eq!(path(directory), path(middle), "{log}");
    }
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_new_directory_is_synced_into_its_parent_before_it_is_used() {
    let sandbox = Sandbox::new();
    let arguments = "create secret s value -p p -d d".split(' ').map(str::to_owned).collect::<Vec<_>>();
    let log = traced(&sandbox, "mkdirat,fsync", &arguments);
    let calls: Vec<_> = log.lines().filter(|line| line.ends_with(" = 0") && !line.contains("/.local/state/")).collect();
    // strace prints the parent in angle brackets in both.
    let path = |call: &str| call.split(['<', '>']).nth(1).map(str::to_owned);
    let made: Vec<_> = calls.windows(2).filter(|pair| pair[0].starts_with("mkdirat")).collect();
    assert_eq!(made.len(), 4, "project, p, domain and d: {log}");
    for pair in made {
        assert!(pair[1].starts_with("fsync") && path(pair[1]) == path(pair[0]), "{pair:?}\n{log}");
    }
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn the_next_writer_syncs_a_directory_that_a_killed_writer_made() {
    let mut bench = Bench::new();
    let made = bench.sandbox.vault().join("secrets/project");
    // The first sync after `mkdir` is that of the parent directory: the writer is killed before it.
    let kill = |nth: usize| bench.run(Create, &format!("fsync:signal=KILL:when={nth}"));
    let killed = (1..).map(kill).find(|_| made.is_dir()).expect("each run gets one sync further");
    assert!(killed.injected, "the writer was not killed between creating the directory and syncing its parent");
    let place = killed.place;

    // The first writer's directory is not on disk yet. The second writer relies on it and therefore has to sync the
    // parent: otherwise, after a power cut, its own synced file may be in a directory that no path leads to.
    let mut arguments = vec!["create".to_owned(), "secret".to_owned(), "s".to_owned(), "value".to_owned()];
    arguments.extend(scope_options(&place));
    let log = traced(&bench.sandbox, "fsync", &arguments);
    let parent = bench.sandbox.vault().join("secrets").canonicalize().expect("it exists");
    assert!(log.contains(&format!("<{}>)", parent.display())), "{} was not synced:\n{log}", parent.display());
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn an_existing_directory_that_becomes_a_vault_is_synced() {
    let sandbox = Sandbox::empty();
    let parent = sandbox.work().join("parent");
    std::fs::create_dir_all(parent.join("vault")).expect("made");
    let arguments = ["--vault", "parent/vault", "init"].map(str::to_owned);
    let log = traced(&sandbox, "fsync", &arguments);
    let parent = parent.canonicalize().expect("it exists");
    assert!(log.contains(&format!("<{}>)", parent.display())), "{} was not synced:\n{log}", parent.display());
}
