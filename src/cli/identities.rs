//! The user's identities: the order in which they are tried, and unlocking each locked one at most once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::error::{CommandError, Exit, Tried};
use super::identity_causes::empty_variables;
use super::identity_place::{IDENTITY_VARIABLES, IdentityPlace, none_at};
use super::passphrases::Passphrases;
use super::retired;
use super::span::Span;
use flyte_local::crypto::{self, Identity, IdentityFile, LockedIdentity, PassedOver, Recipient, Wanted};
use flyte_local::keyring::{self, Kept, KeyringError};
use flyte_local::storage::Permissions;
use flyte_local::vault::Vault;

/// All identities that may open a file. Those that are locked stay so until one is needed.
pub(crate) struct UserIdentities {
    sources: Vec<LoadedPlace>,
    passphrases: Arc<Passphrases>,
    /// Set when flyte-local must not ask any more, because a child has the terminal.
    is_closed: AtomicBool,
}

struct LoadedPlace {
    origin: IdentityPlace,
    content: Content,
    /// The keys beside the identities that are not used, once the identities are known.
    passed_over: OnceLock<Vec<PassedOver>>,
}

enum Content {
    Open(Vec<Identity>),
    Locked(Box<Locked>),
}

struct Locked {
    file: LockedIdentity,
    /// The name in the keyring. It changes with the file's bytes.
    name: String,
    kept: Option<Kept>,
    /// Once it was needed.
    unlocked: OnceLock<Result<Vec<Identity>, CommandError>>,
}

impl UserIdentities {
    /// Reads the identities in these places; `None` if all of them are empty.
    pub(crate) fn read(
        origins: &[IdentityPlace],
        permissions: Permissions,
        passphrases: &Arc<Passphrases>,
    ) -> Result<Option<Self>, CommandError> {
        let (mut sources, mut missing) = (Vec::new(), Vec::new());
        for origin in origins {
            let Some(bytes) = origin.read(permissions)? else {
                missing.push(origin);
                continue;
            };
            let passed_over = OnceLock::new();
            let content = match origin.parse(&bytes)? {
                IdentityFile::Open(identities) => {
                    let _ = passed_over.set(IdentityFile::passed_over(&bytes));
                    Content::Open(identities)
                }
                IdentityFile::Locked(file) => {
                    let name = kept_under(&bytes);
                    // A system without a keyring holds no identity there.
                    let kept = keyring::find(&name).unwrap_or_default();
                    Content::Locked(Box::new(Locked { file, name, kept, unlocked: OnceLock::new() }))
                }
            };
            sources.push(LoadedPlace { origin: origin.clone(), content, passed_over });
        }
        match missing.first() {
            _ if sources.is_empty() => Ok(None),
            Some(origin) => Err(none_at(origin)),
            None => {
                let passphrases = Arc::clone(passphrases);
                Ok(Some(Self { sources, passphrases, is_closed: AtomicBool::new(false) }))
            }
        }
    }

    /// Returns the public key of the first identity in each place. Unlocks a file that does not name it.
    pub(crate) fn first_recipients(&self) -> Result<Vec<Recipient>, CommandError> {
        let mut all = Vec::new();
        for source in &self.sources {
            let known = match &source.content {
                Content::Locked(locked) => locked.file.recipient().cloned(),
                Content::Open(_) => None,
            };
            let recipient = match known {
                Some(known) => known,
                None => self.unlock(source)?[0].recipient(),
            };
            if !all.contains(&recipient) {
                all.push(recipient);
            }
        }
        Ok(all)
    }

    /// Returns the public keys that are known without unlocking anything.
    pub(crate) fn recipients(&self) -> Vec<Recipient> {
        self.sources.iter().flat_map(LoadedPlace::recipients).collect()
    }

    /// Returns the public keys of the identities that are unlocked.
    pub(crate) fn usable(&self) -> Vec<Recipient> {
        self.sources.iter().flat_map(LoadedPlace::opened).map(Identity::recipient).collect()
    }

    /// Returns each public key and its place. Unlocks a file that does not name its key.
    pub(crate) fn keys(&self) -> Result<Vec<(String, String)>, CommandError> {
        let mut keys = Vec::new();
        for source in &self.sources {
            if source.recipients().is_empty() {
                self.unlock(source)?;
            }
            keys.extend(source.recipients().iter().map(|key| (key.to_string(), source.origin.to_string())));
        }
        Ok(keys)
    }

    /// Tells whether an unlocked identity is a recipient of the vault.
    pub(crate) fn open(&self, vault: &Vault) -> bool {
        self.sources.iter().any(|source| source.opens(vault))
    }

    /// Tells whether an identity may be a recipient of the vault. A locked one may be, unless its public key says otherwise.
    pub(crate) fn may_open(&self, vault: &Vault) -> bool {
        self.sources.iter().any(|source| source.opens(vault) || source.may_open(vault))
    }

    /// Tells whether an identity was needed and could not be unlocked.
    pub(crate) fn are_locked(&self) -> bool {
        self.locked().any(|(_, locked)| matches!(locked.unlocked.get(), Some(Err(_))))
    }

    /// Unlocks the identities that the vault's recipients call for. Without a way to ask for a passphrase it goes on: the
    /// identity may not be needed.
    pub(crate) fn unlock_for(&self, vault: &Vault) -> Result<(), CommandError> {
        let (kept, others): (Vec<_>, Vec<_>) = self.sources.iter().partition(|source| source.is_kept());
        for source in kept.into_iter().chain(others) {
            if self.open(vault) {
                break;
            }
            if source.may_open(vault)
                && let Err(error) = self.unlock(source)
                && self.passphrases.can_ask()
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Returns their places, whether each is locked, and the keys in it that are passed over.
    pub(crate) fn places(&self) -> impl Iterator<Item = String> {
        self.sources.iter().map(|source| {
            let place = match &source.content {
                Content::Open(_) => source.origin.to_string(),
                Content::Locked(locked) => match &locked.kept {
                    Some(kept) => format!("{} (unlocked for {})", source.origin, Span(kept.left)),
                    None => format!("{} (locked)", source.origin),
                },
            };
            let others = source.passed_over().iter().map(|other| format!("; passed over {other}"));
            others.fold(place, |place, other| place + &other)
        })
    }

    /// Unlocks all locked identities and keeps them in the keyring for this time; returns their places.
    pub(crate) fn keep(&self, time: Duration) -> Result<Vec<&IdentityPlace>, CommandError> {
        let mut kept = Vec::new();
        for (origin, locked) in self.locked() {
            // Before anything is asked for.
            let there = keyring::find(&locked.name)?;
            let payload = match there {
                Some(kept) => kept.payload,
                None => self.passphrases.unlock(&origin.to_string(), &locked.file)?.kept,
            };
            keyring::keep(&locked.name, &payload, time)?;
            kept.push(origin);
        }
        Ok(kept)
    }

    fn locked(&self) -> impl Iterator<Item = (&IdentityPlace, &Locked)> {
        self.sources.iter().filter_map(|source| match &source.content {
            Content::Open(_) => None,
            Content::Locked(locked) => Some((&source.origin, &**locked)),
        })
    }

    /// Stops asking for passphrases.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    fn unlock<'a>(&'a self, source: &'a LoadedPlace) -> Result<&'a [Identity], CommandError> {
        let locked = match &source.content {
            Content::Open(identities) => return Ok(identities),
            Content::Locked(locked) => locked,
        };
        let unlocked = locked.unlocked.get_or_init(|| {
            let told = |kept: &[u8]| drop(source.passed_over.set(locked.file.passed_over(kept)));
            if let Some(kept) = &locked.kept
                && let Ok(identities) = locked.file.restore(&kept.payload)
            {
                told(&kept.payload);
                return Ok(identities);
            }
            if self.is_closed.load(Ordering::Relaxed) {
                return Err(CommandError::new(
                    Exit::CannotDecrypt,
                    "it is locked, and flyte-local does not ask for a passphrase during a run",
                ));
            }
            let name = source.origin.to_string();
            self.passphrases.unlock(&name, &locked.file).map(|unlocked| {
                told(&unlocked.kept);
                unlocked.identities
            })
        });
        unlocked.as_deref().map_err(CommandError::clone)
    }

    /// Describes the identities that were tried on a file that none of them opened.
    pub(crate) fn tried(&self) -> Tried {
        let mut tried = Tried { causes: Vec::new(), hints: Vec::new() };
        for source @ LoadedPlace { origin, content, .. } in &self.sources {
            let tried_it = |identities: &[Identity]| {
                let recipients: Vec<_> = identities.iter().map(|identity| identity.recipient().to_string()).collect();
                format!("tried {origin}, the identity of {}", recipients.join(", "))
            };
            let left = |what: &str, locked: &Locked, reason: &str| {
                let whose = locked.file.recipient().map(|own| format!(", the identity of {own}")).unwrap_or_default();
                format!("{what} {origin}{whose}: {reason}")
            };
            tried.causes.push(match content {
                Content::Open(identities) => tried_it(identities),
                Content::Locked(locked) => match locked.unlocked.get() {
                    Some(Ok(identities)) => tried_it(identities),
                    Some(Err(error)) => {
                        let error = error.report("flyte-local");
                        tried.hints.extend(error.hints().iter().cloned());
                        // The message names the place as well.
                        left("could not unlock", locked, error.causes().last().map_or(error.message(), String::as_str))
                    }
                    None => left("did not try", locked, "it is locked, and the file needs another identity"),
                },
            });
            let others = source.passed_over().iter();
            tried.causes.extend(
                others.map(|PassedOver { line, reason }| format!("passed over line {line} of {origin}: {reason}")),
            );
        }
        tried.causes.extend(empty_variables(IDENTITY_VARIABLES));
        tried.hints.extend(self.sources.iter().filter_map(|source| retired::hint(source.origin.path()?)));
        tried
    }
}

impl LoadedPlace {
    /// Returns the unlocked identities.
    fn opened(&self) -> &[Identity] {
        match &self.content {
            Content::Open(identities) => identities,
            Content::Locked(locked) => locked.unlocked.get().and_then(|done| done.as_deref().ok()).unwrap_or_default(),
        }
    }

    /// Returns the keys that are not used, of the identities that are known.
    fn passed_over(&self) -> &[PassedOver] {
        self.passed_over.get().map_or(&[], Vec::as_slice)
    }

    /// Tells whether it is in the keyring, so that no passphrase is needed.
    fn is_kept(&self) -> bool {
        matches!(&self.content, Content::Locked(locked) if locked.kept.is_some())
    }

    fn opens(&self, vault: &Vault) -> bool {
        self.opened().iter().any(|own| is_recipient(vault, &own.recipient()))
    }

    /// Tells whether it is locked and may open the vault.
    fn may_open(&self, vault: &Vault) -> bool {
        match &self.content {
            Content::Open(_) => false,
            Content::Locked(locked) => locked.file.recipient().is_none_or(|own| is_recipient(vault, own)),
        }
    }

    fn recipients(&self) -> Vec<Recipient> {
        let opened = self.opened().iter().map(Identity::recipient);
        match &self.content {
            Content::Locked(locked) if self.opened().is_empty() => {
                locked.file.recipient().cloned().into_iter().collect()
            }
            _ => opened.collect(),
        }
    }
}

impl crypto::Identities for UserIdentities {
    fn find(&self, wanted: &Wanted, opens: &mut dyn FnMut(&Identity) -> bool) {
        let (cheap, mut locked): (Vec<_>, Vec<_>) = self.sources.iter().partition(|source| !source.opened().is_empty());
        if cheap.iter().any(|source| source.opened().iter().any(&mut *opens)) {
            return;
        }
        locked.sort_by_key(|source| !source.is_kept());
        for source in locked {
            let Content::Locked(locked) = &source.content else { continue };
            // The reason of a failure is kept, and shown if no other identity opens the file.
            if locked.file.may_open(wanted)
                && let Ok(identities) = self.unlock(source)
                && identities.iter().any(&mut *opens)
            {
                return;
            }
        }
    }
}

fn is_recipient(vault: &Vault, key: &Recipient) -> bool {
    vault.recipients().iter().any(|known| known.key == *key)
}

/// Returns the name in the keyring for a locked file.
fn kept_under(file: &[u8]) -> String {
    format!("{KEPT}{}", crypto::digest(file))
}

/// The beginning of all names that [`UserIdentities::keep`] uses.
const KEPT: &str = "flyte-local:";

/// Drops all kept identities, even of files that have changed; returns their number.
pub(crate) fn drop_all_kept() -> Result<usize, CommandError> {
    Ok(keyring::drop_all(|name| name.starts_with(KEPT))?)
}

/// Drops the kept identities of a file with these bytes.
pub(crate) fn drop_kept(file: &[u8]) -> Result<bool, KeyringError> {
    keyring::drop(&kept_under(file))
}
