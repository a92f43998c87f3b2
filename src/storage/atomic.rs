//! Writing a file whole: a reader sees the old content or the new one, at any moment and after any crash.
//!
//! The steps are a temporary file in the same directory, written and synced, read back and checked, renamed into place,
//! and the directory synced. Once [`Directory::write`] has returned, the content survives a power cut, as far as the
//! disk tells the truth about `fsync(2)`.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::{Directory, DirectoryEntry, Lock, StorageError, beneath, lock};

/// The temporary file of [`Directory::write`]. One name is enough, as its callers hold the vault's lock; and so a writer
/// that was killed leaves at most one behind, which the next write in that directory takes away without a search.
pub(super) const TEMPORARY: &str = ".tmp";

/// The prefix of the temporary files of [`Directory::write_new`]. Its callers do not wait for each other, so each file has
/// its own name; its writer holds a lock on it, which ends with the writer.
const SHARED_PREFIX: &str = ".flyte-local-";

/// The treatment of a file that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// Take its place.
    Existing,
    /// Leave it alone and fail.
    Never,
}

/// Why a file was not written. The file that was there before, if any, is untouched.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E: std::error::Error + 'static> {
    /// The system refused a step.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The bytes that were read back failed the caller's check.
    #[error("cannot write {}", path.display())]
    Check {
        /// The file that was to be written.
        path: std::path::PathBuf,
        /// The caller's reason.
        #[source]
        source: E,
    },
}

impl WriteError<std::io::Error> {
    pub(super) fn into_storage(self) -> StorageError {
        match self {
            Self::Storage(error) => error,
            Self::Check { path, source } => StorageError::new("write", path, source),
        }
    }
}

pub(super) fn same_as(bytes: &[u8]) -> impl FnOnce(&[u8]) -> Result<(), std::io::Error> {
    move |read_back| match read_back == bytes {
        true => Ok(()),
        false => Err(std::io::Error::other("what was read back is not what was written")),
    }
}

/// Returns `true` if the name is that of a temporary file, of a write that goes on or was interrupted.
pub fn is_leftover(name: &str) -> bool {
    name == TEMPORARY || is_shared_temporary(name)
}

fn is_shared_temporary(name: &str) -> bool {
    name.starts_with(SHARED_PREFIX) && name.ends_with(TEMPORARY)
}

/// A temporary file that is being written.
struct TemporaryFile<'a> {
    name: &'a str,
    file: File,
}

impl Directory {
    /// Writes `bytes` to the file `name`, mode 0600 whatever the umask; `check` is given what was read back, before the
    /// rename. Only in a directory that is ours alone, and under `lock`: a file called `.tmp` in it is removed.
    ///
    /// # Errors
    /// The system's, or the check's. With [`Replace::Never`], a file that exists is one. So is a lock whose file
    /// was removed or replaced.
    pub fn write<E: std::error::Error>(
        &self,
        lock: &Lock,
        name: &str,
        bytes: &[u8],
        replace: Replace,
        check: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Result<(), WriteError<E>> {
        lock.confirm()?;
        self.remove_temporary()?;
        let file = self.create_temporary(TEMPORARY, name)?;
        self.write_through(TemporaryFile { name: TEMPORARY, file }, name, bytes, replace, check, || lock.confirm())
    }

    /// As [`Directory::write`], in place of what is there, for bytes that are sound if they read back as they were written.
    ///
    /// # Errors
    /// As there.
    pub fn put(&self, lock: &Lock, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.write(lock, name, bytes, Replace::Existing, same_as(bytes)).map_err(WriteError::into_storage)
    }

    /// Writes a file that is not there yet, mode 0600 whatever the umask, in a directory that other programs may share: it waits
    /// for no lock, and touches nothing but its own temporary file and those of writers that were killed.
    ///
    /// # Errors
    /// The system's; a file that exists is one.
    pub fn write_new(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.sweep();
        let (temporary, file) = self.create_locked(name)?;
        self.write_through(
            TemporaryFile { name: &temporary, file },
            name,
            bytes,
            Replace::Never,
            same_as(bytes),
            || Ok(()),
        )
        .map_err(WriteError::into_storage)
    }

    /// As [`Directory::write_new`], in place of the file that is there; `check` is given what was read back, before the rename.
    ///
    /// # Errors
    /// The system's, or the check's.
    pub fn replace<E: std::error::Error>(
        &self,
        name: &str,
        bytes: &[u8],
        check: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Result<(), WriteError<E>> {
        self.sweep();
        let (temporary, file) = self.create_locked(name)?;
        self.write_through(TemporaryFile { name: &temporary, file }, name, bytes, Replace::Existing, check, || Ok(()))
    }

    /// Removes the temporary files that a killed [`Directory::write_new`] left. One that cannot be removed does no harm.
    fn sweep(&self) {
        for (name, _lock) in self.abandoned(0) {
            let _ = rustix::fs::unlinkat(self, &*name, AtFlags::empty());
        }
    }

    /// Returns this user's temporary files that a killed [`Directory::write_new`] or [`Directory::replace`] left here with some of
    /// their content. The next such call removes them.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        // A writer takes its lock before it writes anything, and is not to find it taken.
        self.abandoned(1).map(|(name, _)| self.join(&name)).collect()
    }

    /// Returns this user's temporary files of at least so many bytes whose writers hold no lock on them any more, each with our
    /// lock. To remove one, keep the lock until the name is gone: otherwise a writer could lock the file and then lose it.
    fn abandoned(&self, least: i64) -> impl Iterator<Item = (String, File)> {
        let own = rustix::process::geteuid().as_raw();
        self.entries().unwrap_or_default().into_iter().filter_map(move |entry| {
            let DirectoryEntry::File(name) = entry else { return None };
            if !is_shared_temporary(&name) {
                return None;
            }
            let file = File::from(beneath::open(self, &name, OFlags::RDONLY, Mode::empty()).ok()?);
            let is_sought = rustix::fs::fstat(&file).is_ok_and(|stat| stat.st_uid == own && stat.st_size >= least);
            (is_sought && lock::try_lock(&file).unwrap_or(false)).then_some((name, file))
        })
    }

    /// A new temporary file for `name`, which no other [`Directory::write_new`] takes for one that was left behind.
    fn create_locked(&self, name: &str) -> Result<(String, File), StorageError> {
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let temporary = format!("{SHARED_PREFIX}{}-{}{TEMPORARY}", std::process::id(), now.as_nanos());
            let file = self.create_temporary(&temporary, name)?;
            // Between the two, another writer may have taken it for a leftover. On a file system without locks none does.
            let is_locked = lock::try_lock(&file).unwrap_or(true);
            if is_locked && lock::is_named(&file, self.as_fd(), &temporary).unwrap_or(true) {
                return Ok((temporary, file));
            }
        }
    }

    /// A temporary file, which must not be there, for `name`.
    pub(super) fn create_temporary(&self, temporary: &str, name: &str) -> Result<File, StorageError> {
        let (flags, mode) = (OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR);
        let fd = beneath::open(self, temporary, flags, mode);
        fd.map(File::from).map_err(|error| StorageError::new("write", self.join(name), error))
    }

    fn write_through<E: std::error::Error>(
        &self,
        temporary: TemporaryFile<'_>,
        name: &str,
        bytes: &[u8],
        replace: Replace,
        check: impl FnOnce(&[u8]) -> Result<(), E>,
        confirm: impl FnOnce() -> Result<(), StorageError>,
    ) -> Result<(), WriteError<E>> {
        let written = self.fill(&temporary.file, name, bytes).map_err(WriteError::from).and_then(|read_back| {
            check(&read_back).map_err(|source| WriteError::Check { path: self.join(name), source })?;
            confirm()?;
            self.rename(temporary.name, name, replace).map_err(WriteError::from)
        });
        if written.is_err() {
            // The first error is the one to tell.
            let _ = rustix::fs::unlinkat(self, temporary.name, AtFlags::empty());
        }
        written?;
        self.sync().map_err(WriteError::from)
    }

    /// Writes and syncs the content, and reads it back.
    fn fill(&self, file: &File, name: &str, bytes: &[u8]) -> Result<Vec<u8>, StorageError> {
        self.write_content(file, name, bytes)?;
        self.sync_and_read_back(file, name, bytes.len())
    }

    /// Sets the mode of a temporary file for `name`, and writes its content.
    pub(super) fn write_content(&self, mut file: &File, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let failed = |error: std::io::Error| StorageError::new("write", self.join(name), error);
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::fchmod(file, mode).map_err(|error| failed(error.into()))?;
        file.write_all(bytes).map_err(failed)
    }

    pub(super) fn sync_and_read_back(
        &self,
        mut file: &File,
        name: &str,
        length: usize,
    ) -> Result<Vec<u8>, StorageError> {
        let failed = |error: std::io::Error| StorageError::new("write", self.join(name), error);
        file.sync_all().map_err(failed)?;
        rustix::fs::seek(file, rustix::fs::SeekFrom::Start(0)).map_err(|error| failed(error.into()))?;
        let mut read_back = Vec::with_capacity(length + 1);
        file.read_to_end(&mut read_back).map_err(failed)?;
        Ok(read_back)
    }

    fn rename(&self, temporary: &str, name: &str, replace: Replace) -> Result<(), StorageError> {
        rename(self, temporary, self, name, replace).map_err(|error| StorageError::new("write", self.join(name), error))
    }
}

/// Renames a temporary file into its place, which may be in another directory.
pub(super) fn rename(
    from: &Directory,
    temporary: &str,
    to: &Directory,
    name: &str,
    replace: Replace,
) -> Result<(), Errno> {
    match replace {
        Replace::Existing => rustix::fs::renameat(from, temporary, to, name),
        Replace::Never => rename_to_new(from, temporary, to, name),
    }
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn rename_to_new(from: &Directory, temporary: &str, to: &Directory, name: &str) -> Result<(), Errno> {
    match rustix::fs::renameat_with(from, temporary, to, name, RenameFlags::NOREPLACE) {
        // The file system has no such rename (NFS, for one). A link never replaces either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            rustix::fs::linkat(from, temporary, to, name, AtFlags::empty())?;
            rustix::fs::unlinkat(from, temporary, AtFlags::empty())
        }
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::os::unix::fs::PermissionsExt;

    fn directory() -> (tempfile::TempDir, Directory, Lock) {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(temporary.path().join("d")).expect("made");
        let root = Directory::open(temporary.path()).expect("it exists");
        let lock = Lock::acquire(&root, ".lock", std::time::Duration::ZERO).expect("free");
        let directory = Directory::open(&temporary.path().join("d")).expect("it exists");
        (temporary, directory, lock)
    }

    fn accept(_: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }

    #[test]
    fn a_file_is_replaced_only_when_asked() {
        let (_keep, directory, lock) = directory();
        directory.write(&lock, "f", b"one", Replace::Never, accept).expect("a new file");
        let refused = directory.write(&lock, "f", b"two", Replace::Never, accept);
        assert!(matches!(refused, Err(WriteError::Storage(error)) if error.already_exists()));
        assert_eq!(directory.read("f", 10).expect("readable").expect("there").as_slice(), b"one");
        directory.write(&lock, "f", b"two", Replace::Existing, accept).expect("replaced");
        assert_eq!(directory.read("f", 10).expect("readable").expect("there").as_slice(), b"two");
    }

    #[test]
    fn a_failed_check_leaves_the_old_file_and_nothing_else() {
        let (_keep, directory, lock) = directory();
        directory.write(&lock, "f", b"old", Replace::Never, accept).expect("a new file");
        let refused = directory.write(&lock, "f", b"new", Replace::Existing, |read_back| {
            assert_eq!(read_back, b"new");
            Err(std::io::Error::other("no"))
        });
        assert!(matches!(refused, Err(WriteError::Check { .. })));
        assert_eq!(directory.read("f", 10).expect("readable").expect("there").as_slice(), b"old");
        assert_eq!(directory.entries().expect("listed").len(), 1);
    }

    #[test]
    fn a_lock_lost_during_the_check_stops_the_write() {
        let (keep, directory, lock) = directory();
        let lose = |_: &[u8]| std::fs::remove_file(keep.path().join(".lock"));
        assert!(matches!(directory.write(&lock, "f", b"new", Replace::Never, lose), Err(WriteError::Storage(_))));
        assert!(directory.entries().expect("listed").is_empty());
    }

    #[test]
    fn a_temporary_file_of_a_killed_writer_is_removed() {
        let (keep, directory, lock) = directory();
        let keep = keep.path().join("d");
        std::os::unix::fs::symlink("/etc/passwd", keep.join(TEMPORARY)).expect("a link");
        directory.write(&lock, "f", b"new", Replace::Never, accept).expect("written");
        assert_eq!(directory.entries().expect("listed").len(), 1);
    }

    #[test]
    fn a_new_file_in_a_shared_directory_touches_nothing_else() {
        let (keep, directory, lock) = directory();
        let keep = keep.path().join("d");
        // Each has a half of what a file has that a killed writer left.
        for name in [format!("{SHARED_PREFIX}f"), format!("f{TEMPORARY}")] {
            directory.write(&lock, &name, b"another program's own", Replace::Never, accept).expect("written");
        }
        std::fs::create_dir(keep.join(TEMPORARY)).expect("another program's own");
        directory.write_new("f", b"new").expect("written");
        assert!(directory.write_new("f", b"newer").expect_err("it is there").already_exists());
        assert_eq!(directory.read("f", 10).expect("readable").expect("there").as_slice(), b"new");
        assert_eq!(directory.entries().expect("listed").len(), 4);
    }

    #[test]
    fn a_file_in_a_shared_directory_is_replaced_whole_or_not_at_all() {
        let (_keep, directory, _lock) = directory();
        directory.write_new("f", b"old").expect("written");
        drop(directory.create_locked("f").expect("what a killed writer left"));
        let refused = directory.replace("f", b"new", |read_back| {
            assert_eq!(read_back, b"new");
            Err(std::io::Error::other("no"))
        });
        assert!(matches!(refused, Err(WriteError::Check { .. })));
        assert_eq!(directory.read("f", 10).expect("readable").expect("there").as_slice(), b"old");
        directory.replace("f", b"new", accept).expect("replaced");
        assert_eq!(directory.read("f", 10).expect("readable").expect("there").as_slice(), b"new");
        assert_eq!(directory.entries().expect("listed").len(), 1);
    }

    #[test]
    fn in_a_shared_directory_only_the_temporary_files_of_killed_writers_are_removed() {
        let (_keep, directory, _lock) = directory();
        drop(directory.create_locked("f").expect("made"));
        let (living, _file) = directory.create_locked("f").expect("made");
        directory.write_new("f", b"new").expect("written");
        assert_eq!(
            directory.entries().expect("listed"),
            [DirectoryEntry::File(living), DirectoryEntry::File("f".to_owned())]
        );
    }

    #[test]
    fn a_temporary_file_is_private_from_the_start() {
        let (_keep, directory, _lock) = directory();
        let (_, file) = directory.create_locked("f").expect("made");
        // Its user's next writer must be able to open it, to see whether a writer has a lock on it.
        assert_eq!(file.metadata().expect("there").permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn its_mode_is_0600() {
        let (keep, directory, lock) = directory();
        let keep = keep.path().join("d");
        directory.write(&lock, "f", b"", Replace::Never, accept).expect("written");
        let mode = std::fs::metadata(keep.join("f")).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let (_keep, directory, lock) = directory();
        directory.write(&lock, "f", b"four", Replace::Never, accept).expect("written");
        assert_eq!(directory.read("f", 4).expect("readable").expect("there").as_slice(), b"four");
        assert!(directory.read("f", 3).expect_err("it is longer").is_too_large());
        assert_eq!(directory.read_start("f", 3).expect("readable").expect("there").as_slice(), b"fou");
    }

    #[test]
    fn a_link_or_a_fifo_is_not_read() {
        let (keep, directory, _lock) = directory();
        let keep = keep.path().join("d");
        std::os::unix::fs::symlink("/etc/passwd", keep.join("link")).expect("a link");
        rustix::fs::mknodat(&directory, "fifo", rustix::fs::FileType::Fifo, Mode::RUSR, 0).expect("a fifo");
        assert!(directory.read("link", 10).is_err());
        assert!(directory.read("fifo", 10).is_err());
        assert!(directory.read("none", 10).expect("no error").is_none());
    }
}
