//! Flags, environment and configuration, resolved: commands get decisions, not strings. The only reader of the user's
//! environment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use directories::ProjectDirs;
use zeroize::Zeroizing;

use super::arguments::{GlobalArgs, OutputFormat, RunScopeArgs};
use super::environment::{inherited, is_strict, path_variable, permissions, variable, variable_is_set};
use super::error::{CommandError, Exit};
use super::identities::Identities;
use super::identity_source::{IDENTITY_KEY, MAX_KEY_FILE_BYTES, Origin, none_at};
use super::notices;
use super::passphrases::Passphrases;
use super::paths::{real, split};
use super::shell::quoted;
use super::ui::Ui;
use flyte_local::config::Config;
use flyte_local::crypto::AuthorKey;
use flyte_local::process::Spawner;
use flyte_local::secret::{Domain, Project, RunScope};
use flyte_local::storage::{Directory, read_private_file};
use flyte_local::vault::{Access, StateDirectory, Strictness, Vault, VaultOptions};

const NAME_AN_IDENTITY: &str = "--identity FILE or FLYTE_LOCAL_IDENTITY";

pub(crate) struct Context<'a> {
    pub(crate) ui: &'a Ui,
    pub(crate) output_format: OutputFormat,
    vault: Place,
    /// The files that --identity names.
    identities: Vec<PathBuf>,
    default_identity: Place,
    passphrases: Arc<Passphrases>,
    spawner: Spawner,
    /// The key that signs what the user writes.
    author: Place,
    /// Where what was seen of vaults is remembered.
    state: Place,
    strictness: Strictness,
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
    fn get(&self) -> Result<&Path, CommandError> {
        self.path.as_deref().ok_or_else(|| {
            let message = "no home directory is known: HOME is not set, and the user database names none";
            CommandError::new(Exit::Failed, message)
                .hint("set HOME")
                .hint(format!("or name the place with {}", self.option))
        })
    }
}

impl<'a> Context<'a> {
    pub(crate) fn new(global: GlobalArgs, ui: &'a Ui) -> Result<Self, CommandError> {
        let directories = ProjectDirs::from("", "", "flyte-local");
        // A directory below the data directory, because on macOS that one is the configuration directory too, and the
        // identity must not lie in the vault.
        let default_vault = directories.as_ref().map(|d| d.data_dir().join("vault"));
        let default_identity = directories.as_ref().map(|d| d.config_dir().join("identity.txt"));
        let default_author = directories.as_ref().map(|d| d.config_dir().join("author.key"));
        // macOS has no directory for state.
        let default_state = directories.as_ref().map(|d| d.state_dir().unwrap_or(d.data_local_dir()).join("pins"));
        let passphrases = Arc::new(Passphrases::new(global.passphrase_fd, ui.clone())?);
        let from_children = Arc::clone(&passphrases);
        let mut command = "flyte-local".to_owned();
        let chosen = global.vault.iter().map(|path| ("--vault", path));
        for (option, path) in chosen.chain(global.identity.iter().map(|path| ("--identity", path))) {
            command.push_str(&format!(" {option} {}", quoted(path)));
        }
        Ok(Self {
            ui,
            output_format: global.output_format,
            vault: Place {
                path: global.vault.or_else(|| path_variable("FLYTE_LOCAL_VAULT")).or(default_vault),
                option: "--vault DIR or FLYTE_LOCAL_VAULT",
            },
            identities: global.identity,
            default_identity: Place { path: default_identity, option: NAME_AN_IDENTITY },
            passphrases,
            // FLYTE_LOCAL_IDENTITY is the name of a file, and stays: what a child starts may be flyte-local again.
            spawner: Spawner::new([IDENTITY_KEY], move || from_children.take_away()),
            author: Place {
                path: path_variable("FLYTE_LOCAL_AUTHOR").or(default_author),
                option: "FLYTE_LOCAL_AUTHOR=FILE",
            },
            state: Place {
                path: path_variable("FLYTE_LOCAL_STATE").or(default_state),
                option: "FLYTE_LOCAL_STATE=DIR",
            },
            strictness: if global.strict || is_strict()? { Strictness::Errors } else { Strictness::Notices },
            configuration: directories.map(|d| d.config_dir().to_owned()),
            command,
        })
    }

    /// Reports an error that does not end the command.
    pub(crate) fn tell(&self, error: &CommandError) {
        self.ui.error(&error.report(&self.command));
    }

    pub(crate) fn vault_path(&self) -> Result<&Path, CommandError> {
        self.vault.get()
    }

    /// The vault, to read it.
    pub(crate) fn open_vault(&self) -> Result<Vault, CommandError> {
        self.open(self.options(Access::Read)?)
    }

    /// The vault, to change something in it: it must be possible to remember it.
    pub(crate) fn open_vault_to_change(&self) -> Result<Vault, CommandError> {
        self.open(self.options(Access::Write)?)
    }

    /// The vault, to say that it is as it should be: also one that was never seen, if it has the fingerprint that is expected.
    pub(crate) fn open_vault_to_accept(&self, expected: Option<String>) -> Result<Vault, CommandError> {
        self.open(VaultOptions { strictness: Strictness::Notices, expected, ..self.options(Access::Write)? })
    }

    /// Another vault than the one that is worked on, to read it; `command` is what a hint about it begins with.
    pub(crate) fn open_other_vault(&self, path: &Path, command: &str) -> Result<Vault, CommandError> {
        self.open_at(path, command, self.options(Access::Read)?).map_err(|error| error.in_vault_of(command))
    }

    fn open(&self, options: VaultOptions) -> Result<Vault, CommandError> {
        self.open_at(self.vault_path()?, &self.command, options)
    }

    fn open_at(&self, path: &Path, command: &str, options: VaultOptions) -> Result<Vault, CommandError> {
        let listener = notices::listener(self.ui.clone(), command.to_owned());
        Ok(VaultOptions { listener, ..options }.open(path)?)
    }

    fn options(&self, access: Access) -> Result<VaultOptions, CommandError> {
        let state = self.state.path.clone().map_or(StateDirectory::Unknown, StateDirectory::At);
        let defaults = VaultOptions::new(state);
        let patience = variable::<u64>("FLYTE_LOCAL_LOCK_TIMEOUT", "a number of seconds")?.map(Duration::from_secs);
        Ok(VaultOptions {
            permissions: permissions()?,
            strictness: self.strictness,
            access,
            patience: patience.unwrap_or(defaults.patience),
            ..defaults
        })
    }

    /// The vault, to write secrets into it.
    pub(crate) fn open_vault_to_write(&self) -> Result<Vault, CommandError> {
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
    pub(crate) fn require_outside_of_vault(&self) -> Result<(), CommandError> {
        let vault = real(self.vault_path()?)?;
        let is_known = !self.identities.is_empty() || self.default_identity.path.is_some();
        let identities = if is_known { self.identity_places()? } else { Vec::new() };
        let identities = identities.iter().filter_map(Origin::path);
        let identities = identities.map(|path| (path, "the identity that opens it", NAME_AN_IDENTITY));
        let places = [(&self.author, "the key that signs it"), (&self.state, "what this machine remembers of it")];
        let places = places.iter().filter_map(|(place, what)| Some((place.path.as_deref()?, *what, place.option)));
        for (path, what, option) in identities.chain(places) {
            if real(path)?.starts_with(&vault) {
                let message = format!("{}, {what}, would lie in the vault", path.display());
                return Err(CommandError::new(Exit::Usage, message).hint(format!("name another place with {option}")));
            }
        }
        Ok(())
    }

    pub(crate) fn author_path(&self) -> Result<&Path, CommandError> {
        self.author.get()
    }

    pub(crate) fn state_path(&self) -> Result<&Path, CommandError> {
        self.state.get()
    }

    /// The user's name for themselves as an author.
    pub(crate) fn user_name(&self) -> String {
        let name = |variable| inherited(variable).and_then(|name| String::from_utf8(name.to_vec()).ok());
        let named = name("USER").or_else(|| name("LOGNAME")).filter(|name| !name.is_empty());
        named.unwrap_or_else(|| "me".to_owned())
    }

    /// The key that signs what the user writes, made where there is none; whether it was made.
    pub(crate) fn author_key(&self) -> Result<(AuthorKey, bool), CommandError> {
        if let Some(key) = self.read_author_file()? {
            return Ok((key, false));
        }
        let path = self.author_path()?;
        let key = AuthorKey::generate().map_err(|error| {
            CommandError::new(Exit::Failed, format!("cannot make a key for {}", path.display()))
                .because(error.to_string())
        })?;
        let made = self.write_key_file(path, key.to_file(&self.now()).as_bytes())?;
        // What counts is what lies on the disk, should another process have been faster.
        Ok((self.read_author_file()?.unwrap_or(key), made))
    }

    /// The user's signing key; `None` where there is no file.
    pub(crate) fn read_author_file(&self) -> Result<Option<AuthorKey>, CommandError> {
        let path = self.author_path()?;
        let Some(bytes) = read_key_file(path)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let parsed = AuthorKey::parse_file(text).map(Some);
        parsed.map_err(|error| CommandError::new(Exit::Failed, format!("{}: {error}", path.display())))
    }

    /// Writes a key into a new file; `false` if it is there by now.
    pub(crate) fn write_key_file(&self, path: &Path, bytes: &[u8]) -> Result<bool, CommandError> {
        let (directory, name) = split(path)
            .ok_or_else(|| CommandError::new(Exit::Usage, format!("{} is not a file name", path.display())))?;
        match Directory::create(directory)?.write_new(name, bytes) {
            Err(error) if error.already_exists() => Ok(false),
            written => Ok(written.map(|()| true)?),
        }
    }

    /// Where identities are: the places that the nearest level names, of the options, the variables, the configuration, and
    /// the default.
    pub(crate) fn identity_places(&self) -> Result<Vec<Origin>, CommandError> {
        if !self.identities.is_empty() {
            return Ok(self.identities.iter().cloned().map(Origin::File).collect());
        }
        let file = path_variable("FLYTE_LOCAL_IDENTITY").map(Origin::File);
        let key = variable_is_set(IDENTITY_KEY).then_some(Origin::Variable);
        let named: Vec<_> = file.into_iter().chain(key).collect();
        if !named.is_empty() {
            return Ok(named);
        }
        if let Some(directory) = &self.configuration {
            let home = directories::BaseDirs::new();
            let home = home.as_ref().map(directories::BaseDirs::home_dir);
            let paths = Config::load(directory)?.identity.paths(directory, home);
            if !paths.is_empty() {
                return Ok(paths.into_iter().map(Origin::File).collect());
            }
        }
        Ok(vec![Origin::File(self.default_identity.get()?.to_owned())])
    }

    /// The identities that open the vault, of which some may be locked.
    pub(crate) fn identities(&self) -> Result<Identities, CommandError> {
        let places = self.identity_places()?;
        self.read_identities(&places)?.ok_or_else(|| none_at(&places[0]))
    }

    /// Those in these places; `None` where there is nothing at any of them.
    pub(crate) fn read_identities(&self, places: &[Origin]) -> Result<Option<Identities>, CommandError> {
        Identities::read(places, permissions()?, &self.passphrases)
    }

    /// The bytes in a place of identities; `None` where there is nothing.
    pub(crate) fn read_origin(&self, origin: &Origin) -> Result<Option<Zeroizing<Vec<u8>>>, CommandError> {
        origin.read(permissions()?)
    }

    /// Where passphrases come from.
    pub(crate) fn passphrases(&self) -> &Passphrases {
        &self.passphrases
    }

    /// What makes the commands of child processes.
    pub(crate) fn spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// The time, for a comment in a file.
    pub(crate) fn now(&self) -> String {
        format!("{:.0}", jiff::Timestamp::now())
    }

    /// The run's project and domain: by flag, else by variable.
    pub(crate) fn chosen_scope(&self, scope: &RunScopeArgs) -> Result<RunScope, CommandError> {
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
    pub(crate) fn config_scope(&self) -> Result<RunScope, CommandError> {
        let config = match &self.configuration {
            Some(directory) => Config::load(directory)?,
            None => Config::default(),
        };
        Ok(RunScope { project: config.project, domain: config.domain })
    }
}

/// A file with keys, which nobody else may read; `None` where there is none.
fn read_key_file(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, CommandError> {
    Ok(read_private_file(path, MAX_KEY_FILE_BYTES, permissions()?)?)
}
