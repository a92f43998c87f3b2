//! Why a `vault.toml` is refused.

use super::layout;
use super::manifest::{FORMAT, MAX_MARKS, MAX_NAME_CHARACTERS};
use crate::file_form::FileForm;
use crate::toml_file::TomlError;

/// Why a `vault.toml` is not understood.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not TOML, or has a member we do not know.
    #[error("{0}")]
    Syntax(String),
    /// It is in another form than any `vault.toml`.
    #[error(transparent)]
    Form(#[from] FileForm),
    /// It has more bytes than all that it may hold.
    #[error("it has {found} bytes, and may have {}", layout::MAX_MANIFEST_BYTES)]
    TooLarge {
        /// How many.
        found: usize,
    },
    /// It has more keys and values than all that it may hold.
    #[error("it has more than {MAX_MARKS} of the characters '.', ',', '=', '[' and '{{'")]
    TooManyMarks,
    /// A later format.
    #[error("it has format {found}, this flyte-local knows formats up to {FORMAT}")]
    Format {
        /// The format it says it has.
        found: u32,
    },
    /// The id is not 32 hexadecimal digits.
    #[error("its id is not 32 lower-case hexadecimal digits")]
    Id,
    /// A recipient's key does not parse.
    #[error("the key of recipient {name:?} cannot be used")]
    Recipient {
        /// The name or key in question.
        name: String,
        /// The reason.
        #[source]
        reason: crate::crypto::RecipientError,
    },
    /// An author's key does not parse.
    #[error("the key of author {name:?} cannot be used")]
    Author {
        /// Who it is.
        name: String,
        /// The reason.
        #[source]
        reason: crate::crypto::AuthorError,
    },
    /// It has no recipients.
    #[error("it has no recipient")]
    NoRecipient,
    /// There are more than a list can show, or a header hold.
    #[error("it has {found} {what}, and may have {most}")]
    TooMany {
        /// `recipients` or `authors`.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// A name is too long.
    #[error("the name of {key} has more than {MAX_NAME_CHARACTERS} characters")]
    LongName {
        /// The name or key in question.
        key: String,
    },
    /// A key is written in another way than this program writes it: with a comment, for example.
    #[error("the key {key} must be written exactly so, without a comment")]
    NotCanonical {
        /// The key, as it must be written.
        key: String,
    },
    /// A key is there twice.
    #[error("{key} is there twice")]
    Repeated {
        /// The key.
        key: String,
    },
}

impl From<TomlError> for ManifestError {
    fn from(error: TomlError) -> Self {
        match error {
            TomlError::TooManyMarks => Self::TooManyMarks,
            TomlError::Form(form) => Self::Form(form),
            TomlError::Syntax(reason) => Self::Syntax(reason),
        }
    }
}
