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

/// Opens a whole file. The value is returned only when the header's MAC held and the payload held to its end.
///
/// # Errors
/// See [`EnvelopeError`].
pub fn open(file: &[u8], identities: &dyn Identities) -> Result<Opened, EnvelopeError> {
    decrypt(file, &IdentitySet(identities)).map_err(|error| error.with_cause(file))
}

/// To whom a file is encrypted, as its header says, unverified; nothing of a header that is malformed.
///
/// `start` is as [`peek`] takes it.
pub fn wanted(start: &[u8]) -> Wanted {
    let collector = WantedCollector::default();
    if let Ok(file) = MeasuredFile::new(start)
        && let Ok(decryptor) = decryptor(file.start(NONCE_BYTES))
    {
        let _ = decryptor.decrypt(std::iter::once(&collector as &dyn age::Identity));
    }
    collector.0.into_inner()
}

/// The binding and the recipients in a file's header, unverified: without an identity nothing can vouch for them.
///
/// `start` is the file's first bytes, [`super::header::MAX_HEADER_BYTES`] and a little more at the most.
///
/// # Errors
/// See [`EnvelopeError`].
pub fn peek(start: &[u8]) -> Result<Peeked, EnvelopeError> {
    read_header(start).map_err(|error| error.with_cause(start))
}

fn read_header(start: &[u8]) -> Result<Peeked, EnvelopeError> {
    let decryptor = decryptor(MeasuredFile::new(start)?.start(NONCE_BYTES))?;
    let finder = HeaderCollector::default();
    match decryptor.decrypt(std::iter::once(&finder as &dyn age::Identity)) {
        // The finder never yields a key: that age found none is the expected end.
        Err(age::DecryptError::NoMatchingKeys) => finder.only(),
        _ => Err(EnvelopeError::MalformedHeader),
    }
}

fn decryptor(file: MeasuredFile<'_>) -> Result<age::Decryptor<MeasuredFile<'_>>, EnvelopeError> {
    let header = file.header();
    let decryptor = file.decryptor()?;
    stanzas::check(header)?;
    Ok(decryptor)
}

pub(super) fn decrypt(file: &[u8], identity: &dyn age::Identity) -> Result<Opened, EnvelopeError> {
    if file.len() > MAX_FILE_BYTES {
        return Err(EnvelopeError::FileTooLarge);
    }
    let decryptor = decryptor(MeasuredFile::new(file)?)?;
    let finder = HeaderCollector::default();
    let opener = FileKeyKeeper { identity, file_key: RefCell::new(None) };
    let all = [&finder as &dyn age::Identity, &opener].into_iter();
    let mut payload = decryptor.decrypt(all).map_err(|error| match error {
        age::DecryptError::NoMatchingKeys => EnvelopeError::NoMatchingIdentity,
        _ => EnvelopeError::Tampered,
    })?;
    let Peeked { binding, wanted } = finder.only()?;

    // With the room reserved at once, the vector never grows and leaves no copy of the value behind.
    let mut value = Zeroizing::new(Vec::with_capacity(file.len()));
    payload.read_to_end(&mut value).map_err(|_| EnvelopeError::Tampered)?;
    let value = SecretValue::new(value).map_err(|_| EnvelopeError::FileTooLarge)?;
    let file_key = opener.file_key.into_inner().ok_or(EnvelopeError::NoMatchingIdentity)?;
    Ok(Opened { binding, wanted, commitment: commit(&file_key, &value), value })
}

/// Identities, as one.
struct IdentitySet<'a>(&'a dyn Identities);

impl age::Identity for IdentitySet<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    /// Each identity sees all stanzas, as the next one may have to be unlocked.
    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        let mut found = None;
        self.0.find(&Wanted::by(stanzas), &mut |identity| {
            found = identity.as_age().unwrap_stanzas(stanzas);
            found.is_some()
        });
        found
    }
}

/// An identity that opens nothing, and keeps what it is shown.
#[derive(Default)]
struct WantedCollector(RefCell<Wanted>);

impl age::Identity for WantedCollector {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        None
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        *self.0.borrow_mut() = Wanted::by(stanzas);
        None
    }
}

/// An identity that remembers the file key it found.
struct FileKeyKeeper<'a> {
    identity: &'a dyn age::Identity,
    file_key: RefCell<Option<FileKey>>,
}

impl age::Identity for FileKeyKeeper<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        let found = self.identity.unwrap_stanzas(stanzas);
        if let Some(Ok(file_key)) = &found {
            *self.file_key.borrow_mut() = Some(copy(file_key));
        }
        found
    }
}

/// An identity that opens nothing: age shows it every stanza, and it keeps the binding and the recipients.
#[derive(Default)]
struct HeaderCollector {
    bindings: RefCell<Vec<Stanza>>,
    wanted: RefCell<Wanted>,
}

impl HeaderCollector {
    fn only(self) -> Result<Peeked, EnvelopeError> {
        let (mut found, wanted) = (self.bindings.into_inner(), self.wanted.into_inner());
        match (found.pop(), found.is_empty()) {
            (Some(binding), true) if binding.args.is_empty() => {
                Ok(Peeked { binding: Binding { is_signed: binding.tag == SIGNED_TAG, body: binding.body }, wanted })
            }
            _ => Err(EnvelopeError::NoBinding),
        }
    }
}

impl age::Identity for HeaderCollector {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        let copied = |stanza: &Stanza| {
            let (tag, args, body) = (stanza.tag.clone(), stanza.args.clone(), stanza.body.clone());
            Stanza { tag, args, body }
        };
        *self.bindings.borrow_mut() = stanzas.iter().filter(|stanza| is_binding(stanza)).map(copied).collect();
        *self.wanted.borrow_mut() = Wanted::by(stanzas);
        None
    }
}
