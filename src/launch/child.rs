//! A child's start and end.

use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgrp, kill_process, waitid};
use rustix::termios::tcgetpgrp;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
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

/// Why there is no [`Ended`].
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The child could not be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// What was to be started.
        program: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It was started, and how it ended is not known.
    #[error("cannot wait for the child")]
    Wait(#[source] io::Error),
}

/// Starts a child, calls `started`, and waits for the child.
///
/// A signal that asks us to end is passed on, and the child's answer is ours. Ctrl-C and Ctrl-\ on our terminal have
/// reached the child already; we only outlive them. What we were told to ignore (`nohup`), the child ignores too.
///
/// # Errors
/// See [`ChildError`].
pub fn run(command: &mut Command, started: impl FnOnce()) -> Result<Ended, ChildError> {
    let program = PathBuf::from(command.get_program());
    let ignored = ignored_signals();
    let wanted = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2].into_iter().filter(|signal| !ignored(*signal));
    // With SIGCHLD, which is never passed on: where it is ignored, the kernel forgets how a child ended.
    let mut signals = Signals::new(wanted.chain([SIGCHLD])).map_err(ChildError::Wait)?;
    let mut child = command.spawn().map_err(|source| ChildError::Start { program, source })?;
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
    while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {}
    *target.lock().unwrap_or_else(PoisonError::into_inner) = None;
    child.wait().map(Ended::from).map_err(ChildError::Wait)
}

/// What to pass on for a signal that we got.
fn forwarded(number: i32) -> Option<Signal> {
    match number {
        SIGHUP => Some(Signal::HUP),
        SIGTERM => Some(Signal::TERM),
        SIGUSR1 => Some(Signal::USR1),
        SIGUSR2 => Some(Signal::USR2),
        SIGINT if !is_in_foreground() => Some(Signal::INT),
        SIGQUIT if !is_in_foreground() => Some(Signal::QUIT),
        _ => None,
    }
}

/// Whether we are in the foreground of a terminal, whose Ctrl-C goes to the child as well as to us.
fn is_in_foreground() -> bool {
    let foreground = File::open("/dev/tty").ok().and_then(|terminal| tcgetpgrp(terminal).ok());
    foreground == Some(getpgrp())
}

/// The signals that we were started with as ignored. A handler would reset them in the child.
#[cfg(target_os = "linux")]
fn ignored_signals() -> impl Fn(i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:\t"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0);
    move |signal| mask >> (signal - 1) & 1 == 1
}

/// What the signals are, another system does not tell.
#[cfg(not(target_os = "linux"))]
fn ignored_signals() -> impl Fn(i32) -> bool {
    |_| false
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
