//! `create identity`, `get identity`

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::identities::Origin;
use crate::cli::table;
use flyte_local::crypto::{self, Identity, Recipient};

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
