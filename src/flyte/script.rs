//! A file's PEP 723 header, and the environment that uv makes for it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::python::require_trusted_environment;
use crate::process::Spawner;
use crate::storage::{FoundError, Permissions, require_trusted};

/// Files that decide what uv installs or starts, if they are at or above the working directory or the script.
const UV_FILES: [&str; 5] = ["uv.toml", "pyproject.toml", "pyvenv.cfg", ".python-version", ".python-versions"];

/// Reasons why uv did not make an environment for a file's header.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// uv reports the reason on standard error.
    #[error("uv could not make the environment that the header of {} asks for", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// How uv ended.
        ended: String,
    },
    /// uv could not be started.
    #[error("cannot start uv")]
    Start(#[source] io::Error),
}

/// Returns true if the file has a header. Files that cannot be read, or cannot be read twice, count as without one.
pub(super) fn has_header(file: &Path) -> bool {
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => {
            std::fs::read(file).is_ok_and(|bytes| is_script(&String::from_utf8_lossy(&bytes)))
        }
        _ => false,
    }
}

/// Returns true if the text has a comment block `# /// script` … `# ///`, as PEP 723's regular expression finds it.
fn is_script(text: &str) -> bool {
    let mut lines = text.lines();
    while lines.any(|line| line == "# /// script") {
        let is_content = |line: &&str| *line == "#" || line.starts_with("# ");
        // The first line is content, even one that looks like the end.
        if lines.clone().take_while(is_content).skip(1).any(|line| line == "# ///") {
            return true;
        }
    }
    false
}

/// A file with a header, and where uv looks for its configuration.
#[derive(Debug)]
pub(super) struct Script {
    /// As the user wrote it.
    named: PathBuf,
    absolute: PathBuf,
    /// If uv has to look nowhere: the configuration to name instead, if there is one.
    closed: Option<Option<PathBuf>>,
}

/// Requires that everything that uv finds by itself can be believed: its configuration, virtual environments and the script's
/// lock file. If another user could still make some of it, as in `/tmp`, uv will not look for it. It is then told to use
/// `configuration`, the one that uv has for all directories.
pub(super) fn trusted(
    file: &Path,
    directory: &Path,
    configuration: Option<&Path>,
    permissions: Permissions,
) -> Result<Script, FoundError> {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let mut lock = file.as_os_str().to_owned();
    lock.push(".lock");
    require_trusted(Path::new(&lock), permissions)?;
    let mut found = Vec::new();
    let mut is_closed = false;
    // uv follows the path as it is written, and not the one without links.
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    for above in absolute.ancestors().skip(1).chain(directory.ancestors()) {
        is_closed |= require_trusted(above, permissions).is_err();
        found.extend(UV_FILES.iter().map(|name| above.join(name)));
        let environment = above.join(".venv");
        if is_there(&environment) {
            require_trusted(&environment, permissions)?;
            require_trusted_environment(&environment, permissions)?;
        }
    }
    found.iter().filter(|path| is_there(path)).try_for_each(|path| require_trusted(path, permissions))?;
    Ok(Script { named: file.to_owned(), absolute, closed: is_closed.then(|| configuration.map(Path::to_owned)) })
}

/// Makes or updates the environment that uv keeps for the file, and returns its interpreter; `None` if uv is not in `PATH`.
pub(super) fn environment(spawner: &Spawner, script: &Script) -> Result<Option<PathBuf>, ScriptError> {
    // Offline and quietly if nothing is to be installed, because this precedes every run.
    let quietly = |command: &[&str]| uv(spawner, command, script).args(["--offline", "--quiet"]).output();
    let is_checked = match quietly(&["sync", "--check"]) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        checked => checked.map_err(ScriptError::Start)?.status.success(),
    };
    // An empty environment passes the check even before it exists.
    let is_ready = is_checked && quietly(&["sync"]).map_err(ScriptError::Start)?.status.success();
    let failed = |ended: String| ScriptError::Failed { path: script.named.clone(), ended };
    if !is_ready {
        let status = uv(spawner, &["sync"], script).stdout(Stdio::null()).status().map_err(ScriptError::Start)?;
        if !status.success() {
            return Err(failed(status.to_string()));
        }
    }
    // Not earlier: before the environment exists, uv names another Python.
    let found =
        uv(spawner, &["python", "find"], script).stderr(Stdio::inherit()).output().map_err(ScriptError::Start)?;
    let python = String::from_utf8(found.stdout).unwrap_or_default();
    match python.trim_end_matches('\n') {
        python if found.status.success() && !python.is_empty() => Ok(Some(PathBuf::from(python))),
        _ => Err(failed(found.status.to_string())),
    }
}

fn uv(spawner: &Spawner, command: &[&str], script: &Script) -> Command {
    let mut uv = spawner.command("uv");
    uv.args(command);
    if let Some(configuration) = &script.closed {
        // It looks for environments at and above its working directory in any case.
        uv.current_dir("/").arg("--no-config");
        configuration.iter().for_each(|file| _ = uv.arg("--config-file").arg(file));
    }
    // uv would warn that the active environment is not the file's.
    uv.arg("--script").arg(&script.absolute).env_remove("VIRTUAL_ENV").stdin(Stdio::null());
    uv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_found_as_the_pep_defines_it() {
        for text in [
            "# /// script\n# dependencies = []\n# ///\n",
            "#!/usr/bin/env python\n\n# /// script\n#\n# ///\nimport x",
            "# /// script\r\n# dependencies = []\r\n# ///\r\n",
            "# /// other\n# x\n# ///\n\n# /// script\n# dependencies = []\n# ///\n",
            "# /// script\n\n# /// script\n# dependencies = []\n# ///\n",
            "# /// script\n# dependencies = []\n# /// \n# ///\n",
        ] {
            assert!(is_script(text), "{text:?}");
        }
        for text in [
            "",
            "import flyte\n",
            "# /// script\n# ///\n",
            "# /// script\n# dependencies = []\n",
            "# /// script\n#dependencies = []\n# ///\n",
            "# /// script\n# dependencies = []\n\n# ///\n",
            " # /// script\n # dependencies = []\n # ///\n",
            "# /// scripts\n# dependencies = []\n# ///\n",
            "#/// script\n# dependencies = []\n#///\n",
        ] {
            assert!(!is_script(text), "{text:?}");
        }
    }

    #[test]
    fn only_a_regular_file_has_a_header() {
        assert!(!has_header(Path::new("/")));
        assert!(!has_header(Path::new("/dev/null")));
        assert!(!has_header(Path::new("/absent")));
    }
}
