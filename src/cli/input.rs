//! Values and files that the user gives: as an argument, in a file, or on standard input.

use std::path::Path;

use zeroize::Zeroizing;

use super::error::{CommandError, Exit};
use super::passphrases;
use flyte_local::secret::MAX_VALUE_BYTES;
use flyte_local::storage::read_users_file;

/// A value on its way from the command line: nothing prints it, and it is wiped.
#[derive(Clone)]
pub(crate) struct Hidden(Zeroizing<String>);

impl Hidden {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

pub(crate) fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    let shown = path.display();
    if path.is_dir() {
        return Err(CommandError::new(Exit::Failed, format!("{shown} is a directory; --from-file takes one file")));
    }
    let bytes = read_users_file(path, MAX_VALUE_BYTES).map_err(|error| match error.is_too_large() {
        true => too_large(),
        false => CommandError::from(error),
    })?;
    let Some(bytes) = bytes else {
        let error = CommandError::new(Exit::NotFound, format!("there is no file {shown}"));
        return Err(if path == Path::new("-") {
            error.hint("to read standard input, leave out --from-file")
        } else {
            error
        });
    };
    // A file may be empty; an empty pipe means that its writer failed.
    if bytes.is_empty() && !path.is_file() { Err(nothing_came(&format!("{shown}")).hint(SAY_EMPTY)) } else { Ok(bytes) }
}

/// Reads standard input; `hint` is for when there is nothing.
pub(crate) fn from_stdin(raw: bool, hint: &str) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    // One byte over the limit, and one for the newline, are enough to know that it is too long.
    let mut bytes = read_stdin(MAX_VALUE_BYTES + 2)?;
    if bytes.is_empty() {
        return Err(nothing_came("standard input").hint(hint));
    }
    if !raw && bytes.ends_with(b"\n") {
        bytes.pop();
    }
    Ok(bytes)
}

/// Reads standard input to its end, or its first `limit` bytes. Not through std's reader, whose buffer would keep a value's
/// first 8 KiB for the rest of the process.
pub(crate) fn read_stdin(limit: usize) -> Result<Zeroizing<Vec<u8>>, CommandError> {
    passphrases::require_stdin()?;
    let mut bytes = Zeroizing::new(vec![0; limit]);
    let mut length = 0;
    while length < bytes.len() {
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(CommandError::from_io("read standard input", &error.into())),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// The error for an empty source: `false | flyte-local update secret NAME` must not empty a secret.
pub(crate) fn nothing_came(whence: &str) -> CommandError {
    CommandError::new(Exit::Failed, format!("{whence} is empty"))
}

pub(crate) const SAY_EMPTY: &str = "for an empty value: --value ''";

pub(crate) fn too_large() -> CommandError {
    CommandError::new(
        Exit::Failed,
        format!("the value is larger than 1 MiB ({MAX_VALUE_BYTES} bytes), the most that a secret can hold"),
    )
    .hint("nothing was changed")
}
