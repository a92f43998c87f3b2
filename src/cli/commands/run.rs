//! `run`: the tasks of a file, its `__main__` block, or a module.

mod dry_run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;

use crate::cli::arguments::RunScopeArgs;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::flyte_words;
use crate::cli::inject::Mount;
use crate::cli::interpreter::{self, TypedCommand};
use crate::cli::paths::expanded;
use crate::cli::tasks::{RunScopes, TaskArgs, TaskRun};
use dry_run::Survey;
use flyte_local::flyte::Job;
use flyte_local::launch::Ended;
use flyte_local::secret::RunScope;

/// Run a Flyte task with the secrets it declares
///
/// With a TASK, does what `flyte run --local FILE TASK ARGS…` does. Without one, runs the file's __main__ block as a
/// script; a file that has none runs its only task, or `main`. With the name of an app in place of TASK, serves the
/// app until Ctrl-C. The run stays on this machine, whatever a configuration file names. The exit code is the
/// command's own, or 128 plus the number of the signal that ended it.
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
  flyte-local run app.py my_app               serves an app
  flyte-local run -p my_project -d development task.py main
  flyte-local run -m pytest tests/
  flyte-local run --dry-run -p my_project -d production task.py")]
pub(crate) struct Args {
    #[command(flatten)]
    scope: RunScopeArgs,
    /// Show which secrets the file declares; run nothing
    ///
    /// Imports the file, and shows which scope each secret comes from. With a TASK or an app, shows only its secrets.
    #[arg(long, conflicts_with = "module")]
    dry_run: bool,
    #[command(flatten)]
    tasks: TaskArgs,
    /// Give tasks only a few variables of the shell
    ///
    /// These are PATH, HOME, LANG, LC_…, TERM, TMPDIR, VIRTUAL_ENV and the variables of Flyte, and those to --keep.
    /// Secrets and env_vars= are set as always. A notice names a variable that a task misses.
    #[arg(long)]
    clean_env: bool,
    /// With --clean-env, a variable of the shell to pass on
    #[arg(long, value_name = "VAR", requires = "clean_env", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    keep: Vec<String>,
    /// Run a module with its arguments, as `python -m` does
    #[arg(short, value_names = ["MODULE", "ARGS"], num_args = 1.., allow_hyphen_values = true)]
    module: Vec<String>,
    /// The file, then a task with arguments, or an app
    #[arg(value_names = ["FILE", "TASK", "ARGS"], trailing_var_arg = true, allow_hyphen_values = true)]
    #[arg(required_unless_present = "module")]
    file: Vec<String>,
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<ExitCode, CommandError> {
    let Args { scope, dry_run, tasks, clean_env, keep, module, file } = args;
    let mount = if tasks.no_mount || dry_run { Mount::None } else { Mount::Private };
    let chosen = context.chosen_scope(&scope)?;
    let job = job(module, file, &chosen, dry_run, &context.command)?;
    // Now, because uv may run code of packages before the identities are unlocked.
    let interpreter = interpreter::find(context.spawner()?, tasks.python.clone(), job.file(), "run")?;
    interpreter::require_trusted_configuration(None)?;
    let run = format!("{} run{}", context.command, if dry_run { " --dry-run" } else { "" });
    let typed =
        TypedCommand { program: context.command.clone(), run, verb: "run", file: job.file().map(Path::to_owned) };
    let scopes = RunScopes { chosen, fallback: context.config_scope()? };
    let run = TaskRun::open(context, &tasks, (interpreter, typed), mount, scopes)?;
    let run = if clean_env { run.with_clean_environment(&keep) } else { run };
    if !dry_run {
        return run.run(job);
    }
    let (rows, surveyed) = mpsc::channel();
    let ended = run.survey(job, |source| Survey { source, rows })?;
    match (surveyed.try_recv(), ended) {
        // If the import failed, a missing secret may be the reason.
        (Ok(rows), ended) => dry_run::report(context, rows).map(|()| ExitCode::from(ended.exit_code())),
        (Err(_), Ended::Code(0)) => Err(CommandError::new(Exit::Failed, "the file exited during its import")),
        (Err(_), ended) => Ok(ExitCode::from(ended.exit_code())),
    }
}

fn job(
    module: Vec<String>,
    file: Vec<String>,
    chosen: &RunScope,
    dry_run: bool,
    command: &str,
) -> Result<Job, CommandError> {
    if let Some((module, arguments)) = module.split_first() {
        if module == flyte_words::MODULE {
            return Err(flyte_words::not_a_program(module, command));
        }
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
        return Err(flyte_words::unknown_option(option, command));
    }
    if path.is_dir() {
        let error = CommandError::new(Exit::Usage, format!("{file} is a directory, not a Python file"));
        return Err(error.hint("run a module or a package with -m"));
    }
    if !path.exists() {
        return Err(flyte_words::no_file(file, command));
    }
    let (project, domain) = (chosen.project.clone().map(String::from), chosen.domain.clone().map(String::from));
    if dry_run {
        // The arguments after a task are for the task, which a dry run does not start.
        let task = arguments.first().filter(|argument| !argument.starts_with('-')).cloned();
        return Ok(Job::Survey { file: file.clone(), task, project, domain });
    }
    Ok(Job::File { file: file.clone(), arguments: arguments.to_vec(), project, domain })
}
