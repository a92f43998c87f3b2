//! `init`

use std::convert::Infallible;

use crate::cli::context::{Context, split};
use crate::cli::error::{CliError, Exit};
use flyte_local::crypto::{Identity, Recipient};
use flyte_local::storage::{Directory, Replace, WriteError};
use flyte_local::vault::{NamedRecipient, Vault, VaultError};

/// What the maker of a vault is called in it.
const OWNER: &str = "owner";

/// Make a vault, and an identity to open it with
///
/// The identity is a private key in a file of its own, outside the vault. One that is there already is used, never
/// overwritten.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local init
  flyte-local --vault ./vault init")]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context<'_>, Args {}: Args) -> Result<(), CliError> {
    let (vault_path, identity_path) = (context.vault_path()?, context.identity_path()?);
    // Looked at first, so that no identity is made for a vault that is not.
    match Vault::open(vault_path) {
        Err(VaultError::Missing { .. }) => {}
        Err(error) => return Err(CliError::from_vault(&error, &context.command)),
        Ok(_) => {
            let exists = VaultError::Exists { path: vault_path.to_owned() };
            return Err(CliError::from_vault(&exists, &context.command));
        }
    }
    // The identity comes before the vault: a vault that nobody can open is worse than none.
    let (recipient, made) = match context.read_identity_file()? {
        Some(identities) => (identities[0].recipient(), false),
        None => (make_identity(context)?, true),
    };
    let owner = NamedRecipient { name: OWNER.to_owned(), key: recipient };
    let vault =
        Vault::create(vault_path, vec![owner]).map_err(|error| CliError::from_vault(&error, &context.command))?;

    let identity = identity_path.display();
    let ui = context.ui;
    ui.say(&format!("vault:    {}", vault.path().display()));
    if made {
        ui.say(&format!("identity: {identity}"));
        ui.say("Keep a copy of the identity in a safe place: without it, no secret can be opened again.");
    } else {
        ui.say(&format!("identity: {identity} (it was there already)"));
    }
    Ok(())
}

fn make_identity(context: &Context<'_>) -> Result<Recipient, CliError> {
    let path = context.identity_path()?;
    let (directory, name) =
        split(path).ok_or_else(|| CliError::new(Exit::Usage, format!("{} is not a file name", path.display())))?;
    let directory = Directory::create(directory).map_err(|error| CliError::from_storage(&error))?;
    let identity = Identity::generate();
    let text = identity.to_file(&context.now());
    let accept = |_: &[u8]| Ok::<(), Infallible>(());
    directory.write(name, text.as_bytes(), Replace::Never, accept).map_err(|error| match error {
        WriteError::Storage(error) => CliError::from_storage(&error),
        WriteError::Check { source, .. } => match source {},
    })?;
    Ok(identity.recipient())
}
