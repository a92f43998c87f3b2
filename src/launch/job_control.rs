//! Job control by the process in front, between the user and the supervisor: signals, stops, window sizes.

use std::io;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_current_process_group};

use super::child::Ended;
use super::control::{Control, Order, Report};
use super::keyboard::KeyForwarder;
use super::leftovers;
use super::pumps::{OutputFailure, Pumps};
use super::signals::{Signals, is_passed_on};
use super::streams::Streams;
use crate::redact::Watchlist;

/// How often we check whether we are in the foreground: a shell's `fg` does not notify a job that is running.
const BACKGROUND: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// How long after we went on the SIGCONT that continued us may arrive. Another thread may handle it, so it can wait for a
/// processor first. The limit exists because no SIGCONT arrives if nothing stopped us.
const ECHO: Duration = Duration::from_secs(2);

/// How long the child may take to end after SIGTERM, once its output cannot be written.
const AFTER_TERM: Duration = Duration::from_secs(2);

/// The supervisor's process, as its parent sees it.
pub(super) struct SupervisorProcess {
    process: Pid,
    end: Option<Ended>,
}

impl SupervisorProcess {
    pub(super) fn new(process: &Child) -> Self {
        Self { process: Pid::from_child(process), end: None }
    }

    /// Reaps every child that has ended.
    fn reap_all(&mut self) {
        leftovers::reap().for_each(|(process, status)| self.note(process, status));
    }

    /// Waits until the supervisor has ended, and returns how it ended.
    pub(super) fn wait(&mut self) -> Option<Ended> {
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
pub(super) struct JobControl {
    control: Control,
    pub(super) signals: Signals,
    pub(super) streams: Streams,
    keyboard: Option<KeyForwarder>,
    pub(super) supervisor: SupervisorProcess,
    /// The threads that mask the output, once they run.
    pumps: Option<Pumps>,
    /// The time at which the child is killed, once its output could not be written.
    kill_at: Option<Instant>,
    has_started: bool,
    /// True once a signal was passed on.
    pub(super) has_passed_on: bool,
    /// The number of orders to continue the child that the supervisor has not obeyed yet. Keys wait until then, because
    /// SIGCONT cancels the stop that an earlier Ctrl-Z asked for.
    continuing: usize,
    /// The time at which we went on after a stop and continued the child. The SIGCONT that ended our stop arrives after that
    /// and is not passed on, because keys may have arrived in between.
    went_on: Option<Instant>,
}

impl JobControl {
    pub(super) fn new(
        control: Control,
        signals: Signals,
        streams: Streams,
        keyboard: Option<KeyForwarder>,
        supervisor: SupervisorProcess,
    ) -> Self {
        Self {
            control,
            signals,
            streams,
            keyboard,
            supervisor,
            pumps: None,
            kill_at: None,
            has_started: false,
            has_passed_on: false,
            continuing: 0,
            went_on: None,
        }
    }

    /// Notes that the child has started, and reads keys for it.
    pub(super) fn started(&mut self) {
        self.has_started = true;
        self.continued();
    }

    /// Masks the output from here on.
    pub(super) fn mask(&mut self, list: &Watchlist) -> io::Result<()> {
        self.pumps = Some(self.streams.pump(list)?);
        Ok(())
    }

    /// Waits until all output is written; see [`Pumps::finish`].
    pub(super) fn finish_output(&mut self, ended: Option<Report>) -> Option<OutputFailure> {
        let is_asked_to_end = self.has_passed_on && matches!(ended, Some(Report::Killed(_)));
        self.pumps.take()?.finish(&mut self.signals, is_asked_to_end)
    }

    /// Waits until the supervisor reports the child's end. Returns `None` if the supervisor ended without a report.
    pub(super) fn watch(&mut self) -> Option<Report> {
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
    pub(super) fn next_report(&mut self) -> Option<Report> {
        loop {
            let is_waiting = self.has_started && self.keyboard.as_ref().is_some_and(|keyboard| !keyboard.is_active());
            let is_watched = self.kill_at.is_none();
            let (signalled, reported, failed) = {
                let mut ready =
                    vec![PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.control, PollFlags::IN)];
                let pumps = self.pumps.as_ref().filter(|_| is_watched).map(Pumps::failed);
                ready.extend(pumps.as_ref().map(|failed| PollFd::new(failed, PollFlags::IN)));
                let patience = (is_waiting || !is_watched).then_some(&BACKGROUND);
                while poll(&mut ready, patience) == Err(Errno::INTR) {}
                let is_ready = |index: usize| ready.get(index).is_some_and(|one| !one.revents().is_empty());
                (is_ready(0), is_ready(1), is_ready(2))
            };
            if failed || !is_watched {
                self.end_child();
            }
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

    /// Ends the child, whose output cannot be written: first it is asked, and later killed.
    fn end_child(&mut self) {
        let signal = match self.kill_at {
            None => Signal::TERM,
            Some(at) if Instant::now() < at => return,
            Some(_) => Signal::KILL,
        };
        self.kill_at = Some(Instant::now() + AFTER_TERM);
        self.has_passed_on = true;
        // A stopped child would not act on it.
        for signal in [signal, Signal::CONT] {
            let _ = self.control.order(Order::Signal(signal));
        }
    }

    fn take_signals(&mut self) {
        for arrived in self.signals.arrived() {
            let is_ours = is_passed_on(arrived.signal);
            // If the supervisor is gone, the next read from the socket says so.
            match arrived.signal {
                Signal::WINCH => self.resize(),
                Signal::CONT if self.went_on.take().is_some_and(|at| at.elapsed() < ECHO) => self.continued(),
                Signal::CONT => self.go_on(),
                signal if is_ours && arrived.sent => {
                    self.has_passed_on = true;
                    let _ = self.control.order(Order::Signal(signal));
                }
                // The kernel sends this because of our terminal, and a child in our session got it as well.
                signal if is_ours && self.streams.has_session => {
                    let _ = self.control.order(Order::Foreground(signal));
                }
                // A descendant became our child: the supervisor was killed, or we are process 1.
                _ => self.supervisor.reap_all(),
            }
        }
    }

    /// Stops our process group on our terminal, because the child was stopped on its own.
    fn stop(&mut self) {
        // Keys typed from here on are for the shell. The terminal stays raw for the rest of the output.
        if let Some(keyboard) = &self.keyboard {
            keyboard.hold();
        }
        if let Some(pumps) = &self.pumps {
            pumps.settle();
        }
        if let Some(keyboard) = &mut self.keyboard {
            keyboard.pause();
        }
        // Does nothing in an orphaned process group, which no shell could continue; then the child goes on.
        let _ = kill_current_process_group(Signal::TSTP);
        self.went_on = Some(Instant::now());
        self.go_on();
    }

    /// Continues the child once the terminal is raw, and before it gets keys.
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

    /// Resizes the ptys. A child in our session got our SIGWINCH as well, perhaps before its ptys had the new size.
    fn resize(&self) {
        if self.streams.resize() && !self.streams.has_session {
            let _ = kill_current_process_group(Signal::WINCH);
        }
    }
}
