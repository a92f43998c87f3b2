//! The child's standard streams: ours, or others with the mask between them and ours.
//!
//! In the place of a terminal the child gets a pty, elsewhere a pipe. If two of our streams are one file, the child gets one
//! stream for both, so that its output keeps its order.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::termios::isatty;

use super::signals::{Signals, is_passed_on};
use super::terminal::{Pty, resize};
use crate::redact::{Masker, Watchlist};

/// How long a stream must be idle before the possible start of a secret is shown.
const IDLE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How long the reader of our output may stay blocked before we end without it, once we are asked to end.
const STUCK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
const BUFFER_BYTES: usize = 64 * 1024;

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

/// One stream from the child to us.
struct Pump {
    from: Arc<OwnedFd>,
    to: OwnedFd,
}

impl Streams {
    /// Chooses a pty or a pipe for each stream, and sets the command's output streams.
    pub(super) fn masked(command: &mut Command) -> io::Result<Self> {
        let (stdin, stdout, stderr) = (rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr());
        let mut streams = Self::default();
        let is_controlling = || rustix::termios::tcgetpgrp(stdin).is_ok();
        streams.has_session = isatty(stdin) && isatty(stdout) && is_same_file(stdin, stdout) && is_controlling();

        let out = streams.output(stdout)?;
        let err = match &out {
            Some(out) if is_same_file(stdout, stderr) => Some(out.try_clone()?),
            _ => streams.output(stderr)?,
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
    fn output(&mut self, ours: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
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
        self.pumps.push(Pump { from, to: keep()? });
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

    /// Starts a thread for each stream. The threads' results do not matter: the child notices when the reader of its output
    /// is gone.
    pub(super) fn pump(&mut self, list: &Watchlist) -> io::Result<Pumps> {
        let (ended, end) = io::pipe()?;
        let (done, running) = io::pipe()?;
        let written = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for pump in self.pumps.drain(..) {
            let (masker, ended, running) = (Masker::new(list.clone()), ended.try_clone()?, running.try_clone()?);
            let written = Arc::clone(&written);
            threads.push(std::thread::spawn(move || {
                let _ = pump.run(masker, &ended, &written);
                drop(running);
            }));
        }
        Ok(Pumps { end, done, written, threads })
    }
}

/// The threads that mask the output.
pub(super) struct Pumps {
    end: PipeWriter,
    /// Reaches its end when the last thread ends.
    done: PipeReader,
    /// The number of writes.
    written: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Pumps {
    /// Waits until all output so far is written. It does not wait for the streams' end, because a process that could not be
    /// killed may hold them open. Once we are asked to end, it does not wait for a reader that is blocked either: without us,
    /// a signal would have ended the child, however full its pipe was.
    pub(super) fn finish(self, signals: &mut Signals, mut is_asked_to_end: bool) {
        drop(self.end);
        loop {
            let before = self.written.load(Ordering::Relaxed);
            let patience = is_asked_to_end.then_some(&STUCK);
            let mut ready = [PollFd::new(&self.done, PollFlags::IN), PollFd::new(&*signals, PollFlags::IN)];
            let polled = poll(&mut ready, patience);
            if !ready[0].revents().is_empty() {
                break;
            }
            if polled == Ok(0) && self.written.load(Ordering::Relaxed) == before {
                return;
            }
            is_asked_to_end |= signals.arrived().iter().any(|arrived| is_passed_on(arrived.signal));
        }
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

impl Pump {
    fn run(self, mut masker: Masker, ended: &PipeReader, written: &AtomicU64) -> io::Result<()> {
        let Pump { from, to } = self;
        let write = |output: &mut Vec<u8>| write(&to, output, written);
        let mut input = zeroize::Zeroizing::new(vec![0; BUFFER_BYTES]);
        let mut output = Vec::new();
        loop {
            let patience = masker.holds_back().then_some(&IDLE);
            let (readable, nothing) = (PollFlags::IN, PollFlags::empty());
            let mut ready = [PollFd::new(&from, readable), PollFd::new(ended, readable), PollFd::new(&to, nothing)];
            match poll(&mut ready, patience) {
                Err(Errno::INTR) => continue,
                polled => polled?,
            };
            let [is_readable, is_over, is_gone] = ready.map(|one| !one.revents().is_empty());
            // Our terminal or the pipe's reader is gone, so the child's must go too.
            if is_gone {
                return Ok(());
            }
            let length = match from_if(is_readable, &from, &mut input) {
                Err(Errno::INTR) => continue,
                // No process has the pty open any more.
                Err(Errno::IO) => 0,
                Ok(None) if !is_over => {
                    masker.flush(&mut output);
                    write(&mut output)?;
                    continue;
                }
                length => length?.unwrap_or(0),
            };
            if length == 0 {
                masker.flush(&mut output);
                return write(&mut output);
            }
            masker.feed(&input[..length], &mut output);
            write(&mut output)?;
        }
    }
}

fn from_if(is_readable: bool, from: &OwnedFd, input: &mut [u8]) -> rustix::io::Result<Option<usize>> {
    if is_readable { rustix::io::read(from, input).map(Some) } else { Ok(None) }
}

/// Writes all of it, to a stream that another process may have set to non-blocking.
fn write(to: &OwnedFd, output: &mut Vec<u8>, count: &AtomicU64) -> io::Result<()> {
    let mut rest = &output[..];
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                rest = &rest[written..];
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::new(to, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    output.clear();
    Ok(())
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
