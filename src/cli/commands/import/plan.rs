//! The plan of an import: the action on each secret, known before the first is written.

use serde::Serialize;

use super::selection::Incoming;
use super::source::ImportSource;
use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::listing::{Id, action_cell, scope_cell};
use crate::cli::secret_reader::SecretReader;
use crate::cli::table::{self, Cell, Column, Row};
use flyte_local::secret::SecretId;
use flyte_local::transfer::FirstErrors;
use flyte_local::vault::Vault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImportAction {
    Create,
    Change,
    /// It has that value.
    Same,
    /// It has another value, and is not to be overwritten.
    Keep,
}

impl ImportAction {
    pub(super) fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Change)
    }

    fn words(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Same => "left alone: has this value",
            Self::Keep => "left alone: has another value",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Same => "same",
            Self::Keep => "keep",
        }
    }
}

pub(super) struct ImportStep {
    pub(super) incoming: Incoming,
    pub(super) action: ImportAction,
}

pub(super) struct ImportPlan {
    pub(super) steps: Vec<ImportStep>,
}

impl ImportPlan {
    pub(super) fn make(
        vault: &Vault,
        incoming: Vec<Incoming>,
        overwrite: bool,
        reader: &SecretReader<'_>,
        source: &ImportSource,
    ) -> Result<Self, CommandError> {
        let ids: Vec<_> = incoming.iter().map(|incoming| incoming.id.clone()).collect();
        let occupied = vault.occupied(&ids)?;
        let there: Vec<_> =
            ids.into_iter().zip(&occupied).filter(|(_, is_there)| **is_there).map(|(id, _)| id).collect();
        let (mut actions, mut reasons) = (Vec::with_capacity(there.len()), FirstErrors::default());
        let mut compared =
            incoming.iter().zip(&occupied).filter(|(_, is_there)| **is_there).map(|(incoming, _)| incoming);
        reader.each(vault, &there, |found| {
            let incoming = compared.next().expect("one for each");
            if found.secret_type != incoming.secret_type {
                let (id, found, incoming) = (&incoming.id, found.secret_type, incoming.secret_type);
                reasons.push(|| format!("{id} is of type {found}, not {incoming}"));
            }
            actions.push(match (found.value == incoming.value, overwrite) {
                (true, _) => ImportAction::Same,
                (false, true) => ImportAction::Change,
                (false, false) => ImportAction::Keep,
            });
            Ok(())
        })?;
        let mut actions = actions.into_iter();
        let steps = incoming.into_iter().zip(occupied).map(|(incoming, is_there)| {
            let action = if is_there { actions.next().expect("one for each") } else { ImportAction::Create };
            ImportStep { incoming, action }
        });
        let steps = steps.collect();
        if reasons.is_empty() { Ok(Self { steps }) } else { Err(source.refused(reasons)) }
    }

    pub(super) fn count(&self, action: ImportAction) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }

    pub(super) fn summary(&self, dry_run: bool) -> String {
        let [create, change] = [ImportAction::Create, ImportAction::Change].map(|action| self.count(action));
        let left = self.steps.len() - create - change;
        match dry_run {
            true => format!("would create {create}, change {change} and leave {left} alone; nothing was written"),
            false => format!("created {create}, changed {change}, left {left} alone"),
        }
    }

    pub(super) fn print(&self, context: &Context<'_>) -> Result<(), CommandError> {
        let rows: Vec<_> = self.steps.iter().map(ImportRow::from).collect();
        table::print(context.ui, context.output_format, &rows)
    }
}

/// A secret that is imported, or left alone.
#[derive(Serialize)]
struct ImportRow<'a> {
    #[serde(flatten)]
    id: Id<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<&'a str>,
    action: &'static str,
    #[serde(skip)]
    step: &'a ImportStep,
}

impl<'a> From<&'a ImportStep> for ImportRow<'a> {
    fn from(step: &'a ImportStep) -> Self {
        let Incoming { id, line, variable, .. } = &step.incoming;
        Self { id: id.into(), line: *line, variable: variable.as_deref(), action: step.action.word(), step }
    }
}

impl Row for ImportRow<'_> {
    const COLUMNS: &'static [Column] =
        &[Column::new("name"), Column::new("scope"), Column::new("from"), Column::new("action")];

    fn cells(&self) -> Vec<Cell> {
        let SecretId { scope, name } = &self.step.incoming.id;
        let renamed = self.variable.filter(|variable| *variable != name.as_str());
        let line = self.line.map(|line| format!("line {line}"));
        let from = match (&line, renamed) {
            (Some(line), Some(variable)) => Cell::new(format!("{line}, {variable}")).short(line),
            _ => Cell::or_dash(line.as_ref()),
        };
        let action = self.step.action;
        let action = action_cell(action.words(), !action.writes());
        vec![Cell::new(name), scope_cell(scope), from, action]
    }
}
