//! A handle on a directory, below which nothing is reached through a symbolic link.
//!
//! Everything is opened relative to a handle, one component at a time, so a directory that is swapped for a link while
//! we work leads nowhere. Only the path given to [`Directory::open`] may hold links: it is the user's own.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use zeroize::Zeroizing;

use super::{Lock, Permissions, StorageError, beneath, exposure};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// An open directory, and the path it was reached by (for messages only).
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    path: PathBuf,
    /// The check of everything that is opened in it: by default, nothing is checked.
    guarded: bool,
}

/// Why a link, a directory or a FIFO was not read.
#[derive(Debug, thiserror::Error)]
#[error("it is not a regular file")]
pub(super) struct NotRegularFileError;

impl From<NotRegularFileError> for io::Error {
    fn from(error: NotRegularFileError) -> Self {
        io::Error::other(error)
    }
}

/// Why a link or a file was not taken for a directory.
#[derive(Debug, thiserror::Error)]
#[error("it is not a directory")]
pub(super) struct NotDirectoryError;

/// Something in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DirectoryEntry {
    /// A directory of this name.
    Directory(String),
    /// A regular file of this name.
    File(String),
    /// Something else: a link, a FIFO, what has no proper name.
    Other(String),
}

impl DirectoryEntry {
    /// Returns its name.
    pub fn name(&self) -> &str {
        let (Self::Directory(name) | Self::File(name) | Self::Other(name)) = self;
        name
    }
}

impl Directory {
    /// Opens a directory that exists.
    ///
    /// # Errors
    /// As `open(2)`.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let fd = retry_on_intr(|| rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()))
            .map_err(|error| StorageError::new("open", path, error))?;
        Ok(Self { fd, path: path.to_owned(), guarded: false })
    }

    /// Opens a directory, making it and its parents first where they are missing, with mode 0700 whatever the umask.
    ///
    /// A new directory survives a power cut: its parent is synced.
    ///
    /// # Errors
    /// As `mkdir(2)` and `open(2)`.
    pub fn create(path: &Path) -> Result<Self, StorageError> {
        if path.as_os_str().is_empty() {
            return Self::open(Path::new("."));
        }
        match Self::open(path) {
            Err(error) if error.is_not_found() => {}
            Ok(found) => {
                // The process that made it may have been interrupted before it synced. Not every parent may be read, and then it is not
                // ours to sync.
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                if let Ok(parent) = Self::open(parent.unwrap_or(Path::new("."))) {
                    parent.sync()?;
                }
                return Ok(found);
            }
            failed => return failed,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Self::open(path);
        };
        let parent = Self::create(parent)?;
        parent.make(Path::new(name))?;
        Self::open(path)
    }

    /// Refuses it if others can write to it, or if it belongs to another user than us and root; from then on also each
    /// directory and each file that is opened in it.
    ///
    /// # Errors
    /// One whose [`StorageError::exposure`] says why.
    pub fn guarded(mut self) -> Result<Self, StorageError> {
        self.guarded = true;
        let stat = rustix::fs::fstat(&self.fd).map_err(|error| StorageError::new("open", &self.path, error))?;
        let safe = exposure::refuse_writable(&self.fd, &stat, None);
        safe.map_err(|exposure| StorageError::new("use", &self.path, exposure))?;
        Ok(self)
    }

    /// Returns the check of everything that is opened in it.
    pub fn permissions(&self) -> Permissions {
        if self.guarded { Permissions::Checked } else { Permissions::Ignored }
    }

    /// The path it was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something in it, for messages.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a directory in it; `None` if it does not exist.
    ///
    /// # Errors
    /// As `openat(2)`; a symbolic link is one.
    pub fn subdirectory(&self, name: &str) -> Result<Option<Self>, StorageError> {
        let failed = |error: io::Error| StorageError::new("open", self.join(name), error);
        let fd = match beneath::open(&self.fd, name, DIRECTORY, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => return Err(failed(io::Error::other(NotDirectoryError))),
            Err(error) => return Err(failed(error.into())),
        };
        if self.guarded {
            let stat = rustix::fs::fstat(&fd).map_err(|error| failed(error.into()))?;
            exposure::refuse_writable(&fd, &stat, Some(self.fd.as_fd()))
                .map_err(|exposure| StorageError::new("use", self.join(name), exposure))?;
        }
        Ok(Some(Self { fd, path: self.join(name), guarded: self.guarded }))
    }

    /// Opens a directory in it, making it first where it is missing; mode and durability as [`Directory::create`].
    ///
    /// # Errors
    /// As `mkdirat(2)` and `openat(2)`; a symbolic link is one.
    pub fn create_subdirectory(&self, name: &str) -> Result<Self, StorageError> {
        if let Some(found) = self.subdirectory(name)? {
            // The process that made it may have been interrupted before it synced.
            self.sync()?;
            return Ok(found);
        }
        self.make(Path::new(name))?;
        let made = self.subdirectory(name)?;
        made.ok_or_else(|| StorageError::new("open", self.join(name), Errno::NOENT))
    }

    /// Reads a regular file of at most `limit` bytes; `None` if it does not exist.
    ///
    /// It never blocks on a FIFO, and never leaves the directory through a link.
    ///
    /// # Errors
    /// As `openat(2)` and `read(2)`; a longer file is one, and so is something else than a regular file.
    pub fn read(&self, name: &str, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
        let bytes = self.read_start(name, limit.saturating_add(1))?;
        match bytes {
            Some(bytes) if bytes.len() > limit => Err(StorageError::too_large(self.join(name), limit)),
            bytes => Ok(bytes),
        }
    }

    /// Reads the first `limit` bytes of a regular file, or all of a shorter one; `None` if it does not exist.
    ///
    /// # Errors
    /// As [`Directory::read`], except for a longer file.
    pub fn read_start(&self, name: &str, limit: usize) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
        self.read_start_of(name, limit, usize::MAX)
    }

    /// Reads the first `limit` bytes of a regular file that has at most `most` bytes; `None` if it does not exist.
    ///
    /// # Errors
    /// As [`Directory::read`], where `most` is the limit.
    pub fn read_start_of(
        &self,
        name: &str,
        limit: usize,
        most: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
        let failed = |error: io::Error| StorageError::new("read", self.join(name), error);
        let fd = match beneath::open(&self.fd, name, OFlags::RDONLY, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            // The errors for a link and for a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Err(failed(NotRegularFileError.into())),
            Err(error) => return Err(failed(error.into())),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|error| failed(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(failed(NotRegularFileError.into()));
        }
        if self.guarded {
            exposure::refuse_writable(&fd, &stat, Some(self.fd.as_fd())).map_err(|exposure| failed(exposure.into()))?;
        }
        let length = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
        if length > most {
            return Err(StorageError::too_large(self.join(name), most));
        }
        let length = length.min(limit);
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
        File::from(fd).take(limit as u64).read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    /// Returns its entries, sorted by name. One whose name is not UTF-8 is a [`DirectoryEntry::Other`] with an approximate name.
    ///
    /// # Errors
    /// As `readdir(3)`.
    pub fn entries(&self) -> Result<Vec<DirectoryEntry>, StorageError> {
        let failed = |error: Errno| StorageError::new("list", &self.path, error);
        let mut entries = Vec::new();
        for entry in retry_on_intr(|| rustix::fs::Dir::read_from(&self.fd)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().to_str() else {
                entries.push(DirectoryEntry::Other(entry.file_name().to_string_lossy().into_owned()));
                continue;
            };
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                kind => kind,
            };
            match kind {
                FileType::Directory => entries.push(DirectoryEntry::Directory(name.to_owned())),
                FileType::RegularFile => entries.push(DirectoryEntry::File(name.to_owned())),
                _ => entries.push(DirectoryEntry::Other(name.to_owned())),
            }
        }
        entries.sort();
        Ok(entries)
    }

    /// Returns `true` if it was removed since it was opened, so that it no longer has a name.
    ///
    /// # Errors
    /// As `fstat(2)`.
    pub fn is_removed(&self) -> Result<bool, StorageError> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|error| StorageError::new("look at", &self.path, error))?;
        Ok(stat.st_nlink == 0)
    }

    /// Returns `true` if it has an entry of this name.
    ///
    /// # Errors
    /// As `fstatat(2)`.
    pub fn contains(&self, name: &str) -> Result<bool, StorageError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(StorageError::new("look at", self.join(name), error)),
        }
    }

    /// Returns the time at which an entry was last modified; `None` if it does not exist.
    ///
    /// # Errors
    /// As `fstatat(2)`.
    pub fn modified(&self, name: &str) -> Result<Option<Timestamp>, StorageError> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Times that a clock cannot show become the first one.
            Ok(stat) => Ok(Some(Timestamp::from_second(stat.st_mtime).unwrap_or_default())),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(StorageError::new("look at", self.join(name), error)),
        }
    }

    /// Removes a file, durably; `false` where there was none. Fails if the file of `lock` was removed or replaced.
    ///
    /// # Errors
    /// As `unlinkat(2)` and `fsync(2)`.
    pub fn remove(&self, lock: &Lock, name: &str) -> Result<bool, StorageError> {
        lock.confirm()?;
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => self.sync().map(|()| true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(StorageError::new("remove", self.join(name), error)),
        }
    }

    /// Makes what was created, renamed or removed in it survive a power cut.
    ///
    /// # Errors
    /// As `fsync(2)`.
    pub fn sync(&self) -> Result<(), StorageError> {
        retry_on_intr(|| rustix::fs::fsync(&self.fd)).map_err(|error| StorageError::new("sync", &self.path, error))
    }

    fn make(&self, name: &Path) -> Result<(), StorageError> {
        let failed = |error: Errno| StorageError::new("create", self.path.join(name), error);
        match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            // The umask may have taken our own permissions away; what others may do, it cannot have added.
            Ok(()) => rustix::fs::chmodat(&self.fd, name, Mode::RWXU, AtFlags::empty()).map_err(failed)?,
            // Another writer was faster.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        self.sync()
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
