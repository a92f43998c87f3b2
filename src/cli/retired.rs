//! Keys that `update identity --rotate` retired, each in a separate file beside the identity file.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::paths::split;
use super::shell::quoted;
use flyte_local::crypto::Recipient;
use flyte_local::storage::{Directory, DirectoryEntry};

const INFIX: &str = ".retired-";

/// Returns the path where an old key of this identity file is kept.
pub(crate) fn path(identity: &Path, old: &Recipient) -> PathBuf {
    let key = old.to_string();
    let mut name = identity.file_name().unwrap_or_default().to_owned();
    name.push(format!("{INFIX}{}", &key[key.len() - 8..]));
    identity.with_file_name(name)
}

/// Hints at old keys for a file that no identity opens: its author may not have known the new key yet.
pub(crate) fn hint(identity: &Path) -> Option<String> {
    let (directory, name) = split(identity)?;
    let entries = Directory::open(directory).and_then(|directory| directory.entries()).unwrap_or_default();
    let mut options: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| match entry {
            DirectoryEntry::File(other) => other.strip_prefix(name)?.starts_with(INFIX).then_some(other),
            DirectoryEntry::Directory(_) | DirectoryEntry::Other(_) => None,
        })
        .map(|other| format!(" --identity {}", quoted(&identity.with_file_name(OsStr::new(&other)))))
        .collect();
    options.sort();
    let all = options.concat();
    (!options.is_empty()).then(|| format!("an old key may open it: --identity {}{all}", quoted(identity)))
}
