//! `run`: composes the interpreter and its bootstrap, the vault, and the launch, none of which knows the others.

mod dry_run;
mod leaks;
mod lent;
mod source;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::time::SystemTime;

use crate::cli::arguments::RunScopeArgs;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::files::User;
use crate::cli::hidden;
use crate::cli::inject::{Injector, Mount};
use crate::cli::interpreter::{self, TypedCommand, cannot_start, explain, not_python};
use crate::cli::paths::{expanded, user_path};
use dry_run::Survey;
use flyte_local::flyte::{Broker, Interpreter, Job, Leaks, Settings};
use flyte_local::launch::{self, ChildError, Ended, Removal, Surroundings};
use flyte_local::process::Spawner;
use flyte_local::redact::Watchlist;
use flyte_local::secret::RunScope;
use source::RunSecrets;

/// Run a Flyte task with the secrets it declares
///
/// With a TASK, does what `flyte run --local FILE TASK ARGS…` does. Without one, runs the file's __main__ block as a
/// script; a file that has none runs its only task, or `main`. The run stays on this machine, whatever a
/// configuration file names. The exit code is the command's own, or 128 plus the number of the signal that ended it.
///
/// Secrets come from the narrowest scope that has them, in this order: project and domain, project, domain,
/// organization. The project and the domain come from the first of these that sets them: -p and -d,
/// FLYTE_LOCAL_PROJECT and FLYTE_LOCAL_DOMAIN, Flyte's own configuration, config.toml.
#[derive(clap::Args)]
#[command(override_usage = "\
flyte-local run [OPTIONS] FILE [TASK [ARGS]...]
       flyte-local run [OPTIONS] -m MODULE [ARGS]...")]
#[command(after_long_help = "\
Examples:
  flyte-local run task.py                     runs the __main__ block
  flyte-local run task.py main --x 3          runs a task with arguments
  flyte-local run task.py -- --epochs 3       passes arguments to the block
  flyte-local run -p my_project -d development task.py main
  flyte-local run -m pytest tests/
  flyte-local run --dry-run -p my_project -d production task.py")]
pub(crate) struct Args {
    #[command(flatten)]
    scope: RunScopeArgs,
    /// The Python to run with
    ///
    /// The default is the first of these: the environment that uv makes for the file's PEP 723 header, VIRTUAL_ENV,
    /// the nearest .venv, python3.
    #[arg(long, value_name = "PYTHON", value_parser = user_path())]
    python: Option<PathBuf>,
    /// Show which secrets the file declares; run nothing
    ///
    /// Imports the file, and shows which scope each secret comes from. With a TASK, shows only the secrets of that
    /// task.
    #[arg(long, conflicts_with = "module")]
    dry_run: bool,
    /// Run without the private mount and file secrets
    #[arg(long)]
    no_mount: bool,
    /// Let every task see the secrets of all tasks
    #[arg(long)]
    shared_secrets: bool,
    /// Do not mask secrets in the output of the run
    #[arg(long)]
    no_mask: bool,
    /// If a task returns one of its secrets: warn, deny or off
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = LeakPolicy::Warn, hide_possible_values = true)]
    leaks: LeakPolicy,
    /// Run a module with its arguments, as `python -m` does
    #[arg(short, value_names = ["MODULE", "ARGS"], num_args = 1.., allow_hyphen_values = true)]
    module: Vec<String>,
    /// The Python file, then a task and the task's arguments
    #[arg(value_names = ["FILE", "TASK", "ARGS"], trailing_var_arg = true, allow_hyphen_values = true)]
    #[arg(required_unless_present = "module")]
    file: Vec<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum LeakPolicy {
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

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<ExitCode, CommandError> {
    let mount = if args.no_mount || args.dry_run { Mount::None } else { Mount::Private };
    let chosen = context.chosen_scope(&args.scope)?;
    let job = job(args.module, args.file, &chosen, args.dry_run)?;
    // Now, because uv may run code of packages before the identities are unlocked.
    let spawner = context.spawner()?;
    let interpreter = interpreter::find(spawner, args.python, job.file(), "run")?;
    interpreter::require_trusted_configuration(None)?;
    let run = format!("{} run{}", context.command, if args.dry_run { " --dry-run" } else { "" });
    let typed = TypedCommand { run, verb: "run", file: job.file().map(Path::to_owned) };
    let fallback = context.config_scope()?;
    let watchlist = Watchlist::new();
    let injector = Injector::open(context, User::Task, mount, watchlist.clone())?;
    let removal = injector.removal();
    let settings = Settings {
        shared_secrets: args.shared_secrets,
        leaks: args.leaks.into(),
        secrets_directory: injector.is_redirected().then(|| injector.secrets_directory().to_owned()),
    };
    if !args.no_mask {
        context.ui.mask(&watchlist);
    }
    let source = RunSecrets::new(injector, chosen, fallback, !args.no_mask);
    let surroundings = Surroundings {
        mask: (!args.no_mask).then_some(&watchlist),
        directory: removal.as_ref().map(Removal::directory),
        ..Surroundings::default()
    };
    if !args.dry_run {
        let began = SystemTime::now();
        let searched = (settings.leaks != Leaks::Off).then_some(&watchlist);
        let (ended, keeps) = execute(
            spawner,
            &interpreter,
            &typed,
            Broker::start(spawner, &interpreter, job, settings, source),
            surroundings,
        )?;
        if let Some(list) = searched {
            leaks::report(context.ui, list, keeps, began);
        }
        return Ok(ExitCode::from(ended.exit_code()));
    }
    let (rows, surveyed) = mpsc::channel();
    let (ended, _) = execute(
        spawner,
        &interpreter,
        &typed,
        Broker::start(spawner, &interpreter, job, settings, Survey { source, rows }),
        surroundings,
    )?;
    match (surveyed.try_recv(), ended) {
        // If the import failed, a missing secret may be the reason.
        (Ok(rows), ended) => dry_run::report(context, rows).map(|()| ExitCode::from(ended.exit_code())),
        (Err(_), Ended::Code(0)) => Err(CommandError::new(Exit::Failed, "the file exited during its import")),
        (Err(_), ended) => Ok(ExitCode::from(ended.exit_code())),
    }
}

/// Runs the interpreter with its bootstrap; returns how it ended, and where Flyte keeps its results.
fn execute(
    spawner: &Spawner,
    interpreter: &Interpreter,
    typed: &TypedCommand,
    started: io::Result<(Broker, Command)>,
    surroundings: Surroundings<'_>,
) -> Result<(Ended, BTreeSet<PathBuf>), CommandError> {
    let (broker, command) = started.map_err(|error| CommandError::from_io("start the broker", &error))?;
    let ended = match launch::run(hidden::supervisor(spawner)?, &command, surroundings, |parent| broker.started(parent))
    {
        Err(ChildError::Start { source, .. }) => return Err(cannot_start(interpreter, &source, "run")),
        ended => ended?,
    };
    match (broker.failure(), ended) {
        (Some(failure), _) => Err(explain(failure, interpreter, typed)),
        (None, Ended::Code(code)) if !broker.greeted() => Err(not_python(interpreter, code, "run")),
        (None, ended) => Ok((ended, broker.keeps())),
    }
}

fn job(module: Vec<String>, file: Vec<String>, chosen: &RunScope, dry_run: bool) -> Result<Job, CommandError> {
    if let Some((module, arguments)) = module.split_first() {
        return Ok(Job::Module { module: module.clone(), arguments: arguments.to_vec() });
    }
    let (file, arguments) = file.split_first().expect("clap requires one of the two");
    let file = &match expanded(PathBuf::from(file)) {
        Ok(path) => path.into_os_string().into_string().unwrap_or_else(|_| file.clone()),
        Err(error) => return Err(CommandError::new(Exit::Usage, format!("{file}: {error}"))),
    };
    let path = Path::new(file);
    if file.starts_with('-') && !path.exists() {
        let option = file.split('=').next().unwrap_or_default();
        return Err(CommandError::new(Exit::Usage, format!("run has no option {option}"))
            .hint("see the options: flyte-local run --help"));
    }
    if path.is_dir() {
        let error = CommandError::new(Exit::Usage, format!("{file} is a directory, not a Python file"));
        return Err(error.hint("run a module or a package with -m"));
    }
    if !path.exists() {
        return Err(CommandError::new(Exit::NotFound, format!("there is no file {file}")));
    }
    let (project, domain) = (chosen.project.clone().map(String::from), chosen.domain.clone().map(String::from));
    if dry_run {
        // The arguments after a task are for the task, which a dry run does not start.
        let task = arguments.first().filter(|argument| !argument.starts_with('-')).cloned();
        return Ok(Job::Survey { file: file.clone(), task, project, domain });
    }
    Ok(Job::File { file: file.clone(), arguments: arguments.to_vec(), project, domain })
}
