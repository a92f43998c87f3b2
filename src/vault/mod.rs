//! The vault: one age file a secret, in a tree that mirrors Flyte's scopes.
//!
//! A [`Vault`] reads, writes, lists and resolves secrets. It never prompts, prints or looks at the environment, and it
//! holds no identity: reading a value takes the identities as an argument, and nothing else needs them. The format on
//! disk is specified in `docs/vault-format.md`.

mod binding;
mod error;
mod layout;
mod manifest;
mod read;
mod write;

pub use binding::Metadata;
pub use error::{Refusal, VaultError};
pub use manifest::{ManifestError, NamedRecipient};
pub use read::{Listing, Resolved, Seen};

use std::path::Path;
use std::time::Duration;

use crate::storage::{Directory, Lock, Permissions, StorageError};
use manifest::Manifest;

/// How long a writer waits for another one to finish.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// An open vault.
#[derive(Debug)]
pub struct Vault {
    root: Directory,
    manifest: Manifest,
    patience: Duration,
}

impl Vault {
    /// Makes a new vault at `path`, with `recipients` to encrypt to.
    ///
    /// # Errors
    /// [`VaultError::Exists`] if there is one already, [`VaultError::ManifestLost`] if there are secrets without their
    /// `vault.toml`; what is there is left alone.
    pub fn create(path: &Path, recipients: Vec<NamedRecipient>, permissions: Permissions) -> Result<Self, VaultError> {
        let root = guarded(Directory::create(path)?, permissions)?;
        let _lock = Lock::acquire(&root, layout::LOCK, LOCK_PATIENCE)?;
        if root.contains(layout::MANIFEST)? {
            return Err(VaultError::Exists { path: path.to_owned() });
        }
        let secrets = root.create_subdirectory(layout::SECRETS)?;
        if !secrets.entries()?.is_empty() {
            return Err(VaultError::ManifestLost { path: path.to_owned() });
        }
        let manifest = Manifest::new(recipients)?;
        root.write_new(layout::MANIFEST, manifest.to_toml().as_bytes())?;
        Ok(Self { root, manifest, patience: LOCK_PATIENCE })
    }

    /// Opens the vault at `path`.
    ///
    /// # Errors
    /// [`VaultError::Missing`] if there is none; a `vault.toml` that cannot be read or is not understood; a vault that
    /// others can write to.
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        Self::open_with(path, Permissions::Checked)
    }

    /// As [`Vault::open`], where permissions may say nothing.
    ///
    /// # Errors
    /// As those.
    pub fn open_with(path: &Path, permissions: Permissions) -> Result<Self, VaultError> {
        let missing = || VaultError::Missing { path: path.to_owned() };
        let root = match Directory::open(path) {
            Err(error) if error.is_not_found() => return Err(missing()),
            root => guarded(root?, permissions)?,
        };
        let text = root.read(layout::MANIFEST, layout::MAX_MANIFEST_BYTES)?.ok_or_else(missing)?;
        let manifest = Manifest::parse(&text)
            .map_err(|source| VaultError::Manifest { path: root.join(layout::MANIFEST), source })?;
        Ok(Self { root, manifest, patience: LOCK_PATIENCE })
    }

    /// Sets how long a write waits for another writer; 30 seconds unless told.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Whom its secrets are encrypted to.
    pub fn recipients(&self) -> &[NamedRecipient] {
        self.manifest.recipients()
    }
}

fn guarded(root: Directory, permissions: Permissions) -> Result<Directory, StorageError> {
    match permissions {
        Permissions::Checked => root.guarded(),
        Permissions::Ignored => Ok(root),
    }
}
