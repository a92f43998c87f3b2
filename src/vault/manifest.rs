//! `vault.toml`: the format's version, the vault's id, whom its secrets are encrypted to, and who writes them.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::manifest_error::ManifestError;
use super::{VaultError, layout, toml_form};
use crate::crypto::{self, Author, Recipient};
use crate::file_form::FileForm;
use crate::toml_file::TomlFile;

/// The format this code writes.
pub(super) const FORMAT: u32 = 2;

/// The format that knew no authors. It is read as one of a vault that has none.
const WITHOUT_AUTHORS: u32 = 1;

/// The bytes of a vault's id. It tells vaults apart, and is public.
const ID_BYTES: usize = 16;

/// The most recipients of a vault: the header of a file has room for so many, of each kind.
pub const MAX_RECIPIENTS: usize = 62;

/// More than any team; a list of them can be shown whole.
pub(super) const MAX_AUTHORS: usize = 256;

/// The characters of the name of either: more would keep the key from being seen.
pub(super) const MAX_NAME_CHARACTERS: usize = 64;

/// The most of the characters `.`, `,`, `=`, `[` and `{` in `vault.toml`, in names too: see [`crate::toml_file`].
pub(super) const MAX_MARKS: usize = 32 << 10;

/// A key, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<K> {
    /// The name that people know it by.
    pub name: String,
    /// The public key.
    pub key: K,
}

/// Whom secrets are encrypted to.
pub type NamedRecipient = Named<Recipient>;

/// Who writes secrets: the key verifies what they sign.
pub type NamedAuthor = Named<Author>;

#[derive(Debug, Clone)]
pub(super) struct Manifest {
    id: String,
    recipients: Vec<NamedRecipient>,
    authors: Vec<NamedAuthor>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestFile {
    format: u32,
    id: String,
    recipients: Vec<FileKey>,
    authors: Option<Vec<FileKey>>,
}

/// A key and whose it is: a recipient's or an author's.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileKey {
    pub(super) name: String,
    pub(super) key: String,
}

/// Keys as a file has them.
pub(super) fn to_file<K: Display>(keys: &[Named<K>]) -> Vec<FileKey> {
    keys.iter().map(|known| FileKey { name: known.name.clone(), key: known.key.to_string() }).collect()
}

pub(super) fn to_recipients(keys: Vec<FileKey>) -> Result<Vec<NamedRecipient>, ManifestError> {
    from_file(keys, "recipients", MAX_RECIPIENTS, |name, reason| ManifestError::Recipient { name, reason })
}

pub(super) fn to_authors(keys: Vec<FileKey>) -> Result<Vec<NamedAuthor>, ManifestError> {
    from_file(keys, "authors", MAX_AUTHORS, |name, reason| ManifestError::Author { name, reason })
}

/// The keys of a file, if all of them can be shown. Their number is looked at first: parsing one costs a multiplication on
/// its curve.
fn from_file<K: FromStr + Display>(
    keys: Vec<FileKey>,
    what: &'static str,
    most: usize,
    bad: impl Fn(String, K::Err) -> ManifestError,
) -> Result<Vec<Named<K>>, ManifestError> {
    if keys.len() > most {
        return Err(ManifestError::TooMany { what, found: keys.len(), most });
    }
    let mut seen = BTreeSet::new();
    let named = |FileKey { name, key }: FileKey| {
        let written = key;
        let key: K = match written.parse() {
            Ok(key) => key,
            Err(reason) => return Err(bad(name, reason)),
        };
        // One text for a key: the digest of the recipients and the fingerprint are made of it.
        let text = key.to_string();
        if text != written {
            return Err(ManifestError::NotCanonical { key: text });
        }
        if name.chars().count() > MAX_NAME_CHARACTERS {
            return Err(ManifestError::LongName { key: text });
        }
        if !seen.insert(text.clone()) {
            return Err(ManifestError::Repeated { key: text });
        }
        Ok(Named { name, key })
    };
    keys.into_iter().map(named).collect()
}

impl Manifest {
    pub(super) fn new(recipients: Vec<NamedRecipient>, authors: Vec<NamedAuthor>) -> Result<Self, VaultError> {
        let mut id = [0; ID_BYTES];
        getrandom::getrandom(&mut id).map_err(|source| VaultError::Randomness { source })?;
        Ok(Self { id: id.iter().map(|byte| format!("{byte:02x}")).collect(), recipients, authors })
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.is_empty() {
            return Err(FileForm::Empty.into());
        }
        if bytes.len() > layout::MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { found: bytes.len() });
        }
        let syntax = |reason: &str| ManifestError::Syntax(reason.to_owned());
        let file = TomlFile::parse(bytes, MAX_MARKS)?;
        // First, so that a later format is reported as such rather than as a syntax error.
        match file.number("format") {
            Some(found) if found != FORMAT && found != WITHOUT_AUTHORS => return Err(ManifestError::Format { found }),
            _ => {}
        }
        toml_form::check(file.text()).map_err(|reason| syntax(&format!("it is not TOML 1.0: {reason}")))?;
        let file: ManifestFile = file.members()?;
        if !Self::is_id(&file.id) {
            return Err(ManifestError::Id);
        }
        let recipients = to_recipients(file.recipients)?;
        if recipients.is_empty() {
            return Err(ManifestError::NoRecipient);
        }
        let authors = match (file.format, file.authors) {
            (WITHOUT_AUTHORS, None) => Vec::new(),
            (WITHOUT_AUTHORS, Some(_)) => return Err(syntax("format 1 has no authors")),
            (_, Some(authors)) => to_authors(authors)?,
            (_, None) => return Err(syntax("missing field `authors`")),
        };
        Ok(Self { id: file.id, recipients, authors })
    }

    /// Returns `true` if this has the form of a vault's id.
    pub(super) fn is_id(text: &str) -> bool {
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.len() == 2 * ID_BYTES && text.bytes().all(hexadecimal)
    }

    /// Returns the author whose key has this text.
    pub(super) fn author(&self, text: &str) -> Option<&Author> {
        self.authors.iter().map(|author| &author.key).find(|key| key.as_str() == text)
    }

    pub(super) fn to_toml(&self) -> String {
        let file = ManifestFile {
            format: FORMAT,
            id: self.id.clone(),
            recipients: to_file(&self.recipients),
            authors: Some(to_file(&self.authors)),
        };
        toml::to_string(&file).expect("strings and a number always serialise")
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn recipients(&self) -> &[NamedRecipient] {
        &self.recipients
    }

    pub(super) fn authors(&self) -> &[NamedAuthor] {
        &self.authors
    }

    /// Returns the digest of the set of recipients, without their names: the SHA-256 of their keys, sorted, each with a
    /// newline after it, in hexadecimal.
    pub(super) fn recipients_digest(&self) -> String {
        digest(self.recipients.iter().map(|recipient| recipient.key.to_string()))
    }

    /// The same of all that is accepted of a vault: its id, its recipients and its authors, with their names. A name is in it by
    /// its own SHA-256, as it may be any text.
    pub(super) fn fingerprint(&self) -> String {
        let name = |name: &str| crypto::digest(name.as_bytes());
        let recipients = self.recipients.iter().map(|known| format!("recipient {} {}", known.key, name(&known.name)));
        let authors = self.authors.iter().map(|known| format!("author {} {}", known.key, name(&known.name)));
        digest(recipients.chain(authors).chain([format!("id {}", self.id)]))
    }

    /// Checks that it could be read again.
    pub(super) fn check(&self) -> Result<(), ManifestError> {
        Self::parse(self.to_toml().as_bytes()).map(drop)
    }

    pub(super) fn add_recipient(&mut self, recipient: NamedRecipient) {
        self.recipients.push(recipient);
    }

    /// Removes the recipients that `is_meant` says; which.
    pub(super) fn remove_recipients(&mut self, is_meant: impl Fn(&NamedRecipient) -> bool) -> Vec<NamedRecipient> {
        self.recipients.extract_if(.., |recipient| is_meant(recipient)).collect()
    }

    pub(super) fn add_author(&mut self, author: NamedAuthor) {
        self.authors.push(author);
    }

    /// Removes the authors that `is_meant` says; which.
    pub(super) fn remove_authors(&mut self, is_meant: impl Fn(&NamedAuthor) -> bool) -> Vec<NamedAuthor> {
        self.authors.extract_if(.., |author| is_meant(author)).collect()
    }

    #[cfg(test)]
    pub(super) fn replace(&mut self, recipients: Vec<NamedRecipient>, authors: Vec<NamedAuthor>) {
        (self.recipients, self.authors) = (recipients, authors);
    }
}

fn digest(lines: impl Iterator<Item = String>) -> String {
    let lines: BTreeSet<_> = lines.map(|line| line + "\n").collect();
    crypto::digest(lines.into_iter().collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{AuthorKey, Identity};

    fn manifest() -> Manifest {
        let key = Identity::generate().recipient();
        let author = AuthorKey::generate().expect("randomness").author();
        let name = || "alice".to_owned();
        Manifest::new(vec![NamedRecipient { name: name(), key }], vec![NamedAuthor { name: name(), key: author }])
            .expect("randomness")
    }

    #[test]
    fn a_written_manifest_can_be_read() {
        let written = manifest();
        let read = Manifest::parse(written.to_toml().as_bytes()).expect("our own format");
        assert_eq!((read.id(), read.recipients()), (written.id(), written.recipients()));
        assert_eq!(read.authors(), written.authors());
    }

    #[test]
    fn a_malformed_manifest_is_refused() {
        let good = manifest().to_toml();
        let parse = |text: String| Manifest::parse(text.as_bytes()).expect_err("not understood").to_string();
        assert!(parse(good.replace("format = 2", "format = 3")).contains("format 3"));
        assert!(parse(good.replace("format = 2", "format = 2\nsurprise = 1")).contains("surprise"));
        assert!(parse(good.replace("id = \"", "id = \"x")).contains("hexadecimal"));
        assert!(parse(good.replace("age1", "age2")).contains("alice"));
        assert!(parse(good.replace("flyteauthor1", "flyteauthor2")).contains("alice"));
        assert!(parse(good.replace("format = 2", "format = 1")).contains("format 1 has no authors"));
        assert!(parse(good.split("\n[[authors]]").next().expect("a part").to_owned()).contains("authors"));
        assert!(parse("format = 1\nid = \"00000000000000000000000000000000\"\nrecipients = []".into()).contains("no"));
        assert!(!parse("\u{0}".into()).is_empty());
    }

    #[test]
    fn a_manifest_beyond_the_limits_is_refused() {
        let good = manifest();
        let with = |change: &dyn Fn(&mut Manifest)| {
            let mut changed = good.clone();
            change(&mut changed);
            changed.check().map_err(|error| error.to_string())
        };
        let author = |name: String| NamedAuthor { name, key: AuthorKey::generate().expect("randomness").author() };
        let recipient = || NamedRecipient { name: "r".to_owned(), key: Identity::generate().recipient() };
        let long = |length: usize| with(&|m| m.authors.push(author("é".repeat(length))));
        assert_eq!(long(MAX_NAME_CHARACTERS), Ok(()));
        assert!(long(MAX_NAME_CHARACTERS + 1).is_err_and(|error| error.contains("64 characters")));
        let recipients =
            |count: usize| with(&|m| m.recipients = std::iter::repeat_with(recipient).take(count).collect());
        assert_eq!(recipients(MAX_RECIPIENTS), Ok(()));
        assert!(recipients(MAX_RECIPIENTS + 1).is_err_and(|error| error.contains("63 recipients")));
        let authors = |count: usize| with(&|m| m.authors = (0..count).map(|_| author("a".to_owned())).collect());
        assert_eq!(authors(MAX_AUTHORS), Ok(()));
        assert!(authors(MAX_AUTHORS + 1).is_err_and(|error| error.contains("257 authors")));
        let padded = |length: usize| {
            let text = good.to_toml();
            Manifest::parse(format!("{text}#{}", "x".repeat(length - text.len() - 1)).as_bytes())
        };
        assert!(padded(layout::MAX_MANIFEST_BYTES).is_ok());
        assert!(matches!(padded(layout::MAX_MANIFEST_BYTES + 1), Err(ManifestError::TooLarge { found: 262_145 })));
        let marked = |more: usize| Manifest::parse(format!("{}#{}", good.to_toml(), ".".repeat(more)).as_bytes());
        // Two brackets and two members in each of the two tables, and two members before them.
        let marks = 2 * (2 + 2) + 2;
        assert!(marked(MAX_MARKS - marks).is_ok());
        assert!(matches!(marked(MAX_MARKS - marks + 1), Err(ManifestError::TooManyMarks)));
        // Their number comes before their keys, of which none is one here.
        let many = "\n[[recipients]]\nname = \"r\"\nkey = \"none\"\n".repeat(MAX_RECIPIENTS + 1);
        let many = format!("format = 1\nid = \"{}\"\n{many}", good.id());
        assert!(matches!(Manifest::parse(many.as_bytes()), Err(ManifestError::TooMany { found: 63, .. })));
        // All limits at once: the longest keys, and names of the longest and most marked characters.
        for character in ["\u{10ffff}", "\u{1}", "\"", "."] {
            let name = |index: usize| format!("{index:03}{}", character.repeat(MAX_NAME_CHARACTERS - 3));
            let full = with(&|m| {
                m.recipients = (0..MAX_RECIPIENTS)
                    .map(|index| NamedRecipient { name: name(index), key: Recipient::random_rsa() })
                    .collect();
                m.authors = (0..MAX_AUTHORS).map(|index| author(name(index))).collect();
            });
            assert_eq!(full, Ok(()), "{character:?}");
        }
        assert!(with(&|m| m.authors.push(m.authors[0].clone())).is_err_and(|error| error.contains("twice")));
        assert!(with(&|m| m.recipients.push(m.recipients[0].clone())).is_err_and(|error| error.contains("twice")));
    }
}
