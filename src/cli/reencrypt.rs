//! Re-encrypting the vault's secrets, which `rekey`, `create recipient`, `delete recipient` and `update identity` do.

use super::context::Context;
use super::error::{CommandError, Exit};
use super::explain::GET_ADDED;
use super::identities::UserIdentities;
use super::progress::Progress;
use flyte_local::crypto;
use flyte_local::vault::{Rekeyed, Vault, VaultError};

/// The identities, unlocked, if one of them is a recipient of the vault: else nothing could be encrypted anew.
pub(crate) fn identities(context: &Context<'_>, vault: &Vault) -> Result<UserIdentities, CommandError> {
    vault.require_writable()?;
    let identities = context.identities()?;
    identities.unlock_for(vault)?;
    if identities.open(vault) {
        return Ok(identities);
    }
    let error = CommandError::new(Exit::CannotDecrypt, "none of your identities is a recipient of this vault");
    Err(error
        .tried(identities.tried())
        .hint("name another identity with --identity FILE or FLYTE_LOCAL_IDENTITY")
        .hint(GET_ADDED))
}

/// Encrypts anew what has to be, and says so.
pub(crate) fn rekey(
    context: &Context<'_>,
    vault: &mut Vault,
    identities: &dyn crypto::Identities,
) -> Result<(), CommandError> {
    let mut progress = None;
    let mut step = |total| {
        progress.get_or_insert_with(|| Progress::start(context.ui, total, "encrypting anew")).step();
    };
    let rekeyed = vault.writer().and_then(|mut writer| writer.rekey(identities, &mut step));
    drop(progress);
    let Rekeyed { done, failed } = rekeyed.map_err(|error| {
        CommandError::from(error)
            .hint(format!("each secret opens as before or for the new recipients; to go on: {} rekey", context.command))
    })?;
    context.ui.say(&match done {
        0 => "no secret had to be encrypted anew".to_owned(),
        1 => "encrypted 1 secret anew".to_owned(),
        done => format!("encrypted {done} secrets anew"),
    });
    report(context, failed)
}

/// What the vault's other users will be asked.
pub(crate) fn tell_others(context: &Context<'_>, vault: &Vault) {
    context.ui.say(&format!(
        "on other machines, this change is accepted with: flyte-local update vault --accept --expect {}",
        vault.fingerprint()
    ));
}

/// Tells of the secrets that were left as they are; the first gives the exit code.
pub(crate) fn report(context: &Context<'_>, failed: Vec<VaultError>) -> Result<(), CommandError> {
    let mut errors = failed.into_iter().map(CommandError::from);
    let Some(first) = errors.next() else { return Ok(()) };
    errors.for_each(|error| context.tell(&error));
    Err(first)
}
