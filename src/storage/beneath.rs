//! Opening what lies directly in a directory, without following a link.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

/// Opens `name` in `directory`; a link fails with [`Errno::LOOP`], or, if a directory is wanted, perhaps with
/// [`Errno::NOTDIR`]. Never waits for the other end of a FIFO.
///
/// `name` is one component: with one at a time, a kernel without `openat2` keeps out of links as well as one that has it.
pub(super) fn open(directory: impl AsFd, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        return Err(Errno::INVAL);
    }
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    #[cfg(target_os = "linux")]
    match in_one_call::open(directory.as_fd(), name, flags, mode) {
        None => {}
        Some(opened) => return opened,
    }
    retry_on_intr(|| rustix::fs::openat(&directory, name, flags, mode))
}

/// `true` if the kernel itself refuses to follow links, as far as opening a file has shown.
#[cfg(target_os = "linux")]
pub(super) fn is_in_one_call() -> bool {
    in_one_call::is_there()
}

#[cfg(target_os = "linux")]
mod in_one_call {
    use std::os::fd::{BorrowedFd, OwnedFd};
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{Mode, OFlags, ResolveFlags};
    use rustix::io::{Errno, retry_on_intr};

    static IS_MISSING: AtomicBool = AtomicBool::new(false);

    pub(super) fn is_there() -> bool {
        !IS_MISSING.load(Ordering::Relaxed)
    }

    /// `None` where the kernel has no such call (before 5.6), or a sandbox forbids it: some answer with `EPERM`.
    pub(super) fn open(
        directory: BorrowedFd<'_>,
        name: &str,
        flags: OFlags,
        mode: Mode,
    ) -> Option<Result<OwnedFd, Errno>> {
        if IS_MISSING.load(Ordering::Relaxed) {
            return None;
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match retry_on_intr(|| rustix::fs::openat2(directory, name, flags, mode, resolve)) {
            Err(Errno::NOSYS | Errno::PERM) => {
                IS_MISSING.store(true, Ordering::Relaxed);
                None
            }
            opened => Some(opened),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_has_a_name() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        std::os::unix::fs::symlink("/etc", keep.path().join("link")).expect("a link");
        let directory = rustix::fs::open(keep.path(), OFlags::DIRECTORY, Mode::empty()).expect("it exists");
        for name in ["", ".", "..", "../x", "/etc/passwd", "link", "link/passwd", "a\0b"] {
            assert!(open(&directory, name, OFlags::RDONLY, Mode::empty()).is_err(), "{name:?}");
        }
    }
}
