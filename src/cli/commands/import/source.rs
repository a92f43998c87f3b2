//! What is imported: the entries of a file, as secrets, or the secrets of another vault.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Args, Format, Incoming};
use crate::cli::context::Context;
use crate::cli::environment::permissions;
use crate::cli::error::{CommandError, Exit};
use crate::cli::opener::Opener;
use crate::cli::shell::quoted;
use crate::cli::value_input::{nothing_came, read_stdin};
use flyte_local::secret::{MAX_VALUE_BYTES, Scope, ScopeFilter, SecretId, SecretName, SecretType, SecretValue};
use flyte_local::storage::{Permissions, read_users_file};
use flyte_local::transfer::{Entry, dotenv, json, yaml};

/// Larger than any file of secrets that somebody wrote; sixteen values of the most bytes.
const MAX_FILE_BYTES: usize = 16 * MAX_VALUE_BYTES;

/// As many reasons as can be read.
const MOST_REASONS: usize = 20;

/// Where it comes from.
pub(super) enum Source {
    File(PathBuf),
    Stdin,
    Vault(PathBuf),
}

impl Source {
    pub(super) fn of(args: &Args) -> Self {
        match (&args.from_vault, &args.file) {
            (Some(vault), _) => Self::Vault(vault.clone()),
            (None, Some(file)) if file != Path::new("-") => Self::File(file.clone()),
            (None, _) => Self::Stdin,
        }
    }

    /// The file that holds the values for all to read who can read it.
    pub(super) fn plaintext(&self) -> Option<&Path> {
        match self {
            Self::File(path) if path.is_file() => Some(path),
            _ => None,
        }
    }

    /// That nothing of it is imported, and why.
    pub(super) fn refused(&self, reasons: impl IntoIterator<Item = String>) -> CommandError {
        let error = CommandError::new(Exit::Failed, format!("cannot import {self}: nothing was written"));
        let mut reasons = reasons.into_iter();
        let mut error = reasons.by_ref().take(MOST_REASONS).fold(error, CommandError::because);
        let more = reasons.count();
        if more > 0 {
            error = error.because(format!("{more} more of this kind"));
        }
        error
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stdin => f.write_str("standard input"),
            Self::Vault(path) => write!(f, "the vault at {}", path.display()),
        }
    }
}

/// Everything that is to be there, each secret once.
pub(super) fn read(
    context: &Context<'_>,
    args: &Args,
    source: &Source,
    opener: &Opener<'_>,
) -> Result<Vec<Incoming>, CommandError> {
    match source {
        Source::Vault(path) => from_vault(context, args, path, opener),
        Source::File(path) => {
            let bytes = read_users_file(path, MAX_FILE_BYTES)?;
            let missing = || CommandError::new(Exit::NotFound, format!("there is no file {}", path.display()));
            let bytes = bytes.ok_or_else(missing)?;
            if bytes.is_empty() && !path.is_file() {
                return Err(nothing_came(&source.to_string()));
            }
            if permissions()? == Permissions::Checked {
                warn_of_readers(context, path);
            }
            from_file(context, args, source, args.format.unwrap_or_else(|| format_of(path)), &bytes)
        }
        Source::Stdin => {
            let bytes = read_stdin(MAX_FILE_BYTES + 1)?;
            if bytes.is_empty() {
                return Err(nothing_came(&source.to_string()));
            }
            if bytes.len() > MAX_FILE_BYTES {
                return Err(source.refused([format!("it is larger than {MAX_FILE_BYTES} bytes")]));
            }
            from_file(context, args, source, args.format.unwrap_or(Format::Dotenv), &bytes)
        }
    }
}

fn format_of(path: &Path) -> Format {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Format::Json,
        Some("yaml" | "yml") => Format::Yaml,
        _ => Format::Dotenv,
    }
}

fn warn_of_readers(context: &Context<'_>, path: &Path) {
    let is_open = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o044 != 0);
    if is_open {
        context.ui.say(&format!("flyte-local: others can read {}, and may have its values", path.display()));
    }
}

fn from_file(
    context: &Context<'_>,
    args: &Args,
    source: &Source,
    format: Format,
    bytes: &[u8],
) -> Result<Vec<Incoming>, CommandError> {
    let parsed = match format {
        Format::Dotenv => dotenv::parse(bytes),
        Format::Json => json::parse(bytes),
        Format::Yaml => yaml::parse(bytes),
    };
    let entries = parsed.map_err(|malformed| {
        let error = source.refused(malformed.iter().map(ToString::to_string));
        if format == Format::Dotenv { error.hint("a value of more than one line stands in quotes") } else { error }
    })?;
    require_named(args, source, |name| entries.iter().any(|entry| *entry.name == name))?;
    let scope = Scope::new(args.scope.project.clone(), args.scope.domain.clone());
    let (mut incoming, mut reasons, mut places) = (Vec::new(), Vec::new(), BTreeMap::new());
    for entry in entries.into_iter().filter(|entry| is_chosen(args, &entry.name)) {
        let line = entry.line;
        match secret(args, &scope, &entry) {
            Err(reason) => reasons.push(format!("line {line}: {reason}")),
            Ok(new) => match places.insert(new.id.name.clone(), line) {
                Some(other) => {
                    reasons.push(format!("line {line}: secret {} is that of line {other} already", new.id.name))
                }
                None => {
                    tell(context, format, &entry, &new);
                    incoming.push(new);
                }
            },
        }
    }
    if reasons.is_empty() {
        return Ok(incoming);
    }
    Err(source.refused(reasons).hint("mend the file, or name a secret: --map VAR=NAME, or what to take: --only VAR"))
}

/// What of an entry is not as its author may think it is.
fn tell(context: &Context<'_>, format: Format, entry: &Entry, new: &Incoming) {
    let (line, name) = (entry.line, &new.id.name);
    if let Some(replaced) = entry.replaces {
        let told = format!("flyte-local: line {line}: {name} stands in line {replaced} too; the last one counts");
        context.ui.say(&told);
    }
    let is_expanded = |value: &str| format == Format::Dotenv && dotenv::is_expanded(value);
    if entry.value.as_deref().is_some_and(|value| is_expanded(value)) {
        context.ui.say(&format!(
            "flyte-local: line {line}: {name} has a ${{…}}, which is kept as it stands; python-dotenv would expand it"
        ));
    }
}

/// That what the options name is there: a mistyped one would have no effect.
fn require_named(args: &Args, source: &Source, is_there: impl Fn(&str) -> bool) -> Result<(), CommandError> {
    let mapped = args.map.iter().map(|mapping| (&mapping.variable, "--map"));
    for (name, option) in args.only.iter().map(|name| (name, "--only")).chain(mapped) {
        if !is_there(name) {
            return Err(CommandError::new(Exit::NotFound, format!("{source} has no {name}, which {option} names")));
        }
    }
    Ok(())
}

fn is_chosen(args: &Args, name: &str) -> bool {
    args.only.is_empty() || args.only.iter().any(|only| only == name)
}

/// The secret of an entry, or why there is none. What stands in the place of a name is not repeated: it may be a piece of a
/// value.
fn secret(args: &Args, scope: &Scope, entry: &Entry) -> Result<Incoming, String> {
    let value = entry.value.as_ref().ok_or("there is a name without '=' and a value")?;
    let mapped = args.map.iter().find(|mapping| mapping.variable == *entry.name).map(|mapping| mapping.name.clone());
    let name = match (mapped, args.lower) {
        (Some(name), _) => Ok(name),
        (None, true) => entry.name.to_ascii_lowercase().parse(),
        (None, false) => entry.name.parse::<SecretName>(),
    };
    let name = name.map_err(|error| error.to_string())?;
    let value = SecretValue::new(value.as_bytes().to_vec().into()).map_err(|error| error.to_string())?;
    let id = SecretId { scope: scope.clone(), name };
    let variable = Some(entry.name.to_string());
    Ok(Incoming { id, secret_type: SecretType::Regular, value, line: Some(entry.line), variable })
}

fn from_vault(
    context: &Context<'_>,
    args: &Args,
    path: &Path,
    opener: &Opener<'_>,
) -> Result<Vec<Incoming>, CommandError> {
    let command = format!("flyte-local --vault {}", quoted(path));
    let vault = context.open_other_vault(path, &command)?;
    let filter = ScopeFilter { project: args.scope.project.clone(), domain: args.scope.domain.clone() };
    let listing = vault.list(&filter).map_err(|error| CommandError::from(error).in_vault_of(&command))?;
    if let Some(refused) = listing.refused.into_iter().next() {
        return Err(CommandError::from(refused).in_vault_of(&command));
    }
    let is_there = |name: &str| listing.secrets.iter().any(|known| known.id.name.as_str() == name);
    require_named(args, &Source::Vault(path.to_owned()), is_there)?;
    let chosen = listing.secrets.into_iter().filter(|known| is_chosen(args, known.id.name.as_str()));
    let incoming = chosen.map(|known| {
        let value = opener.value(&vault, &known.id).map_err(|error| error.in_vault_of(&command))?;
        Ok(Incoming { id: known.id, secret_type: known.secret_type, value, line: None, variable: None })
    });
    incoming.collect()
}
