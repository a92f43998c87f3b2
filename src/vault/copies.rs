//! Conflict copies: files that a program which synchronizes directories, or git, put beside a secret or `vault.toml` when two
//! machines changed it.
//!
//! Their names differ from program to program, and some of them are names of secrets. So a copy is recognised by its content:
//! its binding says which secret it is, and an author signed that.

use std::path::PathBuf;

use jiff::Timestamp;

use super::manifest::Manifest;
use super::read::PEEK_BYTES;
use super::trust::{Change, Pin};
use super::{Vault, VaultError, binding, layout, trust};
use crate::crypto;
use crate::secret::{Scope, SecretId};
use crate::storage::Directory;

/// A file that is a version of another file of the vault.
#[derive(Debug)]
pub struct ConflictCopy {
    /// Its path.
    pub path: PathBuf,
    /// The path of the file whose version it is.
    pub place: PathBuf,
    /// The secret, with the time of each version; or else `vault.toml`.
    pub original: Original,
}

/// The file that a [`ConflictCopy`] is a version of.
#[derive(Debug)]
pub enum Original {
    /// A secret. The times are those that trusted authors signed.
    Secret {
        /// Which.
        id: SecretId,
        /// The time of the copy.
        copy: Timestamp,
        /// The time of the file in its place; `None` if there is none, or if it is refused.
        place: Option<Timestamp>,
    },
    /// `vault.toml`. It has no time, so these are the times at which the files were modified, which anyone can set.
    Manifest {
        /// The time of the copy.
        copy: Timestamp,
        /// The time of `vault.toml`.
        place: Timestamp,
        /// How the copy differs: `+` for what it has and `vault.toml` has not.
        changes: Vec<Change>,
    },
}

impl Vault {
    /// Returns the copy that a file in the directory of a scope is; `None` if it is not one.
    pub(super) fn copy_of_secret(&self, directory: &Directory, scope: &Scope, name: &str) -> Option<ConflictCopy> {
        let start = directory.read_start(name, PEEK_BYTES).ok()??;
        let peeked = crypto::peek(&start).ok()?;
        let id = binding::place(&peeked.binding)?;
        // Programs keep the beginning of the name. Any other file that is in the wrong place was moved there.
        let rest = name.strip_prefix(id.name.as_str())?;
        let file = layout::file_name(&id.name);
        if id.scope != *scope || name == file || rest.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return None;
        }
        let header = binding::decode(&peeked.binding, peeked.wanted, self.id(), &id).ok()?;
        trust::judge(header.claim.as_ref(), &self.manifest, self.pin.as_ref()).ok()?;
        let found = self.peek_judged(directory, &id).ok().flatten();
        let (copy, place) = (header.metadata.updated, found.map(|found| found.metadata.updated));
        Some(ConflictCopy {
            path: directory.join(name),
            place: directory.join(&file),
            original: Original::Secret { id, copy, place },
        })
    }

    /// Returns the copy of `vault.toml` that a file beside it is; `None` if it is not one.
    pub(super) fn copy_of_manifest(&self, name: &str) -> Result<Option<ConflictCopy>, VaultError> {
        let is_candidate = name != layout::MANIFEST
            && (name.starts_with("vault") && name.ends_with(".toml")
                || name.strip_prefix(layout::MANIFEST).is_some_and(|rest| rest == ".orig" || rest.starts_with('~')));
        if !is_candidate {
            return Ok(None);
        }
        let text = self.root.read(name, layout::MAX_MANIFEST_BYTES).ok().flatten();
        let copy = text.and_then(|text| Manifest::parse(&text).ok()).filter(|copy| copy.id() == self.id());
        let Some(manifest) = copy else { return Ok(None) };
        let times = (self.root.modified(name)?, self.root.modified(layout::MANIFEST)?);
        let (Some(copy), Some(place)) = times else { return Ok(None) };
        let changes = Pin::accepted(&self.manifest).changes(&manifest);
        Ok(Some(ConflictCopy {
            path: self.root.join(name),
            place: self.root.join(layout::MANIFEST),
            original: Original::Manifest { copy, place, changes },
        }))
    }
}
