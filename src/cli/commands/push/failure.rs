//! Errors of a push that fails, in whole or in part.

use super::plan::{PushAction, PushPlan, PushStep};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::interpreter::{TypedCommand, another, cannot_start, explain, not_python};
use crate::cli::report::ErrorReport;
use crate::cli::sanitize::{harmless, one_line};
use flyte_local::flyte::{About, CallError, ConnectError, Interpreter, RunError};
use flyte_local::redact::Watchlist;
use flyte_local::secret::{Scope, SecretValue};

const FLYTE: &str = "check whether Flyte's own command works: flyte get secret";

/// The cluster could not be connected to.
pub(super) fn unconnected(
    error: ConnectError,
    interpreter: &Interpreter,
    context: &Context<'_>,
    pool: Option<&str>,
) -> CommandError {
    let typed = TypedCommand {
        program: context.command.clone(),
        run: format!("{} push secret", context.command),
        verb: "push secret",
        file: None,
    };
    match error {
        ConnectError::Start(error) => cannot_start(interpreter, &error, "push secret"),
        ConnectError::NotPython(code) => not_python(interpreter, code, "push secret"),
        ConnectError::PythonTooOld(version) => explain(RunError::PythonTooOld { version }, interpreter, &typed),
        ConnectError::LacksSdk(python) => explain(RunError::LacksSdk { python }, interpreter, &typed),
        ConnectError::UnknownSdk { python, reason } => {
            let message = format!("the flyte package of {python} is not a Flyte SDK version that flyte-local supports");
            CommandError::new(Exit::Failed, message)
                .because(reason)
                .hint(format!("install the newest: {python} -m pip install --upgrade flyte"))
                .hint(format!("or {}", another("push secret")))
        }
        ConnectError::NoCluster => CommandError::new(Exit::Failed, "no Flyte configuration names a cluster")
            .hint("create one: flyte create config --endpoint ENDPOINT")
            .hint("or name the cluster: --config FILE, or --endpoint ENDPOINT"),
        ConnectError::LacksPools(python) => {
            CommandError::new(Exit::Failed, format!("the Flyte SDK of {python} sends secrets to no cluster pool"))
                .hint(format!("install the newest: {python} -m pip install --upgrade flyte"))
                .hint("or leave out --cluster-pool")
        }
        ConnectError::Refused(fault) => {
            let what = match pool {
                Some(pool) => format!("the Flyte SDK cannot find the cluster pool {}", harmless(pool)),
                None => "the Flyte SDK cannot set up its client".to_owned(),
            };
            CommandError::new(Exit::Failed, what).because(told(&fault)).hint(FLYTE)
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

/// Tells whether the call did not reach the cluster, or did not complete there.
pub(super) fn is_unreached(fault: &CallError) -> bool {
    matches!(fault.code.as_deref(), None | Some("gone" | "unavailable" | "unauthenticated" | "deadline_exceeded"))
}

/// One secret was not taken.
pub(super) fn unsent(step: &PushStep, fault: &CallError, mask: &Watchlist) -> CommandError {
    let reason = match (fault.code.as_deref(), step.action) {
        (Some("already_exists"), PushAction::Create) => {
            "it exists now: another user created it, or this command did and lost the answer; --update overwrites it"
                .to_owned()
        }
        (Some("not_found"), PushAction::Update) => "it no longer exists; without --update it is created".to_owned(),
        // A value may have several lines.
        _ => one_line(&masked(&words(fault), mask)),
    };
    CommandError::new(Exit::Failed, format!("{}: {reason}", step.to))
}

/// Sums up the secrets that were not sent.
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
        error = error.because(format!("{untried} were not tried, because the cluster could no longer be reached"));
    }
    // Hints for one secret that could not be opened may help with the others.
    let hints = failed.iter().find(|failed| !failed.hints().is_empty());
    let error = hints.into_iter().flat_map(ErrorReport::hints).fold(error, |error, hint| error.hint(hint));
    let error = if failed.len() + untried > 0 { error.hint("to continue, run the same command again") } else { error };
    let is_project_only = |step: &&PushStep| matches!(step.to.scope, Scope::Project(_));
    if refused.iter().any(is_project_only) {
        return error.hint("if the cluster has no secrets for a project in all domains, name one: --to-domain DOMAIN");
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
    // As a program shows it that takes it for text.
    mask.add("value", String::from_utf8_lossy(value.expose()).as_bytes());
}

/// Returns a cluster's message with the values masked.
fn masked(message: &str, mask: &Watchlist) -> String {
    String::from_utf8_lossy(&mask.masked(message.as_bytes())).into_owned()
}
