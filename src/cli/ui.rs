//! The only writer to the terminal.
//!
//! stdout carries data, stderr carries talk. Colour only where stderr is a terminal and `NO_COLOR` is unset. A reader
//! that has gone away (`flyte-local get secret | head -1`) is no error.

use std::io::{self, IsTerminal, Write};

use super::error::{CliError, harmless};

const RED: &str = "\x1b[1;31m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

#[derive(Clone)]
pub(crate) struct Ui {
    color: bool,
}

impl Ui {
    pub(crate) fn new(no_color: bool) -> Self {
        Self { color: !no_color && io::stderr().is_terminal() }
    }

    /// Data, to stdout, byte for byte.
    pub(crate) fn data(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(CliError::from_io("write to stdout", &error))
            }
            _ => Ok(()),
        }
    }

    /// A line of talk, to stderr.
    pub(crate) fn say(&self, line: &str) {
        self.talk(&format!("{}\n", harmless(line)));
    }

    /// Words of clap's, with its colours if any.
    pub(crate) fn usage(&self, text: &str) {
        self.talk(&format!("{text}\n"));
    }

    pub(crate) fn error(&self, error: &CliError) {
        let mut text = format!("{} {}\n", self.paint(RED, "error:"), lines(error.message()));
        for cause in error.causes() {
            text.push_str(&format!("caused by: {}\n", lines(cause)));
        }
        for hint in error.hints() {
            text.push_str(&self.hint_line(hint));
        }
        self.talk(&text);
    }

    pub(crate) fn hint(&self, hint: &str) {
        self.talk(&self.hint_line(hint));
    }

    fn hint_line(&self, hint: &str) -> String {
        format!("{} {}\n", self.paint(CYAN, "hint:"), harmless(hint))
    }

    fn paint(&self, color: &str, word: &str) -> String {
        if self.color { format!("{color}{word}{RESET}") } else { word.to_owned() }
    }

    fn talk(&self, text: &str) {
        // There is nowhere left to say that stderr cannot be written to.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// Harmless text, of which each line after the first is indented, to show whose it is.
fn lines(text: &str) -> String {
    harmless(text).replace('\n', "\n  ")
}
