//! The strings in a value that is JSON, such as a service account's key: those that are secret, and those that are public.

use serde_json::Value;
use zeroize::Zeroizing;

use super::{MAX_OTHER_FORMS, MIN_BYTES};

/// The strings of [`MIN_BYTES`] or more in a JSON object or array. The names of members are not strings of it.
#[derive(Default)]
pub(super) struct JsonStrings {
    pub(super) secret: Vec<Zeroizing<String>>,
    pub(super) public: Vec<Zeroizing<String>>,
}

/// Members of Google's and other OAuth credentials that identify, and give no access. The documentation lists them too.
const PUBLIC: [&str; 10] = [
    "account",
    "auth_provider_x509_cert_url",
    "auth_uri",
    "client_email",
    "client_id",
    "client_x509_cert_url",
    "project_id",
    "quota_project_id",
    "token_uri",
    "universe_domain",
];

/// The types of Google's credentials.
const CREDENTIALS: [&str; 5] =
    ["authorized_user", "external_account", "gdch_service_account", "impersonated_service_account", "service_account"];

/// Returns the strings in a value; nothing if it is not JSON, as serde_json accepts it: nested at most 128 deep, with finite
/// numbers.
pub(super) fn json_strings(value: &[u8]) -> JsonStrings {
    let mut strings = JsonStrings::default();
    if value.len() <= MAX_OTHER_FORMS && matches!(value.trim_ascii_start().first(), Some(b'{' | b'[')) {
        // The parser's own copies are not wiped: it does not offer that.
        strings.collect(serde_json::from_slice(value).unwrap_or_default(), Sensitivity::Secret);
    }
    strings
}

#[derive(Clone, Copy, PartialEq)]
enum Sensitivity {
    Secret,
    Public,
}

impl JsonStrings {
    pub(super) fn is_empty(&self) -> bool {
        self.secret.is_empty() && self.public.is_empty()
    }

    fn collect(&mut self, value: Value, access: Sensitivity) {
        match value {
            Value::String(text) => {
                let text = Zeroizing::new(text);
                if text.len() >= MIN_BYTES {
                    let is_public =
                        !has_credentials(&text) && (access == Sensitivity::Public || is_plain_address(&text));
                    if is_public { &mut self.public } else { &mut self.secret }.push(text);
                }
            }
            Value::Array(values) => values.into_iter().for_each(|value| self.collect(value, Sensitivity::Secret)),
            Value::Object(members) => {
                let is = |name: &str, words: &[&str]| {
                    members.get(name).and_then(Value::as_str).is_some_and(|text| words.contains(&text))
                };
                let is_credential = is("type", &CREDENTIALS) || members.contains_key("token_uri");
                for (name, value) in members {
                    let is_type = name == "type" && value.as_str().is_some_and(is_word);
                    let is_public = is_type || (is_credential && PUBLIC.contains(&name.as_str()));
                    self.collect(value, if is_public { Sensitivity::Public } else { Sensitivity::Secret });
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

/// Returns true for a word such as `service_account`.
fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'-')
}

/// Returns true for an address in which a password or a token could stand: before an `@`, or after a `?` or `#`.
fn has_credentials(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| {
        let host = rest.split('/').next().unwrap_or_default();
        host.contains('@') || rest.contains(['?', '#'])
    })
}

/// Returns true for an address of words alone, such as `https://oauth2.googleapis.com/token`: a webhook's has its token in the
/// path.
fn is_plain_address(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    // Letters, with a number at most, as in `v1` and `x509`.
    let is_plain = |part: &str| {
        let letters = part.trim_end_matches(|last: char| last.is_ascii_digit());
        part.len() <= 24 && part.len() - letters.len() <= 4 && is_word(letters)
    };
    rest.split(['/', '.', ':']).all(is_plain)
}
