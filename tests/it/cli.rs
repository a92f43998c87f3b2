//! Transcripts of the command line: each file in `tests/cmd` is one story, played in a new, empty home directory.
//!
//! To add a story, write a file of comments (`# …`) and commands (`$ …`, continued by `> …`). The test fills in the
//! rest, which you then read and judge:
//!
//!     FLYTE_LOCAL_TEST_OVERWRITE=1 cargo test --test it cli::
//!
//! `sh` runs each command in the directory `work` of the home directory, with `flyte-local` on its PATH and without
//! standard input. Below a command follow the lines of its standard output, those of its standard error after `! `, and
//! a nonzero exit code after `? `. The transcript leaves nothing out, so it asserts everything. `[NO NEWLINE]` ends a
//! stream that has no newline at its end. Text that differs from run to run is replaced: see [`masked`].

#![allow(clippy::disallowed_methods, reason = "tests read their own variables, and write no secrets")]

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, keyring_turn};

/// The programs beyond POSIX that transcripts use, and the packages that have them.
const PROGRAMS: [(&str, &str); 5] = [
    ("age", "age"),
    ("age-keygen", "age"),
    ("ssh-keygen", "openssh-client"),
    ("unshare", "util-linux"),
    ("flock", "util-linux"),
];

/// Returns whether a command of the story uses one of [`PROGRAMS`].
fn needs_programs(story: &Path) -> bool {
    let text = std::fs::read_to_string(story).expect("a text file");
    let commands = text.lines().filter_map(|line| line.strip_prefix("$ ").or_else(|| line.strip_prefix("> ")));
    let starts = |word: &str| PROGRAMS.iter().any(|(program, _)| word == *program);
    commands.flat_map(|command| command.split([' ', '(', ')', ';', '|', '&'])).any(starts)
}

/// Returns either the stories that need [`PROGRAMS`] or the others.
fn stories(with_programs: bool) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd");
    let entries = std::fs::read_dir(&directory).expect("the transcripts");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut stories: Vec<PathBuf> = paths.filter(|story| needs_programs(story) == with_programs).collect();
    assert!(stories.len() > 2, "the transcripts were not found");
    stories.sort();
    stories
}

#[test]
fn every_transcript_matches() {
    play_stories(&stories(false));
}

#[test]
#[ignore = "needs age, OpenSSH and util-linux: scripts/test"]
fn every_transcript_with_other_programs_matches() {
    for (tool, package) in PROGRAMS {
        crate::support::require(tool, package);
    }
    play_stories(&stories(true));
}

fn play_stories(stories: &[PathBuf]) {
    let (queue, failures) = (Mutex::new(stories.iter()), Mutex::new(Vec::new()));
    let next = || queue.lock().expect("no panic").next();
    let play_all = || {
        std::iter::from_fn(next).for_each(|story| {
            let failure = check(story);
            failures.lock().expect("no panic").extend(failure);
        })
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(play_all))));
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{}", failures.concat());
}

/// Plays a story, and returns how it differs from the file, if it does.
fn check(story: &Path) -> Option<String> {
    let expected = std::fs::read_to_string(story).expect("a text file");
    let _turn =
        ["$ flyte-local lock", "$ flyte-local unlock"].iter().any(|verb| expected.contains(verb)).then(keyring_turn);
    let actual = play(&expected);
    if actual == expected {
        return None;
    }
    if std::env::var_os("FLYTE_LOCAL_TEST_OVERWRITE").is_some() {
        std::fs::File::create(story)
            .and_then(|mut file| std::io::Write::write_all(&mut file, actual.as_bytes()))
            .expect("rewritten");
        return None;
    }
    Some(format!("\n{}\n{}", story.display(), difference(&expected, &actual)))
}

/// Plays the commands of a transcript, and returns the transcript with their present output.
fn play(transcript: &str) -> String {
    let sandbox = Sandbox::empty();
    let mut played = String::new();
    let mut lines = transcript.lines().peekable();
    let mut after_comment = true;
    while let Some(line) = lines.next() {
        if line.starts_with("# ") {
            played.push_str(if after_comment { "" } else { "\n" });
            played.push_str(&format!("{line}\n"));
            after_comment = true;
        } else if let Some(first) = line.strip_prefix("$ ") {
            let mut command = first.to_owned();
            played.push_str(if after_comment { "" } else { "\n" });
            played.push_str(&format!("{line}\n"));
            while let Some(more) = lines.next_if(|line| line.starts_with("> ")) {
                command.push_str(&format!("\n{}", &more[2..]));
                played.push_str(&format!("{more}\n"));
            }
            played.push_str(&outcome(&sandbox, &command));
            after_comment = false;
        }
    }
    played
}

fn outcome(sandbox: &Sandbox, command: &str) -> String {
    let path = std::env::var_os("PATH").expect("PATH is set");
    let ours = Path::new(FLYTE_LOCAL).parent().expect("a directory").to_owned();
    let path = std::env::join_paths(std::iter::once(ours).chain(std::env::split_paths(&path))).expect("it was one");
    let ran = Ran::from(
        sandbox
            .program("timeout")
            // Identities that a story writes must be readable by their owner only.
            .args(["20", "sh", "-c", &format!("umask 077\n{command}")])
            .env("PATH", path)
            .output()
            .expect("timeout and sh start"),
    );
    let mut text = String::new();
    for (prefix, stream) in [("", String::from_utf8_lossy(&ran.stdout).as_ref()), ("! ", ran.stderr.as_str())] {
        for line in masked(sandbox.home(), stream).split_inclusive('\n') {
            let end = if line.ends_with('\n') { "" } else { "[NO NEWLINE]\n" };
            let ours = ["$ ", "# ", "! ", "? "].iter().any(|sign| prefix.is_empty() && line.starts_with(sign));
            assert!(!ours, "change the command: this line of its output looks like transcript syntax: {line}");
            text.push_str(if line == "\n" { prefix.trim_end() } else { prefix });
            text.push_str(&format!("{line}{end}"));
        }
    }
    if ran.code != 0 {
        text.push_str(&format!("? {}\n", ran.code));
    }
    text
}

/// Replaces the home directory by `[HOME]`, a time by `[TIME]`, an age recipient by `[RECIPIENT]`, an author's key by
/// `[AUTHOR]`, and the holder of a lock by `[OWNER]`.
fn masked(home: &Path, text: &str) -> String {
    let text = text.replace(home.to_str().expect("UTF-8"), "[HOME]");
    let text = mask(&text, "20", "[TIME]", |word| word.len() >= 20 && word.contains('T') && word.ends_with('Z'));
    let text = mask(&text, "flyteauthor1", "[AUTHOR]", |word| word.len() == 70);
    let text = mask(&text, "age1", "[RECIPIENT]", |word| word.len() == 62);
    let owner = |line: &str| match line.split_once(" holds the lock; it has been running for ") {
        Some((owner, rest)) if owner.starts_with("caused by: process ") && owner.ends_with(" (flock)") => {
            format!("caused by: [OWNER]{}", rest.trim_start_matches(|c: char| c.is_ascii_digit() || " s".contains(c)))
        }
        _ => line.to_owned(),
    };
    text.split_inclusive('\n').map(owner).collect()
}

/// Replaces each word that begins with `start` and passes `test`.
fn mask(text: &str, start: &str, replacement: &str, test: impl Fn(&str) -> bool) -> String {
    let ends_word = |c: char| !c.is_ascii_alphanumeric() && !":-.".contains(c);
    let replaced = |piece: &str| {
        let word = piece.trim_end_matches(ends_word);
        if word.starts_with(start) && test(word) { piece.replacen(word, replacement, 1) } else { piece.to_owned() }
    };
    text.split_inclusive(ends_word).map(replaced).collect()
}

/// Returns the lines from the first to the last one that differs.
fn difference(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let same = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[same..], &new[same..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let lines = |sign: &str, lines: &[&str]| lines.iter().map(|line| format!("{sign}{line}\n")).collect::<String>();
    format!("line {}\n{}{}", same + 1, lines("-", &old[..old.len() - tail]), lines("+", &new[..new.len() - tail]))
}
