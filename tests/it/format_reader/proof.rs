//! The commitment and the signature.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::binding::{Binding, Proof};
use super::{Reader, Vault, Wrong};

/// The order of the group of Ed25519, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

impl Reader {
    fn base64(&self, text: &str, bytes: usize) -> Option<Vec<u8>> {
        let text = if self.is(Wrong::Lines) { text.replace('\n', "") } else { text.to_owned() };
        let decoded = match self.wrong {
            Some(Wrong::UnusedBits) => super::header::lax(DecodePaddingMode::RequireCanonical, &text),
            Some(Wrong::NoPadding) => super::header::lax(DecodePaddingMode::Indifferent, &text),
            _ => STANDARD.decode(text).ok(),
        };
        decoded.filter(|decoded| decoded.len() == bytes)
    }

    /// Returns the members that make a binding a signed one; the inner `None` for an unsigned one.
    pub(super) fn proof(&self, is_signed: bool, required: &dyn Fn(&str) -> Option<String>) -> Option<Option<Proof>> {
        let parse = || {
            let author = required("author").filter(|author| self.author(author).is_some())?;
            let commitment = self.base64(&required("commitment")?, 32)?;
            let signature = match required("signature") {
                None if self.is(Wrong::NoSignature) => None,
                signature => Some(self.base64(&signature?, 64)?),
            };
            Some(Proof { author, commitment, signature })
        };
        match is_signed {
            true => parse().map(Some),
            false if self.is(Wrong::AnyTag) => Some(parse()),
            false => Some(None),
        }
    }

    /// Returns `true` if one of the vault's authors signed the binding.
    pub(super) fn is_signed(&self, vault: &Vault, binding: &Binding) -> bool {
        let Some(proof) = &binding.proof else { return self.is(Wrong::ReadsUnsigned) };
        let author = self.author(&proof.author).expect("as it was parsed");
        let is_listed = vault.authors.contains(&author) || self.is(Wrong::AnyAuthor);
        let signer = match vault.authors.first() {
            Some(owner) if self.is(Wrong::OwnersSignature) => owner,
            _ => &author,
        };
        let is_listed = is_listed || self.is(Wrong::OwnersSignature);
        is_listed && (self.is(Wrong::AnySignature) || self.verifies(signer, &author, binding, proof))
    }

    fn verifies(&self, signer: &[u8; 32], author: &[u8; 32], binding: &Binding, proof: &Proof) -> bool {
        let Some(signature) = &proof.signature else { return true };
        let mut signature: [u8; 64] = signature[..].try_into().expect("its size was checked");
        if self.is(Wrong::StretchedSignature) && signature[32..].iter().rev().ge(ORDER.iter().rev()) {
            let mut borrow = 0;
            for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
                let difference = i16::from(*byte) - i16::from(order) - borrow;
                (*byte, borrow) = (difference.rem_euclid(256) as u8, i16::from(difference < 0));
            }
        }
        let (key, signature) = (VerifyingKey::from_bytes(signer).expect("a point"), Signature::from_bytes(&signature));
        let message = self.message(author, binding, &proof.commitment);
        match self.is(Wrong::SmallOrderSignature) {
            true => key.verify(&message, &signature).is_ok(),
            false => key.verify_strict(&message, &signature).is_ok(),
        }
    }

    fn message(&self, author: &[u8], binding: &Binding, commitment: &[u8]) -> Vec<u8> {
        let (mut project, mut domain) = (binding.project.as_deref(), binding.domain.as_deref());
        if self.is(Wrong::SwapsScope) {
            (project, domain) = (domain, project);
        }
        let tag = if self.is(Wrong::OtherTag) { "flyte-local/secret-v1" } else { "flyte-local/secret-v2" };
        let time = |(text, (_, nanoseconds)): &(String, super::times::Time)| match self.wrong {
            Some(Wrong::NoTimesInMessage) => String::new(),
            Some(Wrong::NormalTimes) if *nanoseconds > 0 => {
                text.trim_end_matches('Z').trim_end_matches('0').to_owned() + "Z"
            }
            Some(Wrong::NormalTimes) => text[..19].to_owned() + "Z",
            _ => text.clone(),
        };
        let (created, updated) = (time(&binding.created), time(&binding.updated));
        let mut parts: Vec<&[u8]> = vec![
            tag.as_bytes(),
            binding.vault.as_bytes(),
            project.unwrap_or_default().as_bytes(),
            domain.unwrap_or_default().as_bytes(),
            binding.name.as_bytes(),
            binding.secret_type.as_bytes(),
            created.as_bytes(),
            updated.as_bytes(),
            author,
            commitment,
        ];
        match &binding.recipients {
            Some(_) if self.is(Wrong::NoRecipientsInMessage) => {}
            Some(digest) => parts.push(digest.as_bytes()),
            None if self.is(Wrong::EmptyRecipientsInMessage) => parts.push(b""),
            None => {}
        }
        let mut message = Vec::new();
        for part in parts {
            if !self.is(Wrong::NoLengths) {
                message.extend(u64::try_from(part.len()).expect("small").to_be_bytes());
            }
            message.extend(part);
        }
        message
    }

    pub(super) fn is_committed(&self, binding: &Binding, file_key: &[u8], value: &[u8]) -> bool {
        let Some(proof) = &binding.proof else { return true };
        let key = age_core::primitives::hkdf(b"", b"flyte-local/commitment-v2", file_key);
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
        mac.update(value);
        self.is(Wrong::AnyCommitment) || mac.finalize().into_bytes()[..] == proof.commitment[..]
    }
}
