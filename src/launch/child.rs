//! A child's start and end.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitOptions, kill_current_process_group};

use super::control::{Control, Order, Report};
use super::keyboard::Keyboard;
use super::leftovers;
use super::signals::{Signals, is_passed_on};
use super::streams::{Pumps, Streams};
use super::supervisor::{SESSION, SHARED};
use crate::redact::Watchlist;

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
    /// A step around it failed.
    #[error("cannot {action}")]
    Step {
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

fn step<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> ChildError {
    move |error| ChildError::Step { action, source: error.into() }
}

/// What surrounds a child.
#[derive(Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The values that its output does not show; without a list, its output streams are ours.
    pub mask: Option<&'a Watchlist>,
    /// The run's directory in memory, which is removed even if this process is killed.
    pub directory: Option<&'a Path>,
}

/// Runs a child below a supervisor, and waits for its end. By then nothing that it started runs any more.
///
/// `supervisor` is the command that calls [`super::supervise`] with the arguments that are added here. `started` gets the
/// supervisor's process id, the child's parent, before the child can have done anything.
///
/// A signal that asks us to end is passed on, and the child's answer is ours. Ctrl-C and Ctrl-\ reach the child through its
/// terminal; we only outlive them. What we were told to ignore (`nohup`), the child ignores too.
///
/// # Errors
/// See [`ChildError`].
pub fn run(
    supervisor: Command,
    child: &Command,
    surroundings: Surroundings<'_>,
    started: impl FnOnce(u32),
) -> Result<Ended, ChildError> {
    let Surroundings { mask, directory } = surroundings;
    let mut command = supervisor;
    let mut streams = match mask {
        Some(_) => Streams::masked(&mut command).map_err(step("make the child's streams"))?,
        None => Streams::default(),
    };
    command.arg(if streams.has_session { SESSION } else { SHARED }).arg(directory.unwrap_or(Path::new("")));
    command.arg(child.get_program()).args(child.get_args());
    command.envs(child.get_envs().filter_map(|(name, value): (_, Option<&OsStr>)| Some((name, value?))));

    let (ours, theirs) = UnixStream::pair().map_err(step("make a socket"))?;
    command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
    let others: &[Signal] = match (streams.has_session, streams.have_terminals()) {
        (true, _) => &[Signal::WINCH, Signal::CONT],
        (false, true) => &[Signal::WINCH],
        (false, false) => &[],
    };
    let signals = Signals::catch(others).map_err(step("catch signals"))?;
    // A shell that became us (`exec`) may have left us its jobs, which are none of ours to end.
    let had_children = leftovers::has_children();
    leftovers::adopt().map_err(step("become the parent of orphans"))?;
    let process = command.spawn().map_err(step("start the supervisor"))?.id();
    // With it go the child's ends of the streams.
    drop(command);
    started(process);

    let control = Control::new(ours);
    let keyboard = Keyboard::of(&streams).map_err(step("read the terminal"))?;
    let mut given = vec![streams.stdin()];
    given.extend(keyboard.as_ref().map(AsFd::as_fd));
    control.give(&given).map_err(step("reach the supervisor"))?;
    drop(given);
    streams.started();

    let pumps = mask.map(|list| streams.pump(list)).transpose().map_err(step("read the child's output"))?;
    let mut front = Front { control, signals, streams, keyboard };
    let ended = front.watch();
    if ended.is_none() && !had_children {
        leftovers::end_all(&mut front.signals, false);
    }
    pumps.map(Pumps::finish);
    drop(front);
    match ended {
        Some(Report::Exited(code)) => Ok(Ended::Code(code)),
        Some(Report::Killed(signal)) => Ok(Ended::Signal(signal)),
        Some(Report::NotStarted(errno)) => {
            let program = PathBuf::from(child.get_program());
            Err(ChildError::Start { program, source: io::Error::from_raw_os_error(errno) })
        }
        // The supervisor was killed, and the child with it.
        _ => Ok(Ended::Signal(Signal::KILL.as_raw())),
    }
}

/// The process in front: between the user and the supervisor.
struct Front {
    control: Control,
    signals: Signals,
    streams: Streams,
    keyboard: Option<Keyboard>,
}

impl Front {
    /// Until the supervisor has reported the end; `None` if it ended without a report.
    fn watch(&mut self) -> Option<Report> {
        loop {
            let (signalled, reported) = {
                let mut ready = [PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.control, PollFlags::IN)];
                while poll(&mut ready, None) == Err(Errno::INTR) {}
                (!ready[0].revents().is_empty(), !ready[1].revents().is_empty())
            };
            if signalled {
                self.take_signals();
            }
            if reported {
                match self.control.next_report() {
                    Some(Report::Started) => self.continued(),
                    Some(Report::Stopped) => self.stop(),
                    ended => return ended,
                }
            }
        }
    }

    fn take_signals(&mut self) {
        for arrived in self.signals.arrived() {
            match arrived.signal {
                Signal::WINCH => self.streams.resize(),
                Signal::CONT => {
                    self.continued();
                    let _ = self.control.order(Order::Continue);
                }
                // What the kernel sends because of our terminal, a child in our session has got too.
                signal if is_passed_on(signal) && (arrived.sent || self.streams.has_session) => {
                    // If nobody is there, the socket says so next.
                    let _ = self.control.order(Order::Signal(signal));
                }
                // A descendant that came to us: the supervisor was killed, or we are process 1.
                _ => reap_others(),
            }
        }
    }

    /// The child was stopped on its terminal, and so are we on ours, with all that share our process group.
    fn stop(&mut self) {
        if let Some(keyboard) = &mut self.keyboard {
            keyboard.pause();
        }
        // Does nothing where nobody could continue us; then the child goes on.
        let _ = kill_current_process_group(Signal::TSTP);
        self.continued();
        let _ = self.control.order(Order::Continue);
    }

    fn continued(&mut self) {
        if let Some(keyboard) = &mut self.keyboard {
            keyboard.go_on();
        }
        self.streams.resize();
    }
}

fn reap_others() {
    while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
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
