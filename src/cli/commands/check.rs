//! `check`

use serde_json::{Value, json};

use crate::cli::OutputFormat;
use crate::cli::context::{Context, runtime_directory};
use crate::cli::error::{CliError, Exit, harmless, harmless_json};
use crate::cli::files::Place;
use crate::cli::inject::User;
use flyte_local::crypto::Identity;
use flyte_local::flyte::SECRETS_DIRECTORY;
use flyte_local::vault::{Vault, VaultError};

/// Tell whether this machine is ready for a run, and how it will have file secrets
///
/// Looks at the vault, at the identity that opens it, and for what this system allows: a private mount at
/// /etc/flyte/secrets, as on a cluster, or a directory in memory, which Python code is led to. The exit
/// code is that of the first finding that is not ok.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local check
  flyte-local --output-format json check")]
pub(crate) struct Args {}

/// One thing that a run needs.
struct Finding {
    what: &'static str,
    /// What there is, or why it will not do.
    state: Result<String, CliError>,
    /// What would make it better.
    hint: Option<String>,
}

impl Finding {
    fn new(what: &'static str, state: Result<String, CliError>) -> Self {
        Self { what, state, hint: None }
    }

    fn words(&self) -> (&'static str, String) {
        match &self.state {
            Ok(detail) => ("ok", harmless(detail)),
            Err(error) => ("failed", harmless(error.message()).replace('\n', "; ")),
        }
    }
}

pub(crate) fn run(context: &Context<'_>, Args {}: Args) -> Result<(), CliError> {
    let vault = context.open_vault();
    let identity = identity(context, vault.as_ref().ok());
    let known = vault.as_ref().ok().map(|vault| Finding::new("trust", known(context, vault)));
    let vault = vault.map(|vault| vault.path().display().to_string());
    let first = [Finding::new("vault", vault), Finding::new("identity", identity)];
    let findings: Vec<_> = first.into_iter().chain([file_secrets()]).chain(known).collect();
    context.ui.data(format(context.output_format, &findings).as_bytes())?;
    for hint in findings.iter().filter_map(|finding| finding.hint.as_ref()) {
        context.ui.hint(hint);
    }
    let mut errors = findings.into_iter().filter_map(|finding| finding.state.err());
    let Some(first) = errors.next() else { return Ok(()) };
    // The first is the one that gives the exit code, and is told by it.
    errors.for_each(|error| context.ui.error(&error));
    Err(first)
}

/// That the vault is the one that this machine knows, and none of its secrets older than it was, or gone.
fn known(context: &Context<'_>, vault: &Vault) -> Result<String, CliError> {
    let failed = |error| CliError::from_vault(&error, &context.command);
    let changes = vault.changes();
    if !changes.is_empty() {
        return Err(failed(VaultError::Changed { path: vault.path().to_owned(), changes }));
    }
    let stale = vault.stale().map_err(failed)?;
    if !stale.is_empty() {
        let lines: Vec<_> = stale.iter().map(ToString::to_string).collect();
        return Err(CliError::new(Exit::Refused, lines.join("\n"))
            .hint(format!("if that is as it should be: {} update vault --accept", context.command)));
    }
    let names: Vec<_> = vault.authors().iter().map(|author| format!("{:?}", author.name)).collect();
    Ok(format!("written by {}; recipients and authors as accepted here", names.join(", ")))
}

/// Where the identity is, if it opens the vault.
fn identity(context: &Context<'_>, vault: Option<&Vault>) -> Result<String, CliError> {
    let identities = context.identities()?;
    let path = context.identity_path()?.display().to_string();
    let Some(vault) = vault else { return Ok(path) };
    let opens = |identity: &Identity| vault.recipients().iter().any(|known| known.key == identity.recipient());
    if identities.iter().any(opens) {
        return Ok(path);
    }
    Err(CliError::new(Exit::CannotDecrypt, "the identity is none that the vault's secrets are encrypted to")
        .because(context.identities_tried(&identities))
        .hint("name another identity with --identity FILE or FLYTE_LOCAL_IDENTITY"))
}

fn file_secrets() -> Finding {
    const WHAT: &str = "file secrets";
    match Place::find(User::Task, runtime_directory().as_deref()) {
        Place::Mount => Finding::new(WHAT, Ok(format!("private mount at {SECRETS_DIRECTORY}"))),
        Place::Memory(directory) => {
            let _removal = directory.removal();
            let (base, is_linked) = directory.base();
            let link = if is_linked { "link made" } else { "link not made" };
            let state = format!("memory-backed directory in {} ({link})", base.display());
            Finding { hint: directory.lacks_link(), ..Finding::new(WHAT, Ok(state)) }
        }
        Place::Nowhere { reason, hints } => {
            let error = CliError::new(Exit::Failed, format!("unavailable: {reason}"));
            Finding::new(WHAT, Err(hints.iter().fold(error, |error, hint| error.hint(*hint))))
        }
    }
}

fn format(format: OutputFormat, findings: &[Finding]) -> String {
    let json = || findings.iter().map(to_json).collect::<Value>();
    match format {
        OutputFormat::Table | OutputFormat::TableSimple => findings.iter().map(row).collect(),
        OutputFormat::Json => harmless_json(&format!("{:#}\n", json())),
        OutputFormat::JsonRaw => harmless_json(&format!("{}\n", json())),
    }
}

fn row(finding: &Finding) -> String {
    let (state, detail) = finding.words();
    format!("{:<12}  {state:<6}  {detail}\n", finding.what)
}

fn to_json(finding: &Finding) -> Value {
    let (state, detail) = finding.words();
    let hints = match &finding.state {
        Ok(_) => finding.hint.iter().cloned().collect(),
        Err(error) => error.hints().to_vec(),
    };
    json!({ "what": finding.what, "ok": state == "ok", "detail": detail, "hints": hints })
}
