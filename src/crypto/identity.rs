//! Identities: private keys that open secrets.

use std::fmt;

use age_core::format::FileKey;
use age_core::secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::open::Stanzas;
use super::randomness::{RandomnessError, with_randomness};
use super::wanted::Wanted;
use super::x25519::X25519Identity;
use super::{ForeignKey, MAX_IDENTITY_FILE_BYTES, MAX_ROUNDS, Recipient, RecipientError, identity_list};
use crate::file_form::FileForm;

/// The most keys of a file of identities. Each identity is tried on each stanza of a header until one fits.
pub const MAX_IDENTITIES: usize = 64;

/// A file that holds no identity that can be used. It names a line, never its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is in another form than any file of identities.
    #[error(transparent)]
    Form(#[from] FileForm),
    /// A line is neither empty, nor a comment, nor an X25519 identity.
    #[error("line {line} is not an age identity (AGE-SECRET-KEY-1…)")]
    Line {
        /// Counted from one.
        line: usize,
    },
    /// There is no identity in it.
    #[error("there is no age identity (AGE-SECRET-KEY-1…) in it")]
    Empty,
    /// It has more bytes than any file of identities.
    #[error("it has more than {MAX_IDENTITY_FILE_BYTES} bytes")]
    TooLarge,
    /// It has more keys than are tried.
    #[error("it has more than {MAX_IDENTITIES} identities")]
    TooMany,
    /// It is the half that everybody may have.
    #[error("it holds a public key, which opens nothing")]
    PublicKey,
    /// An age file that is damaged, or not a passphrase's.
    #[error("it is an age file, but {0}")]
    AgeFile(&'static str),
    /// An age identity that is not in upper case. age refuses it.
    #[error("line {line} is an age identity in lower case, which age does not read")]
    LowerCase {
        /// Counted from one.
        line: usize,
    },
    /// A key of a kind that is not used here.
    #[error("it holds {0}, which flyte-local does not use")]
    Foreign(ForeignKey),
    /// A key of OpenSSH's with a passphrase, in a file that has other keys too.
    #[error("it holds a key with a passphrase, which must be in a separate file")]
    LockedBesideOthers,
    /// A private key in a form of OpenSSH's or OpenSSL's that cannot be read.
    #[error("it begins like an OpenSSH private key, but is malformed")]
    MalformedKey,
    /// A private key of this type, a word of OpenSSH's, which age does not use.
    #[error("it is a key of type {0}, and age uses ssh-ed25519 and ssh-rsa")]
    KeyType(String),
    /// A private key in this form, which age does not read.
    #[error("it is a key in {0}, which age does not read")]
    KeyFormat(KeyFormat),
    /// A block, from `-----BEGIN ` or `---- BEGIN ` on, of a kind that is not known.
    #[error("it holds a block that is not a key of a known kind")]
    UnknownBlock,
    /// A private key encrypted with this cipher, which age does not have.
    #[error("it is encrypted with {0}, which age does not read")]
    Cipher(String),
    /// A private key whose passphrase takes more work than is reasonable.
    #[error("its passphrase takes {0} rounds of bcrypt, and at most {MAX_ROUNDS} are accepted")]
    TooManyRounds(u32),
    /// Its public half is refused as a recipient.
    #[error(transparent)]
    Recipient(#[from] RecipientError),
}

/// A form of a private key that age does not read, and OpenSSH may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormat {
    /// OpenSSL's, which can hold a key of any type.
    #[error("the format PKCS#8")]
    Pkcs8,
    /// OpenSSL's older one, of an RSA key with a passphrase.
    #[error("the old format PEM, encrypted")]
    EncryptedPem,
}

/// A private key that opens secrets: age's own, or one of OpenSSH's. It prints nothing of itself.
#[derive(Clone)]
pub struct Identity(IdentityKey);

#[derive(Clone)]
enum IdentityKey {
    X25519(Box<X25519Identity>),
    /// Only one that is not encrypted, with its public half.
    OpenSsh(Box<(age::ssh::Identity, Recipient)>),
}

/// Identities from anywhere, some of which may have to be unlocked first.
///
/// Several threads may look for one at once.
pub trait Identities: Sync {
    /// Shows one after the other to `opens`, until that is true of one. Those that cost nothing come first; one that is
    /// locked is unlocked only if it may open what is `wanted`.
    fn find(&self, wanted: &Wanted, opens: &mut dyn FnMut(&Identity) -> bool);
}

impl Identities for Vec<Identity> {
    fn find(&self, _: &Wanted, opens: &mut dyn FnMut(&Identity) -> bool) {
        let _ = self.iter().any(opens);
    }
}

impl<const N: usize> Identities for [Identity; N] {
    fn find(&self, _: &Wanted, opens: &mut dyn FnMut(&Identity) -> bool) {
        let _ = self.iter().any(opens);
    }
}

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
    pub fn try_generate() -> Result<Self, RandomnessError> {
        with_randomness(age::x25519::Identity::generate).map(|key| Self(IdentityKey::X25519(Box::new(key.into()))))
    }

    /// One of OpenSSH's, that is not encrypted.
    pub(super) fn open_ssh(key: age::ssh::Identity) -> Result<Self, IdentityError> {
        let recipient = recipient_of(&key)?;
        Ok(Self(IdentityKey::OpenSsh(Box::new((key, recipient)))))
    }

    pub(super) fn is_open_ssh(&self) -> bool {
        matches!(self.0, IdentityKey::OpenSsh(_))
    }

    /// Returns the file key in the first stanza that is for this identity, or the error that age has for it; `None` if there is no
    /// such stanza.
    pub(super) fn unwrap(&self, stanzas: &Stanzas<'_>) -> Option<Result<FileKey, age::DecryptError>> {
        match &self.0 {
            IdentityKey::X25519(key) => key.unwrap(stanzas),
            IdentityKey::OpenSsh(pair) => age::Identity::unwrap_stanzas(&pair.0, stanzas.in_ages_form()),
        }
    }

    /// The public half.
    pub fn recipient(&self) -> Recipient {
        match &self.0 {
            IdentityKey::X25519(key) => key.recipient().clone(),
            IdentityKey::OpenSsh(pair) => pair.1.clone(),
        }
    }

    /// The identities in a file that `age-keygen` or [`Identity::to_file`] wrote: one a line, `#` starts a comment. Keys of other
    /// kinds are passed over if there is one that can be used.
    ///
    /// # Errors
    /// A line that is not a key, no key that can be used, or more keys than [`MAX_IDENTITIES`].
    pub fn parse_file(text: &str) -> Result<Vec<Self>, IdentityError> {
        let block =
            |text: &str, line| Err(ForeignKey::of(text).map_or(IdentityError::Line { line }, IdentityError::Foreign));
        identity_list::parse(text, block).map(|list| list.identities)
    }

    /// The identity of a line that begins as one of age's does; `None` if it is damaged.
    pub(super) fn parse_key(line: &str) -> Option<Self> {
        line.parse().ok().map(|key: age::x25519::Identity| Self(IdentityKey::X25519(Box::new(key.into()))))
    }

    /// The text of an identity file, in the form `age-keygen` gives it, so that `age -d -i` reads it.
    ///
    /// # Panics
    /// It is OpenSSH's, which has its own files.
    pub fn to_file(&self, created: &str) -> Zeroizing<String> {
        let IdentityKey::X25519(key) = &self.0 else { panic!("a key of OpenSSH's is never written") };
        let (public, secret) = (self.recipient(), key.to_text());
        Zeroizing::new(format!("# created: {created}\n# public key: {public}\n{}\n", secret.expose_secret()))
    }
}

/// The public half of a key of OpenSSH's, which an encrypted one has in the clear.
pub(super) fn recipient_of(key: &age::ssh::Identity) -> Result<Recipient, IdentityError> {
    use age::ssh::ParseRecipientKeyError::{RsaModulusTooLarge, Unsupported};
    match age::ssh::Recipient::try_from(key.clone()) {
        // By its text, as that is where all that is refused is looked for.
        Ok(recipient) => Ok(recipient.to_string().parse()?),
        Err(Unsupported(kind)) => Err(IdentityError::KeyType(kind)),
        Err(RsaModulusTooLarge) => Err(RecipientError::RSA_TOO_LONG.into()),
        Err(_) => Err(IdentityError::MalformedKey),
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
    fn a_file_has_at_most_as_many_identities_as_are_tried() {
        let file =
            |count: usize| (0..count).map(|_| Identity::generate().to_file("now").to_string()).collect::<String>();
        assert_eq!(Identity::parse_file(&file(MAX_IDENTITIES)).expect("as many").len(), MAX_IDENTITIES);
        assert_eq!(Identity::parse_file(&file(MAX_IDENTITIES + 1)).expect_err("more"), IdentityError::TooMany);
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_alone() {
        let error = Identity::parse_file("# comment\n\nhunter2\n").expect_err("no identity");
        assert_eq!(error, IdentityError::Line { line: 3 });
        assert!(!error.to_string().contains("hunter2"));
        assert!(matches!(Identity::parse_file("# only a comment\n"), Err(IdentityError::Empty)));
    }

    #[test]
    fn debug_shows_the_public_half() {
        let identity = Identity::generate();
        assert_eq!(format!("{identity:?}"), format!("Identity({})", identity.recipient()));
        assert_eq!(format!("{:?}", identity.recipient()), format!("Recipient({})", identity.recipient()));
    }
}
