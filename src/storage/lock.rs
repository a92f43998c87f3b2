//! One writer at a time.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Directory, StorageError, beneath};

/// How often a held lock is tried again. `flock(2)` has no time limit.
const RETRY: Duration = Duration::from_millis(10);

/// The advisory lock of a vault, held until dropped, or until the process ends in any way.
#[derive(Debug)]
pub struct Lock {
    file: File,
    directory: OwnedFd,
    name: String,
    path: PathBuf,
}

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockOwner {
    /// Its number.
    pub process: u32,
    /// The name of its program.
    pub program: String,
    /// How long it has been running.
    pub age: Duration,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process held it all the time.
    #[error("{} is locked by another process", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
        /// Who has it, where the system tells.
        owner: Option<LockOwner>,
    },
    /// The lock file cannot be opened or locked.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a lock that was taken no longer holds.
#[derive(Debug, thiserror::Error)]
#[error("the lock file was removed or replaced meanwhile, and another process may be writing")]
struct LockLostError;

impl Lock {
    /// Takes the lock in the file `name` of `directory`, making the file where it is missing and never removing it: a
    /// lock on a removed file keeps no process out. If another process removed or replaced it meanwhile, the new one
    /// counts.
    ///
    /// # Errors
    /// [`LockError::Held`] after `patience`.
    pub fn acquire(directory: &Directory, name: &str, patience: Duration) -> Result<Self, LockError> {
        let path = directory.join(name);
        let handle = directory.as_fd().try_clone_to_owned().map_err(|error| failed(&path, error))?;
        let started = Instant::now();
        loop {
            let file = open(directory, name, &path)?;
            while !try_lock(&file).map_err(|error| failed(&path, error))? {
                if started.elapsed() >= patience {
                    return Err(LockError::Held { path, waited: patience, owner: owner(&file) });
                }
                std::thread::sleep(RETRY);
            }
            if is_named(&file, handle.as_fd(), name).map_err(|error| failed(&path, error.into()))? {
                return Ok(Self { file, directory: handle, name: name.to_owned(), path });
            }
            if started.elapsed() >= patience {
                return Err(failed(&path, std::io::Error::other(LockLostError)));
            }
        }
    }

    /// Checks that it still keeps others out: its file was neither removed nor replaced.
    ///
    /// # Errors
    /// It was, or that cannot be found out.
    pub fn confirm(&self) -> Result<(), StorageError> {
        let lost = |reason: std::io::Error| StorageError::new("hold the lock", &self.path, reason);
        match is_named(&self.file, self.directory.as_fd(), &self.name) {
            Ok(true) => Ok(()),
            Ok(false) => Err(lost(std::io::Error::other(LockLostError))),
            Err(error) => Err(lost(error.into())),
        }
    }
}

impl Drop for Lock {
    /// Unlocks the file before it is closed. Closing it alone does not unlock it while a child process that is just being
    /// started still has its copies of our files.
    fn drop(&mut self) {
        // If this fails, closing unlocks it.
        let _ = fs2::FileExt::unlock(&self.file);
    }
}

fn open(directory: &Directory, name: &str, path: &Path) -> Result<File, StorageError> {
    let mode = Mode::RUSR | Mode::WUSR;
    let failed = |error| StorageError::new("open", path, error);
    let fd = match beneath::open(directory, name, OFlags::RDWR | OFlags::CREATE, mode) {
        Err(Errno::LOOP | Errno::NXIO | Errno::ISDIR) => return Err(StorageError::no_regular_file("open", path)),
        opened => opened.map_err(failed)?,
    };
    if FileType::from_raw_mode(rustix::fs::fstat(&fd).map_err(failed)?.st_mode) != FileType::RegularFile {
        return Err(StorageError::no_regular_file("open", path));
    }
    rustix::fs::fchmod(&fd, mode).map_err(failed)?;
    Ok(File::from(fd))
}

/// `false` if another process has it.
pub(super) fn try_lock(file: &File) -> std::io::Result<bool> {
    loop {
        // Qualified, because std's `File` has methods of the same names that would win.
        match fs2::FileExt::try_lock_exclusive(file) {
            Ok(()) => return Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// Returns `true` if the open file is the one that the directory has by this name.
pub(super) fn is_named(file: &File, directory: BorrowedFd<'_>, name: &str) -> Result<bool, Errno> {
    let open = rustix::fs::fstat(file)?;
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok((found.st_dev, found.st_ino) == (open.st_dev, open.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

fn failed(path: &Path, error: std::io::Error) -> LockError {
    StorageError::new("lock", path, error).into()
}

/// Who holds the lock on this file: not written into it, where it would change what the user may keep in a repository.
#[cfg(target_os = "linux")]
fn owner(file: &File) -> Option<LockOwner> {
    let stat = rustix::fs::fstat(file).ok()?;
    let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    let number = format!("{major:02x}:{minor:02x}:{}", stat.st_ino);
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // `1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF`; one who waits has `->` in the second place.
    let process = locks.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, _, process, file, ..] if file == number => process.parse::<u32>().ok(),
        _ => None,
    })?;
    let status = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name stands in parentheses, and may hold some.
    let (program, rest) = status.split_once('(')?.1.rsplit_once(')')?;
    // The 22nd field, in hundredths of a second on every system that has /proc.
    let began: u64 = rest.split_whitespace().nth(19)?.parse().ok()?;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let age = Duration::try_from_secs_f64(uptime).ok()?.saturating_sub(Duration::from_millis(began * 10));
    Some(LockOwner { process, program: program.to_owned(), age })
}

#[cfg(not(target_os = "linux"))]
fn owner(_: &File) -> Option<LockOwner> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> (tempfile::TempDir, Directory) {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let directory = Directory::open(keep.path()).expect("it exists");
        (keep, directory)
    }

    #[test]
    fn a_second_taker_is_told_who_has_it() {
        let (_keep, directory) = directory();
        let first = Lock::acquire(&directory, ".lock", Duration::ZERO).expect("free");
        match Lock::acquire(&directory, ".lock", Duration::ZERO) {
            Err(LockError::Held { path, owner, .. }) => {
                assert!(path.ends_with(".lock"));
                #[cfg(target_os = "linux")]
                {
                    let owner = owner.expect("the system tells");
                    assert_eq!(owner.process, std::process::id());
                    // A part of the time since the system started, which is more on most.
                    assert!(owner.age < Duration::from_secs(60 * 60), "{owner:?}");
                }
            }
            other => panic!("{other:?}"),
        }
        let other = open(&directory, "other", Path::new("other")).expect("made");
        assert_eq!(owner(&other), None, "the lock is on another file");
        drop(first);
        assert!(Lock::acquire(&directory, ".lock", Duration::ZERO).is_ok());
    }

    #[test]
    fn a_lock_that_is_dropped_is_free_although_a_copy_of_its_file_is_open() {
        let (_keep, directory) = directory();
        let first = Lock::acquire(&directory, ".lock", Duration::ZERO).expect("free");
        let _copy = first.file.try_clone().expect("as a fork has it");
        drop(first);
        assert!(Lock::acquire(&directory, ".lock", Duration::ZERO).is_ok());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_failure_to_lock_is_an_error() {
        let (keep, _) = directory();
        // `flock(2)` answers EBADF for such a descriptor.
        let fd = rustix::fs::open(keep.path(), OFlags::PATH, Mode::empty()).expect("there");
        assert!(try_lock(&File::from(fd)).is_err());
    }

    #[test]
    fn a_lock_whose_file_was_removed_or_replaced_is_lost() {
        let (keep, directory) = directory();
        let lock = Lock::acquire(&directory, ".lock", Duration::ZERO).expect("free");
        assert!(lock.confirm().is_ok());
        std::fs::remove_file(keep.path().join(".lock")).expect("removed");
        assert!(lock.confirm().is_err());
        let second = Lock::acquire(&directory, ".lock", Duration::ZERO).expect("it is a new file");
        assert!(lock.confirm().is_err() && second.confirm().is_ok());
    }

    #[test]
    fn a_file_that_is_replaced_while_we_wait_is_not_the_lock() {
        let (keep, directory) = directory();
        let first = Lock::acquire(&directory, ".lock", Duration::ZERO).expect("free");
        let waiting = std::thread::spawn(move || Lock::acquire(&directory, ".lock", Duration::from_secs(60)));
        // It waits on the first file when it has that open, besides the directory's handle and its copy.
        let path = keep.path().join(".lock");
        let waits = || {
            let open = std::fs::read_dir("/proc/self/fd").expect("Linux");
            open.filter(|fd| fd.as_ref().is_ok_and(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == path)))
                .count()
                == 2
        };
        while !waits() {
            std::thread::yield_now();
        }
        std::fs::remove_file(&path).expect("removed");
        drop(first);
        let second = waiting.join().expect("no panic").expect("the new file is free");
        assert!(second.confirm().is_ok(), "it holds the file that has the name");
    }
}
