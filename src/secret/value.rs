//! The bytes of a secret, and its type.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The largest value, in bytes: 1 MiB, what a Kubernetes secret can hold.
pub const MAX_VALUE_BYTES: usize = 1 << 20;

/// A value over the limit. It says nothing of the value but its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value is at most {MAX_VALUE_BYTES} bytes (1 MiB)")]
pub struct ValueTooLargeError;

/// A secret's bytes: 0 to [`MAX_VALUE_BYTES`], wiped when dropped.
///
/// It has no `Display`, and its `Debug` shows only the length, so that it cannot reach a log by accident. Text is a
/// property of injection, not of the value.
#[derive(PartialEq, Eq)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes the bytes over.
    ///
    /// # Errors
    /// More than [`MAX_VALUE_BYTES`]; the bytes are wiped then too.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Result<Self, ValueTooLargeError> {
        if bytes.len() > MAX_VALUE_BYTES { Err(ValueTooLargeError) } else { Ok(Self(bytes)) }
    }

    /// The bytes, for the moment they are needed.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretValue({} bytes)", self.0.len())
    }
}

/// The type of a secret, in Flyte's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretType {
    /// A value for tasks.
    Regular,
    /// A `.dockerconfigjson` document for pulling images.
    ImagePull,
}

impl SecretType {
    /// Flyte's word for it, as the vault stores it.
    pub fn as_str(self) -> &'static str {
        match self {
            SecretType::Regular => "regular",
            SecretType::ImagePull => "image_pull",
        }
    }
}

impl fmt::Display for SecretType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_one_mebibyte() {
        assert!(SecretValue::new(Zeroizing::new(vec![0; MAX_VALUE_BYTES])).is_ok());
        assert_eq!(SecretValue::new(Zeroizing::new(vec![0; MAX_VALUE_BYTES + 1])), Err(ValueTooLargeError));
    }

    #[test]
    fn debug_shows_no_byte_of_it() {
        let value = SecretValue::new(Zeroizing::new(b"hunter2".to_vec())).expect("small enough");
        assert_eq!(format!("{value:?}"), "SecretValue(7 bytes)");
    }
}
