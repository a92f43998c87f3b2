//! Hints for a file of the vault that is refused.

use std::path::Path;

use super::file_form;
use crate::cli::shell::{quoted, scope_flags};
use flyte_local::crypto::EnvelopeError;
use flyte_local::file_form::FileForm;
use flyte_local::secret::SecretId;
use flyte_local::vault::SecretFileError;

pub(super) fn hints(id: &SecretId, path: &Path, refusal: &SecretFileError, command: &str) -> Vec<String> {
    let typed = |verb: &str| format!("{command} {verb} secret {}{}", id.name, scope_flags(&id.scope));
    let adopt = format!("if you know that the value is right, sign it yourself: {} --adopt", typed("update"));
    let trust = format!("{command} update vault --trust-author");
    match refusal {
        SecretFileError::Unsigned | SecretFileError::FormerAuthor { .. } => {
            vec![adopt, format!("show the value: {}", look(path))]
        }
        SecretFileError::UnknownAuthor(key) => {
            vec![adopt, format!("or, if you know the author and trust their values: {trust} {key}")]
        }
        SecretFileError::UnpinnedAuthor { author, .. } => {
            vec![format!("if you know the author and this key is theirs: {trust} {author}")]
        }
        SecretFileError::Envelope(EnvelopeError::Form(form)) => {
            let mut hints = form_hints(*form, path);
            hints.push(removal(refusal, &typed("delete")));
            hints
        }
        // It may be a newer version of that secret, or the only one.
        SecretFileError::OtherSecret(_) => {
            vec![format!(
                "the file was renamed, swapped or copied; see what it is before you move or delete it: {command} check"
            )]
        }
        refusal => vec![removal(refusal, &typed("delete"))],
    }
}

/// Returns the ways to give a secret's file its right form, apart from a backup.
fn form_hints(form: FileForm, path: &Path) -> Vec<String> {
    let file = quoted(path);
    match form {
        FileForm::Empty | FileForm::Zeros => Vec::new(),
        FileForm::ArmoredAge => vec![format!(
            "give it its binary form: sed '/^-----/d' {file} | base64 -d > {file}.new && cat {file}.new > {file} && rm {file}.new"
        )],
        form => file_form::hints(form, path),
    }
}

/// Returns the command that shows the value of a refused file.
fn look(path: &Path) -> String {
    format!("age -d -i IDENTITY {}", quoted(path))
}

/// `delete` is the command that deletes the secret; it also works on a refused file.
fn removal(refusal: &SecretFileError, delete: &str) -> String {
    match refusal {
        SecretFileError::OtherVault => {
            format!("it was copied from another vault; delete it, then create it here: {delete}")
        }
        SecretFileError::NoFile => {
            "flyte-local did not create it; if you do not need it, remove it yourself".to_owned()
        }
        SecretFileError::Envelope(EnvelopeError::NotAge | EnvelopeError::NoBinding) => {
            format!("flyte-local did not write it; restore it from a backup, or delete it: {delete}")
        }
        _ => format!("restore it from a backup, or delete it: {delete}"),
    }
}
