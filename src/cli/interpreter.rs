//! The user's Python interpreter, for `run`, `flyte` and `push`: finding it, and why it could not be used.

use std::path::{Path, PathBuf};

use super::environment::{path_variable, permissions, search_path, variable_is_set, virtual_env};
use super::error::{CommandError, Exit};
use super::explain::untrusted;
use super::paths::home;
use super::shell::quoted;
use flyte_local::flyte::{
    ConfigurationSearch, Interpreter, InterpreterError, InterpreterOrigin, InterpreterSearch, RunError, ScriptError,
};
use flyte_local::process::Spawner;

pub(crate) fn find(
    spawner: &Spawner,
    given: Option<PathBuf>,
    file: Option<&Path>,
    verb: &str,
) -> Result<Interpreter, CommandError> {
    let directory = working_directory()?;
    let (active, path, permissions) = (virtual_env()?, search_path(), permissions()?);
    let (virtual_env, search_path) = (active.as_deref(), path.as_deref());
    let uv_configuration = uv_configuration()?;
    let search = InterpreterSearch {
        given,
        file,
        virtual_env,
        directory: &directory,
        uv_configuration: uv_configuration.as_deref(),
        search_path,
        permissions,
    };
    Interpreter::find(search, spawner).map_err(|error| match error {
        InterpreterError::Script(error) => no_environment(&error, verb),
        InterpreterError::Untrusted(error) => untrusted(&error, Some(another(verb))).into(),
    })
}

/// Returns the configuration that uv has for all directories: the one that a variable names, the user's, or the system's.
fn uv_configuration() -> Result<Option<PathBuf>, CommandError> {
    if let Some(named) = path_variable("UV_CONFIG_FILE")? {
        return Ok(std::path::absolute(named).ok());
    }
    if variable_is_set("UV_NO_CONFIG") {
        return Ok(None);
    }
    let users = path_variable("XDG_CONFIG_HOME")?.filter(|directory| directory.is_absolute());
    let users = users.or_else(|| home().map(|home| home.join(".config")));
    let mut places = users.into_iter().chain([PathBuf::from("/etc")]).map(|place| place.join("uv/uv.toml"));
    Ok(places.find(|place| place.exists()))
}

/// Requires that Flyte's configuration can be believed, which the SDK finds by itself. `instead` is the way to name one.
pub(crate) fn require_trusted_configuration(instead: Option<&str>) -> Result<(), CommandError> {
    let directory = working_directory()?;
    let home = home();
    let is_named = ["UCTL_CONFIG", "FLYTECTL_CONFIG"].into_iter().any(variable_is_set);
    let search = ConfigurationSearch { directory: &directory, home: home.as_deref(), is_named };
    let trusted = search.require_trusted(permissions()?);
    trusted.map_err(|error| untrusted(&error, instead.map(str::to_owned)).into())
}

fn working_directory() -> Result<PathBuf, CommandError> {
    std::env::current_dir().map_err(|error| CommandError::from_io("find the working directory", &error))
}

fn named_by(interpreter: &Interpreter) -> String {
    let origin = match interpreter.origin {
        InterpreterOrigin::Option => "named by --python",
        InterpreterOrigin::Script => "made by uv for the file's header",
        InterpreterOrigin::VirtualEnv => "of VIRTUAL_ENV",
        InterpreterOrigin::DotVenv => "of the nearest .venv",
        InterpreterOrigin::Path => "looked for in PATH",
    };
    format!("{} ({origin})", interpreter.program.display())
}

/// Hints at another interpreter; `verb` is the command that needs one.
pub(crate) fn another(verb: &str) -> String {
    format!("name another interpreter: flyte-local {verb} --python PYTHON …")
}

/// Explains why the environment for a file's header could not be created.
fn no_environment(error: &ScriptError, verb: &str) -> CommandError {
    let without = format!("or run without its environment: flyte-local {verb} --python PYTHON …");
    match error {
        ScriptError::Failed { ended, .. } => CommandError::chain(Exit::Failed, error)
            .because(format!("see uv's own message above ({ended})"))
            .hint("correct the header: the lines from # /// script to # ///")
            .hint(without),
        ScriptError::Start(_) => CommandError::chain(Exit::Failed, error).hint(without.trim_start_matches("or ")),
    }
}

pub(crate) fn cannot_start(interpreter: &Interpreter, error: &std::io::Error, verb: &str) -> CommandError {
    let exit = match error.kind() {
        std::io::ErrorKind::NotFound => Exit::CommandNotFound,
        _ => Exit::NotExecutable,
    };
    let message = format!("cannot start the Python interpreter {}", named_by(interpreter));
    CommandError::new(exit, message).because(error.to_string()).hint(another(verb))
}

pub(crate) fn not_python(interpreter: &Interpreter, code: i32, verb: &str) -> CommandError {
    let message = format!("{} did not start as a Python interpreter", named_by(interpreter));
    let error = CommandError::new(Exit::Failed, message).because(format!("it ended with exit code {code}"));
    // The exit code of a version manager's shim, and of a script whose command is missing.
    let shim = "the Python that pyenv or asdf has selected here is not installed: see pyenv versions, or asdf current";
    if code == 127 { error.hint(shim).hint(format!("or {}", another(verb))) } else { error.hint(another(verb)) }
}

/// The command as it was typed, up to the file.
pub(crate) struct TypedCommand {
    pub(crate) run: String,
    /// `flyte-local`, with the options that led to the vault.
    pub(crate) program: String,
    /// Its verb.
    pub(crate) verb: &'static str,
    pub(crate) file: Option<PathBuf>,
}

impl TypedCommand {
    fn up_to_the_file(&self) -> String {
        self.file.as_deref().map_or_else(|| self.run.clone(), |file| format!("{} {}", self.run, quoted(file)))
    }

    /// The command that runs the file as an ordinary script, with secrets.
    fn by_exec(&self, interpreter: &Interpreter) -> String {
        let file = self.file.as_deref().map(quoted).unwrap_or_default();
        format!("{} exec --all -- {} {file}", self.program, quoted(&interpreter.program))
    }
}

pub(crate) fn explain(failure: RunError, interpreter: &Interpreter, typed: &TypedCommand) -> CommandError {
    match failure {
        RunError::PythonTooOld { version } => {
            let message = format!("Python {version} is too old for Flyte 2, which needs 3.10 or newer");
            CommandError::new(Exit::Failed, message)
                .because(format!("it is {}", named_by(interpreter)))
                .hint(another(typed.verb))
        }
        RunError::LacksSdk { python } => lacks_sdk(&python, interpreter, typed),
        RunError::Bootstrap { message, hints, code } => {
            let error = CommandError::new(Exit::Failed, message).with_code(code);
            let (run, exec) = (typed.up_to_the_file(), typed.by_exec(interpreter));
            let filled = |hint: String| hint.replace("{run}", &run).replace("{exec}", &exec);
            hints.into_iter().fold(error, |error, hint| error.hint(filled(hint)))
        }
    }
}

fn lacks_sdk(python: &str, interpreter: &Interpreter, typed: &TypedCommand) -> CommandError {
    let error = CommandError::new(Exit::Failed, format!("{python} has no flyte package"));
    if interpreter.origin == InterpreterOrigin::Script {
        return error.because("uv created it for the file's header, which does not list flyte").hint(format!(
            "add flyte to the header: uv add --script {} flyte",
            typed.file.as_deref().map_or_else(String::new, quoted)
        ));
    }
    let error = error
        .hint(format!("install it: {} -m pip install flyte", quoted(Path::new(python))))
        .hint(format!("or {}", another(typed.verb)));
    if interpreter.lacks_uv {
        return error.hint(
            "or install uv (https://docs.astral.sh/uv), which creates the environment that the file's header asks for",
        );
    }
    error
}
