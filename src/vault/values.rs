//! Reading values: one, or many at once.
//!
//! Many are read as one: what holds for the vault is checked once, a scope's directories are opened once, and files are opened on
//! all cores. Each value has passed all of its checks, and the comparison with what this machine has seen, when it is handed
//! over. `docs/architecture/performance.md` says why each step that is made once need not be repeated.

use jiff::Timestamp;

use super::many::{Weight, in_order};
use super::open_scopes::{Found, OpenScopes};
use super::read::OpenedSecret;
use super::trust::Newest;
use super::{Vault, VaultError};
use crate::crypto::Identities;
use crate::secret::{RunScope, Scope, SecretId, SecretName, SecretType, SecretValue};

/// A secret found by walking the scopes.
#[derive(Debug)]
pub struct Resolved {
    /// The scope it was found in.
    pub scope: Scope,
    /// Its type, which its author signed.
    pub secret_type: SecretType,
    /// Its value.
    pub value: SecretValue,
}

/// A walk through the scopes of a secret, which ended where it was found.
struct Walked {
    /// The places that were looked at, each with the newest version on record and the one that was found.
    looked_at: Vec<(SecretId, Option<Newest>, Option<Timestamp>)>,
    result: Result<Option<Resolved>, VaultError>,
}

impl Vault {
    /// The secret of this name that a run in `run` sees: the first one, walking narrowest first. `None` if no scope has
    /// it. As on a cluster, any other failure ends the walk; a wider scope never stands in for a file that is refused.
    ///
    /// # Errors
    /// Those of [`Vault::value`], except for a missing secret.
    pub fn resolve(
        &self,
        name: &SecretName,
        run: &RunScope,
        identities: &dyn Identities,
    ) -> Result<Option<Resolved>, VaultError> {
        let mut found = None;
        self.resolve_each(std::slice::from_ref(name), run, identities, |resolved| {
            found = resolved?;
            Ok::<_, VaultError>(())
        })?;
        Ok(found)
    }

    /// Resolves each name as [`Vault::resolve`] does, and hands the results to `take` in the order of the names.
    ///
    /// # Errors
    /// The first error of `take`, which ends it; those of [`Vault::require_itself`].
    pub fn resolve_each<E: From<VaultError>>(
        &self,
        names: &[SecretName],
        run: &RunScope,
        identities: &dyn Identities,
        take: impl FnMut(Result<Option<Resolved>, VaultError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let scopes = run.walk();
        let places = |name: &SecretName| -> Vec<SecretId> {
            scopes.iter().map(|scope| SecretId { scope: scope.clone(), name: name.clone() }).collect()
        };
        self.walk_each(names, places, identities, take)
    }

    /// Reads each of these secrets as [`Vault::value`] does, and hands the results to `take` in the order of `ids`.
    ///
    /// # Errors
    /// The first error of `take`, which ends it; those of [`Vault::require_itself`].
    pub fn read_each<E: From<VaultError>>(
        &self,
        ids: &[SecretId],
        identities: &dyn Identities,
        mut take: impl FnMut(Result<Resolved, VaultError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut expected = ids.iter();
        self.walk_each(
            ids,
            |id| vec![id.clone()],
            identities,
            |found| {
                let missing = |id: &SecretId| VaultError::SecretMissing { id: Box::new(id.clone()) };
                let id = expected.next().expect("one result for each");
                take(found.and_then(|found| found.ok_or_else(|| missing(id))))
            },
        )
    }

    fn walk_each<T: Sync, E: From<VaultError>>(
        &self,
        items: &[T],
        places: impl Fn(&T) -> Vec<SecretId> + Sync,
        identities: &dyn Identities,
        mut take: impl FnMut(Result<Option<Resolved>, VaultError>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.require_readable()?;
        let mut newer = Vec::new();
        let walk = |scopes: &mut OpenScopes<'_>, item: &T| walk(scopes, places(item), identities);
        let done = in_order(
            items,
            Weight::Value,
            || OpenScopes::of(self),
            walk,
            |walked: Walked| {
                let mut result = walked.result;
                for (id, known, found) in walked.looked_at {
                    match self.compare(&id, known, found) {
                        Ok(true) => newer.extend(found.map(|found| (id, found))),
                        Ok(false) => {}
                        Err(stale) => {
                            result = Err(stale);
                            break;
                        }
                    }
                }
                take(result)
            },
        );
        // The values that were handed over are recorded, even if the rest was not wanted.
        self.record(&newer)?;
        done
    }
}

fn walk(scopes: &mut OpenScopes<'_>, places: Vec<SecretId>, identities: &dyn Identities) -> Walked {
    let mut looked_at = Vec::with_capacity(places.len());
    for id in places {
        match scopes.value(&id, identities) {
            Err(error) => return Walked { looked_at, result: Err(error) },
            Ok(Found { known, secret }) => {
                let updated = secret.as_ref().map(|secret| secret.header.metadata.updated);
                looked_at.push((id.clone(), known, updated));
                if let Some(OpenedSecret { header, value }) = secret {
                    let secret_type = header.metadata.secret_type;
                    return Walked { looked_at, result: Ok(Some(Resolved { scope: id.scope, secret_type, value })) };
                }
            }
        }
    }
    Walked { looked_at, result: Ok(None) }
}
