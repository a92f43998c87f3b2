//! Looking a vault over: everything that lies below `secrets`, and whether each secret is what its place says.

use std::path::PathBuf;
use std::time::Duration;

use super::binding::Header;
use super::layout::{self, TreeDirectory};
use super::rekey::Audience;
use super::trust::Newest;
use super::{ConflictCopy, MisplacedSecret, Notice, SecretFileError, Vault, VaultError};
use crate::crypto::Identities;
use crate::secret::SecretId;
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
            Inspector { vault: self, identities, audience, is_unrecorded: !is_itself, found: Inspection::default() };
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
        let mut found = inspector.found;
        if found.flaws.iter().any(|flaw| matches!(flaw, InspectionError::Leftover { .. })) && self.is_being_written() {
            found.flaws.retain(|flaw| !matches!(flaw, InspectionError::Leftover { .. }));
        }
        Ok(found)
    }

    /// Returns `true` if a writer is at work, whose temporary file is then not a leftover.
    fn is_being_written(&self) -> bool {
        // An inspection makes no file.
        self.root.contains(layout::LOCK).unwrap_or(false)
            && matches!(Lock::acquire(&self.root, layout::LOCK, Duration::ZERO), Err(LockError::Held { .. }))
    }
}

struct Inspector<'a> {
    vault: &'a Vault,
    identities: Option<&'a dyn Identities>,
    /// Whom the secrets should be encrypted to.
    audience: Audience,
    /// `true` once a time could not be recorded.
    is_unrecorded: bool,
    found: Inspection,
}

impl Inspector<'_> {
    fn directory(&mut self, directory: &Directory, place: &TreeDirectory) {
        let entries = match directory.entries() {
            Ok(entries) => entries,
            Err(error) => return self.found.flaws.push(InspectionError::Directory(error)),
        };
        let mut copies = place
            .scope()
            .map(|scope| self.vault.copies_of_secrets(directory, &scope, &entries, self.identities))
            .unwrap_or_default();
        let mut below = Vec::new();
        for entry in entries {
            let (DirectoryEntry::Directory(name) | DirectoryEntry::File(name) | DirectoryEntry::Other(name)) = &entry;
            let secret = layout::secret_name(name);
            if let Some(copy) = copies.remove(name) {
                self.found.flaws.push(InspectionError::Copy(Box::new(copy)));
                continue;
            }
            match (&entry, place.scope(), secret) {
                // Whatever has the name of a secret is looked at as one, and refused as one.
                (_, Some(scope), Some(name)) => self.secret(directory, &SecretId { scope, name }),
                (DirectoryEntry::Directory(name), ..) if place.below(name).is_some() => below.push(name.clone()),
                (DirectoryEntry::File(name), ..) if is_leftover(name) => {
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

    /// Records the time of a secret that was opened, as a read of its value does, so that a later rollback is noticed.
    fn remember(&mut self, id: &SecretId, known: Option<Newest>, header: &Header) {
        let Some(pins) = self.vault.pins.as_ref().filter(|_| !self.is_unrecorded) else { return };
        let updated = header.metadata.updated;
        if known.is_none_or(|known| known.time < updated)
            && let Err(error) = pins.record(id, updated)
        {
            // Once is enough.
            self.is_unrecorded = true;
            self.vault.options.listener.tell(&Notice::Unremembered(&error));
        }
    }

    fn secret(&mut self, directory: &Directory, id: &SecretId) {
        // Before the file, as a writer records it after.
        let known = self.vault.known(id);
        let looked_at = match self.identities {
            None => self.vault.peek_judged(directory, id),
            Some(identities) => {
                self.vault.open_judged(directory, id, identities).map(|found| found.map(|found| found.header))
            }
        };
        match looked_at {
            Ok(Some(header)) => {
                if let (Some(_), Ok(known)) = (self.identities, known) {
                    self.remember(id, known, &header);
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
