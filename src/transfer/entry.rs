//! The entries of a file, and the errors of reading and writing one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use zeroize::Zeroizing;

use crate::secret::{SecretName, SecretValue};
use crate::variables;

/// An entry of a file. It has no `Debug`: even a name may be a piece of a value, if the file is malformed.
pub struct Entry {
    /// The line where it begins, from 1.
    pub line: usize,
    /// The name as the file has it, not yet checked as a secret's name.
    pub name: Zeroizing<String>,
    /// The value, or `None` for a name alone, which dotenv files may have.
    pub value: Option<Zeroizing<String>>,
    /// The line of an earlier entry of the same name, which this one replaces.
    pub replaces: Option<usize>,
}

/// A syntax error at a position in a file. It does not repeat the file's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, for formats in which a line is not precise enough.
    pub column: Option<usize>,
    /// The reason, in words.
    pub reason: &'static str,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// The most errors of one file that are kept: as many as a reader will read. A file can have one in each of its lines.
const MOST_ERRORS: usize = 20;

/// The first errors of a file, and the number of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstErrors<T> {
    first: Vec<T>,
    more: usize,
}

impl<T> Default for FirstErrors<T> {
    fn default() -> Self {
        Self { first: Vec::new(), more: 0 }
    }
}

impl<T> From<T> for FirstErrors<T> {
    fn from(only: T) -> Self {
        Self { first: vec![only], more: 0 }
    }
}

impl<T> FirstErrors<T> {
    /// Adds an error, which is made only if it is kept.
    pub fn push(&mut self, error: impl FnOnce() -> T) {
        if self.first.len() < MOST_ERRORS {
            self.first.push(error());
        } else {
            self.more += 1;
        }
    }

    /// Returns true if there is no error.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Returns the first errors, in the order of the file.
    pub fn first(&self) -> &[T] {
        &self.first
    }

    /// Returns the number of the other errors.
    pub fn more(&self) -> usize {
        self.more
    }

    /// Returns them in words.
    pub fn in_words(&self) -> FirstErrors<String>
    where
        T: fmt::Display,
    {
        FirstErrors { first: self.first.iter().map(ToString::to_string).collect(), more: self.more }
    }
}

/// The reason why a format cannot hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    /// The secret.
    pub name: SecretName,
    /// The reason, in words.
    pub reason: Cow<'static, str>,
    /// Set if [`SpecialNames::Allowed`] would allow it.
    pub has_special_name: bool,
}

impl FormatError {
    pub(super) fn new(name: &SecretName, reason: &'static str) -> Self {
        Self { name: name.clone(), reason: reason.into(), has_special_name: false }
    }
}

/// The treatment of names on which a shell, or a program that it starts, acts if a variable has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecialNames {
    /// Such a name is an error.
    Refused,
    /// The user wants it.
    Allowed,
}

impl std::error::Error for SyntaxError {}

impl std::error::Error for FormatError {}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret {}: {}", self.name, self.reason)
    }
}

/// The most entries of a file. It is more than the secrets of a large project, and bounds the memory: an entry takes more than its bytes in the file.
const MAX_ENTRIES: usize = 10_000;

const TOO_MANY: &str = "it has more than 10000 entries, which is the most that a file may have";

/// Refuses one more entry if a file with `found` of them has as many as it may.
pub(super) fn require_room(found: usize, line: usize) -> Result<(), SyntaxError> {
    if found < MAX_ENTRIES { Ok(()) } else { Err(SyntaxError { line, column: None, reason: TOO_MANY }) }
}

/// Returns the text of a file, without a byte order mark at its beginning.
pub(super) fn text(bytes: &[u8]) -> Result<&str, SyntaxError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + lines_in(&bytes[..error.valid_up_to()]);
        SyntaxError { line, column: None, reason: "it is not UTF-8" }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Counts the line ends in some bytes.
pub(super) fn lines_in(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// Refuses a name that occurs twice, because readers disagree which one counts.
pub(super) fn refuse_repeated(entries: &[Entry]) -> Result<(), FirstErrors<SyntaxError>> {
    let (mut seen, mut repeated) = (BTreeSet::new(), FirstErrors::default());
    for entry in entries.iter().filter(|entry| !seen.insert(entry.name.as_str())) {
        repeated.push(|| SyntaxError {
            line: entry.line,
            column: None,
            reason: "the file already has an entry of this name",
        });
    }
    if repeated.is_empty() { Ok(()) } else { Err(repeated) }
}

/// Returns a value as text, for a format that holds nothing else.
pub(super) fn as_text<'a>(name: &SecretName, value: &'a SecretValue) -> Result<&'a str, FormatError> {
    std::str::from_utf8(value.expose())
        .map_err(|_| FormatError::new(name, "its value is not UTF-8, which this format cannot hold"))
}

/// Refuses a name that a shell cannot set, and one on which a shell or the programs that it starts act.
///
/// A shell takes `a-b=x` for the name of a command, and runs it.
pub(super) fn refuse_special_name(name: &SecretName, special: SpecialNames) -> Result<(), FormatError> {
    if !variables::is_a_shells_name(name.as_str()) {
        return Err(FormatError::new(name, "its name is not a valid name of a shell variable"));
    }
    match variables::effect_in_a_shell(name.as_str()) {
        Some(effect) if special == SpecialNames::Refused => {
            let reason = format!("the variable {effect}").into();
            Err(FormatError { name: name.clone(), reason, has_special_name: true })
        }
        _ => Ok(()),
    }
}

/// Refuses a value that no variable can hold.
pub(super) fn refuse_nul(name: &SecretName, value: &SecretValue) -> Result<(), FormatError> {
    match value.expose().contains(&0) {
        true => Err(FormatError::new(name, "its value has a zero byte, which no variable can hold")),
        false => Ok(()),
    }
}

/// Writes each secret. Returns an error for each one that does not fit.
pub(super) fn each<'a>(
    secrets: &'a [(SecretName, SecretValue)],
    mut write: impl FnMut(&'a SecretName, &'a SecretValue) -> Result<(), FormatError>,
) -> Result<(), Vec<FormatError>> {
    let unfit: Vec<_> = secrets.iter().filter_map(|(name, value)| write(name, value).err()).collect();
    if unfit.is_empty() { Ok(()) } else { Err(unfit) }
}
