//! What a file holds, one by one; why it cannot be read, and why it cannot be written.

use std::collections::BTreeSet;
use std::fmt;

use zeroize::Zeroizing;

use crate::secret::{SecretName, SecretValue};

/// One of what a file holds. It has no `Debug`: also what stands in the place of a name may be a piece of a value.
pub struct Entry {
    /// Where it begins, from 1.
    pub line: usize,
    /// As it stands in the file: not yet a secret's name.
    pub name: Zeroizing<String>,
    /// `None` for a name alone, which dotenv files may have.
    pub value: Option<Zeroizing<String>>,
    /// The line of an entry of the same name, which this one takes the place of.
    pub replaces: Option<usize>,
}

/// Why a place of a file is not understood, without what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntaxError {
    /// From 1.
    pub line: usize,
    /// From 1, where a line is not telling enough.
    pub column: Option<usize>,
    /// In words.
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

/// Why a format cannot hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatError {
    /// The secret.
    pub name: SecretName,
    /// In words.
    pub reason: &'static str,
}

impl std::error::Error for SyntaxError {}

impl std::error::Error for FormatError {}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret {}: {}", self.name, self.reason)
    }
}

/// The text of a file; a byte order mark at its beginning is not part of it.
pub(super) fn text(bytes: &[u8]) -> Result<&str, SyntaxError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + lines_in(&bytes[..error.valid_up_to()]);
        SyntaxError { line, column: None, reason: "it is not UTF-8" }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// How many lines end in this.
pub(super) fn lines_in(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}

/// Refuses a name that another entry has: which one counts, readers disagree.
pub(super) fn refuse_repeated(entries: &[Entry]) -> Result<(), Vec<SyntaxError>> {
    let mut seen = BTreeSet::new();
    let repeated = entries.iter().filter(|entry| !seen.insert(entry.name.as_str()));
    let repeated: Vec<_> = repeated
        .map(|entry| SyntaxError { line: entry.line, column: None, reason: "its name stands in the file already" })
        .collect();
    if repeated.is_empty() { Ok(()) } else { Err(repeated) }
}

/// A value as text, for a format that holds nothing else.
pub(super) fn as_text<'a>(name: &SecretName, value: &'a SecretValue) -> Result<&'a str, FormatError> {
    std::str::from_utf8(value.expose()).map_err(|_| FormatError {
        name: name.clone(),
        reason: "its value is not UTF-8, which this format cannot hold",
    })
}

/// Refuses what no variable can hold.
pub(super) fn refuse_nul(name: &SecretName, value: &SecretValue) -> Result<(), FormatError> {
    match value.expose().contains(&0) {
        true => {
            Err(FormatError { name: name.clone(), reason: "its value has a zero byte, which no variable can hold" })
        }
        false => Ok(()),
    }
}

/// Writes each secret, or says of each that does not fit why.
pub(super) fn each<'a>(
    secrets: &'a [(SecretName, SecretValue)],
    mut write: impl FnMut(&'a SecretName, &'a SecretValue) -> Result<(), FormatError>,
) -> Result<(), Vec<FormatError>> {
    let unfit: Vec<_> = secrets.iter().filter_map(|(name, value)| write(name, value).err()).collect();
    if unfit.is_empty() { Ok(()) } else { Err(unfit) }
}
