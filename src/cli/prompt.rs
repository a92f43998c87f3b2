//! A question whose answer does not show.
//!
//! `rpassword` reads and edits the line. Around it stands what it does not do (7.5): the terminal's settings come back
//! after a signal, and what it would drop or change in silence is refused: control characters, bytes that are not text, a
//! line that a hang-up cut short, and all lines but the first of a paste, which the shell would run next.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::rc::Rc;

use rpassword::ConfigBuilder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use zeroize::Zeroizing;

use super::error::{CliError, Exit};

/// How long the rest of a paste may take to arrive after its first line.
const PASTE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Asks on the terminal.
pub(crate) fn hidden(question: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let failed = |error: io::Error| CliError::from_io("ask on the terminal", &error);
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").map_err(failed)?;
    let quiet = Quiet::start(&terminal).map_err(failed)?;
    terminal.write_all(question.as_bytes()).map_err(failed)?;

    let refused = Rc::new(Cell::new(false));
    let keyboard = Keyboard { terminal: terminal.try_clone().map_err(failed)?, refused: Rc::clone(&refused) };
    let config = ConfigBuilder::new().input_reader(keyboard).output_discard().build();
    let answer = rpassword::read_password_with_config(config).map(Zeroizing::new);
    let mut rest = [PollFd::new(&terminal, PollFlags::IN)];
    let several = answer.is_ok() && poll(&mut rest, Some(&PASTE)).is_ok_and(|ready| ready > 0);
    terminal.write_all(b"\n").map_err(failed)?;
    quiet.end();

    let refuse = |message: &str, hint: &str| Err(CliError::new(Exit::Failed, message).hint(hint));
    match answer {
        Ok(_) if several => refuse("more than one line was typed, and the prompt takes one", OTHER_WAYS),
        Ok(answer) if refused.get() || answer.contains(char::REPLACEMENT_CHARACTER) => refuse(
            "the prompt takes text alone, and there was a tab, a control character or no UTF-8 in it",
            OTHER_WAYS,
        ),
        Ok(answer) if !answer.is_empty() => Ok(Zeroizing::new(answer.as_bytes().to_vec())),
        // Ctrl-D is an empty answer too.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(failed(error)),
        _ => refuse("no value was typed", "for an empty value, say so: --value ''"),
    }
}

const OTHER_WAYS: &str = "give it as it is with --from-file FILE, or on standard input";

/// What is typed, byte by byte, so that nothing is read ahead.
struct Keyboard {
    terminal: File,
    refused: Rc<Cell<bool>>,
}

impl Read for Keyboard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.terminal.read(buffer)?;
        if length == 0 {
            return Err(io::Error::other("the terminal was closed"));
        }
        // Those that rpassword edits the line with, and Escape, which begins an arrow key.
        let edits = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0x04 | 0x08 | 0x15 | 0x17 | 0x1b | 0x7f);
        if buffer[..length].iter().any(|byte| byte.is_ascii_control() && !edits(byte)) {
            self.refused.set(true);
        }
        Ok(length)
    }
}

/// A terminal with its echo off, put back as it was when a signal ends the process.
struct Quiet {
    terminal: File,
    before: Termios,
    signals: signal_hook::iterator::Handle,
    guard: std::thread::JoinHandle<()>,
}

impl Quiet {
    fn start(terminal: &File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM])?;
        let handle = signals.handle();
        let (guarded, settings) = (terminal.try_clone()?, before.clone());
        let guard = std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                let _ = tcsetattr(&guarded, OptionalActions::Flush, &settings);
                // The process ends here.
                let _ = emulate_default_handler(signal);
            }
        });
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        // What was typed before the question was not meant for it.
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal: terminal.try_clone()?, before, signals: handle, guard })
    }

    fn end(self) {
        // Flushed, so that the rest of a paste does not reach the shell.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
        self.signals.close();
        let _ = self.guard.join();
    }
}
