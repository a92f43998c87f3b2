//! Docker's credentials: its configuration file, the answers of its credential helpers, and the `.dockerconfigjson`
//! documents that Flyte uses as image pull secrets.
//!
//! A document has the same bytes as one that the SDK makes with Python's `json.dumps`. An error names the position in
//! the file and repeats nothing else, because the rest may be a password.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use zeroize::Zeroizing;

use crate::json_escape::unicode_escape;

/// The name that Docker's configuration has for Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Other hosts of Docker Hub.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Returns what is the same in all spellings of a registry: without the scheme, the version of the protocol, and `/` at the end.
fn host(registry: &str) -> String {
    let name = registry.to_ascii_lowercase();
    let name = ["https://", "http://"].iter().find_map(|scheme| name.strip_prefix(scheme)).unwrap_or(&name);
    let name = name.trim_end_matches('/');
    let name = ["/v1", "/v2"].iter().find_map(|version| name.strip_suffix(version)).unwrap_or(name);
    if DOCKER_HUB_HOSTS.contains(&name) { "docker.io".to_owned() } else { name.to_owned() }
}

/// The parts of Docker's configuration that say where credentials are.
#[derive(serde::Deserialize)]
pub struct DockerConfig {
    #[serde(default)]
    auths: Ordered<RegistryEntry>,
    #[serde(default, rename = "credHelpers")]
    helpers: Ordered<Option<String>>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

/// A registry's entry in the configuration.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct RegistryEntry {
    auth: Option<Zeroizing<String>>,
    username: Option<Zeroizing<String>>,
    password: Option<Zeroizing<String>>,
    identitytoken: Option<Zeroizing<String>>,
}

/// The place where a registry's credentials are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum CredentialSource<'a> {
    /// In the configuration: a user name and a password, encoded as the document has them.
    Stored(&'a str),
    /// In the credential helper of this name.
    Helper(&'a str),
    /// Nowhere.
    Nowhere,
}

/// The reason why bytes are not a configuration or a document. It repeats only the names of registries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerError {
    /// The bytes are not JSON.
    #[error("it is not JSON: line {line}, column {column}")]
    Syntax {
        /// The line of the error.
        line: usize,
        /// The byte within that line.
        column: usize,
    },
    /// The bytes are JSON, but not of the right form.
    #[error("it is not of the form {{\"auths\": {{REGISTRY: {{\"auth\": …}}}}}}: line {line}, column {column}")]
    Form {
        /// The line where the form is wrong.
        line: usize,
        /// The byte within that line.
        column: usize,
    },
    /// The document names no registry.
    #[error("it names no registry")]
    Empty,
    /// The document has no credentials for this registry.
    #[error("it has no credentials for {0:?}")]
    NoCredentials(String),
    /// The credentials of this registry are not a user name and a password in base64.
    #[error("its entry for {0:?} is not a user name and a password in base64")]
    NotBase64(String),
}

impl From<serde_json::Error> for DockerError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Data => DockerError::Form { line, column },
            Category::Syntax | Category::Eof | Category::Io => DockerError::Syntax { line, column },
        }
    }
}

impl DockerConfig {
    /// Reads Docker's `config.json`.
    ///
    /// # Errors
    /// The bytes are not JSON, or not of that form.
    pub fn parse(bytes: &[u8]) -> Result<Self, DockerError> {
        // serde would also take an array of the members.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err(DockerError::Form { line: 1, column: 1 });
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Returns the registries that the configuration names, in its order.
    pub fn registries(&self) -> impl Iterator<Item = &str> {
        self.auths.0.iter().map(|(registry, _)| registry.as_str())
    }

    /// Returns the name by which the configuration knows a registry: the name itself, or another spelling of it that has
    /// credentials. Docker compares them so too.
    pub fn name_of<'a>(&'a self, registry: &'a str) -> &'a str {
        let names = || self.registries().chain(self.helpers.0.iter().map(|(registry, _)| registry.as_str()));
        let is_usable = |name: &str| self.source(name) != CredentialSource::Nowhere;
        if names().any(|name| name == registry) && is_usable(registry) {
            return registry;
        }
        let host = host(registry);
        let other = names().find(|name| self::host(name) == host && is_usable(name));
        // `docker login` gives a helper this name for Docker Hub.
        let hub = Some(DOCKER_HUB).filter(|hub| host == self::host(hub) && is_usable(hub));
        other.or(hub).unwrap_or(registry)
    }

    /// Returns the place where the SDK would look for a registry's credentials.
    pub fn source(&self, registry: &str) -> CredentialSource<'_> {
        let entry = self.auths.get(registry);
        if let Some(auth) = entry.and_then(|entry| entry.auth.as_deref()).filter(|auth| !auth.is_empty()) {
            return CredentialSource::Stored(auth);
        }
        // A registry's own helper takes precedence over the store, even if the helper is `null` or empty.
        let helper = match self.helpers.get(registry).filter(|_| !registry.is_empty()) {
            Some(helper) => helper.as_deref(),
            None => self.store.as_deref(),
        };
        helper.filter(|helper| !helper.is_empty()).map_or(CredentialSource::Nowhere, CredentialSource::Helper)
    }

    /// Returns true if the configuration has an identity token for a registry. A document cannot carry one.
    pub fn has_identity_token(&self, registry: &str) -> bool {
        let token = self.auths.get(registry).and_then(|entry| entry.identitytoken.as_deref());
        token.is_some_and(|token| !token.is_empty())
    }
}

/// The answer of a credential helper to `get`.
#[derive(serde::Deserialize)]
pub struct HelperAnswer {
    /// The user's name.
    #[serde(rename = "Username")]
    pub username: Zeroizing<String>,
    /// The password, or a token in its place.
    #[serde(rename = "Secret")]
    pub secret: Zeroizing<String>,
}

impl HelperAnswer {
    /// Reads an answer; `None` if the bytes are not one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// Encodes a user name and a password as a document has them.
pub fn auth(username: &str, password: &[u8]) -> Zeroizing<String> {
    let pair = Zeroizing::new([username.as_bytes(), b":", password].concat());
    Zeroizing::new(STANDARD.encode(&*pair))
}

/// Returns the document for some registries, each with its [`auth`].
pub fn document(auths: &[(&str, &str)]) -> Zeroizing<Vec<u8>> {
    // Allocated once: a vector that grows leaves a copy behind.
    let length = auths.iter().map(|(registry, auth)| 6 * (registry.len() + auth.len()) + 32).sum::<usize>();
    let mut text = Zeroizing::new(String::with_capacity(length + 16));
    text.push_str("{\"auths\": {");
    for (index, (registry, auth)) in auths.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { ", " });
        push_string(&mut text, registry);
        text.push_str(": {\"auth\": ");
        push_string(&mut text, auth);
        text.push('}');
    }
    text.push_str("}}");
    Zeroizing::new(text.as_bytes().to_vec())
}

/// Appends a string in the form that Python writes in JSON: in ASCII.
fn push_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            ' '..='~' => text.push(character),
            other => text.push_str(&unicode_escape(other)),
        }
    }
    text.push('"');
}

/// Checks that images can be pulled with a document: it names registries, and has credentials for each.
///
/// # Errors
/// See [`DockerError`].
pub fn check(document: &[u8]) -> Result<(), DockerError> {
    /// Base64 as Kubernetes reads it.
    const PADDED_OR_NOT: GeneralPurpose = GeneralPurpose::new(
        &ALPHABET,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let config = DockerConfig::parse(document)?;
    if config.auths.0.is_empty() {
        return Err(DockerError::Empty);
    }
    for (registry, entry) in &config.auths.0 {
        let has = |part: &Option<Zeroizing<String>>| part.as_ref().is_some_and(|part| !part.is_empty());
        if has(&entry.auth) {
            let decoded = entry.auth.as_ref().and_then(|auth| PADDED_OR_NOT.decode(auth.as_bytes()).ok());
            if !Zeroizing::new(decoded.unwrap_or_default()).contains(&b':') {
                return Err(DockerError::NotBase64(registry.clone()));
            }
        } else if !has(&entry.username) || !has(&entry.password) {
            return Err(DockerError::NoCredentials(registry.clone()));
        }
    }
    Ok(())
}

/// An object's members in their order. If a name occurs twice, the first determines the place and the last the value, as
/// in Python.
struct Ordered<V>(Vec<(String, V)>);

impl<V> Default for Ordered<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V> Ordered<V> {
    fn get(&self, name: &str) -> Option<&V> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OrderedVisitor<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for OrderedVisitor<V> {
            type Value = Ordered<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Ordered<V>, M::Error> {
                let (mut ordered, mut places) = (Vec::new(), BTreeMap::new());
                while let Some((name, value)) = members.next_entry::<String, V>()? {
                    match places.entry(name.clone()) {
                        Entry::Occupied(place) => ordered[*place.get()] = (name, value),
                        Entry::Vacant(place) => {
                            place.insert(ordered.len());
                            ordered.push((name, value));
                        }
                    }
                }
                Ok(Ordered(ordered))
            }
        }
        deserializer.deserialize_map(OrderedVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_credentials_precede_a_registrys_helper_and_that_precedes_the_store() {
        let text = r#"{"auths": {"stored": {"auth": "YTpi"}, "empty": {"auth": ""}, "own": {}, "none": {}},
            "credHelpers": {"stored": "h", "own": "h", "none": ""}, "credsStore": "s"}"#;
        let config = DockerConfig::parse(text.as_bytes()).expect("a configuration");
        assert_eq!(config.registries().collect::<Vec<_>>(), ["stored", "empty", "own", "none"]);
        assert!(config.source("stored") == CredentialSource::Stored("YTpi"));
        assert!(config.source("empty") == CredentialSource::Helper("s"));
        assert!(config.source("own") == CredentialSource::Helper("h"));
        assert!(config.source("none") == CredentialSource::Nowhere);
        assert!(config.source("elsewhere") == CredentialSource::Helper("s"));
    }

    #[test]
    fn a_document_has_credentials_for_each_registry() {
        let good = [
            r#"{"auths": {"a": {"auth": "YTpi"}}}"#,
            r#"{"auths": {"a": {"auth": "YWE6Yg"}}}"#,
            r#"{"auths": {"a": {"username": "u", "password": "p", "email": "e"}}, "HttpHeaders": {}}"#,
        ];
        for text in good {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
        let bad = [
            (r#"hunter2"#, DockerError::Syntax { line: 1, column: 1 }),
            (r#""hunter2""#, DockerError::Form { line: 1, column: 9 }),
            (r#"[["hunter2"]]"#, DockerError::Form { line: 1, column: 1 }),
            (r#"{"auths": "hunter2"}"#, DockerError::Form { line: 1, column: 19 }),
            ("{}", DockerError::Empty),
            (r#"{"auths": {}}"#, DockerError::Empty),
            (r#"{"auths": {"a": {}}}"#, DockerError::NoCredentials("a".into())),
            (r#"{"auths": {"a": {"username": "u"}}}"#, DockerError::NoCredentials("a".into())),
            (r#"{"auths": {"a": {"auth": "hunter2!"}}}"#, DockerError::NotBase64("a".into())),
            (r#"{"auths": {"a": {"auth": "YWI="}}}"#, DockerError::NotBase64("a".into())),
        ];
        for (text, error) in bad {
            assert!(!error.to_string().contains("hunter2"));
            assert_eq!(check(text.as_bytes()), Err(error), "{text}");
        }
    }
}
