//! Reads requests: the backend's rules for names, and ours for the values that a vault can hold.

use std::str::FromStr;

use connectrpc::ConnectError;
use zeroize::Zeroizing;

use super::MAX_PAGE;
use super::generated::__buffa::oneof::secret_spec::Value;
use super::generated::{ListSecretsRequest, SecretIdentifier, SecretSpec, SecretType as WireType};
use crate::secret::{NameError, Scope, ScopeFilter, SecretId, SecretType, SecretValue};
use crate::transfer::docker;

/// The cluster's name in a list's continuation, for older SDKs (up to 2.4), which look for one token a cluster.
pub(super) const CLUSTER: &str = "local";

fn invalid(message: impl Into<String>) -> ConnectError {
    ConnectError::invalid_argument(message)
}

/// Returns the secret that an identifier names. A vault has one organization, whatever the identifier says.
pub(super) fn id(id: Option<SecretIdentifier>) -> Result<SecretId, ConnectError> {
    let SecretIdentifier { name, project, domain, .. } = id.ok_or_else(|| invalid("id is required"))?;
    let bad = |error: NameError| invalid(error.to_string());
    let name = name.parse().map_err(bad)?;
    Ok(SecretId { scope: Scope::new(part(&project)?, part(&domain)?), name })
}

/// Reads a project or a domain; an empty text means that it is not given.
fn part<T: FromStr<Err = NameError>>(text: &str) -> Result<Option<T>, ConnectError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: NameError| invalid(error.to_string()))
}

/// Reads the type and the value for a secret.
pub(super) fn spec(spec: Option<SecretSpec>) -> Result<(SecretType, SecretValue), ConnectError> {
    let SecretSpec { value, r#type } = spec.ok_or_else(|| invalid("secret_spec is required"))?;
    let bytes = match value.ok_or_else(|| invalid("secret_spec has no value"))? {
        Value::StringValue(text) => text.into_bytes(),
        Value::BinaryValue(bytes) => bytes,
    };
    let value = SecretValue::new(Zeroizing::new(bytes)).map_err(|error| invalid(error.to_string()))?;
    let secret_type = match r#type.as_known().ok_or_else(|| invalid("the type of the secret is unknown"))? {
        WireType::SECRET_TYPE_GENERIC => SecretType::Regular,
        WireType::SECRET_TYPE_IMAGE_PULL_SECRET => SecretType::ImagePull,
    };
    Ok((secret_type, value))
}

/// Requires that a new secret of this type may have this scope.
pub(super) fn require_scope(id: &SecretId, secret_type: SecretType) -> Result<(), ConnectError> {
    if secret_type == SecretType::Regular || id.scope == Scope::Organization {
        return Ok(());
    }
    Err(invalid("project and domain must not be set when creating an image pull secret"))
}

/// Requires that a secret of this type may have this value: a cluster could not pull images without a Docker configuration.
pub(super) fn require_fit(secret_type: SecretType, value: &SecretValue) -> Result<(), ConnectError> {
    match secret_type {
        SecretType::Regular => Ok(()),
        SecretType::ImagePull => docker::check(value.expose())
            .map_err(|_| invalid("the value of an image pull secret is a Docker configuration with credentials")),
    }
}

/// A request for a part of a list.
#[derive(Debug)]
pub(super) struct PageRequest {
    pub(super) filter: ScopeFilter,
    pub(super) after: Option<SecretId>,
    pub(super) limit: usize,
}

/// Reads a request for a part of a list.
pub(super) fn page(mut request: ListSecretsRequest) -> Result<PageRequest, ConnectError> {
    let limit = match usize::try_from(request.limit) {
        Ok(0) => MAX_PAGE,
        Ok(limit) => limit.min(MAX_PAGE),
        Err(_) => return Err(invalid("limit is negative")),
    };
    let mut token = request.token;
    if token.is_empty() {
        token = request.per_cluster_tokens.remove(CLUSTER).unwrap_or_default();
    }
    let after = match token.as_str() {
        "" => None,
        token => Some(parse_token(token).ok_or_else(|| invalid("token is not from this service"))?),
    };
    Ok(PageRequest {
        filter: ScopeFilter { project: part(&request.project)?, domain: part(&request.domain)? },
        after,
        limit,
    })
}

/// Returns the token for the page after a secret. Names cannot contain a colon.
pub(super) fn token(after: &SecretId) -> String {
    let project = after.scope.project().map_or("", |project| project.as_str());
    let domain = after.scope.domain().map_or("", |domain| domain.as_str());
    format!("{project}:{domain}:{}", after.name)
}

fn parse_token(token: &str) -> Option<SecretId> {
    let [project, domain, name] = token.splitn(3, ':').collect::<Vec<_>>().try_into().ok()?;
    let scope = Scope::new(part(project).ok()?, part(domain).ok()?);
    Some(SecretId { scope, name: name.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use buffa::EnumValue;
    use connectrpc::ErrorCode;

    fn list(limit: i32, token: &str) -> ListSecretsRequest {
        ListSecretsRequest { limit, token: token.to_owned(), ..Default::default() }
    }

    #[test]
    fn a_token_says_what_it_was_made_of() {
        for (project, domain) in [(None, None), (Some("p"), None), (None, Some("d")), (Some("p"), Some("d"))] {
            let part = |part: Option<&str>| part.unwrap_or_default().to_owned();
            let given = SecretIdentifier {
                name: "name".to_owned(),
                project: part(project),
                domain: part(domain),
                ..Default::default()
            };
            let id = id(Some(given)).expect("a good one");
            assert_eq!(parse_token(&token(&id)), Some(id.clone()));
            assert_eq!(page(list(0, &token(&id))).expect("a good one").after, Some(id));
        }
    }

    #[test]
    fn a_made_up_token_is_refused() {
        for token in [":", "::", "a", "a:b", "a:b:", ":::a", "a:b:c:d", "../x::y", "::a/b", " ::a"] {
            assert_eq!(page(list(0, token)).expect_err("it is invalid").code, ErrorCode::InvalidArgument, "{token}");
        }
    }

    #[test]
    fn a_page_has_a_size() {
        for (asked, given) in [(0, MAX_PAGE), (1, 1), (10, 10), (i32::MAX, MAX_PAGE)] {
            assert_eq!(page(list(asked, "")).expect("a good one").limit, given);
        }
        assert!(page(list(-1, "")).is_err());
    }

    #[test]
    fn an_unknown_type_is_refused() {
        let value = Some(Value::StringValue("x".to_owned()));
        let bad = SecretSpec { r#type: EnumValue::Unknown(7), value };
        assert_eq!(spec(Some(bad)).expect_err("it is invalid").code, ErrorCode::InvalidArgument);
        assert_eq!(spec(Some(SecretSpec::default())).expect_err("no value").code, ErrorCode::InvalidArgument);
    }

    #[test]
    fn a_bad_name_is_not_repeated() {
        for bad in ["", "a b", "hunter2!", "../x"] {
            let given = SecretIdentifier { name: bad.to_owned(), ..Default::default() };
            let error = id(Some(given)).expect_err("it is invalid");
            assert_eq!(error.code, ErrorCode::InvalidArgument);
            assert!(bad.is_empty() || !format!("{error:?}").contains(bad), "{error:?}");
        }
    }
}
