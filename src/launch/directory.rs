//! The writable side of a run's directory, mounted or in memory.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

const TEMPORARY: &str = ".tmp";

/// Flags that open a directory, never through a symlink.
pub(super) const OPEN: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Reasons why a directory, or a file in it, could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The kernel, or the container we run in, does not allow this user a namespace.
    #[error("this system does not let this user make a private mount")]
    Forbidden(#[source] io::Error),
    /// The directory is unsafe to use.
    #[error("{} {reason}", path.display())]
    Unfit {
        /// The directory.
        path: PathBuf,
        /// The reason, as a verb phrase.
        reason: &'static str,
    },
    /// Something else is in the directory's place, or another user made it.
    #[error("{} {reason}", path.display())]
    Taken {
        /// The place.
        path: PathBuf,
        /// The reason, as a verb phrase.
        reason: &'static str,
    },
    /// A step failed.
    #[error("cannot {action} {}", path.display())]
    Step {
        /// The step, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl DirectoryError {
    /// Returns the place that something else has taken, which must be removed before the directory can be made.
    pub fn taken(&self) -> Option<&Path> {
        match self {
            DirectoryError::Taken { path, .. } => Some(path),
            DirectoryError::Forbidden(_) | DirectoryError::Unfit { .. } | DirectoryError::Step { .. } => None,
        }
    }

    /// Returns true if a file is in the place of a directory.
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
    /// Returns the directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file with mode 0400 and atomically replaces an existing one. `path` has its components, each a plain name.
    /// Removes a directory of that name, with everything in it.
    ///
    /// # Errors
    /// As `mkdirat(2)`, `openat(2)`, `write(2)` and `renameat(2)`.
    pub fn write(&self, path: &[&str], bytes: &[u8]) -> Result<(), DirectoryError> {
        self.write_for(Readers::Owner, path, bytes)
    }

    /// Does the same as [`PrivateDirectory::write`], for the readers that are given.
    ///
    /// # Errors
    /// As [`PrivateDirectory::write`].
    pub fn write_for(&self, readers: Readers, path: &[&str], bytes: &[u8]) -> Result<(), DirectoryError> {
        let full = self.path.join(path.join("/"));
        let Some((name, parents)) = path.split_last() else { return Ok(()) };
        let mut directory = rustix::fs::openat(&self.fd, ".", OPEN, Mode::empty()).map_err(step("open", &full))?;
        for parent in parents {
            match make_directory_for(readers, &directory, parent) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(step("create", &full)(error)),
            }
            directory = rustix::fs::openat(&directory, *parent, OPEN, Mode::empty()).map_err(step("open", &full))?;
        }
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, TEMPORARY, create, Mode::RUSR)
            .and_then(|file| rustix::fs::fchmod(&file, readers.file_mode()).map(|()| file))
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
            // The caller gets the error of the write itself.
            let _ = rustix::fs::unlinkat(&directory, TEMPORARY, AtFlags::empty());
        }
        renamed.map_err(step("write", &full))
    }

    /// Makes a directory in it, unless it is there, and returns the path. `name` is a plain name.
    ///
    /// # Errors
    /// As `mkdirat(2)`.
    pub fn create(&self, name: &str) -> Result<PathBuf, DirectoryError> {
        let path = self.path.join(name);
        match make_directory(&self.fd, name) {
            Ok(()) | Err(Errno::EXIST) => Ok(path),
            Err(error) => Err(step("create", &path)(error)),
        }
    }

    /// Removes a directory in it, with its contents. `name` is a plain name.
    ///
    /// # Errors
    /// As `openat(2)` and `unlinkat(2)`.
    pub fn remove(&self, name: &str) -> Result<(), DirectoryError> {
        remove_tree(&self.fd, name).map_err(step("remove", self.path.join(name)))
    }
}

/// The users who can read a file, if they get to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// This user.
    Owner,
    /// Every user: the processes of a container may have any.
    Everyone,
}

impl Readers {
    fn file_mode(self) -> Mode {
        match self {
            Readers::Owner => Mode::RUSR,
            Readers::Everyone => Mode::RUSR | Mode::RGRP | Mode::ROTH,
        }
    }

    fn directory_mode(self) -> Mode {
        match self {
            Readers::Owner => Mode::RWXU,
            Readers::Everyone => Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH,
        }
    }
}

/// Makes a directory, mode 0700 whatever the umask.
pub(super) fn make_directory(parent: &OwnedFd, name: &str) -> Result<(), Errno> {
    make_directory_for(Readers::Owner, parent, name)
}

fn make_directory_for(readers: Readers, parent: &OwnedFd, name: &str) -> Result<(), Errno> {
    rustix::fs::mkdirat(parent, name, Mode::RWXU)?;
    // The umask may have taken our own permissions away.
    rustix::fs::chmodat(parent, name, readers.directory_mode(), AtFlags::empty())
}

/// Removes a directory and its contents, and follows no symlinks.
pub(super) fn remove_tree(parent: &OwnedFd, name: impl rustix::path::Arg + Copy) -> Result<(), Errno> {
    let directory = rustix::fs::openat(parent, name, OPEN, Mode::empty())?;
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::unlinkat(&directory, entry.file_name(), AtFlags::empty()) {
            // Systems other than Linux answer EPERM for a directory.
            Err(Errno::ISDIR | Errno::PERM) => remove_tree(&directory, entry.file_name())?,
            removed => removed?,
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}
