//! `flyte-local run`: how a run ends, and that the host never sees anything of it.
//!
//! No test here waits for a time: the task says when it is ready, and a process that is gone has closed its output.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::support::{SDKS, Sandbox};
use rustix::process::{Pid, Signal, kill_process};

/// A run whose task waits for its standard input to end.
struct Waiting {
    flyte_local: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    python: Pid,
    // Kept until the run is over.
    _sandbox: Sandbox,
}

impl Waiting {
    fn start(sdk: &str) -> Self {
        let sandbox = Sandbox::new().with_tasks();
        sandbox.secret("waiting-key", "a-value", &[]);
        let mut command = sandbox.flyte_command(sdk, &["waiting.py"]);
        let mut flyte_local =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("it starts");
        let stdin = flyte_local.stdin.take().expect("piped");
        let mut stdout = BufReader::new(flyte_local.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let words: Vec<_> = line.split_whitespace().collect();
        let ["ready", python, "a-value", "a-value"] = words[..] else { panic!("{sdk}: {line:?}") };
        let python = Pid::from_raw(python.parse().expect("a number")).expect("a process");
        Self { flyte_local, stdin, stdout, python, _sandbox: sandbox }
    }

    fn flyte_local(&self) -> Pid {
        Pid::from_child(&self.flyte_local)
    }

    /// Returns the exit code and the rest of the output, once every process that held the output has ended. With `input`,
    /// the standard input of the run gets these bytes and ends first.
    fn end(mut self, input: Option<&[u8]>) -> (i32, String) {
        let mut stdin = Some(self.stdin);
        if let Some(input) = input {
            stdin.take().expect("open").write_all(input).expect("written");
        }
        let (sender, receiver) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut rest = String::new();
            self.stdout.read_to_string(&mut rest).expect("UTF-8");
            sender.send(rest)
        });
        // This is not a wait for a time, but the longest that a failing test may take.
        let rest = receiver.recv_timeout(Duration::from_secs(60)).expect("every process of the run ends");
        reader.join().expect("it has sent").expect("it was received");
        let status = self.flyte_local.wait().expect("it ends");
        drop(stdin);
        use std::os::unix::process::ExitStatusExt;
        (status.code().unwrap_or_else(|| 128 + status.signal().expect("it was killed")), rest)
    }
}

/// Fails if the host, which this process sees, has anything of a run.
fn assert_host_untouched(when: &str) {
    assert!(!Path::new("/etc/flyte").exists(), "{when}: /etc/flyte is on the host");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("the mounts of this process");
    let points: Vec<_> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    assert!(!points.is_empty(), "the mount points were not found");
    let left = points.iter().find(|point| **point == "/etc" || point.starts_with("/etc/flyte"));
    assert_eq!(left, None, "{when}: a mount is on the host");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_host_sees_nothing_of_a_run_and_standard_input_reaches_the_task() {
    for sdk in SDKS {
        let run = Waiting::start(sdk);
        assert_host_untouched("while the task runs");
        assert_eq!(run.end(Some(b"two\nlines")), (0, "read two\nlines\n".to_owned()), "{sdk}");
        assert_host_untouched("after the run");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn killing_flyte_local_ends_the_python_and_leaves_nothing() {
    for sdk in SDKS {
        let run = Waiting::start(sdk);
        kill_process(run.flyte_local(), Signal::KILL).expect("it runs");
        assert_eq!(run.end(None), (137, String::new()), "{sdk}");
        assert_host_untouched("after kill -9 of flyte-local");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn killing_python_shows_in_the_exit_code_and_leaves_nothing() {
    for sdk in SDKS {
        let run = Waiting::start(sdk);
        kill_process(run.python, Signal::KILL).expect("it runs");
        assert_eq!(run.end(None), (137, String::new()), "{sdk}");
        assert_host_untouched("after kill -9 of the Python");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_signal_to_flyte_local_is_passed_on_to_the_task() {
    for sdk in SDKS {
        for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::USR1, 138)] {
            let run = Waiting::start(sdk);
            kill_process(run.flyte_local(), signal).expect("it runs");
            assert_eq!(run.end(None), (code, String::new()), "{sdk} {signal:?}");
        }
    }
    assert_host_untouched("after signals");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_script_that_handles_a_signal_decides_the_exit_code() {
    let script = "
import signal
import sys

if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    print('ready', flush=True)
    sys.stdin.read()
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("script.py", script);
        let mut command = sandbox.flyte_command(sdk, &["script.py"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "{sdk}");
        kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
        // The standard input stays open until here, since the script would otherwise end by itself.
        let stdin = child.stdin.take();
        assert_eq!(child.wait().expect("it ends").code(), Some(7), "{sdk}");
        drop(stdin);
    }
}
