//! A child's start and end.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_current_process_group};

use super::control::{Control, Order, Report};
use super::dumps::with_callers_limit;
use super::keyboard::Keyboard;
use super::leftovers::{self, Patience};
use super::signals::{Signals, is_passed_on};
use super::streams::Streams;
use super::supervisor::{END, KEEP, SESSION, SHARED};
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

/// How often we look whether we are in the foreground now: a shell's `fg` does not tell a job that runs.
const BACKGROUND: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// How long after we went on the SIGCONT that did it may arrive. Another thread may have it, so it takes as long as that one
/// has to wait for a processor; the limit is there because none arrives where we were not stopped.
const ECHO: Duration = Duration::from_secs(2);

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
    /// What becomes of what the child leaves.
    pub leftovers: Leftovers,
}

/// What becomes of the processes that a child leaves, and of the directory. If this process is killed, they end with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Leftovers {
    /// They end with the child.
    #[default]
    End,
    /// The processes go on, and the directory is the caller's to remove.
    Keep,
}

/// Runs a child below a supervisor, and waits for its end. By then nothing that it started runs any more, unless it is to.
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
    let Surroundings { mask, directory, leftovers: kept } = surroundings;
    let mut command = supervisor;
    let mut streams = match mask {
        Some(_) => Streams::masked(&mut command).map_err(step("make the child's streams"))?,
        None => Streams::default(),
    };
    command.arg(if streams.has_session { SESSION } else { SHARED }).arg(directory.unwrap_or(Path::new("")));
    command.arg(if kept == Leftovers::Keep { KEEP } else { END });
    command.arg(child.get_program()).args(child.get_args());
    for (name, value) in child.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }

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
    let process = with_callers_limit(|| command.spawn()).map_err(step("start the supervisor"))?;
    // With it go the child's ends of the streams.
    drop(command);
    started(process.id());

    let control = Control::new(ours);
    let keyboard = Keyboard::of(&streams).map_err(step("read the terminal"))?;
    let mut given = vec![streams.stdin()];
    given.extend(keyboard.as_ref().map(AsFd::as_fd));
    // If nobody is there to take them, the socket says so next.
    let _ = control.give(&given);
    drop(given);
    streams.started();

    let supervisor = Supervisor { process: Pid::from_child(&process), end: None };
    let mut front = Front {
        control,
        signals,
        streams,
        keyboard,
        supervisor,
        has_started: false,
        has_passed_on: false,
        continuing: 0,
        went_on: None,
    };
    let mut ended = front.next_report();
    let mut pumps = None;
    if ended == Some(Report::Started) {
        front.has_started = true;
        front.continued();
        // Not before: until the keyboard is ready, our terminal changes what is written to it.
        pumps = mask.map(|list| front.streams.pump(list)).transpose().map_err(step("read the child's output"))?;
        ended = front.watch();
    }
    // Whoever waits for us need not know of it.
    let end = front.supervisor.wait();
    if ended.is_none() && !had_children {
        leftovers::end_all(&mut front.signals, Patience::None);
    }
    if let Some(pumps) = pumps {
        let is_asked_to_end = front.has_passed_on && matches!(ended, Some(Report::Killed(_)));
        pumps.finish(&mut front.signals, is_asked_to_end);
    }
    drop(front);
    match ended {
        Some(Report::Exited(code)) => Ok(Ended::Code(code)),
        Some(Report::Killed(signal)) => Ok(Ended::Signal(signal)),
        Some(Report::NotStarted(errno)) => {
            let program = PathBuf::from(child.get_program());
            Err(ChildError::Start { program, source: io::Error::from_raw_os_error(errno) })
        }
        // It was killed, and the child with it; or it got a signal before there was a child.
        _ => Ok(end.unwrap_or(Ended::Signal(Signal::KILL.as_raw()))),
    }
}

/// The supervisor, as its parent sees it.
struct Supervisor {
    process: Pid,
    end: Option<Ended>,
}

impl Supervisor {
    /// Reaps children that have ended, whoever they are.
    fn reap_all(&mut self) {
        leftovers::reap().for_each(|(process, status)| self.note(process, status));
    }

    /// Waits for its end, if that has not been seen; how it ended.
    fn wait(&mut self) -> Option<Ended> {
        while self.end.is_none() {
            match rustix::process::waitpid(Some(self.process), WaitOptions::empty()) {
                Ok(Some((process, status))) => self.note(process, status),
                Err(Errno::INTR) | Ok(None) => {}
                Err(_) => break,
            }
        }
        self.end
    }

    fn note(&mut self, process: Pid, status: WaitStatus) {
        if process == self.process {
            let killed = status.terminating_signal().map(Ended::Signal);
            self.end = status.exit_status().map(Ended::Code).or(killed).or(self.end);
        }
    }
}

/// The process in front: between the user and the supervisor.
struct Front {
    control: Control,
    signals: Signals,
    streams: Streams,
    keyboard: Option<Keyboard>,
    supervisor: Supervisor,
    has_started: bool,
    /// Whether a signal was passed on.
    has_passed_on: bool,
    /// How many orders to let the child go on the supervisor has not obeyed yet. Meanwhile keys wait: SIGCONT takes back the
    /// stop that a Ctrl-Z before it asked for.
    continuing: usize,
    /// When we went on after a stop, and had the child go on too. The SIGCONT that ended our stop is seen after that, and not
    /// passed on: keys may have come meanwhile.
    went_on: Option<Instant>,
}

impl Front {
    /// Until the supervisor has reported the end; `None` if it ended without a report.
    fn watch(&mut self) -> Option<Report> {
        loop {
            match self.next_report() {
                Some(Report::Stopped) => self.stop(),
                Some(Report::Continued) => {
                    self.continuing -= 1;
                    self.continued();
                }
                ended => return ended,
            }
        }
    }

    /// Waits for the supervisor's next report, and passes signals on meanwhile.
    fn next_report(&mut self) -> Option<Report> {
        loop {
            let is_waiting = self.has_started && self.keyboard.as_ref().is_some_and(|keyboard| !keyboard.is_active());
            let (signalled, reported) = {
                let mut ready = [PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.control, PollFlags::IN)];
                while poll(&mut ready, is_waiting.then_some(&BACKGROUND)) == Err(Errno::INTR) {}
                (!ready[0].revents().is_empty(), !ready[1].revents().is_empty())
            };
            if signalled {
                self.take_signals();
            } else if is_waiting {
                self.continued();
            }
            if reported {
                return self.control.next_report();
            }
        }
    }

    fn take_signals(&mut self) {
        for arrived in self.signals.arrived() {
            let is_ours = is_passed_on(arrived.signal);
            // If nobody is there to take an order, the socket says so next.
            match arrived.signal {
                Signal::WINCH => self.resize(),
                Signal::CONT if self.went_on.take().is_some_and(|at| at.elapsed() < ECHO) => self.continued(),
                Signal::CONT => self.go_on(),
                signal if is_ours && arrived.sent => {
                    self.has_passed_on = true;
                    let _ = self.control.order(Order::Signal(signal));
                }
                // What the kernel sends because of our terminal, a child in our session has got too.
                signal if is_ours && self.streams.has_session => {
                    let _ = self.control.order(Order::Foreground(signal));
                }
                // A descendant that came to us: the supervisor was killed, or we are process 1.
                _ => self.supervisor.reap_all(),
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
        self.went_on = Some(Instant::now());
        self.go_on();
    }

    /// Lets the child go on too, once the terminal is raw, and before it gets keys.
    fn go_on(&mut self) {
        self.continuing += 1;
        self.continued();
        let _ = self.control.order(Order::Continue);
    }

    fn continued(&mut self) {
        if let Some(keyboard) = &mut self.keyboard {
            keyboard.go_on(self.continuing == 0);
        }
        self.resize();
    }

    /// In our own session, the child got our SIGWINCH too, and maybe before its ptys had their size.
    fn resize(&self) {
        if self.streams.resize() && !self.streams.has_session {
            let _ = kill_current_process_group(Signal::WINCH);
        }
    }
}

/// Replaces this process by the command; returns only if that failed.
pub fn replace(command: &mut Command) -> io::Error {
    with_callers_limit(|| command.exec())
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
