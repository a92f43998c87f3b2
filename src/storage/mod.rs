//! Disk: directories that no link leads out of, files that are replaced whole, and the lock.
//!
//! Nothing here knows what a secret is.

mod atomic;
mod beneath;
mod directory;
mod exposure;
mod found;
mod lock;
mod private_group;
mod system;
mod together;

pub use atomic::{Replace, WriteError, is_leftover};
pub use directory::{Directory, DirectoryEntry};
pub use exposure::{ExposureError, Permissions};
pub use found::{
    FoundError, read_trusted_file, require_closed_path, require_program_in_path, require_trusted,
    require_trusted_if_there, require_trusted_program,
};
pub use lock::{Lock, LockError, LockOwner};
pub use system::System;
pub use together::{MAX_TOGETHER, NewFile, WrittenTogether, write_together};

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, Stat};
use zeroize::Zeroizing;

/// A failed operation on a file, with what was tried and where.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct StorageError {
    /// A verb: `open`, `write`, `remove`.
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The system's reason.
    #[source]
    pub source: io::Error,
}

impl StorageError {
    pub(crate) fn new(action: &'static str, path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self { action, path: path.into(), source: source.into() }
    }

    fn too_large(path: PathBuf, limit: usize) -> Self {
        Self::new("read", path, io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes")))
    }

    fn no_regular_file(action: &'static str, path: &Path) -> Self {
        Self::new(action, path, io::Error::other(directory::NotRegularFileError))
    }

    /// Returns `true` if the reason is that the file is larger than the caller allows.
    pub fn is_too_large(&self) -> bool {
        self.source.kind() == io::ErrorKind::FileTooLarge
    }

    /// Returns `true` if the reason is a link, a directory, or something else in the place of a regular file.
    pub fn is_no_regular_file(&self) -> bool {
        self.source.get_ref().is_some_and(|reason| reason.is::<directory::NotRegularFileError>())
    }

    /// Returns `true` if the reason is that a link or a file is where a directory should be.
    pub fn is_no_directory(&self) -> bool {
        self.source.get_ref().is_some_and(|reason| reason.is::<directory::NotDirectoryError>())
    }

    /// Whom it is open to, if that is the reason.
    pub fn exposure(&self) -> Option<ExposureError> {
        self.source.get_ref()?.downcast_ref().copied()
    }

    /// Returns `true` if the reason is that there is no such file.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Returns `true` if the reason is that the file is there already.
    pub fn already_exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }
}

/// Reads a file that the user named: it may be a link, or a pipe. At most `limit` bytes; `None` if it does not exist.
///
/// # Errors
/// As `open(2)` and `read(2)`; a longer file is one, and so is a directory.
pub fn read_users_file(path: &Path, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
    read_opened(path, limit, |_, _| Ok(()))
}

/// As [`read_users_file`], for a file that other users must not read.
///
/// # Errors
/// As those, and one whose [`StorageError::exposure`] says that others can read it.
pub fn read_private_file(
    path: &Path,
    limit: usize,
    permissions: Permissions,
) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
    read_opened(path, limit, |_, stat| match permissions {
        Permissions::Checked => exposure::refuse_readable(stat),
        Permissions::Ignored => Ok(()),
    })
}

/// Reads a file if it passes `check` once it is open.
fn read_opened(
    path: &Path,
    limit: usize,
    check: impl FnOnce(&File, &Stat) -> Result<(), ExposureError>,
) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
    let failed = |error: io::Error| StorageError::new("read", path, error);
    // Opening a FIFO without a writer must not wait for one; reading it then ends at once.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::io::retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty()));
    let fd = match opened {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    let file = File::from(fd);
    let stat = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
    check(&file, &stat).map_err(|exposure| StorageError::new("use", path, exposure))?;
    rustix::fs::fcntl_setfl(&file, OFlags::empty()).map_err(|error| failed(error.into()))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit.saturating_add(1).min(64 << 10)));
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit { Err(StorageError::too_large(path.to_owned(), limit)) } else { Ok(Some(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_from_the_others() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let directory = Directory::open(keep.path()).expect("it exists");
        directory.write_new("file", b"x").expect("written");
        directory.create_subdirectory("directory").expect("made");
        let reasons = [
            directory.read("file", 0).expect_err("it is longer"),
            directory.read("directory", 10).expect_err("it is not a file"),
            directory.subdirectory("file").expect_err("it is not a directory"),
            Directory::open(&keep.path().join("none")).expect_err("it is not there"),
            directory.write_new("file", b"y").expect_err("it is there"),
        ];
        for (index, reason) in reasons.iter().enumerate() {
            let mut expected = [false; 5];
            expected[index] = true;
            let found = [
                reason.is_too_large(),
                reason.is_no_regular_file(),
                reason.is_no_directory(),
                reason.is_not_found(),
                reason.already_exists(),
            ];
            assert_eq!(found, expected, "{reason:?}");
        }
    }

    #[test]
    fn a_users_file_is_read_whole_or_not_at_all() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        Directory::open(keep.path()).and_then(|directory| directory.write_new("f", b"four")).expect("written");
        let read = |limit| read_users_file(&keep.path().join("f"), limit);
        assert_eq!(read(4).expect("readable").expect("there").as_slice(), b"four");
        assert!(read(3).expect_err("it is longer").is_too_large());
    }

    #[test]
    fn reading_a_pipe_without_a_writer_does_not_block() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let path = keep.path().join("pipe");
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR, 0).expect("a pipe");
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            tell.send(read_users_file(&path, 10).map(|bytes| bytes.map(|bytes| bytes.len())).ok())
        });
        let read = told.recv_timeout(std::time::Duration::from_secs(60)).expect("it does not wait");
        assert_eq!(read, Some(Some(0)));
    }
}
