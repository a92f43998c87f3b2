//! What can go wrong with a vault. Facts only: what to do about them is the command line's to say.

use std::path::PathBuf;
use std::time::Duration;

use super::manifest::ManifestError;
use crate::crypto::EnvelopeError;
use crate::secret::SecretId;
use crate::storage::{LockError, LockOwner, StorageError, WriteError};

/// Why a file of the vault is refused: it is not what its place says it is.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is no sound envelope.
    #[error(transparent)]
    Envelope(EnvelopeError),
    /// Its binding is not understood.
    #[error("its binding is not understood")]
    Binding(#[source] serde_json::Error),
    /// It is a link, a directory or something else that is no regular file.
    #[error("it is not a regular file")]
    NoFile,
    /// It belongs to another vault.
    #[error("it was written for another vault")]
    OtherVault,
    /// It belongs to another place in this vault.
    #[error("it was written as {0}")]
    OtherSecret(Box<SecretId>),
}

/// A failed operation on a vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no vault.
    #[error("there is no vault at {}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is one already.
    #[error("there is a vault at {} already", path.display())]
    Exists {
        /// Where it is.
        path: PathBuf,
    },
    /// There are secrets, but not the `vault.toml` they were written with.
    #[error("there are secrets at {}, but no vault.toml", path.display())]
    ManifestLost {
        /// Where they are.
        path: PathBuf,
    },
    /// `vault.toml` is not understood.
    #[error("cannot read {}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// There is no such secret.
    #[error("there is no {id}")]
    SecretMissing {
        /// Which.
        id: Box<SecretId>,
    },
    /// There is such a secret already.
    #[error("there is a {id} already")]
    SecretExists {
        /// Which.
        id: Box<SecretId>,
    },
    /// None of the identities opens it.
    #[error("cannot decrypt {id}, {}", path.display())]
    CannotDecrypt {
        /// Which.
        id: Box<SecretId>,
        /// Its file.
        path: PathBuf,
    },
    /// The file is not what its place says it is.
    #[error("refused {}, the file of {id}", path.display())]
    Refused {
        /// The secret whose place it is in.
        id: Box<SecretId>,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Refusal,
    },
    /// Sealing failed, or what was read back after writing is not what was written.
    #[error("cannot write {}", path.display())]
    Seal {
        /// The file that was to be written.
        path: PathBuf,
        /// Why.
        #[source]
        source: EnvelopeError,
    },
    /// Another process is writing.
    #[error("the vault is locked by another process: {}", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long we waited.
        waited: Duration,
        /// Who has it, where the system tells.
        owner: Option<LockOwner>,
    },
    /// The operating system gave no randomness.
    #[error("cannot get random bytes")]
    Randomness {
        /// Why.
        #[source]
        source: getrandom::Error,
    },
    /// The system refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<LockError> for VaultError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held { path, waited, owner } => VaultError::Locked { path, waited, owner },
            LockError::Storage(error) => error.into(),
        }
    }
}

impl From<WriteError<EnvelopeError>> for VaultError {
    fn from(error: WriteError<EnvelopeError>) -> Self {
        match error {
            WriteError::Storage(error) => error.into(),
            WriteError::Check { path, source } => VaultError::Seal { path, source },
        }
    }
}
