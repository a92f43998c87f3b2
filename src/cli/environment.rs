//! Environment variables: the only place that reads them.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use zeroize::Zeroizing;

use super::error::{CommandError, Exit};
use super::paths::expanded;
use flyte_local::storage::Permissions;

/// Tells whether to check owners and permissions. Users turn it off on file systems without them (FAT, Windows drives in WSL).
pub(crate) fn permissions() -> Result<Permissions, CommandError> {
    match variable::<String>("FLYTE_LOCAL_PERMISSIONS", "text")?.as_deref() {
        None => Ok(Permissions::Checked),
        Some("ignore") => Ok(Permissions::Ignored),
        Some(_) => {
            let error =
                CommandError::new(Exit::Usage, "FLYTE_LOCAL_PERMISSIONS has a value that flyte-local does not know");
            Err(error.hint("the only value is: ignore"))
        }
    }
}

/// Tells whether rolled back secrets and vaults that were not accepted are refused.
pub(crate) fn is_strict() -> Result<bool, CommandError> {
    match variable::<String>("FLYTE_LOCAL_STRICT", "text")?.as_deref() {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(_) => Err(CommandError::new(Exit::Usage, "FLYTE_LOCAL_STRICT must be 0 or 1")),
    }
}

/// Tells whether the user turned colour off, or the terminal may have none.
pub(crate) fn no_color() -> bool {
    variable_is_set("NO_COLOR") || inherited("TERM").is_none_or(|kind| kind.is_empty() || kind.as_slice() == b"dumb")
}

/// The width that the caller says a terminal has.
pub(crate) fn columns() -> Option<usize> {
    variable("COLUMNS", "a number of columns").ok().flatten().filter(|columns| *columns > 0)
}

/// The active virtual environment.
pub(crate) fn virtual_env() -> Result<Option<PathBuf>, CommandError> {
    path_variable("VIRTUAL_ENV")
}

/// Returns the names of all variables.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
pub(crate) fn variable_names() -> impl Iterator<Item = OsString> {
    env::vars_os().map(|(name, _)| name)
}

/// Returns the value of a variable.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
pub(crate) fn inherited(name: &str) -> Option<Zeroizing<Vec<u8>>> {
    use std::os::unix::ffi::OsStringExt;
    env::var_os(name).map(|value| Zeroizing::new(value.into_vec()))
}

/// Returns the directory whose files are removed when the user logs out; it is often in memory.
pub(crate) fn runtime_directory() -> Result<Option<PathBuf>, CommandError> {
    path_variable("XDG_RUNTIME_DIR")
}

#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
pub(crate) fn variable_is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Returns true for a variable that counts as unset because it is empty.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
pub(crate) fn is_set_and_empty(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| value.is_empty())
}

/// Returns the path in a variable. An empty variable counts as unset.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
pub(crate) fn path_variable(name: &str) -> Result<Option<PathBuf>, CommandError> {
    let path = env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    path.map(expanded).transpose().map_err(|error| {
        CommandError::new(Exit::Usage, format!("{name} is not a usable path")).because(error.to_string())
    })
}

/// Returns the directories in which a shell looks for programs.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
pub(crate) fn search_path() -> Option<OsString> {
    env::var_os("PATH")
}

/// Parses the value of a variable. An empty variable counts as unset.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
pub(crate) fn variable<T: FromStr>(name: &str, what: &str) -> Result<Option<T>, CommandError>
where
    T::Err: std::fmt::Display,
{
    let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let bad = |reason: String| CommandError::new(Exit::Usage, format!("{name} is not {what}: {reason}"));
    let text = value.to_str().ok_or_else(|| bad("it is not UTF-8".to_owned()))?;
    text.parse().map(Some).map_err(|error: T::Err| bad(error.to_string()))
}
