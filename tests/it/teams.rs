//! Executes the walk-through of `docs/teams.md`: each person's commands, in a separate home directory, with a shared bare
//! repository, and compares the output with the page.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::pages::{Step, blocks, steps};
use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require};

/// The people of the page.
const PEOPLE: [&str; 3] = ["alice", "bob", "ci"];

/// The repository's address on the page.
const REMOTE: &str = "git@example.com:team.git";

/// Continues where this person's last command ended: in its directory, with its variables.
const SCRIPT: &str = r#"
. "$SESSION"
eval "$TYPED"
code=$?
unset TYPED
{ export -p; printf 'cd "%s"\n' "$PWD"; } > "$SESSION"
exit $code
"#;

/// The page's placeholders for text that differs from run to run: `age1bob…` for bob's key.
#[derive(Default)]
struct Placeholders(BTreeMap<String, String>);

impl Placeholders {
    /// Returns a command with its placeholders filled in.
    fn fill(&self, command: &str) -> String {
        self.0.iter().fold(command.to_owned(), |command, (placeholder, value)| command.replace(placeholder, value))
    }

    /// Returns true if a line matches the page. Remembers the text for a new placeholder.
    fn match_line(&mut self, expected: &str, actual: &str) -> bool {
        let (expected, actual) = (normal(expected), normal(actual));
        let (expected, actual): (Vec<_>, Vec<_>) = (expected.split(' ').collect(), actual.split(' ').collect());
        expected.len() == actual.len()
            && expected.iter().zip(&actual).all(|(expected, actual)| self.match_word(expected, actual))
    }

    fn match_word(&mut self, expected: &str, actual: &str) -> bool {
        if expected == actual {
            return true;
        }
        let Some((before, after)) = expected.split_once('…') else { return false };
        let part = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let lead = before.trim_end_matches(part);
        let placeholder = format!("{}…", &before[lead.len()..]);
        let Some(value) = actual.strip_prefix(lead).and_then(|rest| rest.strip_suffix(after)) else { return false };
        let length = [("age1", 62), ("flyteauthor1", 70), ("AGE-SECRET-KEY-1", 74)];
        let fits = match length.iter().find(|(start, _)| placeholder.starts_with(start)) {
            Some((start, length)) => value.starts_with(start) && value.len() == *length,
            // A vault's id, or a fingerprint.
            None => [32, 64].contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_hexdigit()),
        };
        let is_anothers = self.0.iter().any(|(other, known)| known == value && *other != placeholder);
        fits && !is_anothers && self.0.entry(placeholder).or_insert_with(|| value.to_owned()) == value
    }

    /// Returns true if the output matches the page, where a line `…` stands for any lines.
    fn match_lines(&mut self, expected: &[&str], actual: &[&str]) -> bool {
        match (expected, actual) {
            ([], rest) => rest.is_empty(),
            (["…", expected @ ..], _) => {
                (0..=actual.len()).any(|skipped| self.match_lines(expected, &actual[skipped..]))
            }
            ([first, expected @ ..], [line, actual @ ..]) => {
                self.match_line(first, line) && self.match_lines(expected, actual)
            }
            _ => false,
        }
    }
}

/// Normalizes a line: columns and rules are as wide as their content, and times differ.
fn normal(line: &str) -> String {
    let word = |word: &str| {
        let end = |c: char| !c.is_ascii_alphanumeric();
        let time = word.trim_end_matches(end);
        let is_time = time.len() >= 20 && time.starts_with("20") && time.contains('T') && time.ends_with('Z');
        let is_rule = !word.is_empty() && word.chars().all(|c| c == '─');
        match (is_time, is_rule) {
            (true, _) => format!("TIME{}", &word[time.len()..]),
            (_, true) => "─".to_owned(),
            _ => word.to_owned(),
        }
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

struct Person {
    sandbox: Sandbox,
    name: &'static str,
}

impl Person {
    /// Makes a person who has git and flyte-local, but neither a vault nor an identity.
    fn new(name: &'static str, repository: &Path) -> Self {
        let sandbox = Sandbox::empty();
        let configuration = format!(
            "[user]\nname = {name}\nemail = {name}@example.com\n[init]\ndefaultBranch = main\n\
             [url \"{}\"]\ninsteadOf = {REMOTE}\n",
            repository.display(),
        );
        std::fs::write(sandbox.home().join(".gitconfig"), configuration).expect("written");
        std::fs::write(sandbox.home().join("session"), "").expect("written");
        Self { sandbox, name }
    }

    fn types(&self, command: &str) -> Ran {
        let binary = Path::new(FLYTE_LOCAL).parent().expect("it lies in a directory");
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").expect("PATH is set"));
        let home = self.sandbox.home();
        let mut shell = self.sandbox.program("sh");
        shell.args(["-c", SCRIPT]).current_dir(home).env("PATH", path).env("USER", self.name).env("TZ", "UTC");
        shell.env("SESSION", home.join("session")).env("TYPED", command);
        Ran::from(shell.output().expect("sh starts"))
    }
}

#[test]
#[ignore = "needs Git and age: scripts/test"]
fn the_walk_through_works_as_written() {
    for (tool, package) in [("git", "git"), ("age", "age"), ("age-keygen", "age")] {
        require(tool, package);
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/teams.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let server = Sandbox::empty();
    let repository = server.work().join("team.git");
    let mut init = server.program("git");
    init.args(["init", "--quiet", "--bare", "--initial-branch=main"]).arg(&repository);
    assert!(init.status().expect("git starts").success());
    let people = PEOPLE.map(|name| Person::new(name, &repository));

    let steps: Vec<Step> = blocks(&page, "console").into_iter().flat_map(|block| steps(block, &PEOPLE)).collect();
    let (mut placeholders, mut differences) = (Placeholders::default(), String::new());
    for step in &steps {
        let person = people.iter().find(|person| person.name == step.who).expect("one of them");
        let ran = person.types(&placeholders.fill(&step.command));
        // A value ends without a newline.
        let between = if ran.stdout.is_empty() || ran.stdout.ends_with(b"\n") { "" } else { "\n" };
        let output = [String::from_utf8_lossy(&ran.stdout).as_ref(), between, &ran.stderr].concat();
        let mut output = output.replace(&repository.display().to_string(), REMOTE);
        for other in &people {
            output = output.replace(&other.sandbox.home().display().to_string(), &format!("/home/{}", other.name));
        }
        let (expected, actual): (Vec<_>, Vec<_>) = (step.output.lines().collect(), output.lines().collect());
        if !placeholders.match_lines(&expected, &actual) || ran.code != step.code {
            differences.push_str(&format!("{}$ {}\n{output}? {}\n", step.who, step.command, ran.code));
        }
    }
    assert!(differences.is_empty(), "output that differs from the page:\n{differences}");
    let counts = PEOPLE.map(|name| steps.iter().filter(|step| step.who == name).count());
    assert!(counts.iter().all(|count| *count > 2), "the walk was not found: {counts:?}");
    crate::support::tally(&format!("docs/teams.md: {} commands by {} people", steps.len(), PEOPLE.len()));
}

/// Makes another user with their own keys, who accepted the owner's vault. Returns the user's sandbox and author key.
fn joined(owner: &Sandbox) -> (Sandbox, String) {
    let sandbox = Sandbox::empty();
    sandbox.ok(&["create", "identity"]);
    let keys = String::from_utf8(sandbox.ok(&["--output-format", "table-simple", "get", "identity"])).expect("UTF-8");
    let key = keys.split_whitespace().find(|word| word.starts_with("flyteauthor1")).expect("an author").to_owned();
    owner.ok(&["update", "vault", "--trust-author", &key, "--name", "bob"]);
    let fingerprint = owner.open_vault().fingerprint();
    let vault = owner.vault().display().to_string();
    sandbox.ok(&["--vault", &vault, "update", "vault", "--accept", "--expect", &fingerprint]);
    (sandbox, key)
}

#[test]
fn secrets_of_a_former_author_are_reported_and_refused_until_adopted() {
    let alice = Sandbox::new();
    let vault = alice.vault();
    let vault = vault.to_str().expect("UTF-8");
    let (bob, key) = joined(&alice);
    bob.ok(&["--vault", vault, "create", "secret", "his", "value", "-p", "p"]);
    bob.ok(&["--vault", vault, "create", "secret", "other", "value"]);
    alice.ok(&["create", "secret", "hers", "value"]);

    let removed = alice.run(&["update", "vault", "--distrust-author", "bob"]);
    assert_eq!(removed.code, 0, "{removed:?}");
    assert!(removed.stderr.starts_with(&format!("removed author \"bob\": {key}\n")), "{removed:?}");
    let mut signed: Vec<_> = removed
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("this secret is now refused, because they signed it: "))
        .collect();
    signed.sort_unstable();
    assert_eq!(signed, ["secret his (project p)", "secret other (organization)"], "{removed:?}");
    assert!(removed.stderr.contains("hint: to sign one yourself"), "{removed:?}");

    for name in ["", " bob", "a\nb", &key] {
        let named = alice.run(&["update", "vault", "--trust-author", &key, "--name", name]);
        assert_eq!(named.code, 2, "{named:?}");
    }

    // A rekey does not sign it with her key, because only he may know whether the value is right.
    let rekeyed = alice.run(&["rekey"]);
    assert_eq!(rekeyed.code, 13, "{rekeyed:?}");
    let read = |name: &str| alice.run(&["get", "secret", name, "-p", "p", "--reveal"]);
    assert_eq!(read("his").code, 13);
    alice.ok(&["update", "secret", "his", "-p", "p", "--adopt"]);
    assert_eq!(read("his").stdout, b"value");
    assert_eq!(alice.ok(&["get", "secret", "hers", "--reveal"]), b"value");
    let written = bob.run(&["--vault", vault, "create", "secret", "more", "value"]);
    assert_eq!(written.code, 13, "{written:?}");
}

#[test]
fn a_rekey_before_an_author_is_removed_keeps_their_secrets() {
    let alice = Sandbox::new();
    let vault = alice.vault();
    let vault = vault.to_str().expect("UTF-8");
    let (bob, key) = joined(&alice);
    bob.ok(&["--vault", vault, "create", "secret", "his", "value"]);
    let recipient = flyte_local::crypto::Identity::generate().recipient().to_string();
    alice.ok(&["create", "recipient", &recipient, "--name", "carol"]);
    let removed = alice.run(&["update", "vault", "--distrust-author", &key]);
    assert_eq!(removed.code, 0, "{removed:?}");
    assert!(!removed.stderr.contains("this secret is now refused"), "{removed:?}");
    assert_eq!(alice.ok(&["get", "secret", "his", "--reveal"]), b"value");
    assert_eq!(alice.run(&["check"]).code, 0);
}

#[test]
fn one_secret_for_other_recipients_is_reported_in_the_singular() {
    let alice = Sandbox::new();
    let vault = alice.vault();
    let vault = vault.to_str().expect("UTF-8");
    let (bob, _) = joined(&alice);
    bob.ok(&["--vault", vault, "create", "secret", "his", "value"]);
    let before = std::fs::read(alice.secret_file("org/his")).expect("there");
    let recipient = flyte_local::crypto::Identity::generate().recipient().to_string();
    alice.ok(&["create", "recipient", &recipient, "--name", "carol"]);
    std::fs::write(alice.secret_file("org/his"), before).expect("written");
    let found = alice.run(&["check"]);
    assert_eq!(found.code, 13, "{found:?}");
    assert!(found.stderr.starts_with("error: the recipients of 1 secret are out of date"), "{found:?}");
}
