//! The source of an import: the entries of a file, or the secrets of another vault.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::selection::{ImportFormat, Incoming, Selection};
use crate::cli::context::Context;
use crate::cli::environment::permissions;
use crate::cli::error::{CommandError, Exit};
use crate::cli::explain::file_form;
use crate::cli::input::{nothing_came, read_stdin};
use crate::cli::rollback;
use crate::cli::secret_reader::SecretReader;
use crate::cli::shell::quoted;
use flyte_local::file_form::FileForm;
use flyte_local::secret::{MAX_VALUE_BYTES, Scope, ScopeFilter, SecretId, SecretName, SecretType, SecretValue};
use flyte_local::storage::{Permissions, read_users_file};
use flyte_local::transfer::{Entry, FirstErrors, dotenv, json, yaml};
use flyte_local::vault::{Resolved, Stale};

/// Larger than any real file of secrets: sixteen values of the largest size.
const MAX_FILE_BYTES: usize = 16 * MAX_VALUE_BYTES;

/// The source of an import.
pub(super) enum ImportSource {
    File(PathBuf),
    Stdin,
    Vault(PathBuf),
}

impl ImportSource {
    pub(super) fn of(vault: Option<PathBuf>, file: Option<PathBuf>) -> Self {
        match (vault, file) {
            (Some(vault), _) => Self::Vault(vault),
            (None, Some(file)) if file != Path::new("-") => Self::File(file),
            (None, _) => Self::Stdin,
        }
    }

    /// Returns true if the secrets come from a vault, where they were looked at before.
    pub(super) fn is_a_vault(&self) -> bool {
        matches!(self, Self::Vault(_))
    }

    /// Returns the file that holds the values in plain text.
    pub(super) fn plaintext(&self) -> Option<&Path> {
        match self {
            Self::File(path) if path.is_file() => Some(path),
            _ => None,
        }
    }

    /// The error for an import that is refused as a whole.
    pub(super) fn refused(&self, reasons: impl Into<FirstErrors<String>>) -> CommandError {
        let reasons = reasons.into();
        let error = CommandError::new(Exit::Failed, format!("cannot import {self}, and nothing was written"));
        let error = reasons.first().iter().fold(error, |error, reason| error.because(reason.clone()));
        match reasons.more() {
            0 => error,
            more => error.because(format!("{more} more of this kind")),
        }
    }
}

impl fmt::Display for ImportSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stdin => f.write_str("standard input"),
            Self::Vault(path) => write!(f, "the vault at {}", path.display()),
        }
    }
}

/// Reads the secrets to import, each once.
pub(super) fn read(
    context: &Context<'_>,
    selection: &Selection,
    source: &ImportSource,
    reader: &SecretReader<'_>,
) -> Result<Vec<Incoming>, CommandError> {
    match source {
        ImportSource::Vault(path) => from_vault(context, selection, path, reader),
        ImportSource::File(path) => {
            let bytes = read_users_file(path, MAX_FILE_BYTES)?;
            let missing = || CommandError::new(Exit::NotFound, format!("there is no file {}", path.display()));
            let bytes = bytes.ok_or_else(missing)?;
            if bytes.is_empty() && !path.is_file() {
                return Err(nothing_came(&source.to_string()));
            }
            if permissions()? == Permissions::Checked {
                warn_of_readers(context, path);
            }
            from_file(context, selection, source, selection.format.unwrap_or_else(|| format_of(path)), &bytes)
        }
        ImportSource::Stdin => {
            let bytes = read_stdin(MAX_FILE_BYTES + 1)?;
            if bytes.is_empty() {
                return Err(nothing_came(&source.to_string()));
            }
            if bytes.len() > MAX_FILE_BYTES {
                return Err(source.refused(format!("it is larger than {MAX_FILE_BYTES} bytes")));
            }
            from_file(context, selection, source, selection.format.unwrap_or(ImportFormat::Dotenv), &bytes)
        }
    }
}

fn format_of(path: &Path) -> ImportFormat {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => ImportFormat::Json,
        Some("yaml" | "yml") => ImportFormat::Yaml,
        _ => ImportFormat::Dotenv,
    }
}

fn warn_of_readers(context: &Context<'_>, path: &Path) {
    let is_open = std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o044 != 0);
    if is_open {
        context.ui.say(&format!("flyte-local: other users can read {}, and may have seen its values", path.display()));
    }
}

fn from_file(
    context: &Context<'_>,
    selection: &Selection,
    source: &ImportSource,
    format: ImportFormat,
    bytes: &[u8],
) -> Result<Vec<Incoming>, CommandError> {
    match FileForm::recognise_text(bytes) {
        // Not an error: a project may have a file that is still without secrets.
        Some(FileForm::Empty) => context.ui.say(&format!("flyte-local: {source} is empty")),
        Some(form) => return Err(unreadable(source, form)),
        None => {}
    }
    let parsed = match format {
        ImportFormat::Dotenv => dotenv::parse(bytes),
        ImportFormat::Json => json::parse(bytes),
        ImportFormat::Yaml => yaml::parse(bytes),
    };
    let entries = parsed.map_err(|malformed| {
        let error = source.refused(malformed.in_words());
        if format == ImportFormat::Dotenv { error.hint("put a value of several lines in quotes") } else { error }
    })?;
    require_named(selection, source, |name| entries.iter().any(|entry| *entry.name == name))?;
    let scope = Scope::new(selection.project.clone(), selection.domain.clone());
    let (mut incoming, mut reasons, mut places) = (Vec::new(), FirstErrors::default(), BTreeMap::new());
    for entry in entries.into_iter().filter(|entry| is_chosen(selection, &entry.name)) {
        let line = entry.line;
        match secret(selection, &scope, &entry) {
            Err(reason) => reasons.push(|| format!("line {line}: {reason}")),
            Ok(new) => match places.insert(new.id.name.clone(), line) {
                Some(other) => {
                    reasons.push(|| format!("line {line}: secret {} is already set in line {other}", new.id.name))
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
    Err(source
        .refused(reasons)
        .hint("correct the file, rename a secret with --map VAR=NAME, or choose with --only VAR"))
}

/// The error for a file that is not text of any format.
fn unreadable(source: &ImportSource, form: FileForm) -> CommandError {
    let error = source.refused(form.to_string());
    match (source.plaintext(), form) {
        (_, FileForm::ArmoredAge | FileForm::BinaryAge) => {
            error.hint("decrypt it into the import: age -d -i IDENTITY FILE | flyte-local import -")
        }
        (Some(path), form) => file_form::hints(form, path).into_iter().fold(error, CommandError::hint),
        (None, _) => error,
    }
}

/// Prints notices for entries that their author may expect to mean something else.
fn tell(context: &Context<'_>, format: ImportFormat, entry: &Entry, new: &Incoming) {
    let (line, name) = (entry.line, &new.id.name);
    if let Some(replaced) = entry.replaces {
        let told = format!("flyte-local: line {line}: {name} is also in line {replaced}; the last one wins");
        context.ui.say(&told);
    }
    let is_expanded = |value: &str| format == ImportFormat::Dotenv && dotenv::is_expanded(value);
    if entry.value.as_deref().is_some_and(|value| is_expanded(value)) {
        context.ui.say(&format!(
            "flyte-local: line {line}: {name} contains ${{…}}, which is kept unchanged; python-dotenv would expand it"
        ));
    }
}

/// Checks that the names in the options exist: a mistyped one would have no effect.
fn require_named(
    selection: &Selection,
    source: &ImportSource,
    is_there: impl Fn(&str) -> bool,
) -> Result<(), CommandError> {
    let mapped = selection.map.iter().map(|mapping| (&mapping.variable, "--map"));
    for (name, option) in selection.only.iter().map(|name| (name, "--only")).chain(mapped) {
        if !is_there(name) {
            return Err(CommandError::new(
                Exit::NotFound,
                format!("{source} does not contain {name}, which {option} names"),
            ));
        }
    }
    Ok(())
}

fn is_chosen(selection: &Selection, name: &str) -> bool {
    selection.only.is_empty() || selection.only.iter().any(|only| only == name)
}

/// Returns the secret of an entry, or the reason why there is none. The reason does not repeat the name: it may be a piece of a
/// value.
fn secret(selection: &Selection, scope: &Scope, entry: &Entry) -> Result<Incoming, String> {
    let value = entry.value.as_ref().ok_or("a name without '=' and a value")?;
    let mapped =
        selection.map.iter().find(|mapping| mapping.variable == *entry.name).map(|mapping| mapping.name.clone());
    let name = match (mapped, selection.lower) {
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
    selection: &Selection,
    path: &Path,
    reader: &SecretReader<'_>,
) -> Result<Vec<Incoming>, CommandError> {
    let command = format!("flyte-local --vault {}", quoted(path));
    let vault = context.open_other_vault(path, &command).map_err(|error| match error.is_missing_vault() {
        // The vault's own hint is to create one there, which leaves nothing to import.
        true => CommandError::new(Exit::NotFound, format!("there is no vault at {}", path.display()))
            .hint("name the directory of another vault: --from-vault DIR"),
        false => error,
    })?;
    let filter = ScopeFilter { project: selection.project.clone(), domain: selection.domain.clone() };
    let is_sent = |stale: &Stale| filter.matches(&stale.id.scope) && is_chosen(selection, stale.id.name.as_str());
    rollback::require_none(&vault, &command, is_sent)?;
    let listing = vault.list(&filter).map_err(|error| CommandError::from(error).in_vault_of(&command))?;
    if let Some(refused) = listing.refused.into_iter().next() {
        return Err(CommandError::from(refused).in_vault_of(&command));
    }
    let is_there = |name: &str| listing.secrets.iter().any(|known| known.id.name.as_str() == name);
    require_named(selection, &ImportSource::Vault(path.to_owned()), is_there)?;
    let all = listing.secrets.into_iter().map(|known| known.id);
    let chosen: Vec<_> = all.filter(|id| is_chosen(selection, id.name.as_str())).collect();
    let opened = reader.secrets(&vault, &chosen).map_err(|error| error.in_vault_of(&command))?;
    let incoming = chosen.into_iter().zip(opened).map(|(id, Resolved { secret_type, value, .. })| Incoming {
        id,
        secret_type,
        value,
        line: None,
        variable: None,
    });
    Ok(incoming.collect())
}
