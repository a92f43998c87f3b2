//! The only writer to the terminal.
//!
//! stdout carries data, stderr carries talk. Each has colour only if it is a terminal itself and the user did not ask for
//! none. A reader that has gone away (`flyte-local get secret | head -1`) does not make an error.
//!
//! Once a run has a mask, all talk is masked as well: a name that a task made may contain a value.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::ProgressDrawTarget;
use rustix::termios::{OutputModes, tcgetattr, tcgetwinsize};

use super::error::CommandError;
use super::explain;
use super::key_filter::without_keys;
use super::report::ErrorReport;
use super::sanitize::harmless;
use flyte_local::launch::OutputStream;
use flyte_local::redact::Watchlist;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Color {
    /// An error, and the word for one.
    Red,
    /// Something that the user may want to look at.
    Yellow,
    Green,
    Cyan,
}

pub(crate) fn paint(color: Color, text: &str) -> String {
    let code = match color {
        Color::Red => "1;31",
        Color::Yellow => "33",
        Color::Green => "32",
        Color::Cyan => "36",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// The width and colour of data; neither is there for a pipe or a file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Screen {
    /// How many columns the terminal has, if that is known.
    pub(crate) columns: Option<usize>,
    pub(crate) color: bool,
}

#[derive(Clone)]
pub(crate) struct Ui {
    color: bool,
    screen: Screen,
    /// The list of values that talk may not show, if there is one. Clones share it.
    mask: Arc<Mutex<Option<Watchlist>>>,
}

impl Ui {
    /// `columns` is the width of a terminal that does not know its own.
    pub(crate) fn new(no_color: bool, columns: Option<usize>) -> Self {
        let stdout = io::stdout();
        let screen = match stdout.is_terminal() {
            true => Screen { columns: width(&stdout).or(columns), color: !no_color },
            false => Screen::default(),
        };
        Self { color: !no_color && io::stderr().is_terminal(), screen, mask: Arc::default() }
    }

    /// The terminal that data is shown on.
    pub(crate) fn screen(&self) -> Screen {
        self.screen
    }

    /// Data, to stdout, byte for byte.
    pub(crate) fn data(&self, bytes: &[u8]) -> Result<(), CommandError> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(explain::unwritable(OutputStream::Stdout, &error).into())
            }
            _ => Ok(()),
        }
    }

    /// Returns whether data is shown rather than passed on.
    pub(crate) fn shows_data(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// The target of a progress bar: stderr, which draws nothing unless it is a terminal.
    pub(crate) fn progress_target(&self) -> ProgressDrawTarget {
        ProgressDrawTarget::stderr()
    }

    /// Masks the values of a list from here on, in everything that is said.
    pub(crate) fn mask(&self, list: &Watchlist) {
        *self.mask.lock().unwrap_or_else(PoisonError::into_inner) = Some(list.clone());
    }

    /// Forgets the values to mask, before the process ends: the hook for panics keeps this until then.
    pub(crate) fn forget_mask(&self) {
        *self.mask.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn list(&self) -> Option<Watchlist> {
        self.mask.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns text with the values masked, for data or a quotation. Talk needs it only where the text is changed first.
    pub(crate) fn masked<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.list() {
            Some(list) => Cow::Owned(String::from_utf8_lossy(&list.masked(text.as_bytes())).into_owned()),
            None => Cow::Borrowed(text),
        }
    }

    /// Returns a path with the values masked, before quotes or escapes change them.
    pub(crate) fn masked_path<'a>(&self, path: &'a Path) -> Cow<'a, Path> {
        match self.list() {
            Some(list) => Cow::Owned(PathBuf::from(OsString::from_vec(list.masked(path.as_os_str().as_bytes())))),
            None => Cow::Borrowed(path),
        }
    }

    /// A line of talk, to stderr.
    pub(crate) fn say(&self, line: &str) {
        self.talk(&format!("{}\n", self.shown(line)));
    }

    /// Words of clap's, with its colours if any.
    pub(crate) fn usage(&self, text: &str) {
        self.talk(&format!("{}\n", without_keys(text)));
    }

    pub(crate) fn error(&self, error: &ErrorReport) {
        let mut text = format!("{} {}\n", self.paint(Color::Red, "error:"), self.lines(error.message()));
        for cause in error.causes() {
            text.push_str(&format!("caused by: {}\n", self.lines(cause)));
        }
        for hint in error.hints() {
            text.push_str(&self.hint_line(hint));
        }
        self.talk(&text);
    }

    pub(crate) fn hint(&self, hint: &str) {
        self.talk(&self.hint_line(hint));
    }

    /// Has a panic told by its place alone: its message may hold a value.
    pub(crate) fn tell_panics(&self) {
        let ui = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            if flyte_local::crypto::is_lack_of_randomness(panic.payload()) {
                // It becomes an error.
                return;
            }
            let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
            let error = ui.paint(Color::Red, "error:");
            ui.talk(&format!("{error} flyte-local has a bug{}\n", harmless(&place.unwrap_or_default())));
        }));
    }

    fn hint_line(&self, hint: &str) -> String {
        format!("{} {}\n", self.paint(Color::Cyan, "hint:"), self.shown(hint))
    }

    /// Returns what is shown of a text. The mask comes first, because an escape would change a value.
    fn shown(&self, text: &str) -> String {
        harmless(&self.masked(text))
    }

    /// Returns the same, with each line after the first indented, to show whose it is.
    fn lines(&self, text: &str) -> String {
        self.shown(text).replace('\n', "\n  ")
    }

    fn paint(&self, color: Color, word: &str) -> String {
        if self.color { paint(color, word) } else { word.to_owned() }
    }

    fn talk(&self, text: &str) {
        // There is nowhere left to say that stderr cannot be written to.
        let mut stderr = io::stderr().lock();
        let text = if is_raw(&stderr) { text.replace('\n', "\r\n") } else { text.to_owned() };
        let _ = stderr.write_all(text.as_bytes());
    }
}

/// The terminal's width; `None` where it does not know it.
fn width(terminal: impl AsFd) -> Option<usize> {
    tcgetwinsize(terminal).ok().map(|size| size.ws_col.into()).filter(|columns| *columns > 0)
}

/// Returns whether the terminal is in raw mode, as during a run: a newline then does not return to the first column.
fn is_raw(stream: impl AsFd) -> bool {
    tcgetattr(stream).is_ok_and(|settings| !settings.output_modes.contains(OutputModes::OPOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs in a separate process, started by the test below.
    #[test]
    #[ignore = "it panics"]
    fn one_that_panics() {
        Ui::new(true, None).tell_panics();
        let value = "hunter2";
        let _ = std::thread::spawn(move || panic!("in a thread: {value}")).join();
        panic!("{value}");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test starts itself")]
    fn a_panic_is_told_without_its_message() {
        let mut command = std::process::Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "cli::ui::tests::one_that_panics", "--ignored", "--nocapture", "--test-threads=1"]);
        let output = command.env("RUST_BACKTRACE", "1").output().expect("it starts");
        assert_eq!(output.status.code(), Some(101));
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        let place = format!("error: flyte-local has a bug at {}:", file!());
        assert_eq!(told.matches(&place).count(), 2, "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
