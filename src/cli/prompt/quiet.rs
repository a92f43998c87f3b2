//! A terminal that does not show what is typed.

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTOU};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, raise};
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A terminal with its echo off, put back as it was when this is dropped, also by a panic; when a signal ends the process;
/// and for as long as one stops it.
pub(super) struct Quiet {
    terminal: File,
    before: Termios,
    /// Set when the question was asked again after a stop: earlier input no longer counts.
    pub(super) asked_again: Arc<AtomicBool>,
    signals: signal_hook::iterator::Handle,
    guard: Option<std::thread::JoinHandle<Thread>>,
}

impl Quiet {
    pub(super) fn start(terminal: &File, question: &str) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;

        let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGCONT])?;
        let handle = signals.handle();
        let asked_again = Arc::new(AtomicBool::new(false));
        let mut guarded = terminal.try_clone()?;
        let (settings, again) = ((before.clone(), quiet.clone()), (question.to_owned(), Arc::clone(&asked_again)));
        let guard = std::thread::spawn(move || {
            let ((before, quiet), (question, asked_again)) = (settings, again);
            for signal in signals.forever() {
                // SIGSTOP cannot be caught, so the shell may have set its own settings.
                if signal == SIGCONT {
                    let _ = tcsetattr(&guarded, OptionalActions::Now, &quiet);
                    continue;
                }
                let _ = tcsetattr(&guarded, OptionalActions::Flush, &before);
                if signal != SIGTSTP {
                    // The process ends here.
                    let _ = emulate_default_handler(signal);
                    break;
                }
                // SIGTSTP would be caught again, and SIGSTOP stop it where no shell could continue it. In the background
                // the next line stops it too, until it is in the foreground.
                let _ = raise(SIGTTOU);
                let _ = tcsetattr(&guarded, OptionalActions::Flush, &quiet);
                asked_again.store(true, Ordering::Relaxed);
                let _ = guarded.write_all(question.as_bytes());
            }
            Thread::this()
        });
        let started =
            Self { terminal: terminal.try_clone()?, before, asked_again, signals: handle, guard: Some(guard) };
        // Anything typed before the question was not meant for it.
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(started)
    }
}

/// A thread that may exist for a moment after its join. The kernel does not let a process with two threads enter a user
/// namespace, and a run enters one after its prompt.
struct Thread(#[cfg(target_os = "linux")] rustix::thread::Pid);

impl Thread {
    #[cfg(target_os = "linux")]
    fn this() -> Self {
        Self(rustix::thread::gettid())
    }

    #[cfg(target_os = "linux")]
    fn wait_until_gone(&self) {
        let directory = format!("/proc/self/task/{}", self.0);
        let started = std::time::Instant::now();
        while std::path::Path::new(&directory).exists() && started.elapsed().as_secs() < 1 {
            std::thread::yield_now();
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn this() -> Self {
        Self()
    }

    #[cfg(not(target_os = "linux"))]
    fn wait_until_gone(&self) {}
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // First, or a signal that comes now would turn the echo off again.
        self.signals.close();
        if let Some(Ok(thread)) = self.guard.take().map(std::thread::JoinHandle::join) {
            thread.wait_until_gone();
        }
        // Flushed, so that the rest of a paste does not reach the shell.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    #[test]
    fn a_panic_puts_the_settings_back() {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pty");
        grantpt(&keyboard).and_then(|()| unlockpt(&keyboard)).expect("ours");
        let name = ptsname(&keyboard, Vec::new()).expect("it has a name").into_string().expect("UTF-8");
        let terminal = File::options().read(true).write(true).open(name).expect("its other end");
        let before = tcgetattr(&terminal).expect("a terminal").local_modes;
        let asked = std::panic::catch_unwind(|| {
            let _quiet = Quiet::start(&terminal, "").expect("a terminal");
            assert!(!tcgetattr(&terminal).expect("a terminal").local_modes.contains(LocalModes::ECHO));
            panic!("as rpassword might");
        });
        assert!(asked.is_err());
        assert_eq!(tcgetattr(&terminal).expect("a terminal").local_modes, before);
    }
}
