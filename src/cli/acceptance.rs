//! Accepting a vault: from then on, this machine writes to it.

use std::io::IsTerminal;

use super::error::{CommandError, Exit};
use super::prompt;
use super::ui::Ui;
use flyte_local::vault::{Vault, VaultError};

/// The reason to accept a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Only the user's answer on a terminal.
    Answer,
    /// The command that the user typed; on a terminal, it asks too.
    Command,
    /// The fingerprint, which the user compared.
    Fingerprint,
}

/// Asks on a terminal to accept a vault that was never accepted on this machine, before a command writes to it.
pub(super) fn require(ui: &Ui, command: &str, vault: &mut Vault) -> Result<(), CommandError> {
    match vault.require_accepted() {
        Err(VaultError::Unaccepted { path, .. }) if std::io::stdin().is_terminal() => {
            ui.say(&format!("the vault at {} was never accepted on this machine", path.display()));
            accept(ui, command, vault, Consent::Answer)
        }
        Err(error @ VaultError::Unaccepted { .. }) => Err(error.into()),
        // The command reports any other error when it comes to write.
        _ => Ok(()),
    }
}

/// Shows the keys to accept and the fingerprint, and accepts the vault if it still has that fingerprint.
pub(crate) fn accept(ui: &Ui, command: &str, vault: &mut Vault, consent: Consent) -> Result<(), CommandError> {
    let fingerprint = vault.fingerprint();
    vault.to_accept().iter().for_each(|line| ui.say(&line.to_string()));
    ui.say(&format!("fingerprint {fingerprint}"));
    let asks = match consent {
        Consent::Answer => true,
        Consent::Command => std::io::stdin().is_terminal(),
        Consent::Fingerprint => false,
    };
    if asks && !prompt::confirm("do you know these keys, and accept them?")? {
        return Err(CommandError::new(Exit::Refused, "the vault was not accepted, and nothing was written")
            .hint(format!("compare the fingerprint with the one that the vault's owner sees: {} check", command)));
    }
    vault.accept(&fingerprint)?;
    Ok(())
}
