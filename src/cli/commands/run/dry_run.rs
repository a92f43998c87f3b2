//! `run --dry-run`: what a file declares, and where it would come from.

use std::sync::mpsc::Sender;

use serde_json::{Value, json};

use super::source::Source;
use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::report::Report;
use crate::cli::table;
use flyte_local::flyte::{Declared, Provided, Refused, SECRETS_DIRECTORY, SecretSource, Surveyed};
use flyte_local::secret::Scope;

const COLUMNS: [&str; 5] = ["environment", "task", "secret", "becomes", "from"];

/// A declared secret.
pub(super) struct Row {
    environment: String,
    task: Option<String>,
    secret: Declared,
    from: Place,
}

/// Where a secret would come from.
enum Place {
    Scope(Scope),
    /// The vault lacks it, and the shell has the variable.
    Shell,
    Nowhere(Report),
}

/// Answers a file's import as a run does, and sends on what the file declares.
pub(super) struct Survey {
    pub(super) source: Source,
    pub(super) rows: Sender<Vec<Row>>,
}

impl SecretSource for Survey {
    fn configured_scope(&mut self, project: Option<&str>, domain: Option<&str>) -> Result<(), Refused> {
        self.source.configured_scope(project, domain)
    }

    /// What is read while the file is imported is there, as in a run.
    fn provide(&mut self, task: Option<&str>, secrets: &[Declared]) -> Result<Provided, Refused> {
        match task {
            Some(task) => Err(Refused(format!("task {task}: a dry run executes no task"))),
            None => self.source.provide(None, secrets),
        }
    }

    fn survey(&mut self, declared: Vec<Surveyed>) {
        let mut rows = Vec::new();
        for Surveyed { environment, task, secrets } in declared {
            for secret in secrets {
                let from = match self.source.scope_of(&secret) {
                    Ok(scope) => Place::Scope(scope),
                    Err(error) if error.is_not_found() && secret.variable.is_some() && secret.shell => Place::Shell,
                    Err(error) => Place::Nowhere(self.source.report(&error)),
                };
                rows.push(Row { environment: environment.clone(), task: task.clone(), secret, from });
            }
        }
        // Whoever waited for it may have given up.
        let _ = self.rows.send(rows);
    }
}

/// Prints all of it, and then says what is wrong.
pub(super) fn report(context: &Context<'_>, rows: Vec<Row>) -> Result<(), CommandError> {
    let cells: Vec<_> = rows.iter().map(to_cells).collect();
    let text = table::formatted(context.output_format, COLUMNS, &cells, &rows.iter().map(to_json).collect());
    context.ui.data(text.as_bytes())?;
    // What several environments lack is told once.
    let mut errors: Vec<Report> = Vec::new();
    for row in rows {
        if let Place::Nowhere(error) = row.from
            && errors.iter().all(|other| other.plain() != error.plain())
        {
            errors.push(error);
        }
    }
    let code = errors.first().map(Report::code);
    let last = errors.pop();
    errors.iter().for_each(|error| context.ui.error(error));
    match (last, code) {
        (Some(last), Some(code)) => Err(last.with_code(code).into()),
        _ => Ok(()),
    }
}

/// Every member is always there; README.md describes them.
fn to_json(row: &Row) -> Value {
    let (status, scope, error) = match &row.from {
        Place::Scope(scope) => ("found", json!({ "project": scope.project(), "domain": scope.domain() }), None),
        Place::Shell => ("shell", Value::Null, None),
        Place::Nowhere(error) if error.is_not_found() => ("missing", Value::Null, Some(error.plain())),
        Place::Nowhere(error) => ("refused", Value::Null, Some(error.plain())),
    };
    json!({
        "environment": row.environment,
        "task": row.task,
        "key": row.secret.key,
        "group": row.secret.group,
        "variable": row.secret.variable,
        "path": path(&row.secret),
        "status": status,
        "scope": scope,
        "error": error,
    })
}

/// The file it becomes, unless it becomes a variable.
fn path(secret: &Declared) -> Option<String> {
    secret.variable.is_none().then(|| format!("{SECRETS_DIRECTORY}/{}", secret.key))
}

fn to_cells(row: &Row) -> [String; 5] {
    let from = match &row.from {
        Place::Scope(scope) => scope.to_string(),
        Place::Shell => "the shell, not the vault".to_owned(),
        Place::Nowhere(error) if error.is_not_found() => "nowhere: missing".to_owned(),
        Place::Nowhere(_) => "nowhere: refused".to_owned(),
    };
    let becomes = row.secret.variable.clone().or_else(|| path(&row.secret)).unwrap_or_default();
    let task = row.task.clone().unwrap_or_else(|| "-".to_owned());
    [row.environment.clone(), task, row.secret.key.clone(), becomes, from]
}
