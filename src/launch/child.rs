//! Runs a child below a supervisor and waits for its end.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::control::{Control, Report};
use super::dumps::with_callers_limit;
use super::job_control::{JobControl, SupervisorProcess};
use super::keyboard::KeyForwarder;
use super::leftovers::{self, Patience};
use super::pumps::{OutputFailure, OutputStream};
use super::signals::Signals;
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

/// Reasons why a child has no [`Ended`].
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The child could not be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Its output could not be written, so that it was ended.
    #[error("cannot write its output")]
    Output {
        /// The stream of this process.
        stream: OutputStream,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A step around it failed.
    #[error("cannot {action}")]
    Step {
        /// The step, as a verb phrase.
        action: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// The most bytes that Linux takes of one variable, with its name, the `=` and a zero byte at the end: 32 pages
/// (MAX_ARG_STRLEN). The machines of a cluster have pages of 4 KiB.
const MOST_VARIABLE_BYTES: usize = 32 * 4096;

/// Returns true if Linux starts no program with a variable of this name and a value of so many bytes.
pub fn is_too_large_for_a_variable(name: &str, bytes: usize) -> bool {
    name.len() + bytes + 2 > MOST_VARIABLE_BYTES
}

impl ChildError {
    /// Returns true if the arguments and variables are larger than the system lets a program have.
    pub fn is_too_large(&self) -> bool {
        let is_too_large = |error: &io::Error| error.kind() == io::ErrorKind::ArgumentListTooLong;
        matches!(self, ChildError::Start { source, .. } | ChildError::Step { source, .. } if is_too_large(source))
    }
}

fn step<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> ChildError {
    move |error| ChildError::Step { action, source: error.into() }
}

/// A child's mask, its directory, and the fate of its leftover processes.
#[derive(Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The values to mask in its output; without a list, it inherits our output streams.
    pub mask: Option<&'a Watchlist>,
    /// The run's directory in memory, which is removed even if this process is killed.
    pub directory: Option<&'a Path>,
    /// The fate of the processes that the child leaves running.
    pub leftovers: Leftovers,
}

/// The fate of the processes that a child leaves running, and of the directory. They end if this process is killed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Leftovers {
    /// They end with the child.
    #[default]
    End,
    /// The processes go on, and the directory is the caller's to remove.
    Keep,
}

/// Runs a child below a supervisor and waits for its end. Nothing that the child started runs after that, unless the caller
/// keeps it.
///
/// `supervisor` is the command that calls [`super::supervise`] with the arguments that are added here. `started` gets the
/// supervisor's process id, the child's parent, before the child can have done anything.
///
/// A signal that asks us to end is passed on, and the child's answer is ours. Ctrl-C and Ctrl-\ reach the child through its
/// terminal; we only outlive them. The child also ignores the signals that we were started to ignore (`nohup`).
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
    // A shell that became us (`exec`) may have left us its jobs, which we must not end.
    let had_children = leftovers::has_children();
    leftovers::adopt().map_err(step("become the parent of orphans"))?;
    let process = with_callers_limit(|| command.spawn()).map_err(step("start the supervisor"))?;
    // With it go the child's ends of the streams.
    drop(command);
    started(process.id());

    let control = Control::new(ours);
    let keyboard = KeyForwarder::of(&streams).map_err(step("read the terminal"))?;
    let mut given = vec![streams.stdin()];
    given.extend(keyboard.as_ref().map(AsFd::as_fd));
    // If the supervisor is gone, the next read from the socket says so.
    let _ = control.give(&given);
    drop(given);
    streams.started();

    let supervisor = SupervisorProcess::new(&process);
    let mut job = JobControl::new(control, signals, streams, keyboard, supervisor);
    let mut ended = job.next_report();
    if ended == Some(Report::Started) {
        job.started();
        // Not earlier: until the keyboard is ready, our terminal still changes the output.
        mask.map(|list| job.mask(list)).transpose().map_err(step("read the child's output"))?;
        ended = job.watch();
    }
    // Our caller need not know how the supervisor itself ended.
    let end = job.supervisor.wait();
    if ended.is_none() && !had_children {
        leftovers::end_all(&mut job.signals, Patience::None);
    }
    let failure = job.finish_output(ended);
    drop(job);
    if let Some(OutputFailure { stream, source }) = failure {
        return Err(ChildError::Output { stream, source });
    }
    match ended {
        Some(Report::Exited(code)) => Ok(Ended::Code(code)),
        Some(Report::Killed(signal)) => Ok(Ended::Signal(signal)),
        Some(Report::NotStarted(errno)) => {
            let program = PathBuf::from(child.get_program());
            Err(ChildError::Start { program, source: io::Error::from_raw_os_error(errno) })
        }
        // The supervisor was killed, and the child with it; or it got a signal before it started the child.
        _ => Ok(end.unwrap_or(Ended::Signal(Signal::KILL.as_raw()))),
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
