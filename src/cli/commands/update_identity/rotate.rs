//! `update identity --rotate`
//!
//! The identity file has the new key before the vault names it, and keeps the old one until no secret of any vault that this
//! machine knows needs it. So it opens every secret at any moment. A mark in the file names the vault that is being changed,
//! because another vault cannot tell whether the rotation is complete there.

use std::path::Path;

use zeroize::Zeroizing;

use super::replace::replace;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::identities;
use crate::cli::identity_place::{IdentityPlace, none_at};
use crate::cli::reencrypt;
use crate::cli::retired;
use crate::cli::shell::quoted;
use flyte_local::crypto::rotation::{self, Rotation};
use flyte_local::crypto::{self, Identity, IdentityFile, Passphrase};
use flyte_local::vault::Vault;

/// An identity file as it is, and how to write it.
struct RotatedFile<'a> {
    path: &'a Path,
    /// Its bytes.
    before: Zeroizing<Vec<u8>>,
    /// The identities, unlocked.
    text: Zeroizing<String>,
    /// The passphrase that protects it.
    passphrase: Option<Passphrase>,
}

impl RotatedFile<'_> {
    /// Replaces the text, protected as before.
    fn set(
        &mut self,
        context: &Context<'_>,
        origin: &IdentityPlace,
        text: Zeroizing<String>,
    ) -> Result<(), CommandError> {
        replace(self.path, &self.before, text.as_bytes(), self.passphrase.as_ref())?;
        // It was kept for a file that is no more.
        let _ = identities::drop_kept(&self.before);
        self.before = context.read_identity_place(origin)?.ok_or_else(|| none_at(origin))?;
        self.text = text;
        Ok(())
    }
}

/// Returns the commands that replace a key of OpenSSH's.
pub(super) fn by_hand(context: &Context<'_>, path: &Path, file: &IdentityFile) -> Vec<String> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let (old, new) = (context.command_with(path), context.command_with(Path::new(&new)));
    let key = match file {
        IdentityFile::Open(identities) => identities.first().map(|identity| identity.recipient().to_string()),
        IdentityFile::Locked(locked) => locked.recipient().map(ToString::to_string),
    };
    vec![
        format!("create another key: {new} create identity"),
        format!("then let this one add it to the vault: {old} create recipient KEY --name NAME"),
        format!("then remove this one: {new} delete recipient {}", quoted(Path::new(&key.unwrap_or_default()))),
    ]
}

pub(super) fn rotate(
    context: &Context<'_>,
    origin: &IdentityPlace,
    before: &Zeroizing<Vec<u8>>,
    file: &IdentityFile,
) -> Result<(), CommandError> {
    let path = origin.path().expect("a file");
    let mut vault = context.open_vault_to_write()?;
    vault.require_writable()?;
    let (text, passphrase) = match file {
        IdentityFile::Open(_) => (before.clone(), None),
        IdentityFile::Locked(locked) => {
            let (unlocked, passphrase) = context.passphrases().unlock_by(&origin.to_string(), locked)?;
            (unlocked.kept, Some(passphrase))
        }
    };
    // It was parsed, so it is text.
    let text = Zeroizing::new(std::str::from_utf8(&text).unwrap_or_default().to_owned());
    let mut file = RotatedFile { path, before: before.clone(), text, passphrase };
    let rotation = match Rotation::find(&file.text) {
        Some(rotation) => go_on(context, origin, &vault, &mut file, rotation)?,
        None => begin(context, origin, &vault, &mut file)?,
    };
    if vault.recipients().iter().any(|known| known.key == rotation.old) {
        let exchanged = vault.writer().and_then(|mut writer| writer.exchange_recipient(&rotation.old, &rotation.new));
        exchanged?;
        context.ui.say(&format!("replaced recipient {} by {}", rotation.old, rotation.new));
        reencrypt::tell_others(context, &vault);
    }
    finish(context, origin, &mut vault, &mut file, rotation)
}

/// Returns this vault, for the mark.
fn place(vault: &Vault) -> Option<(String, String)> {
    let path = vault.path().canonicalize().unwrap_or_else(|_| vault.path().to_owned());
    Some((vault.id().to_owned(), path.display().to_string()))
}

/// Continues a rotation in this vault that was interrupted here or is complete in another vault.
fn go_on(
    context: &Context<'_>,
    origin: &IdentityPlace,
    vault: &Vault,
    file: &mut RotatedFile<'_>,
    rotation: Rotation,
) -> Result<Rotation, CommandError> {
    match &rotation.vault {
        Some((id, _)) if id == vault.id() => Ok(rotation),
        Some((_, path)) => {
            let command = format!("flyte-local --vault {} update identity --rotate", quoted(Path::new(path)));
            Err(CommandError::new(
                Exit::Failed,
                format!("a rotation of {origin} was interrupted in the vault at {path}"),
            )
            .hint(format!("complete it first: {command}")))
        }
        None => {
            let rotation = Rotation { vault: place(vault), ..rotation };
            let text = rotation.remark(&file.text);
            file.set(context, origin, text)?;
            Ok(rotation)
        }
    }
}

/// Creates the new key.
fn begin(
    context: &Context<'_>,
    origin: &IdentityPlace,
    vault: &Vault,
    file: &mut RotatedFile<'_>,
) -> Result<Rotation, CommandError> {
    let own = parsed(&file.text)?;
    let is_in = |identity: &Identity| vault.recipients().iter().any(|known| known.key == identity.recipient());
    let old = match &own.iter().filter(|identity| is_in(identity)).collect::<Vec<_>>()[..] {
        [old] => old.recipient(),
        [] => {
            let error = CommandError::new(
                Exit::CannotDecrypt,
                format!("{origin} is not an identity of this vault's recipients"),
            );
            return Err(error.hint(format!("list the recipients: {} get recipient", context.command)));
        }
        _ => {
            let error = CommandError::new(
                Exit::Usage,
                format!("{origin} has several identities that are recipients of this vault"),
            );
            return Err(error.hint("put each in a separate file, and name one with --identity FILE"));
        }
    };
    let new = Identity::try_generate().map_err(|error| CommandError::chain(Exit::Failed, &error))?;
    let rotation = Rotation { old, new: new.recipient(), vault: place(vault) };
    let both = rotation.begin(&file.text, &new, &context.now());
    file.set(context, origin, both)?;
    Ok(rotation)
}

/// Re-encrypts every secret, then retires the old key.
fn finish(
    context: &Context<'_>,
    origin: &IdentityPlace,
    vault: &mut Vault,
    file: &mut RotatedFile<'_>,
    rotation: Rotation,
) -> Result<(), CommandError> {
    let go_on = |error: CommandError| {
        let command = format!("{} update identity --rotate", context.command);
        error.hint(format!(
            "{origin} keeps both keys until every secret is encrypted to the new one; to continue: {command}"
        ))
    };
    let identities = parsed(&file.text)?;
    reencrypt::rekey(context, vault, &identities).map_err(go_on)?;
    let others = vault.others_with(context.state_path()?, &rotation.old);
    let others = others.map_err(|error| go_on(error.into()))?;
    if !others.present.is_empty() {
        let text = Rotation { vault: None, ..rotation }.remark(&file.text);
        file.set(context, origin, text)?;
        context
            .ui
            .say(&format!("{origin} keeps both keys, because other vaults still use the old one. For each of them:"));
        for path in others.present {
            context.ui.say(&format!("  flyte-local --vault {} update identity --rotate", quoted(&path)));
        }
        return Ok(());
    }
    let (left, taken) = rotation::end(&file.text, &rotation.old);
    let retired = retired::path(file.path, &rotation.old);
    keep(context, &retired, &taken, file.passphrase.as_ref()).map_err(go_on)?;
    file.set(context, origin, left)?;
    context
        .ui
        .say(&format!("{origin} now has only the new key: replace your copies of it, also on your other machines"));
    let place = format!(
        "the old key is now in {}: it opens backups, a repository's history, and vaults that this machine does not know.",
        retired.display()
    );
    if others.absent.is_empty() {
        context.ui.say(&format!("{place} When nothing needs it any more: rm {}", quoted(&retired)));
        return Ok(());
    }
    context.ui.say(&format!(
        "{place} These vaults had the old key and are not there now, so keep it until they have the new one:"
    ));
    others.absent.iter().for_each(|path| context.ui.say(&format!("  {}", path.display())));
    context.ui.hint(&format!(
        "to show a value of one of them: flyte-local --vault DIR --identity {} get secret NAME --reveal",
        quoted(&retired)
    ));
    Ok(())
}

fn parsed(text: &str) -> Result<Vec<Identity>, CommandError> {
    Identity::parse_file(text).map_err(|error| CommandError::chain(Exit::Failed, &error))
}

/// Writes the old key into a separate file, unless an interrupted rotation did.
fn keep(context: &Context<'_>, path: &Path, text: &str, passphrase: Option<&Passphrase>) -> Result<(), CommandError> {
    let failed = |error: &(dyn std::error::Error + 'static)| CommandError::chain(Exit::Failed, error);
    let bytes = match passphrase {
        None => Zeroizing::new(text.as_bytes().to_vec()),
        Some(passphrase) => crypto::lock(text.as_bytes(), passphrase).map_err(|error| failed(&error))?.into(),
    };
    if context.write_key_file(path, &bytes)? {
        return Ok(());
    }
    let place = IdentityPlace::File(path.to_owned());
    let kept = context.read_identity_place(&place)?.unwrap_or_default();
    let kept = match (place.parse(&kept)?, passphrase) {
        (IdentityFile::Open(kept), _) => kept,
        (IdentityFile::Locked(locked), Some(passphrase)) => {
            locked.unlock(passphrase).map_err(|error| failed(&error))?.identities
        }
        (IdentityFile::Locked(_), None) => Vec::new(),
    };
    let has = |old: &Identity| kept.iter().any(|kept| kept.recipient() == old.recipient());
    if parsed(text)?.iter().all(has) {
        return Ok(());
    }
    Err(CommandError::new(Exit::Exists, format!("another file exists at {}", path.display())).hint("move it away"))
}
