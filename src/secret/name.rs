//! Names: `^[-a-zA-Z0-9_]+$`, the rule of Flyte's `CreateSecret` request.
//!
//! A name of these types is also a safe path component: it has no separator, no dot, and is not empty.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a string is not a name. The string itself is not repeated: it may be a value typed in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing in it.
    #[error("a {what} cannot be empty")]
    Empty {
        /// The kind of name: `secret name`, `project` or `domain`.
        what: &'static str,
    },
    /// It is longer than a file name, or a Flyte project, may be.
    #[error("a {what} is at most {limit} bytes long, this one has {length}")]
    TooLong {
        /// The kind of name.
        what: &'static str,
        /// The most bytes it may have.
        limit: usize,
        /// The bytes it has.
        length: usize,
    },
    /// It has a character that Flyte does not allow.
    #[error("a {what} has only letters, digits, '-' and '_', this one has {}", shown(*character))]
    Character {
        /// The kind of name.
        what: &'static str,
        /// The first character that is not allowed.
        character: char,
    },
}

/// A character as a reader knows it; one that cannot be seen by its escape.
fn shown(character: char) -> String {
    let visible = character.is_alphanumeric() || character.is_ascii_graphic() || character == ' ';
    if visible { format!("'{character}'") } else { format!("{character:?}") }
}

fn check(what: &'static str, limit: usize, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > limit {
        return Err(NameError::TooLong { what, limit, length: text.len() });
    }
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match text.chars().find(|c| !allowed(c)) {
        Some(character) => Err(NameError::Character { what, character }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $limit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check($what, $limit, text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                check($what, $limit, &text).map(|()| Self(text))
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The key of a secret, at most 251 bytes so that `NAME.age` is a file name on every file system.
    SecretName,
    "secret name",
    251
);
name!(
    /// A Flyte project, at most 63 bytes (it becomes a Kubernetes label).
    Project,
    "project",
    63
);
name!(
    /// A Flyte domain, such as `development`, at most 63 bytes.
    Domain,
    "domain",
    63
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_flyte_allows_are_accepted() {
        for good in ["a", "MY_SECRET_KEY", "my-secret", "0", "-", "_"] {
            assert_eq!(good.parse::<SecretName>().map(String::from), Ok(good.to_owned()));
        }
        assert!("x".repeat(251).parse::<SecretName>().is_ok());
        assert!("x".repeat(63).parse::<Project>().is_ok());
    }

    #[test]
    fn names_that_could_leave_a_directory_are_refused() {
        for bad in ["..", ".", "a/b", "a\\b", "a\nb", "a\0b", "a.age", " ", "é", "~", "a:b"] {
            assert!(matches!(bad.parse::<SecretName>(), Err(NameError::Character { .. })), "{bad:?}");
        }
        assert_eq!("".parse::<Domain>(), Err(NameError::Empty { what: "domain" }));
        assert!(matches!("x".repeat(252).parse::<SecretName>(), Err(NameError::TooLong { limit: 251, .. })));
        assert!(matches!("x".repeat(64).parse::<Project>(), Err(NameError::TooLong { limit: 63, .. })));
    }

    #[test]
    fn a_bad_name_is_refused_inside_json_too() {
        assert!(serde_json::from_str::<SecretName>(r#""../x""#).is_err());
        assert!(serde_json::from_str::<SecretName>(r#""x""#).is_ok());
    }
}
