//! The value of an image pull secret: from options, prompts, Docker's configuration or its credential helpers.

mod credential_helper;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::context::Context;
use super::environment::{path_variable, permissions};
use super::error::{CommandError, Exit};
use super::explain::{file_form, untrusted};
use super::input::{Hidden, from_stdin, too_large};
use super::paths::{home, user_path};
use super::prompt;
use credential_helper::credentials;
use flyte_local::file_form::FileForm;
use flyte_local::secret::MAX_VALUE_BYTES;
use flyte_local::storage::{read_trusted_file, read_users_file};
use flyte_local::transfer::docker::{DockerConfig, DockerError, auth, check, document};

/// Far more than the configuration of any user.
const MAX_CONFIG_BYTES: usize = 256 << 10;

/// More registries than any user has. Each may cost a run of a credential helper.
const MAX_REGISTRIES: usize = 256;

const NAME_THE_CONFIG: &str = "name Docker's configuration with --docker-config-path FILE";

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
    #[arg(long, hide_short_help = true, value_name = "FILE", requires = "from_docker_config", value_parser = user_path())]
    docker_config_path: Option<PathBuf>,
    /// Only these registries, separated by commas
    #[arg(long, hide_short_help = true, value_name = "HOSTS", requires = "from_docker_config")]
    registries: Option<String>,
}

impl DockerArgs {
    /// Returns the first of these options that is given.
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

    /// Returns the document that the options ask for, or `None` if it comes from standard input.
    pub(crate) fn read(self, context: &Context<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, CommandError> {
        if self.from_docker_config {
            return self.read_docker_configuration(context).map(Some);
        }
        let is_asked = std::io::stdin().is_terminal();
        if self.given().is_none() && !is_asked {
            return Ok(None);
        }
        let part = |given: Option<String>, option: &str, question: &str| match given.filter(|text| !text.is_empty()) {
            Some(given) => Ok(given),
            None if is_asked => prompt::line(question),
            None => Err(CommandError::new(
                Exit::Usage,
                format!("{option} is missing, and cannot ask for it: standard input is not a terminal"),
            )),
        };
        let registry = part(self.registry, "--registry", "Registry (e.g., ghcr.io, docker.io): ")?;
        let username = part(self.username, "--username", "Username: ")?;
        if username.contains(':') {
            let reason = "the user name must not contain ':', which separates it from the password";
            return Err(CommandError::new(Exit::Usage, reason));
        }
        let password = match self.password {
            Some(password) if !password.expose().is_empty() => Zeroizing::new(password.expose().as_bytes().to_vec()),
            _ if self.password_stdin || !is_asked => {
                from_stdin(false, "pipe the password in, for example: echo $TOKEN | flyte-local …")?
            }
            _ => prompt::hidden("Password: ", prompt::Asked::Value)?,
        };
        if password.len() > MAX_VALUE_BYTES {
            return Err(too_large());
        }
        Ok(Some(document(&[(&registry, &auth(&username, &password))])))
    }

    fn read_docker_configuration(&self, context: &Context<'_>) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        let (path, bytes) = match named_config(self.docker_config_path.clone())? {
            Some(path) => (path.clone(), read_users_file(&path, MAX_CONFIG_BYTES)?),
            None => {
                let path = home().map(|home| home.join(".docker/config.json")).ok_or_else(|| {
                    CommandError::new(Exit::Failed, "cannot find your home directory").hint(NAME_THE_CONFIG)
                })?;
                let bytes = read_trusted_file(&path, MAX_CONFIG_BYTES, permissions()?);
                let bytes = bytes.map_err(|error| untrusted(&error, Some(NAME_THE_CONFIG.to_owned())))?;
                (path, bytes)
            }
        };
        let bytes = bytes.ok_or_else(|| {
            CommandError::new(Exit::NotFound, format!("there is no file {}", path.display()))
                .hint("name Docker's configuration with --docker-config-path FILE, or create it: docker login")
        })?;
        let config = DockerConfig::parse(&bytes).map_err(|error| {
            if let Some(form) = FileForm::recognise_text(&bytes) {
                return file_form::unreadable(&path, form).into();
            }
            let message = format!("{} is not a Docker configuration file", path.display());
            CommandError::new(Exit::Failed, message).because(error.to_string())
        })?;
        let registries = self.chosen(&config)?;
        let (ui, spawner) = (context.ui, context.spawner()?);
        let mut auths = Vec::new();
        for registry in &registries {
            match credentials(spawner, &config, registry) {
                Ok(auth) => auths.push((registry.as_str(), auth)),
                // As the SDK does, which goes on with the others.
                Err(reason) => ui.say(&format!("flyte-local: left out {registry}: {reason}")),
            }
            if config.has_identity_token(registry) {
                ui.say(&format!(
                    "flyte-local: {registry} has an identity token, which an image pull secret cannot hold"
                ));
            }
        }
        if auths.is_empty() {
            let message = format!("found no credentials for these registries: {}", registries.join(", "));
            return Err(CommandError::new(Exit::Failed, message)
                .hint("give them: --registry HOST --username NAME")
                .hint(format!("or log in with Docker: docker login {}", registries[0])));
        }
        let auths: Vec<_> = auths.iter().map(|(registry, auth)| (*registry, auth.as_str())).collect();
        Ok(document(&auths))
    }

    /// Returns the registries that the user names, or else all, each once.
    fn chosen(&self, config: &DockerConfig) -> Result<Vec<String>, CommandError> {
        let (mut registries, mut seen) = (Vec::new(), BTreeSet::new());
        let mut add = |registry: &str| {
            if seen.insert(registry.to_owned()) {
                registries.push(registry.to_owned());
            }
        };
        match self.registries.as_deref().filter(|list| !list.is_empty()) {
            Some(list) => list
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(|name| config.name_of(name))
                .for_each(&mut add),
            None => config.registries().for_each(&mut add),
        }
        if registries.len() > MAX_REGISTRIES {
            let message = format!("there are {} registries, and at most {MAX_REGISTRIES} are read", registries.len());
            return Err(CommandError::new(Exit::Failed, message).hint("name those you need: --registries HOST,HOST"));
        }
        if registries.is_empty() {
            let message = "Docker's configuration names no registry, and you named none";
            return Err(CommandError::new(Exit::Failed, message)
                .hint("name them: --registries HOST,HOST; a registry that only a credential helper knows is found if it is in \"auths\"")
                .hint("or log in: docker login"));
        }
        Ok(registries)
    }
}

/// Checks that a value is a document with which images can be pulled.
pub(crate) fn check_document(bytes: &[u8]) -> Result<(), CommandError> {
    check(bytes).map_err(|error| {
        let refused =
            CommandError::new(Exit::Failed, "the value is not a .dockerconfigjson document").because(error.to_string());
        let refused = refused.hint("give its parts instead: --registry HOST --username NAME");
        match error {
            DockerError::NoCredentials(_) => {
                refused.hint("or read Docker's configuration: --from-docker-config --docker-config-path FILE")
            }
            _ => refused,
        }
    })
}

/// Returns the configuration that an option or a variable names.
fn named_config(option: Option<PathBuf>) -> Result<Option<PathBuf>, CommandError> {
    match option {
        None => Ok(path_variable("DOCKER_CONFIG")?.map(|directory| directory.join("config.json"))),
        option => Ok(option),
    }
}
