//! `check`

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::environment::runtime_directory;
use crate::cli::error::{CommandError, Exit};
use crate::cli::explain::GET_ADDED;
use crate::cli::files::{Place, User};
use crate::cli::identities::Identities;
use crate::cli::identity_source::Origin;
use crate::cli::paths::split;
use crate::cli::report::Report;
use crate::cli::sanitize::harmless;
use crate::cli::shell::quoted;
use crate::cli::table::{self, Cell, Column, Layout, Row};
use crate::cli::ui::Color;
use flyte_local::crypto::{Author, AuthorKey};
use flyte_local::flyte::SECRETS_DIRECTORY;
use flyte_local::storage::{Directory, System};
use flyte_local::vault::{InspectionError, Vault, VaultError};

/// Check the vault, your keys and this machine
///
/// Opens every secret without showing it, and verifies that it is intact, in its place and by a known author. Finds
/// files that do not belong in the vault, and differences from what this machine remembers. Checks your identities,
/// and whether this system allows a private mount at /etc/flyte/secrets, as on a cluster; if not, file secrets go to
/// a directory in memory, to which Python code is redirected. The exit code is that of the first finding that is not
/// ok.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local check
  flyte-local --output-format json check")]
pub(crate) struct Args {}

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    /// What there is, or why it will not do.
    state: Result<String, Report>,
    /// What would make it better.
    hint: Option<String>,
}

impl Finding {
    fn new(context: &Context<'_>, what: &'static str, state: Result<String, CommandError>) -> Self {
        Self { what, state: state.map_err(|error| error.report(&context.command)), hint: None }
    }

    fn detail(&self) -> String {
        match &self.state {
            Ok(detail) => harmless(detail),
            Err(error) => harmless(&error.reasons()).replace('\n', "; "),
        }
    }

    fn hints(&self) -> Vec<&str> {
        match &self.state {
            Ok(_) => self.hint.iter().map(String::as_str).collect(),
            Err(error) => error.hints().iter().map(String::as_str).collect(),
        }
    }
}

pub(crate) fn run(context: &Context<'_>, Args {}: Args) -> Result<(), CommandError> {
    let vault = context.open_vault();
    let identities = identities(context, vault.as_ref().ok());
    let looked_over = vault.as_ref().map(|vault| look_over(context, vault, identities.as_ref().ok()));
    let looked_over = looked_over.unwrap_or_default();
    let path_of_vault = vault.map(|vault| vault.path().display().to_string());
    let found = match identities {
        Ok(identities) => identities.places().map(|place| Finding::new(context, "identity", Ok(place))).collect(),
        Err(error) => vec![Finding::new(context, "identity", Err(error))],
    };
    let first = [Finding::new(context, "vault", path_of_vault)].into_iter().chain(found);
    let findings: Vec<_> =
        first.chain(looked_over).chain(leftovers(context)).chain([file_secrets(context), system(context)]).collect();
    let rows: Vec<_> = findings.iter().map(FindingRow::from).collect();
    table::print(context.ui, context.output_format, &rows)?;
    for hint in findings.iter().filter_map(|finding| finding.hint.as_ref()) {
        context.ui.hint(hint);
    }
    let mut errors = findings.into_iter().filter_map(|finding| finding.state.err());
    let Some(first) = errors.next() else { return Ok(()) };
    // The first is the one that gives the exit code, and is told by it.
    errors.for_each(|error| context.ui.error(&error));
    Err(first.into())
}

/// Everything about a vault that could be opened.
fn look_over(context: &Context<'_>, vault: &Vault, identities: Option<&Identities>) -> Vec<Finding> {
    let key = context.read_author_file();
    let own = key.as_ref().ok().and_then(|key| key.as_ref().map(AuthorKey::author));
    let mut findings = vec![signing_key(context, vault, key)];
    findings.extend(keys(context, vault, identities, own.as_ref()));
    findings.push(Finding::new(context, "fingerprint", Ok(vault.fingerprint())));
    findings.push(Finding::new(context, "trust", known(context, vault)));
    findings.extend(secrets(context, vault, identities));
    findings
}

/// The key that signs what the user writes. Who only reads needs none.
fn signing_key(context: &Context<'_>, vault: &Vault, key: Result<Option<AuthorKey>, CommandError>) -> Finding {
    const WHAT: &str = "signing key";
    let found = key.and_then(|key| Ok((key.map(|key| key.author()), context.author_path()?.display())));
    let (key, path) = match found {
        Ok((Some(key), path)) => (key, path),
        Ok((None, path)) => return Finding::new(context, WHAT, Ok(format!("none yet: the first write makes {path}"))),
        Err(error) => return Finding::new(context, WHAT, Err(error)),
    };
    if vault.authors().iter().any(|author| author.key == key) {
        return Finding::new(context, WHAT, Ok(path.to_string()));
    }
    let hint = format!(
        "to write secrets that are read, become an author: {} update vault --trust-author {key}",
        context.command
    );
    Finding { hint: Some(hint), ..Finding::new(context, WHAT, Ok(format!("{path}, of none of the vault's authors"))) }
}

/// What lies in the vault: how many secrets are sound, and each thing that is not.
fn secrets(context: &Context<'_>, vault: &Vault, identities: Option<&Identities>) -> Vec<Finding> {
    let found = match vault.inspect(identities.map(|identities| identities as _)) {
        Ok(found) => found,
        Err(error) => return vec![Finding::new(context, "all secrets", Err(error.into()))],
    };
    let sound = match (found.sound, identities) {
        (0, _) if found.flaws.is_empty() => "none yet".to_owned(),
        (sound, None) => format!("{sound} with a sound header; not opened, as there is no identity"),
        (sound, Some(_)) => format!("{sound} opened to the end, each by an author known here"),
    };
    let flaws = found.flaws.into_iter().map(|flaw| {
        let refused = CommandError::chain(Exit::Refused, &flaw);
        match flaw {
            InspectionError::Secret(error) => Finding::new(context, "secret", Err(error.into())),
            InspectionError::Directory(error) => Finding::new(context, "directory", Err(error.into())),
            InspectionError::Stray { path } => {
                let hint = format!("look at it, and take it away: rm -r {}", quoted(&path));
                Finding::new(context, "stray file", Err(refused.hint(hint)))
            }
            InspectionError::Leftover { path } => {
                let hint = format!("take it away: rm {}", quoted(&path));
                Finding::new(context, "leftover", Err(refused.hint(hint)))
            }
        }
    });
    let all = [encryption(context, found.outdated), Finding::new(context, "all secrets", Ok(sound))];
    all.into_iter().chain(flaws).collect()
}

/// What writes of identities and of the key that signs left when they were stopped: perhaps a private key that its owner believes
/// to be gone, or protected by a passphrase.
fn leftovers(context: &Context<'_>) -> Vec<Finding> {
    let identities = context.identity_places().unwrap_or_default();
    let files = identities.iter().filter_map(Origin::path).chain(context.author_path());
    let directories: BTreeSet<_> = files.filter_map(split).map(|(directory, _)| directory).collect();
    let opened = directories.into_iter().filter_map(|directory| Directory::open(directory).ok());
    let left: BTreeSet<_> = opened.flat_map(|directory| directory.leftovers()).collect();
    let told = left.iter().map(|path| {
        let message = format!("{} was left by a write that was stopped, and may hold a private key", path.display());
        let error = CommandError::new(Exit::Refused, message);
        Finding::new(context, "leftover", Err(error.hint(format!("take it away: rm {}", quoted(path)))))
    });
    told.collect()
}

/// That the vault is the one that this machine knows, and none of its secrets older than it was, or gone.
fn known(context: &Context<'_>, vault: &Vault) -> Result<String, CommandError> {
    if !vault.is_remembered() {
        return Err(VaultError::NoState.into());
    }
    vault.require_unchanged()?;
    let stale = vault.stale()?;
    if !stale.is_empty() {
        let lines: Vec<_> = stale.iter().map(ToString::to_string).collect();
        return Err(CommandError::new(Exit::Refused, lines.join("\n"))
            .hint(format!("if that is as it should be: {} update vault --accept-older", context.command)));
    }
    Ok("recipients and authors as accepted here, no secret older than seen here".to_owned())
}

/// That each secret is encrypted to those whom the vault names, and to nobody else.
fn encryption(context: &Context<'_>, outdated: usize) -> Finding {
    let state = match outdated {
        0 => Ok("each secret to the vault's recipients, and nobody else".to_owned()),
        count => {
            let secrets = if count == 1 { "1 secret is".to_owned() } else { format!("{count} secrets are") };
            let message = format!("{secrets} encrypted to others than the vault's recipients");
            Err(CommandError::new(Exit::Refused, message).hint(format!("encrypt them anew: {} rekey", context.command)))
        }
    };
    Finding::new(context, "encryption", state)
}

/// Whom the vault is encrypted to and who writes it: what somebody compares who sees it for the first time.
fn keys(context: &Context<'_>, vault: &Vault, identities: Option<&Identities>, own: Option<&Author>) -> Vec<Finding> {
    let finding = |what, name: &str, key: String, is_own: bool| {
        Finding::new(context, what, Ok(format!("{name:?} {key}{}", if is_own { " (yours)" } else { "" })))
    };
    let ours = identities.map(Identities::recipients).unwrap_or_default();
    let recipients = vault.recipients().iter().map(|known| {
        let is_own = ours.contains(&known.key);
        finding("recipient", &known.name, known.key.to_string(), is_own)
    });
    let authors = vault
        .authors()
        .iter()
        .map(|known| finding("author", &known.name, known.key.to_string(), own == Some(&known.key)));
    recipients.chain(authors).collect()
}

/// The identities, if one of them opens the vault.
fn identities(context: &Context<'_>, vault: Option<&Vault>) -> Result<Identities, CommandError> {
    let identities = context.identities()?;
    let Some(vault) = vault else { return Ok(identities) };
    identities.unlock_for(vault)?;
    if identities.open(vault) {
        return Ok(identities);
    }
    let message = match identities.are_locked() {
        true => "the identity is locked, and no other opens the vault",
        false => "the identity is none that the vault's secrets are encrypted to",
    };
    Err(CommandError::new(Exit::CannotDecrypt, message)
        .hint("name another identity with --identity FILE or FLYTE_LOCAL_IDENTITY")
        .hint(GET_ADDED)
        .tried(identities.tried()))
}

/// What the system does for the vault's files and for values in memory. None of it is needed.
fn system(context: &Context<'_>) -> Finding {
    let System { opens_beneath, open_swaps } = System::look();
    let opens = if opens_beneath { "openat2" } else { "no openat2: paths are opened part by part" };
    let swap = match &open_swaps[..] {
        [] => "no swap in the clear".to_owned(),
        swaps => format!("swap in the clear, to which values in memory may be written: {}", swaps.join(", ")),
    };
    Finding::new(context, "system", Ok(format!("{opens}; {swap}")))
}

fn file_secrets(context: &Context<'_>) -> Finding {
    const WHAT: &str = "file secrets";
    match Place::find(context.spawner(), User::Task, runtime_directory().as_deref()) {
        Place::Mount => Finding::new(context, WHAT, Ok(format!("private mount at {SECRETS_DIRECTORY}"))),
        Place::Memory(directory) => {
            let _removal = directory.removal();
            let (base, is_linked) = directory.base();
            let link = if is_linked { "link made" } else { "link not made" };
            let state = format!("memory-backed directory in {} ({link})", base.display());
            Finding { hint: directory.lacks_link(), ..Finding::new(context, WHAT, Ok(state)) }
        }
        Place::Nowhere { reason, hints } => {
            let error = CommandError::new(Exit::Failed, format!("unavailable: {reason}"));
            Finding::new(context, WHAT, Err(hints.iter().fold(error, |error, hint| error.hint(*hint))))
        }
    }
}

/// A finding, and the commands that would make it better.
#[derive(Serialize)]
struct FindingRow<'a> {
    what: &'static str,
    ok: bool,
    detail: String,
    hints: Vec<&'a str>,
}

impl<'a> From<&'a Finding> for FindingRow<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self { what: finding.what, ok: finding.state.is_ok(), detail: finding.detail(), hints: finding.hints() }
    }
}

impl Row for FindingRow<'_> {
    const COLUMNS: &'static [Column] = &[Column::new("what"), Column::new("status"), Column::new("detail")];
    const LAYOUT: Layout = Layout::Bare;

    fn cells(&self) -> Vec<Cell> {
        let status = if self.ok { Cell::new("ok").color(Color::Green) } else { Cell::new("failed").color(Color::Red) };
        vec![Cell::new(self.what), status, Cell::with_keys(&self.detail)]
    }
}
