//! From a declaration to a value in its place: what `run` and `exec` share.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::commands::try_mount;
use super::context::Context;
use super::error::{CliError, Exit, scope_flags};
use flyte_local::crypto::Identity;
use flyte_local::flyte::SECRETS_DIRECTORY;
use flyte_local::launch::{MountError, PrivateDirectory};
use flyte_local::redact::Watchlist;
use flyte_local::secret::{RunScope, Scope, SecretName};
use flyte_local::vault::{Resolved, Vault};

/// An open vault, the identities to read it with, and the directory for files.
pub(crate) struct Injector {
    vault: Vault,
    identities: Vec<Identity>,
    files: Files,
    user: User,
    /// Each value goes here before it goes anywhere else.
    watchlist: Watchlist,
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

/// Whom the secrets are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// A task, which declares them in Python.
    Task,
    /// A command, for which options name them.
    Command,
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
    pub(crate) fn open(
        context: &Context<'_>,
        user: User,
        mount: Mount,
        watchlist: Watchlist,
    ) -> Result<Self, CliError> {
        let vault = context.open_vault()?;
        let identities = context.identities()?;
        let tried = context.identities_tried(&identities);
        let files = match mount {
            Mount::Private => Files::open(user)?,
            Mount::None => Files::Unavailable { reason: "--no-mount was given".to_owned(), hint: "run without it" },
        };
        Ok(Self { vault, identities, files, user, watchlist, command: context.command.clone(), tried })
    }

    /// The names that a run in this scope sees.
    pub(crate) fn names(&self, run: &RunScope) -> Result<Vec<SecretName>, CliError> {
        self.vault.names(run).map_err(|error| CliError::from_vault(&error, &self.command))
    }

    /// A secret as the text of a variable.
    pub(crate) fn variable(&self, key: &SecretName, run: &RunScope) -> Result<Zeroizing<String>, CliError> {
        let value = self.resolve(key, run)?.value;
        // The cluster's words: it refuses such a value and sends the user to a file mount.
        match std::str::from_utf8(value.expose()) {
            Ok(text) if !text.contains('\0') => Ok(Zeroizing::new(text.to_owned())),
            text => {
                let reason = if text.is_ok() { "it holds a NUL byte" } else { "it is not valid UTF-8" };
                let message = format!("secret {key} cannot become an environment variable: {reason}");
                let advice = match self.user {
                    User::Task => format!("flyte.Secret(key=\"{key}\", mount=\"{SECRETS_DIRECTORY}\")"),
                    User::Command => format!("--mount {key}"),
                };
                Err(CliError::new(Exit::Failed, message).hint(format!("mount it as a file: {advice}")))
            }
        }
    }

    /// Puts a secret where a cluster mounts it; with a group, also where the SDK's AWS example reads it.
    pub(crate) fn file(&self, key: &SecretName, group: Option<&str>, run: &RunScope) -> Result<(), CliError> {
        let value = self.resolve(key, run)?.value;
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

    /// Whether a run in this scope finds it: readable or not.
    pub(crate) fn exists(&self, key: &SecretName, run: &RunScope) -> Result<bool, CliError> {
        Ok(self.names(run)?.contains(key))
    }

    /// Treats a value from elsewhere as this secret's: it is masked too.
    pub(crate) fn watch(&self, key: &SecretName, value: &[u8]) {
        self.watchlist.add(key.as_str(), value);
    }

    /// The scope that a secret would come from. It is opened, as one that is refused would not come from there.
    pub(crate) fn scope_of(&self, key: &SecretName, run: &RunScope) -> Result<Scope, CliError> {
        self.resolve(key, run).map(|resolved| resolved.scope)
    }

    fn resolve(&self, key: &SecretName, run: &RunScope) -> Result<Resolved, CliError> {
        match self.vault.resolve(key, run, &self.identities) {
            Ok(Some(resolved)) => {
                self.watch(key, resolved.value.expose());
                Ok(resolved)
            }
            Ok(None) => Err(self.missing(key, run)),
            Err(error) => Err(CliError::from_read(&error, &self.command, &self.tried)),
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
    /// Makes the directory, if a child of ours can: what it cannot, we must not begin.
    fn open(user: User) -> Result<Self, CliError> {
        if let Err(reason) = try_mount() {
            return Ok(Files::Unavailable { reason, hint: HOW_TO_ALLOW });
        }
        match PrivateDirectory::enter(Path::new(SECRETS_DIRECTORY)) {
            Ok(directory) => Ok(Files::Ready(directory)),
            Err(error) => {
                let error = CliError::chain(Exit::Failed, &error);
                Err(if user == User::Task { error.hint("do without file secrets: run --no-mount") } else { error })
            }
        }
    }
}

const HOW_TO_ALLOW: &str = "allow unprivileged user namespaces (Ubuntu: sysctl \
     kernel.apparmor_restrict_unprivileged_userns=0), or use the secret as a variable";

/// Has a child of ours try; why it failed, if it did.
///
/// It answers in words: where SIGCHLD is ignored, the kernel does not keep its exit code.
#[cfg(target_os = "linux")]
fn try_mount() -> Result<(), String> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(try_mount::NAME).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut answer = String::new();
    let asked = command.spawn().and_then(|mut child| {
        child.stdout.take().expect("it is piped").read_to_string(&mut answer)?;
        let _ = child.wait();
        Ok(())
    });
    match (asked, answer.trim_end()) {
        (Err(error), _) => Err(error.to_string()),
        (Ok(()), try_mount::MADE) => Ok(()),
        (Ok(()), reason) => Err(reason.to_owned()),
    }
}

/// Without namespaces there is nothing to try: making the directory fails before it changes anything.
#[cfg(not(target_os = "linux"))]
fn try_mount() -> Result<(), String> {
    PrivateDirectory::enter(Path::new(SECRETS_DIRECTORY)).map(|_| ()).map_err(|error| error.to_string())
}

/// Whether a group can be the name of a directory; it takes no part in the look-up, so another one is passed over.
fn is_file_name(group: &str) -> bool {
    !group.is_empty() && !group.starts_with('.') && group.len() <= 255 && !group.contains(['/', '\0'])
}
