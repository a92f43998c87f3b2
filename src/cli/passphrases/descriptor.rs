//! The file descriptor that supplies passphrases, one on each line.
//!
//! `/proc/self/fd` opens it a second time, because std gives access to only three descriptors without `unsafe`. So it can be
//! read here, but not closed, and each child inherits it. Before a child starts, it is therefore read to its end.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::sync::{Mutex, MutexGuard};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use zeroize::Zeroizing;

use crate::cli::error::{CommandError, Exit};

/// An example of a pipe.
const PIPE: &str = "--passphrase-fd 3 3< <(your-password-manager)";

/// The most that a descriptor may supply in all.
const MAX_SUPPLIED_BYTES: usize = 1 << 20;

/// How long the descriptor's other end may stay open after the first line, before a child starts.
const OPEN_END: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// Longer than any real passphrase.
const MAX_BYTES: usize = 64 << 10;

/// A file descriptor that our caller left open.
pub(super) struct Descriptor {
    number: u32,
    /// True if standard input is the same file.
    pub(super) is_stdin: bool,
    supply: Mutex<Supply>,
}

/// The lines that were not asked for yet.
enum Supply {
    /// They are in the file. `begun` is true if a line was read from it.
    File { file: File, begun: bool },
    /// They were taken from the file, because a child inherits it.
    Taken(Zeroizing<Vec<u8>>),
}

impl Descriptor {
    /// Opens the descriptor: standard input itself, and any other by its path, because std gives access to only three without
    /// `unsafe`.
    pub(super) fn open(number: u32) -> Result<Self, CommandError> {
        let directory = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
        if number == 1 || number == 2 {
            // If it is a pipe, we would wait forever for our own output.
            return Err(CommandError::new(
                Exit::Usage,
                format!("file descriptor {number} is for flyte-local's own output"),
            ));
        }
        let opened = match number {
            0 => {
                rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map(File::from).map_err(std::io::Error::from)
            }
            number => File::open(format!("{directory}/{number}")),
        };
        let failed = |reason: &str| {
            CommandError::new(Exit::Usage, format!("cannot read file descriptor {number}: {reason}"))
                .hint(format!("open it for flyte-local: {PIPE}"))
                .hint("or use standard input: your-password-manager | flyte-local … --passphrase-fd 0")
        };
        let file = opened.map_err(|error| failed(&error.to_string()))?;
        // A terminal would show what is typed.
        if file.is_terminal() {
            return Err(failed("it is a terminal; without this option, flyte-local asks there"));
        }
        let stdin = rustix::fs::fstat(&file).ok().zip(rustix::fs::fstat(rustix::stdio::stdin()).ok());
        let is_stdin = number == 0 || stdin.is_some_and(|(a, b)| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino));
        Ok(Self { number, is_stdin, supply: Mutex::new(Supply::File { file, begun: false }) })
    }

    /// Forgets the lines that are left.
    pub(super) fn forget(&self) {
        *self.lock() = Supply::Taken(Zeroizing::default());
    }

    fn lock(&self) -> MutexGuard<'_, Supply> {
        self.supply.lock().expect("no panic")
    }

    /// Reads the next line.
    pub(super) fn next_line(&self) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        match &mut *self.lock() {
            Supply::File { file, begun } => {
                *begun = true;
                self.line(file)
            }
            Supply::Taken(rest) => self.line(&mut Drained(rest)),
        }
    }

    /// Takes the lines from the file, which a child inherits.
    pub(super) fn withhold(&self) -> Result<(), CommandError> {
        let mut supply = self.lock();
        let Supply::File { file, begun } = &mut *supply else { return Ok(()) };
        let failed =
            |error: std::io::Error| CommandError::from_io(&format!("read file descriptor {}", self.number), &error);
        let mode = rustix::fs::fstat(&*file).map_err(|error| failed(error.into()))?.st_mode;
        if FileType::from_raw_mode(mode) == FileType::RegularFile {
            let number = self.number;
            let message = format!(
                "file descriptor {number} is a regular file, which a program that this command starts could read"
            );
            return Err(
                CommandError::new(Exit::Usage, message).hint(format!("supply the passphrase through a pipe: {PIPE}"))
            );
        }
        if self.is_stdin {
            let null = File::open("/dev/null").map_err(failed)?;
            rustix::stdio::dup2_stdin(&null).map_err(|error| failed(error.into()))?;
        }
        // A child has another standard input now, and inherits no other descriptor of the pipe.
        if self.number != 0 {
            let rest = self.rest(file, *begun)?;
            *supply = Supply::Taken(rest);
        }
        Ok(())
    }

    /// Reads all that the other end of a pipe supplies, until it is closed. A passphrase may come as late as it likes.
    fn rest(&self, file: &mut File, begun: bool) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        let number = self.number;
        let mut bytes = Zeroizing::new(Vec::new());
        let mut part = Zeroizing::new([0; 4096]);
        loop {
            let has_line = begun || bytes.contains(&b'\n');
            let polled = poll(&mut [PollFd::new(&*file, PollFlags::IN)], has_line.then_some(&OPEN_END));
            if polled == Ok(0) {
                let message = format!(
                    "file descriptor {number} is still open at its other end, and a program that this command starts could read what comes"
                );
                return Err(CommandError::new(Exit::Usage, message).hint(format!("close its other end: {PIPE}")));
            }
            match file.read(&mut *part) {
                Ok(0) => return Ok(bytes),
                Ok(length) if bytes.len() + length <= MAX_SUPPLIED_BYTES => bytes.extend_from_slice(&part[..length]),
                Ok(_) => {
                    let message = format!("file descriptor {number} supplies more than {MAX_SUPPLIED_BYTES} bytes");
                    return Err(CommandError::new(Exit::Failed, message));
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(CommandError::from_io(&format!("read file descriptor {number}"), &error)),
            }
        }
    }

    /// Reads the next line byte by byte: the rest is for the next question.
    fn line(&self, from: &mut impl Read) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        let number = self.number;
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
        let mut byte = Zeroizing::new([0]);
        loop {
            match from.read(&mut *byte) {
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
}

/// Bytes that are removed as they are read.
struct Drained<'a>(&'a mut Vec<u8>);

impl Read for Drained<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = (&self.0[..]).read(buffer)?;
        self.0.drain(..length);
        Ok(length)
    }
}
