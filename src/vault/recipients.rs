//! Changing the keys that secrets are encrypted to.
//!
//! A change writes `vault.toml` alone: secrets that exist are encrypted to the new recipients by [`Writer::rekey`].

use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::{NamedRecipient, StateDirectory, Vault, VaultError, VaultOptions, Writer, pins};
use crate::crypto::Recipient;

impl Vault {
    /// Returns the paths of other vaults that are pinned below `state`, exist, and have `key` as a recipient.
    ///
    /// # Errors
    /// A record below `state` that cannot be read or parsed.
    pub fn others_with(&self, state: &Path, key: &Recipient) -> Result<Vec<PathBuf>, VaultError> {
        let permissions = self.options.permissions;
        let places = pins::places(state, permissions)?;
        let others = places.into_iter().filter(|(id, path)| {
            let has_key =
                |vault: Vault| vault.manifest.id() == id && vault.recipients().iter().any(|known| known.key == *key);
            let options = VaultOptions { permissions, ..VaultOptions::new(StateDirectory::Ignored) };
            id != self.manifest.id() && options.open(path).is_ok_and(has_key)
        });
        Ok(others.map(|(_, path)| path).collect())
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
