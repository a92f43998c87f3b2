//! `get secret`

mod effective;

use crate::cli::arguments::{ScopeArgs, secret_id};
use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::listing;
use crate::cli::reveal::reveal;
use crate::cli::secret_reader::SecretReader;
use flyte_local::secret::{RunScope, Scope, ScopeFilter, SecretName};
use flyte_local::vault::Listing;

/// List secrets, or show one
///
/// The list shows every scope, or with -p and -d only secrets of that project or domain. With a NAME, -p and -d say
/// which scope the secret is in; without them, the organization. The value is shown only with --reveal. With
/// --effective, the list shows what a task deployed to that project and domain would see.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local get secret
  flyte-local get secret -p my_project
  flyte-local --output-format json get secret
  flyte-local get secret my_secret --reveal > file
  flyte-local get secret --effective -p my_project -d development")]
pub(crate) struct Args {
    /// The secret's name [default: list all]
    name: Option<SecretName>,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Print the value, byte for byte, and nothing else
    #[arg(long, requires = "name")]
    reveal: bool,
    /// List what a task in this project and domain sees
    ///
    /// For each name, the list shows the scope that the secret comes from and the wider scopes that it shadows.
    #[arg(long, conflicts_with_all = ["name", "reveal"])]
    effective: bool,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CommandError> {
    let vault = context.open_vault()?;
    if args.effective {
        return effective::show(context, &vault, RunScope { project: args.scope.project, domain: args.scope.domain });
    }
    let Some(name) = args.name else {
        let filter = ScopeFilter { project: args.scope.project, domain: args.scope.domain };
        return show_list(context, vault.list(&filter)?, &filter);
    };
    let id = secret_id(name, args.scope);
    let elsewhere = |error: CommandError| error.or_elsewhere(&vault, &id, "get secret");
    if args.reveal {
        let value = SecretReader::new(context).value(&vault, &id).map_err(elsewhere)?;
        return reveal(context.ui, value.expose());
    }
    let metadata = vault.metadata(&id).map_err(|error| elsewhere(error.into()))?;
    listing::print(context, &[metadata])
}

fn show_list(context: &Context<'_>, listing: Listing, filter: &ScopeFilter) -> Result<(), CommandError> {
    listing::print(context, &listing.secrets)?;
    if listing.secrets.is_empty() && listing.refused.is_empty() {
        explain_empty(context, &Scope::new(filter.project.clone(), filter.domain.clone()))?;
    }
    listing::report(context, listing.refused)
}

/// Says in which vault, or in which part of it, a list found nothing.
fn explain_empty(context: &Context<'_>, scope: &Scope) -> Result<(), CommandError> {
    let vault = context.vault_path()?.display();
    if *scope == Scope::Organization {
        context.ui.say(&format!("no secrets yet in {vault}"));
        context.ui.hint(&format!("create one: {} create secret NAME", context.command));
    } else {
        context.ui.say(&format!("no secrets of {scope} in {vault}"));
        context.ui.hint(&format!("see every scope: {} get secret", context.command));
    }
    Ok(())
}
