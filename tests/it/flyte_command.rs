//! `flyte-local flyte`: Flyte's own command, unchanged, with secrets for what it does on this machine.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::ffi::OsStr;
use std::process::Command;

use crate::support::{Ran, SDKS, Sandbox, python};

/// Returns `flyte-local flyte` with the Python of an SDK. Its output is not masked, for tests that read values from it.
fn command<A: AsRef<OsStr>>(sandbox: &Sandbox, sdk: &str, arguments: &[A]) -> Command {
    let mut command = sandbox.command(&["flyte", "--no-mask", "--python"]);
    command.arg(python(sdk)).args(arguments);
    command
}

fn flyte<A: AsRef<OsStr>>(sandbox: &Sandbox, sdk: &str, arguments: &[A]) -> Ran {
    Ran::from(command(sandbox, sdk, arguments).output().expect("flyte-local starts"))
}

/// Runs Flyte's own command without flyte-local.
fn plain<A: AsRef<OsStr>>(sandbox: &Sandbox, sdk: &str, arguments: &[A]) -> Ran {
    let own = python(sdk).with_file_name("flyte");
    Ran::from(sandbox.program(own).args(arguments).output().expect("flyte starts"))
}

const TASKS: &str = "\
import os
import flyte

env = flyte.TaskEnvironment(name='env', secrets=[flyte.Secret(key='my_secret')])


@env.task
def main(x: int = 1) -> str:
    print('=>', x, os.environ.get('MY_SECRET'), flyte.ctx().action.run_name, flyte.ctx().raw_data_path.path)
    return 'done'
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.secret("my_secret", "a-value-of-it", &[]);
    sandbox.file("task.py", TASKS);
    sandbox
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn tasks_of_a_local_run_have_their_secrets_and_options_of_flyte_reach_it() {
    for sdk in SDKS {
        let sandbox = sandbox();
        let raw = sandbox.home().join("raw").to_str().expect("UTF-8").to_owned();
        let options = ["-v", "run", "--local", "--name", "my-run", "--raw-data-path", &raw];
        let ran = flyte(&sandbox, sdk, &[&options[..], &["task.py", "main", "--x", "-3"]].concat());
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let said = ran.said();
        assert!(said[0].starts_with("-3 a-value-of-it my-run "), "{sdk}: {ran:?}");
        assert!(said[0].contains(&raw), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn commands_that_run_nothing_here_are_those_of_flyte() {
    for sdk in SDKS {
        // There is no vault, and none is needed.
        let sandbox = Sandbox::empty();
        sandbox.file("task.py", TASKS);
        for arguments in [
            &["--version"][..],
            &["--", "--help"],
            &["--output-format", "json", "get", "secret"],
            &["-of", "json", "run", "task.py", "main"],
            &["create", "secret", "a", "--value", "b"],
            &["run", "task.py", "main"],
            &["run", "--tui", "task.py", "main"],
            &["bogus"],
            &["--bogus"],
            &[],
        ] {
            let own = arguments.strip_prefix(&["--"]).unwrap_or(arguments);
            let (ours, own) = (flyte(&sandbox, sdk, arguments), plain(&sandbox, sdk, own));
            assert_eq!(
                (ours.code, ours.text(), &ours.stderr),
                (own.code, own.text(), &own.stderr),
                "{sdk} {arguments:?}"
            );
        }
    }
}
