//! While flyte-local has a secret in memory, it writes no core file and other processes cannot inspect it. The programs
//! that it starts run with the caller's own limits.

#![allow(clippy::disallowed_methods, reason = "the rules on files are for the product")]

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{FLYTE_LOCAL, Ran, SDKS, Sandbox, executable, python, require};
use rustix::process::{Pid, Signal, kill_process};

/// An ordinary user, because root may inspect every process.
const USER: u32 = 12345;

/// Returns a shell command that runs as an ordinary user, with a copy of the binary and a limit that allows core files.
fn as_user(sandbox: &Sandbox, script: &str) -> Command {
    let is_root = rustix::process::getuid().is_root();
    let copy = sandbox.work().join("flyte-local");
    if !copy.exists() {
        executable(&copy, std::fs::read(FLYTE_LOCAL).expect("the binary"));
    }
    let mut command = sandbox.program(if is_root { "setpriv" } else { "env" });
    if is_root {
        require("setpriv", "util-linux");
        let owned = Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(sandbox.home()).status();
        assert!(owned.expect("chown starts").success());
        command.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".to_owned()]);
    }
    command.args(["sh", "-c", &format!("ulimit -S -c 4096; {script}")]);
    command
}

/// Starts a `create` that has read the first half of a value, and waits for the rest.
fn waiting(sandbox: &Sandbox) -> Child {
    let mut command = as_user(sandbox, "exec ./flyte-local create secret waits");
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let pipe = child.stdin.as_mut().expect("piped");
    pipe.write_all(b"half a value").expect("it is there");
    // The process has read the half when the pipe is empty.
    while rustix::io::ioctl_fionread(&*pipe).expect("a pipe") > 0 {
        std::thread::yield_now();
    }
    child
}

fn proc(child: &Child, file: &str) -> PathBuf {
    Path::new("/proc").join(child.id().to_string()).join(file)
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn a_process_with_a_value_cannot_be_inspected_and_leaves_no_core_file() {
    let sandbox = Sandbox::new();
    let mut child = waiting(&sandbox);
    let pid = Pid::from_child(&child);
    for file in ["mem", "environ", "maps"] {
        assert_eq!(proc(&child, file).metadata().expect("Linux").uid(), 0, "the user can read {file}");
    }
    let mut look = as_user(&sandbox, &format!("cat /proc/{}/environ", child.id()));
    assert!(!look.output().expect("sh starts").status.success());
    let limit = std::fs::read_to_string(proc(&child, "limits")).expect("Linux");
    let limit = limit.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("one of them");
    assert_eq!(limit.split_whitespace().next(), Some("0"));
    // No core file is written even if another process raises the limit again.
    require("prlimit", "util-linux");
    let mut raise = as_user(&sandbox, &format!("prlimit --pid {} --core=1000000:", child.id()));
    assert!(raise.status().expect("sh starts").success());
    kill_process(pid, Signal::ABORT).expect("it runs");
    let status = child.wait().expect("it ended");
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped());
    let cores = sandbox
        .work()
        .read_dir()
        .expect("listed")
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("core")));
    assert_eq!(cores.count(), 0);
}

/// A script that prints its limit on core files and the owner of its files in `/proc`.
const PRINT_LIMIT: &str = "ulimit -S -c; stat -c %u /proc/$$/environ";

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn a_command_keeps_its_callers_core_limit_and_owns_its_proc_files() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    let user = if rustix::process::getuid().is_root() { USER } else { rustix::process::getuid().as_raw() };
    let expected = as_user(&sandbox, PRINT_LIMIT).output().expect("sh starts").stdout;
    assert_eq!(String::from_utf8_lossy(&expected), format!("4096\n{user}\n"));
    for options in ["--secret s", "--secret s --mask", "--mount s", "--mount s --mask"] {
        let ran = as_user(&sandbox, &format!("./flyte-local exec {options} -- sh -c '{PRINT_LIMIT}'"));
        let ran = Ran::from({ ran }.output().expect("it starts"));
        assert_eq!((ran.code, ran.stdout.as_slice()), (0, expected.as_slice()), "{options}: {ran:?}");
    }
}

/// A task that prints whether the identity's variables are set, and its limit on core files.
const TASK: &str = "
import os, resource, flyte
env = flyte.TaskEnvironment(name='env', secrets='s')
@env.task
def show():
    print('=>', 'FLYTE_LOCAL_IDENTITY_KEY' in os.environ, 'FLYTE_LOCAL_IDENTITY' in os.environ)
    print('=>', resource.getrlimit(resource.RLIMIT_CORE)[0])
    parent = open(f'/proc/{os.getppid()}/environ').read()
    print('=>', 'FLYTE_LOCAL_IDENTITY_KEY' in parent)
";

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn child_processes_do_not_inherit_the_identity_key() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    let identity = sandbox.identity();
    let key = std::fs::read_to_string(&identity).expect("there is one");
    let script = "echo ${FLYTE_LOCAL_IDENTITY_KEY-none} ${FLYTE_LOCAL_IDENTITY:+a path}";
    for mask in [&["--mask"][..], &[]] {
        let mut command = sandbox.command(&[&["exec", "--secret", "s"], mask, &["--", "sh", "-c", script]].concat());
        command.env("FLYTE_LOCAL_IDENTITY_KEY", &key).env("FLYTE_LOCAL_IDENTITY", &identity);
        let ran = Ran::from(command.output().expect("it starts"));
        assert_eq!((ran.code, ran.text().as_str()), (0, "none a path\n"), "{mask:?}: {ran:?}");
    }
    sandbox.file("task.py", TASK);
    for sdk in SDKS {
        let mut command = sandbox.program("sh");
        command.args(["-c", "ulimit -S -c 4096; exec \"$0\" run --python \"$1\" task.py show", FLYTE_LOCAL]);
        command.arg(python(sdk));
        command.env("FLYTE_LOCAL_IDENTITY_KEY", &key).env("FLYTE_LOCAL_IDENTITY", &identity);
        let ran = Ran::from(command.output().expect("it starts"));
        assert_eq!(
            (ran.code, ran.said()),
            (0, vec!["False True".into(), (4096 * 512).to_string(), "False".into()]),
            "{sdk}: {ran:?}"
        );
    }
}

/// flyte-local removes only its own variable, not a secret that the user injects under the same name.
#[test]
fn a_secret_may_be_injected_under_the_name_of_the_identity_variable() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    for mask in [&["--mask"][..], &[]] {
        let script = "test \"$FLYTE_LOCAL_IDENTITY_KEY\" = value && echo given";
        let exec = ["exec", "--secret", "s=FLYTE_LOCAL_IDENTITY_KEY", "--allow-loader-variables"];
        let arguments = [&exec[..], mask, &["--", "sh", "-c", script]];
        assert_eq!(sandbox.ok(&arguments.concat()), b"given\n", "{mask:?}");
    }
}
