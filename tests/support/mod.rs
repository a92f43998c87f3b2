//! Code that the integration tests share: a temporary home with the real binary, and checks for the tools that tests need.

#![allow(dead_code, unreachable_pub, unused_imports, missing_docs, reason = "each test binary uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]
#![allow(clippy::print_stdout, reason = "a seed is for the tester")]

pub mod canary;
pub mod daemon;
pub mod forger;
pub mod http;
pub mod identities;
pub mod image;
pub mod pages;
pub mod permissions;
pub mod regressions;
pub mod served;
pub mod terminal;

pub use regressions::regressions;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The binary under test.
pub const FLYTE_LOCAL: &str = env!("CARGO_BIN_EXE_flyte-local");

/// The oldest and the newest supported SDK; `scripts/test` makes a virtual environment of each.
pub const SDKS: [&str; 2] = ["oldest", "newest"];

/// A temporary home directory, removed when dropped. A command in it inherits nothing of the tester's environment.
pub struct Sandbox {
    directory: tempfile::TempDir,
}

impl Sandbox {
    /// Makes a sandbox without a vault.
    pub fn empty() -> Self {
        Self::empty_in(&std::env::temp_dir())
    }

    /// Makes a sandbox without a vault, below a directory of the caller.
    pub fn empty_in(parent: &Path) -> Self {
        let directory = tempfile::tempdir_in(parent).expect("a temporary directory");
        std::fs::create_dir(directory.path().join("work")).expect("a working directory");
        Self { directory }
    }

    /// Makes a sandbox without a vault on a memory file system, where a sync takes no time: for tests that do not depend on the disk.
    pub fn in_memory() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
        std::fs::create_dir(directory.path().join("work")).expect("a working directory");
        Self { directory }
    }

    /// Makes a sandbox with a vault and an identity.
    pub fn new() -> Self {
        let sandbox = Self::empty();
        sandbox.ok(&["init"]);
        sandbox
    }

    pub fn home(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the working directory of commands.
    pub fn work(&self) -> PathBuf {
        self.home().join("work")
    }

    pub fn vault(&self) -> PathBuf {
        self.home().join(".local/share/flyte-local/vault")
    }

    pub fn identity(&self) -> PathBuf {
        self.home().join(".config/flyte-local/identity.txt")
    }

    pub fn author(&self) -> PathBuf {
        self.home().join(".config/flyte-local/author.key")
    }

    /// Returns the state directory, with the pins of vaults.
    pub fn state(&self) -> PathBuf {
        self.home().join(".local/state/flyte-local/pins")
    }

    /// Returns the file of a secret, by its path below `secrets/` without the extension: `org/NAME`, `project/P/NAME`.
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

    /// Returns a command of any program, in the sandbox's home and working directory, with a clean environment and no standard input.
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

    /// Returns a command of `flyte-local` with these arguments.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = self.program(FLYTE_LOCAL);
        command.args(arguments);
        command
    }

    /// Runs `flyte-local`, with any exit code.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Ran {
        Ran::from(self.command(arguments).output().expect("flyte-local starts"))
    }

    /// Runs `flyte-local` with this standard input.
    pub fn pipe<A: AsRef<OsStr>>(&self, arguments: &[A], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        // flyte-local may fail before it has read everything.
        let _ = child.stdin.take().expect("piped").write_all(input);
        Ran::from(child.wait_with_output().expect("it ends"))
    }

    /// Runs `flyte-local`, which must succeed. Returns its standard output.
    pub fn ok<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Vec<u8> {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    }

    /// Runs `flyte-local run` with the Python of one of the [`SDKS`].
    pub fn flyte_run<A: AsRef<OsStr>>(&self, sdk: &str, arguments: &[A]) -> Ran {
        Ran::from(self.flyte_command(sdk, arguments).output().expect("flyte-local starts"))
    }

    /// Returns the command of [`Sandbox::flyte_run`]. Its output is not masked, for tests that read values from it.
    pub fn flyte_command<A: AsRef<OsStr>>(&self, sdk: &str, arguments: &[A]) -> Command {
        let mut command = self.command(&["run", "--no-mask", "--python"]);
        command.arg(python(sdk)).args(arguments);
        command
    }
}

/// The result of a command.
pub struct Ran {
    /// The exit code, or 128 and the number of the signal that ended it.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    /// Returns standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("UTF-8")
    }

    /// Returns standard output and standard error as text, where the SDK may write to either.
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

/// Returns the Python of one of the [`SDKS`].
pub fn python(sdk: &str) -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venvs").join(sdk).join("bin/python");
    assert!(python.exists(), "{} is missing: scripts/test makes it", python.display());
    python
}

/// Fails and names the package if the tool is missing.
pub fn require(tool: &str, package: &str) {
    let path = std::env::var_os("PATH").expect("PATH is set");
    let found = std::env::split_paths(&path).any(|directory| directory.join(tool).exists());
    assert!(found, "this test needs `{tool}`, from the package {package}");
}

/// Opens a vault without its pin.
pub fn open_unpinned(path: &Path) -> Result<flyte_local::vault::Vault, flyte_local::vault::VaultError> {
    flyte_local::vault::VaultOptions::new(flyte_local::vault::StateDirectory::Ignored).open(path)
}

/// A sandbox's vault opened with the library, for tests that read it too often to start a process each time.
impl Sandbox {
    pub fn open_vault(&self) -> flyte_local::vault::Vault {
        self.open_vault_at(&self.vault())
    }

    /// Opens a vault to read and write as this sandbox's user.
    pub fn open_vault_at(&self, path: &Path) -> flyte_local::vault::Vault {
        self.vault_options().open(path).expect("there is a vault").with_author(self.author_key())
    }

    /// The vault, opened to report a rollback as an error.
    pub fn open_strict_vault(&self) -> flyte_local::vault::Vault {
        let strictness = flyte_local::vault::Strictness::Errors;
        let options = flyte_local::vault::VaultOptions { strictness, ..self.vault_options() };
        options.open(&self.vault()).expect("this machine knows the vault")
    }

    /// Returns the default options, with this sandbox's state directory.
    pub fn vault_options(&self) -> flyte_local::vault::VaultOptions {
        flyte_local::vault::VaultOptions::new(flyte_local::vault::StateDirectory::At(self.state()))
    }

    /// Opens the vault without its pin.
    pub fn open_unpinned_vault(&self) -> Result<flyte_local::vault::Vault, flyte_local::vault::VaultError> {
        open_unpinned(&self.vault())
    }

    /// Returns the key that signs the sandbox user's secrets.
    pub fn author_key(&self) -> flyte_local::crypto::AuthorKey {
        let text = std::fs::read_to_string(self.author()).expect("there is a signing key");
        flyte_local::crypto::AuthorKey::parse_file(&text).expect("as it was written")
    }

    pub fn identities(&self) -> Vec<flyte_local::crypto::Identity> {
        identities(&self.identity())
    }

    /// Returns the value of the secret at `place`, or `None` if there is no such secret. Fails if it cannot be read.
    pub fn value(&self, place: &str) -> Option<Vec<u8>> {
        match self.open_vault().value(&secret_id(place), &self.identities()) {
            Ok(value) => Some(value.expose().to_vec()),
            Err(flyte_local::vault::VaultError::SecretMissing { .. }) => None,
            Err(error) => panic!("{place}: {error:?}"),
        }
    }

    /// Asserts what must hold after any crash: no file is refused, the lock is free, and the tree has only secrets and at most
    /// one temporary file, or directory of them, in each directory, left by a killed writer. Returns the number of temporary files.
    pub fn sound_but_for_leftovers(&self) -> usize {
        let listing = self.open_vault().list(&flyte_local::secret::ScopeFilter::default()).expect("listed");
        assert!(listing.refused.is_empty(), "{:?}", listing.refused);
        let root = flyte_local::storage::Directory::open(&self.vault()).expect("there is a vault");
        flyte_local::storage::Lock::acquire(&root, ".lock", std::time::Duration::ZERO).expect("the lock is free");

        let (mut secrets, mut leftovers) = (0, 0);
        let mut unvisited = vec![self.vault().join("secrets")];
        while let Some(directory) = unvisited.pop() {
            for entry in std::fs::read_dir(directory).expect("listed").map(|entry| entry.expect("listed")) {
                let name = entry.file_name().into_string().expect("UTF-8");
                // A command that writes several files together has a directory of them.
                if name == ".tmp" {
                    leftovers += 1;
                } else if entry.file_type().expect("known").is_dir() {
                    unvisited.push(entry.path());
                } else {
                    assert!(name.ends_with(".age"), "{} has no business there", entry.path().display());
                    secrets += 1;
                }
            }
        }
        assert_eq!(secrets, listing.secrets.len(), "a file is in the tree but not in the list");
        leftovers
    }
}

/// Returns the identities in a file.
pub fn identities(file: &Path) -> Vec<flyte_local::crypto::Identity> {
    let text = std::fs::read_to_string(file).expect("an identity file");
    flyte_local::crypto::Identity::parse_file(&text).expect("identities")
}

/// Returns the secret whose file is at `place`, in the form that [`Sandbox::secret_file`] takes.
pub fn secret_id(place: &str) -> flyte_local::secret::SecretId {
    use flyte_local::secret::Scope;
    let parts: Vec<&str> = place.split('/').collect();
    let (project, domain, name) = match parts[..] {
        ["org", name] => (None, None, name),
        ["project", project, name] => (Some(project), None, name),
        ["domain", domain, name] => (None, Some(domain), name),
        ["project", project, "domain", domain, name] => (Some(project), Some(domain), name),
        _ => panic!("not a place of a secret: {place}"),
    };
    let project = project.map(|project| project.parse().expect("a good project"));
    let domain = domain.map(|domain| domain.parse().expect("a good domain"));
    flyte_local::secret::SecretId { scope: Scope::new(project, domain), name: name.parse().expect("a good name") }
}

/// Returns the options for the scope of `place`, in the form that [`Sandbox::secret_file`] takes.
pub fn scope_options(place: &str) -> Vec<String> {
    let scope = secret_id(place).scope;
    let project = scope.project().map(|project| ["-p".to_owned(), project.to_string()]);
    let domain = scope.domain().map(|domain| ["-d".to_owned(), domain.to_string()]);
    project.into_iter().chain(domain).flatten().collect()
}

/// Helpers for tests of `run`, whose tasks are in `fixtures/tasks/`.
impl Sandbox {
    /// Copies `fixtures/tasks/` into the working directory.
    pub fn with_tasks(self) -> Self {
        copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tasks"), &self.work());
        self
    }

    /// Creates a secret of exactly these bytes. `scope` is `-p P -d D` or a part of it.
    pub fn secret(&self, name: &str, value: impl AsRef<[u8]>, scope: &[&str]) {
        // An empty standard input is refused, because the program that should have written to it may have failed.
        let how: &[&str] = if value.as_ref().is_empty() { &["--value", ""] } else { &["--raw"] };
        let created = self.pipe(&[&["create", "secret", name], how, scope].concat(), value.as_ref());
        assert_eq!(created.code, 0, "{created:?}");
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("listed").map(|entry| entry.expect("listed")) {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            std::fs::create_dir(&target).expect("made");
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("copied");
        }
    }
}

impl Ran {
    /// Returns the lines that a task printed after `=> `, without the SDK's output around them.
    pub fn said(&self) -> Vec<String> {
        self.text().lines().filter_map(|line| line.strip_prefix("=> ")).map(str::to_owned).collect()
    }
}

/// The variable that marks all processes of one test.
pub const MARK: &str = "FLYTE_LOCAL_TEST_MARK";

/// Returns the processes, except zombies, that have this value of [`MARK`] in their environment.
pub fn marked(mark: &str) -> Vec<i32> {
    let variable = format!("{MARK}={mark}\0").into_bytes();
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has_mark = |process: &i32| {
        let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        environment.windows(variable.len()).any(|window| window == variable)
    };
    numbers.filter(has_mark).collect()
}

/// Waits until the condition holds. Fails after a minute.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed().as_secs() < 60, "{what}: not after a minute");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Waits for the kernel's keyring, and keeps other tests from it until the guard is dropped: `lock` removes every key in it.
pub fn keyring_turn() -> std::sync::MutexGuard<'static, ()> {
    static KEYRING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    KEYRING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Writes a program that can be started at once.
///
/// A child process writes it. Children that other tests start at this moment would inherit a descriptor of this process,
/// and Linux refuses to start a file that any process has open for writing.
pub fn executable(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().expect("not the root")).expect("its directory");
    let mut command = Command::new("sh");
    command.args(["-c", "cat >\"$0\" && chmod 755 \"$0\""]).arg(path).stdin(Stdio::piped());
    let mut child = command.spawn().expect("sh starts");
    child.stdin.take().expect("piped").write_all(content.as_ref()).expect("it reads");
    assert!(child.wait().expect("it ends").success(), "{} is not written", path.display());
}

/// Returns a test's name as the test binary knows it, for a test that starts itself: `module::test`.
///
/// Takes the `module_path!()` of the test.
pub fn test_path(module_path: &str, test: &str) -> String {
    let (_, module) = module_path.split_once("::").expect("each file of tests is a module");
    format!("{module}::{test}")
}

/// Reports a count of a suite. `scripts/faults` shows it at the end, even if the test passes.
pub fn tally(line: &str) {
    use std::io::Write;
    println!("{line}");
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("tally");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    writeln!(file.expect("opened"), "{line}").expect("written");
}

/// Pseudo-random numbers from a printed seed: Marsaglia's xorshift64, which suffices to spread moments and sizes and gives the same numbers everywhere.
pub struct Random(u64);

impl Random {
    pub fn seeded() -> Self {
        let clock = || std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64;
        let seed = std::env::var("FLYTE_LOCAL_TEST_SEED").map(|seed| seed.parse().expect("a number"));
        let seed = seed.unwrap_or_else(|_| clock());
        println!("FLYTE_LOCAL_TEST_SEED={seed}");
        Self::from_seed(seed)
    }

    /// Returns the numbers of a given seed, for a part of a test that runs in parallel with others.
    pub fn from_seed(seed: u64) -> Self {
        // A state of zero would stay zero.
        Self(seed | 1 << 63)
    }

    /// Returns a number below `limit`, which is not zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Helpers that act on hints.
impl Sandbox {
    /// Types the command of the hint that contains `part`, and returns its result.
    pub fn type_hint(&self, ran: &Ran, part: &str) -> Ran {
        let hint = ran.stderr.lines().find(|line| line.contains("flyte-local ") && line.contains(part));
        let hint = hint.unwrap_or_else(|| panic!("no hint has {part}: {ran:?}"));
        let command = &hint[hint.rfind(": flyte-local ").expect("a command follows a colon") + 2..];
        let path = std::env::var_os("PATH").expect("PATH is set");
        let ours = Path::new(FLYTE_LOCAL).parent().expect("a directory").to_owned();
        let path = std::env::join_paths(std::iter::once(ours).chain(std::env::split_paths(&path))).expect("it was one");
        Ran::from(self.program("sh").args(["-c", command]).env("PATH", path).output().expect("sh starts"))
    }
}
