//! Reading values, with the user's identities.

use std::cell::OnceCell;

use super::context::Context;
use super::error::CommandError;
use super::identities::UserIdentities;
use flyte_local::secret::{SecretId, SecretValue};
use flyte_local::vault::Vault;

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
}
