//! Conflict copies: files that a program which synchronizes directories, or git, put beside a secret or `vault.toml` when two
//! machines changed it.
//!
//! Their names differ from program to program, and some of them are names of secrets. So a copy is recognised by its content:
//! its binding says which secret it is, and an author signed that.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::manifest::Manifest;
use super::read::PEEK_BYTES;
use super::trust::{Change, Pin};
use super::{SecretFileError, Vault, VaultError, binding, layout, trust};
use crate::crypto::{self, Identities};
use crate::secret::{Scope, SecretId, SecretValue};
use crate::storage::{Directory, DirectoryEntry};

/// A file that is a version of another file of the vault.
#[derive(Debug)]
pub struct ConflictCopy {
    /// Its path.
    pub path: PathBuf,
    /// The path of the file whose version it is.
    pub place: PathBuf,
    /// The secret or `vault.toml`, and how the copy compares with its other versions.
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
        time: Timestamp,
        /// The copy.
        copy: Version,
        /// The file in its place; `None` if its place is empty.
        place: Option<Version>,
        /// The newest intact version of the secret. It may be the copy, another copy, or the file in its place.
        newest: Option<NewestVersion>,
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

/// The state of a file of a secret.
#[derive(Debug, Clone)]
pub enum Version {
    /// It was opened to its end, and a trusted author signed it at this time.
    Intact(Timestamp),
    /// It was not opened: there is no identity, or none that opens it.
    Unopened,
    /// It is damaged, or not by a trusted author.
    Refused(Arc<SecretFileError>),
}

/// The newest intact version of a secret that has a [`ConflictCopy`].
#[derive(Debug)]
pub struct NewestVersion {
    /// Its path.
    pub path: PathBuf,
    /// Its time.
    pub time: Timestamp,
    /// `true` if the copy has the same time and value.
    pub is_same: bool,
}

/// A file that is a copy by its name and header.
struct Candidate {
    name: String,
    time: Timestamp,
}

impl Vault {
    /// Returns the copies among the files in the directory of a scope, by their names. Each is opened to its end, as its header
    /// does not show that it is intact.
    pub(super) fn copies_of_secrets(
        &self,
        directory: &Directory,
        scope: &Scope,
        entries: &[&DirectoryEntry],
        identities: Option<&dyn Identities>,
    ) -> BTreeMap<String, ConflictCopy> {
        let mut secrets = BTreeMap::<_, Vec<_>>::new();
        for entry in entries {
            let DirectoryEntry::File(name) = entry else { continue };
            if let Some((id, candidate)) = self.candidate(directory, scope, name) {
                secrets.entry(id.name).or_default().push(candidate);
            }
        }
        let ids = secrets.into_iter().map(|(name, candidates)| (SecretId { scope: scope.clone(), name }, candidates));
        ids.flat_map(|(id, candidates)| self.compare_versions(directory, &id, candidates, identities)).collect()
    }

    fn candidate(&self, directory: &Directory, scope: &Scope, name: &str) -> Option<(SecretId, Candidate)> {
        let start = directory.read_start(name, PEEK_BYTES).ok()??;
        let peeked = crypto::peek(&start).ok()?;
        let id = binding::place(&peeked.binding)?;
        // Programs keep the beginning of the name. Any other file that is in the wrong place was moved there.
        let rest = name.strip_prefix(id.name.as_str())?;
        let file = layout::file_name(&id.name);
        if id.scope != *scope || name == file || rest.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return None;
        }
        let header = binding::decode(&peeked.binding, peeked.wanted, &self.manifest, &id).ok()?;
        trust::judge(header.claim.as_ref(), &self.manifest, self.pin.as_ref()).ok()?;
        Some((id, Candidate { name: name.to_owned(), time: header.metadata.updated }))
    }

    fn compare_versions(
        &self,
        directory: &Directory,
        id: &SecretId,
        candidates: Vec<Candidate>,
        identities: Option<&dyn Identities>,
    ) -> Vec<(String, ConflictCopy)> {
        let file = layout::file_name(&id.name);
        let place = self.version(directory, &file, id, identities);
        let mut opened = Vec::new();
        for candidate in candidates {
            // A copy that was removed meanwhile is left out.
            if let Some((version, value)) = self.version(directory, &candidate.name, id, identities) {
                opened.push((candidate, version, value));
            }
        }
        let in_place = place.iter().map(|(version, value)| (&file, version, value));
        let copies = opened.iter().map(|(candidate, version, value)| (&candidate.name, version, value));
        let intact = in_place.chain(copies).filter_map(|(name, version, value)| match version {
            Version::Intact(time) => Some((name, *time, value)),
            Version::Unopened | Version::Refused(_) => None,
        });
        // The first one of several with the same time: the file in its place comes before any copy.
        let newest = intact.reduce(|newest, next| if next.1 > newest.1 { next } else { newest });
        let newest_of = |candidate: &Candidate, value: &Option<SecretValue>| {
            newest.map(|(name, time, newest)| NewestVersion {
                path: directory.join(name),
                time,
                is_same: candidate.time == time && value == newest,
            })
        };
        let newest: Vec<_> = opened.iter().map(|(candidate, _, value)| newest_of(candidate, value)).collect();
        let copies = opened.into_iter().zip(newest).map(|((Candidate { name, time }, copy, _), newest)| {
            let place = place.as_ref().map(|(version, _)| version.clone());
            let original = Original::Secret { id: id.clone(), time, copy, place, newest };
            let copy = ConflictCopy { path: directory.join(&name), place: directory.join(&file), original };
            (name, copy)
        });
        copies.collect()
    }

    /// Opens a file of a secret; `None` if it is not there.
    fn version(
        &self,
        directory: &Directory,
        file: &str,
        id: &SecretId,
        identities: Option<&dyn Identities>,
    ) -> Option<(Version, Option<SecretValue>)> {
        let Some(identities) = identities else {
            return directory.contains(file).unwrap_or(true).then_some((Version::Unopened, None));
        };
        let judge = |header: &binding::Header| trust::judge(header.claim.as_ref(), &self.manifest, self.pin.as_ref());
        match self.open_file(directory, file, id, identities).transpose()? {
            Ok(opened) => Some(match judge(&opened.header) {
                Ok(()) => (Version::Intact(opened.header.metadata.updated), Some(opened.value)),
                Err(refusal) => (Version::Refused(Arc::new(refusal)), None),
            }),
            Err(VaultError::Refused { source, .. }) => Some((Version::Refused(Arc::new(source)), None)),
            Err(_) => Some((Version::Unopened, None)),
        }
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
