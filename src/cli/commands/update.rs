//! `update secret`

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::value_input::ValueArgs;
use crate::cli::{ScopeArgs, commands};
use flyte_local::secret::SecretName;

/// Give a secret another value
///
/// The secret must exist in the scope that -p and -d name; without them, in the organization's.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local update secret my_secret                      asks for the value
  flyte-local update secret my_cert --from-file cert.pem -p my_project")]
pub(crate) struct Args {
    /// The secret's name
    name: SecretName,
    #[command(flatten)]
    value: ValueArgs,
    #[command(flatten)]
    scope: ScopeArgs,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CliError> {
    let vault = context.open_vault()?;
    let id = commands::secret_id(args.name, args.scope);
    let failed = |error| CliError::from_vault(&error, &context.command);
    // Before the value is asked for; the vault checks again under its lock.
    vault.metadata(&id).map_err(failed)?;
    let value = args.value.read(&id.name)?;
    vault.update_secret(&id, &value).map_err(failed)?;
    context.ui.say(&format!("updated {id}"));
    Ok(())
}
