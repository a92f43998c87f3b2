//! `delete secret`

use crate::cli::arguments::{ScopeArgs, secret_id};
use crate::cli::context::Context;
use crate::cli::error::CommandError;
use flyte_local::secret::SecretName;

/// Delete a secret
///
/// Deletes it from the scope that -p and -d name; without them, from the organization. You cannot undo this.
#[derive(clap::Args)]
#[command(mut_arg("project", |arg| arg.help("The secret's project [default: none]")))]
#[command(mut_arg("domain", |arg| arg.help("The secret's domain [default: none]")))]
#[command(after_help = "\
Examples:
  flyte-local delete secret my_secret
  flyte-local delete secret my_secret -p my_project -d development")]
pub(crate) struct Args {
    /// The secret's name
    name: SecretName,
    #[command(flatten)]
    scope: ScopeArgs,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CommandError> {
    let mut vault = context.open_vault_to_change()?;
    let id = secret_id(args.name, args.scope);
    let removed = vault.lock().and_then(|mut locked| locked.delete_secret(&id));
    let removed = removed.map_err(|error| CommandError::from(error).or_elsewhere(&vault, &id, "delete secret"))?;
    context.ui.say(&if removed { format!("deleted {id}") } else { format!("forgot {id}, which was gone") });
    Ok(())
}
