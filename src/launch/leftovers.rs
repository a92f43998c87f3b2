//! Processes that outlive the one they were started for.
//!
//! A pod ends with its main process, and takes the others with it. Here the supervisor does: as a "subreaper" it becomes
//! the parent of every descendant whose own parent is gone.

use std::io;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process, waitid};

use super::signals::Signals;

/// How long they may take to end by themselves: Python's `resource_tracker` cleans up after its process is gone.
const BY_THEMSELVES: Duration = Duration::from_millis(500);
/// How long they may take after SIGTERM.
const AFTER_TERM: Duration = Duration::from_secs(2);
const BETWEEN_KILLS: Duration = Duration::from_millis(20);
/// How long after SIGKILL we wait for one that the kernel does not let go.
const AFTER_KILL: Duration = Duration::from_secs(5);

/// Makes this process the parent of its descendants whose parents are gone.
#[cfg(target_os = "linux")]
pub(super) fn adopt() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Other systems do not have subreapers.
#[cfg(not(target_os = "linux"))]
pub(super) fn adopt() -> io::Result<()> {
    Ok(())
}

/// Reaps the children that have ended and returns them.
pub(super) fn reap() -> impl Iterator<Item = (Pid, WaitStatus)> {
    std::iter::from_fn(|| rustix::process::wait(WaitOptions::NOHANG | WaitOptions::UNTRACED).ok().flatten())
}

/// The time that leftover processes get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// To end by themselves, and again after they were asked to.
    Full,
    /// To end by themselves.
    Brief,
    None,
}

/// Waits for all descendants to end, then sends SIGTERM, then SIGKILL.
pub(super) fn end_all(signals: &mut Signals, patience: Patience) {
    let start = Instant::now();
    let (term, kill) = match patience {
        Patience::Full => (BY_THEMSELVES, BY_THEMSELVES + AFTER_TERM),
        Patience::Brief => (BY_THEMSELVES, BY_THEMSELVES),
        Patience::None => (Duration::ZERO, Duration::ZERO),
    };
    let mut asked = false;
    loop {
        reap().for_each(drop);
        let elapsed = start.elapsed();
        if !has_children() || elapsed >= kill + AFTER_KILL {
            return;
        }
        let wait = if elapsed >= kill {
            send_children(Signal::KILL);
            BETWEEN_KILLS
        } else if elapsed >= term {
            if !asked {
                send_children(Signal::TERM);
                asked = true;
            }
            kill - elapsed
        } else {
            term - elapsed
        };
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.min(Duration::from_millis(500)).subsec_nanos()) };
        // Woken by SIGCHLD.
        let _ = poll(&mut [PollFd::new(&*signals, PollFlags::IN)], Some(&timeout));
        signals.arrived();
    }
}

/// Returns true if this process has a child.
pub(super) fn has_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, options), Err(Errno::CHILD))
}

fn send_children(signal: Signal) {
    for child in children() {
        // It may have ended a moment ago. Until we reap it, no other process gets its number.
        let _ = kill_process(child, signal);
        // A stopped one would not act on it.
        let _ = kill_process(child, Signal::CONT);
    }
}

/// Returns this process's children.
#[cfg(target_os = "linux")]
fn children() -> Vec<Pid> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // In a process namespace with the host's /proc, these numbers belong to other processes.
    let is_ours = std::fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == own.to_string().as_str());
    if !is_ours {
        return Vec::new();
    }
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter(|&number| parent(number) == Some(own)).filter_map(Pid::from_raw).collect()
}

#[cfg(target_os = "linux")]
fn parent(process: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it, in parentheses, may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(not(target_os = "linux"))]
fn children() -> Vec<Pid> {
    Vec::new()
}
