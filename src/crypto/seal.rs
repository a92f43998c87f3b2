//! Encrypting a secret into an envelope, and checking what was written.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::Write;

use age_core::format::{FileKey, Stanza};

use super::Recipient;
use super::envelope::{Commitment, EnvelopeError, commit, copy};
use super::header::SIGNED_TAG;
use super::open::open_with_file_key;
use super::randomness::with_randomness;
use crate::secret::SecretValue;

/// A secret as it goes to disk, and what is needed to check that it arrived there.
pub struct Sealed {
    /// The bytes of the age file.
    pub bytes: Vec<u8>,
    pub(super) file_key: FileKey,
    pub(super) binding: Vec<u8>,
}

/// Encrypts `value` to `recipients`, bound to what `bind` makes of the commitment to it.
///
/// # Errors
/// No recipients, no randomness, or age's own failure.
pub fn seal(
    value: &SecretValue,
    bind: &dyn Fn(&Commitment) -> Vec<u8>,
    recipients: &[Recipient],
) -> Result<Sealed, EnvelopeError> {
    with_randomness(|| encrypt(value, bind, recipients))?
}

fn encrypt(
    value: &SecretValue,
    bind: &dyn Fn(&Commitment) -> Vec<u8>,
    recipients: &[Recipient],
) -> Result<Sealed, EnvelopeError> {
    let (first, rest) = recipients.split_first().ok_or(EnvelopeError::NoRecipient)?;
    let bound = BoundRecipient { inner: first.as_age(), value, bind, made: RefCell::new(None) };
    let others = rest.iter().map(Recipient::as_age);
    let all = std::iter::once(&bound as &dyn age::Recipient).chain(others);
    let failed = |error: age::EncryptError| EnvelopeError::Encrypt(error.to_string());

    let mut bytes = Vec::with_capacity(value.expose().len() + (4 << 10));
    let encryptor = age::Encryptor::with_recipients(all).map_err(failed)?;
    let mut writer = encryptor.wrap_output(&mut bytes).map_err(|e| failed(e.into()))?;
    writer.write_all(value.expose()).map_err(|e| failed(e.into()))?;
    writer.finish().map_err(|e| failed(e.into()))?;

    let (file_key, binding) = bound.made.into_inner().ok_or(EnvelopeError::NoRecipient)?;
    Ok(Sealed { bytes, file_key, binding })
}

impl Sealed {
    /// Checks that `file`, as read back from disk, opens to `value` under the binding that was made.
    ///
    /// It opens with the file key, so that writing needs no identity.
    ///
    /// # Errors
    /// It does not open, or to something else.
    pub fn verify(&self, file: &[u8], value: &SecretValue) -> Result<(), EnvelopeError> {
        let opened = open_with_file_key(file, &self.file_key)?;
        let same = opened.binding.is_signed && opened.binding.body == self.binding && &opened.value == value;
        if same { Ok(()) } else { Err(EnvelopeError::ReadBack) }
    }
}

/// A recipient that adds the binding stanza beside its own, and remembers the file key for the read-back.
///
/// It forwards the inner recipient's labels: age refuses recipients whose labels differ.
struct BoundRecipient<'a> {
    inner: &'a dyn age::Recipient,
    value: &'a SecretValue,
    bind: &'a dyn Fn(&Commitment) -> Vec<u8>,
    made: RefCell<Option<(FileKey, Vec<u8>)>>,
}

impl age::Recipient for BoundRecipient<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let (mut stanzas, labels) = self.inner.wrap_file_key(file_key)?;
        let binding = (self.bind)(&commit(file_key, self.value));
        stanzas.push(Stanza { tag: SIGNED_TAG.to_owned(), args: Vec::new(), body: binding.clone() });
        *self.made.borrow_mut() = Some((copy(file_key), binding));
        Ok((stanzas, labels))
    }
}
