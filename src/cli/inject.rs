//! Puts values into variables and files, for `run` and `exec`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::context::Context;
use super::environment::runtime_directory;
use super::error::{CommandError, Exit};
use super::files::{Files, User};
use super::identities::UserIdentities;
use super::lent::{Loan, Loans};
use super::near::near;
use super::report::ErrorReport;
use super::sanitize::harmless;
use super::shell::scope_flags;
use flyte_local::flyte::{SECRETS_DIRECTORY, ValueTraits};
use flyte_local::launch::{self, DirectoryError, PrivateDirectory, Removal};
use flyte_local::redact::Watchlist;
use flyte_local::secret::{RunScope, Scope, SecretName, SecretValue};
use flyte_local::vault::{Resolved, Vault, VaultError};

/// An open vault, the identities to read it with, and the directory for files.
pub(crate) struct Injector {
    vault: Vault,
    identities: UserIdentities,
    files: Files,
    loans: Loans,
    user: User,
    /// Each value goes here before it goes anywhere else.
    watchlist: Watchlist,
    /// The keys of values so short that masking them spoils the output.
    short: RefCell<Vec<SecretName>>,
    /// The secrets that a file was given while it is imported; `None` once a task has started, and for a command.
    imported: RefCell<Option<BTreeMap<SecretName, ForImport>>>,
    command: String,
}

/// A secret that was opened while a file is imported, and the scope in which it was looked for.
struct ForImport {
    run: RunScope,
    resolved: Arc<Resolved>,
}

/// Values of fewer bytes stand in any output by chance.
const SHORT: usize = 4;

/// The directory for file secrets, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mount {
    Private,
    None,
}

impl Injector {
    /// Opens everything a run needs, so that a failure is reported before a child starts. Call it before any thread
    /// starts: creating the directory for files enters a namespace.
    pub(crate) fn open(
        context: &Context<'_>,
        user: User,
        mount: Mount,
        watchlist: Watchlist,
    ) -> Result<Self, CommandError> {
        let vault = context.open_vault()?;
        let identities = context.identities()?;
        // Before anything else: a namespace has another keyring, and once a child has the terminal, nothing can ask there.
        identities.unlock_for(&vault)?;
        context.passphrases().forget()?;
        if user == User::Task {
            identities.close();
        }
        let runtime = runtime_directory()?;
        let files = match mount {
            Mount::Private => Files::open(context.spawner()?, user, runtime.as_deref())?,
            Mount::None => Files::Unavailable {
                reason: "--no-mount was given".to_owned(),
                hints: vec!["run without it".to_owned()],
            },
        };
        let loans = Loans::plan(runtime.as_deref());
        let imported = RefCell::new((user == User::Task).then(BTreeMap::new));
        let command = context.command.clone();
        Ok(Self { vault, identities, files, loans, user, watchlist, short: RefCell::default(), imported, command })
    }

    /// Puts an error into words, for a reader other than the terminal.
    pub(crate) fn report(&self, error: &CommandError) -> ErrorReport {
        error.report(&self.command)
    }

    /// Returns the names that a run in this scope sees.
    pub(crate) fn names(&self, run: &RunScope) -> Result<Vec<SecretName>, CommandError> {
        Ok(self.vault.names(run)?)
    }

    /// Returns a secret's value.
    pub(crate) fn value(&self, key: &SecretName, run: &RunScope) -> Result<Arc<Resolved>, CommandError> {
        self.resolve(key, run)
    }

    /// Returns a secret as the text of a variable.
    pub(crate) fn variable(&self, key: &SecretName, run: &RunScope) -> Result<Zeroizing<String>, CommandError> {
        self.text(key, &self.resolve(key, run)?.value)
    }

    /// As [`Injector::variable`], of several secrets, which are opened at once: in their order, or the first error.
    pub(crate) fn variables(
        &self,
        keys: &[SecretName],
        run: &RunScope,
    ) -> Result<Vec<Zeroizing<String>>, CommandError> {
        let mut texts = Vec::with_capacity(keys.len());
        let mut next = keys.iter();
        self.vault.resolve_each(keys, run, &self.identities, |resolved| {
            let key = next.next().expect("one result for each");
            texts.push(self.text(key, &self.opened(key, run, resolved)?.value)?);
            Ok::<_, CommandError>(())
        })?;
        Ok(texts)
    }

    /// Returns a value as the text of a variable.
    fn text(&self, key: &SecretName, value: &SecretValue) -> Result<Zeroizing<String>, CommandError> {
        let value = value.expose();
        // The cluster's words: it refuses such a value and sends the user to a file mount.
        let reason = match std::str::from_utf8(value) {
            Err(_) => "it is not valid UTF-8".to_owned(),
            Ok(text) if text.contains('\0') => "it holds a NUL byte".to_owned(),
            // A command gets the system's own answer.
            Ok(_) if self.user == User::Task && launch::is_too_large_for_a_variable(key.as_str(), value.len()) => {
                format!("it has {} bytes, and no program starts with a variable of that size", value.len())
            }
            Ok(text) => return Ok(Zeroizing::new(text.to_owned())),
        };
        let message = format!("secret {key} cannot become an environment variable: {reason}");
        let advice = match self.user {
            User::Task => format!("flyte.Secret(key=\"{key}\", mount=\"{SECRETS_DIRECTORY}\")"),
            User::Command => format!("--mount {key}"),
        };
        Err(CommandError::new(Exit::Failed, message).hint(format!("mount it as a file: {advice}")))
    }

    /// Puts a secret where a cluster mounts it; with a group, also where the SDK's AWS example reads it.
    pub(crate) fn file(&self, key: &SecretName, group: Option<&str>, run: &RunScope) -> Result<(), CommandError> {
        let resolved = self.resolve(key, run)?;
        let value = &resolved.value;
        let directory = match &self.files {
            Files::Mounted(directory) => directory,
            Files::InMemory(directory) => directory.files(),
            Files::Unavailable { reason, hints } => {
                let message = format!("secret {key} cannot be mounted in {SECRETS_DIRECTORY}: {reason}");
                let error = CommandError::new(Exit::Failed, message);
                return Err(hints.iter().cloned().fold(error, CommandError::hint));
            }
        };
        Ok(put_file(key, group, |path| directory.write(path, value.expose()))?)
    }

    /// Makes a directory for a program outside of the run's private mount.
    pub(crate) fn lend(&self) -> Result<Loan<'_>, CommandError> {
        self.loans.lend(self.files_in_memory())
    }

    /// Puts a secret into a lent directory, as [`Injector::file`] does into the run's own.
    pub(crate) fn lend_file(
        &self,
        loan: &Loan<'_>,
        key: &SecretName,
        group: Option<&str>,
        run: &RunScope,
    ) -> Result<(), CommandError> {
        let resolved = self.resolve(key, run)?;
        Ok(put_file(key, group, |path| loan.share(&[&["files"], path].concat(), resolved.value.expose()))?)
    }

    /// Removes a lent directory.
    pub(crate) fn take_back(&self, directory: &Path) {
        self.loans.take_back(self.files_in_memory(), directory);
    }

    fn files_in_memory(&self) -> Option<&PrivateDirectory> {
        match &self.files {
            Files::InMemory(directory) => Some(directory.private()),
            Files::Mounted(_) | Files::Unavailable { .. } => None,
        }
    }

    /// Masks a value from elsewhere like this secret's.
    pub(crate) fn watch(&self, key: &SecretName, value: &[u8]) {
        self.watchlist.add(key.as_str(), value);
        if (1..SHORT).contains(&value.trim_ascii().len()) {
            self.short.borrow_mut().push(key.clone());
        }
    }

    /// Returns the keys, since the last call, of values so short that masking them spoils the output.
    pub(crate) fn take_short(&self) -> Vec<SecretName> {
        self.short.take()
    }

    /// Returns the scope that a secret would come from, and facts about its value. Opens it, because a refused one would not come
    /// from there.
    pub(crate) fn scope_of(&self, key: &SecretName, run: &RunScope) -> Result<(Scope, ValueTraits), CommandError> {
        let resolved = self.resolve(key, run)?;
        Ok((resolved.scope.clone(), ValueTraits::of(resolved.value.expose())))
    }

    /// Returns the directory of file secrets, as the variables of a cluster name it.
    pub(crate) fn secrets_directory(&self) -> &str {
        match &self.files {
            Files::InMemory(directory) => directory.path(),
            Files::Mounted(_) | Files::Unavailable { .. } => SECRETS_DIRECTORY,
        }
    }

    /// Tells whether file secrets are elsewhere than on a cluster.
    pub(crate) fn is_redirected(&self) -> bool {
        matches!(self.files, Files::InMemory(_))
    }

    /// Returns a guard that removes the run's directory in memory when dropped, if there is one then.
    pub(crate) fn removal(&self) -> Option<Removal> {
        match &self.files {
            Files::InMemory(directory) => Some(directory.removal()),
            Files::Mounted(_) | Files::Unavailable { .. } => self.loans.removal(),
        }
    }

    /// Describes what a task with file secrets finds different from a cluster, at the first call only.
    pub(crate) fn difference(&self) -> Option<String> {
        match &self.files {
            Files::InMemory(directory) => directory.difference().map(|difference| harmless(&difference)),
            Files::Mounted(_) | Files::Unavailable { .. } => None,
        }
    }

    /// Opens every secret again from here on: a task gets the values that the vault has when the task starts.
    pub(crate) fn task_starts(&self) {
        *self.imported.borrow_mut() = None;
    }

    /// Finds and opens a secret; while a file is imported, only once, so that the whole import sees one value.
    fn resolve(&self, key: &SecretName, run: &RunScope) -> Result<Arc<Resolved>, CommandError> {
        let mut imported = self.imported.borrow_mut();
        let known = imported.as_ref().and_then(|known| known.get(key)).filter(|known| known.run == *run);
        if let Some(known) = known {
            return Ok(Arc::clone(&known.resolved));
        }
        let resolved = Arc::new(self.open_secret(key, run)?);
        if let Some(imported) = imported.as_mut() {
            imported.insert(key.clone(), ForImport { run: run.clone(), resolved: Arc::clone(&resolved) });
        }
        Ok(resolved)
    }

    fn open_secret(&self, key: &SecretName, run: &RunScope) -> Result<Resolved, CommandError> {
        self.opened(key, run, self.vault.resolve(key, run, &self.identities))
    }

    /// Has a secret that was found be masked, and puts the reason into words if it was not.
    fn opened(
        &self,
        key: &SecretName,
        run: &RunScope,
        resolved: Result<Option<Resolved>, VaultError>,
    ) -> Result<Resolved, CommandError> {
        match resolved {
            Ok(Some(resolved)) => {
                self.watch(key, resolved.value.expose());
                Ok(resolved)
            }
            Ok(None) => Err(self.missing(key, run)),
            Err(error) => Err(CommandError::from(error).tried(self.identities.tried())),
        }
    }

    fn missing(&self, key: &SecretName, run: &RunScope) -> CommandError {
        let tried: Vec<_> = run.walk().iter().map(ToString::to_string).collect();
        let mut message = format!("secret {key} does not exist in this run's scopes\nsearched: {}", tried.join("; "));
        // This only helps, so an error here is ignored.
        let elsewhere = self.vault.scopes_of(key).unwrap_or_default();
        let seen = self.vault.names(run).unwrap_or_default();
        let near = near(key.as_str(), seen.iter().map(SecretName::as_str));
        let mut hints = match near.as_slice() {
            _ if !elsewhere.is_empty() => Vec::new(),
            [] => Vec::new(),
            [name] => vec![format!("did you mean {name}? This run sees it")],
            names => vec![format!("did you mean one of these, which this run sees: {}", names.join(", "))],
        };
        hints.push(format!("create it: {} create secret {key}", self.command));
        if let Some(scope) = elsewhere.first() {
            let names: Vec<_> = elsewhere.iter().map(ToString::to_string).collect();
            message.push_str(&format!("\nit exists in: {}", names.join("; ")));
            hints.push(format!("or run in a project and domain that see it:{}", scope_flags(scope)));
        }
        hints.into_iter().fold(CommandError::new(Exit::NotFound, message), CommandError::hint)
    }
}

/// Writes a file secret with `write`, which takes the components of its path: under its own name, and with a group also where
/// the SDK's AWS example reads it.
fn put_file(
    key: &SecretName,
    group: Option<&str>,
    write: impl Fn(&[&str]) -> Result<(), DirectoryError>,
) -> Result<(), DirectoryError> {
    write(&[key.as_str()])?;
    let Some(group) = group.filter(|group| is_file_name(group) && *group != key.as_str()) else { return Ok(()) };
    match write(&[group, &key.as_str().to_ascii_lowercase()]) {
        // Another secret has the group's name, and its own path is the one that a cluster has.
        Err(error) if error.is_not_a_directory() => Ok(()),
        written => written,
    }
}

/// Tells whether a group can be the name of a directory. A group takes no part in the search, so an unsuitable one is ignored.
fn is_file_name(group: &str) -> bool {
    !group.is_empty() && !group.starts_with('.') && group.len() <= 255 && !group.contains(['/', '\0'])
}
