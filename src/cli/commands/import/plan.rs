//! What an import does to each secret, found out before the first is written.

use serde_json::{Value, json};

use super::Incoming;
use super::source::Source;
use crate::cli::arguments::OutputFormat;
use crate::cli::error::CommandError;
use crate::cli::opener::Opener;
use crate::cli::table;
use flyte_local::secret::SecretId;
use flyte_local::vault::{Vault, VaultError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    Change,
    /// It has that value.
    Same,
    /// It has another value, and is not to be overwritten.
    Keep,
}

impl Action {
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

pub(super) struct Step {
    pub(super) incoming: Incoming,
    pub(super) action: Action,
}

pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
}

impl Plan {
    pub(super) fn make(
        vault: &Vault,
        incoming: Vec<Incoming>,
        overwrite: bool,
        opener: &Opener<'_>,
        source: &Source,
    ) -> Result<Self, CommandError> {
        let (mut steps, mut reasons) = (Vec::with_capacity(incoming.len()), Vec::new());
        for incoming in incoming {
            let id = &incoming.id;
            let action = match vault.require_absent(id) {
                Ok(()) => Action::Create,
                Err(VaultError::SecretExists { .. }) => {
                    let value = opener.value(vault, id)?;
                    let found = vault.metadata(id)?.secret_type;
                    if found != incoming.secret_type {
                        reasons.push(format!("{id} is of type {found}, not {}", incoming.secret_type));
                    }
                    match (value == incoming.value, overwrite) {
                        (true, _) => Action::Same,
                        (false, true) => Action::Change,
                        (false, false) => Action::Keep,
                    }
                }
                Err(error) => return Err(error.into()),
            };
            steps.push(Step { incoming, action });
        }
        if reasons.is_empty() { Ok(Self { steps }) } else { Err(source.refused(reasons)) }
    }

    pub(super) fn count(&self, action: Action) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }

    pub(super) fn summary(&self, dry_run: bool) -> String {
        let [create, change] = [Action::Create, Action::Change].map(|action| self.count(action));
        let left = self.steps.len() - create - change;
        match dry_run {
            true => format!("would create {create}, change {change} and leave {left} alone; nothing was written"),
            false => format!("created {create}, changed {change}, left {left} alone"),
        }
    }

    pub(super) fn format(&self, format: OutputFormat) -> String {
        let cells: Vec<_> = self.steps.iter().map(to_cells).collect();
        let json = self.steps.iter().map(to_json).collect();
        table::formatted(format, ["name", "scope", "from", "action"], &cells, &json)
    }
}

fn to_cells(Step { incoming, action }: &Step) -> [String; 4] {
    let SecretId { scope, name } = &incoming.id;
    let renamed = incoming.variable.as_ref().filter(|variable| *variable != name.as_str());
    let from = match (incoming.line, renamed) {
        (None, _) => "-".to_owned(),
        (Some(line), None) => format!("line {line}"),
        (Some(line), Some(variable)) => format!("line {line}, {variable}"),
    };
    [name.to_string(), scope.to_string(), from, action.words().to_owned()]
}

fn to_json(Step { incoming, action }: &Step) -> Value {
    let SecretId { scope, name } = &incoming.id;
    json!({
        "name": name,
        "project": scope.project(),
        "domain": scope.domain(),
        "line": incoming.line,
        "variable": incoming.variable,
        "action": action.word(),
    })
}
