//! Disk: directories that no link leads out of, files that are replaced whole, and the lock.
//!
//! Nothing here knows what a secret is.

mod atomic;
mod directory;
mod lock;

pub use atomic::{Replace, WriteError};
pub use directory::{Directory, Entry};
pub use lock::{Lock, LockError};

use std::io;
use std::path::PathBuf;

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

    /// Whether the reason is that there is no such file.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Whether the reason is that the file is there already.
    pub fn already_exists(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }
}
