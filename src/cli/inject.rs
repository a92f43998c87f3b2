//! From a declaration to a value in its place: what `run` and `exec` share.

use std::path::Path;

use zeroize::Zeroizing;

use super::context::Context;
use super::error::{CliError, Exit, scope_flags};
use flyte_local::crypto::Identity;
use flyte_local::flyte::SECRETS_DIRECTORY;
use flyte_local::launch::{MountError, PrivateDirectory};
use flyte_local::secret::{RunScope, SecretName, SecretValue};
use flyte_local::vault::{Vault, VaultError};

/// An open vault, the identities to read it with, and the directory for files.
pub(crate) struct Injector {
    vault: Vault,
    identities: Vec<Identity>,
    files: Files,
    command: String,
    tried: String,
}

/// The directory for file secrets.
enum Files {
    Ready(PrivateDirectory),
    /// Why there is none, and what can be done about it.
    Unavailable {
        reason: String,
        hint: &'static str,
    },
}

/// Whether to make the directory for file secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mount {
    Private,
    None,
}

impl Injector {
    /// Opens all that is needed, so that whatever cannot be had is told before a child starts. Call it before any thread
    /// starts: making the directory for files enters a namespace.
    pub(crate) fn open(context: &Context<'_>, mount: Mount) -> Result<Self, CliError> {
        let vault = context.open_vault()?;
        let identities = context.identities()?;
        let tried = context.identities_tried(&identities);
        let files = match mount {
            Mount::Private => match PrivateDirectory::enter(Path::new(SECRETS_DIRECTORY)) {
                Ok(directory) => Files::Ready(directory),
                Err(error) => Files::unavailable(&error),
            },
            Mount::None => Files::Unavailable {
                reason: "--no-mount was given".to_owned(),
                hint: "run without --no-mount, or use the secret as a variable",
            },
        };
        Ok(Self { vault, identities, files, command: context.command.clone(), tried })
    }

    /// The names that a run in this scope sees.
    pub(crate) fn names(&self, run: &RunScope) -> Result<Vec<SecretName>, CliError> {
        self.vault.names(run).map_err(|error| CliError::from_vault(&error, &self.command))
    }

    /// A secret as the text of a variable.
    pub(crate) fn variable(&self, key: &SecretName, run: &RunScope) -> Result<Zeroizing<String>, CliError> {
        let value = self.value(key, run)?;
        // The cluster's words: it refuses such a value and sends the user to a file mount.
        match std::str::from_utf8(value.expose()) {
            Ok(text) if !text.contains('\0') => Ok(Zeroizing::new(text.to_owned())),
            text => {
                let reason = if text.is_ok() { "it holds a NUL byte" } else { "it is not valid UTF-8" };
                let message = format!("secret {key} cannot become an environment variable: {reason}");
                Err(CliError::new(Exit::Failed, message)
                    .hint(format!("mount it as a file: flyte.Secret(key=\"{key}\", mount=\"{SECRETS_DIRECTORY}\")")))
            }
        }
    }

    /// Puts a secret where a cluster mounts it; with a group, also where the SDK's AWS example reads it.
    pub(crate) fn file(&self, key: &SecretName, group: Option<&str>, run: &RunScope) -> Result<(), CliError> {
        let value = self.value(key, run)?;
        let directory = match &self.files {
            Files::Ready(directory) => directory,
            Files::Unavailable { reason, hint } => {
                let message = format!("secret {key} cannot be mounted in {SECRETS_DIRECTORY}: {reason}");
                return Err(CliError::new(Exit::Failed, message).hint(*hint));
            }
        };
        let failed = |error: MountError| CliError::chain(Exit::Failed, &error);
        directory.write(&[key.as_str()], value.expose()).map_err(failed)?;
        let Some(group) = group.filter(|group| is_file_name(group) && *group != key.as_str()) else { return Ok(()) };
        match directory.write(&[group, &key.as_str().to_ascii_lowercase()], value.expose()) {
            // Another secret has the group's name, and its own path is the one that a cluster has.
            Err(error) if error.is_not_a_directory() => Ok(()),
            written => written.map_err(failed),
        }
    }

    fn value(&self, key: &SecretName, run: &RunScope) -> Result<SecretValue, CliError> {
        match self.vault.resolve(key, run, &self.identities) {
            Ok(Some(resolved)) => Ok(resolved.value),
            Ok(None) => Err(self.missing(key, run)),
            Err(error) => {
                let is_locked_out = matches!(error, VaultError::CannotDecrypt { .. });
                let error = CliError::from_vault(&error, &self.command);
                Err(if is_locked_out { error.because(&self.tried) } else { error })
            }
        }
    }

    fn missing(&self, key: &SecretName, run: &RunScope) -> CliError {
        let tried: Vec<_> = run.walk().iter().map(ToString::to_string).collect();
        let mut message = format!("secret {key} is in none of this run's scopes\ntried: {}", tried.join("; "));
        // Only a help: that it cannot be said hides nothing.
        let elsewhere = self.vault.scopes_of(key).unwrap_or_default();
        let mut hints = vec![format!("create it: {} create secret {key}", self.command)];
        if let Some(scope) = elsewhere.first() {
            let names: Vec<_> = elsewhere.iter().map(ToString::to_string).collect();
            message.push_str(&format!("\nit exists in: {}", names.join("; ")));
            hints.push(format!("or run where it is seen, with{}", scope_flags(scope)));
        }
        hints.into_iter().fold(CliError::new(Exit::NotFound, message), CliError::hint)
    }
}

impl Files {
    fn unavailable(error: &MountError) -> Self {
        let causes = std::iter::successors(std::error::Error::source(error), |&cause| cause.source());
        let reason = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        Files::Unavailable {
            reason,
            hint: "allow unprivileged user namespaces (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0), \
                   or use the secret as a variable",
        }
    }
}

/// Whether a group can be the name of a directory; it takes no part in the look-up, so another one is passed over.
fn is_file_name(group: &str) -> bool {
    let special = matches!(group, "" | "." | "..");
    !special && group.len() <= 255 && !group.contains(['/', '\0'])
}
