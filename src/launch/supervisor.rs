//! The supervisor: the process between us and the child, which leaves nothing of a run behind.
//!
//! It starts the child, passes signals on, reports how the child ended, and ends the processes that the child left running.
//! When the process in front dies, it kills the rest and restores the terminal. If the child has a pty, the supervisor leads
//! its session, as a shell would: without a parent in its session, Ctrl-Z could not stop the child.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix::termios::{tcgetpgrp, tcsetpgrp};

use super::control::{Control, Order, Report};
use super::dumps::with_callers_limit;
use super::leftovers::{self, Patience};
use super::signals::{Signals, is_passed_on};
use super::terminal::TerminalSettings;
use crate::process::Spawner;

/// The argument for a child whose standard input is a pty, whose session the supervisor leads.
pub(super) const SESSION: &str = "session";
/// The argument for a child that shares the terminal, the session and the process group of the process in front.
pub(super) const SHARED: &str = "shared";

/// The argument for ending the processes that the child leaves running.
pub(super) const END: &str = "end";
/// The argument for keeping them. The process in front removes the directory then, if it lives.
pub(super) const KEEP: &str = "keep";

/// How long after a signal to our process group the same signal may arrive as an order. It takes microseconds; the limit is
/// there because two signals in a row may arrive as one.
const ECHO: Duration = Duration::from_secs(2);

/// Supervises: `arguments` are `session` or `shared`, the directory to remove in the end (or nothing), `end` or `keep`, the
/// program and its arguments; the standard input is the control socket.
///
/// # Errors
/// Anything that keeps it from starting the child. The process in front sees the socket close.
pub fn supervise(arguments: impl IntoIterator<Item = OsString>) -> io::Result<()> {
    let missing = || io::Error::from(io::ErrorKind::InvalidInput);
    let mut arguments = arguments.into_iter();
    let leads = arguments.next().ok_or_else(missing)? == SESSION;
    let directory = arguments.next().ok_or_else(missing)?;
    let keeps = arguments.next().ok_or_else(missing)? == KEEP;
    let mut command = Spawner::for_supervisor().command(arguments.next().ok_or_else(missing)?);
    command.args(arguments);

    let control = Control::new(UnixStream::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?));
    let mut given = control.take()?.into_iter();
    let stdin = given.next().ok_or_else(missing)?;
    let terminal = given.next().map(TerminalSettings::of).transpose()?;
    leftovers::adopt()?;
    let mut signals = Signals::catch(&[])?;
    let child = match start(&mut command, stdin, leads) {
        Ok(child) => child,
        Err(error) => return control.report(Report::NotStarted(error.raw_os_error().unwrap_or(0))),
    };
    // The child may have missed signals that our process group got before it started, so it gets them from us; those that a
    // process sent arrive as orders. At worst it gets one twice in its first microseconds. A lost one would let it run on.
    let early = signals.arrived();
    for arrived in early.iter().filter(|arrived| !leads && !arrived.sent && is_passed_on(arrived.signal)) {
        let _ = kill_process(child, arrived.signal);
    }
    // From here on there is a child to end. If the process in front is gone, the next order says so.
    let _ = control.report(Report::Started);
    let mut supervisor = Supervisor { control, signals, child, leads, terminal, echoes: Vec::new() };
    let ended = supervisor.watch();
    let is_alone = ended.is_none();
    let finished = supervisor.finish(ended, keeps);
    if !directory.is_empty() && (!keeps || is_alone || finished.is_err()) {
        // The next run's sweep tries again to remove the rest.
        let _ = super::memory_directory::remove(Path::new(&directory));
    }
    finished
}

/// Starts the child, in the foreground of its terminal if we lead the session.
fn start(command: &mut Command, stdin: OwnedFd, leads: bool) -> io::Result<Pid> {
    if !leads {
        command.stdin(Stdio::from(stdin));
        return with_callers_limit(|| command.spawn()).map(|child| Pid::from_child(&child));
    }
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(&stdin)?;
    command.stdin(Stdio::from(stdin.try_clone()?)).process_group(0);
    let child = with_callers_limit(|| command.spawn()).map(|child| Pid::from_child(&child))?;
    // Fails if the terminal is gone already; then the process in front is gone too.
    let _ = tcsetpgrp(&stdin, child);
    // The kernel may have stopped it for using the terminal before it was in the foreground.
    let _ = kill_process_group(child, Signal::CONT);
    Ok(child)
}

struct Supervisor {
    control: Control,
    signals: Signals,
    child: Pid,
    leads: bool,
    terminal: Option<TerminalSettings>,
    /// Signals that our process group got, and so the child too. An order to pass one on is its echo.
    echoes: Vec<(Signal, Instant)>,
}

impl Supervisor {
    /// Waits until the child has ended; `None` if the process in front is gone.
    fn watch(&mut self) -> Option<Report> {
        // The caller has already taken the first signals, and a SIGCHLD may have been among them.
        if let Some(ended) = self.take_signals() {
            return Some(ended);
        }
        loop {
            let (signalled, ordered) = {
                let mut ready = [PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.control, PollFlags::IN)];
                while poll(&mut ready, None) == Err(rustix::io::Errno::INTR) {}
                (!ready[0].revents().is_empty(), !ready[1].revents().is_empty())
            };
            let order = if ordered { Some(self.control.next_order()) } else { None };
            // After reading the order, because a signal to the group comes before its echo. We have one thread, so the
            // handler has already run.
            if (signalled || ordered)
                && let Some(ended) = self.take_signals()
            {
                return Some(ended);
            }
            match order {
                Some(None) => return None,
                Some(Some(order)) => self.obey(order),
                None => {}
            }
        }
    }

    fn take_signals(&mut self) -> Option<Report> {
        for arrived in self.signals.arrived() {
            if arrived.sent && !self.leads && is_passed_on(arrived.signal) {
                self.echoes.push((arrived.signal, Instant::now()));
            }
        }
        for (process, status) in leftovers::reap() {
            if process != self.child {
                continue;
            }
            if let Some(code) = status.exit_status() {
                return Some(Report::Exited(code));
            }
            if let Some(signal) = status.terminating_signal() {
                return Some(Report::Killed(signal));
            }
            if status.stopped() && self.leads {
                // If the process in front is gone, the next order says so.
                let _ = self.control.report(Report::Stopped);
            }
        }
        None
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Continue => {
                let _ = kill_process_group(self.child, Signal::CONT);
                let _ = self.control.report(Report::Continued);
            }
            Order::Foreground(signal) => {
                let foreground = tcgetpgrp(rustix::stdio::stdout()).unwrap_or(self.child);
                let _ = kill_process_group(foreground, signal);
            }
            Order::Signal(signal) => {
                self.echoes.retain(|(_, at)| at.elapsed() < ECHO);
                match self.echoes.iter().position(|(echo, _)| *echo == signal) {
                    Some(index) => {
                        self.echoes.swap_remove(index);
                    }
                    // It has not been reaped, so no other process has its number.
                    None => {
                        let _ = kill_process(self.child, signal);
                    }
                }
            }
        }
    }

    fn finish(mut self, ended: Option<Report>, keeps: bool) -> io::Result<()> {
        let Some(report) = ended else {
            if let Some(terminal) = &self.terminal {
                terminal.restore_if_raw();
            }
            let _ = kill_process(self.child, Signal::KILL);
            leftovers::end_all(&mut self.signals, Patience::Brief);
            return Ok(());
        };
        if !keeps {
            leftovers::end_all(&mut self.signals, Patience::Full);
        }
        self.control.report(report)
    }
}
