//! Reading values, with the user's identities.

use std::cell::OnceCell;

use super::context::Context;
use super::error::CommandError;
use super::identities::UserIdentities;
use flyte_local::secret::{SecretId, SecretValue};
use flyte_local::vault::{Resolved, Vault};

/// Reads values. The first value loads the identities.
pub(crate) struct SecretReader<'a> {
    pub(crate) context: &'a Context<'a>,
    identities: OnceCell<UserIdentities>,
}

impl<'a> SecretReader<'a> {
    pub(crate) fn new(context: &'a Context<'a>) -> Self {
        Self { context, identities: OnceCell::new() }
    }

    /// Returns the identities, loaded once.
    pub(crate) fn identities(&self) -> Result<&UserIdentities, CommandError> {
        if self.identities.get().is_none() {
            let _ = self.identities.set(self.context.identities()?);
        }
        Ok(self.identities.get().expect("just set"))
    }

    /// Opens a value of a vault.
    pub(crate) fn value(&self, vault: &Vault, id: &SecretId) -> Result<SecretValue, CommandError> {
        let identities = self.identities()?;
        let read = vault.value(id, identities);
        read.map_err(|error| CommandError::from(error).tried(identities.tried()))
    }

    /// Opens several secrets of a vault at once, and returns them in the order of `ids`, or the first error.
    pub(crate) fn secrets(&self, vault: &Vault, ids: &[SecretId]) -> Result<Vec<Resolved>, CommandError> {
        let mut secrets = Vec::with_capacity(ids.len());
        self.each(vault, ids, |secret| {
            secrets.push(secret);
            Ok(())
        })?;
        Ok(secrets)
    }

    /// As [`SecretReader::secrets`], for a caller that does not keep the values.
    pub(crate) fn each(
        &self,
        vault: &Vault,
        ids: &[SecretId],
        mut take: impl FnMut(Resolved) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        if ids.is_empty() {
            return Ok(());
        }
        let identities = self.identities()?;
        // The first one alone, on this thread: it may ask for a passphrase.
        let (first, others) = ids.split_at(1);
        for some in [first, others] {
            vault.read_each(some, identities, |secret| {
                take(secret.map_err(|error| CommandError::from(error).tried(identities.tried()))?)
            })?;
        }
        Ok(())
    }
}
