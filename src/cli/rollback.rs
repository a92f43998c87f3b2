//! Secrets that were rolled back. A command that sends values on refuses them, because their next reader has no pin to notice it by.

use super::error::{CommandError, Exit};
use flyte_local::vault::{Stale, Vault};

/// Fails if one of the secrets that `is_sent` selects is older than this machine has seen, gone, or back after a deletion.
///
/// # Errors
/// The list of these secrets, or the vault's errors.
pub(crate) fn require_none(vault: &Vault, command: &str, is_sent: impl Fn(&Stale) -> bool) -> Result<(), CommandError> {
    let mut stale = vault.stale()?;
    stale.retain(is_sent);
    if stale.is_empty() { Ok(()) } else { Err(refused(&stale, command)) }
}

fn refused(stale: &[Stale], command: &str) -> CommandError {
    let lines: Vec<_> = stale.iter().map(ToString::to_string).collect();
    CommandError::new(Exit::Refused, lines.join("\n"))
        .hint(format!("if you expect this, for example after a git checkout: {command} update vault --accept-older"))
}
