//! `create secret`

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::value_input::ValueArgs;
use crate::cli::{ScopeArgs, commands};
use flyte_local::secret::{SecretName, SecretType};

/// Create a secret
///
/// Without -p and -d it is seen in every project and domain. With no value given, asks for it on a terminal, and
/// otherwise reads it from standard input, less one newline at its end.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local create secret my_secret                      asks for the value
  flyte-local create secret my_secret my_value
  flyte-local create secret my_cert --from-file cert.pem
  pass show api | flyte-local create secret api_key
  flyte-local create secret my_secret -p my_project -d development")]
pub(crate) struct Args {
    /// The secret's name: letters, digits, '-' and '_'
    name: SecretName,
    #[command(flatten)]
    value: ValueArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    /// The secret's type
    #[arg(long = "type", value_name = "TYPE", value_parser = ["regular"], default_value = "regular")]
    _type: String,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CliError> {
    let mut vault = context.open_vault_to_write()?;
    let id = commands::secret_id(args.name, args.scope);
    let failed = |error| CliError::from_vault(&error, &context.command);
    // Before the value is asked for; the vault checks again under its lock.
    vault.require_writable().and_then(|()| vault.require_absent(&id)).map_err(failed)?;
    let value = args.value.read(&id.name)?;
    vault.create_secret(&id, SecretType::Regular, &value).map_err(failed)?;
    context.ui.say(&format!("created {id}"));
    Ok(())
}
