//! Messages about arguments that clap does not accept.

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use super::answers;
use super::error::{CommandError, Exit};
use super::ui::Ui;

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Reports what clap says, less what may be a value typed in the wrong place.
pub(crate) fn report(mut error: clap::Error, arguments: &[OsString], ui: &Ui) -> Result<ExitCode, CommandError> {
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let bad = |message: String| CommandError::new(Exit::Usage, message);
    match error.kind() {
        ErrorKind::DisplayHelp if !arguments.iter().any(|argument| HELP.iter().any(|word| argument == word)) => {
            return Err(bad("an argument that begins with -h is not the option -h".to_owned()).hint(DASHED_VALUE));
        }
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            ui.data(error.render().to_string().as_bytes())?;
            return Ok(ExitCode::SUCCESS);
        }
        ErrorKind::InvalidSubcommand => return Err(answers::answer(arguments)),
        ErrorKind::ValueValidation => {
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            // A positional argument's reason says what it is: a secret name, a project.
            let option = argument.split(' ').next().filter(|word| word.starts_with('-'));
            return Err(bad(option.map_or(reason.clone(), |option| format!("{option}: {reason}"))));
        }
        ErrorKind::UnknownArgument if !argument.starts_with('-') => {
            let error = bad("there is one argument more than the command takes".to_owned());
            let example = arguments
                .iter()
                .find_map(|argument| OF_COMMANDS.iter().find(|(verb, _)| argument == verb).map(|(_, example)| example));
            return Err(error.hint(match example {
                Some(example) => format!("put -- before the command: {example}"),
                None if takes_value(arguments) => "quote a value that has spaces in it".to_owned(),
                None => format!("see its arguments: {}", help_command(arguments)),
            }));
        }
        // Flyte's own command has it, and the text after the `=` may be a value.
        ErrorKind::UnknownArgument if argument.split(['=', ' ']).next() == Some("--cluster-pool") => {
            let error = bad("a vault has no cluster pools".to_owned());
            let error = error.hint("leave out --cluster-pool: the secret belongs to the organization then");
            return Err(error.hint("and send it to the pool: flyte-local push secret NAME --cluster-pool POOL"));
        }
        // Without a likely option beside it, what clap would repeat may be a value.
        ErrorKind::UnknownArgument if error.get(ContextKind::SuggestedArg).is_none() => {
            let error = bad("there is an option that the command does not have".to_owned());
            let error = if takes_value(arguments) { error.hint(DASHED_VALUE) } else { error };
            return Err(error.hint(format!("see the options: {}", help_command(arguments))));
        }
        ErrorKind::TooManyValues => {
            let option = argument.split(['=', ' ']).next().unwrap_or_default();
            return Err(bad(format!("{option} takes no value")));
        }
        ErrorKind::InvalidValue => {
            let option = argument.split(' ').next().unwrap_or_default();
            let known = error.get(ContextKind::ValidValue).map(ToString::to_string).unwrap_or_default();
            let needs = if known.is_empty() { "needs a value".to_owned() } else { format!("is one of {known}") };
            return Err(bad(format!("{option} {needs}")));
        }
        ErrorKind::ArgumentConflict => {
            let prior = error.get(ContextKind::PriorArg).map(ToString::to_string).unwrap_or_default();
            let again =
                if prior == argument { "is given twice".to_owned() } else { format!("cannot be used with {prior}") };
            return Err(bad(format!("{argument} {again}")));
        }
        ErrorKind::InvalidUtf8 => {
            let error = bad("an argument is not UTF-8".to_owned());
            return Err(error.hint("a value that is not UTF-8: --from-file, or standard input"));
        }
        _ => {}
    }
    if error.kind() == ErrorKind::UnknownArgument {
        // The text after the `=` may be a value.
        let name = argument.split('=').next().unwrap_or_default().to_owned();
        error.insert(ContextKind::InvalidArg, ContextValue::String(name));
    }
    ui.usage(error.render().to_string().trim_end());
    Ok(ExitCode::from(Exit::Usage as u8))
}

/// Returns whether a command gives a secret a value, which a user may have typed without quotes.
fn takes_value(arguments: &[OsString]) -> bool {
    matches!(command_words(arguments).as_slice(), ["create" | "update", "secret"])
}

/// Returns the command that shows the help of the command that was typed. It repeats no other word, which may be a value.
fn help_command(arguments: &[OsString]) -> String {
    [&["flyte-local", "help"], command_words(arguments).as_slice()].concat().join(" ")
}

/// Returns the verb and the noun that were typed, as far as they exist.
fn command_words(arguments: &[OsString]) -> Vec<&str> {
    let words = || arguments.iter().skip(1).filter_map(|argument| argument.to_str());
    let verb = words().find(|word| answers::is_verb(word));
    let nouns = verb.and_then(answers::nouns_of).unwrap_or_default();
    verb.into_iter().chain(words().find(|word| nouns.contains(word))).collect()
}

/// The verbs that start a command, and how it is typed.
const OF_COMMANDS: [(&str, &str); 2] =
    [("exec", "flyte-local exec --secret KEY -- COMMAND"), ("serve", "flyte-local serve -- COMMAND")];

/// The words that ask for help. A value such as `-hunter2` is read by clap as `-h`, but asks for nothing.
pub(super) const HELP: [&str; 3] = ["-h", "--help", "help"];

const DASHED_VALUE: &str = "a value that begins with '-': --value=VALUE, or --from-file FILE";
