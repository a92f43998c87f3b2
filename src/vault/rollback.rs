//! Rollback: a secret is compared with the newest version that this machine has seen.

use jiff::Timestamp;

use super::many::{Weight, in_order};
use super::open_scopes::OpenScopes;
use super::trust::{Newest, Stale, staleness};
use super::{Notice, Strictness, Vault, VaultError};
use crate::secret::SecretId;

impl Vault {
    /// Accepts each secret that [`Vault::stale`] returns as it is now. Returns these.
    ///
    /// # Errors
    /// The system's.
    pub fn accept_older(&mut self) -> Result<Vec<Stale>, VaultError> {
        let (_lock, pins) = self.lock_to_pin()?;
        let stale = self.stale()?;
        for stale in &stale {
            // The record is removed and not set back: the next complete read makes a new one.
            pins.forget(&stale.id)?;
        }
        Ok(stale)
    }

    /// Compares the time of the file (`None`: there is no file) with what was known before the file was read. Returns `true` if it
    /// is newer, and [`Vault::record`] should record it.
    pub(super) fn compare(
        &self,
        id: &SecretId,
        known: Option<Newest>,
        found: Option<Timestamp>,
    ) -> Result<bool, VaultError> {
        let Some(pins) = &self.pins else { return Ok(false) };
        if staleness(id, known, found).is_some() {
            // The secret may have been deleted meanwhile, and created again.
            let settled = pins.settled(id, || self.is_occupied(id))?;
            let stale = staleness(id, settled.newest, found);
            let Some(stale) = stale.filter(|_| found.is_some() || !settled.is_there) else {
                return Ok(false);
            };
            if [self.options.strictness, self.options.rollback].contains(&Strictness::Errors) {
                return Err(VaultError::Stale(Box::new(stale)));
            }
            self.options.listener.tell(&Notice::Stale(&stale));
            return Ok(false);
        }
        Ok(found.is_some_and(|found| known.is_none_or(|known| known.time < found)))
    }

    /// Records the times of secrets that were read.
    pub(super) fn record(&self, newer: &[(SecretId, Timestamp)]) -> Result<(), VaultError> {
        let Some(pins) = &self.pins else { return Ok(()) };
        let mut updates: Vec<_> = newer.iter().map(|(id, updated)| (id, *updated)).collect();
        updates.sort();
        pins.record_all(&updates).or_else(|error| self.unremembered(error))
    }

    /// Returns the secrets that were rolled back, are gone, or are back after they were deleted here. By their headers, as
    /// far as their authors signed them.
    ///
    /// # Errors
    /// The system's, or a record that cannot be parsed. A file that is refused is left out: [`Vault::inspect`] reports it.
    pub fn stale(&self) -> Result<Vec<Stale>, VaultError> {
        let mut all = Vec::new();
        let Some(pins) = &self.pins else { return Ok(all) };
        let look = |scopes: &mut OpenScopes<'_>, id: &SecretId| {
            let known = scopes.known(id)?;
            let stale = staleness(id, known, scopes.header(id)?.map(|header| header.metadata.updated));
            // A time that is not stale stays so with any author: the signature counts only for one that is.
            if stale.is_none() {
                return Ok(None);
            }
            Ok(staleness(id, known, scopes.judged_header(id)?.map(|header| header.metadata.updated)))
        };
        in_order(
            &pins.recorded()?,
            Weight::Header,
            || OpenScopes::of(self),
            look,
            |stale| {
                match stale {
                    Ok(stale) => all.extend(stale),
                    Err(VaultError::Refused { .. }) => {}
                    Err(VaultError::Storage(error)) if error.exposure().is_some() => {}
                    Err(error) => return Err(error),
                }
                Ok(())
            },
        )?;
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Identity;
    use crate::secret::Scope;
    use crate::storage::{Directory, Lock, Permissions};
    use crate::vault::{Access, Listener, NamedRecipient, NewVault, StateDirectory, VaultOptions};

    /// A strict vault, the directory of its pins, and a secret's name.
    fn vault() -> (tempfile::TempDir, Vault, SecretId) {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let (path, state) = (keep.path().join("vault"), keep.path().join("state"));
        let recipient = NamedRecipient { name: "owner".to_owned(), key: Identity::generate().recipient() };
        let new = NewVault {
            recipients: vec![recipient],
            authors: Vec::new(),
            state,
            permissions: Permissions::Checked,
            listener: Listener::new(|notice| panic!("{notice:?}")),
        };
        let mut vault = new.create(&path).expect("made");
        vault.options.strictness = Strictness::Errors;
        let id = SecretId { scope: Scope::Organization, name: "s".parse().expect("a good name") };
        (keep, vault, id)
    }

    fn known(vault: &Vault, id: &SecretId) -> Result<Option<Newest>, VaultError> {
        vault.pins.as_ref().expect("made with pins").newest(id)
    }

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn seen(second: i64) -> Option<Newest> {
        Some(Newest { time: time(second), is_deleted: false })
    }

    #[test]
    fn a_secret_that_was_deleted_while_it_was_read_is_not_reported_as_gone() {
        let (_keep, vault, id) = vault();
        // Its pin was there before the file was looked for, and now it is that of a deletion.
        let pins = vault.pins.as_ref().expect("made with pins");
        pins.record_deletion(&id, time(8), || Ok(())).expect("recorded");
        assert!(vault.compare(&id, seen(7), None).is_ok());
        pins.forget(&id).expect("forgotten");
        pins.record(&id, time(7)).expect("recorded");
        assert!(matches!(vault.compare(&id, seen(7), None), Err(VaultError::Stale(_))));
        // The secret was created again.
        let scope = vault.create_scope_directory(&id.scope).expect("made");
        scope.write_new("s.age", b"anything").expect("written");
        assert!(vault.compare(&id, seen(7), None).is_ok());
    }

    #[test]
    fn an_older_time_is_not_recorded_and_a_failed_deletion_removes_the_record() {
        let (_keep, vault, id) = vault();
        let pins = vault.pins.as_ref().expect("made with pins");
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
        vault.pins.as_ref().expect("made with pins").record(&id, future).expect("recorded");
        vault.create_scope_directory(&id.scope).and_then(|scope| scope.write_new("s.age", b"x")).expect("written");
        assert!(vault.lock().and_then(|mut locked| locked.delete_secret(&id)).expect("deleted"));
        let known = known(&vault, &id).expect("understood").expect("remembered");
        assert!(known.is_deleted && known.time > future, "{known:?}");
    }

    #[test]
    fn a_failed_deletion_is_an_error_and_a_failed_record_of_one_is_a_notice() {
        let (keep, mut vault, id) = vault();
        let scope = vault.create_scope_directory(&id.scope).expect("made");
        scope.create_subdirectory("s.age").expect("made");
        assert!(
            matches!(vault.lock().and_then(|mut locked| locked.delete_secret(&id)), Err(VaultError::Storage(_))),
            "it is a directory"
        );
        std::fs::remove_dir(keep.path().join("vault/secrets/org/s.age")).expect("removed");
        scope.write_new("s.age", b"anything").expect("written");
        // In the way of each file that would be written there.
        let seen = keep.path().join("state/vaults").join(vault.manifest.id()).join("seen/org");
        std::fs::create_dir_all(seen.join(".tmp/file")).expect("made");
        let (tell, told) = std::sync::mpsc::channel();
        vault.options.listener = Listener::new(move |notice| {
            tell.send(matches!(notice, Notice::Unremembered(_))).expect("it is waited for");
        });
        assert!(vault.lock().and_then(|mut locked| locked.delete_secret(&id)).expect("it is deleted"));
        drop(vault);
        assert_eq!(told.iter().collect::<Vec<_>>(), [true]);
    }

    #[test]
    fn a_missing_state_directory_is_an_error_for_a_strict_reader_and_for_a_writer() {
        let opens = |strictness: Strictness, access: Access| {
            let (_keep, vault, _) = vault();
            let options = VaultOptions { strictness, access, ..VaultOptions::new(StateDirectory::Unknown) };
            options.open(vault.path()).is_ok()
        };
        assert!(opens(Strictness::Notices, Access::Read));
        assert!(!opens(Strictness::Errors, Access::Read));
        assert!(!opens(Strictness::Notices, Access::Write) && !opens(Strictness::Errors, Access::Write));
    }

    #[test]
    fn a_reader_records_a_newer_version_and_takes_no_lock_otherwise() {
        let (keep, vault, id) = vault();
        let newer = |known, found| {
            assert!(vault.compare(&id, known, Some(found)).expect("compared"));
            vault.record(&[(id.clone(), found)]).expect("recorded");
        };
        newer(None, time(7));
        assert_eq!(known(&vault, &id).expect("understood"), seen(7));
        newer(seen(7), time(8));
        assert_eq!(known(&vault, &id).expect("understood"), seen(8));
        let state = Directory::open(&keep.path().join("state")).expect("made");
        let _lock = Lock::acquire(&state, ".lock", std::time::Duration::ZERO).expect("free");
        assert!(!vault.compare(&id, seen(8), Some(time(8))).expect("compared"), "nothing is to be written");
        assert!(vault.record(&[]).is_ok(), "it takes no lock");
    }
}
