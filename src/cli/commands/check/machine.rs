//! The parts of this machine outside the vault.

use super::finding::Finding;
use crate::cli::context::Context;
use crate::cli::environment::runtime_directory;
use crate::cli::error::{CommandError, Exit};
use crate::cli::files::{FileSupport, User};
use crate::cli::identity_place::IdentityPlace;
use crate::cli::paths::split;
use crate::cli::shell::quoted;
use flyte_local::flyte::SECRETS_DIRECTORY;
use flyte_local::storage::{Directory, System};
use std::collections::BTreeSet;

/// Finds temporary files left by interrupted writes of identities and signing keys. They may hold a private key that its owner
/// believes to be gone, or to be protected by a passphrase.
pub(super) fn leftovers(context: &Context<'_>) -> Vec<Finding> {
    let identities = context.identity_places().unwrap_or_default();
    let files = identities.iter().filter_map(IdentityPlace::path).chain(context.author_path());
    let directories: BTreeSet<_> = files.filter_map(split).map(|(directory, _)| directory).collect();
    let opened = directories.into_iter().filter_map(|directory| Directory::open(directory).ok());
    let left: BTreeSet<_> = opened.flat_map(|directory| directory.leftovers()).collect();
    let told = left.iter().map(|path| {
        let message =
            format!("{} is a temporary file left by an interrupted write, and may hold a private key", path.display());
        let error = CommandError::new(Exit::Refused, message);
        Finding::new(context, "leftover", Err(error.hint(format!("remove it: rm {}", quoted(path)))))
    });
    told.collect()
}

/// Describes what the system does to protect the vault's files and values in memory. flyte-local works without all of it.
pub(super) fn system(context: &Context<'_>) -> Finding {
    let System { opens_beneath, open_swaps } = System::look();
    let opens = if opens_beneath { "openat2" } else { "no openat2: flyte-local opens paths one component at a time" };
    let swap = match &open_swaps[..] {
        [] => "no unencrypted swap".to_owned(),
        swaps => format!("unencrypted swap, to which values in memory may be written: {}", swaps.join(", ")),
    };
    Finding::new(context, "system", Ok(format!("{opens}; {swap}")))
}

pub(super) fn file_secrets(context: &Context<'_>) -> Finding {
    const WHAT: &str = "file secrets";
    let runtime = match runtime_directory() {
        Ok(runtime) => runtime,
        Err(error) => return Finding::new(context, WHAT, Err(error)),
    };
    match FileSupport::probe(context.own_spawner(), User::Task, runtime.as_deref()) {
        FileSupport::Mount => Finding::new(context, WHAT, Ok(format!("private mount at {SECRETS_DIRECTORY}"))),
        FileSupport::Memory(directory) => {
            let _removal = directory.removal();
            let (base, is_linked) = directory.base();
            let link = if is_linked { "link made" } else { "link not made" };
            let state = format!("memory-backed directory in {} ({link})", base.display());
            Finding { hint: directory.lacks_link(), ..Finding::new(context, WHAT, Ok(state)) }
        }
        FileSupport::Nowhere { reason, hints } => {
            let error = CommandError::new(Exit::Failed, format!("unavailable: {reason}"));
            Finding::new(context, WHAT, Err(hints.into_iter().fold(error, CommandError::hint)))
        }
    }
}
