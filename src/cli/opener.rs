//! Reading values, with the user's identities.

use std::cell::OnceCell;

use super::context::Context;
use super::error::CliError;
use super::identities::Identities;
use flyte_local::secret::{SecretId, SecretValue};
use flyte_local::vault::{Vault, VaultError};

/// Reads values; the identities are looked for when the first one is.
pub(crate) struct Opener<'a> {
    pub(crate) context: &'a Context<'a>,
    identities: OnceCell<Identities>,
}

impl<'a> Opener<'a> {
    pub(crate) fn new(context: &'a Context<'a>) -> Self {
        Self { context, identities: OnceCell::new() }
    }

    /// The identities, looked for once.
    pub(crate) fn identities(&self) -> Result<&Identities, CliError> {
        if self.identities.get().is_none() {
            let _ = self.identities.set(self.context.identities()?);
        }
        Ok(self.identities.get().expect("just set"))
    }

    /// A value of a vault; `command` is what a hint about it begins with.
    pub(crate) fn value(&self, vault: &Vault, id: &SecretId, command: &str) -> Result<SecretValue, CliError> {
        let identities = self.identities()?;
        let read = vault.value(id, identities);
        read.map_err(|error| CliError::from_read(&error, command, &identities.tried()))
    }

    pub(crate) fn failed(&self, error: &VaultError) -> CliError {
        CliError::from_vault(error, &self.context.command)
    }
}
