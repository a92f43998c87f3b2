//! `flyte-local flyte run --tracked`, which reports a local run to a control plane: values of secrets do not leave the machine.

use std::net::TcpListener;

use crate::support::{Ran, Sandbox, python};

const TASKS: &str = "
import os
import flyte

env = flyte.TaskEnvironment(name='env', secrets=[flyte.Secret(key='token', as_env_var='TOKEN')])

@flyte.trace
async def fetch(url: str) -> str:
    return os.environ['TOKEN']

@env.task
async def main(word: str = 'a', how: str = '') -> str:
    print('=> main', how)
    if how == 'trace':
        await fetch('https://example.org')
    return os.environ['TOKEN'] if how == 'returns' else 'done'
";

/// SDK 2.0.0 has no tracked runs.
#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_secret_in_an_input_an_output_or_a_trace_fails_a_tracked_run_by_default() {
    let sandbox = Sandbox::new();
    sandbox.secret("token", "hunter2 hunter2", &[]);
    sandbox.file("tasks.py", TASKS);
    let run = |options: &[&str], arguments: &[&str]| {
        // It accepts no connection, so the SDK gives up on its reports once it is gone.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let port = listener.local_addr().expect("an address").port();
        let is_asked = || listener.accept().is_ok();
        let endpoint = format!("dns:///localhost:{port}");
        let mut command = sandbox.command(&["flyte", "--python"]);
        command.arg(python("newest")).args(options).args(["--endpoint", &endpoint, "--insecure"]);
        command.args(["run", "--tracked", "-p", "p", "-d", "d", "tasks.py", "main"]).args(arguments);
        let ran = if arguments[0].starts_with("--word") {
            let ran = Ran::from(command.output().expect("flyte-local starts"));
            assert!(!is_asked(), "the SDK has sent something: {ran:?}");
            ran
        } else {
            drop(listener);
            Ran::from(command.output().expect("flyte-local starts"))
        };
        let reported = format!("flyte-local: Flyte reports this run, with its inputs and outputs, to {endpoint}");
        assert!(ran.stderr.contains(&reported), "{ran:?}");
        ran
    };
    for (argument, found) in [
        ("--word=hunter2 hunter2", "task env.main is given secret token, in word"),
        ("--how=trace", "the traced function fetch of task env.main returns secret token, in o0"),
        ("--how=returns", "task env.main returns its secret token, in o0"),
    ] {
        let ran = run(&[], &[argument]);
        assert_eq!(ran.code, 1, "{argument}: {ran:?}");
        assert!(ran.stderr.contains(&format!("error: {found}, which --leaks=deny forbids")), "{argument}: {ran:?}");
        assert!(ran.stderr.contains("a task that returns or is given a secret fails (see --leaks)"), "{ran:?}");
    }
    let ran = run(&["--leaks", "warn"], &["--how=returns"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("task env.main returns its secret token, in o0: Flyte stores"), "{ran:?}");
}
