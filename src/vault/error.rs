//! Errors of a vault. They state facts; the command line adds hints.

use std::path::PathBuf;
use std::time::Duration;

use super::manifest_error::ManifestError;
use super::trust::{Change, Since, Stale};
use super::{Metadata, NamedRecipient};
use crate::crypto::{Author, EnvelopeError, Wanted};
use crate::secret::SecretId;
use crate::storage::{LockError, LockOwner, StorageError, WriteError};

/// Why a file of the vault is refused: it is not what its place says it is.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// Its envelope is damaged.
    #[error(transparent)]
    Envelope(EnvelopeError),
    /// Its binding is not understood.
    #[error("its binding is not understood")]
    Binding(#[source] serde_json::Error),
    /// It is a symlink, a directory or something else than a regular file.
    #[error("it is not a regular file")]
    NoFile,
    /// It belongs to another vault.
    #[error("it was written for another vault")]
    OtherVault,
    /// It belongs to another place in this vault.
    #[error("it was written as {0}")]
    OtherSecret(Box<SecretId>),
    /// It is of the version that does not say who wrote it.
    #[error("it is not signed, so its author is unknown")]
    Unsigned,
    /// It is not what the author it names has signed.
    #[error("its signature does not hold")]
    Forged,
    /// Its author is not an author of the vault.
    #[error("it is signed by {0}, who is not an author of this vault")]
    UnknownAuthor(Box<Author>),
    /// Its author was added to the vault without this machine's user.
    #[error("it is signed by {author}, whom vault.toml names as author {name:?}, but whom this machine does not trust")]
    UnpinnedAuthor {
        /// Who signed it.
        author: Box<Author>,
        /// The author's name in `vault.toml`.
        name: String,
    },
    /// Its author was accepted here, and is one of the vault's no more.
    #[error("it is signed by {author}, a former author, {name:?}, whom vault.toml no longer names")]
    FormerAuthor {
        /// Who signed it.
        author: Box<Author>,
        /// The author's name when they were accepted.
        name: String,
    },
}

impl SecretFileError {
    /// Returns `true` if the file may be intact, but its author is not trusted.
    pub fn is_of_author(&self) -> bool {
        matches!(
            self,
            Self::Unsigned | Self::UnknownAuthor(_) | Self::UnpinnedAuthor { .. } | Self::FormerAuthor { .. }
        )
    }
}

/// The keys that would open a file which no identity opened.
#[derive(Debug)]
pub struct Needs {
    /// To whom the file's header says that it is encrypted.
    pub wanted: Wanted,
    /// The recipients of the vault, to whom it should be.
    pub recipients: Vec<NamedRecipient>,
}

/// A failed operation on a vault.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no vault.
    #[error("there is no vault at {}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// There is one already.
    #[error("there is a vault at {} already", path.display())]
    Exists {
        /// The vault's path.
        path: PathBuf,
    },
    /// There are secrets, but not the `vault.toml` they were written with.
    #[error("there are secrets at {}, but no vault.toml", path.display())]
    ManifestLost {
        /// The vault's path.
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
    /// It was written meanwhile.
    #[error("{} was updated by another process meanwhile, at {:.0}", .metadata.id, .metadata.updated)]
    Overtaken {
        /// As it is now.
        metadata: Box<Metadata>,
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
        /// The keys that would open it.
        needs: Box<Needs>,
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
        source: SecretFileError,
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
    #[error("locked by another process: {}", path.display())]
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
    /// The vault's recipients or authors, or its id, are not those that this machine knows.
    #[error("the vault at {} has changed since {since}{}", path.display(), lines(changes))]
    Changed {
        /// The vault's path.
        path: PathBuf,
        /// How it differs.
        changes: Vec<Change>,
        /// Its fingerprint now.
        fingerprint: String,
        /// The time of what it is compared with.
        since: Since,
    },
    /// It is not the one that was to be accepted.
    #[error("the vault at {} is not the expected one: its fingerprint is {found}", path.display())]
    Unexpected {
        /// The vault's path.
        path: PathBuf,
        /// Its own fingerprint.
        found: String,
    },
    /// Secrets are encrypted to it already.
    #[error("{key} is a recipient already, {name:?}")]
    RecipientExists {
        /// The key.
        key: String,
        /// The recipient's name.
        name: String,
    },
    /// A change of `vault.toml` is refused, because the result could not be read again.
    #[error("cannot change {}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// None of the recipients is called so, nor is it the key of one.
    #[error("the vault has no recipient {name:?}")]
    RecipientMissing {
        /// The name or key that was given.
        name: String,
    },
    /// Without it, no identity of the user's would be a recipient.
    #[error("without recipient {name:?}, none of your identities could open this vault")]
    LastRecipient {
        /// The name or key that was given.
        name: String,
    },
    /// None of the authors is called so, nor is it the key of one.
    #[error("the vault has no author {name:?}")]
    AuthorMissing {
        /// The name or key that was given.
        name: String,
    },
    /// The user would no longer be an author of the vault.
    #[error("author {name:?} is you: what you write would not be read")]
    OwnAuthor {
        /// The name or key that was given.
        name: String,
    },
    /// A secret is older than it was seen here, or gone.
    #[error("{0}")]
    Stale(Box<Stale>),
    /// The user is not an author of the vault.
    #[error("you write as {key}, who is not an author of this vault: others would refuse what you write")]
    UnlistedAuthor {
        /// The writer's public key.
        key: Box<Author>,
    },
    /// There is no key to sign with.
    #[error("there is no key to sign with")]
    NoAuthor,
    /// This machine did not make the vault, and its user did not accept it.
    #[error("the vault at {} was never accepted on this machine{}", path.display(), lines(changes))]
    Unaccepted {
        /// The vault's path.
        path: PathBuf,
        /// Its id, recipients and authors.
        changes: Vec<Change>,
        /// Its fingerprint now.
        fingerprint: String,
    },
    /// There is nowhere to remember a vault.
    #[error("there is no directory to remember the vault's authors and recipients in")]
    NoState,
    /// A record in the state directory cannot be parsed.
    #[error("cannot read {}: {reason}", path.display())]
    Pin {
        /// The file.
        path: PathBuf,
        /// The place in the file, and the reason.
        reason: String,
    },
    /// The system refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

fn lines(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("\n{change}")).collect()
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
