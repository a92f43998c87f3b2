//! Passphrases, and the age files that protect identities with them. No secret is ever encrypted to one.

use std::io::{Read, Write};

use age::secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::header::MeasuredFile;
use super::randomness::{RandomnessError, with_randomness};
use super::{EnvelopeError, IdentityError};

/// The cost of trying a passphrase, as the power of two of scrypt's N: 256 MiB and about a second. age would choose it by
/// timing, and a busy machine would make a weak file.
pub const WORK_FACTOR: u8 = 18;

/// The highest cost that is accepted: 4 GiB. A file that asks for more would use up the machine.
pub const MAX_WORK_FACTOR: u8 = 22;

/// The first line of an armored age file.
pub(super) const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// Words that unlock an identity. They print nothing of themselves, and are wiped when dropped.
#[derive(Clone)]
pub struct Passphrase(SecretString);

impl Passphrase {
    /// `None` for one that is empty, or no UTF-8: age takes text.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty())?;
        Some(Self(SecretString::from(text.to_owned())))
    }

    pub(super) fn to_age(&self) -> SecretString {
        self.0.clone()
    }
}

impl PartialEq for Passphrase {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// So much memory, in MiB, is not to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a passphrase takes {0} MiB of memory, more than there is or than this process may have")]
pub struct MemoryError(u64);

/// Refuses work that would end the process, as scrypt does without memory. If the system promises more than it has,
/// as Linux may, it still kills who uses it.
fn require_memory(work_factor: u8) -> Result<(), MemoryError> {
    // scrypt's N blocks of 128 * r bytes, with age's r = 8, and a little for all else.
    let bytes = (1_u64 << (work_factor + 10)) + (1 << 20);
    let room = usize::try_from(bytes).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok());
    if room { Ok(()) } else { Err(MemoryError(bytes >> 20)) }
}

/// The work factor in the header of a file that [`read`] gave: the last word of its only stanza.
fn work_factor(file: &[u8]) -> Option<u8> {
    let stanza = file.split(|&byte| byte == b'\n').nth(1)?;
    std::str::from_utf8(stanza).ok()?.rsplit(' ').next()?.parse().ok()
}

/// Why a locked identity stays so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnlockError {
    /// Another passphrase is needed.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// The file asks for more work than is reasonable.
    #[error("it asks for a work factor of {0}, and at most {MAX_WORK_FACTOR} is accepted")]
    TooMuchWork(u8),
    /// The system has not the memory to try a passphrase.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// It was unlocked, but the identity in it cannot be used.
    #[error(transparent)]
    Bad(#[from] IdentityError),
}

/// Why nothing was locked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtectError {
    /// There is no key to encrypt with.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The system has not the memory for the work.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// age failed to encrypt.
    #[error("age could not encrypt: {0}")]
    Encrypt(String),
}

/// The text of an age file that `passphrase` opens, and that holds `text`.
///
/// # Errors
/// No randomness, or age's own failure.
pub fn lock(text: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, ProtectError> {
    lock_at(WORK_FACTOR, text, passphrase)
}

pub(super) fn lock_at(work_factor: u8, text: &[u8], passphrase: &Passphrase) -> Result<Vec<u8>, ProtectError> {
    require_memory(work_factor)?;
    let failed = |error: &dyn std::fmt::Display| ProtectError::Encrypt(error.to_string());
    with_randomness(|| {
        let mut recipient = age::scrypt::Recipient::new(passphrase.to_age());
        recipient.set_work_factor(work_factor);
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
        let mut file = Vec::with_capacity(4 << 10);
        let armor = age::armor::ArmoredWriter::wrap_output(&mut file, age::armor::Format::AsciiArmor);
        let mut writer = encryptor
            .map_err(|error| failed(&error))?
            .wrap_output(armor.map_err(|error| failed(&error))?)
            .map_err(|error| failed(&error))?;
        let written = writer.write_all(text).and_then(|()| writer.finish()).and_then(age::armor::ArmoredWriter::finish);
        written.map_err(|error| failed(&error))?;
        Ok(file)
    })?
}

/// The binary form of an age file that a passphrase opens, given in either form.
pub(super) fn read(file: &[u8]) -> Result<Vec<u8>, IdentityError> {
    let malformed = IdentityError::AgeFile("its header is malformed");
    let mut binary = Vec::with_capacity(file.len());
    if file.trim_ascii_start().starts_with(ARMOR) {
        let damaged = |_| IdentityError::AgeFile("it is cut short, or damaged");
        age::armor::ArmoredReader::new(file).read_to_end(&mut binary).map_err(damaged)?;
    } else {
        binary.extend_from_slice(file);
    }
    let measured = MeasuredFile::new(&binary).map_err(|error| match error {
        EnvelopeError::Truncated => IdentityError::AgeFile("it is cut short"),
        EnvelopeError::HeaderTooLarge => IdentityError::AgeFile("its header is larger than any identity's"),
        _ => malformed.clone(),
    })?;
    match measured.decryptor().map(|decryptor| decryptor.is_scrypt()) {
        Ok(true) => Ok(binary),
        Ok(false) => Err(IdentityError::AgeFile("it is encrypted to keys, not with a passphrase")),
        Err(_) => Err(malformed),
    }
}

/// Decrypts `file`, as [`read`] returned it.
pub(super) fn open(file: &[u8], passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, UnlockError> {
    let damaged = || UnlockError::Bad(IdentityError::AgeFile("it was changed or damaged after it was written"));
    if let Some(factor) = work_factor(file).filter(|&factor| factor <= MAX_WORK_FACTOR) {
        require_memory(factor)?;
    }
    let mut identity = age::scrypt::Identity::new(passphrase.to_age());
    identity.set_max_work_factor(MAX_WORK_FACTOR);
    let decryptor = MeasuredFile::new(file).and_then(MeasuredFile::decryptor).map_err(|_| damaged())?;
    let mut payload = match decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)) {
        Ok(payload) => payload,
        Err(age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed) => {
            return Err(UnlockError::WrongPassphrase);
        }
        Err(age::DecryptError::ExcessiveWork { required, .. }) => return Err(UnlockError::TooMuchWork(required)),
        Err(_) => return Err(damaged()),
    };
    // With the room reserved at once, the vector never grows and leaves no copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(file.len()));
    payload.read_to_end(&mut text).map_err(|_| damaged())?;
    Ok(text)
}
