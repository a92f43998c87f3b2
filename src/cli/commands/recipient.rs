//! `create recipient`, `get recipient`, `delete recipient`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::arguments::{require_name, require_public};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::explain::file_form;
use crate::cli::explain::foreign_key::{ANOTHER_KEY, EXPOSED, EXPOSED_IN_FILE, as_recipient};
use crate::cli::listing;
use crate::cli::paths::user_path;
use crate::cli::reencrypt;
use crate::cli::table::{self, Cell, Column, Row};
use flyte_local::crypto::{ForeignKey, KeyHalf, KeyKind, Recipient, RecipientError};
use flyte_local::file_form::FileForm;
use flyte_local::secret::ScopeFilter;
use flyte_local::storage::read_users_file;
use flyte_local::vault::{MAX_RECIPIENTS, NamedRecipient, Vault, VaultError};

/// Twice what as many of the longest keys take as a vault may have.
const MAX_KEYS_BYTES: usize = 128 << 10;

/// Add a recipient, who can then open all secrets
///
/// Adds a public key to vault.toml and re-encrypts every secret to all recipients. The key is an age one (age1…) or
/// an OpenSSH one (ssh-ed25519 …, ssh-rsa …). A file may hold several keys, as authorized_keys does. If the command
/// is interrupted, `rekey` finishes its work.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("keys").required(true).args(["key", "from_file"]))]
#[command(after_help = "\
Examples:
  flyte-local create recipient age1… --name alice
  flyte-local create recipient 'ssh-ed25519 AAAA…' --name alice
  flyte-local create recipient --from-file alice.pub --name alice")]
pub(crate) struct CreateRecipientArgs {
    /// The public key
    key: Option<String>,
    /// The recipient's name in vault.toml
    #[arg(long)]
    name: String,
    /// Add every key of a file: one a line, as in authorized_keys or an age recipients file
    #[arg(long, value_name = "FILE", value_parser = user_path())]
    from_file: Option<PathBuf>,
}

/// List the vault's recipients
///
/// Recipients are the public keys that the secrets are encrypted to.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local get recipient
  flyte-local --output-format json get recipient")]
pub(crate) struct GetRecipientsArgs {}

/// Remove a recipient from the vault
///
/// Removes the recipient from vault.toml, re-encrypts every secret to the remaining recipients, and lists the secrets
/// that the recipient could read. Copies made earlier stay readable to that recipient, so change each of these
/// secrets where it is used. You cannot remove your own last key: another recipient has to.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  flyte-local delete recipient bob
  flyte-local delete recipient age1…")]
pub(crate) struct DeleteRecipientArgs {
    /// The recipient's name, for all its keys, or one public key
    name: String,
}

pub(crate) fn create(context: &Context<'_>, args: CreateRecipientArgs) -> Result<(), CommandError> {
    require_name(&args.name)?;
    let keys = match (&args.key, &args.from_file) {
        (Some(key), _) => vec![parse(key)?],
        (None, Some(path)) => read_keys(context, path)?,
        (None, None) => Vec::new(),
    };
    let mut vault = context.open_vault_to_write()?;
    let identities = reencrypt::identities(context, &vault)?;
    let named = |key: &Recipient| NamedRecipient { name: args.name.clone(), key: key.clone() };
    let added = vault.writer().and_then(|mut writer| writer.add_recipients(keys.iter().map(named).collect()));
    added.map_err(|error| refused_change(context, &vault, error))?;
    for key in &keys {
        context.ui.say(&format!("added recipient {:?}: {key}", args.name));
    }
    let count = vault.recipients().iter().filter(|known| known.name == args.name).count();
    if count > keys.len() {
        context
            .ui
            .say(&format!("{count} keys now have the name {:?}: delete recipient removes them together", args.name));
    }
    let rekeyed = reencrypt::rekey(context, &mut vault, &identities);
    reencrypt::tell_others(context, &vault);
    rekeyed
}

pub(crate) fn get(context: &Context<'_>, GetRecipientsArgs {}: GetRecipientsArgs) -> Result<(), CommandError> {
    let vault = context.open_vault()?;
    vault.require_itself()?;
    let row = |known: &NamedRecipient| RecipientRow { name: known.name.clone(), key: known.key.to_string() };
    let rows: Vec<_> = vault.recipients().iter().map(row).collect();
    table::print(context.ui, context.output_format, &rows)
}

/// A recipient of the vault.
#[derive(Serialize)]
struct RecipientRow {
    name: String,
    key: String,
}

impl Row for RecipientRow {
    const COLUMNS: &'static [Column] = &[Column::new("name"), Column::new("key")];

    fn cells(&self) -> Vec<Cell> {
        vec![Cell::new(&self.name), Cell::with_keys(&self.key)]
    }
}

pub(crate) fn delete(context: &Context<'_>, args: DeleteRecipientArgs) -> Result<(), CommandError> {
    require_public(&args.name)?;
    let mut vault = context.open_vault_to_write()?;
    let identities = reencrypt::identities(context, &vault)?;
    let own = identities.usable();
    let removed = vault.writer().and_then(|mut writer| writer.remove_recipients(&args.name, &own));
    let removed = removed.map_err(|error| refused_change(context, &vault, error))?;
    for known in &removed {
        context.ui.say(&format!("removed recipient {:?}: {}", known.name, known.key));
    }
    let rekeyed = reencrypt::rekey(context, &mut vault, &identities);
    for author in vault.authors().iter().filter(|author| removed.iter().any(|known| known.name == author.name)) {
        context.ui.say(&format!(
            "{:?} is still a trusted author; to stop trusting them: {} update vault --distrust-author {}",
            author.name, context.command, author.key
        ));
    }
    reencrypt::tell_others(context, &vault);
    let secrets = vault.list(&ScopeFilter { project: None, domain: None })?.secrets;
    if !secrets.is_empty() {
        context.ui.say("They can still read these secrets in every copy, backup and repository.");
        context.ui.say("Change each of them where it is used, and then here with update secret:");
        listing::print(context, &secrets)?;
    }
    rekeyed
}

/// Adds a hint to re-encrypt, for a user who repeats an interrupted command.
fn refused_change(context: &Context<'_>, vault: &Vault, error: VaultError) -> CommandError {
    let is_done = matches!(error, VaultError::RecipientExists { .. } | VaultError::RecipientMissing { .. });
    let refused = CommandError::from(error);
    match vault.encryption().map_or(0, |found| found.outdated.len()) {
        outdated if is_done && outdated > 0 => {
            refused.hint(format!("re-encrypt the secrets that are out of date: {} rekey", context.command))
        }
        _ => refused,
    }
}

fn parse(text: &str) -> Result<Recipient, CommandError> {
    let text = text.trim();
    // A block is one key, or none.
    let is_block = text.starts_with("----") || text.contains("PRIVATE KEY-----");
    if text.lines().count() > 1 && !is_block && ForeignKey::of(text).is_none() {
        let error = CommandError::new(Exit::Usage, "this option takes one key, and there are several lines");
        return Err(error.hint("to add several keys, write them into a file: --from-file FILE"));
    }
    text.parse().map_err(|error| refused(error, None))
}

/// `file` is where the key is, unless it is an argument.
fn refused(error: RecipientError, file: Option<&Path>) -> CommandError {
    let refused = CommandError::chain(Exit::Usage, &error);
    if let RecipientError::Foreign(key) = &error {
        return as_recipient(key, file).into_iter().fold(refused, CommandError::hint);
    }
    if error == RecipientError::PrivateKey {
        let hint = if file.is_some() { EXPOSED_IN_FILE } else { EXPOSED };
        return refused.hint("give the public half: age-keygen -y FILE, or ssh-keygen -y -f FILE").hint(hint);
    }
    match error {
        RecipientError::Unsupported(_) | RecipientError::RsaLength(_) => refused.hint(ANOTHER_KEY),
        _ => refused.hint("print the public key of an identity: age-keygen -y FILE, or ssh-keygen -y -f FILE"),
    }
}

/// Reads the keys of a file. Keys of a kind that age cannot encrypt to are skipped with a notice.
fn read_keys(context: &Context<'_>, path: &Path) -> Result<Vec<Recipient>, CommandError> {
    let bytes = read_users_file(path, MAX_KEYS_BYTES)?
        .ok_or_else(|| CommandError::new(Exit::NotFound, format!("there is no file {}", path.display())))?;
    if bytes.is_empty() {
        let message = format!("{} has no key: it is empty", path.display());
        return Err(CommandError::new(Exit::Failed, message).hint("write each public key on a line of it"));
    }
    if let Some(form) = FileForm::recognise_text(&bytes) {
        return Err(file_form::unreadable(path, form).into());
    }
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut keys, mut seen, mut foreign) = (Vec::new(), BTreeSet::new(), None);
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = || format!("line {} of {}", index + 1, path.display());
        let (options, key) = if ForeignKey::of(line).is_some() { ("", line) } else { split_options(line) };
        if !is_options(options) {
            return Err(refused(RecipientError::Unknown, Some(path)).because(place()));
        }
        // Without its comment. To parse a key costs a multiplication on its curve.
        let words: Vec<_> = key.split_ascii_whitespace().take(2).collect();
        let is_block = line.starts_with("----");
        if !is_block && !seen.insert((options.to_owned(), words.join(" "))) {
            continue;
        }
        if keys.len() > MAX_RECIPIENTS {
            let message = format!("{} has more than {MAX_RECIPIENTS} keys, the most of a vault", path.display());
            return Err(CommandError::new(Exit::Usage, message).hint("nothing was changed"));
        }
        match key.parse::<Recipient>() {
            // It is not a user's key, but one that certifies others.
            Ok(_) if options.split(',').any(|option| option.eq_ignore_ascii_case("cert-authority")) => {
                context.ui.say(&format!("skipped {}: the key of a certificate authority", place()));
            }
            Ok(key) if keys.contains(&key) => {}
            Ok(key) => keys.push(key),
            Err(error @ RecipientError::Unsupported(_)) => {
                context.ui.say(&format!("skipped {}: {error}", place()));
            }
            // Minisign's key is in the next line, and looks like nothing else.
            Err(RecipientError::Foreign(key)) if key.half == KeyHalf::Public && key.kind != KeyKind::Minisign => {
                context.ui.say(&format!("skipped {}: {}", place(), RecipientError::Foreign(key.clone())));
                // The rest of its block.
                if line.starts_with("----") {
                    let _ = lines.by_ref().find(|(_, line)| line.contains("-- END ") || line.contains("--END "));
                }
                foreign.get_or_insert(key);
            }
            Err(error) => return Err(refused(error, Some(path)).because(place())),
        }
    }
    if keys.is_empty() {
        // As of a key that is given as an argument.
        let message = format!("{} has no key that age can encrypt to", path.display());
        let hints = foreign.map_or(vec![ANOTHER_KEY.to_owned()], |key| as_recipient(&key, Some(path)));
        return Err(hints.into_iter().fold(CommandError::new(Exit::Usage, message), CommandError::hint));
    }
    Ok(keys)
}

/// Splits a line of `authorized_keys` into its options and the rest, as sshd(8) does: options end at the first blank outside
/// quotes, in which a backslash escapes a quote. A line that begins with a key has no options.
fn split_options(line: &str) -> (&str, &str) {
    let is_key =
        ["age1", "ssh-", "ecdsa-", "sk-", "AGE-SECRET-KEY-", "-----BEGIN"].iter().any(|start| line.starts_with(start));
    let (mut is_quoted, mut previous) = (false, ' ');
    let end = line.find(|character: char| {
        is_quoted ^= character == '"' && previous != '\\';
        previous = character;
        character.is_ascii_whitespace() && !is_quoted
    });
    match end {
        Some(end) if !is_key => (&line[..end], line[end..].trim_start()),
        _ => ("", line),
    }
}

/// Tells by the first option whether this is what sshd(8) accepts before a key. If not, the line is from another kind of file,
/// such as `known_hosts`, whose keys belong to hosts.
fn is_options(options: &str) -> bool {
    const OTHERS: [&str; 18] = [
        "",
        "agent-forwarding",
        "cert-authority",
        "command",
        "environment",
        "expiry-time",
        "from",
        "permitlisten",
        "permitopen",
        "port-forwarding",
        "principals",
        "pty",
        "restrict",
        "touch-required",
        "tunnel",
        "user-rc",
        "verify-required",
        "x11-forwarding",
    ];
    let name = options.split(['=', ',']).next().unwrap_or_default().to_ascii_lowercase();
    OTHERS.contains(&name.strip_prefix("no-").unwrap_or(&name))
}
