//! A private mount that fails half-way. The faults are strace's; a system that forbids it from the start is in
//! `tests/ordinary_user.rs`.

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, python, require};

/// Every mount fails; all but the first two do, which leaves `/etc` half prepared.
const FAULTS: [&str; 2] = ["mount:error=EPERM", "mount:error=EPERM:when=3+"];

/// What `exec` says.
const CANNOT: &str = "secret a cannot be mounted in /etc/flyte/secrets: cannot ";

/// `flyte-local`, whose mounts fail as told; `follow` decides whether those of its children do too.
fn with_fault(sandbox: &Sandbox, follow: bool, fault: &str, arguments: &[&str]) -> Ran {
    require("strace", "strace");
    let log = sandbox.work().join("strace.log");
    let mut command = sandbox.program("strace");
    // The second option only makes it fast.
    command.args(follow.then_some(["-f", "--seccomp-bpf"]).into_iter().flatten()).arg("-o").arg(&log);
    command.args(["-e", "trace=mount", "-e", &format!("inject={fault}"), FLYTE_LOCAL]).args(arguments);
    let ran = Ran::from(command.output().expect("strace starts"));
    let log = std::fs::read_to_string(&log).expect("strace's log");
    // What a command that mounts nothing shows is that it mounts nothing.
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
fn where_etc_cannot_be_prepared_no_command_runs_that_wants_a_file() {
    let sandbox = sandbox();
    for fault in FAULTS {
        let ran = with_fault(&sandbox, true, fault, &["exec", "--mount", "a", "--", "touch", "started"]);
        assert_eq!((ran.code, ran.text().as_str()), (1, ""), "{fault}: {ran:?}");
        assert!(ran.stderr.starts_with(&format!("error: {CANNOT}")), "{fault}: {ran:?}");
        assert!(ran.stderr.contains("Operation not permitted"), "{fault}: {ran:?}");
        assert!(ran.stderr.contains("\nhint: allow unprivileged user namespaces"), "{fault}: {ran:?}");
        // It could in the child that tried, and cannot here, where there is no way back.
        let ran = with_fault(&sandbox, false, fault, &["exec", "--mount", "a", "--", "touch", "started"]);
        assert_eq!((ran.code, ran.text().as_str()), (1, ""), "{fault}: {ran:?}");
        assert!(ran.stderr.starts_with("error: cannot "), "{fault}: {ran:?}");
        assert!(ran.stderr.contains("caused by: Operation not permitted"), "{fault}: {ran:?}");
        assert!(!sandbox.work().join("started").exists(), "{fault}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and strace: scripts/test"]
fn where_etc_cannot_be_prepared_a_run_goes_on() {
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
        // In a directory in memory; tests/run_without_mount.rs shows the rest of it.
        let ran = with_fault(&sandbox, true, fault, &["run", "--no-mask", "--python", python, "tasks.py", "file"]);
        assert_eq!((ran.code, ran.said()), (0, vec!["True".to_owned()]), "{fault}: {ran:?}");
        let differs =
            "flyte-local: only Python code finds file secrets in /etc/flyte/secrets, other programs do not: cannot ";
        assert!(ran.stderr.contains(differs), "{fault}: {ran:?}");
    }
}
