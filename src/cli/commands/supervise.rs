//! The hidden command between `run` or `exec --mask` and what they start.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli::error::CommandError;
use crate::cli::hidden;
use flyte_local::launch;

/// Tells whether these arguments, after the program's name, ask for it.
pub(crate) fn is_asked_for(arguments: &[OsString]) -> bool {
    arguments.get(1).is_some_and(|argument| argument == hidden::SUPERVISE)
}

pub(crate) fn run(arguments: Vec<OsString>) -> Result<ExitCode, CommandError> {
    let done = launch::supervise(arguments.into_iter().skip(2));
    done.map(|()| ExitCode::SUCCESS).map_err(|error| CommandError::from_io("supervise", &error))
}
