//! Trust: the one place that decides whose values are read, whether a vault is the pinned one, and whether a secret was
//! rolled back. Nothing here reads or writes anything.

use std::fmt;

use jiff::Timestamp;

use super::SecretFileError;
use super::binding::Claim;
use super::manifest::{Manifest, Named, NamedAuthor, NamedRecipient};
use crate::crypto::Commitment;
use crate::secret::SecretId;

/// The id, recipients and authors of a vault when this machine first read it, or last accepted it.
#[derive(Debug, Clone)]
pub(super) struct Pin {
    pub(super) id: String,
    pub(super) recipients: Vec<NamedRecipient>,
    pub(super) authors: Vec<NamedAuthor>,
    /// The fingerprint of what the user is about to make of it, announced before `vault.toml` is written: so that their own
    /// change, stopped halfway, is not taken for another user's.
    pub(super) announced: Option<String>,
    /// `true` if the vault was made here or accepted by its user; `false` if it was only read.
    pub(super) is_accepted: bool,
}

/// One way in which a vault is not what is pinned. It shows as a line of a difference: `+ author NAME KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `true` if the vault has it and the pin has not; `false` the other way round.
    pub is_new: bool,
    /// `id`, `author` or `recipient`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// The key.
    pub key: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_new, what, name, key } = self;
        let sign = if *is_new { '+' } else { '-' };
        // The name must not end the line: its author may be an attacker.
        if name.is_empty() { write!(f, "{sign} {what} {key}") } else { write!(f, "{sign} {what} {name:?} {key}") }
    }
}

/// When this machine pinned what a vault is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// When its user accepted the vault, or made it.
    Accepted,
    /// When it read the vault for the first time.
    FirstRead,
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "it was accepted on this machine",
            Self::FirstRead => "this machine first read it",
        })
    }
}

impl Pin {
    /// Returns the pin of a vault that its user made, changed or accepted.
    pub(super) fn accepted(manifest: &Manifest) -> Self {
        Self { is_accepted: true, ..Self::first_seen(manifest) }
    }

    /// Returns the pin of a vault that this machine sees for the first time: enough to read it, but not to write to it.
    pub(super) fn first_seen(manifest: &Manifest) -> Self {
        Self {
            id: manifest.id().to_owned(),
            recipients: manifest.recipients().to_vec(),
            authors: manifest.authors().to_vec(),
            announced: None,
            is_accepted: false,
        }
    }

    /// The pin, or the vault as it is, if that is what its user was making of it.
    pub(super) fn settled(self, manifest: &Manifest) -> Self {
        if self.announced.as_ref() == Some(&manifest.fingerprint()) { Self::accepted(manifest) } else { self }
    }

    /// All that there is to pin of a vault.
    pub(super) fn all(manifest: &Manifest) -> Vec<Change> {
        let nothing = Self {
            id: String::new(),
            recipients: Vec::new(),
            authors: Vec::new(),
            announced: None,
            is_accepted: false,
        };
        nothing.changes(manifest).into_iter().filter(|change| change.is_new).collect()
    }

    /// How the vault differs from what is pinned: by its keys and their names, as `delete recipient`
    /// goes by these. Empty if it does not.
    pub(super) fn changes(&self, manifest: &Manifest) -> Vec<Change> {
        let id = |id: &str| vec![(String::new(), id.to_owned())];
        let mut changes = difference("id", id(&self.id), id(manifest.id()));
        changes.extend(difference("recipient", texts(&self.recipients), texts(manifest.recipients())));
        changes.extend(difference("author", texts(&self.authors), texts(manifest.authors())));
        changes
    }
}

fn texts<K: fmt::Display>(keys: &[Named<K>]) -> Vec<(String, String)> {
    keys.iter().map(|known| (known.name.clone(), known.key.to_string())).collect()
}

/// Returns the entries that only one of the lists has.
fn difference(what: &'static str, old: Vec<(String, String)>, new: Vec<(String, String)>) -> Vec<Change> {
    let only = |is_new: bool, these: &[(String, String)], others: &[(String, String)]| -> Vec<Change> {
        let missing = these.iter().filter(|pair| !others.contains(pair));
        missing.map(|(name, key)| Change { is_new, what, name: name.clone(), key: key.clone() }).collect()
    };
    [only(false, &old, &new), only(true, &new, &old)].concat()
}

/// Checks that a trusted author wrote the file: one of the vault's authors who is pinned. The pin is `None` where
/// nothing can be pinned; then the vault's own list has to do.
///
/// # Errors
/// Why not.
pub(super) fn judge(claim: Option<&Claim>, manifest: &Manifest, pin: Option<&Pin>) -> Result<(), SecretFileError> {
    let claim = claim.ok_or(SecretFileError::Unsigned)?;
    // First, as else a file could put another's name into the message.
    if !claim.is_authentic() {
        return Err(SecretFileError::Forged);
    }
    let author = Box::new(claim.author.clone());
    let name = |authors: &[NamedAuthor]| {
        let named = authors.iter().find(|author| author.key == claim.author);
        named.map(|author| author.name.clone())
    };
    let pinned = pin.map(|pin| name(&pin.authors));
    match (name(manifest.authors()), pinned) {
        (Some(_), None | Some(Some(_))) => Ok(()),
        (Some(name), Some(None)) => Err(SecretFileError::UnpinnedAuthor { author, name }),
        (None, Some(Some(name))) => Err(SecretFileError::FormerAuthor { author, name }),
        (None, None | Some(None)) => Err(SecretFileError::UnknownAuthor(author)),
    }
}

/// Checks that the value is the one that was signed.
///
/// # Errors
/// It is not.
pub(super) fn judge_value(claim: Option<&Claim>, commitment: &Commitment) -> Result<(), SecretFileError> {
    match claim {
        Some(claim) if &claim.commitment != commitment => Err(SecretFileError::Forged),
        _ => Ok(()),
    }
}

/// The newest version of a secret on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Newest {
    /// When it was last updated, or deleted here.
    pub(super) time: Timestamp,
    /// `true` if it was deleted here.
    pub(super) is_deleted: bool,
}

/// A secret that is older than this machine has seen it, or gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale {
    /// Which.
    pub id: SecretId,
    /// When it was last updated, as far as this machine knows, or deleted on it.
    pub known: Timestamp,
    /// `true` if it was deleted on this machine.
    pub is_deleted: bool,
    /// When the file that is there was; `None` if there is none.
    pub found: Option<Timestamp>,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, known, is_deleted, found } = self;
        match found {
            Some(found) if *is_deleted => {
                write!(f, "{id} dates from {found}, but was deleted on this machine at {known}")
            }
            Some(found) => {
                write!(f, "{id} dates from {found}, but this machine has already seen a version from {known}")
            }
            None => write!(f, "{id} is gone, but this machine has seen a version from {known}"),
        }
    }
}

/// How what was found compares with what is known last.
pub(super) fn staleness(id: &SecretId, known: Option<Newest>, found: Option<Timestamp>) -> Option<Stale> {
    let Newest { time, is_deleted } = known?;
    let is_stale = match found {
        Some(found) => found < time,
        // Who deleted it does not miss it.
        None => !is_deleted,
    };
    is_stale.then(|| Stale { id: id.clone(), known: time, is_deleted, found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{AuthorKey, Identity};

    fn author(name: &str) -> NamedAuthor {
        NamedAuthor { name: name.to_owned(), key: AuthorKey::generate().expect("randomness").author() }
    }

    fn recipient(name: &str) -> NamedRecipient {
        NamedRecipient { name: name.to_owned(), key: Identity::generate().recipient() }
    }

    #[test]
    fn a_difference_has_a_line_for_each_key_that_came_or_went_or_has_another_name() {
        let (alice, bob, eve) = (author("alice"), author("bob"), author("eve\n- nothing"));
        let (owner, other) = (recipient("owner"), recipient("other"));
        let old = Manifest::new(vec![owner.clone()], vec![alice.clone(), bob]).expect("randomness");
        let pin = Pin::accepted(&old);
        assert!(pin.changes(&old).is_empty());

        let renamed = NamedAuthor { name: "Alice".to_owned(), ..alice };
        let mut new = old.clone();
        new.replace(vec![owner, other], vec![renamed, eve]);
        let lines: Vec<_> = pin.changes(&new).iter().map(ToString::to_string).collect();
        let starts = [
            r#"+ recipient "other" age1"#,
            r#"- author "alice" flyteauthor1"#,
            r#"- author "bob" flyteauthor1"#,
            r#"+ author "Alice" flyteauthor1"#,
            r#"+ author "eve\n- nothing" flyteauthor1"#,
        ];
        assert_eq!(lines.len(), starts.len(), "{lines:?}");
        assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:?}");

        let another = Manifest::new(old.recipients().to_vec(), old.authors().to_vec()).expect("randomness");
        let ids = pin.changes(&another);
        assert_eq!(ids.iter().map(|change| change.what).collect::<Vec<_>>(), ["id", "id"]);
    }

    #[test]
    fn older_and_gone_are_stale_and_newer_is_not() {
        let id = SecretId { scope: crate::secret::Scope::Organization, name: "s".parse().expect("a good name") };
        let time = |second| Timestamp::from_second(second).expect("a time");
        let is_stale = |known, found: Option<i64>| staleness(&id, known, found.map(time)).is_some();
        let seen = Some(Newest { time: time(2), is_deleted: false });
        assert!(is_stale(seen, Some(1)) && is_stale(seen, None));
        assert!(!is_stale(seen, Some(2)) && !is_stale(seen, Some(3)));
        let deleted = Some(Newest { time: time(2), is_deleted: true });
        assert!(is_stale(deleted, Some(1)) && !is_stale(deleted, None) && !is_stale(deleted, Some(3)));
        assert!(!is_stale(None, Some(1)) && !is_stale(None, None), "what was never seen cannot be older");
    }

    #[test]
    fn an_unsigned_file_is_refused_with_and_without_a_pin() {
        let manifest = Manifest::new(vec![recipient("owner")], vec![author("alice")]).expect("randomness");
        for pin in [None, Some(Pin::accepted(&manifest))] {
            assert!(matches!(judge(None, &manifest, pin.as_ref()), Err(SecretFileError::Unsigned)));
        }
    }
}
