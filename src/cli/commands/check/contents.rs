//! The contents of a vault that could be opened.

use super::copies;
use super::finding::Finding;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::identities::UserIdentities;
use crate::cli::rollback;
use crate::cli::shell::{quoted, scope_flags};
use flyte_local::crypto::{Author, AuthorKey};
use flyte_local::vault::{InPlace, InspectionError, MisplacedSecret, Vault, VaultError};

/// Checks everything about a vault that could be opened.
pub(super) fn look_over(context: &Context<'_>, vault: &Vault, identities: Option<&UserIdentities>) -> Vec<Finding> {
    let key = context.read_author_file();
    let own = key.as_ref().ok().and_then(|key| key.as_ref().map(AuthorKey::author));
    let mut findings = vec![signing_key(context, vault, key)];
    findings.extend(keys(context, vault, identities, own.as_ref()));
    findings.push(Finding::new(context, "fingerprint", Ok(vault.fingerprint())));
    findings.push(Finding {
        hint: acceptance_hint(context, vault),
        ..Finding::new(context, "trust", known(context, vault))
    });
    findings.extend(secrets(context, vault, identities));
    findings
}

/// Checks the user's signing key. Users who only read do not need one.
fn signing_key(context: &Context<'_>, vault: &Vault, key: Result<Option<AuthorKey>, CommandError>) -> Finding {
    const WHAT: &str = "signing key";
    let found = key.and_then(|key| Ok((key.map(|key| key.author()), context.author_path()?.display())));
    let (key, path) = match found {
        Ok((Some(key), path)) => (key, path),
        Ok((None, path)) => {
            return Finding::new(context, WHAT, Ok(format!("none yet: the first write creates {path}")));
        }
        Err(error) => return Finding::new(context, WHAT, Err(error)),
    };
    if vault.authors().iter().any(|author| author.key == key) {
        return Finding::new(context, WHAT, Ok(path.to_string()));
    }
    let hint = format!(
        "to write secrets that others can read, become an author: {} update vault --trust-author {key}",
        context.command
    );
    Finding {
        hint: Some(hint),
        ..Finding::new(context, WHAT, Ok(format!("{path}; it is not the key of one of the vault's authors")))
    }
}

/// Checks the files of the vault: the number of intact secrets, and each file that is not.
fn secrets(context: &Context<'_>, vault: &Vault, identities: Option<&UserIdentities>) -> Vec<Finding> {
    let found = match vault.inspect(identities.map(|identities| identities as _)) {
        Ok(found) => found,
        Err(error) => return vec![Finding::new(context, "all secrets", Err(error.into()))],
    };
    let sound = match (found.sound, identities) {
        (0, _) if found.flaws.is_empty() => "none yet".to_owned(),
        (sound, None) => format!("{sound} with an intact header; not opened, because there is no identity"),
        (sound, Some(_)) => format!("{sound} opened and intact, each by a trusted author"),
    };
    let intact_copies = copies::intact_copies(&found.flaws);
    let flaws = found.flaws.into_iter().map(|flaw| {
        let refused = CommandError::chain(Exit::Refused, &flaw);
        match flaw {
            InspectionError::Secret(VaultError::Refused { id, path, source }) => {
                let copy = intact_copies.get(&id).filter(|_| !source.is_of_author());
                let error = VaultError::Refused { id, path, source };
                let error = match copy {
                    // To delete the file would not help: a copy in its place would look like a secret that is back.
                    Some(copy) => CommandError::chain(Exit::Refused, &error)
                        .hint(format!("do not delete it: {} is an intact version", copy.display())),
                    None => error.into(),
                };
                Finding::new(context, "secret", Err(error))
            }
            InspectionError::Secret(error) => Finding::new(context, "secret", Err(error.into())),
            InspectionError::Directory(error) => Finding::new(context, "directory", Err(error.into())),
            InspectionError::Stray { path } => {
                let hint = match path.parent() {
                    // The name is known only with this character for each byte that is not UTF-8.
                    Some(directory) if path.to_string_lossy().contains('\u{fffd}') => {
                        format!(
                            "its name is not UTF-8; list it, look at it, then remove it: ls -b {}",
                            quoted(directory)
                        )
                    }
                    _ => format!("look at it, then remove it: rm -r {}", quoted(&path)),
                };
                Finding::new(context, "stray file", Err(refused.hint(hint)))
            }
            InspectionError::Misplaced(secret) => {
                let error = misplaced_hints(context, &secret).into_iter().fold(refused, CommandError::hint);
                let reasons = secret.refusal.iter().map(ToString::to_string);
                Finding::new(context, "misplaced secret", Err(reasons.fold(error, CommandError::because)))
            }
            InspectionError::Copy(copy) => copies::finding(context, &copy),
            InspectionError::Leftover { path } => {
                // A command that writes several secrets together has a directory of them.
                let remove = if path.is_dir() { "rm -r" } else { "rm" };
                let hint = format!("remove it: {remove} {}", quoted(&path));
                Finding::new(context, "leftover", Err(refused.hint(hint)))
            }
        }
    });
    let all = [encryption(context, found.outdated), Finding::new(context, "all secrets", Ok(sound))];
    all.into_iter().chain(flaws).collect()
}

/// Says what to remove only if the same bytes are in its place: the file may hold the only version of the secret, or the newest one.
fn misplaced_hints(context: &Context<'_>, secret: &MisplacedSecret) -> Vec<String> {
    let (path, place) = (quoted(&secret.path), quoted(&secret.place));
    if secret.in_place == InPlace::Same {
        let remove = match &secret.occupies {
            Some(id) => format!("{} delete secret {}{}", context.command, id.name, scope_flags(&id.scope)),
            None => format!("rm {path}"),
        };
        return vec![format!("the same file is in its place, so remove this one: {remove}")];
    }
    if secret.refusal.is_some() {
        return vec!["keep it until you know whether you trust its author; `update vault` accepts authors".to_owned()];
    }
    if secret.in_place == InPlace::Other {
        return vec![format!(
            "keep it until you have compared it with the file in its place, {}; to show its value: age -d -i IDENTITY {path}",
            secret.place.display()
        )];
    }
    let directory = secret.place.parent().map(quoted).unwrap_or_default();
    vec![format!("move it to its place: mkdir -p {directory} && mv -n {path} {place}")]
}

/// Checks that the vault is the one that this machine knows, without a rollback.
fn known(context: &Context<'_>, vault: &Vault) -> Result<String, CommandError> {
    if !vault.is_remembered() {
        return Err(VaultError::NoState.into());
    }
    vault.require_unchanged()?;
    rollback::require_none(vault, &context.command, |_| true)?;
    Ok(match vault.is_accepted() {
        true => "recipients and authors as accepted on this machine, and no rollback",
        false => "no rollback; the vault was not accepted on this machine, which therefore does not write to it",
    }
    .to_owned())
}

fn acceptance_hint(context: &Context<'_>, vault: &Vault) -> Option<String> {
    let accept = || format!("{} update vault --accept --expect {}", context.command, vault.fingerprint());
    (!vault.is_accepted()).then(|| {
        format!("to write to the vault, compare its keys with those that its owner sees, and accept them: {}", accept())
    })
}

/// Checks that every secret is encrypted to exactly the vault's recipients, as far as its signature and its stanzas show it.
fn encryption(context: &Context<'_>, outdated: usize) -> Finding {
    let state = match outdated {
        0 => Ok("every secret was written for exactly the vault's recipients, and its header fits them".to_owned()),
        count => {
            let secrets = if count == 1 { "1 secret".to_owned() } else { format!("{count} secrets") };
            let message = format!("the recipients of {secrets} are out of date");
            Err(CommandError::new(Exit::Refused, message).hint(format!("re-encrypt them: {} rekey", context.command)))
        }
    };
    Finding::new(context, "encryption", state)
}

/// Lists the recipients and authors, for users to compare at first use.
fn keys(
    context: &Context<'_>,
    vault: &Vault,
    identities: Option<&UserIdentities>,
    own: Option<&Author>,
) -> Vec<Finding> {
    let finding = |what, name: &str, key: String, is_own: bool| {
        Finding::new(context, what, Ok(format!("{name:?} {key}{}", if is_own { " (yours)" } else { "" })))
    };
    let ours = identities.map(UserIdentities::recipients).unwrap_or_default();
    let recipients = vault.recipients().iter().map(|known| {
        let is_own = ours.contains(&known.key);
        finding("recipient", &known.name, known.key.to_string(), is_own)
    });
    let authors = vault
        .authors()
        .iter()
        .map(|known| finding("author", &known.name, known.key.to_string(), own == Some(&known.key)));
    recipients.chain(authors).collect()
}
