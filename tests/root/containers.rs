//! Secrets in the containers of tasks, with a real Docker daemon.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::canary::Canary;
use crate::support::daemon::{BUSYBOX, Daemon, NO_SHELL, SPEAKER, runtime_directory};
use crate::support::{Ran, SDKS, Sandbox, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};

/// A text with everything that a shell could take for its own.
const TEXT: &str = "it's \"$HOME\" `id` \\n \\' %s\ttwo\nlines ! # ~ * ä€😀 \u{1}\u{88} $(id);&|\n\n";

/// A sandbox in memory, with a vault.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::in_memory();
    sandbox.ok(&["init"]);
    sandbox
}

/// Returns a file with one `ContainerTask`, which a `__main__` block runs and whose output it prints.
fn task(image: &str, command: &str, declared: &str) -> String {
    format!(
        "import flyte\n\
         from flyte.extras import ContainerTask\n\
         show = ContainerTask(\n    \
             name='show', image='{image}', outputs={{'out': str}}, env_vars={{'PLAIN': 'it is', 'TOKEN': 'replaced'}},\n    \
             command={command},\n    secrets=[{declared}],\n)\n\
         env = flyte.TaskEnvironment.from_task('containers', show)\n\
         other = flyte.TaskEnvironment(name='other', secrets=[flyte.Secret('other', as_env_var='OTHER')])\n\
         if __name__ == '__main__':\n    \
             flyte.init()\n    \
             print('=> ' + str(flyte.run(show).outputs()[0]))\n"
    )
}

/// Returns the command of a container whose output is what `script` prints.
fn shell(script: &str) -> String {
    format!("['/bin/sh', '-c', {:?}]", format!("({script}) >/var/outputs/out 2>&1"))
}

/// Runs `flyte-local run`.
///
/// The oldest SDK has the daemon remove a container when it ends, and asks for its output and its exit code after that. It runs
/// again if it came too late.
fn run(daemon: &Daemon, sandbox: &Sandbox, sdk: &str, arguments: &[&str]) -> Ran {
    ran_in_time(|| daemon.run(sandbox, sdk, arguments))
}

fn ran_in_time(command: impl Fn() -> Command) -> Ran {
    in_time(|| Ran::from(command().output().expect("flyte-local starts")))
}

fn in_time(run: impl Fn() -> Ran) -> Ran {
    let too_late =
        |ran: &Ran| ["No such container", "marked for removal"].iter().any(|words| ran.all().contains(words));
    std::iter::repeat_with(run).take(20).find(|ran| !too_late(ran)).expect("in time once")
}

/// Asserts that nothing is left of a run in memory, and nothing of its containers.
fn nothing_left(daemon: &Daemon, sandbox: &Sandbox) {
    let left: Vec<_> = std::fs::read_dir(runtime_directory(sandbox)).expect("listed").collect();
    assert!(left.is_empty(), "{left:?}");
    until("no container is left", || daemon.containers().is_empty());
}

/// Returns the files below a directory that contain the value of the canary.
fn files_with(canary: &Canary, directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut unvisited = vec![directory.to_owned()];
    while let Some(directory) = unvisited.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => unvisited.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    let content = std::fs::read(entry.path()).unwrap_or_default();
                    let here = canary.find(&content);
                    found.extend(here.iter().map(|(at, form)| format!("{}: {form} at {at}", entry.path().display())));
                }
                _ => {}
            }
        }
    }
    found
}

/// `scripts/test` runs the others if this one passes.
#[test]
#[ignore = "needs root and a Docker daemon: scripts/test"]
fn a_daemon_runs_a_container() {
    let daemon = Daemon::start();
    let ran = daemon.client(&["run", "--rm", BUSYBOX, "printf", "it runs"]);
    assert_eq!((ran.code, ran.text().as_str()), (0, "it runs"), "{ran:?}");
}

#[test]
#[ignore = "needs root and a Docker daemon: scripts/test"]
fn a_container_has_the_secrets_of_its_task_and_no_others() {
    let (daemon, sandbox) = (Daemon::start(), sandbox());
    let binary: Vec<u8> = (0..=255).collect();
    for (name, value) in
        [("token", TEXT.as_bytes()), ("key-file", &binary), ("grouped", b"in a group"), ("other", b"not here")]
    {
        sandbox.secret(name, value, &[]);
    }
    let declared = "flyte.Secret('token', as_env_var='TOKEN'), flyte.Secret('key-file', mount='/etc/flyte/secrets'), \
                    flyte.Secret('grouped', group='g', mount='/etc/flyte/secrets')";
    let script = "printf %s \"$TOKEN\" | base64 | tr -d '\\n'; echo; base64 /etc/flyte/secrets/key-file | tr -d '\\n'; echo; \
                  ls -A /etc/flyte/secrets | tr '\\n' ' '; echo; cat /etc/flyte/secrets/g/grouped; echo; \
                  su user -c 'cat /etc/flyte/secrets/grouped; id -u'; \
                  touch /etc/flyte/secrets/new || echo read-only; echo \"$OTHER.$PLAIN.$IMAGE\"; \
                  env | grep ^FLYTE_SECRETS | sort; cat /proc/1/cmdline | tr '\\0' ' '";
    sandbox.file("task.py", task(BUSYBOX, &shell(script), declared));
    for sdk in SDKS {
        let ran = run(&daemon, &sandbox, sdk, &["--leaks=off", "task.py"]);
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let text = ran.text();
        let (_, said) = text.split_once("=> ").expect("it printed");
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(said[0], STANDARD.encode(TEXT), "{sdk}: the variable");
        assert_eq!(said[1], STANDARD.encode(&binary), "{sdk}: the file");
        assert_eq!(said[2..5], ["g grouped key-file ", "in a group", "in a group1234"], "{sdk}");
        assert!(said[5].contains("Read-only file system"), "{sdk}: {said:?}");
        assert_eq!(said[6..8], ["read-only", ".it is.its-own"], "{sdk}");
        assert_eq!(
            said[8..11],
            [
                "FLYTE_SECRETS_DEFAULT_DIR=/etc/flyte/secrets",
                "FLYTE_SECRETS_ENV_PREFIX=_UNION_",
                "FLYTE_SECRETS_FILE_PREFIX="
            ],
            "{sdk}"
        );
        assert!(said[11].starts_with("/bin/sh -c (printf"), "{sdk}: the first process is the task's own: {said:?}");
        nothing_left(&daemon, &sandbox);
    }
}

#[test]
#[ignore = "needs root and a Docker daemon: scripts/test"]
fn a_value_is_in_no_argument_and_on_no_disk_while_its_container_runs() {
    let daemon = Daemon::start();
    for sdk in SDKS {
        let (sandbox, canary) = (sandbox(), Canary::new());
        sandbox.secret("token", canary.line(), &[]);
        sandbox.secret("file", canary.value(), &[]);
        let declared = "flyte.Secret('token', as_env_var='TOKEN'), flyte.Secret('file', mount='/etc/flyte/secrets')";
        let script = "[ -s /etc/flyte/secrets/file ] && [ -n \"$TOKEN\" ] && touch /tmp/ready; \
                      while ! [ -e /tmp/go ]; do sleep 0.1; done; printf done";
        sandbox.file("task.py", task(BUSYBOX, &shell(script), declared));
        let ran = in_time(|| {
            let mut command = daemon.run(&sandbox, sdk, &["task.py"]);
            let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
            let running = running.expect("it starts");
            let id = daemon.ready();
            let inspected = daemon.client(&["inspect", &id]).text();
            assert!(inspected.contains("FLYTE_SECRETS_ENV_PREFIX"), "{inspected}");
            assert_eq!(canary.find(inspected.as_bytes()), [], "{sdk}: docker inspect");
            for directory in daemon.kept() {
                assert_eq!(files_with(&canary, &directory), [""; 0], "{sdk}");
            }
            for process in std::fs::read_dir("/proc").expect("listed").flatten() {
                let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                assert_eq!(canary.find(&arguments), [], "{sdk}: {}", String::from_utf8_lossy(&arguments));
            }
            // Only the user can reach the files in memory.
            let base = runtime_directory(&sandbox).join("flyte-local");
            let mode = std::os::unix::fs::MetadataExt::mode(&base.metadata().expect("it is there"));
            assert_eq!(mode & 0o777, 0o700, "{sdk}");
            assert!(!files_with(&canary, &base).is_empty(), "{sdk}: the search finds what is there");
            assert_eq!(daemon.client(&["exec", &id, "touch", "/tmp/go"]).code, 0);
            Ran::from(running.wait_with_output().expect("it ends"))
        });
        assert_eq!((ran.code, ran.said()), (0, vec!["done".to_owned()]), "{sdk}: {ran:?}");
        nothing_left(&daemon, &sandbox);
    }
}

#[test]
#[ignore = "needs root and a Docker daemon: scripts/test"]
fn a_missing_secret_fails_the_task_before_its_container_is_made() {
    let (daemon, sandbox) = (Daemon::start(), sandbox());
    for sdk in SDKS {
        for declared in ["as_env_var='TOKEN'", "mount='/etc/flyte/secrets'"] {
            sandbox.file("task.py", task(BUSYBOX, &shell("true"), &format!("flyte.Secret('absent', {declared})")));
            let ran = run(&daemon, &sandbox, sdk, &["task.py"]);
            assert_eq!(ran.code, 1, "{sdk}: {ran:?}");
            let words = "error: task show: secret absent does not exist in this run's scopes\n";
            assert!(ran.stderr.contains(words), "{sdk}: {ran:?}");
            nothing_left(&daemon, &sandbox);
        }
    }
    let made = daemon.client(&["events", "--since=0", "--until=0s", "--filter=event=create"]);
    assert_eq!((made.code, made.text().as_str()), (0, ""), "{made:?}");
}

#[test]
#[ignore = "needs root and a Docker daemon: scripts/test"]
fn an_image_keeps_its_entry_point_and_arguments() {
    let (daemon, sandbox) = (Daemon::start(), sandbox());
    sandbox.secret("token", "t0ken", &[]);
    for sdk in SDKS {
        for (command, said) in [("[]", "t0ken:by default"), ("['a', 'b c']", "t0ken:a b c")] {
            sandbox.file("task.py", task(SPEAKER, command, "flyte.Secret('token', as_env_var='TOKEN')"));
            let ran = run(&daemon, &sandbox, sdk, &["--leaks=off", "task.py"]);
            assert_eq!((ran.code, ran.said()), (0, vec![said.to_owned()]), "{sdk}: {ran:?}");
        }
    }
}

#[test]
#[ignore = "needs root and a Docker daemon: scripts/test"]
fn an_image_without_a_shell_has_file_secrets_only() {
    let (daemon, sandbox) = (Daemon::start(), sandbox());
    sandbox.secret("token", "t0ken", &[]);
    let command = "['/cp', '/etc/flyte/secrets/token', '/var/outputs/out']";
    for sdk in SDKS {
        sandbox.file("task.py", task(NO_SHELL, command, "flyte.Secret('token', mount='/etc/flyte/secrets')"));
        let ran = run(&daemon, &sandbox, sdk, &["--leaks=off", "task.py"]);
        assert_eq!((ran.code, ran.said()), (0, vec!["t0ken".to_owned()]), "{sdk}: {ran:?}");
        sandbox.file("task.py", task(NO_SHELL, command, "flyte.Secret('token', as_env_var='TOKEN')"));
        let ran = run(&daemon, &sandbox, sdk, &["--leaks=off", "task.py"]);
        assert_eq!(ran.code, 1, "{sdk}: {ran:?}");
        let words = "error: task show: its image has no /bin/sh, which sets the variables of its secrets in the container\n\
                     hint: declare them as files: flyte.Secret(key=\"token\", mount=\"/etc/flyte/secrets\")\n";
        assert!(ran.stderr.contains(words), "{sdk}: {ran:?}");
        nothing_left(&daemon, &sandbox);
    }
}

#[test]
#[ignore = "needs root and a Docker daemon: scripts/test"]
fn a_daemon_that_does_not_see_the_memory_of_this_machine_is_named() {
    let (daemon, sandbox) = (Daemon::without_shared_memory(), sandbox());
    sandbox.secret("token", "t0ken", &[]);
    for sdk in SDKS {
        for declared in ["as_env_var='TOKEN'", "mount='/etc/flyte/secrets'"] {
            let program = shell("echo started; cat /etc/flyte/secrets/*");
            sandbox.file("task.py", task(BUSYBOX, &program, &format!("flyte.Secret('token', {declared})")));
            let ran = run(&daemon, &sandbox, sdk, &["--leaks=off", "task.py"]);
            assert_eq!(ran.code, 1, "{sdk}: {ran:?}");
            let runtime = runtime_directory(&sandbox);
            let words =
                format!("error: task show: the Docker daemon does not see {}/flyte-local/run-", runtime.display());
            assert!(ran.stderr.contains(&words), "{sdk}: {ran:?}");
            assert!(ran.stderr.contains("\nhint: use a daemon of this machine"), "{sdk}: {ran:?}");
            nothing_left(&daemon, &sandbox);
        }
    }
}

#[test]
#[ignore = "needs root and a Docker daemon: scripts/test"]
fn the_output_of_a_container_is_masked() {
    let (daemon, sandbox) = (Daemon::start(), sandbox());
    sandbox.secret("token", "t0ken-of-the-task", &[]);
    let program = "['/bin/sh', '-c', 'echo said-$TOKEN; printf none >/var/outputs/out']";
    sandbox.file("task.py", task(BUSYBOX, program, "flyte.Secret('token', as_env_var='TOKEN')"));
    for sdk in SDKS {
        let ran = ran_in_time(|| {
            let command = daemon.run(&sandbox, sdk, &["task.py"]);
            let arguments = command.get_args().filter(|argument| *argument != "--no-mask");
            let mut masked = sandbox.command(&arguments.collect::<Vec<_>>());
            masked.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("LOG_LEVEL", "10");
            masked
        });
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        assert!(ran.all().contains("said-*****") && !ran.all().contains("t0ken"), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs root and a Docker daemon: scripts/test"]
fn an_interrupted_or_killed_run_leaves_no_secret() {
    let (daemon, sandbox) = (Daemon::start(), sandbox());
    sandbox.secret("token", "t0ken", &[]);
    sandbox.secret("file", "of a file", &[]);
    let declared = "flyte.Secret('token', as_env_var='TOKEN'), flyte.Secret('file', mount='/etc/flyte/secrets')";
    sandbox.file("task.py", task(BUSYBOX, &shell("touch /tmp/ready; while true; do sleep 0.1; done"), declared));
    let base = runtime_directory(&sandbox).join("flyte-local");
    for sdk in SDKS {
        for signal in [Signal::INT, Signal::KILL] {
            let mut running = daemon.run(&sandbox, sdk, &["task.py"]);
            let mut running = running.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
            let id = daemon.ready();
            let files = ["exec", id.as_str(), "ls", "/etc/flyte/secrets", "/run/flyte-local-variables"];
            assert_eq!(
                daemon.client(&files).text(),
                "/run/flyte-local-variables\n\n/etc/flyte/secrets:\nfile\n",
                "{sdk}"
            );
            kill_process(Pid::from_child(&running), signal).expect("sent");
            running.wait().expect("it ends");
            until("nothing is in memory", || !base.exists());
            if signal == Signal::KILL {
                // It goes on, without its files.
                assert_eq!(daemon.client(&["exec", &id, "ls", "/etc/flyte/secrets"]).text(), "", "{sdk}");
                assert_eq!(daemon.client(&["rm", "--force", &id]).code, 0, "{sdk}");
            }
            assert!(daemon.containers().is_empty(), "{sdk}: {signal:?}");
        }
    }
}

#[test]
#[ignore = "needs root and a Docker daemon: scripts/test"]
fn shell_tasks_and_sandboxes_have_their_secrets() {
    let (daemon, sandbox) = (Daemon::start(), sandbox());
    sandbox.secret("token", "t0ken", &[]);
    sandbox.secret("file", "of a file", &[]);
    sandbox.file(
        "task.py",
        format!(
            "import asyncio, flyte, flyte.sandbox\n\
             from flyte.extras import shell\n\
             declared = [flyte.Secret('token', as_env_var='TOKEN'), flyte.Secret('file', mount='/etc/flyte/secrets')]\n\
             tool = shell.create(\n    \
                 name='tool', image='{BUSYBOX}', inputs={{'x': int}}, outputs={{'text': shell.Stdout(type=str)}}, shell='/bin/sh',\n    \
                 script='printf %s \"$TOKEN {{inputs.x}} \"; cat /etc/flyte/secrets/file', secrets=declared,\n\
             )\n\
             box = flyte.sandbox.create(\n    \
                 name='box', image='{BUSYBOX}', outputs={{'text': str}}, secrets=declared,\n    \
                 command=['/bin/sh', '-c', '(printf \"$TOKEN \"; cat /etc/flyte/secrets/file) >/var/outputs/text'],\n\
             )\n\
             env = flyte.TaskEnvironment(name='main', depends_on=[tool.env])\n\
             @env.task\n\
             async def main() -> list[str]:\n    \
                 return [await tool(x=3), str(await box.run.aio())]\n"
        ),
    );
    let ran = run(&daemon, &sandbox, "newest", &["--leaks=off", "task.py", "main"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.all().contains("t0ken 3 of a file") && ran.all().contains("t0ken of a file"), "{ran:?}");
    nothing_left(&daemon, &sandbox);
}

#[test]
#[ignore = "needs root and a Docker daemon: scripts/test"]
fn containers_at_the_same_time_have_their_own_secrets_and_those_of_other_code_have_none() {
    let (daemon, sandbox) = (Daemon::start(), sandbox());
    for name in ["one", "two", "caller"] {
        sandbox.secret(name, format!("value of {name}"), &[]);
    }
    // Each waits for the other before it reads its secret.
    sandbox.file(
        "task.py",
        format!(
            "import asyncio, os, tempfile\nimport docker, flyte\n\
             from flyte.extras import ContainerTask\n\
             from flyte.io import Dir\n\
             def show(name, other):\n    \
                 return ContainerTask(\n        \
                     name=name, image='{BUSYBOX}', inputs={{'gate': Dir}}, outputs={{'out': str}},\n        \
                     secrets=[flyte.Secret(name, as_env_var='TOKEN'), flyte.Secret(name, mount='/etc/flyte/secrets')],\n        \
                     command=['/bin/sh', '-c', f'touch /var/inputs/gate/{{name}}; while ! [ -e /var/inputs/gate/{{other}} ]; do '\n            \
                         'sleep 0.1; done; (printf \"$TOKEN;\"; ls /etc/flyte/secrets) >/var/outputs/out'])\n\
             tasks = [show('one', 'two'), show('two', 'one')]\n\
             containers = flyte.TaskEnvironment.from_task('containers', *tasks)\n\
             env = flyte.TaskEnvironment('e', secrets=[flyte.Secret('caller', as_env_var='TOKEN')], depends_on=[containers])\n\
             @env.task\n\
             async def main() -> str:\n    \
                 gate = Dir(path=tempfile.mkdtemp())\n    \
                 found = await asyncio.gather(*(asyncio.to_thread(lambda t=t: asyncio.run(t.execute(gate=gate))) for t in tasks))\n    \
                 own = docker.from_env().containers.run('{BUSYBOX}', ['sh', '-c', 'echo \"($TOKEN)\"'], remove=True)\n    \
                 return f'{{found}} {{own.decode().strip()}} {{os.environ[\"TOKEN\"]}}'\n\
             if __name__ == '__main__':\n    \
                 flyte.init()\n    \
                 print('=> ' + flyte.run(main).outputs()[0])\n"
        ),
    );
    for sdk in SDKS {
        let ran = run(&daemon, &sandbox, sdk, &["--leaks=off", "task.py"]);
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let said = "[('value of one;one\\n',), ('value of two;two\\n',)] () value of caller";
        assert_eq!(ran.said(), [said], "{sdk}: {ran:?}");
        nothing_left(&daemon, &sandbox);
    }
}
