//! The right to change a vault: its lock, a pin to compare with, and for secrets the key that signs them.
//!
//! Each change is a method of [`LockedVault`] or [`Writer`], so that none can be made without the lock, and no secret can be
//! written without a key.

use std::sync::Arc;

use super::pins::{PinOnRecord, Pins};
use super::{Vault, VaultError, layout};
use crate::crypto::AuthorKey;
use crate::storage::Lock;

/// A vault that is as its user accepted it, under its lock, with `vault.toml` and the pin as they are now. For changes that need
/// no signature.
#[derive(Debug)]
pub struct LockedVault<'v> {
    pub(super) vault: &'v mut Vault,
    pub(super) lock: Lock,
    pub(super) pins: Arc<Pins>,
}

/// A [`LockedVault`], and the key of one of its authors.
#[derive(Debug)]
pub struct Writer<'v> {
    pub(super) locked: LockedVault<'v>,
    pub(super) key: AuthorKey,
}

impl Vault {
    /// Takes the vault's lock, and reads again what may have changed since the vault was opened. No lock file is made in a vault
    /// that is not written to.
    ///
    /// # Errors
    /// Those of [`Vault::require_accepted`]; [`VaultError::Locked`] after [`super::VaultOptions::patience`]; those of opening.
    pub fn lock(&mut self) -> Result<LockedVault<'_>, VaultError> {
        self.require_accepted()?;
        let lock = self.acquire_lock()?;
        let pins = self.refresh()?;
        self.require_accepted()?;
        Ok(LockedVault { vault: self, lock, pins })
    }

    /// As [`Vault::lock`], to change only what this machine remembers. Takes no lock in a vault that this machine does not write
    /// to.
    pub(super) fn lock_to_pin(&mut self) -> Result<(Option<Lock>, Arc<Pins>), VaultError> {
        let lock = self.require_accepted().is_ok().then(|| self.acquire_lock()).transpose()?;
        Ok((lock, self.refresh()?))
    }

    fn refresh(&mut self) -> Result<Arc<Pins>, VaultError> {
        self.manifest = Self::read_manifest(&self.root)?;
        let pins = self.pins.clone().ok_or(VaultError::NoState)?;
        if let Some(PinOnRecord { pin, .. }) = pins.load()? {
            let was_announced = pin.announced.is_some();
            let mut pin = pin.settled(&self.manifest);
            if was_announced && pin.changes(&self.manifest).is_empty() {
                // The announced change is over, whether it was made or not.
                pin.announced = None;
                pins.save(&pin)?;
            }
            self.pin = Some(pin);
        }
        Ok(pins)
    }

    /// Takes the vault's lock, as [`Vault::lock`] does, to write secrets and to change recipients and authors.
    ///
    /// # Errors
    /// Those of [`Vault::require_writable`] and [`Vault::lock`].
    pub fn writer(&mut self) -> Result<Writer<'_>, VaultError> {
        self.require_writable()?;
        let locked = self.lock()?;
        let key = locked.vault.signing_key()?.clone();
        Ok(Writer { locked, key })
    }

    /// Checks that this user can write secrets: the vault is as they accepted it, and they are one of its authors.
    ///
    /// # Errors
    /// Those of [`Vault::require_accepted`], [`VaultError::NoAuthor`], [`VaultError::UnlistedAuthor`].
    pub fn require_writable(&self) -> Result<(), VaultError> {
        self.signing_key().map(drop)
    }

    fn signing_key(&self) -> Result<&AuthorKey, VaultError> {
        self.require_accepted()?;
        let key = self.author.as_ref().ok_or(VaultError::NoAuthor)?;
        let author = key.author();
        let is_listed = self.manifest.authors().iter().any(|listed| listed.key == author);
        if is_listed { Ok(key) } else { Err(VaultError::UnlistedAuthor { key: Box::new(author) }) }
    }

    fn acquire_lock(&self) -> Result<Lock, VaultError> {
        Ok(Lock::acquire(&self.root, layout::LOCK, self.options.patience)?)
    }
}
