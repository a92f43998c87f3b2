//! The test vectors of the vault format, as `fixtures/vault-format/vectors.toml` lists them.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The list of vectors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vectors {
    pub(crate) secret: Vec<SecretVector>,
    pub(crate) manifest: Vec<ManifestVector>,
    pub(crate) author_key: Vec<AuthorKeyVector>,
}

/// A secret file and its expected outcomes. The fixtures' README explains the members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretVector {
    #[serde(default = "unsigned")]
    pub(crate) vault: String,
    pub(crate) file: String,
    pub(crate) size: Option<usize>,
    pub(crate) place: String,
    #[serde(default = "owner")]
    pub(crate) identity: String,
    pub(crate) list: String,
    pub(crate) read: String,
    pub(crate) update: Option<String>,
    pub(crate) value: Option<String>,
    #[serde(rename = "type", default = "regular")]
    pub(crate) secret_type: String,
    #[serde(default = "created")]
    pub(crate) created: String,
    #[serde(default = "updated")]
    pub(crate) updated: String,
    pub(crate) stale: Option<bool>,
}

/// A `vault.toml` and its expected outcomes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestVector {
    #[serde(default = "unsigned")]
    pub(crate) vault: String,
    pub(crate) file: String,
    pub(crate) open: String,
    pub(crate) read: Option<String>,
}

/// A file of an author's private key, and whether it is one. Each good one has the key of `author.key`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthorKeyVector {
    pub(crate) file: String,
    pub(crate) parse: String,
}

fn unsigned() -> String {
    "vault".to_owned()
}

fn owner() -> String {
    "identity.txt".to_owned()
}

fn regular() -> String {
    "regular".to_owned()
}

fn created() -> String {
    "2026-01-02T03:04:05Z".to_owned()
}

fn updated() -> String {
    "2026-02-03T04:05:06.789Z".to_owned()
}

impl SecretVector {
    /// Returns the bytes of the file, filled up with zeros to its size.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = bytes(&self.file);
        bytes.resize(self.size.unwrap_or(bytes.len()), 0);
        bytes
    }

    /// Returns the expected outcome of an update: that of a list, and then of the binding's signature.
    pub(crate) fn expected_update(&self) -> &str {
        let of_signature = ["unsigned", "forged", "unknown-author"].contains(&self.read.as_str());
        match &self.update {
            Some(update) => update,
            None if self.list == "ok" && of_signature => &self.read,
            None => &self.list,
        }
    }

    /// Returns the expected value, in hexadecimal. A vector that names none needs two chunks.
    pub(crate) fn expected_value(&self) -> String {
        self.value.clone().unwrap_or_else(|| hexadecimal(&vec![b'x'; (64 << 10) + 1]))
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the directory of the vectors.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/vault-format")
}

/// Returns the content of one of its files.
pub(crate) fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(fixtures().join(file)).expect("a file of the fixtures")
}

pub(crate) fn vectors() -> Vectors {
    let text = std::fs::read_to_string(fixtures().join("vectors.toml")).expect("the list of vectors");
    toml::from_str(&text).expect("as this test reads it")
}
