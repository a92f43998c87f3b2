//! A Docker daemon of a test's own, with images of one static busybox. It ends with the test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Ran, Sandbox, require, until};
use rustix::process::{Pid, Signal, kill_process};

/// An image with a shell, the programs of busybox, and a user besides root.
pub const BUSYBOX: &str = "busybox:test";

/// An image with an entry point and default arguments.
pub const SPEAKER: &str = "speaker:test";

/// An image without a shell. Its only program is `/cp`.
pub const NO_SHELL: &str = "no-shell:test";

/// The Debian package of the daemon and of its command.
const PACKAGE: &str = "docker.io";

/// A running daemon. Its mounts are its own, and its containers have no network.
pub struct Daemon {
    directory: tempfile::TempDir,
    process: Child,
}

impl Daemon {
    pub fn start() -> Self {
        Self::start_after("true")
    }

    /// Starts a daemon that does not see what this process has in `/dev/shm`.
    pub fn without_shared_memory() -> Self {
        Self::start_after("mount -t tmpfs tmpfs /dev/shm")
    }

    /// Starts a daemon. The commands of the shell `prepare` its mounts.
    fn start_after(prepare: &str) -> Self {
        for (tool, package) in [("unshare", "util-linux"), ("setpriv", "util-linux"), ("dockerd", PACKAGE)] {
            require(tool, package);
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name).display().to_string();
        let mut command = Command::new("unshare");
        // The kernel ends the daemon even if this thread cannot.
        command.args(["--mount", "setpriv", "--pdeathsig=TERM", "--", "sh", "-c"]);
        command.arg(format!("{prepare} && exec \"$@\"")).args(["sh", "dockerd", "--storage-driver=vfs"]);
        command.args(["--iptables=false", "--ip-masq=false", "--bridge=none", "--host"]);
        command.arg(format!("unix://{}", at("docker.sock")));
        command.args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")]);
        let log = std::fs::File::create(directory.path().join("log")).expect("a log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("cloned")).stderr(log);
        let process = command.spawn().expect("unshare starts");
        let mut daemon = Self { directory, process };
        daemon.wait_for_start();
        daemon.import_images();
        daemon
    }

    fn wait_for_start(&mut self) {
        let start = Instant::now();
        while self.client(&["version"]).code != 0 {
            let ended = self.process.try_wait().expect("a child");
            let log = || std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "the daemon ended: {}", log());
            assert!(start.elapsed() < Duration::from_secs(120), "the daemon does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn import_images(&self) {
        let busybox = Path::new("/bin/busybox");
        assert!(busybox.exists(), "install busybox-static");
        let root = self.directory.path().join("root");
        for name in ["bin", "etc", "tmp"] {
            std::fs::create_dir_all(root.join(name)).expect("made");
        }
        std::fs::write(root.join("etc/passwd"), "root::0:0::/:/bin/sh\nuser::1234:1234::/:/bin/sh\n").expect("written");
        std::fs::copy(busybox, root.join("bin/busybox")).expect("copied");
        for name in "sh base64 cat env grep id ls printf sleep sort su touch tr".split(' ') {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("linked");
        }
        self.import(&root, BUSYBOX, &["ENV IMAGE=its-own"]);
        self.import(&root, SPEAKER, &["ENTRYPOINT [\"/bin/sh\", \"/bin/speak\"]", "CMD [\"by default\"]"]);
        std::fs::remove_dir_all(root.join("bin")).expect("removed");
        std::fs::copy(busybox, root.join("cp")).expect("copied");
        self.import(&root, NO_SHELL, &[]);
    }

    fn import(&self, root: &Path, image: &str, changes: &[&str]) {
        let speak = root.join("bin/speak");
        if image == SPEAKER {
            std::fs::write(&speak, "printf '%s' \"$TOKEN:$*\" >/var/outputs/out\n").expect("written");
        }
        let archive = self.directory.path().join("root.tar");
        let packed = Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&archive).arg(".").status();
        assert!(packed.expect("tar starts").success());
        let options = changes.iter().flat_map(|change| ["--change", change]);
        let archive = archive.to_str().expect("UTF-8");
        let imported = self.client(&["import"].into_iter().chain(options).chain([archive, image]).collect::<Vec<_>>());
        assert_eq!(imported.code, 0, "{imported:?}");
    }

    /// Returns the address, as `DOCKER_HOST` takes it.
    pub fn address(&self) -> String {
        format!("unix://{}", self.directory.path().join("docker.sock").display())
    }

    /// Returns the directories with everything that the daemon keeps.
    pub fn kept(&self) -> [PathBuf; 2] {
        ["data", "exec"].map(|name| self.directory.path().join(name))
    }

    /// Runs Docker's own command.
    pub fn client(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("docker");
        command.env("HOME", self.directory.path()).arg("--host").arg(self.address()).args(arguments);
        Ran::from(command.output().expect("docker starts"))
    }

    /// Returns the containers, running or not.
    pub fn containers(&self) -> Vec<String> {
        let listed = self.client(&["ps", "--all", "--quiet", "--no-trunc"]);
        assert_eq!(listed.code, 0, "{listed:?}");
        listed.text().lines().map(str::to_owned).collect()
    }

    /// Waits until one container has made the file `/tmp/ready`, and returns its identifier.
    pub fn ready(&self) -> String {
        let mut found = None;
        until("a container is ready", || {
            found = self.containers().pop();
            found.as_ref().is_some_and(|id| self.client(&["exec", id, "ls", "/tmp/ready"]).code == 0)
        });
        found.expect("it is ready")
    }

    /// Returns a command of `flyte-local run` that reaches this daemon. Its files in memory are in a directory of the sandbox's.
    pub fn run(&self, sandbox: &Sandbox, sdk: &str, arguments: &[&str]) -> Command {
        let mut command = sandbox.flyte_command(sdk, arguments);
        command.env("DOCKER_HOST", self.address()).env("XDG_RUNTIME_DIR", runtime_directory(sandbox));
        command
    }
}

/// Returns a directory in memory that belongs to the sandbox, which has to be in memory.
pub fn runtime_directory(sandbox: &Sandbox) -> PathBuf {
    let path = sandbox.home().join("runtime");
    std::fs::create_dir_all(&path).expect("made");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("ours");
    path
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for container in self.containers() {
            self.client(&["rm", "--force", &container]);
        }
        let process = Pid::from_child(&self.process);
        let _ = kill_process(process, Signal::TERM);
        let start = Instant::now();
        while self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            if start.elapsed() > Duration::from_secs(60) {
                let _ = kill_process(process, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
