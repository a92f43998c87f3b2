//! `create identity`, `get identity`

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::new_identity;
use crate::cli::table;

/// Make an identity and a signing key, for a vault that others share with you
///
/// They are private keys in files of their own, outside of any vault. Those that are there already are used, never
/// overwritten. `get identity` shows their public halves. For a vault of your own, `init` makes them.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local create identity
  flyte-local create identity --passphrase")]
pub(crate) struct CreateArgs {
    /// Protect the identity that is made with a passphrase, which is asked for
    #[arg(long)]
    passphrase: bool,
}

/// Show the public keys of your identity and of your signing key
///
/// They are no secrets: give them to somebody who shares a vault with you, in a way that nobody can change them on. The
/// recipient is for `create recipient`, so that you can read, the author for `update vault --trust-author`, so that what
/// you write is read.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local get identity
  flyte-local --identity ~/.ssh/id_ed25519 get identity
  flyte-local --output-format json get identity")]
pub(crate) struct GetArgs {}

pub(crate) fn create(context: &Context<'_>, args: CreateArgs) -> Result<(), CliError> {
    context.require_outside_of_vault()?;
    // Each of the two has a place, or none is made.
    let (places, _) = (context.identity_places()?, context.author_path()?);
    let (_, made) = new_identity::make(context, &places, args.passphrase)?;
    let (_, made_key) = context.author_key()?;
    new_identity::tell(context, &places, made, made_key)?;
    context.ui.say("For the public keys, which somebody adds to a vault: flyte-local get identity");
    Ok(())
}

pub(crate) fn get(context: &Context<'_>, GetArgs {}: GetArgs) -> Result<(), CliError> {
    let mut keys: Vec<_> = context.identities()?.keys()?.into_iter().map(|key| ("recipient", key)).collect();
    match context.read_author_file()? {
        Some(key) => keys.push(("author", (key.author().to_string(), context.author_path()?.display().to_string()))),
        None => context.ui.hint("there is no signing key yet; to make one: flyte-local create identity"),
    }
    let json: Value =
        keys.iter().map(|(what, (key, place))| json!({ "what": what, "key": key, "place": place })).collect();
    let rows: Vec<_> = keys.into_iter().map(|(what, (key, place))| [what.to_owned(), key, place]).collect();
    context.ui.data(table::formatted(context.output_format, ["what", "key", "place"], &rows, &json).as_bytes())
}
