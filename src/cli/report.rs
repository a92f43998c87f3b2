//! An error in words, as the user sees it, and its exit code.

use std::error::Error;

use super::key_filter::without_keys;
use super::sanitize::harmless;

/// The program's own exit codes. `run` and `exec` pass on the exit code of the command they ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 10,
    CannotDecrypt = 11,
    Exists = 12,
    Refused = 13,
    Locked = 14,
    NotExecutable = 126,
    CommandNotFound = 127,
}

/// A message with its causes and hints: lower case, without a full stop, and never a value. A private key in a text is
/// replaced here, because a text may repeat the user's words or a line of a file.
#[derive(Debug, Clone)]
pub(crate) struct ErrorReport {
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    code: u8,
}

impl ErrorReport {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: clean(message), causes: Vec::new(), hints: Vec::new(), code: exit as u8 }
    }

    /// An error with the chain of causes below it.
    pub(crate) fn chain(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        Self { causes: causes.map(|cause| clean(cause.to_string())).collect(), ..Self::new(exit, error.to_string()) }
    }

    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(clean(cause));
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(clean(hint));
        self
    }

    /// Adds hints that help before any other does.
    #[must_use]
    pub(crate) fn first_hints(mut self, hints: &[String]) -> Self {
        self.hints.splice(0..0, hints.iter().map(clean));
        self
    }

    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Returns all of it as plain text, for a reader other than our terminal.
    pub(crate) fn plain(&self) -> String {
        let causes = self.causes.iter().map(|cause| format!("\ncaused by: {}", harmless(cause)));
        let hints = self.hints.iter().map(|hint| format!("\nhint: {}", harmless(hint)));
        harmless(&self.message) + &causes.chain(hints).collect::<String>()
    }

    /// Returns the message and its causes, for a list or a line.
    pub(crate) fn reasons(&self) -> String {
        let causes = self.causes.iter().map(String::as_str);
        std::iter::once(self.message.as_str()).chain(causes).collect::<Vec<_>>().join(": ")
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn causes(&self) -> &[String] {
        &self.causes
    }

    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// Tells a missing thing from one that is out of reach.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == Exit::NotFound as u8
    }
}

fn clean(text: impl Into<String>) -> String {
    without_keys(&text.into()).into_owned()
}
