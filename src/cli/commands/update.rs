//! `update secret`

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::value_input::ValueArgs;
use crate::cli::{ScopeArgs, commands};
use flyte_local::secret::{SecretId, SecretName};
use flyte_local::vault::Vault;

/// Give a secret another value
///
/// The secret must exist in the scope that -p and -d name; without them, in the organization's. With --adopt it keeps its
/// value, which is signed as yours, whoever wrote it: look at it first.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local update secret my_secret                      asks for the value
  flyte-local update secret my_cert --from-file cert.pem -p my_project
  flyte-local update secret my_secret --adopt              once you know whose it is")]
pub(crate) struct Args {
    /// The secret's name
    name: SecretName,
    #[command(flatten)]
    value: ValueArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Sign the value that is there as yours; needs the identity
    #[arg(long, conflicts_with_all = ["value", "value_option", "from_file", "raw"])]
    adopt: bool,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CliError> {
    let mut vault = context.open_vault_to_write()?;
    let id = commands::secret_id(args.name, args.scope);
    if args.adopt {
        return adopt(context, &mut vault, &id);
    }
    let failed = |error| CliError::from_vault(&error, &context.command);
    // Before the value is asked for; the vault checks again under its lock.
    vault.require_updatable(&id).map_err(failed)?;
    let value = args.value.read(&id.name)?;
    vault.update_secret(&id, &value).map_err(failed)?;
    context.ui.say(&format!("updated {id}"));
    Ok(())
}

fn adopt(context: &Context<'_>, vault: &mut Vault, id: &SecretId) -> Result<(), CliError> {
    let identities = context.identities()?;
    let adopted = vault
        .adopt_secret(id, &identities)
        .map_err(|error| CliError::from_read(&error, &context.command, &context.identities_tried(&identities)))?;
    let author = adopted.author.map_or("it was not signed".to_owned(), |author| format!("it was signed by {author}"));
    context.ui.say(&format!("adopted {id}: {author}, of {:.0}", adopted.metadata.updated));
    Ok(())
}
