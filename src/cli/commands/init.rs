//! `init`

use crate::cli::context::{Context, permissions};
use crate::cli::error::{CliError, Exit};
use crate::cli::notices;
use flyte_local::crypto::Identity;
use flyte_local::vault::{NamedAuthor, NamedRecipient, Vault, VaultError};

/// What the maker of a vault is called in it.
const OWNER: &str = "owner";

/// Make a vault, and an identity to open it with
///
/// The identity is a private key in a file of its own, outside the vault. One that is there already is used, never
/// overwritten. So is a key that signs what you write.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local init
  flyte-local --vault ./vault init")]
pub(crate) struct Args {
    /// What you are called as an author in the vault [default: your user name]
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CliError> {
    let (vault_path, identity_path) = (context.vault_path()?, context.identity_path()?);
    let (author_path, state) = (context.author_path()?, context.state_path()?);
    // Looked at first, so that no identity is made for a vault that is not.
    match Vault::open_with(vault_path, permissions()?) {
        Err(VaultError::Missing { .. }) => {}
        Err(error) => return Err(CliError::from_vault(&error, &context.command)),
        Ok(_) => {
            let exists = VaultError::Exists { path: vault_path.to_owned() };
            return Err(CliError::from_vault(&exists, &context.command));
        }
    }
    context.require_outside_of_vault()?;
    // The identity comes before the vault: a vault that nobody can open is worse than none.
    let made = context.read_identity_file()?.is_none() && make_identity(context)?;
    // What counts is what lies on the disk, should another init have been faster.
    let recipient = context.identities()?[0].recipient();
    let owner = NamedRecipient { name: OWNER.to_owned(), key: recipient };
    let (key, made_key) = context.author_key()?;
    let author = NamedAuthor { name: args.author.unwrap_or_else(|| context.user_name()), key: key.author() };
    let listener = notices::listener(context.ui.clone(), context.command.clone());
    let vault = Vault::create(vault_path, vec![owner], vec![author], state, permissions()?, listener)
        .map_err(|error| CliError::from_vault(&error, &context.command))?;

    let ui = context.ui;
    let there = |made: bool| if made { "" } else { " (it was there already)" };
    ui.say(&format!("vault:    {}", vault.path().display()));
    ui.say(&format!("identity: {}{}", identity_path.display(), there(made)));
    ui.say(&format!("author:   {}{}", author_path.display(), there(made_key)));
    if made {
        ui.say("Keep a copy of the identity in a safe place: without it, no secret can be opened again.");
    }
    Ok(())
}

/// Makes the identity file; `false` if it is there by now.
fn make_identity(context: &Context<'_>) -> Result<bool, CliError> {
    let path = context.identity_path()?;
    let identity = Identity::try_generate().map_err(|error| {
        CliError::new(Exit::Failed, format!("cannot make an identity for {}", path.display()))
            .because(error.to_string())
    })?;
    context.write_key_file(path, identity.to_file(&context.now()).as_bytes())
}
