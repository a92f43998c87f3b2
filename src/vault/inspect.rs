//! Looking a vault over: everything that lies below `secrets`, and whether each secret is what its place says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::binding::Header;
use super::layout::{self, TreeDirectory};
use super::many::{Weight, in_order};
use super::open_scopes::OpenScopes;
use super::rekey::Audience;
use super::trust::Newest;
use super::{ConflictCopy, MisplacedSecret, Notice, SecretFileError, Vault, VaultError};
use crate::crypto::Identities;
use crate::secret::{Scope, SecretId};
use crate::storage::{Directory, DirectoryEntry, Lock, LockError, StorageError, is_leftover};

/// The contents of a vault.
#[derive(Debug, Default)]
pub struct Inspection {
    /// How many secrets there are in which nothing was found.
    pub sound: usize,
    /// How many of them are encrypted to others than the vault's recipients: [`super::Writer::rekey`] is for them.
    pub outdated: usize,
    /// The problems, a directory's own before those of the directories in it.
    pub flaws: Vec<InspectionError>,
}

/// A problem in a vault.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    /// A secret that would not be read.
    #[error(transparent)]
    Secret(VaultError),
    /// A directory that cannot be looked into, or that others can write to.
    #[error(transparent)]
    Directory(StorageError),
    /// A file or directory that is not a part of the tree of secrets.
    #[error("{} does not belong in a vault", path.display())]
    Stray {
        /// Its path.
        path: PathBuf,
    },
    /// A version of a secret or of `vault.toml` that was put beside it.
    #[error("{}", .0.path.display())]
    Copy(Box<ConflictCopy>),
    /// A secret of this vault that is not in its place.
    #[error("{} holds {} from {}, but is not in its place", .0.path.display(), .0.id, .0.time)]
    Misplaced(Box<MisplacedSecret>),
    /// The unfinished file of a writer that was killed.
    #[error("{} was left behind by a writer that was killed; it holds nothing that was acknowledged", path.display())]
    Leftover {
        /// Its path.
        path: PathBuf,
    },
}

impl Vault {
    /// Looks at everything below `secrets`: each secret is opened to its end with `identities`, or, without, its header
    /// alone looked at, and its author judged. [`Vault::stale`] finds rollbacks; call it before, as the times of the secrets that
    /// were opened are recorded.
    ///
    /// # Errors
    /// The directory `secrets` cannot be opened. All else is in what is returned.
    pub fn inspect(&self, identities: Option<&dyn Identities>) -> Result<Inspection, VaultError> {
        let audience = Audience::of(self);
        // The times of another vault are not those of this one.
        let is_itself = self.require_itself().is_ok();
        let mut inspector =
            Inspector { vault: self, identities, audience, newer: Vec::new(), found: Inspection::default() };
        for entry in self.root.entries()? {
            // Other files beside the secrets are the user's: a vault may be a repository.
            let DirectoryEntry::File(name) = entry else { continue };
            if is_leftover(&name) {
                inspector.found.flaws.push(InspectionError::Leftover { path: self.root.join(&name) });
            } else if let Some(copy) = self.copy_of_manifest(&name)? {
                inspector.found.flaws.push(InspectionError::Copy(Box::new(copy)));
            }
        }
        if let Some(secrets) = self.root.subdirectory(layout::SECRETS)? {
            inspector.directory(&secrets, &TreeDirectory::Tree);
        }
        let Inspector { mut found, newer, .. } = inspector;
        if is_itself {
            self.record_read(&newer);
        }
        if found.flaws.iter().any(|flaw| matches!(flaw, InspectionError::Leftover { .. })) && self.is_being_written() {
            found.flaws.retain(|flaw| !matches!(flaw, InspectionError::Leftover { .. }));
        }
        Ok(found)
    }

    /// Records the times of secrets that were opened. A failure is a notice, whatever the strictness: an inspection goes on.
    fn record_read(&self, newer: &[(SecretId, Timestamp)]) {
        let Some(pins) = &self.pins else { return };
        let updates: Vec<_> = newer.iter().map(|(id, updated)| (id, *updated)).collect();
        if let Err(error) = pins.record_all(&updates) {
            self.options.listener.tell(&Notice::Unremembered(&error));
        }
    }

    /// Returns `true` if a writer is at work, whose temporary file is then not a leftover.
    fn is_being_written(&self) -> bool {
        // An inspection makes no file.
        self.root.contains(layout::LOCK).unwrap_or(false)
            && matches!(Lock::acquire(&self.root, layout::LOCK, Duration::ZERO), Err(LockError::Held { .. }))
    }
}

/// The header of a secret, with the newest version on record before it was read; `None` if it was deleted meanwhile.
type LookedAt = Result<Option<(Header, Result<Option<Newest>, VaultError>)>, VaultError>;

struct Inspector<'a> {
    vault: &'a Vault,
    identities: Option<&'a dyn Identities>,
    /// Whom the secrets should be encrypted to.
    audience: Audience,
    /// The times of secrets that are newer than those on record.
    newer: Vec<(SecretId, Timestamp)>,
    found: Inspection,
}

impl Inspector<'_> {
    fn directory(&mut self, directory: &Directory, place: &TreeDirectory) {
        let entries = match directory.entries() {
            Ok(entries) => entries,
            Err(error) => return self.found.flaws.push(InspectionError::Directory(error)),
        };
        let mut secrets = place.scope().map(|scope| self.secrets(directory, &scope, &entries)).unwrap_or_default();
        // A secret that is sound is not a copy of another one.
        let is_sound = |name: &str| secrets.get(name).is_some_and(|(_, looked_at)| matches!(looked_at, Ok(Some(_))));
        let others: Vec<_> = entries.iter().filter(|entry| !is_sound(entry.name())).collect();
        let mut copies = place
            .scope()
            .map(|scope| self.vault.copies_of_secrets(directory, &scope, &others, self.identities))
            .unwrap_or_default();
        let mut below = Vec::new();
        for entry in entries {
            let name = entry.name();
            if let Some(copy) = copies.remove(name) {
                self.found.flaws.push(InspectionError::Copy(Box::new(copy)));
                continue;
            }
            // Whatever has the name of a secret is looked at as one, and refused as one.
            if let Some((id, looked_at)) = secrets.remove(name) {
                self.secret(directory, &id, looked_at);
                continue;
            }
            match &entry {
                DirectoryEntry::Directory(name) if place.below(name).is_some() => below.push(name.clone()),
                DirectoryEntry::File(name) if is_leftover(name) => {
                    self.found.flaws.push(InspectionError::Leftover { path: directory.join(name) });
                }
                DirectoryEntry::Directory(name) if directory.is_leftover_directory(name) => {
                    self.found.flaws.push(InspectionError::Leftover { path: directory.join(name) });
                }
                _ => self.stray(directory, &entry),
            }
        }
        for name in below {
            let (Some(place), subdirectory) = (place.below(&name), directory.subdirectory(&name)) else { continue };
            match subdirectory {
                Ok(Some(subdirectory)) => self.directory(&subdirectory, &place),
                // It was taken away meanwhile.
                Ok(None) => {}
                Err(error) => self.found.flaws.push(InspectionError::Directory(error)),
            }
        }
    }

    /// Reports the secrets in a file or directory that is not a part of the tree, or else the file or directory itself.
    fn stray(&mut self, directory: &Directory, entry: &DirectoryEntry) {
        let (name, misplaced) = match entry {
            DirectoryEntry::File(name) => (name, self.vault.misplaced(directory, name).into_iter().collect()),
            DirectoryEntry::Directory(name) => {
                let below = directory.subdirectory(name).ok().flatten();
                (name, below.map(|below| self.vault.misplaced_below(&below)).unwrap_or_default())
            }
            DirectoryEntry::Other(name) => (name, Vec::new()),
        };
        if misplaced.is_empty() {
            self.found.flaws.push(InspectionError::Stray { path: directory.join(name) });
        }
        self.found.flaws.extend(misplaced.into_iter().map(|secret| InspectionError::Misplaced(Box::new(secret))));
    }

    /// Looks at everything in a scope's directory that has the name of a secret. Returns the results by the names of the files.
    fn secrets(
        &self,
        directory: &Directory,
        scope: &Scope,
        entries: &[DirectoryEntry],
    ) -> BTreeMap<String, (SecretId, LookedAt)> {
        let names = entries.iter().filter_map(|entry| layout::secret_name(entry.name()));
        let ids: Vec<_> = names.map(|name| SecretId { scope: scope.clone(), name }).collect();
        let vault = self.vault;
        let look = |scopes: &mut OpenScopes<'_>, id: &SecretId| {
            // Before the file, as a writer records it after.
            let known = scopes.known(id);
            let looked_at = match self.identities {
                None => vault.peek_judged(directory, id),
                Some(identities) => {
                    vault.open_judged(directory, id, identities).map(|found| found.map(|found| found.header))
                }
            };
            (id.clone(), looked_at.map(|header| header.map(|header| (header, known))))
        };
        let mut all = BTreeMap::new();
        let weight = if self.identities.is_some() { Weight::Value } else { Weight::Header };
        let taken = in_order(
            &ids,
            weight,
            || OpenScopes::of(vault),
            look,
            |(id, looked_at)| {
                all.insert(layout::file_name(&id.name), (id, looked_at));
                Ok::<_, Infallible>(())
            },
        );
        let Ok(()) = taken;
        all
    }

    fn secret(&mut self, directory: &Directory, id: &SecretId, looked_at: LookedAt) {
        match looked_at {
            Ok(Some((header, known))) => {
                let updated = header.metadata.updated;
                // As a read of its value is recorded, so that a later rollback is noticed.
                if self.identities.is_some() && known.is_ok_and(|known| known.is_none_or(|known| known.time < updated))
                {
                    self.newer.push((id.clone(), updated));
                }
                self.found.sound += 1;
                self.found.outdated += usize::from(!self.audience.has(&header));
            }
            // It was deleted meanwhile.
            Ok(None) => {}
            Err(error) => {
                let is_elsewhere =
                    matches!(&error, VaultError::Refused { source: SecretFileError::OtherSecret(_), .. });
                let file = layout::file_name(&id.name);
                let misplaced = is_elsewhere.then(|| self.vault.misplaced(directory, &file)).flatten();
                self.found.flaws.push(match misplaced {
                    Some(misplaced) => {
                        let occupies = Some(id.clone());
                        InspectionError::Misplaced(Box::new(MisplacedSecret { occupies, ..misplaced }))
                    }
                    None => InspectionError::Secret(error),
                });
            }
        }
    }
}
