//! Screens of a terminal: no line is wider than 80 columns, statuses are coloured where colour is wanted, and a revealed value
//! cannot control the terminal.

#![allow(clippy::disallowed_methods, reason = "tests read their own variables, and change files")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use unicode_width::UnicodeWidthStr;

use crate::support::pages::{Step, blocks, steps};
use crate::support::terminal::{data_on_screen, on_screen};
use crate::support::{FLYTE_LOCAL, Ran, Sandbox, python, require};

const COLUMNS: u16 = 80;

/// Fails if the terminal would break a line.
fn assert_fits(what: &str, text: &str) {
    let broken: Vec<_> = text.lines().filter(|line| line.width() > COLUMNS.into()).collect();
    assert!(broken.is_empty(), "{what}: wider than {COLUMNS} columns:\n{}", broken.join("\n"));
}

const SCOPES: [&[&str]; 4] =
    [&[], &["-p", "my_project"], &["-d", "development"], &["-p", "my_project", "-d", "development"]];

/// Makes a vault with secrets of ordinary names, each in some of the scopes.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, scopes) in [("api_key", [0, 1, 3]), ("database_password", [0, 2, 3])] {
        scopes.iter().for_each(|scope| sandbox.secret(name, "hunter2", SCOPES[*scope]));
    }
    sandbox.file(".env", "API_KEY=hunter2\nDATABASE_PASSWORD=another\n");
    sandbox
}

#[test]
fn a_table_row_stays_one_line() {
    let sandbox = filled();
    let scope = ["-p", "my_project", "-d", "development"];
    let import = ["import", ".env", "--lower", "--dry-run"];
    for arguments in [
        &["get", "secret"][..],
        &["get", "secret", "api_key"],
        &["get", "recipient"],
        &[&["get", "secret", "--effective"], &scope[..]].concat(),
        &[&import[..], &scope[..]].concat(),
        &["rekey", "--dry-run"],
    ] {
        let piped = sandbox.run(arguments).text();
        let shown = data_on_screen(sandbox.command(arguments), COLUMNS).text();
        assert_fits(&format!("{arguments:?}"), &shown);
        assert_eq!(shown.lines().count(), piped.lines().count(), "{arguments:?}\n{shown}\n{piped}");
        for name in ["api_key", "database_password"] {
            let count = |text: &str| text.matches(name).count();
            assert_eq!(count(&shown), count(&piped), "{arguments:?}: a name is not whole\n{shown}");
        }
    }
    // A pipe gets the whole table, whatever COLUMNS says.
    let mut command = sandbox.command(&["get", "secret"]);
    let narrow = Ran::from(command.env("COLUMNS", "40").output().expect("it starts"));
    assert_eq!(narrow.text(), sandbox.run(&["get", "secret"]).text());
    assert!(narrow.text().lines().next().is_some_and(|line| line.contains("created")), "{narrow:?}");
}

#[test]
fn a_wide_cell_is_wrapped_within_its_column() {
    let sandbox = Sandbox::new();
    SCOPES.iter().for_each(|scope| sandbox.secret("database_password", "hunter2", scope));
    let arguments = ["get", "secret", "--effective", "-p", "my_project", "-d", "development"];
    let shown = data_on_screen(sandbox.command(&arguments), COLUMNS).text();
    let expected = "\
name               from                    shadows
─────────────────  ──────────────────────  ─────────────────────────────────────
database_password  my_project/development  project my_project; domain
                                           development; organization
";
    assert_eq!(shown, expected);
}

#[test]
fn keys_are_shown_in_full_where_they_are_the_subject() {
    let sandbox = filled();
    let text = |ran: Ran| ran.text();
    let keys: Vec<_> = text(sandbox.run(&["--output-format", "table-simple", "get", "identity"]))
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().nth(1).expect("a key").to_owned())
        .collect();
    assert_eq!(keys.len(), 2);
    let shown = text(data_on_screen(sandbox.command(&["get", "identity"]), COLUMNS));
    assert_fits("get identity", &shown);
    let checked = text(data_on_screen(sandbox.command(&["check"]), COLUMNS));
    assert_fits("check", &checked);
    let piped = text(sandbox.run(&["check"]));
    for key in &keys {
        assert!(shown.lines().any(|line| line.ends_with(&format!("  {key}"))), "{shown}");
        assert!(piped.contains(key.as_str()) && !checked.contains(key.as_str()), "{checked}\n{piped}");
        assert!(checked.contains(&format!("…{}", &key[key.len() - 10..])), "{checked}");
    }
}

/// Returns `flyte-local` and each of its commands that a help text lists.
fn commands(sandbox: &Sandbox) -> Vec<Vec<String>> {
    let (mut found, mut unread) = (Vec::new(), vec![Vec::new()]);
    while let Some(command) = unread.pop() {
        let ran = sandbox.run(&[&command[..], &["--help".to_owned()]].concat());
        if ran.code != 0 {
            continue;
        }
        let help = ran.text();
        let entries =
            help.lines().filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with([' ', '-'])));
        let words: BTreeSet<_> = entries.filter_map(|entry| entry.split(' ').next()).collect();
        // A word that is not a command is answered with an error, or with the help of the same command.
        let is_command = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase()) && *word != "help";
        if command.len() < 2 && help.contains("Usage: ") {
            let nested = words.into_iter().filter(is_command);
            unread.extend(nested.map(|word| [&command[..], &[word.to_owned()]].concat()));
        }
        found.push(command);
    }
    found
}

/// Returns the examples of a help text, each on one line.
fn examples(help: &str) -> Vec<&str> {
    let (_, after) = help.split_once("\nExamples:\n").unwrap_or_default();
    after.lines().take_while(|line| line.starts_with("  ")).collect()
}

#[test]
fn help_fits_and_keeps_examples_on_one_line() {
    let sandbox = Sandbox::empty();
    let commands = commands(&sandbox);
    assert!(commands.len() > 25, "{commands:?}");
    for command in commands {
        for option in ["-h", "--help"] {
            let arguments = [&command[..], &[option.to_owned()]].concat();
            let shown = data_on_screen(sandbox.command(&arguments), COLUMNS);
            assert_eq!(shown.code, 0, "{arguments:?}");
            let (shown, wide) = (shown.text(), sandbox.run(&arguments).text());
            assert_fits(&arguments.join(" "), &shown);
            assert_eq!(examples(&shown), examples(&wide), "{arguments:?}: an example is broken");
        }
    }
}

/// Runs the README's commands in order, each on a terminal. A table has as many lines as in the README.
#[test]
#[ignore = "needs the Flyte SDKs and age: scripts/test"]
fn the_screens_of_the_readme_fit() {
    require("age", "age");
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let sandbox = Sandbox::empty();
    if let Some(program) = blocks(&page, "python").first() {
        sandbox.file("hello.py", program);
    }
    let environment = python("newest").ancestors().nth(2).expect("bin/python lies two below").to_owned();
    let binary = Path::new(FLYTE_LOCAL).parent().expect("it lies in a directory");
    let path = [binary.to_owned(), environment.join("bin")].into_iter();
    let inherited = std::env::var_os("PATH").expect("PATH is set");
    let path = std::env::join_paths(path.chain(std::env::split_paths(&inherited))).expect("it was one");
    let steps: Vec<Step> = blocks(&page, "console").into_iter().flat_map(|block| steps(block, &[""])).collect();
    assert!(steps.len() > 5, "the screens were not found");
    let mut tables = 0;
    for step in steps {
        let mut command: Command = sandbox.program("sh");
        command.args(["-c", &step.command]).env("PATH", &path).env("VIRTUAL_ENV", &environment);
        let shown = on_screen(command, COLUMNS).text();
        if step.output.contains("──") {
            tables += 1;
            assert_fits(&step.command, &shown);
            assert_eq!(
                shown.lines().count(),
                step.output.lines().count(),
                "{}: a row is broken\n{shown}",
                step.command
            );
        }
    }
    assert!(tables > 0, "the README shows no table");
}

#[test]
fn statuses_are_coloured_on_a_colour_terminal() {
    let sandbox = Sandbox::new();
    sandbox.file(".env", "API_KEY=hunter2\n");
    let check = |variables: &[(&str, &str)]| {
        let mut command = sandbox.command(&["check"]);
        command.envs(variables.iter().copied());
        command
    };
    let terminal = ("TERM", "xterm-256color");
    let shown = data_on_screen(check(&[terminal]), COLUMNS).text();
    assert!(shown.contains("\u{1b}[32mok\u{1b}[0m      ") && !shown.contains("failed"), "{shown:?}");
    std::fs::remove_file(sandbox.identity()).expect("removed");
    let shown = data_on_screen(check(&[terminal]), COLUMNS);
    assert!(shown.text().contains("\u{1b}[1;31mfailed\u{1b}[0m  "), "{shown:?}");
    // The streams are independent: standard error is a pipe here, and standard output below.
    assert!(shown.stderr.starts_with("error: "), "{shown:?}");
    let mut command = sandbox.program("sh");
    command.args(["-c", &format!("{FLYTE_LOCAL} check | cat")]).env("TERM", "xterm");
    let shown = on_screen(command, COLUMNS).text();
    assert!(shown.contains("\u{1b}[1;31merror:\u{1b}[0m ") && shown.contains("  failed  "), "{shown:?}");

    let plain: [&[(&str, &str)]; 4] = [&[terminal, ("NO_COLOR", "1")], &[("TERM", "dumb")], &[("TERM", "")], &[]];
    for variables in plain {
        let shown = on_screen(check(variables), COLUMNS).text();
        assert!(shown.contains("failed") && shown.contains("error: "), "{variables:?}: {shown:?}");
        assert!(!shown.contains('\u{1b}'), "{variables:?}: {shown:?}");
    }
    let mut command = sandbox.command(&["import", ".env", "--dry-run"]);
    command.env("TERM", "xterm");
    let shown = data_on_screen(command, COLUMNS).text();
    assert!(shown.contains("\u{1b}[32mcreate\u{1b}[0m\n"), "{shown:?}");
    assert!(!sandbox.run(&["check"]).all().contains('\u{1b}'), "a pipe has no colour");
}

#[test]
fn a_revealed_value_ends_its_line_and_cannot_control_the_terminal() {
    let sandbox = Sandbox::new();
    let hostile = "two\nlines \u{1b}]0;title\u{7}\u{9b}31m\r日本";
    sandbox.secret("plain", "hunter2", &[]);
    sandbox.secret("key", "a key\nof two lines\n", &[]);
    sandbox.secret("hostile", hostile, &[]);
    sandbox.secret("binary", b"\xff\0", &[]);
    let shown = |arguments: &[&str]| data_on_screen(sandbox.command(arguments), COLUMNS);
    for (name, expected, is_exact) in [
        ("plain", "hunter2\n", true),
        ("key", "a key\nof two lines\n", true),
        ("hostile", "two\nlines \\u{1b}]0;title\\u{7}\\u{9b}31m\\u{d}日本\n", false),
        ("binary", "\\xff\\u{0}\n", false),
    ] {
        let ran = shown(&["get", "secret", name, "--reveal"]);
        assert_eq!((ran.code, ran.text().as_str()), (0, expected), "{ran:?}");
        assert_eq!(ran.stderr.is_empty(), is_exact, "a line says that it is not the value: {ran:?}");
    }
    let exported = shown(&["export", "hostile", "plain", "--format", "shell", "--reveal"]).text();
    assert!(exported.contains("\\u{1b}]0;title\\u{7}\\u{9b}31m"), "{exported:?}");
    assert!(exported.ends_with("hunter2\n") || exported.ends_with("hunter2'\n"), "{exported:?}");
    assert!(!exported.chars().any(|character| character.is_control() && character != '\n'), "{exported:?}");
    // To a pipe it is exact.
    assert_eq!(sandbox.ok(&["get", "secret", "hostile", "--reveal"]), hostile.as_bytes());
    assert_eq!(sandbox.ok(&["get", "secret", "plain", "--reveal"]), b"hunter2");
}
