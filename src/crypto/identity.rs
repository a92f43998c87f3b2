//! Identities: private keys that open secrets.

use std::fmt;

use age::secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::Recipient;
use super::randomness::{NoRandomness, with_randomness};

/// Text that is no age identity file. It names a line, never its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    /// A line is neither empty, nor a comment, nor an X25519 identity.
    #[error("line {line} is not an age identity (AGE-SECRET-KEY-1…)")]
    Line {
        /// Counted from one.
        line: usize,
    },
    /// There is no identity in it.
    #[error("there is no age identity (AGE-SECRET-KEY-1…) in it")]
    Empty,
}

/// A private key that opens secrets. It prints nothing of itself.
#[derive(Clone)]
pub struct Identity(pub(super) age::x25519::Identity);

impl Identity {
    /// A new one, from the operating system's randomness.
    ///
    /// # Panics
    /// There is none to be had: see [`Identity::try_generate`].
    pub fn generate() -> Self {
        Self::try_generate().expect("the system has random bytes")
    }

    /// A new one, from the operating system's randomness.
    ///
    /// # Errors
    /// There is none to be had.
    pub fn try_generate() -> Result<Self, NoRandomness> {
        with_randomness(age::x25519::Identity::generate).map(Self)
    }

    /// The public half.
    pub fn recipient(&self) -> Recipient {
        Recipient::from(self.0.to_public())
    }

    /// The identities in a file that `age-keygen` or [`Identity::to_file`] wrote: one a line, `#` starts a comment.
    ///
    /// # Errors
    /// A line that is something else, or no identity at all.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, BadIdentity> {
        let mut identities = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            identities.push(Self(line.parse().map_err(|_| BadIdentity::Line { line: index + 1 })?));
        }
        if identities.is_empty() { Err(BadIdentity::Empty) } else { Ok(identities) }
    }

    /// The text of an identity file, in the form `age-keygen` gives it, so that `age -d -i` reads it.
    pub fn to_file(&self, created: &str) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "# created: {created}\n# public key: {}\n{}\n",
            self.recipient(),
            self.0.to_string().expose_secret()
        ))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.recipient())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_read_again() {
        let identity = Identity::generate();
        let read = Identity::parse_file(&identity.to_file("2026-01-01T00:00:00Z")).expect("our own format");
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].recipient(), identity.recipient());
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_alone() {
        let error = Identity::parse_file("# comment\n\nhunter2\n").expect_err("no identity");
        assert_eq!(error, BadIdentity::Line { line: 3 });
        assert!(!error.to_string().contains("hunter2"));
        assert!(matches!(Identity::parse_file("# only a comment\n"), Err(BadIdentity::Empty)));
    }

    #[test]
    fn debug_shows_the_public_half() {
        let identity = Identity::generate();
        assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.recipient()));
        assert_eq!(format!("{:?}", identity.recipient()), format!("Recipient({})", identity.recipient()));
    }
}
