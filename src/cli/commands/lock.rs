//! `lock`

use crate::cli::context::Context;
use crate::cli::error::CliError;

/// Drop what `unlock` keeps
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local lock")]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context<'_>, Args {}: Args) -> Result<(), CliError> {
    let identities = context.identities()?;
    let dropped = identities.drop_kept()?;
    for origin in &dropped {
        context.ui.say(&format!("locked {origin}"));
    }
    if dropped.is_empty() {
        context.ui.say("no identity was unlocked");
    }
    Ok(())
}
