//! The keyring of Linux: keys of the type `user`, because no process can read those of the type `logon`.

use linux_keyutils::{Key, KeyError, KeyPermissionsBuilder, KeyRing, KeyRingIdentifier, KeyType, LinkNode, Permission};
use zeroize::Zeroizing;

use super::KeyringError;

/// The most that a key of this type holds.
const MAX_BYTES: usize = 32767;

/// `ENOSYS`, for which the crate has no name.
const NO_SUCH_CALL: i32 = 38;

pub(super) fn keep(name: &str, payload: &[u8], seconds: usize) -> Result<(), KeyringError> {
    // Made in the keyring of this process, which dies with it: a key is in the user's only once it has its time limit.
    let mine = KeyRing::from_special_id(KeyRingIdentifier::Process, true).map_err(failed)?;
    let key = mine.add_key(name, payload).map_err(failed)?;
    let kept = (|| {
        let all = KeyPermissionsBuilder::builder().posessor(Permission::ALL).user(Permission::ALL).build();
        key.set_perms(all)?;
        key.set_timeout(seconds)?;
        users()?.link_key(key)
    })();
    let _ = mine.unlink_key(key);
    kept.map_err(failed)
}

pub(super) fn find(name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
    let Some(key) = search(name)? else { return Ok(None) };
    let mut payload = Zeroizing::new(vec![0; MAX_BYTES]);
    match key.read(&mut *payload) {
        // The kernel tells the length of the whole, however much of it there was room for.
        Ok(length) if length <= MAX_BYTES => {
            payload.truncate(length);
            Ok(Some(payload))
        }
        Ok(_) => Ok(None),
        Err(error) if is_gone(error) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// More keys than a user may have, unless they are root: the crate reads no more than a quarter of these.
const MOST_KEYS: usize = 1 << 18;

pub(super) fn drop_all(is_meant: &dyn Fn(&str) -> bool) -> Result<usize, KeyringError> {
    let links = match users().and_then(|users| users.get_links(MOST_KEYS)) {
        Err(error) if is_gone(error) => return Ok(0),
        links => links.map_err(failed)?,
    };
    let mut dropped = 0;
    for key in links.iter().filter_map(LinkNode::as_key) {
        // One that cannot be looked at is not ours.
        if key.metadata().is_ok_and(|about| about.get_type() == KeyType::User && is_meant(about.get_description())) {
            dropped += usize::from(unlink(key)?);
        }
    }
    Ok(dropped)
}

pub(super) fn drop(name: &str) -> Result<bool, KeyringError> {
    search(name)?.map_or(Ok(false), unlink)
}

fn unlink(key: Key) -> Result<bool, KeyringError> {
    match users().and_then(|users| users.unlink_key(key)) {
        Ok(()) => {
            // It may be linked elsewhere too.
            let _ = key.invalidate();
            Ok(true)
        }
        Err(error) if is_gone(error) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn users() -> Result<KeyRing, KeyError> {
    KeyRing::from_special_id(KeyRingIdentifier::User, true)
}

fn search(name: &str) -> Result<Option<Key>, KeyringError> {
    match users().and_then(|users| users.search(name)) {
        Ok(key) => Ok(Some(key)),
        Err(error) if is_gone(error) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Returns `true` if the key is gone, or never was.
fn is_gone(error: KeyError) -> bool {
    matches!(error, KeyError::KeyDoesNotExist | KeyError::KeyExpired | KeyError::KeyRevoked)
}

fn failed(error: KeyError) -> KeyringError {
    match error {
        KeyError::PermissionDenied => KeyringError::Unavailable("operation not permitted".to_owned()),
        KeyError::Unknown(NO_SUCH_CALL) => KeyringError::Unavailable("function not implemented".to_owned()),
        KeyError::QuotaExceeded => {
            KeyringError::Failed("the user has as many keys as the limits in /proc/sys/kernel/keys allow".to_owned())
        }
        KeyError::Unknown(number) => KeyringError::Failed(format!("error {number}")),
        error => KeyringError::Failed(format!("{error:?}")),
    }
}
