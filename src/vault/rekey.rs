//! Re-encrypting secrets to the vault's recipients.
//!
//! There is no journal. `vault.toml` is changed first, so that whatever is written from then on is for the new recipients; each
//! file says in its header whom it is for. So a rekey that was stopped anywhere goes on when it is run again, and at any
//! moment each secret opens with the old recipients or with the new.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::binding::Header;
use super::read::OpenedSecret;
use super::trust::staleness;
use super::write::SealedSecret;
use super::{Metadata, Vault, VaultError, Writer};
use crate::crypto::{Identities, Sealed, Wanted};
use crate::secret::{SecretId, SecretValue};
use crate::storage::{Directory, Replace};

/// Fewer secrets than this are not worth a second thread.
const WORTH_A_THREAD: usize = 8;

/// The secrets by whether they are encrypted to the vault's recipients.
#[derive(Debug, Default)]
pub struct Encryption {
    /// How many are.
    pub current: usize,
    /// Those that are encrypted to others, do not say to whom, or have stanzas for others.
    pub outdated: Vec<SecretId>,
    /// Why it cannot be said of each of the other files.
    pub refused: Vec<VaultError>,
}

/// The result of [`Writer::rekey`].
#[derive(Debug, Default)]
pub struct Rekeyed {
    /// The number of secrets that were re-encrypted.
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
    /// Compares the recipients that each secret's author signed, and those that its header shows, with the vault's
    /// recipients. Reads headers alone, and needs no identity.
    ///
    /// # Errors
    /// Those of [`Vault::require_itself`]; the system's. A file that is refused is not an error, but a part of the result.
    pub fn encryption(&self) -> Result<Encryption, VaultError> {
        self.require_itself()?;
        let audience = Audience::of(self);
        let mut found = Encryption::default();
        self.each_header(|header| match header {
            Ok(header) if audience.has(&header) => found.current += 1,
            Ok(Header { metadata, .. }) => found.outdated.push(metadata.id),
            Err(error) => found.refused.push(error),
        })?;
        Ok(found)
    }
}

impl Writer<'_> {
    /// Re-encrypts each secret whose recipients are out of date. Its value, type and times stay as they are, and this writer
    /// signs it. A secret by an author who is not trusted, or that was rolled back, is left alone, so that a new recipient
    /// does not get a value that an attacker put there. `step` is called after each secret, with the number of all.
    ///
    /// # Errors
    /// The system's on writing, which ends the rekey; secrets that were re-encrypted stay so. A secret that cannot be opened is
    /// not an error, but a part of the result.
    pub fn rekey(&mut self, identities: &dyn Identities, step: &mut dyn FnMut(usize)) -> Result<Rekeyed, VaultError> {
        let found = self.locked.vault.encryption()?;
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
                let writer = &*self;
                let work = move || {
                    while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                        // The receiver is gone once a write has failed.
                        if sender.send(writer.reseal(id, identities)).is_err() {
                            return;
                        }
                    }
                };
                // One that cannot be started is done without.
                let _ = std::thread::Builder::new().spawn_scoped(scope, work);
            }
            drop(sender);
            // The secrets that no thread took: all of them, if no thread could be started.
            let rest = std::iter::from_fn(|| ids.get(next.fetch_add(1, Ordering::Relaxed)));
            for prepared in ready.into_iter().chain(rest.map(|id| self.reseal(id, identities))) {
                match prepared {
                    Ok(Some(Ready { directory, metadata, value, sealed })) => {
                        if scopes.insert(metadata.id.scope.clone()) {
                            self.locked.pins.prepare(&metadata.id.scope)?;
                        }
                        let secret =
                            SealedSecret { directory: &directory, metadata: &metadata, value: &value, sealed: &sealed };
                        self.put(&secret, Replace::Existing)?;
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

    /// Opens a secret and re-encrypts it; `None` if it is gone.
    fn reseal(&self, id: &SecretId, identities: &dyn Identities) -> Result<Option<Ready>, VaultError> {
        let vault = &self.locked.vault;
        let Some(directory) = vault.scope_directory(&id.scope)? else { return Ok(None) };
        let known = vault.known(id)?;
        let Some(OpenedSecret { header, value }) = vault.open_judged(&directory, id, identities)? else {
            return Ok(None);
        };
        let metadata = header.metadata;
        if let Some(stale) = staleness(id, known, Some(metadata.updated)) {
            return Err(VaultError::Stale(Box::new(stale)));
        }
        let sealed = self.seal(&directory, &metadata, &value)?;
        Ok(Some(Ready { directory, metadata, value, sealed }))
    }
}

/// The recipients that each file should be encrypted to.
pub(super) struct Audience {
    digest: String,
    wanted: Wanted,
}

impl Audience {
    pub(super) fn of(vault: &Vault) -> Self {
        let keys = vault.recipients().iter().map(|recipient| &recipient.key);
        Self { digest: vault.manifest.recipients_digest(), wanted: Wanted::of(keys) }
    }

    /// Returns `true` if the author says that the file is encrypted to exactly these recipients, and its stanzas fit that. Any
    /// recipient knows the file key, so one who is not an author could add a stanza, or remove one.
    pub(super) fn has(&self, header: &Header) -> bool {
        let claimed = header.claim.as_ref().and_then(|claim| claim.recipients.as_deref());
        claimed == Some(&*self.digest) && header.wanted.fits(&self.wanted)
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}
