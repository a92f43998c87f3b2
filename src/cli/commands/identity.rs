//! `create identity`, `get identity`

use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::identities::Origin;
use crate::cli::table::{self, Cell, Column, Layout, Row};
use flyte_local::crypto::{self, Identity, Recipient};

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
    let (_, made) = make(context, &places, args.passphrase)?;
    let (_, made_key) = context.author_key()?;
    tell(context, &places, made, made_key)?;
    context.ui.say("For the public keys, which somebody adds to a vault: flyte-local get identity");
    Ok(())
}

pub(crate) fn get(context: &Context<'_>, GetArgs {}: GetArgs) -> Result<(), CliError> {
    let recipient = |(key, place)| PublicKey { what: "recipient", key, place };
    let mut keys: Vec<_> = context.identities()?.keys()?.into_iter().map(recipient).collect();
    match context.read_author_file()? {
        Some(key) => {
            let place = context.author_path()?.display().to_string();
            keys.push(PublicKey { what: "author", key: key.author().to_string(), place });
        }
        None => context.ui.hint("there is no signing key yet; to make one: flyte-local create identity"),
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

/// Says where they are.
pub(super) fn tell(context: &Context<'_>, places: &[Origin], made: bool, made_key: bool) -> Result<(), CliError> {
    let there = |made: bool| if made { "" } else { " (it was there already)" };
    for place in places {
        context.ui.say(&format!("identity: {place}{}", there(made)));
    }
    context.ui.say(&format!("author:   {}{}", context.author_path()?.display(), there(made_key)));
    if made {
        context.ui.say("Keep a copy of the identity in a safe place: without it, no secret can be opened again.");
    }
    Ok(())
}

/// The public halves of the identities that are there, or of the one that was made; whether it was.
pub(super) fn make(
    context: &Context<'_>,
    places: &[Origin],
    passphrase: bool,
) -> Result<(Vec<Recipient>, bool), CliError> {
    if let Some(found) = context.read_identities(places)? {
        if passphrase {
            let error = CliError::new(Exit::Exists, format!("there is an identity at {} already", places[0]));
            return Err(error.hint(format!("give it a passphrase: {} update identity --passphrase", context.command)));
        }
        return Ok((found.first_recipients()?, false));
    }
    if let [_, other, ..] = places {
        let message = format!("there is no identity at {}, nor at {other}", places[0]);
        return Err(CliError::new(Exit::NotFound, message).hint("name one alone to have it made"));
    }
    let path = places[0].path().expect("a variable that names nothing is no place");
    let failed = |reason: &dyn std::fmt::Display| {
        CliError::new(Exit::Failed, format!("cannot make an identity for {}", path.display()))
            .because(reason.to_string())
    };
    let identity = Identity::try_generate().map_err(|error| failed(&error))?;
    let mut file = Zeroizing::new(identity.to_file(&context.now()).as_bytes().to_vec());
    if passphrase {
        let chosen = context.passphrases().choose(&places[0].to_string())?;
        file = crypto::lock(&file, &chosen).map_err(|error| failed(&error))?.into();
    }
    match context.write_key_file(path, &file)? {
        true => Ok((vec![identity.recipient()], true)),
        // Another init was faster, and what counts is what lies on the disk.
        false => Ok((context.identities()?.first_recipients()?, false)),
    }
}
