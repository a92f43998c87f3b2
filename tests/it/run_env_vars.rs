//! `env_vars=` of an environment: a cluster sets these variables in the pods of the environment's tasks.

use crate::support::{Ran, SDKS, Sandbox};

const SCRIPT: &str = "
import asyncio
import os
import subprocess
import sys
import flyte

NAMES = ('MODE', 'PLAIN', 'IN_SHELL', 'TOKEN', 'SAME')

a_env = flyte.TaskEnvironment(
    name='a_env',
    env_vars={'MODE': 'of a', 'PLAIN': 'of a', 'IN_SHELL': 'of a', 'TOKEN': 'replaced', 'NUMBER': 5},
    secrets=flyte.Secret('token', as_env_var='TOKEN'),
)
b_env = flyte.TaskEnvironment(name='b_env', env_vars={'MODE': 'of b', 'SAME': 'of b'})
none_env = flyte.TaskEnvironment(name='none_env')
same_env = flyte.TaskEnvironment(name='same_env', secrets=flyte.Secret('same', as_env_var='SAME'))

def sees():
    return [os.environ.get(name, 'absent') for name in NAMES]

def report(who):
    listed = [dict(os.environ).get(name, 'absent') for name in NAMES]
    program = 'import os; print([os.environ.get(name, \"absent\") for name in %r])' % (NAMES,)
    child = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True).stdout.strip()
    print('=>', who, sees(), 'ok' if sees() == listed and child == repr(sees()) else (listed, child))

@none_env.task
async def none_task(who: str) -> None:
    report(who)

@b_env.task
async def b_task() -> None:
    os.environ['MODE'] = 'written'
    del os.environ['SAME']
    await asyncio.sleep(0)
    report('b writes')

@a_env.task
async def a_task() -> None:
    report('a')
    await asyncio.gather(b_task(), none_task('called by a'))
    report('a again')

@same_env.task
async def same_task() -> None:
    report('same')

other_task = b_task.override(env_vars={'PLAIN': 'of the override', 'SAME': 'x'})

if __name__ == '__main__':
    print('=> outside', sees())
    for task in (a_task, other_task, same_task):
        flyte.run(task)
    flyte.run(none_task, who='none')
";

fn ran(sdk: &str, options: &[&str], script: &str) -> Ran {
    let sandbox = Sandbox::new();
    for key in ["token", "same"] {
        sandbox.secret(key, format!("secret {key}"), &[]);
    }
    sandbox.file("script.py", script);
    let mut command = sandbox.flyte_command(sdk, &[options, &["script.py"]].concat());
    let ran = Ran::from(command.env("IN_SHELL", "of the shell").output().expect("flyte-local starts"));
    assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
    ran
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_task_has_the_variables_of_its_environment_below_its_secrets() {
    let script = SCRIPT.replace(", 'NUMBER': 5", "");
    for sdk in SDKS {
        let ran = ran(sdk, &[], &script);
        let mut said = ran.said();
        // Two tasks run at once.
        said[2..4].sort();
        let expected = [
            "outside ['absent', 'absent', 'of the shell', 'secret token', 'secret same']",
            "a ['of a', 'of a', 'of a', 'secret token', 'absent'] ok",
            "b writes ['written', 'absent', 'of the shell', 'absent', 'absent'] ok",
            "called by a ['absent', 'absent', 'of the shell', 'absent', 'absent'] ok",
            "a again ['of a', 'of a', 'of a', 'secret token', 'absent'] ok",
            "b writes ['written', 'of the override', 'of the shell', 'absent', 'absent'] ok",
            "same ['absent', 'absent', 'of the shell', 'absent', 'secret same'] ok",
            "none ['absent', 'absent', 'of the shell', 'absent', 'absent'] ok",
        ];
        // A variable that a task writes reaches the process, as any other does.
        let expected = expected.map(|line| match line.split_once(' ') {
            Some(("called" | "same" | "none", _)) => line.replacen("['absent'", "['written'", 1),
            _ => line.to_owned(),
        });
        assert_eq!(said, expected, "{sdk}: {ran:?}");
        let line = "flyte-local: IN_SHELL of the shell is replaced by env_vars= of task a_env.a_task";
        assert_eq!(ran.stderr.lines().filter(|other| *other == line).count(), 1, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn with_shared_secrets_a_task_still_has_its_environments_variables_alone() {
    let script = SCRIPT.replace("('MODE', 'PLAIN', 'IN_SHELL', 'TOKEN', 'SAME')", "('PLAIN', 'IN_SHELL', 'TOKEN')");
    for sdk in SDKS {
        let ran = ran(sdk, &["--shared-secrets"], &script);
        let said: Vec<_> = ran.said().into_iter().filter(|line| line.starts_with(['a', 's'])).collect();
        let expected = [
            "a ['of a', 'of a', 'secret token'] ok",
            "a again ['of a', 'of a', 'secret token'] ok",
            "same ['absent', 'of the shell', 'secret token'] ok",
        ];
        assert_eq!(said, expected, "{sdk}: {ran:?}");
        // A message of the cluster has text alone.
        let line =
            "flyte-local: env_vars= of task a_env.a_task: 'NUMBER' is not set, because names and values are text";
        assert!(ran.stderr.contains(line), "{sdk}: {ran:?}");
    }
}
