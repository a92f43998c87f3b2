//! Lists of secrets, as `get secret` and others print them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::arguments::OutputFormat;
use super::context::Context;
use super::error::{CommandError, Exit};
use super::table;
use flyte_local::secret::{SecretId, SecretType};
use flyte_local::vault::{Metadata, VaultError};

const COLUMNS: [&str; 6] = ["project", "domain", "name", "type", "created", "updated"];

pub(crate) fn format(format: OutputFormat, secrets: &[Metadata]) -> String {
    let cells: Vec<_> = secrets.iter().map(to_cells).collect();
    table::formatted(format, COLUMNS, &cells, &secrets.iter().map(to_json).collect())
}

/// Flyte's own JSON: the proto mapping of its `Secret` message, which leaves out what is empty or zero. `updatedTime` is
/// the one member beyond it.
fn to_json(metadata: &Metadata) -> Value {
    let mut about = json!({
        "createdTime": format!("{:.9}", metadata.created),
        "updatedTime": format!("{:.9}", metadata.updated),
        "secretStatus": { "overallStatus": "FULLY_PRESENT" },
    });
    if metadata.secret_type == SecretType::ImagePull {
        about["type"] = json!("SECRET_TYPE_IMAGE_PULL_SECRET");
    }
    json!({ "id": id_to_json(&metadata.id), "secretMetadata": about })
}

pub(crate) fn id_to_json(id: &SecretId) -> Value {
    let mut json = json!({ "name": id.name });
    if let Some(project) = id.scope.project() {
        json["project"] = json!(project);
    }
    if let Some(domain) = id.scope.domain() {
        json["domain"] = json!(domain);
    }
    json
}

fn to_cells(metadata: &Metadata) -> [String; 6] {
    let seconds = |time: Timestamp| format!("{time:.0}");
    let [project, domain, name] = id_to_cells(&metadata.id);
    [project, domain, name, metadata.secret_type.to_string(), seconds(metadata.created), seconds(metadata.updated)]
}

pub(crate) fn id_to_cells(id: &SecretId) -> [String; 3] {
    let part = |part: Option<&str>| part.unwrap_or("-").to_owned();
    let project = id.scope.project().map(|project| project.as_str());
    let domain = id.scope.domain().map(|domain| domain.as_str());
    [part(project), part(domain), id.name.to_string()]
}

/// Says which files a list passes over.
pub(crate) fn report(context: &Context<'_>, refused: Vec<VaultError>) -> Result<(), CommandError> {
    let mut errors = refused.into_iter().map(CommandError::from);
    let Some(first) = errors.next() else { return Ok(()) };
    errors.for_each(|error| context.tell(&error));
    // The exit code says that the list is not whole.
    Err(first.with_code(Exit::Refused as u8))
}

pub(crate) fn format_ids(context: &Context<'_>, ids: &[SecretId]) -> String {
    let rows: Vec<_> = ids.iter().map(id_to_cells).collect();
    let json: Value = ids.iter().map(id_to_json).collect();
    table::formatted(context.output_format, ["project", "domain", "name"], &rows, &json)
}
