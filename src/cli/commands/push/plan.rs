//! The plan of a push: the action on each secret, known before the first is sent.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::listing::{Id, InScope, action_cell, scope_cell};
use crate::cli::progress::Progress;
use crate::cli::sanitize::one_line;
use crate::cli::table::{self, Cell, Column, Row};
use crate::cli::ui::Color;
use flyte_local::flyte::{Call, CallError, CallResult, Calls, Cluster};
use flyte_local::secret::{Domain, Project, Scope, SecretId, SecretType};
use flyte_local::vault::Metadata;

/// The scope on the cluster, where it is not the vault's.
pub(super) struct Destination {
    pub(super) project: Option<Project>,
    pub(super) domain: Option<Domain>,
}

impl Destination {
    fn of(&self, id: &SecretId) -> SecretId {
        let project = self.project.as_ref().or(id.scope.project()).cloned();
        let domain = self.domain.as_ref().or(id.scope.domain()).cloned();
        SecretId { scope: Scope::new(project, domain), name: id.name.clone() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PushAction {
    Create,
    Update,
    /// It is there, and is not to be updated.
    Skip,
    /// The reason is beside it.
    Refuse,
}

pub(super) struct PushStep {
    pub(super) from: SecretId,
    pub(super) to: SecretId,
    pub(super) secret_type: SecretType,
    pub(super) action: PushAction,
    /// Why it cannot be.
    pub(super) reason: String,
}

impl PushStep {
    fn refuse(&mut self, reason: impl Into<String>) {
        (self.action, self.reason) = (PushAction::Refuse, reason.into());
    }

    fn words(&self) -> String {
        match self.action {
            PushAction::Create => "create".to_owned(),
            PushAction::Update => "update".to_owned(),
            PushAction::Skip => "left alone: is there".to_owned(),
            PushAction::Refuse => format!("cannot be: {}", self.reason),
        }
    }
}

pub(super) struct PushPlan {
    pub(super) steps: Vec<PushStep>,
}

impl PushPlan {
    /// Before the cluster was asked. An error where two would become one.
    pub(super) fn new(secrets: Vec<Metadata>, destination: &Destination) -> Result<Self, CommandError> {
        let (mut steps, mut known) = (Vec::with_capacity(secrets.len()), BTreeMap::new());
        let mut collisions = Vec::new();
        for Metadata { id: from, secret_type, .. } in secrets {
            let to = destination.of(&from);
            if let Some(other) = known.insert(to.clone(), from.clone()) {
                collisions.push(format!("{other} and {from} would both be {to}"));
            }
            let mut step = PushStep { from, to, secret_type, action: PushAction::Create, reason: String::new() };
            if secret_type == SecretType::ImagePull && step.to.scope != Scope::Organization {
                step.refuse("an image pull secret is the organization's");
            }
            steps.push(step);
        }
        if collisions.is_empty() {
            return Ok(Self { steps });
        }
        let error = CommandError::new(Exit::Usage, "nothing was sent: two secrets have the same destination");
        let error = collisions.into_iter().fold(error, CommandError::because);
        Err(error.hint("choose the secrets of one scope: flyte-local push secret NAME … -p PROJECT -d DOMAIN"))
    }

    /// Asks the cluster for each secret. An answer about one secret marks that secret; any other fault ends the push.
    pub(super) fn look(&mut self, context: &Context<'_>, cluster: &mut Cluster, update: bool) -> Result<(), CallError> {
        let asked: Vec<usize> =
            (0..self.steps.len()).filter(|&step| self.steps[step].action != PushAction::Refuse).collect();
        let progress = Progress::start(context.ui, asked.len(), "looking");
        let mut look = Look { steps: &mut self.steps, asked, begun: 0, update, fault: None, progress };
        cluster.call(&mut look);
        look.fault.map_or(Ok(()), Err)
    }

    pub(super) fn count(&self, action: PushAction) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }

    pub(super) fn refused(&self) -> impl Iterator<Item = &PushStep> {
        self.steps.iter().filter(|step| step.action == PushAction::Refuse)
    }

    pub(super) fn count_sent(&self) -> usize {
        self.count(PushAction::Create) + self.count(PushAction::Update)
    }

    pub(super) fn forecast(&self) -> String {
        let [create, update, skip, refuse] =
            [PushAction::Create, PushAction::Update, PushAction::Skip, PushAction::Refuse]
                .map(|action| self.count(action));
        let cannot = if refuse > 0 { format!(" ({refuse} cannot be)") } else { String::new() };
        format!("would create {create}, update {update} and leave {skip} alone{cannot}; nothing was sent")
    }

    pub(super) fn question(&self) -> String {
        let secrets = |count| if count == 1 { "one secret".to_owned() } else { format!("{count} secrets") };
        match (self.count(PushAction::Create), self.count(PushAction::Update)) {
            (create, 0) => format!("create {}", secrets(create)),
            (0, update) => format!("give {} another value", secrets(update)),
            (create, update) => format!("create {}, and give {} another value,", secrets(create), secrets(update)),
        }
    }

    pub(super) fn print(&self, context: &Context<'_>) -> Result<(), CommandError> {
        let rows: Vec<_> = self.steps.iter().map(PushRow::from).collect();
        table::print(context.ui, context.output_format, &rows)
    }
}

/// Asking for each secret.
struct Look<'a> {
    steps: &'a mut [PushStep],
    asked: Vec<usize>,
    begun: usize,
    update: bool,
    fault: Option<CallError>,
    progress: Progress,
}

impl Calls for Look<'_> {
    fn next(&mut self) -> Option<(SecretId, Call)> {
        let step = *self.asked.get(self.begun).filter(|_| self.fault.is_none())?;
        self.begun += 1;
        Some((self.steps[step].to.clone(), Call::Look))
    }

    fn answered(&mut self, place: usize, answer: CallResult) {
        self.progress.step();
        let step = &mut self.steps[self.asked[place]];
        match answer {
            Ok(found) => match found {
                Some(found) if self.update && found != step.secret_type => {
                    step.refuse(format!("it is of type {found} there"));
                }
                Some(_) if self.update => step.action = PushAction::Update,
                _ => step.action = PushAction::Skip,
            },
            Err(fault) => match fault.code.as_deref() {
                Some("not_found") => step.action = PushAction::Create,
                // Others may be.
                Some("invalid_argument" | "permission_denied") => step.refuse(one_line(&fault.message)),
                _ => {
                    self.fault.get_or_insert(fault);
                }
            },
        }
    }
}

/// A secret that is sent, or left alone.
#[derive(Serialize)]
struct PushRow<'a> {
    #[serde(flatten)]
    id: Id<'a>,
    #[serde(rename = "type")]
    secret_type: SecretType,
    to: InScope<'a>,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip)]
    step: &'a PushStep,
}

impl<'a> From<&'a PushStep> for PushRow<'a> {
    fn from(step: &'a PushStep) -> Self {
        let action = match step.action {
            PushAction::Create => "create",
            PushAction::Update => "update",
            PushAction::Skip => "skip",
            PushAction::Refuse => "cannot",
        };
        let reason = (step.action == PushAction::Refuse).then_some(step.reason.as_str());
        Self {
            id: (&step.from).into(),
            secret_type: step.secret_type,
            to: (&step.to.scope).into(),
            action,
            reason,
            step,
        }
    }
}

impl Row for PushRow<'_> {
    const COLUMNS: &'static [Column] =
        &[Column::new("name"), Column::spare("type"), Column::new("scope"), Column::new("to"), Column::new("action")];

    fn cells(&self) -> Vec<Cell> {
        let PushStep { from, to, secret_type, .. } = self.step;
        let action = match self.step.action {
            PushAction::Refuse => Cell::new(self.step.words()).color(Color::Red),
            action => action_cell(&self.step.words(), action == PushAction::Skip),
        };
        vec![Cell::new(&from.name), Cell::new(secret_type), scope_cell(&from.scope), scope_cell(&to.scope), action]
    }
}
