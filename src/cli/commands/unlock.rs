//! `unlock`

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::span::Span;

/// Unlock passphrase-protected identities for a while
///
/// Keeps them in your kernel keyring, so that you are not prompted for their passphrases until the time is up, `lock`
/// drops them, or the machine restarts. Until then all your processes can read them, including the tasks of a
/// run. For an OpenSSH key, the passphrase is kept. Linux only.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local unlock
  flyte-local unlock --for 30m
  flyte-local check                                  shows the remaining time")]
pub(crate) struct Args {
    /// How long to keep them: a number and s, m, h or d, at most 7d
    #[arg(long = "for", value_name = "TIME", default_value = "8h")]
    time: Span,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CommandError> {
    let identities = context.identities()?;
    let kept = identities.keep(args.time.0)?;
    for origin in &kept {
        context.ui.say(&format!("unlocked {origin} for {}", args.time));
    }
    if kept.is_empty() {
        context.ui.say("no identity has a passphrase");
    }
    Ok(())
}
