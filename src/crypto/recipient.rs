//! Recipients: public keys that secrets are encrypted to.

use std::fmt;
use std::str::FromStr;

use age::ssh::ParseRecipientKeyError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{ForeignKey, KeyHalf};

/// A public key that secrets are encrypted to: age's own, `age1…`, or one of OpenSSH's, `ssh-ed25519 …` or `ssh-rsa …`.
///
/// Two are the same if their texts are; the comment that follows an OpenSSH key does not belong to it.
#[derive(Clone)]
pub struct Recipient(RecipientKey);

#[derive(Clone)]
enum RecipientKey {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

/// Why a string is not a recipient. It never quotes the string, which may be a private key that was given by mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    /// None of the forms that are known.
    #[error("not a recipient (age1…, ssh-ed25519 … or ssh-rsa …)")]
    Unknown,
    /// It begins as an age recipient does.
    #[error("not an age recipient (age1…): {0}")]
    Age(&'static str),
    /// It begins as an OpenSSH key does.
    #[error("not an OpenSSH key that age can encrypt to: {0}")]
    Ssh(&'static str),
    /// An RSA key with too many or too few bits.
    #[error("this RSA key cannot be used: it {0}")]
    RsaLength(&'static str),
    /// An OpenSSH key of another type.
    #[error("age cannot encrypt to a key of type {0}, only to ssh-ed25519 and ssh-rsa")]
    Unsupported(String),
    /// A key of a kind that is not used here.
    #[error("this is {0}, and secrets are encrypted to keys of the kinds age1…, ssh-ed25519 and ssh-rsa only")]
    Foreign(ForeignKey),
    /// Its bytes do not name a point in the one way that its owner's identity does, which could not open the file then.
    #[error("the key is not in its canonical form")]
    NotCanonical,
    /// Everybody can read what is encrypted to it.
    #[error("the key is of small order: everyone can read what is encrypted to it")]
    SmallOrder,
    /// It is the half that must be kept to oneself.
    #[error("this is a private key, and everyone who has seen it can open secrets")]
    PrivateKey,
}

impl RecipientError {
    pub(super) const RSA_TOO_LONG: Self = Self::RsaLength("has more than 4096 bits");
    pub(super) const RSA_TOO_SHORT: Self = Self::RsaLength("has less than 2048 bits");
}

/// Returns `true` if a text is the private half of a key of any kind, or begins like one.
pub fn is_private_key(text: &str) -> bool {
    match ForeignKey::of(text) {
        Some(key) => key.half == KeyHalf::Private,
        None => is_private(text),
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Self, RecipientError> {
        if let Some(key) = ForeignKey::of(text) {
            return Err(RecipientError::Foreign(key));
        }
        let key = match text {
            _ if is_private(text) => return Err(RecipientError::PrivateKey),
            _ if text.starts_with("AGE1") => return Err(RecipientError::Age("age takes it in lower case")),
            _ if text.starts_with("age1") => RecipientKey::X25519(parse_age(text)?),
            _ if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-") => {
                RecipientKey::Ssh(parse_ssh(text)?)
            }
            _ => return Err(RecipientError::Unknown),
        };
        Ok(Self(key))
    }
}

fn is_private(text: &str) -> bool {
    let start = "AGE-SECRET-KEY-";
    text.get(..start.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(start))
        || text.contains("PRIVATE KEY-----")
        // Written before the key itself.
        || text.starts_with("-----BEGIN EC PARAMETERS")
}

fn parse_age(text: &str) -> Result<age::x25519::Recipient, RecipientError> {
    let key = text.parse().map_err(RecipientError::Age)?;
    // age does not encrypt to such a key: it panics.
    let bytes: Option<[u8; 32]> = bech32::decode(text).ok().and_then(|(_, bytes)| bytes.try_into().ok());
    match bytes {
        Some(point) if x25519_dalek::x25519([1; 32], point) == [0; 32] => Err(RecipientError::SmallOrder),
        Some(point) if is_field_element(&point) => Ok(key),
        _ => Err(RecipientError::NotCanonical),
    }
}

fn parse_ssh(text: &str) -> Result<age::ssh::Recipient, RecipientError> {
    // age's parser wants one blank before the key, and to see where it ends.
    let mut words = text.split_ascii_whitespace();
    let (kind, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if let Some(kind) = ForeignKey::ssh_type(kind) {
        return Err(RecipientError::Unsupported(kind.to_owned()));
    }
    if kind == "ssh-rsa" && !STANDARD.decode(key).is_ok_and(|blob| has_whole_numbers(&blob)) {
        return Err(RecipientError::Ssh("it is malformed"));
    }
    let text = format!("{kind} {key}");
    let key: age::ssh::Recipient = format!("{text}\n").parse().map_err(|error| match error {
        ParseRecipientKeyError::RsaModulusTooLarge => RecipientError::RSA_TOO_LONG,
        ParseRecipientKeyError::RsaModulusTooSmall => RecipientError::RSA_TOO_SHORT,
        // A word of OpenSSH's, which the key itself says too.
        ParseRecipientKeyError::Unsupported(kind) => RecipientError::Unsupported(kind),
        _ => RecipientError::Ssh("it is malformed"),
    })?;
    if let age::ssh::Recipient::SshEd25519(blob, _) = &key {
        let point = blob.last_chunk::<32>().and_then(|point| ed25519_dalek::VerifyingKey::from_bytes(point).ok());
        // age does not look, and would encrypt to everybody.
        if point.is_none_or(|point| point.is_weak()) {
            return Err(RecipientError::SmallOrder);
        }
        if !point.is_some_and(|point| is_canonical_point(point.as_bytes())) {
            return Err(RecipientError::NotCanonical);
        }
    }
    // age ignores what follows the key's bytes.
    if Recipient(RecipientKey::Ssh(key.clone())).to_string() == text {
        Ok(key)
    } else {
        Err(RecipientError::Ssh("it is malformed"))
    }
}

/// Returns `true` if these bytes are the only ones of a point of Curve25519: a number below 2^255 - 19, little-endian.
fn is_field_element(bytes: &[u8; 32]) -> bool {
    bytes[31] < 0x7f || (bytes[31] == 0x7f && (bytes[0] < 0xed || bytes[1..31].iter().any(|&byte| byte != 0xff)))
}

/// Returns `true` if these bytes are the only ones of a point of Ed25519: the highest bit is the sign, and the rest a number as
/// above.
pub(super) fn is_canonical_point(bytes: &[u8; 32]) -> bool {
    let mut number = *bytes;
    number[31] &= 0x7f;
    is_field_element(&number)
}

/// Returns `true` if an OpenSSH key has three parts, each with a byte that is not zero: a number without one makes age panic.
fn has_whole_numbers(mut blob: &[u8]) -> bool {
    let mut parts = 0;
    while let Some((length, rest)) = blob.split_first_chunk() {
        let Some((part, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else { return false };
        if part.iter().all(|&byte| byte == 0) {
            return false;
        }
        blob = rest;
        parts += 1;
    }
    blob.is_empty() && parts == 3
}

impl Recipient {
    pub(super) fn as_age(&self) -> &dyn age::Recipient {
        match &self.0 {
            RecipientKey::X25519(key) => key,
            RecipientKey::Ssh(key) => key,
        }
    }
}

impl From<age::x25519::Recipient> for Recipient {
    fn from(key: age::x25519::Recipient) -> Self {
        Self(RecipientKey::X25519(key))
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Recipient {}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            RecipientKey::X25519(key) => key.fmt(f),
            RecipientKey::Ssh(key) => key.fmt(f),
        }
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({self})")
    }
}

#[cfg(test)]
impl Recipient {
    /// Returns an RSA key of 4096 bits, whose private half does not exist.
    pub(crate) fn random_rsa() -> Self {
        let mut modulus = [0; 513];
        getrandom::getrandom(&mut modulus[1..]).expect("randomness");
        (modulus[1], modulus[512]) = (modulus[1] | 0x80, modulus[512] | 1);
        let part = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
        let blob = [part(b"ssh-rsa"), part(b"\x01\0\x01"), part(&modulus)].concat();
        format!("ssh-rsa {}", STANDARD.encode(blob)).parse().expect("a key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of an ssh-ed25519 key of this point.
    fn ssh(point: &[u8; 32]) -> String {
        let blob = [b"\0\0\0\x0bssh-ed25519".as_slice(), b"\0\0\0\x20", point].concat();
        format!("ssh-ed25519 {}", STANDARD.encode(blob))
    }

    fn error(text: &str) -> RecipientError {
        text.parse::<Recipient>().expect_err("none")
    }

    #[test]
    fn an_openssh_key_is_itself_without_its_comment() {
        let point = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes();
        let text = ssh(&point);
        let key: Recipient = text.parse().expect("a key");
        assert_eq!(key.to_string(), text);
        assert_eq!(key, format!("{text} alice@laptop\n").parse().expect("with a comment"));
        assert_ne!(key, crate::crypto::Identity::generate().recipient());
    }

    #[test]
    fn a_key_that_everybody_can_read_is_refused() {
        // The neutral element, a point of order four, and for X25519 the point 0.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(error(&ssh(&neutral)), RecipientError::SmallOrder);
        assert_eq!(error(&ssh(&[0; 32])), RecipientError::SmallOrder);
        let hrp = bech32::Hrp::parse("age").expect("age's prefix");
        let zero = bech32::encode::<bech32::Bech32>(hrp, &[0; 32]).expect("short");
        assert_eq!(error(&zero), RecipientError::SmallOrder);
    }

    #[test]
    fn a_key_with_an_empty_number_is_refused() {
        let part = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
        for numbers in [[&b"\x01\0\x01"[..], b"\0"], [b"\0\0", b"\x01"], [b"", b"\x01"]] {
            let blob = [part(b"ssh-rsa"), part(numbers[0]), part(numbers[1])].concat();
            assert_eq!(error(&format!("ssh-rsa {}", STANDARD.encode(blob))), RecipientError::Ssh("it is malformed"));
        }
    }

    #[test]
    fn an_error_does_not_quote_the_refused_text() {
        assert_eq!(error("hunter2"), RecipientError::Unknown);
        assert!(matches!(error("age1hunter2"), RecipientError::Age(_)));
        assert!(matches!(error("ssh-ed25519 hunter2"), RecipientError::Ssh(_)));
        assert!(matches!(error("ssh-rsa AAAA"), RecipientError::Ssh(_)));
        assert!(
            error("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=").to_string().contains("ecdsa-sha2-nistp256")
        );
        for private in ["AGE-SECRET-KEY-1QQQ", "age-secret-key-1qqq", "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2"] {
            assert_eq!(error(private), RecipientError::PrivateKey);
            assert!(!error(private).to_string().contains("qqq"));
        }
    }
}
