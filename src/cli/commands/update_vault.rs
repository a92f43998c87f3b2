//! `update vault`

use crate::cli::acceptance::{self, Consent};
use crate::cli::arguments::{require_name, require_public};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::explain::foreign_key::as_author;
use crate::cli::reencrypt;
use crate::cli::shell::scope_flags;
use flyte_local::crypto::Author;
use flyte_local::secret::SecretId;
use flyte_local::vault::Distrusted;

/// Trust an author, or accept changes to the vault
///
/// This machine remembers the vault's recipients and authors, and when each secret was last updated. flyte-local writes
/// nothing to a vault that it did not create until you accept it. If recipients or authors have changed, it writes
/// nothing until you accept the change, and reads no value of a new author. `check` shows the difference and all keys.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["accept", "accept_older", "trust_author", "distrust_author"]))]
#[command(override_usage = "\
flyte-local update vault --accept [--expect HASH]
       flyte-local update vault --accept-older
       flyte-local update vault --trust-author KEY [--name NAME]
       flyte-local update vault --distrust-author AUTHOR")]
#[command(after_long_help = "\
Examples:
  flyte-local check
  flyte-local update vault --accept
  flyte-local update vault --accept --expect HASH    in a script
  flyte-local update vault --accept-older            after an old checkout
  flyte-local update vault --trust-author flyteauthor1… --name alice
  flyte-local update vault --distrust-author alice")]
pub(crate) struct Args {
    /// Accept the current recipients and authors
    ///
    /// Shows them with the fingerprint. On a terminal, asks first.
    #[arg(long)]
    accept: bool,
    /// Accept only if the fingerprint is HASH
    ///
    /// `check` shows the fingerprint.
    #[arg(long, value_name = "HASH", requires = "accept", conflicts_with_all = ["accept_older", "trust_author", "distrust_author"])]
    expect: Option<String>,
    /// Accept secrets that are older or gone
    ///
    /// These are secrets that are older than this machine has seen, gone, or back after a deletion.
    #[arg(long)]
    accept_older: bool,
    /// Trust this author's values
    ///
    /// The author is added to vault.toml, if missing there.
    #[arg(long, value_name = "KEY")]
    trust_author: Option<String>,
    /// Refuse this author's values
    ///
    /// Removes the author from vault.toml. AUTHOR is a name in vault.toml or a key. `rekey`, and so `delete
    /// recipient`, signs what it re-encrypts as yours: to keep the author's values, do that first.
    #[arg(long, value_name = "AUTHOR")]
    distrust_author: Option<String>,
    /// The trusted author's name in vault.toml
    ///
    /// The default is your user name for your own key, and `author` for any other.
    #[arg(long, requires = "trust_author")]
    name: Option<String>,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CommandError> {
    if let Some(name) = args.distrust_author {
        require_public(&name)?;
        return distrust(context, &name);
    }
    args.name.as_deref().map_or(Ok(()), require_name)?;
    if let Some(key) = args.trust_author {
        return trust(context, &parse(&key)?, args.name);
    }
    let mut vault = context.open_vault_to_accept()?;
    let is_nothing = if args.accept {
        if let Some(expected) = &args.expect {
            vault.require_fingerprint(expected)?;
        }
        let is_nothing = vault.to_accept().is_empty();
        if !is_nothing {
            let consent = if args.expect.is_some() { Consent::Fingerprint } else { Consent::Command };
            acceptance::accept(context.ui, &context.command, &mut vault, consent)?;
        }
        is_nothing
    } else {
        let stale = vault.accept_older()?;
        stale.iter().for_each(|stale| context.ui.say(&stale.to_string()));
        stale.is_empty()
    };
    context.ui.say(if is_nothing { "nothing had changed" } else { "accepted" });
    Ok(())
}

fn parse(key: &str) -> Result<Author, CommandError> {
    key.trim().parse().map_err(|error| {
        let refused = CommandError::new(Exit::Usage, format!("--trust-author: {error}"));
        as_author(&error).into_iter().fold(refused, CommandError::hint)
    })
}

fn trust(context: &Context<'_>, key: &Author, name: Option<String>) -> Result<(), CommandError> {
    let mut vault = context.open_vault_to_accept()?;
    let is_own = context.read_author_file().is_ok_and(|own| own.is_some_and(|own| own.author() == *key));
    let name = name.unwrap_or_else(|| if is_own { context.user_name() } else { "author".to_owned() });
    let written = vault.trust_author(&name, key)?;
    let file = vault.path().join("vault.toml");
    context.ui.say(&format!("trusted author {key}"));
    if written {
        context.ui.say(&format!("named {name:?} in {}", file.display()));
        reencrypt::tell_others(context, &vault);
    }
    Ok(())
}

fn distrust(context: &Context<'_>, name: &str) -> Result<(), CommandError> {
    let mut vault = context.open_vault_to_write()?;
    let removed = vault.writer().and_then(|mut writer| writer.distrust_authors(name));
    let Distrusted { authors: removed, signed } = removed?;
    for known in &removed {
        context.ui.say(&format!("removed author {:?}: {}", known.name, known.key));
    }
    reencrypt::tell_others(context, &vault);
    for id in &signed {
        context.ui.say(&format!("this secret is now refused, because they signed it: {id}"));
    }
    if let Some(SecretId { name, scope }) = signed.first() {
        let adopt = format!("{} update secret {name}{} --adopt", context.command, scope_flags(scope));
        context.ui.hint(&format!("to sign one yourself after checking its value: {adopt}"));
    }
    Ok(())
}
