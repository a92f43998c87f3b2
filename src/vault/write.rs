//! Writing: under the lock, whole, read back and opened before it takes its place, and synced before it is acknowledged.

use jiff::Timestamp;

use super::{Metadata, Vault, VaultError, binding, layout};
use crate::crypto;
use crate::secret::{SecretId, SecretType, SecretValue};
use crate::storage::{Directory, Lock, Replace};

impl Vault {
    /// Creates a secret. Needs no identity.
    ///
    /// # Errors
    /// [`VaultError::SecretExists`]; what is there is left alone.
    pub fn create_secret(
        &self,
        id: &SecretId,
        secret_type: SecretType,
        value: &SecretValue,
    ) -> Result<Metadata, VaultError> {
        let lock = self.lock()?;
        self.require_absent(id)?;
        let directory = self.create_scope_directory(&id.scope)?;
        let now = Timestamp::now();
        let metadata = Metadata { id: id.clone(), secret_type, created: now, updated: now };
        self.write(&lock, &directory, metadata, value, Replace::Never)
    }

    /// Gives a secret another value, keeping its type and when it was created. Needs no identity.
    ///
    /// # Errors
    /// [`VaultError::SecretMissing`]; [`VaultError::Refused`] if the file in its place does not belong there. The old
    /// value is in place until the new one was written, read back and opened.
    pub fn update_secret(&self, id: &SecretId, value: &SecretValue) -> Result<Metadata, VaultError> {
        let lock = self.lock()?;
        let missing = || VaultError::SecretMissing { id: Box::new(id.clone()) };
        let directory = self.scope_directory(&id.scope)?.ok_or_else(missing)?;
        let old = self.peek(&directory, id)?.ok_or_else(missing)?;
        // A clock that was set back must not make a newer value look older.
        let updated = Timestamp::now().max(old.updated);
        self.write(&lock, &directory, Metadata { updated, ..old }, value, Replace::Existing)
    }

    /// Deletes a secret. Needs no identity; a file that would be refused on reading can be deleted.
    ///
    /// # Errors
    /// [`VaultError::SecretMissing`].
    pub fn delete_secret(&self, id: &SecretId) -> Result<(), VaultError> {
        let lock = self.lock()?;
        let removed = match self.scope_directory(&id.scope)? {
            Some(directory) => directory.remove(&lock, &layout::file_name(&id.name))?,
            None => false,
        };
        if removed { Ok(()) } else { Err(VaultError::SecretMissing { id: Box::new(id.clone()) }) }
    }

    fn lock(&self) -> Result<Lock, VaultError> {
        Ok(Lock::acquire(&self.root, layout::LOCK, self.patience)?)
    }

    fn write(
        &self,
        lock: &Lock,
        directory: &Directory,
        metadata: Metadata,
        value: &SecretValue,
        replace: Replace,
    ) -> Result<Metadata, VaultError> {
        let file = layout::file_name(&metadata.id.name);
        let binding = binding::encode(self.manifest.id(), &metadata);
        let recipients: Vec<_> = self.recipients().iter().map(|recipient| recipient.key.clone()).collect();
        let sealed = crypto::seal(value, &binding, &recipients)
            .map_err(|source| VaultError::Seal { path: directory.join(&file), source })?;
        directory.write(lock, &file, &sealed.bytes, replace, |read_back| sealed.verify(read_back, value, &binding))?;
        Ok(metadata)
    }
}
