//! `push secret`: from the vault to a cluster, through the user's own Flyte SDK.

mod failure;
mod plan;
mod send;

use std::io::IsTerminal;
use std::path::PathBuf;

use crate::cli::arguments::{ScopeArgs, secret_id};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::interpreter;
use crate::cli::paths::user_path;
use crate::cli::prompt;
use crate::cli::rollback;
use crate::cli::sanitize::harmless;
use crate::cli::secret_reader::SecretReader;
use flyte_local::flyte::{About, Cluster, Interpreter, Target};
use flyte_local::secret::{Domain, Project, Scope, ScopeFilter, SecretName};
use flyte_local::vault::{Metadata, Vault};
use plan::{Destination, PushAction, PushPlan};
use send::Sent;

/// Send secrets to a cluster
///
/// The cluster is the one that your Flyte configuration names. The command shows what the cluster has and what would
/// be sent, asks, and sends each secret through the Flyte SDK of your Python, with its configuration, login and
/// certificates. A secret that the cluster already has is left alone unless you add --update: a cluster returns no
/// values, so they cannot be compared. If a secret fails, the others are still sent, the failure is listed at the
/// end, and the exit code is 1. After an interruption, run the same command again.
///
/// NAMEs are secrets in the scope of -p and -d; without them, of the organization. Without a NAME, all secrets that
/// `get secret` lists for -p and -d are sent. Each goes to the same scope on the cluster unless --to-project or
/// --to-domain names another.
#[derive(clap::Args)]
#[command(mut_arg("project", |arg| arg.help("Send from this project [default: all]")))]
#[command(mut_arg("domain", |arg| arg.help("Send from this domain [default: all]")))]
#[command(after_long_help = "\
Examples:
  flyte-local push secret --dry-run             compares with the cluster
  flyte-local push secret api_key db_url
  flyte-local push secret -p my_project -d development --to-domain production
  flyte-local push secret api_key --update      replaces the value there
  flyte-local push secret --config ci/flyte.yaml --yes    in a script")]
pub(crate) struct Args {
    /// The secrets [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<SecretName>,
    #[command(flatten)]
    scope: ScopeArgs,
    /// The project on the cluster
    ///
    /// The default is the secret's own project in the vault.
    #[arg(long, value_name = "PROJECT")]
    to_project: Option<Project>,
    /// The domain on the cluster
    ///
    /// The default is the secret's own domain in the vault.
    #[arg(long, value_name = "DOMAIN")]
    to_domain: Option<Domain>,
    /// Send to this cluster pool of the organization
    ///
    /// Only secrets of the organization can be sent to a pool, so -p, -d, --to-project and --to-domain cannot be used
    /// with it. Without a NAME, all secrets of the organization are sent.
    #[arg(long, value_name = "POOL", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    #[arg(conflicts_with_all = ["project", "domain", "to_project", "to_domain"])]
    cluster_pool: Option<String>,
    /// Show what would be sent; send nothing
    ///
    /// Looks at what the cluster has.
    #[arg(long)]
    dry_run: bool,
    /// Replace values that the cluster already has
    #[arg(long)]
    update: bool,
    /// Send without asking
    #[arg(long)]
    yes: bool,
    /// Flyte's configuration file
    ///
    /// The default is the file that the SDK finds.
    #[arg(long, value_name = "FILE", value_parser = user_path())]
    config: Option<PathBuf>,
    /// The cluster's address
    ///
    /// It replaces the one in the configuration.
    #[arg(long)]
    endpoint: Option<String>,
    /// Connect without TLS
    #[arg(long)]
    insecure: bool,
    /// The Python whose Flyte SDK is used
    ///
    /// The default is the first of these: VIRTUAL_ENV, the nearest .venv, python3.
    #[arg(long, value_name = "PYTHON", value_parser = user_path())]
    python: Option<PathBuf>,
}

pub(crate) fn run(context: &Context<'_>, mut args: Args) -> Result<(), CommandError> {
    if !args.dry_run && !args.yes && !std::io::stdin().is_terminal() {
        let error = CommandError::new(Exit::Usage, "cannot ask for confirmation: standard input is not a terminal");
        return Err(error.hint("to send without a question: --yes").hint("to see what would be sent: --dry-run"));
    }
    args.names.sort();
    args.names.dedup();
    let vault = context.open_vault_to_send()?;
    let ScopeArgs { project, domain } = &args.scope;
    let filter = ScopeFilter { project: project.clone(), domain: domain.clone() };
    let scope = Scope::new(project.clone(), domain.clone());
    rollback::require_none(&vault, &context.command, |stale| match &args.names[..] {
        [] => filter.matches(&stale.id.scope),
        names => stale.id.scope == scope && names.contains(&stale.id.name),
    })?;
    let chosen = chosen(&vault, &args)?;
    let destination = Destination { project: args.to_project.clone(), domain: args.to_domain.clone() };
    let mut plan = PushPlan::new(chosen, &destination)?;
    if plan.steps.is_empty() {
        context.ui.say("there are no secrets to send");
        return plan.print(context);
    }
    let reader = SecretReader::new(context);
    if !args.dry_run {
        // Before Python starts, which gets the terminal.
        reader.identities()?.unlock_for(&vault)?;
    }

    let interpreter = interpreter::find(context.spawner()?, args.python.clone(), None, "push secret")?;
    if args.config.is_none() {
        interpreter::require_trusted_configuration(Some("name the file: flyte-local push secret --config FILE …"))?;
    }
    let (mut cluster, about) = connect(context, &args, &interpreter)?;
    context.ui.say(&introduced(&about, &interpreter, args.cluster_pool.as_deref()));
    plan.look(context, &mut cluster, args.update).map_err(|fault| failure::unseen(&fault, &about))?;
    plan.print(context)?;
    let mut sent = Sent::default();
    if args.dry_run {
        context.ui.say(&plan.forecast());
    } else if plan.count_sent() == 0 {
        context.ui.say("there is nothing to send");
    } else {
        // The endpoint may be of a file of others.
        if !args.yes && !prompt::confirm(&format!("{} at {}?", plan.question(), harmless(&about.endpoint)))? {
            return Err(CommandError::new(Exit::Failed, "nothing was sent"));
        }
        sent = send::send(context, &mut cluster, &vault, &reader, &plan);
        sent.notes.iter().for_each(|note| context.ui.say(note));
        context.ui.say(&sent.summary(plan.count(PushAction::Skip)));
    }
    if plan.count(PushAction::Skip) > 0 {
        context.ui.say("existing secrets were left unchanged: a cluster does not give values back to compare");
        context.ui.hint("to overwrite them with the vault's values: --update");
    }
    sent.report(context, &plan)
}

/// Returns the secrets to send, and their types.
fn chosen(vault: &Vault, args: &Args) -> Result<Vec<Metadata>, CommandError> {
    let ScopeArgs { project, domain } = &args.scope;
    if args.names.is_empty() {
        let filter = ScopeFilter { project: project.clone(), domain: domain.clone() };
        let listing = vault.list(&filter)?;
        return match listing.refused.into_iter().next() {
            Some(refused) => Err(CommandError::from(refused).hint("or name the secrets to send")),
            None => {
                // A pool is the organization's.
                let can_be_sent =
                    |secret: &Metadata| args.cluster_pool.is_none() || secret.id.scope == Scope::Organization;
                Ok(listing.secrets.into_iter().filter(can_be_sent).collect())
            }
        };
    }
    let scope = || ScopeArgs { project: project.clone(), domain: domain.clone() };
    let ids = args.names.iter().map(|name| secret_id(name.clone(), scope()));
    ids.map(|id| {
        let metadata = vault.metadata(&id);
        metadata.map_err(|error| CommandError::from(error).or_elsewhere(vault, &id, "push secret"))
    })
    .collect()
}

fn connect(context: &Context<'_>, args: &Args, interpreter: &Interpreter) -> Result<(Cluster, About), CommandError> {
    let config = match &args.config {
        Some(path) if !path.exists() => {
            return Err(CommandError::new(Exit::NotFound, format!("there is no file {}", path.display())));
        }
        Some(path) => {
            Some(path.to_str().ok_or_else(|| CommandError::new(Exit::Usage, "--config takes a path that is UTF-8"))?)
        }
        None => None,
    };
    let target = Target {
        config: config.map(str::to_owned),
        endpoint: args.endpoint.clone(),
        insecure: args.insecure,
        cluster_pool: args.cluster_pool.clone(),
    };
    let connected = Cluster::connect(context.spawner()?, interpreter, &target);
    connected.map_err(|error| failure::unconnected(error, interpreter, context, args.cluster_pool.as_deref()))
}

/// Introduces the cluster and the SDK, which both get the values.
fn introduced(about: &About, interpreter: &Interpreter, pool: Option<&str>) -> String {
    let mut line = format!("the cluster is {}", about.endpoint);
    if let Some(organization) = &about.organization {
        line.push_str(&format!(", organization {organization}"));
    }
    if let Some(pool) = pool {
        line.push_str(&format!(", cluster pool {}", harmless(pool)));
    }
    if let Some(config) = &about.config {
        line.push_str(&format!(", using the configuration {}", config.display()));
    }
    line.push_str(&format!("\nthrough the Flyte SDK of {}", interpreter.program.display()));
    line
}
