//! `docs/json-output.md` has each member that a command prints as JSON, and no other.

#![allow(clippy::disallowed_methods, reason = "the test changes files to get every row")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::pages::blocks;
use crate::support::{Ran, Sandbox, python};

/// A row of the page's tables: a member, its type, and whether it is always present.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    kind: String,
    is_always_there: bool,
}

/// The members of a command's output, by their paths.
type Members = BTreeMap<String, Member>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the page's sections on commands, by heading.
fn sections() -> BTreeMap<String, String> {
    let page = std::fs::read_to_string(root().join("docs/json-output.md")).expect("the page");
    let sections = page.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'));
    sections
        .filter(|(_, text)| text.contains("\n| member | type | left out | meaning |\n"))
        .map(|(heading, text)| (heading.to_owned(), text.to_owned()))
        .collect()
}

fn section(heading: &str) -> String {
    sections().remove(heading).unwrap_or_else(|| panic!("docs/json-output.md has no section {heading}"))
}

fn documented(section: &str) -> Members {
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let member = |row: &str| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, left_out, _] = cells[..] else { panic!("not four cells: {row}") };
        let member = Member { kind: kind.to_owned(), is_always_there: left_out == "never" };
        (name.trim_matches('`').to_owned(), member)
    };
    rows.map(member).collect()
}

/// Records the members below `path`: their types, how often they occurred, and how often they could have occurred.
fn walk(
    path: &str,
    value: &Value,
    seen: &mut BTreeMap<String, (String, usize)>,
    parents: &mut BTreeMap<String, usize>,
) {
    let Value::Object(object) = value else { return };
    *parents.entry(path.to_owned()).or_default() += 1;
    for (name, value) in object {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let kind = match value {
            Value::Null => panic!("{path} is null: a member without a value is left out"),
            Value::Bool(_) => "true or false",
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Object(_) => "object",
            Value::Array(list) if list.iter().any(Value::is_object) => "list of objects",
            Value::Array(list) if list.is_empty() => "list",
            Value::Array(_) => "list of texts",
        };
        let entry = seen.entry(path.clone()).or_insert_with(|| (kind.to_owned(), 0));
        // An empty list says nothing about its items.
        if entry.0 == "list" {
            kind.clone_into(&mut entry.0);
        }
        assert!(entry.0 == kind || kind == "list", "{path} is of two types: {} and {kind}", entry.0);
        entry.1 += 1;
        walk(&path, value, seen, parents);
        value.as_array().into_iter().flatten().for_each(|item| walk(&format!("{path}[]"), item, seen, parents));
    }
}

/// Returns the members of all these rows.
fn printed(rows: &[Value]) -> Members {
    let (mut seen, mut parents) = (BTreeMap::new(), BTreeMap::new());
    rows.iter().for_each(|row| walk("", row, &mut seen, &mut parents));
    let member = |(path, (kind, count)): (String, (String, usize))| {
        let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
        let is_always_there = count == parents[parent];
        (path, Member { kind, is_always_there })
    };
    seen.into_iter().map(member).collect()
}

/// Fails unless the section has exactly the members of these rows. Every member that can be left out must be left out of one
/// of the rows.
fn compare(heading: &str, rows: &[Value]) {
    let section = section(heading);
    assert_eq!(printed(rows), documented(&section), "docs/json-output.md, {heading}");
    let examples: Vec<Value> = blocks(&section, "json")
        .into_iter()
        .flat_map(|example| serde_json::from_str::<Vec<Value>>(example).expect("a list in JSON"))
        .collect();
    assert!(!examples.is_empty(), "{heading} has no example");
    let documented = documented(&section);
    for (path, member) in printed(&examples) {
        let known = documented.get(&path).unwrap_or_else(|| panic!("{heading}: the example has {path}"));
        assert!(known.kind.starts_with(&member.kind), "{heading}: {path} is {} in the example", member.kind);
        assert!(member.is_always_there || !known.is_always_there, "{heading}: the example lacks {path}");
    }
}

fn rows(ran: &Ran) -> Vec<Value> {
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn json(sandbox: &Sandbox, arguments: &[&str]) -> Vec<Value> {
    rows(&sandbox.run(&[&["--output-format", "json"], arguments].concat()))
}

const SCOPES: [&[&str]; 4] = [&[], &["-p", "p"], &["-d", "d"], &["-p", "p", "-d", "d"]];

/// A vault with a secret in each kind of scope, and an image pull secret.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    SCOPES.iter().for_each(|scope| sandbox.secret("a", "hunter2", scope));
    let registry = ["--type", "image_pull", "--registry", "ghcr.io", "--username", "me", "--password", "hunter2"];
    sandbox.ok(&[&["create", "secret", "pull"], &registry[..]].concat());
    sandbox
}

#[test]
fn lists_of_secrets_and_keys_print_the_documented_members() {
    let sandbox = filled();
    let listed = json(&sandbox, &["get", "secret"]);
    compare("get secret", &listed);
    let one = json(&sandbox, &["get", "secret", "a"]);
    assert!(one.len() == 1 && listed.contains(&one[0]), "{one:?}");
    let seen: Vec<_> =
        SCOPES.iter().flat_map(|scope| json(&sandbox, &[&["get", "secret", "--effective"], *scope].concat())).collect();
    compare("get secret --effective", &seen);
    compare("get recipient", &json(&sandbox, &["get", "recipient"]));
    compare("get identity", &json(&sandbox, &["get", "identity"]));
}

#[test]
fn check_import_and_rekey_print_the_documented_members() {
    let sandbox = filled();
    let mut imported = Vec::new();
    sandbox.file("x.env", "A=hunter2\nb=hunter2\n");
    sandbox.file("x.json", r#"{"a": "hunter2"}"#);
    let vault = sandbox.vault().display().to_string();
    for scope in SCOPES {
        imported.extend(json(&sandbox, &[&["import", "--dry-run", "x.env"], scope].concat()));
        imported.extend(json(&sandbox, &[&["import", "--dry-run", "x.json"], scope].concat()));
    }
    imported.extend(json(&sandbox, &["import", "--dry-run", "--from-vault", &vault]));
    compare("import", &imported);

    // These files predate the second recipient.
    let before: Vec<_> = ["org/a", "project/p/a", "domain/d/a"].map(|place| sandbox.secret_file(place)).into();
    let before: Vec<_> = before.into_iter().map(|file| (std::fs::read(&file).expect("there"), file)).collect();
    let bob = flyte_local::crypto::Identity::generate().recipient().to_string();
    sandbox.ok(&["create", "recipient", &bob, "--name", "bob"]);
    before.iter().for_each(|(bytes, file)| std::fs::write(file, bytes).expect("put back"));
    compare("rekey --dry-run", &json(&sandbox, &["rekey", "--dry-run"]));
    compare("check", &json(&sandbox, &["check"]));
    let removed = json(&sandbox, &["delete", "recipient", "bob"]);
    assert_eq!(removed, json(&sandbox, &["get", "secret"]), "delete recipient lists what get secret lists");
}

/// A process that is killed when dropped.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn dry_runs_of_run_and_push_print_the_documented_members() {
    let sandbox = filled();
    sandbox.file(
        "tasks.py",
        "import flyte\n\
         image = flyte.Image.from_debian_base(name='i').with_pip_packages('p', secret_mounts=['a'])\n\
         env = flyte.TaskEnvironment(name='e', image=image, secrets=['a', flyte.Secret('a', group='g'), flyte.Secret('no'),\n\
         \x20   flyte.Secret('a', mount='/etc/flyte/secrets')])\n\
         @env.task\n\
         def main() -> None: ...\n\
         special = main.override(secrets='a')\n\
         from flyte.connectors import AsyncConnectorExecutorMixin\n\
         from flyte.extend import TaskTemplate\n\
         from flyte.models import NativeInterface\n\
         class Query(AsyncConnectorExecutorMixin, TaskTemplate):\n\
         \x20   def custom_config(self, context): return {'secrets': {'password': 'a'}}\n\
         query = Query(name='query', task_type='q', image=None, interface=NativeInterface({}, {}))\n",
    );
    let mut declared = Vec::new();
    for scope in SCOPES {
        let arguments = [&["--dry-run", "--output-format", "json"], scope, &["tasks.py"]].concat();
        declared.extend(rows(&sandbox.flyte_run("connectors", &arguments)));
    }
    compare("run --dry-run", &declared);

    let cluster = Sandbox::new();
    let mut command = cluster.command(&["serve", "--port", "0"]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut endpoint = String::new();
    BufReader::new(process.stdout.take().expect("piped")).read_line(&mut endpoint).expect("an endpoint");
    let _served = Served(process);
    let mut pushed = Vec::new();
    for scope in [&[][..], &["--to-project", "q"], &["--to-domain", "d"]] {
        let mut command = sandbox.command(&["--output-format", "json", "push", "secret", "--dry-run", "--insecure"]);
        command.args(["--endpoint", endpoint.trim(), "--python"]).arg(python("newest")).args(["a", "pull"]).args(scope);
        pushed.extend(rows(&Ran::from(command.output().expect("it starts"))));
        let mut command = sandbox.command(&["--output-format", "json", "push", "secret", "--dry-run", "--insecure"]);
        command
            .args(["--endpoint", endpoint.trim(), "--python"])
            .arg(python("newest"))
            .args(["a", "-p", "p", "-d", "d"]);
        pushed.extend(rows(&Ran::from(command.output().expect("it starts"))));
    }
    compare("push secret", &pushed);
}

#[test]
fn every_row_type_has_a_section() {
    fn rows_below(directory: &Path) -> usize {
        let entries = std::fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable").path());
        let count = |path: std::path::PathBuf| match path.is_dir() {
            true => rows_below(&path),
            false => {
                let text = std::fs::read_to_string(&path).expect("readable");
                text.lines().filter(|line| line.starts_with("impl") && line.contains(" Row for ")).count()
            }
        };
        entries.map(count).sum()
    }
    let compared = std::fs::read_to_string(root().join("tests/it/json_output.rs")).expect("this file");
    let sections = sections();
    assert_eq!(rows_below(&root().join("src/cli")), sections.len(), "{:?}", sections.keys());
    for heading in sections.keys() {
        assert!(compared.contains(&format!("compare(\"{heading}\", ")), "{heading} is not compared");
    }
}
