//! The vault: one age file for each secret, in a tree that mirrors Flyte's scopes.
//!
//! A [`Vault`] reads, lists and resolves secrets; a [`Writer`], which holds its lock, changes them. The vault never prompts,
//! prints or reads the environment, and it holds no identity: reading a value takes the identities as an argument, and
//! nothing else needs them. The format on disk is specified in `docs/vault-format.md`.

mod authors;
mod binding;
mod copies;
mod error;
mod git;
mod inspect;
mod json_form;
mod layout;
mod manifest;
mod manifest_error;
mod many;
mod misplaced;
mod notice;
mod open_scopes;
mod options;
mod page;
mod pinning;
mod pins;
mod read;
mod recipients;
mod rekey;
mod rollback;
mod toml_form;
mod trust;
mod values;
mod write;
mod write_many;
mod writer;

pub use authors::Distrusted;
pub use binding::Metadata;
pub use copies::{ConflictCopy, NewestVersion, Original, Version};
pub use error::{Needs, SecretFileError, VaultError};
pub use inspect::{Inspection, InspectionError};
pub use manifest::{MAX_RECIPIENTS, Named, NamedAuthor, NamedRecipient};
pub use manifest_error::ManifestError;
pub use misplaced::{InPlace, MisplacedSecret};
pub use notice::{Listen, Listener, Notice};
pub use options::{Access, NewVault, StateDirectory, Strictness, VaultOptions};
pub use page::Page;
pub use read::{Listing, Seen};
pub use recipients::OtherVaults;
pub use rekey::{Encryption, Rekeyed};
pub use trust::{Change, Since, Stale};
pub use values::Resolved;
pub use write::Adopted;
pub use write_many::NewValue;
pub use writer::{LockedVault, Writer};

use std::path::Path;
use std::sync::Arc;

use crate::crypto::AuthorKey;
use crate::storage::{Directory, Permissions, StorageError};
use manifest::Manifest;
use pins::Pins;
use trust::Pin;

/// An open vault, made by [`VaultOptions::open`] or [`NewVault::create`].
#[derive(Debug)]
pub struct Vault {
    root: Directory,
    manifest: Manifest,
    options: VaultOptions,
    author: Option<AuthorKey>,
    /// The place of the pin. Without it the vault can be read but not written.
    pins: Option<Arc<Pins>>,
    pin: Option<Pin>,
}

impl Vault {
    fn new(root: Directory, manifest: Manifest, options: VaultOptions) -> Self {
        Self { root, manifest, options, author: None, pins: None, pin: None }
    }

    fn read_manifest(root: &Directory) -> Result<Manifest, VaultError> {
        let missing = || VaultError::Missing { path: root.path().to_owned() };
        let text = root.read(layout::MANIFEST, layout::MAX_MANIFEST_BYTES)?.ok_or_else(missing)?;
        Manifest::parse(&text).map_err(|source| VaultError::Manifest { path: root.join(layout::MANIFEST), source })
    }

    /// Opens the vault again as it is now, with the same options and author: for a process that lives long.
    ///
    /// # Errors
    /// Those of [`VaultOptions::open`].
    pub fn reopen(&self) -> Result<Self, VaultError> {
        let state = match (&self.options.state, &self.pins) {
            // A vault that could not be pinned stays so until the process ends.
            (StateDirectory::At(_), None) => StateDirectory::Unknown,
            (state, _) => state.clone(),
        };
        let mut vault = VaultOptions { state, ..self.options.clone() }.open(self.path())?;
        vault.author.clone_from(&self.author);
        Ok(vault)
    }

    /// Opens the vault again for [`Vault::metadata`] and lists alone, which need no pin.
    ///
    /// # Errors
    /// Those of [`VaultOptions::open`].
    pub fn reopen_for_metadata(&self) -> Result<Self, VaultError> {
        let permissions = self.options.permissions;
        let mut vault = VaultOptions { permissions, ..VaultOptions::new(StateDirectory::Ignored) }.open(self.path())?;
        if vault.id() != self.id() {
            // Another vault in the place of this one is refused.
            vault.pin.clone_from(&self.pin);
        }
        Ok(vault)
    }

    /// Sets the key that signs what [`Vault::writer`] writes.
    #[must_use]
    pub fn with_author(mut self, key: AuthorKey) -> Self {
        self.author = Some(key);
        self
    }

    /// Returns the path of the vault's directory.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Returns the vault's id: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        self.manifest.id()
    }

    /// Returns the authors: the keys that verify what was signed.
    pub fn authors(&self) -> &[NamedAuthor] {
        self.manifest.authors()
    }

    /// Returns the recipients: the keys that secrets are encrypted to.
    pub fn recipients(&self) -> &[NamedRecipient] {
        self.manifest.recipients()
    }

    /// Returns a digest of the vault's id, recipients and authors, to compare vaults by: 64 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        self.manifest.fingerprint()
    }
}

fn guarded(root: Directory, permissions: Permissions) -> Result<Directory, StorageError> {
    match permissions {
        Permissions::Checked => root.guarded(),
        Permissions::Ignored => Ok(root),
    }
}
