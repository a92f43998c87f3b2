//! Where there are no mount namespaces, there is no private directory.

use std::convert::Infallible;
use std::path::Path;

/// Why there is no private directory.
#[derive(Debug, thiserror::Error)]
#[error("this system has no mount namespaces")]
pub struct MountError;

impl MountError {
    /// Never: nothing stands anywhere here.
    pub fn is_not_a_directory(&self) -> bool {
        false
    }
}

/// A directory that only this process and its children see. It cannot be made here.
#[derive(Debug)]
pub struct PrivateDirectory(Infallible);

impl PrivateDirectory {
    /// Always fails here.
    ///
    /// # Errors
    /// Always.
    pub fn enter(_target: &Path) -> Result<Self, MountError> {
        Err(MountError)
    }

    /// Never reached.
    ///
    /// # Errors
    /// Never.
    pub fn write(&self, _path: &[&str], _bytes: &[u8]) -> Result<(), MountError> {
        match self.0 {}
    }
}
