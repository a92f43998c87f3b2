//! The envelope: a binary age file whose header carries one additional stanza, the binding.
//!
//! age clients skip a stanza they do not know and the header's MAC covers it, so `age -d` prints the value while a
//! changed binding makes the file invalid. The vault decides what the binding says; here it is bytes.
//!
//! A signed binding holds a commitment to the value: a MAC of it under a key that follows from the file key. So a signature
//! over the binding is one over this very value, and reveals nothing of it without the file key.
//!
//! The binding goes into the stanza's body, never its arguments: age does not check arguments, and a newline in one makes
//! a file that other clients reject.

use age_core::format::FileKey;
use age_core::secrecy::ExposeSecret;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::header::{MAX_HEADER_BYTES, SIGNED_TAG, UNSIGNED_TAG};
use super::randomness::RandomnessError;
use super::wanted::Wanted;
use crate::file_form::FileForm;
use crate::secret::{MAX_VALUE_BYTES, SecretValue};

/// The largest file that can hold a value: header, value, and age's 16 bytes for each 64 KiB of it.
pub const MAX_FILE_BYTES: usize = MAX_HEADER_BYTES + MAX_VALUE_BYTES + (4 << 10);

/// The HKDF info that separates the commitment's key from the keys that age derives from a file key.
const COMMITMENT_INFO: &[u8] = b"flyte-local/commitment-v2";

/// A MAC of a value, under a key derived from the key of its file: HMAC-SHA256, HKDF-SHA256.
pub type Commitment = [u8; 32];

/// The binding of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// `true` for the version that is signed.
    pub is_signed: bool,
    /// The body of its stanza.
    pub body: Vec<u8>,
}

/// The content of a header that can be read without a key, unverified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    /// The binding.
    pub binding: Binding,
    /// The recipients, as far as stanzas show them.
    pub wanted: Wanted,
}

/// Why a file is not one we can open.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Something else than a binary age file.
    #[error("not an age file")]
    NotAge,
    /// A file that git or another program put there or changed.
    #[error(transparent)]
    Form(FileForm),
    /// It ends too early.
    #[error("the file is cut short")]
    Truncated,
    /// More stanzas, or a longer header, than any secret has.
    #[error("the age header is larger than any secret's")]
    HeaderTooLarge,
    /// More bytes than any secret has.
    #[error("the file is larger than any secret's")]
    FileTooLarge,
    /// age cannot parse the header.
    #[error("the age header is malformed")]
    MalformedHeader,
    /// An age file, but not one of a vault: it has no binding, or several.
    #[error("an age file, but not a secret of a flyte-local vault")]
    NoBinding,
    /// It is encrypted to other recipients.
    #[error("none of the identities opens it")]
    NoMatchingIdentity,
    /// The header's MAC or the payload does not hold.
    #[error("its content was changed or damaged after it was written")]
    Tampered,
    /// There are no recipients.
    #[error("there is no recipient to encrypt to")]
    NoRecipient,
    /// There is no key to encrypt with.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// age failed to encrypt.
    #[error("age could not encrypt: {0}")]
    Encrypt(String),
    /// The bytes that were read back differ from those that were written.
    #[error("what was read back is not what was written")]
    ReadBack,
}

impl EnvelopeError {
    /// Names the cause, if the bytes of the file that could not be read show it.
    pub(super) fn with_cause(self, file: &[u8]) -> Self {
        match self {
            Self::NotAge | Self::Truncated | Self::HeaderTooLarge | Self::MalformedHeader | Self::Tampered => {
                FileForm::recognise(file).map_or(self, Self::Form)
            }
            other => other,
        }
    }
}

pub(super) fn commit(file_key: &FileKey, value: &SecretValue) -> Commitment {
    let key = Zeroizing::new(age_core::primitives::hkdf(b"", COMMITMENT_INFO, file_key.expose_secret()));
    let mut mac = Hmac::<Sha256>::new_from_slice(&key[..]).expect("a key of any length will do");
    mac.update(value.expose());
    mac.finalize().into_bytes().into()
}

pub(super) fn copy(key: &FileKey) -> FileKey {
    FileKey::init_with_mut(|bytes| bytes.copy_from_slice(key.expose_secret()))
}

/// Returns `true` for the tag of a binding of either version: with one of each, a file has two bindings.
pub(super) fn is_binding(tag: &str) -> bool {
    tag == SIGNED_TAG || tag == UNSIGNED_TAG
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashSet;
    use std::io::Write;

    use age_core::format::Stanza;

    use super::*;
    use crate::crypto::{Identity, Sealed, open, peek, seal};

    fn value(bytes: &[u8]) -> SecretValue {
        SecretValue::new(Zeroizing::new(bytes.to_vec())).expect("small enough")
    }

    fn sealed(bytes: &[u8]) -> (Identity, Sealed) {
        let identity = Identity::generate();
        let sealed = seal(&value(bytes), &|_| b"binding".to_vec(), &[identity.recipient()]).expect("it seals");
        (identity, sealed)
    }

    #[test]
    fn a_sealed_value_opens() {
        for bytes in [&b""[..], b"a\0b\n", &vec![7; MAX_VALUE_BYTES]] {
            let (identity, sealed) = sealed(bytes);
            let opened = open(&sealed.bytes, &[identity]).expect("it opens");
            assert_eq!(opened.value.expose(), bytes);
            assert_eq!(opened.binding, Binding { is_signed: true, body: b"binding".to_vec() });
            let peeked = peek(&sealed.bytes).expect("it has one");
            assert_eq!((peeked.binding, peeked.wanted), (opened.binding, opened.wanted));
            assert!(sealed.verify(&sealed.bytes, &value(bytes)).is_ok());
            assert!(sealed.bytes.len() <= MAX_FILE_BYTES);
        }
    }

    #[test]
    fn every_recipient_opens_it_and_no_other() {
        let (alice, bob, eve) = (Identity::generate(), Identity::generate(), Identity::generate());
        let recipients = [alice.recipient(), bob.recipient()];
        let sealed = seal(&value(b"v"), &|_| b"b".to_vec(), &recipients).expect("it seals");
        assert!(open(&sealed.bytes, &[alice]).is_ok());
        assert!(open(&sealed.bytes, &[bob]).is_ok());
        assert!(matches!(open(&sealed.bytes, &[eve]), Err(EnvelopeError::NoMatchingIdentity)));
    }

    #[test]
    fn a_commitment_is_to_this_value_in_this_file() {
        let identity = Identity::generate();
        let commitment = |bytes: &[u8]| {
            let told = RefCell::new(None);
            let bind = |commitment: &Commitment| {
                *told.borrow_mut() = Some(*commitment);
                Vec::new()
            };
            let sealed = seal(&value(bytes), &bind, &[identity.recipient()]).expect("it seals");
            let opened = open(&sealed.bytes, std::array::from_ref(&identity)).expect("it opens");
            assert_eq!(*told.borrow(), Some(opened.commitment), "the reader's is the writer's");
            let same_key = |bytes| commit(&sealed.file_key, &value(bytes));
            assert_eq!(same_key(bytes), opened.commitment);
            assert_ne!(same_key(b"another"), opened.commitment);
            opened.commitment
        };
        // Not a hash of the value: a guess cannot be checked without the file key.
        assert_ne!(commitment(b"value"), commitment(b"value"));
    }

    #[test]
    fn seal_without_recipients_fails() {
        assert!(matches!(seal(&value(b"v"), &|_| b"b".to_vec(), &[]), Err(EnvelopeError::NoRecipient)));
    }

    #[test]
    fn no_changed_byte_and_no_cut_goes_unseen() {
        let (identity, sealed) = sealed(b"some value");
        let identities = [identity];
        for index in 0..sealed.bytes.len() {
            let mut changed = sealed.bytes.clone();
            changed[index] ^= 1;
            assert!(open(&changed, &identities).is_err(), "byte {index} changed");
            assert!(open(&sealed.bytes[..index], &identities).is_err(), "cut to {index} bytes");
        }
    }

    #[test]
    fn a_file_read_back_wrong_is_refused() {
        let (_, sealed) = sealed(b"new");
        assert!(matches!(sealed.verify(&sealed.bytes, &value(b"old")), Err(EnvelopeError::ReadBack)));
        let other = Sealed { binding: b"other".to_vec(), bytes: Vec::new(), file_key: copy(&sealed.file_key) };
        assert!(matches!(other.verify(&sealed.bytes, &value(b"new")), Err(EnvelopeError::ReadBack)));
        assert!(sealed.verify(&sealed.bytes[..sealed.bytes.len() - 1], &value(b"new")).is_err());
    }

    /// Wraps the file key for no recipient: it makes stanzas of these tags, and keeps the key.
    struct KeylessRecipient<'a>(&'a [&'a str], RefCell<Option<FileKey>>);

    impl age::Recipient for KeylessRecipient<'_> {
        fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
            *self.1.borrow_mut() = Some(copy(file_key));
            let stanza = |tag: &&str| {
                let (args, body) = match *tag {
                    "X25519" => (vec!["C".repeat(42) + "A"], vec![0; 32]),
                    _ => (Vec::new(), b"binding".to_vec()),
                };
                Stanza { tag: (*tag).to_owned(), args, body }
            };
            Ok((self.0.iter().map(stanza).collect(), HashSet::new()))
        }
    }

    #[test]
    fn a_file_without_a_recipient_stanza_or_with_two_bindings_fails_verification() {
        let verify = |tags: &[&str]| {
            let (keyless, mut bytes) = (KeylessRecipient(tags, RefCell::new(None)), Vec::new());
            let encryptor = age::Encryptor::with_recipients(std::iter::once(&keyless as &dyn age::Recipient));
            let mut writer = encryptor.expect("a recipient").wrap_output(&mut bytes).expect("into memory");
            writer.write_all(b"v").and_then(|()| writer.finish().map(drop)).expect("into memory");
            let file_key = keyless.1.into_inner().expect("it was asked");
            Sealed { bytes: bytes.clone(), file_key, binding: b"binding".to_vec() }.verify(&bytes, &value(b"v"))
        };
        assert!(matches!(verify(&[SIGNED_TAG]), Err(EnvelopeError::NoMatchingIdentity)));
        assert!(matches!(verify(&[SIGNED_TAG, "x-grease"]), Err(EnvelopeError::NoMatchingIdentity)));
        assert!(verify(&[SIGNED_TAG, "X25519"]).is_ok());
        assert!(matches!(verify(&[UNSIGNED_TAG, "X25519"]), Err(EnvelopeError::ReadBack)));
        // Two readers might each take a different binding, even if the header's MAC is that of a recipient.
        for bindings in [[SIGNED_TAG, SIGNED_TAG], [UNSIGNED_TAG, SIGNED_TAG], [SIGNED_TAG, UNSIGNED_TAG]] {
            let [first, second] = bindings;
            assert!(matches!(verify(&[first, second, "X25519"]), Err(EnvelopeError::NoBinding)), "{bindings:?}");
        }
    }

    #[test]
    fn a_file_is_measured_before_it_is_looked_at() {
        assert!(matches!(open(&vec![b'x'; MAX_FILE_BYTES], &Vec::new()), Err(EnvelopeError::NotAge)));
        assert!(matches!(open(&vec![b'x'; MAX_FILE_BYTES + 1], &Vec::new()), Err(EnvelopeError::FileTooLarge)));
        assert!(matches!(open(&vec![b'x'; MAX_FILE_BYTES + 2], &Vec::new()), Err(EnvelopeError::FileTooLarge)));
    }

    #[test]
    fn a_plain_age_file_is_foreign() {
        let identity = Identity::generate();
        let recipient: age::x25519::Recipient = identity.recipient().to_string().parse().expect("age's own");
        let file = age::encrypt(&recipient, b"value").expect("it encrypts");
        assert!(matches!(peek(&file), Err(EnvelopeError::NoBinding)));
        assert!(matches!(open(&file, &[identity]), Err(EnvelopeError::NoBinding)));
    }
}
