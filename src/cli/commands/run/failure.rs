//! Why a run did not begin: what is said of the interpreter.

use crate::cli::error::{CliError, Exit};
use flyte_local::flyte::{Failure, Interpreter, Origin};

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

pub(super) fn cannot_start(interpreter: &Interpreter, error: &std::io::Error) -> CliError {
    let exit = match error.kind() {
        std::io::ErrorKind::NotFound => Exit::CommandNotFound,
        _ => Exit::NotExecutable,
    };
    let message = format!("cannot start the Python interpreter {}", named_by(interpreter));
    CliError::new(exit, message).because(error.to_string()).hint(ANOTHER)
}

pub(super) fn not_python(interpreter: &Interpreter, code: i32) -> CliError {
    let message = format!("{} did not start as a Python interpreter", named_by(interpreter));
    CliError::new(Exit::Failed, message).because(format!("it ended with exit code {code}")).hint(ANOTHER)
}

pub(super) fn explain(failure: Failure, interpreter: &Interpreter) -> CliError {
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
