//! How a vault uses what is remembered of it: where [`super::trust`] decides and [`super::pins`] keeps.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::pins::Pins;
use super::trust::{Change, Pin, Stale, staleness};
use super::{NamedAuthor, NamedRecipient, Vault, VaultError};
use crate::crypto::Author;
use crate::secret::SecretId;

/// Something that is no error but has to be told.
#[derive(Debug)]
pub enum Notice<'a> {
    /// A vault that was never seen here is taken as it is.
    FirstUse {
        /// Where it is.
        path: &'a Path,
        /// Who writes it.
        authors: &'a [NamedAuthor],
        /// To whom it is encrypted.
        recipients: &'a [NamedRecipient],
    },
    /// A secret is older than it was, or gone.
    Stale(&'a Stale),
    /// What was seen could not be remembered.
    Unremembered(&'a VaultError),
}

/// What is called with each notice.
pub type Listen = dyn Fn(&Notice<'_>) + Send + Sync;

/// Who is told.
#[derive(Clone, Default)]
pub(super) struct Listener(Option<Arc<Listen>>);

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

impl Listener {
    fn tell(&self, notice: &Notice<'_>) {
        if let Some(listener) = &self.0 {
            listener(notice);
        }
    }
}

/// What is remembered of a vault.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Nothing can be remembered without.
    pins: Option<Pins>,
    /// What the vault was. With it alone, reading goes on but writing does not.
    pin: Option<Pin>,
    is_strict: bool,
    listener: Listener,
}

impl Memory {
    pub(super) fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }
}

impl Vault {
    /// Sets who is told what is no error.
    #[must_use]
    pub fn with_listener(mut self, listener: Arc<Listen>) -> Self {
        self.memory.listener = Listener(Some(listener));
        self
    }

    /// Sets whether to refuse what is else only told: a secret that is older than it was seen here, or gone, and that
    /// nothing can be remembered.
    #[must_use]
    pub fn with_strictness(mut self, is_strict: bool) -> Self {
        self.memory.is_strict = is_strict;
        self
    }

    /// Looks up what is remembered of the vault below `state`, a directory of the user's, and pins a vault that was never
    /// seen as it is. Without a directory to remember in, a vault can be read but not written.
    ///
    /// # Errors
    /// What is remembered is not understood. That it cannot be reached is told, and under
    /// [`Vault::with_strictness`] an error.
    pub fn with_state(mut self, state: Option<&Path>) -> Result<Self, VaultError> {
        let result = match state {
            Some(state) => self.recall(state),
            None => Err(VaultError::NoState),
        };
        match result {
            // What is there and not understood may be the one thing that tells of an attack.
            Err(error @ VaultError::Pin { .. }) => Err(error),
            Err(error) => self.unremembered(error).map(|()| self),
            Ok(()) => Ok(self),
        }
    }

    fn recall(&mut self, state: &Path) -> Result<(), VaultError> {
        let pins = Pins::new(state, self.path(), self.manifest.id());
        if let Some(pin) = pins.load()? {
            let is_new_path = !pins.knows_path()?;
            let pins = self.memory.pins.insert(pins);
            let pin = self.memory.pin.insert(pin);
            return if is_new_path { pins.save(pin) } else { Ok(()) };
        }
        let pin = Pin::of(&self.manifest);
        let (path, authors, recipients) = (self.root.path(), self.manifest.authors(), self.recipients());
        self.memory.listener.tell(&Notice::FirstUse { path, authors, recipients });
        pins.save(&pin)?;
        (self.memory.pins, self.memory.pin) = (Some(pins), Some(pin));
        Ok(())
    }

    /// Pins a vault that was just made.
    pub(super) fn begin(&mut self, state: &Path) -> Result<(), VaultError> {
        let (pins, pin) = (Pins::new(state, self.path(), self.manifest.id()), Pin::of(&self.manifest));
        pins.save(&pin)?;
        (self.memory.pins, self.memory.pin) = (Some(pins), Some(pin));
        Ok(())
    }

    /// How the vault differs from what is pinned.
    pub fn changes(&self) -> Vec<Change> {
        self.memory.pin.as_ref().map(|pin| pin.changes(&self.manifest)).unwrap_or_default()
    }

    /// That it may be written: it is the vault that this machine knows, and what is written will be remembered.
    ///
    /// # Errors
    /// [`VaultError::Changed`], [`VaultError::NoState`].
    pub(super) fn require_known(&self) -> Result<&Pins, VaultError> {
        let changes = self.changes();
        if !changes.is_empty() {
            return Err(VaultError::Changed { path: self.path().to_owned(), changes });
        }
        self.memory.pins.as_ref().ok_or(VaultError::NoState)
    }

    /// When the secret was last updated, as far as this machine knows.
    pub(super) fn known(&self, id: &SecretId) -> Result<Option<Timestamp>, VaultError> {
        self.memory.pins.as_ref().map_or(Ok(None), |pins| pins.newest(id))
    }

    /// Compares what was found (`None`: no file) with what was known before the file was read, and remembers it.
    pub(super) fn compare(
        &self,
        id: &SecretId,
        known: Option<Timestamp>,
        found: Option<Timestamp>,
    ) -> Result<(), VaultError> {
        if staleness(id, known, found).is_some() {
            // Unless it was deleted meanwhile: a writer forgets a secret before it takes the file away.
            let Some(stale) = staleness(id, self.known(id)?, found) else { return Ok(()) };
            if self.memory.is_strict {
                return Err(VaultError::Stale(Box::new(stale)));
            }
            self.memory.listener.tell(&Notice::Stale(&stale));
        } else if let (Some(updated), Some(pins)) = (found.filter(|_| found > known), &self.memory.pins)
            && let Err(error) = pins.record(id, updated, || self.is_occupied(id))
        {
            return self.unremembered(error);
        }
        Ok(())
    }

    /// Remembers what was just written. It is written, so that it cannot be remembered is told and no error.
    pub(super) fn remember(&self, pins: &Pins, id: &SecretId, updated: Timestamp) {
        if let Err(error) = pins.record(id, updated, || Ok(true)) {
            self.memory.listener.tell(&Notice::Unremembered(&error));
        }
    }

    /// Forgets what was just deleted once more: a reader that had opened it before may have remembered it since.
    pub(super) fn forget_again(&self, pins: &Pins, id: &SecretId) {
        if let Err(error) = pins.forget(id) {
            self.memory.listener.tell(&Notice::Unremembered(&error));
        }
    }

    fn unremembered(&self, error: VaultError) -> Result<(), VaultError> {
        if self.memory.is_strict {
            return Err(error);
        }
        self.memory.listener.tell(&Notice::Unremembered(&error));
        Ok(())
    }

    /// The secrets that are older than this machine has seen them, or gone. By their headers, unverified.
    ///
    /// # Errors
    /// The system's, or what is remembered is not understood. A file that is refused is passed over: it is told elsewhere.
    pub fn stale(&self) -> Result<Vec<Stale>, VaultError> {
        let mut all = Vec::new();
        let Some(pins) = &self.memory.pins else { return Ok(all) };
        for id in pins.recorded()? {
            let known = self.known(&id)?;
            let found = match self.metadata(&id) {
                Ok(metadata) => Some(metadata.updated),
                Err(VaultError::SecretMissing { .. }) => None,
                Err(VaultError::Refused { .. }) => continue,
                Err(VaultError::Storage(error)) if error.exposure().is_some() => continue,
                Err(error) => return Err(error),
            };
            all.extend(staleness(&id, known, found));
        }
        Ok(all)
    }

    /// Takes the vault as it is now for the one this machine knows: its recipients and authors, and each secret that is
    /// older than it was, or gone. What was accepted.
    ///
    /// # Errors
    /// [`VaultError::NoState`], or the system's.
    pub fn accept(&mut self) -> Result<(Vec<Change>, Vec<Stale>), VaultError> {
        let _lock = self.lock()?;
        self.manifest = Self::read_manifest(&self.root)?;
        let (changes, stale) = (self.changes(), self.stale()?);
        let pins = self.memory.pins.as_ref().ok_or(VaultError::NoState)?;
        let pin = Pin::of(&self.manifest);
        pins.save(&pin)?;
        for stale in &stale {
            // Forgotten, and not set back: what an unverified header says is not remembered.
            pins.forget(&stale.id)?;
        }
        self.memory.pin = Some(pin);
        Ok((changes, stale))
    }

    /// Makes an author one whose values are read here: names them in `vault.toml`, if it does not, and pins them. Whether
    /// `vault.toml` was written.
    ///
    /// # Errors
    /// [`VaultError::Changed`] if it would have to be, and is not as this machine knows it.
    pub fn trust_author(&mut self, name: &str, key: &Author) -> Result<bool, VaultError> {
        let lock = self.lock()?;
        self.manifest = Self::read_manifest(&self.root)?;
        let is_in = |authors: &[NamedAuthor]| authors.iter().any(|author| &author.key == key);
        let is_listed = is_in(self.manifest.authors());
        let author = NamedAuthor { name: name.to_owned(), key: key.clone() };
        if is_listed {
            let pins = self.memory.pins.as_ref().ok_or(VaultError::NoState)?;
            let mut pin = self.memory.pin.clone().unwrap_or_else(|| Pin::of(&self.manifest));
            if !is_in(&pin.authors) {
                pin.authors.push(author);
                pins.save(&pin)?;
            }
            self.memory.pin = Some(pin);
            return Ok(false);
        }
        let pins = self.require_known()?;
        let mut manifest = self.manifest.clone();
        manifest.add_author(author);
        Self::write_manifest(&lock, &self.root, &manifest)?;
        let pin = Pin::of(&manifest);
        pins.save(&pin)?;
        (self.manifest, self.memory.pin) = (manifest, Some(pin));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Identity;

    #[test]
    fn what_was_deleted_while_it_was_read_is_not_missed() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let recipient = NamedRecipient { name: "owner".to_owned(), key: Identity::generate().recipient() };
        let state = keep.path().join("state");
        let vault = Vault::create(
            &keep.path().join("vault"),
            vec![recipient],
            Vec::new(),
            &state,
            crate::storage::Permissions::Checked,
        );
        let vault = vault.expect("made").with_strictness(true);
        let id = SecretId { scope: crate::secret::Scope::Organization, name: "s".parse().expect("a good name") };
        let known = Timestamp::from_second(7).expect("a time");
        // Its pin was there before the file was looked for, and is not now.
        assert!(vault.compare(&id, Some(known), None).is_ok());
        vault.memory.pins.as_ref().expect("made with pins").record(&id, known, || Ok(true)).expect("recorded");
        assert!(matches!(vault.compare(&id, Some(known), None), Err(VaultError::Stale(_))));
    }
}
