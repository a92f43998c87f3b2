//! `create identity`, `get identity`

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::new_identity;
use crate::cli::table::{self, Cell, Column, Layout, Row};

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
pub(crate) struct CreateIdentityArgs {
    /// Protect a new identity with a passphrase, which is prompted for
    #[arg(long)]
    passphrase: bool,
}

/// Show your public keys
///
/// Public keys are not secret. Send them to the user who shares a vault with you, in a way that no one can change
/// them. The user then adds the recipient with `create recipient`, so that you can read secrets, and the author with
/// `update vault --trust-author`, so that your values are accepted.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local get identity
  flyte-local --identity ~/.ssh/id_ed25519 get identity
  flyte-local --output-format json get identity")]
pub(crate) struct GetIdentityArgs {}

pub(crate) fn create(context: &Context<'_>, args: CreateIdentityArgs) -> Result<(), CommandError> {
    context.require_outside_of_vault()?;
    // Each of the two has a place, or none is made.
    let (places, author) = (context.identity_places()?, context.author_path()?);
    let (_, made) = new_identity::make(context, &places, args.passphrase)?;
    let (_, made_key) = context.author_key()?;
    new_identity::tell(context, &places, made, author, made_key);
    context.ui.say("To show the public keys, for the owner of a vault to add: flyte-local get identity");
    Ok(())
}

pub(crate) fn get(context: &Context<'_>, GetIdentityArgs {}: GetIdentityArgs) -> Result<(), CommandError> {
    let recipient = |(key, place)| PublicKey { what: "recipient", key, place };
    let mut keys: Vec<_> = context.identities()?.keys()?.into_iter().map(recipient).collect();
    match context.read_author_file()? {
        Some(key) => {
            let place = context.author_path()?.display().to_string();
            keys.push(PublicKey { what: "author", key: key.author().to_string(), place });
        }
        None => context.ui.hint("there is no signing key yet; to create one: flyte-local create identity"),
    }
    table::print(context.ui, context.output_format, &keys)
}

/// The public half of a key of the user's.
#[derive(Serialize)]
struct PublicKey {
    what: &'static str,
    key: String,
    /// The file or the variable of the private half.
    place: String,
}

impl Row for PublicKey {
    const COLUMNS: &'static [Column] = &[Column::new("what"), Column::new("key"), Column::new("place")];
    // The keys are there to be copied, each from one line.
    const LAYOUT: Layout = Layout::Stacked;

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::new(self.what), Cell::new(&self.key), Cell::new(&self.place)]
    }
}
