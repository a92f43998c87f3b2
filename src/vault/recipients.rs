//! Changing the keys that secrets are encrypted to.
//!
//! A change writes `vault.toml` alone: secrets that exist are encrypted to the new recipients by [`Writer::rekey`].

use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::pins::{self, PinnedVault};
use super::{NamedRecipient, StateDirectory, Vault, VaultError, VaultOptions, Writer};
use crate::crypto::Recipient;

/// Other vaults that have a key as a recipient.
#[derive(Debug, Default)]
pub struct OtherVaults {
    /// The paths of those that exist. One that cannot be opened counts if it had the key when this machine pinned it.
    pub present: Vec<PathBuf>,
    /// The paths of those that are not there any more, and had the key when this machine pinned them: they were deleted or moved,
    /// or their disk is not mounted.
    pub absent: Vec<PathBuf>,
}

impl Vault {
    /// Returns the other vaults that are pinned below `state`, and whose secrets `key` opens, as far as this machine knows.
    ///
    /// # Errors
    /// A record below `state` that cannot be read or parsed.
    pub fn others_with(&self, state: &Path, key: &Recipient) -> Result<OtherVaults, VaultError> {
        let permissions = self.options.permissions;
        let mut others = OtherVaults::default();
        for PinnedVault { id, path, recipients } in pins::vaults(state, permissions)? {
            if id == self.manifest.id() {
                continue;
            }
            let has_key = |recipients: &[NamedRecipient]| recipients.iter().any(|known| known.key == *key);
            let options = VaultOptions { permissions, ..VaultOptions::new(StateDirectory::Ignored) };
            match options.open(&path) {
                Ok(vault) if vault.manifest.id() == id => {
                    if has_key(vault.recipients()) {
                        others.present.push(path);
                    }
                }
                _ if !has_key(&recipients) => {}
                Ok(_) | Err(VaultError::Missing { .. }) => others.absent.push(path),
                // It may be readable tomorrow.
                Err(_) => others.present.push(path),
            }
        }
        Ok(others)
    }
}

impl Writer<'_> {
    /// Adds recipients to `vault.toml`.
    ///
    /// # Errors
    /// [`VaultError::RecipientExists`]; [`VaultError::Unfit`] if there would be too many. Nothing is changed then.
    pub fn add_recipients(&mut self, recipients: Vec<NamedRecipient>) -> Result<(), VaultError> {
        self.change_recipients(|manifest| {
            for recipient in recipients {
                if let Some(known) = manifest.recipients().iter().find(|known| known.key == recipient.key) {
                    let (key, name) = (known.key.to_string(), known.name.clone());
                    return Err(VaultError::RecipientExists { key, name });
                }
                manifest.add_recipient(recipient);
            }
            Ok(())
        })
    }

    /// Removes the recipients with this name or this key, and returns them. They can read the existing secrets until
    /// [`Writer::rekey`], and copies of these forever.
    ///
    /// # Errors
    /// [`VaultError::RecipientMissing`]; [`VaultError::LastRecipient`] if none of `own`, the user's keys, would be left, so
    /// that users cannot lock themselves out.
    pub fn remove_recipients(&mut self, name: &str, own: &[Recipient]) -> Result<Vec<NamedRecipient>, VaultError> {
        let mut removed = Vec::new();
        self.change_recipients(|manifest| {
            // A key is never looked up as a name: an attacker could have chosen such a name.
            removed = match name.parse::<Recipient>() {
                Ok(key) => manifest.remove_recipients(|known| known.key == key),
                Err(_) => manifest.remove_recipients(|known| known.name == name),
            };
            if removed.is_empty() {
                return Err(VaultError::RecipientMissing { name: name.to_owned() });
            }
            match manifest.recipients().iter().any(|left| own.contains(&left.key)) {
                true => Ok(()),
                false => Err(VaultError::LastRecipient { name: name.to_owned() }),
            }
        })?;
        Ok(removed)
    }

    /// Replaces a recipient's key, and keeps the name.
    ///
    /// # Errors
    /// [`VaultError::RecipientMissing`].
    pub fn exchange_recipient(&mut self, old: &Recipient, new: &Recipient) -> Result<(), VaultError> {
        self.change_recipients(|manifest| {
            let missing = || VaultError::RecipientMissing { name: old.to_string() };
            let [NamedRecipient { name, .. }] = &manifest.remove_recipients(|known| known.key == *old)[..] else {
                return Err(missing());
            };
            manifest.add_recipient(NamedRecipient { name: name.clone(), key: new.clone() });
            Ok(())
        })
    }

    fn change_recipients(
        &mut self,
        change: impl FnOnce(&mut Manifest) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let mut manifest = self.locked.vault.manifest.clone();
        change(&mut manifest)?;
        self.locked.write_manifest(manifest)
    }
}
