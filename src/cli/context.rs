//! Flags, environment and configuration, resolved: commands get decisions, not strings. The only reader of the user's
//! environment.

use std::env;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use directories::ProjectDirs;
use zeroize::Zeroizing;

use super::error::{CliError, Exit};
use super::notices;
use super::ui::Ui;
use super::{GlobalArgs, OutputFormat, RunScopeArgs};
use flyte_local::config::Config;
use flyte_local::crypto::{AuthorKey, Identity};
use flyte_local::secret::{Domain, Project, RunScope};
use flyte_local::storage::{Directory, Permissions, StorageError, read_private_file};
use flyte_local::vault::Vault;

/// A variable that may hold an identity itself: what we start is not to have it. FLYTE_LOCAL_IDENTITY is the path of a file,
/// which its permissions protect, and flyte-local may be started by what we start.
pub(crate) const IDENTITY_KEY: &str = "FLYTE_LOCAL_IDENTITY_KEY";

/// Larger than any file of keys.
const MAX_KEY_FILE_BYTES: usize = 1 << 20;

pub(crate) struct Context<'a> {
    pub(crate) ui: &'a Ui,
    pub(crate) output_format: OutputFormat,
    vault: Place,
    identity: Place,
    /// The key that signs what the user writes.
    author: Place,
    /// Where what was seen of vaults is remembered.
    state: Place,
    is_strict: bool,
    configuration: Option<PathBuf>,
    /// `flyte-local`, with the options that led to this vault: what a hint begins with.
    pub(crate) command: String,
}

/// A path, and whether the user chose it.
struct Place {
    path: Option<PathBuf>,
    /// What to set where there is no default.
    option: &'static str,
}

impl Place {
    fn get(&self) -> Result<&Path, CliError> {
        self.path.as_deref().ok_or_else(|| {
            let message = "no home directory is known: HOME is not set, and the user database names none";
            CliError::new(Exit::Failed, message)
                .hint("set HOME")
                .hint(format!("or name the place with {}", self.option))
        })
    }
}

impl<'a> Context<'a> {
    pub(crate) fn new(global: GlobalArgs, ui: &'a Ui) -> Result<Self, CliError> {
        let directories = ProjectDirs::from("", "", "flyte-local");
        // A directory below the data directory, because on macOS that one is the configuration directory too, and the
        // identity must not lie in the vault.
        let default_vault = directories.as_ref().map(|d| d.data_dir().join("vault"));
        let default_identity = directories.as_ref().map(|d| d.config_dir().join("identity.txt"));
        let default_author = directories.as_ref().map(|d| d.config_dir().join("author.key"));
        // macOS has no directory for state.
        let default_state = directories.as_ref().map(|d| d.state_dir().unwrap_or(d.data_local_dir()).join("pins"));
        let mut command = "flyte-local".to_owned();
        for (option, value) in [("--vault", &global.vault), ("--identity", &global.identity)] {
            if let Some(path) = value {
                command.push_str(&format!(" {option} {}", quoted(path)));
            }
        }
        Ok(Self {
            ui,
            output_format: global.output_format,
            vault: Place {
                path: global.vault.or_else(|| path_variable("FLYTE_LOCAL_VAULT")).or(default_vault),
                option: "--vault DIR or FLYTE_LOCAL_VAULT",
            },
            identity: Place {
                path: global.identity.or_else(|| path_variable("FLYTE_LOCAL_IDENTITY")).or(default_identity),
                option: "--identity FILE or FLYTE_LOCAL_IDENTITY",
            },
            author: Place {
                path: path_variable("FLYTE_LOCAL_AUTHOR").or(default_author),
                option: "FLYTE_LOCAL_AUTHOR=FILE",
            },
            state: Place {
                path: path_variable("FLYTE_LOCAL_STATE").or(default_state),
                option: "FLYTE_LOCAL_STATE=DIR",
            },
            is_strict: global.strict || is_strict()?,
            configuration: directories.map(|d| d.config_dir().to_owned()),
            command,
        })
    }

    pub(crate) fn vault_path(&self) -> Result<&Path, CliError> {
        self.vault.get()
    }

    pub(crate) fn identity_path(&self) -> Result<&Path, CliError> {
        self.identity.get()
    }

    /// The vault, to read it.
    pub(crate) fn open_vault(&self) -> Result<Vault, CliError> {
        self.open(|vault| vault.with_strictness(self.is_strict))
    }

    /// The vault, to change something in it: it must be possible to remember it.
    pub(crate) fn open_vault_to_change(&self) -> Result<Vault, CliError> {
        self.open(|vault| vault.with_strictness(self.is_strict).remembering())
    }

    /// The vault, to say that it is as it should be: also one that was never seen, if it has the fingerprint that is expected.
    pub(crate) fn open_vault_to_accept(&self, expected: Option<String>) -> Result<Vault, CliError> {
        self.open(|vault| vault.remembering().expecting(expected))
    }

    fn open(&self, set: impl FnOnce(Vault) -> Vault) -> Result<Vault, CliError> {
        let failed = |error| CliError::from_vault(&error, &self.command);
        let vault = set(Vault::open_with(self.vault_path()?, permissions()?).map_err(failed)?);
        let vault = vault.with_listener(notices::listener(self.ui.clone(), self.command.clone()));
        let vault = vault.with_state(self.state.path.as_deref()).map_err(failed)?;
        Ok(match variable::<u64>("FLYTE_LOCAL_LOCK_TIMEOUT", "a number of seconds")? {
            Some(seconds) => vault.with_patience(std::time::Duration::from_secs(seconds)),
            None => vault,
        })
    }

    /// The vault, to write secrets into it.
    pub(crate) fn open_vault_to_write(&self) -> Result<Vault, CliError> {
        let vault = self.open_vault_to_change()?;
        self.require_outside_of_vault()?;
        let (key, made) = self.author_key()?;
        if made {
            let file = self.author_path()?.display();
            self.ui.say(&format!("made {file}, the key that signs what you write: {}", key.author()));
        }
        Ok(vault.with_author(key))
    }

    /// That what opens the vault, signs it or remembers it is not in the hands of whoever can write it.
    pub(crate) fn require_outside_of_vault(&self) -> Result<(), CliError> {
        let vault = real(self.vault_path()?)?;
        for (place, what) in [
            (&self.identity, "the identity that opens it"),
            (&self.author, "the key that signs it"),
            (&self.state, "what this machine remembers of it"),
        ] {
            let Some(path) = &place.path else { continue };
            if real(path)?.starts_with(&vault) {
                let message = format!("{}, {what}, would lie in the vault", path.display());
                return Err(
                    CliError::new(Exit::Usage, message).hint(format!("name another place with {}", place.option))
                );
            }
        }
        Ok(())
    }

    pub(crate) fn author_path(&self) -> Result<&Path, CliError> {
        self.author.get()
    }

    pub(crate) fn state_path(&self) -> Result<&Path, CliError> {
        self.state.get()
    }

    /// The user's name for themselves as an author.
    pub(crate) fn user_name(&self) -> String {
        let name = |variable| inherited(variable).and_then(|name| String::from_utf8(name.to_vec()).ok());
        let named = name("USER").or_else(|| name("LOGNAME")).filter(|name| !name.is_empty());
        named.unwrap_or_else(|| "me".to_owned())
    }

    /// The key that signs what the user writes, made where there is none; whether it was made.
    pub(crate) fn author_key(&self) -> Result<(AuthorKey, bool), CliError> {
        if let Some(key) = self.read_author_file()? {
            return Ok((key, false));
        }
        let path = self.author_path()?;
        let key = AuthorKey::generate().map_err(|error| {
            CliError::new(Exit::Failed, format!("cannot make a key for {}", path.display())).because(error.to_string())
        })?;
        let made = self.write_key_file(path, key.to_file(&self.now()).as_bytes())?;
        // What counts is what lies on the disk, should another process have been faster.
        Ok((self.read_author_file()?.unwrap_or(key), made))
    }

    /// The user's signing key; `None` where there is no file.
    pub(crate) fn read_author_file(&self) -> Result<Option<AuthorKey>, CliError> {
        let path = self.author_path()?;
        let Some(bytes) = read_key_file(path)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let parsed = AuthorKey::parse_file(text).map(Some);
        parsed.map_err(|error| CliError::new(Exit::Failed, format!("{}: {error}", path.display())))
    }

    /// Writes a key into a new file; `false` if it is there by now.
    pub(crate) fn write_key_file(&self, path: &Path, bytes: &[u8]) -> Result<bool, CliError> {
        let (directory, name) =
            split(path).ok_or_else(|| CliError::new(Exit::Usage, format!("{} is not a file name", path.display())))?;
        let failed = |error: StorageError| CliError::from_storage(&error);
        match Directory::create(directory).map_err(failed)?.write_new(name, bytes) {
            Err(error) if error.already_exists() => Ok(false),
            written => written.map(|()| true).map_err(failed),
        }
    }

    /// The identities in the identity file.
    pub(crate) fn identities(&self) -> Result<Vec<Identity>, CliError> {
        let path = self.identity_path()?;
        self.read_identity_file()?.ok_or_else(|| {
            CliError::new(Exit::NotFound, format!("there is no identity at {}", path.display()))
                .hint("name another file with --identity FILE or FLYTE_LOCAL_IDENTITY")
                .hint("or restore it from your copy: without it, no secret of this vault can be opened")
        })
    }

    /// As [`Context::identities`]; `None` where there is no file.
    pub(crate) fn read_identity_file(&self) -> Result<Option<Vec<Identity>>, CliError> {
        let path = self.identity_path()?;
        let Some(bytes) = read_key_file(path)? else { return Ok(None) };
        let unreadable = |reason: &dyn std::fmt::Display| {
            CliError::new(Exit::Failed, format!("{} is not an age identity file: {reason}", path.display()))
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| unreadable(&error))?;
        Identity::parse_file(text).map(Some).map_err(|error| unreadable(&error))
    }

    /// The identities in words.
    pub(crate) fn identities_tried(&self, identities: &[Identity]) -> String {
        let recipients: Vec<_> = identities.iter().map(|identity| identity.recipient().to_string()).collect();
        let file = self.identity.path.as_deref().unwrap_or(Path::new("-"));
        format!("tried {}, the identity of {}", file.display(), recipients.join(", "))
    }

    /// The time, for a comment in a file.
    pub(crate) fn now(&self) -> String {
        format!("{:.0}", jiff::Timestamp::now())
    }

    /// The run's project and domain: by flag, else by variable.
    pub(crate) fn chosen_scope(&self, scope: &RunScopeArgs) -> Result<RunScope, CliError> {
        Ok(RunScope {
            project: match scope.project.clone() {
                None => variable::<Project>("FLYTE_LOCAL_PROJECT", "a project")?,
                project => project,
            },
            domain: match scope.domain.clone() {
                None => variable::<Domain>("FLYTE_LOCAL_DOMAIN", "a domain")?,
                domain => domain,
            },
        })
    }

    /// The project and domain of `config.toml`.
    pub(crate) fn config_scope(&self) -> Result<RunScope, CliError> {
        let config = match &self.configuration {
            Some(directory) => Config::load(directory)?,
            None => Config::default(),
        };
        Ok(RunScope { project: config.project, domain: config.domain })
    }
}

/// What lies at `nearer`, else at `farther`, part by part.
pub(crate) fn merged(nearer: &RunScope, farther: &RunScope) -> RunScope {
    RunScope {
        project: nearer.project.clone().or_else(|| farther.project.clone()),
        domain: nearer.domain.clone().or_else(|| farther.domain.clone()),
    }
}

/// A file with keys, which nobody else may read; `None` where there is none.
fn read_key_file(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, CliError> {
    read_private_file(path, MAX_KEY_FILE_BYTES, permissions()?).map_err(|error| CliError::from_storage(&error))
}

/// The path without links, as far as it exists.
fn real(path: &Path) -> Result<PathBuf, CliError> {
    let absolute =
        std::path::absolute(path).map_err(|error| CliError::from_io("find the working directory", &error))?;
    for ancestor in absolute.ancestors() {
        if let (Ok(found), Ok(rest)) = (ancestor.canonicalize(), absolute.strip_prefix(ancestor)) {
            return Ok(found.join(rest));
        }
    }
    Ok(absolute)
}

/// The directory and the name of a file; a bare name lies in the working directory.
pub(crate) fn split(path: &Path) -> Option<(&Path, &str)> {
    let name = path.file_name()?.to_str()?;
    let directory = path.parent()?;
    Some((if directory.as_os_str().is_empty() { Path::new(".") } else { directory }, name))
}

/// Whether owners and permissions count: the way out for file systems that have none (FAT, Windows' drives in WSL).
pub(crate) fn permissions() -> Result<Permissions, CliError> {
    match variable::<String>("FLYTE_LOCAL_PERMISSIONS", "text")?.as_deref() {
        None => Ok(Permissions::Checked),
        Some("ignore") => Ok(Permissions::Ignored),
        Some(_) => {
            let error = CliError::new(Exit::Usage, "FLYTE_LOCAL_PERMISSIONS is not one that flyte-local knows");
            Err(error.hint("it may be: ignore"))
        }
    }
}

/// Whether the user wants refused what is else only told.
fn is_strict() -> Result<bool, CliError> {
    match variable::<String>("FLYTE_LOCAL_STRICT", "text")?.as_deref() {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(_) => Err(CliError::new(Exit::Usage, "FLYTE_LOCAL_STRICT is neither 0 nor 1")),
    }
}

/// Whether the user asked for no colour.
pub(crate) fn no_color() -> bool {
    variable_is_set("NO_COLOR")
}

/// The active virtual environment.
pub(crate) fn virtual_env() -> Option<PathBuf> {
    path_variable("VIRTUAL_ENV")
}

/// What our caller has in a variable of this name.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
pub(crate) fn inherited(name: &str) -> Option<Zeroizing<Vec<u8>>> {
    use std::os::unix::ffi::OsStringExt;
    env::var_os(name).map(|value| Zeroizing::new(value.into_vec()))
}

/// Where the user's programs keep what is gone when they log out; often in memory.
pub(crate) fn runtime_directory() -> Option<PathBuf> {
    path_variable("XDG_RUNTIME_DIR")
}

/// A path as it can be typed in a shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%,:=~".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
fn variable_is_set(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// A path in a variable; an empty one is none.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
fn path_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A variable that has to parse; an empty one is none.
#[expect(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
fn variable<T: FromStr>(name: &str, what: &str) -> Result<Option<T>, CliError>
where
    T::Err: std::fmt::Display,
{
    let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let bad = |reason: String| CliError::new(Exit::Usage, format!("{name} is not {what}: {reason}"));
    let text = value.to_str().ok_or_else(|| bad("it is not UTF-8".to_owned()))?;
    text.parse().map(Some).map_err(|error: T::Err| bad(error.to_string()))
}
