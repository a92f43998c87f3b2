//! Replacing an identity file by one that has been read back and opened.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::error::{CommandError, Exit};
use crate::cli::paths::split;
use flyte_local::crypto::{self, IdentityFile, MAX_IDENTITY_FILE_BYTES, Passphrase};
use flyte_local::storage::Directory;

/// Replaces the file, whose bytes were `before`, by the identities, locked if there is a passphrase.
pub(super) fn replace(
    path: &Path,
    before: &[u8],
    text: &[u8],
    passphrase: Option<&Passphrase>,
) -> Result<(), CommandError> {
    let failed = |error: &dyn std::fmt::Display| {
        CommandError::new(Exit::Failed, format!("cannot write {}", path.display())).because(error.to_string())
    };
    let bytes = match passphrase {
        Some(passphrase) => crypto::lock(text, passphrase).map_err(|error| failed(&error))?.into(),
        None => Zeroizing::new(text.to_vec()),
    };
    // Replace the target of a symlink: the link stays.
    let target = path.canonicalize().map_err(|error| failed(&error))?;
    let (directory, name) = split(&target).ok_or_else(|| failed(&"it has no name"))?;
    let directory = Directory::open(directory)?;
    let limit = MAX_IDENTITY_FILE_BYTES;
    let check = |read_back: &[u8]| {
        let opened = match (IdentityFile::parse(read_back), passphrase) {
            (Ok(IdentityFile::Open(_)), None) => read_back == text,
            (Ok(IdentityFile::Locked(locked)), Some(passphrase)) => {
                locked.unlock(passphrase).is_ok_and(|unlocked| *unlocked.kept == *text)
            }
            _ => false,
        };
        let now = directory.read(name, limit).map_err(io::Error::other)?;
        match (opened, now) {
            (false, _) => Err(io::Error::other("the file that was written does not open")),
            (true, Some(now)) if *now == *before => Ok(()),
            (true, _) => Err(io::Error::other("another process changed it; it was left as it is")),
        }
    };
    Ok(directory.replace(name, &bytes, check)?)
}
