//! `flyte-local run`: each task sees only its own secrets in `os.environ`, as in a pod; code outside tasks sees all.

use std::collections::BTreeSet;

use crate::support::{Ran, SDKS, Sandbox};

/// Runs the script, which must succeed. Returns its lines and the whole result.
fn said(sandbox: &Sandbox, sdk: &str, options: &[&str], script: &str) -> (Vec<String>, Ran) {
    sandbox.file("script.py", script);
    let ran = sandbox.flyte_run(sdk, &[options, &["script.py"]].concat());
    assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
    (ran.said(), ran)
}

fn sandbox(keys: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    for key in keys {
        sandbox.secret(key, format!("value of {key}"), &[]);
    }
    sandbox
}

/// Two environments that put different secrets into one variable, and each one into another; and one without secrets.
const ENVIRONMENTS: &str = "
import asyncio
import os
from os import environ
import flyte

def secrets(letter):
    return [flyte.Secret(letter, as_env_var='SAME'), flyte.Secret(letter, as_env_var=f'ONLY_{letter.upper()}')]

a_env = flyte.TaskEnvironment(name='a_env', secrets=secrets('a'))
b_env = flyte.TaskEnvironment(name='b_env', secrets=secrets('b'))
none_env = flyte.TaskEnvironment(name='none_env')

def shown(value):
    return value and value.replace('value of', 'secret')

def sees():
    return [(environ.get(name) or 'absent')[-1] for name in ('SAME', 'ONLY_A', 'ONLY_B')]
";

/// Returns the notice that a task read another environment's variable.
fn line(task: &str, variable: &str, key: &str, holder: &str) -> String {
    format!(
        "flyte-local: task {task} reads {variable}, which holds secret {key} of environment {holder}: on a cluster it is \
         not set there; declare it: flyte.Secret(key=\"{key}\", as_env_var=\"{variable}\")"
    )
}

fn lines(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter(|line| line.starts_with("flyte-local: ")).collect()
}

/// 20 environments, all with the variable `SHARED` and each with another one, and 200 tasks that meet halfway.
const CROWD: &str = "
import asyncio
import os
import random
import sys
import threading
import flyte

ENVIRONMENTS, TASKS = 20, 200
seed = int(sys.argv[2])
meeting = threading.Barrier(TASKS, timeout=120)
arrived, all_arrived = [], asyncio.Event()

def check(i, wrong):
    order = ['SHARED', *(f'OWN_{j}' for j in range(ENVIRONMENTS))]
    random.shuffle(order)
    for name in order:
        want = f'value of s{i}' if name in ('SHARED', f'OWN_{i}') else None
        if os.environ.get(name) != want:
            wrong.append(name)
    if [name for name in os.environ if name.startswith('OWN_')] != [f'OWN_{i}']:
        wrong.append('names')

def make(i):
    secrets = [flyte.Secret(f's{i}', as_env_var='SHARED'), flyte.Secret(f's{i}', as_env_var=f'OWN_{i}')]
    env = flyte.TaskEnvironment(name=f'env{i}', secrets=secrets)

    @env.task
    async def look_async(n: int) -> str:
        wrong = []
        check(i, wrong)
        arrived.append(n)
        if len(arrived) == TASKS:
            all_arrived.set()
        await all_arrived.wait()
        for _ in range(5):
            for _ in range(random.randrange(4)):
                await asyncio.sleep(0)
            check(i, wrong)
        return ' '.join(wrong)

    @env.task
    def look_sync(n: int) -> str:
        wrong = []
        check(i, wrong)
        meeting.wait()
        for _ in range(5):
            check(i, wrong)
        return ' '.join(wrong)

    return env, look_async, look_sync

made = [make(i) for i in range(ENVIRONMENTS)]
root = flyte.TaskEnvironment(name='root', depends_on=[env for env, _, _ in made])

@root.task
async def main() -> None:
    random.seed(seed)
    tasks = [made[n % ENVIRONMENTS] for n in range(TASKS)]
    random.shuffle(tasks)
    if sys.argv[1] == 'async':
        calls = [look(n) for n, (_, look, _) in enumerate(tasks)]
    else:
        calls = [look.aio(n) for n, (_, _, look) in enumerate(tasks)]
    results = await asyncio.gather(*calls)
    print('=>', len(results), [result for result in results if result])

if __name__ == '__main__':
    flyte.init()
    flyte.run(main)
";

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn two_hundred_concurrent_tasks_each_see_their_own_secrets() {
    let keys: Vec<_> = (0..20).map(|i| format!("s{i}")).collect();
    let seed = std::process::id();
    for sdk in SDKS {
        let sandbox = sandbox(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        sandbox.file("crowd.py", CROWD);
        for kind in ["async", "sync"] {
            let ran = sandbox.flyte_run(sdk, &["crowd.py", "--", kind, &seed.to_string()]);
            assert_eq!((ran.code, ran.said()), (0, vec!["200 []".to_owned()]), "{sdk} {kind}, seed {seed}: {ran:?}");
            // Each of the 20 tasks reads the variables of the 19 others, six times in ten executions.
            let lines = lines(&ran);
            let others = |i: u32| (0..20).filter(move |j| *j != i);
            let expected: BTreeSet<_> = (0..20)
                .flat_map(|i| others(i).map(move |j| (i, j)))
                .map(|(i, j)| {
                    line(&format!("env{i}.look_{kind}"), &format!("OWN_{j}"), &format!("s{j}"), &format!("env{j}"))
                })
                .collect();
            assert_eq!(lines.len(), expected.len(), "{sdk} {kind}, seed {seed}: {ran:?}");
            assert_eq!(lines.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), expected, "{sdk} {kind}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn caller_and_callee_do_not_share_secrets() {
    let script = format!(
        "{ENVIRONMENTS}
@b_env.task
def callee() -> str:
    return ''.join(sees())

@b_env.task
async def async_callee() -> str:
    await asyncio.sleep(0)
    return ''.join(sees())

@none_env.task
def has_none() -> str:
    return ''.join(sees())

@a_env.task
def again(depth: int) -> str:
    fresh = ''.join(sees())
    environ['SAME'] = 'written'
    return fresh + (again(depth - 1) if depth else '') + ''.join(sees())

@a_env.task
def main() -> None:
    print('=>', sees(), callee(), sees(), has_none(), sees())
    print('=>', [callee() for _ in range(2)], sees())
    print('=>', callee.override(secrets=flyte.Secret('c', as_env_var='ONLY_A'))(), sees())
    print('=>', again(1))

@a_env.task
async def async_main() -> None:
    print('=>', sees(), await async_callee(), sees(), await callee.aio(), sees())
    both = await asyncio.gather(async_callee(), has_none.aio(), async_callee())
    print('=>', both, sees())

if __name__ == '__main__':
    flyte.init()
    print('=>', sees())
    flyte.run(main)
    flyte.run(async_main)
"
    );
    for sdk in SDKS {
        let sandbox = sandbox(&["a", "b", "c"]);
        let (said, ran) = said(&sandbox, sdk, &[], &script);
        let expected = [
            "['b', 'a', 'b']",
            "['a', 'a', 't'] btb ['a', 'a', 't'] ttt ['a', 'a', 't']",
            "['btb', 'btb'] ['a', 'a', 't']",
            "tct ['a', 'a', 't']",
            "aataatnatnat",
            "['a', 'a', 't'] btb ['a', 'a', 't'] btb ['a', 'a', 't']",
            "['btb', 'ttt', 'btb'] ['a', 'a', 't']",
        ];
        assert_eq!(said, expected, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn every_way_to_read_the_environment_agrees() {
    let script = format!(
        "{ENVIRONMENTS}
import copy

@a_env.task
def main() -> None:
    assert environ is os.environ
    for name, letter in [('SAME', 'a'), ('ONLY_A', 'a'), ('ONLY_B', None), ('FLYTE_SECRETS_DEFAULT_DIR', None)]:
        value = letter and f'value of {{letter}}'
        present = letter is not None
        raw = name.encode()
        found = [
            environ.get(name, None), os.getenv(name), os.environb.get(raw), os.getenvb(raw), dict(environ).get(name),
            environ.copy().get(name), dict(environ.items()).get(name), ({{}} | environ).get(name), (environ | {{}}).get(name),
            copy.copy(environ).get(name), copy.deepcopy(environ).get(name), os.path.expandvars(f'${{name}}'),
        ]
        for index, one in enumerate(found):
            one = one.decode() if isinstance(one, bytes) else None if one == f'${{name}}' else one
            assert one == value, (name, index)
        assert [
            name in environ, name in list(environ), name in environ.keys(), raw in os.environb, raw in list(os.environb),
            name in repr(environ), name in {{**environ}}, len(environ) == len(list(environ)),
        ] == [present] * 7 + [True], name
        try:
            environ[name]
        except KeyError as error:
            assert error.args == (name,) and not present
        else:
            assert present
        assert environ.get(name, 'else') == (value or 'else')
    assert isinstance(environ, os._Environ) and type(environ).__name__ == '_Environ'
    print('=>', len({{*os.environb}} - {{*dict(os.environb)}}))

if __name__ == '__main__':
    flyte.init()
    flyte.TaskEnvironment(name='files', secrets=flyte.Secret('a', mount='/etc/flyte/secrets'))
    print('=>', *(name in environ and name in list(environ) for name in ('SAME', 'ONLY_A', 'ONLY_B')))
    print('=>', 'FLYTE_SECRETS_DEFAULT_DIR' in environ)
    flyte.run(main)
"
    );
    for sdk in SDKS {
        let sandbox = sandbox(&["a", "b"]);
        let (said, ran) = said(&sandbox, sdk, &[], &script);
        assert_eq!(said, ["True True True", "True", "0"], "{sdk}: {ran:?}");
        // The variable is read by name a dozen times and reported once. No line mentions the markers.
        assert_eq!(lines(&ran), [line("a_env.main", "ONLY_B", "b", "b_env")], "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn enumerating_the_environment_is_not_reported() {
    let script = format!(
        "{ENVIRONMENTS}
@none_env.task
def main() -> None:
    print('=>', len(dict(environ)) == len(environ.copy()) == len([*environ.items()]), 'value of' in repr(environ))

if __name__ == '__main__':
    flyte.init()
    flyte.run(main)
"
    );
    for sdk in SDKS {
        let (said, ran) = said(&sandbox(&["a", "b"]), sdk, &[], &script);
        assert_eq!((said, ran.stderr.as_str()), (vec!["True False".to_owned()], ""), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_tasks_writes_reach_the_task_and_the_process() {
    let script = format!(
        "{ENVIRONMENTS}
import ctypes

def native(name):
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    value = getenv(name.encode())
    return value and value.decode()

@a_env.task
def writes() -> None:
    environ['SAME'] = 'mine'
    environ['ONLY_B'] = 'mine too'
    environ['PLAIN'] = 'for all'
    print('=>', environ['SAME'], environ['ONLY_B'], native('SAME'), native('ONLY_B'), sorted(environ)[-1] < 'z')

@a_env.task
def deletes() -> None:
    print('=>', shown(environ['SAME']), environ.get('ONLY_B'), environ['PLAIN'])
    print('=>', shown(environ.pop('SAME')), environ.get('SAME'), 'SAME' in [*environ], native('SAME'))
    try:
        del environ['ONLY_B']
    except KeyError as error:
        print('=>', error, native('ONLY_B'))
    print('=>', environ.setdefault('SAME', 'again'), shown(environ.setdefault('ONLY_A', 'never')), native('SAME'))
    del environ['PLAIN']

if __name__ == '__main__':
    flyte.init()
    flyte.run(writes)
    print('=>', environ['SAME'], environ['ONLY_B'], environ['PLAIN'])
    flyte.run(deletes)
    print('=>', environ['SAME'], environ['ONLY_B'], environ.get('PLAIN'))
"
    );
    for sdk in SDKS {
        let (said, ran) = said(&sandbox(&["a", "b"]), sdk, &[], &script);
        let expected = [
            "mine mine too mine mine too True",
            "mine mine too for all",
            "secret a None for all",
            "secret a None False None",
            "'ONLY_B' mine too",
            "again secret a again",
            "again mine too None",
        ];
        assert_eq!(said, expected, "{sdk}: {ran:?}");
        assert_eq!(lines(&ran), [line("a_env.deletes", "ONLY_B", "b", "b_env")], "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn subprocesses_get_the_environment_passed_to_them() {
    let script = format!(
        "{ENVIRONMENTS}
import subprocess

# Not an absolute path: for those, newer Pythons pass on what `os.environ` shows.
def child(**options):
    code = 'for name in SAME ONLY_A ONLY_B; do eval echo \\\\$$name; done'
    return [value[-1:] for value in subprocess.run(['sh', '-c', code], capture_output=True, text=True, **options).stdout.split('\\n')[:3]]

@b_env.task
def callee() -> str:
    return ''.join(child())

@a_env.task
def main() -> None:
    callee()
    # A task passes on the variables that it sees.
    print('=>', child(), child(env=environ), child(env=dict(environ)), child(env={{**environ, 'ONLY_B': 'b'}}))
    environ['SAME'] = environ['ONLY_B'] = 'mine'
    print('=>', callee(), child())

if __name__ == '__main__':
    flyte.init()
    flyte.run(main)
"
    );
    for sdk in SDKS {
        let (said, ran) = said(&sandbox(&["a", "b"]), sdk, &[], &script);
        let expected = ["['a', 'a', ''] ['a', 'a', ''] ['a', 'a', ''] ['a', 'a', 'b']", "bb ['e', 'a', 'e']"];
        assert_eq!((said, ran.stderr.as_str()), (expected.map(str::to_owned).to_vec(), ""), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn every_task_sees_shared_secrets() {
    let script = format!(
        "{ENVIRONMENTS}
@a_env.task
def main() -> None:
    print('=>', sees(), type(environ).__module__, type(environ).__name__)

if __name__ == '__main__':
    flyte.init()
    flyte.run(main)
"
    );
    for sdk in SDKS {
        let sandbox = sandbox(&["a", "b"]);
        let (shared, ran) = said(&sandbox, sdk, &["--shared-secrets"], &script);
        assert_eq!((shared, ran.stderr.as_str()), (vec!["['a', 'a', 'b'] os _Environ".to_owned()], ""), "{sdk}");
        let (own, _) = said(&sandbox, sdk, &[], &script);
        assert_eq!(own, ["['a', 'a', 't'] os _Environ"], "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn maps_retries_task_classes_and_helpers_of_a_task() {
    let script = format!(
        "{ENVIRONMENTS}
import concurrent.futures
import multiprocessing
import threading
from flyte.extend import AsyncFunctionTaskTemplate, TaskPluginRegistry

class Config:
    pass

class Plugin(AsyncFunctionTaskTemplate):
    async def execute(self, *args, **kwargs):
        print('=>', 'plugin', sees())
        return await super().execute(*args, **kwargs)

TaskPluginRegistry.register(Config, Plugin)
plugin_env = flyte.TaskEnvironment(name='plugin_env', secrets=secrets('a'), plugin_config=Config())

@plugin_env.task
def plugin() -> None:
    print('=>', 'plugin', sees())

@b_env.task
def mapped(n: int) -> str:
    return ''.join(sees())

attempts = []

@b_env.task(retries=1)
def tried() -> None:
    attempts.append(sees())
    environ['SAME'] = environ['ONLY_A'] = 'written'
    if len(attempts) == 1:
        raise RuntimeError('not yet')

def fork(send):
    send.send(sees())

@a_env.task
async def main() -> None:
    found = []
    thread = threading.Thread(target=lambda: found.append(sees()))
    thread.start()
    thread.join()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        found.append(pool.submit(sees).result())
    found.append(await asyncio.to_thread(sees))
    receive, send = multiprocessing.Pipe()
    process = multiprocessing.get_context('fork').Process(target=fork, args=(send,))
    process.start()
    found.append(receive.recv())
    process.join()
    print('=>', found)

@a_env.task
def maps() -> None:
    print('=>', list(flyte.map(mapped, range(3))), sees())

if __name__ == '__main__':
    flyte.init()
    flyte.run(plugin)
    flyte.run(maps)
    flyte.run(main)
    try:
        flyte.run(tried)
    except Exception:
        pass
    print('=>', attempts)
"
    );
    // 2.0.0 does not retry in a local run.
    for (sdk, attempts) in SDKS.into_iter().zip(["['b', 't', 'b']", "['b', 't', 'b'], ['b', 't', 'b']"]) {
        let (said, ran) = said(&sandbox(&["a", "b"]), sdk, &[], &script);
        let expected = [
            "plugin ['a', 'a', 't']",
            "plugin ['a', 'a', 't']",
            "['btb', 'btb', 'btb'] ['a', 'a', 't']",
            "[['a', 'a', 't'], ['a', 'a', 't'], ['a', 'a', 't'], ['a', 'a', 't']]",
            &format!("[{attempts}]"),
        ];
        assert_eq!(said, expected, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_forked_process_runs_tasks_with_its_parents_secrets() {
    let script = "
import asyncio
import multiprocessing
import os
import flyte

known_env = flyte.TaskEnvironment(name='known_env', secrets=['a', flyte.Secret('a', mount='/etc/flyte/secrets')])
late = flyte.Secret('-'.join(['b', 'b']), as_env_var='LATE')

@known_env.task
def known() -> str:
    with open('/etc/flyte/secrets/a') as file:
        return f'{os.environ[\"A\"] == file.read() == \"value of a\"} {os.environ.get(\"LATE\")}'

@known_env.task
def unknown() -> str:
    return os.environ['LATE']

def run(task):
    try:
        return task().replace('value of', 'secret')
    except Exception as error:
        return str(error)

def work(which):
    return run({'known': known, 'unknown': unknown.override(secrets=late)}[which])

if __name__ == '__main__':
    with multiprocessing.get_context('fork').Pool(1) as pool:
        print('=>', pool.map(work, ['known', 'unknown', 'known']))
    print('=>', run(unknown.override(secrets=late)))
";
    for sdk in SDKS {
        let (said, ran) = said(&sandbox(&["a", "b-b"]), sdk, &[], script);
        let refused = "'flyte-local gives secrets to the process it started, not to one forked from it'";
        let expected = [&format!("['True None', {refused}, 'True None']"), "secret b-b"];
        assert_eq!(said, expected, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_tasks_threads_and_pools_see_its_secrets() {
    let script = format!(
        "{ENVIRONMENTS}
import concurrent.futures
import functools
import threading

pool = concurrent.futures.ThreadPoolExecutor(2)

class Own(threading.Thread):
    def run(self):
        self.found = letters()

def letters():
    return ''.join(sees())

def in_threads():
    found = []
    own = Own()
    threads = [own, threading.Thread(target=lambda: found.append(letters())), threading.Timer(0, functools.partial(lambda: found.append(letters())))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [own.found, *found, pool.submit(letters).result(), *pool.map(lambda _: letters(), range(2))]

@b_env.task
def callee() -> str:
    return ' '.join({{*in_threads()}})

@a_env.task
def mapped(n: int) -> str:
    return callee() + ' ' + letters()

@a_env.task
async def main() -> None:
    looped = await asyncio.get_running_loop().run_in_executor(pool, letters)
    print('=>', {{*in_threads()}}, looped, await callee.aio(), pool.submit(letters).result())
    # It may call tasks, which see their own, and what it sets is the task's.
    print('=>', pool.submit(callee.func).result(), pool.submit(functools.partial(environ.update, SAME='written')).result())
    print('=>', environ['SAME'] == 'written', await callee.aio())

@a_env.task
def maps() -> None:
    print('=>', {{*flyte.map(mapped, range(4))}}, letters())

if __name__ == '__main__':
    flyte.init()
    flyte.run(main)
    flyte.run(maps)
    print('=>', {{*in_threads()}} == {{letters()}}, 'written' in environ['SAME'])
"
    );
    for sdk in SDKS {
        let (said, ran) = said(&sandbox(&["a", "b"]), sdk, &[], &script);
        let expected = ["{'aat'} aat btb aat", "aat None", "True btb", "{'btb aat'} aat", "True False"];
        assert_eq!(said, expected, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn code_that_handles_a_missing_variable_gets_no_notice() {
    let script = format!(
        "{ENVIRONMENTS}
@a_env.task
def main() -> None:
    print('=>', environ.pop('ONLY_B', None), environ.setdefault('ONLY_B', 'own'), environ.pop('ONLY_B', None))

@none_env.task
def asks() -> None:
    try:
        environ.pop('ONLY_B')
    except KeyError as error:
        print('=>', error)

if __name__ == '__main__':
    flyte.init()
    flyte.run(main)
    flyte.run(asks)
"
    );
    for sdk in SDKS {
        let (said, ran) = said(&sandbox(&["a", "b"]), sdk, &[], &script);
        assert_eq!(said, ["None own own", "'ONLY_B'"], "{sdk}: {ran:?}");
        assert_eq!(lines(&ran), [line("none_env.asks", "ONLY_B", "b", "b_env")], "{sdk}: {ran:?}");
    }
}
