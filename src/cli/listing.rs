//! The rows of secrets, which more than one command lists.

use serde::Serialize;

use super::context::Context;
use super::error::{CommandError, Exit};
use super::table::{self, Cell, Column, Row};
use super::ui::Color;
use flyte_local::secret::{Domain, Project, Scope, SecretId, SecretName, SecretType};
use flyte_local::vault::{Metadata, VaultError};

/// A secret's name and scope, as the JSON mapping of Flyte's `SecretIdentifier` has them.
#[derive(Serialize)]
pub(crate) struct Id<'a> {
    name: &'a SecretName,
    #[serde(flatten)]
    scope: InScope<'a>,
}

/// A scope: no project and no domain is the organization.
#[derive(Serialize)]
pub(crate) struct InScope<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a Project>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a Domain>,
}

impl<'a> From<&'a SecretId> for Id<'a> {
    fn from(id: &'a SecretId) -> Self {
        Self { name: &id.name, scope: (&id.scope).into() }
    }
}

impl<'a> From<&'a Scope> for InScope<'a> {
    fn from(scope: &'a Scope) -> Self {
        Self { project: scope.project(), domain: scope.domain() }
    }
}

impl Row for Id<'_> {
    const COLUMNS: &'static [Column] = &[Column::new("project"), Column::new("domain"), Column::new("name")];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::or_dash(self.scope.project), Cell::or_dash(self.scope.domain), Cell::new(self.name)]
    }
}

/// A secret without its value: the JSON mapping of Flyte's `Secret` message. `updatedTime` is the one member beyond it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecretRow<'a> {
    id: Id<'a>,
    secret_metadata: SecretMetadata,
    #[serde(skip)]
    metadata: &'a Metadata,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SecretMetadata {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    secret_type: Option<&'static str>,
    created_time: String,
    updated_time: String,
    secret_status: Status,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    overall_status: &'static str,
}

impl<'a> From<&'a Metadata> for SecretRow<'a> {
    fn from(metadata: &'a Metadata) -> Self {
        let about = SecretMetadata {
            // Flyte's mapping leaves out the type whose number is zero.
            secret_type: match metadata.secret_type {
                SecretType::Regular => None,
                SecretType::ImagePull => Some("SECRET_TYPE_IMAGE_PULL_SECRET"),
            },
            created_time: format!("{:.9}", metadata.created),
            updated_time: format!("{:.9}", metadata.updated),
            secret_status: Status { overall_status: "FULLY_PRESENT" },
        };
        Self { id: (&metadata.id).into(), secret_metadata: about, metadata }
    }
}

impl Row for SecretRow<'_> {
    const COLUMNS: &'static [Column] = &[
        Column::new("project"),
        Column::new("domain"),
        Column::new("name"),
        Column::new("type"),
        Column::spare("created"),
        Column::new("updated"),
    ];

    fn cells(&self) -> Vec<Cell> {
        let about = [
            Cell::new(self.metadata.secret_type),
            Cell::time(self.metadata.created),
            Cell::time(self.metadata.updated),
        ];
        self.id.cells().into_iter().chain(about).collect()
    }
}

/// A scope in a sentence; in short, its project and domain alone.
pub(crate) fn scope_cell(scope: &Scope) -> Cell {
    let cell = Cell::new(scope);
    match (scope.project(), scope.domain()) {
        (Some(project), Some(domain)) => cell.short(format!("{project}/{domain}")),
        _ => cell,
    }
}

/// An action on a secret, done or planned; `is_left` is for a secret that is passed over. In short, the reason alone.
pub(crate) fn action_cell(action: &str, is_left: bool) -> Cell {
    let cell = Cell::new(action).color(if is_left { Color::Yellow } else { Color::Green });
    match action.split_once(": ") {
        Some((_, reason)) => cell.short(reason),
        None => cell,
    }
}

/// Prints secrets without their values.
pub(crate) fn print(context: &Context<'_>, secrets: &[Metadata]) -> Result<(), CommandError> {
    let rows: Vec<_> = secrets.iter().map(SecretRow::from).collect();
    table::print(context.ui, context.output_format, &rows)
}

/// Prints the names and scopes of secrets.
pub(crate) fn print_ids(context: &Context<'_>, ids: &[SecretId]) -> Result<(), CommandError> {
    let rows: Vec<_> = ids.iter().map(Id::from).collect();
    table::print(context.ui, context.output_format, &rows)
}

/// Reports the files that a list passes over.
pub(crate) fn report(context: &Context<'_>, refused: Vec<VaultError>) -> Result<(), CommandError> {
    let mut errors = refused.into_iter().map(CommandError::from);
    let Some(first) = errors.next() else { return Ok(()) };
    errors.for_each(|error| context.tell(&error));
    // The exit code says that the list is not whole.
    Err(first.with_code(Exit::Refused as u8))
}
