//! Words on what a cluster does with a value that a local run does not: a line for each.

use std::fmt::Display;

use flyte_local::flyte::{MOST_IN_AWS_OR_GOOGLE, MOST_IN_AZURE, MOST_IN_THE_FILES_OF_A_POD, ValueTraits};
use flyte_local::launch::is_too_large_for_a_variable;

/// The form in which a task gets a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery<'a> {
    Variable(&'a str),
    /// A file, a parameter of a connector, or a mount of an image's build.
    Exact,
    /// As the vault has it: tasks decide.
    Undecided,
}

/// Returns what to say about one secret.
pub(crate) fn notes(secret: &dyn Display, form: Delivery<'_>, traits: ValueTraits) -> Vec<String> {
    let mut notes = Vec::new();
    let variable = match form {
        Delivery::Variable(name) => Some(format!("the variable {name}")),
        Delivery::Undecided => Some("a variable".to_owned()),
        Delivery::Exact => None,
    };
    if let Some(variable) = variable.filter(|_| traits.is_text) {
        if traits.is_expanded {
            notes.push(format!(
                "secret {secret} contains $$ or $(…): on a cluster, {variable} has $ for $$, and may have another value for \
                 $(NAME); a file has the exact value"
            ));
        }
        if traits.ends_in_newline {
            notes.push(format!("secret {secret} ends in a newline, which {variable} keeps"));
        }
    }
    let length = traits.length;
    if length > MOST_IN_AWS_OR_GOOGLE {
        notes.push(format!(
            "secret {secret} has {length} bytes: a cluster takes at most {MOST_IN_AWS_OR_GOOGLE} if it keeps secrets in AWS or \
             Google Cloud, and {MOST_IN_AZURE} in Azure"
        ));
    } else if length > MOST_IN_AZURE {
        notes.push(format!(
            "secret {secret} has {length} bytes: a cluster takes at most {MOST_IN_AZURE} if it keeps secrets in Azure"
        ));
    }
    if form == Delivery::Undecided && traits.is_text && is_too_large_for_a_variable(&secret.to_string(), length) {
        notes.push(format!(
            "secret {secret} has {length} bytes: no program starts with a variable of that size, so mount it"
        ));
    }
    notes
}

/// Returns what to say about the file secrets of one task, or of the tasks of one environment, by their length together.
pub(crate) fn note_on_files(who: &str, length: usize) -> Option<String> {
    (length > MOST_IN_THE_FILES_OF_A_POD).then(|| {
        format!(
            "the file secrets of {who} have {length} bytes together: a pod on a cluster takes about \
             {MOST_IN_THE_FILES_OF_A_POD}"
        )
    })
}
