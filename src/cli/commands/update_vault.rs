//! `update vault`

use crate::cli::arguments::require_name;
use crate::cli::context::Context;
use crate::cli::error::{CliError, scope_flags};
use crate::cli::reencrypt;
use flyte_local::crypto::Author;
use flyte_local::secret::SecretId;
use flyte_local::vault::Distrusted;

/// Say whose values to read, and that a vault is as it should be
///
/// What a vault's recipients and authors are is remembered on this machine, outside of it, and so is when each secret was
/// last updated. Where recipients or authors differ, nothing is written before it is accepted, and nothing read that a new
/// author wrote. `check` shows the difference, and all keys.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["accept", "accept_older", "trust_author", "distrust_author"]))]
#[command(after_help = "\
Examples:
  flyte-local check
  flyte-local update vault --accept
  flyte-local update vault --accept --expect HASH          where nobody looks, as in CI
  flyte-local update vault --accept-older                  after a git checkout of an older state
  flyte-local update vault --trust-author flyteauthor1… --name alice
  flyte-local update vault --distrust-author alice         after delete recipient alice")]
pub(crate) struct Args {
    /// Take the vault's recipients and authors as they are now
    #[arg(long)]
    accept: bool,
    /// Accept it only if this is its fingerprint, as `check` shows it
    #[arg(long, value_name = "HASH", requires = "accept", conflicts_with_all = ["accept_older", "trust_author", "distrust_author"])]
    expect: Option<String>,
    /// Take each secret as it is that is older than it was seen here, or gone, or deleted here and there again
    #[arg(long)]
    accept_older: bool,
    /// Read what this author writes, and name them in vault.toml if it does not
    #[arg(long, value_name = "KEY")]
    trust_author: Option<Author>,
    /// No longer read what this author writes, and take them out of vault.toml: what they are called there, or their key.
    /// `rekey`, and so `delete recipient`, makes what it encrypts anew yours: to keep what they wrote, do that first
    #[arg(long, value_name = "AUTHOR")]
    distrust_author: Option<String>,
    /// What to call the one to trust in vault.toml [default: the user's name for their own key, else author]
    #[arg(long, requires = "trust_author")]
    name: Option<String>,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CliError> {
    if let Some(name) = args.distrust_author {
        return distrust(context, &name);
    }
    args.name.as_deref().map_or(Ok(()), require_name)?;
    let mut vault = context.open_vault_to_accept(args.expect)?;
    let failed = |error| CliError::from_vault(&error, &context.command);
    let Some(key) = args.trust_author else {
        let lines = match args.accept {
            true => vault
                .lock()
                .and_then(|mut locked| locked.accept())
                .map_err(failed)?
                .iter()
                .map(ToString::to_string)
                .collect(),
            false => vault
                .lock()
                .and_then(|mut locked| locked.accept_older())
                .map_err(failed)?
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
        };
        lines.iter().for_each(|line| context.ui.say(line));
        // One that is new was shown, as its first use was told.
        let is_new = args.accept && vault.is_new();
        context.ui.say(if lines.is_empty() && !is_new { "nothing had changed" } else { "accepted" });
        return Ok(());
    };
    let is_own = context.read_author_file().is_ok_and(|own| own.is_some_and(|own| own.author() == key));
    let name = args.name.unwrap_or_else(|| if is_own { context.user_name() } else { "author".to_owned() });
    let written = vault.lock().and_then(|mut locked| locked.trust_author(&name, &key)).map_err(failed)?;
    let file = vault.path().join("vault.toml");
    context.ui.say(&format!("trusted author {key}"));
    if written {
        context.ui.say(&format!("named {name:?} in {}", file.display()));
        reencrypt::tell_others(context, &vault);
    }
    Ok(())
}

fn distrust(context: &Context<'_>, name: &str) -> Result<(), CliError> {
    let mut vault = context.open_vault_to_write()?;
    let removed = vault.writer().and_then(|mut writer| writer.distrust_authors(name));
    let Distrusted { authors: removed, signed } =
        removed.map_err(|error| CliError::from_vault(&error, &context.command))?;
    for known in &removed {
        context.ui.say(&format!("removed author {:?}: {}", known.name, known.key));
    }
    reencrypt::tell_others(context, &vault);
    for id in &signed {
        context.ui.say(&format!("what they signed is refused from now on: {id}"));
    }
    if let Some(SecretId { name, scope }) = signed.first() {
        let adopt = format!("{} update secret {name}{} --adopt", context.command, scope_flags(scope));
        context.ui.hint(&format!("to make one yours, once you have looked at it: {adopt}"));
    }
    Ok(())
}
