//! A second reader of the vault format, written from `docs/vault-format.md` and not from the product. With a [`Wrong`], it does one
//! thing otherwise: a test vector must notice.

mod binding;
mod fit;
mod header;
mod keys;
mod limits;
mod manifest;
mod proof;
mod times;
mod toml_1_0;
mod wrong;

pub(crate) use wrong::Wrong;

use std::cell::{Cell, RefCell};
use std::io::Read;

use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;

use limits::limit;

pub(crate) use manifest::Vault;

/// A reader, right or wrong.
pub(crate) struct Reader {
    pub(crate) wrong: Option<Wrong>,
}

/// The result of reading a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Value(Vec<u8>),
    Refused,
    CannotDecrypt,
}

/// The line of a list: a secret's type, and when it was created and updated.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) secret_type: String,
    pub(crate) created: times::Time,
    pub(crate) updated: times::Time,
}

/// An identity, and whether it is one of OpenSSH's.
pub(crate) struct Key {
    identity: Box<dyn age::Identity>,
    is_ssh: bool,
}

impl Key {
    /// Parses an identity file.
    pub(crate) fn parse(text: &str) -> Self {
        match text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")) {
            Some(line) => {
                Self { identity: Box::new(line.parse::<age::x25519::Identity>().expect("a key")), is_ssh: false }
            }
            None => {
                let key = age::ssh::Identity::from_buffer(text.as_bytes(), None).expect("a key of OpenSSH's");
                Self { identity: Box::new(key), is_ssh: true }
            }
        }
    }
}

impl Reader {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    /// Reads the binding as a list does: steps 1, 2, 4 and 6 on the beginning of the file.
    fn peek(&self, vault: &Vault, place: &str, file: &[u8]) -> Option<binding::Binding> {
        let (stanzas, _) = self.header(file)?;
        self.binding(&stanzas, vault, place)
    }

    pub(crate) fn list(&self, vault: &Vault, place: &str, file: &[u8]) -> Option<Shown> {
        if file.len() > limit("bytes of a file") && !self.is(Wrong::AnyFileSize) && !self.is(Wrong::ListsAnyFileSize) {
            return None;
        }
        let binding = self.peek(vault, place, file)?;
        let secret_type = if self.is(Wrong::OneType) { "regular".to_owned() } else { binding.secret_type };
        Some(Shown { secret_type, created: binding.created.1, updated: binding.updated.1 })
    }

    /// Returns `true` if a writer may replace the file.
    pub(crate) fn may_update(&self, vault: &Vault, place: &str, file: &[u8]) -> bool {
        let is_small = file.len() <= limit("bytes of a file") || self.is(Wrong::AnyFileSize);
        let binding = self.peek(vault, place, file).filter(|_| is_small);
        binding.is_some_and(|binding| {
            let is_unsigned = binding.proof.is_none() && self.is(Wrong::UpdatesUnsignedFiles);
            is_unsigned || self.is(Wrong::UpdatesForgedFiles) || self.is_signed(vault, &binding)
        })
    }

    /// Returns `true` if the file must be re-encrypted.
    pub(crate) fn is_stale(&self, vault: &Vault, place: &str, file: &[u8]) -> bool {
        let digest = self.digest(vault);
        let said = self.peek(vault, place, file).and_then(|binding| binding.recipients);
        match said {
            _ if self.is(Wrong::NeverStale) => false,
            None if !self.is(Wrong::NoDigestIsCurrent) => true,
            Some(said) if said != digest => true,
            _ => !self.header(file).is_some_and(|(stanzas, _)| self.fits(vault, &stanzas)),
        }
    }

    pub(crate) fn read(&self, vault: &Vault, place: &str, file: &[u8], key: &Key) -> Verdict {
        self.steps(vault, place, file, key).unwrap_or_else(|verdict| verdict)
    }

    fn steps(&self, vault: &Vault, place: &str, file: &[u8], key: &Key) -> Result<Verdict, Verdict> {
        if file.len() > limit("bytes of a file") && !self.is(Wrong::AnyFileSize) {
            return Err(Verdict::Refused);
        }
        let (stanzas, _) = self.header(file).ok_or(Verdict::Refused)?;
        let (file_key, value) = self.open(file, key, stanzas.len())?;
        let binding = self.binding(&stanzas, vault, place).ok_or(Verdict::Refused)?;
        let is_sound = value.len() <= limit("bytes of a value")
            && self.is_signed(vault, &binding)
            && self.is_committed(&binding, file_key.expose_secret(), &value)
            && (!self.is(Wrong::RefusesStale) || !self.is_stale(vault, place, file));
        if is_sound { Ok(Verdict::Value(value)) } else { Err(Verdict::Refused) }
    }

    /// Opens a file with age.
    fn open(&self, file: &[u8], key: &Key, stanzas: usize) -> Result<(FileKey, Vec<u8>), Verdict> {
        if key.is_ssh && self.is(Wrong::NoSsh) {
            return Err(Verdict::CannotDecrypt);
        }
        let attempts = if self.is(Wrong::TriesEachStanza) { stanzas } else { 1 };
        let mut failure = Verdict::CannotDecrypt;
        for skipped in 0..attempts {
            let opener = Opener { key, skipped: Cell::new(skipped), found: RefCell::new(None), wrong: self.wrong };
            let decryptor = age::Decryptor::new_buffered(file).map_err(|_| Verdict::Refused)?;
            match decryptor.decrypt(std::iter::once(&opener as &dyn age::Identity)) {
                Ok(mut payload) => {
                    let mut value = Vec::new();
                    payload.read_to_end(&mut value).map_err(|_| Verdict::Refused)?;
                    return Ok((opener.found.into_inner().expect("it opened"), value));
                }
                Err(age::DecryptError::NoMatchingKeys) => {}
                Err(_) if self.is(Wrong::BrokenStanzaIsOfAnother) => {}
                Err(_) => failure = Verdict::Refused,
            }
        }
        Err(failure)
    }
}

/// An identity that remembers the file key, and may pass over the first stanzas.
struct Opener<'a> {
    key: &'a Key,
    skipped: Cell<usize>,
    found: RefCell<Option<FileKey>>,
    wrong: Option<Wrong>,
}

impl age::Identity for Opener<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        if self.skipped.get() > 0 {
            self.skipped.set(self.skipped.get() - 1);
            return None;
        }
        let found = self.key.identity.unwrap_stanza(stanza);
        if let Some(Ok(key)) = &found {
            let copy = FileKey::init_with_mut(|bytes| bytes.copy_from_slice(key.expose_secret()));
            *self.found.borrow_mut() = Some(copy);
        }
        match found {
            Some(Err(_)) if self.wrong == Some(Wrong::PassesOverBrokenStanza) => None,
            found => found,
        }
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        if self.wrong == Some(Wrong::RefusesBrokenSecondStanza) {
            let broken = stanzas.iter().find_map(|stanza| self.key.identity.unwrap_stanza(stanza)?.err());
            if let Some(error) = broken {
                return Some(Err(error));
            }
        }
        stanzas.iter().find_map(|stanza| self.unwrap_stanza(stanza))
    }
}
