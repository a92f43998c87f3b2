//! The directory for file secrets: a private mount, or, for a run on a machine that forbids mounts, a directory in memory.

use std::cell::Cell;
use std::error::Error;
use std::path::Path;

use super::error::{CommandError, Exit};
use super::shell::quoted;
use flyte_local::flyte::SECRETS_DIRECTORY;
use flyte_local::launch::{LinkByHand, MemoryBase, MemoryDirectory, PrivateDirectory, Removal};
use flyte_local::process::Spawner;

/// The user of the secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// A task, which declares them in Python.
    Task,
    /// A command, for which options name them.
    Command,
}

/// The directory for file secrets.
pub(crate) enum Files {
    /// At the path that it has on a cluster.
    Mounted(PrivateDirectory),
    /// Elsewhere.
    InMemory(InMemory),
    /// There is none: why, and what can be done about it.
    Unavailable { reason: String, hints: Vec<String> },
}

/// The kind of [`Files`] that this machine supports, found without a lasting change.
pub(crate) enum FileSupport {
    Mount,
    Memory(InMemory),
    Nowhere { reason: String, hints: Vec<String> },
}

/// A directory in memory, in the place of a private mount.
pub(crate) struct InMemory {
    directory: MemoryDirectory,
    /// Why there is no private mount.
    reason: String,
    has_link: Cell<bool>,
    has_told: Cell<bool>,
}

#[cfg(target_os = "linux")]
pub(crate) const HOW_TO_ALLOW: &str = "allow unprivileged user namespaces (Ubuntu: sysctl \
     kernel.apparmor_restrict_unprivileged_userns=0), or use the secret as a variable";
#[cfg(not(target_os = "linux"))]
pub(crate) const HOW_TO_ALLOW: &str = "use the secret as a variable, or run in a Linux container";

/// A hint for `run`. It does not help `exec`, which does not stay to remove a directory.
const HOW_TO_HAVE_MEMORY: &str = "or set XDG_RUNTIME_DIR to a directory of mode 0700 on a tmpfs";

impl Files {
    /// Makes the directory. Call it before any thread starts.
    pub(crate) fn open(spawner: &Spawner, user: User, runtime: Option<&Path>) -> Result<Self, CommandError> {
        match FileSupport::probe(spawner, user, runtime) {
            FileSupport::Memory(directory) => return Ok(Files::InMemory(directory)),
            FileSupport::Nowhere { reason, hints } => return Ok(Files::Unavailable { reason, hints }),
            FileSupport::Mount => {}
        }
        match PrivateDirectory::enter(Path::new(SECRETS_DIRECTORY)) {
            Ok(directory) => Ok(Files::Mounted(directory)),
            Err(error) => {
                let error = CommandError::chain(Exit::Failed, &error);
                Err(if user == User::Task {
                    error.hint("run without file secrets: flyte-local run --no-mount …")
                } else {
                    error
                })
            }
        }
    }
}

impl FileSupport {
    /// Lets a child process try to mount, because an attempt in this process could not be undone.
    pub(crate) fn probe(spawner: &Spawner, user: User, runtime: Option<&Path>) -> Self {
        let Err(reason) = try_mount(spawner) else { return FileSupport::Mount };
        if user == User::Command {
            return FileSupport::Nowhere { reason, hints: vec![HOW_TO_ALLOW.to_owned()] };
        }
        let found = MemoryBase::find(runtime, Path::new(SECRETS_DIRECTORY));
        match found.and_then(|base| base.create_directory()) {
            Ok(directory) => {
                let (has_link, has_told) = (Cell::new(false), Cell::new(false));
                FileSupport::Memory(InMemory { directory, reason, has_link, has_told })
            }
            Err(error) => {
                let reason = format!("{reason}; and there is no directory in memory for it: {}", in_words(&error));
                let place = error.taken().map(|path| format!("remove what is there: {}", removal(path)));
                let others = [HOW_TO_ALLOW, HOW_TO_HAVE_MEMORY].map(|how| match place {
                    Some(_) if !how.starts_with("or ") => format!("or {how}"),
                    _ => how.to_owned(),
                });
                FileSupport::Nowhere { reason, hints: place.into_iter().chain(others).collect() }
            }
        }
    }
}

impl InMemory {
    /// Returns the directory to write to, and points the link that all runs share at it, unless another run holds the link.
    pub(crate) fn files(&self) -> &PrivateDirectory {
        if !self.has_link.get() {
            // Only programs other than Python need it, and a notice names that difference.
            self.has_link.set(self.directory.take_link(Path::new(SECRETS_DIRECTORY)).unwrap_or(false));
        }
        self.directory.files()
    }

    /// Returns the directory without a change of the link.
    pub(crate) fn private(&self) -> &PrivateDirectory {
        self.directory.files()
    }

    pub(crate) fn path(&self) -> &str {
        self.directory.files().path().to_str().expect("the base is chosen so")
    }

    pub(crate) fn removal(&self) -> Removal {
        self.directory.removal()
    }

    /// Returns the directory of all of this user's runs, and whether the link to it exists.
    pub(crate) fn base(&self) -> (&Path, bool) {
        (self.directory.base().path(), self.link_by_hand() == LinkByHand::Made)
    }

    fn link_by_hand(&self) -> LinkByHand {
        self.directory.base().link_by_hand(Path::new(SECRETS_DIRECTORY))
    }

    /// Returns the commands that create the link permanently; `None` if it exists.
    fn how_to_link(&self) -> Option<String> {
        let place = Path::new(SECRETS_DIRECTORY);
        let first = match self.link_by_hand() {
            LinkByHand::Made => return None,
            LinkByHand::Missing => format!("sudo mkdir -p {}", place.parent().unwrap_or(place).display()),
            LinkByHand::Elsewhere => format!("sudo rm {SECRETS_DIRECTORY}"),
            LinkByHand::Occupied => format!("sudo mv {SECRETS_DIRECTORY} {SECRETS_DIRECTORY}.old"),
        };
        let target = self.directory.base().link(place);
        Some(format!("{first} && sudo ln -s {} {SECRETS_DIRECTORY}", quoted(&target)))
    }

    /// Describes the difference to a cluster, at the first call only.
    pub(crate) fn difference(&self) -> Option<String> {
        if self.has_told.replace(true) {
            return None;
        }
        match (self.link_by_hand(), self.has_link.get()) {
            (LinkByHand::Made, true) => None,
            (LinkByHand::Made, false) => Some(format!(
                "another run holds {SECRETS_DIRECTORY}: programs other than Python find that run's files there, not this run's"
            )),
            _ => self.lacks_link(),
        }
    }

    /// Describes the effect of a missing link and how to create it; `None` if the link is there.
    pub(crate) fn lacks_link(&self) -> Option<String> {
        let how = self.how_to_link()?;
        Some(format!(
            "only Python code finds file secrets in {SECRETS_DIRECTORY}, other programs do not: {}; {HOW_TO_MOUNT}create a \
             link, once: {how}",
            self.reason
        ))
    }
}

#[cfg(target_os = "linux")]
const HOW_TO_MOUNT: &str =
    "allow unprivileged user namespaces (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0), or ";
#[cfg(not(target_os = "linux"))]
const HOW_TO_MOUNT: &str = "";

/// Returns the command that removes what is in the place of the base. In a sticky directory, others' files are root's to remove.
fn removal(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let is_own = std::fs::symlink_metadata(path).is_ok_and(|found| found.uid() == rustix::process::geteuid().as_raw());
    format!("{}rm -r {}", if is_own { "" } else { "sudo " }, quoted(path))
}

fn in_words(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Lets a child process try to mount; returns the reason if it fails.
///
/// It answers in words: where SIGCHLD is ignored, the kernel does not keep its exit code.
#[cfg(target_os = "linux")]
fn try_mount(spawner: &Spawner) -> Result<(), String> {
    use std::io::Read;
    use std::process::Stdio;

    use super::hidden;

    let mut command = spawner.command("/proc/self/exe");
    command.arg(hidden::TRY_MOUNT).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut answer = String::new();
    let asked = command.spawn().and_then(|mut child| {
        child.stdout.take().expect("it is piped").read_to_string(&mut answer)?;
        let _ = child.wait();
        Ok(())
    });
    match (asked, answer.trim_end()) {
        (Err(error), _) => Err(error.to_string()),
        (Ok(()), hidden::MADE) => Ok(()),
        (Ok(()), reason) => Err(reason.to_owned()),
    }
}

/// Without namespaces there is nothing to try: making the directory fails before it changes anything.
#[cfg(not(target_os = "linux"))]
fn try_mount(_: &Spawner) -> Result<(), String> {
    PrivateDirectory::enter(Path::new(SECRETS_DIRECTORY)).map(|_| ()).map_err(|error| in_words(&error))
}
