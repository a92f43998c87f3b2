//! `flyte-local run -m pytest`: a task that a test calls directly has its secrets while it runs, also in parallel workers.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use crate::support::{Ran, SDKS, Sandbox, python};

const TASKS: &str = "
import asyncio
import os
import flyte

def secrets(letter):
    return [flyte.Secret(letter, as_env_var='SAME'), flyte.Secret(letter, as_env_var=letter.upper())]

a_env = flyte.TaskEnvironment(name='a_env', secrets=secrets('a'))
b_env = flyte.TaskEnvironment(name='b_env', secrets=secrets('b'))
lacking_env = flyte.TaskEnvironment(name='lacking_env', secrets='absent')
ran = []

def sees():
    return ''.join((os.environ.get(name) or 'none')[-1] for name in ('SAME', 'A', 'B'))

@b_env.task
def callee() -> str:
    return sees()

@a_env.task
def caller() -> str:
    return f'{sees()} {callee()} {sees()} {callee.forward()}'

@b_env.task
async def async_callee() -> str:
    await asyncio.sleep(0)
    return sees()

@a_env.task
async def async_caller() -> str:
    return f'{sees()} {await async_callee()} {await asyncio.gather(async_callee(), callee.aio())} {sees()}'

@a_env.task
def plain_call() -> str:
    return callee.forward()

@lacking_env.task
def lacking() -> None:
    ran.append(os.environ['ABSENT'])

@lacking_env.task
async def async_lacking() -> None:
    ran.append(os.environ['ABSENT'])
";

const TESTS: &str = "
import asyncio
import os
import pytest
import flyte
import tasks
from tasks import sees

def test_called_directly():
    # Outside tasks: all that is declared, and of one name what was declared last.
    assert sees()[1:] == 'ab'
    assert tasks.caller() == 'aae beb aae beb'
    assert sees()[1:] == 'ab'

def test_override():
    other = flyte.Secret('b', as_env_var='A')
    assert tasks.caller.override(secrets=other)() == 'ebe beb ebe beb'

def test_async():
    assert asyncio.run(tasks.async_caller()) == \"aae beb ['beb', 'beb'] aae\"

def test_two_at_once():
    async def both():
        return await asyncio.gather(tasks.async_callee(), tasks.async_caller())
    assert asyncio.run(both()) == ['beb', \"aae beb ['beb', 'beb'] aae\"]

def test_within_a_run():
    flyte.init()
    # There `forward` calls the function in the caller's place, and so with the caller's secrets.
    assert flyte.run(tasks.plain_call).outputs()[0] == 'aae'
    assert flyte.run(tasks.callee).outputs()[0] == 'beb'

def test_missing():
    with pytest.raises(Exception, match='task lacking_env.lacking: secret absent does not exist'):
        tasks.lacking()
    with pytest.raises(Exception, match='task lacking_env.async_lacking: secret absent does not exist'):
        asyncio.run(tasks.async_lacking())
    assert not tasks.ran

def test_values_set_by_a_test_take_precedence(monkeypatch):
    monkeypatch.setenv('SAME', 'x')
    monkeypatch.setenv('ABSENT', 'x')
    assert tasks.callee() == 'xeb'
    tasks.lacking()
    assert tasks.ran.pop() == 'x'

@pytest.mark.parametrize('turn', range(4))
def test_values_are_gone_after_undo(turn):
    test_values_set_by_a_test_take_precedence(monkeypatch := pytest.MonkeyPatch())
    monkeypatch.undo()
    assert tasks.caller() == 'aae beb aae beb'
    test_missing()

def test_says_what_is_not_declared(capfd):
    @tasks.b_env.task
    def reads() -> None:
        os.environ.get('A')
        os.environ.get('A')
    reads()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and 'reads A, which holds secret a of environment a_env' in lines[0]

def test_no_child_inherits_the_socket():
    import subprocess
    import sys
    code = \"import os; print(*(os.path.realpath(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')))\"
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, close_fds=False, stdin=subprocess.DEVNULL)
    assert 'socket:' not in found.stdout, found.stdout
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for key in ["a", "b"] {
        sandbox.secret(key, format!("value of {key}"), &[]);
    }
    sandbox.file("tasks.py", TASKS);
    sandbox.file("test_tasks.py", TESTS);
    sandbox
}

const PYTEST: [&str; 6] = ["-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore"];

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_task_called_by_a_test_has_its_secrets_and_no_others() {
    for sdk in SDKS {
        let sandbox = sandbox();
        for workers in [&[][..], &["-n", "2"], &["-n", "1", "-p", "no:randomly", "--maxprocesses", "1"]] {
            let ran = sandbox.flyte_run(sdk, &[&PYTEST, workers].concat());
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{sdk} {workers:?}: {ran:?}");
            assert!(ran.text().contains(" 13 passed in "), "{sdk} {workers:?}: {ran:?}");
        }
        let ran =
            sandbox.flyte_run(sdk, &[&["--shared-secrets"], &PYTEST[..], &["-n", "2", "-k", "two_at_once"]].concat());
        assert_eq!(ran.code, 1, "the option reaches the workers: {sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_worker_begins_with_the_shells_variables() {
    let tests = "
import os
import flyte

def test_first(request):
    # The worker does not have the declarations of the first process: it declares the secret itself.
    assert os.environ['WORD'] == 'value of a'
    @flyte.TaskEnvironment(name='other').task
    def reads() -> str:
        return str(os.environ.get('WORD'))
    assert reads() == 'None'
";
    let conftest = "
import flyte
env = flyte.TaskEnvironment(name='fixtures', secrets=flyte.Secret('a', as_env_var='WORD'))
";
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.file("below/test_worker.py", tests);
        sandbox.file("below/conftest.py", conftest);
        let arguments = [&PYTEST[..], &["-n", "2", "-s", "below"]].concat();
        let mut command = sandbox.flyte_command(sdk, &arguments);
        let ran = Ran::from(command.env("WORD", "of the shell").output().expect("flyte-local starts"));
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        // The variable is replaced in the first process and in both workers.
        let line = "flyte-local: WORD of the shell is replaced by secret a\n";
        assert_eq!(ran.stderr.matches(line).count(), 3, "{sdk}: {ran:?}");
    }
}

/// Values that a test suite sets before any task's declaration is known, and removes again.
const STAND_INS: &str = "
import os
import unittest.mock
import tasks

def test_of_the_configuration():
    assert tasks.shows() == 'fake 3'

def test_another(monkeypatch):
    monkeypatch.setenv('ONE', 'other')
    assert tasks.shows() == 'other 3'

def test_again():
    assert tasks.shows() == 'fake 3'

def test_deleted(monkeypatch, capfd):
    monkeypatch.delenv('ONE')
    monkeypatch.delenv('TWO')
    assert tasks.shows() == 'None 0'
    assert capfd.readouterr().err == ''

def test_and_back():
    with unittest.mock.patch.dict(os.environ, {'TWO': '12345'}):
        assert tasks.shows() == 'fake 5'
    with unittest.mock.patch.dict(os.environ, clear=True):
        assert tasks.shows() == 'None 3'
    assert tasks.shows() == 'fake 3'

def test_value_for_a_secret_missing_from_the_vault():
    assert tasks.lacks() == 'set early'

def test_undone_value_no_longer_counts(monkeypatch):
    import pytest
    patch = pytest.MonkeyPatch()
    patch.setenv('LACKED_TOO', 'x')
    assert tasks.lacks_too() == 'x'
    patch.undo()
    with pytest.raises(Exception, match='secret lacked_too does not exist'):
        tasks.lacks_too()
";

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn values_set_by_a_test_suite_replace_secrets() {
    let tasks = "
import os
import flyte

env = flyte.TaskEnvironment(
    name='env', secrets=[flyte.Secret('a', as_env_var='ONE'), flyte.Secret('two', as_env_var='TWO')]
)
lacking = flyte.TaskEnvironment(name='lacking', secrets='lacked')
lacking_too = flyte.TaskEnvironment(name='lacking_too', secrets='lacked_too')

@env.task
def shows() -> str:
    return f\"{os.environ.get('ONE')} {len(os.environ.get('TWO', ''))}\"

@lacking.task
def lacks() -> str:
    return os.environ['LACKED']

@lacking_too.task
def lacks_too() -> str:
    return os.environ['LACKED_TOO']
";
    let conftest = "
import os
os.environ['ONE'] = 'fake'
os.environ.setdefault('LACKED', 'set early')
";
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.secret("two", "two", &[]);
        sandbox.file("tasks.py", tasks);
        sandbox.file("conftest.py", conftest);
        sandbox.file("test_tasks.py", STAND_INS);
        for options in [&[][..], &["--shared-secrets"]] {
            let ran = sandbox.flyte_run(sdk, &[options, &PYTEST, &["-p", "no:randomly"]].concat());
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{sdk} {options:?}: {ran:?}");
            assert!(ran.text().contains(" 7 passed in "), "{sdk} {options:?}: {ran:?}");
        }
    }
    let sandbox = sandbox();
    sandbox.secret("two", "two", &[]);
    sandbox.file("tasks.py", tasks);
    sandbox.file("conftest.py", conftest);
    sandbox.file("test_tasks.py", STAND_INS);
    let ran = sandbox.flyte_run(SDKS[0], &[&PYTEST[..], &["-n", "2"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn an_unknown_execnet_is_reported_in_one_line() {
    let sandbox = sandbox();
    sandbox.file("changed/execnet/__init__.py", "");
    sandbox.file("changed/execnet/gateway_io.py", "");
    sandbox.file("test_one.py", "def test_one():\n    pass\n");
    for sdk in SDKS {
        let arguments = [&PYTEST[..], &["-p", "no:xdist", "test_one.py"]].concat();
        let mut command = sandbox.flyte_command(sdk, &arguments);
        let ran = Ran::from(command.env("PYTHONPATH", "changed").output().expect("flyte-local starts"));
        let line = "flyte-local: this version of execnet is not known: workers of pytest-xdist get no secrets\n";
        assert_eq!((ran.code, ran.stderr.as_str()), (0, line), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_tests_pass_only_with_flyte_local() {
    // Otherwise the tests above would show nothing.
    for sdk in SDKS {
        let sandbox = sandbox();
        let plain = Ran::from(sandbox.program(python(sdk)).args(PYTEST).output().expect("Python starts"));
        assert_eq!(plain.code, 1, "{sdk}: {plain:?}");
    }
}
