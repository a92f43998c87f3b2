//! Re-encrypting secrets to the vault's recipients.
//!
//! There is no journal. `vault.toml` is changed first, so that whatever is written from then on is for the new recipients; each
//! file says in its header whom it is for. So a rekey that was stopped anywhere goes on when it is run again, and at any
//! moment each secret opens with the old recipients or with the new.

use super::binding::Header;
use super::many::{Weight, in_order};
use super::open_scopes::{Found, OpenScopes};
use super::read::OpenedSecret;
use super::trust::staleness;
use super::write::SealedSecret;
use super::write_many::{AbsentScope, MAX_BYTES_TOGETHER, WrittenScopes};
use super::{Metadata, Vault, VaultError, Writer};
use crate::crypto::{Identities, Sealed, Wanted};
use crate::secret::{SecretId, SecretValue};
use crate::storage::{MAX_TOGETHER, Replace};

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
    metadata: Metadata,
    value: SecretValue,
    sealed: Sealed,
}

/// The secrets that are re-encrypted, and wait to be written together.
#[derive(Default)]
struct Waiting {
    ready: Vec<Ready>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, ready: Ready) {
        self.bytes += ready.sealed.bytes.len();
        self.ready.push(ready);
    }

    fn is_full(&self) -> bool {
        self.ready.len() >= MAX_TOGETHER || self.bytes >= MAX_BYTES_TOGETHER
    }

    /// Writes all of them, and counts those that are written.
    fn write(&mut self, writer: &Writer<'_>, done: &mut usize, step: &mut dyn FnMut()) -> Result<(), VaultError> {
        let (ready, mut scopes) = (std::mem::take(self).ready, WrittenScopes::default());
        for Ready { metadata, .. } in &ready {
            scopes.open(&writer.locked, &metadata.id.scope, AbsentScope::Left)?;
        }
        let secrets = ready.iter().filter_map(|Ready { metadata, value, sealed }| {
            // Without its directory, the secret was removed since it was read.
            let directory = scopes.get(&metadata.id.scope)?;
            Some((SealedSecret { directory, metadata, value, sealed }, Replace::Existing))
        });
        let secrets: Vec<_> = secrets.collect();
        (secrets.len()..ready.len()).for_each(|_| step());
        writer.put_all(&secrets, &mut || {
            *done += 1;
            step();
        })
    }
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
        let writer = &*self;
        let open = || OpenScopes::of(writer.locked.vault);
        let reseal = |scopes: &mut OpenScopes<'_>, id: &SecretId| writer.reseal(scopes, id, identities);
        let mut waiting = Waiting::default();
        let done = in_order(ids, Weight::Value, open, reseal, |prepared| {
            match prepared {
                Ok(Some(ready)) => waiting.push(ready),
                Ok(None) => step(ids.len()),
                Err(error) => {
                    rekeyed.failed.push(error);
                    step(ids.len());
                }
            }
            if waiting.is_full() { waiting.write(writer, &mut rekeyed.done, &mut || step(ids.len())) } else { Ok(()) }
        });
        done.and_then(|()| waiting.write(writer, &mut rekeyed.done, &mut || step(ids.len())))?;
        Ok(rekeyed)
    }

    /// Opens a secret and re-encrypts it; `None` if it is gone.
    fn reseal(
        &self,
        scopes: &mut OpenScopes<'_>,
        id: &SecretId,
        identities: &dyn Identities,
    ) -> Result<Option<Ready>, VaultError> {
        let Found { known, secret } = scopes.value(id, identities)?;
        let Some(OpenedSecret { header, value }) = secret else { return Ok(None) };
        let metadata = header.metadata;
        if let Some(stale) = staleness(id, known, Some(metadata.updated)) {
            return Err(VaultError::Stale(Box::new(stale)));
        }
        let sealed = self.seal(&metadata, &value)?;
        Ok(Some(Ready { metadata, value, sealed }))
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
