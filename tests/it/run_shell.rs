//! `flyte-local run`: a variable that a task declares and the shell has set. The secret replaces it, as on a cluster; without a secret, the shell's value is used.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use crate::support::{Ran, SDKS, Sandbox};

const TASKS: &str = "
import os
import sys
import flyte

env = flyte.TaskEnvironment(name='env', secrets=[flyte.Secret('my_secret', as_env_var='MY_VAR'), 'other'])
at_import = os.environ.get('MY_VAR')

def kind(value):
    return {None: 'absent', 'a value of the vault': 'vault', 'from the shell': 'shell'}.get(value, 'else')

@env.task
def show() -> None:
    print('=>', kind(at_import), kind(os.environ.get('MY_VAR')), 'MY_VAR' in list(os.environ))

@env.task
def main() -> None:
    show()
    show()

if __name__ == '__main__':
    flyte.init()
    for _ in range(2):
        flyte.run(main)
";

fn run(sandbox: &Sandbox, sdk: &str, value: &str) -> Ran {
    sandbox.file("tasks.py", TASKS);
    let mut command = sandbox.flyte_command(sdk, &["tasks.py"]);
    command.env("MY_VAR", value).env("FLYTE_SECRETS_ENV_PREFIX", "_OTHER_").env("FLYTE_SECRETS_DEFAULT_DIR", "/other");
    Ran::from(command.output().expect("flyte-local starts"))
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.secret("other", "another value", &[]);
    sandbox
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_secret_replaces_the_shells_value_and_a_notice_says_so_once() {
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.secret("my_secret", "a value of the vault", &[]);
        let ran = run(&sandbox, sdk, "from the shell");
        assert_eq!((ran.code, ran.said()), (0, vec!["vault vault True".to_owned(); 4]), "{sdk}: {ran:?}");
        assert_eq!(ran.stderr, "flyte-local: MY_VAR of the shell is replaced by secret my_secret\n", "{sdk}");

        // An equal value is not reported as replaced.
        let ran = run(&sandbox, sdk, "a value of the vault");
        assert_eq!(
            (ran.code, ran.said(), ran.stderr.as_str()),
            (0, vec!["vault vault True".to_owned(); 4], ""),
            "{sdk}"
        );
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_shells_value_is_used_when_the_vault_lacks_the_secret() {
    for sdk in SDKS {
        let sandbox = sandbox();
        // The secret is outside the scopes of this run.
        sandbox.secret("my_secret", "a value of the vault", &["-p", "elsewhere"]);
        let ran = run(&sandbox, sdk, "from the shell");
        assert_eq!((ran.code, ran.said()), (0, vec!["shell shell True".to_owned(); 4]), "{sdk}: {ran:?}");
        let line =
            "flyte-local: secret my_secret does not exist in this run's scopes: MY_VAR is what the shell has there\n";
        assert_eq!(ran.stderr, line, "{sdk}");

        // A task that does not declare the variable does not see it.
        let other = TASKS.replace("def main() ->", "def unused() ->");
        let other = format!("{other}\nother = flyte.TaskEnvironment(name='other')\nmain = other.task(show.func)\n");
        let other = other.replace(
            "if __name__ == '__main__':\n    flyte.init()\n    for _ in range(2):\n        flyte.run(main)\n",
            "",
        );
        sandbox.file("other.py", other);
        let mut command = sandbox.flyte_command(sdk, &["other.py", "main"]);
        let ran = Ran::from(command.env("MY_VAR", "from the shell").output().expect("flyte-local starts"));
        assert_eq!((ran.code, ran.said()), (0, vec!["shell absent False".to_owned()]), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_shells_value_does_not_replace_an_unreadable_secret() {
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.secret("my_secret", "a value of the vault", &[]);
        let file = sandbox.secret_file("org/my_secret");
        std::fs::rename(sandbox.secret_file("org/other"), &file).expect("swapped");
        sandbox.secret("other", "another value", &[]);
        let ran = run(&sandbox, sdk, "from the shell");
        assert_eq!((ran.code, ran.said()), (1, vec![]), "{sdk}: {ran:?}");
        assert!(ran.all().contains("task env.main: refused "), "{sdk}: {ran:?}");
        assert!(!ran.all().contains("flyte-local: "), "{sdk}: {ran:?}");
    }
}
