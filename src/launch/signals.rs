//! Signals that this process receives: the ones to catch, and their senders.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;
use signal_hook::consts::SIGCHLD;
use signal_hook::flag;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::raw::WithRawSiginfo;

/// Signals that are passed on: those that end a process by default and that another process sends on purpose. It has neither
/// signals that report a fault of this process (SIGSEGV, SIGPIPE, …) nor real-time signals, which end us and so the child.
const PASSED_ON: [Signal; 13] = [
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::ABORT,
    Signal::TERM,
    Signal::ALARM,
    Signal::VTALARM,
    Signal::PROF,
    Signal::USR1,
    Signal::USR2,
    Signal::IO,
    Signal::XCPU,
    Signal::XFSZ,
];

/// Signals that arrive as something to poll.
pub(super) struct Signals {
    delivery: SignalDelivery<UnixStream, WithRawSiginfo>,
}

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) signal: Signal,
    /// True if a process sent it, rather than the kernel (Ctrl-C on the terminal, a child's end).
    pub(super) sent: bool,
}

impl Signals {
    /// Catches the signals to pass on, `others`, and SIGCHLD, without which the kernel may forget how a child ended. Signals
    /// that were ignored when we started (`nohup`) stay ignored, for the child as well: a handler would reset them there.
    pub(super) fn catch(others: &[Signal]) -> io::Result<Self> {
        let ignored = ignored_signals();
        let passed_on = PASSED_ON.iter().filter(|signal| !ignored(signal.as_raw()));
        let numbers = passed_on.chain(others).map(|signal| signal.as_raw()).chain([SIGCHLD]);
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let delivery = SignalDelivery::with_pipe(read, write, WithRawSiginfo, numbers)?;
        Ok(Self { delivery })
    }

    /// Returns the signals that arrived since the last call.
    pub(super) fn arrived(&mut self) -> Vec<Arrived> {
        let named = |number| Signal::from_named_raw(number);
        let pending = self.delivery.pending();
        pending
            .filter_map(|info| Some(Arrived { signal: named(info.si_signo)?, sent: is_sent(info.si_code) }))
            .collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

/// Keeps the signals with which users end programs from ending this process, until dropped. (Signals that [`Signals`] caught
/// would be lost: their handlers stay and do nothing.)
pub(super) struct Held {
    released: Arc<AtomicBool>,
    arrived: Arc<AtomicUsize>,
}

impl Held {
    pub(super) fn start() -> io::Result<Self> {
        let held = Self { released: Arc::default(), arrived: Arc::default() };
        let ignored = ignored_signals();
        for signal in [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
            let number = signal.as_raw();
            if ignored(number) {
                continue;
            }
            flag::register_conditional_default(number, Arc::clone(&held.released))?;
            flag::register_usize(number, Arc::clone(&held.arrived), number as usize)?;
        }
        Ok(held)
    }

    /// Returns the last signal that arrived.
    pub(super) fn arrived(&self) -> Option<i32> {
        i32::try_from(self.arrived.load(Ordering::Relaxed)).ok().filter(|&number| number != 0)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.released.store(true, Ordering::Relaxed);
    }
}

/// Returns true if the signal is passed on.
pub(super) fn is_passed_on(signal: Signal) -> bool {
    PASSED_ON.contains(&signal)
}

/// `si_code`: `SI_USER` and all that processes choose are not positive; the kernel's are (`SI_KERNEL`).
#[cfg(target_os = "linux")]
fn is_sent(code: i32) -> bool {
    code <= 0
}

/// `si_code`: `SI_USER` and `SI_QUEUE` begin at this number there.
#[cfg(not(target_os = "linux"))]
fn is_sent(code: i32) -> bool {
    code >= 0x10001
}

/// Returns a test for the signals that were ignored when this process started.
#[cfg(target_os = "linux")]
fn ignored_signals() -> impl Fn(i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
    move |signal| mask >> (signal - 1) & 1 == 1
}

/// Other systems do not report ignored signals.
#[cfg(not(target_os = "linux"))]
fn ignored_signals() -> impl Fn(i32) -> bool {
    |_| false
}
