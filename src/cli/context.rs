//! Flags, environment and configuration, resolved: commands get decisions, not strings. The only reader of the user's
//! environment.

mod keys;
mod run_scope;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use directories::ProjectDirs;

use super::acceptance;
use super::arguments::{GlobalArgs, OutputFormat};
use super::environment::{is_strict, path_variable, permissions, variable};
use super::error::{CommandError, Exit};
use super::identity_place::IDENTITY_KEY;
use super::notices;
use super::passphrases::Passphrases;
use super::shell::quoted;
use super::ui::Ui;
use flyte_local::process::Spawner;
use flyte_local::storage::require_trusted_if_there;
use flyte_local::vault::{Access, StateDirectory, Strictness, Vault, VaultOptions};

const NAME_AN_IDENTITY: &str = "--identity FILE or FLYTE_LOCAL_IDENTITY";

pub(crate) struct Context<'a> {
    pub(crate) ui: &'a Ui,
    pub(crate) output_format: OutputFormat,
    vault: UserPath,
    /// The files that --identity names.
    identities: Vec<PathBuf>,
    default_identity: UserPath,
    passphrases: Arc<Passphrases>,
    spawner: Spawner,
    /// The key that signs what the user writes.
    author: UserPath,
    /// The state directory, which remembers vaults.
    state: UserPath,
    strictness: Strictness,
    configuration: Option<PathBuf>,
    /// `flyte-local` with the options that led to this vault. A hint begins with it.
    pub(crate) command: String,
    /// The same without the identities.
    vault_command: String,
}

/// A path that the user names, or else a default.
struct UserPath {
    path: Option<PathBuf>,
    is_named: bool,
    /// The option or variable to set where there is no default.
    option: &'static str,
}

impl UserPath {
    fn new(named: Option<PathBuf>, default: Option<PathBuf>, option: &'static str) -> Self {
        Self { is_named: named.is_some(), path: named.or(default), option }
    }

    /// Returns the path. Other users must not be able to replace what is at a default path.
    fn get(&self) -> Result<&Path, CommandError> {
        let path = self.path.as_deref().ok_or_else(|| {
            let message = "cannot find your home directory: HOME is not set to an absolute path, and the user database has no \
                           entry for you";
            CommandError::new(Exit::Failed, message).hint("set HOME").hint(format!("or name it with {}", self.option))
        })?;
        if let (false, Some(directory)) = (self.is_named, path.parent()) {
            require_trusted_if_there(directory, permissions()?).map_err(|error| {
                CommandError::from(error).hint(format!("or name another path with {}", self.option))
            })?;
        }
        Ok(path)
    }
}

impl<'a> Context<'a> {
    pub(crate) fn new(global: GlobalArgs, ui: &'a Ui) -> Result<Self, CommandError> {
        // Relative directories would be found below the working directory.
        let directories = ProjectDirs::from("", "", "flyte-local").filter(|found| found.config_dir().is_absolute());
        // A directory below the data directory, because on macOS that one is the configuration directory too, and the
        // identity must not lie in the vault.
        let default_vault = directories.as_ref().map(|d| d.data_dir().join("vault"));
        let default_identity = directories.as_ref().map(|d| d.config_dir().join("identity.txt"));
        let default_author = directories.as_ref().map(|d| d.config_dir().join("author.key"));
        // macOS has no directory for state.
        let default_state = directories.as_ref().map(|d| d.state_dir().unwrap_or(d.data_local_dir()).join("pins"));
        let passphrases = Arc::new(Passphrases::new(global.passphrase_fd, ui.clone())?);
        let option = |option: &str, path| format!(" {option} {}", quoted(path));
        let chosen: String = global.vault.iter().map(|path| option("--vault", path)).collect();
        let vault_command = format!("flyte-local{chosen}");
        let identities: String = global.identity.iter().map(|path| option("--identity", path)).collect();
        let named_vault = match global.vault {
            None => path_variable("FLYTE_LOCAL_VAULT")?,
            vault => vault,
        };
        Ok(Self {
            ui,
            output_format: global.output_format,
            vault: UserPath::new(named_vault, default_vault, "--vault DIR or FLYTE_LOCAL_VAULT"),
            identities: global.identity,
            default_identity: UserPath::new(None, default_identity, NAME_AN_IDENTITY),
            passphrases,
            // FLYTE_LOCAL_IDENTITY is the name of a file, and stays: what a child starts may be flyte-local again.
            spawner: Spawner::new([IDENTITY_KEY]),
            author: UserPath::new(path_variable("FLYTE_LOCAL_AUTHOR")?, default_author, "FLYTE_LOCAL_AUTHOR=FILE"),
            state: UserPath::new(path_variable("FLYTE_LOCAL_STATE")?, default_state, "FLYTE_LOCAL_STATE=DIR"),
            strictness: if global.strict || is_strict()? { Strictness::Errors } else { Strictness::Notices },
            configuration: directories.map(|d| d.config_dir().to_owned()),
            command: format!("{vault_command}{identities}"),
            vault_command,
        })
    }

    /// Returns the command that a hint about this vault and another identity begins with.
    pub(crate) fn command_with(&self, identity: &Path) -> String {
        format!("{} --identity {}", self.vault_command, quoted(identity))
    }

    /// Reports an error that does not end the command.
    pub(crate) fn tell(&self, error: &CommandError) {
        self.ui.error(&error.report(&self.command));
    }

    pub(crate) fn vault_path(&self) -> Result<&Path, CommandError> {
        self.vault.get()
    }

    /// Opens the vault to read it.
    pub(crate) fn open_vault(&self) -> Result<Vault, CommandError> {
        self.open(self.options(Access::Read)?)
    }

    /// Opens the vault to change it. Fails if it was not accepted on this machine, or if the state directory cannot be written.
    pub(crate) fn open_vault_to_change(&self) -> Result<Vault, CommandError> {
        let mut vault = self.open(self.options(Access::Write)?)?;
        acceptance::require(self.ui, &self.command, &mut vault)?;
        Ok(vault)
    }

    /// Opens the vault to accept it, or its changes.
    pub(crate) fn open_vault_to_accept(&self) -> Result<Vault, CommandError> {
        self.open(VaultOptions { strictness: Strictness::Notices, ..self.options(Access::Write)? })
    }

    /// Opens the vault to send its values on. A secret that was rolled back is an error.
    pub(crate) fn open_vault_to_send(&self) -> Result<Vault, CommandError> {
        self.open(VaultOptions { rollback: Strictness::Errors, ..self.options(Access::Read)? })
    }

    /// Opens another vault to send its values on. Hints about it begin with `command`.
    pub(crate) fn open_other_vault(&self, path: &Path, command: &str) -> Result<Vault, CommandError> {
        let options = VaultOptions { rollback: Strictness::Errors, ..self.options(Access::Read)? };
        self.open_at(path, command, options).map_err(|error| error.in_vault_of(command))
    }

    fn open(&self, options: VaultOptions) -> Result<Vault, CommandError> {
        self.open_at(self.vault_path()?, &self.command, options)
    }

    fn open_at(&self, path: &Path, command: &str, options: VaultOptions) -> Result<Vault, CommandError> {
        self.require_state_outside(path)?;
        let listener = notices::listener(self.ui.clone(), command.to_owned());
        Ok(VaultOptions { listener, ..options }.open(path)?)
    }

    fn options(&self, access: Access) -> Result<VaultOptions, CommandError> {
        let state = match self.state.path {
            Some(_) => StateDirectory::At(self.state.get()?.to_owned()),
            None => StateDirectory::Unknown,
        };
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

    /// Opens the vault to write secrets.
    pub(crate) fn open_vault_to_write(&self) -> Result<Vault, CommandError> {
        let vault = self.open_vault_to_change()?;
        self.require_outside_of_vault()?;
        let (key, made) = self.author_key()?;
        if made {
            let file = self.author_path()?.display();
            self.ui.say(&format!("created {file}, the key that signs your secrets: {}", key.author()));
        }
        Ok(vault.with_author(key))
    }

    pub(crate) fn state_path(&self) -> Result<&Path, CommandError> {
        self.state.get()
    }

    /// Makes the commands of child processes. Takes the passphrases from their descriptor first, which a child inherits.
    ///
    /// # Errors
    /// A child could still read a passphrase there.
    pub(crate) fn spawner(&self) -> Result<&Spawner, CommandError> {
        self.passphrases.withhold()?;
        Ok(&self.spawner)
    }

    /// Makes the command of this program itself, which reads no descriptor and starts nothing.
    pub(crate) fn own_spawner(&self) -> &Spawner {
        &self.spawner
    }

    /// Returns the time, for a comment in a file.
    pub(crate) fn now(&self) -> String {
        format!("{:.0}", jiff::Timestamp::now())
    }
}
