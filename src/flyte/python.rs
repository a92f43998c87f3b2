//! The Python interpreter that runs the tasks.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::bootstrap::HANDOVER;
use super::script::{self, ScriptError};
use crate::process::Spawner;
use crate::storage::{FoundError, Permissions, require_program_in_path, require_trusted, require_trusted_program};

/// A version of Python. On the wire it is an array of three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "(u32, u32, u32)")]
pub struct PythonVersion {
    /// The major version.
    pub major: u32,
    /// The minor version.
    pub minor: u32,
    /// The micro version.
    pub micro: u32,
}

impl From<(u32, u32, u32)> for PythonVersion {
    fn from((major, minor, micro): (u32, u32, u32)) -> Self {
        Self { major, minor, micro }
    }
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, micro } = self;
        write!(f, "{major}.{minor}.{micro}")
    }
}

/// A Python interpreter and the reason for choosing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The program: a path, or a name to search in `PATH`.
    pub program: PathBuf,
    /// The reason for choosing it.
    pub origin: InterpreterOrigin,
    /// True if the file has a PEP 723 header, but uv is not installed.
    pub lacks_uv: bool,
}

/// An interpreter's command and the socket between the interpreter and this process.
pub(super) struct Connected {
    /// The command, whose last argument is the number of the inherited descriptor.
    pub(super) command: Command,
    /// This process's end.
    pub(super) socket: UnixStream,
    /// The interpreter's end, to be kept open until the interpreter has inherited it.
    pub(super) child_socket: UnixStream,
}

/// Reasons for choosing an interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterpreterOrigin {
    /// `--python`.
    Option,
    /// The file's PEP 723 header, by way of uv.
    Script,
    /// `VIRTUAL_ENV`, the active virtual environment.
    VirtualEnv,
    /// The nearest `.venv`.
    DotVenv,
    /// None of these: `python3`.
    Path,
}

/// The options and places to search for an interpreter.
#[derive(Debug)]
pub struct InterpreterSearch<'a> {
    /// The one that was named, if any.
    pub given: Option<PathBuf>,
    /// The file to run; a module has none.
    pub file: Option<&'a Path>,
    /// `VIRTUAL_ENV`.
    pub virtual_env: Option<&'a Path>,
    /// The working directory.
    pub directory: &'a Path,
    /// The configuration that uv has for all directories, if any.
    pub uv_configuration: Option<&'a Path>,
    /// `PATH`.
    pub search_path: Option<&'a OsStr>,
    /// The check of what is found and not named.
    pub permissions: Permissions,
}

/// Reasons why there is no interpreter to use.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// uv made no environment for the file's header.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// Another user could have made or changed the interpreter, or something that decides which one is used.
    #[error(transparent)]
    Untrusted(#[from] FoundError),
}

impl Interpreter {
    /// Finds the interpreter: the given one, or that of uv's environment for the file's header, or the active virtual
    /// environment's, or that of the nearest `.venv` at or above the file or the working directory, or `python3`.
    ///
    /// # Errors
    /// uv failed to make the environment that the header asks for. Another user could have made or changed what was found.
    pub fn find(search: InterpreterSearch<'_>, spawner: &Spawner) -> Result<Self, InterpreterError> {
        let found = |program, origin| Self { program, origin, lacks_uv: false };
        if let Some(program) = search.given {
            return Ok(found(program, InterpreterOrigin::Option));
        }
        let in_path = |program: &str| require_program_in_path(program.as_ref(), search.search_path, search.permissions);
        let script = search.file.filter(|file| script::has_header(file));
        if let Some(script) = script {
            in_path("uv")?;
            let script = script::trusted(script, search.directory, search.uv_configuration, search.permissions)?;
            if let Some(program) = script::environment(spawner, &script)? {
                return Ok(found(program, InterpreterOrigin::Script));
            }
        }
        // The file's real path, because a symlink to it may lie in another project.
        let file = search.file.and_then(|file| file.canonicalize().ok());
        let beside_file = file.iter().flat_map(|file| file.ancestors().skip(1));
        let mut above = beside_file.chain(search.directory.ancestors()).map(|above| above.join(".venv"));
        let (program, origin) = if let Some(environment) = search.virtual_env {
            (environment.join("bin/python"), InterpreterOrigin::VirtualEnv)
        } else if let Some(environment) = above.find(|environment| environment.join("bin/python").exists()) {
            require_trusted_environment(&environment, search.permissions)?;
            (environment.join("bin/python"), InterpreterOrigin::DotVenv)
        } else {
            in_path("python3")?;
            (PathBuf::from("python3"), InterpreterOrigin::Path)
        };
        Ok(Self { lacks_uv: script.is_some(), ..found(program, origin) })
    }

    /// Prepares to run Flyte's own command, without the bootstrap. Its arguments follow.
    pub fn flyte_command(&self, spawner: &Spawner) -> Command {
        let mut command = spawner.command(&self.program);
        command.args(["-c", HANDOVER]);
        command
    }

    /// Prepares to run `loader`, Python source, with one end of a socket.
    ///
    /// # Errors
    /// The system has no socket left.
    pub(super) fn connect(&self, spawner: &Spawner, loader: &str) -> io::Result<Connected> {
        let (socket, child_socket) = UnixStream::pair()?;
        // std sets close-on-exec, but the interpreter must inherit this end. The bootstrap sets the flag again.
        rustix::io::fcntl_setfd(&child_socket, rustix::io::FdFlags::empty())?;
        let mut command = spawner.command(&self.program);
        command.args(["-c", loader]).arg(child_socket.as_raw_fd().to_string());
        Ok(Connected { command, socket, child_socket })
    }
}

/// Requires that a virtual environment can be believed although it was found: its interpreter, and the files and directories
/// that decide what the interpreter imports first.
pub(super) fn require_trusted_environment(environment: &Path, permissions: Permissions) -> Result<(), FoundError> {
    require_trusted_program(&environment.join("bin/python"), permissions)?;
    require_trusted(&environment.join("pyvenv.cfg"), permissions)?;
    for libraries in ["lib", "lib64"].map(|name| environment.join(name)) {
        require_trusted(&libraries, permissions)?;
        // One that cannot be read has nothing to import.
        for version in std::fs::read_dir(&libraries).into_iter().flatten().flatten() {
            require_trusted(&version.path().join("site-packages"), permissions)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_one_wins() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let root = keep.path().canonicalize().expect("it is there");
        let (outer, inner, other) = (root.join("a"), root.join("a/b/c"), root.join("other"));
        for directory in [&inner, &other] {
            std::fs::create_dir_all(directory).expect("directories");
        }
        let (file, link) = (other.join("task.py"), inner.join("link.py"));
        std::fs::OpenOptions::new().create_new(true).write(true).open(&file).expect("made");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        let find = |given: Option<&str>, active: Option<&str>, file: Option<&Path>| {
            let (given, virtual_env) = (given.map(PathBuf::from), active.map(Path::new));
            let permissions = Permissions::Checked;
            let directory = inner.as_path();
            let (uv_configuration, search_path) = (None, None);
            let search =
                InterpreterSearch { given, file, virtual_env, directory, uv_configuration, search_path, permissions };
            Interpreter::find(search, &Spawner::new([])).expect("no uv is asked").program
        };
        let make = |directory: &Path| {
            let python = directory.join(".venv/bin/python");
            std::fs::create_dir_all(python.parent().expect("it has one")).expect("directories");
            std::os::unix::fs::symlink("/bin/sh", &python).expect("a link");
            python
        };
        assert_eq!(find(None, None, None), Path::new("python3"));
        assert_eq!(find(None, None, Some(&file)), Path::new("python3"));
        for at in [&outer, &inner] {
            let python = make(at);
            assert_eq!(find(None, None, None), python);
            assert_eq!(find(None, None, Some(&file)), python);
        }
        let beside_file = make(&other);
        assert_eq!(find(None, None, Some(&file)), beside_file);
        assert_eq!(find(None, None, Some(&link)), beside_file);
        assert_eq!(find(None, Some("/venv"), Some(&file)), Path::new("/venv/bin/python"));
        assert_eq!(find(Some("/opt/python"), Some("/venv"), Some(&file)), Path::new("/opt/python"));
    }
}
