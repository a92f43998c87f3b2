//! `init`

use std::path::PathBuf;

use crate::cli::context::Context;
use crate::cli::environment::permissions;
use crate::cli::error::CommandError;
use crate::cli::new_identity;
use crate::cli::notices;
use crate::cli::paths::real;
use flyte_local::vault::{NamedAuthor, NamedRecipient, NewVault, StateDirectory, Vault, VaultError, VaultOptions};

/// The name of a new vault's first recipient.
const OWNER: &str = "owner";

/// Create a vault and an identity that opens it
///
/// The identity is a private key in a separate file outside the vault. Existing identity files are used, never
/// overwritten; if you name several, each of them opens the vault. The key that signs what you write is handled in
/// the same way.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local init
  flyte-local init --passphrase
  flyte-local --identity ~/.ssh/id_ed25519 init      uses a key that you have
  flyte-local --vault ./vault init
  flyte-local --vault ./vault init --git             in a git repository")]
pub(crate) struct Args {
    /// Your name as an author in the vault [default: your user name]
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// Protect a new identity with a passphrase, which is prompted for
    #[arg(long)]
    passphrase: bool,
    /// Prepare the vault for a git repository, also an existing vault
    ///
    /// Adds lines to the vault's .gitattributes and .gitignore, so that git keeps secrets byte for byte and leaves
    /// out files that belong to this machine.
    #[arg(long)]
    git: bool,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CommandError> {
    let (vault_path, places) = (context.vault_path()?, context.identity_places()?);
    let (author_path, state) = (context.author_path()?, context.state_path()?);
    // Check this first, so that no identity is created without its vault.
    let options = VaultOptions { permissions: permissions()?, ..VaultOptions::new(StateDirectory::Ignored) };
    match options.open(vault_path) {
        Err(VaultError::Missing { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(_) if args.git => return suit_git(context, &mut context.open_vault_to_change()?),
        Ok(_) => return Err(VaultError::Exists { path: vault_path.to_owned() }.into()),
    }
    context.require_outside_of_vault()?;
    // Create the identity first: a vault that cannot be opened is worse than none.
    let (recipients, made) = new_identity::make(context, &places, args.passphrase)?;
    let owner = |key| NamedRecipient { name: OWNER.to_owned(), key };
    let owners = recipients.into_iter().map(owner).collect();
    let (key, made_key) = context.author_key()?;
    let author = NamedAuthor { name: args.author.unwrap_or_else(|| context.user_name()), key: key.author() };
    let listener = notices::listener(context.ui.clone(), context.command.clone());
    let new = NewVault {
        recipients: owners,
        authors: vec![author],
        state: state.to_owned(),
        permissions: permissions()?,
        listener,
    };
    let mut vault = new.create(vault_path)?;

    context.ui.say(&format!("vault:    {}", vault.path().display()));
    new_identity::tell(context, &places, made, author_path, made_key);
    let in_repository = |path: PathBuf| path.ancestors().any(|directory| directory.join(".git").exists());
    let is_in_repository = real(vault.path()).is_ok_and(in_repository);
    if args.git {
        suit_git(context, &mut vault)?;
    } else if is_in_repository {
        context.ui.hint(&format!("the vault is in a git repository, so prepare it: {} init --git", context.command));
    }
    context.ui.hint(&format!("create a secret: {} create secret NAME", context.command));
    Ok(())
}

fn suit_git(context: &Context<'_>, vault: &mut Vault) -> Result<(), CommandError> {
    let changed = vault.suit_git()?;
    let what = if changed.is_empty() { "nothing to add".to_owned() } else { format!("added {}", changed.join(", ")) };
    context.ui.say(&format!("git:      {what}"));
    Ok(())
}
