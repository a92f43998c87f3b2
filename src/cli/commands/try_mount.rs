//! The hidden command by which `run` and `exec` find out whether this system allows them a private mount.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use crate::cli::error::CommandError;
use crate::cli::hidden;
use crate::cli::ui::Ui;
use flyte_local::flyte::SECRETS_DIRECTORY;
use flyte_local::launch::PrivateDirectory;

/// Makes the mount, and ends with it; answers why it could not.
pub(crate) fn run(ui: &Ui) -> Result<ExitCode, CommandError> {
    let answer = match PrivateDirectory::enter(Path::new(SECRETS_DIRECTORY)) {
        Ok(_) => hidden::MADE.to_owned(),
        Err(error) => {
            let causes = std::iter::successors(error.source(), |&cause| cause.source());
            causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
        }
    };
    ui.data(format!("{answer}\n").as_bytes()).map(|()| ExitCode::SUCCESS)
}
