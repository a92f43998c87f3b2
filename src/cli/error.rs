//! From facts to words: every error's message, what to do next, and the exit code.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::ui::Ui;
use flyte_local::config::ConfigError;
use flyte_local::crypto::EnvelopeError;
use flyte_local::storage::StorageError;
use flyte_local::vault::{Refusal, VaultError};

/// The exit codes of our own. `run` and `exec` pass on those of the command they ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 10,
    CannotDecrypt = 11,
    Exists = 12,
    Refused = 13,
    Locked = 14,
    NotExecutable = 126,
    CommandNotFound = 127,
}

/// An error as the user sees it: lower case, without a full stop; never a value.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    code: u8,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), hints: Vec::new(), code: exit as u8 }
    }

    /// An error with the chain of causes below it.
    pub(crate) fn chain(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        Self { causes: causes.map(ToString::to_string).collect(), ..Self::new(exit, error.to_string()) }
    }

    pub(crate) fn from_io(action: &str, error: &std::io::Error) -> Self {
        Self { causes: vec![error.to_string()], ..Self::new(Exit::Failed, format!("cannot {action}")) }
    }

    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The whole of it as plain text, for a reader that is not our terminal.
    pub(crate) fn plain(&self) -> String {
        let causes = self.causes.iter().map(|cause| format!("\ncaused by: {cause}"));
        let hints = self.hints.iter().map(|hint| format!("\nhint: {hint}"));
        self.message.clone() + &causes.chain(hints).collect::<String>()
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn causes(&self) -> &[String] {
        &self.causes
    }

    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// A vault's error; `command` is `flyte-local` with the options that lead to this vault.
    pub(crate) fn from_vault(error: &VaultError, command: &str) -> Self {
        match error {
            VaultError::Missing { .. } => Self::chain(Exit::NotFound, error)
                .hint(format!("make one: {command} init"))
                .hint("or name another with --vault DIR or FLYTE_LOCAL_VAULT"),
            VaultError::Exists { .. } => {
                Self::chain(Exit::Exists, error).hint("it was left as it is; name another place with --vault DIR")
            }
            VaultError::SecretMissing { .. } => {
                Self::chain(Exit::NotFound, error).hint(format!("see what there is: {command} get secret"))
            }
            VaultError::SecretExists { id } => Self::chain(Exit::Exists, error).hint(format!(
                "change its value: {command} update secret {}{}",
                id.name,
                scope_flags(&id.scope)
            )),
            VaultError::CannotDecrypt { .. } => Self::chain(Exit::CannotDecrypt, error)
                .hint("name another identity with --identity FILE or FLYTE_LOCAL_IDENTITY"),
            VaultError::Refused { path, source, .. } => {
                Self::chain(Exit::Refused, error).hint(refusal_hint(path, source))
            }
            VaultError::Locked { .. } => {
                Self::chain(Exit::Locked, error).hint("another flyte-local is writing; try again when it is done")
            }
            VaultError::Storage(error) => Self::from_storage(error),
            VaultError::Manifest { .. } | VaultError::Seal { .. } | VaultError::Randomness { .. } => {
                Self::chain(Exit::Failed, error)
            }
        }
    }

    pub(crate) fn from_storage(error: &StorageError) -> Self {
        use std::io::ErrorKind as Kind;
        let chained = Self::chain(Exit::Failed, error);
        match error.source.kind() {
            Kind::ReadOnlyFilesystem => chained.hint("the vault can be read there, but not written"),
            Kind::StorageFull | Kind::QuotaExceeded => chained.hint("nothing was changed; make room and try again"),
            Kind::PermissionDenied => chained.hint("check who owns it and its permissions"),
            _ => chained,
        }
    }
}

fn refusal_hint(path: &Path, refusal: &Refusal) -> String {
    let path = path.display();
    match refusal {
        Refusal::OtherSecret(_) => format!("the file was renamed, swapped or copied: put it back, or remove {path}"),
        Refusal::OtherVault => {
            format!("it was copied from another vault: create the secret here, after removing {path}")
        }
        Refusal::Envelope(EnvelopeError::NotAge | EnvelopeError::NoBinding) => {
            format!("flyte-local did not write it: remove {path}, then create the secret")
        }
        Refusal::Envelope(_) | Refusal::Binding(_) => format!("restore {path} from a backup"),
    }
}

/// ` -p P -d D`, as far as the scope has them.
pub(crate) fn scope_flags(scope: &flyte_local::secret::Scope) -> String {
    let project = scope.project().map(|project| format!(" -p {project}"));
    let domain = scope.domain().map(|domain| format!(" -d {domain}"));
    project.unwrap_or_default() + &domain.unwrap_or_default()
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Storage(error) => Self::from_storage(&error),
            error @ ConfigError::Syntax { .. } => Self::chain(Exit::Failed, &error),
        }
    }
}

/// Reports what clap says, less what may be a value typed in the wrong place.
pub(crate) fn usage(mut error: clap::Error, ui: &Ui) -> Result<ExitCode, CliError> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            ui.data(error.render().to_string().as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        ErrorKind::ValueValidation => {
            let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            return Err(CliError::new(Exit::Usage, format!("bad {argument}: {reason}")));
        }
        ErrorKind::UnknownArgument => {
            let unknown = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
            if !unknown.starts_with('-') {
                let message = "there is one argument more than the command takes";
                return Err(CliError::new(Exit::Usage, message).hint("quote a value that has spaces in it"));
            }
            // What follows the `=` may be a value.
            let name = unknown.split('=').next().unwrap_or_default().to_owned();
            error.insert(ContextKind::InvalidArg, ContextValue::String(name));
        }
        _ => {}
    }
    let rendered = error.render().to_string();
    ui.say(rendered.trim_end());
    Ok(ExitCode::from(Exit::Usage as u8))
}
