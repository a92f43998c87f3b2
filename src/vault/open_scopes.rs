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
