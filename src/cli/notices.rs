//! What a vault tells that is no error: one line each, and each only once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::error::{CliError, harmless, scope_flags};
use super::ui::Ui;
use flyte_local::vault::{Listen, Notice};

/// Who prints them.
pub(super) fn listener(ui: Ui, command: String) -> Arc<Listen> {
    let told = Mutex::new(HashSet::new());
    Arc::new(move |notice| {
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
        Notice::FirstUse { path, authors, recipients } => {
            let authors: Vec<_> = authors.iter().map(|author| format!("{:?} {}", author.name, author.key)).collect();
            let recipients: Vec<_> = recipients.iter().map(|known| format!("{:?} {}", known.name, known.key)).collect();
            let list = |all: Vec<String>| if all.is_empty() { "nobody".to_owned() } else { all.join(", ") };
            harmless(&format!(
                "flyte-local: first use of {} here: written by {}; encrypted to {}",
                path.display(),
                list(authors),
                list(recipients)
            ))
        }
        Notice::Stale(stale) => {
            let (name, scope) = (&stale.id.name, scope_flags(&stale.id.scope));
            let accept = match stale.found {
                Some(_) => format!("update secret {name}{scope} --adopt"),
                None => format!("delete secret {name}{scope}"),
            };
            harmless(&format!("flyte-local: {stale}; to accept that: {command} {accept}"))
        }
        Notice::Unremembered(error) => {
            let error = CliError::from_vault(error, command);
            let reasons: Vec<_> =
                std::iter::once(error.message()).chain(error.causes().iter().map(String::as_str)).collect();
            harmless(&format!(
                "flyte-local: what is seen of this vault is not remembered, so an older or other one would not be noticed: {}",
                reasons.join(": ")
            ))
            .replace('\n', " ")
        }
    }
}
