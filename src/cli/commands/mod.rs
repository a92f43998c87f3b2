//! One file a verb: its arguments, and one function.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod exec;
pub(crate) mod get;
pub(crate) mod init;
pub(crate) mod run;
pub(crate) mod try_mount;
pub(crate) mod update;

use crate::cli::ScopeArgs;
use flyte_local::secret::{Scope, SecretId, SecretName};

/// The secret that a name with `-p` and `-d` means; neither of them means the organization, as in Flyte, whatever any
/// configuration names.
fn secret_id(name: SecretName, scope: ScopeArgs) -> SecretId {
    SecretId { scope: Scope::new(scope.project, scope.domain), name }
}
