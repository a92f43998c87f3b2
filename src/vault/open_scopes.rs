//! The scopes that a command reads: their directories are opened once, in the vault and in the pins, and not for each secret.

use super::binding::Header;
use super::pins::{PinnedScope, Pins};
use super::read::OpenedSecret;
use super::trust::Newest;
use super::{Vault, VaultError, layout};
use crate::crypto::Identities;
use crate::secret::{Scope, SecretId};
use crate::storage::Directory;

/// The most scopes that are kept open: those that a run walks. A vault may have more than a process may open.
const MAX_OPEN: usize = 4;

/// The directories of the scopes that were read last.
pub(super) struct OpenScopes<'v> {
    vault: &'v Vault,
    open: Vec<OpenScope>,
}

struct OpenScope {
    scope: Scope,
    /// `None` where the scope had no secret when it was opened.
    secrets: Option<Directory>,
    /// `None` where no secret of it was on record.
    pins: Option<PinnedScope>,
}

/// A secret as it was read, and the newest version of it that was on record before.
pub(super) struct Found<T> {
    pub(super) known: Option<Newest>,
    /// `None` if it is not there.
    pub(super) secret: Option<T>,
}

impl<'v> OpenScopes<'v> {
    pub(super) fn of(vault: &'v Vault) -> Self {
        Self { vault, open: Vec::new() }
    }

    /// Looks at the header of a secret, and does not judge its author.
    pub(super) fn header(&mut self, id: &SecretId) -> Result<Option<Header>, VaultError> {
        let vault = self.vault;
        self.read(id, |directory| vault.peek(directory, id))
    }

    /// As [`OpenScopes::header`], of an author whom this machine knows.
    pub(super) fn judged_header(&mut self, id: &SecretId) -> Result<Option<Header>, VaultError> {
        let vault = self.vault;
        self.read(id, |directory| vault.peek_judged(directory, id))
    }

    /// Opens a secret to its end, if its author is one of those that this machine knows. Its pin is read before its file: a writer
    /// writes it after. So the version on record cannot be newer than an honest file.
    pub(super) fn value(
        &mut self,
        id: &SecretId,
        identities: &dyn Identities,
    ) -> Result<Found<OpenedSecret>, VaultError> {
        let (vault, known) = (self.vault, self.known(id)?);
        let secret = self.read(id, |directory| vault.open_judged(directory, id, identities))?;
        Ok(Found { known, secret })
    }

    /// Returns `true` if there is anything in the place of a secret.
    pub(super) fn is_occupied(&mut self, id: &SecretId) -> Result<bool, VaultError> {
        let file = layout::file_name(&id.name);
        let found = self.read(id, |directory| Ok(directory.contains(&file)?.then_some(())))?;
        Ok(found.is_some())
    }

    /// Returns the newest version of a secret on record.
    pub(super) fn known(&mut self, id: &SecretId) -> Result<Option<Newest>, VaultError> {
        self.scope(&id.scope)?.pins.as_ref().map_or(Ok(None), |pins| pins.newest(&id.name))
    }

    /// Reads a file of a scope; `None` if it is not there. If another program removed the directory meanwhile, as git does when it
    /// checks out another branch, it is opened again.
    fn read<T>(
        &mut self,
        id: &SecretId,
        read: impl Fn(&Directory) -> Result<Option<T>, VaultError>,
    ) -> Result<Option<T>, VaultError> {
        let Some(directory) = &self.scope(&id.scope)?.secrets else { return Ok(None) };
        let found = read(directory)?;
        if found.is_some() || !directory.is_removed()? {
            return Ok(found);
        }
        self.open.retain(|open| open.scope != id.scope);
        self.scope(&id.scope)?.secrets.as_ref().map_or(Ok(None), read)
    }

    fn scope(&mut self, scope: &Scope) -> Result<&OpenScope, VaultError> {
        if let Some(place) = self.open.iter().position(|open| open.scope == *scope) {
            return Ok(&self.open[place]);
        }
        if self.open.len() == MAX_OPEN {
            self.open.remove(0);
        }
        let pins = self.vault.pins.as_deref().map_or(Ok(None), |pins: &Pins| pins.scope(scope))?;
        let secrets = self.vault.scope_directory(scope)?;
        self.open.push(OpenScope { scope: scope.clone(), secrets, pins });
        Ok(self.open.last().expect("just pushed"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "git writes files so too")]

    use super::*;
    use crate::crypto::{AuthorKey, Identity};
    use crate::secret::{SecretType, SecretValue};
    use crate::storage::Permissions;
    use crate::vault::{Listener, NamedAuthor, NamedRecipient, NewVault, Notice};

    /// A vault with so many secrets of the organization, their names, and an identity that opens it.
    fn vault(count: usize, listener: Listener) -> (tempfile::TempDir, Vault, Vec<SecretId>, [Identity; 1]) {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let (identity, key) = (Identity::generate(), AuthorKey::generate().expect("randomness"));
        let new = NewVault {
            recipients: vec![NamedRecipient { name: "me".to_owned(), key: identity.recipient() }],
            authors: vec![NamedAuthor { name: "me".to_owned(), key: key.author() }],
            state: keep.path().join("state"),
            permissions: Permissions::Checked,
            listener,
        };
        let mut vault = new.create(&keep.path().join("vault")).expect("made").with_author(key);
        let id = |index: usize| SecretId {
            scope: Scope::Organization,
            name: format!("s{index:02}").parse().expect("a name"),
        };
        let ids: Vec<_> = (0..count).map(id).collect();
        for id in &ids {
            let value = SecretValue::new(id.name.as_str().as_bytes().to_vec().into()).expect("small");
            let mut writer = vault.writer().expect("writable");
            writer.create_secret(id, SecretType::Regular, &value).expect("created");
        }
        (keep, vault, ids, [identity])
    }

    #[test]
    fn a_directory_that_was_replaced_is_opened_again() {
        let (keep, vault, ids, identities) = vault(1, Listener::default());
        let mut scopes = OpenScopes::of(&vault);
        let mut is_there = || scopes.value(&ids[0], &identities).expect("read").secret.is_some();
        assert!(is_there());
        let directory = keep.path().join("vault/secrets/org");
        let file = std::fs::read(directory.join("s00.age")).expect("there");
        std::fs::remove_dir_all(&directory).expect("removed");
        std::fs::create_dir(&directory).expect("made");
        std::fs::write(directory.join("s00.age"), file).expect("written");
        assert!(is_there());
        std::fs::remove_dir_all(&directory).expect("removed");
        assert!(!is_there());
    }

    #[test]
    fn many_values_and_notices_come_in_the_order_of_the_secrets() {
        let (tell, told) = std::sync::mpsc::channel();
        let listener = Listener::new(move |notice| match notice {
            Notice::Stale(stale) => tell.send(stale.id.clone()).expect("it is waited for"),
            notice => panic!("{notice:?}"),
        });
        let (keep, vault, mut ids, identities) = vault(40, listener);
        ids.reverse();
        // Every third one is gone, and every fifth one is refused.
        for (index, id) in ids.iter().enumerate() {
            let file = keep.path().join(format!("vault/secrets/org/{}.age", id.name));
            match (index % 3, index % 5) {
                (0, _) => std::fs::remove_file(file).expect("removed"),
                (_, 0) => std::fs::write(file, b"no age file").expect("written"),
                _ => {}
            }
        }
        let mut found = Vec::new();
        vault
            .read_each(&ids, &identities, |secret| {
                found.push(match secret {
                    Ok(secret) => String::from_utf8(secret.value.expose().to_vec()).expect("UTF-8"),
                    Err(VaultError::SecretMissing { .. }) => "missing".to_owned(),
                    Err(VaultError::Refused { .. }) => "refused".to_owned(),
                    Err(error) => panic!("{error:?}"),
                });
                Ok::<_, VaultError>(())
            })
            .expect("read");
        let expected = ids.iter().enumerate().map(|(index, id)| match (index % 3, index % 5) {
            (0, _) => "missing".to_owned(),
            (_, 0) => "refused".to_owned(),
            _ => id.name.to_string(),
        });
        assert_eq!(found, expected.collect::<Vec<_>>());
        drop(vault);
        let gone = ids.iter().step_by(3).cloned().collect::<Vec<_>>();
        assert_eq!(told.iter().collect::<Vec<_>>(), gone);
    }
}
