//! The SDK's rules for environment variables. A test compares them with the installed SDK.

use std::fmt;
use std::str::FromStr;

use crate::secret::SecretName;

/// A variable name the SDK accepts: `^[A-Z_][A-Z0-9_]*$`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VariableName(String);

/// A string the SDK does not accept as a variable name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a variable name has only upper-case letters, digits and '_', and does not start with a digit")]
pub struct VariableNameError;

impl VariableName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VariableName {
    type Err = VariableNameError;

    fn from_str(text: &str) -> Result<Self, VariableNameError> {
        let good = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let starts_well = text.starts_with(|c: char| !c.is_ascii_digit());
        if starts_well && text.chars().all(good) { Ok(Self(text.to_owned())) } else { Err(VariableNameError) }
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The variable of `flyte.Secret(key)` with no `as_env_var`, `mount` or `group`: the key in upper case, `-` as `_`.
///
/// # Errors
/// The key starts with a digit, so that the SDK refuses it too.
pub fn default_variable(key: &SecretName) -> Result<VariableName, VariableNameError> {
    key.as_str().replace('-', "_").to_ascii_uppercase().parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_becomes_a_variable() {
        let of = |key: &str| default_variable(&key.parse().expect("a good name")).map(|name| name.to_string());
        assert_eq!(of("my-api_key1"), Ok("MY_API_KEY1".to_owned()));
        assert_eq!(of("-"), Ok("_".to_owned()));
        assert_eq!(of("1password"), Err(VariableNameError));
    }
}
