//! Conflict copies, which `check` explains before it says what to remove.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::finding::Finding;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::shell::quoted;
use flyte_local::secret::SecretId;
use flyte_local::vault::{ConflictCopy, InspectionError, NewestVersion, Original, Version};
use jiff::Timestamp;

/// Explains which version is newer, and how to keep either of them.
pub(super) fn finding(context: &Context<'_>, copy: &ConflictCopy) -> Finding {
    let (message, hints) = match &copy.original {
        Original::Secret { id, time, copy: version, place, newest } => match version {
            Version::Intact(_) => intact(context, copy, &id.to_string(), *time, place.as_ref(), newest.as_ref()),
            Version::Unopened => (
                format!("a version of {id} from {time}, but it was not opened, so it may be damaged"),
                vec!["keep it until `check` opens it with an identity of one of its recipients".to_owned()],
            ),
            Version::Refused(refusal) => (
                format!("a damaged version of {id} from {time}: {refusal}"),
                vec![match newest {
                    Some(_) => format!("if it is not still being synchronized, remove it: {}", removed(copy)),
                    None => "no version is intact: get the file from a backup or from the other machine".to_owned(),
                }],
            ),
        },
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

/// Explains an intact copy. A command replaces or removes an intact version only if a newer one or the same one is intact, or
/// says that the other version is kept.
fn intact(
    context: &Context<'_>,
    copy: &ConflictCopy,
    id: &str,
    time: Timestamp,
    place: Option<&Version>,
    newest: Option<&NewestVersion>,
) -> (String, Vec<String>) {
    let accept = format!("{} update vault --accept-older", context.command);
    let to_keep = |version: &str, command: String| format!("to keep {version}, move it to its place: {command}");
    match (newest, place) {
        (Some(newest), _) if newest.path != copy.path && newest.is_same => (
            format!("another file of the version of {id} from {time} at {}", newest.path.display()),
            vec![format!("remove it: {}", removed(copy))],
        ),
        (Some(newest), _) if newest.path != copy.path && newest.path != copy.place => (
            format!(
                "not the newest copy of {id}: it dates from {time}, and {} from {}",
                newest.path.display(),
                newest.time
            ),
            vec!["first keep or remove the newest copy; then run `check` again".to_owned()],
        ),
        (_, Some(Version::Intact(place))) => match time.cmp(place) {
            Ordering::Greater => (
                format!("a newer version of {id}: it dates from {time}, and the file in its place from {place}"),
                vec![
                    to_keep("the newer version", moved(copy)),
                    format!("or, to keep the older version, remove the copy: {}", removed(copy)),
                ],
            ),
            Ordering::Less => (
                format!("an older version of {id}: it dates from {time}, and the file in its place from {place}"),
                vec![
                    format!("the newer version is in its place; if you do not need the older one: {}", removed(copy)),
                    format!("or, to keep the older version: {} && {accept}", moved(copy)),
                ],
            ),
            Ordering::Equal => (
                format!(
                    "another version of {id}: it and the file in its place date from {time}, but their values differ"
                ),
                vec![
                    format!("to keep the value of the file in its place: {}", removed(copy)),
                    format!("or, to keep the value of the copy: {}", moved(copy)),
                ],
            ),
        },
        (_, None) => (
            format!("a version of {id} from {time}, and there is no file in its place"),
            vec![
                to_keep("it", format!("mv -n {} {}", quoted(&copy.path), quoted(&copy.place))),
                format!("or, if you deleted the secret and do not need this value, remove it: {}", removed(copy)),
            ],
        ),
        (_, Some(Version::Unopened)) => (
            format!("a version of {id} from {time}, and the file in its place was not opened, so it may be newer"),
            vec!["keep both until `check` opens them with an identity of their recipients".to_owned()],
        ),
        (_, Some(Version::Refused(refusal))) if refusal.is_of_author() => (
            format!("a version of {id} from {time}, and the file in its place is refused: {refusal}"),
            vec!["keep both until you know whether you trust that author; `update vault` accepts authors".to_owned()],
        ),
        (_, Some(Version::Refused(_))) => (
            format!("an intact version of {id} from {time}, and the file in its place is refused"),
            // Only its author or a tool may make sense of that file, so it is not overwritten.
            vec![to_keep("it", set_aside(copy))],
        ),
    }
}

/// Returns the paths of the intact copies that may take the place of a refused file.
pub(super) fn intact_copies(flaws: &[InspectionError]) -> BTreeMap<SecretId, PathBuf> {
    let copies = flaws.iter().filter_map(|flaw| match flaw {
        InspectionError::Copy(copy) => match &copy.original {
            Original::Secret { id, newest: Some(newest), .. } => Some((id.clone(), newest.path.clone())),
            _ => None,
        },
        _ => None,
    });
    copies.collect()
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

/// Keeps the file in its place beside it.
fn set_aside(copy: &ConflictCopy) -> String {
    let mut aside = copy.place.clone().into_os_string();
    aside.push(".refused");
    let (path, place, aside) = (quoted(&copy.path), quoted(&copy.place), quoted(aside.as_ref()));
    format!("mv -n {place} {aside} && mv -n {path} {place}")
}

fn removed(copy: &ConflictCopy) -> String {
    format!("rm {}", quoted(&copy.path))
}
