//! The Python SDK's side of a run: an interpreter, the bootstrap that runs in it, and the broker that answers the bootstrap.
//!
//! Nothing here knows where secrets come from or where files go: the broker asks a [`SecretSource`].

mod bootstrap;
mod broker;
mod children;
mod cluster;
mod cluster_messages;
mod configuration;
mod naming;
mod on_cluster;
mod protocol;
mod python;
mod run_error;
mod script;

pub use broker::{Broker, SecretSource, SourceError};
pub use cluster::{About, Call, CallError, CallResult, Calls, Cluster, ConnectError, Target};
pub use configuration::ConfigurationSearch;
pub use naming::{VariableName, VariableNameError, default_variable};
pub use on_cluster::{MOST_IN_AWS_OR_GOOGLE, MOST_IN_AZURE, MOST_IN_THE_FILES_OF_A_POD, ValueTraits};
pub use protocol::{BuildSecrets, ConfiguredScope, Declared, Job, Leaks, Provided, Settings, Surveyed};
pub use python::{Interpreter, InterpreterError, InterpreterOrigin, InterpreterSearch, PythonVersion};
pub use run_error::RunError;
pub use script::ScriptError;

/// The directory in which a cluster mounts file secrets; the only `mount` that the SDK accepts.
pub const SECRETS_DIRECTORY: &str = "/etc/flyte/secrets";

/// The oldest Python that Flyte 2 supports.
pub const OLDEST_PYTHON: PythonVersion = PythonVersion { major: 3, minor: 10, micro: 0 };

/// The variables that a cluster sets beside an environment-variable secret.
pub const VARIABLE_MARKERS: [(&str, &str); 1] = [("FLYTE_SECRETS_ENV_PREFIX", "_UNION_")];

/// The variables that a cluster sets beside a file secret. `directory` is [`SECRETS_DIRECTORY`] there.
pub fn file_markers(directory: &str) -> [(&str, &str); 2] {
    [("FLYTE_SECRETS_DEFAULT_DIR", directory), ("FLYTE_SECRETS_FILE_PREFIX", "")]
}
