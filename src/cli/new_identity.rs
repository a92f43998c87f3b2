//! Making an identity, which `init` and `create identity` do.

use std::path::Path;

use zeroize::Zeroizing;

use super::context::Context;
use super::error::{CommandError, Exit};
use super::identity_place::IdentityPlace;
use flyte_local::crypto::{self, Identity, Recipient};

/// Prints the paths of the identity and the signing key. Cannot fail, because both are made by then.
pub(crate) fn tell(context: &Context<'_>, places: &[IdentityPlace], made: bool, author: &Path, made_key: bool) {
    let there = |made: bool| if made { "" } else { " (it was there already)" };
    for place in places {
        context.ui.say(&format!("identity: {place}{}", there(made)));
    }
    context.ui.say(&format!("author:   {}{}", author.display(), there(made_key)));
    if made {
        context.ui.say("Keep a copy of the identity in a safe place: without it, you cannot open your secrets again.");
    }
}

/// Returns the public keys of the existing identities or of a new one, and whether it is new.
pub(crate) fn make(
    context: &Context<'_>,
    places: &[IdentityPlace],
    passphrase: bool,
) -> Result<(Vec<Recipient>, bool), CommandError> {
    if let Some(found) = context.read_identities(places)? {
        if passphrase {
            let error = CommandError::new(Exit::Exists, format!("an identity already exists at {}", places[0]));
            return Err(error.hint(format!("give it a passphrase: {} update identity --passphrase", context.command)));
        }
        return Ok((found.first_recipients()?, false));
    }
    if let [_, other, ..] = places {
        let message = format!("there is no identity at {}, nor at {other}", places[0]);
        return Err(CommandError::new(Exit::NotFound, message).hint("name only one file to create an identity in it"));
    }
    let path = places[0].path().expect("a variable is a place only if it is set");
    let failed = |reason: &dyn std::fmt::Display| {
        CommandError::new(Exit::Failed, format!("cannot create an identity for {}", path.display()))
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
        // Another init was faster; use the file that it wrote.
        false => Ok((context.identities()?.first_recipients()?, false)),
    }
}
