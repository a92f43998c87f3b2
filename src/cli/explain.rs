//! From facts to words: messages, hints and exit codes of the library's errors.

pub(crate) mod file_form;
pub(crate) mod foreign_key;
mod refusal;

use super::near::near;
use super::report::{ErrorReport, Exit};
use super::shell::{quoted, scope_flags};
use flyte_local::config::ConfigError;
use flyte_local::keyring::KeyringError;
use flyte_local::launch::{ChildError, OutputStream};
use flyte_local::secret::{Scope, SecretId, SecretName};
use flyte_local::storage::{ExposureError, FoundError, LockOwner, StorageError};
use flyte_local::vault::{ManifestError, Needs, Vault, VaultError};

/// The way to become a recipient, for a user whose identity opens nothing of a vault.
pub(crate) const GET_ADDED: &str =
    "or ask a recipient of the vault to add you, and send them your public key: flyte-local get identity";

const NO_PERMISSIONS: &str =
    "or, on a file system without permissions, turn this check off: FLYTE_LOCAL_PERMISSIONS=ignore";

/// Explains a vault's error. `command` is `flyte-local` with the options that lead to the vault.
pub(crate) fn vault(error: &VaultError, command: &str) -> ErrorReport {
    if let VaultError::Storage(error) = error {
        return storage(error);
    }
    let mut report = ErrorReport::chain(vault_exit(error), error);
    if let VaultError::Locked { owner: Some(LockOwner { process, program, age }), .. } = error {
        report = report.because(format!(
            "process {process} ({program}) holds the lock; it has been running for {} s",
            age.as_secs()
        ));
    }
    vault_hints(error, command).into_iter().fold(report, ErrorReport::hint)
}

fn vault_exit(error: &VaultError) -> Exit {
    match error {
        VaultError::Missing { .. }
        | VaultError::SecretMissing { .. }
        | VaultError::RecipientMissing { .. }
        | VaultError::AuthorMissing { .. } => Exit::NotFound,
        VaultError::Exists { .. } | VaultError::SecretExists { .. } | VaultError::RecipientExists { .. } => {
            Exit::Exists
        }
        VaultError::CannotDecrypt { .. } => Exit::CannotDecrypt,
        VaultError::Locked { .. } => Exit::Locked,
        VaultError::Unfit { .. } => Exit::Usage,
        VaultError::ManifestLost { .. }
        | VaultError::Overtaken { .. }
        | VaultError::Refused { .. }
        | VaultError::Manifest { .. }
        | VaultError::Changed { .. }
        | VaultError::Unexpected { .. }
        | VaultError::OwnAuthor { .. }
        | VaultError::LastRecipient { .. }
        | VaultError::Stale(_)
        | VaultError::Unaccepted { .. }
        | VaultError::UnlistedAuthor { .. } => Exit::Refused,
        VaultError::NoState
        | VaultError::Pin { .. }
        | VaultError::NoAuthor
        | VaultError::Storage(_)
        | VaultError::Seal { .. }
        | VaultError::Randomness { .. } => Exit::Failed,
    }
}

fn vault_hints(error: &VaultError, command: &str) -> Vec<String> {
    match error {
        VaultError::Missing { .. } => vec![
            format!("create one: {command} init"),
            "or name another vault with --vault DIR or FLYTE_LOCAL_VAULT".to_owned(),
        ],
        VaultError::Exists { .. } => vec![
            "nothing was changed; name another directory with --vault DIR".to_owned(),
            "if another user shares this vault with you, you only need keys: flyte-local create identity".to_owned(),
        ],
        VaultError::ManifestLost { path } => {
            vec![format!(
                "restore {} from a backup: the secrets do not open with a new one",
                path.join("vault.toml").display()
            )]
        }
        VaultError::SecretMissing { .. } => vec![format!("list the secrets: {command} get secret")],
        VaultError::Overtaken { .. } => {
            vec!["nothing was changed; look at the new value before you change it".to_owned()]
        }
        VaultError::SecretExists { id } => {
            vec![format!("change its value: {command} update secret {}{}", id.name, scope_flags(&id.scope))]
        }
        VaultError::CannotDecrypt { .. } => {
            vec!["name another identity with --identity FILE or FLYTE_LOCAL_IDENTITY".to_owned(), GET_ADDED.to_owned()]
        }
        VaultError::Refused { id, path, source } => refusal::hints(id, path, source, command),
        VaultError::Locked { waited, .. } => {
            vec![format!("waited {} s; try again when the other process is done", waited.as_secs())]
        }
        VaultError::Manifest { source: ManifestError::Format { .. }, .. } => vec!["use a newer flyte-local".to_owned()],
        VaultError::Manifest { source: ManifestError::Form(form), path } => {
            let mut hints = file_form::hints(*form, path);
            hints.push("the secrets are unchanged".to_owned());
            hints
        }
        VaultError::Manifest { .. } => {
            vec!["correct it, or restore it from a backup; the secrets are unchanged".to_owned()]
        }
        VaultError::Changed { fingerprint, .. } => {
            vec![format!(
                "if you expect this change, accept it: {command} update vault --accept --expect {fingerprint}"
            )]
        }
        VaultError::Unexpected { .. } => {
            vec![format!("nothing was accepted; compare the keys with those of the vault's owner: {command} check")]
        }
        VaultError::RecipientExists { .. } | VaultError::RecipientMissing { .. } => {
            vec![format!("list the recipients: {command} get recipient")]
        }
        VaultError::Unfit { .. } => vec!["nothing was changed".to_owned()],
        VaultError::AuthorMissing { .. } => vec![format!("list the authors: {command} check")],
        VaultError::OwnAuthor { .. } => {
            vec!["nothing was changed; another author of the vault can remove you".to_owned()]
        }
        VaultError::LastRecipient { .. } => {
            vec!["nothing was changed; another recipient of the vault can remove this one".to_owned()]
        }
        VaultError::Stale(_) => {
            vec![format!("if you expect this, for example after a git checkout: {command} update vault --accept-older")]
        }
        VaultError::Unaccepted { fingerprint, .. } => vec![format!(
            "compare the keys with those that `flyte-local check` shows the vault's owner, then accept them: {command} update vault --accept --expect {fingerprint}"
        )],
        VaultError::UnlistedAuthor { key } => vec![
            format!("add yourself as an author: {command} update vault --trust-author {key}"),
            "the vault's other users must then accept you".to_owned(),
        ],
        VaultError::NoState => {
            vec!["set HOME".to_owned(), "or name the directory with FLYTE_LOCAL_STATE=DIR".to_owned()]
        }
        VaultError::Pin { path, .. } => {
            vec![format!(
                "check the vault's authors and recipients, then remove the file to start over: rm {}",
                quoted(path)
            )]
        }
        VaultError::NoAuthor | VaultError::Storage(_) | VaultError::Seal { .. } | VaultError::Randomness { .. } => {
            Vec::new()
        }
    }
}

/// Names the recipients of a file that no identity opened.
pub(crate) fn needed(needs: &Needs) -> String {
    let mut needed = format!("the file is encrypted to {}", needs.wanted);
    for known in &needs.recipients {
        needed.push_str(&format!("\nrecipient of the vault: {:?} {}", known.name, known.key));
    }
    needed
}

pub(crate) fn storage(error: &StorageError) -> ErrorReport {
    use std::io::ErrorKind as Kind;
    if let Some(exposure) = error.exposure() {
        let mend = exposure_hint(exposure, &quoted(&error.path));
        return ErrorReport::chain(Exit::Refused, error).hint(mend).hint(NO_PERMISSIONS);
    }
    if error.is_no_directory() || error.is_no_regular_file() {
        return ErrorReport::chain(Exit::Refused, error)
            .hint("flyte-local did not create it; if you do not need it, remove it yourself");
    }
    let chained = ErrorReport::chain(Exit::Failed, error);
    if error.action == "sync" {
        return chained.hint("the last change may not survive a power cut; try again");
    }
    match error.source.kind() {
        Kind::ReadOnlyFilesystem => {
            chained.hint("the file system is read-only: secrets can be read there, but not written")
        }
        Kind::StorageFull | Kind::QuotaExceeded => chained.hint("nothing was changed; free some space and try again"),
        Kind::PermissionDenied => {
            chained.hint(format!("check the owner and the permissions: ls -ld {}", quoted(&error.path)))
        }
        _ => chained,
    }
}

fn exposure_hint(exposure: ExposureError, path: &str) -> String {
    match exposure {
        ExposureError::Writable { .. } => {
            format!("look at its contents, then take the permission away: chmod -R go-w {path}")
        }
        ExposureError::Readable { .. } => format!("take the permission away: chmod 600 {path}"),
        ExposureError::Foreign { .. } => {
            format!("run flyte-local as that user, or make the files yours: sudo chown -R $(id -u) {path}")
        }
    }
}

/// Explains why a file that was found is not believed. `instead` is the way to name another one.
pub(crate) fn untrusted(error: &FoundError, instead: Option<String>) -> ErrorReport {
    let Some((path, exposure)) = error.exposure() else {
        let report = storage(&error.source);
        if error.source.path == error.path {
            return report;
        }
        // A directory above the file, whose name alone does not say what the command wanted there.
        let named = ErrorReport::chain(Exit::Failed, error).with_code(report.code());
        return report.hints().iter().fold(named, ErrorReport::hint);
    };
    let report = ErrorReport::chain(Exit::Refused, error);
    let report = instead.into_iter().fold(report, ErrorReport::hint);
    let report = if error.is_absent {
        report.hint("work in a directory of your own, to which no one else can write")
    } else {
        report
    };
    let path = quoted(path);
    let mend = match exposure {
        // All are meant to write to it.
        ExposureError::Writable { mode } if mode & 0o1000 != 0 => return report.hint(NO_PERMISSIONS),
        ExposureError::Foreign { .. } => format!("if you trust that user, make it yours: sudo chown $(id -u) {path}"),
        _ => format!("look at its contents, then take the permission away: chmod go-w {path}"),
    };
    report.hint(mend).hint(NO_PERMISSIONS)
}

pub(crate) fn config(error: &ConfigError) -> ErrorReport {
    match error {
        ConfigError::Found(error) => untrusted(error, None),
        ConfigError::Form { path, form } => file_form::unreadable(path, *form),
        ConfigError::Syntax { .. } => ErrorReport::chain(Exit::Failed, error),
    }
}

pub(crate) fn keyring(error: &KeyringError) -> ErrorReport {
    let report = ErrorReport::chain(Exit::Failed, error);
    match error {
        KeyringError::Unavailable(_) => report
            .hint("without a keyring, flyte-local asks for the passphrase each time, or reads it with --passphrase-fd"),
        KeyringError::Failed(_) => report,
    }
}

/// Explains why a command did not start or did not end. The exit codes are those of a shell.
pub(crate) fn child(error: &ChildError) -> ErrorReport {
    match error {
        ChildError::Start { program, source } => {
            let exit = match source.kind() {
                std::io::ErrorKind::NotFound => Exit::CommandNotFound,
                _ => Exit::NotExecutable,
            };
            ErrorReport::new(exit, format!("cannot run {}", program.display())).because(source.to_string())
        }
        ChildError::Output { stream, source } => unwritable(*stream, source),
        ChildError::Step { .. } => ErrorReport::chain(Exit::Failed, error),
    }
}

/// Says that output was lost, in one line: standard error may be short of space as well.
pub(crate) fn unwritable(stream: OutputStream, error: &std::io::Error) -> ErrorReport {
    let stream = match stream {
        OutputStream::Stdout => "standard output",
        OutputStream::Stderr => "standard error",
    };
    ErrorReport::new(Exit::Failed, format!("cannot write to {stream}: {error}"))
}

/// The most places to name for a secret that is missing.
const MOST_CANDIDATES: usize = 3;

/// Names and scopes of the vault that may be meant by the name of a missing secret.
#[derive(Debug, Clone)]
pub(crate) struct Candidates {
    id: SecretId,
    /// The other scopes that have a secret of this name.
    pub(crate) scopes: Vec<Scope>,
    /// The secrets with names that are close to it, if no scope has the name itself.
    near: Vec<SecretId>,
}

impl Candidates {
    /// Looks through the vault's directories, without opening a secret. Errors are passed over: this only helps.
    pub(crate) fn find(vault: &Vault, id: &SecretId) -> Self {
        let mut scopes = vault.scopes_of(&id.name).unwrap_or_default();
        scopes.retain(|scope| *scope != id.scope);
        let ids = if scopes.is_empty() { vault.ids().unwrap_or_default() } else { Vec::new() };
        let names = near(id.name.as_str(), ids.iter().map(|known| known.name.as_str()));
        // Among several secrets with that name, prefer the one in the scope that was named.
        let nearest = |name: &str| {
            let mut of_this_name = ids.iter().filter(|known| known.name.as_str() == name);
            of_this_name.clone().find(|known| known.scope == id.scope).or_else(|| of_this_name.next()).cloned()
        };
        let near = names.into_iter().filter_map(nearest).collect();
        Self { id: id.clone(), scopes, near }
    }

    /// The commands that do to each candidate what was to be done to the missing secret; `verb` as in `get secret`.
    pub(crate) fn hints(&self, command: &str, verb: &str) -> Vec<String> {
        let name: &SecretName = &self.id.name;
        let typed = |name: &SecretName, scope: &Scope| format!("{command} {verb} {name}{}", scope_flags(scope));
        let place = |scope: &Scope| match scope {
            Scope::Organization => "the organization".to_owned(),
            scope => scope.to_string(),
        };
        let scopes = self.scopes.iter().take(MOST_CANDIDATES);
        let elsewhere = scopes.map(|scope| format!("{name} exists in {}: {}", place(scope), typed(name, scope)));
        let near = self.near.iter().map(|known| format!("did you mean: {}", typed(&known.name, &known.scope)));
        elsewhere.chain(near).collect()
    }
}
