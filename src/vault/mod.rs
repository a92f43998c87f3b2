//! The vault: one age file a secret, in a tree that mirrors Flyte's scopes.
//!
//! A [`Vault`] reads, writes, lists and resolves secrets. It never prompts, prints or looks at the environment, and it
//! holds no identity: reading a value takes the identities as an argument, and nothing else needs them. The format on
//! disk is specified in `docs/vault-format.md`.

mod binding;
mod error;
mod git;
mod inspect;
mod layout;
mod manifest;
mod memory;
mod page;
mod pins;
mod read;
mod rekey;
mod trust;
mod write;

pub use binding::Metadata;
pub use error::{Needs, SecretFileError, VaultError};
pub use inspect::{Inspection, InspectionError};
pub use manifest::{ManifestError, Named, NamedAuthor, NamedRecipient};
pub use memory::{Listen, Notice};
pub use page::Page;
pub use read::{Listing, Resolved, Seen};
pub use rekey::{Encryption, Rekeyed};
pub use trust::{Change, Stale};
pub use write::Adopted;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::crypto::AuthorKey;
use crate::storage::{Directory, Lock, Permissions, StorageError};
use manifest::Manifest;
use memory::Memory;

/// How long a writer waits for another one to finish.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// An open vault.
#[derive(Debug)]
pub struct Vault {
    root: Directory,
    manifest: Manifest,
    patience: Duration,
    author: Option<AuthorKey>,
    memory: Memory,
}

impl Vault {
    /// Makes a new vault at `path`, with `recipients` to encrypt to and `authors` who write it, and remembers it below
    /// `state`. If that fails once there is the vault, `listener` is told, and the vault will be remembered when it is next used.
    ///
    /// # Errors
    /// [`VaultError::Exists`] if there is one already, [`VaultError::ManifestLost`] if there are secrets without their
    /// `vault.toml`; what is there is left alone.
    pub fn create(
        path: &Path,
        recipients: Vec<NamedRecipient>,
        authors: Vec<NamedAuthor>,
        state: &Path,
        permissions: Permissions,
        listener: Arc<Listen>,
    ) -> Result<Self, VaultError> {
        // Before there is a vault, which could not be written without.
        Directory::create(state)?;
        let root = guarded(Directory::create(path)?, permissions)?;
        let _lock = Lock::acquire(&root, layout::LOCK, LOCK_PATIENCE)?;
        if root.contains(layout::MANIFEST)? {
            return Err(VaultError::Exists { path: path.to_owned() });
        }
        let secrets = root.create_subdirectory(layout::SECRETS)?;
        if !secrets.entries()?.is_empty() {
            return Err(VaultError::ManifestLost { path: path.to_owned() });
        }
        let manifest = Manifest::new(recipients, authors)?;
        manifest.check().map_err(|source| VaultError::Manifest { path: root.join(layout::MANIFEST), source })?;
        root.write_new(layout::MANIFEST, manifest.to_toml().as_bytes())?;
        let mut vault = Self::new(root, manifest).with_listener(listener);
        vault.begin(state);
        Ok(vault)
    }

    /// Opens the vault at `path`, to read it. What is remembered of it is not looked at before [`Vault::with_state`], and
    /// until then the authors that it names itself are believed.
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
        let root = match Directory::open(path) {
            Err(error) if error.is_not_found() => return Err(VaultError::Missing { path: path.to_owned() }),
            root => guarded(root?, permissions)?,
        };
        let manifest = Self::read_manifest(&root)?;
        Ok(Self::new(root, manifest))
    }

    fn new(root: Directory, manifest: Manifest) -> Self {
        Self { root, manifest, patience: LOCK_PATIENCE, author: None, memory: Memory::default() }
    }

    fn read_manifest(root: &Directory) -> Result<Manifest, VaultError> {
        let missing = || VaultError::Missing { path: root.path().to_owned() };
        let text = root.read(layout::MANIFEST, layout::MAX_MANIFEST_BYTES)?.ok_or_else(missing)?;
        Manifest::parse(&text).map_err(|source| VaultError::Manifest { path: root.join(layout::MANIFEST), source })
    }

    /// Under the vault's lock.
    fn write_manifest(lock: &Lock, root: &Directory, manifest: &Manifest) -> Result<(), VaultError> {
        let text = manifest.to_toml();
        Ok(root.put(lock, layout::MANIFEST, text.as_bytes())?)
    }

    /// The same vault as it is now, with all that was set of this one: for a process that lives long.
    ///
    /// # Errors
    /// Those of [`Vault::open`] and [`Vault::with_state`].
    pub fn reopen(&self) -> Result<Self, VaultError> {
        let mut vault = self.reopen_for_metadata()?;
        (vault.patience, vault.author) = (self.patience, self.author.clone());
        vault.memory = self.memory.forgotten();
        vault.with_state(self.memory.state())
    }

    /// As [`Vault::reopen`], for [`Vault::metadata`] and lists alone: what is remembered takes no part in them.
    ///
    /// # Errors
    /// Those of [`Vault::open`].
    pub fn reopen_for_metadata(&self) -> Result<Self, VaultError> {
        Self::open_with(self.path(), self.root.permissions())
    }

    /// Sets the key that signs what is written.
    #[must_use]
    pub fn with_author(mut self, key: AuthorKey) -> Self {
        self.author = Some(key);
        self
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

    /// Who writes its secrets.
    pub fn authors(&self) -> &[NamedAuthor] {
        self.manifest.authors()
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
