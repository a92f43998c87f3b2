//! Words of Flyte's own command that a user may type in the place of flyte-local's. Tests compare them with the SDK's.

use super::error::{CommandError, Exit};

/// The options that Flyte's command has before its verb. Those that take a value are first.
const ROOT_OPTIONS: [&str; 18] = [
    "--endpoint",
    "--image-builder",
    "--builder",
    "--auth-type",
    "--org",
    "-c",
    "--config",
    "--output-format",
    "-of",
    "--log-format",
    "--user-log-level",
    "--insecure",
    "-v",
    "-vv",
    "-vvv",
    "--verbose",
    "--reset-root-logger",
    "--no-progress",
];

/// The number of root options that take a value.
const WITH_VALUE: usize = 11;

/// The options of `flyte run`, except those that `flyte-local run` has too.
const RUN_OPTIONS: [&str; 21] = [
    "--copy-style",
    "--debug",
    "--env",
    "-e",
    "--follow",
    "-f",
    "--image",
    "--label",
    "--max-action-concurrency",
    "--name",
    "--no-sync-local-sys-paths",
    "--queue",
    "--raw-data-path",
    "--root-dir",
    "--run-domain",
    "--run-project",
    "--service-account",
    "--tracked",
    "--tracked-strict",
    "--tui",
    "--version",
];

/// The words that `flyte run` takes besides files, and the option with which it runs them here.
const OF_RUN: [(&str, &str); 3] = [("hello", " --local"), ("deployed-task", ""), ("python-script", "")];

/// Tells whether an option before the verb takes the next word as its value.
pub(crate) fn takes_value(option: &str) -> bool {
    ROOT_OPTIONS[..WITH_VALUE].contains(&option)
}

/// Returns the error for an option that `run` does not have. `command` is `flyte-local`, with the options that led to the vault.
pub(crate) fn unknown_option(option: &str, command: &str) -> CommandError {
    let error = CommandError::new(Exit::Usage, format!("run has no option {option}"));
    if option == "--local" {
        return error.hint("leave it out: a run is always local");
    }
    let of_run = RUN_OPTIONS.contains(&option).then(|| format!("{command} flyte run --local {option} …"));
    let of_root = ROOT_OPTIONS.contains(&option).then(|| format!("{command} flyte {option} … run --local FILE TASK"));
    match of_run.or(of_root) {
        Some(flyte) => error.hint(format!("Flyte's own command has it: {flyte}")),
        None => error.hint("see the options: flyte-local run --help"),
    }
}

/// Returns the error for a file that does not exist.
pub(crate) fn no_file(file: &str, command: &str) -> CommandError {
    let error = CommandError::new(Exit::NotFound, format!("there is no file {file}"));
    match OF_RUN.iter().find(|(word, _)| *word == file) {
        Some((word, local)) => error.hint(format!("Flyte's own command has {word}: {command} flyte run{local} {word}")),
        None => error,
    }
}

/// Returns the error for the module of Flyte's command, which does nothing when Python runs it as a module.
pub(crate) fn not_a_program(module: &str, command: &str) -> CommandError {
    let error = CommandError::new(Exit::Usage, format!("{module} does nothing when it is run as a module"));
    error.hint(format!("run Flyte's own command with secrets: {command} flyte run --local FILE TASK"))
}

/// The module of Flyte's command.
pub(crate) const MODULE: &str = "flyte.cli.main";
