//! The rule for files that decide something and were found instead of named, such as settings and interpreters.
//!
//! Such a file is believed only if it, the directories above it and the links on the way belong to the user or root, and no
//! one else can write to them. Others may write to a directory above if it is sticky, as `/tmp` is: what belongs to the user
//! or root stays in its place there.
//!
//! The path is followed from `/`, one component at a time. Since no other user can change a component that passed, a change
//! between this check and the use of the file has to come from the user or root. A file that does not exist passes only
//! where no other user can make it: a sticky directory protects what exists, and no more.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Stat};
use zeroize::Zeroizing;

use super::exposure::{self, ExposureError, Permissions};
use super::{StorageError, read_opened};

/// As many links as Linux follows in a path.
const MAX_LINKS: usize = 40;

/// A file that was found, and that another user could have made or changed.
#[derive(Debug, thiserror::Error)]
#[error("{}", if *is_absent {
    format!("another user can make {}, which would be used", path.display())
} else {
    format!("cannot trust {}, which was found and not named", path.display())
})]
pub struct FoundError {
    /// The file.
    pub path: PathBuf,
    /// True if the file does not exist, but another user could make it.
    pub is_absent: bool,
    /// The part of its path that is at fault, and why.
    #[source]
    pub source: StorageError,
}

impl FoundError {
    /// The file or directory at fault, and whom it is open to, if that is the reason.
    pub fn exposure(&self) -> Option<(&Path, ExposureError)> {
        self.source.exposure().map(|exposure| (self.source.path.as_path(), exposure))
    }
}

/// How a file that does not exist is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// It passes if no other user can make it.
    Checked,
    /// It passes.
    Accepted,
}

/// How strictly a part of a path is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// It was found.
    Found,
    /// It was named, by the user or by a link that passed. It may belong to anyone, unless every user could have put it there.
    Named,
}

/// Requires that a file or directory can be believed although it was found. One that does not exist passes if no other user
/// can make it.
///
/// # Errors
/// Another user could have made or changed it, or still can; it cannot be looked at.
pub fn require_trusted(path: &Path, permissions: Permissions) -> Result<(), FoundError> {
    check(path, permissions, (Reach::Found, Reach::Found), Absent::Checked)
}

/// As [`require_trusted`], for what this process makes or opens itself, and checks again then. One that does not exist passes.
///
/// # Errors
/// Another user could have made or changed it; it cannot be looked at.
pub fn require_trusted_if_there(path: &Path, permissions: Permissions) -> Result<(), FoundError> {
    check(path, permissions, (Reach::Found, Reach::Found), Absent::Accepted)
}

/// Reads a file that passes [`require_trusted`]: at most `limit` bytes; `None` if it does not exist.
///
/// # Errors
/// Another user could have made or changed it; as [`super::read_users_file`].
pub fn read_trusted_file(
    path: &Path,
    limit: usize,
    permissions: Permissions,
) -> Result<Option<Zeroizing<Vec<u8>>>, FoundError> {
    require_trusted_if_there(path, permissions)?;
    // Again when it is open: in a sticky directory, another user could have made it since.
    let safe = |file: &File, stat: &Stat| match permissions {
        Permissions::Checked => exposure::refuse_writable(file, stat, None),
        Permissions::Ignored => Ok(()),
    };
    read_opened(path, limit, safe).map_err(|source| FoundError { path: path.to_owned(), is_absent: false, source })
}

/// As [`require_trusted`], for a program that may be a link: what the link leads to was named by the link's owner, and only
/// has to be in a place where not every user could have put it.
///
/// # Errors
/// As [`require_trusted`].
pub fn require_trusted_program(path: &Path, permissions: Permissions) -> Result<(), FoundError> {
    check(path, permissions, (Reach::Found, Reach::Named), Absent::Checked)
}

/// Requires that a program that is looked for in `PATH` was not put there by just any user. The directories in `PATH` are
/// named by the user, except for relative ones. A program that does not exist passes.
///
/// # Errors
/// Every user could have made or changed it, or it is in a relative directory and fails [`require_trusted_program`].
pub fn require_program_in_path(
    name: &OsStr,
    search_path: Option<&OsStr>,
    permissions: Permissions,
) -> Result<(), FoundError> {
    let Some(found) = find_program(name, search_path) else { return Ok(()) };
    let reach = if found.is_absolute() { Reach::Named } else { Reach::Found };
    check(&found, permissions, (reach, Reach::Named), Absent::Checked)
}

/// Requires that not just any user can put a program into a directory of `PATH`, or into a relative one as
/// [`require_trusted`] says.
///
/// # Errors
/// Another user could do so.
pub fn require_closed_path(search_path: &OsStr, permissions: Permissions) -> Result<(), FoundError> {
    for directory in std::env::split_paths(search_path) {
        let reach = if directory.is_absolute() { Reach::Named } else { Reach::Found };
        match check(&directory.join("."), permissions, (reach, reach), Absent::Checked) {
            // The user cannot look there, and nothing is started from it.
            Err(error) if error.exposure().is_none() => {}
            checked => checked?,
        }
    }
    Ok(())
}

/// Returns the first executable file of this name, as `execvp(3)` finds it.
fn find_program(name: &OsStr, search_path: Option<&OsStr>) -> Option<PathBuf> {
    let mut found = std::env::split_paths(search_path?).map(|directory| directory.join(name));
    found.find(|file| {
        let is_executable = rustix::fs::accessat(CWD, file, rustix::fs::Access::EXEC_OK, AtFlags::empty()).is_ok();
        is_executable && file.is_file()
    })
}

fn check(
    path: &Path,
    permissions: Permissions,
    (reach, behind_link): (Reach, Reach),
    absent: Absent,
) -> Result<(), FoundError> {
    if permissions == Permissions::Ignored {
        return Ok(());
    }
    let failed = |source| FoundError { path: path.to_owned(), is_absent: false, source };
    let absolute = std::path::absolute(path).map_err(|error| failed(StorageError::new("find", path, error)))?;
    let root = Path::new("/");
    let stat = look_at(root).map_err(failed)?;
    let mut walk = PathWalk {
        owner_of_root: stat.st_uid,
        here: root.to_owned(),
        directory: stat,
        reach,
        behind_link,
        rest: VecDeque::new(),
    };
    walk.push(&absolute);
    let is_there = walk.run().map_err(failed)?;
    match absent {
        Absent::Checked if !is_there => {
            walk.check_directory(true).map_err(|source| FoundError { is_absent: true, ..failed(source) })
        }
        _ => Ok(()),
    }
}

/// The way along a path.
struct PathWalk {
    /// Root's number as this process sees it. In a user namespace, as in a run, this may be the number of all unknown users.
    owner_of_root: u32,
    /// The directory that was reached, without links.
    here: PathBuf,
    directory: Stat,
    reach: Reach,
    /// How to go on behind a link in the last place.
    behind_link: Reach,
    rest: VecDeque<OsString>,
}

impl PathWalk {
    fn push(&mut self, path: &Path) {
        for component in path.components().rev() {
            match component {
                Component::Normal(_) | Component::ParentDir => self.rest.push_front(component.as_os_str().to_owned()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
    }

    /// Goes to the end of the path. Returns false if it does not exist; then it is as far as it could go.
    fn run(&mut self) -> Result<bool, StorageError> {
        let mut links = 0;
        loop {
            self.check_directory(self.rest.is_empty())?;
            let Some(name) = self.rest.pop_front() else { return Ok(true) };
            if name == ".." {
                self.here.pop();
                self.directory = look_at(&self.here)?;
                continue;
            }
            let next = self.here.join(&name);
            let stat = match look_at(&next) {
                Err(error) if error.is_not_found() => return Ok(false),
                stat => stat?,
            };
            self.check_owner(&next, &stat)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    let failed = |error| StorageError::new("follow", &next, error);
                    if links > MAX_LINKS {
                        return Err(failed(rustix::io::Errno::LOOP));
                    }
                    let target = rustix::fs::readlinkat(CWD, &next, Vec::new()).map_err(failed)?;
                    let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                    if self.rest.is_empty() {
                        self.reach = self.behind_link;
                    }
                    if target.is_absolute() {
                        self.here = PathBuf::from("/");
                        self.directory = look_at(&self.here)?;
                    }
                    self.push(&target);
                }
                FileType::Directory => (self.here, self.directory) = (next, stat),
                // Anything below a file does not exist.
                _ => {
                    return if self.is_open(&next, &stat) {
                        Err(refused(&next, exposure::writable(&stat)))
                    } else {
                        Ok(true)
                    };
                }
            }
        }
    }

    /// Refuses a directory in which others can replace what is next on the way, or all of it at its end.
    fn check_directory(&self, is_last: bool) -> Result<(), StorageError> {
        let is_sticky = Mode::from_raw_mode(self.directory.st_mode).contains(Mode::SVTX);
        let is_refused = self.is_open(&self.here, &self.directory) && (is_last || !is_sticky);
        if is_refused { Err(refused(&self.here, exposure::writable(&self.directory))) } else { Ok(()) }
    }

    /// Returns `true` if users can write to it who may not, however far this walk reaches.
    fn is_open(&self, path: &Path, stat: &Stat) -> bool {
        match self.reach {
            Reach::Found => exposure::is_writable(stat, || exposure::has_acl_at(path)),
            Reach::Named => exposure::permissions(stat) & 0o002 != 0,
        }
    }

    /// Refuses what another user owns, where that user could have put it.
    fn check_owner(&self, path: &Path, stat: &Stat) -> Result<(), StorageError> {
        let is_shared = self.is_open(&self.here, &self.directory);
        if self.reach == Reach::Named && !is_shared {
            return Ok(());
        }
        // If others can write to the directory, an unknown owner cannot be taken for root.
        let root = (!is_shared).then_some(self.owner_of_root);
        exposure::refuse_foreign(stat, root).map_err(|exposure| refused(path, exposure))
    }
}

fn refused(path: &Path, exposure: ExposureError) -> StorageError {
    StorageError::new("rely on", path, exposure)
}

/// Returns the state of a file, or of the link itself.
fn look_at(path: &Path) -> Result<Stat, StorageError> {
    rustix::fs::lstat(path).map_err(|error| match error {
        rustix::io::Errno::NOTDIR => StorageError::new("look at", path, io::ErrorKind::NotFound),
        error => StorageError::new("look at", path, error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::fs::symlink;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().expect("a temporary directory"));
            std::fs::create_dir_all(place.path("a/b")).expect("made");
            std::fs::File::create_new(place.path("a/b/file")).expect("made");
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().expect("it is there").join(name)
        }

        fn chmod(&self, name: &str, mode: u32) {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(self.path(name), mode).expect("our own");
        }

        /// Returns the part at fault.
        fn fault(&self, name: &str) -> Option<PathBuf> {
            let error = require_trusted(&self.path(name), Permissions::Checked).err()?;
            Some(error.exposure().expect("others can write to it").0.to_owned())
        }
    }

    #[test]
    fn each_part_of_a_path_is_checked() {
        let place = Place::new();
        assert_eq!(place.fault("a/b/file"), None);
        for (part, mode) in [("a", 0o755), ("a/b", 0o755), ("a/b/file", 0o644)] {
            place.chmod(part, mode | 0o002);
            for name in ["a/b/file", "a/b/none/file", "a/../a/b/./file"] {
                let is_checked = part != "a/b/file" || !name.contains("none");
                assert_eq!(place.fault(name), is_checked.then(|| place.path(part)), "{part}: {name}");
            }
            assert!(require_trusted(&place.path("a/b/file"), Permissions::Ignored).is_ok());
            place.chmod(part, mode);
        }
    }

    #[test]
    fn a_sticky_directory_is_accepted_above_a_file_and_not_as_the_last_part() {
        let place = Place::new();
        place.chmod("a/b", 0o1777);
        assert_eq!(place.fault("a/b/file"), None);
        assert_eq!(place.fault("a/b"), Some(place.path("a/b")));
    }

    #[test]
    fn a_file_that_does_not_exist_passes_where_no_other_user_can_make_it() {
        let place = Place::new();
        symlink("b/none", place.path("a/dangling")).expect("linked");
        let absent = ["a/b/none", "a/b/none/file", "a/dangling"];
        assert!(absent.iter().all(|name| place.fault(name).is_none()));
        place.chmod("a/b", 0o1777);
        for name in absent {
            assert_eq!(place.fault(name), Some(place.path("a/b")), "{name}");
            assert!(require_trusted_if_there(&place.path(name), Permissions::Checked).is_ok(), "{name}");
        }
    }

    #[test]
    fn links_are_followed_and_checked_on_the_way() {
        let place = Place::new();
        symlink("b", place.path("a/relative")).expect("linked");
        symlink(place.path("a/relative/../b/file"), place.path("absolute")).expect("linked");
        symlink("loop", place.path("loop")).expect("linked");
        assert_eq!(place.fault("absolute"), None);
        place.chmod("a/b", 0o777);
        for name in ["absolute", "a/relative/file", "a/relative"] {
            assert_eq!(place.fault(name), Some(place.path("a/b")), "{name}");
        }
        assert!(
            require_trusted(&place.path("loop"), Permissions::Checked).is_err_and(|error| error.exposure().is_none())
        );
    }

    #[test]
    fn the_target_of_a_program_may_be_where_a_group_can_write() {
        let place = Place::new();
        symlink("a/b/file", place.path("program")).expect("linked");
        let check = |name: &str| require_trusted_program(&place.path(name), Permissions::Checked).is_ok();
        place.chmod("a/b", 0o775);
        let is_private = place.fault("a/b").is_none();
        assert_eq!((check("program"), check("a/b/file")), (true, is_private));
        place.chmod("a/b", 0o777);
        assert!(!check("program"), "everyone could have put it there");
    }

    #[test]
    fn programs_are_looked_up_as_the_system_does() {
        let place = Place::new();
        let search = std::env::join_paths([place.path("a"), place.path("a/b")]).expect("no colon");
        let check = || {
            require_program_in_path("file".as_ref(), Some(&search), Permissions::Checked).map_err(|error| error.path)
        };
        place.chmod("a/b", 0o777);
        assert_eq!(check(), Ok(()), "it cannot be executed");
        place.chmod("a/b/file", 0o755);
        assert_eq!(check(), Err(place.path("a/b/file")));
        place.chmod("a/b", 0o1777);
        assert_eq!(check(), Ok(()), "it belongs to the user");
        assert!(require_program_in_path("file".as_ref(), None, Permissions::Checked).is_ok());
    }
}
