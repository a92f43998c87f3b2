//! The binding: what a file's header says of the secret in it.
//!
//! It ties a file to its vault, scope and name, so that a renamed, swapped or copied file is refused; age's header MAC
//! ties it to the value. `docs/vault-format.md` is its specification.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::secret::{Domain, Project, Scope, SecretId, SecretName, SecretType};

/// What is known of a secret besides its value.
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
    created: Timestamp,
    updated: Timestamp,
}

pub(super) fn encode(vault_id: &str, metadata: &Metadata) -> Vec<u8> {
    let scope = &metadata.id.scope;
    let body = Body {
        vault: vault_id.to_owned(),
        project: scope.project().cloned(),
        domain: scope.domain().cloned(),
        name: metadata.id.name.clone(),
        secret_type: metadata.secret_type,
        created: metadata.created,
        updated: metadata.updated,
    };
    serde_json::to_vec(&body).expect("names, words and times always serialise")
}

/// Reads a binding and compares it with the vault and the place it was found in.
///
/// # Errors
/// It is not understood, or says that the file belongs elsewhere.
pub(super) fn decode(body: &[u8], vault_id: &str, place: &SecretId) -> Result<Metadata, Refusal> {
    // serde would also take an array of the members in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Refusal::Binding(serde::de::Error::custom("it is not a JSON object")));
    }
    let body: Body = serde_json::from_slice(body).map_err(Refusal::Binding)?;
    if body.vault != vault_id {
        return Err(Refusal::OtherVault);
    }
    let id = SecretId { scope: Scope::new(body.project, body.domain), name: body.name };
    if &id != place {
        return Err(Refusal::OtherSecret(Box::new(id)));
    }
    Ok(Metadata { id, secret_type: body.secret_type, created: body.created, updated: body.updated })
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

    #[test]
    fn it_reads_as_the_format_document_says() {
        let expected = r#"{"vault":"id","project":"p","domain":"d","name":"n","type":"regular","created":"2026-01-01T00:00:00Z","updated":"2026-01-02T03:04:05.5Z"}"#;
        let body = encode("id", &metadata());
        assert_eq!(String::from_utf8(body.clone()).expect("JSON"), expected);
        assert_eq!(decode(&body, "id", &metadata().id).expect("ours"), metadata());
    }

    #[test]
    fn members_of_a_later_version_are_passed_over() {
        let body = String::from_utf8(encode("id", &metadata())).expect("JSON");
        let later = body.replace("{\"vault\"", "{\"signature\":\"x\",\"vault\"");
        assert!(decode(later.as_bytes(), "id", &metadata().id).is_ok());
    }

    #[test]
    fn each_part_of_the_place_counts() {
        let body = encode("id", &metadata());
        assert!(matches!(decode(&body, "other", &metadata().id), Err(Refusal::OtherVault)));
        let name = SecretId { name: "m".parse().expect("a good name"), ..metadata().id };
        assert!(matches!(decode(&body, "id", &name), Err(Refusal::OtherSecret(_))));
        for scope in [Scope::Organization, Scope::new("p".parse().ok(), None), Scope::new(None, "d".parse().ok())] {
            let place = SecretId { scope, ..metadata().id };
            assert!(matches!(decode(&body, "id", &place), Err(Refusal::OtherSecret(_))));
        }
        assert!(matches!(decode(b"{}", "id", &metadata().id), Err(Refusal::Binding(_))));
    }
}
