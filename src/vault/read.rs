//! Reading: metadata without an identity, values with one. Readers take no lock: a file is only ever replaced whole.

use std::collections::BTreeMap;

use super::binding::Header;
use super::many::{Weight, in_order};
use super::open_scopes::OpenScopes;
use super::{Metadata, Needs, SecretFileError, Vault, VaultError, binding, layout, trust};
use crate::crypto::{self, EnvelopeError, Identities, MAX_FILE_BYTES, MAX_HEADER_BYTES};
use crate::secret::{RunScope, Scope, ScopeFilter, SecretId, SecretName, SecretValue};
use crate::storage::{Directory, DirectoryEntry};
use zeroize::Zeroizing;

/// Enough of a file for its header and age's nonce.
pub(super) const PEEK_BYTES: usize = MAX_HEADER_BYTES + 16;

/// The secrets of a list, and the files in their places that are refused.
#[derive(Debug)]
pub struct Listing {
    /// Sorted by project, domain and name, the organization first.
    pub secrets: Vec<Metadata>,
    /// Why each of the other `.age` files is not shown.
    pub refused: Vec<VaultError>,
}

/// A name that a run sees.
#[derive(Debug)]
pub struct Seen {
    /// The secret that the run gets: the one in the narrowest scope.
    pub id: SecretId,
    /// Those of the same name in wider scopes, narrowest first.
    pub shadowed: Vec<SecretId>,
    /// Its metadata; a file that is refused still wins, as no wider scope stands in for it.
    pub metadata: Result<Metadata, VaultError>,
}

impl Vault {
    /// Returns a secret's metadata. It is read from the header unverified, for which no identity is needed;
    /// it shows nothing that a forger could not have made up, save that the place matches.
    ///
    /// # Errors
    /// [`VaultError::SecretMissing`]; [`VaultError::Refused`] for a file that does not belong there; those of
    /// [`Vault::require_itself`].
    pub fn metadata(&self, id: &SecretId) -> Result<Metadata, VaultError> {
        self.require_itself()?;
        let missing = || VaultError::SecretMissing { id: Box::new(id.clone()) };
        let directory = self.scope_directory(&id.scope)?.ok_or_else(missing)?;
        self.peek(&directory, id)?.map(|header| header.metadata).ok_or_else(missing)
    }

    /// Checks that there is no such secret, nor anything else in its place.
    ///
    /// # Errors
    /// [`VaultError::SecretExists`].
    pub fn require_absent(&self, id: &SecretId) -> Result<(), VaultError> {
        if self.is_occupied(id)? { Err(VaultError::SecretExists { id: Box::new(id.clone()) }) } else { Ok(()) }
    }

    /// Tells of each of these secrets whether there is anything in its place.
    ///
    /// # Errors
    /// The system's.
    pub fn occupied(&self, ids: &[SecretId]) -> Result<Vec<bool>, VaultError> {
        let mut scopes = OpenScopes::of(self);
        ids.iter().map(|id| scopes.is_occupied(id)).collect()
    }

    /// Returns `true` if there is anything in the place of the secret.
    pub(super) fn is_occupied(&self, id: &SecretId) -> Result<bool, VaultError> {
        match self.scope_directory(&id.scope)? {
            Some(directory) => Ok(directory.contains(&layout::file_name(&id.name))?),
            None => Ok(false),
        }
    }

    /// The value of a secret.
    ///
    /// # Errors
    /// [`VaultError::SecretMissing`]; [`VaultError::CannotDecrypt`] if no identity opens it; [`VaultError::Refused`] for
    /// a file that is damaged, does not belong there, or is not by one of the authors that this machine knows.
    pub fn value(&self, id: &SecretId, identities: &dyn Identities) -> Result<SecretValue, VaultError> {
        let mut found = None;
        self.read_each(std::slice::from_ref(id), identities, |secret| {
            found = Some(secret?.value);
            Ok::<_, VaultError>(())
        })?;
        found.ok_or_else(|| VaultError::SecretMissing { id: Box::new(id.clone()) })
    }

    /// The names that a run in `run` sees, sorted.
    ///
    /// # Errors
    /// The system's.
    pub fn names(&self, run: &RunScope) -> Result<Vec<SecretName>, VaultError> {
        Ok(self.scopes_by_name(run)?.into_keys().collect())
    }

    /// The secrets that a run in `run` sees, sorted by name.
    ///
    /// # Errors
    /// The system's. A file that is refused is not an error, but a part of the result.
    pub fn seen(&self, run: &RunScope) -> Result<Vec<Seen>, VaultError> {
        let names: Vec<_> = self.scopes_by_name(run)?.into_iter().collect();
        let ids = |(name, scopes): &(SecretName, Vec<Scope>)| -> Vec<_> {
            scopes.iter().map(|scope| SecretId { scope: scope.clone(), name: name.clone() }).collect()
        };
        let look = |scopes: &mut OpenScopes<'_>, name: &_| {
            let mut ids = ids(name).into_iter();
            let id = ids.next().expect("a scope has it");
            // One that was deleted meanwhile is left out.
            let header = self.require_itself().and_then(|()| scopes.header(&id));
            let metadata = header.transpose()?.map(|header| header.metadata);
            Some(Seen { id, shadowed: ids.collect(), metadata })
        };
        let mut all = Vec::with_capacity(names.len());
        in_order(
            &names,
            Weight::Header,
            || OpenScopes::of(self),
            look,
            |seen| {
                all.extend(seen);
                Ok::<_, VaultError>(())
            },
        )?;
        Ok(all)
    }

    /// Each name in the scopes of a run, with those that have it, narrowest first.
    fn scopes_by_name(&self, run: &RunScope) -> Result<BTreeMap<SecretName, Vec<Scope>>, VaultError> {
        let mut by_name = BTreeMap::<_, Vec<_>>::new();
        for scope in run.walk() {
            let Some(directory) = self.scope_directory(&scope)? else { continue };
            for name in secret_names(&directory)? {
                by_name.entry(name).or_default().push(scope.clone());
            }
        }
        Ok(by_name)
    }

    /// Returns the full names of all secrets, sorted, without a look at their files.
    ///
    /// # Errors
    /// The system's.
    pub fn ids(&self) -> Result<Vec<SecretId>, VaultError> {
        let mut ids = Vec::new();
        for scope in self.scopes()? {
            let Some(directory) = self.scope_directory(&scope)? else { continue };
            ids.extend(secret_names(&directory)?.into_iter().map(|name| SecretId { scope: scope.clone(), name }));
        }
        ids.sort();
        Ok(ids)
    }

    /// The scopes that have a secret of this name.
    ///
    /// # Errors
    /// The system's.
    pub fn scopes_of(&self, name: &SecretName) -> Result<Vec<Scope>, VaultError> {
        let file = layout::file_name(name);
        let mut scopes = Vec::new();
        for scope in self.scopes()? {
            let Some(directory) = self.scope_directory(&scope)? else { continue };
            if directory.contains(&file)? {
                scopes.push(scope);
            }
        }
        scopes.sort();
        Ok(scopes)
    }

    /// Every secret in a scope that `filter` shows.
    ///
    /// # Errors
    /// Those of [`Vault::require_itself`]; the system's. A file that is refused is not an error, but a part of the listing.
    pub fn list(&self, filter: &ScopeFilter) -> Result<Listing, VaultError> {
        Ok(self.page(filter, None, usize::MAX)?.listing)
    }

    /// Looks, as [`Vault::peek_judged`] does, at the header of every secret, in their order.
    pub(super) fn each_header(&self, mut visit: impl FnMut(Result<Header, VaultError>)) -> Result<(), VaultError> {
        let look = |scopes: &mut OpenScopes<'_>, id: &SecretId| scopes.judged_header(id);
        in_order(
            &self.ids()?,
            Weight::Header,
            || OpenScopes::of(self),
            look,
            |header| {
                // A secret that was deleted meanwhile is left out.
                if let Some(header) = header.transpose() {
                    visit(header);
                }
                Ok(())
            },
        )
    }

    /// The metadata of a secret in the directory of its scope, and who is said to have written it; `None` if it is not
    /// there.
    pub(super) fn peek(&self, directory: &Directory, id: &SecretId) -> Result<Option<Header>, VaultError> {
        let Some(start) = read(directory, &layout::file_name(&id.name), id, PEEK_BYTES)? else { return Ok(None) };
        let metadata = crypto::peek(&start)
            .map_err(SecretFileError::Envelope)
            .and_then(|peeked| binding::decode(&peeked.binding, peeked.wanted, &self.manifest, id));
        metadata.map(Some).map_err(|source| refused(directory, id, source))
    }

    /// Returns the metadata that a trusted author signed. It does not prove that the value is theirs.
    pub(super) fn signed_metadata(&self, id: &SecretId) -> Result<Option<Metadata>, VaultError> {
        let directory = self.scope_directory(&id.scope)?;
        let found = directory.map_or(Ok(None), |directory| self.peek_judged(&directory, id))?;
        Ok(found.map(|header| header.metadata))
    }

    /// As [`Vault::peek`], of an author whom this machine knows.
    pub(super) fn peek_judged(&self, directory: &Directory, id: &SecretId) -> Result<Option<Header>, VaultError> {
        let Some(header) = self.peek(directory, id)? else { return Ok(None) };
        self.judge(directory, id, &header)?;
        Ok(Some(header))
    }

    fn judge(&self, directory: &Directory, id: &SecretId, header: &Header) -> Result<(), VaultError> {
        trust::judge(header.claim.as_ref(), &self.manifest, self.pin.as_ref())
            .map_err(|source| refused(directory, id, source))
    }

    /// Opens a file to its end, if its author is one of those that this machine knows.
    pub(super) fn open_judged(
        &self,
        directory: &Directory,
        id: &SecretId,
        identities: &dyn Identities,
    ) -> Result<Option<OpenedSecret>, VaultError> {
        let Some(found) = self.open_value(directory, id, identities)? else { return Ok(None) };
        self.judge(directory, id, &found.header)?;
        Ok(Some(found))
    }

    /// Opens a file to its end. Who wrote it is not judged.
    pub(super) fn open_value(
        &self,
        directory: &Directory,
        id: &SecretId,
        identities: &dyn Identities,
    ) -> Result<Option<OpenedSecret>, VaultError> {
        self.open_file(directory, &layout::file_name(&id.name), id, identities)
    }

    /// As [`Vault::open_value`], but the file may have another name than that of its place.
    pub(super) fn open_file(
        &self,
        directory: &Directory,
        file: &str,
        id: &SecretId,
        identities: &dyn Identities,
    ) -> Result<Option<OpenedSecret>, VaultError> {
        let refused = |source| refused_file(directory, file, id, source);
        let Some(bytes) = read(directory, file, id, MAX_FILE_BYTES + 1)? else { return Ok(None) };
        let opened = crypto::open(&bytes, identities).map_err(|error| match error {
            EnvelopeError::NoMatchingIdentity => {
                let path = directory.join(file);
                let needs = Needs { wanted: crypto::wanted(&bytes), recipients: self.recipients().to_vec() };
                VaultError::CannotDecrypt { id: Box::new(id.clone()), path, needs: Box::new(needs) }
            }
            error => refused(SecretFileError::Envelope(error)),
        })?;
        let header = binding::decode(&opened.binding, opened.wanted, &self.manifest, id)
            .and_then(|header| trust::judge_value(header.claim.as_ref(), &opened.commitment).map(|()| header))
            .map_err(refused)?;
        Ok(Some(OpenedSecret { header, value: opened.value }))
    }
}

/// A file that was opened to its end and belongs in its place.
pub(super) struct OpenedSecret {
    pub(super) header: Header,
    pub(super) value: SecretValue,
}

pub(super) fn refused(directory: &Directory, id: &SecretId, source: SecretFileError) -> VaultError {
    refused_file(directory, &layout::file_name(&id.name), id, source)
}

fn refused_file(directory: &Directory, file: &str, id: &SecretId, source: SecretFileError) -> VaultError {
    VaultError::Refused { id: Box::new(id.clone()), path: directory.join(file), source }
}

/// Returns the names of secrets that have a file, a directory or anything else in their place. Reading any but a regular
/// file is refused.
pub(super) fn secret_names(directory: &Directory) -> Result<Vec<SecretName>, VaultError> {
    let names = directory.entries()?.into_iter().filter_map(|entry| match entry {
        DirectoryEntry::File(name) | DirectoryEntry::Directory(name) | DirectoryEntry::Other(name) => {
            layout::secret_name(&name)
        }
    });
    Ok(names.collect())
}

/// Returns the start of a regular file of the vault, which should be of the secret `id`; `None` if there is no such file. A file
/// that is too large is refused, even if only its header is needed.
fn read(
    directory: &Directory,
    file: &str,
    id: &SecretId,
    limit: usize,
) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
    directory.read_start_of(file, limit, MAX_FILE_BYTES).map_err(|error| {
        if error.is_no_regular_file() {
            refused_file(directory, file, id, SecretFileError::NoFile)
        } else if error.is_too_large() {
            refused_file(directory, file, id, SecretFileError::Envelope(EnvelopeError::FileTooLarge))
        } else {
            error.into()
        }
    })
}
