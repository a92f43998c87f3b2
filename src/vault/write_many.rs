//! Writing many secrets: each whole, and durable before it is shown, with fewer waits for the disk than one after the other.

use std::collections::BTreeSet;

use super::many::{Weight, in_order};
use super::open_scopes::OpenScopes;
use super::write::{SealedSecret, after, missing, time};
use super::{LockedVault, Metadata, Notice, Vault, VaultError, Writer, layout};
use crate::crypto::Sealed;
use crate::secret::{Scope, SecretId, SecretType, SecretValue};
use crate::storage::{Directory, MAX_TOGETHER, NewFile, Replace, write_together};

/// The most bytes of values that are written together. They wait in memory, sealed and not.
pub(super) const MAX_BYTES_TOGETHER: usize = 16 << 20;

/// A value for one of several secrets.
#[derive(Debug)]
pub struct NewValue<'a> {
    /// The secret.
    pub id: &'a SecretId,
    /// The type of a secret that is to be created; `None` for one that is to be updated.
    pub create: Option<SecretType>,
    /// The value.
    pub value: &'a SecretValue,
}

/// The treatment of a scope that has no directory.
#[derive(Clone, Copy)]
pub(super) enum AbsentScope {
    /// It is made.
    Made,
    /// It is left out.
    Left,
}

/// The directories of the scopes that are written to, each made and opened once.
#[derive(Default)]
pub(super) struct WrittenScopes(Vec<(Scope, Directory)>);

impl WrittenScopes {
    /// Opens the directory of a scope, and makes that of its pins.
    pub(super) fn open(
        &mut self,
        locked: &LockedVault<'_>,
        scope: &Scope,
        absent: AbsentScope,
    ) -> Result<(), VaultError> {
        if self.get(scope).is_some() {
            return Ok(());
        }
        locked.pins.prepare(scope)?;
        let directory = match absent {
            AbsentScope::Made => Some(locked.vault.create_scope_directory(scope)?),
            AbsentScope::Left => locked.vault.scope_directory(scope)?,
        };
        self.0.extend(directory.map(|directory| (scope.clone(), directory)));
        Ok(())
    }

    /// Returns the directory of a scope; `None` if there is none.
    pub(super) fn get(&self, scope: &Scope) -> Option<&Directory> {
        self.0.iter().find(|(known, _)| known == scope).map(|(_, directory)| directory)
    }
}

impl Vault {
    /// Creates and updates secrets, in this order, as [`Writer::create_secret`] and [`Writer::update_secret`] do. The lock is
    /// released now and then, so that other writers do not wait for all of them. `written` is called after each one that is
    /// acknowledged.
    ///
    /// # Errors
    /// Those of these two. The secrets before the one that failed are written.
    pub fn write_each(&mut self, values: &[NewValue<'_>], written: &mut dyn FnMut()) -> Result<(), VaultError> {
        let mut rest = values;
        while !rest.is_empty() {
            let (together, after) = rest.split_at(together(rest));
            rest = after;
            self.writer()?.write_values(together, written)?;
        }
        Ok(())
    }
}

/// Returns how many of the values are written together, which is at least one.
fn together(values: &[NewValue<'_>]) -> usize {
    let (mut ids, mut bytes) = (BTreeSet::new(), 0);
    for (count, new) in values.iter().enumerate() {
        bytes += new.value.expose().len();
        let is_full = count == MAX_TOGETHER || bytes > MAX_BYTES_TOGETHER;
        if (is_full || ids.contains(new.id)) && count > 0 {
            return count;
        }
        ids.insert(new.id);
    }
    values.len()
}

impl Writer<'_> {
    fn write_values(&self, values: &[NewValue<'_>], written: &mut dyn FnMut()) -> Result<(), VaultError> {
        let (mut scopes, mut plan) = (WrittenScopes::default(), Vec::with_capacity(values.len()));
        let mut known = OpenScopes::of(self.locked.vault);
        let mut result = Ok(());
        for new in values {
            match self.plan(&mut scopes, &mut known, new) {
                Ok(metadata) => plan.push((metadata, new)),
                // Those before it are written first, as if one were written after the other.
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        let mut sealed = Vec::with_capacity(plan.len());
        let seal = |(): &mut (), (metadata, new): &(Metadata, &NewValue<'_>)| self.seal(metadata, new.value);
        let all = in_order(
            &plan,
            Weight::Value,
            || (),
            seal,
            |one| {
                sealed.push(one?);
                Ok::<_, VaultError>(())
            },
        );
        result = all.and(result);
        let replace = |new: &NewValue<'_>| if new.create.is_some() { Replace::Never } else { Replace::Existing };
        let secrets = plan.iter().zip(&sealed).map(|((metadata, new), sealed): (_, &Sealed)| {
            let directory = scopes.get(&metadata.id.scope).expect("a secret of it was planned");
            (SealedSecret { directory, metadata, value: new.value, sealed }, replace(new))
        });
        self.put_all(&secrets.collect::<Vec<_>>(), written)?;
        result
    }

    /// Returns the metadata that a secret will have, as far as it can be written.
    fn plan(
        &self,
        scopes: &mut WrittenScopes,
        known: &mut OpenScopes<'_>,
        new: &NewValue<'_>,
    ) -> Result<Metadata, VaultError> {
        let (locked, id) = (&self.locked, new.id);
        let Some(secret_type) = new.create else {
            let old = known.judged_header(id)?.ok_or_else(|| missing(id))?.metadata;
            scopes.open(locked, &id.scope, AbsentScope::Left)?;
            let updated = after(time(known.known(id)?).max(Some(old.updated)));
            return Ok(Metadata { updated, ..old });
        };
        if known.is_occupied(id)? {
            return Err(VaultError::SecretExists { id: Box::new(id.clone()) });
        }
        scopes.open(locked, &id.scope, AbsentScope::Made)?;
        let now = after(time(known.known(id)?));
        Ok(Metadata { id: id.clone(), secret_type, created: now, updated: now })
    }

    /// Writes sealed secrets into their places, as [`Writer::put`] does with one, and records their times. `written` is called after
    /// each one that is acknowledged.
    pub(super) fn put_all(
        &self,
        secrets: &[(SealedSecret<'_>, Replace)],
        written: &mut dyn FnMut(),
    ) -> Result<(), VaultError> {
        let LockedVault { vault, lock, pins } = &self.locked;
        let mut rest = secrets;
        while let [first, others @ ..] = rest {
            if others.is_empty() {
                self.put(&first.0, first.1)?;
                written();
                return Ok(());
            }
            let names: Vec<_> = rest.iter().map(|(secret, _)| layout::file_name(&secret.metadata.id.name)).collect();
            let files = rest.iter().zip(&names).map(|((secret, replace), name)| NewFile {
                directory: secret.directory,
                name,
                bytes: &secret.sealed.bytes,
                replace: *replace,
            });
            let done = write_together(lock, &files.collect::<Vec<_>>(), |index, read_back| {
                let (secret, _) = &rest[index];
                secret.sealed.verify(read_back, secret.value)
            });
            let (put, left) = rest.split_at(done.count);
            rest = left;
            let mut times: Vec<_> =
                put.iter().map(|(secret, _)| (&secret.metadata.id, secret.metadata.updated)).collect();
            times.sort();
            // They are written, so a failure to record is a notice and not an error.
            if let Err(error) = pins.record_all(&times) {
                vault.options.listener.tell(&Notice::Unremembered(&error));
            }
            put.iter().for_each(|_| written());
            done.result?;
        }
        Ok(())
    }
}
