//! The help screens: commands under headings, and the global options at the top level alone.
//!
//! clap has no headings for subcommands and repeats global options for each of them. So `-h`, `--help` and `help` are parsed
//! a second time with what [`screens`] makes of the commands; any other start does none of this work.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command};

use super::usage::HELP;

/// Each heading with its commands, as they are typed. A test finds commands that are missing here.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Secrets", &["init", "create secret", "get secret", "update secret", "edit secret", "delete secret"]),
    ("Running", &["run", "flyte", "exec", "serve"]),
    ("Sharing", &["create recipient", "get recipient", "delete recipient", "update vault", "rekey"]),
    ("Moving in and out", &["import", "export", "push secret"]),
    ("Keys", &["create identity", "get identity", "update identity", "unlock", "lock"]),
    ("Checks", &["check"]),
];

const EXAMPLES: &str = "\
Examples:
  flyte-local init
  flyte-local create secret my_secret           prompts for the value
  flyte-local create secret my_cert --from-file cert.pem
  flyte-local get secret
  flyte-local run task.py main --x 3            runs a task with its secrets

Exit codes: 0 done, 1 failed, 2 usage, 10 not found, 11 cannot decrypt,
12 exists already, 13 refused (a file or vault failed a check), 14 locked.
run, flyte and exec return the exit code of what they run.

Help for one command: flyte-local help COMMAND [NOUN]";

const FURTHER: &str = "More: flyte-local --help; one command: flyte-local help COMMAND [NOUN]";

/// Blanks between the columns of a list.
const GAP: usize = 2;

/// Replaces a help screen of clap's by ours; leaves every other error as it is.
pub(super) fn composed(error: clap::Error, command: Command, arguments: &[OsString]) -> clap::Error {
    // `help help` and `help --help` show the whole help, which says how to use `help`.
    if matches!(arguments, [_, verb, word] if verb == "help" && HELP.iter().any(|known| word == known)) {
        return screens(command).try_get_matches_from(["flyte-local", "--help"]).err().unwrap_or(error);
    }
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            screens(command).try_get_matches_from(arguments).err().unwrap_or(error)
        }
        _ => error,
    }
}

/// Returns the command with its own help screens and those of its subcommands.
fn screens(command: Command) -> Command {
    let short = format!("{}\n{}\n{FURTHER}", short_list(&command), names_of_options(&command));
    let long = format!("{}\n{}\n\n{EXAMPLES}", long_list(&command), global_options(&command));
    command
        .mut_subcommands(pointing)
        .mut_args(hidden_if_global)
        .override_usage("flyte-local [OPTIONS] <COMMAND>")
        .help_template("{about-with-newline}\n{usage-heading} {usage}{after-help}")
        .after_help(short)
        .after_long_help(long)
}

/// Returns a subcommand whose help, like that of the subcommands below it, points to the global options.
fn pointing(command: Command) -> Command {
    command.mut_subcommands(pointing).help_template(
        "{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}\n\nGlobal options: flyte-local --help{after-help}",
    )
}

fn hidden_if_global(argument: Arg) -> Arg {
    let is_global = argument.is_global_set();
    argument.hide(is_global)
}

/// Lists each command that starts a line, beside the heading of its first use.
fn short_list(command: &Command) -> String {
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for (heading, paths) in GROUPS {
        let mut heading = heading;
        for path in paths {
            let verb = path.split(' ').next().unwrap_or_default();
            if rows.iter().all(|(_, known)| *known != verb) {
                rows.push((std::mem::take(&mut heading), verb));
            }
        }
    }
    let headings = rows.iter().map(|(heading, _)| heading.len()).max().unwrap_or_default() + GAP;
    let verbs = rows.iter().map(|(_, verb)| verb.len()).max().unwrap_or_default() + GAP;
    let mut text = String::new();
    for (heading, verb) in rows {
        let _ = writeln!(text, "{heading:headings$}{verb:verbs$}{}", about(command, verb));
    }
    text
}

/// Lists every command below its heading.
fn long_list(command: &Command) -> String {
    let width = GROUPS.iter().flat_map(|(_, paths)| *paths).map(|path| path.len()).max().unwrap_or_default() + GAP;
    let mut text = String::new();
    for (heading, paths) in GROUPS {
        let _ = writeln!(text, "{heading}:");
        for path in paths {
            let _ = writeln!(text, "  {path:width$}{}", about(command, path));
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The one-line description of a command, by the words that are typed.
fn about(command: &Command, path: &str) -> String {
    let found = path.split(' ').try_fold(command, |command, word| command.find_subcommand(word));
    found.and_then(Command::get_about).map(ToString::to_string).unwrap_or_default()
}

/// Names the options of the top level in one line.
fn names_of_options(command: &Command) -> String {
    let globals = command.get_arguments().filter(|argument| argument.is_global_set());
    let names: Vec<String> = globals.filter_map(Arg::get_long).map(|name| format!("--{name}")).collect();
    format!("Options: {}, -h, -V", names.join(", "))
}

/// Describes the options of the top level as clap does.
fn global_options(command: &Command) -> String {
    let flag = |name: &'static str, short, help: &'static str| {
        Arg::new(name).long(name).short(short).help(help).action(ArgAction::SetTrue)
    };
    let lines = Command::default()
        .disable_help_flag(true)
        .max_term_width(80)
        .args(command.get_arguments().filter(|argument| argument.is_global_set()))
        .next_help_heading("Global options")
        .arg(flag("help", 'h', "Print this help; -h prints a summary"))
        .arg(flag("version", 'V', "Print the version"))
        .help_template("{all-args}")
        .render_long_help();
    lines.to_string().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;
    use crate::cli::answers::{NOUNS, OTHERS};

    /// Every command that has help, by the words that are typed; the top level is empty.
    fn all() -> Vec<String> {
        let verbs = NOUNS.iter().map(|(verb, _)| *verb).chain(OTHERS.iter().map(|(verb, _)| *verb));
        let full = NOUNS.iter().flat_map(|(verb, nouns)| nouns.iter().map(move |noun| format!("{verb} {noun}")));
        std::iter::once(String::new()).chain(verbs.map(str::to_owned)).chain(full).collect()
    }

    fn screen(path: &str, flag: &str) -> String {
        let words = ["flyte-local"].into_iter().chain(path.split_whitespace()).chain([flag]);
        let error = screens(Cli::command().term_width(80)).try_get_matches_from(words).expect_err("help is an error");
        error.to_string()
    }

    #[test]
    fn the_version_is_what_clap_would_print() {
        assert_eq!(Cli::command().render_version(), crate::cli::VERSION);
    }

    #[test]
    fn every_command_is_below_a_heading() {
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, paths)| *paths).copied().collect();
        let whole = OTHERS.iter().map(|(verb, _)| (*verb).to_owned());
        let with_noun = NOUNS.iter().flat_map(|(verb, nouns)| nouns.iter().map(move |noun| format!("{verb} {noun}")));
        let wanted: BTreeSet<String> = whole.chain(with_noun).collect();
        assert_eq!(grouped.iter().map(|&path| path.to_owned()).collect::<BTreeSet<_>>(), wanted);
        assert_eq!(grouped.len(), wanted.len(), "a command is there twice");
        let (short, long) = (screen("", "-h"), screen("", "--help"));
        for path in wanted {
            assert!(long.contains(&format!("  {path} ")), "{path} is not in --help");
            let verb = path.split(' ').next().expect("a word");
            assert!(short.contains(&format!("  {verb} ")), "{verb} is not in -h");
        }
    }

    #[test]
    fn every_description_is_one_short_line_that_starts_with_a_verb() {
        const VERBS: [&str; 20] = [
            "Add",
            "Change",
            "Check",
            "Create",
            "Delete",
            "Drop",
            "Edit",
            "Export",
            "Import",
            "Let",
            "List",
            "Re-encrypt",
            "Remove",
            "Run",
            "Send",
            "Show",
            "Trust",
            "Unlock",
            "Write",
            "Accept",
        ];
        for path in all().iter().filter(|path| !path.is_empty()) {
            let about = about(&Cli::command(), path);
            assert!(about.len() <= 60, "{path}: {about}");
            let first = about.split(' ').next().unwrap_or_default();
            assert!(VERBS.contains(&first), "{path}: {about}");
            assert!(!about.ends_with('.'), "{path}: {about}");
        }
    }

    #[test]
    fn the_short_help_fits_one_screen() {
        for path in all() {
            let text = screen(&path, "-h");
            assert!(text.lines().count() <= 24, "{path} -h has {} lines", text.lines().count());
        }
    }

    #[test]
    fn no_help_is_wider_than_80_columns() {
        for path in all() {
            for flag in ["-h", "--help"] {
                let text = screen(&path, flag);
                let wide = text.lines().find(|line| line.chars().count() > 80);
                assert_eq!(wide, None, "{path} {flag}");
            }
        }
    }

    #[test]
    fn examples_are_not_wrapped() {
        for path in all() {
            let text = screen(&path, "--help");
            let Some((_, examples)) = text.split_once("Examples:\n") else { continue };
            for line in examples.lines().take_while(|line| !line.is_empty()) {
                assert!(line.contains("flyte"), "{path}: {line}");
            }
        }
    }

    #[test]
    fn global_options_are_described_once() {
        for path in all() {
            for flag in ["-h", "--help"] {
                let text = screen(&path, flag);
                for option in ["--vault <", "--identity <", "--passphrase-fd <", "--strict\n", "--output-format <"] {
                    assert_eq!(text.contains(option), path.is_empty() && flag == "--help", "{path} {flag}: {option}");
                }
                assert_eq!(text.contains("Global options: flyte-local --help"), !path.is_empty(), "{path} {flag}");
            }
        }
        assert!(screen("", "-h").contains("--vault, --identity, --passphrase-fd, --strict, --output-format, -h, -V"));
    }
}
