//! The threads that read the child's output, mask it and write it to our streams.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::signals::{Signals, is_passed_on};
use crate::redact::{Masker, Watchlist};

/// How long a stream must be idle before the possible start of a secret is shown.
const IDLE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// How long the reader of our output may stay blocked before we end without it, once we are asked to end.
const STUCK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long output must pause to be complete when the child has stopped. The kernel may echo the key after the stop.
const PAUSE: Duration = Duration::from_millis(60);
/// How long to wait for that: processes in the background may go on writing.
const MOST_PAUSE: Duration = Duration::from_secs(1);
const BUFFER_BYTES: usize = 64 * 1024;

/// A standard stream of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The reason why output was lost, other than that its reader is gone.
#[derive(Debug)]
pub(super) struct OutputFailure {
    pub(super) stream: OutputStream,
    pub(super) source: io::Error,
}

/// One stream from the child to us.
pub(super) struct Pump {
    pub(super) from: Arc<OwnedFd>,
    pub(super) to: OwnedFd,
    pub(super) stream: OutputStream,
}

/// The state that the threads share with their owner.
#[derive(Default)]
struct PumpState {
    /// The number of writes.
    written: AtomicU64,
    /// The number of streams of which the end so far is held back, because it may be the start of a secret.
    holding: AtomicUsize,
    /// The first failure.
    failure: Mutex<Option<OutputFailure>>,
}

/// The threads that mask the output.
pub(super) struct Pumps {
    end: PipeWriter,
    /// Reaches its end when the last thread ends.
    done: PipeReader,
    /// Gets a byte when a thread fails.
    failed: PipeReader,
    /// Kept open, so that the other end is readable for no other reason.
    _failing: PipeWriter,
    shared: Arc<PumpState>,
    threads: Vec<(OutputStream, JoinHandle<()>)>,
}

impl Pumps {
    pub(super) fn start(pumps: impl Iterator<Item = Pump>, list: &Watchlist) -> io::Result<Self> {
        let (ended, end) = io::pipe()?;
        let (done, running) = io::pipe()?;
        let (failed, failing) = io::pipe()?;
        let shared = Arc::new(PumpState::default());
        let mut threads = Vec::new();
        for pump in pumps {
            let (masker, ended, running) = (Masker::new(list.clone()), ended.try_clone()?, running.try_clone()?);
            let (shared, failing) = (Arc::clone(&shared), failing.try_clone()?);
            let (from, stream) = (Arc::clone(&pump.from), pump.stream);
            let run = move || {
                if let Err(source) = pump.run(masker, &ended, &shared) {
                    shared.note_failure(OutputFailure { stream, source });
                    let _ = rustix::io::write(&failing, &[0]);
                    // If the child noticed, its own errors would bury ours.
                    let _ = discard(&from, &ended);
                }
                drop(running);
            };
            threads.push((stream, std::thread::spawn(run)));
        }
        Ok(Self { end, done, failed, _failing: failing, shared, threads })
    }

    /// Becomes readable when output is lost.
    pub(super) fn failed(&self) -> BorrowedFd<'_> {
        self.failed.as_fd()
    }

    /// Waits until the output pauses, so that all that a child wrote before it was stopped is shown.
    pub(super) fn settle(&self) {
        let start = Instant::now();
        loop {
            let before = self.shared.written.load(Ordering::Relaxed);
            std::thread::sleep(PAUSE);
            let has_paused = self.shared.written.load(Ordering::Relaxed) == before;
            let is_complete = has_paused && self.shared.holding.load(Ordering::Relaxed) == 0;
            if is_complete || start.elapsed() >= MOST_PAUSE {
                return;
            }
        }
    }

    /// Waits until all output so far is written. It does not wait for the streams' end, because a process that could not be
    /// killed may hold them open. Once we are asked to end, it does not wait for a reader that is blocked either: without us,
    /// a signal would have ended the child, however full its pipe was.
    ///
    /// Returns the reason if output was lost. A reader that is gone is not one: the child notices that itself.
    pub(super) fn finish(self, signals: &mut Signals, mut is_asked_to_end: bool) -> Option<OutputFailure> {
        drop(self.end);
        loop {
            let before = self.shared.written.load(Ordering::Relaxed);
            let patience = is_asked_to_end.then_some(&STUCK);
            let mut ready = [PollFd::new(&self.done, PollFlags::IN), PollFd::new(&*signals, PollFlags::IN)];
            let polled = poll(&mut ready, patience);
            if !ready[0].revents().is_empty() {
                break;
            }
            if polled == Ok(0) && self.shared.written.load(Ordering::Relaxed) == before {
                return self.shared.take_failure();
            }
            is_asked_to_end |= signals.arrived().iter().any(|arrived| is_passed_on(arrived.signal));
        }
        let mut panicked = None;
        for (stream, thread) in self.threads {
            if thread.join().is_err() {
                panicked = Some(OutputFailure { stream, source: io::Error::other("flyte-local has a bug") });
            }
        }
        self.shared.take_failure().or(panicked)
    }
}

impl PumpState {
    fn note_failure(&self, failure: OutputFailure) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    }

    fn take_failure(&self) -> Option<OutputFailure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Pump {
    fn run(self, mut masker: Masker, ended: &PipeReader, shared: &PumpState) -> io::Result<()> {
        let Pump { from, to, .. } = self;
        let mut input = zeroize::Zeroizing::new(vec![0; BUFFER_BYTES]);
        let mut output = Vec::new();
        let mut holding = Holding { count: &shared.holding, holds: false };
        loop {
            holding.set(masker.holds_back());
            let patience = holding.holds.then_some(&IDLE);
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
                Err(Errno::IO) => Some(0),
                Ok(None) if is_over => Some(0),
                length => length?,
            };
            match length {
                None | Some(0) => masker.flush(&mut output),
                Some(length) => masker.feed(&input[..length], &mut output),
            }
            let write = write(&to, &mut output, &shared.written)?;
            if write == WriteEnd::ReaderGone || length == Some(0) {
                return Ok(());
            }
        }
    }
}

/// One stream's part of [`PumpState::holding`].
struct Holding<'a> {
    count: &'a AtomicUsize,
    holds: bool,
}

impl Holding<'_> {
    fn set(&mut self, holds: bool) {
        match (self.holds, holds) {
            (false, true) => self.count.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.count.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
        self.holds = holds;
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        self.set(false);
    }
}

fn from_if(is_readable: bool, from: &OwnedFd, input: &mut [u8]) -> rustix::io::Result<Option<usize>> {
    if is_readable { rustix::io::read(from, input).map(Some) } else { Ok(None) }
}

/// Reads the child's output until its end, or until all so far has been read and `ended` says so.
fn discard(from: &OwnedFd, ended: &PipeReader) -> io::Result<()> {
    let mut input = zeroize::Zeroizing::new(vec![0; BUFFER_BYTES]);
    loop {
        let mut ready = [PollFd::new(from, PollFlags::IN), PollFd::new(ended, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            polled => polled?,
        };
        let [is_readable, is_over] = ready.map(|one| !one.revents().is_empty());
        match from_if(is_readable, from, &mut input) {
            Err(Errno::INTR) => {}
            Ok(None) if !is_over => {}
            Ok(Some(length)) if length > 0 => {}
            ended => return Ok(ended.map(drop)?),
        }
    }
}

/// The end of a write that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteEnd {
    Done,
    ReaderGone,
}

/// Writes all of it, to a stream that another process may have set to non-blocking.
fn write(to: &OwnedFd, output: &mut Vec<u8>, count: &AtomicU64) -> io::Result<WriteEnd> {
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
            Err(Errno::PIPE) => return Ok(WriteEnd::ReaderGone),
            // A terminal that was hung up, or a socket whose other end is closed.
            Err(_) if is_gone(to) => return Ok(WriteEnd::ReaderGone),
            Err(error) => return Err(error.into()),
        }
    }
    output.clear();
    Ok(WriteEnd::Done)
}

fn is_gone(to: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(to, PollFlags::empty())], Some(&now)).is_ok_and(|ready| ready > 0)
}
