//! The binding: what a file's header says of the secret in it, and who says so.
//!
//! It ties a file to its vault, scope and name, so that a renamed, swapped or copied file is refused; age's header MAC
//! ties it to the value, and the author's signature ties both to the author. `docs/vault-format.md` is its specification.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::manifest::Manifest;
use super::{SecretFileError, json_form};
use crate::crypto::{Author, AuthorKey, Binding, Commitment, SIGNATURE_BYTES, SIGNED_TAG, Wanted};
use crate::secret::{Domain, Project, Scope, SecretId, SecretName, SecretType};

/// A secret's metadata: everything but its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Its scope and name.
    pub id: SecretId,
    /// Its type.
    pub secret_type: SecretType,
    /// When it was created.
    pub created: Timestamp,
    /// When its value was last written; never earlier than `created`.
    pub updated: Timestamp,
}

/// The stanza's body, a JSON object. A reader passes over members it does not know.
#[derive(Serialize, Deserialize)]
struct Body {
    vault: String,
    project: Option<Project>,
    domain: Option<Domain>,
    name: SecretName,
    #[serde(rename = "type")]
    secret_type: SecretType,
    created: SignedTime,
    updated: SignedTime,
}

/// A time and its text: what is signed is the text, so that a verifier need not know how the writer puts times.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct SignedTime {
    text: String,
    instant: Timestamp,
}

impl TryFrom<String> for SignedTime {
    type Error = TimeError;

    /// Accepts the years from 0001 to 9998, which every library has.
    fn try_from(text: String) -> Result<Self, TimeError> {
        // More forms than the format has would parse: another reader would refuse them.
        let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let rest =
            shape.strip_prefix("0000-00-00T00:00:00").and_then(|rest| rest.strip_suffix('Z')).ok_or(TimeError)?;
        let is_fraction = |digits: &str| (1..=9).contains(&digits.len()) && digits.bytes().all(|digit| digit == b'0');
        if !rest.is_empty() && !rest.strip_prefix('.').is_some_and(is_fraction)
            || &text[17..19] == "60"
            || ["0000", "9999"].contains(&&text[..4])
        {
            return Err(TimeError);
        }
        text.parse().map(|instant| Self { text, instant }).map_err(|_| TimeError)
    }
}

/// Returns the latest time that a binding can have.
pub(super) fn latest_time() -> Timestamp {
    "9998-12-31T23:59:59.999999999Z".parse().expect("a time")
}

/// Why a time is refused.
#[derive(Debug, thiserror::Error)]
#[error(
    "a time is not YYYY-MM-DDThh:mm:ss, with up to nine digits of a fraction, and Z, in the years from 0001 to 9998"
)]
struct TimeError;

impl From<Timestamp> for SignedTime {
    fn from(instant: Timestamp) -> Self {
        Self { text: instant.to_string(), instant }
    }
}

impl From<SignedTime> for String {
    fn from(time: SignedTime) -> Self {
        time.text
    }
}

/// The members that a signed binding has besides: read from the same object.
#[derive(Serialize, Deserialize)]
struct Proof {
    /// The digest of the recipients it was encrypted to. The first writers left it out.
    #[serde(default, deserialize_with = "not_null")]
    recipients: Option<String>,
    author: String,
    commitment: String,
    signature: String,
}

fn not_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

/// The whole of a signed binding.
#[derive(Serialize)]
struct Signed<'a> {
    #[serde(flatten)]
    body: &'a Body,
    #[serde(flatten)]
    proof: Proof,
}

/// Who says so, not yet believed.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) author: Author,
    pub(super) commitment: Commitment,
    /// Whom it says the file is encrypted to: the digest of their keys.
    pub(super) recipients: Option<String>,
    signature: [u8; SIGNATURE_BYTES],
    message: Vec<u8>,
}

impl Claim {
    /// Returns `true` if the author that the binding names signed it.
    pub(super) fn is_authentic(&self) -> bool {
        self.author.has_signed(&self.message, &self.signature)
    }
}

/// A binding that belongs in its place.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: Metadata,
    /// `None` for a file of the version that is not signed.
    pub(super) claim: Option<Claim>,
    /// The recipients, as far as the stanzas beside the binding show them.
    pub(super) wanted: Wanted,
}

/// The binding of a secret that is encrypted to the vault's recipients and whose value has this commitment, signed.
pub(super) fn encode(manifest: &Manifest, metadata: &Metadata, key: &AuthorKey, commitment: &Commitment) -> Vec<u8> {
    let scope = &metadata.id.scope;
    let body = Body {
        vault: manifest.id().to_owned(),
        project: scope.project().cloned(),
        domain: scope.domain().cloned(),
        name: metadata.id.name.clone(),
        secret_type: metadata.secret_type,
        created: metadata.created.into(),
        updated: metadata.updated.into(),
    };
    let author = key.author();
    let recipients = Some(manifest.recipients_digest());
    let signature = key.sign(&message(&body, &author, commitment, recipients.as_deref()));
    let proof = Proof {
        recipients,
        author: author.to_string(),
        commitment: STANDARD.encode(commitment),
        signature: STANDARD.encode(signature),
    };
    let signed = Signed { body: &body, proof };
    serde_json::to_vec(&signed).expect("names, words and times always serialise")
}

/// Builds the message that is signed. Each part has its length before it, so that no two bindings have the same bytes; the tag comes first,
/// so that no other use of the key has them either. Neither a project nor a domain can be empty: there, empty means absent.
fn message(body: &Body, author: &Author, commitment: &Commitment, recipients: Option<&str>) -> Vec<u8> {
    let parts: [&[u8]; 10] = [
        SIGNED_TAG.as_bytes(),
        body.vault.as_bytes(),
        body.project.as_ref().map_or("", Project::as_str).as_bytes(),
        body.domain.as_ref().map_or("", Domain::as_str).as_bytes(),
        body.name.as_str().as_bytes(),
        body.secret_type.as_str().as_bytes(),
        body.created.text.as_bytes(),
        body.updated.text.as_bytes(),
        author.as_bytes(),
        commitment,
    ];
    let mut message = Vec::new();
    for part in parts.into_iter().chain(recipients.map(str::as_bytes)) {
        message.extend((part.len() as u64).to_be_bytes());
        message.extend(part);
    }
    message
}

/// Returns the secret that a binding says it is; `None` if it is not understood.
pub(super) fn place(binding: &Binding) -> Option<SecretId> {
    let body: Body = serde_json::from_slice(&binding.body).ok()?;
    Some(SecretId { scope: Scope::new(body.project, body.domain), name: body.name })
}

/// Reads a binding and compares it with the vault and the place it was found in. Who wrote it is `None` if it is of the
/// version that is not signed. The key of an author whom `vault.toml` names was decoded with it, and is not decoded again.
///
/// # Errors
/// It is not understood, or says that the file belongs elsewhere.
pub(super) fn decode(
    binding: &Binding,
    wanted: Wanted,
    manifest: &Manifest,
    place: &SecretId,
) -> Result<Header, SecretFileError> {
    let refused = |reason: &'static str| SecretFileError::Binding(serde::de::Error::custom(reason));
    json_form::check(&binding.body).map_err(refused)?;
    // serde would also take an array of the members in their order.
    if !binding.body.trim_ascii_start().starts_with(b"{") {
        return Err(refused("it is not a JSON object"));
    }
    let body: Body = serde_json::from_slice(&binding.body).map_err(SecretFileError::Binding)?;
    if body.vault != manifest.id() {
        return Err(SecretFileError::OtherVault);
    }
    let claim = if binding.is_signed {
        let proof: Proof = serde_json::from_slice(&binding.body).map_err(SecretFileError::Binding)?;
        let author = match manifest.author(&proof.author) {
            Some(author) => author.clone(),
            None => proof.author.parse().map_err(|_| refused("its author is not an author's key"))?,
        };
        let commitment = bytes(&proof.commitment).ok_or_else(|| refused("its commitment is not 32 bytes in base64"))?;
        let signature = bytes(&proof.signature).ok_or_else(|| refused("its signature is not 64 bytes in base64"))?;
        let recipients = proof.recipients;
        if recipients.as_ref().is_some_and(|digest| !is_digest(digest)) {
            return Err(refused("its recipients are not a SHA-256 in lower-case hexadecimal"));
        }
        let message = message(&body, &author, &commitment, recipients.as_deref());
        Some(Claim { author, commitment, recipients, signature, message })
    } else {
        None
    };
    let id = SecretId { scope: Scope::new(body.project, body.domain), name: body.name };
    if &id != place {
        return Err(SecretFileError::OtherSecret(Box::new(id)));
    }
    let (created, updated) = (body.created.instant, body.updated.instant);
    if updated < created {
        return Err(refused("it was updated before it was created"));
    }
    Ok(Header { metadata: Metadata { id, secret_type: body.secret_type, created, updated }, claim, wanted })
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        let scope = Scope::new("p".parse().ok(), "d".parse().ok());
        Metadata {
            id: SecretId { scope, name: "n".parse().expect("a good name") },
            secret_type: SecretType::Regular,
            created: "2026-01-01T00:00:00Z".parse().expect("a time"),
            updated: "2026-01-02T03:04:05.5Z".parse().expect("a time"),
        }
    }

    fn key() -> AuthorKey {
        AuthorKey::generate().expect("randomness")
    }

    fn manifest() -> Manifest {
        Manifest::parse(b"format = 2\nid = \"0123456789abcdef0123456789abcdef\"\nauthors = []\n[[recipients]]\nname = \"r\"\nkey = \"age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq\"\n")
            .expect("one")
    }

    fn text(key: &AuthorKey) -> String {
        String::from_utf8(encode(&manifest(), &metadata(), key, &[7; 32])).expect("JSON")
    }

    fn read(text: &str) -> Result<Header, SecretFileError> {
        decode(&Binding { is_signed: true, body: text.into() }, Wanted::default(), &manifest(), &metadata().id)
    }

    fn is_authentic(text: &str) -> bool {
        read(text).is_ok_and(|header| header.claim.expect("signed").is_authentic())
    }

    #[test]
    fn it_reads_as_the_format_document_says() {
        let key = key();
        let text = text(&key);
        let before = r#"{"vault":"0123456789abcdef0123456789abcdef","project":"p","domain":"d","name":"n","type":"regular","created":"2026-01-01T00:00:00Z","updated":"2026-01-02T03:04:05.5Z","recipients":""#;
        let rest = text.strip_prefix(before).expect("as the document says");
        let (digest, author) = (manifest().recipients_digest(), key.author());
        let start = format!("{digest}\",\"author\":\"{author}\",\"commitment\":\"BwcH");
        assert!(rest.starts_with(&start), "{rest}");
        let header = read(&text).expect("ours");
        let claim = header.claim.expect("signed");
        assert_eq!((header.metadata, claim.author, claim.commitment), (metadata(), author, [7; 32]));
        assert_eq!(claim.recipients, Some(digest));
    }

    #[test]
    fn members_of_a_later_version_are_passed_over() {
        let text = text(&key());
        assert!(is_authentic(&text.replacen('{', r#"{"later":{"author":1},"#, 1)));
        let unsigned = Binding { is_signed: false, body: text.replace(r#""author":""#, r#""author":4,"x":""#).into() };
        assert!(
            matches!(decode(&unsigned, Wanted::default(), &manifest(), &metadata().id), Ok(Header { claim: None, .. })),
            "unsigned, it knows of no author"
        );
    }

    #[test]
    fn a_time_has_one_form() {
        let text = text(&key());
        let with = |time: &str| read(&text.replace("2026-01-02T03:04:05.5Z", time)).is_ok();
        for good in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.50Z",
            "2026-01-02T03:04:05.123456789Z",
            "9998-12-31T23:59:59.999999999Z",
        ] {
            assert!(with(good), "{good}");
        }
        for bad in [
            "2026-01-02 03:04:05Z",
            "2026-01-02T03:04:05z",
            "2026-01-02T03:04:05+00:00",
            "2026-01-02T03:04:05Z[UTC]",
            "20260102T030405Z",
            "2026-01-02T03:04Z",
            "2026-01-02T03:04:60Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05,5Z",
            "2026-01-02T03:04:05.1234567890Z",
            "-000001-01-01T00:00:00Z",
            "0000-12-31T23:59:59Z",
            "9999-01-01T00:00:00Z",
            "+002026-01-02T03:04:05Z",
            "2026-02-30T00:00:00Z",
            "２026-01-02T03:04:05Z",
            "",
            // Before it was created.
            "2025-12-31T23:59:59Z",
        ] {
            assert!(!with(bad), "{bad}");
        }
    }

    #[test]
    fn each_part_of_the_place_counts() {
        let binding = Binding { is_signed: true, body: text(&key()).into() };
        let other = manifest().to_toml().replace("0123", "3210");
        let other = Manifest::parse(other.as_bytes()).expect("another vault's");
        assert!(matches!(
            decode(&binding, Wanted::default(), &other, &metadata().id),
            Err(SecretFileError::OtherVault)
        ));
        let name = SecretId { name: "m".parse().expect("a good name"), ..metadata().id };
        assert!(matches!(
            decode(&binding, Wanted::default(), &manifest(), &name),
            Err(SecretFileError::OtherSecret(_))
        ));
        for scope in [Scope::Organization, Scope::new("p".parse().ok(), None), Scope::new(None, "d".parse().ok())] {
            let place = SecretId { scope, ..metadata().id };
            assert!(matches!(
                decode(&binding, Wanted::default(), &manifest(), &place),
                Err(SecretFileError::OtherSecret(_))
            ));
        }
        assert!(matches!(read("{}"), Err(SecretFileError::Binding(_))));
    }

    #[test]
    fn no_changed_byte_of_it_is_authentic() {
        let key = key();
        let text = text(&key);
        assert!(is_authentic(&text));
        for index in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[index] ^= 1 << (index % 8);
            let binding = Binding { is_signed: true, body: changed };
            let accepted = decode(&binding, Wanted::default(), &manifest(), &metadata().id)
                .is_ok_and(|header| header.claim.is_some_and(|claim| claim.is_authentic()));
            assert!(!accepted, "byte {index}: {}", String::from_utf8_lossy(&binding.body));
        }
    }

    #[test]
    fn no_two_bindings_are_signed_with_the_same_bytes() {
        let key = key();
        let message = |project: &str, domain: &str, name: &str| {
            let scope = Scope::new(project.parse().ok(), domain.parse().ok());
            let id = SecretId { scope, name: name.parse().expect("a good name") };
            let body = encode(&manifest(), &Metadata { id: id.clone(), ..metadata() }, &key, &[7; 32]);
            let read = decode(&Binding { is_signed: true, body }, Wanted::default(), &manifest(), &id).expect("ours");
            read.claim.expect("signed").message
        };
        let all =
            [("a", "bc", "d"), ("ab", "c", "d"), ("a", "b", "cd"), ("", "a", "d"), ("a", "", "d"), ("", "", "ad")];
        let messages: std::collections::BTreeSet<_> = all.iter().map(|(p, d, n)| message(p, d, n)).collect();
        assert_eq!(messages.len(), all.len());
    }

    #[test]
    fn another_author_or_form_of_the_signature_is_refused() {
        let (ours, theirs) = (key(), key());
        let text = text(&ours);
        assert!(!is_authentic(&text.replace(&ours.author().to_string(), &theirs.author().to_string())));
        assert!(!is_authentic(&text.replace("BwcHBw", "CAcHBw")), "another commitment");
        for (from, to) in [("==\"}", "\"}"), ("==\"}", "=\"}"), ("==\"}", "==\\n\"}"), ("03:04:05.5Z", "03:04:05.50Z")]
        {
            assert!(text.contains(from) && !is_authentic(&text.replace(from, to)), "{from} {to}");
        }
    }
}
