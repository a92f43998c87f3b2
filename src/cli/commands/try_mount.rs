//! The hidden command by which `run` and `exec` find out whether this system allows them a private mount.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::ui::Ui;
use flyte_local::flyte::SECRETS_DIRECTORY;
use flyte_local::launch::PrivateDirectory;

/// What it is called by.
pub(crate) const NAME: &str = "__try-mount";

/// Makes the mount, and ends with it; says why it could not.
pub(crate) fn run(ui: &Ui) -> ExitCode {
    let Err(error) = PrivateDirectory::enter(Path::new(SECRETS_DIRECTORY)) else { return ExitCode::SUCCESS };
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    ui.say(&causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}")));
    ExitCode::FAILURE
}
