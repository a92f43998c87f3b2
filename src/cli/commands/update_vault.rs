//! `update vault`

use crate::cli::context::Context;
use crate::cli::error::CliError;
use flyte_local::crypto::Author;

/// Say whose values to read, and that a vault is as it should be
///
/// What a vault's recipients and authors are is remembered on this machine, outside of it. Where they differ, nothing is
/// written before it is accepted, and nothing read that a new author wrote.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["accept", "trust_author"]))]
#[command(after_help = "\
Examples:
  flyte-local update vault --accept
  flyte-local update vault --trust-author flyteauthor1… --name alice")]
pub(crate) struct Args {
    /// Take the vault as it is now: its recipients and authors, and each secret that is older than it was, or gone
    #[arg(long)]
    accept: bool,
    /// Read what this author writes, and name them in vault.toml if it does not
    #[arg(long, value_name = "KEY")]
    trust_author: Option<Author>,
    /// What to call that author in vault.toml [default: the user's name for their own key, else author]
    #[arg(long, requires = "trust_author")]
    name: Option<String>,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CliError> {
    let mut vault = context.open_vault()?;
    let failed = |error| CliError::from_vault(&error, &context.command);
    let Some(key) = args.trust_author else {
        let (changes, stale) = vault.accept().map_err(failed)?;
        for line in changes.iter().map(ToString::to_string).chain(stale.iter().map(ToString::to_string)) {
            context.ui.say(&crate::cli::error::harmless(&line));
        }
        let nothing = changes.is_empty() && stale.is_empty();
        context.ui.say(if nothing { "nothing had changed" } else { "accepted" });
        return Ok(());
    };
    let is_own = context.read_author_file().is_ok_and(|own| own.is_some_and(|own| own.author() == key));
    let name = args.name.unwrap_or_else(|| if is_own { context.user_name() } else { "author".to_owned() });
    let written = vault.trust_author(&name, &key).map_err(failed)?;
    let file = vault.path().join("vault.toml");
    context.ui.say(&format!("trusted author {key}"));
    if written {
        context.ui.say(&format!("named {name:?} in {}", file.display()));
    }
    Ok(())
}
