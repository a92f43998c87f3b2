//! The user's paths.

use std::path::{Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};

use super::error::CommandError;
use super::key_filter::has_key;

/// Reasons why a path from the user is refused: its text must not become the name of a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UserPathError {
    #[error(
        "the home directory of another user is not looked up; write the whole path, or ./~ for a file of that name"
    )]
    OtherUser,
    #[error("~ stands for your home directory, which is not known: HOME is not set to an absolute path")]
    NoHome,
    #[error(
        "this is a private key, not the path of a file; FLYTE_LOCAL_IDENTITY_KEY takes the key of an identity itself, and nothing \
         else does; stop using the key if anyone may have seen it"
    )]
    PrivateKey,
}

/// Returns the user's home directory, if it is known.
pub(crate) fn home() -> Option<PathBuf> {
    let home = directories::BaseDirs::new()?.home_dir().to_owned();
    home.is_absolute().then_some(home)
}

/// Returns a path from the user with `~` and `~/…` replaced as a shell does: a shell leaves it in quotes and after `=`.
/// Refuses a private key in the place of a path.
pub(crate) fn expanded(path: PathBuf) -> Result<PathBuf, UserPathError> {
    if has_key(&path.to_string_lossy()) {
        return Err(UserPathError::PrivateKey);
    }
    if !path.as_os_str().as_encoded_bytes().starts_with(b"~") {
        return Ok(path);
    }
    let rest = path.strip_prefix("~").map_err(|_| UserPathError::OtherUser)?;
    let home = home().ok_or(UserPathError::NoHome)?;
    Ok(if rest.as_os_str().is_empty() { home } else { home.join(rest) })
}

/// Parses an argument that is a path.
pub(crate) fn user_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(expanded)
}

/// Returns the path without symlinks, as far as it exists.
pub(crate) fn real(path: &Path) -> Result<PathBuf, CommandError> {
    let absolute =
        std::path::absolute(path).map_err(|error| CommandError::from_io("find the working directory", &error))?;
    for ancestor in absolute.ancestors() {
        if let (Ok(found), Ok(rest)) = (ancestor.canonicalize(), absolute.strip_prefix(ancestor)) {
            return Ok(found.join(rest));
        }
    }
    Ok(absolute)
}

/// Splits a path into the directory and the name of a file; a bare name is in the working directory.
pub(crate) fn split(path: &Path) -> Option<(&Path, &str)> {
    let name = path.file_name()?.to_str()?;
    let directory = path.parent()?;
    Some((if directory.as_os_str().is_empty() { Path::new(".") } else { directory }, name))
}
