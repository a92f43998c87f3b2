//! The options that select and name secrets, and the secrets they select.

use std::str::FromStr;

use clap::ValueEnum;

use flyte_local::secret::{Domain, NameError, Project, SecretId, SecretName, SecretType, SecretValue};

/// The options that choose from the source and name the secrets.
pub(super) struct Selection {
    pub(super) project: Option<Project>,
    pub(super) domain: Option<Domain>,
    /// The file's format, if it is not to be found by the file's name.
    pub(super) format: Option<ImportFormat>,
    /// The names in the source, if not all are taken.
    pub(super) only: Vec<String>,
    pub(super) map: Vec<Mapping>,
    /// Write the other names in lower case.
    pub(super) lower: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ImportFormat {
    Dotenv,
    Json,
    Yaml,
}

/// `VAR=NAME`.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    pub(super) variable: String,
    pub(super) name: SecretName,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum MappingError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("it must have the form VAR=NAME")]
    Form,
}

impl FromStr for Mapping {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let (variable, name) = text.split_once('=').ok_or(MappingError::Form)?;
        Ok(Self { variable: variable.to_owned(), name: name.parse()? })
    }
}

/// A secret to import.
pub(super) struct Incoming {
    pub(super) id: SecretId,
    pub(super) secret_type: SecretType,
    pub(super) value: SecretValue,
    /// The line in the file.
    pub(super) line: Option<usize>,
    /// The name in the file.
    pub(super) variable: Option<String>,
}
