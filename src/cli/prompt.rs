//! A question whose answer does not show.
//!
//! `rpassword` reads and edits the line. Around it stands what it does not do (7.5): the terminal's settings come back
//! after a signal, while it is stopped and after a panic, and what it would drop or change in silence is refused: control
//! characters, bytes that are not text, a line that a hang-up cut short, and all lines but the first of a paste, which the
//! shell would run next.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{CommandError, Exit};

use rpassword::ConfigBuilder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush, tcgetattr, tcsetattr,
};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTOU};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, raise};
use zeroize::Zeroizing;

/// How long the rest of a paste may take to arrive after its first line.
const PASTE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// What is asked for, which decides what helps where the prompt cannot take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Value,
    Passphrase,
}

impl Asked {
    fn other_ways(self) -> &'static str {
        match self {
            Self::Value => "give it as it is with --from-file FILE, or on standard input",
            Self::Passphrase => "give it on a descriptor, with --passphrase-fd",
        }
    }

    fn nothing(self) -> CommandError {
        match self {
            Self::Value => {
                CommandError::new(Exit::Failed, "no value was typed").hint("for an empty value, say so: --value ''")
            }
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
    let keyboard = Keyboard {
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
        Ok(_) if several => refuse("more than one line was typed, and the prompt takes one"),
        Ok(answer) if refused.get() || answer.contains(char::REPLACEMENT_CHARACTER) => {
            refuse("the prompt takes text alone, and there was a tab, a control character or no UTF-8 in it")
        }
        Ok(answer) if !answer.is_empty() => Ok(Zeroizing::new(answer.as_bytes().to_vec())),
        // Ctrl-D is an empty answer too.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(failed(error)),
        _ => Err(asked.nothing()),
    }
}

/// Asks on the terminal for a line, which shows.
pub(crate) fn line(question: &str) -> Result<String, CommandError> {
    let answer = shown(question)?;
    if answer.is_empty() { Err(CommandError::new(Exit::Failed, "nothing was typed")) } else { Ok(answer) }
}

/// Asks on the terminal for a yes; whatever else is typed is a no.
pub(crate) fn confirm(question: &str) -> Result<bool, CommandError> {
    let answer = shown(&format!("{question} [y/N] "))?;
    Ok(["y", "yes"].contains(&answer.to_ascii_lowercase().as_str()))
}

fn shown(question: &str) -> Result<String, CommandError> {
    let failed = |error: io::Error| CommandError::from_io("ask on the terminal", &error);
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").map_err(failed)?;
    // What was typed before the question was not meant for it.
    tcflush(&terminal, QueueSelector::IFlush).map_err(|error| failed(error.into()))?;
    terminal.write_all(question.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while terminal.read(&mut byte).map_err(failed)? == 1 && byte != *b"\n" {
        answer.push(byte[0]);
    }
    let text = String::from_utf8(answer).ok().filter(|text| !text.chars().any(char::is_control));
    let text = text.ok_or_else(|| CommandError::new(Exit::Failed, "the prompt takes text alone"))?;
    Ok(text.trim().to_owned())
}

/// What is typed, byte by byte, so that nothing is read ahead.
struct Keyboard {
    terminal: File,
    refused: Rc<Cell<bool>>,
    asked_again: Arc<AtomicBool>,
    /// A byte that was read, and waits until what was typed before it is taken back.
    held: Option<u8>,
}

/// Takes back the whole line.
const CTRL_U: u8 = 0x15;

impl Read for Keyboard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(first) = buffer.first_mut() else { return Ok(0) };
        let byte = match self.held.take() {
            Some(byte) => byte,
            None => {
                let mut byte = [0];
                if self.terminal.read(&mut byte)? == 0 {
                    return Err(io::Error::other("the terminal was closed"));
                }
                if self.asked_again.swap(false, Ordering::Relaxed) {
                    self.refused.set(false);
                    self.held = Some(byte[0]);
                    *first = CTRL_U;
                    return Ok(1);
                }
                byte[0]
            }
        };
        // Those that rpassword edits the line with, and Escape, which begins an arrow key.
        let edits = matches!(byte, b'\n' | b'\r' | 0x04 | 0x08 | CTRL_U | 0x17 | 0x1b | 0x7f);
        if byte.is_ascii_control() && !edits {
            self.refused.set(true);
        }
        *first = byte;
        Ok(1)
    }
}

/// A terminal with its echo off, put back as it was when this is dropped, also by a panic; when a signal ends the process;
/// and for as long as one stops it.
struct Quiet {
    terminal: File,
    before: Termios,
    /// Set when the question was asked once more, after a stop: what was typed before counts no more.
    asked_again: Arc<AtomicBool>,
    signals: signal_hook::iterator::Handle,
    guard: Option<std::thread::JoinHandle<Thread>>,
}

impl Quiet {
    fn start(terminal: &File, question: &str) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;

        let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT])?;
        let handle = signals.handle();
        let asked_again = Arc::new(AtomicBool::new(false));
        let mut guarded = terminal.try_clone()?;
        let (settings, again) = ((before.clone(), quiet.clone()), (question.to_owned(), Arc::clone(&asked_again)));
        let guard = std::thread::spawn(move || {
            let ((before, quiet), (question, asked_again)) = (settings, again);
            for signal in signals.forever() {
                // It may have been stopped by what nobody can catch, and the shell have its own settings there now.
                if signal == SIGCONT {
                    let _ = tcsetattr(&guarded, OptionalActions::Now, &quiet);
                    continue;
                }
                let _ = tcsetattr(&guarded, OptionalActions::Flush, &before);
                if signal != SIGTSTP {
                    // The process ends here.
                    let _ = emulate_default_handler(signal);
                    break;
                }
                // SIGTSTP would be caught again, and SIGSTOP stop it where no shell could continue it. In the background
                // the next line stops it too, until it is in the foreground.
                let _ = raise(SIGTTOU);
                let _ = tcsetattr(&guarded, OptionalActions::Flush, &quiet);
                asked_again.store(true, Ordering::Relaxed);
                let _ = guarded.write_all(question.as_bytes());
            }
            Thread::this()
        });
        let started =
            Self { terminal: terminal.try_clone()?, before, asked_again, signals: handle, guard: Some(guard) };
        // What was typed before the question was not meant for it.
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(started)
    }
}

/// A thread that was joined may be there for a moment yet, and the kernel lets nobody into a user namespace who has two: what
/// was asked may be for a run, which enters one next.
struct Thread(#[cfg(target_os = "linux")] rustix::thread::Pid);

impl Thread {
    #[cfg(target_os = "linux")]
    fn this() -> Self {
        Self(rustix::thread::gettid())
    }

    #[cfg(target_os = "linux")]
    fn wait_until_gone(&self) {
        let directory = format!("/proc/self/task/{}", self.0);
        let started = std::time::Instant::now();
        while std::path::Path::new(&directory).exists() && started.elapsed().as_secs() < 1 {
            std::thread::yield_now();
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn this() -> Self {
        Self()
    }

    #[cfg(not(target_os = "linux"))]
    fn wait_until_gone(&self) {}
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // First, or a signal that comes now would turn the echo off again.
        self.signals.close();
        if let Some(Ok(thread)) = self.guard.take().map(std::thread::JoinHandle::join) {
            thread.wait_until_gone();
        }
        // Flushed, so that the rest of a paste does not reach the shell.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    #[test]
    fn a_panic_puts_the_settings_back() {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pty");
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("ours");
        let name = ptsname(&keyboard, Vec::new()).expect("it has a name").into_string().expect("UTF-8");
        let terminal = File::options().read(true).write(true).open(name).expect("its other end");
        let before = tcgetattr(&terminal).expect("a terminal").local_modes;
        let asked = std::panic::catch_unwind(|| {
            let _quiet = Quiet::start(&terminal, "").expect("a terminal");
            assert!(!tcgetattr(&terminal).expect("a terminal").local_modes.contains(LocalModes::ECHO));
            panic!("as rpassword might");
        });
        assert!(asked.is_err());
        assert_eq!(tcgetattr(&terminal).expect("a terminal").local_modes, before);
    }
}
