//! The pin of a vault: looked up when the vault is opened, compared with `vault.toml`, and written when it changes.
//!
//! [`super::trust`] decides what a difference means, and [`super::pins`] stores pins on disk.

use std::sync::Arc;

use super::manifest::Manifest;
use super::pins::{PinOnRecord, Pins};
use super::trust::{Change, Pin};
use super::{Access, LockedVault, Notice, Since, StateDirectory, Strictness, Vault, VaultError, layout};

impl Vault {
    /// Looks up the pin of the vault in the state directory. To read, it pins a vault that this machine has never seen.
    ///
    /// # Errors
    /// A pin that cannot be read or parsed. With [`Strictness::Errors`] also a vault that was never accepted and a state
    /// directory that cannot be written; the latter with [`Access::Write`] too.
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
                let pin = Pin::first_seen(&self.manifest);
                // A refused write is not a first use: the first reading shows the keys.
                let saved = match (self.options.access, self.options.strictness) {
                    (Access::Write, _) => pins.require_writable(),
                    (Access::Read, Strictness::Errors) => Ok(()),
                    (Access::Read, Strictness::Notices) => {
                        self.tell_first_use();
                        pins.save(&pin)
                    }
                };
                if let Err(error) = saved {
                    return self.unpinned(error).map(|()| self);
                }
                pin
            }
        };
        (self.pins, self.pin) = (Some(Arc::new(pins)), Some(pin));
        match self.options.strictness {
            Strictness::Errors if !self.is_accepted() => Err(self.unaccepted()),
            _ => Ok(self),
        }
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

    /// Checks that the vault has this fingerprint: for a user who compared or saw it before.
    ///
    /// # Errors
    /// [`VaultError::Unexpected`].
    pub fn require_fingerprint(&self, expected: &str) -> Result<(), VaultError> {
        let found = self.fingerprint();
        if found == expected { Ok(()) } else { Err(VaultError::Unexpected { path: self.path().to_owned(), found }) }
    }

    fn tell_first_use(&self) {
        let (changes, fingerprint) = (Pin::all(&self.manifest), self.fingerprint());
        let notice = Notice::FirstUse { path: self.path(), changes: &changes, fingerprint: &fingerprint };
        self.options.listener.tell(&notice);
    }

    fn unaccepted(&self) -> VaultError {
        let (path, changes) = (self.path().to_owned(), Pin::all(&self.manifest));
        VaultError::Unaccepted { path, changes, fingerprint: self.fingerprint() }
    }

    /// Pins a vault before its `vault.toml` is written: one that this machine made must not be one that it never accepted,
    /// even if its making was interrupted.
    pub(super) fn pin_new(&mut self) -> Result<(), VaultError> {
        let StateDirectory::At(state) = &self.options.state else { return Ok(()) };
        let (pins, pin) = (Pins::new(state, &self.root, self.manifest.id()), Pin::accepted(&self.manifest));
        pins.remove_leftovers()?;
        pins.save(&pin)?;
        (self.pins, self.pin) = (Some(Arc::new(pins)), Some(pin));
        Ok(())
    }

    /// Returns `true` if the vault was made here, or accepted by [`Vault::accept`]. It may have changed since.
    pub fn is_accepted(&self) -> bool {
        self.pin.as_ref().is_some_and(|pin| pin.is_accepted)
    }

    /// Returns `true` if the vault is pinned.
    pub fn is_remembered(&self) -> bool {
        self.pin.is_some()
    }

    /// Returns the differences between the pin and `vault.toml`; none if the vault is not pinned.
    pub fn changes(&self) -> Vec<Change> {
        self.pin.as_ref().map(|pin| pin.changes(&self.manifest)).unwrap_or_default()
    }

    /// Returns what [`Vault::accept`] would accept: the whole of a vault that was never accepted, or else the differences.
    pub fn to_accept(&self) -> Vec<Change> {
        if self.is_accepted() { self.changes() } else { Pin::all(&self.manifest) }
    }

    /// Checks that this machine's user accepted the vault as it is, so that it may be written to.
    ///
    /// # Errors
    /// [`VaultError::Unaccepted`], [`VaultError::Changed`], or [`VaultError::NoState`] for a vault that is not pinned.
    pub fn require_accepted(&self) -> Result<(), VaultError> {
        match &self.pin {
            None => Err(VaultError::NoState),
            Some(pin) if !pin.is_accepted => Err(self.unaccepted()),
            Some(_) => self.require_unchanged(),
        }
    }

    /// Checks that the vault's id, recipients and authors are the pinned ones. A writer needs
    /// [`Vault::require_accepted`].
    ///
    /// # Errors
    /// [`VaultError::Changed`].
    pub fn require_unchanged(&self) -> Result<(), VaultError> {
        let changes = self.changes();
        if changes.is_empty() {
            return Ok(());
        }
        let (path, fingerprint, since) = (self.path().to_owned(), self.fingerprint(), self.since());
        Err(VaultError::Changed { path, changes, fingerprint, since })
    }

    /// Checks that the vault may be read: its id is the pinned one, even if its recipients or authors changed.
    ///
    /// # Errors
    /// [`VaultError::Changed`].
    pub fn require_itself(&self) -> Result<(), VaultError> {
        if self.pin.as_ref().is_none_or(|pin| pin.id == self.manifest.id()) { Ok(()) } else { self.require_unchanged() }
    }

    /// As [`Vault::require_itself`], for a value: tells of changed recipients and authors.
    pub(super) fn require_readable(&self) -> Result<(), VaultError> {
        self.require_itself()?;
        if !self.changes().is_empty() {
            self.options.listener.tell(&Notice::Changed { path: self.path(), since: self.since() });
        }
        Ok(())
    }

    /// Accepts the vault if it still has this fingerprint, which its user saw or compared: from then on, this machine writes to it.
    ///
    /// # Errors
    /// [`VaultError::Unexpected`], or the system's.
    pub fn accept(&mut self, fingerprint: &str) -> Result<(), VaultError> {
        let (_lock, pins) = self.lock_to_pin()?;
        self.require_fingerprint(fingerprint)?;
        let pin = Pin::accepted(&self.manifest);
        pins.save(&pin)?;
        self.pin = Some(pin);
        Ok(())
    }

    fn since(&self) -> Since {
        if self.is_accepted() { Since::Accepted } else { Since::FirstRead }
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
    /// Writes `vault.toml` and pins it. The pin announces the new manifest before it is written, so that a change that was
    /// interrupted at any point leaves a vault that this machine knows.
    pub(super) fn write_manifest(&mut self, manifest: Manifest) -> Result<(), VaultError> {
        let path = || self.vault.root.join(layout::MANIFEST);
        manifest.check().map_err(|source| VaultError::Unfit { path: path(), source })?;
        self.vault.require_accepted()?;
        let before = self.vault.pin.clone().ok_or(VaultError::NoState)?;
        self.pins.save(&Pin { announced: Some(manifest.fingerprint()), ..before })?;
        self.vault.root.put(&self.lock, layout::MANIFEST, manifest.to_toml().as_bytes())?;
        let pin = Pin::accepted(&manifest);
        // If that fails, the announcement stands for it.
        let _ = self.pins.save(&pin);
        (self.vault.manifest, self.vault.pin) = (manifest, Some(pin));
        Ok(())
    }
}
