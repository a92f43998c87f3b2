//! `flyte-local run --clean-env`: a task gets few variables of the shell, as in a pod.

use crate::support::{Ran, SDKS, Sandbox};

const TASKS: &str = "
import os
import subprocess
import flyte

env = flyte.TaskEnvironment(name='env', secrets=flyte.Secret('a', as_env_var='TOKEN'))
lacking = flyte.TaskEnvironment(name='lacking', secrets='of-shell')

@env.task
def shows() -> None:
    names = {'PATH', 'HOME', 'LC_ALL', 'FLYTE_PROJECT', 'FLYTE_LOCAL_DOMAIN', 'OF_SHELL', 'PLAIN', 'OTHER', 'TOKEN'}
    print('=>', *sorted(names & set(os.environ)))
    program = subprocess.run(['env'], capture_output=True, text=True, check=True).stdout
    print('=>', *sorted(names & {line.split('=')[0] for line in program.splitlines()}))

@env.task
def reads() -> None:
    for _ in range(2):
        print('=>', os.environ.get('PLAIN'), os.environ.get('OTHER', 'none'), 'OTHER' in os.environ, os.getenv('UNSET'))
    os.environ['PLAIN'] = 'own'
    print('=>', os.environ['PLAIN'])

@lacking.task
def lacks() -> None:
    print('=>', os.environ['OF_SHELL'])
";

/// Runs a task with these options and some variables of the shell.
fn ran(sdk: &str, options: &[&str], task: &str) -> Ran {
    let sandbox = Sandbox::new();
    sandbox.secret("a", "value of a", &[]);
    sandbox.file("tasks.py", TASKS);
    let mut command = sandbox.flyte_command(sdk, &[options, &["tasks.py", task]].concat());
    command.env("OF_SHELL", "from the shell").env("OTHER", "other").env("LC_ALL", "C.UTF-8");
    command.env("FLYTE_PROJECT", "p").env("FLYTE_LOCAL_DOMAIN", "d").env("PLAIN", "plain");
    Ran::from(command.output().expect("flyte-local starts"))
}

/// Returns the lines of flyte-local on standard error, where the SDK writes too.
fn notices(ran: &Ran) -> String {
    let lines = ran.stderr.lines().filter(|line| line.starts_with("flyte-local: "));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_task_gets_few_variables_of_the_shell() {
    for sdk in SDKS {
        for (options, expected) in [
            (&["--clean-env"][..], "FLYTE_PROJECT HOME LC_ALL PATH TOKEN"),
            (&["--clean-env", "--keep", "OTHER", "--keep", "UNSET"], "FLYTE_PROJECT HOME LC_ALL OTHER PATH TOKEN"),
        ] {
            let ran = ran(sdk, options, "shows");
            assert_eq!((ran.code, ran.said()), (0, vec![expected.to_owned(); 2]), "{sdk}: {ran:?}");
            assert_eq!(notices(&ran), "", "{sdk}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_variable_that_was_left_out_is_reported_once() {
    for sdk in SDKS {
        let ran = ran(sdk, &["--clean-env"], "reads");
        let expected = ["None none False None", "None none False None", "own"].map(str::to_owned);
        assert_eq!((ran.code, ran.said()), (0, expected.to_vec()), "{sdk}: {ran:?}");
        let line = |name: &str| {
            format!(
                "flyte-local: task env.reads reads {name} of the shell, which --clean-env left out; to pass it on: --keep {name}\n"
            )
        };
        assert_eq!(notices(&ran), line("PLAIN") + &line("OTHER"), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_secret_is_not_replaced_by_a_variable_that_was_left_out() {
    for sdk in SDKS {
        let without = ran(sdk, &[], "lacks");
        assert_eq!((without.code, without.said()), (0, vec!["from the shell".to_owned()]), "{sdk}: {without:?}");
        let clean = ran(sdk, &["--clean-env"], "lacks");
        assert_eq!(clean.code, 1, "{sdk}: {clean:?}");
        assert!(clean.stderr.contains("secret of-shell does not exist in this run's scopes"), "{sdk}: {clean:?}");
        let kept = ran(sdk, &["--clean-env", "--keep", "OF_SHELL"], "lacks");
        assert_eq!((kept.code, kept.said()), (0, vec!["from the shell".to_owned()]), "{sdk}: {kept:?}");
    }
}
