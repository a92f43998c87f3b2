//! A question whose answer does not show.

use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use zeroize::Zeroizing;

use super::error::{CliError, Exit};

/// Asks on the terminal, with the echo off.
///
/// `rpassword` leaves the echo off when a signal ends the process; so a thread waits for one, puts the terminal back as
/// it was, and lets the signal have its way.
pub(crate) fn hidden(question: &str) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let failed = |error: std::io::Error| CliError::from_io("ask on the terminal", &error);
    let terminal = std::fs::File::open("/dev/tty").map_err(failed)?;
    let settings = tcgetattr(&terminal).map_err(|error| failed(error.into()))?;
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM]).map_err(failed)?;
    let handle = signals.handle();
    let guard = std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _ = tcsetattr(&terminal, OptionalActions::Now, &settings);
            // The process ends here; should it not, the answer below is still asked for.
            let _ = emulate_default_handler(signal);
        }
    });
    let answer = rpassword::prompt_password(question).map(Zeroizing::new);
    handle.close();
    let _ = guard.join();
    let answer = answer.map_err(failed)?;
    if answer.is_empty() {
        let error = CliError::new(Exit::Failed, "no value was typed");
        return Err(error.hint("for an empty value, say so: --value ''"));
    }
    Ok(Zeroizing::new(answer.as_bytes().to_vec()))
}
