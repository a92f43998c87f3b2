//! `rekey`

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::listing;
use crate::cli::reencrypt;

/// Encrypt anew each secret that is not encrypted to the vault's recipients
///
/// `create recipient` and `delete recipient` do so themselves. What they were stopped in, this goes on with; and it takes
/// up what others wrote before they knew of a new recipient. It can be stopped at any moment and run again: each secret
/// opens with the old recipients or with the new. Values, types and times stay as they are; what it writes is signed as yours.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local rekey --dry-run
  flyte-local rekey")]
pub(crate) struct Args {
    /// List the secrets that would be encrypted anew, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CliError> {
    if args.dry_run {
        let found =
            context.open_vault()?.encryption().map_err(|error| CliError::from_vault(&error, &context.command))?;
        listing::print_ids(context, &found.outdated)?;
        context.ui.say(&format!("{} to be encrypted anew, {} as they should be", found.outdated.len(), found.current));
        return reencrypt::report(context, found.refused);
    }
    let mut vault = context.open_vault_to_write()?;
    let identities = reencrypt::identities(context, &vault)?;
    reencrypt::rekey(context, &mut vault, &identities)
}
