//! The writable side of a directory for one run, whichever way it was made.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

const TEMPORARY: &str = ".tmp";

/// How directories are opened: never through a link.
pub(super) const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Why there is no directory, or no file in it.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The kernel, or the container we run in, does not let this user have a namespace of their own.
    #[error("this system does not let this user make a private mount")]
    Forbidden(#[source] io::Error),
    /// What is there is not used.
    #[error("{} {reason}", path.display())]
    Unfit {
        /// What is there.
        path: PathBuf,
        /// What is wrong with it: a verb phrase.
        reason: &'static str,
    },
    /// A step failed.
    #[error("cannot {action} {}", path.display())]
    Step {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl DirectoryError {
    /// Whether a file stands where a directory is needed.
    pub fn is_not_a_directory(&self) -> bool {
        matches!(self, DirectoryError::Step { source, .. } if source.kind() == io::ErrorKind::NotADirectory)
    }
}

pub(super) fn step(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(Errno) -> DirectoryError {
    let path = path.as_ref().to_owned();
    move |error| DirectoryError::Step { action, path, source: error.into() }
}

/// The writable side of a private directory.
#[derive(Debug)]
pub struct PrivateDirectory {
    pub(super) fd: OwnedFd,
    pub(super) path: PathBuf,
}

impl PrivateDirectory {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, mode 0400, replacing at once what is there; `path` is its components, plain names each. A directory
    /// that is in its place goes, with what is in it.
    ///
    /// # Errors
    /// As `mkdirat(2)`, `openat(2)`, `write(2)` and `renameat(2)`.
    pub fn write(&self, path: &[&str], bytes: &[u8]) -> Result<(), DirectoryError> {
        let full = self.path.join(path.join("/"));
        let Some((name, parents)) = path.split_last() else { return Ok(()) };
        let mut directory = rustix::fs::openat(&self.fd, ".", OPEN, Mode::empty()).map_err(step("open", &full))?;
        for parent in parents {
            match make_directory(&directory, parent) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(step("create", &full)(error)),
            }
            directory = rustix::fs::openat(&directory, *parent, OPEN, Mode::empty()).map_err(step("open", &full))?;
        }
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, TEMPORARY, create, Mode::RUSR)
            .and_then(|file| rustix::fs::fchmod(&file, Mode::RUSR).map(|()| file))
            .map_err(step("write", &full))?;
        let written = std::fs::File::from(file).write_all(bytes);
        let rename = || rustix::fs::renameat(&directory, TEMPORARY, &directory, *name);
        let renamed = match written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)) {
            Ok(()) => match rename() {
                Err(Errno::ISDIR) => remove_tree(&directory, *name).and_then(|()| rename()),
                renamed => renamed,
            },
            failed => failed,
        };
        if renamed.is_err() {
            // The write's own error is the one to tell.
            let _ = rustix::fs::unlinkat(&directory, TEMPORARY, AtFlags::empty());
        }
        renamed.map_err(step("write", &full))
    }
}

/// Makes a directory, mode 0700 whatever the umask.
pub(super) fn make_directory(parent: &OwnedFd, name: &str) -> Result<(), Errno> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
    // The umask may have taken our own permissions away.
    rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())
}

/// Removes a directory and what is in it, following no link.
pub(super) fn remove_tree(parent: &OwnedFd, name: impl rustix::path::Arg + Copy) -> Result<(), Errno> {
    let directory = rustix::fs::openat(parent, name, OPEN, Mode::empty())?;
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::unlinkat(&directory, entry.file_name(), AtFlags::empty()) {
            // What other systems than Linux say of a directory is EPERM.
            Err(Errno::ISDIR | Errno::PERM) => remove_tree(&directory, entry.file_name())?,
            removed => removed?,
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}
