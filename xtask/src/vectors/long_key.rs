//! A file whose file key is too long. No age library makes one, but some of them open it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use rsa::{BigUint, Oaep, RsaPublicKey};
use sha2::{Digest, Sha256};

use super::drafts::{Draft, header, raw};
use super::forms::PAYLOAD;
use super::{SIGNED_TAG, commitment_by};

/// One byte more than a file key has.
const KEY: [u8; 17] = [7; 17];

const PAYLOAD_NONCE: [u8; 16] = [9; 16];

/// Returns a file for one RSA key, which is right but for the length of its file key.
pub(super) fn file(draft: &Draft<'_>, rsa: &str) -> Vec<u8> {
    let commitment = commitment_by(&KEY, PAYLOAD);
    let binding = raw(SIGNED_TAG, draft.json(&commitment, &draft.signature(&commitment)).as_bytes());
    [header(&[wrapped(rsa), binding], &KEY), PAYLOAD_NONCE.to_vec(), payload()].concat()
}

/// Returns the stanza in which an RSA key of OpenSSH wraps the file key.
fn wrapped(rsa: &str) -> String {
    let blob = STANDARD.decode(rsa.split(' ').nth(1).expect("a key")).expect("base64");
    let (mut rest, mut parts) = (&blob[..], Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (part, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        parts.push(part);
        rest = after;
    }
    let key = RsaPublicKey::new(BigUint::from_bytes_be(parts[2]), BigUint::from_bytes_be(parts[1])).expect("a key");
    let padding = Oaep::new_with_label::<Sha256, _>("age-encryption.org/v1/ssh-rsa");
    let body = key.encrypt(&mut rsa::rand_core::OsRng, padding, &KEY).expect("short enough");
    raw(&format!("ssh-rsa {}", STANDARD_NO_PAD.encode(&Sha256::digest(&blob)[..4])), &body)
}

/// Returns the value, encrypted as the first and last chunk.
fn payload() -> Vec<u8> {
    let key = age_core::primitives::hkdf(&PAYLOAD_NONCE, b"payload", &KEY);
    let nonce = [&[0; 11][..], &[1]].concat();
    ChaCha20Poly1305::new(Key::from_slice(&key)).encrypt(Nonce::from_slice(&nonce), PAYLOAD).expect("short enough")
}
