//! Secrets of this vault in files that are not in their place: a program or a user moved or copied them. Such a file may hold the
//! only version of a secret, so it must not be taken for a file that does not belong in the vault.

use std::path::PathBuf;

use jiff::Timestamp;

use super::read::PEEK_BYTES;
use super::{SecretFileError, Vault, binding, layout, trust};
use crate::crypto::{self, MAX_FILE_BYTES};
use crate::secret::SecretId;
use crate::storage::{Directory, DirectoryEntry};

/// Directories below this depth are not looked into.
const MAX_DEPTH: usize = 8;

/// The file in the place of a [`MisplacedSecret`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InPlace {
    /// The place is empty.
    Nothing,
    /// It has the same bytes.
    Same,
    /// It has others, or cannot be read.
    Other,
}

/// A secret of this vault in a file that is not in its place.
#[derive(Debug)]
pub struct MisplacedSecret {
    /// The path of the file.
    pub path: PathBuf,
    /// The secret that it is.
    pub id: SecretId,
    /// Its time. The author signed it, if there is no refusal.
    pub time: Timestamp,
    /// The reason why its author is not trusted.
    pub refusal: Option<SecretFileError>,
    /// The path of its place.
    pub place: PathBuf,
    /// The file in its place.
    pub in_place: InPlace,
    /// The other secret in whose place it is.
    pub occupies: Option<SecretId>,
}

impl Vault {
    /// Returns the secret of this vault in a file; `None` for any other file, and for one with a forged signature.
    pub(super) fn misplaced(&self, directory: &Directory, name: &str) -> Option<MisplacedSecret> {
        let start = directory.read_start(name, PEEK_BYTES).ok()??;
        let peeked = crypto::peek(&start).ok()?;
        let id = binding::place(&peeked.binding)?;
        let header = binding::decode(&peeked.binding, peeked.wanted, &self.manifest, &id).ok()?;
        if header.claim.as_ref().is_some_and(|claim| !claim.is_authentic()) {
            return None;
        }
        let refusal = trust::judge(header.claim.as_ref(), &self.manifest, self.pin.as_ref()).err();
        let place = self.place(&id);
        let in_place = self.in_place(directory, name, &id);
        let (path, time) = (directory.join(name), header.metadata.updated);
        Some(MisplacedSecret { path, id, time, refusal, place, in_place, occupies: None })
    }

    fn in_place(&self, directory: &Directory, name: &str, id: &SecretId) -> InPlace {
        let place = match self.scope_directory(&id.scope) {
            Ok(None) => return InPlace::Nothing,
            Ok(Some(place)) => place,
            Err(_) => return InPlace::Other,
        };
        let file = layout::file_name(&id.name);
        match place.contains(&file) {
            Ok(false) => InPlace::Nothing,
            Ok(true) => {
                let read = |directory: &Directory, name: &str| directory.read(name, MAX_FILE_BYTES).ok().flatten();
                let (Some(one), Some(other)) = (read(directory, name), read(&place, &file)) else {
                    return InPlace::Other;
                };
                if one == other { InPlace::Same } else { InPlace::Other }
            }
            Err(_) => InPlace::Other,
        }
    }

    /// Returns the secrets of this vault below a directory that does not belong in it.
    pub(super) fn misplaced_below(&self, directory: &Directory) -> Vec<MisplacedSecret> {
        let mut found = Vec::new();
        self.collect_misplaced(directory, 0, &mut found);
        found
    }

    fn collect_misplaced(&self, directory: &Directory, depth: usize, found: &mut Vec<MisplacedSecret>) {
        for entry in directory.entries().unwrap_or_default() {
            match entry {
                DirectoryEntry::File(name) => found.extend(self.misplaced(directory, &name)),
                DirectoryEntry::Directory(name) if depth < MAX_DEPTH => {
                    if let Ok(Some(below)) = directory.subdirectory(&name) {
                        self.collect_misplaced(&below, depth + 1, found);
                    }
                }
                DirectoryEntry::Directory(_) | DirectoryEntry::Other(_) => {}
            }
        }
    }
}
