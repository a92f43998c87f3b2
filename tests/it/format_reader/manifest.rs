//! `vault.toml`.

use sha2::{Digest, Sha256};

use super::limits::limit;
use super::toml_1_0::is_1_1;
use super::{Reader, Wrong};

/// The content of a `vault.toml`.
pub(crate) struct Vault {
    pub(super) id: String,
    pub(super) recipients: Vec<(String, String)>,
    pub(super) authors: Vec<[u8; 32]>,
}

impl Reader {
    pub(crate) fn vault(&self, bytes: &[u8]) -> Option<Vault> {
        let is_small = |text: &&str| text.len() <= limit("bytes of `vault.toml`") || self.is(Wrong::AnyManifestSize);
        let text = std::str::from_utf8(bytes).ok().filter(is_small)?;
        if text.starts_with('\u{feff}') && !self.is(Wrong::ManifestByteOrderMark) {
            return None;
        }
        let marks = text.chars().filter(|&c| ".,=[{".contains(c)).count();
        if !self.is(Wrong::AnyMarks) && marks > limit("characters `.`, `,`, `=`, `[` and `{` in `vault.toml`, together")
        {
            return None;
        }
        let table: toml::Table = toml::from_str(text).ok()?;
        let format = table.get("format")?.as_integer()?;
        let is_known = format == 2 || (format == 1 && !self.is(Wrong::Format2Only));
        if !is_known && !self.is(Wrong::AnyFormat) {
            return None;
        }
        if is_1_1(text) && !self.is(Wrong::Toml11) || (self.is(Wrong::NoInlineTables) && text.contains("{ ")) {
            return None;
        }
        self.has_only(&table, &["format", "id", "recipients", "authors"])?;
        let id = table.get("id")?.as_str()?;
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if !is_id && !self.is(Wrong::AnyId) {
            return None;
        }
        let most = if self.is(Wrong::AnyNumberOfRecipients) { usize::MAX } else { limit("recipients in `vault.toml`") };
        let recipients = self.keys(table.get("recipients")?, most, |text| self.recipient(text))?;
        let most = match self.wrong {
            Some(Wrong::AnyNumberOfAuthors) => usize::MAX,
            Some(Wrong::FewerAuthors) => limit("authors in `vault.toml`") - 1,
            _ => limit("authors in `vault.toml`"),
        };
        let authors = match (format, table.get("authors")) {
            (1, Some(_)) if !self.is(Wrong::AuthorsInFormat1) => return None,
            (_, None) if format == 1 || self.is(Wrong::NoAuthorsMember) => Vec::new(),
            (_, authors) => self.keys(authors?, most, |text| self.author(text))?,
        };
        if recipients.is_empty() && !self.is(Wrong::NoRecipients) {
            return None;
        }
        let authors = authors.into_iter().map(|(_, key)| key).collect();
        Some(Vault { id: id.to_owned(), recipients, authors })
    }

    fn has_only(&self, table: &toml::Table, known: &[&str]) -> Option<()> {
        let is_known = table.keys().all(|key| known.contains(&key.as_str()));
        (is_known || self.is(Wrong::UnknownManifestMembers)).then_some(())
    }

    /// Returns the names and keys of a list.
    fn keys<K: PartialEq>(
        &self,
        list: &toml::Value,
        most: usize,
        parse: impl Fn(&str) -> Option<K>,
    ) -> Option<Vec<(String, K)>> {
        let list = list.as_array().filter(|list| list.len() <= most)?;
        let mut keys: Vec<(String, K)> = Vec::new();
        for entry in list {
            let entry = entry.as_table()?;
            self.has_only(entry, &["name", "key"])?;
            let name = entry.get("name")?.as_str()?;
            let length = if self.is(Wrong::NameInBytes) { name.len() } else { name.chars().count() };
            let is_length = length <= limit("characters of the name of either") || self.is(Wrong::AnyNameLength);
            if !is_length || (name.is_empty() && self.is(Wrong::NameNotEmpty)) {
                return None;
            }
            let key = parse(entry.get("key")?.as_str()?)?;
            if keys.iter().any(|(_, known)| *known == key) && !self.is(Wrong::RepeatedKeys) {
                return None;
            }
            keys.push((name.to_owned(), key));
        }
        Some(keys)
    }

    /// Returns the digest of the vault's recipients.
    pub(super) fn digest(&self, vault: &Vault) -> String {
        let line = |(name, key): &(String, String)| match self.is(Wrong::NamesInDigest) {
            true => format!("{key} {name}\n"),
            false => format!("{key}\n"),
        };
        let mut lines: Vec<String> = vault.recipients.iter().map(line).collect();
        if !self.is(Wrong::UnsortedDigest) {
            lines.sort();
        }
        if self.is(Wrong::ReversedDigest) {
            lines.reverse();
        }
        Sha256::digest(lines.concat()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
