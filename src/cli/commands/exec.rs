//! `exec`

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::cli::arguments::{RunScopeArgs, merged};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::files::User;
use crate::cli::hidden;
use crate::cli::inject::{Injector, Mount};
use crate::cli::variables::stays;
use flyte_local::flyte::{SECRETS_DIRECTORY, VARIABLE_MARKERS, default_variable, file_markers};
use flyte_local::launch::{self, ChildError, Surroundings};
use flyte_local::redact::Watchlist;
use flyte_local::secret::{NameError, RunScope, SecretName};
use flyte_local::variables::{self, effect_on_programs};

/// Run any command with secrets
///
/// Use it for anything that is not a Flyte file, with at least one of --secret, --mount and --all. Without --mask,
/// this process becomes the command, which has its own exit code, signals and terminal. Scopes are searched as by
/// `run`, except that Flyte's own configuration is not read.
#[derive(clap::Args)]
#[command(override_usage = "flyte-local exec [OPTIONS] -- COMMAND [ARGS]...")]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["secret", "mount", "all"])))]
#[command(after_help = "\
Examples:
  flyte-local exec --secret api_key -- ./call-api          sets API_KEY
  flyte-local exec --secret api_key=TOKEN -- ./call-api    sets TOKEN
  flyte-local exec --mount my_cert -- cat /etc/flyte/secrets/my_cert
  flyte-local exec --all -p my_project -- make test")]
pub(crate) struct Args {
    /// Set a secret as the variable VAR
    ///
    /// Without VAR, the variable is KEY in upper case with '-' as '_'.
    #[arg(long, value_name = "KEY[=VAR]")]
    secret: Vec<SecretVariable>,
    /// Mount a secret as a file
    ///
    /// The file is /etc/flyte/secrets/KEY, and only the command sees it.
    #[arg(long, value_name = "KEY")]
    mount: Vec<SecretName>,
    /// Set every visible secret as a variable
    ///
    /// These are the secrets that the project and domain see, except those named by --secret and --mount. A variable
    /// that is already set stays as it is.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    scope: RunScopeArgs,
    /// Mask secrets in the output of the command
    ///
    /// flyte-local stays between the command and the terminal, and replaces secrets by *****.
    #[arg(long)]
    mask: bool,
    /// Allow variables such as PATH and GIT_SSH_COMMAND
    ///
    /// They change which code programs run, or where they connect.
    #[arg(long)]
    allow_loader_variables: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_names = ["COMMAND", "ARGS"])]
    command: Vec<OsString>,
}

/// `KEY` or `KEY=VAR`.
#[derive(Debug, Clone)]
struct SecretVariable {
    key: SecretName,
    variable: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum SecretVariableError {
    #[error(transparent)]
    Key(#[from] NameError),
    #[error("a variable name has only letters, digits and '_', and does not start with a digit")]
    Variable,
}

impl FromStr for SecretVariable {
    type Err = SecretVariableError;

    fn from_str(text: &str) -> Result<Self, SecretVariableError> {
        let (key, variable) = match text.split_once('=') {
            Some((key, variable)) => (key, Some(variable)),
            None => (text, None),
        };
        // Wider than the SDK's rule: the command may want a name in lower case.
        if variable.is_some_and(|name| !variables::is_a_shells_name(name)) {
            return Err(SecretVariableError::Variable);
        }
        Ok(Self { key: key.parse()?, variable: variable.map(str::to_owned) })
    }
}

pub(crate) fn run(context: &Context<'_>, args: Args) -> Result<ExitCode, CommandError> {
    let scope = merged(&context.chosen_scope(&args.scope)?, &context.config_scope()?);
    let mount = if args.mount.is_empty() { Mount::None } else { Mount::Private };
    let watchlist = Watchlist::new();
    let injector = Injector::open(context, User::Command, mount, watchlist.clone())?;

    let variables = variables(context, &args, &injector, &scope)?;
    for key in &args.mount {
        injector.file(key, None, &scope)?;
    }

    let (program, arguments) = args.command.split_first().expect("clap requires one");
    let mut command = context.spawner()?.command(program);
    command.args(arguments);
    if !variables.is_empty() {
        command.envs(VARIABLE_MARKERS);
    }
    if !args.mount.is_empty() {
        command.envs(file_markers(SECRETS_DIRECTORY));
    }
    command.envs(variables.iter().map(|(name, variable)| (name, variable.value.as_str())));
    if !args.mask {
        let source = launch::replace(&mut command);
        return Err(not_started(ChildError::Start { program: program.into(), source }, &variables));
    }
    context.ui.mask(&watchlist);
    let surroundings = Surroundings { mask: Some(&watchlist), ..Surroundings::default() };
    match launch::run(hidden::supervisor(context.spawner()?)?, &command, surroundings, |_| ()) {
        Ok(ended) => Ok(ExitCode::from(ended.exit_code())),
        Err(error) => Err(not_started(error, &variables)),
    }
}

/// Explains why the command did not start: where its variables are too large, by the secret that is.
fn not_started(error: ChildError, variables: &BTreeMap<String, InjectedVariable>) -> CommandError {
    let largest = variables.iter().max_by_key(|(name, variable)| name.len() + variable.value.len());
    let Some((variable, InjectedVariable { key, value, .. })) = largest.filter(|_| error.is_too_large()) else {
        return error.into();
    };
    let bytes = value.len();
    let refused = if launch::is_too_large_for_a_variable(variable, bytes) {
        let message = format!("secret {key} cannot become the variable {variable}: it has {bytes} bytes");
        CommandError::new(Exit::NotExecutable, message)
            .because("the system starts no program with a variable of that size")
    } else {
        let message = "the variables and arguments are together larger than the system lets a program have";
        CommandError::new(Exit::NotExecutable, message)
            .because(format!("the largest secret is {key}, with {bytes} bytes"))
    };
    refused.hint(format!("mount it as a file: --mount {key}"))
}

/// The value of a variable, and the secret that it comes from.
struct InjectedVariable {
    key: SecretName,
    value: Zeroizing<String>,
    /// Set if the user named the secret.
    is_named: bool,
}

/// Returns the variables that the options ask for; none of them, if one is refused.
fn variables(
    context: &Context<'_>,
    args: &Args,
    injector: &Injector,
    scope: &RunScope,
) -> Result<BTreeMap<String, InjectedVariable>, CommandError> {
    let mut wanted: Vec<_> = args.secret.iter().cloned().map(|secret| (secret, true)).collect();
    if args.all {
        let named: Vec<_> = args.secret.iter().map(|secret| &secret.key).chain(&args.mount).collect();
        let others = injector.names(scope)?.into_iter().filter(|key| !named.contains(&key));
        wanted.extend(others.map(|key| (SecretVariable { key, variable: None }, false)));
    }
    // Each name is looked at before a secret is opened.
    let mut chosen: Vec<(SecretName, String, bool)> = Vec::with_capacity(wanted.len());
    for (SecretVariable { key, variable }, is_named) in wanted {
        let variable = variable.map_or_else(|| default_name(&key), Ok)?;
        if let Some(effect) = effect_on_programs(&variable).filter(|_| !args.allow_loader_variables) {
            return Err(CommandError::new(
                Exit::Failed,
                format!("{variable} {effect}, so secret {key} cannot go there"),
            )
            .hint(format!("choose another variable: --secret {key}=VAR"))
            .hint("or, if you intend this, add --allow-loader-variables"));
        }
        chosen.push((key, variable, is_named));
    }
    let keys: Vec<_> = chosen.iter().map(|(key, ..)| key.clone()).collect();
    let values = injector.variables(&keys, scope)?.into_iter();
    let mut variables = BTreeMap::<String, InjectedVariable>::new();
    for ((key, variable, is_named), value) in chosen.into_iter().zip(values) {
        let other = variables.insert(variable.clone(), InjectedVariable { key: key.clone(), value, is_named });
        if let Some(other) = other.map(|other| other.key).filter(|other| *other != key) {
            return Err(CommandError::new(Exit::Failed, format!("secrets {other} and {key} would both be {variable}"))
                .hint(format!("choose another variable for one of them: --secret {key}=VAR")));
        }
    }
    variables.retain(|name, InjectedVariable { key, value, is_named }| {
        *is_named || !stays(context.ui, name, value.as_bytes(), &format!("--secret {key}"))
    });
    Ok(variables)
}

fn default_name(key: &SecretName) -> Result<String, CommandError> {
    default_variable(key).map(|name| name.to_string()).map_err(|_| {
        CommandError::new(Exit::Failed, format!("secret {key} does not make a variable name: it starts with a digit"))
            .hint(format!("name the variable: --secret {key}=VAR"))
    })
}
