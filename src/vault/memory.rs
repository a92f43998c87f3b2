//! How a vault uses what is remembered of it: where [`super::trust`] decides and [`super::pins`] keeps.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::manifest::Manifest;
use super::pins::Pins;
use super::trust::{Change, Newest, Pin, Stale, staleness};
use super::{NamedAuthor, Vault, VaultError, layout};
use crate::crypto::Author;
use crate::secret::SecretId;
use crate::storage::Lock;

/// Something that is no error but has to be told.
#[derive(Debug)]
pub enum Notice<'a> {
    /// A vault that was never seen here is taken as it is.
    FirstUse {
        /// Where it is.
        path: &'a Path,
        /// Its id, recipients and authors.
        changes: &'a [Change],
    },
    /// The vault is not as it was accepted: it is read still, but for its new authors.
    Changed {
        /// Where it is.
        path: &'a Path,
    },
    /// A secret is older than it was, or gone.
    Stale(&'a Stale),
    /// What was seen could not be remembered.
    Unremembered(&'a VaultError),
    /// Nothing is remembered of the vault, and its own word is taken for who writes it.
    Unpinned(&'a VaultError),
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
    /// Where it is kept. Without it, reading goes on but writing does not.
    pins: Option<Pins>,
    /// What the vault was.
    pin: Option<Pin>,
    /// Whether it was never seen before.
    is_new: bool,
    is_strict: bool,
    /// Whether it is an error that nothing can be remembered.
    must_remember: bool,
    /// The fingerprint of the one that is to be accepted.
    expected: Option<String>,
    listener: Listener,
}

impl Memory {
    pub(super) fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }

    /// What was set, without what was found.
    pub(super) fn forgotten(&self) -> Self {
        let (is_strict, must_remember, listener) = (self.is_strict, self.must_remember, self.listener.clone());
        Self { is_strict, must_remember, listener, ..Self::default() }
    }

    /// The directory in which it is kept.
    pub(super) fn state(&self) -> Option<&Path> {
        self.pins.as_ref().map(Pins::state)
    }

    pub(super) fn tell_unremembered(&self, error: &VaultError) {
        self.listener.tell(&Notice::Unremembered(error));
    }
}

impl Vault {
    /// Sets who is told what is no error.
    #[must_use]
    pub fn with_listener(mut self, listener: Arc<Listen>) -> Self {
        self.memory.listener = Listener(Some(listener));
        self
    }

    /// Sets whether to refuse what is else only told: a vault that was never seen, a secret that is older than it was seen
    /// here, or gone, and that nothing can be remembered.
    #[must_use]
    pub fn with_strictness(mut self, is_strict: bool) -> Self {
        self.memory.is_strict = is_strict;
        self
    }

    /// Has it be an error that nothing can be remembered: for who means to write.
    #[must_use]
    pub fn remembering(mut self) -> Self {
        self.memory.must_remember = true;
        self
    }

    /// Looks up what is remembered of the vault below `state`, a directory of the user's, and pins a vault that was never
    /// seen as it is. Without a directory to remember in, a vault can be read but not written.
    ///
    /// # Errors
    /// What is remembered is not understood, or cannot be read. Under [`Vault::with_strictness`] also that the vault was
    /// never seen, and that nothing can be remembered, which is else told.
    pub fn with_state(mut self, state: Option<&Path>) -> Result<Self, VaultError> {
        let Some(state) = state else { return self.unpinned(VaultError::NoState).map(|()| self) };
        let pins = Pins::new(state, &self.root, self.manifest.id());
        // That it is there and cannot be read may be what somebody wants who changed the vault.
        let pin = match self.look(&pins)? {
            Some((pin, is_on_record)) => {
                // What is known counts, also where the vault's new path cannot be remembered.
                if !is_on_record && let Err(error) = pins.save(&pin) {
                    self.unremembered(error)?;
                }
                pin
            }
            None => {
                self.tell_first_use()?;
                let pin = Pin::of(&self.manifest);
                if let Err(error) = pins.save(&pin) {
                    return self.unpinned(error).map(|()| self);
                }
                self.memory.is_new = true;
                pin
            }
        };
        (self.memory.pins, self.memory.pin) = (Some(pins), Some(pin));
        Ok(self)
    }

    /// What is pinned, compared with a `vault.toml` of the same time: a change writes one after the other, so where they differ
    /// both are read again.
    fn look(&mut self, pins: &Pins) -> Result<Option<(Pin, bool)>, VaultError> {
        const ATTEMPTS: usize = 3;
        for attempt in 1.. {
            let Some((pin, is_on_record)) = pins.load()? else { break };
            let pin = pin.settled(&self.manifest);
            if attempt == ATTEMPTS || pin.changes(&self.manifest).is_empty() {
                return Ok(Some((pin, is_on_record)));
            }
            self.manifest = Self::read_manifest(&self.root)?;
        }
        Ok(None)
    }

    /// Has [`Vault::accept`], and the first look at a vault, refuse any but the one that has this fingerprint.
    #[must_use]
    pub fn expecting(mut self, fingerprint: Option<String>) -> Self {
        self.memory.expected = fingerprint;
        self
    }

    fn require_expected(&self) -> Result<(), VaultError> {
        let found = self.fingerprint();
        match &self.memory.expected {
            Some(expected) if *expected != found => Err(VaultError::Unexpected { path: self.path().to_owned(), found }),
            _ => Ok(()),
        }
    }

    fn tell_first_use(&self) -> Result<(), VaultError> {
        self.require_expected()?;
        let changes = Pin::all(&self.manifest);
        if self.memory.is_strict {
            let (path, fingerprint) = (self.path().to_owned(), self.fingerprint());
            return Err(VaultError::FirstUse { path, changes, fingerprint });
        }
        self.memory.listener.tell(&Notice::FirstUse { path: self.path(), changes: &changes });
        Ok(())
    }

    /// Pins a vault that was just made. It is made, so that it cannot be remembered is told and no error.
    pub(super) fn begin(&mut self, state: &Path) {
        let (pins, pin) = (Pins::new(state, &self.root, self.manifest.id()), Pin::of(&self.manifest));
        match pins.save(&pin) {
            Ok(()) => (self.memory.pins, self.memory.pin) = (Some(pins), Some(pin)),
            Err(error) => self.memory.listener.tell(&Notice::Unpinned(&error)),
        }
    }

    /// Whether this is the first time that it is seen here.
    pub fn is_new(&self) -> bool {
        self.memory.is_new
    }

    /// Whether anything is remembered of it.
    pub fn is_remembered(&self) -> bool {
        self.memory.pin.is_some()
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
        self.require_unchanged()?;
        self.memory.pins.as_ref().ok_or(VaultError::NoState)
    }

    /// That its id, recipients and authors are those that are pinned.
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

    /// That it may be read: it is the vault that this machine knows under this path, whoever may have changed it.
    ///
    /// # Errors
    /// [`VaultError::Changed`].
    pub(super) fn require_itself(&self) -> Result<(), VaultError> {
        match self.require_unchanged() {
            Err(VaultError::Changed { .. }) if self.memory.pin().is_some_and(|pin| pin.id == self.manifest.id()) => {
                self.memory.listener.tell(&Notice::Changed { path: self.path() });
                Ok(())
            }
            compared => compared,
        }
    }

    /// What this machine knows last of the secret.
    pub(super) fn known(&self, id: &SecretId) -> Result<Option<Newest>, VaultError> {
        self.memory.pins.as_ref().map_or(Ok(None), |pins| pins.newest(id))
    }

    /// Compares what was found (`None`: no file) with what was known before the file was read, and remembers it.
    pub(super) fn compare(
        &self,
        id: &SecretId,
        known: Option<Newest>,
        found: Option<Timestamp>,
    ) -> Result<(), VaultError> {
        let Some(pins) = &self.memory.pins else { return Ok(()) };
        if staleness(id, known, found).is_some() {
            // Unless it was deleted meanwhile, and perhaps made anew.
            let (known, is_there) = pins.settled(id, || self.is_occupied(id))?;
            let Some(stale) = staleness(id, known, found).filter(|_| found.is_some() || !is_there) else {
                return Ok(());
            };
            if self.memory.is_strict {
                return Err(VaultError::Stale(Box::new(stale)));
            }
            self.memory.listener.tell(&Notice::Stale(&stale));
        } else if let Some(updated) = found.filter(|found| known.is_none_or(|known| known.time < *found))
            && let Err(error) = pins.record(id, updated)
        {
            return self.unremembered(error);
        }
        Ok(())
    }

    /// Remembers what was just written. It is written, so that it cannot be remembered is told and no error.
    pub(super) fn remember(&self, pins: &Pins, id: &SecretId, updated: Timestamp) {
        if let Err(error) = pins.record(id, updated) {
            self.memory.tell_unremembered(&error);
        }
    }

    /// Takes the lock, and looks anew at what may have changed since the vault was opened: a value may have been asked for.
    pub(super) fn begin_write(&mut self) -> Result<Lock, VaultError> {
        let lock = self.lock()?;
        self.manifest = Self::read_manifest(&self.root)?;
        if let Some(pins) = &self.memory.pins
            && let Some((pin, _)) = pins.load()?
        {
            let was_announced = pin.announced.is_some();
            let mut pin = pin.settled(&self.manifest);
            if was_announced && pin.changes(&self.manifest).is_empty() {
                // Done or not, it is over.
                pin.announced = None;
                pins.save(&pin)?;
            }
            self.memory.pin = Some(pin);
        }
        Ok(lock)
    }

    fn unpinned(&self, error: VaultError) -> Result<(), VaultError> {
        if self.memory.is_strict || self.memory.must_remember {
            return Err(error);
        }
        self.memory.listener.tell(&Notice::Unpinned(&error));
        Ok(())
    }

    fn unremembered(&self, error: VaultError) -> Result<(), VaultError> {
        if self.memory.is_strict {
            return Err(error);
        }
        self.memory.tell_unremembered(&error);
        Ok(())
    }

    /// The secrets that are older than this machine has seen them, or gone, or deleted here and there again. By their
    /// headers, as far as their authors signed them.
    ///
    /// # Errors
    /// The system's, or what is remembered is not understood. A file that is refused is passed over: it is told elsewhere.
    pub fn stale(&self) -> Result<Vec<Stale>, VaultError> {
        let mut all = Vec::new();
        let Some(pins) = &self.memory.pins else { return Ok(all) };
        for id in pins.recorded()? {
            let known = self.known(&id)?;
            let found = match self.signed_metadata(&id) {
                Ok(found) => found.map(|metadata| metadata.updated),
                Err(VaultError::Refused { .. }) => continue,
                Err(VaultError::Storage(error)) if error.exposure().is_some() => continue,
                Err(error) => return Err(error),
            };
            all.extend(staleness(&id, known, found));
        }
        Ok(all)
    }

    /// Takes the vault as it is now for the one this machine knows: its id, recipients and authors. What was accepted.
    ///
    /// # Errors
    /// [`VaultError::NoState`], [`VaultError::Unexpected`], or the system's.
    pub fn accept(&mut self) -> Result<Vec<Change>, VaultError> {
        let _lock = self.begin_write()?;
        self.require_expected()?;
        let changes = self.changes();
        let pins = self.memory.pins.as_ref().ok_or(VaultError::NoState)?;
        let pin = Pin::of(&self.manifest);
        pins.save(&pin)?;
        self.memory.pin = Some(pin);
        Ok(changes)
    }

    /// Takes each secret as it is that is older than it was seen here, or gone, or deleted here and there again. Which.
    ///
    /// # Errors
    /// [`VaultError::NoState`], or the system's.
    pub fn accept_older(&mut self) -> Result<Vec<Stale>, VaultError> {
        let _lock = self.begin_write()?;
        let stale = self.stale()?;
        let pins = self.memory.pins.as_ref().ok_or(VaultError::NoState)?;
        for stale in &stale {
            // Forgotten, and not set back: it is recorded when it is next read to its end.
            pins.forget(&stale.id)?;
        }
        Ok(stale)
    }

    /// Makes an author one whose values are read here: names them in `vault.toml`, if it does not, and pins them. Whether
    /// `vault.toml` was written.
    ///
    /// # Errors
    /// [`VaultError::Changed`] if it would have to be, and is not as this machine knows it.
    pub fn trust_author(&mut self, name: &str, key: &Author) -> Result<bool, VaultError> {
        let lock = self.begin_write()?;
        let is_in = |authors: &[NamedAuthor]| authors.iter().any(|author| &author.key == key);
        let is_listed = is_in(self.manifest.authors());
        let author = NamedAuthor { name: name.to_owned(), key: key.clone() };
        if is_listed {
            let pins = self.memory.pins.as_ref().ok_or(VaultError::NoState)?;
            let mut pin = self.memory.pin.clone().unwrap_or_else(|| Pin::of(&self.manifest));
            if !is_in(&pin.authors) {
                pin.authors.extend(self.manifest.authors().iter().find(|listed| &listed.key == key).cloned());
                pins.save(&pin)?;
            }
            self.memory.pin = Some(pin);
            return Ok(false);
        }
        let pins = self.require_known()?;
        let mut manifest = self.manifest.clone();
        manifest.add_author(author);
        let pin = self.write_pinned(&lock, &manifest, pins)?;
        self.replace_pinned(manifest, pin);
        Ok(true)
    }

    /// Takes the authors that `name` means out of `vault.toml`, by what they are called or by their key. Who, and which
    /// secrets they signed: those are refused from now on.
    ///
    /// # Errors
    /// [`VaultError::AuthorMissing`]; [`VaultError::OwnAuthor`]; those of [`Vault::require_writable`].
    pub fn distrust_authors(&mut self, name: &str) -> Result<(Vec<NamedAuthor>, Vec<SecretId>), VaultError> {
        let lock = self.begin_write()?;
        let (pins, key) = self.writer()?;
        let (own, mut manifest) = (key.author(), self.manifest.clone());
        // A name that looks like a key is somebody's trick.
        let removed = match name.parse::<Author>() {
            Ok(key) => manifest.remove_authors(|known| known.key == key),
            Err(_) => manifest.remove_authors(|known| known.name == name),
        };
        if removed.is_empty() {
            return Err(VaultError::AuthorMissing { name: name.to_owned() });
        }
        if removed.iter().any(|author| author.key == own) {
            return Err(VaultError::OwnAuthor { name: name.to_owned() });
        }
        let mut signed = Vec::new();
        self.each_header(|header| match header {
            Ok((metadata, Some(claim))) if removed.iter().any(|author| author.key == claim.author) => {
                signed.push(metadata.id);
            }
            _ => {}
        })?;
        let pin = self.write_pinned(&lock, &manifest, pins)?;
        self.replace_pinned(manifest, pin);
        Ok((removed, signed))
    }

    /// Writes `vault.toml` and pins it. What it is to be is announced in the pin before: stopped anywhere, the vault is one that
    /// this machine knows.
    pub(super) fn write_pinned(&self, lock: &Lock, manifest: &Manifest, pins: &Pins) -> Result<Pin, VaultError> {
        manifest.check().map_err(|source| VaultError::Unfit { path: self.root.join(layout::MANIFEST), source })?;
        let before = self.memory.pin.clone().unwrap_or_else(|| Pin::of(&self.manifest));
        pins.save(&Pin { announced: Some(manifest.fingerprint()), ..before })?;
        Self::write_manifest(lock, &self.root, manifest)?;
        let pin = Pin::of(manifest);
        // Where that fails, what was announced stands for it.
        let _ = pins.save(&pin);
        Ok(pin)
    }

    /// The vault as it was just written, and pinned.
    pub(super) fn replace_pinned(&mut self, manifest: Manifest, pin: Pin) {
        (self.manifest, self.memory.pin) = (manifest, Some(pin));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Identity;
    use crate::secret::Scope;
    use crate::storage::{Directory, Permissions};
    use crate::vault::NamedRecipient;

    /// A strict vault, the directory of its pins, and a secret's name.
    fn vault() -> (tempfile::TempDir, Vault, SecretId) {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let (path, state) = (keep.path().join("vault"), keep.path().join("state"));
        let recipient = NamedRecipient { name: "owner".to_owned(), key: Identity::generate().recipient() };
        let listener = Arc::new(|notice: &Notice<'_>| panic!("{notice:?}"));
        let vault = Vault::create(&path, vec![recipient], Vec::new(), &state, Permissions::Checked, listener);
        let id = SecretId { scope: Scope::Organization, name: "s".parse().expect("a good name") };
        (keep, vault.expect("made").with_strictness(true), id)
    }

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn seen(second: i64) -> Option<Newest> {
        Some(Newest { time: time(second), is_deleted: false })
    }

    #[test]
    fn what_was_deleted_while_it_was_read_is_not_missed() {
        let (_keep, vault, id) = vault();
        // Its pin was there before the file was looked for, and now it is that of a deletion.
        let pins = vault.memory.pins.as_ref().expect("made with pins");
        pins.record_deletion(&id, time(8), || Ok(())).expect("recorded");
        assert!(vault.compare(&id, seen(7), None).is_ok());
        pins.forget(&id).expect("forgotten");
        pins.record(&id, time(7)).expect("recorded");
        assert!(matches!(vault.compare(&id, seen(7), None), Err(VaultError::Stale(_))));
        // It was made anew.
        let scope = vault.create_scope_directory(&id.scope).expect("made");
        scope.write_new("s.age", b"anything").expect("written");
        assert!(vault.compare(&id, seen(7), None).is_ok());
    }

    #[test]
    fn what_is_older_is_not_recorded_and_what_could_not_be_deleted_is_forgotten() {
        let (_keep, vault, id) = vault();
        let pins = vault.memory.pins.as_ref().expect("made with pins");
        pins.record(&id, time(8)).expect("recorded");
        pins.record(&id, time(7)).expect("passed over");
        assert_eq!(pins.newest(&id).expect("understood"), seen(8));
        assert!(pins.record_deletion(&id, time(9), || Err(VaultError::NoAuthor)).is_err());
        assert_eq!(pins.newest(&id).expect("understood"), None);
        pins.record_deletion(&id, time(9), || Ok(())).expect("recorded");
        pins.record(&id, time(9)).expect("passed over");
        assert_eq!(pins.newest(&id).expect("understood"), Some(Newest { time: time(9), is_deleted: true }));
        pins.record(&id, time(10)).expect("recorded");
        assert_eq!(pins.newest(&id).expect("understood"), seen(10));
    }

    #[test]
    fn a_deletion_is_remembered_as_later_than_what_it_deleted() {
        let (_keep, mut vault, id) = vault();
        let future = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        vault.memory.pins.as_ref().expect("made with pins").record(&id, future).expect("recorded");
        vault.create_scope_directory(&id.scope).and_then(|scope| scope.write_new("s.age", b"x")).expect("written");
        assert!(vault.delete_secret(&id).expect("deleted"));
        let known = vault.known(&id).expect("understood").expect("remembered");
        assert!(known.is_deleted && known.time > future, "{known:?}");
    }

    #[test]
    fn what_could_not_be_deleted_is_an_error_and_what_could_not_be_remembered_is_told() {
        let (keep, mut vault, id) = vault();
        let scope = vault.create_scope_directory(&id.scope).expect("made");
        scope.create_subdirectory("s.age").expect("made");
        assert!(matches!(vault.delete_secret(&id), Err(VaultError::Storage(_))), "it is a directory");
        std::fs::remove_dir(keep.path().join("vault/secrets/org/s.age")).expect("removed");
        scope.write_new("s.age", b"anything").expect("written");
        // In the way of each file that would be written there.
        let seen = keep.path().join("state/vaults").join(vault.manifest.id()).join("seen/org");
        std::fs::create_dir_all(seen.join(".tmp")).expect("made");
        let (tell, told) = std::sync::mpsc::channel();
        let mut vault = vault.with_listener(Arc::new(move |notice: &Notice<'_>| {
            tell.send(matches!(notice, Notice::Unremembered(_))).expect("it is waited for");
        }));
        assert!(vault.delete_secret(&id).expect("it is deleted"));
        drop(vault);
        assert_eq!(told.iter().collect::<Vec<_>>(), [true]);
    }

    #[test]
    fn that_nothing_can_be_remembered_is_an_error_for_who_asked_for_one() {
        let open = |is_strict: bool, is_writer: bool| {
            let (_keep, vault, _) = vault();
            let vault = vault.with_listener(Arc::new(|_: &Notice<'_>| {})).with_strictness(is_strict);
            if is_writer { vault.remembering() } else { vault }.with_state(None).is_ok()
        };
        assert!(open(false, false));
        assert!(!open(true, false) && !open(false, true) && !open(true, true));
    }

    #[test]
    fn a_reader_remembers_what_is_newer_and_waits_for_nobody_else() {
        let (keep, vault, id) = vault();
        assert!(vault.compare(&id, None, Some(time(7))).is_ok());
        assert_eq!(vault.known(&id).expect("understood"), seen(7));
        assert!(vault.compare(&id, seen(7), Some(time(8))).is_ok());
        assert_eq!(vault.known(&id).expect("understood"), seen(8));
        let state = Directory::open(&keep.path().join("state")).expect("made");
        let _lock = Lock::acquire(&state, ".lock", std::time::Duration::ZERO).expect("free");
        assert!(vault.compare(&id, seen(8), Some(time(8))).is_ok(), "nothing is to be written");
    }
}
