//! `vault.toml`: the format's version, the vault's id, and whom its secrets are encrypted to.

use serde::{Deserialize, Serialize};

use super::VaultError;
use crate::crypto::Recipient;

/// The format this code reads and writes.
const FORMAT: u32 = 1;

/// The bytes of a vault's id. It tells vaults apart; it is no secret.
const ID_BYTES: usize = 16;

/// A recipient, and what its owner calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedRecipient {
    /// Whose it is.
    pub name: String,
    /// The public key.
    pub key: Recipient,
}

#[derive(Debug)]
pub(super) struct Manifest {
    id: String,
    recipients: Vec<NamedRecipient>,
}

/// Why a `vault.toml` is not understood.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not UTF-8, not TOML, or has a member we do not know.
    #[error("{0}")]
    Syntax(String),
    /// A later format.
    #[error("it has format {found}, this flyte-local knows format {FORMAT}")]
    Format {
        /// The format it says it has.
        found: u32,
    },
    /// The id is not 32 hexadecimal digits.
    #[error("its id is not 32 lower-case hexadecimal digits")]
    Id,
    /// A recipient's key does not parse.
    #[error("the key of recipient {name:?} cannot be used")]
    Recipient {
        /// Whose it is.
        name: String,
        /// What is wrong with it.
        #[source]
        reason: crate::crypto::BadRecipient,
    },
    /// There is nobody to encrypt to.
    #[error("it has no recipient")]
    NoRecipient,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    id: String,
    recipients: Vec<FileRecipient>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRecipient {
    name: String,
    key: String,
}

/// The version alone, so that a later format is told as such rather than as a syntax error.
#[derive(Deserialize)]
struct FileFormat {
    format: u32,
}

impl Manifest {
    pub(super) fn new(recipients: Vec<NamedRecipient>) -> Result<Self, VaultError> {
        let mut id = [0; ID_BYTES];
        getrandom::getrandom(&mut id).map_err(|source| VaultError::Randomness { source })?;
        Ok(Self { id: id.iter().map(|byte| format!("{byte:02x}")).collect(), recipients })
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let syntax = |error: &dyn std::fmt::Display| ManifestError::Syntax(error.to_string().trim_end().to_owned());
        let text = std::str::from_utf8(bytes).map_err(|error| syntax(&error))?;
        let FileFormat { format } = toml::from_str(text).map_err(|error| syntax(&error))?;
        if format != FORMAT {
            return Err(ManifestError::Format { found: format });
        }
        let file: File = toml::from_str(text).map_err(|error| syntax(&error))?;
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if file.id.len() != 2 * ID_BYTES || !file.id.bytes().all(hexadecimal) {
            return Err(ManifestError::Id);
        }
        let mut recipients = Vec::with_capacity(file.recipients.len());
        for FileRecipient { name, key } in file.recipients {
            match key.parse() {
                Ok(key) => recipients.push(NamedRecipient { name, key }),
                Err(reason) => return Err(ManifestError::Recipient { name, reason }),
            }
        }
        if recipients.is_empty() {
            return Err(ManifestError::NoRecipient);
        }
        Ok(Self { id: file.id, recipients })
    }

    pub(super) fn to_toml(&self) -> String {
        let recipients = self.recipients.iter();
        let file = File {
            format: FORMAT,
            id: self.id.clone(),
            recipients: recipients
                .map(|recipient| FileRecipient { name: recipient.name.clone(), key: recipient.key.to_string() })
                .collect(),
        };
        toml::to_string(&file).expect("strings and a number always serialise")
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn recipients(&self) -> &[NamedRecipient] {
        &self.recipients
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Identity;

    fn manifest() -> Manifest {
        let key = Identity::generate().recipient();
        Manifest::new(vec![NamedRecipient { name: "alice".to_owned(), key }]).expect("randomness")
    }

    #[test]
    fn what_was_written_is_read() {
        let written = manifest();
        let read = Manifest::parse(written.to_toml().as_bytes()).expect("our own format");
        assert_eq!((read.id(), read.recipients()), (written.id(), written.recipients()));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let good = manifest().to_toml();
        let parse = |text: String| Manifest::parse(text.as_bytes()).expect_err("not understood").to_string();
        assert!(parse(good.replace("format = 1", "format = 2")).contains("format 2"));
        assert!(parse(good.replace("format = 1", "format = 1\nsurprise = 1")).contains("surprise"));
        assert!(parse(good.replace("id = \"", "id = \"x")).contains("hexadecimal"));
        assert!(parse(good.replace("age1", "age2")).contains("alice"));
        assert!(parse("format = 1\nid = \"00000000000000000000000000000000\"\nrecipients = []".into()).contains("no"));
        assert!(!parse("\u{0}".into()).is_empty());
    }
}
