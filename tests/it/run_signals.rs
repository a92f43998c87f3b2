//! Signals to the child of `exec`, each delivered once; its exit code; and that no process is left.
//!
//! The child says when it is ready, and which signals it got. flyte-local passes signals on in order, so a last signal shows
//! that none before it arrived twice.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::{FLYTE_LOCAL, MARK, Ran, SDKS, Sandbox, marked, python, require, until};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const MASKED: [&str; 5] = ["exec", "--mask", "--secret", "a", "--"];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.secret("a", "a-long-secret-value", &[]);
    sandbox
}

fn masked(sandbox: &Sandbox, command: &[&str]) -> Command {
    sandbox.command(&[&MASKED[..], command].concat())
}

fn ran(command: &mut Command) -> Ran {
    Ran::from(command.output().expect("it starts"))
}

/// A process group whose leader prints lines.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, stdout }
    }

    fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Ends the standard input, and waits for the process to exit.
    fn end(mut self) -> Ran {
        drop(self.child.stdin.take());
        self.ended()
    }

    fn ended(mut self) -> Ran {
        let mut stdout = Vec::new();
        let stdin = self.child.stdin.take();
        self.stdout.read_to_end(&mut stdout).expect("read");
        let ran = Ran::from(self.child.wait_with_output().expect("it ends"));
        drop(stdin);
        Ran { stdout, ..ran }
    }
}

const SIGNALS: [Signal; 12] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::ABORT,
    Signal::TERM,
    Signal::ALARM,
    Signal::VTALARM,
    Signal::PROF,
    Signal::USR1,
    Signal::IO,
    Signal::XCPU,
    Signal::XFSZ,
];

/// Counts the signals it gets and prints each count, until it has had three of SIGUSR2 (12). A pipe reports each signal,
/// because Python runs handlers before it reads, but not for a signal that arrives between the two.
const COUNTS: &str = "
import os, select, signal, sys
if __name__ == '__main__':
    counts = {number: 0 for number in [*map(int, sys.argv[1:]), 12]}
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    for number in counts:
        signal.signal(number, lambda *_: None)
    os.write(1, b'ready\\n')
    while counts[12] < 3:
        if 0 in select.select([0, told], [], [])[0]:
            sys.exit('the test has failed')
        number = os.read(told, 1)[0]
        counts[number] += 1
        os.write(1, b'got %d %d\\n' % (number, counts[number]))
    print(*counts.values())
";

fn numbers() -> Vec<String> {
    SIGNALS.iter().map(|signal| signal.as_raw().to_string()).collect()
}

/// Sends each signal to the process in front, to its group, and to the process again: three of each.
///
/// The kernel merges two pending signals of one kind. So the last signal of each round goes through the process in front,
/// which shows that it has taken the others.
fn each_arrives_once(name: &str, mut running: Running) {
    assert_eq!(running.line(), "ready", "{name}");
    for round in 1..=3 {
        for signal in SIGNALS {
            let process = running.process();
            let to_group = round == 2;
            let sent = if to_group { kill_process_group(process, signal) } else { kill_process(process, signal) };
            sent.expect("it runs");
            assert_eq!(running.line(), format!("got {} {round}", signal.as_raw()), "{name}");
        }
        kill_process(running.process(), Signal::USR2).expect("it runs");
        assert_eq!(running.line(), format!("got 12 {round}"), "{name}");
    }
    let ran = running.ended();
    let counts = ["3"; SIGNALS.len() + 1].join(" ");
    assert_eq!((ran.code, ran.text(), ran.stderr.as_str()), (0, format!("{counts}\n"), ""), "{name}");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn every_signal_reaches_the_child_once() {
    let sandbox = sandbox();
    sandbox.file("counts.py", COUNTS);
    let mut command = masked(&sandbox, &["python3", "counts.py"]);
    each_arrives_once("exec", Running::start(command.args(numbers())));
    for mask in [&[][..], &["--no-mask"]] {
        let python = python("newest");
        let mut command = sandbox.command(&["run", "--python"]);
        command.arg(python).args(mask).args(["counts.py", "--"]).args(numbers());
        each_arrives_once("run", Running::start(&mut command));
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_commands_exit_code_is_returned() {
    let sandbox = sandbox();
    for code in 0..=255 {
        let ran = ran(&mut masked(&sandbox, &["sh", "-c", &format!("exit {code}")]));
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (code, "", ""));
    }
    for signal in [Signal::KILL, Signal::SEGV, Signal::PIPE, Signal::TERM] {
        let ran = ran(&mut masked(&sandbox, &["sh", "-c", &format!("kill -{} $$", signal.as_raw())]));
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (128 + signal.as_raw(), "", ""));
    }
    sandbox.file("script.py", "import sys\nif __name__ == '__main__':\n    sys.exit(int(sys.argv[1]))\n");
    for code in [0, 1, 2, 70, 127, 128, 255] {
        for sdk in SDKS {
            let mut command = sandbox.command(&["run", "--python"]);
            let ran = ran(command.arg(python(sdk)).args(["script.py", "--", &code.to_string()]));
            assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (code, "", ""), "{sdk}");
        }
    }
}

#[test]
fn a_command_that_cannot_be_run_fails_as_without_the_mask() {
    let sandbox = sandbox();
    sandbox.file("not-executable", "");
    for (command, code) in [("no-such-command", 127), ("./not-executable", 126)] {
        let with = ran(&mut masked(&sandbox, &[command]));
        let without = ran(&mut sandbox.command(&["exec", "--secret", "a", "--", command]));
        assert_eq!((with.code, with.text(), &with.stderr), (code, String::new(), &without.stderr));
    }
}

#[test]
fn ignored_signals_stay_ignored() {
    let sandbox = sandbox();
    // Without 29 and above: two signals belong to the C library, and a user cannot ignore them.
    let show = "sh -c 'grep -e SigIgn -e SigBlk /proc/self/status | cut -c 18-'";
    for ignored in ["", "INT", "HUP INT QUIT TERM USR1 USR2 TSTP"] {
        let trap = if ignored.is_empty() { String::new() } else { format!("trap '' {ignored}; ") };
        let line = |command: &str| format!("{trap}exec {command}");
        let plain = ran(sandbox.program("sh").args(["-c", &line(show)]));
        let ours =
            ran(sandbox.program("sh").args(["-c", &line(&format!("{FLYTE_LOCAL} {} {show}", MASKED.join(" ")))]));
        assert_eq!((ours.code, ours.text()), (0, plain.text()), "{ignored}: {ours:?}");
    }
    // A signal sent to flyte-local also has no effect.
    let line = format!("trap '' INT; exec {FLYTE_LOCAL} {} sh -c 'echo ready; read line; exit 9'", MASKED.join(" "));
    let mut running = Running::start(sandbox.program("sh").args(["-c", &line]));
    assert_eq!(running.line(), "ready");
    kill_process(running.process(), Signal::INT).expect("it runs");
    kill_process_group(running.process(), Signal::INT).expect("it runs");
    assert_eq!(running.end().code, 9);
}

#[test]
fn a_masked_commands_exit_code_is_kept_when_sigchld_is_ignored() {
    let sandbox = sandbox();
    let command = [&["--ignore-signal=CHLD", FLYTE_LOCAL], &MASKED[..], &["sh", "-c", "exit 5"]].concat();
    assert_eq!(ran(sandbox.program("env").args(command)).code, 5);
}

#[test]
fn a_signal_at_any_moment_during_the_start_ends_it() {
    let mut random = crate::support::Random::seeded();
    let sandbox = sandbox();
    for round in 0..60 {
        let mark = format!("start-{}-{round}", std::process::id());
        let running = Running::start(masked(&sandbox, &["sleep", "1000"]).env(MARK, &mark));
        // Random moments. The test does not rely on any process having got to a certain point.
        std::thread::sleep(std::time::Duration::from_micros(random.below(60_000)));
        let signal = [Signal::TERM, Signal::INT][round % 2];
        let process = running.process();
        let to_group = round % 3 == 0;
        let sent = if to_group { kill_process_group(process, signal) } else { kill_process(process, signal) };
        sent.expect("it runs");
        let ran = running.ended();
        let name = format!("round {round}, {signal:?}, group {to_group}");
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (128 + signal.as_raw(), "", ""), "{name}");
        until("the run leaves nothing", || marked(&mark).is_empty());
    }
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_signal_while_the_child_is_created_ends_it() {
    require("strace", "strace");
    let sandbox = sandbox();
    for (round, signal) in [Signal::TERM, Signal::INT].into_iter().enumerate() {
        let mark = format!("made-{}-{round}", std::process::id());
        let log = sandbox.work().join(format!("trace-{round}"));
        // In a new session, so that the tracer does not get the signal.
        let slow =
            ["-DDD", "-f", "-e", "trace=execve,clone,clone3,vfork", "-e", "inject=clone,clone3,vfork:delay_enter=1s"];
        let command = [&MASKED[..], &["sleep", "1000"]].concat();
        let mut traced = sandbox.program("strace");
        traced.args(slow).arg("-o").arg(&log).arg(FLYTE_LOCAL).args(command).env(MARK, &mark);
        let running = Running::start(&mut traced);
        until("the supervisor makes the child", || is_making_the_child(&log));
        kill_process_group(running.process(), signal).expect("it runs");
        let ran = running.ended();
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (128 + signal.as_raw(), "", ""), "{signal:?}");
        until("the run leaves nothing", || marked(&mark).is_empty());
    }
}

/// Returns true if strace's log shows that the supervisor has begun to create a process.
fn is_making_the_child(log: &std::path::Path) -> bool {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let supervisor = log.lines().find(|line| line.contains("\"__supervise\"")).and_then(|line| line.split(' ').next());
    let begins = |line: &str| ["clone", "vfork"].iter().any(|call| line.trim_start().starts_with(call));
    supervisor.is_some_and(|process| log.lines().filter_map(|line| line.strip_prefix(process)).any(begins))
}

/// Asserts that no descendant is left once the exit code is known.
fn nothing_is_left(name: &str, mut command: Command, code: i32) {
    let mark = format!("left-{}-{}", std::process::id(), name.replace(' ', "-"));
    let ran = ran(command.env(MARK, &mark));
    let left = marked(&mark);
    assert_eq!((ran.code, ran.text().as_str(), left.as_slice()), (code, "", &[][..]), "{name}: {ran:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn no_process_outlives_the_command() {
    require("setsid", "util-linux");
    let sandbox = sandbox();
    for (name, script) in [
        ("in the background", "sleep 1000 & exit 3"),
        ("daemon", "(setsid sleep 1000 >/dev/null 2>&1 </dev/null &); exit 3"),
        (
            "deaf",
            "sh -c 'trap \"\" TERM; echo >ready; while :; do sleep 1000; done' & until [ -e ready ]; do :; done; exit 3",
        ),
        ("stopped", "sleep 1000 & kill -STOP $!; exit 3"),
        ("many", "for i in 1 2 3 4 5 6 7 8; do (setsid sh -c 'sleep 1000 & sleep 1000' &); done; exit 3"),
        ("own group", "setsid sh -c 'setsid sleep 1000 & exec sleep 1000' & exit 3"),
    ] {
        nothing_is_left(name, masked(&sandbox, &["sh", "-c", script]), 3);
        let mut command = sandbox.command(&["run", "--no-mask", "--python"]);
        let main =
            format!("import os\nif __name__ == '__main__':\n    os.execvp('sh', ['sh', '-c', '''{script}'''])\n");
        sandbox.file("script.py", main);
        command.arg(python("newest")).arg("script.py");
        nothing_is_left(&format!("run {name}"), command, 3);
        let _ = std::fs::remove_file(sandbox.work().join("ready"));
    }
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn no_process_outlives_flyte_local_when_it_is_killed() {
    require("setsid", "util-linux");
    let sandbox = sandbox();
    let mark = format!("killed-{}", std::process::id());
    let script = "setsid sleep 1000 >/dev/null 2>&1 </dev/null & echo ready; exec sleep 1000";
    let mut running = Running::start(masked(&sandbox, &["sh", "-c", script]).env(MARK, &mark));
    assert_eq!(running.line(), "ready");
    kill_process(running.process(), Signal::KILL).expect("it runs");
    assert_eq!(running.ended().code, 137);
    until("the run leaves nothing", || marked(&mark).is_empty());
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn helpers_that_clean_up_after_the_command_can_finish() {
    let script = "
from multiprocessing import shared_memory
import os
if __name__ == '__main__':
    segment = shared_memory.SharedMemory(create=True, size=100)
    print(segment.name.lstrip('/'), os.path.exists('/dev/shm/' + segment.name.lstrip('/')), flush=True)
    HOW
";
    for (how, code) in [("pass", 0), ("os._exit(4)", 4), ("os.kill(os.getpid(), 9)", 137)] {
        let sandbox = sandbox();
        sandbox.file("script.py", script.replace("HOW", how));
        let mut command = sandbox.command(&["run", "--python"]);
        let ran = ran(command.arg(python("newest")).arg("script.py"));
        let said = ran.text();
        let (name, was_there) = said.trim_end().split_once(' ').expect("two words");
        assert_eq!((ran.code, was_there), (code, "True"), "{ran:?}");
        assert!(!std::path::Path::new("/dev/shm").join(name).exists(), "{how}: it is left: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn helpers_can_clean_up_after_flyte_local_is_killed() {
    let script = "
from multiprocessing import shared_memory
import sys
segment = shared_memory.SharedMemory(create=True, size=100)
print(segment.name.lstrip('/'), flush=True)
sys.stdin.read()
";
    let sandbox = sandbox();
    let python = python("newest");
    let python = python.to_str().expect("UTF-8");
    let mut running = Running::start(&mut masked(&sandbox, &[python, "-c", script]));
    let segment = std::path::Path::new("/dev/shm").join(running.line());
    assert!(segment.exists());
    kill_process(running.process(), Signal::KILL).expect("it runs");
    assert_eq!(running.ended().code, 137);
    until("the segment is gone", || !segment.exists());
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn process_one_reaps_orphans_and_passes_signals_on() {
    require("unshare", "util-linux");
    let sandbox = sandbox();
    let script = "
import os, signal, subprocess, sys
# Orphans that exit: process one has to reap them.
for _ in range(20):
    subprocess.run(['sh', '-c', '(true &); (sh -c \"(true &)\" &)'], check=True)
def states():
    for process in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{process}/stat') as stat:
                yield stat.read().rpartition(')')[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            pass
while 'Z' in states():
    pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(6))
print('ready', os.getpid() < 10, flush=True)
sys.stdin.read()
";
    let mut command = sandbox.program("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--pid", "--fork", "--mount-proc", FLYTE_LOCAL]).args(MASKED).args(["python3", "-c", script]);
    let mut running = Running::start(&mut command);
    assert_eq!(running.line(), "ready True");
    let unshare = running.child.id();
    let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).expect("children");
    let init = Pid::from_raw(children.trim().parse().expect("one child")).expect("a process");
    kill_process(init, Signal::TERM).expect("it runs");
    let ran = running.ended();
    assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (6, "", ""));
}
