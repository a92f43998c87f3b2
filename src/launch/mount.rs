//! A directory that only this process and its children see: an empty memory file system in a mount namespace of our own.
//!
//! An ordinary user enters a user namespace first, in which they keep their own user and group id. The mount point need
//! not exist on the host, and nothing is made there: a missing one is made in a copy of its parent, another memory file
//! system in which everything the parent holds is bound under its own name.
//!
//! Children see the directory read-only, as on a cluster; the writable side is a handle that this process keeps.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::UnshareFlags;

use super::directory::{DirectoryError, PrivateDirectory, step};
use super::dumps::while_dumpable;

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const READ_ONLY: MountFlags = MountFlags::BIND.union(MountFlags::RDONLY).union(SAFE);

impl PrivateDirectory {
    /// Enters a mount namespace in which `target`, an absolute path, is an empty directory.
    ///
    /// Call it before any thread starts: the kernel refuses a user namespace to a process with several. And try it in a
    /// child first: some systems let a process into the namespace and then forbid it everything there, and the process
    /// cannot leave again.
    ///
    /// # Errors
    /// [`DirectoryError::Forbidden`] if the kernel refused the namespace, with nothing changed; a failed step leaves this
    /// process in the namespace, with the directory not there.
    pub fn enter(target: &Path) -> Result<Self, DirectoryError> {
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
}

fn enter_namespace() -> Result<(), DirectoryError> {
    match unshare(UnshareFlags::NEWNS) {
        Err(Errno::PERM) => {}
        entered => return entered.map_err(|error| DirectoryError::Forbidden(error.into())),
    }
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).map_err(|error| {
        DirectoryError::Forbidden(match error {
            // The kernel's own text is "no space left on device".
            Errno::NOSPC => io::Error::other("the limit user.max_user_namespaces is reached"),
            error => error.into(),
        })
    })?;
    // An unprivileged process may map its own group only after giving up setgroups(2).
    while_dumpable(|| {
        write_map("/proc/self/setgroups", "deny")?;
        write_map("/proc/self/uid_map", &format!("{uid} {uid} 1"))?;
        write_map("/proc/self/gid_map", &format!("{gid} {gid} 1"))
    })
}

#[expect(deprecated, reason = "deprecated for CLONE_FILES, which is not among our flags; the other one needs unsafe")]
fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    rustix::thread::unshare(flags)
}

fn write_map(path: &str, content: &str) -> Result<(), DirectoryError> {
    let fd = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(step("open", path))?;
    rustix::io::write(fd, content.as_bytes()).map(|_| ()).map_err(step("write", path))
}

/// Makes sure that `target` is a directory, without making it on the host. A symlink does not count, wherever it leads: when
/// the directory at its end is removed, the mount goes with it.
fn make_mount_point(target: &Path) -> Result<(), DirectoryError> {
    if target.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let missing = step("find a directory above", target);
    let parent = target.ancestors().skip(1).find(|ancestor| ancestor.is_dir());
    // The root cannot be covered by a copy of itself.
    let parent = parent.filter(|parent| *parent != Path::new("/")).ok_or_else(|| missing(Errno::NOENT))?;
    copy_to_memory(parent, target)?;
    std::fs::create_dir_all(target).map_err(|source| DirectoryError::Step {
        action: "create",
        path: target.to_owned(),
        source,
    })?;
    make_read_only(parent)
}

/// Covers a directory with a memory file system that holds the same, save for a link in the place of `mount_point`: files
/// and directories bound, links copied.
fn copy_to_memory(directory: &Path, mount_point: &Path) -> Result<(), DirectoryError> {
    let io_step = |action, path: &Path| {
        let path = path.to_owned();
        move |source| DirectoryError::Step { action, path, source }
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
        if kind.is_symlink() && target == mount_point {
            continue;
        }
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
            // It was removed in the meantime.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(step("bind", &target)(error)),
        }
    }
    Ok(())
}

fn mount_memory(target: &Path, options: &CStr) -> Result<(), DirectoryError> {
    // Keeps the memory out of swap. The kernel allows it for root since Linux 6.4, and never in a user namespace.
    let unswapped = CString::new([options.to_bytes(), b",noswap"].concat()).expect("our own text has no NUL");
    let mounted = match rustix::mount::mount("tmpfs", target, "tmpfs", SAFE, unswapped.as_c_str()) {
        Err(Errno::INVAL | Errno::PERM) => rustix::mount::mount("tmpfs", target, "tmpfs", SAFE, options),
        mounted => mounted,
    };
    mounted.map_err(step("mount a memory file system on", target))
}

fn make_read_only(target: &Path) -> Result<(), DirectoryError> {
    rustix::mount::mount_remount(target, READ_ONLY, c"").map_err(step("make read-only", target))
}
