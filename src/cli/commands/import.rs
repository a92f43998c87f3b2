//! `import`

mod plan;
mod selection;
mod source;

use std::path::PathBuf;

use crate::cli::arguments::ScopeArgs;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::pasted;
use crate::cli::paths::user_path;
use crate::cli::progress::Progress;
use crate::cli::secret_reader::SecretReader;
use crate::cli::shell::quoted;
use flyte_local::vault::{NewValue, Vault};
use plan::{ImportAction, ImportPlan, ImportStep};
use selection::{ImportFormat, Incoming, Mapping, Selection};
use source::ImportSource;

/// Import secrets from a file or another vault
///
/// Shows which secrets are created, changed and left alone, and writes each secret whole. If a line cannot be read or
/// Flyte does not allow a name, nothing is written. An existing secret keeps its value unless you add --overwrite; if
/// it has another value, the exit code is 12. The file is never changed or deleted.
///
/// A .env file is read as python-dotenv reads it, except that ${…} is not expanded. A JSON or YAML file has one
/// object of names and texts; numbers and booleans are taken as they are written. From another vault, all secrets are
/// imported with their scopes and types, or those that `get secret` lists for -p and -d.
#[derive(clap::Args)]
#[command(mut_arg("project", |arg| arg.help("Import into this project [default: none]")))]
#[command(mut_arg("domain", |arg| arg.help("Import into this domain [default: none]")))]
#[command(after_long_help = "\
Examples:
  flyte-local import .env --dry-run
  flyte-local import .env -p my_project -d development
  flyte-local import .env --lower                    API_KEY becomes api_key
  flyte-local import .env --only TOKEN --map TOKEN=api_token
  pass show team.json | flyte-local import - --format json
  flyte-local import --from-vault ~/old/vault")]
pub(crate) struct Args {
    /// The .env, JSON or YAML file; '-' is standard input
    #[arg(required_unless_present = "from_vault", conflicts_with = "from_vault", value_parser = user_path())]
    file: Option<PathBuf>,
    /// Another vault's directory; your identity must open it
    #[arg(long, value_name = "DIR", value_parser = user_path())]
    from_vault: Option<PathBuf>,
    /// The file's format [default: by its name, or dotenv]
    #[arg(long, value_enum, conflicts_with = "from_vault")]
    format: Option<ImportFormat>,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Show what would be done; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Replace the values of existing secrets
    #[arg(long)]
    overwrite: bool,
    /// Import only this variable; may be repeated
    #[arg(long, value_name = "VAR")]
    only: Vec<String>,
    /// Import VAR as the secret NAME; may be repeated
    #[arg(long, value_name = "VAR=NAME", conflicts_with = "from_vault")]
    map: Vec<Mapping>,
    /// Write the other names in lower case
    ///
    /// A task that declares api_key gets it as API_KEY.
    #[arg(long, conflicts_with = "from_vault")]
    lower: bool,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<(), CommandError> {
    let mut vault = if args.dry_run {
        context.open_vault()?
    } else {
        let vault = context.open_vault_to_write()?;
        // Before anything is read; the vault checks again under its lock.
        vault.require_writable()?;
        vault
    };
    let reader = SecretReader::new(context);
    let source = ImportSource::of(args.from_vault, args.file);
    let ScopeArgs { project, domain } = args.scope;
    let Args { format, only, map, lower, .. } = args;
    let selection = Selection { project, domain, format, only, map, lower };
    let incoming = source::read(context, &selection, &source, &reader)?;
    let plan = ImportPlan::make(&vault, incoming, args.overwrite, &reader, &source)?;
    plan.print(context)?;
    if !args.dry_run {
        write(context, &mut vault, &plan)?;
    }
    let written: Vec<_> = plan.steps.iter().filter(|step| step.action.writes()).map(|step| &step.incoming).collect();
    context.ui.say(&plan.summary(args.dry_run));
    for incoming in written.iter().filter(|_| !source.is_a_vault()) {
        pasted::tell(context.ui, &incoming.id.name, incoming.value.expose());
    }
    if !written.is_empty() && !args.dry_run {
        context.tell_if_unreadable(&vault, "the imported secrets");
    }
    let kept = plan.count(ImportAction::Keep);
    if kept > 0 {
        let message = match kept {
            1 => "one secret has a different value and was left unchanged".to_owned(),
            _ => format!("{kept} secrets have different values and were left unchanged"),
        };
        return Err(CommandError::new(Exit::Exists, message)
            .hint("to overwrite: add --overwrite; to skip, name the others: --only VAR"));
    }
    let all_is_there = !args.dry_run && selection.only.is_empty() && !plan.steps.is_empty();
    if let Some(file) = source.plaintext().filter(|_| all_is_there) {
        context.ui.hint(&format!(
            "{} still has the values in plain text; to delete it: rm {}",
            file.display(),
            quoted(file)
        ));
    }
    Ok(())
}

/// Carries out the plan, in its order.
fn write(context: &Context<'_>, vault: &mut Vault, plan: &ImportPlan) -> Result<(), CommandError> {
    let steps = plan.steps.iter().filter(|step| step.action.writes());
    let values: Vec<_> = steps
        .map(|ImportStep { incoming: Incoming { id, secret_type, value, .. }, action }| NewValue {
            id,
            create: (*action == ImportAction::Create).then_some(*secret_type),
            value,
        })
        .collect();
    let progress = Progress::start(context.ui, values.len(), "importing");
    let mut done = 0;
    let written = vault.write_each(&values, &mut || {
        done += 1;
        progress.step();
    });
    written.map_err(|error| {
        let error = CommandError::from(error);
        let before = format!("{done} of {} secrets were written before the error", values.len());
        error.because(before).hint("run the same command again to continue")
    })
}
