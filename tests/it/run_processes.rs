//! `flyte-local run`: the programs and processes that a task starts have the task's part of the environment.

use crate::support::{SDKS, Sandbox};

/// Two environments that put different secrets into one variable, and each one into another.
const ENVIRONMENTS: &str = "
import asyncio
import concurrent.futures
import os
import flyte

def secrets(letter):
    return [flyte.Secret(letter, as_env_var='SAME'), flyte.Secret(letter, as_env_var=f'ONLY_{letter.upper()}')]

a_env = flyte.TaskEnvironment(name='a_env', secrets=secrets('a'))
b_env = flyte.TaskEnvironment(name='b_env', secrets=secrets('b'))
NAMES = ('SAME', 'ONLY_A', 'ONLY_B')

def sees(_=None):
    seen = dict(os.environ)
    return ''.join(seen.get(name, '-')[-1] for name in NAMES)

def run_async(coroutine):
    # On another thread: the SDK's has a loop.
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()

def short(text):
    return ''.join(part[-1:] or '-' for part in text.rstrip('\\n').split('|'))
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for key in ["a", "b"] {
        sandbox.secret(key, format!("value of {key}"), &[]);
    }
    sandbox
}

fn owned(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn every_way_to_start_a_program_passes_the_tasks_environment() {
    let script = "
import pty
import subprocess

PRINTS = 'echo \"$SAME|$ONLY_A|$ONLY_B\"'
WORDS = ['sh', '-c', PRINTS]

def through_file(start):
    '''Returns what a program prints whose output goes where this process's goes.'''
    read, write = os.pipe()
    saved = os.dup(1)
    os.dup2(write, 1)
    try:
        start()
    finally:
        os.dup2(saved, 1)
        os.close(write)
        os.close(saved)
    with os.fdopen(read) as file:
        return short(file.read())

def forked(execute):
    def start():
        if (child := os.fork()) == 0:
            try:
                execute()
            finally:
                os._exit(70)
        assert os.waitpid(child, 0)[1] == 0
    return start

def spawned(start, *words):
    return lambda: os.waitpid(start('/bin/sh', WORDS, *words), 0)

def terminal():
    shown = b''
    def read(descriptor):
        nonlocal shown
        shown += (data := os.read(descriptor, 1024))
        return data
    if (child := os.fork()) == 0:
        os.dup2(os.open('/dev/null', os.O_RDWR), 0)
        os.dup2(0, 1)
        os._exit(0 if pty.spawn(WORDS, read) == 0 and short(shown.decode().strip()) == sees() else 1)
    return os.waitpid(child, 0)[1]

async def by_asyncio(start, *words):
    process = await start(*words, stdout=asyncio.subprocess.PIPE)
    return short((await process.communicate())[0].decode())

def programs():
    yield short(subprocess.run(WORDS, capture_output=True, text=True).stdout)
    yield short(subprocess.run(['/bin/sh', *WORDS[1:]], capture_output=True, text=True).stdout)
    yield short(subprocess.run(WORDS, close_fds=False, env=None, capture_output=True, text=True).stdout)
    yield short(subprocess.check_output(PRINTS, shell=True, text=True, start_new_session=True))
    yield short(subprocess.getoutput(PRINTS))
    yield short(os.popen(PRINTS).read())
    yield through_file(lambda: os.system(PRINTS))
    yield through_file(lambda: os.spawnv(os.P_WAIT, '/bin/sh', WORDS))
    yield through_file(lambda: os.spawnlp(os.P_WAIT, *WORDS[:1], *WORDS))
    yield through_file(lambda: os.waitpid(os.spawnvp(os.P_NOWAIT, 'sh', WORDS), 0))
    yield through_file(spawned(os.posix_spawn, os.environ))
    yield through_file(forked(lambda: os.execv('/bin/sh', WORDS)))
    yield through_file(forked(lambda: os.execl('/bin/sh', *WORDS)))
    yield through_file(forked(lambda: os.execlp('sh', *WORDS)))
    yield through_file(forked(lambda: os.execvp('sh', WORDS)))
    yield run_async(by_asyncio(asyncio.create_subprocess_exec, *WORDS))
    yield run_async(by_asyncio(asyncio.create_subprocess_shell, PRINTS))

def check():
    found = {*programs()}
    assert terminal() == 0
    explicit = subprocess.run(['/bin/sh', *WORDS[1:]], env={'ONLY_B': 'c'}, capture_output=True, text=True).stdout
    codes = os.system('exit 3'), os.system('kill -9 $$'), os.system('true')
    return *sorted(found), short(explicit), codes

@b_env.task
def callee() -> str:
    os.environ['ONLY_A'] = 'x'
    return str(check())

@a_env.task
def main() -> None:
    print('=>', callee())
    print('=>', check())
    del os.environ['SAME']
    print('=>', {*programs()})

if __name__ == '__main__':
    flyte.init()
    flyte.run(main)
    print('=>', {*programs()})
";
    let codes = "(768, 9, 0)";
    let expected = [
        &format!("('bxb', '--c', {codes})"),
        &format!("('aa-', '--c', {codes})"),
        "{'-a-'}",
        // Outside tasks, programs have the variables of the process, as ever.
        "{'-ab'}",
    ];
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.file("script.py", format!("{ENVIRONMENTS}{script}"));
        let ran = sandbox.flyte_run(sdk, &["script.py"]);
        assert_eq!((ran.code, ran.said(), ran.stderr.as_str()), (0, owned(&expected), ""), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn processes_and_pools_of_every_start_method_have_the_tasks_environment() {
    // New interpreters import the script and this module, which are quick to import.
    let pools = "
import concurrent.futures
import multiprocessing
import os
import sys

def sees(_=None):
    seen = dict(os.environ)
    return ''.join(seen.get(name, '-')[-1] for name in ('SAME', 'ONLY_A', 'ONLY_B'))

def put(queue):
    queue.put(sees())

def by_method():
    found = []
    for method in ('fork', 'spawn', 'forkserver'):
        context = multiprocessing.get_context(method)
        queue = context.SimpleQueue()
        process = context.Process(target=put, args=(queue,))
        process.start()
        found.append(queue.get())
        process.join()
        # The second call comes after the only process has ended, and another has been started in its place.
        with context.Pool(1, maxtasksperchild=1) as pool:
            found += [pool.apply(sees), pool.apply(sees), *pool.map(sees, range(2), chunksize=1)]
        once = {'max_tasks_per_child': 1} if method != 'fork' and sys.version_info >= (3, 11) else {}
        with concurrent.futures.ProcessPoolExecutor(1, context, **once) as pool:
            found += [pool.submit(sees).result(), *pool.map(sees, range(2))]
    return sorted({*found}), len(found)
";
    let tasks = format!(
        "{ENVIRONMENTS}
from pools import by_method

@b_env.task
def callee() -> str:
    return str(by_method())

@a_env.task
def main() -> None:
    print('=>', callee())
    print('=>', by_method())
    os.environ['SAME'] = 'x'
    print('=>', by_method())
"
    );
    let script = "
if __name__ == '__main__':
    import flyte
    import tasks
    flyte.init()
    flyte.run(tasks.main)
";
    for sdk in SDKS {
        let sandbox = sandbox();
        for (name, text) in [("pools.py", pools), ("tasks.py", &tasks), ("script.py", script)] {
            sandbox.file(name, text);
        }
        let ran = sandbox.flyte_run(sdk, &["script.py"]);
        let expected = owned(&["(['b-b'], 24)", "(['aa-'], 24)", "(['xa-'], 24)"]);
        assert_eq!((ran.code, ran.said(), ran.stderr.as_str()), (0, expected, ""), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn programs_of_concurrent_tasks_have_no_secret_of_another_task() {
    let script = "
import random
import subprocess
import sys
import threading

ROUNDS = 200
seed = int(sys.argv[1])
meeting = threading.Barrier(2, timeout=120)
START = ['run', 'system', 'asyncio', 'spawn']
PRINTS = 'echo \"$SAME|$ONLY_A|$ONLY_B\"'

async def program():
    process = await asyncio.create_subprocess_shell(PRINTS, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0].decode()

def start(way, place):
    if way == 'run':
        return short(subprocess.run(['sh', '-c', PRINTS], capture_output=True, text=True).stdout)
    if way == 'asyncio':
        return short(run_async(program()))
    if way == 'system':
        assert os.system(f'{PRINTS} > {place}') == 0
    else:
        os.waitpid(os.posix_spawn('/bin/sh', ['sh', '-c', f'{PRINTS} > {place}'], os.environ), 0)
    with open(place) as file:
        return short(file.read())

def rounds(letter, expected):
    ways = random.Random(f'{seed} {letter}')
    crossed = 0
    for _ in range(ROUNDS):
        meeting.wait()
        crossed += start(ways.choice(START), f'of-{letter}') != expected
    return crossed

@a_env.task
def look_a() -> int:
    return rounds('a', 'aa-')

@b_env.task
def look_b() -> int:
    return rounds('b', 'b-b')

root = flyte.TaskEnvironment(name='root', depends_on=[a_env, b_env])

@root.task
async def main() -> None:
    print('=>', 'crossed', await asyncio.gather(look_a.aio(), look_b.aio()))

if __name__ == '__main__':
    flyte.init()
    flyte.run(main)
";
    let seed = std::process::id().to_string();
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.file("script.py", format!("{ENVIRONMENTS}{script}"));
        let ran = sandbox.flyte_run(sdk, &["script.py", "--", &seed]);
        assert_eq!((ran.code, ran.said()), (0, owned(&["crossed [0, 0]"])), "{sdk}, seed {seed}: {ran:?}");
        assert_eq!(ran.stderr, "", "{sdk}, seed {seed}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn native_code_has_the_environment_of_the_process() {
    let script = "
import ctypes

@b_env.task
def callee() -> None:
    pass

@a_env.task
def main() -> None:
    print('=>', flush=True, end=' ')
    callee()
    ctypes.CDLL(None).system(b'echo ${SAME#value of } ${ONLY_A#value of } ${ONLY_B#value of }')

if __name__ == '__main__':
    flyte.init()
    flyte.run(main)
";
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.file("script.py", format!("{ENVIRONMENTS}{script}"));
        let ran = sandbox.flyte_run(sdk, &["script.py"]);
        assert_eq!((ran.code, ran.said(), ran.stderr.as_str()), (0, owned(&["a a b"]), ""), "{sdk}: {ran:?}");
    }
}
