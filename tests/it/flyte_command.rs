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
    for sdk in ["oldest", "2.4", "2.8", "newest"] {
        let sandbox = sandbox();
        sandbox.secret("my_secret", "that-of-a-project", &["-p", "configured"]);
        sandbox.file("flyte.yaml", "task:\n  project: configured\n");
        let raw = sandbox.home().join("raw").to_str().expect("UTF-8").to_owned();
        let options = ["-v", "--config", "flyte.yaml", "run", "--local", "--name", "my-run", "--raw-data-path", &raw];
        // The oldest has no such option.
        let variable: &[&str] = if sdk == "oldest" { &[] } else { &["-e", "A=b"] };
        let ran = flyte(&sandbox, sdk, &[&options[..], variable, &["task.py", "main", "--x", "-3"]].concat());
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let said = ran.said();
        assert!(said[0].starts_with("-3 that-of-a-project my-run "), "{sdk}: {ran:?}");
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

/// Returns the options of a command of an SDK, each with whether it takes a value, as the SDK itself declares them.
fn options_of(sandbox: &Sandbox, sdk: &str, command: &str) -> Vec<(String, bool)> {
    let script = format!(
        "from flyte.cli.main import main\nfrom flyte.cli._run import run\nfor p in {command}.params:\n    \
         for o in [*p.opts, *p.secondary_opts]:\n        print(o, int(not (p.is_flag or p.count)))\n"
    );
    let output = sandbox.program(python(sdk)).args(["-c", &script]).output().expect("Python starts");
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let options =
        lines.lines().filter_map(|line| line.split_once(' ')).map(|(name, value)| (name.to_owned(), value == "1"));
    let options: Vec<_> = options.collect();
    assert!(options.len() > 8, "{sdk} {command}: {lines} {}", String::from_utf8_lossy(&output.stderr));
    options
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_verb_is_found_behind_every_option_of_flytes_command() {
    for sdk in SDKS {
        let sandbox = Sandbox::empty();
        for (option, takes_value) in options_of(&sandbox, sdk, "main") {
            // `build` needs the vault, which does not exist; `get` does not. So the code shows which of the two is the verb.
            let ran = flyte(&sandbox, sdk, &[&option, "get", "build"]);
            assert_eq!(ran.stderr.contains("error: there is no vault at "), takes_value, "{sdk} {option}: {ran:?}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_hint_for_an_option_of_flyte_run_names_flytes_own_command() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let of_run = options_of(&sandbox, sdk, "run").into_iter().map(|(option, _)| (option, true));
        // `--version` of the newest `flyte run` is another one than that of the whole command.
        let of_root = options_of(&sandbox, sdk, "main").into_iter().filter(|(option, _)| option != "--version");
        let of_root = of_root.map(|(option, _)| (option, false));
        let ours = ["-p", "--project", "-d", "--domain", "--local", "--output-format"];
        for (option, is_of_run) in of_run.chain(of_root).filter(|(option, _)| !ours.contains(&option.as_str())) {
            let ran = sandbox.run(&["run", &option, "task.py", "main"]);
            let hint = if is_of_run {
                format!("flyte-local flyte run --local {option} …")
            } else {
                format!("flyte-local flyte {option} … run --local FILE TASK")
            };
            let said = format!("error: run has no option {option}\nhint: Flyte's own command has it: {hint}\n");
            assert_eq!((ran.code, ran.stderr), (2, said), "{sdk}");
        }
    }
}

#[test]
fn words_of_flyte_run_are_answered_with_flytes_own_command() {
    let sandbox = Sandbox::new();
    for (arguments, code, said) in [
        (
            &["--local", "task.py"][..],
            2,
            "error: run has no option --local\nhint: leave it out: a run is always local\n",
        ),
        (
            &["hello"],
            10,
            "error: there is no file hello\nhint: Flyte's own command has hello: flyte-local flyte run --local hello\n",
        ),
        (
            &["deployed-task", "a.b"],
            10,
            "error: there is no file deployed-task\n\
             hint: Flyte's own command has deployed-task: flyte-local flyte run deployed-task\n",
        ),
        (
            &["-m", "flyte.cli.main", "run", "--local", "task.py"],
            2,
            "error: flyte.cli.main does nothing when it is run as a module\n\
             hint: run Flyte's own command with secrets: flyte-local flyte run --local FILE TASK\n",
        ),
    ] {
        let ran = sandbox.run(&[&["run"], arguments].concat());
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (code, "", said), "{arguments:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_noun_before_the_verb_is_answered_before_flyte_refuses_it() {
    let sandbox = Sandbox::empty();
    for (verb, name) in [("create", " NAME"), ("list", "")] {
        let ran = flyte(&sandbox, "newest", &["secret", verb, "a"]);
        let verb = if verb == "list" { "get" } else { verb };
        let said = format!(
            "flyte-local: the verb comes first: flyte {verb} secret{name}; in this vault: flyte-local {verb} secret{name}\n"
        );
        assert!(ran.code == 2 && ran.stderr.starts_with(&said), "{ran:?}");
        assert!(ran.stderr.contains("No such command"), "{ran:?}");
    }
}
