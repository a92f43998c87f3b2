//! Whom a file or a directory is open to.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};

/// Whether owners and permissions count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Permissions {
    /// What others can change is refused.
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
        /// Whose it is.
        owner: u32,
    },
}

impl From<ExposureError> for std::io::Error {
    fn from(exposure: ExposureError) -> Self {
        std::io::Error::new(std::io::ErrorKind::PermissionDenied, exposure)
    }
}

/// Refuses what somebody else could have written. Root is nobody else: who has its rights has ours.
///
/// What is `within` a directory that was accepted may have its owner. Such a one is seen as nobody's in a user namespace,
/// which a run enters.
pub(super) fn refuse_writable(stat: &Stat, within: Option<impl AsFd>) -> Result<(), ExposureError> {
    let accepted = within.and_then(|parent| rustix::fs::fstat(parent).ok()).map(|parent| parent.st_uid);
    refuse_foreign(stat, accepted)?;
    let mode = permissions(stat);
    let others = if is_of_private_group(stat) { 0o002 } else { 0o022 };
    if mode & others != 0 { Err(ExposureError::Writable { mode }) } else { Ok(()) }
}

/// Whether its group is one that most systems make for each user, with the user's number and no other member: there, what
/// is made is open to that group, by the umask.
fn is_of_private_group(stat: &Stat) -> bool {
    stat.st_uid != 0 && stat.st_uid == rustix::process::geteuid().as_raw() && stat.st_gid == stat.st_uid
}

/// Refuses a regular file that somebody else could have read. A pipe has no permissions to speak of: who can open it is
/// not who can read what was in it.
pub(super) fn refuse_readable(stat: &Stat) -> Result<(), ExposureError> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(());
    }
    refuse_foreign(stat, None)?;
    let mode = permissions(stat);
    if mode & 0o077 != 0 { Err(ExposureError::Readable { mode }) } else { Ok(()) }
}

fn refuse_foreign(stat: &Stat, accepted: Option<u32>) -> Result<(), ExposureError> {
    let owner = stat.st_uid;
    let known = owner == 0 || owner == rustix::process::geteuid().as_raw() || Some(owner) == accepted;
    if known { Ok(()) } else { Err(ExposureError::Foreign { owner }) }
}

/// `st_mode` has 16 bits on some systems.
#[allow(clippy::useless_conversion, reason = "it is none on macOS")]
fn permissions(stat: &Stat) -> u32 {
    u32::from(stat.st_mode) & 0o7777
}
