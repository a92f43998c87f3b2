//! What this machine remembers of a vault, outside of it: a file with its recipients and authors, and one for each secret
//! with the newest update seen. So what a command reads and writes here does not grow with the vault.
//!
//! ```text
//! <state>/.lock
//! <state>/paths/DIGEST            the id of the vault at the path with this SHA-256
//! <state>/vaults/ID/pin.toml      its recipients and authors
//! <state>/vaults/ID/seen/…/NAME.pin    the tree of the vault, a time in each file
//! ```
//!
//! By the path too, since whoever can write `vault.toml` can give it another id, and it would be a vault never seen.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::manifest::{FileKey, Manifest, from_authors, from_recipients, to_authors, to_recipients};
use super::trust::Pin;
use super::{VaultError, layout};
use crate::crypto;
use crate::secret::{Scope, SecretId};
use crate::storage::{Directory, Entry, Lock, Replace, StorageError};

const LOCK: &str = ".lock";
const PATHS: &str = "paths";
const VAULTS: &str = "vaults";
const SEEN: &str = "seen";
const PIN: &str = "pin.toml";
const EXTENSION: &str = ".pin";

/// Larger than the file of one secret, or of a path.
const MAX_LINE_BYTES: usize = 100;

/// It is held for one small write.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pins of one vault.
#[derive(Debug)]
pub(super) struct Pins {
    state: PathBuf,
    /// The vault's own path, without links.
    vault_path: PathBuf,
    id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// For people: where the vault was.
    path: String,
    recipients: Vec<FileKey>,
    authors: Vec<FileKey>,
}

impl Pins {
    pub(super) fn new(state: &Path, vault_path: &Path, id: &str) -> Self {
        let vault_path = vault_path.canonicalize().unwrap_or_else(|_| vault_path.to_owned());
        Self { state: state.to_owned(), vault_path, id: id.to_owned() }
    }

    /// What is pinned of the vault at this path, else of the one with this id; `None` for one that was never seen.
    pub(super) fn load(&self) -> Result<Option<Pin>, VaultError> {
        let Some(state) = existing(&self.state)? else { return Ok(None) };
        let at_path = match state.subdirectory(PATHS)? {
            Some(paths) => paths.read(&self.path_key(), MAX_LINE_BYTES)?,
            None => None,
        };
        let at_path = at_path.and_then(|bytes| std::str::from_utf8(&bytes).ok().map(|text| text.trim_end().to_owned()));
        let Some(vaults) = state.subdirectory(VAULTS)? else { return Ok(None) };
        // Not as a path before it is known to be an id.
        if let Some(id) = at_path.filter(|id| Manifest::is_id(id))
            && let Some(pin) = load_pin(&vaults, &id)?
        {
            return Ok(Some(pin));
        }
        load_pin(&vaults, &self.id)
    }

    /// Whether the path is on record, so that a vault which takes its place is noticed.
    pub(super) fn knows_path(&self) -> Result<bool, StorageError> {
        let Some(state) = existing(&self.state)? else { return Ok(false) };
        match state.subdirectory(PATHS)? {
            Some(paths) => paths.contains(&self.path_key()),
            None => Ok(false),
        }
    }

    /// Pins the vault as it is.
    pub(super) fn save(&self, pin: &Pin) -> Result<(), VaultError> {
        let file = File {
            path: self.vault_path.display().to_string(),
            recipients: from_recipients(&pin.recipients),
            authors: from_authors(&pin.authors),
        };
        let text = toml::to_string(&file).expect("strings always serialise");
        let (state, lock) = self.lock()?;
        write(&lock, &below(&state, &[VAULTS, &pin.id])?, PIN, text.as_bytes())?;
        Ok(write(&lock, &below(&state, &[PATHS])?, &self.path_key(), format!("{}\n", pin.id).as_bytes())?)
    }

    /// The newest update of a secret that was seen here.
    pub(super) fn newest(&self, id: &SecretId) -> Result<Option<Timestamp>, VaultError> {
        let Some(directory) = self.scope(&id.scope)? else { return Ok(None) };
        let file = file_name(id);
        let Some(bytes) = directory.read(&file, MAX_LINE_BYTES)? else { return Ok(None) };
        let time = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse().ok());
        time.map(Some)
            .ok_or_else(|| VaultError::Pin { path: directory.join(&file), reason: "it holds no time".to_owned() })
    }

    /// That a secret of this scope can be recorded: before something is done that has to be.
    pub(super) fn prepare(&self, scope: &Scope) -> Result<(), VaultError> {
        let (state, _lock) = self.lock()?;
        self.create_scope(&state, scope).map(drop).map_err(VaultError::from)
    }

    /// Records an update, unless a newer one is, or the secret is no longer there. That is asked under the lock: a reader may
    /// be late, and what was deleted meanwhile must stay forgotten.
    pub(super) fn record(
        &self,
        id: &SecretId,
        updated: Timestamp,
        is_there: impl FnOnce() -> Result<bool, VaultError>,
    ) -> Result<(), VaultError> {
        let (state, lock) = self.lock()?;
        if self.newest(id)?.is_some_and(|known| known >= updated) || !is_there()? {
            return Ok(());
        }
        let directory = self.create_scope(&state, &id.scope)?;
        Ok(write(&lock, &directory, &file_name(id), format!("{updated}\n").as_bytes())?)
    }

    /// Forgets a secret; whether it was known.
    pub(super) fn forget(&self, id: &SecretId) -> Result<bool, VaultError> {
        let Some(directory) = self.scope(&id.scope)? else { return Ok(false) };
        let (_state, lock) = self.lock()?;
        Ok(directory.remove(&lock, &file_name(id))?)
    }

    /// Every secret that is recorded.
    pub(super) fn recorded(&self) -> Result<Vec<SecretId>, VaultError> {
        let mut ids = Vec::new();
        let Some(seen) = self.seen()? else { return Ok(ids) };
        for scope in layout::scopes_below(&seen)? {
            let Some(directory) = layout::scope_below(&seen, &scope)? else { continue };
            for entry in directory.entries()? {
                let Entry::File(file) = entry else { continue };
                let Some(Ok(name)) = file.strip_suffix(EXTENSION).map(str::parse) else { continue };
                ids.push(SecretId { scope: scope.clone(), name });
            }
        }
        ids.sort();
        Ok(ids)
    }

    fn path_key(&self) -> String {
        crypto::digest(self.vault_path.as_os_str().as_bytes())
    }

    fn lock(&self) -> Result<(Directory, Lock), VaultError> {
        let state = match existing(&self.state)? {
            Some(state) => state,
            None => Directory::create(&self.state)?,
        };
        let lock = Lock::acquire(&state, LOCK, PATIENCE)?;
        Ok((state, lock))
    }

    fn seen(&self) -> Result<Option<Directory>, StorageError> {
        existing(&self.state.join(VAULTS).join(&self.id).join(SEEN))
    }

    fn scope(&self, scope: &Scope) -> Result<Option<Directory>, StorageError> {
        self.seen()?.map_or(Ok(None), |seen| layout::scope_below(&seen, scope))
    }

    fn create_scope(&self, state: &Directory, scope: &Scope) -> Result<Directory, StorageError> {
        let seen = below(state, &[VAULTS, &self.id, SEEN])?;
        below(&seen, &layout::components(scope))
    }
}

fn file_name(id: &SecretId) -> String {
    format!("{}{EXTENSION}", id.name)
}

fn existing(path: &Path) -> Result<Option<Directory>, StorageError> {
    match Directory::open(path) {
        Err(error) if error.is_not_found() => Ok(None),
        opened => opened.map(Some),
    }
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

fn write(lock: &Lock, directory: &Directory, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let check = |read_back: &[u8]| match read_back == bytes {
        true => Ok(()),
        false => Err(StorageError::new("write", directory.join(name), std::io::ErrorKind::InvalidData)),
    };
    directory.write(lock, name, bytes, Replace::Existing, check).map_err(|error| match error {
        crate::storage::WriteError::Storage(error) | crate::storage::WriteError::Check { source: error, .. } => error,
    })
}

fn load_pin(vaults: &Directory, id: &str) -> Result<Option<Pin>, VaultError> {
    let Some(directory) = vaults.subdirectory(id)? else { return Ok(None) };
    let Some(bytes) = directory.read(PIN, layout::MAX_MANIFEST_BYTES)? else { return Ok(None) };
    let bad = |reason: String| VaultError::Pin { path: directory.join(PIN), reason: reason.trim_end().to_owned() };
    let text = std::str::from_utf8(&bytes).map_err(|error| bad(error.to_string()))?;
    let file: File = toml::from_str(text).map_err(|error| bad(error.to_string()))?;
    let recipients = to_recipients(file.recipients).map_err(|error| bad(error.to_string()))?;
    let authors = to_authors(file.authors).map_err(|error| bad(error.to_string()))?;
    Ok(Some(Pin { id: id.to_owned(), recipients, authors }))
}
