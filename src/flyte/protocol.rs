//! What the bootstrap and the broker say to each other: one JSON object a line, each request answered by one reply.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A secret as the SDK's `flyte.Secret` declares it.
#[derive(Debug, Clone, Deserialize)]
pub struct Declared {
    /// Its name in the vault.
    pub key: String,
    /// The group, which takes no part in the look-up.
    pub group: Option<String>,
    /// The variable it goes to; a file if there is none, as the SDK serialises it.
    pub variable: Option<String>,
    /// Whether the environment that the run started in has that variable.
    pub shell: bool,
}

/// What one environment of a file declares, or one task of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Surveyed {
    /// The environment's name.
    pub environment: String,
    /// The task's name in the file, where this is what the task declares.
    pub task: Option<String>,
    /// What is declared.
    pub secrets: Vec<Declared>,
}

/// What the bootstrap asks.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    /// The first: which Python this is.
    Hello {
        /// Major, minor and micro version.
        python: (u32, u32, u32),
    },
    /// The project and domain of Flyte's own configuration.
    Scope {
        /// The project it names.
        project: Option<String>,
        /// The domain it names.
        domain: Option<String>,
    },
    /// Secrets, because an environment was declared (no task) or a task is about to execute.
    Secrets {
        /// The full name of the task.
        task: Option<String>,
        /// What is declared.
        secrets: Vec<Declared>,
    },
    /// What a file that was imported for a survey declares.
    Survey {
        /// By environment, and by task where a task has secrets of its own.
        declared: Vec<Surveyed>,
    },
    /// The interpreter has no Flyte SDK. The bootstrap exits after it.
    LacksSdk {
        /// The interpreter's own name for itself.
        python: String,
    },
    /// Where Flyte keeps what a run makes.
    Keeps {
        /// Absolute paths, of what need not exist.
        directories: Vec<PathBuf>,
    },
    /// The run cannot go on, for a reason of ours rather than of the user's code. The bootstrap exits after it.
    Fail {
        /// What is wrong.
        message: String,
        /// What to do about it.
        hints: Vec<String>,
        /// The exit code.
        code: u8,
    },
}

/// What the interpreter is to run.
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
    /// A file, imported to see what it declares; nothing of it is executed.
    Survey {
        /// Its path.
        file: String,
        /// The one task to tell of, if not of the whole file.
        task: Option<String>,
        /// The project given by flag or variable.
        project: Option<String>,
        /// The domain given by flag or variable.
        domain: Option<String>,
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
            Job::Module { .. } => None,
        }
    }
}

/// How the tasks of a run are watched.
#[derive(Debug, Clone, Serialize)]
pub struct Settings {
    /// Whether every task sees the secrets of all.
    pub shared_secrets: bool,
    /// What happens to a task that returns a secret of its own.
    pub leaks: Leaks,
    /// Where file secrets are, if not where a cluster mounts them: Python code is led there.
    pub secrets_directory: Option<String>,
}

/// What happens to a task that returns a secret of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaks {
    /// It is told on standard error.
    Warn,
    /// The task fails.
    Deny,
    /// Nothing.
    Off,
}

/// What a task finds in its environment.
#[derive(Default, Serialize)]
pub struct Provided {
    /// The variables to set.
    pub variables: BTreeMap<String, Zeroizing<String>>,
    /// The variables that keep what the shell has there, because there is no such secret.
    pub shell: Vec<String>,
    /// Which of the declared secrets there are not, by their place in the request.
    pub missing: Vec<usize>,
    /// Why there are not, for each of these; lines of text for the user.
    pub why_missing: Vec<String>,
    /// What the user is to know, a line each.
    pub notes: Vec<String>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Reply<'a> {
    Start { load: &'a str, modules: &'a [(&'a str, &'a str)], job: &'a Job, settings: &'a Settings, parent: u32 },
    Done {},
    Secrets(&'a Provided),
    Refused { error: &'a str },
}
