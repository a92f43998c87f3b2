//! The rules of plain English, in comments, documents, messages, test names and the output of `--help`.
//!
//! A line fails that has a banned phrase, a sentence that opens with a word such as "What" or "Whether" without being a
//! question, or a function's name that does either.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::path::{Path, PathBuf};

use crate::support::{FLYTE_LOCAL, Sandbox};

/// Lines that may break a rule: a file's name, a part of the line, and the reason.
const EXCEPTIONS: &[(&str, &str, &str)] =
    &[("tests/it/ordinary_user.rs", "a value nobody", "the name of the overflow user")];

/// Forms of "to be", after which "none" and "no x" stand for a verb that is missing.
const BE: [&str; 5] = ["is", "are", "was", "were", "be"];

/// Words that may follow "is no".
const AFTER_NO: [&str; 6] = ["longer", "more", "less", "later", "fewer", "better"];

/// Words that stand for a role: a user, a recipient, an author, a process.
const WITHOUT_A_ROLE: [&str; 4] = ["nobody", "somebody", "whoever", "anybody"];

/// Phrases that are banned as they stand.
const PHRASES: [&str; 13] = [
    "anew",
    "told of",
    "goes before",
    "stands there",
    "as it should be",
    "else only",
    "by now",
    "of theirs",
    "of ours",
    "of yours",
    "of hers",
    "of mine",
    "of its own",
];

/// Words that open a sentence only if it is a question.
const OPENINGS: [&str; 7] = ["What", "That", "Whether", "Whoever", "Whose", "Of", "Where"];

/// Verbs after which an opening word may begin a question.
const QUESTIONS: [&str; 6] = ["is", "are", "does", "do", "can", "happens"];

/// A kind of text, by which lines are known as prose.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Rust, Python and shell: comments.
    Code,
    /// Markdown: what is not in a code block.
    Markdown,
    /// Transcripts: comments and standard error.
    Transcript,
    /// The output of a command: every line.
    Output,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        let in_scripts = path.parent().is_some_and(|directory| directory.ends_with("scripts"));
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("rs" | "py" | "sh") => Some(Self::Code),
            Some("md") => Some(Self::Markdown),
            Some("txt") => Some(Self::Transcript),
            None if in_scripts => Some(Self::Code),
            _ => None,
        }
    }
}

/// A word and the characters between the word before it and this one.
struct Word<'a> {
    gap: &'a str,
    text: &'a str,
    line: usize,
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Splits lines into words; the end of a line counts as a space. The last "word" is empty, with the characters after the
/// last one.
fn words<'a>(lines: &[&'a str]) -> Vec<Word<'a>> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(lines) {
        let (mut rest, mut is_first) = (*text, true);
        while let Some(start) = rest.find(is_word) {
            let end = rest[start..].find(|c| !is_word(c)).map_or(rest.len(), |length| start + length);
            // The end of the line before is a space.
            let gap = if is_first && start == 0 { " " } else { &rest[..start] };
            found.push(Word { gap, text: &rest[start..end], line });
            (rest, is_first) = (&rest[end..], false);
        }
        if !rest.is_empty() {
            found.push(Word { gap: rest, text: "", line });
        }
    }
    found
}

/// Finds banned phrases: the line and the phrase.
fn phrases(lines: &[&str]) -> Vec<(usize, String)> {
    let words = words(lines);
    let is = |index: usize, text: &str| words.get(index).is_some_and(|word| word.text.eq_ignore_ascii_case(text));
    // A word that follows the one before after one space.
    let follows = |index: usize| words.get(index).is_some_and(|word| word.gap == " ");
    let mut found = Vec::new();
    for index in 0..words.len() {
        let mut add = |text: String| found.push((words[index].line, text));
        if BE.iter().any(|verb| is(index, verb)) && follows(index + 1) {
            let after_there = index > 0 && is(index - 1, "there") && follows(index);
            // Python writes its constant with a capital.
            let is_none = words.get(index + 1).is_some_and(|word| word.text == "none");
            if is_none && !after_there {
                add(format!("{} none", words[index].text));
            }
            let next = words.get(index + 2).map_or("", |word| word.text);
            let is_allowed = AFTER_NO.iter().any(|word| next.eq_ignore_ascii_case(word));
            if is(index + 1, "no")
                && follows(index + 2)
                && next.starts_with(|c: char| c.is_ascii_alphabetic())
                && !is_allowed
                && !after_there
            {
                add(format!("{} no {next}", words[index].text));
            }
            if is(index + 1, "told") {
                add(format!("{} told", words[index].text));
            }
        }
        let ends = |index: usize| words.get(index).is_none_or(|word| word.gap.starts_with(['.', ',', ';', ':', ')']));
        if is(index, "of") && follows(index + 1) && is(index + 1, "its") && ends(index + 2) {
            add("of its".to_owned());
        }
        if WITHOUT_A_ROLE.iter().any(|word| is(index, word)) {
            add(words[index].text.to_owned());
        }
        for phrase in PHRASES {
            let parts = || phrase.split(' ').enumerate();
            if parts().all(|(offset, part)| is(index + offset, part) && (offset == 0 || follows(index + offset))) {
                add(phrase.to_owned());
            }
        }
    }
    found
}

/// Whether the sentence at the start of `text` ends in a question mark.
fn is_question(text: &str) -> bool {
    let ends = text.char_indices().find(|(index, character)| {
        ".?!".contains(*character) && text[index + 1..].chars().next().is_none_or(char::is_whitespace)
    });
    ends.is_some_and(|(_, character)| character == '?')
}

/// The opening words of sentences of `line` that are not questions; `after` are the lines that follow.
fn openings(line: &str, after: &str) -> Vec<&'static str> {
    let line = line.trim_start_matches(['-', '*', '|', '>', '#']);
    let numbered = line.split_once(". ").filter(|(number, _)| number.chars().all(|c| c.is_ascii_digit()));
    let line = numbered.map_or(line, |(_, rest)| rest).trim_start();
    let mut found = Vec::new();
    for opening in OPENINGS {
        for (start, _) in line.match_indices(opening) {
            let (before, rest) = (&line[..start], &line[start + opening.len()..]);
            let opens = before.is_empty() || [". ", ": ", "! ", "? ", "| "].iter().any(|end| before.ends_with(end));
            if !opens || rest.starts_with(is_word) {
                continue;
            }
            let verb = rest.strip_prefix(' ').and_then(|rest| rest.split(|c| !is_word(c)).next()).unwrap_or_default();
            let asks = QUESTIONS.contains(&verb) && rest.split('.').next().is_some_and(|part| part.contains('?'));
            if !asks && !is_question(&format!("{rest} {after}")) {
                found.push(opening);
            }
        }
    }
    found
}

/// The name of a function on this line that breaks a rule.
fn bad_name(line: &str) -> Option<&str> {
    let start = ["fn ", "def "].iter().find_map(|keyword| {
        let index = line.find(keyword)?;
        (!line[..index].ends_with(is_word)).then_some(index + keyword.len())
    })?;
    let name = line[start..].split(|c| !is_word(c)).next().unwrap_or_default();
    let opens = OPENINGS.iter().any(|opening| name.starts_with(&format!("{}_", opening.to_lowercase())));
    let has_phrase =
        ["_is_no_", "_anew", "told_of", "as_it_should_be", "by_now"].iter().any(|part| name.contains(part));
    let stands_for_a_role = WITHOUT_A_ROLE.iter().any(|word| name.contains(word));
    (opens || has_phrase || stands_for_a_role || name.ends_with("is_none")).then_some(name)
}

/// The prose of a line of code: its comment, if it is one.
fn comment(line: &str) -> Option<&str> {
    let text = ["///", "//!", "//", "#", "!", ">"].iter().find_map(|mark| line.strip_prefix(mark))?;
    // `#[test]` is no comment, and `#!` is for the kernel.
    (!line.starts_with("#[") && !line.starts_with("#![")).then(|| text.trim_start())
}

/// Every break of a rule in a text.
fn check(name: &str, text: &str, kind: Kind) -> Vec<String> {
    let (mut prose, mut is_fenced) = (Vec::new(), false);
    let mut stripped = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let found = match kind {
            Kind::Code => comment(line),
            Kind::Transcript => line.strip_prefix("# ").or_else(|| line.strip_prefix("! ")),
            Kind::Output => Some(line),
            Kind::Markdown if line.starts_with("```") => {
                is_fenced = !is_fenced;
                None
            }
            Kind::Markdown => (!is_fenced).then_some(line),
        };
        prose.push(found);
        stripped.push(found.unwrap_or(line));
    }
    let mut found: Vec<(usize, String)> = phrases(&stripped);
    for (index, line) in prose.iter().enumerate() {
        if let Some(line) = line {
            let after = stripped[index + 1..].iter().take(3).copied().collect::<Vec<_>>().join(" ");
            found.extend(openings(line, &after).into_iter().map(|word| (index + 1, format!("opens with {word}"))));
        }
    }
    if kind == Kind::Code {
        let names = text.lines().enumerate();
        found.extend(names.filter_map(|(index, line)| Some((index + 1, format!("the name {}", bad_name(line)?)))));
    }
    found.sort();
    let lines: Vec<&str> = text.lines().collect();
    let is_excepted = |line: usize| {
        let excepted = |(file, part, _): &(&str, &str, &str)| name.ends_with(file) && lines[line - 1].contains(part);
        EXCEPTIONS.iter().any(excepted)
    };
    let found = found.into_iter().filter(|(line, _)| !is_excepted(*line));
    found.map(|(line, what)| format!("{name}:{line}: {what}: {}", lines[line - 1].trim())).collect()
}

/// The files that the rules are for.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut unvisited) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = unvisited.pop() {
        for entry in std::fs::read_dir(&directory).expect("listed").map(|entry| entry.expect("listed")) {
            let (path, name) = (entry.path(), entry.file_name().into_string().expect("UTF-8"));
            if entry.file_type().expect("known").is_dir() {
                if !["target", "corpus", "__pycache__"].contains(&name.as_str()) && !name.starts_with('.') {
                    unvisited.push(path);
                }
            } else if !["generated.rs", "prose.rs"].contains(&name.as_str()) && Kind::of(&path).is_some() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The output of `--help` of each command, found by what the help of the command above it names.
fn helps() -> Vec<(String, String)> {
    let sandbox = Sandbox::empty();
    let (mut found, mut unvisited) = (Vec::new(), vec![Vec::new()]);
    while let Some(command) = unvisited.pop() {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let ran = sandbox.run(&arguments);
        let usage = format!("Usage: {}", [&["flyte-local".to_owned()], &command[..]].concat().join(" "));
        if ran.code != 0 || !ran.text().contains(&usage) {
            continue;
        }
        for line in ran.text().lines().filter_map(|line| line.strip_prefix("  ")) {
            let word = line.split(' ').next().unwrap_or_default();
            let names_a_command = word.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains("  ");
            if names_a_command && word != "help" && command.len() < 3 {
                unvisited.push([&command[..], &[word.to_owned()]].concat());
            }
        }
        found.push((format!("{FLYTE_LOCAL} {}", arguments.join(" ")), ran.text()));
    }
    found
}

#[test]
fn every_sentence_is_plain_english() {
    let files = files();
    assert!(files.len() > 200, "the files were not found");
    let mut failures = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("text");
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("below it").display().to_string();
        failures.extend(check(&name, &text, Kind::of(&path).expect("a kind that is read")));
    }
    let helps = helps();
    assert!(helps.len() > 20, "the commands were not found: {}", helps.len());
    for (name, text) in helps {
        failures.extend(check(&name, &text, Kind::Output));
    }
    assert!(failures.is_empty(), "{} lines:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_planted_sentence_fails() {
    for (kind, text) in [
        (Kind::Code, "/// What a stopped write left.\n"),
        (Kind::Code, "// Fine. Whether it is there.\n"),
        (Kind::Code, "/// Of these.\n"),
        (Kind::Code, "# Where it lies.\n"),
        (Kind::Code, "fn what_is_there() {}\n"),
        (Kind::Code, "    def of_these(self):\n"),
        (Kind::Code, "fn nobody_is_a_recipient() {}\n"),
        (Kind::Code, "fn it_is_no_secret() {}\n"),
        (Kind::Code, "fail(\"an empty passphrase is none\")\n"),
        (Kind::Code, "// It is\n// none.\n"),
        (Kind::Markdown, "This is no vault.\n"),
        (Kind::Markdown, "| one | What remains |\n"),
        (Kind::Markdown, "* That it works\n"),
        (Kind::Markdown, "It is encrypted anew.\n"),
        (Kind::Markdown, "The user is told.\n"),
        (Kind::Transcript, "! error: a key of ours\n"),
        (Kind::Output, "Refuse a part of its\n"),
        (Kind::Output, "Whoever has it, opens it\n"),
    ] {
        assert!(!check("planted", text, kind).is_empty(), "{text}");
    }
}

#[test]
fn a_plain_sentence_passes() {
    for (kind, text) in [
        (Kind::Code, "/// Returns what a stopped write left.\n"),
        (Kind::Code, "/// What is it?\n/// Whose key\n/// is this?\n"),
        (Kind::Code, "#[test]\nfn a_vault_without_recipients_is_refused() {}\n"),
        (Kind::Markdown, "There is none, and it is no longer there.\n```\nThat is code.\n```\n"),
        (Kind::Markdown, "It is nonetheless a file of its owner.\n"),
        (Kind::Transcript, "$ flyte-local check\nWhat a command prints\n"),
    ] {
        assert_eq!(check("planted", text, kind), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn every_exception_is_needed_and_has_a_reason() {
    for (file, part, reason) in EXCEPTIONS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(path).expect("an excepted file");
        assert!(text.contains(part) && reason.len() > 10, "{file}: {part}: {reason}");
    }
}
