//! The user's terminal, and the ptys that stand in for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, OutputModes, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};

/// A pty: what is written to the terminal is read from the controller, and the other way round.
pub(super) struct Pty {
    pub(super) controller: OwnedFd,
    pub(super) terminal: OwnedFd,
}

/// The modes of a terminal that shows what is typed.
const ECHO: LocalModes = LocalModes::ECHO.union(LocalModes::ECHOE).union(LocalModes::ECHOK).union(LocalModes::ECHOCTL);

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
        let mut settings = tcgetattr(terminal)?;
        // In the background, the terminal may have those of a shell that edits a line.
        if !is_in_foreground(terminal) {
            settings.input_modes |= InputModes::ICRNL;
            settings.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
            settings.local_modes |= LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN | ECHO;
        }
        tcsetattr(&other, OptionalActions::Now, &settings)?;
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

/// Returns true if our process group may read from the terminal and change its settings.
pub(super) fn is_in_foreground(terminal: impl AsFd) -> bool {
    tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// Returns true if two settings treat keys and output the same.
fn have_same_modes(one: &Termios, other: &Termios) -> bool {
    let modes = |of: &Termios| (of.input_modes, of.output_modes, of.local_modes);
    modes(one) == modes(other)
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
        is_in_foreground(&self.terminal)
    }

    /// Takes the terminal's present settings for the original ones, unless they are our raw mode. Gives them to a pty that
    /// still has the settings `unchanged`.
    pub(super) fn renew(&mut self, pty: &impl AsFd, unchanged: &Termios) {
        let Ok(now) = tcgetattr(&self.terminal) else { return };
        if have_same_modes(&now, &self.raw) {
            return;
        }
        if tcgetattr(pty).is_ok_and(|of_pty| have_same_modes(&of_pty, unchanged)) {
            // If it fails, the child is gone.
            let _ = tcsetattr(pty, OptionalActions::Now, &now);
        }
        self.raw = now.clone();
        self.raw.make_raw();
        self.before = now;
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
