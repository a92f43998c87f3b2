//! `create secret`

use crate::cli::arguments::{ScopeArgs, require_public, require_scope, secret_id, secret_type};
use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::value_input::ValueArgs;
use flyte_local::secret::{SecretName, SecretType};

/// Create a secret
///
/// Without -p and -d the secret belongs to the organization, and every project and domain sees it. If you give no
/// value, flyte-local prompts for one on a terminal; otherwise it reads standard input and drops one newline at the
/// end.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  flyte-local create secret my_secret                prompts for the value
  flyte-local create secret my_secret my_value
  flyte-local create secret my_cert --from-file cert.pem
  pass show api | flyte-local create secret api_key
  flyte-local create secret session_key --generate=hex:32
  flyte-local create secret my_secret -p my_project -d development
  flyte-local create secret ghcr --type image_pull --from-docker-config")]
pub(crate) struct Args {
    /// The secret's name: letters, digits, '-' and '_'
    name: SecretName,
    #[command(flatten)]
    scope: ScopeArgs,
    /// regular, or image_pull for credentials of image registries
    ///
    /// An image pull secret belongs to the organization, so -p and -d cannot be used with it.
    #[arg(long = "type", value_name = "TYPE", value_parser = secret_type(), default_value = "regular")]
    #[arg(hide_possible_values = true)]
    secret_type: SecretType,
    #[command(flatten)]
    value: ValueArgs,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CommandError> {
    require_public(args.name.as_str())?;
    let id = secret_id(args.name, args.scope);
    require_scope(&id, args.secret_type)?;
    let mut vault = context.open_vault_to_write()?;
    // Before the value is asked for; the vault checks again under its lock.
    vault.require_writable().and_then(|()| vault.require_absent(&id))?;
    let tell_pasted = args.value.teller(context.ui);
    let value = args.value.read(context, &id.name, args.secret_type)?;
    vault.writer().and_then(|mut writer| writer.create_secret(&id, args.secret_type, &value))?;
    context.ui.say(&format!("created {id}"));
    tell_pasted(&id.name, &value);
    context.tell_if_unreadable(&vault, "it");
    Ok(())
}
