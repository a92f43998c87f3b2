//! The hidden commands with which this program starts itself.

use std::path::PathBuf;
use std::process::Command;

use super::error::CommandError;
use flyte_local::process::Spawner;

/// The supervisor between `run` or `exec --mask` and what they start.
pub(crate) const SUPERVISE: &str = "__supervise";

/// The attempt at a private mount.
pub(crate) const TRY_MOUNT: &str = "__try-mount";

/// The answer to [`TRY_MOUNT`] where the mount could be made.
pub(crate) const MADE: &str = "made";

/// This program again, as the supervisor.
pub(crate) fn supervisor(spawner: &Spawner) -> Result<Command, CommandError> {
    let mut command = spawner.command(this_program()?);
    command.arg(SUPERVISE);
    Ok(command)
}

/// This program, for the hidden commands that it starts itself with.
#[cfg(target_os = "linux")]
fn this_program() -> Result<PathBuf, CommandError> {
    // Even after the file was replaced by an update.
    Ok(PathBuf::from("/proc/self/exe"))
}

#[cfg(not(target_os = "linux"))]
fn this_program() -> Result<PathBuf, CommandError> {
    std::env::current_exe().map_err(|error| CommandError::from_io("find this program", &error))
}
