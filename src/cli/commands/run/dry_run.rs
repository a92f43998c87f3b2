//! `run --dry-run`: the secrets that a file declares, and their sources.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::listing::{InScope, scope_cell};
use crate::cli::on_cluster::{self, Delivery};
use crate::cli::report::ErrorReport;
use crate::cli::sanitize::harmless;
use crate::cli::table::{self, Cell, Column, Row};
use crate::cli::tasks::RunSecrets;
use crate::cli::ui::{Color, Ui};
use flyte_local::flyte::{
    ConfiguredScope, Declared, Provided, SECRETS_DIRECTORY, SecretSource, SourceError, Surveyed, ValueTraits,
};
use flyte_local::secret::Scope;

/// A declared secret.
pub(super) struct Declaration {
    environment: String,
    task: Option<String>,
    secret: Declared,
    from: Provenance,
}

/// The source of a secret.
enum Provenance {
    Scope(Scope, ValueTraits),
    /// The vault lacks it, and the shell has the variable.
    Shell,
    Nowhere(ErrorReport),
}

/// Answers a file's import as a run does, and sends on what the file declares.
pub(super) struct Survey {
    pub(super) source: RunSecrets,
    pub(super) rows: Sender<Vec<Declaration>>,
}

impl SecretSource for Survey {
    fn configured_scope(&mut self, configured: &ConfiguredScope) -> Result<(), SourceError> {
        self.source.configured_scope(configured)
    }

    /// Provides the secrets that the file reads while it is imported, as a run does.
    fn provide(&mut self, needed_by: Option<&str>, secrets: &[Declared]) -> Result<Provided, SourceError> {
        match needed_by {
            Some(user) => Err(SourceError(format!("{user}: a dry run executes no task"))),
            None => self.source.provide(None, secrets),
        }
    }

    fn survey(&mut self, declared: Vec<Surveyed>) {
        let mut rows = Vec::new();
        for Surveyed { environment, task, secrets } in declared {
            for secret in secrets {
                let from = match self.source.scope_of(&secret) {
                    Ok((scope, traits)) => Provenance::Scope(scope, traits),
                    Err(error) if error.is_not_found() && secret.variable.is_some() && secret.shell => {
                        Provenance::Shell
                    }
                    Err(error) => Provenance::Nowhere(self.source.report(&error)),
                };
                rows.push(Declaration { environment: environment.clone(), task: task.clone(), secret, from });
            }
        }
        // The receiver may have given up.
        let _ = self.rows.send(rows);
    }
}

/// Prints the rows, then what a cluster would do with the values, then the errors.
pub(super) fn report(context: &Context<'_>, rows: Vec<Declaration>) -> Result<(), CommandError> {
    let printed: Vec<_> = rows.iter().map(|row| DeclarationRow::new(row, context.ui)).collect();
    table::print(context.ui, context.output_format, &printed)?;
    notes(&rows).iter().for_each(|note| context.ui.say(note));
    // An error that several environments share is reported once.
    let mut errors: Vec<ErrorReport> = Vec::new();
    for row in rows {
        // No task of a run needs what the build of an image mounts.
        if let Provenance::Nowhere(error) = row.from
            && row.secret.image.is_none()
            && errors.iter().all(|other| other.plain() != error.plain())
        {
            errors.push(error);
        }
    }
    let code = errors.first().map(ErrorReport::code);
    let last = errors.pop();
    errors.iter().for_each(|error| context.ui.error(error));
    match (last, code) {
        (Some(last), Some(code)) => Err(last.with_code(code).into()),
        _ => Ok(()),
    }
}

/// Returns what a cluster does with these values that a run does not, each line once.
fn notes(rows: &[Declaration]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    let mut files = BTreeMap::new();
    for Declaration { environment, task, secret, from } in rows {
        let Provenance::Scope(_, traits) = from else { continue };
        let form = match (&secret.parameter, &secret.image, &secret.variable) {
            (None, None, Some(variable)) => Delivery::Variable(variable),
            _ => Delivery::Exact,
        };
        if secret.variable.is_none() {
            *files.entry((environment, task)).or_default() += traits.length;
        }
        for note in on_cluster::notes(&secret.key, form, *traits) {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    let who = |environment: &str, task: &Option<String>| match task {
        Some(task) => format!("task {task}"),
        None => format!("environment {environment}"),
    };
    notes.extend(files.into_iter().filter_map(|((environment, task), length)| {
        on_cluster::note_on_files(&harmless(&who(environment, task)), length)
    }));
    notes
}

/// A declared secret, and where it would come from. Its names are masked: the file can make them of values that it reads.
#[derive(Serialize)]
struct DeclarationRow<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    environment: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Cow<'a, str>>,
    key: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Cow<'a, str>>,
    /// The variable it becomes, unless it becomes a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<Cow<'a, str>>,
    /// The parameter of a connector that it becomes; a local run also has it as the variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<Cow<'a, str>>,
    /// The image whose build mounts it; a local builder finds it as the variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Cow<'a, str>>,
    /// The file it becomes, unless it becomes a variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<InScope<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    from: &'a Provenance,
}

impl<'a> DeclarationRow<'a> {
    fn new(Declaration { environment, task, secret, from }: &'a Declaration, ui: &Ui) -> Self {
        let masked = |name: &'a Option<String>| name.as_deref().map(|name| ui.masked(name));
        let in_words = |error: &ErrorReport| Some(ui.masked(&error.plain()).into_owned());
        let (status, scope, error) = match from {
            Provenance::Scope(scope, _) => ("found", Some(scope.into()), None),
            Provenance::Shell => ("shell", None, None),
            Provenance::Nowhere(error) if error.is_not_found() => ("missing", None, in_words(error)),
            Provenance::Nowhere(error) => ("refused", None, in_words(error)),
        };
        let (environment, task, key) = (ui.masked(environment), masked(task), ui.masked(&secret.key));
        let (group, variable, parameter) = (masked(&secret.group), masked(&secret.variable), masked(&secret.parameter));
        let image = masked(&secret.image);
        let path = variable.is_none().then(|| format!("{SECRETS_DIRECTORY}/{key}"));
        Self { environment, task, key, group, variable, parameter, image, path, status, scope, error, from }
    }
}

impl Row for DeclarationRow<'_> {
    const COLUMNS: &'static [Column] = &[
        Column::new("environment"),
        Column::new("task"),
        Column::new("secret"),
        Column::new("becomes"),
        Column::new("from"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let from = match self.from {
            Provenance::Scope(scope, _) => scope_cell(scope),
            Provenance::Shell => Cell::new("the shell, not the vault").color(Color::Yellow),
            Provenance::Nowhere(error) if error.is_not_found() => Cell::new("nowhere: missing").color(Color::Red),
            Provenance::Nowhere(_) => Cell::new("nowhere: refused").color(Color::Red),
        };
        let becomes = match (&self.parameter, &self.image) {
            (Some(parameter), _) => Cell::new(format!("parameter {parameter}")),
            (None, Some(image)) => Cell::new(format!("mount of image {image}")),
            (None, None) => Cell::new(self.variable.as_deref().or(self.path.as_deref()).unwrap_or_default()),
        };
        let environment = Some(&*self.environment).filter(|environment| !environment.is_empty());
        let (environment, key) = (Cell::or_dash(environment), Cell::new(&self.key));
        vec![environment, Cell::or_dash(self.task.as_deref()), key, becomes, from]
    }
}
