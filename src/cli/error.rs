//! The one error of all commands. It carries facts: a [`ErrorReport`] in words is made of it where the command line is known.

use std::error::Error;
use std::sync::Arc;

use super::explain::{self, Candidates};
use super::report::ErrorReport;
pub(crate) use super::report::Exit;
use flyte_local::config::ConfigError;
use flyte_local::keyring::KeyringError;
use flyte_local::launch::{ChildError, DirectoryError};
use flyte_local::secret::SecretId;
use flyte_local::storage::{FoundError, StorageError, WriteError};
use flyte_local::vault::{Vault, VaultError};

/// Why a command failed.
#[derive(Debug, Clone)]
pub(crate) struct CommandError(Box<CommandFailure>);

#[derive(Debug, Clone)]
struct CommandFailure {
    failure: Cause,
    tried: Option<Tried>,
    missing: Option<Missing>,
    /// In addition to those of the failure.
    causes: Vec<String>,
    hints: Vec<String>,
    /// Instead of the failure's.
    code: Option<u8>,
    /// The beginning of hints, if the error is about another vault than the command line's.
    command: Option<String>,
}

/// The library's error, or one that a command found itself.
#[derive(Debug, Clone)]
enum Cause {
    Found(ErrorReport),
    Vault(Arc<VaultError>),
    Storage(Arc<StorageError>),
    Config(Arc<ConfigError>),
    Keyring(Arc<KeyringError>),
    Child(Arc<ChildError>),
}

/// The identities that were tried on a file that none of them opened.
#[derive(Debug, Clone)]
pub(crate) struct Tried {
    pub(crate) causes: Vec<String>,
    pub(crate) hints: Vec<String>,
}

/// A secret that is not where it was looked for.
#[derive(Debug, Clone)]
struct Missing {
    candidates: Candidates,
    /// The verb and noun that did not find it.
    verb: &'static str,
}

impl CommandError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        ErrorReport::new(exit, message).into()
    }

    /// An error with the chain of causes below it.
    pub(crate) fn chain(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        ErrorReport::chain(exit, error).into()
    }

    pub(crate) fn from_io(action: &str, error: &std::io::Error) -> Self {
        ErrorReport::new(Exit::Failed, format!("cannot {action}")).because(error.to_string()).into()
    }

    /// Tells whether there is no vault where one was to be opened.
    pub(crate) fn is_missing_vault(&self) -> bool {
        matches!(&self.0.failure, Cause::Vault(error) if matches!(**error, VaultError::Missing { .. }))
    }

    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.0.causes.push(cause.into());
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.0.code = Some(code);
        self
    }

    /// Adds the identities that were tried, unless the vault failed for another reason than that none opened a file. Their
    /// hints help before any other does.
    #[must_use]
    pub(crate) fn tried(mut self, tried: Tried) -> Self {
        let is_other =
            matches!(&self.0.failure, Cause::Vault(error) if !matches!(**error, VaultError::CannotDecrypt { .. }));
        self.0.tried = (!is_other).then_some(tried);
        self
    }

    /// Adds where else in the vault the secret may be, if this says that it is missing; `verb` as in `get secret`.
    #[must_use]
    pub(crate) fn or_elsewhere(mut self, vault: &Vault, id: &SecretId, verb: &'static str) -> Self {
        if matches!(&self.0.failure, Cause::Vault(error) if matches!(**error, VaultError::SecretMissing { .. })) {
            self.0.missing = Some(Missing { candidates: Candidates::find(vault, id), verb });
        }
        self
    }

    /// Has hints begin with this command, which leads to another vault.
    #[must_use]
    pub(crate) fn in_vault_of(mut self, command: &str) -> Self {
        self.0.command.get_or_insert_with(|| command.to_owned());
        self
    }

    /// Puts the error into words. `command` is `flyte-local` with the options that lead to the vault.
    pub(crate) fn report(&self, command: &str) -> ErrorReport {
        let facts = &*self.0;
        let command = facts.command.as_deref().unwrap_or(command);
        let mut report = match &facts.failure {
            Cause::Found(report) => report.clone(),
            Cause::Vault(error) => explain::vault(error, command),
            Cause::Storage(error) => explain::storage(error),
            Cause::Config(error) => explain::config(error),
            Cause::Keyring(error) => explain::keyring(error),
            Cause::Child(error) => explain::child(error),
        };
        if let Some(Missing { candidates, verb }) = &facts.missing {
            report = report.first_hints(&candidates.hints(command, verb));
        }
        if let Some(Tried { causes, hints }) = &facts.tried {
            report = causes.iter().fold(report, ErrorReport::because).first_hints(hints);
        }
        if let (Some(_), Cause::Vault(error)) = (&facts.tried, &facts.failure)
            && let VaultError::CannotDecrypt { needs, .. } = &**error
        {
            report = report.because(explain::needed(needs));
        }
        report = facts.causes.iter().fold(report, ErrorReport::because);
        report = facts.hints.iter().fold(report, ErrorReport::hint);
        facts.code.map_or(report.clone(), |code| report.with_code(code))
    }

    pub(crate) fn code(&self) -> u8 {
        self.report("flyte-local").code()
    }

    /// Tells a missing thing from one that is out of reach.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == Exit::NotFound as u8
    }
}

impl From<Cause> for CommandError {
    fn from(failure: Cause) -> Self {
        let (tried, missing, code, command) = (None, None, None, None);
        Self(Box::new(CommandFailure { failure, tried, missing, causes: Vec::new(), hints: Vec::new(), code, command }))
    }
}

impl From<ErrorReport> for CommandError {
    fn from(report: ErrorReport) -> Self {
        Cause::Found(report).into()
    }
}

impl From<VaultError> for CommandError {
    fn from(error: VaultError) -> Self {
        Cause::Vault(Arc::new(error)).into()
    }
}

impl From<StorageError> for CommandError {
    fn from(error: StorageError) -> Self {
        Cause::Storage(Arc::new(error)).into()
    }
}

impl From<FoundError> for CommandError {
    fn from(error: FoundError) -> Self {
        explain::untrusted(&error, None).into()
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Cause::Config(Arc::new(error)).into()
    }
}

impl From<KeyringError> for CommandError {
    fn from(error: KeyringError) -> Self {
        Cause::Keyring(Arc::new(error)).into()
    }
}

impl From<ChildError> for CommandError {
    fn from(error: ChildError) -> Self {
        Cause::Child(Arc::new(error)).into()
    }
}

impl From<DirectoryError> for CommandError {
    fn from(error: DirectoryError) -> Self {
        Self::chain(Exit::Failed, &error)
    }
}

impl<E: Error + 'static> From<WriteError<E>> for CommandError {
    fn from(error: WriteError<E>) -> Self {
        match error {
            WriteError::Storage(error) => error.into(),
            error @ WriteError::Check { .. } => Self::chain(Exit::Failed, &error),
        }
    }
}
