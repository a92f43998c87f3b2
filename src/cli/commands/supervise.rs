//! The hidden command between `run` or `exec --mask` and what they start.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::cli::error::CliError;
use flyte_local::launch;
use flyte_local::process::Spawner;

/// What it is called by.
const NAME: &str = "__supervise";

/// This program again, as the supervisor.
pub(crate) fn command(spawner: &Spawner) -> Result<Command, CliError> {
    let mut command = spawner.command(super::this_program()?);
    command.arg(NAME);
    Ok(command)
}

/// Whether these arguments, after the program's name, ask for it.
pub(crate) fn is_asked_for(arguments: &[OsString]) -> bool {
    arguments.get(1).is_some_and(|argument| argument == NAME)
}

pub(crate) fn run(arguments: Vec<OsString>) -> Result<ExitCode, CliError> {
    let done = launch::supervise(arguments.into_iter().skip(2));
    done.map(|()| ExitCode::SUCCESS).map_err(|error| CliError::from_io("supervise", &error))
}
