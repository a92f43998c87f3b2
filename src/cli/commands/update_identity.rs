//! `update identity`

mod replace;
mod rotate;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::identities;
use crate::cli::identity_place::{IdentityPlace, none_at};
use crate::cli::shell::quoted;
use flyte_local::crypto::IdentityFile;
use replace::replace;

/// Change your identity's passphrase, or rotate its key
///
/// Replaces the identity file with a new one, which has been read back and opened. Changing the passphrase changes
/// neither the key nor any secret. The content of the old file may stay readable on the disk and in copies of it.
///
/// With --rotate, a new key replaces the old one in the vault, and every secret is re-encrypted. Until that is done,
/// the file holds both keys; if the command is interrupted, run it again to finish. The old key then moves to a
/// separate file, because it still opens backups, a repository's history and other vaults.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["passphrase", "no_passphrase", "rotate"]))]
#[command(after_help = "\
Examples:
  flyte-local update identity --passphrase
  flyte-local update identity --no-passphrase
  flyte-local update identity --rotate             if the key may have leaked")]
pub(crate) struct Args {
    /// Protect the identity with a passphrase, which is prompted for
    #[arg(long)]
    passphrase: bool,
    /// Remove the passphrase
    #[arg(long)]
    no_passphrase: bool,
    /// Replace the key, in the identity file and in the vault
    #[arg(long)]
    rotate: bool,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CommandError> {
    let origin = only_file(context)?;
    let path = origin.path().expect("a file");
    let before = context.read_identity_place(&origin)?.ok_or_else(|| none_at(&origin))?;
    let file = origin.parse(&before)?;
    if file.is_open_ssh() {
        let error =
            CommandError::new(Exit::Failed, format!("{origin} is an OpenSSH key, which flyte-local does not change"));
        let hints = if args.rotate {
            rotate::by_hand(context, path, &file)
        } else {
            vec![format!("change its passphrase with OpenSSH: ssh-keygen -p -f {}", quoted(path))]
        };
        return Err(hints.into_iter().fold(error, CommandError::hint));
    }
    if args.rotate {
        return rotate::rotate(context, &origin, &before, &file);
    }
    let text = match &file {
        IdentityFile::Open(_) if args.no_passphrase => {
            context.ui.say(&format!("{origin} has no passphrase"));
            return Ok(());
        }
        IdentityFile::Open(_) => before.clone(),
        IdentityFile::Locked(locked) => context.passphrases().unlock(&origin.to_string(), locked)?.kept,
    };
    let new = if args.passphrase { Some(context.passphrases().choose(&origin.to_string())?) } else { None };
    replace(path, &before, &text, new.as_ref())?;
    // It was kept for a file that is no more.
    let _ = identities::drop_kept(&before);
    context.ui.say(&match new {
        Some(_) => format!("{origin} has a passphrase now"),
        None => format!("{origin} has no passphrase any more"),
    });
    Ok(())
}

/// The file of the identity, if one is named.
fn only_file(context: &Context<'_>) -> Result<IdentityPlace, CommandError> {
    let mut places = context.identity_places()?;
    match (places.pop(), places.is_empty()) {
        (Some(origin @ IdentityPlace::File(_)), true) => Ok(origin),
        (Some(IdentityPlace::Variable), true) => {
            Err(CommandError::new(Exit::Usage, format!("{} is a variable, not a file", IdentityPlace::Variable)))
        }
        _ => Err(CommandError::new(Exit::Usage, "several identities are in use, and this command changes only one")
            .hint("name it: --identity FILE")),
    }
}
