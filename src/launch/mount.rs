//! A directory that only this process and its children see: an empty memory file system in a mount namespace of our own.
//!
//! An ordinary user enters a user namespace first, in which they keep their own user and group id. The mount point need
//! not exist on the host, and nothing is made there: a missing one is made in a copy of its parent, another memory file
//! system in which everything the parent holds is bound under its own name.
//!
//! Children see the directory read-only, as on a cluster; the writable side is a handle that this process keeps.

use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const READ_ONLY: MountFlags = MountFlags::BIND.union(MountFlags::RDONLY).union(SAFE);
const TEMPORARY: &str = ".tmp";

/// Why there is no private directory.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel, or the container we run in, does not let this user have a namespace of their own.
    #[error("this system does not let this user make a private mount")]
    Forbidden(#[source] io::Error),
    /// A step failed.
    #[error("cannot {action} {}", path.display())]
    Step {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl MountError {
    /// Whether a file stands where a directory is needed.
    pub fn is_not_a_directory(&self) -> bool {
        matches!(self, MountError::Step { source, .. } if source.kind() == io::ErrorKind::NotADirectory)
    }
}

fn step(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(Errno) -> MountError {
    let path = path.as_ref().to_owned();
    move |error| MountError::Step { action, path, source: error.into() }
}

/// The writable side of a private directory.
#[derive(Debug)]
pub struct PrivateDirectory {
    fd: OwnedFd,
    path: PathBuf,
}

impl PrivateDirectory {
    /// Enters a mount namespace in which `target`, an absolute path, is an empty directory.
    ///
    /// Call it before any thread starts: the kernel refuses a user namespace to a process with several. And try it in a
    /// child first: some systems let a process into the namespace and then forbid it everything there, which is no state
    /// to go on from.
    ///
    /// # Errors
    /// [`MountError::Forbidden`] if the kernel refused the namespace, with nothing changed; a failed step leaves this
    /// process in the namespace, with the directory not there.
    pub fn enter(target: &Path) -> Result<Self, MountError> {
        enter_namespace()?;
        rustix::mount::mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
            .map_err(step("make private the mounts below", "/"))?;
        make_mount_point(target)?;
        mount_memory(target, c"mode=0700")?;
        let fd = rustix::fs::open(target, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(step("open", target))?;
        // A second mount of the same file system, above the first: what is seen by path is read-only, while the handle
        // on the first one still writes.
        rustix::mount::mount_bind(target, target).map_err(step("bind", target))?;
        make_read_only(target)?;
        Ok(Self { fd, path: target.to_owned() })
    }

    /// Writes a file, mode 0400, replacing at once what is there; `path` is its components, plain names each. A directory
    /// that is in its place goes, with the files in it.
    ///
    /// # Errors
    /// As `mkdirat(2)`, `openat(2)`, `write(2)` and `renameat(2)`.
    pub fn write(&self, path: &[&str], bytes: &[u8]) -> Result<(), MountError> {
        let full = self.path.join(path.join("/"));
        let Some((name, parents)) = path.split_last() else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = rustix::fs::openat(&self.fd, ".", flags, Mode::empty()).map_err(step("open", &full))?;
        for parent in parents {
            match rustix::fs::mkdirat(&directory, *parent, Mode::RWXU) {
                // The umask may have taken our own permissions away.
                Ok(()) => rustix::fs::chmodat(&directory, *parent, Mode::RWXU, AtFlags::empty())
                    .map_err(step("create", &full))?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(step("create", &full)(error)),
            }
            directory = rustix::fs::openat(&directory, *parent, flags, Mode::empty()).map_err(step("open", &full))?;
        }
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&directory, TEMPORARY, create, Mode::RUSR)
            .and_then(|file| rustix::fs::fchmod(&file, Mode::RUSR).map(|()| file))
            .map_err(step("write", &full))?;
        let written = std::fs::File::from(file).write_all(bytes);
        let rename = || rustix::fs::renameat(&directory, TEMPORARY, &directory, *name);
        let renamed = match written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)) {
            Ok(()) => match rename() {
                Err(Errno::ISDIR) => remove_directory(&directory, name).and_then(|()| rename()),
                renamed => renamed,
            },
            failed => failed,
        };
        if renamed.is_err() {
            // The write's own error is the one to tell.
            let _ = rustix::fs::unlinkat(&directory, TEMPORARY, AtFlags::empty());
        }
        renamed.map_err(step("write", &full))
    }
}

/// Removes a directory that holds files alone.
fn remove_directory(parent: &OwnedFd, name: &str) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    for entry in rustix::fs::Dir::read_from(&directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            rustix::fs::unlinkat(&directory, entry.file_name(), AtFlags::empty())?;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

fn enter_namespace() -> Result<(), MountError> {
    match unshare(UnshareFlags::NEWNS) {
        Err(Errno::PERM) => {}
        entered => return entered.map_err(|error| MountError::Forbidden(error.into())),
    }
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).map_err(|error| {
        MountError::Forbidden(match error {
            // What the kernel calls "no space left on device".
            Errno::NOSPC => io::Error::other("the limit user.max_user_namespaces is reached"),
            error => error.into(),
        })
    })?;
    // An unprivileged process may map its own group only after giving up setgroups(2).
    write_map("/proc/self/setgroups", "deny")?;
    write_map("/proc/self/uid_map", &format!("{uid} {uid} 1"))?;
    write_map("/proc/self/gid_map", &format!("{gid} {gid} 1"))
}

#[expect(deprecated, reason = "deprecated for CLONE_FILES, which is not among our flags; the other one needs unsafe")]
fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    rustix::thread::unshare(flags)
}

fn write_map(path: &str, content: &str) -> Result<(), MountError> {
    let fd = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(step("open", path))?;
    rustix::io::write(fd, content.as_bytes()).map(|_| ()).map_err(step("write", path))
}

/// Makes sure that `target` is a directory, without making it on the host.
fn make_mount_point(target: &Path) -> Result<(), MountError> {
    if target.is_dir() {
        return Ok(());
    }
    let missing = step("find a directory above", target);
    let parent = target.ancestors().find(|ancestor| ancestor.is_dir());
    // A copy of the root is no copy of a directory any more.
    let parent = parent.filter(|parent| *parent != Path::new("/")).ok_or_else(|| missing(Errno::NOENT))?;
    copy_to_memory(parent)?;
    std::fs::create_dir_all(target).map_err(|source| MountError::Step {
        action: "create",
        path: target.to_owned(),
        source,
    })?;
    make_read_only(parent)
}

/// Covers a directory with a memory file system that holds the same: files and directories bound, links copied.
fn copy_to_memory(directory: &Path) -> Result<(), MountError> {
    let io_step = |action, path: &Path| {
        let path = path.to_owned();
        move |source| MountError::Step { action, path, source }
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let original = rustix::fs::open(directory, flags, Mode::empty()).map_err(step("open", directory))?;
    let entries = std::fs::read_dir(directory).map_err(io_step("list", directory))?;
    let entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(io_step("list", directory))?;
    mount_memory(directory, c"mode=0755")?;
    // The covered directory is still reached through the handle.
    let covered = PathBuf::from(format!("/proc/self/fd/{}", original.as_raw_fd()));
    for entry in entries {
        let (source, target) = (covered.join(entry.file_name()), directory.join(entry.file_name()));
        let kind = entry.file_type().map_err(io_step("look at", &target))?;
        if kind.is_symlink() {
            let link = std::fs::read_link(&source).map_err(io_step("read", &target))?;
            symlink(link, &target).map_err(io_step("copy", &target))?;
            continue;
        }
        if kind.is_dir() {
            rustix::fs::mkdirat(CWD, &target, Mode::RWXU).map_err(step("create", &target))?;
        } else {
            let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, &target, create, Mode::RUSR).map_err(step("create", &target))?;
        }
        match rustix::mount::mount_bind_recursive(&source, &target) {
            // It went away meanwhile.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(step("bind", &target)(error)),
        }
    }
    Ok(())
}

fn mount_memory(target: &Path, options: &CStr) -> Result<(), MountError> {
    // Never to swap, where the kernel lets us say so: it does as root since Linux 6.4, and never in a user namespace.
    let unswapped = CString::new([options.to_bytes(), b",noswap"].concat()).expect("our own text has no NUL");
    let mounted = match rustix::mount::mount("tmpfs", target, "tmpfs", SAFE, unswapped.as_c_str()) {
        Err(Errno::INVAL | Errno::PERM) => rustix::mount::mount("tmpfs", target, "tmpfs", SAFE, options),
        mounted => mounted,
    };
    mounted.map_err(step("mount a memory file system on", target))
}

fn make_read_only(target: &Path) -> Result<(), MountError> {
    rustix::mount::mount_remount(target, READ_ONLY, c"").map_err(step("make read-only", target))
}
