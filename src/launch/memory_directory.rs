//! A directory on a memory file system, for where a private mount cannot be made.
//!
//! All of a user's runs share a base directory, which only that user can enter. Each run has one directory in it and holds a
//! lock on it (`flock`) while it lives. So the next run can tell which directories killed runs left behind: it can lock
//! them, and removes them. A process that changes the base holds the base's own lock meanwhile.
//!
//! Beside them, a symlink leads to the directory of one live run. Its name never changes, so that another symlink, made once
//! by hand, can lead to it from a place that only root can write to.
//!
//! Unlike a private mount, every process of the user can read it while the run lasts.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::directory::{DirectoryError, OPEN, PrivateDirectory, make_directory, remove_tree, step};

const SHARED_MEMORY: &str = "/dev/shm";
const PROGRAM: &str = "flyte-local";
const RUN: &str = "run-";

/// The number of attempts to empty a directory while its owner may still write to it.
const ATTEMPTS: usize = 100;

/// A base directory that looks usable, which is checked again when it is made.
#[derive(Debug, Clone)]
pub struct MemoryBase {
    path: PathBuf,
}

/// The state of the place in which a user makes a symlink to a [`MemoryBase`] by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkByHand {
    /// The symlink exists.
    Made,
    /// The place is empty.
    Missing,
    /// A symlink leads elsewhere.
    Elsewhere,
    /// A file or directory is in its place.
    Occupied,
}

impl MemoryBase {
    /// Finds a base in the user's runtime directory (`XDG_RUNTIME_DIR`), if that is safe, or else in `/dev/shm`. A base to
    /// which the symlink at `place` leads comes first.
    ///
    /// # Errors
    /// [`DirectoryError::Unfit`]: neither is on a memory file system and safe from other users.
    pub fn find(runtime: Option<&Path>, place: &Path) -> Result<Self, DirectoryError> {
        let own = runtime.filter(|directory| directory.is_absolute() && directory.to_str().is_some());
        let own = own.filter(|directory| require_memory(directory, is_private).is_ok());
        let own = own.map(|directory| Self { path: directory.join(PROGRAM) });
        let user = rustix::process::geteuid().as_raw();
        let shared = || Self { path: Path::new(SHARED_MEMORY).join(format!("{PROGRAM}-{user}")) };
        match (own, require_memory(Path::new(SHARED_MEMORY), keeps_names)) {
            (Some(_), Ok(())) if shared().link_by_hand(place) == LinkByHand::Made => Ok(shared()),
            (Some(own), _) => Ok(own),
            (None, usable) => usable.map(|()| shared()),
        }
    }

    /// Returns the base's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the target for a symlink at `place`: a symlink of the same name in the base.
    pub fn link(&self, place: &Path) -> PathBuf {
        self.path.join(place.file_name().unwrap_or_default())
    }

    /// Checks the symlink at `place`.
    pub fn link_by_hand(&self, place: &Path) -> LinkByHand {
        match std::fs::read_link(place) {
            Ok(target) if target == self.link(place) => LinkByHand::Made,
            Ok(_) => LinkByHand::Elsewhere,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => LinkByHand::Missing,
            Err(_) => LinkByHand::Occupied,
        }
    }

    /// Opens the base, which it makes if it is missing, and locks it until dropped.
    fn open(&self) -> Result<OwnedFd, DirectoryError> {
        let unfit = |reason| DirectoryError::Unfit { path: self.path.clone(), reason };
        let taken = |reason| DirectoryError::Taken { path: self.path.clone(), reason };
        loop {
            match rustix::fs::mkdir(&self.path, Mode::RWXU) {
                // The umask may have taken our own permissions away.
                Ok(()) => rustix::fs::chmod(&self.path, Mode::RWXU).map_err(step("create", &self.path))?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(step("create", &self.path)(error)),
            }
            let base = match rustix::fs::open(&self.path, OPEN, Mode::empty()) {
                // Its last user removed it in the meantime.
                Err(Errno::NOENT) => continue,
                Err(Errno::LOOP | Errno::NOTDIR) => return Err(taken("is not a directory")),
                opened => opened.map_err(step("open", &self.path))?,
            };
            is_private(&base).map_err(taken)?;
            is_memory(&base).map_err(unfit)?;
            while let Err(error) = rustix::fs::flock(&base, FlockOperation::LockExclusive) {
                if error != Errno::INTR {
                    return Err(step("lock", &self.path)(error));
                }
            }
            if rustix::fs::fstat(&base).is_ok_and(|found| found.st_nlink > 0) {
                return Ok(base);
            }
        }
    }

    /// Makes a directory for this run, and removes the directories that killed runs left behind.
    ///
    /// # Errors
    /// [`DirectoryError::Unfit`] if other users can enter the base; a failed step.
    pub fn create_directory(&self) -> Result<MemoryDirectory, DirectoryError> {
        self.plan_directory()?.create()
    }

    /// Chooses the name of a directory for this run, and makes nothing yet. So a run that may need one can say beforehand
    /// what to remove after it.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn plan_directory(&self) -> Result<PlannedDirectory, DirectoryError> {
        let mut random = [0; 8];
        getrandom::getrandom(&mut random).map_err(|error| DirectoryError::Step {
            action: "get random bytes for a name in",
            path: self.path.clone(),
            source: error.into(),
        })?;
        Ok(PlannedDirectory { base: self.clone(), name: format!("{RUN}{:016x}", u64::from_ne_bytes(random)) })
    }
}

/// The place of a [`MemoryDirectory`] that need not be there yet.
#[derive(Debug)]
pub struct PlannedDirectory {
    base: MemoryBase,
    name: String,
}

impl PlannedDirectory {
    fn path(&self) -> PathBuf {
        self.base.path.join(&self.name)
    }

    /// Makes the directory, and removes the directories that killed runs left behind.
    ///
    /// # Errors
    /// As [`MemoryBase::create_directory`].
    pub fn create(&self) -> Result<MemoryDirectory, DirectoryError> {
        let (base, name, path) = (self.base.open()?, self.name.clone(), self.path());
        sweep(&base);
        make_directory(&base, &name).map_err(step("create", &path))?;
        let fd = rustix::fs::openat(&base, &name, OPEN, Mode::empty()).map_err(step("open", &path))?;
        rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).map_err(step("lock", &path))?;
        Ok(MemoryDirectory { base: self.base.clone(), name, files: PrivateDirectory { fd, path } })
    }

    /// Returns a guard that removes the directory when dropped, if it was made.
    pub fn removal(&self) -> Removal {
        Removal { path: self.path(), _lock: None }
    }
}

/// A run's directory on a memory file system. It stays when this is dropped: see [`MemoryDirectory::removal`].
#[derive(Debug)]
pub struct MemoryDirectory {
    base: MemoryBase,
    name: String,
    files: PrivateDirectory,
}

impl MemoryDirectory {
    /// Returns its writable side.
    pub fn files(&self) -> &PrivateDirectory {
        &self.files
    }

    /// Returns the base that this user's runs share.
    pub fn base(&self) -> &MemoryBase {
        &self.base
    }

    /// Makes the base's symlink for `place` lead here, unless it leads to another live run. Returns true if it leads here.
    ///
    /// # Errors
    /// A file or directory is in the symlink's place; a failed step.
    pub fn take_link(&self, place: &Path) -> Result<bool, DirectoryError> {
        let base = self.base.open()?;
        let link = self.base.link(place);
        let name = link.file_name().unwrap_or_default();
        match rustix::fs::readlinkat(&base, name, Vec::new()) {
            Ok(target) if target.as_bytes() == self.name.as_bytes() => return Ok(true),
            Ok(target) if target.to_str().is_ok_and(|target| is_alive(&base, target)) => return Ok(false),
            Ok(_) => rustix::fs::unlinkat(&base, name, AtFlags::empty()).map_err(step("remove", &link))?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(step("read the link", &link)(error)),
        }
        rustix::fs::symlinkat(&self.name, &base, name).map_err(step("make the link", &link))?;
        Ok(true)
    }

    /// Returns a guard that removes it when dropped.
    pub fn removal(&self) -> Removal {
        Removal { path: self.files.path.clone(), _lock: self.files.fd.try_clone().ok() }
    }
}

/// Removes a [`MemoryDirectory`] when dropped. It holds the directory's lock too, because the thread that writes the files may
/// end before the run.
#[derive(Debug)]
pub struct Removal {
    path: PathBuf,
    _lock: Option<OwnedFd>,
}

impl Removal {
    /// Returns the directory that it removes.
    pub fn directory(&self) -> &Path {
        &self.path
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        // The next run's sweep tries again to remove the rest.
        let _ = remove(&self.path);
    }
}

/// Removes a run's directory, whether its owner lives or not, with the symlink that leads to it, and the base if it is empty
/// then. A plain function, for a process that outlives the owner.
///
/// # Errors
/// [`DirectoryError::Unfit`] for any other directory; a failed step.
pub fn remove(directory: &Path) -> Result<(), DirectoryError> {
    let name = directory.file_name().and_then(OsStr::to_str).filter(|name| name.starts_with(RUN));
    let (Some(path), Some(name)) = (directory.parent(), name) else {
        return Err(DirectoryError::Unfit { path: directory.to_owned(), reason: "is not the directory of a run" });
    };
    // One that was only planned needs no base, which opening would make.
    if matches!(rustix::fs::lstat(directory), Err(Errno::NOENT)) {
        return Ok(());
    }
    let base = MemoryBase { path: path.to_owned() }.open()?;
    let removed = remove_run(&base, name);
    // Only if nothing is left in it.
    let _ = rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR);
    removed.map_err(step("remove", directory))
}

/// Removes a run's directory and the symlinks that lead to it.
fn remove_run(base: &OwnedFd, name: &str) -> Result<(), Errno> {
    for entry in rustix::fs::Dir::read_from(base)?.flatten() {
        let link = rustix::fs::readlinkat(base, entry.file_name(), Vec::new());
        if link.is_ok_and(|target| target.as_bytes() == name.as_bytes()) {
            rustix::fs::unlinkat(base, entry.file_name(), AtFlags::empty())?;
        }
    }
    for _ in 0..ATTEMPTS {
        match remove_tree(base, name) {
            Err(Errno::NOTEMPTY) => {}
            Err(Errno::NOENT) => return Ok(()),
            removed => return removed,
        }
    }
    Err(Errno::NOTEMPTY)
}

/// Removes the directories that killed runs left behind, as far as possible.
fn sweep(base: &OwnedFd) {
    let Ok(entries) = rustix::fs::Dir::read_from(base) else { return };
    let names: Vec<_> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned)).collect();
    for name in names.iter().filter(|name| name.starts_with(RUN) && !is_alive(base, name)) {
        let _ = remove_run(base, name);
    }
}

/// Returns true if a live run holds this directory of the base.
fn is_alive(base: &OwnedFd, name: &str) -> bool {
    let Ok(directory) = rustix::fs::openat(base, name, OPEN, Mode::empty()) else { return false };
    rustix::fs::flock(directory, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
}

/// A check of an open directory. Its error is a verb phrase.
type Property = fn(&OwnedFd) -> Result<(), &'static str>;

/// Requires `directory` to be on a memory file system and to pass the check.
fn require_memory(directory: &Path, property: Property) -> Result<(), DirectoryError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty()).map_err(step("open", directory))?;
    let unfit = |reason| DirectoryError::Unfit { path: directory.to_owned(), reason };
    is_memory(&opened).and_then(|()| property(&opened)).map_err(unfit)
}

/// Checks that the directory belongs to this user and is closed to all others.
fn is_private(directory: &OwnedFd) -> Result<(), &'static str> {
    let Ok(found) = rustix::fs::fstat(directory) else { return Err("cannot be examined") };
    if found.st_uid != rustix::process::geteuid().as_raw() {
        return Err("belongs to another user");
    }
    if found.st_mode & 0o077 != 0 { Err("is open to other users") } else { Ok(()) }
}

/// Checks that other users cannot rename this user's files in it.
fn keeps_names(directory: &OwnedFd) -> Result<(), &'static str> {
    let Ok(found) = rustix::fs::fstat(directory) else { return Err("cannot be examined") };
    let open_to_others = found.st_mode & 0o022 != 0;
    if open_to_others && found.st_mode & 0o1000 == 0 { Err("lets other users rename what is in it") } else { Ok(()) }
}

/// Checks that files there stay in memory (or in swap).
fn is_memory(directory: &OwnedFd) -> Result<(), &'static str> {
    let in_memory = rustix::fs::fstatfs(directory.as_fd()).is_ok_and(|found| is_memory_file_system(&found));
    if in_memory { Ok(()) } else { Err("is not on a memory file system") }
}

#[cfg(target_os = "linux")]
fn is_memory_file_system(found: &rustix::fs::StatFs) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58f6;
    // The field's width and sign differ between processors, the magic numbers have 32 bits.
    matches!(found.f_type as u32, TMPFS | RAMFS)
}

/// macOS has `mount_tmpfs(8)`, for root, and mounts none by itself.
#[cfg(not(target_os = "linux"))]
fn is_memory_file_system(found: &rustix::fs::StatFs) -> bool {
    found.f_fstypename.iter().map(|&letter| letter as u8).take_while(|&letter| letter != 0).eq(*b"tmpfs")
}
