//! What the integration tests share: a throw-away home with the real binary, and tools that must be there.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses a part of it")]

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The binary under test.
pub const FLYTE_LOCAL: &str = env!("CARGO_BIN_EXE_flyte-local");

/// The two ends of what is supported; `scripts/test` makes a virtual environment of each.
pub const SDKS: [&str; 2] = ["oldest", "newest"];

/// An empty home directory, removed when dropped. Nothing of the tester's own environment reaches a command run in it.
pub struct Sandbox {
    directory: tempfile::TempDir,
}

impl Sandbox {
    /// An empty one.
    pub fn empty() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(directory.path().join("work")).expect("a working directory");
        Self { directory }
    }

    /// One with a vault and an identity.
    pub fn new() -> Self {
        let sandbox = Self::empty();
        sandbox.ok(&["init"]);
        sandbox
    }

    pub fn home(&self) -> &Path {
        self.directory.path()
    }

    /// The working directory of commands.
    pub fn work(&self) -> PathBuf {
        self.home().join("work")
    }

    pub fn vault(&self) -> PathBuf {
        self.home().join(".local/share/flyte-local/vault")
    }

    pub fn identity(&self) -> PathBuf {
        self.home().join(".config/flyte-local/identity.txt")
    }

    /// The file of a secret, by its path below `secrets/` without the extension: `org/NAME`, `project/P/NAME`.
    pub fn secret_file(&self, place: &str) -> PathBuf {
        self.vault().join("secrets").join(format!("{place}.age"))
    }

    /// Writes a file into the working directory.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().expect("below the working directory")).expect("its directory");
        std::fs::File::create(&path).and_then(|mut file| file.write_all(content.as_ref())).expect("written");
        path
    }

    /// Any program, in the sandbox's home and working directory, with a clean environment and no standard input.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.work())
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", std::env::var_os("PATH").expect("PATH is set"))
            .env("LC_ALL", "C.UTF-8")
            .env("COLUMNS", "200")
            .stdin(Stdio::null());
        command
    }

    /// `flyte-local` with these arguments.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = self.program(FLYTE_LOCAL);
        command.args(arguments);
        command
    }

    /// Runs `flyte-local`, whatever comes of it.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Ran {
        Ran::from(self.command(arguments).output().expect("flyte-local starts"))
    }

    /// Runs `flyte-local` with this on standard input.
    pub fn pipe<A: AsRef<OsStr>>(&self, arguments: &[A], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        // It may refuse before it has read everything.
        let _ = child.stdin.take().expect("piped").write_all(input);
        Ran::from(child.wait_with_output().expect("it ends"))
    }

    /// Runs `flyte-local`, which must succeed; its standard output.
    pub fn ok<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Vec<u8> {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    }

    /// `flyte-local run` with the Python of one of the [`SDKS`].
    pub fn flyte_run<A: AsRef<OsStr>>(&self, sdk: &str, arguments: &[A]) -> Ran {
        Ran::from(self.flyte_command(sdk, arguments).output().expect("flyte-local starts"))
    }

    /// The command of [`Sandbox::flyte_run`].
    pub fn flyte_command<A: AsRef<OsStr>>(&self, sdk: &str, arguments: &[A]) -> Command {
        let mut command = self.command(&["run", "--python"]);
        command.arg(python(sdk)).args(arguments);
        command
    }
}

/// What came of a command.
pub struct Ran {
    /// 128 and the signal's number, if one ended it.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("UTF-8")
    }

    /// Standard output and standard error as text, for what the SDK writes to the one or the other.
    pub fn all(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.stdout), self.stderr)
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let code = output.status.code().or(output.status.signal().map(|signal| 128 + signal));
        Self {
            code: code.expect("it exited or was killed"),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl std::fmt::Debug for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stdout = String::from_utf8_lossy(&self.stdout);
        write!(f, "exit code {}\n--- stdout\n{stdout}\n--- stderr\n{}", self.code, self.stderr)
    }
}

/// The Python of one of the [`SDKS`].
pub fn python(sdk: &str) -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venvs").join(sdk).join("bin/python");
    assert!(python.exists(), "{} is missing: scripts/test makes it", python.display());
    python
}

/// Fails, naming the package, unless the tool is there.
pub fn require(tool: &str, package: &str) {
    let path = std::env::var_os("PATH").expect("PATH is set");
    let found = std::env::split_paths(&path).any(|directory| directory.join(tool).exists());
    assert!(found, "this test needs `{tool}`, from the package {package}");
}
