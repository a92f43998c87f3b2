//! `lock`

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::identities;

/// Drop all identities that `unlock` keeps
///
/// This includes identities whose files have changed or are gone.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local lock")]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context<'_>, Args {}: Args) -> Result<(), CommandError> {
    context.ui.say(&match identities::drop_all_kept()? {
        0 => "no identity was unlocked".to_owned(),
        1 => "locked the identity that was unlocked".to_owned(),
        count => format!("locked the {count} identities that were unlocked"),
    });
    Ok(())
}
