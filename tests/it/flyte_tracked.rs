//! `flyte-local flyte run --tracked`: tasks run here, and Flyte reports them to a stand-in for its control plane
//! (`tests/python/tracked_cluster.py`).

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Ran, Sandbox, python};

const VALUE: &str = "a-value-that-stays-here";

/// A control plane that ends when dropped, and a configuration in the working directory that names it.
struct ControlPlane {
    process: Child,
    journal: PathBuf,
    endpoint: String,
}

impl ControlPlane {
    fn start(sandbox: &Sandbox, more: &str) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/tracked_cluster.py");
        let journal = sandbox.home().join("journal");
        let _ = std::fs::remove_file(&journal);
        let mut command = sandbox.program(python("newest"));
        command.arg(program).arg(&journal);
        let mut process = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a port");
        let endpoint = format!("dns:///localhost:{}", line.trim());
        let configuration = format!(
            "admin:\n  endpoint: {endpoint}\n  insecure: true\ntask:\n  org: o\n  project: p\n  domain: d\n{more}"
        );
        sandbox.file("config.yaml", configuration);
        Self { process, journal, endpoint }
    }

    /// Returns all that was sent: the paths and the bodies.
    fn received(&self) -> String {
        let text = std::fs::read_to_string(&self.journal).unwrap_or_default();
        let calls = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a call"));
        let call = |call: serde_json::Value| {
            let body = STANDARD.decode(call["body"].as_str().expect("base64")).expect("base64");
            format!("{} {}\n", call["path"].as_str().expect("a path"), String::from_utf8_lossy(&body))
        };
        calls.map(call).collect()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.secret("my_secret", VALUE, &["-p", "p", "-d", "d"]);
    let tasks = "import os\nimport flyte\n\nenv = flyte.TaskEnvironment(name='env', secrets=['my_secret'])\n\n\n\
                 @env.task\ndef reads() -> int:\n    return len(os.environ['MY_SECRET'])\n\n\n\
                 @env.task\ndef returns() -> str:\n    return os.environ['MY_SECRET']\n\n\n\
                 @env.task\ndef raises() -> int:\n    raise ValueError('no such key: ' + os.environ['MY_SECRET'])\n";
    sandbox.file("task.py", tasks);
    sandbox
}

fn flyte(sandbox: &Sandbox, options: &[&str], arguments: &[&str]) -> Ran {
    let mut command = sandbox.command(&["flyte", "--python"]);
    command.arg(python("newest")).args(options).arg("run").args(arguments);
    Ran::from(command.output().expect("flyte-local starts"))
}

fn notice(endpoint: &str) -> String {
    format!("flyte-local: Flyte reports this run, with its inputs and outputs, to {endpoint}")
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_task_of_a_tracked_run_that_returns_its_secret_fails_and_no_value_leaves() {
    // Both ways to ask for it: the option, and Flyte's configuration.
    for (option, configuration) in [("--tracked", ""), ("--local", "local:\n  tracked: true\n")] {
        let sandbox = sandbox();
        let control_plane = ControlPlane::start(&sandbox, configuration);
        let said = notice(&control_plane.endpoint) + ": a task that returns or is given a secret fails (see --leaks)\n";
        let ran = flyte(&sandbox, &[], &[option, "task.py", "reads"]);
        assert!(ran.code == 0 && ran.stderr.contains(&said), "{option}: {ran:?}");
        let received = control_plane.received();
        assert!(
            received.contains("TrackedRunService/CreateRun") && received.contains("/upload"),
            "{option}: {received}"
        );
        let ran = flyte(&sandbox, &[], &[option, "task.py", "returns"]);
        let error = "error: task env.returns returns its secret my_secret, in o0, which --leaks=deny forbids\n";
        assert!(ran.code == 1 && ran.stderr.contains(error), "{option}: {ran:?}");
        let ran = flyte(&sandbox, &[], &[option, "task.py", "raises"]);
        let error = "error: task env.raises raises an error with its secret my_secret, in its message, which --leaks=deny forbids\n";
        assert!(ran.code == 1 && ran.stderr.contains(error), "{option}: {ran:?}");
        let received = control_plane.received();
        assert!(!received.contains(VALUE), "{option}: {received}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn inputs_and_traces_of_a_tracked_run_are_searched_before_they_leave() {
    let tasks = "
import os
import flyte

env = flyte.TaskEnvironment(name='env', secrets=['my_secret'])

@flyte.trace
async def login(user: str) -> str:
    return os.environ['MY_SECRET']

@env.task
async def takes(word: str) -> int:
    return len(word)

@env.task
async def passes_on() -> int:
    return await takes(os.environ['MY_SECRET'])

@env.task
async def traces() -> int:
    return len(await login('me'))

@env.task
async def traces_argument() -> int:
    return len(await login(os.environ['MY_SECRET']))
";
    let word = format!("--word={VALUE}");
    let cases: [(&[&str], &str); 4] = [
        (&["takes", &word], "task env.takes is given secret my_secret, in word"),
        (&["passes_on"], "task env.takes is given secret my_secret, in word"),
        (&["traces"], "the traced function login of task env.traces returns secret my_secret, in o0"),
        (
            &["traces_argument"],
            "the traced function login of task env.traces_argument is given secret my_secret, in user",
        ),
    ];
    let sandbox = sandbox();
    sandbox.file("task.py", tasks);
    for (setting, code) in [("", 1), ("--leaks=warn", 0)] {
        for (task, found) in cases {
            let control_plane = ControlPlane::start(&sandbox, "");
            let options: Vec<&str> = [setting].into_iter().filter(|option| !option.is_empty()).collect();
            let ran = flyte(&sandbox, &options, &[&["--tracked", "task.py"], task].concat());
            assert!(ran.code == code && ran.stderr.contains(found), "{setting} {task:?}: {ran:?}");
            let received = control_plane.received();
            // With a warning alone, the stand-in sees what the default keeps from it.
            assert_eq!(received.contains(VALUE), code == 0, "{setting} {task:?}: {ran:?}\n{received}");
            std::fs::remove_file(&control_plane.journal).unwrap_or_default();
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_option_for_leaks_has_precedence_in_a_tracked_run() {
    let sandbox = sandbox();
    let control_plane = ControlPlane::start(&sandbox, "");
    let ran = flyte(&sandbox, &["--leaks=warn"], &["--tracked", "task.py", "returns"]);
    assert!(ran.code == 0 && ran.stderr.contains(&(notice(&control_plane.endpoint) + "\n")), "{ran:?}");
    assert!(ran.stderr.contains("flyte-local: task env.returns returns its secret my_secret"), "{ran:?}");
    // The stand-in sees what the default keeps from it.
    assert!(control_plane.received().contains(VALUE), "{}", control_plane.received());
    let control_plane = ControlPlane::start(&sandbox, "");
    let ran = flyte(&sandbox, &["--leaks=warn"], &["--tracked", "task.py", "raises"]);
    assert!(ran.code == 1 && control_plane.received().contains(VALUE), "{ran:?} {}", control_plane.received());
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_local_run_of_flytes_own_command_reports_nothing() {
    let sandbox = sandbox();
    let control_plane = ControlPlane::start(&sandbox, "");
    let ran = flyte(&sandbox, &[], &["--local", "task.py", "returns"]);
    assert!(ran.code == 0 && !ran.stderr.contains("Flyte reports this run"), "{ran:?}");
    assert_eq!(control_plane.received(), "");
}
