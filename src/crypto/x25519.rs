//! age's own identities, opening stanzas as age does: RFC 7748, HKDF and ChaCha20-Poly1305, from age's own crates.
//!
//! age's identity computes its public key again for each stanza that it tries: half of the curve arithmetic of opening a small
//! file. It is computed once here.

use std::sync::Arc;

use age_core::format::{FILE_KEY_BYTES, FileKey};
use age_core::primitives::{aead_decrypt, hkdf};
use age_core::secrecy::{ExposeSecret, SecretString};
use bech32::primitives::decode::CheckedHrpstring;
use zeroize::Zeroizing;

use super::Recipient;
use super::open::Stanzas;
use super::stanzas::{HeaderStanza, decode_argument};

const TAG: &str = "X25519";

/// The HKDF info of age's specification.
const WRAP_INFO: &[u8] = b"age-encryption.org/v1/X25519";

/// An identity of age's, with its public half.
#[derive(Clone)]
pub(super) struct X25519Identity {
    key: age::x25519::Identity,
    /// The number that the key is. It is in one place in memory.
    number: Arc<Zeroizing<[u8; 32]>>,
    recipient: Recipient,
    /// The bytes of the recipient.
    point: [u8; 32],
}

impl From<age::x25519::Identity> for X25519Identity {
    fn from(key: age::x25519::Identity) -> Self {
        let mut number = Arc::new(Zeroizing::new([0; 32]));
        let place = Arc::get_mut(&mut number).expect("not shared yet");
        decode(key.to_string().expose_secret(), place);
        let (recipient, mut point) = (key.to_public(), [0; 32]);
        decode(&recipient.to_string(), &mut point);
        Self { key, number, recipient: recipient.into(), point }
    }
}

/// Writes the bytes of one of age's keys, which age itself has put into text.
fn decode(text: &str, bytes: &mut [u8; 32]) {
    let checked = CheckedHrpstring::new::<bech32::Bech32>(text).expect("age's own text");
    let mut length = 0;
    for (to, from) in bytes.iter_mut().zip(checked.byte_iter()) {
        *to = from;
        length += 1;
    }
    assert_eq!(length, bytes.len(), "a key has 32 bytes");
}

impl X25519Identity {
    /// Returns the public half.
    pub(super) fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// Returns the text of the private half.
    pub(super) fn to_text(&self) -> SecretString {
        self.key.to_string()
    }

    /// Returns the file key in the first stanza that it opens, or age's error for one that is malformed; `None` if it opens none.
    pub(super) fn unwrap(&self, stanzas: &Stanzas<'_>) -> Option<Result<FileKey, age::DecryptError>> {
        stanzas.iter().filter(|stanza| stanza.tag == TAG).find_map(|stanza| self.unwrap_one(stanza))
    }

    fn unwrap_one(&self, stanza: &HeaderStanza<'_>) -> Option<Result<FileKey, age::DecryptError>> {
        let share = stanza.arguments().next().and_then(decode_argument::<32>);
        let Some(share) = share else { return Some(Err(age::DecryptError::InvalidHeader)) };
        let shared = Zeroizing::new(x25519_dalek::x25519(**self.number, share));
        // A share of small order, which the reader of stanzas refuses too.
        if *shared == [0; 32] {
            return Some(Err(age::DecryptError::InvalidHeader));
        }
        let mut salt = [0; 64];
        salt[..32].copy_from_slice(&share);
        salt[32..].copy_from_slice(&self.point);
        let key = Zeroizing::new(hkdf(&salt, WRAP_INFO, &*shared));
        // One that does not open may be for another key: it does not say for which.
        let opened = Zeroizing::new(aead_decrypt(&key, FILE_KEY_BYTES, &stanza.body()).ok()?);
        Some(Ok(FileKey::init_with_mut(|file_key| file_key.copy_from_slice(&opened))))
    }
}
