//! `flyte-local run`: Python processes that the programs of a run start join the run when they import `flyte`.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use crate::support::{Ran, SDKS, Sandbox, python};

const TASKS: &str = "
import os
import flyte

a_env = flyte.TaskEnvironment(name='a_env', secrets=flyte.Secret('a', as_env_var='SAME'))
b_env = flyte.TaskEnvironment(
    name='b_env', secrets=[flyte.Secret('b', as_env_var='SAME'), flyte.Secret('b', mount='/etc/flyte/secrets')]
)
none_env = flyte.TaskEnvironment(name='none_env')
lacking_env = flyte.TaskEnvironment(name='lacking_env', secrets='absent')
AT_IMPORT = os.environ.get('SAME', '-')[-1]

@a_env.task
def look_a() -> str:
    return os.environ['SAME'][-1]

@b_env.task
def look_b() -> str:
    with open('/etc/flyte/secrets/b') as file:
        return os.environ['SAME'][-1] + file.read()[-1]

@none_env.task
def none() -> str:
    return dict(os.environ).get('SAME', '-')

@lacking_env.task
def lacking() -> str:
    return os.environ['ABSENT']
";

/// The program of a child: it imports the tasks and runs some.
const CHILD: &str = "
import os
import sys
import flyte
import tasks

if __name__ == '__main__':
    flyte.init()
    results = [flyte.run(getattr(tasks, name)).outputs()[0] for name in sys.argv[1:]]
    print('=>', tasks.AT_IMPORT, *results, [name for name in os.environ if name.startswith('FLYTE_LOCAL')], flush=True)
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for key in ["a", "b"] {
        sandbox.secret(key, format!("value of {key}"), &[]);
    }
    sandbox.file("tasks.py", TASKS);
    sandbox.file("child.py", CHILD);
    sandbox
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_python_that_the_run_starts_has_the_secrets_that_it_declares() {
    let script = "
import subprocess
import sys
import flyte

env = flyte.TaskEnvironment(name='parent', secrets=flyte.Secret('a', as_env_var='SAME'))
CHILD = [sys.executable, 'child.py']

@env.task
def main() -> None:
    subprocess.run([*CHILD, 'look_b', 'none', 'look_a'], check=True)

if __name__ == '__main__':
    flyte.init()
    flyte.run(main)
    # Through another program, and through a Python that does not import the SDK.
    subprocess.run(['sh', '-c', f'{sys.executable} child.py look_a look_b; true'], check=True)
    code = f'import subprocess; subprocess.run({[*CHILD, \"look_a\"]!r}, check=True)'
    subprocess.run([sys.executable, '-c', code], check=True)
    # A value that the user's code passes stays, as in a test.
    subprocess.run([*CHILD, 'look_a'], env={**__import__('os').environ, 'SAME': 'x'}, check=True)
    # In place of this process.
    import os
    os.execv(sys.executable, [*CHILD, 'look_b'])
";
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.file("script.py", script);
        let ran = sandbox.flyte_run(sdk, &["script.py"]);
        // Code outside tasks sees the secret that was declared last.
        let expected = ["b bb - a []", "b a bb []", "b a []", "x x []", "b bb []"].map(str::to_owned);
        assert_eq!((ran.code, ran.said(), ran.stderr.as_str()), (0, expected.to_vec(), ""), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_secret_that_is_missing_fails_the_task_of_a_child() {
    let script = "
import subprocess
import sys

if __name__ == '__main__':
    sys.exit(subprocess.run([sys.executable, 'child.py', 'lacking']).returncode)
";
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.file("script.py", script);
        let ran = sandbox.flyte_run(sdk, &["script.py"]);
        assert_eq!((ran.code, ran.said()), (1, Vec::new()), "{sdk}: {ran:?}");
        let error = "error: task lacking_env.lacking: secret absent does not exist in this run's scopes\n";
        assert!(ran.stderr.contains(error), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_pool_of_new_processes_runs_tasks_with_their_secrets() {
    let script = "
import multiprocessing
from pool import work

if __name__ == '__main__':
    for method in ('spawn', 'forkserver'):
        with multiprocessing.get_context(method).Pool(2) as pool:
            print('=>', pool.map(work, ['look_a', 'look_b', 'none']))
";
    // Processes import this when they get their first work.
    let pool = "
def work(name):
    import tasks
    return getattr(tasks, name)()
";
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.file("script.py", script);
        sandbox.file("pool.py", pool);
        let ran = sandbox.flyte_run(sdk, &["script.py"]);
        let expected = vec!["['a', 'bb', '-']".to_owned(); 2];
        assert_eq!((ran.code, ran.said(), ran.stderr.as_str()), (0, expected, ""), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_python_that_does_not_import_flyte_is_unchanged() {
    let script = "
import subprocess
import sys

if __name__ == '__main__':
    code = 'import sys; print(sorted(sys.modules), sys.path[2:] if \"fd\" in sys.path[1] else sys.path[1:], sys.argv, len(sys.meta_path))'
    print(subprocess.run([sys.executable, '-c', code, 'x'], capture_output=True, text=True).stdout, end='')
    print(subprocess.run([sys.executable, '-c', 'import no_such'], capture_output=True, text=True).stderr, end='')
";
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.file("script.py", script);
        let ours = sandbox.flyte_run(sdk, &["script.py"]);
        let plain = Ran::from(sandbox.program(python(sdk)).arg("script.py").output().expect("Python starts"));
        assert_eq!((plain.code, plain.stderr.as_str()), (0, ""), "{sdk}");
        assert_eq!((ours.code, ours.text(), ours.stderr.as_str()), (0, plain.text(), ""), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_process_that_the_run_did_not_start_is_not_answered() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};
    use std::process::Stdio;

    let script = "
import os
import sys
import zipfile

if __name__ == '__main__':
    source = zipfile.ZipFile(os.environ['PYTHONPATH']).read('flyte.py').decode()
    print(source.rstrip().splitlines()[-1].split('\"')[1], flush=True)
    sys.stdin.read()
";
    let sandbox = sandbox();
    sandbox.file("script.py", script);
    let mut command = sandbox.flyte_command("newest", &["script.py"]);
    let mut run = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut address = String::new();
    BufReader::new(run.stdout.take().expect("piped")).read_line(&mut address).expect("a line");
    let name = SocketAddr::from_abstract_name(address.trim_end()).expect("a name");
    let mut stream = UnixStream::connect_addr(&name).expect("the run listens");
    // The end may come before the request, which then fails.
    let _ = stream.write_all(b"{\"op\":\"join\",\"variables\":{}}\n");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert_eq!(answer, b"", "the test's own process is answered");
    drop(run.stdin.take());
    assert!(run.wait().expect("it ends").success());
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_python_that_outlives_the_run_says_that_its_tasks_get_no_secrets() {
    let script = "
import subprocess
import sys

if __name__ == '__main__':
    # The socket of another run, which is over.
    import os, zipfile
    path = os.environ['PYTHONPATH']
    source = zipfile.ZipFile(path).read('flyte.py').decode()
    address = source.rstrip().splitlines()[-1].split('\"')[1]
    os.mkdir('over')
    with open('over/flyte.py', 'w') as file:
        file.write(source.replace(address, 'flyte-local-over'))
    ran = subprocess.run(
        [sys.executable, '-c', 'import flyte; print(flyte.__file__.split(os.sep)[-2] if (os := __import__(\"os\")) else 0)'],
        env={**os.environ, 'PYTHONPATH': os.path.abspath('over')}, capture_output=True, text=True,
    )
    print('=>', ran.stdout.strip(), ran.stderr.split(' process ')[0], ran.stderr.strip().split(': ')[-1], ran.returncode)
";
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.file("script.py", script);
        let ran = sandbox.flyte_run(sdk, &["script.py"]);
        let expected = vec!["flyte flyte-local: tasks of the run has ended 0".to_owned()];
        assert_eq!((ran.code, ran.said(), ran.stderr.as_str()), (0, expected, ""), "{sdk}: {ran:?}");
    }
}
