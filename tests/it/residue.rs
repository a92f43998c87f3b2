//! After `kill -9` of any of a run's processes at any moment, nothing of the run is left.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{MARK, Ran, Random, Sandbox, marked, python, until};
use rustix::process::{Pid, Signal, kill_process};

/// The number of rounds at the same time, since a round waits more than it works.
const AT_ONCE: usize = 4;

fn rounds() -> usize {
    if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 200 } else { 40 }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    Front,
    Supervisor,
    Child,
}

/// Returns the children of a process. The list is empty if the process is gone.
fn children(process: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    list.split_whitespace().map(|number| number.parse().expect("a number")).collect()
}

fn is_supervisor(process: i32) -> bool {
    std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default().windows(11).any(|part| part == b"__supervise")
}

/// Kills the process, if it has started already.
fn kill(front: &Child, whom: Whom) -> bool {
    let front = Pid::from_child(front);
    let supervisor = || children(front.as_raw_nonzero().get()).into_iter().find(|&process| is_supervisor(process));
    let process = match whom {
        Whom::Front => Some(front),
        Whom::Supervisor => supervisor().and_then(Pid::from_raw),
        Whom::Child => supervisor().and_then(|process| children(process).first().copied()).and_then(Pid::from_raw),
    };
    process.is_some_and(|process| kill_process(process, Signal::KILL).is_ok())
}

/// Returns all files below a directory.
fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("listed").flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().expect("known").is_dir() {
            found.extend(files(&entry.path()));
        }
    }
    found.sort();
    found
}

fn mounts() -> String {
    std::fs::read_to_string("/proc/self/mountinfo").expect("the mounts")
}

/// Returns everything that a run could leave behind, except processes.
fn residue(sandbox: &Sandbox) -> (Vec<String>, Vec<String>, String, bool) {
    let flyte = Path::new("/etc/flyte").exists();
    // Files in Python's own temporary directory belong to the killed Python.
    let ours =
        files(&sandbox.home().join("home-tmp")).into_iter().filter(|file| !file.contains("/home-tmp/tmp")).collect();
    (files(&sandbox.vault()), ours, mounts(), flyte)
}

/// One run, killed at one moment.
fn round(sandbox: &Sandbox, mut command: Command, whom: Whom, after: Duration, mark: &str) {
    command.env(MARK, mark).env("TMPDIR", sandbox.home().join("home-tmp"));
    let mut front =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    std::thread::sleep(after);
    let name = format!("{mark}, {whom:?} after {after:?}");
    until(&format!("{name}: the process has started"), || kill(&front, whom));
    // The output ends when the last process that holds it ends.
    let _ = front.stdin.take();
    let ran = Ran::from(front.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, 137, "{name}: {ran:?}");
    until(&format!("{name}: no process is left"), || marked(mark).is_empty());
}

fn rounds_leave_nothing(sandbox: &Sandbox, rounds: usize, longest: u64, command: impl Fn() -> Command + Sync) {
    std::fs::create_dir(sandbox.home().join("home-tmp")).expect("made");
    let random = Mutex::new(Random::seeded());
    let before = residue(sandbox);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= rounds {
                        return;
                    }
                    let whom = [Whom::Front, Whom::Supervisor, Whom::Child][number % 3];
                    let after = random.lock().expect("no panic").below(longest);
                    let mark = format!("residue-{}-{longest}-{number}", std::process::id());
                    round(sandbox, command(), whom, Duration::from_micros(after), &mark);
                }
            });
        }
    });
    assert_eq!(residue(sandbox), before);
}

#[test]
fn a_killed_command_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.secret("a", "a-long-secret-value", &[]);
    sandbox.secret("b", "another-secret-value", &[]);
    let shm =
        || files(Path::new("/dev/shm")).into_iter().filter(|file| file.starts_with("/dev/shm/flyte-local-")).count();
    let before = shm();
    let script = "
sleep 1000 &
(setsid sleep 1000 >/dev/null 2>&1 &)
sh -c 'trap \"\" TERM HUP; sleep 1000 & wait' &
cat /etc/flyte/secrets/b
exec sleep 1000
";
    rounds_leave_nothing(&sandbox, rounds(), 120_000, || {
        sandbox.command(&["exec", "--mask", "--secret", "a", "--mount", "b", "--", "sh", "-c", script])
    });
    assert_eq!(shm(), before);
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_killed_run_leaves_nothing() {
    let task = "
import os
import subprocess
import time
import flyte

env = flyte.TaskEnvironment(
    name='env', secrets=[flyte.Secret(key='a', as_env_var='A'), flyte.Secret(key='b', mount='/etc/flyte/secrets')]
)

@env.task
def main():
    subprocess.Popen(['sleep', '1000'])
    subprocess.Popen(['sleep', '1000'], start_new_session=True)
    open('/etc/flyte/secrets/b').read()
    time.sleep(1000)
";
    let sandbox = Sandbox::new();
    sandbox.secret("a", "a-long-secret-value", &[]);
    sandbox.secret("b", "another-secret-value", &[]);
    sandbox.file("task.py", task);
    rounds_leave_nothing(&sandbox, rounds() / 5, 4_000_000, || {
        let mut command = sandbox.command(&["run", "--python"]);
        command.arg(python("newest")).args(["task.py", "main"]);
        command
    });
}
