//! `unlock`

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::span::Span;

/// Unlock the identities that have a passphrase, for a while
///
/// They are kept in the kernel's keyring of the user, so that nothing asks for their passphrases until the time is up, `lock`
/// drops them, or the machine restarts. Until then every process of yours can read them, the tasks of a run among them. Of
/// a key of OpenSSH's it is the passphrase that is kept. Linux only.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local unlock
  flyte-local unlock --for 30m
  flyte-local check                                        shows for how long yet")]
pub(crate) struct Args {
    /// For how long: a number and s, m, h or d, at most 7d
    #[arg(long = "for", value_name = "TIME", default_value = "8h")]
    time: Span,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CliError> {
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
