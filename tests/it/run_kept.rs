//! `flyte-local run --leaks`: secrets in what Flyte keeps besides outputs: inputs of tasks, and what traced functions are given
//! and return.

use crate::support::{SDKS, Sandbox};

const SCRIPT: &str = "
import os
import sys
import flyte

env = flyte.TaskEnvironment(name='env', secrets=flyte.Secret('token', as_env_var='TOKEN'))
other_env = flyte.TaskEnvironment(name='other_env')

@flyte.trace
async def fetch(url: str) -> str:
    print('=> fetch')
    return 'a harmless answer'

@flyte.trace
async def login(user: str) -> dict[str, str]:
    return {'Authorization': os.environ['TOKEN']}

@flyte.trace
async def stream(count: int):
    for _ in range(count):
        yield f'item {os.environ[\"TOKEN\"]}'

@other_env.task
async def takes(word: str, token: list[str] = []) -> str:
    print('=> takes')
    return 'done'

@env.task
async def passes_on() -> str:
    return await takes('word', token=[os.environ['TOKEN']])

@env.task
async def awaits() -> str:
    return await takes.aio(os.environ['TOKEN'])

@env.task
async def traces_argument() -> str:
    return await fetch('https://example.org/?token=' + os.environ['TOKEN'])

@env.task
async def traces_result() -> str:
    return str(len(await login('me')))

@env.task
async def traces_items() -> str:
    return str([len(item) async for item in stream(2)])

@other_env.task
async def has_default(token: str = os.environ['TOKEN']) -> str:
    print('=> has_default')
    return 'done'

@env.task
async def harmless() -> str:
    return await takes('word') + await fetch('https://example.org')

if __name__ == '__main__':
    flyte.init()
    if sys.argv[1] == 'runs':
        print('=>', flyte.run(takes, word=os.environ['TOKEN']).outputs()[0])
    else:
        print('=>', flyte.run(globals()[sys.argv[1]]).outputs()[0])
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.secret("token", "hunter2 hunter2", &[]);
    sandbox.file("script.py", SCRIPT);
    sandbox
}

/// By what the script does: the finding, and what Flyte keeps.
const CASES: [(&str, &str, &str); 7] = [
    ("runs", "task other_env.takes is given secret token, in word", "what tasks are given"),
    ("passes_on", "task other_env.takes is given secret token, in token[0]", "what tasks are given"),
    ("awaits", "task other_env.takes is given secret token, in word", "what tasks are given"),
    ("has_default", "task other_env.has_default is given secret token, in token", "what tasks are given"),
    (
        "traces_argument",
        "the traced function fetch of task env.traces_argument is given secret token, in url",
        "what traced functions are given",
    ),
    (
        "traces_result",
        "the traced function login of task env.traces_result returns secret token, in o0['Authorization']",
        "what traced functions return",
    ),
    (
        "traces_items",
        "the traced function stream of task env.traces_items returns secret token, in o0",
        "what traced functions return",
    ),
];

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_secret_in_an_input_or_a_trace_is_reported_once() {
    for sdk in SDKS {
        let sandbox = sandbox();
        for (case, found, kept) in CASES {
            let ran = sandbox.flyte_run(sdk, &["script.py", "--", case]);
            assert_eq!(ran.code, 0, "{sdk} {case}: {ran:?}");
            let line = format!("flyte-local: {found}: Flyte stores {kept} in plain text and shows it in its UI");
            assert_eq!(ran.stderr.lines().collect::<Vec<_>>(), [line], "{sdk} {case}: {ran:?}");
            let ran = sandbox.flyte_run(sdk, &["--leaks", "off", "script.py", "--", case]);
            assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{sdk} {case}: {ran:?}");
        }
        let ran = sandbox.flyte_run(sdk, &["--leaks", "deny", "script.py", "--", "harmless"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{sdk}: {ran:?}");
        assert_eq!(ran.said(), ["takes", "fetch", "donea harmless answer"], "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_denied_input_or_trace_fails_the_task_before_flyte_has_it() {
    for sdk in SDKS {
        let sandbox = sandbox();
        for (case, found, _) in CASES {
            let ran = sandbox.flyte_run(sdk, &["--leaks", "deny", "script.py", "--", case]);
            assert_eq!((ran.code, ran.said()), (1, Vec::new()), "{sdk} {case}: {ran:?}");
            assert!(
                ran.stderr.contains(&format!("error: {found}, which --leaks=deny forbids")),
                "{sdk} {case}: {ran:?}"
            );
        }
        let ran = sandbox.flyte_run(sdk, &["--leaks", "deny", "script.py", "takes", "--word", "hunter2 hunter2"]);
        assert_eq!((ran.code, ran.said()), (1, Vec::new()), "{sdk}: {ran:?}");
        assert!(ran.all().contains("task other_env.takes is given secret token, in word"), "{sdk}: {ran:?}");
    }
}

/// The newest SDK traces functions that are not asynchronous too.
#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn synchronous_traced_functions_and_tasks_are_searched_too() {
    let script = "
import inspect
import os
import flyte

env = flyte.TaskEnvironment(name='env', secrets=flyte.Secret('token', as_env_var='TOKEN'))
traced = {}

def trace(function):
    decorated = flyte.trace(function)
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    assert [kind(decorated) for kind in kinds] == [kind(function) for kind in kinds], function
    assert (decorated.__name__, inspect.signature(decorated)) == (function.__name__, inspect.signature(function))
    return decorated

@trace
def login(user: str) -> str:
    return os.environ['TOKEN']

@trace
def items(count: int):
    for _ in range(count):
        yield os.environ['TOKEN']

@env.task
def takes(token: str) -> str:
    return 'done'

@env.task
def main() -> str:
    return f\"{len(login('me'))} {len(list(items(2)))} {takes(os.environ['TOKEN'])}\"

if __name__ == '__main__':
    assert login('outside a run') == os.environ['TOKEN'] and takes(os.environ['TOKEN']) == 'done'
    print('=>', flyte.run(main).outputs()[0])
";
    let sandbox = sandbox();
    sandbox.file("script.py", script);
    let ran = sandbox.flyte_run("newest", &["script.py"]);
    assert_eq!((ran.code, ran.said()), (0, vec!["15 2 done".to_owned()]), "{ran:?}");
    let lines: Vec<_> = ran.stderr.lines().map(|line| line.split(':').nth(1).unwrap_or_default()).collect();
    let found = [
        " the traced function login of task env.main returns secret token, in o0",
        " the traced function items of task env.main returns secret token, in o0",
        " task env.takes is given secret token, in token",
    ];
    assert_eq!(lines, found, "{ran:?}");
}
