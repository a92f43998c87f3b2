//! A file in memory, for an editor to change.
//!
//! Each edit has a private directory, which also holds the editor's backups and swap files. It is always removed: by this
//! process, which signals do not end meanwhile; by the supervisor, if this process is killed; and if both are killed, by the
//! next process that makes such a directory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

use super::child::{ChildError, Ended, Leftovers, Surroundings, run};
use super::directory::{DirectoryError, PrivateDirectory, step};
use super::memory_directory::{MemoryBase, remove};
use super::signals::Held;

/// Reasons why an edit failed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// There is no directory in memory, or it cannot be removed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The editor could not be started.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// It did not end with exit code 0.
    #[error("the editor {}", match .0 {
        Ended::Code(code) => format!("ended with code {code}"),
        Ended::Signal(signal) => format!("was ended by signal {signal}"),
    })]
    Failed(Ended),
    /// It left no regular file of that name.
    #[error("the editor left no file")]
    NoFile,
    /// The file is larger than the caller allows.
    #[error("the editor left a file that is too large")]
    TooLarge,
    /// A step failed.
    #[error("cannot catch signals")]
    Signals(#[source] io::Error),
}

/// A file to edit.
#[derive(Clone, Copy)]
pub struct EditedFile<'a> {
    /// Its name, which the editor shows.
    pub name: &'a str,
    /// Its content before the edit.
    pub content: &'a [u8],
    /// The most bytes that it may have after the edit.
    pub limit: usize,
}

/// Starts an editor on a file in memory, and returns the file's new content.
///
/// `supervisor` is as in [`run`]; `editor` makes the editor's command for the file's path. Processes that the editor leaves go
/// on: it may be a window of a program that was there before, or that stays.
///
/// # Errors
/// See [`EditError`]. The directory is gone then too.
pub fn edit(
    supervisor: Command,
    editor: impl FnOnce(&Path) -> Command,
    base: &MemoryBase,
    file: EditedFile<'_>,
) -> Result<Zeroizing<Vec<u8>>, EditError> {
    let held = Held::start().map_err(EditError::Signals)?;
    let directory = base.create_directory()?;
    // Removes the directory after a panic as well.
    let removal = directory.removal();
    let files = directory.files();
    let path = files.path().to_owned();
    let edited = begin(files, file).map_err(EditError::from).and_then(|path_of_file| {
        if let Some(signal) = held.arrived() {
            return Err(EditError::Failed(Ended::Signal(signal)));
        }
        let surroundings = Surroundings { mask: None, directory: Some(&path), leftovers: Leftovers::Keep };
        match run(supervisor, &editor(&path_of_file), surroundings, |_| ())? {
            Ended::Code(0) => read(files, file),
            ended => Err(EditError::Failed(ended)),
        }
    });
    let removed = remove(&path);
    drop(removal);
    let edited = edited?;
    removed?;
    Ok(edited)
}

/// Writes the file, which only its owner may read and write, and returns its path.
fn begin(
    files: &PrivateDirectory,
    EditedFile { name, content, .. }: EditedFile<'_>,
) -> Result<PathBuf, DirectoryError> {
    let path = files.path.join(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    // The umask may have taken our own permissions away.
    let file = rustix::fs::openat(&files.fd, name, flags, mode)
        .and_then(|file| rustix::fs::fchmod(&file, mode).map(|()| file))
        .map_err(step("create", &path))?;
    let written = File::from(file).write_all(content);
    written.map_err(|source| DirectoryError::Step { action: "write", path: path.clone(), source })?;
    Ok(path)
}

/// Reads the file that the editor left: the same one, or another in its place.
fn read(
    files: &PrivateDirectory,
    EditedFile { name, limit, .. }: EditedFile<'_>,
) -> Result<Zeroizing<Vec<u8>>, EditError> {
    let path = files.path.join(name);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(&files.fd, name, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Err(EditError::NoFile),
        opened => opened.map_err(step("read", &path))?,
    };
    let stat = rustix::fs::fstat(&file).map_err(step("read", &path))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(EditError::NoFile);
    }
    let mut content = Zeroizing::new(Vec::with_capacity(limit.saturating_add(1)));
    let read = File::from(file).take(limit as u64 + 1).read_to_end(&mut content);
    read.map_err(|source| DirectoryError::Step { action: "read", path, source })?;
    if content.len() > limit { Err(EditError::TooLarge) } else { Ok(content) }
}
