//! Where an image pull secret comes from: options, prompts, Docker's configuration, and its credential helpers.

use std::io::{IsTerminal, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use zeroize::Zeroizing;

use super::environment::inherited;
use super::error::{CommandError, Exit};
use super::prompt;
use super::ui::Ui;
use super::value_input::{Hidden, from_stdin, too_large};
use flyte_local::process::Spawner;
use flyte_local::secret::MAX_VALUE_BYTES;
use flyte_local::storage::read_users_file;
use flyte_local::transfer::docker::{CredentialSource, DockerConfig, DockerError, HelperAnswer, auth, check, document};

/// How long a credential helper may take: it may ask its user for a password.
const PATIENCE: Duration = Duration::from_secs(60);

/// Far more than a helper answers.
const MAX_ANSWER_BYTES: usize = 64 << 10;

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

/// What a document has for a registry; else why there is nothing.
fn credentials(spawner: &Spawner, config: &DockerConfig, registry: &str) -> Result<Zeroizing<String>, String> {
    match config.source(registry) {
        CredentialSource::Stored(stored) => Ok(Zeroizing::new(stored.to_owned())),
        CredentialSource::Nowhere => Err("there are no credentials for it".to_owned()),
        CredentialSource::Helper(helper) => {
            // Of a path, another program than one in PATH.
            if !helper.chars().all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c)) {
                return Err(format!("{helper:?} is no name of a credential helper"));
            }
            let program = format!("docker-credential-{helper}");
            let answer = ask_helper(spawner, &program, &["get"], registry, PATIENCE)?;
            let answer = HelperAnswer::parse(&answer).ok_or_else(|| format!("{program} did not answer in its form"))?;
            Ok(auth(&answer.username, answer.secret.as_bytes()))
        }
    }
}

/// What a credential helper answers; else why it does not. Its messages are for the terminal, and what it says on standard
/// output is not shown, as it may be a password.
fn ask_helper(
    spawner: &Spawner,
    program: &str,
    arguments: &[&str],
    registry: &str,
    patience: Duration,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{program} is not in PATH"),
        _ => format!("{program}: {error}"),
    };
    let mut command = spawner.command(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let answer = answer_of(&mut child, registry, Instant::now() + patience);
    if !matches!(answer, Ok(Some(_))) {
        let _ = child.kill();
        let _ = child.wait();
    }
    match answer.map_err(failed)? {
        None => Err(format!("{program} took longer than {} s, or answered without an end", patience.as_secs())),
        Some((_, status)) if !status.success() => Err(match status.code() {
            Some(code) => format!("{program} ended with code {code}"),
            None => format!("{program} was killed"),
        }),
        Some((answer, _)) => Ok(answer),
    }
}

type Answered = (Zeroizing<Vec<u8>>, std::process::ExitStatus);

/// What it says, and how it ended; `None` if it has not until then.
fn answer_of(child: &mut Child, registry: &str, until: Instant) -> std::io::Result<Option<Answered>> {
    // It may end before it has read it. A name that a pipe does not hold at once would be for no registry.
    let _ = child.stdin.take().expect("piped").write_all(&registry.as_bytes()[..registry.len().min(4096)]);
    let mut output = child.stdout.take().expect("piped");
    let mut answer = Zeroizing::new(vec![0; MAX_ANSWER_BYTES]);
    let mut length = 0;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        let ready = match poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => continue,
            ready => ready?,
        };
        if ready == 0 || length == answer.len() {
            return Ok(None);
        }
        match output.read(&mut answer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    answer.truncate(length);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some((answer, status)));
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of a helper that is this shell script.
    fn asked(script: &str, patience: Duration) -> Result<Vec<u8>, String> {
        ask_helper(&Spawner::new([], || ()), "sh", &["-c", script], "ghcr.io", patience).map(|answer| answer.to_vec())
    }

    #[test]
    fn a_helper_is_asked_once_and_told_no_newline() {
        let asked = |script| asked(script, PATIENCE);
        assert_eq!(asked("cat; echo; echo more"), Ok(b"ghcr.io\nmore\n".to_vec()));
        assert_eq!(asked("exec <&-; echo answer"), Ok(b"answer\n".to_vec()));
        assert_eq!(asked("echo hunter2; exit 3"), Err("sh ended with code 3".to_owned()));
        assert_eq!(asked("kill -9 $$"), Err("sh was killed".to_owned()));
    }

    #[test]
    fn a_helper_that_does_not_come_to_an_end_is_not_waited_for() {
        let instant = Duration::from_millis(50);
        let patience = [("exec sleep 1000", instant), ("exec >&-; exec sleep 1000", instant), ("exec yes", PATIENCE)];
        for (script, patience) in patience {
            let refused = asked(script, patience).expect_err("no answer");
            assert!(refused.contains("took longer than"), "{script}: {refused}");
        }
    }
}
