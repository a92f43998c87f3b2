//! Commands that write many secrets together: the order of their syncs, kills and errors, and what a killed one leaves. strace
//! injects the faults, and `faults_calls` covers each call of commands that write a few secrets.

use std::os::unix::process::ExitStatusExt;

use crate::support::{FLYTE_LOCAL, Ran, Random, Sandbox, require, tally};

/// More than are worth a second thread.
const SECRETS: usize = 20;

fn name(index: usize) -> String {
    format!("secret_{index:02}")
}

fn value(index: usize) -> Vec<u8> {
    format!("value {index} {}", "x".repeat(index * 300)).into_bytes()
}

/// Returns a sandbox in memory with a file to import.
fn sandbox() -> Sandbox {
    require("strace", "strace");
    let sandbox = Sandbox::in_memory();
    sandbox.ok(&["init"]);
    let lines = (0..SECRETS).map(|index| format!("{}='{}'\n", name(index), String::from_utf8_lossy(&value(index))));
    sandbox.file("new.env", lines.collect::<String>());
    sandbox
}

/// Runs the import under strace. Returns the result, whether it was killed, and the log.
fn import(sandbox: &Sandbox, options: &[&str]) -> (Ran, bool, String) {
    let log = sandbox.work().join("strace.log");
    let mut command = sandbox.program("strace");
    command.args(["-f", "-y", "-o"]).arg(&log).args(options).args([FLYTE_LOCAL, "import", "new.env", "-d", "d"]);
    let output = command.output().expect("strace starts");
    let killed = output.status.signal().is_some();
    let log = std::fs::read_to_string(&log).expect("strace's log");
    assert!(log.contains("+++"), "strace did not work");
    (Ran::from(output), killed, log)
}

/// Asserts that each secret is absent or whole, and that those before it are there. Returns their number.
fn written(sandbox: &Sandbox) -> usize {
    let found: Vec<_> = (0..SECRETS).map(|index| sandbox.value(&format!("domain/d/{}", name(index)))).collect();
    let count = found.iter().take_while(|found| found.is_some()).count();
    for (index, found) in found.into_iter().enumerate() {
        assert_eq!(found, (index < count).then(|| value(index)), "{} of {count}", name(index));
    }
    count
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn all_files_are_synced_and_read_back_before_the_first_is_shown() {
    let sandbox = sandbox();
    let (ran, _, log) = import(&sandbox, &["-e", "trace=fsync,read,renameat,renameat2"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    // `PID CALL(…`, of calls in the vault that succeeded. A call that another thread interrupts has two lines.
    let is_counted = |line: &&str| !line.contains("/.local/state/") && !line.ends_with("= 0 <unfinished ...>");
    let calls: Vec<_> = log
        .lines()
        .filter(is_counted)
        .filter_map(|line| line.split_once(' '))
        .map(|(_, call)| call.trim_start())
        .collect();
    let at = |what: &dyn Fn(&str) -> bool| -> Vec<usize> {
        calls.iter().enumerate().filter(|(_, call)| what(call)).map(|(at, _)| at).collect()
    };
    let synced = at(&|call| call.starts_with("fsync(") && call.contains("/domain/d/.tmp/"));
    let read = at(&|call| call.starts_with("read(") && call.contains("/domain/d/.tmp/"));
    let shown = at(&|call| call.starts_with("renameat"));
    let directory = at(&|call| call.starts_with("fsync(") && call.contains("/domain/d>"));
    assert_eq!((synced.len(), shown.len()), (SECRETS, SECRETS), "{log}");
    let first = shown[0];
    assert!(synced.iter().chain(&read).all(|&at| at < first) && read.len() >= SECRETS, "{log}");
    assert!(
        directory.iter().any(|&at| at > shown[SECRETS - 1]),
        "the directory is synced after the last rename: {log}"
    );
    assert_eq!(sandbox.sound_but_for_leftovers(), 0);
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_killed_import_leaves_whole_secrets_and_can_be_repeated() {
    let mut random = Random::seeded();
    let mut faults: Vec<_> = [1, 2, 10, SECRETS].map(|nth| format!("renameat2:signal=KILL:when={nth}")).to_vec();
    for call in ["mkdirat", "fchmod", "write", "syncfs", "fsync", "lseek", "unlinkat"] {
        for nth in [1, 1 + random.below(8), 1 + random.below(20)] {
            faults.push(format!("{call}:signal=KILL:when={nth}"));
        }
    }
    let (mut killed, mut halfway, mut leftovers) = (0, 0, 0);
    for fault in faults {
        let sandbox = sandbox();
        let (ran, was_killed, _) = import(&sandbox, &["-e", &format!("inject={fault}")]);
        killed += usize::from(was_killed);
        let (left, count) = (sandbox.sound_but_for_leftovers(), written(&sandbox));
        assert!(was_killed || ran.code == 0 && count == SECRETS, "{fault}: {ran:?}");
        assert!(left <= 1, "{fault}: {left} temporary files");
        halfway += usize::from(count > 0 && count < SECRETS);
        leftovers += left;
        if left > 0 {
            let check = sandbox.run(&["check"]);
            let hint = format!("hint: remove it: rm -r {}", sandbox.vault().join("secrets/domain/d/.tmp").display());
            assert!(check.code == 13 && check.all().contains(&hint), "{fault}: {check:?}");
        }
        let ran = sandbox.run(&["import", "new.env", "-d", "d"]);
        assert_eq!((ran.code, written(&sandbox)), (0, SECRETS), "{fault}: {ran:?}");
        // An import that finds every value in its place writes nothing, and only a writer removes what another left.
        sandbox.ok(&["create", "secret", "another", "v", "-d", "d"]);
        assert_eq!(sandbox.sound_but_for_leftovers(), 0, "{fault}: {ran:?}");
    }
    assert!(killed > 10 && halfway > 0 && leftovers > 0, "{killed} killed, {halfway} halfway, {leftovers} leftovers");
    tally(&format!(
        "imports of many secrets killed at {killed} points: 0 torn, {halfway} halfway, {leftovers} leftovers removed"
    ));
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn an_import_in_which_a_call_fails_reports_it_and_can_be_repeated() {
    let faults =
        ["fsync:error=EIO:when=2+", "write:error=ENOSPC:when=9", "renameat2:error=EIO:when=5", "lseek:error=EIO"];
    for fault in faults {
        let sandbox = sandbox();
        let (ran, _, log) = import(&sandbox, &["-e", &format!("inject={fault}")]);
        assert!(log.contains("(INJECTED)"), "{fault}");
        let count = written(&sandbox);
        assert!(ran.code == 1 && count < SECRETS, "{fault}: {ran:?}");
        let before = format!("{count} of {SECRETS} secrets were written before the error");
        assert!(ran.stderr.contains(&before), "{fault}: {ran:?}");
        assert_eq!(sandbox.sound_but_for_leftovers(), 0, "{fault}");
        let ran = sandbox.run(&["import", "new.env", "-d", "d"]);
        assert_eq!((ran.code, written(&sandbox)), (0, SECRETS), "{fault}: {ran:?}");
    }
    // A file system that cannot sync as a whole: each file is synced by itself.
    let sandbox = sandbox();
    let (ran, _, log) = import(&sandbox, &["-e", "inject=syncfs:error=EINVAL"]);
    assert!(log.contains("(INJECTED)") && ran.code == 0, "{ran:?}");
    assert_eq!(written(&sandbox), SECRETS);
}

#[test]
fn a_process_that_may_open_few_files_imports_many_secrets() {
    let sandbox = sandbox();
    let script = "ulimit -n 24 && exec \"$0\" import new.env -d d";
    let ran = Ran::from(sandbox.program("sh").args(["-c", script, FLYTE_LOCAL]).output().expect("sh starts"));
    assert_eq!((ran.code, written(&sandbox), sandbox.sound_but_for_leftovers()), (0, SECRETS, 0), "{ran:?}");
}
