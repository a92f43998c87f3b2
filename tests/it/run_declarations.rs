//! `flyte-local run`: the declarations and scopes of a file, and the file's own errors, during its import and its run.

use crate::support::{SDKS, Sandbox};

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn an_interrupted_declaration_does_not_give_its_value_to_the_next() {
    // The interrupts come at any point of a request: while it is being sent, processed or answered.
    let script = "
import faulthandler
import os
import signal
import sys
import time
import flyte

class Interrupted(Exception):
    pass

def interrupt(*_):
    raise Interrupted

def declare(turn):
    flyte.TaskEnvironment(name=f'env{turn}', secrets=flyte.Secret(['one', 'two', 'three'][turn % 3], as_env_var='VALUE'))

def timed(turn):
    start = time.perf_counter()
    declare(turn)
    return time.perf_counter() - start

# Python reports an exception that a handler raises inside a finalizer, and goes on.
def unraisable(report):
    if report.exc_type is not Interrupted:
        sys.__unraisablehook__(report)

if __name__ == '__main__':
    # Not a wait for a time: the longest that a failing test may take.
    faulthandler.dump_traceback_later(300, exit=True)
    sys.unraisablehook = unraisable
    signal.signal(signal.SIGALRM, interrupt)
    # From tens of microseconds to milliseconds, so it is measured: the interrupts are to fall into it and not after it.
    usual = sorted(timed(turn) for turn in range(31))[15]
    interrupted, wrong = 0, []
    for turn in range(1200):
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, max(1.2 * usual * (1 + turn % 97) / 97, 0.000001))
                declare(turn)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Interrupted:
            interrupted += 1
        # After many that were not, for what goes wrong in them adds up, one is left alone.
        if turn % 40 == 39:
            usual = timed(turn + 1)
            if os.environ.get('VALUE') != 'the value of ' + ['one', 'two', 'three'][(turn + 1) % 3]:
                wrong.append((turn, os.environ.get('VALUE')))
    print('enough' if interrupted > 100 else interrupted, wrong)
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        for key in ["one", "two", "three"] {
            // Not so short that a note would say so.
            sandbox.secret(key, format!("the value of {key}"), &[]);
        }
        sandbox.file("script.py", script);
        let ran = sandbox.flyte_run(sdk, &["script.py"]);
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (0, "enough []\n", ""), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn an_invalid_project_name_raises_an_exception_in_the_script() {
    let script = "
import asyncio
import faulthandler
import sys
import flyte

if __name__ == '__main__':
    # Not a wait for a time: the longest that a failing test may take.
    faulthandler.dump_traceback_later(60, exit=True)
    names = {sys.argv[2]: 'my project'}
    if sys.argv[1] == 'aio':
        asyncio.run(flyte.init.aio(**names))
    elif sys.argv[1] == 'sync':
        flyte.init(**names)
    else:
        flyte.with_runcontext(**names)
    print('initialised')
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("script.py", script);
        for how in ["aio", "sync", "runcontext"] {
            for what in ["project", "domain"] {
                let ran = sandbox.flyte_run(sdk, &["script.py", "--", how, what]);
                assert_eq!(ran.code, 1, "{sdk} {how} {what}: {ran:?}");
                assert!(!ran.text().contains("initialised"), "{sdk} {how} {what}: {ran:?}");
                let reason = format!("a {what} has only letters, digits, '-' and '_', this one has ' '");
                assert_eq!(ran.all().matches(&reason).count(), 1, "{sdk} {how} {what}: {ran:?}");
                assert!(!ran.stderr.contains("Timeout"), "{sdk} {how} {what}: {ran:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_missing_secret_is_not_retried() {
    let tasks = "
import os
import flyte

lacking_env = flyte.TaskEnvironment(name='lacking_env', secrets='absent')
env = flyte.TaskEnvironment(name='env', secrets='present')

@lacking_env.task(retries=2)
def lacks() -> None:
    print('=> ran')

@env.task(retries=2)
def fails() -> None:
    raise RuntimeError(os.environ['PRESENT'])

execute = type(lacks).execute

async def counted(task, *args, **kwargs):
    print('=> try')
    return await execute(task, *args, **kwargs)

type(lacks).execute = counted
";
    // SDK 2.0.0 does not retry in a local run.
    for (sdk, attempts) in SDKS.into_iter().zip([1, 3]) {
        let sandbox = Sandbox::new();
        sandbox.secret("present", "here", &[]);
        sandbox.file("tasks.py", tasks);
        for (task, attempts) in [("lacks", 1), ("fails", attempts)] {
            let ran = sandbox.flyte_run(sdk, &["tasks.py", task]);
            assert_eq!((ran.code, ran.said()), (1, vec!["try".to_owned(); attempts]), "{sdk} {task}: {ran:?}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_run_context_decides_the_scope() {
    let script = "
import os
import sys
import flyte

env = flyte.TaskEnvironment(name='env', secrets=['which', 'where'])

@env.task
def main() -> None:
    print('=>', os.environ['WHICH'], os.environ['WHERE'])

if __name__ == '__main__':
    flyte.init()
    names = dict(word.split('=') for word in sys.argv[1:])
    flyte.with_runcontext(**names).run(main)
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        for (name, option) in [("which", "-p"), ("where", "-d")] {
            sandbox.secret(name, "organization", &[]);
            sandbox.secret(name, "context", &[option, "context"]);
            sandbox.secret(name, "flag", &[option, "flag"]);
        }
        sandbox.file("script.py", script);
        for (options, names, expected) in [
            (&[][..], &["project=context", "domain=context"][..], "context context"),
            (&[], &["project=context"], "context organization"),
            (&[], &["domain=context", "mode=local"], "organization context"),
            (&["-p", "flag"], &["project=context", "domain=context"], "flag context"),
            (&[], &[], "organization organization"),
        ] {
            let ran = sandbox.flyte_run(sdk, &[options, &["script.py", "--"], names].concat());
            assert_eq!((ran.code, ran.said()), (0, vec![expected.to_owned()]), "{sdk} {names:?}: {ran:?}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_error_for_an_unknown_task_says_how_to_pass_arguments() {
    let script = "
import sys
import flyte

env = flyte.TaskEnvironment(name='env')

@env.task
def show() -> None:
    print('=> ran')

if __name__ == '__main__':
    print(sys.argv[1:])
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("mb.py", script);
        let ran = sandbox.flyte_run(sdk, &["mb.py", "data.csv"]);
        let message = "error: mb.py has no task 'data.csv'; its tasks are show\n\
                       hint: name one: flyte-local run mb.py show\n\
                       hint: arguments of its __main__ block stand after --: flyte-local run mb.py -- data.csv\n";
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (2, "", message), "{sdk}");
        // The command in the hint works.
        let ran = sandbox.flyte_run(sdk, &["mb.py", "--", "data.csv"]);
        assert_eq!((ran.code, ran.text().as_str()), (0, "['data.csv']\n"), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn an_invalid_group_name_does_not_stop_a_task() {
    let tasks = "
import os
import flyte

mount = '/etc/flyte/secrets'
groups = ['.tmp', 'a/b', '/', '.', '..', '../../x', 'x' * 256, 'x' * 2**21, '', 5, '\\ud800', 'team']
env = flyte.TaskEnvironment(name='env', secrets=[flyte.Secret('Key', group, mount) for group in groups])

@env.task
def show() -> None:
    with open(f'{mount}/Key') as file, open(f'{mount}/team/key') as grouped:
        print('=>', file.read(), grouped.read(), sorted(os.listdir(mount)))
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.secret("Key", "value", &[]);
        sandbox.file("tasks.py", tasks);
        let ran = sandbox.flyte_run(sdk, &["tasks.py", "show"]);
        assert_eq!((ran.code, ran.said()), (0, vec!["value value ['Key', 'team']".to_owned()]), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn an_error_in_the_users_file_is_reported_once_and_the_file_is_imported_once() {
    let tasks = "
import os
import flyte

with open('imports', 'a') as file:
    file.write('one\\n')

env = flyte.TaskEnvironment(name='env')

@env.task
def show() -> None:
    print('=> ran')

os.no_such_attribute
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("tasks.py", tasks);
        for arguments in [&["tasks.py", "show"][..], &["tasks.py"]] {
            let ran = sandbox.flyte_run(sdk, arguments);
            assert_eq!((ran.code, ran.said()), (1, vec![]), "{sdk} {arguments:?}: {ran:?}");
            assert_eq!(ran.all().matches("no_such_attribute").count(), 1, "{sdk} {arguments:?}: {ran:?}");
            let counter = sandbox.work().join("imports");
            let imports = std::fs::read_to_string(&counter).expect("the file was imported");
            assert_eq!(imports, "one\n", "{sdk} {arguments:?}");
            std::fs::remove_file(counter).expect("removed");
        }
    }
}
