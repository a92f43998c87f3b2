//! Notices of a vault: one line each, each at most once.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::explain;
use super::ui::Ui;
use flyte_local::vault::{Listener, Notice, VaultError};

/// Returns the listener that prints them.
pub(super) fn listener(ui: Ui, command: String) -> Listener {
    let told = Mutex::new(BTreeSet::new());
    Listener::new(move |notice| {
        let line = words(notice, &command);
        // A run asks for one secret many times.
        let is_new = told.lock().map(|mut told| told.insert(line.clone())).unwrap_or(true);
        if is_new {
            ui.say(&line);
        }
    })
}

fn words(notice: &Notice<'_>, command: &str) -> String {
    match notice {
        Notice::FirstUse { path, changes, fingerprint } => {
            let keys: String = changes.iter().map(|key| format!("\n  {key}")).collect();
            format!(
                "flyte-local: first use of {} on this machine; it is read with the keys that it names. To write, accept them: {command} update vault --accept --expect {fingerprint}{keys}",
                path.display()
            )
        }
        Notice::Changed { path, since } => {
            format!("flyte-local: {} has changed since {since}; to see the difference: {command} check", path.display())
        }
        Notice::Stale(stale) => {
            format!(
                "flyte-local: {stale}; if you expect this, for example after a git checkout: {command} update vault --accept-older"
            )
        }
        Notice::Unremembered(error) => format!(
            "flyte-local: cannot record this version; a later rollback would go unnoticed: {}",
            reasons(error, command)
        ),
        Notice::Unpinned(error) => format!(
            "flyte-local: cannot remember this vault, so anyone who can change it can add authors unnoticed: {}",
            reasons(error, command)
        ),
    }
}

/// An error in one line.
fn reasons(error: &VaultError, command: &str) -> String {
    explain::vault(error, command).reasons().replace('\n', " ")
}
