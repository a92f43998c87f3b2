//! Files whose binding and whose stanzas are made by hand, with a valid MAC: a second implementation of a writer, made from the
//! document.

use std::cell::RefCell;

use age_core::format::FileKey;
use age_core::secrecy::ExposeSecret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::{Maker, SIGNED_TAG, VAULT, commitment, encode, header_length, public};
use crate::forger;

/// The members of a binding, and the message that its author signs.
#[derive(Clone)]
pub(super) struct Draft<'a> {
    pub(super) tag: &'a str,
    pub(super) vault: &'a str,
    pub(super) project: Option<&'a str>,
    pub(super) domain: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) secret_type: &'a str,
    pub(super) created: &'a str,
    pub(super) updated: &'a str,
    pub(super) recipients: Option<String>,
    pub(super) author: &'a SigningKey,
}

impl<'a> Draft<'a> {
    /// Returns a good binding of a secret of the organization in the vault of format 2.
    pub(super) fn new(maker: &'a Maker, name: &'a str) -> Self {
        Self {
            tag: SIGNED_TAG,
            vault: VAULT,
            project: None,
            domain: None,
            name,
            secret_type: "regular",
            created: "2026-01-02T03:04:05Z",
            updated: "2026-02-03T04:05:06.789Z",
            recipients: Some(digest(&[maker.recipient.to_string()])),
            author: &maker.author,
        }
    }

    pub(super) fn message(&self, commitment: &[u8]) -> Vec<u8> {
        let author = self.author.verifying_key().to_bytes();
        let mut parts: Vec<&[u8]> = vec![
            self.tag.as_bytes(),
            self.vault.as_bytes(),
            self.project.unwrap_or_default().as_bytes(),
            self.domain.unwrap_or_default().as_bytes(),
            self.name.as_bytes(),
            self.secret_type.as_bytes(),
            self.created.as_bytes(),
            self.updated.as_bytes(),
            &author,
            commitment,
        ];
        parts.extend(self.recipients.as_ref().map(|digest| digest.as_bytes()));
        parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes(), *part].concat()).collect()
    }

    pub(super) fn signature(&self, commitment: &[u8]) -> [u8; 64] {
        self.author.sign(&self.message(commitment)).to_bytes()
    }

    /// Returns the text of the binding with this signature.
    pub(super) fn json(&self, commitment: &[u8], signature: &[u8]) -> String {
        let scope = |scope: Option<&str>| scope.map_or("null".to_owned(), |name| format!("\"{name}\""));
        let recipients = self.recipients.as_ref().map(|digest| format!(r#""recipients":"{digest}","#));
        format!(
            r#"{{"vault":"{}","project":{},"domain":{},"name":"{}","type":"{}","created":"{}","updated":"{}",{}"author":"{}","commitment":"{}","signature":"{}"}}"#,
            self.vault,
            scope(self.project),
            scope(self.domain),
            self.name,
            self.secret_type,
            self.created,
            self.updated,
            recipients.unwrap_or_default(),
            public(self.author.verifying_key().as_bytes()),
            STANDARD.encode(commitment),
            STANDARD.encode(signature),
        )
    }

    /// Returns the stanza of the binding of a file with this key.
    pub(super) fn stanza(&self, key: &FileKey) -> String {
        self.signed_as(self, key)
    }

    /// Returns the stanza of this binding, with the signature of another.
    pub(super) fn signed_as(&self, other: &Draft<'_>, key: &FileKey) -> String {
        let commitment = commitment(key, super::forms::PAYLOAD);
        raw(SIGNED_TAG, self.json(&commitment, &other.signature(&commitment)).as_bytes())
    }
}

/// Returns the digest of recipients.
pub(super) fn digest(keys: &[String]) -> String {
    let mut keys = keys.to_vec();
    keys.sort();
    unsorted_digest(&keys)
}

pub(super) fn unsorted_digest(keys: &[String]) -> String {
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
    Sha256::digest(lines).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the text of a stanza of this tag, with its arguments, and this body.
pub(super) fn raw(tag: &str, body: &[u8]) -> String {
    format!("-> {tag}\n{}", encode(body))
}

/// Returns the text of the stanza in which this recipient wraps the key.
pub(super) fn wrapped(recipient: &dyn age::Recipient, key: &FileKey) -> String {
    let (stanzas, _) = recipient.wrap_file_key(key).expect("a good recipient");
    stanzas.iter().map(|stanza| raw(&format!("{} {}", stanza.tag, stanza.args.join(" ")), &stanza.body)).collect()
}

/// Returns another file key.
pub(super) fn other_key() -> FileKey {
    FileKey::init_with_mut(|bytes| *bytes = [7; 16])
}

/// Returns a header of these stanzas, with its MAC.
pub(super) fn header(stanzas: &[String], file_key: &[u8]) -> Vec<u8> {
    let header = format!("age-encryption.org/v1\n{}---", stanzas.concat());
    let mac_key = age_core::primitives::hkdf(b"", b"header", file_key);
    let mut mac = Hmac::<Sha256>::new_from_slice(&mac_key).expect("a key");
    mac.update(header.as_bytes());
    let mac = STANDARD_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{header} {mac}\n").into_bytes()
}

impl Maker {
    /// Returns a file whose header has exactly these stanzas.
    pub(super) fn by_hand(&self, stanzas: &dyn Fn(&FileKey) -> Vec<String>) -> Vec<u8> {
        let kept: RefCell<Option<FileKey>> = RefCell::new(None);
        let keep = |key: &FileKey| {
            *kept.borrow_mut() = Some(FileKey::init_with_mut(|bytes| bytes.copy_from_slice(key.expose_secret())));
            Vec::new()
        };
        let file = forger::keyed(&self.recipient, &keep, super::forms::PAYLOAD);
        let key = kept.into_inner().expect("it was asked");
        [&header(&stanzas(&key), key.expose_secret())[..], &file[header_length(&file)..]].concat()
    }

    /// Returns a file with the owner's stanza, this binding and more stanzas.
    pub(super) fn with(&self, draft: &Draft<'_>, more: &dyn Fn(&FileKey) -> Vec<String>) -> Vec<u8> {
        self.by_hand(&|key| [vec![wrapped(&self.recipient, key), draft.stanza(key)], more(key)].concat())
    }

    /// Returns a file with the owner's stanza and a binding whose text `change` alters after signing.
    pub(super) fn altered(&self, draft: &Draft<'_>, change: &dyn Fn(String) -> Vec<u8>) -> Vec<u8> {
        self.by_hand(&|key| {
            let commitment = commitment(key, super::forms::PAYLOAD);
            let json = draft.json(&commitment, &draft.signature(&commitment));
            vec![wrapped(&self.recipient, key), raw(SIGNED_TAG, &change(json))]
        })
    }
}
