//! The private mount on systems without mount namespaces: it always fails.

use std::io;
use std::path::Path;

use super::directory::{DirectoryError, PrivateDirectory};

impl PrivateDirectory {
    /// Always fails here, and changes nothing.
    ///
    /// # Errors
    /// Always.
    pub fn enter(_target: &Path) -> Result<Self, DirectoryError> {
        Err(DirectoryError::Forbidden(io::Error::other("it has no mount namespaces")))
    }
}
