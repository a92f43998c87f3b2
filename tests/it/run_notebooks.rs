//! `flyte-local run`: the tasks of a notebook, which run in a kernel, have their secrets.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::path::Path;

use crate::support::Sandbox;

/// The newest SDK, with the programs that execute notebooks.
const NOTEBOOKS: &str = "notebooks";

const DECLARES: &str = "
import os
import flyte

env = flyte.TaskEnvironment(
    name='notebook', secrets=[flyte.Secret('a', as_env_var='TOKEN'), flyte.Secret('b', mount='/etc/flyte/secrets')]
)

@env.task
def main() -> str:
    with open('/etc/flyte/secrets/b') as file:
        return os.environ['TOKEN'][-1] + file.read()[-1]

@flyte.TaskEnvironment(name='other').task
def other() -> str:
    return dict(os.environ).get('TOKEN', '-')

flyte.init()
";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for key in ["a", "b"] {
        sandbox.secret(key, format!("value of {key}"), &[]);
    }
    sandbox
}

/// Writes a notebook with one cell.
fn notebook(sandbox: &Sandbox, source: &str) {
    let cell = serde_json::json!({
        "cell_type": "code", "execution_count": null, "id": "only", "metadata": {}, "outputs": [], "source": source,
    });
    let kernel = serde_json::json!({ "name": "python3", "display_name": "Python", "language": "python" });
    let content = serde_json::json!({
        "cells": [cell], "metadata": { "kernelspec": kernel }, "nbformat": 4, "nbformat_minor": 5,
    });
    sandbox.file("notebook.ipynb", content.to_string());
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_notebook_that_a_program_executes_has_its_secrets() {
    let shows = "
with open('seen', 'w') as file:
    file.write(' '.join(flyte.run(task).outputs()[0] for task in (main, other)))
";
    let to_notebook = ["--to", "notebook", "--execute", "notebook.ipynb", "--output", "executed.ipynb"];
    let programs: [&[&str]; 4] = [
        &["-m", "jupyter", "execute", "notebook.ipynb"],
        &[&["-m", "jupyter", "nbconvert"], &to_notebook[..]].concat(),
        &[&["-m", "nbconvert"], &to_notebook[..]].concat(),
        &["-m", "papermill", "notebook.ipynb", "executed.ipynb"],
    ];
    for program in programs {
        let sandbox = sandbox();
        notebook(&sandbox, &format!("{DECLARES}{shows}"));
        let ran = sandbox.flyte_run(NOTEBOOKS, program);
        assert_eq!(ran.code, 0, "{program:?}: {ran:?}");
        let seen = std::fs::read_to_string(sandbox.work().join("seen"));
        assert_eq!(seen.expect("the cell ran"), "ab -", "{program:?}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_notebook_whose_secret_is_missing_fails() {
    let sandbox = Sandbox::new();
    notebook(&sandbox, &format!("{DECLARES}flyte.run(main)"));
    let ran = sandbox.flyte_run(NOTEBOOKS, &["-m", "jupyter", "execute", "notebook.ipynb"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("task notebook.main: secret a does not exist in this run's scopes"), "{ran:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_kernel_that_is_interrupted_keeps_its_secrets_and_ends_with_the_run() {
    // The kernel is left running. Each wait ends with a message of the kernel, or after a minute that fails the test.
    let script = "
import sys
from jupyter_client.manager import KernelManager

def messages(client, request):
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message['parent_header'].get('msg_id') == request:
            yield message['msg_type'], message['content']

def output(client, code, on_output=lambda text: None):
    '''Returns what the code prints, and the name of the error that ends it.'''
    printed, error = '', None
    for kind, content in messages(client, client.execute(code)):
        if kind == 'stream' and content['name'] == 'stdout':
            printed += content['text']
            on_output(printed)
        elif kind == 'error':
            error = content['ename']
        elif kind == 'status' and content['execution_state'] == 'idle':
            return printed, error

if __name__ == '__main__':
    manager = KernelManager(kernel_name='python3')
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    print('=>', output(client, open('declares.py').read()))
    looping = 'print(\"ready\", flush=True)\\nwhile True:\\n    main()'
    for _ in range(5):
        interrupted = []
        def interrupt(printed):
            if 'ready' in printed and not interrupted:
                interrupted.append(manager.interrupt_kernel())
        print('=>', output(client, looping, interrupt)[1])
        print('=>', output(client, 'print(main(), other())'))
    print('=>', output(client, 'import os; print(os.getpid())')[0].strip(), flush=True)
    os = __import__('os')
    os._exit(0)
";
    let sandbox = sandbox();
    sandbox.file("declares.py", DECLARES);
    sandbox.file("script.py", script);
    let ran = sandbox.flyte_run(NOTEBOOKS, &["script.py"]);
    let said = ran.said();
    assert_eq!(ran.code, 0, "{ran:?}");
    let (kernel, said) = said.split_last().expect("lines");
    let mut expected = vec!["('', None)".to_owned()];
    for _ in 0..5 {
        expected.extend(["KeyboardInterrupt".to_owned(), "('ab -\\n', None)".to_owned()]);
    }
    assert_eq!(said, expected, "{ran:?}");
    assert!(kernel.parse::<u32>().is_ok(), "{ran:?}");
    assert!(!Path::new("/proc").join(kernel).exists(), "the kernel has ended");
}
