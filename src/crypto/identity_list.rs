//! A file of several identities, and the keys in it that are passed over.

use std::fmt;

use zeroize::Zeroizing;

use super::{ForeignKey, Identity, IdentityError, MAX_IDENTITIES};

/// The identities in a file.
pub(super) struct IdentityList {
    /// At least one.
    pub(super) identities: Vec<Identity>,
    /// The other keys in the file, in its order.
    pub(super) passed_over: Vec<PassedOver>,
}

/// A key in a file of identities that is not used, beside others that are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Its first line, from 1.
    pub line: usize,
    /// Why it is not used.
    pub reason: IdentityError,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// Parses a file: one age identity a line, `#` starts a comment, and blocks from `-----BEGIN ` to `-----END `, each of which
/// `block` parses. Keys of other kinds are passed over if any key can be used.
///
/// # Errors
/// A line that is not a key; no key that can be used.
pub(super) fn parse(
    text: &str,
    block: impl Fn(&str, usize) -> Result<Identity, IdentityError>,
) -> Result<IdentityList, IdentityError> {
    let mut list = IdentityList { identities: Vec::new(), passed_over: Vec::new() };
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let (line, number) = (line.trim(), index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if list.identities.len() + list.passed_over.len() == MAX_IDENTITIES {
            return Err(IdentityError::TooMany);
        }
        let parsed = if line.starts_with("-----BEGIN ") || line.starts_with("---- BEGIN ") {
            // It may be a private key, so its copy is allocated once.
            let mut whole = Zeroizing::new(String::with_capacity(text.len() + 1));
            whole.push_str(line);
            for (_, line) in lines.by_ref() {
                whole.push('\n');
                whole.push_str(line.trim());
                if line.trim_start().trim_start_matches('-').trim_start().starts_with("END ") {
                    break;
                }
            }
            whole.push('\n');
            block(&whole, number)
        } else {
            let parsed = one(line, number);
            // Such a file has no end but its own.
            if line.starts_with("PuTTY-User-Key-File-") {
                lines.by_ref().for_each(drop);
            }
            // Minisign's and signify's key is in the next line.
            if line.starts_with("untrusted comment:") {
                let _ = lines.next();
            }
            parsed
        };
        match parsed {
            Ok(identity) => list.identities.push(identity),
            Err(reason) if is_of_another_kind(&reason) => list.passed_over.push(PassedOver { line: number, reason }),
            Err(reason) => return Err(reason),
        }
    }
    match list.passed_over.first() {
        Some(first) if list.identities.is_empty() => Err(first.reason.clone()),
        None if list.identities.is_empty() => Err(IdentityError::Empty),
        _ => Ok(list),
    }
}

/// Parses one line.
fn one(line: &str, number: usize) -> Result<Identity, IdentityError> {
    const START: &str = "AGE-SECRET-KEY-1";
    if line.starts_with(START) {
        return Identity::parse_key(line).ok_or(IdentityError::Line { line: number });
    }
    // As age does: bech32 would have it in lower case too.
    if line.get(..START.len()).is_some_and(|start| start.eq_ignore_ascii_case(START)) {
        return Err(IdentityError::LowerCase { line: number });
    }
    if let Some(key) = ForeignKey::of(line) {
        return Err(IdentityError::Foreign(key));
    }
    let is_public = ["age1", "ssh-", "ecdsa-", "sk-"].iter().any(|start| line.starts_with(start));
    Err(if is_public { IdentityError::PublicKey } else { IdentityError::Line { line: number } })
}

/// Returns true for a key that is whole, as far as it can be seen, and of a kind that is not used.
fn is_of_another_kind(reason: &IdentityError) -> bool {
    matches!(
        reason,
        IdentityError::Foreign(_)
            | IdentityError::PublicKey
            | IdentityError::KeyType(_)
            | IdentityError::KeyFormat(_)
            | IdentityError::Cipher(_)
            | IdentityError::LockedBesideOthers
    )
}
