//! Opening an envelope, and reading its header without a key.

use std::cell::RefCell;
use std::io::Read;

use age_core::format::{FileKey, Stanza};
use zeroize::Zeroizing;

use super::Identities;
use super::envelope::{Binding, Commitment, EnvelopeError, MAX_FILE_BYTES, Peeked, commit, copy, is_binding};
use super::header::{MeasuredFile, SIGNED_TAG};
use super::stanzas;
use super::wanted::Wanted;
use crate::secret::SecretValue;

/// The nonce that follows an age header.
const NONCE_BYTES: usize = 16;

/// A secret as it was read, after every check of age's has passed.
pub struct Opened {
    /// The binding.
    pub binding: Binding,
    /// The recipients, as far as stanzas show them.
    pub wanted: Wanted,
    /// The payload.
    pub value: SecretValue,
    /// The commitment to the payload that a signed binding must hold.
    pub commitment: Commitment,
}

/// Opens a whole file, with identities one by one, each as if there were no other. So their order does not change the result. The
/// value is returned only when the header's MAC and the payload were valid to the end.
///
/// # Errors
/// See [`EnvelopeError`].
pub fn open(file: &[u8], identities: &dyn Identities) -> Result<Opened, EnvelopeError> {
    find_and_open(file, identities).map_err(|error| error.with_cause(file))
}

fn find_and_open(file: &[u8], identities: &dyn Identities) -> Result<Opened, EnvelopeError> {
    let stanzas = Stanzas::read_file(file)?;
    let mut result = Err(EnvelopeError::NoMatchingIdentity);
    identities.find(&stanzas.wanted(), &mut |identity| {
        match identity.as_age().unwrap_stanzas(&stanzas.0) {
            None => return false,
            // As age does: a key of OpenSSH has a tag, so this stanza is meant for it.
            Some(Err(_)) => result = Err(EnvelopeError::Tampered),
            Some(Ok(file_key)) => match payload(file, &file_key) {
                Err(error) => result = Err(error),
                Ok(payload) => {
                    result = stanzas.opened(file, &file_key, payload);
                    return true;
                }
            },
        }
        false
    });
    result
}

/// Opens a whole file with its own key.
///
/// # Errors
/// See [`EnvelopeError`]. A file that is not encrypted to any recipient fails, too.
pub(super) fn open_with_file_key(file: &[u8], file_key: &FileKey) -> Result<Opened, EnvelopeError> {
    let stanzas = Stanzas::read_file(file)?;
    if !stanzas.have_recipient() {
        return Err(EnvelopeError::NoMatchingIdentity);
    }
    stanzas.opened(file, file_key, payload(file, file_key)?)
}

/// To whom a file is encrypted, as its header says, unverified; nothing of a header that is malformed.
///
/// `start` is as [`peek`] takes it.
pub fn wanted(start: &[u8]) -> Wanted {
    Stanzas::of(start).map_or_else(|_| Wanted::default(), |stanzas| stanzas.wanted())
}

/// The binding and the recipients in a file's header, unverified: without an identity nothing can vouch for them.
///
/// `start` is the file's first bytes, [`super::header::MAX_HEADER_BYTES`] and a little more at the most.
///
/// # Errors
/// See [`EnvelopeError`].
pub fn peek(start: &[u8]) -> Result<Peeked, EnvelopeError> {
    Stanzas::of(start).and_then(|stanzas| stanzas.peeked()).map_err(|error| error.with_cause(start))
}

/// Returns the payload of a file whose header has a valid MAC under this key. No two keys have the same MAC.
fn payload(file: &[u8], file_key: &FileKey) -> Result<impl Read, EnvelopeError> {
    let identity = FileKeyIdentity(file_key);
    let payload = MeasuredFile::new(file)?.decryptor()?.decrypt(std::iter::once(&identity as &dyn age::Identity));
    payload.map_err(|_| EnvelopeError::Tampered)
}

/// The stanzas of a header, unverified.
struct Stanzas(Vec<Stanza>);

impl Stanzas {
    /// Reads the header at the beginning of a file.
    fn of(start: &[u8]) -> Result<Self, EnvelopeError> {
        let file = MeasuredFile::new(start)?.start(NONCE_BYTES);
        let header = file.header();
        let decryptor = file.decryptor()?;
        stanzas::check(header)?;
        let collector = StanzaCollector::default();
        match decryptor.decrypt(std::iter::once(&collector as &dyn age::Identity)) {
            // The collector never yields a key.
            Err(age::DecryptError::NoMatchingKeys) => Ok(Self(collector.0.into_inner())),
            _ => Err(EnvelopeError::MalformedHeader),
        }
    }

    /// Reads the header of a file that may be opened.
    fn read_file(file: &[u8]) -> Result<Self, EnvelopeError> {
        if file.len() > MAX_FILE_BYTES {
            return Err(EnvelopeError::FileTooLarge);
        }
        Self::of(file)
    }

    fn wanted(&self) -> Wanted {
        Wanted::by(&self.0)
    }

    /// Returns `true` if a stanza is one for a recipient: neither the binding nor the random one that age adds.
    fn have_recipient(&self) -> bool {
        self.0.iter().any(|stanza| !is_binding(stanza) && !stanza.tag.ends_with("-grease"))
    }

    fn peeked(&self) -> Result<Peeked, EnvelopeError> {
        let mut bindings = self.0.iter().filter(|stanza| is_binding(stanza));
        match (bindings.next(), bindings.next()) {
            (Some(binding), None) if binding.args.is_empty() => {
                let binding = Binding { is_signed: binding.tag == SIGNED_TAG, body: binding.body.clone() };
                Ok(Peeked { binding, wanted: self.wanted() })
            }
            _ => Err(EnvelopeError::NoBinding),
        }
    }

    /// Reads the payload to its end.
    fn opened(&self, file: &[u8], file_key: &FileKey, mut payload: impl Read) -> Result<Opened, EnvelopeError> {
        let Peeked { binding, wanted } = self.peeked()?;
        // With the room reserved at once, the vector never grows and leaves no copy of the value behind.
        let mut value = Zeroizing::new(Vec::with_capacity(file.len()));
        payload.read_to_end(&mut value).map_err(|_| EnvelopeError::Tampered)?;
        let value = SecretValue::new(value).map_err(|_| EnvelopeError::FileTooLarge)?;
        Ok(Opened { binding, wanted, commitment: commit(file_key, &value), value })
    }
}

/// An identity that opens nothing, and keeps the stanzas that age shows it.
#[derive(Default)]
struct StanzaCollector(RefCell<Vec<Stanza>>);

impl age::Identity for StanzaCollector {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        let copied = |stanza: &Stanza| {
            let (tag, args, body) = (stanza.tag.clone(), stanza.args.clone(), stanza.body.clone());
            Stanza { tag, args, body }
        };
        *self.0.borrow_mut() = stanzas.iter().map(copied).collect();
        None
    }
}

/// An identity that has the key of one file.
struct FileKeyIdentity<'a>(&'a FileKey);

impl age::Identity for FileKeyIdentity<'_> {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        Some(Ok(copy(self.0)))
    }
}
