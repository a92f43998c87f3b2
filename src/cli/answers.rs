//! Words that people try, and the commands to type instead.
//!
//! These are answers, not aliases: the grammar stays verb, then noun. A word is repeated only where it cannot be a value:
//! a verb or a noun from the lists here, or a valid secret name in the place of a name.

use std::ffi::OsString;
use std::path::Path;

use super::error::{CommandError, Exit};
use super::near::near;
use super::shell::quoted;
use flyte_local::secret::{Domain, Project, SecretName};

/// The commands that take a noun, and their nouns.
pub(super) const NOUNS: [(&str, &[&str]); 6] = [
    ("create", &["secret", "recipient", "identity"]),
    ("get", &["secret", "recipient", "identity"]),
    ("update", &["secret", "identity", "vault"]),
    ("edit", &["secret"]),
    ("delete", &["secret", "recipient"]),
    ("push", &["secret"]),
];

/// The other commands. Those that need arguments are answered with their help.
pub(super) const OTHERS: [(&str, &str); 11] = [
    ("init", "init"),
    ("run", "help run"),
    ("flyte", "help flyte"),
    ("exec", "help exec"),
    ("serve", "serve"),
    ("import", "help import"),
    ("export", "help export"),
    ("rekey", "rekey"),
    ("unlock", "unlock"),
    ("lock", "lock"),
    ("check", "check"),
];

/// Other words for the verbs that take a noun. Two verbs: the first creates, the second changes.
const VERBS: [(&[&str], &[&str]); 6] = [
    (&["list", "ls", "show", "view", "read", "cat", "print"], &["get"]),
    (&["add", "new", "make"], &["create"]),
    (&["set", "put", "store", "write", "save"], &["create", "update"]),
    (&["change", "replace"], &["update"]),
    (&["rm", "remove", "del", "unset"], &["delete"]),
    (&["send", "upload", "publish"], &["push"]),
];

/// Words for a whole command.
const COMMANDS: [(&[&str], &[&str]); 8] = [
    (&["version"], &["--version"]),
    (&["doctor", "status", "verify", "diagnose"], &["check"]),
    (&["rotate"], &["update identity --rotate", "update secret NAME"]),
    (&["share", "invite"], &["create recipient KEY --name NAME"]),
    (&["unshare", "revoke"], &["delete recipient NAME"]),
    (&["trust"], &["update vault --trust-author KEY"]),
    (&["reencrypt", "re-encrypt"], &["rekey"]),
    (&["keygen"], &["create identity"]),
];

/// Returns the error for a command that does not exist, with the command to type instead.
pub(super) fn answer(arguments: &[OsString]) -> CommandError {
    let mut typed = Typed::read(arguments);
    if typed.words.first() == Some(&"help") {
        typed.words.remove(0);
    }
    let (what, commands) = match typed.words.as_slice() {
        [verb, rest @ ..] if nouns_of(verb).is_some() => typed.without_noun(verb, rest),
        [verb, rest @ ..] => typed.without_verb(verb, rest),
        [] => (None, Vec::new()),
    };
    let message =
        what.map_or_else(|| "there is no such command".to_owned(), |what| format!("'{what}' is not a command"));
    let error = CommandError::new(Exit::Usage, message);
    let mut leads = ["did you mean: ", "or: "].into_iter().chain(std::iter::repeat("or: "));
    let hints =
        commands.iter().map(|command| format!("{}{} {command}", leads.next().unwrap_or_default(), typed.program));
    let error = hints.fold(error, CommandError::hint);
    if commands.is_empty() { error.hint(format!("see the commands: {} help", typed.program)) } else { error }
}

/// A command line, as far as it is certain which words are options and their values.
struct Typed<'a> {
    /// `flyte-local`, with the options that lead to the vault.
    program: String,
    words: Vec<&'a str>,
    /// `-p` and `-d`, for the end of a command.
    scope: String,
}

/// The words that are not a command, unless they may be a value, and the commands to type instead.
type Answer = (Option<String>, Vec<String>);

impl<'a> Typed<'a> {
    fn read(arguments: &'a [OsString]) -> Self {
        let mut typed = Self { program: "flyte-local".to_owned(), words: Vec::new(), scope: String::new() };
        let mut rest = arguments.iter().skip(1);
        while let Some(argument) = rest.next().and_then(|argument| argument.to_str()) {
            let (option, attached) = match argument.split_once('=') {
                Some((option, value)) if argument.starts_with("--") => (option, Some(value)),
                _ => (argument, None),
            };
            let mut value = || attached.or_else(|| rest.next()?.to_str()).unwrap_or_default();
            match option {
                "--strict" => {}
                "--vault" | "--identity" => {
                    let path = quoted(Path::new(value()));
                    typed.program.push_str(&format!(" {option} {path}"));
                }
                "--passphrase-fd" | "--output-format" => drop(value()),
                "-p" | "--project" => {
                    let project = value().parse::<Project>();
                    typed.scope.push_str(&project.map_or_else(|_| String::new(), |project| format!(" -p {project}")));
                }
                "-d" | "--domain" => {
                    let domain = value().parse::<Domain>();
                    typed.scope.push_str(&domain.map_or_else(|_| String::new(), |domain| format!(" -d {domain}")));
                }
                // The next word may be the value of an option that is not known here.
                _ if option.starts_with('-') => break,
                word => typed.words.push(word),
            }
        }
        typed
    }

    /// Answers a verb without one of its nouns.
    fn without_noun(&self, verb: &str, rest: &[&str]) -> Answer {
        let nouns = nouns_of(verb).unwrap_or_default();
        let Some((word, names)) = rest.split_first() else { return (None, vec![format!("help {verb}")]) };
        let is_name = word.parse::<SecretName>().is_ok();
        let what = Some(format!("{verb} {word}"));
        match noun(word).or_else(|| near(word, nouns.iter().copied()).first().copied()) {
            // Alone, a word that is close to a noun may be a name too.
            Some(close) if noun(word).is_none() && names.is_empty() && is_name => {
                (what, vec![self.command(verb, close, names), self.command(verb, "secret", rest)])
            }
            Some(noun) => (what, vec![self.command(verb, noun, names)]),
            None if *word == "help" => (what, vec![format!("help {verb}")]),
            // A name in the place of the noun.
            None if is_name => (what, vec![self.command(verb, "secret", rest)]),
            None => (None, vec![format!("help {verb}")]),
        }
    }

    /// Answers a first word that is not a command.
    fn without_verb(&self, word: &str, rest: &[&str]) -> Answer {
        let what = Some(word.to_owned());
        if let Some(commands) = find(&COMMANDS, word) {
            let name = rest.first().and_then(|name| name.parse::<SecretName>().ok());
            let name = name.map_or_else(|| "secret NAME".to_owned(), |name| format!("secret {name}{}", self.scope));
            return (what, commands.iter().map(|command| command.replace("secret NAME", &name)).collect());
        }
        if let Some(verbs) = find(&VERBS, word) {
            return (what, verbs.iter().map(|verb| self.with_any_noun(verb, rest)).collect());
        }
        if let Some(noun) = noun(word) {
            return self.turned(word, noun, rest);
        }
        let verbs = NOUNS.iter().map(|(verb, _)| *verb).chain(OTHERS.iter().map(|(verb, _)| *verb));
        match near(word, verbs).first() {
            Some(verb) if nouns_of(verb).is_some() => (what, vec![self.with_any_noun(verb, rest)]),
            Some(verb) => {
                let command = OTHERS.iter().find(|(other, _)| other == verb).map(|(_, command)| (*command).to_owned());
                (what, command.into_iter().collect())
            }
            None => (None, Vec::new()),
        }
    }

    /// Answers a noun in the place of the verb: `secret create NAME`.
    fn turned(&self, word: &str, noun: &str, rest: &[&str]) -> Answer {
        let Some((second, names)) = rest.split_first() else {
            let command = if noun == "vault" { "check".to_owned() } else { format!("get {noun}") };
            return (Some(word.to_owned()), vec![command]);
        };
        if let Some([command, ..]) = find(&COMMANDS, second).filter(|commands| commands[0].contains(noun)) {
            return (Some(format!("{word} {second}")), vec![(*command).to_owned()]);
        }
        let verbs: &[&str] = match NOUNS.iter().find(|(verb, _)| verb == second) {
            Some((verb, _)) => std::slice::from_ref(verb),
            None => find(&VERBS, second).unwrap_or_default(),
        };
        if verbs.is_empty() {
            return (Some(word.to_owned()), vec![self.with_any_noun("get", &[&[noun], rest].concat())]);
        }
        let what = Some(format!("{word} {second}"));
        (what, verbs.iter().map(|verb| self.command(verb, noun, names)).collect())
    }

    /// A verb with the noun that follows it, or with `secret`.
    fn with_any_noun(&self, verb: &str, rest: &[&str]) -> String {
        match rest.split_first().and_then(|(word, names)| Some((noun(word)?, names))) {
            Some((noun, names)) => self.command(verb, noun, names),
            None => self.command(verb, "secret", rest),
        }
    }

    /// A command, with the first of `names` where it is the name of a secret. Words after a name may be values.
    fn command(&self, verb: &str, noun: &str, names: &[&str]) -> String {
        if !nouns_of(verb).is_some_and(|nouns| nouns.contains(&noun)) {
            return match (verb, noun) {
                ("create", "vault") => "init".to_owned(),
                ("get", "vault") => "check".to_owned(),
                _ => format!("help {verb}"),
            };
        }
        match (verb, noun, names.first().and_then(|name| name.parse::<SecretName>().ok())) {
            (_, "secret", Some(name)) => format!("{verb} secret {name}{}", self.scope),
            ("get" | "push", "secret", None) => format!("{verb} secret{}", self.scope),
            (_, "secret", None) => format!("{verb} secret NAME{}", self.scope),
            ("get", ..) | ("create", "identity", _) => format!("{verb} {noun}"),
            _ => format!("help {verb} {noun}"),
        }
    }
}

/// Returns the nouns of a command that takes one.
pub(super) fn nouns_of(verb: &str) -> Option<&'static [&'static str]> {
    NOUNS.iter().find(|(known, _)| *known == verb).map(|(_, nouns)| *nouns)
}

/// Returns whether a command starts with this word.
pub(super) fn is_verb(word: &str) -> bool {
    nouns_of(word).is_some() || OTHERS.iter().any(|(verb, _)| *verb == word)
}

/// The noun that a word stands for, also in the plural.
fn noun(word: &str) -> Option<&'static str> {
    let singular = if word == "identities" { "identity" } else { word.strip_suffix('s').unwrap_or(word) };
    ["secret", "recipient", "identity", "vault"].into_iter().find(|noun| *noun == singular)
}

fn find(table: &[(&[&str], &'static [&'static str])], word: &str) -> Option<&'static [&'static str]> {
    table.iter().find(|(words, _)| words.contains(&word)).map(|(_, found)| *found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn answered(line: &str) -> (String, Vec<String>) {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = answer(&arguments).report("flyte-local");
        assert_eq!(error.code(), Exit::Usage as u8);
        (error.message().to_owned(), error.hints().to_vec())
    }

    #[test]
    fn the_tables_name_the_commands_that_there_are() {
        let root = Cli::command();
        let verbs: BTreeSet<&str> = root.get_subcommands().map(clap::Command::get_name).collect();
        let named = NOUNS.iter().map(|(verb, _)| *verb).chain(OTHERS.iter().map(|(verb, _)| *verb));
        assert_eq!(named.collect::<BTreeSet<_>>(), verbs);
        for (verb, nouns) in NOUNS {
            let verb = root.find_subcommand(verb).expect("it was compared");
            assert_eq!(verb.get_subcommands().map(clap::Command::get_name).collect::<Vec<_>>(), nouns);
        }
    }

    #[test]
    fn every_answer_is_a_command() {
        let words = COMMANDS.iter().chain(&VERBS).flat_map(|(words, _)| *words).copied();
        let nouns = ["secret", "recipient", "identity", "vault", "recipients", "identities"];
        let words = words.chain(nouns);
        let lines =
            words.flat_map(|word| ["", " api_key", " recipient", " identity x"].map(|rest| format!("{word}{rest}")));
        let others =
            ["craete secret a", "chekc", "rnu", "secret create", "get api_key", "edit secrets a", "vault create"];
        for line in lines.chain(others.map(str::to_owned)) {
            let (_, hints) = answered(&format!("flyte-local {line}"));
            assert!(!hints.is_empty(), "{line}");
            for hint in hints {
                let command = hint.split_once(": ").expect("a lead").1.replace("KEY", KEY);
                if let Err(error) = Cli::command().try_get_matches_from(command.split(' ')) {
                    let kind = error.kind();
                    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
                    assert!(matches!(kind, DisplayHelp | DisplayVersion), "{line}: {hint}: {error}");
                }
            }
        }
    }

    const KEY: &str = "flyteauthor14ycd30x04j5kxpc9ejuy7k7625wjmly4wa9cmsndd5pdtnemj0hskd8zg6";

    #[test]
    fn a_word_that_may_be_a_value_is_not_repeated() {
        for line in [
            "set api_key hunter2",
            "add -x hunter2",
            "secret create api_key hunter2",
            "create api_key hunter2",
            "create api_key --value hunter2",
            "create hunter2! x",
            "hunter2 x",
            "craete secret api_key hunter2",
            "put --value=hunter2 x",
        ] {
            let (message, hints) = answered(&format!("flyte-local {line}"));
            assert!(!format!("{message}{hints:?}").contains("hunter2"), "{line}: {message} {hints:?}");
        }
    }

    #[test]
    fn options_that_lead_to_the_secret_are_kept() {
        let (_, hints) = answered("flyte-local --vault v rm -p shop api_key --domain=development");
        assert_eq!(hints, ["did you mean: flyte-local --vault v delete secret api_key -p shop -d development"]);
    }
}
