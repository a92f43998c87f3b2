//! What is imported, under which names, and the secrets that it makes.

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
    /// Whether the other names are written in lower case.
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
    #[error("it is not of the form VAR=NAME")]
    Form,
}

impl FromStr for Mapping {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        let (variable, name) = text.split_once('=').ok_or(MappingError::Form)?;
        Ok(Self { variable: variable.to_owned(), name: name.parse()? })
    }
}

/// A secret that is to be there.
pub(super) struct Incoming {
    pub(super) id: SecretId,
    pub(super) secret_type: SecretType,
    pub(super) value: SecretValue,
    /// Where in the file it stands.
    pub(super) line: Option<usize>,
    /// What the file calls it.
    pub(super) variable: Option<String>,
}
