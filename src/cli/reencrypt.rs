//! Re-encrypting the vault's secrets, which `rekey`, `create recipient`, `delete recipient` and `update identity` do.

use super::context::Context;
use super::error::{CommandError, Exit};
use super::explain::GET_ADDED;
use super::identities::UserIdentities;
use super::progress::Progress;
use flyte_local::crypto;
use flyte_local::vault::{Rekeyed, Vault, VaultError};

/// Returns the unlocked identities. Fails if none is a recipient of the vault, because then no secret could be re-encrypted.
pub(crate) fn identities(context: &Context<'_>, vault: &Vault) -> Result<UserIdentities, CommandError> {
    vault.require_writable()?;
    let identities = context.identities()?;
    identities.unlock_for(vault)?;
    if identities.open(vault) {
        return Ok(identities);
    }
    let error = CommandError::new(Exit::CannotDecrypt, "your identity is not a recipient of this vault");
    Err(error
        .tried(identities.tried())
        .hint("name another identity with --identity FILE or FLYTE_LOCAL_IDENTITY")
        .hint(GET_ADDED))
}

/// Re-encrypts the secrets that are out of date, and reports it.
pub(crate) fn rekey(
    context: &Context<'_>,
    vault: &mut Vault,
    identities: &dyn crypto::Identities,
) -> Result<(), CommandError> {
    let mut progress = None;
    let mut step = |total| {
        progress.get_or_insert_with(|| Progress::start(context.ui, total, "re-encrypting")).step();
    };
    let rekeyed = vault.writer().and_then(|mut writer| writer.rekey(identities, &mut step));
    drop(progress);
    let Rekeyed { done, failed } = rekeyed.map_err(|error| {
        CommandError::from(error).hint(format!(
            "every secret still opens, for the old recipients or for the new; to continue: {} rekey",
            context.command
        ))
    })?;
    let all = done + failed.len();
    let plural = if all == 1 { "" } else { "s" };
    context.ui.say(&match all {
        0 => "no secret had to be re-encrypted".to_owned(),
        _ if done == all => format!("re-encrypted {done} secret{plural}"),
        _ => format!("re-encrypted {done} of {all} secret{plural}"),
    });
    report(context, failed)
}

/// Prints the command with which other machines accept the change.
pub(crate) fn tell_others(context: &Context<'_>, vault: &Vault) {
    context.ui.say(&format!(
        "on other machines, accept this change with: flyte-local update vault --accept --expect {}",
        vault.fingerprint()
    ));
}

/// Reports the secrets that were left as they are; the first gives the exit code.
pub(crate) fn report(context: &Context<'_>, failed: Vec<VaultError>) -> Result<(), CommandError> {
    let mut errors = failed.into_iter().map(CommandError::from);
    let Some(first) = errors.next() else { return Ok(()) };
    errors.for_each(|error| context.tell(&error));
    Err(first)
}
