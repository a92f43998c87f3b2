//! Whom a file or a directory is open to.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{FileType, Stat};

use super::private_group::is_of_private_group;

/// The check of owners and permissions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Permissions {
    /// Files and directories that other users can change are refused.
    #[default]
    Checked,
    /// They say nothing: some file systems have none, and show the same for every file.
    Ignored,
}

/// Why a file or a directory is not relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExposureError {
    /// Its group or everybody can change it, or what is in it.
    #[error("others can write to it (its mode is {mode:04o})")]
    Writable {
        /// Its permissions.
        mode: u32,
    },
    /// Its group or everybody can do something with it, and it is for its owner alone.
    #[error("others can read it (its mode is {mode:04o})")]
    Readable {
        /// Its permissions.
        mode: u32,
    },
    /// It is neither ours nor root's.
    #[error("it belongs to another user (number {owner})")]
    Foreign {
        /// The user's number.
        owner: u32,
    },
}

impl From<ExposureError> for std::io::Error {
    fn from(exposure: ExposureError) -> Self {
        std::io::Error::new(std::io::ErrorKind::PermissionDenied, exposure)
    }
}

/// Refuses a file or directory that another user could have written. Root does not count: it can do anything here anyway.
///
/// A file `within` an accepted directory may have the directory's owner: in a user namespace, which a run enters, that owner
/// is an unknown number.
pub(super) fn refuse_writable(
    file: impl AsFd,
    stat: &Stat,
    within: Option<BorrowedFd<'_>>,
) -> Result<(), ExposureError> {
    if refuse_foreign(stat, None).is_err() {
        let accepted = within.and_then(|parent| rustix::fs::fstat(parent).ok()).map(|parent| parent.st_uid);
        refuse_foreign(stat, accepted)?;
    }
    if is_writable(stat, || has_acl(file)) { Err(writable(stat)) } else { Ok(()) }
}

/// Returns `true` if users other than the owner and root can write to it. `has_acl` is as in [`is_of_private_group`].
pub(super) fn is_writable(stat: &Stat, has_acl: impl FnOnce() -> bool) -> bool {
    let mode = permissions(stat);
    mode & 0o002 != 0 || mode & 0o020 != 0 && !is_of_private_group(stat, has_acl)
}

/// The error for a file or directory that others can write to.
pub(super) fn writable(stat: &Stat) -> ExposureError {
    ExposureError::Writable { mode: permissions(stat) }
}

/// The extended attribute of an access control list.
#[cfg(target_os = "linux")]
const ACL: &str = "system.posix_acl_access";

#[cfg(target_os = "linux")]
fn has_acl(file: impl AsFd) -> bool {
    rustix::fs::fgetxattr(file, ACL, &mut [0_u8; 0][..]).is_ok()
}

/// As above, for something that is not open. A link is not followed.
#[cfg(target_os = "linux")]
pub(super) fn has_acl_at(path: &Path) -> bool {
    rustix::fs::lgetxattr(path, ACL, &mut [0_u8; 0][..]).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn has_acl(_: impl AsFd) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
pub(super) fn has_acl_at(_: &Path) -> bool {
    false
}

/// Refuses a regular file that another user could have read. A pipe is not refused: its permissions do not say who could
/// read its content.
pub(super) fn refuse_readable(stat: &Stat) -> Result<(), ExposureError> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(());
    }
    refuse_foreign(stat, None)?;
    let mode = permissions(stat);
    if mode & 0o077 != 0 { Err(ExposureError::Readable { mode }) } else { Ok(()) }
}

pub(super) fn refuse_foreign(stat: &Stat, accepted: Option<u32>) -> Result<(), ExposureError> {
    let owner = stat.st_uid;
    let known = owner == 0 || owner == rustix::process::geteuid().as_raw() || Some(owner) == accepted;
    if known { Ok(()) } else { Err(ExposureError::Foreign { owner }) }
}

/// `st_mode` has 16 bits on some systems.
#[allow(clippy::useless_conversion, reason = "macOS needs the conversion")]
pub(super) fn permissions(stat: &Stat) -> u32 {
    u32::from(stat.st_mode) & 0o7777
}
