//! Passphrases, from a file descriptor that the caller names or from the terminal.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use zeroize::Zeroizing;

use super::error::{CommandError, Exit};
use super::prompt::{self, Asked};
use super::ui::Ui;
use flyte_local::crypto::{LockedIdentity, Passphrase, UnlockError, Unlocked};

/// The number of times a user may type a passphrase.
const ATTEMPTS: usize = 3;

/// Longer than any real passphrase.
const MAX_BYTES: usize = 64 << 10;

/// The source of passphrases.
pub(crate) struct Passphrases {
    ui: Ui,
    /// Each question takes the next line.
    descriptor: Option<(u32, Mutex<File>)>,
    was_read: AtomicBool,
    /// A line that was read before its question.
    held: Mutex<Option<Result<Zeroizing<Vec<u8>>, CommandError>>>,
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
        let descriptor = match descriptor {
            Some(number) => {
                let file = open(number)?;
                let is_stdin = rustix::fs::fstat(&file).ok().zip(rustix::fs::fstat(rustix::stdio::stdin()).ok());
                let is_stdin = is_stdin.is_some_and(|(a, b)| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino));
                STDIN_IS_TAKEN.store(number == 0 || is_stdin, Ordering::Relaxed);
                Some((number, Mutex::new(file)))
            }
            None => None,
        };
        Ok(Self { ui, descriptor, was_read: AtomicBool::new(false), held: Mutex::default() })
    }

    /// Reads the descriptor's first line and drops it, unless it was read before: a child inherits the descriptor and must
    /// not read the passphrase.
    pub(crate) fn take_away(&self) {
        if !self.was_read.load(Ordering::Relaxed) {
            let _ = self.next_line();
        }
    }

    /// Reads the descriptor's first line and keeps it for the first question. For a command that starts a child before it asks.
    pub(crate) fn hold(&self) {
        if !self.was_read.load(Ordering::Relaxed) {
            let line = self.next_line();
            *self.held.lock().expect("no panic") = line;
        }
    }

    /// Takes the passphrase away from this process as well: no question follows.
    pub(crate) fn forget(&self) {
        self.take_away();
        *self.held.lock().expect("no panic") = None;
    }

    /// Returns the line that is held, or else reads the next one; `None` without a descriptor.
    fn next_line(&self) -> Option<Result<Zeroizing<Vec<u8>>, CommandError>> {
        let (number, file) = self.descriptor.as_ref()?;
        if let Some(held) = self.held.lock().expect("no panic").take() {
            return Some(held);
        }
        self.was_read.store(true, Ordering::Relaxed);
        Some(line(*number, &mut file.lock().expect("no panic")))
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

/// Opens a descriptor that our caller left open: standard input itself, and any other by its path, because std gives access to
/// only three without `unsafe`.
fn open(number: u32) -> Result<File, CommandError> {
    let directory = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    if number == 1 || number == 2 {
        // If it is a pipe, we would wait forever for our own output.
        return Err(CommandError::new(
            Exit::Usage,
            format!("file descriptor {number} is for flyte-local's own output"),
        ));
    }
    let opened = match number {
        0 => rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 0).map(File::from).map_err(std::io::Error::from),
        number => File::open(format!("{directory}/{number}")),
    };
    let failed = |reason: &str| {
        CommandError::new(Exit::Usage, format!("cannot read file descriptor {number}: {reason}"))
            .hint("open it for flyte-local: --passphrase-fd 3 3< <(your-password-manager)")
            .hint("or use standard input: your-password-manager | flyte-local … --passphrase-fd 0")
    };
    let file = opened.map_err(|error| failed(&error.to_string()))?;
    // A terminal would show what is typed.
    if file.is_terminal() {
        Err(failed("it is a terminal; without this option, flyte-local asks there"))
    } else {
        Ok(file)
    }
}

/// Reads the next line byte by byte: the rest is for the next question.
fn line(number: u32, file: &mut File) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    let mut byte = Zeroizing::new([0]);
    loop {
        match file.read(&mut *byte) {
            Ok(0) if bytes.is_empty() => {
                return Err(CommandError::new(
                    Exit::Failed,
                    format!("file descriptor {number} supplied no passphrase"),
                ));
            }
            Ok(0) => return Ok(bytes),
            Ok(_) if byte[0] == b'\n' => return Ok(bytes),
            Ok(_) if bytes.len() < MAX_BYTES => bytes.push(byte[0]),
            Ok(_) => {
                return Err(CommandError::new(
                    Exit::Failed,
                    format!("the line on file descriptor {number} is too long for a passphrase"),
                ));
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CommandError::from_io(&format!("read file descriptor {number}"), &error)),
        }
    }
}
