//! `get secret --effective`: what a task sees of the scopes that apply to it.

use serde_json::{Value, json};

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::listing::{id_to_json, report};
use crate::cli::table;
use flyte_local::secret::{RunScope, SecretId};
use flyte_local::vault::{Seen, Vault};

pub(super) fn show(context: &Context<'_>, vault: &Vault, run: RunScope) -> Result<(), CommandError> {
    let seen = vault.seen(&run)?;
    let (mut secrets, mut refused) = (Vec::new(), Vec::new());
    for Seen { id, shadowed, metadata } in seen {
        match metadata {
            Ok(_) => secrets.push((id, shadowed)),
            Err(error) => refused.push(error),
        }
    }
    let cells: Vec<_> = secrets.iter().map(to_cells).collect();
    let json = secrets.iter().map(to_json).collect();
    let text = table::formatted(context.output_format, ["name", "from", "shadows"], &cells, &json);
    context.ui.data(text.as_bytes())?;
    if secrets.is_empty() && refused.is_empty() {
        let scopes: Vec<_> = run.walk().iter().map(ToString::to_string).collect();
        context.ui.say(&format!("a task would see no secrets\nsearched: {}", scopes.join("; ")));
        context.ui.hint(&format!("see every scope: {} get secret", context.command));
    }
    report(context, refused)
}

fn to_json((id, shadowed): &(SecretId, Vec<SecretId>)) -> Value {
    json!({ "id": id_to_json(id), "shadows": shadowed.iter().map(id_to_json).collect::<Value>() })
}

fn to_cells((id, shadowed): &(SecretId, Vec<SecretId>)) -> [String; 3] {
    let shadows: Vec<_> = shadowed.iter().map(|id| id.scope.to_string()).collect();
    let shadows = if shadows.is_empty() { "-".to_owned() } else { shadows.join("; ") };
    [id.name.to_string(), id.scope.to_string(), shadows]
}
