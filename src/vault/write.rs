//! Writing: under the lock, whole, signed, read back and opened before it takes its place, and synced before it is
//! acknowledged. Only in a vault that is the one this machine knows.

use jiff::{SignedDuration, Timestamp};

use super::pins::Pins;
use super::read::refused;
use super::trust::Newest;
use super::{Metadata, SecretFileError, Vault, VaultError, binding, layout};
use crate::crypto::{self, Author, AuthorKey, Identities, Sealed};
use crate::secret::{SecretId, SecretType, SecretValue};
use crate::storage::{Directory, Lock, Replace};

/// What was known of a secret that is signed anew.
#[derive(Debug)]
pub struct Adopted {
    /// As it was.
    pub metadata: Metadata,
    /// Who had signed it, if anybody had.
    pub author: Option<Author>,
}

impl Vault {
    /// That this writer can write a secret: the vault is the one that this machine knows, and the writer one of its
    /// authors.
    ///
    /// # Errors
    /// [`VaultError::Changed`], [`VaultError::NoState`], [`VaultError::UnlistedAuthor`], [`VaultError::NoAuthor`].
    pub fn require_writable(&self) -> Result<(), VaultError> {
        self.writer().map(drop)
    }

    /// Creates a secret. Needs no identity.
    ///
    /// # Errors
    /// [`VaultError::SecretExists`]; what is there is left alone. Those of [`Vault::require_writable`].
    pub fn create_secret(
        &mut self,
        id: &SecretId,
        secret_type: SecretType,
        value: &SecretValue,
    ) -> Result<Metadata, VaultError> {
        let lock = self.begin_write()?;
        let (pins, key) = self.writer()?;
        self.require_absent(id)?;
        pins.prepare(&id.scope)?;
        let directory = self.create_scope_directory(&id.scope)?;
        // Later than one that was lost without our part in it: else the new one would look like an older one put back.
        let now = after(time(pins.newest(id)?));
        let metadata = Metadata { id: id.clone(), secret_type, created: now, updated: now };
        self.write(&lock, &directory, metadata, value, Replace::Never, (pins, key))
    }

    /// Gives a secret another value, keeping its type and when it was created. Needs no identity.
    ///
    /// # Errors
    /// [`VaultError::SecretMissing`]; [`VaultError::Refused`] if the file in its place does not belong there, or is not by
    /// one of the vault's authors: what it says of the secret is kept, and would then be said by us. The old value is in
    /// place until the new one was written, read back and opened. Those of [`Vault::require_writable`].
    pub fn update_secret(&mut self, id: &SecretId, value: &SecretValue) -> Result<Metadata, VaultError> {
        self.update(id, value, |_| true)
    }

    /// As [`Vault::update_secret`], unless the secret was written since it was as `known`.
    ///
    /// # Errors
    /// [`VaultError::Overtaken`]; as there.
    pub fn update_secret_from(&mut self, known: &Metadata, value: &SecretValue) -> Result<Metadata, VaultError> {
        // No two writes of a secret have one time.
        self.update(&known.id, value, |found| found.updated == known.updated)
    }

    fn update(
        &mut self,
        id: &SecretId,
        value: &SecretValue,
        is_expected: impl FnOnce(&Metadata) -> bool,
    ) -> Result<Metadata, VaultError> {
        let lock = self.begin_write()?;
        let missing = || VaultError::SecretMissing { id: Box::new(id.clone()) };
        let (pins, key) = self.writer()?;
        let directory = self.scope_directory(&id.scope)?.ok_or_else(missing)?;
        let (old, _) = self.peek_judged(&directory, id)?.ok_or_else(missing)?;
        if !is_expected(&old) {
            return Err(VaultError::Overtaken { metadata: Box::new(old) });
        }
        pins.prepare(&id.scope)?;
        let updated = after(time(pins.newest(id)?).max(Some(old.updated)));
        self.write(&lock, &directory, Metadata { updated, ..old }, value, Replace::Existing, (pins, key))
    }

    /// That the file of a secret can be updated, as far as it can be known beforehand; what its author says of it.
    ///
    /// # Errors
    /// Those of [`Vault::update_secret`].
    pub fn require_updatable(&self, id: &SecretId) -> Result<Metadata, VaultError> {
        let missing = || VaultError::SecretMissing { id: Box::new(id.clone()) };
        self.writer()?;
        self.signed_metadata(id)?.ok_or_else(missing)
    }

    /// Signs the value of a secret as ours, whoever wrote it, unless it is damaged or its signature is forged. What was
    /// known of it.
    ///
    /// # Errors
    /// Those of [`Vault::value`] and [`Vault::require_writable`].
    pub fn adopt_secret(&mut self, id: &SecretId, identities: &dyn Identities) -> Result<Adopted, VaultError> {
        let lock = self.begin_write()?;
        let missing = || VaultError::SecretMissing { id: Box::new(id.clone()) };
        let (pins, key) = self.writer()?;
        let directory = self.scope_directory(&id.scope)?.ok_or_else(missing)?;
        let found = self.open_value(&directory, id, identities)?.ok_or_else(missing)?;
        if found.claim.as_ref().is_some_and(|claim| !claim.is_authentic()) {
            return Err(refused(&directory, id, SecretFileError::Forged));
        }
        pins.prepare(&id.scope)?;
        let updated = after(time(pins.newest(id)?).max(Some(found.metadata.updated)));
        let metadata = Metadata { updated, ..found.metadata.clone() };
        self.write(&lock, &directory, metadata, &found.value, Replace::Existing, (pins, key))?;
        Ok(Adopted { metadata: found.metadata, author: found.claim.map(|claim| claim.author) })
    }

    /// Deletes a secret. Needs no identity; a file that would be refused on reading can be deleted. `false` if the file was
    /// gone already, and is now no longer missed.
    ///
    /// # Errors
    /// [`VaultError::SecretMissing`], [`VaultError::Changed`].
    pub fn delete_secret(&mut self, id: &SecretId) -> Result<bool, VaultError> {
        let lock = self.begin_write()?;
        let pins = self.require_known()?;
        let known = pins.newest(id)?;
        let is_there = self.is_occupied(id)?;
        if !is_there && known.is_none_or(|known| known.is_deleted) {
            return Err(VaultError::SecretMissing { id: Box::new(id.clone()) });
        }
        // Later than the file, as far as its author said when it is of.
        let found = self.signed_metadata(id).ok().flatten().map(|metadata| metadata.updated);
        let mut removed = false;
        let recorded = pins.record_deletion(id, after(time(known).max(found)), || {
            if let Some(directory) = self.scope_directory(&id.scope)? {
                removed = directory.remove(&lock, &layout::file_name(&id.name))?;
            }
            Ok(())
        });
        match recorded {
            // It is deleted, so that it cannot be remembered is told and no error.
            Err(error) if removed => self.memory.tell_unremembered(&error),
            recorded => recorded?,
        }
        Ok(removed)
    }

    pub(super) fn lock(&self) -> Result<Lock, VaultError> {
        Ok(Lock::acquire(&self.root, layout::LOCK, self.patience)?)
    }

    /// What a write of a secret needs.
    pub(super) fn writer(&self) -> Result<(&Pins, &AuthorKey), VaultError> {
        let pins = self.require_known()?;
        let key = self.author.as_ref().ok_or(VaultError::NoAuthor)?;
        let author = key.author();
        let is_listed = self.manifest.authors().iter().any(|listed| listed.key == author);
        if is_listed { Ok((pins, key)) } else { Err(VaultError::UnlistedAuthor { key: Box::new(author) }) }
    }

    fn write(
        &self,
        lock: &Lock,
        directory: &Directory,
        metadata: Metadata,
        value: &SecretValue,
        replace: Replace,
        (pins, key): (&Pins, &AuthorKey),
    ) -> Result<Metadata, VaultError> {
        let sealed = self.seal(directory, &metadata, value, key)?;
        self.put_sealed((lock, replace), directory, &metadata, (value, &sealed), pins)?;
        Ok(metadata)
    }

    /// Encrypts a value to the vault's recipients, for its place.
    pub(super) fn seal(
        &self,
        directory: &Directory,
        metadata: &Metadata,
        value: &SecretValue,
        key: &AuthorKey,
    ) -> Result<Sealed, VaultError> {
        let bind = |commitment: &_| binding::encode(&self.manifest, metadata, key, commitment);
        let recipients: Vec<_> = self.recipients().iter().map(|recipient| recipient.key.clone()).collect();
        crypto::seal(value, &bind, &recipients)
            .map_err(|source| VaultError::Seal { path: directory.join(&layout::file_name(&metadata.id.name)), source })
    }

    /// Writes what was sealed into its place, once it was read back and opened, and remembers it.
    pub(super) fn put_sealed(
        &self,
        (lock, replace): (&Lock, Replace),
        directory: &Directory,
        metadata: &Metadata,
        (value, sealed): (&SecretValue, &Sealed),
        pins: &Pins,
    ) -> Result<(), VaultError> {
        let file = layout::file_name(&metadata.id.name);
        directory.write(lock, &file, &sealed.bytes, replace, |read_back| sealed.verify(read_back, value))?;
        self.remember(pins, &metadata.id, metadata.updated);
        Ok(())
    }
}

fn time(newest: Option<Newest>) -> Option<Timestamp> {
    newest.map(|newest| newest.time)
}

/// Now, or just after a time that is later: a clock that was set back must not make a newer value look older.
fn after(known: Option<Timestamp>) -> Timestamp {
    let now = Timestamp::now();
    match known {
        Some(known) if known >= now => known.checked_add(SignedDuration::from_nanos(1)).unwrap_or(known),
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_older() {
        let hour = SignedDuration::from_hours(1);
        let (before, future) = (Timestamp::now(), Timestamp::now() + hour);
        assert_eq!(after(Some(future)), future + SignedDuration::from_nanos(1));
        assert!((before..future).contains(&after(Some(before - hour))));
        assert!((before..future).contains(&after(None)));
        assert_eq!(after(Some(Timestamp::MAX)), Timestamp::MAX, "there is none later");
    }
}
