//! Pins: the records that this machine keeps of a vault, outside of it: a file with its recipients and authors, and one for each secret
//! with the newest update seen. So what a command reads and writes here does not grow with the vault.
//!
//! ```text
//! <state>/.lock
//! <state>/paths/DIGEST            the id of the vault at the path with this SHA-256
//! <state>/vaults/ID/pin.toml      its recipients and authors
//! <state>/vaults/ID/seen/…/NAME.pin    the tree of the vault; in each file a time, and `deleted` if it was deleted then
//! ```
//!
//! By the path too, since an attacker who can write `vault.toml` can give it another id, and it would be a vault never seen. By the
//! path as the user has it and by the one without links: an attacker who can write the vault may put a link in its place.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::manifest::{FileKey, MAX_MARKS, Manifest, to_authors, to_file, to_recipients};
use super::trust::{Newest, Pin};
use super::{NamedRecipient, VaultError, guarded, layout};
use crate::crypto;
use crate::file_form::FileForm;
use crate::secret::{Scope, SecretId, SecretName};
use crate::storage::{Directory, DirectoryEntry, Lock, Permissions, StorageError, is_leftover};
use crate::toml_file::{self, TomlError};

const LOCK: &str = ".lock";
const PATHS: &str = "paths";
const VAULTS: &str = "vaults";
const SEEN: &str = "seen";
const PIN: &str = "pin.toml";
const EXTENSION: &str = ".pin";
/// The mark after the time of a deletion.
const DELETED: &str = " deleted";

/// Larger than the file of one secret, or of a path.
const MAX_LINE_BYTES: usize = 100;

/// More than the pin of any vault: what `vault.toml` may have, as it is written here, and the vault's path.
const MAX_PIN_BYTES: usize = layout::MAX_MANIFEST_BYTES + (128 << 10);

/// More than the marks of the pin of any vault: 70 for each key with its name, and those of a path of 4 KiB.
const MAX_PIN_MARKS: usize = MAX_MARKS;

/// It is held for one small write.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pin of a vault, as it was loaded.
pub(super) struct PinOnRecord {
    pub(super) pin: Pin,
    /// `true` if both of the vault's paths are on record, so that another vault that takes its place is noticed.
    pub(super) is_on_record: bool,
}

/// The state of a secret while no deletion of it is half done.
pub(super) struct Settled {
    pub(super) newest: Option<Newest>,
    /// `true` if there is a file in the secret's place.
    pub(super) is_there: bool,
}

/// The pins of one vault.
#[derive(Debug)]
pub(super) struct Pins {
    state: PathBuf,
    /// The vault's path as the user has it, and without links.
    vault_paths: [PathBuf; 2],
    id: String,
    /// The check of the state directory's owner and permissions.
    permissions: Permissions,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinFile {
    /// For people: where the vault was.
    path: String,
    announced: Option<String>,
    /// Absent in the pins of earlier versions, which accepted a vault at its first use.
    #[serde(default = "accepted")]
    accepted: bool,
    recipients: Vec<FileKey>,
    authors: Vec<FileKey>,
}

fn accepted() -> bool {
    true
}

impl Pins {
    pub(super) fn new(state: &Path, vault: &Directory, id: &str) -> Self {
        let path = vault.path();
        let named = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let itself = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let permissions = vault.permissions();
        Self { state: state.to_owned(), vault_paths: [named, itself], id: id.to_owned(), permissions }
    }

    /// Loads the pin of the vault at this path, or else of the one with this id; `None` for one that was never seen.
    pub(super) fn load(&self) -> Result<Option<PinOnRecord>, VaultError> {
        let Some(state) = self.existing()? else { return Ok(None) };
        let Some(vaults) = state.subdirectory(VAULTS)? else { return Ok(None) };
        let at_path = self.ids_at_path(&state)?;
        let is_on_record = at_path.iter().all(Option::is_some);
        for id in at_path.iter().flatten().chain([&self.id]) {
            if let Some(pin) = load_pin(&vaults, id)? {
                return Ok(Some(PinOnRecord { pin, is_on_record }));
            }
        }
        Ok(None)
    }

    /// The ids on record of the vault at each of its paths.
    fn ids_at_path(&self, state: &Directory) -> Result<[Option<String>; 2], VaultError> {
        let Some(paths) = state.subdirectory(PATHS)? else { return Ok([None, None]) };
        let [named, itself] = &self.vault_paths;
        let id = |path: &Path| -> Result<Option<String>, VaultError> {
            let Some(bytes) = paths.read(&path_key(path), MAX_LINE_BYTES)? else { return Ok(None) };
            let id = std::str::from_utf8(&bytes).unwrap_or_default().trim_end();
            // Not as a path before it is known to be an id.
            if Manifest::is_id(id) {
                return Ok(Some(id.to_owned()));
            }
            Err(VaultError::Pin { path: paths.join(&path_key(path)), reason: reason(&bytes, "it holds no vault's id") })
        };
        Ok([id(named)?, id(itself)?])
    }

    /// Pins the vault as it is.
    pub(super) fn save(&self, pin: &Pin) -> Result<(), VaultError> {
        let file = PinFile {
            path: self.vault_paths[1].display().to_string(),
            announced: pin.announced.clone(),
            accepted: pin.is_accepted,
            recipients: to_file(&pin.recipients),
            authors: to_file(&pin.authors),
        };
        let text = toml::to_string(&file).expect("strings always serialise");
        let (state, lock) = self.lock()?;
        below(&state, &[VAULTS, &pin.id])?.put(&lock, PIN, text.as_bytes())?;
        let (paths, line) = (below(&state, &[PATHS])?, format!("{}\n", pin.id));
        for path in &self.vault_paths {
            // Most often it is there, and a write costs two syncs.
            let known = paths.read(&path_key(path), MAX_LINE_BYTES)?;
            if known.is_none_or(|known| known.as_slice() != line.as_bytes()) {
                paths.put(&lock, &path_key(path), line.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Returns the newest version of a secret on record.
    pub(super) fn newest(&self, id: &SecretId) -> Result<Option<Newest>, VaultError> {
        self.scope(&id.scope)?.map_or(Ok(None), |scope| scope.newest(&id.name))
    }

    /// Returns the records of a scope's secrets; `None` if there is none.
    pub(super) fn scope(&self, scope: &Scope) -> Result<Option<PinnedScope>, VaultError> {
        let directory = self.seen()?.map_or(Ok(None), |seen| layout::scope_below(&seen, scope))?;
        Ok(directory.map(PinnedScope))
    }

    /// Removes the temporary file that a killed writer left beside the pin of a vault. The pin of a vault that was never made is
    /// not written again.
    pub(super) fn remove_leftovers(&self) -> Result<(), VaultError> {
        let (state, lock) = self.lock()?;
        let Some(vaults) = state.subdirectory(VAULTS)? else { return Ok(()) };
        for entry in vaults.entries()? {
            let DirectoryEntry::Directory(id) = entry else { continue };
            let Some(directory) = vaults.subdirectory(&id)? else { continue };
            for entry in directory.entries()? {
                if let DirectoryEntry::File(name) = entry
                    && is_leftover(&name)
                {
                    directory.remove(&lock, &name)?;
                }
            }
        }
        Ok(())
    }

    /// Checks that the vault can be pinned, before a write that needs a pin.
    pub(super) fn require_writable(&self) -> Result<(), VaultError> {
        self.lock().map(drop)
    }

    /// Checks that a secret of this scope can be recorded, before a write that must be.
    pub(super) fn prepare(&self, scope: &Scope) -> Result<(), VaultError> {
        let (state, _lock) = self.lock()?;
        self.create_scope(&state, scope).map(drop).map_err(VaultError::from)
    }

    /// Records an update, unless something newer is known: a reader may be late.
    pub(super) fn record(&self, id: &SecretId, updated: Timestamp) -> Result<(), VaultError> {
        self.record_all(&[(id, updated)])
    }

    /// As [`Pins::record`], of several secrets: those of a scope should come one after the other.
    pub(super) fn record_all(&self, updates: &[(&SecretId, Timestamp)]) -> Result<(), VaultError> {
        if updates.is_empty() {
            return Ok(());
        }
        let (state, lock) = self.lock()?;
        for of_scope in updates.chunk_by(|(one, _), (next, _)| one.scope == next.scope) {
            let scope = PinnedScope(self.create_scope(&state, &of_scope[0].0.scope)?);
            let mut newer = Vec::with_capacity(of_scope.len());
            for (id, updated) in of_scope {
                if scope.newest(&id.name)?.is_none_or(|known| known.time < *updated) {
                    newer.push((file_name(&id.name), format!("{updated}\n")));
                }
            }
            let newer: Vec<_> = newer.iter().map(|(file, line)| (file.as_str(), line.as_bytes())).collect();
            scope.0.put_all(&lock, &newer)?;
        }
        Ok(())
    }

    /// Deletes a secret by `delete`, and then records when, so that it cannot come back unnoticed. [`Pins::settled`] sees
    /// both or neither. It is forgotten first: a user who interrupts it does not get a warning about their own deletion.
    pub(super) fn record_deletion(
        &self,
        id: &SecretId,
        time: Timestamp,
        delete: impl FnOnce() -> Result<(), VaultError>,
    ) -> Result<(), VaultError> {
        let (state, lock) = self.lock()?;
        if let Some(PinnedScope(directory)) = self.scope(&id.scope)? {
            directory.remove(&lock, &file_name(&id.name))?;
        }
        delete()?;
        let directory = self.create_scope(&state, &id.scope)?;
        Ok(directory.put(&lock, &file_name(&id.name), format!("{time}{DELETED}\n").as_bytes())?)
    }

    /// As [`Pins::newest`], and whether the secret is there, with no deletion half done.
    pub(super) fn settled(
        &self,
        id: &SecretId,
        is_there: impl FnOnce() -> Result<bool, VaultError>,
    ) -> Result<Settled, VaultError> {
        let _lock = self.lock()?;
        Ok(Settled { newest: self.newest(id)?, is_there: is_there()? })
    }

    /// Forgets a secret.
    pub(super) fn forget(&self, id: &SecretId) -> Result<(), VaultError> {
        let Some(PinnedScope(directory)) = self.scope(&id.scope)? else { return Ok(()) };
        let (_state, lock) = self.lock()?;
        directory.remove(&lock, &file_name(&id.name))?;
        Ok(())
    }

    /// Every secret that is recorded.
    pub(super) fn recorded(&self) -> Result<Vec<SecretId>, VaultError> {
        let mut ids = Vec::new();
        let Some(seen) = self.seen()? else { return Ok(ids) };
        for scope in layout::scopes_below(&seen)? {
            let Some(directory) = layout::scope_below(&seen, &scope)? else { continue };
            for entry in directory.entries()? {
                let DirectoryEntry::File(file) = entry else { continue };
                let Some(Ok(name)) = file.strip_suffix(EXTENSION).map(str::parse) else { continue };
                ids.push(SecretId { scope: scope.clone(), name });
            }
        }
        ids.sort();
        Ok(ids)
    }

    fn lock(&self) -> Result<(Directory, Lock), VaultError> {
        let state = match self.existing()? {
            Some(state) => state,
            None => guarded(Directory::create(&self.state)?, self.permissions)?,
        };
        let lock = Lock::acquire(&state, LOCK, PATIENCE)?;
        Ok((state, lock))
    }

    fn existing(&self) -> Result<Option<Directory>, StorageError> {
        match Directory::open(&self.state) {
            Err(error) if error.is_not_found() || error.source.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
            opened => guarded(opened?, self.permissions).map(Some),
        }
    }

    fn seen(&self) -> Result<Option<Directory>, StorageError> {
        let mut found = self.existing()?;
        for component in [VAULTS, &self.id, SEEN] {
            let Some(directory) = found else { return Ok(None) };
            found = directory.subdirectory(component)?;
        }
        Ok(found)
    }

    fn create_scope(&self, state: &Directory, scope: &Scope) -> Result<Directory, StorageError> {
        let seen = below(state, &[VAULTS, &self.id, SEEN])?;
        below(&seen, &layout::components(scope))
    }
}

/// The records of the secrets of one scope.
pub(super) struct PinnedScope(Directory);

impl PinnedScope {
    /// Returns the newest version of a secret on record.
    pub(super) fn newest(&self, name: &SecretName) -> Result<Option<Newest>, VaultError> {
        let (Self(directory), file) = (self, file_name(name));
        let Some(bytes) = directory.read(&file, MAX_LINE_BYTES)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).unwrap_or_default().trim_end();
        let (time, is_deleted) = match text.strip_suffix(DELETED) {
            Some(time) => (time, true),
            None => (text, false),
        };
        let newest = time.parse().map(|time| Some(Newest { time, is_deleted }));
        newest.map_err(|_| VaultError::Pin { path: directory.join(&file), reason: reason(&bytes, "it holds no time") })
    }
}

fn file_name(name: &SecretName) -> String {
    format!("{name}{EXTENSION}")
}

fn path_key(path: &Path) -> String {
    crypto::digest(path.as_os_str().as_bytes())
}

/// A directory below another, made where it is missing. One that is there is not synced again, as the vault's are: that a
/// pin survives a power cut is not promised.
fn below(directory: &Directory, components: &[&str]) -> Result<Directory, StorageError> {
    let mut found: Option<Directory> = None;
    for component in components {
        let parent = found.as_ref().unwrap_or(directory);
        let next = match parent.subdirectory(component)? {
            Some(next) => next,
            None => parent.create_subdirectory(component)?,
        };
        found = Some(next);
    }
    found.ok_or_else(|| StorageError::new("open", directory.path(), std::io::ErrorKind::InvalidInput))
}

/// A vault as it was pinned.
pub(super) struct PinnedVault {
    pub(super) id: String,
    pub(super) path: PathBuf,
    pub(super) recipients: Vec<NamedRecipient>,
}

/// Returns the vaults that are pinned below `state`.
pub(super) fn vaults(state: &Path, permissions: Permissions) -> Result<Vec<PinnedVault>, VaultError> {
    let state = match Directory::open(state) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        opened => guarded(opened?, permissions)?,
    };
    let Some(vaults) = state.subdirectory(VAULTS)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in vaults.entries()? {
        let DirectoryEntry::Directory(id) = entry else { continue };
        if let Some((Pin { recipients, .. }, path)) = load_pin_and_path(&vaults, &id)? {
            found.push(PinnedVault { id, path, recipients });
        }
    }
    Ok(found)
}

/// Returns why a record cannot be read: its form, if that is another one, or else `reason`.
fn reason(bytes: &[u8], reason: &str) -> String {
    FileForm::recognise_text(bytes).map_or(reason.to_owned(), |form| form.to_string())
}

fn load_pin(vaults: &Directory, id: &str) -> Result<Option<Pin>, VaultError> {
    Ok(load_pin_and_path(vaults, id)?.map(|(pin, _)| pin))
}

fn load_pin_and_path(vaults: &Directory, id: &str) -> Result<Option<(Pin, PathBuf)>, VaultError> {
    let Some(directory) = vaults.subdirectory(id)? else { return Ok(None) };
    let Some(file) = read_pin(&directory)? else { return Ok(None) };
    let bad = |reason: String| VaultError::Pin { path: directory.join(PIN), reason: reason.trim_end().to_owned() };
    let recipients = to_recipients(file.recipients).map_err(|error| bad(error.to_string()))?;
    let authors = to_authors(file.authors).map_err(|error| bad(error.to_string()))?;
    let pin = Pin { id: id.to_owned(), recipients, authors, announced: file.announced, is_accepted: file.accepted };
    Ok(Some((pin, PathBuf::from(file.path))))
}

fn read_pin(directory: &Directory) -> Result<Option<PinFile>, VaultError> {
    let Some(bytes) = directory.read(PIN, MAX_PIN_BYTES)? else { return Ok(None) };
    let bad = |reason: String| VaultError::Pin { path: directory.join(PIN), reason };
    toml_file::parse(&bytes, MAX_PIN_MARKS).map(Some).map_err(|error| match error {
        TomlError::TooManyMarks => bad("it has too many keys and values".to_owned()),
        TomlError::Form(form) => bad(form.to_string()),
        TomlError::Syntax(reason) => bad(reason),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_that_cannot_be_read_is_an_error() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let file = keep.path().join("file");
        let directory = Directory::open(keep.path()).expect("made");
        directory.write_new("file", b"").expect("written");
        let pins = |state: &Path| Pins::new(state, &directory, "id");
        assert!(pins(&keep.path().join("none")).load().expect("no error").is_none());
        // There, nothing can have been remembered.
        assert!(pins(&file.join("below")).load().expect("no error").is_none());
        directory.create_subdirectory("state").and_then(|state| state.write_new(VAULTS, b"")).expect("written");
        assert!(pins(&keep.path().join("state")).load().is_err(), "a vault would be met for the first time");
        std::os::unix::fs::symlink("loop", keep.path().join("loop")).expect("a link to itself");
        assert!(pins(&keep.path().join("loop")).load().is_err(), "a vault would be met for the first time");
    }
}
