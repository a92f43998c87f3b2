//! One file a verb: its arguments, and one function.

pub(crate) mod check;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod edit;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod get;
pub(crate) mod identity;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod lock;
pub(crate) mod push;
pub(crate) mod recipient;
pub(crate) mod rekey;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod supervise;
pub(crate) mod try_mount;
pub(crate) mod unlock;
pub(crate) mod update;
pub(crate) mod update_identity;
pub(crate) mod update_vault;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::cli::ScopeArgs;
use crate::cli::error::{CliError, Exit};
use flyte_local::secret::{Scope, SecretId, SecretName, SecretType};

/// The secret that a name with `-p` and `-d` means; neither of them means the organization, as in Flyte, whatever any
/// configuration names.
fn secret_id(name: SecretName, scope: ScopeArgs) -> SecretId {
    SecretId { scope: Scope::new(scope.project, scope.domain), name }
}

/// Flyte's words for the types of secrets.
fn secret_type() -> impl TypedValueParser<Value = SecretType> {
    const ALL: [SecretType; 2] = [SecretType::Regular, SecretType::ImagePull];
    PossibleValuesParser::new(ALL.map(SecretType::as_str))
        .map(|word| ALL.into_iter().find(|known| known.as_str() == word).expect("one of the words"))
}

/// That a secret of this type can have this scope.
fn require_scope(id: &SecretId, secret_type: SecretType) -> Result<(), CliError> {
    if secret_type == SecretType::Regular || id.scope == Scope::Organization {
        return Ok(());
    }
    // Flyte's reason.
    let reason = "project and domain must not be set when creating an image pull secret";
    Err(CliError::new(Exit::Usage, reason).hint("leave -p and -d out: it serves the whole organization"))
}

/// This program, for the hidden commands that it starts itself with.
#[cfg(target_os = "linux")]
fn this_program() -> Result<PathBuf, CliError> {
    // Even after the file was replaced by an update.
    Ok(PathBuf::from("/proc/self/exe"))
}

#[cfg(not(target_os = "linux"))]
fn this_program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(|error| CliError::from_io("find this program", &error))
}
