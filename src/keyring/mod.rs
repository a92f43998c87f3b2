//! Values kept for a limited time in the user's keyring of the Linux kernel, and never in a file.
//!
//! It is in the user keyring (`@u`): every session of the user sees it, and it outlasts all of them, until its time is up or the
//! machine restarts. The session keyring would be gone with the login, but in many systems it is a terminal's own, or none.
//! Every process of the user can read what is there, so there is nothing to gain by granting its possessor alone, and
//! services would have no part in it.

#[cfg(target_os = "linux")]
mod kernel;
#[cfg(not(target_os = "linux"))]
#[path = "no_kernel.rs"]
mod kernel;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

/// Why the keyring does not serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The system has none, or forbids it, as many containers do.
    #[error("this system has no kernel keyring, or forbids it: {0}")]
    Unavailable(String),
    /// Another refusal of the kernel's.
    #[error("the kernel's keyring failed: {0}")]
    Failed(String),
}

/// Something that is kept.
#[derive(Debug)]
pub struct Kept {
    /// The bytes that were stored.
    pub payload: Zeroizing<Vec<u8>>,
    /// How long it will be there.
    pub left: Duration,
}

/// The bytes of the time, in seconds since 1970, at which it ends: the kernel shows it in `/proc/keys` alone, which
/// containers hide.
const DEADLINE_BYTES: usize = 8;

/// Keeps `payload` under `name` for so long, in the place of what is there.
///
/// # Errors
/// See [`KeyringError`].
pub fn keep(name: &str, payload: &[u8], time: Duration) -> Result<(), KeyringError> {
    let seconds = time.as_secs().max(1);
    let deadline = (now().as_secs() + seconds).to_be_bytes();
    let mut whole = Zeroizing::new(Vec::with_capacity(DEADLINE_BYTES + payload.len()));
    whole.extend_from_slice(&deadline);
    whole.extend_from_slice(payload);
    kernel::keep(name, &whole, usize::try_from(seconds).unwrap_or(usize::MAX))
}

/// Returns the value kept under `name`; `None` if there is none, or its time is up.
///
/// # Errors
/// See [`KeyringError`].
pub fn find(name: &str) -> Result<Option<Kept>, KeyringError> {
    let Some(whole) = kernel::find(name)? else { return Ok(None) };
    let Some((deadline, payload)) = whole.split_first_chunk::<DEADLINE_BYTES>() else { return Ok(None) };
    let left = Duration::from_secs(u64::from_be_bytes(*deadline)).saturating_sub(now());
    let kept = Kept { payload: Zeroizing::new(payload.to_vec()), left };
    Ok((!left.is_zero()).then_some(kept))
}

/// Drops what is kept under `name`; whether there was anything.
///
/// # Errors
/// See [`KeyringError`].
pub fn drop(name: &str) -> Result<bool, KeyringError> {
    kernel::drop(name)
}

/// Drops all that is kept under a name that `is_meant` accepts; how many there were.
///
/// # Errors
/// See [`KeyringError`].
pub fn drop_all(is_meant: impl Fn(&str) -> bool) -> Result<usize, KeyringError> {
    kernel::drop_all(&is_meant)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
