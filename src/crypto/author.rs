//! Authors: who wrote a file, which age does not say. Ed25519 (RFC 8032), verified strictly.
//!
//! A signing key is not an identity and opens nothing. It is kept unencrypted, so that writing needs no identity.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::recipient::is_canonical_point;
use super::{ForeignKey, KeyHalf, KeyKind, Recipient, RecipientError};

/// The prefix of a public key's text, before bech32's separator.
const PUBLIC: &str = "flyteauthor";
/// The same of a signing key; upper case, as age's private keys are, so that one is not taken for the other.
const SECRET: &str = "flyte-author-key-";

/// The bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// The public key of who writes: `flyteauthor1…`.
#[derive(Clone)]
pub struct Author {
    key: VerifyingKey,
    /// Its one form. Kept, so that an author who is known is recognised by it, without arithmetic on the curve.
    text: Arc<str>,
}

impl PartialEq for Author {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Author {}

/// Why a string is not an author's public key. It never quotes the string, which may be a private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorError {
    /// Not a key of a known kind, or a damaged one.
    #[error("not an author's key (flyteauthor1…)")]
    Malformed,
    /// The key of a recipient, who may have an author's key too.
    #[error("this is a recipient's key, which opens secrets and signs none")]
    Recipient,
    /// The private half of a recipient's key.
    #[error("this is a private key, and everyone who has seen it can open secrets")]
    PrivateKey,
    /// A key of another kind, or the private half of an author's.
    #[error("this is {0}; the public key of an author begins with flyteauthor1")]
    Foreign(ForeignKey),
}

impl AuthorError {
    /// Returns the reason why a text that is not an author's public key is refused.
    fn of(text: &str) -> Self {
        match text.parse::<Recipient>() {
            Err(RecipientError::PrivateKey) => Self::PrivateKey,
            Err(RecipientError::Foreign(ForeignKey { kind: KeyKind::Author, half: KeyHalf::Public })) => {
                Self::Malformed
            }
            Err(RecipientError::Foreign(key)) => Self::Foreign(key),
            Err(RecipientError::Unknown) => Self::Malformed,
            Ok(_) | Err(_) => Self::Recipient,
        }
    }
}

impl Author {
    /// The 32 bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Returns the key as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns `true` if this author signed exactly this message.
    ///
    /// Strict: of the several verifiers that RFC 8032 allows, the one for which a signature has one form, and no key or
    /// nonce of small order passes, for which one signature would fit many messages.
    pub fn has_signed(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl FromStr for Author {
    type Err = AuthorError;

    fn from_str(text: &str) -> Result<Self, AuthorError> {
        let bytes = decode(PUBLIC, text).ok_or_else(|| AuthorError::of(text))?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| AuthorError::Malformed)?;
        let author = Self::from(key);
        // One form a key, or two entries could look like two authors; and none that fits everybody's signatures.
        let is_only_form = author.as_str() == text && is_canonical_point(&bytes);
        if key.is_weak() || !is_only_form { Err(AuthorError::Malformed) } else { Ok(author) }
    }
}

impl From<VerifyingKey> for Author {
    fn from(key: VerifyingKey) -> Self {
        Self { text: encode(PUBLIC, key.as_bytes()).into(), key }
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Author({self})")
    }
}

/// Why text is not an author's key file. It does not repeat the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not hold exactly one author's key (FLYTE-AUTHOR-KEY-1…)")]
pub struct AuthorKeyError;

/// The private half, which signs. It prints nothing of itself, and is wiped when dropped. It is in one place in memory, as one
/// that is moved about leaves copies of itself on the stacks of threads.
#[derive(Clone)]
pub struct AuthorKey(Arc<SigningKey>);

impl AuthorKey {
    /// A new one, from the operating system's randomness.
    ///
    /// # Errors
    /// There is none to be had.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::getrandom(&mut *bytes)?;
        Ok(Self(Arc::new(SigningKey::from_bytes(&bytes))))
    }

    /// The public half.
    pub fn author(&self) -> Author {
        Author::from(self.0.verifying_key())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }

    /// The key in a file that [`AuthorKey::to_file`] wrote; `#` starts a comment.
    ///
    /// # Errors
    /// It does not hold exactly one key.
    pub fn parse_file(text: &str) -> Result<Self, AuthorKeyError> {
        let mut lines = text.lines().map(str::trim_ascii).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else { return Err(AuthorKeyError) };
        let bytes = Zeroizing::new(decode(SECRET, line).ok_or(AuthorKeyError)?);
        // One form a key, as for public ones.
        if *secret_text(&bytes) != line {
            return Err(AuthorKeyError);
        }
        Ok(Self(Arc::new(SigningKey::from_bytes(&bytes))))
    }

    /// The text of a key file.
    pub fn to_file(&self, created: &str) -> Zeroizing<String> {
        let key = secret_text(&Zeroizing::new(self.0.to_bytes()));
        Zeroizing::new(format!(
            "# The key that signs the secrets you write. It opens none.\n# created: {created}\n# public key: {}\n{}\n",
            self.author(),
            *key
        ))
    }
}

impl fmt::Debug for AuthorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorKey({})", self.author())
    }
}

/// Returns a signing key as a file has it.
fn secret_text(key: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(encode(SECRET, key));
    text.make_ascii_uppercase();
    text
}

fn encode(prefix: &str, bytes: &[u8]) -> String {
    let prefix = Hrp::parse(prefix).expect("a good prefix");
    bech32::encode::<Bech32>(prefix, bytes).expect("it is short enough")
}

fn decode(prefix: &str, text: &str) -> Option<[u8; 32]> {
    let checked = CheckedHrpstring::new::<Bech32>(text).ok()?;
    if !checked.hrp().as_str().eq_ignore_ascii_case(prefix) {
        return None;
    }
    let bytes = Zeroizing::new(checked.byte_iter().collect::<Vec<_>>());
    bytes.as_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AuthorKey {
        AuthorKey::generate().expect("randomness")
    }

    #[test]
    fn a_written_file_is_read_again_and_debug_shows_the_public_half() {
        let key = key();
        let file = key.to_file("2026-01-01T00:00:00Z");
        assert_eq!(AuthorKey::parse_file(&file).expect("our own format").author(), key.author());
        assert_eq!(format!("{key:?}"), format!("AuthorKey({})", key.author()));
        assert_eq!(format!("{:?}", key.author()), format!("Author({})", key.author()));
        assert!(AuthorKey::parse_file("").is_err() && AuthorKey::parse_file(&format!("{0}{0}", *file)).is_err());
        assert!(AuthorKey::parse_file(&key.author().to_string()).is_err(), "a public key is not a signing key");
    }

    #[test]
    fn a_key_has_one_form() {
        let text = key().author().to_string();
        assert_eq!(text.parse::<Author>().expect("our own format").to_string(), text);
        assert!(text.to_uppercase().parse::<Author>().is_err());
        for index in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[index] = if changed[index] == b'q' { b'p' } else { b'q' };
            assert!(String::from_utf8(changed).expect("ASCII").parse::<Author>().is_err(), "character {index}");
        }
    }

    #[test]
    fn a_key_of_small_order_is_refused() {
        // The identity, and points of order 2, 4 and 8 (RFC 8032's encoding).
        let mut one = [0; 32];
        one[0] = 1;
        let mut minus_one = [0xff; 32];
        (minus_one[0], minus_one[31]) = (0xec, 0x7f);
        let order_8 = [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ];
        for bytes in [one, minus_one, [0; 32], order_8] {
            assert!(
                VerifyingKey::from_bytes(&bytes).is_ok_and(|key| key.is_weak()),
                "{bytes:?} is not what it should be"
            );
            assert_eq!(encode(PUBLIC, &bytes).parse::<Author>(), Err(AuthorError::Malformed));
        }
    }

    /// `signature`, with the group's order added to its second half: the same number, in another form.
    fn stretched(signature: &[u8; SIGNATURE_BYTES]) -> [u8; SIGNATURE_BYTES] {
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let (mut result, mut carry) = (*signature, 0);
        for index in 0..32 {
            let sum = u16::from(signature[32 + index]) + u16::from(ORDER[index]) + carry;
            result[32 + index] = sum as u8;
            carry = sum >> 8;
        }
        result
    }

    #[test]
    fn only_the_exact_message_and_signature_pass() {
        let (key, other) = (key(), key());
        let signature = key.sign(b"message");
        assert!(key.author().has_signed(b"message", &signature));
        assert!(!key.author().has_signed(b"messagf", &signature));
        assert!(!other.author().has_signed(b"message", &signature));
        assert!(!key.author().has_signed(b"message", &stretched(&signature)), "a second form of the signature");
        for bit in 0..8 * SIGNATURE_BYTES {
            let mut changed = signature;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!key.author().has_signed(b"message", &changed), "bit {bit}");
        }
    }
}
