//! `create identity`, `get identity`

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::new_identity;
use crate::cli::table;

/// Create an identity and a signing key
///
/// Use it when another user shares a vault with you; for your own vault, `init` creates both. They are private keys
/// in separate files outside any vault. Existing files are used, never overwritten. `get identity` shows the public
/// keys.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local create identity
  flyte-local create identity --passphrase")]
pub(crate) struct CreateArgs {
    /// Protect a new identity with a passphrase, which is prompted for
    #[arg(long)]
    passphrase: bool,
}

/// Show your public keys
///
/// Public keys are not secret. Send them to the user who shares a vault with you, in a way that no one can change
/// them. That user adds the recipient with `create recipient`, so that you can read secrets, and the author with
/// `update vault --trust-author`, so that your values are accepted.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local get identity
  flyte-local --identity ~/.ssh/id_ed25519 get identity
  flyte-local --output-format json get identity")]
pub(crate) struct GetArgs {}

pub(crate) fn create(context: &Context<'_>, args: CreateArgs) -> Result<(), CommandError> {
    context.require_outside_of_vault()?;
    // Each of the two has a place, or none is made.
    let (places, _) = (context.identity_places()?, context.author_path()?);
    let (_, made) = new_identity::make(context, &places, args.passphrase)?;
    let (_, made_key) = context.author_key()?;
    new_identity::tell(context, &places, made, made_key)?;
    context.ui.say("For the public keys, which somebody adds to a vault: flyte-local get identity");
    Ok(())
}

pub(crate) fn get(context: &Context<'_>, GetArgs {}: GetArgs) -> Result<(), CommandError> {
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
