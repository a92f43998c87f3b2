//! What is said of a push that does not succeed, or not with all.

use super::plan::{PushAction, PushPlan, PushStep};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::interpreter::{Typed, another, cannot_start, explain, not_python};
use crate::cli::report::ErrorReport;
use crate::cli::sanitize::one_line;
use flyte_local::flyte::{About, CallError, ConnectError, Interpreter, RunError};
use flyte_local::redact::{Masker, Watchlist};
use flyte_local::secret::{Scope, SecretValue};

const FLYTE: &str = "see whether Flyte's own command can: flyte get secret";

/// There is no cluster to ask.
pub(super) fn unconnected(error: ConnectError, interpreter: &Interpreter, context: &Context<'_>) -> CommandError {
    let typed = Typed { run: format!("{} push secret", context.command), verb: "push secret", file: None };
    match error {
        ConnectError::Start(error) => cannot_start(interpreter, &error, "push secret"),
        ConnectError::NotPython(code) => not_python(interpreter, code, "push secret"),
        ConnectError::PythonTooOld(version) => explain(RunError::PythonTooOld { version }, interpreter, &typed),
        ConnectError::LacksSdk(python) => explain(RunError::LacksSdk { python }, interpreter, &typed),
        ConnectError::UnknownSdk { python, reason } => {
            let message = format!("the flyte package of {python} is not a Flyte SDK that flyte-local knows");
            CommandError::new(Exit::Failed, message)
                .because(reason)
                .hint(format!("take the newest: {python} -m pip install --upgrade flyte"))
                .hint(format!("or {}", another("push secret")))
        }
        ConnectError::NoCluster => CommandError::new(Exit::Failed, "no Flyte configuration names a cluster")
            .hint("make one: flyte create config --endpoint ENDPOINT")
            .hint("or name it: --config FILE, or --endpoint ENDPOINT"),
        ConnectError::Refused(fault) => {
            CommandError::new(Exit::Failed, "the Flyte SDK cannot set up its client").because(told(&fault)).hint(FLYTE)
        }
    }
}

/// The cluster could not be asked what it has.
pub(super) fn unseen(fault: &CallError, about: &About) -> CommandError {
    let what = match fault.code.as_deref() {
        Some("unauthenticated") => "does not know who you are",
        Some("unavailable" | "deadline_exceeded") => "cannot be reached",
        Some("unimplemented") => "does not answer as Flyte's backend does",
        _ => "cannot be asked for its secrets",
    };
    let error = CommandError::new(Exit::Failed, format!("the cluster {} {what}", about.endpoint));
    error.because(told(fault)).hint("nothing was sent").hint(FLYTE)
}

/// Whether the call did not come to the cluster, or not to an end there.
pub(super) fn is_unreached(fault: &CallError) -> bool {
    matches!(fault.code.as_deref(), None | Some("gone" | "unavailable" | "unauthenticated" | "deadline_exceeded"))
}

/// One secret was not taken.
pub(super) fn unsent(step: &PushStep, fault: &CallError, mask: &Watchlist) -> CommandError {
    let reason = match (fault.code.as_deref(), step.action) {
        (Some("already_exists"), PushAction::Create) => {
            "it is there by now: somebody else created it, or this did and its answer was lost; with --update it gets this value"
                .to_owned()
        }
        (Some("not_found"), PushAction::Update) => {
            "it is not there any more: without --update it is created".to_owned()
        }
        // A value may have several lines.
        _ => one_line(&masked(&words(fault), mask)),
    };
    CommandError::new(Exit::Failed, format!("{}: {reason}", step.to))
}

/// In the end: what was not sent that was to be, or cannot be.
pub(super) fn not_all(failed: &[ErrorReport], plan: &PushPlan, untried: usize) -> CommandError {
    let refused: Vec<&PushStep> = plan.refused().collect();
    let count = failed.len() + refused.len() + untried;
    let message =
        if count == 1 { "one secret was not sent".to_owned() } else { format!("{count} secrets were not sent") };
    let mut error = CommandError::new(Exit::Failed, message);
    for failed in failed {
        let causes = failed.causes().iter().map(|cause| format!("\n{cause}"));
        error = error.because(failed.message().to_owned() + &causes.collect::<String>());
    }
    for PushStep { to, reason, .. } in &refused {
        error = error.because(format!("{to} cannot be: {reason}"));
    }
    if untried > 0 {
        error = error.because(format!("{untried} were not tried, as the cluster could not be reached any more"));
    }
    // What helps with one that could not be opened may help with the others.
    let hints = failed.iter().find(|failed| !failed.hints().is_empty());
    let error = hints.into_iter().flat_map(ErrorReport::hints).fold(error, |error, hint| error.hint(hint));
    let error = if failed.len() + untried > 0 { error.hint("to go on: type the same again") } else { error };
    let is_project_only = |step: &&PushStep| matches!(step.to.scope, Scope::Project(_));
    if refused.iter().any(is_project_only) {
        return error.hint("for a cluster without secrets of a project in all domains, name one: --to-domain DOMAIN");
    }
    error
}

fn told(fault: &CallError) -> String {
    one_line(&words(fault))
}

fn words(fault: &CallError) -> String {
    match fault.code.as_deref() {
        None | Some("gone") => fault.message.clone(),
        Some(code) => format!("{} ({code})", fault.message),
    }
}

/// Has what is sent not be shown.
pub(super) fn watch(mask: &Watchlist, value: &SecretValue) {
    mask.add("value", value.expose());
    // As whoever takes it for text would show it.
    mask.add("value", String::from_utf8_lossy(value.expose()).as_bytes());
}

/// What a cluster says, without the values.
fn masked(message: &str, mask: &Watchlist) -> String {
    let mut masker = Masker::new(mask.clone());
    let mut shown = Vec::new();
    masker.feed(message.as_bytes(), &mut shown);
    masker.flush(&mut shown);
    String::from_utf8_lossy(&shown).into_owned()
}
