//! Where an image pull secret comes from: options, prompts, Docker's configuration, and its credential helpers.

mod credential_helper;

use std::io::IsTerminal;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::environment::inherited;
use super::error::{CommandError, Exit};
use super::input::{Hidden, from_stdin, too_large};
use super::prompt;
use super::ui::Ui;
use credential_helper::credentials;
use flyte_local::process::Spawner;
use flyte_local::secret::MAX_VALUE_BYTES;
use flyte_local::storage::read_users_file;
use flyte_local::transfer::docker::{DockerConfig, DockerError, auth, check, document};

/// The options of Flyte's own command.
#[derive(Args)]
#[command(next_help_heading = "Image pull secrets (--type image_pull)")]
pub(crate) struct DockerArgs {
    /// The registry's host, such as ghcr.io
    #[arg(long, hide_short_help = true, value_name = "HOST", conflicts_with_all = ["value", "value_option", "from_file", "from_docker_config"])]
    registry: Option<String>,
    /// The user name at the registry
    #[arg(long, hide_short_help = true, value_name = "NAME", conflicts_with_all = ["value", "value_option", "from_file", "from_docker_config"])]
    username: Option<String>,
    /// The password or token [default: a hidden prompt, or stdin]
    ///
    /// As an argument, it stays in the shell's history and is visible in the list of processes.
    #[arg(long, hide_short_help = true, value_name = "PASSWORD", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["value", "value_option", "from_file", "from_docker_config", "password_stdin"])]
    password: Option<Hidden>,
    /// Read the password from standard input
    #[arg(long, hide_short_help = true, conflicts_with_all = ["value", "value_option", "from_file", "from_docker_config"])]
    password_stdin: bool,
    /// Use Docker's credentials and credential helpers
    #[arg(long, hide_short_help = true, conflicts_with_all = ["value", "value_option", "from_file"])]
    pub(super) from_docker_config: bool,
    /// Docker's configuration file
    ///
    /// The default is config.json in DOCKER_CONFIG, or in ~/.docker.
    #[arg(long, hide_short_help = true, value_name = "FILE", requires = "from_docker_config")]
    docker_config_path: Option<PathBuf>,
    /// Only these registries, separated by commas
    #[arg(long, hide_short_help = true, value_name = "HOSTS", requires = "from_docker_config")]
    registries: Option<String>,
}

impl DockerArgs {
    /// The first of them that is given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let all = [
            (self.registry.is_some(), "--registry"),
            (self.username.is_some(), "--username"),
            (self.password.is_some(), "--password"),
            (self.password_stdin, "--password-stdin"),
            (self.from_docker_config, "--from-docker-config"),
        ];
        all.into_iter().find(|(is_given, _)| *is_given).map(|(_, name)| name)
    }

    /// The document that the options ask for; `None` if they leave that to standard input.
    pub(crate) fn read(self, ui: &Ui, spawner: &Spawner) -> Result<Option<Zeroizing<Vec<u8>>>, CommandError> {
        if self.from_docker_config {
            return self.of_config(ui, spawner).map(Some);
        }
        let is_asked = std::io::stdin().is_terminal();
        if self.given().is_none() && !is_asked {
            return Ok(None);
        }
        let part = |given: Option<String>, option: &str, question: &str| match given.filter(|text| !text.is_empty()) {
            Some(given) => Ok(given),
            None if is_asked => prompt::line(question),
            None => {
                Err(CommandError::new(Exit::Usage, format!("{option} is missing, and there is no terminal to ask on")))
            }
        };
        let registry = part(self.registry, "--registry", "Registry (e.g., ghcr.io, docker.io): ")?;
        let username = part(self.username, "--username", "Username: ")?;
        if username.contains(':') {
            let reason = "a user name with a ':' cannot be told from the password after it";
            return Err(CommandError::new(Exit::Usage, reason));
        }
        let password = match self.password {
            Some(password) if !password.expose().is_empty() => Zeroizing::new(password.expose().as_bytes().to_vec()),
            _ if self.password_stdin || !is_asked => {
                from_stdin(false, "it is to have the password, for example: echo $TOKEN | flyte-local …")?
            }
            _ => prompt::hidden("Password: ", prompt::Asked::Value)?,
        };
        if password.len() > MAX_VALUE_BYTES {
            return Err(too_large());
        }
        Ok(Some(document(&[(&registry, &auth(&username, &password))])))
    }

    fn of_config(&self, ui: &Ui, spawner: &Spawner) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        let path = self.docker_config_path.clone().or_else(default_config).ok_or_else(|| {
            CommandError::new(Exit::Failed, "no home directory is known")
                .hint("name the file with --docker-config-path")
        })?;
        let bytes = read_users_file(&path, MAX_VALUE_BYTES)?;
        let bytes = bytes.ok_or_else(|| {
            CommandError::new(Exit::NotFound, format!("there is no file {}", path.display()))
                .hint("name Docker's configuration with --docker-config-path FILE, or have it made: docker login")
        })?;
        let config = DockerConfig::parse(&bytes).map_err(|error| {
            let message = format!("{} is not Docker's configuration", path.display());
            CommandError::new(Exit::Failed, message).because(error.to_string())
        })?;
        let registries = self.chosen(&config)?;
        let mut auths = Vec::new();
        for registry in &registries {
            match credentials(spawner, &config, registry) {
                Ok(auth) => auths.push((registry.as_str(), auth)),
                // As the SDK does, which goes on with the others.
                Err(reason) => ui.say(&format!("flyte-local: {registry} is left out: {reason}")),
            }
            if config.has_identity_token(registry) {
                ui.say(&format!(
                    "flyte-local: {registry} has an identity token, which image pull secrets do not carry"
                ));
            }
        }
        if auths.is_empty() {
            let message = format!("no credentials could be extracted for registries: {}", registries.join(", "));
            return Err(CommandError::new(Exit::Failed, message)
                .hint("give them: --registry HOST --username NAME")
                .hint(format!("or have Docker ask for them: docker login {}", registries[0])));
        }
        let auths: Vec<_> = auths.iter().map(|(registry, auth)| (*registry, auth.as_str())).collect();
        Ok(document(&auths))
    }

    /// The registries that are asked for, else all; each once.
    fn chosen(&self, config: &DockerConfig) -> Result<Vec<String>, CommandError> {
        let mut registries: Vec<String> = Vec::new();
        let mut add = |registry: &str| {
            if !registries.iter().any(|other| other == registry) {
                registries.push(registry.to_owned());
            }
        };
        match self.registries.as_deref().filter(|list| !list.is_empty()) {
            Some(list) => list.split(',').map(str::trim).filter(|name| !name.is_empty()).for_each(&mut add),
            None => config.registries().for_each(&mut add),
        }
        if registries.is_empty() {
            let message = "no registries found in Docker's configuration, and none named";
            return Err(CommandError::new(Exit::Failed, message)
                .hint("name them: --registries HOST,HOST; of those with a credential helper, only what stands in \"auths\" is found")
                .hint("or log in: docker login"));
        }
        Ok(registries)
    }
}

/// That a value given whole is a document with which images can be pulled.
pub(crate) fn check_document(bytes: &[u8]) -> Result<(), CommandError> {
    check(bytes).map_err(|error| {
        let refused =
            CommandError::new(Exit::Failed, "the value is no .dockerconfigjson document").because(error.to_string());
        let refused = refused.hint("give what it is made of: --registry HOST --username NAME");
        match error {
            DockerError::NoCredentials(_) => {
                refused.hint("or, for a file of Docker's: --from-docker-config --docker-config-path FILE")
            }
            _ => refused,
        }
    })
}

fn default_config() -> Option<PathBuf> {
    let named = inherited("DOCKER_CONFIG").filter(|path| !path.is_empty());
    let directory = match named {
        Some(path) => PathBuf::from(std::ffi::OsString::from_vec(path.to_vec())),
        None => directories::BaseDirs::new()?.home_dir().join(".docker"),
    };
    Some(directory.join("config.json"))
}
