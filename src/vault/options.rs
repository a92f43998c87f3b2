//! How a vault is opened and made: options with defaults, of which only the state directory has none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::manifest::Manifest;
use super::{Listener, NamedAuthor, NamedRecipient, Vault, VaultError, guarded, layout};
use crate::storage::{Directory, Lock, Permissions};

/// The time a writer waits for another one to finish, unless [`VaultOptions::patience`] says otherwise.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// The directory in which this machine records the vaults it has seen.
///
/// Each vault's recipients and authors are pinned there when it is made, first read or accepted, and the newest update of each secret is recorded, so
/// that a later change of either and a rollback are noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateDirectory {
    /// This directory. It is made when there is something to write.
    At(PathBuf),
    /// There is none, because no home directory is known. A reader gets [`super::Notice::Unpinned`] and then believes the
    /// authors that the vault itself names; with [`Strictness::Errors`] or [`Access::Write`] opening fails.
    Unknown,
    /// The caller does not want it consulted: no first use, change or rollback is noticed, and the authors that the vault
    /// itself names are believed. Enough for metadata and lists.
    Ignored,
}

/// The way to report a vault that was never accepted, a rollback and a state directory that cannot be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strictness {
    /// As a [`super::Notice`]; the call goes on.
    #[default]
    Notices,
    /// As an error.
    Errors,
}

/// The purpose of opening a vault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Access {
    /// To read: the vault opens even if the state directory cannot be written.
    #[default]
    Read,
    /// To write or to accept the vault: opening fails if a known vault cannot be recorded, and does not pin one that this
    /// machine has never seen. [`super::Vault::accept`] does.
    Write,
}

/// Options for opening a vault.
///
/// ```no_run
/// use flyte_local::vault::{StateDirectory, Strictness, VaultOptions};
///
/// let state = StateDirectory::At("/home/me/.local/state/flyte-local/pins".into());
/// let options = VaultOptions { strictness: Strictness::Errors, ..VaultOptions::new(state) };
/// let vault = options.open("/home/me/vault".as_ref())?;
/// # Ok::<(), flyte_local::vault::VaultError>(())
/// ```
#[derive(Debug, Clone)]
pub struct VaultOptions {
    /// The place of the pins.
    pub state: StateDirectory,
    /// The check of owners and permissions: by default, a vault that other users can write to is refused.
    pub permissions: Permissions,
    /// The way to report a first use and a rollback.
    pub strictness: Strictness,
    /// The way to report a rollback, unless [`VaultOptions::strictness`] makes it an error already: for a caller that sends
    /// values on.
    pub rollback: Strictness,
    /// The purpose.
    pub access: Access,
    /// How long a writer waits for another one: 30 seconds by default.
    pub patience: Duration,
    /// Receives the notices.
    pub listener: Listener,
}

impl VaultOptions {
    /// Returns the defaults: to read, with permissions checked, and a listener that ignores notices.
    pub fn new(state: StateDirectory) -> Self {
        Self {
            state,
            permissions: Permissions::default(),
            strictness: Strictness::default(),
            rollback: Strictness::default(),
            access: Access::default(),
            patience: LOCK_PATIENCE,
            listener: Listener::default(),
        }
    }

    /// Opens the vault at `path`. To read, a vault that this machine has never seen is pinned as it is. It cannot be written
    /// to before [`super::Vault::accept`].
    ///
    /// # Errors
    /// [`VaultError::Missing`] if there is no vault; a `vault.toml` that cannot be read or parsed; a vault or a state
    /// directory that other users can write to; a pin that cannot be read. With [`Strictness::Errors`] also
    /// [`VaultError::Unaccepted`].
    pub fn open(self, path: &Path) -> Result<Vault, VaultError> {
        let root = match Directory::open(path) {
            Err(error) if error.is_not_found() => return Err(VaultError::Missing { path: path.to_owned() }),
            root => guarded(root?, self.permissions)?,
        };
        let manifest = Vault::read_manifest(&root)?;
        Vault::new(root, manifest, self).look_up_pin()
    }
}

/// Everything that a new vault needs.
#[derive(Debug, Clone)]
pub struct NewVault {
    /// The keys that secrets are encrypted to: at least one.
    pub recipients: Vec<NamedRecipient>,
    /// The keys that sign secrets.
    pub authors: Vec<NamedAuthor>,
    /// The directory in which the vault is pinned.
    pub state: PathBuf,
    /// The check of owners and permissions: by default, a directory that other users can write to is refused.
    pub permissions: Permissions,
    /// Receives the notices.
    pub listener: Listener,
}

impl NewVault {
    /// Makes the vault at `path` and pins it.
    ///
    /// # Errors
    /// [`VaultError::Exists`] if there is a vault, [`VaultError::ManifestLost`] if there are secrets without their
    /// `vault.toml`; both are left alone. Without a pin, no vault is made.
    pub fn create(self, path: &Path) -> Result<Vault, VaultError> {
        // First, because a vault without a state directory could not be written.
        Directory::create(&self.state)?;
        let root = guarded(Directory::create(path)?, self.permissions)?;
        let _lock = Lock::acquire(&root, layout::LOCK, LOCK_PATIENCE)?;
        if root.contains(layout::MANIFEST)? {
            return Err(VaultError::Exists { path: path.to_owned() });
        }
        let secrets = root.create_subdirectory(layout::SECRETS)?;
        if !secrets.entries()?.is_empty() {
            return Err(VaultError::ManifestLost { path: path.to_owned() });
        }
        let manifest = Manifest::new(self.recipients, self.authors)?;
        manifest.check().map_err(|source| VaultError::Manifest { path: root.join(layout::MANIFEST), source })?;
        let options = VaultOptions {
            permissions: self.permissions,
            listener: self.listener,
            ..VaultOptions::new(StateDirectory::At(self.state))
        };
        let mut vault = Vault::new(root, manifest, options);
        vault.pin_new()?;
        vault.root.write_new(layout::MANIFEST, vault.manifest.to_toml().as_bytes())?;
        Ok(vault)
    }
}
