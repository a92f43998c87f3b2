//! The pin of a vault: looked up when the vault is opened, compared with `vault.toml`, and written when it changes.
//!
//! [`super::trust`] decides what a difference means, and [`super::pins`] stores pins on disk.

use std::sync::Arc;

use super::manifest::Manifest;
use super::pins::{PinOnRecord, Pins};
use super::trust::{Change, Pin};
use super::{Access, LockedVault, Notice, StateDirectory, Strictness, Vault, VaultError, layout};

impl Vault {
    /// Looks up the pin of the vault in the state directory, and pins a vault that this machine has never seen.
    ///
    /// # Errors
    /// A pin that cannot be read or parsed. With [`Strictness::Errors`] also a first use and a state directory that cannot
    /// be written; the latter with [`Access::Write`] too.
    pub(super) fn look_up_pin(mut self) -> Result<Self, VaultError> {
        let pins = match &self.options.state {
            StateDirectory::Ignored => return Ok(self),
            StateDirectory::Unknown => return self.unpinned(VaultError::NoState).map(|()| self),
            StateDirectory::At(state) => Pins::new(state, &self.root, self.manifest.id()),
        };
        // A pin that is there but cannot be read is an error: an attacker who changed the vault may have made it unreadable.
        let pin = match self.load_settled(&pins)? {
            Some(PinOnRecord { pin, is_on_record }) => {
                // The known pin counts even if the vault's new path cannot be recorded.
                if !is_on_record && let Err(error) = pins.save(&pin) {
                    self.unremembered(error)?;
                }
                pin
            }
            None => {
                self.report_first_use()?;
                let pin = Pin::of(&self.manifest);
                if let Err(error) = pins.save(&pin) {
                    return self.unpinned(error).map(|()| self);
                }
                self.is_new = true;
                pin
            }
        };
        (self.pins, self.pin) = (Some(Arc::new(pins)), Some(pin));
        Ok(self)
    }

    /// Loads the pin, with a `vault.toml` of the same time. A writer changes one after the other, so where they differ both
    /// are read again.
    fn load_settled(&mut self, pins: &Pins) -> Result<Option<PinOnRecord>, VaultError> {
        const ATTEMPTS: usize = 3;
        for attempt in 1.. {
            let Some(PinOnRecord { pin, is_on_record }) = pins.load()? else { break };
            let pin = pin.settled(&self.manifest);
            if attempt == ATTEMPTS || pin.changes(&self.manifest).is_empty() {
                return Ok(Some(PinOnRecord { pin, is_on_record }));
            }
            self.manifest = Self::read_manifest(&self.root)?;
        }
        Ok(None)
    }

    fn require_expected(&self) -> Result<(), VaultError> {
        let found = self.fingerprint();
        match &self.options.expected {
            Some(expected) if *expected != found => Err(VaultError::Unexpected { path: self.path().to_owned(), found }),
            _ => Ok(()),
        }
    }

    fn report_first_use(&self) -> Result<(), VaultError> {
        self.require_expected()?;
        let changes = Pin::all(&self.manifest);
        if self.options.strictness == Strictness::Errors {
            let (path, fingerprint) = (self.path().to_owned(), self.fingerprint());
            return Err(VaultError::FirstUse { path, changes, fingerprint });
        }
        self.options.listener.tell(&Notice::FirstUse { path: self.path(), changes: &changes });
        Ok(())
    }

    /// Pins a vault that was just made. The vault exists by then, so a failure is a notice and not an error.
    pub(super) fn pin_new(&mut self) {
        let StateDirectory::At(state) = &self.options.state else { return };
        let (pins, pin) = (Pins::new(state, &self.root, self.manifest.id()), Pin::of(&self.manifest));
        match pins.save(&pin) {
            Ok(()) => (self.pins, self.pin) = (Some(Arc::new(pins)), Some(pin)),
            Err(error) => self.options.listener.tell(&Notice::Unpinned(&error)),
        }
    }

    /// Returns `true` if opening the vault pinned it for the first time.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Returns `true` if the vault is pinned.
    pub fn is_remembered(&self) -> bool {
        self.pin.is_some()
    }

    /// Returns the differences between the pin and `vault.toml`; none if the vault is not pinned.
    pub fn changes(&self) -> Vec<Change> {
        self.pin.as_ref().map(|pin| pin.changes(&self.manifest)).unwrap_or_default()
    }

    /// Checks that the vault's id, recipients and authors are the pinned ones.
    ///
    /// # Errors
    /// [`VaultError::Changed`].
    pub fn require_unchanged(&self) -> Result<(), VaultError> {
        let changes = self.changes();
        if changes.is_empty() {
            return Ok(());
        }
        let (path, fingerprint) = (self.path().to_owned(), self.fingerprint());
        Err(VaultError::Changed { path, changes, fingerprint })
    }

    /// Checks that the vault may be read: its id is the pinned one, even if its recipients or authors changed.
    ///
    /// # Errors
    /// [`VaultError::Changed`].
    pub(super) fn require_itself(&self) -> Result<(), VaultError> {
        match self.require_unchanged() {
            Err(VaultError::Changed { .. }) if self.pin.as_ref().is_some_and(|pin| pin.id == self.manifest.id()) => {
                self.options.listener.tell(&Notice::Changed { path: self.path() });
                Ok(())
            }
            compared => compared,
        }
    }

    fn unpinned(&self, error: VaultError) -> Result<(), VaultError> {
        if self.options.strictness == Strictness::Errors || self.options.access == Access::Write {
            return Err(error);
        }
        self.options.listener.tell(&Notice::Unpinned(&error));
        Ok(())
    }

    pub(super) fn unremembered(&self, error: VaultError) -> Result<(), VaultError> {
        if self.options.strictness == Strictness::Errors {
            return Err(error);
        }
        self.options.listener.tell(&Notice::Unremembered(&error));
        Ok(())
    }
}

impl LockedVault<'_> {
    /// Pins the vault as it is now. Returns the differences that were accepted.
    ///
    /// # Errors
    /// [`VaultError::Unexpected`], or the system's.
    pub fn accept(&mut self) -> Result<Vec<Change>, VaultError> {
        self.vault.require_expected()?;
        let changes = self.vault.changes();
        let pin = Pin::of(&self.vault.manifest);
        self.pins.save(&pin)?;
        self.vault.pin = Some(pin);
        Ok(changes)
    }

    /// Writes `vault.toml` and pins it. The pin announces the new manifest before it is written, so that a change that was
    /// interrupted at any point leaves a vault that this machine knows.
    pub(super) fn write_manifest(&mut self, manifest: Manifest) -> Result<(), VaultError> {
        let path = || self.vault.root.join(layout::MANIFEST);
        manifest.check().map_err(|source| VaultError::Unfit { path: path(), source })?;
        let before = self.vault.pin.clone().unwrap_or_else(|| Pin::of(&self.vault.manifest));
        self.pins.save(&Pin { announced: Some(manifest.fingerprint()), ..before })?;
        self.vault.root.put(&self.lock, layout::MANIFEST, manifest.to_toml().as_bytes())?;
        let pin = Pin::of(&manifest);
        // If that fails, the announcement stands for it.
        let _ = self.pins.save(&pin);
        (self.vault.manifest, self.vault.pin) = (manifest, Some(pin));
        Ok(())
    }
}
