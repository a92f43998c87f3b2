//! A child's start and end.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Ended {
    /// The exit code a shell would show: the child's own, or 128 and the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Ended::Code(code) => u8::try_from(code & 0xff).expect("eight bits"),
            Ended::Signal(signal) => 128 + u8::try_from(signal & 0x7f).expect("seven bits"),
        }
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Code(code),
            (None, signal) => Ended::Signal(signal.unwrap_or(0)),
        }
    }
}

/// Starts a child, calls `started`, and waits for the child.
///
/// A signal that asks us to end is passed on, and its answer is ours. Ctrl-C and Ctrl-\ reach the child from the terminal
/// already; we only outlive them.
///
/// # Errors
/// The child could not be started.
pub fn run(command: &mut Command, started: impl FnOnce()) -> io::Result<Ended> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2])?;
    let mut child = command.spawn()?;
    started();
    let pid = Pid::from_child(&child);
    // Emptied before the child is reaped, so that no signal goes to another process that was given its number.
    let target = Arc::new(Mutex::new(Some(pid)));
    let forward_to = Arc::clone(&target);
    std::thread::spawn(move || {
        for number in signals.forever() {
            let target = forward_to.lock().unwrap_or_else(PoisonError::into_inner);
            if let (Some(pid), Some(signal)) = (*target, forwarded(number)) {
                // It may have ended a moment ago.
                let _ = kill_process(pid, signal);
            }
        }
    });
    while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {}
    *target.lock().unwrap_or_else(PoisonError::into_inner) = None;
    child.wait().map(Ended::from)
}

fn forwarded(number: i32) -> Option<Signal> {
    match number {
        SIGHUP => Some(Signal::HUP),
        SIGTERM => Some(Signal::TERM),
        SIGUSR1 => Some(Signal::USR1),
        SIGUSR2 => Some(Signal::USR2),
        _ => None,
    }
}

/// Replaces this process by the command; returns only if that failed.
pub fn replace(command: &mut Command) -> io::Error {
    command.exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_has_the_code_a_shell_shows() {
        assert_eq!(Ended::Code(0).exit_code(), 0);
        assert_eq!(Ended::Code(255).exit_code(), 255);
        assert_eq!(Ended::Signal(15).exit_code(), 143);
    }
}
