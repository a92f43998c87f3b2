//! The documentation: its commands are run, its links lead somewhere, and its lists agree with the code.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::pages::{Step, blocks, steps, without_times};
use crate::support::{FLYTE_LOCAL, Ran, Sandbox, python, require};

/// The maximum number of lines in README.md, for two minutes of reading.
const MAX_README_LINES: usize = 140;

/// Pages whose `console` blocks have a test module, with its name.
const TESTED_ELSEWHERE: [(&str, &str); 2] = [("docs/teams.md", "teams"), ("docs/offline.md", "offline")];

/// Commands that prepare the sandbox of a page before its first command.
const PREPARATIONS: [(&str, &str); 2] = [
    (
        "docs/reference.md",
        "flyte-local init && mkdir ~/.docker && \
         echo '{\"auths\": {\"ghcr.io\": {\"auth\": \"YTpi\"}, \"https://index.docker.io/v1/\": {\"auth\": \"YTpi\"}}}' > ~/.docker/config.json",
    ),
    ("docs/identities.md", "flyte-local init && mkdir ~/.ssh && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519"),
];

/// Commands that must run before a line of an `sh` block: the page, the beginning of the line, and the commands.
const BEFORE: [(&str, &str, &str); 3] = [
    ("docs/reference.md", "flyte-local edit ", "flyte-local create secret my_config a; export EDITOR=true"),
    ("docs/reference.md", "echo $TOKEN", "TOKEN=a-token"),
    ("docs/identities.md", "flyte-local --identity ~/.ssh/id_ed25519 init", "export FLYTE_LOCAL_VAULT=another"),
];

/// Lines of `sh` blocks that do not run here: the page, the beginning of the line, and the reason.
const NOT_RUN: [(&str, &str, &str); 26] = [
    ("README.md", "cargo install", "it builds"),
    ("README.md", "scripts/demo", "it builds; CI runs it"),
    ("README.md", "scripts/test", "it is what runs this test"),
    ("CONTRIBUTING.md", "cargo ", "it builds"),
    ("CONTRIBUTING.md", "FLYTE_LOCAL_TEST_OVERWRITE=1 cargo ", "it builds, and changes files"),
    ("CONTRIBUTING.md", "scripts/", "it builds"),
    ("docs/reference.md", "flyte-local serve", "docs/offline.md runs Flyte's command through serve"),
    ("docs/identities.md", "flyte-local init --passphrase", "it asks on a terminal, as the suite passphrase does"),
    (
        "docs/identities.md",
        "flyte-local update identity --passphrase",
        "it asks on a terminal, as the suite passphrase does",
    ),
    ("docs/identities.md", "pass show flyte", "it needs a password manager and an SDK"),
    ("docs/identities.md", "flyte-local unlock", "it asks on a terminal, as the suite unlock does"),
    ("docs/identities.md", "flyte-local create recipient", "docs/teams.md runs it, with a key"),
    ("docs/identities.md", "flyte-local update vault", "docs/teams.md runs it, with a key"),
    ("docs/identities.md", "flyte-local delete recipient", "docs/teams.md runs it, with a recipient"),
    ("docs/file-secrets.md", "sudo ", "it changes /etc; the suite run_without_mount makes the link"),
    ("docs/import-export-push.md", "flyte-local import .env -p", "the suite import runs it, and looks at the secrets"),
    (
        "docs/import-export-push.md",
        "flyte-local import .env --lower",
        "the suite import runs it, and looks at the secrets",
    ),
    (
        "docs/import-export-push.md",
        "flyte-local import .env --map",
        "the suite import runs it, and looks at the secrets",
    ),
    (
        "docs/import-export-push.md",
        "flyte-local import --from-vault",
        "the suite import runs it, and looks at the secrets",
    ),
    ("docs/import-export-push.md", "flyte-local export", "the suite import runs it, after the imports"),
    ("docs/import-export-push.md", "eval ", "the suite import runs it, after the imports"),
    ("docs/import-export-push.md", "flyte-local push", "it needs a cluster; the suite push has a stand-in"),
    ("docs/offline.md", "flyte-local serve", "it serves until Ctrl-C"),
    ("docs/offline.md", "flyte --endpoint", "it needs the service of the line before"),
    ("docs/offline.md", "curl ", "it needs the service; the suite serve_recorded sends such requests"),
    ("docs/offline.md", "http://127.0.0.1", "it is the second line of curl"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the files below a directory with this extension, relative to the root, sorted.
fn files_in(directory: &str, extension: &str) -> Vec<String> {
    let (mut found, mut unvisited) = (Vec::new(), vec![root().join(directory)]);
    while let Some(directory) = unvisited.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for path in entries.map(|entry| entry.expect("listed").path()) {
            if path.is_dir() {
                unvisited.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let path = path.strip_prefix(root()).expect("below the root").to_owned();
                found.push(path.into_os_string().into_string().expect("UTF-8"));
            }
        }
    }
    found.sort();
    found
}

/// Returns every page of the repository.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "fixtures/vault-format/README.md"]
            .map(str::to_owned)
            .to_vec();
    pages.extend(files_in("docs", "md"));
    assert!(pages.len() > 15, "the pages were not found: {pages:?}");
    pages
}

/// A sandbox with the `python` blocks of a page as files. The last name in backquotes before a block names its file.
fn sandbox_of(page: &str, text: &str) -> Sandbox {
    let sandbox = Sandbox::empty();
    for (before, block) in text.match_indices("```python\n").zip(blocks(text, "python")) {
        let name = text[..before.0].rsplit('`').find(|word| word.ends_with(".py"));
        sandbox.file(name.unwrap_or_else(|| panic!("{page}: a Python block without a name")), block);
    }
    if let Some((_, preparation)) = PREPARATIONS.iter().find(|(prepared, _)| *prepared == page) {
        let ran = shell(&sandbox, preparation, &[]);
        assert_eq!(ran.code, 0, "{page}: {ran:?}");
    }
    sandbox
}

/// Runs a line in a page's sandbox, with `flyte-local` and these directories on its PATH.
fn shell(sandbox: &Sandbox, line: &str, path: &[PathBuf]) -> Ran {
    let binary = Path::new(FLYTE_LOCAL).parent().expect("it lies in a directory").to_owned();
    let inherited = std::env::var_os("PATH").expect("PATH is set");
    let directories = path.iter().cloned().chain([binary]).chain(std::env::split_paths(&inherited));
    let mut command = sandbox.program("sh");
    command.args(["-c", line]).env("PATH", std::env::join_paths(directories).expect("no colon"));
    if let Some(bin) = path.first() {
        command.env("VIRTUAL_ENV", bin.parent().expect("an environment"));
    }
    Ran::from(command.output().expect("sh starts"))
}

/// Runs the `console` blocks of a page in one sandbox, and returns the number of commands. Panics if any output differs.
fn play(page: &str, path: &[PathBuf]) -> usize {
    let text = read(page);
    let sandbox = sandbox_of(page, &text);
    let steps: Vec<Step> = blocks(&text, "console").into_iter().flat_map(|block| steps(block, &[""])).collect();
    let mut differences = String::new();
    for step in &steps {
        let ran = shell(&sandbox, &step.command, path);
        let mut output = ran.all().replace(&sandbox.home().display().to_string(), "/home/you");
        if !output.is_empty() && !output.ends_with('\n') {
            output.push('\n');
        }
        if ran.code != step.code || without_times(&output) != without_times(&step.output) {
            differences.push_str(&format!("$ {}\n{output}? {}\n", step.command, ran.code));
        }
    }
    assert!(differences.is_empty(), "{page} differs from what happened:\n{differences}");
    steps.len()
}

#[test]
#[ignore = "needs the Flyte SDKs and age: scripts/test"]
fn the_commands_of_the_readme_work() {
    require("age", "age");
    let bin = python("newest").parent().expect("a directory").to_owned();
    let commands = play("README.md", &[bin]);
    assert!(commands > 8, "the tour was not found: {commands}");
}

#[test]
#[ignore = "needs age and OpenSSH: scripts/test"]
fn the_console_blocks_of_every_page_work() {
    let mut commands = 0;
    let elsewhere = |page: &str| page == "README.md" || TESTED_ELSEWHERE.iter().any(|(other, _)| *other == page);
    for page in pages().iter().filter(|page| !elsewhere(page)) {
        commands += play(page, &[]);
    }
    assert!(commands > 8, "the console blocks were not found: {commands}");
    for (page, test) in TESTED_ELSEWHERE {
        let tests = files_in("tests", "rs");
        let test = tests.iter().find(|path| path.ends_with(&format!("/{test}.rs"))).expect("a test");
        assert!(read(test).contains(page), "{test} does not read {page}");
    }
}

#[test]
#[ignore = "needs OpenSSH: scripts/test"]
fn the_sh_blocks_of_every_page_work_or_are_listed_as_not_run() {
    require("ssh-keygen", "openssh-client");
    let (mut ran, mut used) = (0, BTreeSet::new());
    for page in &pages() {
        let text = read(page);
        let sandbox = sandbox_of(page, &text);
        for line in blocks(&text, "sh").into_iter().flat_map(str::lines).map(str::trim).filter(|line| !line.is_empty())
        {
            let excepted = NOT_RUN.iter().position(|(at, start, _)| *at == page.as_str() && line.starts_with(start));
            if let Some(index) = excepted {
                used.insert(index);
                continue;
            }
            let before = BEFORE.iter().find(|(at, start, _)| *at == page.as_str() && line.starts_with(start));
            let line = before.map_or(line.to_owned(), |(_, _, before)| format!("{before}; {line}"));
            let result = shell(&sandbox, &line, &[]);
            assert!(result.code == 0 && !result.stderr.contains("error:"), "{page}: {line}: {result:?}");
            ran += 1;
        }
    }
    let unused: Vec<_> = NOT_RUN.iter().enumerate().filter(|(index, _)| !used.contains(index)).collect();
    assert!(unused.is_empty(), "exceptions without a line: {unused:?}");
    assert!(ran > 5, "the sh blocks were not found: {ran}");
}

/// Returns a page without its fenced blocks.
fn prose(text: &str) -> String {
    let mut is_code = false;
    let mut prose = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            prose.push_str(line);
            prose.push('\n');
        }
    }
    prose
}

/// Returns the anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings =
        headings.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let mut anchors = BTreeSet::new();
    for heading in headings {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let mut candidates = (0..).map(|n| if n == 0 { anchor.clone() } else { format!("{anchor}-{n}") });
        anchors.insert(candidates.find(|candidate| !anchors.contains(candidate)).expect("endless"));
    }
    anchors
}

/// Returns the targets of a page's links.
fn links(text: &str) -> Vec<String> {
    let targets = prose(text);
    targets.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

#[test]
fn every_internal_link_leads_to_a_file_and_a_heading() {
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        for target in links(&text).into_iter().filter(|target| !target.contains("://")) {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let directory = root().join(&page).parent().expect("a directory").to_owned();
            let file = if path.is_empty() { root().join(&page) } else { directory.join(path) };
            assert!(file.exists(), "{page} links {target}, which is not there");
            if !anchor.is_empty() {
                let linked = std::fs::read_to_string(&file).expect("a page");
                assert!(anchors(&linked).contains(anchor), "{page} links {target}, which has no such heading");
            }
            count += 1;
        }
    }
    assert!(count > 50, "the links were not found: {count}");
}

#[test]
fn projects_are_linked_by_their_own_pages() {
    for page in pages() {
        for target in links(&read(&page)) {
            let registry = ["pypi.org", "crates.io", "docs.rs", "lib.rs", "npmjs.com"];
            assert!(!registry.iter().any(|host| target.contains(host)), "{page} links a registry: {target}");
        }
    }
}

#[test]
fn the_index_lists_every_page() {
    let index = links(&read("docs/README.md"));
    for page in files_in("docs", "md").iter().filter(|page| *page != "docs/README.md") {
        let name = page.strip_prefix("docs/").expect("below docs");
        assert!(index.iter().any(|target| target == name), "docs/README.md does not list {page}");
    }
}

#[test]
fn the_readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= MAX_README_LINES, "README.md has {lines} lines");
}

/// Returns a section of a page, up to the next heading of its level or a higher one.
fn section<'a>(text: &'a str, heading: &str) -> Option<&'a str> {
    let start = text.find(&format!("\n{heading}\n"))? + heading.len() + 2;
    let rest = &text[start..];
    let level = heading.split(' ').next().expect("split yields one").len();
    let end = rest.match_indices("\n#").map(|(index, _)| index).find(|index| {
        let marks = rest[index + 1..].bytes().take_while(|byte| *byte == b'#').count();
        marks <= level && rest[index + 1 + marks..].starts_with(' ')
    });
    Some(&rest[..end.unwrap_or(rest.len())])
}

/// Returns the first cells of a section's table rows.
fn first_cells(section: &str) -> Vec<&str> {
    section
        .lines()
        .filter(|line| line.starts_with("| "))
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .collect()
}

#[test]
fn the_reference_lists_the_variables_of_the_code() {
    let mut in_code = BTreeSet::new();
    let sources =
        files_in("src", "rs").into_iter().chain(files_in("src", "py")).chain(files_in("python/flyte_local", "py"));
    for text in sources.map(|path| read(&path)) {
        for (at, _) in text.match_indices("FLYTE_LOCAL_") {
            let name: String = text[at..].chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            in_code.insert(name);
        }
    }
    in_code.retain(|name| !name.starts_with("FLYTE_LOCAL_TEST"));
    let reference = read("docs/reference.md");
    let cells = first_cells(section(&reference, "## Variables").expect("the section"));
    let listed: BTreeSet<String> =
        cells.iter().filter(|cell| cell.starts_with('`')).map(|cell| cell.trim_matches('`').to_owned()).collect();
    assert!(in_code.len() > 5, "the variables were not found");
    assert_eq!(listed, in_code);
}

#[test]
fn the_reference_lists_the_exit_codes_of_the_code() {
    let sources = files_in("src/cli", "rs").into_iter().map(|path| read(&path));
    let lists: Vec<String> = sources
        .filter_map(|text| {
            Some(text.split("enum Exit {").nth(1)?.split('}').next().expect("split yields one").to_owned())
        })
        .collect();
    let [list] = &lists[..] else { panic!("not one enum Exit: {lists:?}") };
    let values = list.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(" = "));
    let mut codes: Vec<u8> = values.map(|(_, code)| code.parse().expect("a number")).collect();
    let reference = read("docs/reference.md");
    let section = section(&reference, "## Exit codes").expect("the section");
    let listed: Vec<u8> = first_cells(section).iter().filter_map(|cell| cell.parse().ok()).collect();
    // Codes from 126 on come from shells, for programs that do not start.
    for code in codes.extract_if(.., |code| *code >= 126) {
        assert!(section.contains(&code.to_string()), "{code} is not in the section");
    }
    assert_eq!(listed[0], 0);
    assert_eq!(listed[1..], codes);
}

/// Returns the help of a command.
fn help(command: &[&str]) -> String {
    let mut arguments = command.to_vec();
    arguments.push("--help");
    String::from_utf8(Sandbox::empty().ok(&arguments)).expect("UTF-8")
}

/// Returns the commands that a help text lists, indented by two: a verb, a noun, or both.
fn listed_commands(help: &str) -> Vec<&str> {
    let lines = help.lines().filter_map(|line| line.strip_prefix("  "));
    let names = lines.filter_map(|line| Some(line.split_once("  ")?.0));
    let is_name = |name: &&str| {
        name.split(' ').all(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase())) && !name.is_empty()
    };
    names.filter(is_name).collect()
}

/// Returns the options that a help text lists outside its global options, by their long names if they have one.
fn listed_options(help: &str) -> BTreeSet<String> {
    let own = help.split("\nGlobal options").next().expect("split yields one");
    // Other indentations belong to running text.
    let is_option = |line: &&str| line.starts_with("  -") || line.starts_with("      --");
    let lines = own.lines().filter(is_option).map(str::trim_start);
    let mut options: BTreeSet<String> = lines.filter_map(option).collect();
    options.retain(|option| !["--help", "--version"].contains(&option.as_str()));
    options
}

/// Returns the option in a line of a help text or in a cell: the long name if it has one.
fn option(text: &str) -> Option<String> {
    let end = |c: char| !c.is_ascii_alphanumeric() && c != '-';
    let words = text.split(end).filter(|word| word.starts_with("--") || word.starts_with('-') && word.len() == 2);
    let words: Vec<&str> = words.collect();
    words.iter().find(|word| word.starts_with("--")).or(words.first()).map(|word| (*word).to_owned())
}

/// Returns the options in the table of a section.
fn documented_options(section: &str) -> BTreeSet<String> {
    first_cells(section).into_iter().filter(|cell| cell.starts_with("`-")).filter_map(option).collect()
}

#[test]
fn the_reference_has_a_section_for_every_command_with_its_options() {
    let reference = read("docs/reference.md");
    let top = help(&[]);
    let global = top.split("\nGlobal options").nth(1).expect("global options");
    let global: BTreeSet<String> =
        global.lines().map(str::trim_start).filter(|line| line.starts_with("--")).filter_map(option).collect();
    assert!(global.len() > 3, "{global:?}");
    assert_eq!(documented_options(section(&reference, "## Global options").expect("the section")), global);

    // The top level lists verbs with their nouns; the help of a verb lists only the nouns.
    let listed: BTreeSet<String> = listed_commands(&top).into_iter().map(str::to_owned).collect();
    assert!(listed.len() > 15, "the commands were not found: {top}");
    let verbs = listed.iter().filter_map(|name| name.split_once(' ')).map(|(verb, _)| verb.to_owned());
    let names: BTreeSet<String> = verbs.chain(listed.iter().cloned()).chain(["help".to_owned()]).collect();
    for name in names.iter().filter(|name| *name != "help") {
        let text = section(&reference, &format!("### {name}")).unwrap_or_else(|| panic!("no section: {name}"));
        let help = help(&name.split(' ').collect::<Vec<_>>());
        assert_eq!(documented_options(text), listed_options(&help), "{name}");
        let nouns = listed_commands(&help).into_iter().map(|noun| format!("{name} {noun}"));
        let missing: Vec<String> = nouns.filter(|command| !listed.contains(command)).collect();
        assert!(missing.is_empty(), "the help of {name} lists what the top level does not: {missing:?}");
    }
    let commands = section(&reference, "## Commands").expect("the section");
    let headings: BTreeSet<String> =
        commands.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect();
    assert_eq!(headings, names);
}
