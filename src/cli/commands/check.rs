//! `check`

mod contents;
mod copies;
mod finding;
mod machine;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::explain::GET_ADDED;
use crate::cli::identities::UserIdentities;
use crate::cli::table;
use contents::look_over;
use finding::{Finding, FindingRow};
use flyte_local::vault::Vault;
use machine::{file_secrets, leftovers, system};

/// Check the vault, your keys and this machine
///
/// Opens every secret without showing it, and verifies that it is intact, in its place and by a trusted author. Finds
/// files that do not belong in the vault, and differences from what this machine remembers. Checks your identities,
/// and whether this system allows a private mount at /etc/flyte/secrets, as on a cluster; if not, file secrets go to
/// a directory in memory, to which Python code is redirected. The exit code is that of the first finding that is not
/// ok.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local check
  flyte-local --output-format json check")]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context<'_>, Args {}: Args) -> Result<(), CommandError> {
    let vault = context.open_vault();
    let identities = identities(context, vault.as_ref().ok());
    let looked_over = vault.as_ref().map(|vault| look_over(context, vault, identities.as_ref().ok()));
    let looked_over = looked_over.unwrap_or_default();
    let path_of_vault = vault.map(|vault| vault.path().display().to_string());
    let found = match identities {
        Ok(identities) => identities.places().map(|place| Finding::new(context, "identity", Ok(place))).collect(),
        Err(error) => vec![Finding::new(context, "identity", Err(error))],
    };
    let first = [Finding::new(context, "vault", path_of_vault)].into_iter().chain(found);
    let findings: Vec<_> =
        first.chain(looked_over).chain(leftovers(context)).chain([file_secrets(context), system(context)]).collect();
    let rows: Vec<_> = findings.iter().map(FindingRow::from).collect();
    table::print(context.ui, context.output_format, &rows)?;
    for hint in findings.iter().filter_map(|finding| finding.hint.as_ref()) {
        context.ui.hint(hint);
    }
    let mut errors = findings.into_iter().filter_map(|finding| finding.state.err());
    let Some(first) = errors.next() else { return Ok(()) };
    // The first error gives the exit code, and the caller reports it.
    errors.for_each(|error| context.ui.error(&error));
    Err(first.into())
}

/// Returns the identities if one of them opens the vault.
fn identities(context: &Context<'_>, vault: Option<&Vault>) -> Result<UserIdentities, CommandError> {
    let identities = context.identities()?;
    let Some(vault) = vault else { return Ok(identities) };
    identities.unlock_for(vault)?;
    if identities.open(vault) {
        return Ok(identities);
    }
    let message = match identities.are_locked() {
        true => "your identity is locked, and no other opens this vault",
        false => "your identity is not a recipient of this vault",
    };
    Err(CommandError::new(Exit::CannotDecrypt, message)
        .hint("name another identity with --identity FILE or FLYTE_LOCAL_IDENTITY")
        .hint(GET_ADDED)
        .tried(identities.tried()))
}
