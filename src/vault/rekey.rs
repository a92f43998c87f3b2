//! Whom secrets are encrypted to: changing that, and encrypting what is there anew.
//!
//! There is no journal. `vault.toml` is changed first, so that whatever is written from then on is for the new recipients; each
//! file says in its header whom it is for. So a rekey that was stopped anywhere goes on when it is run again, and at any
//! moment each secret opens with the old recipients or with the new.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::binding::Claim;
use super::manifest::Manifest;
use super::trust::staleness;
use super::{Metadata, NamedRecipient, Vault, VaultError, pins};
use crate::crypto::{Identities, Recipient, Sealed};
use crate::secret::{SecretId, SecretValue};
use crate::storage::{Directory, Replace};

/// Fewer secrets than this are not worth a second thread.
const WORTH_A_THREAD: usize = 8;

/// The secrets by whether they are encrypted to the vault's recipients.
#[derive(Debug, Default)]
pub struct Encryption {
    /// How many are.
    pub current: usize,
    /// Those that are encrypted to others, or do not say to whom.
    pub outdated: Vec<SecretId>,
    /// Why it cannot be said of each of the other files.
    pub refused: Vec<VaultError>,
}

/// What a rekey did.
#[derive(Debug, Default)]
pub struct Rekeyed {
    /// How many secrets it encrypted anew.
    pub done: usize,
    /// Why it left each of the others as they are.
    pub failed: Vec<VaultError>,
}

/// A secret that is ready to be written.
struct Ready {
    directory: Directory,
    metadata: Metadata,
    value: SecretValue,
    sealed: Sealed,
}

impl Vault {
    /// What tells this vault's id, recipients and authors from all others, to compare them by: 64 hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        self.manifest.fingerprint()
    }

    /// Whom each secret's author says that it is encrypted to, compared with the vault's recipients. By the headers: needs no
    /// identity.
    ///
    /// # Errors
    /// The system's. A file that is refused is no error, it is in what is returned.
    pub fn encryption(&self) -> Result<Encryption, VaultError> {
        let digest = self.manifest.recipients_digest();
        let mut found = Encryption::default();
        self.each_header(|header| match header {
            Ok((_, claim)) if is_for(&digest, claim.as_ref()) => found.current += 1,
            Ok((metadata, _)) => found.outdated.push(metadata.id),
            Err(error) => found.refused.push(error),
        })?;
        Ok(found)
    }

    /// Adds recipients to `vault.toml`, from now on the ones that secrets are encrypted to. Those that are there stay as they
    /// are before [`Vault::rekey`].
    ///
    /// # Errors
    /// [`VaultError::RecipientExists`]; [`VaultError::Unfit`] for one too many; those of [`Vault::require_writable`]. Then
    /// nothing is changed.
    pub fn add_recipients(&mut self, recipients: Vec<NamedRecipient>) -> Result<(), VaultError> {
        self.change_recipients(|manifest| {
            for recipient in recipients {
                if let Some(known) = manifest.recipients().iter().find(|known| known.key == recipient.key) {
                    let (key, name) = (known.key.to_string(), known.name.clone());
                    return Err(VaultError::RecipientExists { key, name });
                }
                manifest.add_recipient(recipient);
            }
            Ok(())
        })
    }

    /// Removes the recipients that `name` means, by what they are called or by their key; which. They can read what is
    /// encrypted to them until [`Vault::rekey`], and every copy of it for ever.
    ///
    /// # Errors
    /// [`VaultError::RecipientMissing`]; [`VaultError::LastRecipient`] if none of `own` would be left, which are the user's:
    /// nobody can lock themselves out; [`VaultError::Changed`].
    pub fn remove_recipients(&mut self, name: &str, own: &[Recipient]) -> Result<Vec<NamedRecipient>, VaultError> {
        let mut removed = Vec::new();
        self.change_recipients(|manifest| {
            // A name that looks like a key is somebody's trick.
            removed = match name.parse::<Recipient>() {
                Ok(key) => manifest.remove_recipients(|known| known.key == key),
                Err(_) => manifest.remove_recipients(|known| known.name == name),
            };
            if removed.is_empty() {
                return Err(VaultError::RecipientMissing { name: name.to_owned() });
            }
            match manifest.recipients().iter().any(|left| own.contains(&left.key)) {
                true => Ok(()),
                false => Err(VaultError::LastRecipient { name: name.to_owned() }),
            }
        })?;
        Ok(removed)
    }

    /// Puts a key in the place of one of the user's, under its name.
    ///
    /// # Errors
    /// [`VaultError::RecipientMissing`]; those of [`Vault::require_writable`].
    pub fn exchange_recipient(&mut self, old: &Recipient, new: &Recipient) -> Result<(), VaultError> {
        self.change_recipients(|manifest| {
            let missing = || VaultError::RecipientMissing { name: old.to_string() };
            let [NamedRecipient { name, .. }] = &manifest.remove_recipients(|known| known.key == *old)[..] else {
                return Err(missing());
            };
            manifest.add_recipient(NamedRecipient { name: name.clone(), key: new.clone() });
            Ok(())
        })
    }

    /// Where the other vaults are that this machine knows below `state`, and that are there and encrypt to `key`.
    ///
    /// # Errors
    /// What is remembered cannot be read or is not understood.
    pub fn others_with(&self, state: &Path, key: &Recipient) -> Result<Vec<PathBuf>, VaultError> {
        let places = pins::places(state, self.root.permissions())?;
        let others = places.into_iter().filter(|(id, path)| {
            let is_with =
                |vault: Vault| vault.manifest.id() == id && vault.recipients().iter().any(|known| known.key == *key);
            id != self.manifest.id() && Vault::open_with(path, self.root.permissions()).is_ok_and(is_with)
        });
        Ok(others.map(|(_, path)| path).collect())
    }

    /// The vault's id.
    pub fn id(&self) -> &str {
        self.manifest.id()
    }

    /// Changes who the recipients are, and pins them: `vault.toml` first, as the pin is of what is there.
    fn change_recipients(
        &mut self,
        change: impl FnOnce(&mut Manifest) -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let lock = self.begin_write()?;
        let (pins, _) = self.writer()?;
        let mut manifest = self.manifest.clone();
        change(&mut manifest)?;
        let pin = self.write_pinned(&lock, &manifest, pins)?;
        self.replace_pinned(manifest, pin);
        Ok(())
    }

    /// Encrypts to the vault's recipients each secret that is not: its value, type and times stay as they are, and it is signed
    /// as ours. Only what an author wrote who is known here, and what is not older than it was seen here: a new recipient is not to
    /// get what somebody put back. `step` is called after each, with how many there are in all.
    ///
    /// # Errors
    /// Those of [`Vault::require_writable`], and one of the system's on writing, which ends it; what was done stays done. That
    /// a secret cannot be opened is no error, it is in what is returned.
    pub fn rekey(&mut self, identities: &dyn Identities, step: &mut dyn FnMut(usize)) -> Result<Rekeyed, VaultError> {
        let lock = self.begin_write()?;
        let (pins, _) = self.writer()?;
        let found = self.encryption()?;
        let ids = &found.outdated[..];
        let mut rekeyed = Rekeyed { done: 0, failed: found.refused };
        let mut scopes = BTreeSet::new();
        let threads = if ids.len() < WORTH_A_THREAD { 1 } else { threads().min(ids.len()) };
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            // Room for one each: values wait in memory no longer than they must.
            let (sender, ready) = mpsc::sync_channel(threads);
            for _ in 0..threads {
                let (sender, next) = (sender.clone(), &next);
                let vault = &*self;
                let work = move || {
                    while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                        // Nobody listens any more once a write has failed.
                        if sender.send(vault.reseal(id, identities)).is_err() {
                            return;
                        }
                    }
                };
                // One that cannot be started is done without.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            drop(sender);
            // What no thread took: all of it, if there is none.
            let rest = std::iter::from_fn(|| ids.get(next.fetch_add(1, Ordering::Relaxed)));
            for prepared in ready.into_iter().chain(rest.map(|id| self.reseal(id, identities))) {
                match prepared {
                    Ok(Some(Ready { directory, metadata, value, sealed })) => {
                        if scopes.insert(metadata.id.scope.clone()) {
                            pins.prepare(&metadata.id.scope)?;
                        }
                        self.put_sealed((&lock, Replace::Existing), &directory, &metadata, (&value, &sealed), pins)?;
                        rekeyed.done += 1;
                    }
                    Ok(None) => {}
                    Err(error) => rekeyed.failed.push(error),
                }
                step(ids.len());
            }
            Ok(rekeyed)
        })
    }

    /// Opens a secret and encrypts it anew; `None` if it is gone.
    fn reseal(&self, id: &SecretId, identities: &dyn Identities) -> Result<Option<Ready>, VaultError> {
        let Some(directory) = self.scope_directory(&id.scope)? else { return Ok(None) };
        let known = self.known(id)?;
        let Some(found) = self.open_judged(&directory, id, identities)? else { return Ok(None) };
        if let Some(stale) = staleness(id, known, Some(found.metadata.updated)) {
            return Err(VaultError::Stale(Box::new(stale)));
        }
        let (_, key) = self.writer()?;
        let sealed = self.seal(&directory, &found.metadata, &found.value, key)?;
        Ok(Some(Ready { directory, metadata: found.metadata, value: found.value, sealed }))
    }
}

/// Whether a file says that it is encrypted to the recipients of this digest, and nobody else.
pub(super) fn is_for(digest: &str, claim: Option<&Claim>) -> bool {
    claim.is_some_and(|claim| claim.recipients.as_deref() == Some(digest))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
