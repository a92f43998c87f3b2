//! Messages between the bootstrap and the broker: one JSON object a line, and one reply to each request.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::PythonVersion;

/// A secret as the SDK's `flyte.Secret` declares it.
#[derive(Debug, Clone, Deserialize)]
pub struct Declared {
    /// Its name in the vault.
    pub key: String,
    /// The group, which takes no part in the look-up.
    pub group: Option<String>,
    /// The variable; `None` for a file, as the SDK serialises it.
    pub variable: Option<String>,
    /// The parameter of a connector that gets it, if that is why the task has it.
    pub parameter: Option<String>,
    /// The image whose build gets it, if that is what mounts it.
    pub image: Option<String>,
    /// True if the environment in which the run started has that variable.
    pub shell: bool,
}

/// The secrets that one environment of a file declares, or one task of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Surveyed {
    /// The environment's name.
    pub environment: String,
    /// The task's name in the file, if the task declares them.
    pub task: Option<String>,
    /// The declared secrets.
    pub secrets: Vec<Declared>,
}

/// The project and domain of Flyte's own configuration, or of the user's code.
#[derive(Debug, Clone, Deserialize)]
pub struct ConfiguredScope {
    /// The project, as text.
    pub project: Option<String>,
    /// The domain, as text.
    pub domain: Option<String>,
    /// The kind of each value that is not text, in words (`a list`), by `project` or `domain`.
    pub unfit: BTreeMap<String, String>,
}

/// A request of the bootstrap.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    /// The first request, with the version of Python.
    Hello {
        /// The version.
        python: PythonVersion,
    },
    /// The project and domain of Flyte's own configuration.
    Scope(ConfiguredScope),
    /// A process that a program of the run started joins it. The first request of such a process.
    Join {
        /// Its variables. In names and values, each character stands for the byte of its number.
        variables: BTreeMap<String, Zeroizing<String>>,
    },
    /// Secrets, because an environment was declared or a task is about to execute.
    Secrets {
        /// The task that is about to use them, in words: `task main`; or an app, or another user.
        needed_by: Option<String>,
        /// The declared secrets.
        secrets: Vec<Declared>,
    },
    /// The declarations of a file that was imported for a survey.
    Survey {
        /// The declarations, for each environment and for each task that declares secrets itself.
        declared: Vec<Surveyed>,
    },
    /// The interpreter has no Flyte SDK. The bootstrap exits after it.
    LacksSdk {
        /// The interpreter's own name for itself.
        python: String,
    },
    /// The directories in which Flyte keeps a run's outputs.
    Keeps {
        /// Absolute paths, which need not exist.
        directories: Vec<PathBuf>,
    },
    /// The forms of a value, to look for in what a task returns.
    Forms {
        /// The value. Each character stands for the byte of its number.
        value: Zeroizing<String>,
    },
    /// A container, for which the run lends files: the secrets that its task declares as such, and its variables.
    Container {
        /// The full name of the task.
        task: String,
        /// The secrets that become files.
        secrets: Vec<Declared>,
        /// The variables. Each character of a value stands for the byte of its number.
        variables: BTreeMap<String, Zeroizing<String>>,
    },
    /// The build of an image, with the secrets that its layers mount.
    Build {
        /// The image, in words: `image main`.
        needed_by: String,
        /// The secrets. Each one's variable is that which the builder looks for.
        secrets: Vec<Declared>,
    },
    /// A lent directory, which is no longer needed.
    GiveBack {
        /// Its path.
        directory: PathBuf,
    },
    /// The run cannot go on, for a reason of flyte-local's rather than the user's code. The bootstrap exits after it.
    Fail {
        /// The message.
        message: String,
        /// The hints.
        hints: Vec<String>,
        /// The exit code.
        code: u8,
    },
}

/// The interpreter's job.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Job {
    /// A file: its `__main__` block, or a task of it.
    File {
        /// Its path.
        file: String,
        /// A task and its arguments, or arguments alone.
        arguments: Vec<String>,
        /// The project given by flag or variable.
        project: Option<String>,
        /// The domain given by flag or variable.
        domain: Option<String>,
    },
    /// A file to import for its declarations; no task of it is executed.
    Survey {
        /// Its path.
        file: String,
        /// The only task to report, if not the whole file.
        task: Option<String>,
        /// The project given by flag or variable.
        project: Option<String>,
        /// The domain given by flag or variable.
        domain: Option<String>,
    },
    /// Flyte's own command.
    Command {
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// A module, as `python -m` does.
    Module {
        /// Its dotted name.
        module: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

impl Job {
    /// The user's file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Job::File { file, .. } | Job::Survey { file, .. } => Some(Path::new(file)),
            Job::Command { .. } | Job::Module { .. } => None,
        }
    }
}

/// Settings for the tasks of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Settings {
    /// `flyte-local`, with the options that led to the vault. A hint begins with it.
    pub command: String,
    /// True if every task sees the secrets of all tasks.
    pub shared_secrets: bool,
    /// The reaction to a task that returns one of its secrets. `None` if the user chose none: the bootstrap warns, but denies if
    /// the SDK reports the run to a control plane.
    pub leaks: Option<Leaks>,
    /// The directory of file secrets, if it is not the cluster's. Python code is redirected to it.
    pub secrets_directory: Option<String>,
    /// The variables of the shell that the interpreter did not get.
    pub left_out: Vec<String>,
}

/// Reactions to a task that returns one of its secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaks {
    /// A warning on standard error.
    Warn,
    /// The task fails.
    Deny,
    /// Nothing.
    Off,
}

/// The secrets that a task or an environment gets.
#[derive(Default, Serialize)]
pub struct Provided {
    /// The variables to set.
    pub variables: BTreeMap<String, Zeroizing<String>>,
    /// The variables that keep the shell's value, because the secret does not exist.
    pub shell: Vec<String>,
    /// The places, in the request, of the declared secrets that are missing.
    pub missing: Vec<usize>,
    /// The reason for each of them: lines of text for the user.
    pub why_missing: Vec<String>,
    /// Notes for the user, a line each.
    pub notes: Vec<String>,
}

/// The secrets that the build of an image gets.
#[derive(Default, Serialize)]
pub struct BuildSecrets {
    /// The variables to set.
    pub variables: BTreeMap<String, Zeroizing<String>>,
    /// By variable, the files of values that no variable can hold.
    pub files: BTreeMap<String, String>,
    /// The directory that was lent for the files.
    pub directory: Option<String>,
    /// The variables that keep the shell's value, because the secret does not exist.
    pub shell: Vec<String>,
    /// The places, in the request, of the secrets that are missing.
    pub missing: Vec<usize>,
    /// The reason for each of them: lines of text for the user.
    pub why_missing: Vec<String>,
    /// Notes for the user, a line each.
    pub notes: Vec<String>,
}

/// A variable of a process that joins, whose value the run gave it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct FromRun {
    /// Its name.
    pub variable: String,
    /// The secret in it; none in a variable that a cluster sets beside a secret.
    pub key: Option<String>,
    /// The secret's group.
    pub group: Option<String>,
}

/// Returns the bytes of a text in which each character stands for the byte of its number.
pub(super) fn bytes_of(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    text.chars().map(|byte| u8::try_from(byte).ok()).collect::<Option<Vec<u8>>>().map(Zeroizing::new)
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Reply<'a> {
    Start {
        load: &'a str,
        modules: &'a [(&'a str, &'a str)],
        job: &'a Job,
        settings: &'a Settings,
        parent: u32,
        join: Option<&'a str>,
    },
    Joined {
        modules: &'a [(&'a str, &'a str)],
        settings: &'a Settings,
        from_run: Vec<FromRun>,
        changed: Vec<&'a str>,
    },
    Done {},
    Secrets(&'a Provided),
    Forms {
        forms: Vec<Zeroizing<String>>,
    },
    Lent {
        directory: &'a str,
    },
    Build(&'a BuildSecrets),
    Refused {
        error: &'a str,
    },
    Invalid {
        invalid: &'a str,
    },
}
