//! Changing whose values are read.

use super::binding::Header;
use super::trust::Pin;
use super::{NamedAuthor, Vault, VaultError, Writer};
use crate::crypto::Author;
use crate::secret::SecretId;

/// The authors that [`Writer::distrust_authors`] removed.
#[derive(Debug)]
pub struct Distrusted {
    /// The authors, as `vault.toml` named them.
    pub authors: Vec<NamedAuthor>,
    /// The secrets that they signed, which are refused from now on.
    pub signed: Vec<SecretId>,
}

impl Vault {
    /// Trusts an author: names them in `vault.toml`, if it does not, and pins them. Returns whether `vault.toml` was written.
    ///
    /// # Errors
    /// Those of [`Vault::lock`] if `vault.toml` would have to be written.
    pub fn trust_author(&mut self, name: &str, key: &Author) -> Result<bool, VaultError> {
        let (lock, pins) = self.lock_to_pin()?;
        let is_in = |authors: &[NamedAuthor]| authors.iter().any(|author| &author.key == key);
        if is_in(self.manifest.authors()) {
            let listed = self.manifest.authors();
            let mut pin = self.pin.clone().unwrap_or_else(|| Pin::first_seen(&self.manifest));
            if !is_in(&pin.authors) {
                pin.authors.extend(listed.iter().find(|listed| &listed.key == key).cloned());
                pins.save(&pin)?;
            }
            self.pin = Some(pin);
            return Ok(false);
        }
        drop(lock);
        let mut locked = self.lock()?;
        let mut manifest = locked.vault.manifest.clone();
        manifest.add_author(NamedAuthor { name: name.to_owned(), key: key.clone() });
        locked.write_manifest(manifest)?;
        Ok(true)
    }
}

impl Writer<'_> {
    /// Removes the authors with this name or this key from `vault.toml`.
    ///
    /// # Errors
    /// [`VaultError::AuthorMissing`]; [`VaultError::OwnAuthor`].
    pub fn distrust_authors(&mut self, name: &str) -> Result<Distrusted, VaultError> {
        let (own, mut manifest) = (self.key.author(), self.locked.vault.manifest.clone());
        // A key is never looked up as a name: an attacker could have chosen such a name.
        let authors = match name.parse::<Author>() {
            Ok(key) => manifest.remove_authors(|known| known.key == key),
            Err(_) => manifest.remove_authors(|known| known.name == name),
        };
        if authors.is_empty() {
            return Err(VaultError::AuthorMissing { name: name.to_owned() });
        }
        if authors.iter().any(|author| author.key == own) {
            return Err(VaultError::OwnAuthor { name: name.to_owned() });
        }
        let mut signed = Vec::new();
        self.locked.vault.each_header(|header| match header {
            Ok(Header { metadata, claim: Some(claim), .. })
                if authors.iter().any(|author| author.key == claim.author) =>
            {
                signed.push(metadata.id);
            }
            _ => {}
        })?;
        self.locked.write_manifest(manifest)?;
        Ok(Distrusted { authors, signed })
    }
}
