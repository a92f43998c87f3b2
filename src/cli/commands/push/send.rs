//! Sends the secrets. A failure concerns one secret; only an unreachable cluster ends it.

use std::collections::BTreeMap;

use super::failure;
use super::plan::{PushAction, PushPlan, PushStep};
use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::on_cluster::{self, Delivery};
use crate::cli::progress::Progress;
use crate::cli::report::ErrorReport;
use crate::cli::secret_reader::SecretReader;
use flyte_local::flyte::{Call, CallError, CallResult, Calls, Cluster, ValueTraits};
use flyte_local::redact::Watchlist;
use flyte_local::secret::{SecretId, SecretType};
use flyte_local::vault::Vault;

/// After so many calls in a row that did not reach the cluster, no more are made: the SDK has tried each of them several times.
const MOST_UNREACHED: usize = 8;

/// The result of sending.
#[derive(Default)]
pub(super) struct Sent {
    created: usize,
    updated: usize,
    /// By the place in the plan.
    failed: BTreeMap<usize, CommandError>,
    untried: usize,
    /// The differences that a cluster makes to values that were sent, a line each.
    pub(super) notes: Vec<String>,
}

impl Sent {
    pub(super) fn summary(&self, skipped: usize) -> String {
        format!("created {}, updated {}, left {skipped} alone", self.created, self.updated)
    }

    /// An error, if anything was not sent that was to be.
    pub(super) fn report(self, context: &Context<'_>, plan: &PushPlan) -> Result<(), CommandError> {
        let failed: Vec<ErrorReport> = self.failed.values().map(|error| error.report(&context.command)).collect();
        if failed.len() + plan.refused().count() + self.untried == 0 {
            return Ok(());
        }
        Err(failure::not_all(&failed, plan, self.untried))
    }
}

pub(super) fn send(
    context: &Context<'_>,
    cluster: &mut Cluster,
    vault: &Vault,
    reader: &SecretReader<'_>,
    plan: &PushPlan,
) -> Sent {
    let sends = |step: &PushStep| matches!(step.action, PushAction::Create | PushAction::Update);
    let left: Vec<usize> = (0..plan.steps.len()).rev().filter(|&step| sends(&plan.steps[step])).collect();
    let progress = Progress::start(context.ui, left.len(), "sending");
    let mut sending = Sending {
        plan,
        vault,
        reader,
        left,
        begun: Vec::new(),
        mask: Watchlist::new(),
        unreached: 0,
        refused: Vec::new(),
        sent: Sent::default(),
        progress,
    };
    cluster.call(&mut sending);
    // At the end, because it takes time to prepare the mask for large values, and each value that is sent changes it.
    for (place, fault) in &sending.refused {
        sending.sent.failed.insert(*place, failure::unsent(&plan.steps[*place], fault, &sending.mask));
    }
    sending.sent.untried = sending.left.len();
    sending.sent
}

struct Sending<'a> {
    plan: &'a PushPlan,
    vault: &'a Vault,
    reader: &'a SecretReader<'a>,
    /// The steps that are left, the next one last.
    left: Vec<usize>,
    /// The place in the plan of each call.
    begun: Vec<usize>,
    /// The values that were sent: any answer may repeat them.
    mask: Watchlist,
    unreached: usize,
    /// The places in the plan of the secrets that were not taken, and why.
    refused: Vec<(usize, CallError)>,
    sent: Sent,
    progress: Progress,
}

impl Calls for Sending<'_> {
    fn next(&mut self) -> Option<(SecretId, Call)> {
        while self.unreached < MOST_UNREACHED {
            let place = self.left.pop()?;
            let PushStep { from, to, secret_type, action, .. } = &self.plan.steps[place];
            let value = match self.reader.value(self.vault, from) {
                Ok(value) => value,
                Err(error) => {
                    self.sent.failed.insert(place, error);
                    self.progress.step();
                    continue;
                }
            };
            failure::watch(&self.mask, &value);
            if *secret_type == SecretType::Regular {
                self.sent.notes.extend(on_cluster::notes(
                    &from.name,
                    Delivery::Undecided,
                    ValueTraits::of(value.expose()),
                ));
            }
            self.begun.push(place);
            let call = match action {
                PushAction::Update => Call::Update(*secret_type, value),
                _ => Call::Create(*secret_type, value),
            };
            return Some((to.clone(), call));
        }
        None
    }

    fn answered(&mut self, call: usize, answer: CallResult) {
        self.progress.step();
        let place = self.begun[call];
        let step = &self.plan.steps[place];
        let is_reached = !answer.as_ref().is_err_and(failure::is_unreached);
        self.unreached = if is_reached { 0 } else { self.unreached + 1 };
        match (answer, step.action) {
            (Ok(_), PushAction::Update) => self.sent.updated += 1,
            (Ok(_), _) => self.sent.created += 1,
            (Err(fault), _) => self.refused.push((place, fault)),
        }
    }
}
