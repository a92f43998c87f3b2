//! Prompts, with an answer that shows or that does not.
//!
//! `rpassword` reads and edits the line. The code around it does the rest: it restores the terminal's
//! settings after a signal, while the process is stopped and after a panic, and it refuses input that `rpassword` would
//! silently drop or change: control characters, bytes that are not text, a line cut short by a hangup, and the later lines of
//! a paste, which the shell would run next.

mod quiet;
mod typed_input;

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use super::error::{CommandError, Exit};
use quiet::Quiet;
use typed_input::TypedInput;

use rpassword::ConfigBuilder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{QueueSelector, tcflush};
use zeroize::Zeroizing;

/// How long the rest of a paste may take to arrive after its first line.
const PASTE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The kind of answer, which decides the hint if the prompt cannot take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Value,
    Passphrase,
}

impl Asked {
    fn other_ways(self) -> &'static str {
        match self {
            Self::Value => "give it with --from-file FILE, or on standard input",
            Self::Passphrase => "give it on a file descriptor, with --passphrase-fd",
        }
    }

    fn nothing(self) -> CommandError {
        match self {
            Self::Value => CommandError::new(Exit::Failed, "no value was typed").hint("for an empty value: --value ''"),
            Self::Passphrase => CommandError::new(Exit::Failed, "no passphrase was typed"),
        }
    }
}

/// Asks on the terminal.
pub(crate) fn hidden(question: &str, asked: Asked) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let failed = |error: io::Error| CommandError::from_io("ask on the terminal", &error);
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").map_err(failed)?;
    let quiet = Quiet::start(&terminal, question).map_err(failed)?;
    terminal.write_all(question.as_bytes()).map_err(failed)?;

    let refused = Rc::new(Cell::new(false));
    let keyboard = TypedInput {
        terminal: terminal.try_clone().map_err(failed)?,
        refused: Rc::clone(&refused),
        asked_again: Arc::clone(&quiet.asked_again),
        held: None,
    };
    let config = ConfigBuilder::new().input_reader(keyboard).output_discard().build();
    let answer = rpassword::read_password_with_config(config).map(Zeroizing::new);
    let mut rest = [PollFd::new(&terminal, PollFlags::IN)];
    let several = answer.is_ok() && poll(&mut rest, Some(&PASTE)).is_ok_and(|ready| ready > 0);
    terminal.write_all(b"\n").map_err(failed)?;
    drop(quiet);

    let refuse = |message: &str| Err(CommandError::new(Exit::Failed, message).hint(asked.other_ways()));
    match answer {
        Ok(_) if several => refuse("the prompt takes one line, and you typed more"),
        Ok(answer) if refused.get() || answer.contains(char::REPLACEMENT_CHARACTER) => {
            refuse("the prompt takes only text, and there was a tab, a control character or invalid UTF-8 in it")
        }
        Ok(answer) if !answer.is_empty() => Ok(Zeroizing::new(answer.as_bytes().to_vec())),
        // Ctrl-D is an empty answer too.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(failed(error)),
        _ => Err(asked.nothing()),
    }
}

/// Asks on the terminal for a line that shows.
pub(crate) fn line(question: &str) -> Result<String, CommandError> {
    let answer = shown(question)?;
    if answer.is_empty() { Err(CommandError::new(Exit::Failed, "nothing was typed")) } else { Ok(answer) }
}

/// Asks on the terminal for a yes; anything else is a no.
pub(crate) fn confirm(question: &str) -> Result<bool, CommandError> {
    let answer = shown(&format!("{question} [y/N] "))?;
    Ok(["y", "yes"].contains(&answer.to_ascii_lowercase().as_str()))
}

fn shown(question: &str) -> Result<String, CommandError> {
    let failed = |error: io::Error| CommandError::from_io("ask on the terminal", &error);
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").map_err(failed)?;
    // Anything typed before the question was not meant for it.
    tcflush(&terminal, QueueSelector::IFlush).map_err(|error| failed(error.into()))?;
    terminal.write_all(question.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while terminal.read(&mut byte).map_err(failed)? == 1 && byte != *b"\n" {
        answer.push(byte[0]);
    }
    let text = String::from_utf8(answer).ok().filter(|text| !text.chars().any(char::is_control));
    let text = text.ok_or_else(|| CommandError::new(Exit::Failed, "the prompt takes only text"))?;
    Ok(text.trim().to_owned())
}
