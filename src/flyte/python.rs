//! Which Python runs the tasks.

use std::path::{Path, PathBuf};

/// A Python, and why this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The program: a path, or a name to look for in `PATH`.
    pub program: PathBuf,
    /// What named it.
    pub origin: Origin,
}

/// What named an interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `--python`.
    Option,
    /// `VIRTUAL_ENV`, the active virtual environment.
    VirtualEnv,
    /// A `.venv` in the working directory or above it.
    DotVenv,
    /// None of these: `python3`.
    Path,
}

impl Interpreter {
    /// Finds it: the one given, else the active virtual environment's, else the nearest `.venv`'s at or above `directory`,
    /// else `python3`.
    pub fn find(given: Option<PathBuf>, virtual_env: Option<&Path>, directory: &Path) -> Self {
        if let Some(program) = given {
            return Self { program, origin: Origin::Option };
        }
        if let Some(environment) = virtual_env {
            return Self { program: environment.join("bin/python"), origin: Origin::VirtualEnv };
        }
        let nearest = directory.ancestors().map(|above| above.join(".venv/bin/python")).find(|python| python.exists());
        match nearest {
            Some(program) => Self { program, origin: Origin::DotVenv },
            None => Self { program: PathBuf::from("python3"), origin: Origin::Path },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_one_wins() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let (outer, inner) = (keep.path().join("a"), keep.path().join("a/b/c"));
        std::fs::create_dir_all(&inner).expect("directories");
        let find = |given: Option<&str>, active: Option<&str>| {
            Interpreter::find(given.map(PathBuf::from), active.map(Path::new), &inner).program
        };
        assert_eq!(find(None, None), Path::new("python3"));
        for at in [&outer, &inner] {
            let python = at.join(".venv/bin/python");
            std::fs::create_dir_all(python.parent().expect("it has one")).expect("directories");
            std::os::unix::fs::symlink("/bin/sh", &python).expect("a link");
            assert_eq!(find(None, None), python);
        }
        assert_eq!(find(None, Some("/venv")), Path::new("/venv/bin/python"));
        assert_eq!(find(Some("/opt/python"), Some("/venv")), Path::new("/opt/python"));
    }
}
