//! Masked output on pipes and files: all of it arrives, unchanged except for the values, on the right stream.
//!
//! No test waits for a fixed time: a test that reads waits for the bytes.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, python};

const VALUE: &str = "a-long-secret-value";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.secret("a", VALUE, &[]);
    sandbox
}

const MASKED: [&str; 5] = ["exec", "--mask", "--secret", "a", "--"];

/// Returns the command `flyte-local exec --mask --secret a -- python3 -c SCRIPT`.
fn masked(sandbox: &Sandbox, script: &str) -> Command {
    sandbox.command(&[&MASKED[..], &["python3", "-c", script]].concat())
}

fn ran(command: &mut Command) -> Ran {
    Ran::from(command.output().expect("it starts"))
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn every_byte_passes_and_the_streams_stay_apart() {
    let script = "
import os
every = bytes(range(256))
os.write(1, every * 3)
os.write(2, every[::-1])
";
    let ran = masked(&sandbox(), script).output().expect("it starts");
    let every: Vec<u8> = (0..=255).collect();
    assert_eq!((ran.status.code(), ran.stdout), (Some(0), every.repeat(3)));
    assert_eq!(ran.stderr, every.iter().rev().copied().collect::<Vec<_>>());
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn fifty_megabytes_arrive_on_each() {
    let script = "
import os, threading
def fill(stream, line):
    block = line * 1000
    for _ in range(50 * 1000 * 1000 // len(block)):
        os.write(stream, block)
threads = [threading.Thread(target=fill, args=args) for args in [(1, b'a-long-secret-valuf %d\\n'), (2, b'0123456789')]]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
";
    let sandbox = sandbox();
    let mut child = masked(&sandbox, script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    fn count(mut from: impl Read + Send + 'static, line: &'static [u8]) -> std::thread::JoinHandle<usize> {
        std::thread::spawn(move || {
            let (mut buffer, mut length) = (vec![0; 1 << 16], 0);
            loop {
                let more = from.read(&mut buffer).expect("read");
                if more == 0 {
                    return length;
                }
                let expected = (length..length + more).map(|at| line[at % line.len()]);
                assert!(buffer[..more].iter().copied().eq(expected), "near {length}");
                length += more;
            }
        })
    }
    let out = count(child.stdout.take().expect("piped"), b"a-long-secret-valuf %d\n");
    let err = count(child.stderr.take().expect("piped"), b"0123456789");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
    let block = 23 * 1000;
    assert_eq!(out.join().expect("no panic"), 50_000_000 / block * block);
    assert_eq!(err.join().expect("no panic"), 50_000_000);
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn a_value_in_many_writes_is_masked() {
    let script = "
import os, sys, time
value = os.environ['A']
for stream in (1, 2):
    for byte in f'<{value}>'.encode():
        os.write(stream, bytes([byte]))
        os.sched_yield()
# The second half comes with the next flush of the buffer, or later.
sys.stdout.write('<' + value[:7])
sys.stdout.flush()
sys.stdout.write(value[7:] + '>')
sys.stdout.flush()
# Across the end of a buffer of 8192 bytes, and of one of 65536.
for size in (8192, 65536):
    sys.stdout.flush()
    sys.stdout.write('x' * (size - 9) + value + '\\n')
";
    let ran = ran(&mut masked(&sandbox(), script));
    let expected = format!("<*****><*****>{}*****\n{}*****\n", "x".repeat(8192 - 9), "x".repeat(65536 - 9));
    assert_eq!((ran.code, ran.text()), (0, expected));
    assert_eq!(ran.stderr, "<*****>");
}

/// A child that writes text when a line on its standard input tells it to.
struct Told {
    child: Child,
    shown: Vec<u8>,
}

impl Told {
    fn start(sandbox: &Sandbox) -> Self {
        let script = "
import os, sys
for line in sys.stdin:
    os.write(1, line[:-1].encode())
";
        let mut command = masked(sandbox, script);
        Self { child: command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts"), shown: vec![] }
    }

    fn write(&mut self, text: &str) {
        writeln!(self.child.stdin.as_mut().expect("piped"), "{text}").expect("written");
    }

    /// Waits until this text appears.
    fn expect(&mut self, text: &str) {
        let stdout = self.child.stdout.as_mut().expect("piped");
        while self.shown.len() < text.len() {
            let mut buffer = [0; 100];
            let length = stdout.read(&mut buffer).expect("read");
            assert!(length > 0, "the end comes before {text}");
            self.shown.extend(&buffer[..length]);
        }
        assert_eq!(String::from_utf8_lossy(&self.shown), text);
    }
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn held_back_output_appears_when_the_stream_is_idle() {
    let sandbox = sandbox();
    let mut told = Told::start(&sandbox);
    told.write("a-long-");
    told.expect("a-long-");
    // The rest of the value comes after that.
    told.write("secret-value");
    told.expect("a-long-*****");
    told.write(" a");
    told.expect("a-long-***** a");
    told.write("b");
    told.expect("a-long-***** ab");
    drop(told.child.stdin.take());
    assert_eq!(told.child.wait().expect("it ends").code(), Some(0));
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn the_child_notices_that_its_reader_is_gone() {
    let sandbox = sandbox();
    for (script, ends) in [
        // Like `yes`.
        ("import signal, os\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\nwhile True: os.write(1, b'x' * 999)", 141),
        ("import os\ntry:\n  while True: os.write(1, b'x' * 999)\nexcept BrokenPipeError: os._exit(7)", 7),
        // It notices without a write, too.
        ("import os, select\np = select.poll(); p.register(1, 0); p.poll(); os._exit(8)", 8),
    ] {
        sandbox.file("script.py", script);
        for command in [&[FLYTE_LOCAL, MASKED[0], MASKED[1], MASKED[2], MASKED[3], MASKED[4]][..], &[]] {
            let line = [command, &["python3", "script.py"]].concat().join(" ");
            // The reader ends when the child runs.
            let shell = format!("{{ {line}; echo $? >&2; }} | true");
            let ran = ran(sandbox.program("sh").args(["-c", &shell]));
            assert_eq!((ran.code, ran.stderr.as_str()), (0, format!("{ends}\n").as_str()), "{line}");
        }
    }
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn output_follows_the_shells_redirections() {
    let sandbox = sandbox();
    sandbox.file("script.sh", "echo \"out $A\"; echo \"err $A\" >&2");
    let command = format!("{FLYTE_LOCAL} {} sh script.sh", MASKED.join(" "));
    for (line, stdout, stderr, file) in [
        (format!("{command} >/dev/null"), "", "err *****\n", None),
        (format!("{command} 2>/dev/null"), "out *****\n", "", None),
        (format!("{command} >file"), "", "err *****\n", Some("out *****\n")),
        (format!("echo first >file; {command} >>file"), "", "err *****\n", Some("first\nout *****\n")),
        (format!("{command} >file 2>&1; echo last >>file"), "", "", Some("out *****\nerr *****\nlast\n")),
        (format!("{{ {command}; echo after; }} >file"), "", "err *****\n", Some("out *****\nafter\n")),
        (format!("{command} 2>&1"), "out *****\nerr *****\n", "", None),
        // If standard output is closed, Rust opens the null device.
        (format!("{command} >&-"), "", "err *****\n", None),
        (format!("{command} <&-"), "out *****\n", "err *****\n", None),
    ] {
        let ran = ran(sandbox.program("sh").args(["-c", &line]));
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (0, stdout, stderr), "{line}");
        if let Some(file) = file {
            assert_eq!(std::fs::read_to_string(sandbox.work().join("file")).expect("a file"), file, "{line}");
        }
    }
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn a_nonblocking_stream_loses_nothing() {
    // Its reader begins when the pipe is full.
    let script = "
import fcntl, os, subprocess, sys
read, write = os.pipe()
fcntl.fcntl(write, fcntl.F_SETFL, fcntl.fcntl(write, fcntl.F_GETFL) | os.O_NONBLOCK)
run = subprocess.Popen(sys.argv[1:], stdout=write)
poll = __import__('select').poll()
poll.register(write, 0)
while __import__('select').select([], [write], [], 0)[1]:
    pass
os.close(write)
print(sum(iter(lambda: len(os.read(read, 65536)), 0)), run.wait())
";
    let sandbox = sandbox();
    let mut command = sandbox.program("python3");
    command.args(["-c", script, FLYTE_LOCAL]).args(MASKED).args(["sh", "-c", "head -c 3000000 /dev/zero"]);
    let ran = ran(&mut command);
    assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (0, "3000000 0\n", ""));
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn the_child_reads_standard_input_directly() {
    let sandbox = sandbox();
    let input: Vec<u8> = (0..10_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let command = [&MASKED[..], &["cat"]].concat();
    let mut child = sandbox.command(&command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    let writer = std::thread::spawn(move || {
        stdin.write_all(&input).expect("written");
        input
    });
    let output = child.wait_with_output().expect("it ends");
    assert!(output.stdout == writer.join().expect("no panic"), "the input is changed");

    // The next command reads what the child has left.
    let line = format!("{{ {FLYTE_LOCAL} {} sh -c 'read line; echo \"$line\"'; cat; }}", MASKED.join(" "));
    sandbox.file("in", "one\ntwo\nthree\n");
    let ran = ran(sandbox.program("sh").args(["-c", &format!("{line} < in")]));
    assert_eq!(ran.text(), "one\ntwo\nthree\n");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_tasks_subprocess_has_the_descriptors_of_plain_python() {
    let task = "
import os
import subprocess
import sys
import flyte

env = flyte.TaskEnvironment(name='env')
LIST = 'import os; print(sorted(int(n) for n in os.listdir(\"/proc/self/fd\"))[:-1])'

@env.task
def main():
    for close_fds in (True, False):
        subprocess.run([sys.executable, '-c', LIST], close_fds=close_fds, check=True)
    os.system('ls -l /proc/self/fd | sed \"s/.* \\\\([0-9]*\\\\) -> .*/\\\\1/\" | tail -n +2 | tr \"\\\\n\" \" \"')
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, '-c', LIST])
    os.wait()

if __name__ == '__main__':
    flyte.init()
    flyte.run(main)
";
    for sdk in crate::support::SDKS {
        let sandbox = sandbox();
        sandbox.file("task.py", task);
        let plain = ran(sandbox.program(python(sdk)).arg("task.py"));
        assert_eq!(plain.code, 0, "{plain:?}");
        let lists = |ran: &Ran| ran.text().lines().filter(|line| line.contains("[0, ")).count();
        assert_eq!(lists(&plain), 3, "{plain:?}");
        for mask in [&["--no-mask"][..], &[]] {
            let python = python(sdk);
            let python = python.to_str().expect("UTF-8");
            let arguments = [&["run", "--python", python], mask, &["task.py"]].concat();
            let ours = ran(&mut sandbox.command(&arguments));
            assert_eq!((ours.code, ours.text()), (0, plain.text()), "{sdk} {mask:?}: {ours:?}");
        }
    }
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn a_command_has_the_same_descriptors_without_flyte_local() {
    let sandbox = sandbox();
    let list = "ls /proc/self/fd";
    let plain = ran(sandbox.program("sh").args(["-c", list]));
    let ours = ran(&mut sandbox.command(&[&MASKED[..], &["sh", "-c", list]].concat()));
    assert_eq!((ours.code, ours.text()), (0, plain.text()));
    // A descriptor that the user opens on purpose is inherited.
    let line = format!("{FLYTE_LOCAL} {} sh -c 'echo \"$A\" >&7' 7>file", MASKED.join(" "));
    assert_eq!(ran(sandbox.program("sh").args(["-c", &line])).code, 0);
    assert_eq!(std::fs::read_to_string(sandbox.work().join("file")).expect("a file"), format!("{VALUE}\n"));
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn a_stalled_reader_does_not_keep_flyte_local_alive() {
    let sandbox = sandbox();
    let script = "
import os
os.write(2, b'ready\\n')
while True:
    os.write(1, b'x' * 4096)
";
    let mut child = masked(&sandbox, script).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut ready = [0; 6];
    child.stderr.as_mut().expect("piped").read_exact(&mut ready).expect("a line");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
        .expect("it runs");
    // Its output is not read.
    let mut ended = None;
    crate::support::until("it ends", || {
        ended = child.try_wait().expect("known");
        ended.is_some()
    });
    assert_eq!(ended.expect("it has").code(), Some(143));
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_value_too_short_to_mask_is_reported() {
    let sandbox = Sandbox::new();
    sandbox.secret("one", "1\n", &[]);
    let task = "
import flyte
env = flyte.TaskEnvironment(name='env', secrets='one')
@env.task
def main() -> None:
    print('=> 11 of 21')
";
    sandbox.file("task.py", task);
    let python = python("newest");
    let note = "flyte-local: secret one is so short that masking it spoils the output: see --no-mask\n";
    for (option, said, is_told) in [("--leaks=warn", "********** of 2*****", 1), ("--no-mask", "11 of 21", 0)] {
        let run = ["run", "--python", python.to_str().expect("UTF-8"), option, "task.py", "main"];
        let ran = ran(&mut sandbox.command(&run));
        assert_eq!((ran.said(), ran.stderr.matches(note).count()), (vec![said.to_owned()], is_told), "{ran:?}");
    }
}
