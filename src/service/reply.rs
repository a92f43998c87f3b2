//! Replies. No message of the service has a field for a value.

use buffa::{EnumValue, MessageField};
use buffa_types::google::protobuf::Timestamp;
use connectrpc::{ConnectError, ErrorCode};

use super::generated::{
    GetSecretResponse, ListSecretsResponse, OverallStatus, Secret, SecretIdentifier, SecretMetadata, SecretStatus,
    SecretType as WireType,
};
use super::request::{CLUSTER, token};
use crate::secret::{SecretId, SecretType};
use crate::vault::{Metadata, Page, VaultError};

pub(super) fn found(metadata: &Metadata) -> GetSecretResponse {
    GetSecretResponse { secret: MessageField::some(secret(metadata)) }
}

pub(super) fn page(page: &Page) -> ListSecretsResponse {
    let token = page.last.as_ref().map(token);
    let per_cluster_tokens = token.iter().map(|token| (CLUSTER.to_owned(), token.clone())).collect();
    ListSecretsResponse {
        secrets: page.listing.secrets.iter().map(secret).collect(),
        token: token.unwrap_or_default(),
        per_cluster_tokens,
    }
}

fn secret(metadata: &Metadata) -> Secret {
    // The secret was found, so its file exists.
    let status = SecretStatus { overall_status: EnumValue::Known(OverallStatus::FULLY_PRESENT) };
    let secret_type = match metadata.secret_type {
        SecretType::Regular => WireType::SECRET_TYPE_GENERIC,
        SecretType::ImagePull => WireType::SECRET_TYPE_IMAGE_PULL_SECRET,
    };
    let created = Timestamp {
        seconds: metadata.created.as_second(),
        nanos: metadata.created.subsec_nanosecond(),
        ..Default::default()
    };
    let about = SecretMetadata {
        created_time: MessageField::some(created),
        secret_status: MessageField::some(status),
        r#type: EnumValue::Known(secret_type),
    };
    Secret { id: MessageField::some(identifier(&metadata.id)), secret_metadata: MessageField::some(about) }
}

fn identifier(id: &SecretId) -> SecretIdentifier {
    SecretIdentifier {
        name: id.name.to_string(),
        organization: String::new(),
        project: id.scope.project().map(ToString::to_string).unwrap_or_default(),
        domain: id.scope.domain().map(ToString::to_string).unwrap_or_default(),
    }
}

/// Returns the error with the backend's code, if the backend has such an error.
pub(super) fn failure(error: &VaultError, explanation: String) -> ConnectError {
    let code = match error {
        VaultError::SecretExists { .. } => ErrorCode::AlreadyExists,
        VaultError::SecretMissing { .. } => ErrorCode::NotFound,
        // Not "unavailable", which the SDK silently retries for minutes.
        VaultError::Locked { .. } => ErrorCode::Aborted,
        VaultError::Storage(_) | VaultError::Seal { .. } | VaultError::Randomness { .. } => ErrorCode::Internal,
        // The vault, or this machine's memory of it, is in the wrong state.
        _ => ErrorCode::FailedPrecondition,
    };
    ConnectError::new(code, explanation)
}
