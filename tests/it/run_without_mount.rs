//! `flyte-local run` and `check` where private mounts are forbidden: file secrets are then in a directory in memory.
//!
//! The kernel itself refuses the mount, to a process without capabilities in a user namespace whose limit of namespaces is zero.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::support::{FLYTE_LOCAL, Ran, SDKS, Sandbox, python, require};
use rustix::process::{Pid, Signal, kill_process};

const PLACE: &str = "/etc/flyte/secrets";
const VALUE: &str = "a value\n";
const LIMIT: &str =
    "this system does not let this user make a private mount: the limit user.max_user_namespaces is reached";

/// Forbids mounts, and gives a world its own `/dev/shm`.
const FORBIDDEN: &str = "echo 0 > /proc/sys/user/max_user_namespaces && mount -t tmpfs -o mode=1777 tmpfs /dev/shm";

/// Makes the link that `run` and `check` recommend.
const MAKE_LINK: &str = "mkdir -p /etc/flyte && ln -s /dev/shm/flyte-local-0/secrets /etc/flyte/secrets";

/// Returns the notice of a run without the link.
fn difference(base: &str, make_room: &str) -> String {
    format!(
        "only Python code finds file secrets in {PLACE}, other programs do not: {LIMIT}; allow unprivileged user \
         namespaces (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0), or create a link, once: \
         sudo {make_room} && sudo ln -s {base}/secrets {PLACE}"
    )
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new().with_tasks();
    sandbox.secret("my_secret", VALUE, &[]);
    sandbox.secret("Key", "the other value", &[]);
    sandbox
}

/// Returns flyte-local's lines of the standard error, without the SDK's.
fn ours(stderr: &str) -> String {
    stderr.lines().filter(|line| !line.contains("Launching local execution")).map(|line| format!("{line}\n")).collect()
}

/// An isolated system, which lasts until it is dropped: mounts are forbidden, and it has its own `/dev/shm` and `/etc`.
struct World {
    sandbox: Sandbox,
    holder: Child,
}

impl World {
    fn new() -> Self {
        Self::prepared(FORBIDDEN)
    }

    /// Makes a world whose root has run `script`, in a sandbox with tasks and their secrets.
    fn prepared(script: &str) -> Self {
        Self::of(sandbox(), script)
    }

    fn of(sandbox: Sandbox, script: &str) -> Self {
        for tool in ["unshare", "nsenter", "setpriv"] {
            require(tool, "util-linux");
        }
        let etc = "mount -t tmpfs -o mode=0755 tmpfs /mnt && cp /etc/passwd /etc/group /mnt && mount --bind /mnt /etc";
        let script = format!("{etc} && {script} && echo ready && exec cat");
        let mut command = sandbox.program("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare starts");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "the isolated system could not be set up");
        Self { sandbox, holder }
    }

    fn inside(&self, program: &[&str]) -> Command {
        let mut command = self.sandbox.program("nsenter");
        command.args([
            "--user",
            "--mount",
            "--preserve-credentials",
            "--wd",
            "--target",
            &self.holder.id().to_string(),
        ]);
        command.args(program);
        command
    }

    /// Runs a script as this world's root. Returns its output.
    fn root(&self, script: &str) -> String {
        let ran = Ran::from(self.inside(&["sh", "-c", script]).output().expect("nsenter starts"));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{script}");
        ran.text()
    }

    /// Returns a command of `flyte-local` as a user of this world, without root's capabilities.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.inside(&["setpriv", "--bounding-set=-all", "--", FLYTE_LOCAL]);
        command.args(arguments);
        command
    }

    fn flyte_local(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("nsenter starts"))
    }

    fn run(&self, sdk: &str, task: &str) -> Ran {
        self.flyte_local(&["run", "--no-mask", "--python", python(sdk).to_str().expect("UTF-8"), "mounted.py", task])
    }

    /// Starts a run whose task waits.
    fn waiting(&self, sdk: &str) -> Waiting {
        let python = python(sdk);
        Waiting::start(self.command(&[
            "run",
            "--no-mask",
            "--python",
            python.to_str().expect("UTF-8"),
            "mounted.py",
            "wait",
        ]))
    }

    /// Lists the content of `/dev/shm` and of the directories in it.
    fn left(&self) -> String {
        self.root("find /dev/shm -mindepth 1 -xdev")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Its `cat` ends with its input.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

struct Waiting {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    directory: String,
}

impl Waiting {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("nsenter starts");
        let stdin = child.stdin.take().expect("piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let directory = loop {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).expect("a line"), 0, "it ended before it waited");
            if let Some(directory) = line.strip_prefix("=> ") {
                break directory.trim_end().to_owned();
            }
        };
        Waiting { child, stdin, stdout, directory }
    }

    /// Lets the task read its secret and end. Returns the exit code, the task's output, and the standard error.
    fn end(mut self) -> (i32, String, String) {
        self.stdin.write_all(b"go on\n").expect("it waits");
        self.finish()
    }

    /// Kills flyte-local.
    fn kill(self) {
        kill_process(Pid::from_child(&self.child), Signal::KILL).expect("it runs");
        assert_eq!(self.finish().0, 137);
    }

    /// Kills flyte-local and, before it can clean up, its supervisor.
    fn kill_both(self) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = std::fs::read_to_string(children).expect("it runs");
        let supervisor = children.split_whitespace().next().expect("it has a supervisor").parse().expect("a number");
        let supervisor = Pid::from_raw(supervisor).expect("a process");
        kill_process(supervisor, Signal::STOP).expect("it runs");
        kill_process(Pid::from_child(&self.child), Signal::KILL).expect("it runs");
        kill_process(supervisor, Signal::KILL).expect("it runs");
        assert_eq!(self.finish().0, 137);
    }

    fn finish(mut self) -> (i32, String, String) {
        use std::os::unix::process::ExitStatusExt;
        let (mut said, mut stderr) = (String::new(), String::new());
        // Both streams end with the last process of the run.
        self.stdout.read_to_string(&mut said).expect("UTF-8");
        self.child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("UTF-8");
        let status = self.child.wait().expect("it ends");
        let code = status.code().unwrap_or_else(|| 128 + status.signal().expect("it was killed"));
        let said = said.lines().filter_map(|line| line.strip_prefix("=> ")).collect();
        (code, said, stderr)
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn python_code_sees_the_same_files_as_with_a_private_mount() {
    for sdk in SDKS {
        let mounted = sandbox().flyte_run(sdk, &["mounted.py", "look"]);
        assert_eq!((mounted.code, ours(&mounted.stderr)), (0, String::new()), "{sdk}: {mounted:?}");
        assert!(mounted.said().len() > 50, "{sdk}: {mounted:?}");
        let world = World::new();
        let led = world.run(sdk, "look");
        assert_eq!(led.code, 0, "{sdk}: {led:?}");
        for (mounted, led) in mounted.said().iter().zip(led.said()) {
            assert_eq!(*mounted, led, "{sdk}");
        }
        assert_eq!(mounted.said().len(), led.said().len(), "{sdk}");
        assert_eq!(
            ours(&led.stderr),
            format!("flyte-local: {}\n", difference("/dev/shm/flyte-local-0", "mkdir -p /etc/flyte"))
        );
        assert_eq!(world.left(), "", "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn a_python_that_joins_the_run_is_redirected_too() {
    let parent = "
import subprocess
import sys

if __name__ == '__main__':
    sys.exit(subprocess.run([sys.executable, 'child.py']).returncode)
";
    let child = "
import flyte

env = flyte.TaskEnvironment(name='child', secrets=flyte.Secret('my_secret', mount='/etc/flyte/secrets'))

@env.task
def main() -> int:
    with open('/etc/flyte/secrets/my_secret') as file:
        return len(file.read())

if __name__ == '__main__':
    flyte.init()
    print('=>', flyte.run(main).outputs()[0])
";
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.file("parent.py", parent);
        sandbox.file("child.py", child);
        let world = World::of(sandbox, FORBIDDEN);
        let python = python(sdk);
        let ran = world.flyte_local(&["run", "--python", python.to_str().expect("UTF-8"), "parent.py"]);
        assert_eq!((ran.code, ran.said()), (0, vec![VALUE.len().to_string()]), "{sdk}: {ran:?}");
        assert_eq!(world.left(), "", "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn the_directory_is_private_and_a_variable_names_it() {
    for sdk in SDKS {
        let world = World::new();
        let ran = world.run(sdk, "own");
        let expected = ["True ''", "0o40700 0o100400", "False True"];
        assert_eq!((ran.code, ran.said()), (0, expected.map(str::to_owned).to_vec()), "{sdk}: {ran:?}");

        let run = world.waiting(sdk);
        let modes = world.root("cd /dev/shm && find . -mindepth 1 ! -type l -printf '%M %u\\n' | sort");
        assert_eq!(
            modes,
            "-r-------- root\n-r-------- root\n-r-------- root\ndrwx------ root\ndrwx------ root\ndrwx------ root\n"
        );
        assert!(run.directory.starts_with("/dev/shm/flyte-local-0/run-"), "{sdk}: {}", run.directory);
        let (code, said, _) = run.end();
        assert_eq!((code, said.as_str()), (0, "8"), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn other_programs_find_the_files_once_the_link_is_made() {
    for sdk in SDKS {
        let world = World::new();
        let ran = world.run(sdk, "cat");
        assert_eq!((ran.code, ran.said()), (0, vec!["1 False".to_owned()]), "{sdk}: {ran:?}");
        world.root(MAKE_LINK);
        for _ in 0..2 {
            let ran = world.run(sdk, "cat");
            assert_eq!((ran.code, ran.said()), (0, vec!["0 True".to_owned()]), "{sdk}: {ran:?}");
            assert_eq!(ours(&ran.stderr), "", "{sdk}: no notice when all is well");
        }
        let led = world.run(sdk, "look");
        let mounted = sandbox().flyte_run(sdk, &["mounted.py", "look"]);
        assert_eq!(led.said(), mounted.said(), "{sdk}");
        assert_eq!(world.left(), "", "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn the_link_does_not_disturb_a_private_mount() {
    let python = python("newest");
    let run = [FLYTE_LOCAL, "run", "--no-mask", "--python", python.to_str().expect("UTF-8"), "mounted.py"];
    for target in ["/dev/shm/flyte-local-0/secrets", "/dev/shm/there"] {
        let link = format!("mkdir -p /dev/shm/there /etc/flyte && ln -s {target} {PLACE}");
        let world = World::prepared(&format!("mount -t tmpfs -o mode=1777 tmpfs /dev/shm && {link}"));
        let waiting = Waiting::start(world.inside(&[&run[..], &["wait"]].concat()));
        assert_eq!(waiting.directory, PLACE, "{target}");
        assert_eq!(world.left(), "/dev/shm/there\n", "{target}");
        // Removing a directory also removes the mount on it.
        world.root("rmdir /dev/shm/there");
        let (code, said, stderr) = waiting.end();
        assert_eq!((code, said.as_str(), ours(&stderr).as_str()), (0, "8", ""), "{target}");
        let ran = Ran::from(world.inside(&[&run[..], &["cat"]].concat()).output().expect("nsenter starts"));
        assert_eq!((ran.code, ran.said()), (0, vec!["0 True".to_owned()]), "{target}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn concurrent_runs_do_not_see_each_others_files() {
    let world = World::new();
    world.root(MAKE_LINK);
    let first = world.waiting("newest");
    world.sandbox.ok(&["update", "secret", "my_secret", "--value", "another value"]);
    let second = world.waiting("oldest");
    assert_ne!(first.directory, second.directory);
    let other = world.run("newest", "cat");
    assert_eq!(other.said(), ["0 True"], "a file is found, and it is the first run's: {other:?}");
    let (code, said, stderr) = second.end();
    assert_eq!((code, said.as_str()), (0, "13"), "{stderr}");
    let line = "flyte-local: another run holds /etc/flyte/secrets: programs other than Python find that run's files there, \
                not this run's\n";
    assert_eq!(ours(&stderr), line);
    let (code, said, stderr) = first.end();
    assert_eq!((code, said.as_str(), ours(&stderr).as_str()), (0, "8", ""));
    assert_eq!(world.left(), "");
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn nothing_is_left_after_a_run_that_fails_or_cannot_begin() {
    let world = World::new();
    for sdk in SDKS {
        assert_eq!(world.run(sdk, "fail").code, 1, "{sdk}");
        assert_eq!(world.left(), "", "{sdk}");
    }
    assert_ne!(world.flyte_local(&["run", "--no-mask", "--python", "/no/python", "mounted.py", "cat"]).code, 0);
    assert_eq!(world.left(), "");
    let run = world.waiting("newest");
    kill_process(Pid::from_child(&run.child), Signal::TERM).expect("it runs");
    assert_eq!(run.finish().0, 143);
    assert_eq!(world.left(), "");
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn the_supervisor_removes_the_directory_of_a_killed_run() {
    let world = World::new();
    for sdk in SDKS {
        world.waiting(sdk).kill();
        assert_eq!(world.left(), "", "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn the_next_run_removes_only_the_directory_of_a_killed_run() {
    let world = World::new();
    world.root(MAKE_LINK);
    let killed = world.waiting("newest");
    let alive = world.waiting("newest");
    let (left_behind, kept) = (killed.directory.clone(), alive.directory.clone());
    killed.kill_both();
    assert!(world.left().contains(&left_behind), "{left_behind} is gone, so the test shows nothing");
    let ran = world.run("newest", "cat");
    assert_eq!(
        (ran.said(), ours(&ran.stderr).as_str()),
        (vec!["0 True".to_owned()], ""),
        "the link is free again: {ran:?}"
    );
    let left = world.left();
    assert!(!left.contains(&left_behind) && left.contains(&kept), "{left}");
    assert_eq!(alive.end().0, 0);
    assert_eq!(world.left(), "");
}

#[test]
fn a_process_that_outlives_a_run_can_remove_its_directory() {
    use std::os::unix::fs::PermissionsExt;
    let private = std::fs::Permissions::from_mode(0o700);
    let keep = tempfile::Builder::new().permissions(private).tempdir_in("/dev/shm").expect("/dev/shm is there");
    let place = std::path::Path::new(PLACE);
    let base = flyte_local::launch::MemoryBase::find(Some(keep.path()), place).expect("it is ours, and in memory");
    assert_eq!(base.path(), keep.path().join("flyte-local"));
    let directory = base.create_directory().expect("made");
    directory.files().write(&["group", "name"], b"bytes").expect("written");
    assert!(directory.take_link(place).expect("taken"));
    assert_eq!(std::fs::read(base.link(place).join("group/name")).expect("the link leads there"), b"bytes");
    let path = directory.files().path().to_owned();
    drop(base.create_directory().expect("made").removal());
    let removal = directory.removal();
    drop(directory);
    let other = base.create_directory().expect("made");
    assert!(path.exists(), "the directory exists until the removal");
    flyte_local::launch::remove(&path).expect("removed");
    drop(removal);
    flyte_local::launch::remove(&path).expect("removing a missing directory succeeds");
    let path = other.files().path().to_owned();
    flyte_local::launch::remove(&path).expect("removed while its owner runs");
    other.files().write(&["name"], b"bytes").expect_err("it is gone");
    assert!(!base.path().exists(), "the last directory is removed with its base");
    let other = keep.path().join("other");
    std::fs::create_dir(&other).expect("made");
    flyte_local::launch::remove(&other).expect_err("the directory does not belong to a run");
    assert!(other.exists());
}

/// Returns a script that makes a directory of another user.
fn another_users_directory(inside: &str) -> String {
    if !rustix::process::getuid().is_root() {
        return "/proc".to_owned();
    }
    let directory = format!("{inside}/other");
    std::fs::create_dir(&directory).expect("made");
    std::os::unix::fs::chown(&directory, Some(65534), Some(65534)).expect("root may");
    directory
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn a_base_that_others_can_access_is_refused() {
    let base = "/dev/shm/flyte-local-0";
    let on_disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory");
    let on_disk = on_disk.path().to_str().expect("UTF-8");
    let hostile = [
        (format!("mkdir -m 0700 /dev/shm/other && ln -s other {base}"), "is not a directory"),
        (format!("ln -s nowhere {base}"), "is not a directory"),
        (format!("touch {base}"), "is not a directory"),
        (format!("mkdir -m 0770 {base}"), "is open to other users"),
        (format!("mkdir -m 0701 {base}"), "is open to other users"),
        (
            format!("mkdir {base} && mount --bind {} {base}", another_users_directory(on_disk)),
            "belongs to another user",
        ),
        (
            format!("mkdir {base} && chmod 0700 {on_disk} && mount --bind {on_disk} {base}"),
            "is not on a memory file system",
        ),
    ];
    for (script, reason) in hostile {
        let world = World::new();
        world.root(&script);
        let before = world.left();
        let ran = world.run("newest", "cat");
        let reason = format!(
            "my_secret cannot be mounted in {PLACE}: {LIMIT}; and there is no directory in memory for it: {base} {reason}"
        );
        let words = ran.all().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!((ran.code, ran.said()), (1, vec![]), "{script}: {ran:?}");
        assert!(words.contains(&reason), "{script}: {ran:?}");
        assert_eq!(world.left(), before, "{script}");
        let ran = Ran::from(world.command(&["check"]).output().expect("nsenter starts"));
        let hint = ran.stderr.lines().find_map(|line| line.strip_prefix("hint: remove what is there: "));
        if reason.ends_with("memory file system") {
            assert_eq!(hint, None, "{script}: {ran:?}");
            continue;
        }
        let removal = if reason.ends_with("another user") { "sudo rm -r" } else { "rm -r" };
        assert_eq!(hint, Some(format!("{removal} {base}").as_str()), "{script}: {ran:?}");
        // A mounted directory cannot be removed.
        if !script.contains("--bind") {
            world.root(&format!("rm -r {base}"));
            let ran = Ran::from(world.command(&["check"]).output().expect("nsenter starts"));
            assert_eq!(ran.code, 0, "{script}: {ran:?}");
        }
    }
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn a_disk_is_never_used() {
    // Neither the mounted directory nor the sandbox's is a memory file system.
    let world = World::prepared("echo 0 > /proc/sys/user/max_user_namespaces && mount --bind /usr /dev/shm");
    let mut command = world.command(&["check"]);
    let ran = Ran::from(command.env("XDG_RUNTIME_DIR", world.sandbox.home()).output().expect("nsenter starts"));
    assert_eq!(ran.code, 1, "{ran:?}");
    let reason = format!(
        "unavailable: {LIMIT}; and there is no directory in memory for it: /dev/shm is not on a memory file system"
    );
    assert!(ran.text().contains(&format!("\nfile secrets  failed  {reason}\n")), "{ran:?}");
    assert!(ran.stderr.contains("\nhint: allow unprivileged user namespaces"), "{ran:?}");
    assert!(ran.stderr.contains("\nhint: or set XDG_RUNTIME_DIR"), "{ran:?}");
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn a_suitable_runtime_directory_is_used() {
    let world = World::prepared(&format!("{FORBIDDEN} && mkdir -m 0700 /dev/shm/own && mkdir -m 0755 /dev/shm/open"));
    let base_with = |runtime: &str| {
        let mut command = world.command(&["check"]);
        let ran = Ran::from(command.env("XDG_RUNTIME_DIR", runtime).output().expect("nsenter starts"));
        assert_eq!(ran.code, 0, "{runtime}: {ran:?}");
        let text = ran.text();
        text.split_once("directory in ").expect("a directory").1.split_once(" (").expect("a link").0.to_owned()
    };
    assert_eq!(base_with("/dev/shm/own"), "/dev/shm/own/flyte-local");
    for unfit in ["/dev/shm/open", "/dev/shm/none", "own", "", "/proc"] {
        assert_eq!(base_with(unfit), "/dev/shm/flyte-local-0", "{unfit}");
    }
    // The link's target takes precedence, because the variable may be missing in another session.
    world.root(MAKE_LINK);
    assert_eq!(base_with("/dev/shm/own"), "/dev/shm/flyte-local-0");
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn no_mount_disables_file_secrets() {
    let world = World::new();
    let python = python("newest");
    let ran = world.flyte_local(&[
        "run",
        "--no-mask",
        "--no-mount",
        "--python",
        python.to_str().expect("UTF-8"),
        "mounted.py",
        "cat",
    ]);
    assert_eq!((ran.code, ran.said()), (1, vec![]), "{ran:?}");
    assert!(ran.all().contains("--no-mount was given"), "{ran:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn a_run_without_file_secrets_says_nothing() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.secret("my_secret", VALUE, &[]);
        sandbox.file(
            "task.py",
            "
import os
import flyte

env = flyte.TaskEnvironment(name='env', secrets='my_secret')
other = flyte.TaskEnvironment(name='other', secrets=flyte.Secret('my_secret', mount='/etc/flyte/secrets'))

@env.task
def show() -> None:
    print('=>', os.environ['MY_SECRET'] == 'a value\\n')
",
        );
        let world = World::of(sandbox, FORBIDDEN);
        let ran = world.flyte_local(&[
            "run",
            "--no-mask",
            "--python",
            python(sdk).to_str().expect("UTF-8"),
            "task.py",
            "show",
        ]);
        assert_eq!(
            (ran.code, ran.said(), ours(&ran.stderr).as_str()),
            (0, vec!["True".to_owned()], ""),
            "{sdk}: {ran:?}"
        );
    }
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn an_obstacle_to_the_link_is_reported() {
    let world = World::new();
    let base = "/dev/shm/flyte-local-0";
    for (script, make_room) in [
        ("mkdir -p /etc/flyte && ln -s /dev/shm/other /etc/flyte/secrets", "rm /etc/flyte/secrets"),
        ("rm /etc/flyte/secrets && mkdir /etc/flyte/secrets", "mv /etc/flyte/secrets /etc/flyte/secrets.old"),
    ] {
        world.root(script);
        let ran = world.run("newest", "cat");
        assert_eq!((ran.code, ran.said()), (0, vec!["1 False".to_owned()]), "{ran:?}");
        assert_eq!(ours(&ran.stderr), format!("flyte-local: {}\n", difference(base, make_room)));
    }
    // The recommended command works.
    world.root(
        "mv /etc/flyte/secrets /etc/flyte/secrets.old && ln -s /dev/shm/flyte-local-0/secrets /etc/flyte/secrets",
    );
    let ran = world.run("newest", "cat");
    assert_eq!((ran.said(), ours(&ran.stderr).as_str()), (vec!["0 True".to_owned()], ""), "{ran:?}");
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn check_reports_how_file_secrets_are_provided() {
    let sandbox = Sandbox::new();
    let has = |ran: &Ran, how: &str| {
        assert!(ran.code == 0 && ran.text().contains(&format!("\nfile secrets  ok      {how}\n")), "{ran:?}");
    };
    let ran = sandbox.run(&["check"]);
    assert_eq!(ran.stderr, "");
    has(&ran, &format!("private mount at {PLACE}"));

    let world = World::of(sandbox, FORBIDDEN);
    let ran = world.flyte_local(&["check"]);
    let base = "/dev/shm/flyte-local-0";
    has(&ran, &format!("memory-backed directory in {base} (link not made)"));
    let hint = difference(base, "mkdir -p /etc/flyte");
    assert_eq!(ran.stderr, format!("hint: {hint}\n"));
    let ran = world.flyte_local(&["--output-format", "json-raw", "check"]);
    let found: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    let files = found.as_array().expect("findings").iter().find(|finding| finding["what"] == "file secrets");
    let files = files.expect("it is among them");
    assert_eq!((&files["ok"], &files["hints"][0]), (&true.into(), &hint.into()));

    world.root(MAKE_LINK);
    let ran = world.flyte_local(&["check"]);
    assert_eq!(ran.stderr, "");
    has(&ran, &format!("memory-backed directory in {base} (link made)"));
    assert_eq!(world.left(), "");
}

#[test]
fn check_finds_missing_parts() {
    let empty = Sandbox::empty();
    let ran = empty.run(&["check"]);
    assert_eq!(ran.code, 10, "{ran:?}");
    assert!(ran.text().starts_with("vault         failed  there is no vault at "), "{ran:?}");
    assert!(ran.stderr.contains("\nhint: create one: flyte-local init\n"), "{ran:?}");

    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    let ran = sandbox.run(&["--identity", other.identity().to_str().expect("UTF-8"), "check"]);
    assert_eq!(ran.code, 11, "{ran:?}");
    assert!(ran.text().contains("\nidentity      failed  your identity is not a recipient of this vault"), "{ran:?}");
    assert!(ran.stderr.contains("caused by: tried "), "{ran:?}");
    let ran = sandbox.run(&["--identity", "/none", "--output-format", "json", "check"]);
    assert_eq!(ran.code, 10, "{ran:?}");
    let found: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert_eq!((&found[0]["ok"], &found[1]["ok"], &found[2]["ok"]), (&true.into(), &false.into(), &true.into()));
    assert!(found[1]["hints"][0].as_str().expect("a hint").contains("--identity"), "{ran:?}");
}
