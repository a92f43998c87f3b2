//! `rekey`

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::listing;
use crate::cli::reencrypt;

/// Re-encrypt secrets whose recipients are out of date
///
/// `create recipient` and `delete recipient` re-encrypt secrets themselves. `rekey` finishes their work after an
/// interruption, and re-encrypts secrets that other users wrote before they knew of a new recipient. You can stop it
/// at any time and run it again: each secret opens with the old recipients or with the new ones. Values, types and
/// times stay the same; the re-encrypted secrets are signed by you.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local rekey --dry-run
  flyte-local rekey")]
pub(crate) struct Args {
    /// List the secrets to re-encrypt; write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CommandError> {
    if args.dry_run {
        let found = context.open_vault()?.encryption()?;
        listing::print_ids(context, &found.outdated)?;
        context.ui.say(&format!("{} to re-encrypt, {} up to date", found.outdated.len(), found.current));
        return reencrypt::report(context, found.refused);
    }
    let mut vault = context.open_vault_to_write()?;
    let identities = reencrypt::identities(context, &vault)?;
    reencrypt::rekey(context, &mut vault, &identities)
}
