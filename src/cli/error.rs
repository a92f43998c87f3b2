//! From facts to words: every error's message, what to do next, and the exit code.

use std::error::Error;
use std::ffi::OsStr;

use super::sanitize::harmless;
use super::shell::quoted;
use flyte_local::config::ConfigError;
use flyte_local::crypto::EnvelopeError;
use flyte_local::storage::{ExposureError, LockOwner, StorageError};
use flyte_local::vault::{ManifestError, SecretFileError, VaultError};

/// The exit codes of our own. `run` and `exec` pass on those of the command they ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 10,
    CannotDecrypt = 11,
    Exists = 12,
    Refused = 13,
    Locked = 14,
    NotExecutable = 126,
    CommandNotFound = 127,
}

/// An error as the user sees it: lower case, without a full stop; never a value.
#[derive(Debug, Clone)]
pub(crate) struct CliError {
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    code: u8,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), hints: Vec::new(), code: exit as u8 }
    }

    /// An error with the chain of causes below it.
    pub(crate) fn chain(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        Self { causes: causes.map(ToString::to_string).collect(), ..Self::new(exit, error.to_string()) }
    }

    pub(crate) fn from_io(action: &str, error: &std::io::Error) -> Self {
        Self { causes: vec![error.to_string()], ..Self::new(Exit::Failed, format!("cannot {action}")) }
    }

    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn with_code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The whole of it as plain text, for a reader that is not our terminal.
    pub(crate) fn plain(&self) -> String {
        let causes = self.causes.iter().map(|cause| format!("\ncaused by: {}", harmless(cause)));
        let hints = self.hints.iter().map(|hint| format!("\nhint: {}", harmless(hint)));
        harmless(&self.message) + &causes.chain(hints).collect::<String>()
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn causes(&self) -> &[String] {
        &self.causes
    }

    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Whether what was asked for is not there, rather than out of reach.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == Exit::NotFound as u8
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    /// A vault's error; `command` is `flyte-local` with the options that lead to this vault.
    pub(crate) fn from_vault(error: &VaultError, command: &str) -> Self {
        match error {
            VaultError::Missing { .. } => Self::chain(Exit::NotFound, error)
                .hint(format!("make one: {command} init"))
                .hint("or name another with --vault DIR or FLYTE_LOCAL_VAULT"),
            VaultError::Exists { .. } => {
                Self::chain(Exit::Exists, error)
                    .hint("it was left as it is; name another place with --vault DIR")
                    .hint("if somebody shares it with you, all you need are keys: flyte-local create identity")
            }
            VaultError::ManifestLost { path } => Self::chain(Exit::Refused, error).hint(format!(
                "restore {} from a backup: a new one would not fit them",
                path.join("vault.toml").display()
            )),
            VaultError::SecretMissing { .. } => {
                Self::chain(Exit::NotFound, error).hint(format!("see what there is: {command} get secret"))
            }
            VaultError::Overtaken { .. } => Self::chain(Exit::Refused, error).hint("nothing was changed: look at it anew"),
            VaultError::SecretExists { id } => Self::chain(Exit::Exists, error).hint(format!(
                "change its value: {command} update secret {}{}",
                id.name,
                scope_flags(&id.scope)
            )),
            VaultError::CannotDecrypt { .. } => Self::chain(Exit::CannotDecrypt, error)
                .hint("name another identity with --identity FILE or FLYTE_LOCAL_IDENTITY")
                .hint(GET_ADDED),
            VaultError::Refused { id, path, source } => {
                let delete = format!("{command} delete secret {}{}", id.name, scope_flags(&id.scope));
                let adopt = format!("{command} update secret {}{} --adopt", id.name, scope_flags(&id.scope));
                let adopt = format!("if you know the value, make it yours: {adopt}");
                let refused = Self::chain(Exit::Refused, error);
                let trust = format!("{command} update vault --trust-author");
                match source {
                    SecretFileError::Unsigned | SecretFileError::FormerAuthor { .. } => {
                        refused.hint(adopt).hint(format!("to see it: {}", look(path)))
                    }
                    SecretFileError::UnknownAuthor(key) => refused
                        .hint(adopt)
                        .hint(format!("or, if that is somebody whose values are to be read from now on: {trust} {key}")),
                    SecretFileError::UnpinnedAuthor { author, .. } => {
                        refused.hint(format!("if that is somebody you know by this key: {trust} {author}"))
                    }
                    source => refused.hint(refusal_hint(source, &delete)),
                }
            }
            VaultError::Locked { waited, owner, .. } => {
                let locked = Self::chain(Exit::Locked, error);
                let locked = match owner {
                    Some(LockOwner { process, program, age }) => {
                        locked.because(format!("process {process} ({program}) has it, running for {} s", age.as_secs()))
                    }
                    None => locked,
                };
                locked.hint(format!("waited {} s; try again when the other flyte-local is done", waited.as_secs()))
            }
            VaultError::Manifest { source: ManifestError::Format { .. }, .. } => {
                Self::chain(Exit::Refused, error).hint("use a newer flyte-local")
            }
            VaultError::Manifest { source: ManifestError::Syntax(text), .. } if text.contains("<<<<<<<") => {
                Self::chain(Exit::Refused, error).hint(
                    "git left a conflict in it: take one side, git checkout --ours or --theirs, and repeat what the other did",
                )
            }
            VaultError::Manifest { .. } => Self::chain(Exit::Refused, error)
                .hint("mend it, or restore it from a backup; the secrets are untouched"),
            VaultError::Changed { fingerprint, .. } => Self::chain(Exit::Refused, error)
                .hint(format!("if that is as it should be: {command} update vault --accept --expect {fingerprint}")),
            VaultError::Unexpected { .. } => Self::chain(Exit::Refused, error).hint(format!(
                "nothing was accepted; once you have compared the keys with its owner's: {command} check"
            )),
            VaultError::RecipientExists { .. } => {
                Self::chain(Exit::Exists, error).hint(format!("see whom there is: {command} get recipient"))
            }
            VaultError::Unfit { .. } => Self::chain(Exit::Usage, error).hint("nothing was changed"),
            VaultError::RecipientMissing { .. } => {
                Self::chain(Exit::NotFound, error).hint(format!("see whom there is: {command} get recipient"))
            }
            VaultError::AuthorMissing { .. } => {
                Self::chain(Exit::NotFound, error).hint(format!("see whom there is: {command} check"))
            }
            VaultError::OwnAuthor { .. } => Self::chain(Exit::Refused, error)
                .hint("nothing was changed; another author of the vault can remove you"),
            VaultError::LastRecipient { .. } => Self::chain(Exit::Refused, error)
                .hint("nothing was changed; another recipient of the vault can remove this one"),
            VaultError::Stale(_) => Self::chain(Exit::Refused, error)
                .hint(format!("if that is as it should be: {command} update vault --accept-older")),
            VaultError::FirstUse { fingerprint, .. } => Self::chain(Exit::Refused, error).hint(format!(
                "once you have compared the keys with those that `flyte-local check` shows its owner: {command} update vault --accept --expect {fingerprint}"
            )),
            VaultError::UnlistedAuthor { key } => Self::chain(Exit::Refused, error)
                .hint(format!("name yourself as one: {command} update vault --trust-author {key}"))
                .hint("the vault's other users will be asked to accept you"),
            VaultError::NoState => {
                Self::chain(Exit::Failed, error).hint("set HOME").hint("or name the place with FLYTE_LOCAL_STATE=DIR")
            }
            VaultError::Pin { path, .. } => Self::chain(Exit::Failed, error).hint(format!(
                "once you have looked at the vault's authors and recipients, begin anew: rm {}",
                super::shell::quoted(path)
            )),
            VaultError::NoAuthor => Self::chain(Exit::Failed, error),
            VaultError::Storage(error) => Self::from_storage(error),
            VaultError::Seal { .. } | VaultError::Randomness { .. } => Self::chain(Exit::Failed, error),
        }
    }

    /// A vault's error on reading a value; if nothing opened it, with what was `tried`.
    pub(crate) fn from_read(error: &VaultError, command: &str, tried: &Tried) -> Self {
        let said = Self::from_vault(error, command);
        let VaultError::CannotDecrypt { needs, .. } = error else { return said };
        let mut needed = format!("the file is encrypted to: {}", needs.wanted);
        for known in &needs.recipients {
            needed.push_str(&format!("\na recipient of the vault is {:?} {}", known.name, known.key));
        }
        said.tried(tried).because(needed)
    }

    /// With what was tried, and what would help before anything else.
    #[must_use]
    pub(crate) fn tried(mut self, tried: &Tried) -> Self {
        self.causes.extend(tried.causes.iter().cloned());
        self.hints.splice(0..0, tried.hints.iter().cloned());
        self
    }

    pub(crate) fn from_storage(error: &StorageError) -> Self {
        use std::io::ErrorKind as Kind;
        if let Some(exposure) = error.exposure() {
            let mend = exposure_hint(exposure, &quoted(&error.path));
            return Self::chain(Exit::Refused, error).hint(mend).hint(NO_PERMISSIONS);
        }
        if error.is_no_directory() || error.is_no_regular_file() {
            return Self::chain(Exit::Refused, error).hint("flyte-local did not make it: remove it by hand");
        }
        let chained = Self::chain(Exit::Failed, error);
        if error.action == "sync" {
            return chained.hint("what was changed last may not survive a power cut: try again");
        }
        match error.source.kind() {
            Kind::ReadOnlyFilesystem => chained.hint("the vault can be read there, but not written"),
            Kind::StorageFull | Kind::QuotaExceeded => chained.hint("nothing was changed; make room and try again"),
            Kind::PermissionDenied => chained.hint("check who owns it and its permissions"),
            _ => chained,
        }
    }
}

/// What somebody needs whose identity opens nothing of a vault.
pub(crate) const GET_ADDED: &str =
    "or have a recipient of the vault add you, by the key that you tell them: flyte-local get identity";

/// The command that shows the value of a file that is refused here.
fn look(path: &std::path::Path) -> String {
    format!("age -d -i IDENTITY {}", quoted(path))
}

const NO_PERMISSIONS: &str =
    "or, on a file system that has no permissions, do without that check: FLYTE_LOCAL_PERMISSIONS=ignore";

fn exposure_hint(exposure: ExposureError, path: &str) -> String {
    match exposure {
        ExposureError::Writable { .. } => format!("close it, after a look at what is there: chmod -R go-w {path}"),
        ExposureError::Readable { .. } => format!("close it: chmod 600 {path}"),
        ExposureError::Foreign { .. } => {
            format!("run flyte-local as that user, or, if it is to be yours: sudo chown -R $(id -u) {path}")
        }
    }
}

/// `delete` is the command that deletes the secret: it works on a file that is refused too.
fn refusal_hint(refusal: &SecretFileError, delete: &str) -> String {
    match refusal {
        SecretFileError::OtherSecret(_) => format!("the file was renamed, swapped or copied: put it back, or {delete}"),
        SecretFileError::OtherVault => format!("it was copied from another vault: {delete}, then create it here"),
        SecretFileError::NoFile => "flyte-local did not make it: remove it by hand".to_owned(),
        SecretFileError::Envelope(EnvelopeError::NotAge | EnvelopeError::NoBinding) => {
            format!("flyte-local did not write it: restore it from a backup, or {delete}")
        }
        _ => format!("restore it from a backup, or {delete}"),
    }
}

/// ` -p P -d D`, as far as the scope has them.
pub(crate) fn scope_flags(scope: &flyte_local::secret::Scope) -> String {
    let project = scope.project().map(|project| format!(" -p {project}"));
    let domain = scope.domain().map(|domain| format!(" -d {domain}"));
    project.unwrap_or_default() + &domain.unwrap_or_default()
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Storage(error) => Self::from_storage(&error),
            error @ ConfigError::Syntax { .. } => Self::chain(Exit::Failed, &error),
        }
    }
}

/// What was tried, for an error's causes, and what to do about it.
pub(crate) struct Tried {
    pub(crate) causes: Vec<String>,
    pub(crate) hints: Vec<String>,
}

/// The program of a command line could not be started: the exit codes are a shell's.
pub(crate) fn cannot_run(program: &OsStr, error: &std::io::Error) -> CliError {
    let exit = match error.kind() {
        std::io::ErrorKind::NotFound => Exit::CommandNotFound,
        _ => Exit::NotExecutable,
    };
    CliError::new(exit, format!("cannot run {}", program.display())).because(error.to_string())
}
