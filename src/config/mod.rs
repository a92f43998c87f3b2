//! `config.toml`: settings that a user makes once. It is in the configuration directory, and every member is optional.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::file_form::FileForm;
use crate::secret::{Domain, Project};
use crate::storage::{FoundError, Permissions, read_trusted_file};
use crate::toml_file::{self, TomlError};

const FILE: &str = "config.toml";

/// Far more than any configuration needs.
const MAX_BYTES: usize = 64 << 10;

/// As many keys and values as there is room for.
const MAX_MARKS: usize = MAX_BYTES;

/// The settings.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The project of a run, unless an option, a variable or the file names one.
    pub project: Option<Project>,
    /// The domain of a run, unless an option, a variable or the file names one.
    pub domain: Option<Domain>,
    /// The identity files, unless an option or a variable names some: one, or a list.
    #[serde(default)]
    pub identity: IdentityPaths,
}

/// The value of `identity`.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "the path of an identity file, or a list of such")]
pub enum IdentityPaths {
    /// One file.
    File(PathBuf),
    /// A list of files, which may be empty.
    Files(Vec<PathBuf>),
}

impl Default for IdentityPaths {
    fn default() -> Self {
        Self::Files(Vec::new())
    }
}

impl IdentityPaths {
    /// Returns the paths as they are written.
    pub fn as_written(&self) -> &[PathBuf] {
        match self {
            Self::File(path) => std::slice::from_ref(path),
            Self::Files(paths) => paths,
        }
    }
}

/// The reason why the settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read, or another user could have made or changed it.
    #[error(transparent)]
    Found(#[from] FoundError),
    /// The file is in another form than any configuration.
    #[error("cannot read {}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Its form.
        #[source]
        form: FileForm,
    },
    /// The file is not TOML, or has an unknown member.
    #[error("cannot read {}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The position in the file, and the reason.
        reason: String,
    },
}

impl Config {
    /// Reads `config.toml` in `directory`; returns the defaults if the file does not exist.
    ///
    /// # Errors
    /// The file cannot be read or parsed, or another user could have made or changed it.
    pub fn load(directory: &Path, permissions: Permissions) -> Result<Self, ConfigError> {
        let path = directory.join(FILE);
        let Some(bytes) = read_trusted_file(&path, MAX_BYTES, permissions)? else { return Ok(Self::default()) };
        let syntax = |reason| ConfigError::Syntax { path: path.clone(), reason };
        toml_file::parse(&bytes, MAX_MARKS).map_err(|error| match error {
            TomlError::TooManyMarks => syntax("it has too many keys and values".to_owned()),
            TomlError::Form(form) => ConfigError::Form { path: path.clone(), form },
            TomlError::Syntax(reason) => syntax(reason),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let opened = crate::storage::Directory::open(directory.path()).expect("it exists");
        opened.write_new(FILE, text.as_bytes()).expect("written");
        Config::load(directory.path(), Permissions::Checked)
    }

    #[test]
    fn a_missing_file_means_the_defaults() {
        assert!(Config::load(Path::new("/nonexistent"), Permissions::Checked).expect("defaults").project.is_none());
    }

    #[test]
    fn identities_are_one_path_or_several() {
        let paths = |text: &str| load(text).expect("good").identity.as_written().to_vec();
        assert!(paths("").is_empty());
        assert_eq!(paths("identity = \"~/.ssh/id\""), [Path::new("~/.ssh/id")]);
        assert_eq!(paths("identity = [\"a\", \"/b\"]"), [Path::new("a"), Path::new("/b")]);
        assert!(matches!(load("identity = 1"), Err(ConfigError::Syntax { .. })));
    }

    #[test]
    fn a_file_larger_than_any_configuration_is_an_error() {
        let padded = |length: usize| load(&format!("#{}", "x".repeat(length - 1)));
        assert!(padded(MAX_BYTES).is_ok());
        let Err(ConfigError::Found(error)) = padded(MAX_BYTES + 1) else { panic!("it was read") };
        assert_eq!(error.source.source.to_string(), "it is larger than 65536 bytes");
    }

    #[test]
    fn an_unknown_member_is_an_error() {
        assert_eq!(load("project = \"p\"").expect("good").project.expect("set").as_str(), "p");
        assert!(matches!(load("projekt = \"p\""), Err(ConfigError::Syntax { .. })));
        assert!(matches!(load("project = \"a/b\""), Err(ConfigError::Syntax { .. })));
    }
}
