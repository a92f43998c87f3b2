//! `run`: composes the interpreter and its bootstrap, the vault, and the launch, none of which knows the others.

mod dry_run;
pub(super) mod failure;
mod leaks;
mod source;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::time::SystemTime;

use crate::cli::RunScopeArgs;
use crate::cli::commands::supervise;
use crate::cli::context::{Context, virtual_env};
use crate::cli::error::{CliError, Exit};
use crate::cli::inject::{Injector, Mount, User};
use dry_run::Survey;
use failure::{Typed, cannot_start, explain, no_environment, not_python};
use flyte_local::flyte::{Broker, Interpreter, InterpreterSearch, Job, Leaks, Settings};
use flyte_local::launch::{self, ChildError, Ended, Removal, Surroundings};
use flyte_local::process::Spawner;
use flyte_local::redact::Watchlist;
use flyte_local::secret::RunScope;
use source::Source;

/// Run a Flyte file, a task of it, or a Python module, with the secrets its tasks declare
///
/// With a TASK, does what `flyte run --local FILE TASK ARGS…` does. Without one, runs the file's __main__ block as a
/// script; a file that has none runs its only task, or `main`. Whatever a configuration file names, the run stays on this
/// machine. The exit code is the command's own, or 128 and the number of the signal that ended it.
///
/// Secrets are looked for narrowest first: project and domain, project, domain, organization. The project and domain
/// are those of -p and -d, else FLYTE_LOCAL_PROJECT and FLYTE_LOCAL_DOMAIN, else Flyte's own configuration, else
/// config.toml.
#[derive(clap::Args)]
#[command(override_usage = "\
flyte-local run [OPTIONS] FILE [TASK [ARGS]...]
       flyte-local run [OPTIONS] -m MODULE [ARGS]...")]
#[command(after_help = "\
Examples:
  flyte-local run task.py                     the __main__ block, or the only task
  flyte-local run task.py main --x 3          a task and its arguments
  flyte-local run task.py -- --epochs 3       arguments for the __main__ block
  flyte-local run -p my_project -d development task.py main
  flyte-local run -m pytest tests/
  flyte-local run --dry-run -p my_project -d production task.py")]
pub(crate) struct Args {
    #[command(flatten)]
    scope: RunScopeArgs,
    /// The Python to run with [default: the one uv makes for the file's PEP 723 header, or VIRTUAL_ENV's, or the nearest
    /// .venv's, or python3]
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Import the file, say which secrets it or the TASK declares and where they would come from, and run nothing
    #[arg(long, conflicts_with = "module")]
    dry_run: bool,
    /// Do without the private mount for file secrets, and so without file secrets
    #[arg(long)]
    no_mount: bool,
    /// Let every task see the secrets of all, instead of its own alone
    #[arg(long)]
    shared_secrets: bool,
    /// Let secrets be seen in what the run prints
    #[arg(long)]
    no_mask: bool,
    /// What to do when a task returns a secret of its own: warn, deny or off
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = LeakPolicy::Warn, hide_possible_values = true)]
    leaks: LeakPolicy,
    /// Run a module, as `python -m` does; what follows is its arguments
    #[arg(short, value_names = ["MODULE", "ARGS"], num_args = 1.., allow_hyphen_values = true)]
    module: Vec<String>,
    /// The Python file, then a task of it and the task's arguments
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

pub(crate) fn run(context: Context<'_>, args: Args) -> Result<ExitCode, CliError> {
    let mount = if args.no_mount || args.dry_run { Mount::None } else { Mount::Private };
    let chosen = context.chosen_scope(&args.scope)?;
    let job = job(args.module, args.file, &chosen, args.dry_run)?;
    // uv may run code of packages before the identities are unlocked.
    context.passphrases().hold();
    let spawner = context.spawner();
    let interpreter = find_interpreter(spawner, args.python, job.file())?;
    let run = format!("{} run{}", context.command, if args.dry_run { " --dry-run" } else { "" });
    let typed = Typed { run, verb: "run", file: job.file().map(Path::to_owned) };
    let fallback = context.config_scope()?;
    let watchlist = Watchlist::new();
    let injector = Injector::open(&context, User::Task, mount, watchlist.clone())?;
    let removal = injector.removal();
    let settings = Settings {
        shared_secrets: args.shared_secrets,
        leaks: args.leaks.into(),
        secrets_directory: injector.is_redirected().then(|| injector.secrets_directory().to_owned()),
    };
    let source = Source::new(injector, chosen, fallback, !args.no_mask);
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
        // Where the import failed, it may be for a secret that is missing.
        (Ok(rows), ended) => dry_run::report(&context, rows).map(|()| ExitCode::from(ended.exit_code())),
        (Err(_), Ended::Code(0)) => Err(CliError::new(Exit::Failed, "the file exited while it was imported")),
        (Err(_), ended) => Ok(ExitCode::from(ended.exit_code())),
    }
}

pub(super) fn find_interpreter(
    spawner: &Spawner,
    given: Option<PathBuf>,
    file: Option<&Path>,
) -> Result<Interpreter, CliError> {
    let directory = std::env::current_dir().map_err(|error| CliError::from_io("find the working directory", &error))?;
    let active = virtual_env();
    let search = InterpreterSearch { given, file, virtual_env: active.as_deref(), directory: &directory };
    Interpreter::find(search, spawner).map_err(|error| no_environment(&error))
}

/// Runs the interpreter with its bootstrap, to its end; how it ended, and where Flyte keeps what the run made.
fn execute(
    spawner: &Spawner,
    interpreter: &Interpreter,
    typed: &Typed,
    started: io::Result<(Broker, Command)>,
    surroundings: Surroundings<'_>,
) -> Result<(Ended, BTreeSet<PathBuf>), CliError> {
    let (broker, command) = started.map_err(|error| CliError::from_io("start the broker", &error))?;
    let ended = match launch::run(supervise::command(spawner)?, &command, surroundings, |parent| broker.started(parent))
    {
        Err(ChildError::Start { source, .. }) => return Err(cannot_start(interpreter, &source, "run")),
        ended => ended.map_err(|error| CliError::chain(Exit::Failed, &error))?,
    };
    match (broker.failure(), ended) {
        (Some(failure), _) => Err(explain(failure, interpreter, typed)),
        (None, Ended::Code(code)) if !broker.greeted() => Err(not_python(interpreter, code, "run")),
        (None, ended) => Ok((ended, broker.keeps())),
    }
}

fn job(module: Vec<String>, file: Vec<String>, chosen: &RunScope, dry_run: bool) -> Result<Job, CliError> {
    if let Some((module, arguments)) = module.split_first() {
        return Ok(Job::Module { module: module.clone(), arguments: arguments.to_vec() });
    }
    let (file, arguments) = file.split_first().expect("clap requires one of the two");
    let path = Path::new(file);
    if file.starts_with('-') && !path.exists() {
        let option = file.split('=').next().unwrap_or_default();
        return Err(CliError::new(Exit::Usage, format!("run has no option {option}")).hint("see run --help"));
    }
    if path.is_dir() {
        let error = CliError::new(Exit::Usage, format!("{file} is a directory, not a Python file"));
        return Err(error.hint("run a module or a package of it with -m"));
    }
    if !path.exists() {
        return Err(CliError::new(Exit::NotFound, format!("there is no file {file}")));
    }
    let (project, domain) = (chosen.project.clone().map(String::from), chosen.domain.clone().map(String::from));
    if dry_run {
        // What follows a task is for the task, and this one does not run.
        let task = arguments.first().filter(|argument| !argument.starts_with('-')).cloned();
        return Ok(Job::Survey { file: file.clone(), task, project, domain });
    }
    Ok(Job::File { file: file.clone(), arguments: arguments.to_vec(), project, domain })
}
