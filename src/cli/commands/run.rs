//! `run`: composes the interpreter and its bootstrap, the vault, and the launch, none of which knows the others.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::RunScopeArgs;
use crate::cli::context::{Context, merged, virtual_env};
use crate::cli::error::{CliError, Exit};
use crate::cli::inject::{Injector, Mount, User};
use flyte_local::flyte::{
    Broker, Declared, FILE_MARKERS, Failure, Interpreter, Job, Origin, Provided, Refused, SecretSource,
    VARIABLE_MARKERS,
};
use flyte_local::launch::{self, ChildError, Ended};
use flyte_local::secret::{Domain, NameError, Project, RunScope, SecretName};
use zeroize::Zeroizing;

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
  flyte-local run -m pytest tests/")]
pub(crate) struct Args {
    #[command(flatten)]
    scope: RunScopeArgs,
    /// The Python to run with [default: VIRTUAL_ENV's, or the nearest .venv's, or python3]
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Do without the private mount for file secrets, and so without file secrets
    #[arg(long)]
    no_mount: bool,
    /// Run a module, as `python -m` does; what follows is its arguments
    #[arg(short, value_names = ["MODULE", "ARGS"], num_args = 1.., allow_hyphen_values = true)]
    module: Vec<String>,
    /// The Python file, then a task of it and the task's arguments
    #[arg(value_names = ["FILE", "TASK", "ARGS"], trailing_var_arg = true, allow_hyphen_values = true)]
    #[arg(required_unless_present = "module")]
    file: Vec<String>,
}

pub(crate) fn run(context: Context<'_>, args: Args) -> Result<ExitCode, CliError> {
    let mount = if args.no_mount { Mount::None } else { Mount::Private };
    let chosen = context.chosen_scope(args.scope)?;
    let job = job(args.module, args.file, &chosen)?;
    let directory = std::env::current_dir().map_err(|error| CliError::from_io("find the working directory", &error))?;
    let interpreter = Interpreter::find(args.python, virtual_env().as_deref(), &directory);
    let fallback = context.config_scope()?;
    let source =
        Source { injector: Injector::open(&context, User::Task, mount)?, chosen, flyte: RunScope::default(), fallback };

    let started = Broker::start(&interpreter, job, source);
    let (broker, mut command) = started.map_err(|error| CliError::from_io("start the broker", &error))?;
    let ended = match launch::run(&mut command, || broker.started()) {
        Err(ChildError::Start { source, .. }) => return Err(cannot_start(&interpreter, &source)),
        ended => ended.map_err(|error| CliError::chain(Exit::Failed, &error))?,
    };
    match (broker.failure(), ended) {
        (Some(failure), _) => Err(explain(failure, &interpreter)),
        (None, Ended::Code(code)) if !broker.greeted() => Err(not_python(&interpreter, code)),
        (None, ended) => Ok(ExitCode::from(ended.exit_code())),
    }
}

fn job(module: Vec<String>, file: Vec<String>, chosen: &RunScope) -> Result<Job, CliError> {
    let mut words = if module.is_empty() { file } else { module.clone() }.into_iter();
    let first = words.next().expect("clap requires one");
    let arguments = words.collect();
    if !module.is_empty() {
        return Ok(Job::Module { module: first, arguments });
    }
    let path = Path::new(&first);
    if first.starts_with('-') && !path.exists() {
        let option = first.split('=').next().unwrap_or_default();
        return Err(CliError::new(Exit::Usage, format!("run has no option {option}")).hint("see run --help"));
    }
    if path.is_dir() {
        let error = CliError::new(Exit::Usage, format!("{first} is a directory, not a Python file"));
        return Err(error.hint("run a module or a package of it with -m"));
    }
    if !path.exists() {
        return Err(CliError::new(Exit::NotFound, format!("there is no file {first}")));
    }
    let (project, domain) = (chosen.project.clone().map(String::from), chosen.domain.clone().map(String::from));
    Ok(Job::File { file: first, arguments, project, domain })
}

/// Answers the broker from the vault.
struct Source {
    injector: Injector,
    /// By flag or variable.
    chosen: RunScope,
    /// By Flyte's own configuration.
    flyte: RunScope,
    /// By `config.toml`.
    fallback: RunScope,
}

impl Source {
    fn inject(&self, secret: &Declared, provided: &mut Provided) -> Result<(), CliError> {
        let run = merged(&self.chosen, &merged(&self.flyte, &self.fallback));
        let bad = |error: NameError| CliError::new(Exit::Failed, error.to_string());
        let key: SecretName = secret.key.parse().map_err(bad)?;
        let mut set = |name: &str, value| provided.variables.insert(name.to_owned(), value);
        let markers: &[(&str, &str)] = match &secret.variable {
            Some(variable) => {
                set(variable, self.injector.variable(&key, &run)?);
                &VARIABLE_MARKERS
            }
            None => {
                self.injector.file(&key, secret.group.as_deref(), &run)?;
                &FILE_MARKERS
            }
        };
        for (name, value) in markers {
            set(name, Zeroizing::new((*value).to_owned()));
        }
        Ok(())
    }
}

impl SecretSource for Source {
    fn configured_scope(&mut self, project: Option<&str>, domain: Option<&str>) -> Result<(), Refused> {
        let refused = |error: NameError| Refused(format!("Flyte's configuration: {error}"));
        let project = project.map(str::parse::<Project>).transpose().map_err(refused)?;
        let domain = domain.map(str::parse::<Domain>).transpose().map_err(refused)?;
        self.flyte = merged(&RunScope { project, domain }, &self.flyte);
        Ok(())
    }

    fn provide(&mut self, task: Option<&str>, secrets: &[Declared]) -> Result<Provided, Refused> {
        let mut provided = Provided::default();
        for secret in secrets {
            // An environment that is declared need not run: what it lacks, its task will tell.
            if let (Err(error), Some(task)) = (self.inject(secret, &mut provided), task) {
                return Err(Refused(format!("task {task}: {}", error.plain())));
            }
        }
        Ok(provided)
    }
}

fn named_by(interpreter: &Interpreter) -> String {
    let origin = match interpreter.origin {
        Origin::Option => "named by --python",
        Origin::VirtualEnv => "of VIRTUAL_ENV",
        Origin::DotVenv => "of the nearest .venv",
        Origin::Path => "looked for in PATH",
    };
    format!("{} ({origin})", interpreter.program.display())
}

const ANOTHER: &str = "name another interpreter: flyte-local run --python PYTHON …";

fn cannot_start(interpreter: &Interpreter, error: &std::io::Error) -> CliError {
    let exit = match error.kind() {
        std::io::ErrorKind::NotFound => Exit::CommandNotFound,
        _ => Exit::NotExecutable,
    };
    let message = format!("cannot start the Python interpreter {}", named_by(interpreter));
    CliError::new(exit, message).because(error.to_string()).hint(ANOTHER)
}

fn not_python(interpreter: &Interpreter, code: i32) -> CliError {
    let message = format!("{} did not start as a Python interpreter", named_by(interpreter));
    CliError::new(Exit::Failed, message).because(format!("it ended with exit code {code}")).hint(ANOTHER)
}

fn explain(failure: Failure, interpreter: &Interpreter) -> CliError {
    match failure {
        Failure::PythonTooOld { version: (major, minor, micro) } => {
            let message = format!("Python {major}.{minor}.{micro} is too old for Flyte 2, which needs 3.10 or newer");
            CliError::new(Exit::Failed, message).because(format!("it is {}", named_by(interpreter))).hint(ANOTHER)
        }
        Failure::Bootstrap { message, hints, code } => {
            let error = CliError::new(Exit::Failed, message).with_code(code);
            hints.into_iter().fold(error, CliError::hint)
        }
    }
}
