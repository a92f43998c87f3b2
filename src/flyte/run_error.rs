//! The reasons why a run ends that are not the user's code.

use super::PythonVersion;

/// Reasons of flyte-local's, rather than the user's code, why a run could not begin or go on.
#[derive(Debug)]
pub enum RunError {
    /// The interpreter is older than Flyte 2 supports.
    PythonTooOld {
        /// Its version.
        version: PythonVersion,
    },
    /// The interpreter has no Flyte SDK.
    LacksSdk {
        /// The interpreter's own name for itself.
        python: String,
    },
    /// The bootstrap reports the reason.
    Bootstrap {
        /// The message.
        message: String,
        /// Hints; `{run}` stands for the command as it was typed, up to the file.
        hints: Vec<String>,
        /// The exit code.
        code: u8,
    },
}
