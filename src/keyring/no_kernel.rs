//! Elsewhere than on Linux, there is no kernel keyring.

use zeroize::Zeroizing;

use super::KeyringError;

fn none() -> KeyringError {
    KeyringError::Unavailable("it is Linux that has one".to_owned())
}

pub(super) fn keep(_: &str, _: &[u8], _: usize) -> Result<(), KeyringError> {
    Err(none())
}

pub(super) fn find(_: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
    Err(none())
}

pub(super) fn drop(_: &str) -> Result<bool, KeyringError> {
    Err(none())
}

pub(super) fn drop_all(_: &dyn Fn(&str) -> bool) -> Result<usize, KeyringError> {
    Err(none())
}
