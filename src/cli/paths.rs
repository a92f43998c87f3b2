//! The user's paths.

use std::path::{Path, PathBuf};

use super::error::CommandError;

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
