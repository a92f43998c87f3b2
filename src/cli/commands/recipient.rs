//! `create recipient`, `get recipient`, `delete recipient`

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{get, rekey};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::table;
use flyte_local::crypto::{BadRecipient, Recipient};
use flyte_local::secret::ScopeFilter;
use flyte_local::storage::read_users_file;
use flyte_local::vault::NamedRecipient;

/// Far more than anybody's keys.
const MAX_KEYS_BYTES: usize = 1 << 20;

/// Let somebody open the vault's secrets
///
/// Names a public key in vault.toml and encrypts every secret anew, to all recipients. The key is age's (age1…) or an
/// OpenSSH one (ssh-ed25519 …, ssh-rsa …); a file may have several, as authorized_keys has. `rekey` goes on with what was
/// stopped.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("keys").required(true).args(["key", "from_file"]))]
#[command(after_help = "\
Examples:
  flyte-local create recipient age1… --name alice
  flyte-local create recipient 'ssh-ed25519 AAAA…' --name alice
  flyte-local create recipient --from-file alice.pub --name alice")]
pub(crate) struct CreateArgs {
    /// The public key
    key: Option<String>,
    /// What they are called in vault.toml
    #[arg(long)]
    name: String,
    /// Take each key of a file: one a line, as in authorized_keys or an age recipients file
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

/// List whom the vault's secrets are encrypted to
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local get recipient
  flyte-local --output-format json get recipient")]
pub(crate) struct GetArgs {}

/// No longer encrypt the vault's secrets to somebody
///
/// Takes them out of vault.toml, encrypts every secret anew to those who are left, and lists what they could read: they still
/// can, in every copy made before, so each of these is to be changed where it is used. None of your own identities may be the last.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local delete recipient bob
  flyte-local delete recipient age1…")]
pub(crate) struct DeleteArgs {
    /// What they are called in vault.toml, which means each key of that name, or one key
    name: String,
}

pub(crate) fn create(context: &Context<'_>, args: CreateArgs) -> Result<(), CliError> {
    let keys = match (&args.key, &args.from_file) {
        (Some(key), _) => vec![parse(key)?],
        (None, Some(path)) => read_keys(context, path)?,
        (None, None) => Vec::new(),
    };
    let mut vault = context.open_vault_to_write()?;
    let identities = rekey::identities(context, &vault)?;
    let named = |key: &Recipient| NamedRecipient { name: args.name.clone(), key: key.clone() };
    vault
        .add_recipients(keys.iter().map(named).collect())
        .map_err(|error| CliError::from_vault(&error, &context.command))?;
    for key in &keys {
        context.ui.say(&format!("added recipient {:?}: {key}", args.name));
    }
    let rekeyed = rekey::rekey(context, &mut vault, &identities);
    rekey::tell_others(context, &vault);
    rekeyed
}

pub(crate) fn get(context: &Context<'_>, GetArgs {}: GetArgs) -> Result<(), CliError> {
    let vault = context.open_vault()?;
    let rows: Vec<_> = vault.recipients().iter().map(|known| [known.name.clone(), known.key.to_string()]).collect();
    let json: Value =
        vault.recipients().iter().map(|known| json!({ "name": known.name, "key": known.key.to_string() })).collect();
    context.ui.data(table::formatted(context.output_format, ["name", "key"], &rows, &json).as_bytes())
}

pub(crate) fn delete(context: &Context<'_>, args: DeleteArgs) -> Result<(), CliError> {
    let mut vault = context.open_vault_to_write()?;
    let identities = rekey::identities(context, &vault)?;
    let failed = |error| CliError::from_vault(&error, &context.command);
    let removed = vault.remove_recipients(&args.name, &identities.recipients()).map_err(failed)?;
    for known in &removed {
        context.ui.say(&format!("removed recipient {:?}: {}", known.name, known.key));
    }
    let rekeyed = rekey::rekey(context, &mut vault, &identities);
    rekey::tell_others(context, &vault);
    let secrets = vault.list(&ScopeFilter { project: None, domain: None }).map_err(failed)?.secrets;
    if !secrets.is_empty() {
        context
            .ui
            .say("what was encrypted to them before stays readable to them in every copy, backup and repository.");
        context.ui.say("so change these where they are used, and then here, with update secret:");
        context.ui.data(get::format(context.output_format, &secrets).as_bytes())?;
    }
    rekeyed
}

fn parse(text: &str) -> Result<Recipient, CliError> {
    text.trim().parse().map_err(refused)
}

fn refused(error: BadRecipient) -> CliError {
    let refused = CliError::chain(Exit::Usage, &error);
    if error == BadRecipient::PrivateKey {
        return refused
            .hint("give the public half: age-keygen -y FILE, or ssh-keygen -y -f FILE")
            .hint("take this one out of your shell's history, and out of use wherever it may have been seen");
    }
    refused.hint("the public key of an identity: age-keygen -y FILE, or ssh-keygen -y -f FILE")
}

/// The keys of a file. Those of a kind that age cannot encrypt to are passed over, and told.
fn read_keys(context: &Context<'_>, path: &std::path::Path) -> Result<Vec<Recipient>, CliError> {
    let bytes = read_users_file(path, MAX_KEYS_BYTES)
        .map_err(|error| CliError::from_storage(&error))?
        .ok_or_else(|| CliError::new(Exit::NotFound, format!("there is no file {}", path.display())))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| CliError::new(Exit::Failed, format!("{} is not UTF-8", path.display())))?;
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match key_of_line(line).parse() {
            Ok(key) => keys.push(key),
            Err(error @ BadRecipient::Unsupported(_)) => {
                context.ui.say(&format!("passed over line {} of {}: {error}", index + 1, path.display()));
            }
            Err(error) => {
                return Err(refused(error).because(format!("line {} of {}", index + 1, path.display())));
            }
        }
    }
    if keys.is_empty() {
        return Err(CliError::new(Exit::Failed, format!("there is no key in {} to encrypt to", path.display())));
    }
    Ok(keys)
}

/// A line of `authorized_keys` without the options before its key; they may hold spaces in quotes.
fn key_of_line(line: &str) -> &str {
    let is_key = |text: &str| ["age1", "ssh-", "ecdsa-", "sk-"].iter().any(|start| text.starts_with(start));
    let mut is_quoted = false;
    let starts = line.char_indices().filter(|&(_, character)| {
        is_quoted ^= character == '"';
        character == ' ' && !is_quoted
    });
    let starts = std::iter::once(0).chain(starts.map(|(index, _)| index + 1));
    starts.map(|start| &line[start..]).find(|text| is_key(text)).unwrap_or(line)
}
