//! `flyte`: Flyte's own command, with secrets for what it runs on this machine.

mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::cli::arguments::{RunScopeArgs, merged};
use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::inject::Mount;
use crate::cli::interpreter::{self, TypedCommand, cannot_start};
use crate::cli::tasks::{RunScopes, TaskArgs, TaskRun};
use flyte_local::flyte::Job;
use flyte_local::launch;
use flyte_local::secret::RunScope;
use words::FlyteWords;

/// Run Flyte's own command, with secrets for local runs
///
/// Everything after `flyte` reaches the `flyte` command of your Python unchanged; options of flyte-local come first.
/// Tasks of `run --local` and apps of `serve --local` get the secrets they declare, and so do the images that `build`
/// and `deploy` make. Every other command goes where Flyte's configuration says, as it does without flyte-local. To
/// keep secrets in this vault with Flyte's command, use `flyte-local serve -- flyte …`.
///
/// The project and the domain are those of Flyte's command: its -p and -d, then its configuration. If it has none, they
/// come from FLYTE_LOCAL_PROJECT and FLYTE_LOCAL_DOMAIN, then from config.toml.
///
/// `run --tracked` runs tasks on this machine too, and Flyte reports them to its control plane. A task that returns
/// one of its secrets then fails, unless --leaks says otherwise.
#[derive(clap::Args)]
#[command(override_usage = "flyte-local flyte [OPTIONS] [ARGS]...")]
#[command(after_help = "\
Examples:
  flyte-local flyte run --local --tui task.py main --x 3
  flyte-local flyte run --tracked -p my_project -d development task.py main
  flyte-local flyte serve --local app.py env
  flyte-local flyte deploy task.py env
  flyte-local flyte -- --help                  shows Flyte's own help")]
pub(crate) struct Args {
    #[command(flatten)]
    tasks: TaskArgs,
    /// The arguments of Flyte's command
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Keeps the arguments of Flyte's command apart from the options of flyte-local.
pub(crate) fn apart(arguments: Vec<OsString>) -> Vec<OsString> {
    words::apart(arguments, <Args as clap::Args>::augment_args)
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<ExitCode, CommandError> {
    let Args { tasks, arguments } = args;
    let words = FlyteWords::new(&arguments);
    let file = words.file();
    // Now, because uv may run code of packages before the identities are unlocked.
    let interpreter = interpreter::find(context.spawner()?, tasks.python.clone(), file, "flyte")?;
    if !words.names_configuration() {
        let instead = "name the configuration: flyte-local flyte --config FILE …";
        interpreter::require_trusted_configuration(Some(instead))?;
    }
    if !words.may_need_secrets() {
        if let Some(grammar) = words.turned_around(&context.command) {
            context.ui.say(&format!("flyte-local: {grammar}"));
        }
        // It needs nothing of flyte-local, which it replaces.
        let mut command = interpreter.flyte_command(context.spawner()?);
        let error = launch::replace(command.args(arguments));
        return Err(cannot_start(&interpreter, &error, "flyte"));
    }
    let mount = if tasks.no_mount { Mount::None } else { Mount::Private };
    let run = format!("{} flyte", context.command);
    let typed = TypedCommand { program: context.command.clone(), run, verb: "flyte", file: file.map(Into::into) };
    // An option or a configuration of Flyte's decides before a variable: it decides what Flyte's command does.
    let none = RunScopeArgs { project: None, domain: None };
    let fallback = merged(&context.chosen_scope(&none)?, &context.config_scope()?);
    let scopes = RunScopes { chosen: RunScope::default(), fallback };
    TaskRun::open(context, &tasks, (interpreter, typed), mount, scopes)?.run(Job::Command { arguments })
}
