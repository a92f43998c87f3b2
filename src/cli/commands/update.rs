//! `update secret`

use crate::cli::arguments::{ScopeArgs, secret_id, secret_type};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::shell::scope_flags;
use crate::cli::value_input::ValueArgs;
use flyte_local::secret::{SecretId, SecretName, SecretType};
use flyte_local::vault::Vault;

/// Change a secret's value
///
/// The secret must exist in the scope that -p and -d name; without them, in the organization. With --adopt the value
/// stays and gets your signature in place of its author's, so look at the value first.
#[derive(clap::Args)]
#[command(mut_arg("project", |arg| arg.help("The secret's project [default: none]")))]
#[command(mut_arg("domain", |arg| arg.help("The secret's domain [default: none]")))]
#[command(after_long_help = "\
Examples:
  flyte-local update secret my_secret                prompts for the value
  flyte-local update secret my_cert --from-file cert.pem -p my_project
  flyte-local update secret session_key --generate=hex:32
  flyte-local update secret ghcr --registry ghcr.io --username me
  flyte-local update secret my_secret --adopt        once you have looked at it")]
pub(crate) struct Args {
    /// The secret's name
    name: SecretName,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Sign the existing value as yours; needs an identity
    #[arg(long, conflicts_with_all = ["value", "value_option", "from_file", "raw", "generate", "secret_type"])]
    #[arg(conflicts_with_all = ["registry", "username", "password", "password_stdin", "from_docker_config"])]
    adopt: bool,
    /// The secret's type; an update cannot change it
    #[arg(long = "type", value_name = "TYPE", value_parser = secret_type(), hide_possible_values = true)]
    secret_type: Option<SecretType>,
    #[command(flatten)]
    value: ValueArgs,
}

/// The command, as it is typed.
const VERB: &str = "update secret";

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CommandError> {
    let mut vault = context.open_vault_to_write()?;
    let id = secret_id(args.name, args.scope);
    if args.adopt {
        return adopt(context, &mut vault, &id);
    }
    // Before the value is asked for; the vault checks again under its lock.
    let known = vault.require_updatable(&id);
    let known = known.map_err(|error| CommandError::from(error).or_elsewhere(&vault, &id, VERB))?;
    let secret_type = known.secret_type;
    if args.secret_type.is_some_and(|given| given != secret_type) {
        let error = CommandError::new(
            Exit::Failed,
            format!("{id} has type {secret_type}, and an update cannot change the type"),
        );
        let flags = scope_flags(&id.scope);
        return Err(error
            .hint(format!("delete it, then create it again: {} delete secret {}{flags}", context.command, id.name)));
    }
    let tell_pasted = args.value.teller(context.ui);
    let value = args.value.read(context, &id.name, secret_type)?;
    vault.writer().and_then(|mut writer| writer.update_secret(&id, &value))?;
    context.ui.say(&format!("updated {id}"));
    tell_pasted(&id.name, &value);
    context.tell_if_unreadable(&vault, "it");
    Ok(())
}

fn adopt(context: &Context<'_>, vault: &mut Vault, id: &SecretId) -> Result<(), CommandError> {
    let identities = context.identities()?;
    let adopted = vault.writer().and_then(|mut writer| writer.adopt_secret(id, &identities));
    let adopted =
        adopted.map_err(|error| CommandError::from(error).tried(identities.tried()).or_elsewhere(vault, id, VERB))?;
    let author = adopted.author.map_or("it was not signed".to_owned(), |author| format!("it was signed by {author}"));
    context.ui.say(&format!("adopted {id}: {author}, of {:.0}", adopted.metadata.updated));
    Ok(())
}
