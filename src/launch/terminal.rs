//! The user's terminal, and the ptys that stand in for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    OptionalActions, OutputModes, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr, tcsetwinsize,
};

/// A pty: what is written to the terminal is read from the controller, and the other way round.
pub(super) struct Pty {
    pub(super) controller: OwnedFd,
    pub(super) terminal: OwnedFd,
}

impl Pty {
    /// Opens a pty with the settings and the size of a terminal.
    pub(super) fn like(terminal: BorrowedFd<'_>) -> io::Result<Self> {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        // std sets this flag only on descriptors that std opens.
        rustix::io::fcntl_setfd(&controller, rustix::io::FdFlags::CLOEXEC)?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        let name = ptsname(&controller, Vec::new())?;
        let other = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        tcsetattr(&other, OptionalActions::Now, &tcgetattr(terminal)?)?;
        let pty = Self { controller, terminal: other };
        resize(&pty.controller, terminal);
        Ok(pty)
    }

    /// Turns output processing off: the terminal behind it turns `\n` into `\r\n`.
    pub(super) fn without_output_processing(self) -> io::Result<Self> {
        let mut settings = tcgetattr(&self.terminal)?;
        settings.output_modes -= OutputModes::OPOST;
        tcsetattr(&self.terminal, OptionalActions::Now, &settings)?;
        Ok(self)
    }
}

/// Gives a pty the size of a terminal; the kernel notifies its foreground. Returns true if the size changed.
pub(super) fn resize(pty: &impl AsFd, terminal: BorrowedFd<'_>) -> bool {
    // A terminal that has just gone away has no size.
    let (Ok(old), Ok(new)) = (tcgetwinsize(pty), tcgetwinsize(terminal)) else { return false };
    (old.ws_row, old.ws_col) != (new.ws_row, new.ws_col) && tcsetwinsize(pty, new).is_ok()
}

/// A terminal and its original settings.
pub(super) struct TerminalSettings {
    terminal: OwnedFd,
    before: Termios,
    raw: Termios,
}

impl TerminalSettings {
    pub(super) fn of(terminal: OwnedFd) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        Ok(Self { terminal, before, raw })
    }

    /// Returns true if our process group may read from it and change its settings.
    pub(super) fn is_in_foreground(&self) -> bool {
        tcgetpgrp(&self.terminal).is_ok_and(|group| group == rustix::process::getpgrp())
    }

    /// Delivers every key as it is typed; the child's pty processes them instead.
    pub(super) fn make_raw(&self) -> io::Result<()> {
        Ok(tcsetattr(&self.terminal, OptionalActions::Now, &self.raw)?)
    }

    /// Restores the original settings.
    pub(super) fn restore(&self) {
        // Fails if the terminal is gone, and then nothing needs restoring.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }

    /// Restores the original settings, unless another process has changed them since, such as a shell that is in the
    /// foreground again.
    pub(super) fn restore_if_raw(&self) {
        let is_ours =
            |now: Termios| now.local_modes == self.raw.local_modes && now.output_modes == self.raw.output_modes;
        if tcgetattr(&self.terminal).is_ok_and(is_ours) {
            self.restore();
        }
    }
}

impl AsFd for TerminalSettings {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }
}
