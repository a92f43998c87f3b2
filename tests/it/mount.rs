//! A private mount that fails half-way, by faults that strace injects. `tests/it/ordinary_user.rs` covers systems that forbid
//! the mount from the start.

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, python, require};

/// Two faults: every mount fails, or every mount after the second, which leaves `/etc` half prepared.
const FAULTS: [&str; 2] = ["mount:error=EPERM", "mount:error=EPERM:when=3+"];

/// The beginning of `exec`'s error.
const CANNOT: &str = "secret a cannot be mounted in /etc/flyte/secrets: cannot ";

/// Runs `flyte-local` with this fault in its own mounts, and with `follow` also in those of its children.
fn with_fault(sandbox: &Sandbox, follow: bool, fault: &str, arguments: &[&str]) -> Ran {
    require("strace", "strace");
    let log = sandbox.work().join("strace.log");
    let mut command = sandbox.program("strace");
    // The second option only makes strace faster.
    command.args(follow.then_some(["-f", "--seccomp-bpf"]).into_iter().flatten()).arg("-o").arg(&log);
    command.args(["-e", "trace=mount", "-e", &format!("inject={fault}"), FLYTE_LOCAL]).args(arguments);
    let ran = Ran::from(command.output().expect("strace starts"));
    let log = std::fs::read_to_string(&log).expect("strace's log");
    // A command that needs no mount must not try one.
    let mounts = arguments.contains(&"--mount") || arguments.contains(&"run");
    assert_eq!(log.contains("(INJECTED)"), mounts, "{fault}: {ran:?}\n{log}");
    ran
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "a", "one"]);
    sandbox
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_command_that_needs_a_file_secret_fails_if_etc_cannot_be_prepared() {
    let sandbox = sandbox();
    for fault in FAULTS {
        let ran = with_fault(&sandbox, true, fault, &["exec", "--mount", "a", "--", "touch", "started"]);
        assert_eq!((ran.code, ran.text().as_str()), (1, ""), "{fault}: {ran:?}");
        assert!(ran.stderr.starts_with(&format!("error: {CANNOT}")), "{fault}: {ran:?}");
        assert!(ran.stderr.contains("Operation not permitted"), "{fault}: {ran:?}");
        assert!(ran.stderr.contains("\nhint: allow unprivileged user namespaces"), "{fault}: {ran:?}");
        // Here the mount works in the child that tries it first, and fails in the process itself, which cannot undo it.
        let ran = with_fault(&sandbox, false, fault, &["exec", "--mount", "a", "--", "touch", "started"]);
        assert_eq!((ran.code, ran.text().as_str()), (1, ""), "{fault}: {ran:?}");
        assert!(ran.stderr.starts_with("error: cannot "), "{fault}: {ran:?}");
        assert!(ran.stderr.contains("caused by: Operation not permitted"), "{fault}: {ran:?}");
        assert!(!sandbox.work().join("started").exists(), "{fault}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and strace: scripts/test"]
fn a_run_continues_if_etc_cannot_be_prepared() {
    let tasks = "
import os
import flyte

variable_env = flyte.TaskEnvironment(name='variable_env', secrets='a')
file_env = flyte.TaskEnvironment(name='file_env', secrets=flyte.Secret('a', mount='/etc/flyte/secrets'))

@variable_env.task
def variable() -> None:
    print('=>', os.environ['A'], len(os.listdir('/etc')) > 1)

@file_env.task
def file() -> None:
    print('=>', open('/etc/flyte/secrets/a').read() == 'one')
";
    let sandbox = sandbox();
    sandbox.file("tasks.py", tasks);
    let python = python("newest");
    let python = python.to_str().expect("UTF-8");
    for fault in FAULTS {
        let ran = with_fault(&sandbox, true, fault, &["exec", "--secret", "a", "--", "printenv", "A"]);
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (0, "one\n", ""), "{fault}");
        let ran = with_fault(&sandbox, true, fault, &["run", "--no-mask", "--python", python, "tasks.py", "variable"]);
        assert_eq!((ran.code, ran.said()), (0, vec!["one True".to_owned()]), "{fault}: {ran:?}");
        // The file is in a directory in memory. `tests/it/run_without_mount.rs` tests the rest.
        let ran = with_fault(&sandbox, true, fault, &["run", "--no-mask", "--python", python, "tasks.py", "file"]);
        assert_eq!((ran.code, ran.said()), (0, vec!["True".to_owned()]), "{fault}: {ran:?}");
        let differs =
            "flyte-local: only Python code finds file secrets in /etc/flyte/secrets, other programs do not: cannot ";
        assert!(ran.stderr.contains(differs), "{fault}: {ran:?}");
    }
}
