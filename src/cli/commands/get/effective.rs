//! `get secret --effective`: the secrets that a task sees, of the scopes that apply to it.

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::listing::{Id, report, scope_cell};
use crate::cli::table::{self, Cell, Column, Row};
use flyte_local::secret::{RunScope, SecretId};
use flyte_local::vault::{Seen, Vault};

/// A secret that a task sees, and those of its name that it hides.
#[derive(Serialize)]
struct Effective<'a> {
    id: Id<'a>,
    shadows: Vec<Id<'a>>,
    #[serde(skip)]
    seen: (&'a SecretId, &'a [SecretId]),
}

impl<'a> From<&'a (SecretId, Vec<SecretId>)> for Effective<'a> {
    fn from((id, shadowed): &'a (SecretId, Vec<SecretId>)) -> Self {
        Self { id: id.into(), shadows: shadowed.iter().map(Id::from).collect(), seen: (id, shadowed) }
    }
}

impl Row for Effective<'_> {
    const COLUMNS: &'static [Column] = &[Column::new("name"), Column::new("from"), Column::new("shadows")];

    fn cells(&self) -> Vec<Cell> {
        let (id, shadowed) = self.seen;
        let shadows: Vec<_> = shadowed.iter().map(|id| id.scope.to_string()).collect();
        let shadows = Some(shadows.join("; ")).filter(|shadows| !shadows.is_empty());
        vec![Cell::new(&id.name), scope_cell(&id.scope), Cell::or_dash(shadows)]
    }
}

pub(super) fn show(context: &Context<'_>, vault: &Vault, run: RunScope) -> Result<(), CommandError> {
    let seen = vault.seen(&run)?;
    let (mut secrets, mut refused) = (Vec::new(), Vec::new());
    for Seen { id, shadowed, metadata } in seen {
        match metadata {
            Ok(_) => secrets.push((id, shadowed)),
            Err(error) => refused.push(error),
        }
    }
    let rows: Vec<_> = secrets.iter().map(Effective::from).collect();
    table::print(context.ui, context.output_format, &rows)?;
    if secrets.is_empty() && refused.is_empty() {
        let scopes: Vec<_> = run.walk().iter().map(ToString::to_string).collect();
        context.ui.say(&format!("a task would see no secrets\nsearched: {}", scopes.join("; ")));
        context.ui.hint(&format!("see every scope: {} get secret", context.command));
    }
    report(context, refused)
}
