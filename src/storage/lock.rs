//! One writer at a time.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::{Directory, StorageError};

/// How often a held lock is tried again. `flock(2)` has no time limit of its own.
const RETRY: Duration = Duration::from_millis(10);

/// The advisory lock of a vault, held until dropped, or until the process ends in any way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
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
    },
    /// The lock file cannot be opened or locked.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Lock {
    /// Takes the lock in the file `name` of `directory`, making the file where it is missing and never removing it: a
    /// lock on a removed file keeps nobody out.
    ///
    /// # Errors
    /// [`LockError::Held`] after `patience`.
    pub fn acquire(directory: &Directory, name: &str, patience: Duration) -> Result<Self, LockError> {
        let path = directory.join(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(directory, name, flags, mode)
            .and_then(|fd| rustix::fs::fchmod(&fd, mode).map(|()| File::from(fd)))
            .map_err(|error| StorageError::new("open", &path, error))?;
        let started = Instant::now();
        loop {
            // Qualified, because std's `File` has methods of the same names that would win.
            match fs2::FileExt::try_lock_exclusive(&file) {
                Ok(()) => return Ok(Self { _file: file }),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => {
                    if started.elapsed() >= patience {
                        return Err(LockError::Held { path, waited: patience });
                    }
                    std::thread::sleep(RETRY);
                }
                Err(error) => return Err(failed(&path, error)),
            }
        }
    }
}

fn failed(path: &Path, error: std::io::Error) -> LockError {
    StorageError::new("lock", path, error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_has_it() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let directory = Directory::open(keep.path()).expect("it exists");
        let first = Lock::acquire(&directory, ".lock", Duration::ZERO).expect("free");
        let second = Lock::acquire(&directory, ".lock", Duration::ZERO);
        assert!(matches!(second, Err(LockError::Held { path, .. }) if path.ends_with(".lock")));
        drop(first);
        assert!(Lock::acquire(&directory, ".lock", Duration::ZERO).is_ok());
    }
}
