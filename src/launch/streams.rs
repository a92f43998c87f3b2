//! The child's standard streams: ours, or others with the mask between them and ours.
//!
//! In the place of a terminal the child gets a pty, elsewhere a pipe. If two of our streams are one file, the child gets one
//! stream for both, so that its output keeps its order.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::{Arc, Weak};

use rustix::fs::{FileType, fstat};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::termios::isatty;

use super::pumps::{OutputStream, Pump, Pumps};
use super::terminal::{Pty, resize};
use crate::redact::Watchlist;

/// The child's streams: its ends and ours.
#[derive(Default)]
pub(super) struct Streams {
    /// The child's standard input, unless it inherits ours.
    stdin: Option<OwnedFd>,
    pumps: Vec<Pump>,
    /// Ptys, each with the terminal that it stands in for. Only the pump holds the pty's controller, so the child gets a
    /// hangup when our terminal goes away.
    ptys: Vec<(Weak<OwnedFd>, OwnedFd)>,
    /// True if the first pty is the child's whole terminal, with its keyboard.
    pub(super) has_session: bool,
}

impl Streams {
    /// Chooses a pty or a pipe for each stream, and sets the command's output streams.
    pub(super) fn masked(command: &mut Command) -> io::Result<Self> {
        let (stdin, stdout, stderr) = (rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr());
        let mut streams = Self::default();
        let is_controlling = || rustix::termios::tcgetpgrp(stdin).is_ok();
        streams.has_session = isatty(stdin) && isatty(stdout) && is_same_file(stdin, stdout) && is_controlling();

        let out = streams.output(stdout, OutputStream::Stdout)?;
        let err = match &out {
            Some(out) if is_same_file(stdout, stderr) => Some(out.try_clone()?),
            _ => streams.output(stderr, OutputStream::Stderr)?,
        };
        if streams.has_session {
            streams.stdin = out.as_ref().map(OwnedFd::try_clone).transpose()?;
        }
        if let Some(out) = out {
            command.stdout(Stdio::from(out));
        }
        if let Some(err) = err {
            command.stderr(Stdio::from(err));
        }
        Ok(streams)
    }

    /// Returns the child's end of a stream to `ours`; `None` if the child may inherit `ours`.
    fn output(&mut self, ours: BorrowedFd<'_>, stream: OutputStream) -> io::Result<Option<OwnedFd>> {
        if is_null_device(ours) {
            return Ok(None);
        }
        let keep = || fcntl_dupfd_cloexec(ours, 3);
        let (from, child) = if isatty(ours) {
            let pty = Pty::like(ours)?;
            // Without its own session, the child's output also passes through our terminal's processing.
            let pty = if self.has_session { pty } else { pty.without_output_processing()? };
            let controller = Arc::new(pty.controller);
            self.ptys.push((Arc::downgrade(&controller), keep()?));
            (controller, pty.terminal)
        } else {
            let (read, write) = io::pipe()?;
            (Arc::new(OwnedFd::from(read)), OwnedFd::from(write))
        };
        self.pumps.push(Pump { from, to: keep()?, stream });
        Ok(Some(child))
    }

    /// Returns the child's standard input.
    pub(super) fn stdin(&self) -> BorrowedFd<'_> {
        self.stdin.as_ref().map_or(rustix::stdio::stdin(), OwnedFd::as_fd)
    }

    /// Closes our copies of the child's ends, so that the streams end when the child does.
    pub(super) fn started(&mut self) {
        self.stdin = None;
    }

    /// Returns true if there are ptys, whose size follows our terminal's.
    pub(super) fn have_terminals(&self) -> bool {
        !self.ptys.is_empty()
    }

    /// Gives the ptys the size of our terminals. Returns true if a size changed.
    pub(super) fn resize(&self) -> bool {
        let open = self.ptys.iter().filter_map(|(pty, terminal)| Some((pty.upgrade()?, terminal)));
        open.fold(false, |resized, (pty, terminal)| resize(&pty, terminal.as_fd()) || resized)
    }

    /// Returns the pty that gets the typed keys, if the child has one as its terminal.
    pub(super) fn keyboard(&self) -> Option<Weak<OwnedFd>> {
        self.ptys.first().filter(|_| self.has_session).map(|(pty, _)| Weak::clone(pty))
    }

    /// Starts a thread for each stream.
    pub(super) fn pump(&mut self, list: &Watchlist) -> io::Result<Pumps> {
        Pumps::start(self.pumps.drain(..), list)
    }
}

fn is_same_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    match (fstat(one), fstat(other)) {
        (Ok(one), Ok(other)) if one.st_rdev != 0 => one.st_rdev == other.st_rdev,
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

/// Returns true for `/dev/null`.
fn is_null_device(file: BorrowedFd<'_>) -> bool {
    let null = rustix::fs::stat("/dev/null");
    match (fstat(file), null) {
        (Ok(file), Ok(null)) => {
            FileType::from_raw_mode(file.st_mode) == FileType::CharacterDevice && file.st_rdev == null.st_rdev
        }
        _ => false,
    }
}
