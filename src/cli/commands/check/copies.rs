//! Conflict copies, which `check` explains before it says what to remove.

use std::cmp::Ordering;

use super::finding::Finding;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::shell::quoted;
use flyte_local::vault::{ConflictCopy, Original};

/// Explains which version is newer, and how to keep either of them.
pub(super) fn finding(context: &Context<'_>, copy: &ConflictCopy) -> Finding {
    let (message, hints) = match &copy.original {
        Original::Secret { id, copy: time, place: Some(place) } => {
            let message = match time.cmp(place) {
                Ordering::Greater => {
                    format!("a newer version of {id}: it dates from {time}, and the file in its place from {place}")
                }
                Ordering::Less => {
                    format!("an older version of {id}: it dates from {time}, and the file in its place from {place}")
                }
                Ordering::Equal => format!("another file of the version of {id} that is in its place, from {time}"),
            };
            (message, secret_hints(context, copy, time.cmp(place)))
        }
        Original::Secret { id, copy: time, place: None } => (
            format!("a version of {id} from {time}, and there is no other that is intact"),
            vec![
                format!("to keep it, move it to its place: {}", moved(copy)),
                format!("or remove it: {}", removed(copy)),
            ],
        ),
        Original::Manifest { copy: time, place, changes } => {
            let age = match time.cmp(place) {
                Ordering::Greater => "a newer",
                Ordering::Less => "an older",
                Ordering::Equal => "another",
            };
            let mut message = format!(
                "{age} version of vault.toml, by the times at which the files were changed: {time}, and {place}"
            );
            if changes.is_empty() {
                message.push_str("; both have the same recipients and authors");
            }
            changes.iter().for_each(|change| message.push_str(&format!("\n{change}")));
            (message, manifest_hints(context, copy, changes.is_empty()))
        }
    };
    let error = CommandError::new(Exit::Refused, format!("{} is {message}", copy.path.display()));
    Finding::new(context, "conflict copy", Err(hints.into_iter().fold(error, CommandError::hint)))
}

fn secret_hints(context: &Context<'_>, copy: &ConflictCopy, age: Ordering) -> Vec<String> {
    let accept = format!("{} update vault --accept-older", context.command);
    match age {
        Ordering::Greater => vec![
            format!("to keep the newer version, move it to its place: {}", moved(copy)),
            format!("or, to keep the older version, remove the copy: {}", removed(copy)),
        ],
        Ordering::Less => vec![
            format!("the newer version is in its place; if you do not need the older one: {}", removed(copy)),
            format!("or, to keep the older version: {} && {accept}", moved(copy)),
        ],
        Ordering::Equal => vec![format!("remove it: {}", removed(copy))],
    }
}

fn manifest_hints(context: &Context<'_>, copy: &ConflictCopy, is_same: bool) -> Vec<String> {
    let mut hints = vec![format!("to keep the recipients and authors of vault.toml: {}", removed(copy))];
    if !is_same {
        let accept = format!("{} update vault --accept", context.command);
        hints.push(format!("or, if you know the keys of the copy, to keep those: {} && {accept}", moved(copy)));
    }
    hints
}

fn moved(copy: &ConflictCopy) -> String {
    format!("mv {} {}", quoted(&copy.path), quoted(&copy.place))
}

fn removed(copy: &ConflictCopy) -> String {
    format!("rm {}", quoted(&copy.path))
}
