//! The words of Flyte's own command: as much of its grammar as flyte-local must know before it starts Python.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args as _, Command};

use crate::cli::arguments::GlobalArgs;
use crate::cli::flyte_words::takes_value;

/// The command line of Flyte's command. The SDK parses it again and decides what happens: a mistake here can only open a
/// vault that is not needed.
pub(super) struct FlyteWords<'a> {
    before_verb: &'a [String],
    /// The verb and what follows it.
    rest: &'a [String],
}

impl<'a> FlyteWords<'a> {
    pub(super) fn new(arguments: &'a [String]) -> Self {
        let mut verb = 0;
        while let Some(word) = arguments.get(verb).filter(|word| word.starts_with('-')) {
            verb += 1 + usize::from(takes_value(word));
        }
        let (before_verb, rest) = arguments.split_at(verb.min(arguments.len()));
        Self { before_verb, rest }
    }

    /// Tells whether the command may run tasks or serve apps on this machine, or build images.
    pub(super) fn may_need_secrets(&self) -> bool {
        match self.rest {
            [verb, ..] if verb == "build" || verb == "deploy" => true,
            [verb, rest @ ..] if verb == "run" || verb == "serve" => {
                rest.iter().any(|word| word == "--local" || word == "--tracked")
            }
            _ => false,
        }
    }

    /// Returns the Python file that the command names, which chooses the interpreter.
    pub(super) fn file(&self) -> Option<&'a Path> {
        let files = self.rest.iter().skip(1).map(Path::new);
        files.filter(|path| path.extension().is_some_and(|extension| extension == "py")).find(|path| path.is_file())
    }

    /// Returns what to say about a noun in the place of the verb, as some pages of Flyte's write it: `flyte secret create`.
    pub(super) fn turned_around(&self, command: &str) -> Option<String> {
        let [noun, verb, ..] = self.rest else { return None };
        if noun != "secret" || !["create", "get", "list", "delete", "update"].contains(&verb.as_str()) {
            return None;
        }
        let verb = if verb == "list" { "get" } else { verb };
        let line = format!("the verb comes first: flyte {verb} secret; in this vault: {command} {verb} secret");
        Some(if verb == "get" { line } else { line.replace("secret;", "secret NAME;") + " NAME" })
    }

    /// Tells whether the user named Flyte's configuration, so that none is looked for.
    pub(super) fn names_configuration(&self) -> bool {
        self.before_verb.iter().any(|word| {
            let name = word.split('=').next().unwrap_or_default();
            name == "--config" || (name.starts_with("-c") && !name.starts_with("--"))
        })
    }
}

/// Puts `--` between the options of flyte-local, which `options` adds, and the arguments of Flyte's command, so that clap leaves
/// these as they are: the two have options of the same names.
pub(super) fn apart(mut arguments: Vec<OsString>, options: fn(Command) -> Command) -> Vec<OsString> {
    let own = GlobalArgs::augment_args(Command::new("flyte-local"));
    let Some(verb) = skip_options(&own, &arguments, 1, &[]) else { return arguments };
    if arguments[verb] != "flyte" {
        return arguments;
    }
    // Flyte has an option of this name, and flyte-local prints no table here.
    let first = skip_options(&options(own), &arguments, verb + 1, &["output-format"]);
    if let Some(first) = first.filter(|first| !["--", "-h", "--help"].iter().any(|word| arguments[*first] == *word)) {
        arguments.insert(first, "--".into());
    }
    arguments
}

/// Returns the place of the first argument, from `from` on, that is neither an option of `command` nor the value of one.
fn skip_options(command: &Command, arguments: &[OsString], mut from: usize, but: &[&str]) -> Option<usize> {
    while let Some(name) = arguments.get(from)?.to_str().and_then(|word| word.strip_prefix("--")) {
        let (name, has_value) = name.split_once('=').map_or((name, false), |(name, _)| (name, true));
        let option = command.get_arguments().find(|option| option.get_long() == Some(name) && !but.contains(&name));
        let Some(option) = option else { break };
        from += 1 + usize::from(option.get_action().takes_values() && !has_value);
    }
    (from < arguments.len()).then_some(from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tasks::TaskArgs;

    fn set_apart(line: &str) -> String {
        let arguments = apart(line.split(' ').map(OsString::from).collect(), TaskArgs::augment_args);
        arguments.into_iter().map(|word| word.into_string().expect("UTF-8")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_of_flyte_are_set_apart_from_those_of_flyte_local() {
        for (typed, parsed) in [
            ("flyte-local flyte run --local t.py", "flyte-local flyte -- run --local t.py"),
            ("flyte-local flyte --output-format json get run", "flyte-local flyte -- --output-format json get run"),
            ("flyte-local flyte --help", "flyte-local flyte --help"),
            ("flyte-local flyte -- --help", "flyte-local flyte -- --help"),
            ("flyte-local flyte run --help", "flyte-local flyte -- run --help"),
            ("flyte-local flyte -vv run", "flyte-local flyte -- -vv run"),
            ("flyte-local flyte -h", "flyte-local flyte -h"),
            ("flyte-local flyte", "flyte-local flyte"),
            ("flyte-local flyte --no-mask", "flyte-local flyte --no-mask"),
            (
                "flyte-local flyte --no-mask --leaks deny -c x run",
                "flyte-local flyte --no-mask --leaks deny -- -c x run",
            ),
            ("flyte-local flyte --leaks=deny --vault v run", "flyte-local flyte --leaks=deny --vault v -- run"),
            ("flyte-local --vault flyte --strict flyte --x", "flyte-local --vault flyte --strict flyte -- --x"),
            ("flyte-local --output-format json flyte --x", "flyte-local --output-format json flyte -- --x"),
            ("flyte-local flyte -- run -- x", "flyte-local flyte -- run -- x"),
            ("flyte-local flyte run t.py main -- x", "flyte-local flyte -- run t.py main -- x"),
            ("flyte-local run flyte --x", "flyte-local run flyte --x"),
            ("flyte-local help flyte", "flyte-local help flyte"),
            ("flyte-local", "flyte-local"),
        ] {
            assert_eq!(set_apart(typed), parsed);
        }
    }

    #[test]
    fn the_vault_is_opened_only_for_commands_that_may_need_it() {
        for (line, needs) in [
            ("run --local t.py", true),
            ("-v --config c.yaml run -p x --tracked t.py", true),
            ("--output-format=json build t.py env", true),
            ("--org deploy deploy --all t.py", true),
            ("serve --local a.py", true),
            ("run t.py main", false),
            ("get run --local", false),
            ("--org deploy get run", false),
            ("-of json get run", false),
            ("create secret --local", false),
            ("--version", false),
            ("--config", false),
        ] {
            let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(FlyteWords::new(&arguments).may_need_secrets(), needs, "{line}");
        }
    }
}
