//! A run of the user's Python with the secrets that its tasks declare, for `run` and `flyte`: composes the interpreter and its
//! bootstrap, the vault, and the launch, none of which knows the others.

mod clean_env;
mod leaks;
mod lent;
mod source;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use super::context::Context;
use super::error::CommandError;
use super::files::User;
use super::hidden;
use super::inject::{Injector, Mount};
use super::interpreter::{TypedCommand, cannot_start, explain, not_python};
use super::paths::user_path;
use flyte_local::flyte::{Broker, Interpreter, Job, Leaks, SecretSource, Settings};
use flyte_local::launch::{self, ChildError, Ended, Removal, Surroundings};
use flyte_local::process::Spawner;
use flyte_local::redact::Watchlist;
pub(crate) use source::{RunScopes, RunSecrets};

/// The options of every command that runs tasks.
#[derive(clap::Args)]
pub(crate) struct TaskArgs {
    /// The Python to run with
    ///
    /// The default is the first of these: the environment that uv makes for the file's PEP 723 header, VIRTUAL_ENV,
    /// the nearest .venv, python3.
    #[arg(long, value_name = "PYTHON", value_parser = user_path())]
    pub(crate) python: Option<PathBuf>,
    /// Run without the private mount and file secrets
    #[arg(long)]
    pub(crate) no_mount: bool,
    /// Let every task see the secrets of all tasks
    #[arg(long)]
    pub(crate) shared_secrets: bool,
    /// Do not mask secrets in the output of the run
    #[arg(long)]
    pub(crate) no_mask: bool,
    /// If a task returns a secret: warn, deny or off
    ///
    /// The default is warn, and deny if Flyte reports the run to its control plane.
    #[arg(long, value_enum, value_name = "WHAT", hide_possible_values = true)]
    pub(crate) leaks: Option<LeakPolicy>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum LeakPolicy {
    Warn,
    Deny,
    Off,
}

impl From<LeakPolicy> for Leaks {
    fn from(policy: LeakPolicy) -> Self {
        match policy {
            LeakPolicy::Warn => Leaks::Warn,
            LeakPolicy::Deny => Leaks::Deny,
            LeakPolicy::Off => Leaks::Off,
        }
    }
}

/// A run that has all it needs: only its job is missing.
pub(crate) struct TaskRun<'a> {
    context: &'a Context<'a>,
    spawner: &'a Spawner,
    interpreter: Interpreter,
    typed: TypedCommand,
    settings: Settings,
    /// The variables of the caller that the interpreter does not get.
    left_out: Vec<OsString>,
    source: RunSecrets,
    watchlist: Watchlist,
    masks: bool,
    removal: Option<Removal>,
}

impl<'a> TaskRun<'a> {
    /// Opens the vault and unlocks the identities. From here on, flyte-local's own messages are masked.
    pub(crate) fn open(
        context: &'a Context<'a>,
        args: &TaskArgs,
        (interpreter, typed): (Interpreter, TypedCommand),
        mount: Mount,
        scopes: RunScopes,
    ) -> Result<Self, CommandError> {
        let watchlist = Watchlist::new();
        let injector = Injector::open(context, User::Task, mount, watchlist.clone())?;
        let removal = injector.removal();
        let settings = Settings {
            command: context.command.clone(),
            shared_secrets: args.shared_secrets,
            leaks: args.leaks.map(Leaks::from),
            secrets_directory: injector.is_redirected().then(|| injector.secrets_directory().to_owned()),
            left_out: Vec::new(),
        };
        let masks = !args.no_mask;
        if masks {
            context.ui.mask(&watchlist);
        }
        let (source, spawner) = (RunSecrets::new(injector, scopes, masks), context.spawner()?);
        let left_out = Vec::new();
        Ok(Self { context, spawner, interpreter, typed, settings, left_out, source, watchlist, masks, removal })
    }

    /// Leaves out the variables of the caller, except a few and those to `keep`.
    pub(crate) fn with_clean_environment(mut self, keep: &[String]) -> Self {
        self.left_out = clean_env::left_out(keep);
        self.settings.left_out = self.left_out.iter().filter_map(|name| name.to_str().map(str::to_owned)).collect();
        self
    }

    /// Runs the job to its end, then reports the files that hold secrets of the run.
    pub(crate) fn run(self, job: Job) -> Result<ExitCode, CommandError> {
        let began = SystemTime::now();
        let searched = (self.settings.leaks != Some(Leaks::Off)).then(|| self.watchlist.clone());
        let ui = self.context.ui;
        let (ended, keeps) = self.execute(job, |source| source)?;
        if let Some(list) = searched {
            leaks::report(ui, &list, keeps, began);
        }
        Ok(ExitCode::from(ended.exit_code()))
    }

    /// Runs the job, answered by what `answering` makes of the vault's secrets; searches nothing afterwards.
    pub(crate) fn survey<S: SecretSource + 'static>(
        self,
        job: Job,
        answering: impl FnOnce(RunSecrets) -> S,
    ) -> Result<Ended, CommandError> {
        self.execute(job, answering).map(|(ended, _)| ended)
    }

    /// Runs the interpreter with its bootstrap; returns how it ended, and where Flyte keeps its results.
    fn execute<S: SecretSource + 'static>(
        self,
        job: Job,
        answering: impl FnOnce(RunSecrets) -> S,
    ) -> Result<(Ended, BTreeSet<PathBuf>), CommandError> {
        let Self { spawner, interpreter, typed, settings, left_out, source, watchlist, masks, removal, .. } = self;
        let surroundings = Surroundings {
            mask: masks.then_some(&watchlist),
            directory: removal.as_ref().map(Removal::directory),
            ..Surroundings::default()
        };
        let mut started = Broker::start(spawner, &interpreter, job, settings, answering(source));
        if let Ok((_, command)) = &mut started {
            for name in &left_out {
                command.env_remove(name);
            }
        }
        conversed(spawner, &interpreter, &typed, started, surroundings)
    }
}

/// Runs an interpreter that talks to a broker.
fn conversed(
    spawner: &Spawner,
    interpreter: &Interpreter,
    typed: &TypedCommand,
    started: io::Result<(Broker, Command)>,
    surroundings: Surroundings<'_>,
) -> Result<(Ended, BTreeSet<PathBuf>), CommandError> {
    let (broker, command) = started.map_err(|error| CommandError::from_io("start the broker", &error))?;
    let ended = match launch::run(hidden::supervisor(spawner)?, &command, surroundings, |parent| broker.started(parent))
    {
        Err(ChildError::Start { source, .. }) => return Err(cannot_start(interpreter, &source, typed.verb)),
        ended => ended?,
    };
    match (broker.failure(), ended) {
        (Some(failure), _) => Err(explain(failure, interpreter, typed)),
        (None, Ended::Code(code)) if !broker.greeted() => Err(not_python(interpreter, code, typed.verb)),
        (None, ended) => Ok((ended, broker.keeps())),
    }
}
