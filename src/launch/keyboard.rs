//! The user's terminal while the child has a pty: it is raw, and every key goes to the pty.

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::termios::{Termios, tcgetattr};

use super::streams::Streams;
use super::terminal::{TerminalSettings, is_in_foreground};

/// Forwards keys while this process is in the foreground; restores the terminal when dropped.
pub(super) struct KeyForwarder {
    settings: TerminalSettings,
    /// Set until we are first in the foreground, if we were started in the background: the child's pty, and its settings.
    background: Option<(Weak<OwnedFd>, Termios)>,
    /// True while the terminal is in raw mode.
    is_raw: bool,
    /// True while keys are read.
    active: Arc<AtomicBool>,
    wake: PipeWriter,
}

impl KeyForwarder {
    /// Starts forwarding if the child has a pty as its terminal.
    pub(super) fn of(streams: &Streams) -> io::Result<Option<Self>> {
        let Some(child) = streams.keyboard() else { return Ok(None) };
        let settings = TerminalSettings::of(fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?)?;
        let background = match child.upgrade().filter(|_| !is_in_foreground(rustix::stdio::stdin())) {
            Some(pty) => Some((Weak::clone(&child), tcgetattr(&pty)?)),
            None => None,
        };
        let active = Arc::new(AtomicBool::new(false));
        let (woken, wake) = io::pipe()?;
        let keys = File::from(fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
        let is_active = Arc::clone(&active);
        std::thread::spawn(move || drop(pass_on(keys, &child, OwnedFd::from(woken), &is_active)));
        Ok(Some(Self { settings, background, is_raw: false, active, wake }))
    }

    /// Returns true while keys are read.
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::SeqCst)
    }

    /// Makes the terminal raw, and reads keys or leaves them waiting. Does neither in the background.
    pub(super) fn go_on(&mut self, reads: bool) {
        if self.settings.is_in_foreground()
            && let Some((pty, unchanged)) = self.background.take()
            && let Some(pty) = pty.upgrade()
        {
            // The shell that had the terminal has put it back into the mode for programs.
            self.settings.renew(&pty, &unchanged);
        }
        let is_ours = self.settings.is_in_foreground() && self.settings.make_raw().is_ok();
        self.is_raw |= is_ours;
        self.active.store(is_ours && reads, Ordering::SeqCst);
        if self.is_active() {
            let _ = self.wake.write_all(&[0]);
        }
    }

    /// Stops reading keys.
    pub(super) fn hold(&self) {
        self.active.store(false, Ordering::SeqCst);
    }

    /// Restores the terminal and stops reading keys.
    pub(super) fn pause(&mut self) {
        self.hold();
        if std::mem::take(&mut self.is_raw) && self.settings.is_in_foreground() {
            self.settings.restore();
        }
    }
}

impl Drop for KeyForwarder {
    fn drop(&mut self) {
        self.pause();
    }
}

impl AsFd for KeyForwarder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.settings.as_fd()
    }
}

/// Forwards keys until the terminal, the child's end, or the [`KeyForwarder`] is gone.
fn pass_on(mut keys: File, child: &Weak<OwnedFd>, woken: OwnedFd, is_active: &AtomicBool) -> io::Result<()> {
    let mut woken = File::from(woken);
    let mut typed = zeroize::Zeroizing::new([0; 4096]);
    loop {
        let active = is_active.load(Ordering::SeqCst);
        let (is_woken, is_typed) = {
            let wanted = if active { PollFlags::IN } else { PollFlags::empty() };
            let mut ready = [PollFd::new(&woken, PollFlags::IN), PollFd::new(&keys, wanted)];
            if poll(&mut ready, None).is_err() {
                continue;
            }
            (!ready[0].revents().is_empty(), !ready[1].revents().is_empty())
        };
        if is_woken && woken.read(&mut typed[..])? == 0 {
            return Ok(());
        }
        if is_typed && is_active.load(Ordering::SeqCst) {
            match keys.read(&mut typed[..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) => return Ok(()),
                length => match child.upgrade() {
                    Some(child) => write(&child, &typed[..length?])?,
                    None => return Ok(()),
                },
            }
        } else if is_typed && !active {
            // The terminal is gone.
            return Ok(());
        }
    }
}

fn write(to: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        bytes = &bytes[rustix::io::retry_on_intr(|| rustix::io::write(to, bytes))?..];
    }
    Ok(())
}
