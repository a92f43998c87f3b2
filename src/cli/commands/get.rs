//! `get secret`

mod effective;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::opener::Opener;
use crate::cli::{OutputFormat, ScopeArgs, commands, table};
use flyte_local::secret::{RunScope, ScopeFilter, SecretId, SecretName, SecretType};
use flyte_local::vault::{Listing, Metadata, VaultError};

const COLUMNS: [&str; 6] = ["project", "domain", "name", "type", "created", "updated"];

/// List secrets, or show one
///
/// The list shows every scope, or with -p and -d only secrets of that project or domain. With a NAME, -p and -d say
/// which scope the secret is in; without them, the organization. The value is shown only with --reveal. With
/// --effective, the list shows what a task deployed to that project and domain would see.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local get secret
  flyte-local get secret -p my_project
  flyte-local --output-format json get secret
  flyte-local get secret my_secret --reveal > file
  flyte-local get secret --effective -p my_project -d development")]
pub(crate) struct Args {
    /// The secret's name [default: list all]
    name: Option<SecretName>,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Print the value, byte for byte, and nothing else
    #[arg(long, requires = "name")]
    reveal: bool,
    /// List what a task in this project and domain sees
    ///
    /// For each name, the list shows the scope that the secret comes from and the wider scopes that it shadows.
    #[arg(long, conflicts_with_all = ["name", "reveal"])]
    effective: bool,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CliError> {
    let vault = context.open_vault()?;
    let failed = |error| CliError::from_vault(&error, &context.command);
    if args.effective {
        return effective::show(context, &vault, RunScope { project: args.scope.project, domain: args.scope.domain });
    }
    let Some(name) = args.name else {
        let filter = ScopeFilter { project: args.scope.project, domain: args.scope.domain };
        return show_list(context, vault.list(&filter).map_err(failed)?);
    };
    let id = commands::secret_id(name, args.scope);
    if args.reveal {
        let value = Opener::new(context).value(&vault, &id, &context.command)?;
        return context.ui.data(value.expose());
    }
    let metadata = vault.metadata(&id).map_err(failed)?;
    context.ui.data(format(context.output_format, &[metadata]).as_bytes())
}

fn show_list(context: &Context<'_>, listing: Listing) -> Result<(), CliError> {
    context.ui.data(format(context.output_format, &listing.secrets).as_bytes())?;
    report(context, &listing.refused)
}

/// Says which files a list passes over.
fn report(context: &Context<'_>, refused: &[VaultError]) -> Result<(), CliError> {
    let Some((first, rest)) = refused.split_first() else { return Ok(()) };
    for error in rest {
        context.ui.error(&CliError::from_vault(error, &context.command));
    }
    // The exit code says that the list is not whole.
    let first = CliError::from_vault(first, &context.command);
    Err(first.with_code(Exit::Refused as u8))
}

pub(super) fn format(format: OutputFormat, secrets: &[Metadata]) -> String {
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

pub(super) fn id_to_json(id: &SecretId) -> Value {
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

pub(super) fn id_to_cells(id: &SecretId) -> [String; 3] {
    let part = |part: Option<&str>| part.unwrap_or("-").to_owned();
    let project = id.scope.project().map(|project| project.as_str());
    let domain = id.scope.domain().map(|domain| domain.as_str());
    [part(project), part(domain), id.name.to_string()]
}
