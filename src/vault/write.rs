//! Writing secrets: each file is signed, written whole, read back and opened before it takes its place, and synced before the
//! write is acknowledged.

use jiff::{SignedDuration, Timestamp};

use super::binding::Header;
use super::read::{OpenedSecret, refused};
use super::trust::{Newest, staleness};
use super::{LockedVault, Metadata, Notice, SecretFileError, Vault, VaultError, Writer, binding, layout};
use crate::crypto::{self, Author, Identities, Sealed};
use crate::secret::{SecretId, SecretType, SecretValue};
use crate::storage::{Directory, Replace};

/// A secret that [`Writer::adopt_secret`] signed.
#[derive(Debug)]
pub struct Adopted {
    /// The metadata before.
    pub metadata: Metadata,
    /// The author before; `None` if the file was not signed.
    pub author: Option<Author>,
}

/// A secret that was sealed, and what is needed to write it.
pub(super) struct SealedSecret<'a> {
    pub(super) directory: &'a Directory,
    pub(super) metadata: &'a Metadata,
    pub(super) value: &'a SecretValue,
    pub(super) sealed: &'a Sealed,
}

impl Vault {
    /// Checks that [`Writer::update_secret`] can succeed, as far as that is known without the lock. Returns the metadata that
    /// the secret's author signed.
    ///
    /// # Errors
    /// Those of [`Writer::update_secret`].
    pub fn require_updatable(&self, id: &SecretId) -> Result<Metadata, VaultError> {
        self.require_writable()?;
        self.signed_metadata(id)?.ok_or_else(|| missing(id))
    }
}

impl Writer<'_> {
    /// Creates a secret. Needs no identity.
    ///
    /// # Errors
    /// [`VaultError::SecretExists`]; the existing secret is left alone.
    pub fn create_secret(
        &mut self,
        id: &SecretId,
        secret_type: SecretType,
        value: &SecretValue,
    ) -> Result<Metadata, VaultError> {
        let LockedVault { vault, pins, .. } = &self.locked;
        vault.require_absent(id)?;
        pins.prepare(&id.scope)?;
        let directory = vault.create_scope_directory(&id.scope)?;
        // Later than a secret of this name that was removed without this machine: otherwise the new one would look like a
        // rollback.
        let now = after(time(pins.newest(id)?));
        let metadata = Metadata { id: id.clone(), secret_type, created: now, updated: now };
        self.write(&directory, metadata, value, Replace::Never)
    }

    /// Gives a secret another value, and keeps its type and creation time. Needs no identity.
    ///
    /// The old value stays in place until the new one was written, read back and opened.
    ///
    /// # Errors
    /// [`VaultError::SecretMissing`]; [`VaultError::Refused`] if the file does not belong in its place, or is not signed by
    /// one of the vault's authors: its metadata is kept, and must not be signed again unless an author vouched for it.
    pub fn update_secret(&mut self, id: &SecretId, value: &SecretValue) -> Result<Metadata, VaultError> {
        self.update(id, value, |_| true)
    }

    /// As [`Writer::update_secret`], unless the secret was written since it was as `known`.
    ///
    /// # Errors
    /// [`VaultError::Overtaken`], and those of [`Writer::update_secret`].
    pub fn update_secret_from(&mut self, known: &Metadata, value: &SecretValue) -> Result<Metadata, VaultError> {
        // No two writes of a secret have the same time.
        self.update(&known.id, value, |found| found.updated == known.updated)
    }

    fn update(
        &mut self,
        id: &SecretId,
        value: &SecretValue,
        is_expected: impl FnOnce(&Metadata) -> bool,
    ) -> Result<Metadata, VaultError> {
        let LockedVault { vault, pins, .. } = &self.locked;
        let directory = vault.scope_directory(&id.scope)?.ok_or_else(|| missing(id))?;
        let old = vault.peek_judged(&directory, id)?.ok_or_else(|| missing(id))?.metadata;
        if !is_expected(&old) {
            return Err(VaultError::Overtaken { metadata: Box::new(old) });
        }
        pins.prepare(&id.scope)?;
        let updated = after(time(pins.newest(id)?).max(Some(old.updated)));
        self.write(&directory, Metadata { updated, ..old }, value, Replace::Existing)
    }

    /// Signs the value of a secret as this writer's, no matter who wrote it, unless it is damaged, its signature is forged, or
    /// it was rolled back: its new time would hide that. Returns its former metadata and author.
    ///
    /// # Errors
    /// Those of [`Vault::value`]; [`VaultError::Stale`].
    pub fn adopt_secret(&mut self, id: &SecretId, identities: &dyn Identities) -> Result<Adopted, VaultError> {
        let LockedVault { vault, pins, .. } = &self.locked;
        let directory = vault.scope_directory(&id.scope)?.ok_or_else(|| missing(id))?;
        let known = pins.newest(id)?;
        let OpenedSecret { header: Header { metadata, claim, .. }, value } =
            vault.open_value(&directory, id, identities)?.ok_or_else(|| missing(id))?;
        if claim.as_ref().is_some_and(|claim| !claim.is_authentic()) {
            return Err(refused(&directory, id, SecretFileError::Forged));
        }
        if let Some(stale) = staleness(id, known, Some(metadata.updated)) {
            return Err(VaultError::Stale(Box::new(stale)));
        }
        pins.prepare(&id.scope)?;
        let updated = after(time(known).max(Some(metadata.updated)));
        self.write(&directory, Metadata { updated, ..metadata.clone() }, &value, Replace::Existing)?;
        Ok(Adopted { metadata, author: claim.map(|claim| claim.author) })
    }

    fn write(
        &self,
        directory: &Directory,
        metadata: Metadata,
        value: &SecretValue,
        replace: Replace,
    ) -> Result<Metadata, VaultError> {
        let sealed = self.seal(&metadata, value)?;
        self.put(&SealedSecret { directory, metadata: &metadata, value, sealed: &sealed }, replace)?;
        Ok(metadata)
    }

    /// Encrypts a value to the vault's recipients, and signs it with its metadata.
    pub(super) fn seal(&self, metadata: &Metadata, value: &SecretValue) -> Result<Sealed, VaultError> {
        let vault = &self.locked.vault;
        let bind = |commitment: &_| binding::encode(&vault.manifest, metadata, &self.key, commitment);
        let recipients: Vec<_> = vault.recipients().iter().map(|recipient| recipient.key.clone()).collect();
        crypto::seal(value, &bind, &recipients)
            .map_err(|source| VaultError::Seal { path: vault.place(&metadata.id), source })
    }

    /// Writes a sealed secret into its place, once it was read back and opened, and records its time. It is written by then,
    /// so a failure to record is a notice and not an error.
    pub(super) fn put(&self, secret: &SealedSecret<'_>, replace: Replace) -> Result<(), VaultError> {
        let SealedSecret { directory, metadata, value, sealed } = secret;
        let LockedVault { vault, lock, pins } = &self.locked;
        let file = layout::file_name(&metadata.id.name);
        directory.write(lock, &file, &sealed.bytes, replace, |read_back| sealed.verify(read_back, value))?;
        if let Err(error) = pins.record(&metadata.id, metadata.updated) {
            vault.options.listener.tell(&Notice::Unremembered(&error));
        }
        Ok(())
    }
}

impl LockedVault<'_> {
    /// Deletes a secret. Needs no identity; a file that would be refused on reading can be deleted. Returns `false` if the
    /// file was gone already; it is then no longer reported as gone.
    ///
    /// # Errors
    /// [`VaultError::SecretMissing`], and those of [`Vault::require_accepted`].
    pub fn delete_secret(&mut self, id: &SecretId) -> Result<bool, VaultError> {
        let Self { vault, lock, pins } = self;
        vault.require_accepted()?;
        let known = pins.newest(id)?;
        let is_there = vault.is_occupied(id)?;
        if !is_there && known.is_none_or(|known| known.is_deleted) {
            return Err(missing(id));
        }
        // Later than the file, as far as its author signed its time.
        let found = vault.signed_metadata(id).ok().flatten().map(|metadata| metadata.updated);
        let mut removed = false;
        let recorded = pins.record_deletion(id, after(time(known).max(found)), || {
            if let Some(directory) = vault.scope_directory(&id.scope)? {
                removed = directory.remove(lock, &layout::file_name(&id.name))?;
            }
            Ok(())
        });
        match recorded {
            // The secret was deleted, so a failure to record that is a notice and not an error.
            Err(error) if removed => vault.options.listener.tell(&Notice::Unremembered(&error)),
            recorded => recorded?,
        }
        Ok(removed)
    }
}

pub(super) fn missing(id: &SecretId) -> VaultError {
    VaultError::SecretMissing { id: Box::new(id.clone()) }
}

pub(super) fn time(newest: Option<Newest>) -> Option<Timestamp> {
    newest.map(|newest| newest.time)
}

/// Now, or just after a time that is later: a clock that was set back must not make a newer value look older.
pub(super) fn after(known: Option<Timestamp>) -> Timestamp {
    let now = Timestamp::now();
    match known {
        Some(known) if known >= now => {
            let next = known.checked_add(SignedDuration::from_nanos(1)).ok();
            next.filter(|next| *next <= binding::latest_time()).unwrap_or(known)
        }
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{AuthorKey, Identity};
    use crate::secret::Scope;
    use crate::storage::Permissions;
    use crate::vault::{Listener, NamedAuthor, NamedRecipient, NewVault};

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_older() {
        let hour = SignedDuration::from_hours(1);
        let (before, future) = (Timestamp::now(), Timestamp::now() + hour);
        assert_eq!(after(Some(future)), future + SignedDuration::from_nanos(1));
        assert!((before..future).contains(&after(Some(before - hour))));
        assert!((before..future).contains(&after(None)));
        let latest = binding::latest_time();
        assert_eq!(after(Some(latest)), latest, "a later one could not be read");
    }

    #[test]
    fn adopt_refuses_a_file_whose_author_did_not_sign_it() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let (identity, key) = (Identity::generate(), AuthorKey::generate().expect("randomness"));
        let new = NewVault {
            recipients: vec![NamedRecipient { name: "owner".to_owned(), key: identity.recipient() }],
            authors: vec![NamedAuthor { name: "owner".to_owned(), key: key.author() }],
            state: keep.path().join("state"),
            permissions: Permissions::Checked,
            listener: Listener::default(),
        };
        let mut vault = new.create(&keep.path().join("vault")).expect("made").with_author(key);
        let id = SecretId { scope: Scope::Organization, name: "s".parse().expect("a good name") };
        let value = SecretValue::new(b"planted".to_vec().into()).expect("small enough");
        let metadata = vault.writer().expect("writable").create_secret(&id, SecretType::Regular, &value).expect("made");
        // The forger knows the value, and so its commitment, but names an author whose key they do not have.
        let forger = AuthorKey::generate().expect("randomness");
        let [own, named] = [forger.author(), vault.authors()[0].key.clone()].map(|author| author.to_string());
        let bind = |commitment: &_| {
            let signed = binding::encode(&vault.manifest, &metadata, &forger, commitment);
            String::from_utf8(signed).expect("JSON").replace(&own, &named).into_bytes()
        };
        let sealed = crypto::seal(&value, &bind, &[identity.recipient()]).expect("it seals");
        let directory = vault.scope_directory(&id.scope).expect("opened").expect("there");
        directory.replace("s.age", &sealed.bytes, |_| Ok::<_, std::io::Error>(())).expect("planted");
        let adopted = vault.writer().expect("writable").adopt_secret(&id, &[identity]);
        assert!(matches!(adopted, Err(VaultError::Refused { source: SecretFileError::Forged, .. })), "{adopted:?}");
    }
}
