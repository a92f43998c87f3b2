//! Writing several files together: each whole, as [`Directory::write`] writes one, with fewer waits for the disk.
//!
//! The temporary files of a directory are in a directory called `.tmp` in it. All of them are written, synced, read back and
//! checked before the first is renamed into its place, in the order of the caller. Then each directory is synced once. So a reader
//! sees the old content of a file or the new one, at any moment and after any crash, and nothing that is not on the disk.

use std::fs::File;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use super::atomic::{self, Replace, TEMPORARY, WriteError, same_as};
use super::{Directory, DirectoryEntry, Lock, StorageError};

/// The most files that are written together: each one is open until it is checked.
pub const MAX_TOGETHER: usize = 64;

/// From so many files on, all of them are brought to the disk at once, and then synced by several threads.
#[cfg(target_os = "linux")]
const MANY: usize = 8;

/// The number of these threads. They wait for the disk, and not for a core.
#[cfg(target_os = "linux")]
const THREADS: usize = 16;

/// A file to write.
pub struct NewFile<'a> {
    /// Its directory. Files of one directory must share the handle.
    pub directory: &'a Directory,
    /// Its name.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
    /// The treatment of a file that exists.
    pub replace: Replace,
}

/// The result of [`write_together`].
#[derive(Debug)]
pub struct WrittenTogether<E: std::error::Error + 'static> {
    /// How many files, from the first on, are in their places, durably.
    pub count: usize,
    /// Why the others were not written.
    pub result: Result<(), WriteError<E>>,
}

/// A directory, and the one in it for its temporary files.
struct Stage<'a> {
    directory: &'a Directory,
    temporary: Directory,
}

impl<'a> Stage<'a> {
    fn make(directory: &'a Directory) -> Result<Self, StageError> {
        let failed = |error: Errno| StageError::Failed(StorageError::new("write", directory.join(TEMPORARY), error));
        directory.remove_temporary().map_err(StageError::Failed)?;
        rustix::fs::mkdirat(directory, TEMPORARY, Mode::RWXU).map_err(failed)?;
        // The umask may have taken our own permissions away.
        let opened = rustix::fs::chmodat(directory, TEMPORARY, Mode::RWXU, AtFlags::empty())
            .map_err(failed)
            .and_then(|()| directory.subdirectory(TEMPORARY).map_err(StageError::for_open))
            .and_then(|temporary| temporary.ok_or_else(|| failed(Errno::NOENT)));
        match opened {
            Ok(temporary) => Ok(Self { directory, temporary }),
            Err(error) => {
                // The first error is the one to report.
                let _ = directory.remove_stage();
                Err(error)
            }
        }
    }
}

/// A temporary file that is open.
struct Staged<'a, 'b> {
    new: &'a NewFile<'b>,
    stage: usize,
    name: String,
    file: File,
}

/// Writes files under `lock`, as [`Directory::write`] does: mode 0600, and `check` is given the place of a file among `files` and what
/// was read back. At most [`MAX_TOGETHER`] are written; if the system does not let so many be open, fewer.
pub fn write_together<E: std::error::Error + Send>(
    lock: &Lock,
    files: &[NewFile<'_>],
    check: impl Fn(usize, &[u8]) -> Result<(), E> + Sync,
) -> WrittenTogether<E> {
    let (mut stages, mut count) = (Vec::new(), 0);
    let mut result = lock.confirm().map_err(WriteError::from).and_then(|()| {
        let (staged, unstaged) = stage(&mut stages, &files[..files.len().min(MAX_TOGETHER)]);
        let unsettled = settle(&staged, check);
        // Those before the one that failed are as sound as if they were written one by one.
        let sound = unsettled.as_ref().map_or(staged.len(), |(index, _)| *index);
        for staged in &staged[..sound] {
            lock.confirm()?;
            let stage = &stages[staged.stage];
            stage.temporary.rename_into(&staged.name, stage.directory, staged.new.name, staged.new.replace)?;
            count += 1;
        }
        unsettled.map(|(_, error)| error).or(unstaged.map(WriteError::from)).map_or(Ok(()), Err)
    });
    for Stage { directory, .. } in &stages {
        // The first error is the one to report. The next writer removes what stays after a second try.
        let _ = directory.remove_stage().or_else(|_| directory.remove_stage());
    }
    if count > 0 {
        let synced = stages.iter().try_for_each(|stage| stage.directory.sync());
        if let Err(error) = synced {
            count = 0;
            result = result.and(Err(error.into()));
        }
    }
    WrittenTogether { count, result }
}

/// Why a file has no temporary file.
enum StageError {
    /// No more files can be open.
    Full(StorageError),
    /// Any other reason.
    Failed(StorageError),
}

impl StageError {
    /// Returns the reason why something could not be opened.
    fn for_open(error: StorageError) -> Self {
        let is = |full: Errno| error.source.raw_os_error() == Some(full.raw_os_error());
        if is(Errno::MFILE) || is(Errno::NFILE) { Self::Full(error) } else { Self::Failed(error) }
    }
}

/// Creates the temporary files and writes them. Returns those that were written, and why there are not more of them.
fn stage<'a, 'b>(stages: &mut Vec<Stage<'b>>, files: &'a [NewFile<'b>]) -> (Vec<Staged<'a, 'b>>, Option<StorageError>) {
    let mut staged = Vec::with_capacity(files.len());
    for (index, new) in files.iter().enumerate() {
        match stage_one(stages, new, index) {
            Ok(one) => staged.push(one),
            Err(StageError::Full(_)) if !staged.is_empty() => break,
            Err(StageError::Full(error) | StageError::Failed(error)) => return (staged, Some(error)),
        }
    }
    (staged, None)
}

fn stage_one<'a, 'b>(
    stages: &mut Vec<Stage<'b>>,
    new: &'a NewFile<'b>,
    index: usize,
) -> Result<Staged<'a, 'b>, StageError> {
    let known = stages.iter().position(|stage| std::ptr::eq(stage.directory, new.directory));
    let stage = match known {
        Some(stage) => stage,
        None => {
            stages.push(Stage::make(new.directory)?);
            stages.len() - 1
        }
    };
    let name = index.to_string();
    let failed = |error: StorageError| StorageError { path: new.directory.join(new.name), ..error };
    let opened = stages[stage].temporary.create_temporary(&name, new.name);
    let file = opened.map_err(|error| StageError::for_open(failed(error)))?;
    new.directory.write_content(&file, new.name, new.bytes).map_err(StageError::Failed)?;
    Ok(Staged { new, stage, name, file })
}

/// Brings the files to the disk, reads them back and checks them. Returns the first one that failed, and why.
fn settle<E: std::error::Error + Send>(
    staged: &[Staged<'_, '_>],
    check: impl Fn(usize, &[u8]) -> Result<(), E> + Sync,
) -> Option<(usize, WriteError<E>)> {
    let one = |index: usize| {
        let Staged { new, file, .. } = &staged[index];
        let read_back = new.directory.sync_and_read_back(file, new.name, new.bytes.len())?;
        check(index, &read_back).map_err(|source| WriteError::Check { path: new.directory.join(new.name), source })
    };
    #[cfg(target_os = "linux")]
    if staged.len() >= MANY {
        // A head start, and no more: each file is synced by itself, which is quick then. So an error here shows there.
        let _ = rustix::fs::syncfs(staged[0].new.directory.as_fd());
        return on_threads(staged.len(), one);
    }
    (0..staged.len()).find_map(|index| one(index).err().map(|error| (index, error)))
}

/// Calls `one` with each number below `count`, on several threads. Returns the lowest number with an error.
#[cfg(target_os = "linux")]
fn on_threads<E: Send>(count: usize, one: impl Fn(usize) -> Result<(), E> + Sync) -> Option<(usize, E)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut first = None;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return first;
            }
            if let Err(error) = one(index) {
                first.get_or_insert((index, error));
            }
        }
    };
    let failed = std::thread::scope(|scope| {
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, work).ok();
        let threads: Vec<_> = (1..THREADS.min(count)).filter_map(spawn).collect();
        let mut failed: Vec<_> = work().into_iter().collect();
        failed.extend(threads.into_iter().filter_map(|thread| thread.join().expect("no panic")));
        failed
    });
    failed.into_iter().min_by_key(|(index, _)| *index)
}

/// Returns `true` for a file whose name is a number, as [`write_together`] gives it to a temporary file.
fn is_numbered(entry: &DirectoryEntry) -> bool {
    matches!(entry, DirectoryEntry::File(name) if name.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Directory {
    /// Writes files as [`Directory::put`] does one.
    ///
    /// # Errors
    /// As there. Those before the one that failed are written.
    pub fn put_all(&self, lock: &Lock, files: &[(&str, &[u8])]) -> Result<(), StorageError> {
        let mut rest = files;
        loop {
            match rest {
                [] => return Ok(()),
                [(name, bytes)] => return self.put(lock, name, bytes),
                _ => {}
            }
            let new = |&(name, bytes)| NewFile { directory: self, name, bytes, replace: Replace::Existing };
            let together: Vec<_> = rest.iter().map(new).collect();
            let written = write_together(lock, &together, |index, read_back| same_as(rest[index].1)(read_back));
            written.result.map_err(WriteError::into_storage)?;
            rest = &rest[written.count..];
        }
    }

    /// Removes the temporary files that a killed writer left here: `.tmp`, or the files in it.
    pub(super) fn remove_temporary(&self) -> Result<(), StorageError> {
        match rustix::fs::unlinkat(self, TEMPORARY, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // The error for a directory differs between systems.
            Err(Errno::ISDIR | Errno::PERM) if self.has_stage() => self.remove_stage(),
            Err(error) => Err(StorageError::new("remove", self.join(TEMPORARY), error)),
        }
    }

    /// Returns `true` if a directory in it has nothing but the temporary files of files that are written together.
    pub fn is_leftover_directory(&self, name: &str) -> bool {
        let entries = || self.subdirectory(name).ok()??.entries().ok();
        name == TEMPORARY && entries().is_some_and(|entries| entries.iter().all(is_numbered))
    }

    fn has_stage(&self) -> bool {
        let stat = rustix::fs::statat(self, TEMPORARY, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
    }

    /// Removes the directory of temporary files, and no other files than those that [`write_together`] makes in it.
    fn remove_stage(&self) -> Result<(), StorageError> {
        let failed = |error: Errno| StorageError::new("remove", self.join(TEMPORARY), error);
        let remove = || rustix::fs::unlinkat(self, TEMPORARY, AtFlags::REMOVEDIR);
        match remove() {
            // It has files: of a write that failed, or of a writer that was killed.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            removed => return removed.map_err(failed),
        }
        let Some(stage) = self.subdirectory(TEMPORARY)? else { return Ok(()) };
        for entry in stage.entries()? {
            if is_numbered(&entry) {
                rustix::fs::unlinkat(&stage, entry.name(), AtFlags::empty()).map_err(failed)?;
            }
        }
        remove().map_err(failed)
    }

    fn rename_into(&self, temporary: &str, directory: &Self, name: &str, replace: Replace) -> Result<(), StorageError> {
        atomic::rename(self, temporary, directory, name, replace)
            .map_err(|error| StorageError::new("write", directory.join(name), error))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn directory(keep: &tempfile::TempDir, name: &str) -> Directory {
        std::fs::create_dir(keep.path().join(name)).expect("made");
        Directory::open(&keep.path().join(name)).expect("it exists")
    }

    fn lock(keep: &tempfile::TempDir) -> Lock {
        let root = Directory::open(keep.path()).expect("it exists");
        Lock::acquire(&root, ".lock", std::time::Duration::ZERO).expect("free")
    }

    fn accept(_: usize, _: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }

    fn content(directory: &Directory, name: &str) -> Option<Vec<u8>> {
        directory.read(name, 100).expect("readable").map(|bytes| bytes.to_vec())
    }

    #[test]
    fn files_of_several_directories_are_written_and_nothing_is_left() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let (one, two, lock) = (directory(&keep, "one"), directory(&keep, "two"), lock(&keep));
        for count in [1, 2, 40, MAX_TOGETHER + 1] {
            let names: Vec<_> = (0..count).map(|index| format!("f{count}-{index}")).collect();
            let files: Vec<_> = names
                .iter()
                .enumerate()
                .map(|(index, name)| NewFile {
                    directory: if index % 2 == 0 { &one } else { &two },
                    name,
                    bytes: name.as_bytes(),
                    replace: Replace::Never,
                })
                .collect();
            let written = write_together(&lock, &files, accept);
            assert!(written.result.is_ok() && written.count == count.min(MAX_TOGETHER), "{written:?}");
            for file in &files[..written.count] {
                assert_eq!(content(file.directory, file.name).as_deref(), Some(file.bytes));
            }
            assert!(!one.contains(TEMPORARY).expect("looked") && !two.contains(TEMPORARY).expect("looked"));
        }
    }

    #[test]
    fn a_file_that_fails_its_check_keeps_itself_and_those_after_it_out_of_their_places() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let (one, lock) = (directory(&keep, "one"), lock(&keep));
        for count in [3, 20] {
            let names: Vec<_> = (0..count).map(|index| index.to_string()).collect();
            let files: Vec<_> = names
                .iter()
                .map(|name| NewFile { directory: &one, name, bytes: b"new", replace: Replace::Existing })
                .collect();
            let written = write_together(&lock, &files, |index, read_back| {
                assert_eq!(read_back, b"new");
                if index < count - 2 { Ok(()) } else { Err(std::io::Error::other(index.to_string())) }
            });
            let first = format!("{}", one.join(&(count - 2).to_string()).display());
            assert!(
                matches!(&written.result, Err(error @ WriteError::Check { .. }) if error.to_string().contains(&first)),
                "{written:?}"
            );
            assert_eq!(written.count, count - 2);
            for (index, name) in names.iter().enumerate() {
                assert_eq!(content(&one, name).is_some(), index < count - 2);
            }
            for name in &names[..count - 2] {
                assert!(one.remove(&lock, name).expect("removed"));
            }
            assert!(one.entries().expect("listed").is_empty());
        }
    }

    #[test]
    fn a_file_that_exists_ends_the_renames_before_it() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let (one, lock) = (directory(&keep, "one"), lock(&keep));
        one.write_new("b", b"old").expect("written");
        let new = |name| NewFile { directory: &one, name, bytes: b"new", replace: Replace::Never };
        let written = write_together(&lock, &[new("a"), new("b"), new("c")], accept);
        assert!(matches!(&written.result, Err(WriteError::Storage(error)) if error.already_exists()), "{written:?}");
        assert_eq!(written.count, 1);
        let found = ["a", "b", "c"].map(|name| content(&one, name));
        assert_eq!(found, [Some(b"new".to_vec()), Some(b"old".to_vec()), None]);
        assert_eq!(one.entries().expect("listed").len(), 2);
    }

    #[test]
    fn the_next_writer_removes_the_files_of_a_killed_one_and_nothing_else() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let (one, lock) = (directory(&keep, "one"), lock(&keep));
        let stage = keep.path().join("one/.tmp");
        let leave = || {
            std::fs::create_dir(&stage).expect("made");
            Directory::open(&stage).and_then(|stage| stage.write_new("12", b"half")).expect("written");
        };
        leave();
        one.write(&lock, "f", b"new", Replace::Never, |_| Ok::<_, Infallible>(())).expect("written");
        leave();
        let new = NewFile { directory: &one, name: "g", bytes: b"new", replace: Replace::Never };
        assert!(write_together(&lock, std::slice::from_ref(&new), accept).result.is_ok());
        assert_eq!(one.entries().expect("listed").len(), 2);
        // A directory of the user.
        leave();
        assert!(one.is_leftover_directory(TEMPORARY) && !one.is_leftover_directory("f"));
        Directory::open(&stage).and_then(|stage| stage.write_new("notes", b"mine")).expect("written");
        assert!(one.write(&lock, "h", b"new", Replace::Never, |_| Ok::<_, Infallible>(())).is_err());
        assert!(write_together(&lock, &[new], accept).result.is_err());
        assert!(stage.join("notes").exists() && !one.is_leftover_directory(TEMPORARY));
    }

    #[test]
    fn a_lock_lost_during_the_checks_stops_the_renames() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let (one, lock) = (directory(&keep, "one"), lock(&keep));
        let new = |name| NewFile { directory: &one, name, bytes: b"new", replace: Replace::Never };
        let lose = |_: usize, _: &[u8]| match std::fs::remove_file(keep.path().join(".lock")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        let written = write_together(&lock, &[new("a"), new("b")], lose);
        assert!(matches!(written.result, Err(WriteError::Storage(_))) && written.count == 0);
        assert!(one.entries().expect("listed").is_empty());
    }
}
