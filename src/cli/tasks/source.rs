//! The secrets of a run: from the vault, in the scopes of the run.

use std::collections::BTreeMap;
use std::path::Path;

use zeroize::Zeroizing;

use crate::cli::arguments::merged;
use crate::cli::environment::inherited;
use crate::cli::error::{CommandError, Exit};
use crate::cli::inject::Injector;
use crate::cli::report::ErrorReport;
use flyte_local::flyte::{
    BuildSecrets, ConfiguredScope, Declared, Provided, SecretSource, SourceError, VARIABLE_MARKERS, ValueTraits,
    file_markers,
};
use flyte_local::redact::kept_forms;
use flyte_local::secret::{Domain, NameError, Project, RunScope, Scope, SecretName};

/// The project and domain of a run, as far as flyte-local knows them. Flyte's own lie between the two.
pub(crate) struct RunScopes {
    /// By flag or variable.
    pub(crate) chosen: RunScope,
    /// By `config.toml`.
    pub(crate) fallback: RunScope,
}

/// Answers the broker from the vault.
pub(crate) struct RunSecrets {
    pub(super) injector: Injector,
    scopes: RunScopes,
    /// By Flyte's own configuration or command.
    flyte: RunScope,
    /// Set if the output is masked.
    masks: bool,
}

impl RunSecrets {
    pub(crate) fn new(injector: Injector, scopes: RunScopes, masks: bool) -> Self {
        Self { injector, scopes, flyte: RunScope::default(), masks }
    }

    /// Returns the project and domain of the run, as far as they are known.
    pub(super) fn scope(&self) -> RunScope {
        merged(&self.scopes.chosen, &merged(&self.flyte, &self.scopes.fallback))
    }

    /// The scope that a secret would come from, if it can be put where it is declared, and facts about its value.
    pub(crate) fn scope_of(&self, secret: &Declared) -> Result<(Scope, ValueTraits), CommandError> {
        let (run, key) = (self.scope(), key_of(secret)?);
        // The build of an image takes any value.
        if secret.variable.is_some() && secret.image.is_none() {
            self.injector.variable(&key, &run)?;
        }
        self.injector.scope_of(&key, &run)
    }

    /// Puts an error into words.
    pub(crate) fn report(&self, error: &CommandError) -> ErrorReport {
        self.injector.report(error)
    }

    fn inject(&self, secret: &Declared, provided: &mut Provided) -> Result<(), CommandError> {
        let (run, key) = (self.scope(), key_of(secret)?);
        let mut set = |name: &str, value| provided.variables.insert(name.to_owned(), value);
        let file_markers = file_markers(self.injector.secrets_directory());
        let markers: &[(&str, &str)] = match &secret.variable {
            Some(variable) => {
                set(variable, self.injector.variable(&key, &run)?);
                &VARIABLE_MARKERS
            }
            None => {
                self.injector.file(&key, secret.group.as_deref(), &run)?;
                &file_markers
            }
        };
        for (name, value) in markers {
            set(name, Zeroizing::new((*value).to_owned()));
        }
        Ok(())
    }

    /// Returns a note on each value, since the last call, that is so short that masking it spoils the output.
    pub(super) fn notes_on_short_values(&self) -> Vec<String> {
        let short = self.injector.take_short();
        let note = |key| format!("secret {key} is so short that masking it spoils the output: see --no-mask");
        if self.masks { short.iter().map(note).collect() } else { Vec::new() }
    }

    /// Returns the variable that keeps its value from the shell, because the secret does not exist. A secret that exists but
    /// cannot be read is not replaced.
    pub(super) fn left_to_the_shell(&self, secret: &Declared, error: &CommandError) -> Option<String> {
        let variable = secret.variable.clone().filter(|_| secret.shell && error.is_not_found())?;
        if let (Ok(key), Some(value)) = (key_of(secret), inherited(&variable)) {
            self.injector.watch(&key, &value);
        }
        Some(variable)
    }
}

pub(super) fn key_of(secret: &Declared) -> Result<SecretName, CommandError> {
    secret.key.parse().map_err(|error: NameError| CommandError::new(Exit::Failed, error.to_string()))
}

fn misconfigured(reason: &str) -> SourceError {
    SourceError(format!("Flyte's configuration: {reason}"))
}

impl SecretSource for RunSecrets {
    fn configured_scope(&mut self, configured: &ConfiguredScope) -> Result<(), SourceError> {
        let ConfiguredScope { project, domain, unfit } = configured;
        // A flag or a variable has precedence, so what is configured does not matter then.
        let RunScopes { chosen, .. } = &self.scopes;
        let chosen = [("project", chosen.project.is_some()), ("domain", chosen.domain.is_some())];
        let is_used = |what: &str| chosen.contains(&(what, false));
        if let Some((what, kind)) = unfit.iter().find(|(what, _)| is_used(what)) {
            return Err(misconfigured(&format!("a {what} is text, this one is {kind}")));
        }
        let refused = |error: NameError| misconfigured(&error.to_string());
        let project = project.as_deref().filter(|_| is_used("project"));
        let domain = domain.as_deref().filter(|_| is_used("domain"));
        let project = project.map(str::parse::<Project>).transpose().map_err(refused)?;
        let domain = domain.map(str::parse::<Domain>).transpose().map_err(refused)?;
        self.flyte = merged(&RunScope { project, domain }, &self.flyte);
        Ok(())
    }

    fn provide(&mut self, needed_by: Option<&str>, secrets: &[Declared]) -> Result<Provided, SourceError> {
        if needed_by.is_some() {
            self.injector.task_starts();
        }
        let mut provided = Provided::default();
        for (index, secret) in secrets.iter().enumerate() {
            let Err(error) = self.inject(secret, &mut provided) else { continue };
            if let Some(variable) = self.left_to_the_shell(secret, &error) {
                provided.shell.push(variable);
            } else if let Some(user) = needed_by {
                return Err(SourceError(format!("{user}: {}", self.injector.report(&error).plain())));
            } else {
                // A declared environment may never run: its task reports a missing secret.
                provided.missing.push(index);
                provided.why_missing.push(self.injector.report(&error).plain());
            }
        }
        if needed_by.is_some() && secrets.iter().any(|secret| secret.variable.is_none()) {
            provided.notes.extend(self.injector.difference());
        }
        provided.notes.extend(self.notes_on_short_values());
        Ok(provided)
    }

    fn variable_of_shell(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        inherited(name)
    }

    fn lend(
        &mut self,
        task: &str,
        secrets: &[Declared],
        variables: &BTreeMap<String, Zeroizing<Vec<u8>>>,
    ) -> Result<String, SourceError> {
        self.lend_to_container(secrets, variables)
            .map_err(|error| SourceError(format!("task {task}: {}", self.injector.report(&error).plain())))
    }

    fn build(&mut self, needed_by: &str, secrets: &[Declared]) -> Result<BuildSecrets, SourceError> {
        self.provide_to_build(secrets)
            .map_err(|error| SourceError(format!("{needed_by}: {}", self.injector.report(&error).plain())))
    }

    fn take_back(&mut self, directory: &Path) {
        self.injector.take_back(directory);
    }

    fn forms(&self, value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
        kept_forms(value)
    }
}
