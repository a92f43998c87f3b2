//! Passphrases, from a file descriptor that the caller names or from the terminal.

mod descriptor;

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use super::error::{CommandError, Exit};
use super::prompt::{self, Asked};
use super::ui::Ui;
use descriptor::Descriptor;
use flyte_local::crypto::{LockedIdentity, Passphrase, UnlockError, Unlocked};

/// The number of times a user may type a passphrase.
const ATTEMPTS: usize = 3;

/// The source of passphrases.
pub(crate) struct Passphrases {
    ui: Ui,
    /// Each question takes the next line.
    descriptor: Option<Descriptor>,
}

/// Set if passphrases come from standard input, so that none of it becomes a secret's value.
static STDIN_IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Checks that standard input does not supply passphrases.
pub(crate) fn require_stdin() -> Result<(), CommandError> {
    if !STDIN_IS_TAKEN.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(CommandError::new(Exit::Usage, "standard input supplies the passphrase, so it cannot supply anything else")
        .hint("give the value with --from-file FILE, or the passphrase on another file descriptor: --passphrase-fd 3"))
}

impl Passphrases {
    pub(crate) fn new(descriptor: Option<u32>, ui: Ui) -> Result<Self, CommandError> {
        let descriptor = descriptor.map(Descriptor::open).transpose()?;
        STDIN_IS_TAKEN.store(descriptor.as_ref().is_some_and(|descriptor| descriptor.is_stdin), Ordering::Relaxed);
        Ok(Self { ui, descriptor })
    }

    /// Takes the passphrases from their descriptor, which a child inherits. Later questions get them from memory.
    ///
    /// # Errors
    /// A child could still read a passphrase there.
    pub(crate) fn withhold(&self) -> Result<(), CommandError> {
        self.descriptor.as_ref().map_or(Ok(()), Descriptor::withhold)
    }

    /// Takes the passphrases from this process as well: no question follows.
    pub(crate) fn forget(&self) -> Result<(), CommandError> {
        self.withhold()?;
        self.descriptor.as_ref().map(Descriptor::forget);
        Ok(())
    }

    /// Returns the next line; `None` without a descriptor.
    fn next_line(&self) -> Option<Result<Zeroizing<Vec<u8>>, CommandError>> {
        self.descriptor.as_ref().map(Descriptor::next_line)
    }

    /// Tells whether a passphrase can be asked for.
    pub(crate) fn can_ask(&self) -> bool {
        self.descriptor.is_some() || std::io::stdin().is_terminal()
    }

    /// Unlocks what `name` says, with the user's passphrase.
    pub(crate) fn unlock(&self, name: &str, locked: &LockedIdentity) -> Result<Unlocked, CommandError> {
        self.unlock_by(name, locked).map(|(unlocked, _)| unlocked)
    }

    /// As [`Passphrases::unlock`], with the passphrase that did it.
    pub(crate) fn unlock_by(
        &self,
        name: &str,
        locked: &LockedIdentity,
    ) -> Result<(Unlocked, Passphrase), CommandError> {
        if !self.can_ask() {
            return Err(CommandError::new(Exit::CannotDecrypt, format!("cannot unlock {name}"))
                .because("cannot ask for its passphrase: standard input is not a terminal")
                .hint(OTHER_WAYS)
                .hint("or unlock it on a terminal first: flyte-local unlock"));
        }
        let attempts = if self.descriptor.is_some() { 1 } else { ATTEMPTS };
        for attempt in 1.. {
            let passphrase = self.ask(&format!("passphrase of {name}: "))?;
            match locked.unlock(&passphrase) {
                Err(UnlockError::WrongPassphrase) if attempt < attempts => {
                    self.ui.say("wrong passphrase, try again");
                }
                Err(error) => return Err(not_unlocked(name, &error)),
                Ok(unlocked) => return Ok((unlocked, passphrase)),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// A new passphrase for what `name` says, asked for twice.
    pub(crate) fn choose(&self, name: &str) -> Result<Passphrase, CommandError> {
        if !self.can_ask() {
            let message = format!("cannot ask for a passphrase for {name}: standard input is not a terminal");
            return Err(CommandError::new(Exit::Failed, message).hint(OTHER_WAYS));
        }
        let first = self.ask(&format!("new passphrase of {name}: "))?;
        if self.descriptor.is_none() && first != self.ask("repeat the passphrase: ")? {
            return Err(CommandError::new(Exit::Failed, "the two passphrases differ").hint("try again"));
        }
        Ok(first)
    }

    fn ask(&self, question: &str) -> Result<Passphrase, CommandError> {
        let bytes = match self.next_line() {
            Some(line) => line?,
            None => prompt::hidden(question, Asked::Passphrase)?,
        };
        Passphrase::new(&bytes).ok_or_else(|| match bytes.is_empty() {
            true => CommandError::new(Exit::Failed, "the passphrase must not be empty"),
            false => CommandError::new(Exit::Failed, "the passphrase must be UTF-8"),
        })
    }
}

const OTHER_WAYS: &str = "give it on a file descriptor: --passphrase-fd 3 3< <(your-password-manager)";

fn not_unlocked(name: &str, error: &UnlockError) -> CommandError {
    let told = |exit| CommandError::new(exit, format!("cannot unlock {name}")).because(error.to_string());
    match error {
        UnlockError::WrongPassphrase => {
            told(Exit::CannotDecrypt).hint("try again, or use a copy of the identity whose passphrase you know")
        }
        _ => told(Exit::Failed),
    }
}
