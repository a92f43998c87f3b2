//! `flyte-local run`: apps that a script, a task or a command serves get their own secrets and no others.
//!
//! Every app is asked over HTTP on the loopback, and answers with the variables that the request finds.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};

use crate::support::{Ran, SDKS, Sandbox, python, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// The environments with the oldest and the newest SDK, and FastAPI.
const WITH_FASTAPI: [&str; 2] = ["apps-oldest", "apps"];

/// A sandbox with the apps, and with these secrets.
fn sandbox(keys: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new().with_tasks();
    for key in keys {
        sandbox.secret(key, format!("value of {key}"), &[]);
    }
    sandbox
}

/// Returns the variables that an app, a task or a request prints to have found: its name, and its variables.
fn found(ran: &Ran) -> Vec<(String, Value)> {
    let of_line = |line: String| {
        let (name, found) = line.split_once(" {").expect("JSON");
        let found: Value = serde_json::from_str(&format!("{{{found}")).expect("JSON");
        (name.to_owned(), found)
    };
    ran.said().into_iter().map(of_line).collect()
}

/// Returns what an app answers.
fn ask(endpoint: &str) -> Value {
    let mut connection = TcpStream::connect(endpoint).expect("it listens");
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
    let mut reply = String::new();
    connection.read_to_string(&mut reply).expect("text");
    let (_, body) = reply.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

/// Returns a port on which nothing listens.
fn free_port() -> u16 {
    TcpListener::bind("localhost:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// An app that `flyte-local` serves until it is interrupted.
struct Served {
    flyte_local: Child,
    endpoint: String,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Served {
    /// Starts the command, and waits until it says where it serves.
    fn start(sandbox: &Sandbox, sdk: &str, arguments: &[&str]) -> Self {
        let mut command = sandbox.flyte_command(sdk, arguments);
        let mut flyte_local = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut stderr = BufReader::new(flyte_local.stderr.take().expect("piped"));
        let mut said = String::new();
        let line = loop {
            let before = said.len();
            assert_ne!(stderr.read_line(&mut said).expect("text"), 0, "{sdk}: it ended: {said}");
            if said[before..].contains(" is served at ") {
                break &said[before..];
            }
        };
        let endpoint = line.split_whitespace().find_map(|word| word.strip_prefix("http://")).expect("an address");
        Self { endpoint: endpoint.to_owned(), flyte_local, stderr }
    }

    /// Sends a signal to flyte-local. Returns the exit code, and the rest of standard error.
    fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.flyte_local), signal).expect("it runs");
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).expect("text");
        (self.flyte_local.wait().expect("ours").code(), rest)
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn apps_of_each_kind_that_are_served_together_find_their_own_secrets() {
    let keys = ["first-key", "second-key", "command-key", "arguments-key", "tasks-key", "other", "tasks", "app-file"];
    for sdk in SDKS {
        let ran = sandbox(&keys).flyte_run(sdk, &["apps/together.py"]);
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let found_by = |name, variables: &[(&str, &str)]| (name, json!(BTreeMap::from_iter(variables.iter().copied())));
        let second = [("TOKEN", "value of second-key"), ("SHARED", "parameter of second")];
        let tasks = [("TOKEN", "value of tasks-key"), ("TASKS", "value of tasks")];
        let command = [("TOKEN", "value of command-key"), ("OTHER", "value of other"), ("PLAIN", "plain of command")];
        let first = [("TOKEN", "value of first-key"), ("SHARED", "parameter of first"), ("PLAIN", "plain of first")];
        let apps = [
            found_by("first", &first),
            found_by("second", &[&second[..], &[("PLAIN", "plain of the call")]].concat()),
            found_by("without", &[]),
            found_by("command", &command),
            found_by("arguments", &[("TOKEN", "value of arguments-key")]),
        ];
        // A task that serves an app keeps its own secrets, and the app has its own there too.
        let in_a_task = [found_by("second", &second), found_by("serves", &tasks)];
        let expected = [&apps[..], &[found_by("main", &tasks)], &apps[..], &in_a_task].concat();
        let mut found = found(&ran);
        let (_, outside) = found.pop().expect("what code outside apps and tasks finds");
        assert_eq!(outside["variables"]["OTHER"], "value of other", "{sdk}: {ran:?}");
        let found: Vec<_> = found.iter().map(|(name, found)| (name.as_str(), found["variables"].clone())).collect();
        assert_eq!(found, expected, "{sdk}: {ran:?}");
        let reads = "flyte-local: app without reads TOKEN, which holds secret first-key of environment first: ";
        assert!(ran.stderr.contains(reads), "{sdk}: {ran:?}");
        assert!(!ran.stderr.contains("ends with this run"), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn requests_to_fastapi_apps_find_the_secrets_of_their_app() {
    for sdk in WITH_FASTAPI {
        let ran = sandbox(&["first-key", "second-key"]).flyte_run(sdk, &["apps/fastapi_apps.py"]);
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let mut expected = Vec::new();
        for way in ["startup", "sync", "async", "thread", "timer"] {
            for app in ["first", "second"] {
                expected.push((format!("{app} {way}"), json!(format!("value of {app}-key"))));
            }
        }
        let token = |(name, found): (String, Value)| (name, found["variables"]["TOKEN"].clone());
        assert_eq!(found(&ran).into_iter().map(token).collect::<Vec<_>>(), expected, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_webhook_app_has_its_secrets_and_an_sdk_without_it_says_so() {
    let [oldest, newest] = WITH_FASTAPI;
    let sandbox = sandbox(&["hook-key"]);
    let ran = sandbox.flyte_run(newest, &["apps/webhook.py"]);
    let token = json!({ "TOKEN": "value of hook-key" });
    let expected = vec![("hook".to_owned(), json!({ "variables": token, "file": null }))];
    assert_eq!((ran.code, found(&ran)), (0, expected), "{ran:?}");
    let ran = sandbox.flyte_run(oldest, &["apps/webhook.py"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.all().contains("ImportError: cannot import name 'FlyteWebhookAppEnvironment'"), "{ran:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_missing_secret_fails_the_call_that_serves_before_the_app_starts() {
    for sdk in SDKS {
        let ran = sandbox(&[]).flyte_run(sdk, &["apps/lacking.py"]);
        let fails = |app| {
            let line = format!("SecretUnavailable app {app}: secret lacking-key does not exist in this run's scopes");
            [vec![line; 3], vec!["listens: False".to_owned()]].concat()
        };
        let expected = [fails("server"), fails("command"), vec!["started: False".to_owned()]].concat();
        assert_eq!(ran.said(), expected, "{sdk}: {ran:?}");
        let error = "error: app command: secret lacking-key does not exist in this run's scopes\n\
                     searched: organization\n\
                     hint: create it: flyte-local create secret lacking-key\n";
        assert_eq!((ran.code, ran.stderr.as_str()), (1, error), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_file_with_an_app_and_no_task_is_served_until_ctrl_c() {
    for sdk in SDKS {
        let sandbox = sandbox(&["alone-key"]);
        sandbox.secret("arguments-key", "value of arguments-key", &[]);
        for (arguments, key) in [
            (&["apps/alone.py"][..], "alone-key"),
            (&["apps/alone.py", "app"], "alone-key"),
            (&["apps/alone.py", "alone"], "alone-key"),
            (&["apps/together.py", "arguments"], "arguments-key"),
            (&["--shared-secrets", "apps/alone.py"], "alone-key"),
        ] {
            let served = Served::start(&sandbox, sdk, arguments);
            let expected = json!({ "TOKEN": format!("value of {key}") });
            assert_eq!(ask(&served.endpoint)["variables"], expected, "{sdk} {arguments:?}");
            assert_eq!(served.end(Signal::INT), (Some(0), String::new()), "{sdk} {arguments:?}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn an_app_that_cannot_be_served_is_an_error_in_one_line() {
    for sdk in SDKS {
        let sandbox = sandbox(&["alone-key"]);
        let taken = TcpListener::bind("localhost:0").expect("a free port");
        let port = taken.local_addr().expect("it listens").port();
        let mut command = sandbox.flyte_command(sdk, &["apps/alone.py"]);
        let ran = Ran::from(command.env("APP_PORT", port.to_string()).output().expect("it starts"));
        let error = format!("error: app alone cannot listen on port {port} of localhost: another program does\n");
        assert_eq!((ran.code, ran.stderr), (1, error), "{sdk}");

        for (arguments, code, error) in [
            (&["apps/alone.py", "app", "x"][..], 2, "error: app alone takes no arguments, so not 'x'\n"),
            (
                &["apps/alone.py", "other"],
                2,
                "error: apps/alone.py has no app 'other'; its apps are app\n\
                 hint: name one: flyte-local run apps/alone.py app\n",
            ),
            (
                &["apps/together.py", "other"],
                2,
                "error: apps/together.py has no task 'other'; its tasks are main, serves, and its apps are arguments, \
                 command, first, second, without\n\
                 hint: name one: flyte-local run apps/together.py main\n\
                 hint: arguments of its __main__ block stand after --: flyte-local run apps/together.py -- other\n",
            ),
            (
                &["apps/left.py", "other"],
                2,
                "error: apps/left.py has no app 'other'; its apps are ended, left\n\
                 hint: name one: flyte-local run apps/left.py ended\n\
                 hint: arguments of its __main__ block stand after --: flyte-local run apps/left.py -- other\n",
            ),
        ] {
            let ran = sandbox.flyte_run(sdk, arguments);
            assert_eq!((ran.code, ran.stderr.as_str()), (code, error), "{sdk} {arguments:?}");
        }
        sandbox.file(
            "connector.py",
            "import flyte.app\napp = flyte.app.ConnectorEnvironment(name='connector')\n\
             if __name__ == '__main__':\n    flyte.serve(app)\n",
        );
        let ran = sandbox.flyte_run(sdk, &["connector.py"]);
        let error = "ValueError: AppEnvironment 'connector' has no server function, command, or args defined. \
                     Cannot serve locally.";
        assert!(ran.code == 1 && ran.all().contains(error), "{sdk}: {ran:?}");
        sandbox.file("ends.py", "import flyte.app\napp = flyte.app.AppEnvironment(name='ends', command=['true'])\n");
        let ran = sandbox.flyte_run(sdk, &["ends.py"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (1, "error: app ends ended by itself\n"), "{sdk}");
    }
}

/// The program of an app declares what another environment has, as one that imports the user's module does.
const PROGRAMS: &str = "
import subprocess
import sys
import urllib.request
sys.path.append('apps')
import flyte
from answer import free_port, seen, serve

tasks = flyte.TaskEnvironment(name='tasks', secrets=[flyte.Secret('other', as_env_var='OTHER')])

if __name__ == '__main__':
    import asyncio
    import flyte.app
    if sys.argv[1:] == ['seen']:
        print(seen())
        sys.exit()
    if sys.argv[1:]:
        asyncio.run(serve(int(sys.argv[1])))
    secrets = [flyte.Secret('first-key', as_env_var='TOKEN')]
    port = free_port()
    command = flyte.app.AppEnvironment(
        name='command', port=port, secrets=secrets, command=[sys.executable, __file__, str(port)]
    )
    function = flyte.app.AppEnvironment(name='function', port=free_port(), secrets=secrets)

    @function.server
    async def server():
        print('=> program', subprocess.check_output([sys.executable, __file__, 'seen'], text=True), flush=True)
        await serve(function.port.port)

    flyte.init()
    for app in (command, function):
        handle = flyte.serve(app)
        handle.activate(wait=True)
        print('=>', app.name, urllib.request.urlopen(handle.endpoint).read().decode(), flush=True)
        handle.deactivate(wait=True)
";

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn programs_of_an_app_find_its_secrets_even_if_they_declare_others() {
    for sdk in SDKS {
        let sandbox = sandbox(&["first-key", "other"]);
        sandbox.file("script.py", PROGRAMS);
        let ran = sandbox.flyte_run(sdk, &["script.py"]);
        let variables = json!({ "TOKEN": "value of first-key" });
        let found = found(&ran).into_iter().map(|(name, found)| (name, found["variables"].clone()));
        let expected = ["command", "program", "function"].map(|name| (name.to_owned(), variables.clone()));
        assert_eq!((ran.code, Vec::from_iter(found)), (0, expected.to_vec()), "{sdk}: {ran:?}");
    }
}

const AGAIN: &str = "
import sys
import urllib.request
sys.path.append('apps')
import flyte
import flyte.app
from answer import free_port, serve

secrets = [flyte.Secret('first-key', as_env_var='TOKEN')]
app = flyte.app.AppEnvironment(name='again', port=free_port(), secrets=secrets)

@app.server
async def server():
    await serve(app.port.port)

if __name__ == '__main__':
    flyte.init()
    handle = flyte.with_servecontext(env_vars={'PLAIN': 'of the call', 'TOKEN': 'no secret'}).serve(app)
    for time in ('once', 'again'):
        handle.activate(wait=True)
        print('=>', time, urllib.request.urlopen(handle.endpoint).read().decode(), flush=True)
        handle.deactivate(wait=True)
";

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn an_app_that_is_activated_again_has_its_secrets_and_variables() {
    for sdk in SDKS {
        let sandbox = sandbox(&["first-key"]);
        sandbox.file("script.py", AGAIN);
        let ran = sandbox.flyte_run(sdk, &["script.py"]);
        let variables = json!({ "TOKEN": "value of first-key", "PLAIN": "of the call" });
        let found = found(&ran).into_iter().map(|(time, found)| (time, found["variables"].clone()));
        let expected = ["once", "again"].map(|time| (time.to_owned(), variables.clone()));
        assert_eq!((ran.code, Vec::from_iter(found)), (0, expected.to_vec()), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn apps_that_end_with_their_script_are_reported() {
    for sdk in SDKS {
        let ran = sandbox(&[]).flyte_run(sdk, &["apps/left.py"]);
        let [endpoint] = &ran.said()[..] else { panic!("{sdk}: {ran:?}") };
        let notice = format!("flyte-local: app left at {endpoint} ends with this run; on a cluster, it would stay\n");
        assert_eq!((ran.code, &ran.stderr), (0, &notice), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_dry_run_lists_the_secrets_of_an_app() {
    for sdk in SDKS {
        let sandbox = sandbox(&["second-key"]);
        for (arguments, keys) in [
            (&["apps/alone.py"][..], &["alone-key missing"][..]),
            (&["apps/alone.py", "app"], &["alone-key missing"]),
            (&["apps/together.py", "second"], &["second-key found"]),
            (&["apps/together.py", "command"], &["command-key missing", "other missing"]),
        ] {
            let arguments = [&["--output-format", "json", "--dry-run"], arguments].concat();
            let ran = sandbox.flyte_run(sdk, &arguments);
            let rows: Vec<Value> = serde_json::from_str(&ran.text()).expect("JSON");
            let text = |row: &Value, member: &str| row[member].as_str().expect("text").to_owned();
            let listed: Vec<_> =
                rows.iter().map(|row| format!("{} {}", text(row, "key"), text(row, "status"))).collect();
            assert_eq!(listed, keys, "{sdk} {arguments:?}: {ran:?}");
        }
        let ran = sandbox.flyte_run(sdk, &["--dry-run", "apps/alone.py", "other"]);
        assert_eq!(ran.code, 2, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_missing_secret_is_shown_plainly_by_flytes_own_command() {
    for sdk in SDKS {
        let sandbox = sandbox(&[]);
        sandbox.file("flyte_command.py", "from flyte.cli.main import main\nif __name__ == '__main__':\n    main()\n");
        let serve = ["serve", "--local", "apps/alone.py", "app"];
        let in_a_script = sandbox.flyte_run(sdk, &[&["flyte_command.py", "--"], &serve[..]].concat());
        let mut command = sandbox.command(&["flyte", "--python"]);
        let as_a_command = Ran::from(command.arg(python(sdk)).args(serve).output().expect("it starts"));
        let error = "error: app alone: secret alone-key does not exist in this run's scopes\n\
                     searched: organization\n\
                     hint: create it: flyte-local create secret alone-key\n";
        for ran in [in_a_script, as_a_command] {
            assert_eq!((ran.code, ran.stderr.as_str()), (1, error), "{sdk}: {ran:?}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn flytes_own_command_serves_an_app_with_its_secrets() {
    for sdk in SDKS {
        let sandbox = sandbox(&["alone-key"]);
        let port = free_port().to_string();
        let mut command = sandbox.command(&["flyte", "--no-mask", "--python"]);
        command.arg(python(sdk)).args(["serve", "--local", "apps/alone.py", "app"]).env("APP_PORT", &port);
        let log = sandbox.work().join("log");
        let output = || std::fs::File::options().create(true).append(true).open(&log).expect("made");
        let mut flyte = command.stdout(output()).stderr(output()).spawn().expect("it starts");
        let said = || std::fs::read_to_string(&log).expect("text");
        until("the app is ready", || {
            assert!(flyte.try_wait().expect("ours").is_none(), "{sdk}: it ended: {}", said());
            said().contains("App is ready!")
        });
        assert_eq!(ask(&format!("localhost:{port}"))["variables"], json!({ "TOKEN": "value of alone-key" }), "{sdk}");
        kill_process(Pid::from_child(&flyte), Signal::TERM).expect("it runs");
        assert!(!flyte.wait().expect("ours").success(), "{sdk}: {}", said());
    }
}
