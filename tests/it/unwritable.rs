//! Output that cannot be written: every command says so and fails, unless only its reader is gone.

#![allow(clippy::disallowed_methods, reason = "the rules on files are for the product")]

use std::fs::File;
use std::process::{Command, Stdio};

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, python, require};

/// Every command that writes to standard output and needs neither Python nor a terminal.
const COMMANDS: [&str; 25] = [
    "get secret",
    "--output-format table-simple get secret",
    "--output-format json get secret",
    "--output-format json-raw get secret",
    "get secret s",
    "get secret s --reveal",
    "get secret --effective",
    "get recipient",
    "get identity",
    "--output-format json get identity",
    "export",
    "export --format json",
    "export --format shell",
    "export --format kubernetes",
    "check",
    "--output-format json check",
    "serve --port 0",
    "help",
    "help run",
    "--help",
    "-h",
    "--version",
    "get secret --help",
    "push --help",
    "run -h",
];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.secret("s", "a-long-secret-value", &[]);
    sandbox
}

/// Opens a device on which every write fails for want of space.
fn full() -> Stdio {
    Stdio::from(File::options().write(true).open("/dev/full").expect("Linux has it"))
}

const NO_SPACE: &str = "error: cannot write to standard output: No space left on device (os error 28)\n";

fn ran(command: &mut Command) -> Ran {
    Ran::from(command.output().expect("it starts"))
}

#[test]
fn every_command_says_that_its_output_cannot_be_written() {
    let sandbox = sandbox();
    for command in COMMANDS {
        let words: Vec<_> = command.split(' ').collect();
        let ran = ran(sandbox.command(&words).stdout(full()));
        assert_eq!((ran.code, ran.stderr.as_str()), (1, NO_SPACE), "{command}");
    }
}

#[test]
fn every_command_ends_quietly_if_its_reader_is_gone() {
    let sandbox = sandbox();
    for command in COMMANDS.into_iter().filter(|command| !command.starts_with("serve")) {
        let words: Vec<_> = command.split(' ').collect();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ran = ran(sandbox.command(&words).stdout(writer));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{command}");
    }
}

/// Returns the command `flyte-local exec --mask --secret s -- sh -c SCRIPT`, which is stopped if it hangs.
fn masked(sandbox: &Sandbox, script: &str) -> Command {
    require("timeout", "coreutils");
    let mut command = sandbox.program("timeout");
    command.args(["60", FLYTE_LOCAL, "exec", "--mask", "--secret", "s", "--", "sh", "-c", script]);
    command
}

#[test]
fn a_masked_command_whose_output_cannot_be_written_is_ended_with_one_error() {
    let sandbox = sandbox();
    for script in [
        // It ends before it could notice.
        "echo one",
        // It writes no more.
        "echo one; exec sleep 1000",
        // It ignores the reasons to end.
        "trap '' PIPE TERM; while :; do echo one; sleep 0.01; done",
        "echo one; kill -STOP $$",
        // It would report a write that fails.
        "trap '' PIPE; echo one; sleep 0.2; echo two; exit 7",
    ] {
        let ran = ran(masked(&sandbox, script).stdout(full()));
        assert_eq!((ran.code, ran.stderr.as_str()), (1, NO_SPACE), "{script}");
    }
    // The error cannot be shown here, so the exit code says it alone. The other stream is complete.
    let ran = ran(masked(&sandbox, "echo one; sleep 0.2; echo two >&2; exec sleep 1000").stderr(full()));
    assert_eq!((ran.code, ran.text().as_str()), (1, "one\n"), "{ran:?}");
}

#[test]
fn a_masked_command_writes_up_to_the_limit_of_a_file_and_is_ended_there() {
    let sandbox = sandbox();
    let script = format!(
        "ulimit -f 1; exec timeout 60 {FLYTE_LOCAL} exec --mask --secret s -- sh -c 'while :; do echo 0123456789; done' >out"
    );
    let ran = ran(sandbox.program("bash").args(["-c", &script]));
    let error = "error: cannot write to standard output: File too large (os error 27)\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (1, error));
    let written = std::fs::read(sandbox.work().join("out")).expect("a file");
    assert_eq!(written, &b"0123456789\n".repeat(100)[..1024], "all that fits is there");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_run_whose_output_cannot_be_written_is_ended_with_one_error() {
    let task = "
import os
import flyte

env = flyte.TaskEnvironment(name='env', secrets='s')

@env.task
def main() -> None:
    print('out', len(os.environ['S']), flush=True)
    os.read(os.pipe()[0], 1)

if __name__ == '__main__':
    main()
";
    let sandbox = sandbox();
    sandbox.file("task.py", task);
    let python = python("newest");
    let python = python.to_str().expect("UTF-8");
    for arguments in [&["task.py"][..], &["--dry-run", "task.py"]] {
        let mut command = sandbox.program("timeout");
        command.args(["60", FLYTE_LOCAL, "run", "--python", python]).args(arguments);
        let ran = ran(command.stdout(full()));
        assert_eq!((ran.code, ran.stderr.as_str()), (1, NO_SPACE), "{arguments:?}");
    }
}
