//! How often a run opens a secret: once while the file is imported, and once more when a task starts.

#![allow(clippy::disallowed_methods, reason = "tests read strace's log")]

use crate::support::{FLYTE_LOCAL, Ran, SDKS, Sandbox, python, require};

const TASK: &str = "\
import os, subprocess
import flyte

env = flyte.TaskEnvironment(name='e', secrets=[flyte.Secret(key='s', as_env_var='S')])
print('=>', os.environ['S'])
if os.environ.get('UPDATE'):
    subprocess.run([os.environ['UPDATE'], 'update', 'secret', 's', 'new'], check=True)
again = flyte.TaskEnvironment(name='again', secrets=[flyte.Secret(key='s', as_env_var='S')])
print('=>', os.environ['S'])

@env.task
def main() -> None:
    print('=>', os.environ['S'])
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "old"]);
    sandbox.file("task.py", TASK);
    sandbox
}

/// Returns how often `flyte-local run` with these arguments opens the secret's file.
fn count_opens(sandbox: &Sandbox, sdk: &str, arguments: &[&str]) -> usize {
    require("strace", "strace");
    let log = sandbox.work().join("strace.log");
    let mut command = sandbox.program("strace");
    command.arg("-f").arg("-o").arg(&log).args(["-e", "trace=openat,openat2", FLYTE_LOCAL, "run", "--python"]);
    let ran = Ran::from(command.arg(python(sdk)).args(arguments).output().expect("strace starts"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let log = std::fs::read_to_string(&log).expect("strace's log");
    log.lines().filter(|line| line.contains("\"s.age\"") && !line.contains(" = -1 ")).count()
}

#[test]
#[ignore = "needs the Flyte SDKs and strace: scripts/test"]
fn a_secret_is_opened_once_for_the_import_and_once_for_the_task() {
    let sandbox = sandbox();
    for sdk in SDKS {
        assert_eq!(count_opens(&sandbox, sdk, &["--dry-run", "task.py"]), 1, "{sdk}: dry run");
        assert_eq!(count_opens(&sandbox, sdk, &["task.py", "main"]), 2, "{sdk}: run");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn an_import_sees_one_value_and_a_task_the_value_at_its_start() {
    for sdk in SDKS {
        let sandbox = sandbox();
        let mut command = sandbox.flyte_command(sdk, &["task.py", "main"]);
        let ran = Ran::from(command.env("UPDATE", FLYTE_LOCAL).output().expect("flyte-local starts"));
        assert_eq!((ran.code, ran.said()), (0, vec!["old".into(), "old".into(), "new".into()]), "{sdk}: {ran:?}");
    }
}
