//! `export`

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use zeroize::Zeroizing;

use crate::cli::arguments::ScopeArgs;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::paths::{split, user_path};
use crate::cli::reveal::reveal;
use crate::cli::rollback;
use crate::cli::secret_reader::SecretReader;
use crate::cli::variables::stays;
use flyte_local::secret::{RunScope, Scope, ScopeFilter, SecretId, SecretName, SecretType, SecretValue};
use flyte_local::storage::Directory;
use flyte_local::transfer::{FormatError, SpecialNames, dotenv, json, kubernetes, shell};
use flyte_local::vault::{Metadata, Vault, VaultError};

/// Write secrets out in plain text
///
/// Exports the secrets of the scope that -p and -d name; without them, of the organization. With --effective, exports
/// what a task deployed to that project and domain sees. Writes to a new file that only you can read, or to a pipe;
/// to a terminal only with --reveal. If the format cannot hold one of the secrets, nothing is written. Image pull
/// secrets are left out unless you name them. For a shell, so are secrets whose variable is already set.
#[derive(clap::Args)]
#[command(mut_arg("project", |arg| arg.help("Export from this project [default: none]")))]
#[command(mut_arg("domain", |arg| arg.help("Export from this domain [default: none]")))]
#[command(after_help = "\
Examples:
  flyte-local export -o .env
  flyte-local export --effective -p my_project --format json | jq -r .api_key
  flyte-local export api_key --format kubernetes | kubectl apply -f -
  eval \"$(flyte-local export --format shell)\"")]
pub(crate) struct Args {
    /// The secrets [default: all of the scope]
    #[arg(value_name = "NAME")]
    names: Vec<SecretName>,
    #[arg(long, value_enum, default_value_t = ExportFormat::Dotenv, hide_possible_values = true)]
    /// dotenv, json, shell or kubernetes
    format: ExportFormat,
    #[command(flatten)]
    scope: ScopeArgs,
    /// Export what a task in the project and domain sees
    #[arg(long)]
    effective: bool,
    /// Write to this new file [default: standard output]
    ///
    /// Only you can read the file: its mode is 0600.
    #[arg(short, long, value_name = "FILE", value_parser = user_path())]
    output: Option<PathBuf>,
    /// Write to standard output even if it is a terminal
    #[arg(long, conflicts_with = "output")]
    reveal: bool,
    /// Allow variables such as PATH and GIT_SSH_COMMAND
    ///
    /// Without this, a .env file and a shell get no name on which the shell or the programs that it starts act.
    #[arg(long, hide_short_help = true)]
    allow_loader_variables: bool,
    /// Name of the Kubernetes Secret [default: flyte-local]
    #[arg(long, value_parser = kubernetes_name)]
    name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    Dotenv,
    Json,
    Shell,
    Kubernetes,
}

fn kubernetes_name(text: &str) -> Result<String, &'static str> {
    match kubernetes::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a Kubernetes name has lower-case letters, digits, '-' and '.', at most 253"),
    }
}

pub(crate) fn run(context: &Context<'_>, mut args: Args) -> Result<(), CommandError> {
    args.names.sort();
    args.names.dedup();
    require_place(context, &args)?;
    let vault = context.open_vault_to_send()?;
    rollback::require_none(&vault, &context.command, |stale| concerns(&vault, &args, &stale.id))?;
    let ids = chosen(context, &vault, &args)?;
    let reader = SecretReader::new(context);
    let opened = reader.secrets(&vault, &ids)?;
    let mut secrets: Vec<_> =
        ids.into_iter().map(|id| id.name).zip(opened.into_iter().map(|secret| secret.value)).collect();
    secrets.sort_by(|(a, _), (b, _)| a.cmp(b));
    // A shell sets the variables at once, in the place of the user's own.
    if args.format == ExportFormat::Shell && args.names.is_empty() {
        secrets.retain(|(name, value)| !stays(context.ui, name.as_str(), value.expose(), "name it"));
    }
    let bytes = render(&args, &secrets).map_err(|unfit| cannot_export(unfit, args.format))?;
    let Some(path) = &args.output else { return reveal(context.ui, &bytes) };
    write(path, &bytes)?;
    let count = if secrets.len() == 1 { "one secret".to_owned() } else { format!("{} secrets", secrets.len()) };
    context.ui.say(&format!("wrote {count} to {}, in plain text: only you can read it", path.display()));
    Ok(())
}

/// Checks the destination before a secret is opened.
fn require_place(context: &Context<'_>, args: &Args) -> Result<(), CommandError> {
    if args.name.is_some() && args.format != ExportFormat::Kubernetes {
        return Err(CommandError::new(Exit::Usage, "--name is for --format kubernetes"));
    }
    match &args.output {
        Some(path) if path.symlink_metadata().is_ok() => Err(exists(path)),
        None if context.ui.shows_data() && !args.reveal => {
            Err(CommandError::new(Exit::Usage, "standard output is a terminal, which would show the values")
                .hint("to write them to a file: --output FILE")
                .hint("to see them: --reveal"))
        }
        _ => Ok(()),
    }
}

fn exists(path: &Path) -> CommandError {
    CommandError::new(Exit::Exists, format!("{} already exists, and export does not overwrite it", path.display()))
        .hint("name another file")
}

/// Tells whether a rollback of this secret changes what is exported. If a secret is missing, its value would be left out, or one
/// of a wider scope would be in its place.
fn concerns(vault: &Vault, args: &Args, id: &SecretId) -> bool {
    let (project, domain) = (args.scope.project.clone(), args.scope.domain.clone());
    let scopes = match args.effective {
        true => RunScope { project, domain }.walk(),
        false => vec![Scope::new(project, domain)],
    };
    let is_wanted = args.names.is_empty() || args.names.contains(&id.name);
    let Some(place) = scopes.iter().position(|scope| *scope == id.scope).filter(|_| is_wanted) else { return false };
    let shadowing = vault.scopes_of(&id.name).unwrap_or_default();
    !scopes[..place].iter().any(|narrower| shadowing.contains(narrower))
}

/// Returns the secrets to export, by scope.
fn chosen(context: &Context<'_>, vault: &Vault, args: &Args) -> Result<Vec<SecretId>, CommandError> {
    let (project, domain) = (args.scope.project.clone(), args.scope.domain.clone());
    let mut ids = Vec::new();
    let mut left_out = Vec::new();
    let mut choose = |metadata: Metadata| match metadata.secret_type {
        SecretType::ImagePull if args.names.is_empty() => left_out.push(metadata.id.name),
        _ => ids.push(metadata.id),
    };
    let is_wanted = |name: &SecretName| args.names.is_empty() || args.names.contains(name);
    let from = if args.effective {
        let run = RunScope { project, domain };
        for seen in vault.seen(&run)?.into_iter().filter(|seen| is_wanted(&seen.id.name)) {
            choose(seen.metadata?);
        }
        run.walk().iter().map(Scope::to_string).collect::<Vec<_>>().join("; ")
    } else {
        let scope = Scope::new(project.clone(), domain.clone());
        if args.names.is_empty() {
            let listing = vault.list(&ScopeFilter { project, domain })?;
            // The filter also lists other scopes, whose files do not matter here.
            let elsewhere = |error: &VaultError| matches!(error, VaultError::Refused { id, .. } if id.scope != scope);
            if let Some(refused) = listing.refused.into_iter().find(|error| !elsewhere(error)) {
                return Err(refused.into());
            }
            listing.secrets.into_iter().filter(|metadata| metadata.id.scope == scope).for_each(choose);
        } else {
            for name in &args.names {
                let id = SecretId { scope: scope.clone(), name: name.clone() };
                let metadata = vault.metadata(&id);
                choose(metadata.map_err(|error| CommandError::from(error).or_elsewhere(vault, &id, "export"))?);
            }
        }
        scope.to_string()
    };
    if let Some(name) = args.names.iter().find(|name| !ids.iter().any(|id| id.name == **name)) {
        return Err(CommandError::new(Exit::NotFound, format!("there is no secret {name} ({from})"))
            .hint(format!("list the secrets: {} get secret", context.command)));
    }
    for name in left_out {
        context.ui.say(&format!("flyte-local: left out {name}, an image pull secret; to export it, name it"));
    }
    if ids.is_empty() {
        context.ui.say(&format!("flyte-local: there are no secrets ({from})"));
    }
    Ok(ids)
}

fn render(args: &Args, secrets: &[(SecretName, SecretValue)]) -> Result<Zeroizing<Vec<u8>>, Vec<FormatError>> {
    let special = if args.allow_loader_variables { SpecialNames::Allowed } else { SpecialNames::Refused };
    match args.format {
        ExportFormat::Dotenv => dotenv::render(secrets, special),
        ExportFormat::Json => json::render(secrets),
        ExportFormat::Shell => shell::render(secrets, special),
        ExportFormat::Kubernetes => kubernetes::render(args.name.as_deref().unwrap_or("flyte-local"), secrets),
    }
}

fn cannot_export(unfit: Vec<FormatError>, format: ExportFormat) -> CommandError {
    let others = match format {
        ExportFormat::Dotenv => "json holds any text, and kubernetes any bytes, as base64",
        _ => "kubernetes holds any bytes, as base64",
    };
    let error = CommandError::new(Exit::Failed, "cannot export: nothing was written");
    let error = unfit.iter().fold(error, |error, unfit| error.because(unfit.to_string()));
    let error = error.hint(format!("name the other secrets, or choose another format: {others}"));
    match unfit.iter().any(|unfit| unfit.has_special_name) {
        true => error.hint("or, if you intend these variables, add --allow-loader-variables"),
        false => error,
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let no_name = || CommandError::new(Exit::Usage, format!("{} is not a file name", path.display()));
    let (directory, name) = split(path).ok_or_else(no_name)?;
    let written = Directory::open(directory).and_then(|directory| directory.write_new(name, bytes));
    written.map_err(|error| if error.already_exists() { exists(path) } else { CommandError::from(error) })
}
