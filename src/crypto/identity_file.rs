//! Files of identities, in each of the forms that people have, some of which are locked by a passphrase.

use std::fmt;

use age::secrecy::ExposeSecret;
use age::ssh;
use zeroize::Zeroizing;

use super::identity::recipient_of;
use super::identity_list::{self, IdentityList, PassedOver};
use super::open_ssh::{OPENSSH_LABEL, RSA_LABEL, Unwrapped};
use super::passphrase::{self, UnlockError};
use super::{ForeignKey, Identity, IdentityError, KeyFormat, KeyKind, Passphrase, Recipient, Wanted, open_ssh};
use crate::file_form::{self, FileForm, has_byte_order_mark};

/// The most bytes of a file of identities. The longest key that `ssh-keygen` makes, of RSA, has 13 KiB.
pub const MAX_IDENTITY_FILE_BYTES: usize = 32 << 10;

/// A file of identities.
#[derive(Debug, Clone)]
pub enum IdentityFile {
    /// They can be used.
    Open(Vec<Identity>),
    /// They need a passphrase first.
    Locked(LockedIdentity),
}

/// Identities that a passphrase unlocks.
#[derive(Clone)]
pub struct LockedIdentity(Protection);

#[derive(Clone)]
enum Protection {
    /// An age file, in its binary form, that holds a file of age identities.
    Age(Vec<u8>),
    /// A key of OpenSSH's, whose public half is not encrypted.
    OpenSsh(Box<(ssh::EncryptedKey, Recipient)>),
}

/// Identities that were unlocked.
pub struct Unlocked {
    /// The identities, of which there is at least one.
    pub identities: Vec<Identity>,
    /// The bytes that unlock them without the user, for [`LockedIdentity::restore`]: the text of the file of age identities, and for a
    /// key of OpenSSH's its passphrase, because age does not give out the key.
    pub kept: Zeroizing<Vec<u8>>,
}

impl IdentityFile {
    /// Parses a file: age identities, an age file that a passphrase opens, or a private key of OpenSSH's.
    ///
    /// # Errors
    /// Something else, or a key of a kind that age does not use.
    pub fn parse(file: &[u8]) -> Result<Self, IdentityError> {
        if file.len() > MAX_IDENTITY_FILE_BYTES {
            return Err(IdentityError::TooLarge);
        }
        if file.starts_with(b"age-encryption.org/") || file.trim_ascii_start().starts_with(passphrase::ARMOR) {
            let read = passphrase::read(file).map_err(|error| match FileForm::recognise(file) {
                None | Some(FileForm::ArmoredAge) => error,
                Some(form) => form.into(),
            });
            return Ok(Self::Locked(LockedIdentity(Protection::Age(read?))));
        }
        let text = text_of(file)?;
        match only_block(text) {
            Some(kind) => private_key(text, kind),
            None => list(text).map(|list| Self::Open(list.identities)),
        }
    }

    /// Returns the keys in the file that are passed over, because others in it can be used. For a file that
    /// [`IdentityFile::parse`] opened.
    pub fn passed_over(file: &[u8]) -> Vec<PassedOver> {
        match text_of(file).ok().filter(|text| only_block(text).is_none()) {
            Some(text) => list(text).map(|list| list.passed_over).unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// Returns `true` if it is OpenSSH's, which is never written here.
    pub fn is_open_ssh(&self) -> bool {
        match self {
            Self::Open(identities) => identities.iter().any(Identity::is_open_ssh),
            Self::Locked(locked) => matches!(locked.0, Protection::OpenSsh(_)),
        }
    }
}

/// Returns the rest of the line `-----BEGIN ` if the file has one such line, and no age identity besides.
fn only_block(text: &str) -> Option<&str> {
    let mut blocks = text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN "));
    let is_age = |line: &str| line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("AGE-"));
    let is_alone = !text.lines().any(|line| is_age(line.trim()));
    blocks.next().filter(|_| is_alone && blocks.next().is_none())
}

/// The identities of a file with any number of keys, age's and OpenSSH's.
fn list(text: &str) -> Result<IdentityList, IdentityError> {
    identity_list::parse(text, |block, _| {
        let kind = block.lines().next().and_then(|line| line.strip_prefix("-----BEGIN ")).unwrap_or_default();
        match private_key(block, kind)? {
            IdentityFile::Open(mut identities) => identities.pop().ok_or(IdentityError::Empty),
            IdentityFile::Locked(_) => Err(IdentityError::LockedBesideOthers),
        }
    })
}

/// A private key whose first line is `-----BEGIN `, and this.
fn private_key(text: &str, kind: &str) -> Result<IdentityFile, IdentityError> {
    let start = text.find("-----BEGIN ").unwrap_or_default();
    let label = kind.trim_end_matches('-');
    match label {
        OPENSSH_LABEL | RSA_LABEL => {}
        "EC PRIVATE KEY" => return Err(IdentityError::KeyType("ecdsa".to_owned())),
        "DSA PRIVATE KEY" => return Err(IdentityError::KeyType("ssh-dss".to_owned())),
        "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => return Err(IdentityError::KeyFormat(KeyFormat::Pkcs8)),
        "EC PARAMETERS" => return Err(IdentityError::KeyType("ecdsa".to_owned())),
        other => {
            return Err(match ForeignKey::of(&text[start..]) {
                Some(key) if matches!(key.kind, KeyKind::Pgp | KeyKind::Certificate | KeyKind::SshCom) => {
                    IdentityError::Foreign(key)
                }
                _ if other.contains("PUBLIC KEY") => IdentityError::PublicKey,
                _ => IdentityError::UnknownBlock,
            });
        }
    }
    let Unwrapped(text) = open_ssh::unwrap(&text[start..], label)?;
    let key = ssh::Identity::from_buffer(text.as_bytes(), None).map_err(|_| IdentityError::MalformedKey)?;
    match &key {
        ssh::Identity::Unencrypted(_) => Ok(IdentityFile::Open(vec![Identity::open_ssh(key)?])),
        ssh::Identity::Encrypted(locked) => {
            let recipient = recipient_of(&key)?;
            Ok(IdentityFile::Locked(LockedIdentity(Protection::OpenSsh(Box::new((locked.clone(), recipient))))))
        }
        ssh::Identity::Unsupported(reason) => Err(match reason {
            ssh::UnsupportedKey::EncryptedPem => IdentityError::KeyFormat(KeyFormat::EncryptedPem),
            ssh::UnsupportedKey::EncryptedSsh(cipher) => IdentityError::Cipher(cipher.clone()),
            ssh::UnsupportedKey::Hardware(kind) | ssh::UnsupportedKey::Type(kind) => {
                IdentityError::KeyType(kind.clone())
            }
        }),
    }
}

impl LockedIdentity {
    /// The public half, where it is not locked away too.
    pub fn recipient(&self) -> Option<&Recipient> {
        match &self.0 {
            Protection::Age(_) => None,
            Protection::OpenSsh(pair) => Some(&pair.1),
        }
    }

    /// Returns `true` if one of them might open a file.
    pub fn may_open(&self, wanted: &Wanted) -> bool {
        match &self.0 {
            Protection::Age(_) => wanted.has_x25519(),
            Protection::OpenSsh(pair) => wanted.may_be(&pair.1),
        }
    }

    /// Unlocks them.
    ///
    /// # Errors
    /// See [`UnlockError`].
    pub fn unlock(&self, passphrase: &Passphrase) -> Result<Unlocked, UnlockError> {
        match &self.0 {
            Protection::Age(file) => {
                let text = passphrase::open(file, passphrase)?;
                Ok(Unlocked { identities: parse(&text)?, kept: text })
            }
            Protection::OpenSsh(pair) => {
                let key = pair.0.decrypt(passphrase.to_age()).map_err(|_| UnlockError::WrongPassphrase)?;
                let kept = Zeroizing::new(passphrase.to_age().expose_secret().as_bytes().to_vec());
                Ok(Unlocked { identities: vec![Identity::open_ssh(key.into())?], kept })
            }
        }
    }

    /// Returns the keys that are passed over in what [`LockedIdentity::unlock`] gave for it.
    pub fn passed_over(&self, kept: &[u8]) -> Vec<PassedOver> {
        match &self.0 {
            Protection::Age(_) => IdentityFile::passed_over(kept),
            Protection::OpenSsh(_) => Vec::new(),
        }
    }

    /// Unlocks them with what [`LockedIdentity::unlock`] gave for it.
    ///
    /// # Errors
    /// It was given for others.
    pub fn restore(&self, kept: &[u8]) -> Result<Vec<Identity>, UnlockError> {
        match &self.0 {
            Protection::Age(_) => Ok(parse(kept)?),
            Protection::OpenSsh(_) => {
                let passphrase = Passphrase::new(kept).ok_or(UnlockError::WrongPassphrase)?;
                self.unlock(&passphrase).map(|unlocked| unlocked.identities)
            }
        }
    }
}

/// The identities in a file that was locked: age's own, as age itself takes no others from there.
fn parse(text: &[u8]) -> Result<Vec<Identity>, IdentityError> {
    Identity::parse_file(text_of(text)?)
}

/// The text of a file of identities, as age reads it: without a byte order mark.
fn text_of(file: &[u8]) -> Result<&str, FileForm> {
    match file {
        [] => Err(FileForm::Empty),
        _ if has_byte_order_mark(file) => Err(FileForm::ByteOrderMark),
        _ => file_form::text(file),
    }
}

impl fmt::Debug for LockedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.recipient() {
            Some(recipient) => write!(f, "LockedIdentity({recipient})"),
            None => f.write_str("LockedIdentity(…)"),
        }
    }
}

impl fmt::Debug for Unlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unlocked({:?})", self.identities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::passphrase::lock_at;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes()).expect("not empty")
    }

    fn locked(file: &[u8]) -> LockedIdentity {
        match IdentityFile::parse(file) {
            Ok(IdentityFile::Locked(locked)) => locked,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_its_passphrase_unlocks_an_identity() {
        let identity = Identity::generate();
        let text = identity.to_file("now");
        let file = lock_at(1, text.as_bytes(), &passphrase("right")).expect("it locks");
        assert!(file.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n"));
        let locked = locked(&file);
        assert!(locked.recipient().is_none());
        assert_eq!(locked.unlock(&passphrase("wrong")).expect_err("wrong"), UnlockError::WrongPassphrase);
        let unlocked = locked.unlock(&passphrase("right")).expect("right");
        assert_eq!(unlocked.identities[0].recipient(), identity.recipient());
        assert_eq!(locked.restore(&unlocked.kept).expect("kept")[0].recipient(), identity.recipient());
        assert_eq!(*unlocked.kept, text.as_bytes());
    }

    #[test]
    fn no_changed_byte_of_a_locked_file_goes_unseen() {
        let file = lock_at(1, Identity::generate().to_file("now").as_bytes(), &passphrase("right")).expect("it locks");
        // A passphrase is tried for most of them, which takes a while.
        for index in (0..file.len()).step_by(10) {
            let mut changed = file.clone();
            changed[index] ^= 1;
            let opened = IdentityFile::parse(&changed).map(|file| match file {
                IdentityFile::Locked(locked) => locked.unlock(&passphrase("right")).is_ok(),
                IdentityFile::Open(_) => true,
            });
            assert!(opened != Ok(true), "byte {index} changed");
        }
    }

    #[test]
    fn work_without_end_is_refused() {
        let file = passphrase::read(&lock_at(1, b"text", &passphrase("p")).expect("it locks")).expect("our own");
        let text = String::from_utf8_lossy(&file).into_owned();
        let line = text.lines().nth(1).expect("a stanza");
        let dear = line.strip_suffix(" 1").expect("the factor is last").to_owned() + " 23";
        let file = [file[..22].to_vec(), dear.into_bytes(), file[22 + line.len()..].to_vec()].concat();
        assert_eq!(locked(&file).unlock(&passphrase("p")).expect_err("dear"), UnlockError::TooMuchWork(23));
    }

    #[test]
    fn an_unusable_key_is_named_in_the_error() {
        let error = |file: &[u8]| IdentityFile::parse(file).expect_err("none").to_string();
        let identity = Identity::generate();
        let public = format!("{}\n", identity.recipient());
        assert_eq!(error(public.as_bytes()), IdentityError::PublicKey.to_string());
        let recipient: age::x25519::Recipient = identity.recipient().to_string().parse().expect("age's own");
        let file = age::encrypt(&recipient, b"text").expect("it encrypts");
        assert_eq!(error(&file), "it is an age file, but it is encrypted to keys, not with a passphrase");
        assert_eq!(error(&file[..30]), "it is an age file, but it is cut short");
        assert!(error(b"-----BEGIN EC PRIVATE KEY-----\nhunter2").contains("type ecdsa"));
        assert!(error(b"-----BEGIN PRIVATE KEY-----\nhunter2").contains("PKCS#8"));
        assert_eq!(error(b"-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2"), IdentityError::MalformedKey.to_string());
    }
}
