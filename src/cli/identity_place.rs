//! A place where identities may be: a file, or a variable.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::environment::inherited;
use super::error::{CommandError, Exit};
use super::explain::{file_form, foreign_key};
use super::identity_causes::{empty_variables, explained};
use super::shell::quoted;
use flyte_local::crypto::{IdentityError, IdentityFile, KeyFormat, MAX_IDENTITY_FILE_BYTES};
use flyte_local::storage::{Permissions, read_private_file};

/// A variable that may hold an identity itself, so child processes do not inherit it. FLYTE_LOCAL_IDENTITY is the path of a
/// file that its permissions protect, and a child may start flyte-local again.
pub(crate) const IDENTITY_KEY: &str = "FLYTE_LOCAL_IDENTITY_KEY";

/// The variables that name an identity or hold one.
pub(crate) const IDENTITY_VARIABLES: [&str; 2] = ["FLYTE_LOCAL_IDENTITY", IDENTITY_KEY];

/// A place where identities may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IdentityPlace {
    File(PathBuf),
    /// The variable [`IDENTITY_KEY`].
    Variable,
}

impl IdentityPlace {
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Variable => None,
        }
    }

    /// Reads the bytes there; `None` if there is no file.
    pub(crate) fn read(&self, permissions: Permissions) -> Result<Option<Zeroizing<Vec<u8>>>, CommandError> {
        match self {
            Self::File(path) => read_private_file(path, MAX_IDENTITY_FILE_BYTES, permissions).map_err(|error| {
                let is_public = error.exposure().is_some() && path.extension().is_some_and(|end| end == "pub");
                // To close it would not help.
                if is_public { self.bad(&IdentityError::PublicKey) } else { CommandError::from(error) }
            }),
            Self::Variable => Ok(inherited(IDENTITY_KEY)),
        }
    }

    /// Parses the bytes that were read from this place.
    pub(crate) fn parse(&self, bytes: &[u8]) -> Result<IdentityFile, CommandError> {
        IdentityFile::parse(bytes).map_err(|error| explained(self.bad(&error), bytes, self.path().is_none()))
    }

    fn bad(&self, error: &IdentityError) -> CommandError {
        let what = if self.path().is_some() { "an age identity file" } else { "an identity" };
        let error_said = CommandError::new(Exit::Failed, format!("{self} is not {what}: {error}"));
        if let IdentityError::Form(form) = error {
            let hints = self.path().map_or(Vec::new(), |path| file_form::hints(*form, path));
            return hints.into_iter().fold(error_said, CommandError::hint);
        }
        let file = self.path().map_or("FILE".to_owned(), quoted);
        match error {
            IdentityError::Foreign(key) => {
                foreign_key::as_identity(key, self.path()).into_iter().fold(error_said, CommandError::hint)
            }
            IdentityError::LowerCase { .. } => {
                error_said.hint("write the key in upper case, from AGE-SECRET-KEY-1 to the end of its line")
            }
            IdentityError::PublicKey => error_said.hint("name the file of the private key: the one without .pub"),
            IdentityError::KeyType(_) => error_said.hint(foreign_key::CREATE_ONE),
            IdentityError::KeyFormat(format) => {
                let convert = format!("convert it to the current format: ssh-keygen -p -f {file}");
                match format {
                    KeyFormat::EncryptedPem => error_said.hint(convert),
                    // OpenSSH reads no Ed25519 key in it, and age no ECDSA key.
                    KeyFormat::Pkcs8 => error_said
                        .hint(format!("if it is an RSA key, {convert}"))
                        .hint(format!("if it is of another type, {}", foreign_key::CREATE_ONE)),
                }
            }
            IdentityError::Cipher(_) => {
                error_said.hint(format!("encrypt it with a supported cipher: ssh-keygen -p -Z aes256-ctr -f {file}"))
            }
            IdentityError::TooMany => {
                error_said.hint("split it into several files, and name each with --identity FILE")
            }
            IdentityError::TooManyRounds(_) => {
                error_said.hint(format!("use fewer rounds: ssh-keygen -p -a 100 -f {file}"))
            }
            _ => error_said,
        }
    }
}

impl fmt::Display for IdentityPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Variable => f.write_str(IDENTITY_KEY),
        }
    }
}

/// The error for a place without an identity.
pub(crate) fn none_at(origin: &IdentityPlace) -> CommandError {
    let error = CommandError::new(Exit::NotFound, format!("there is no identity at {origin}"));
    empty_variables(IDENTITY_VARIABLES)
        .into_iter()
        .fold(error, CommandError::because)
        .hint("name another file with --identity FILE or FLYTE_LOCAL_IDENTITY")
        .hint("or restore it from your copy: without it, you cannot open this vault's secrets")
        .hint(
            "if you never had one, create it and ask a recipient of the vault to add you: flyte-local create identity",
        )
}
