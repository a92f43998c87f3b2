//! Flyte's own command line and `flyte.remote.Secret`, unmodified, with a vault: the oldest and the newest SDK. Faults of the
//! oldest SDK itself are asserted as they are.

#![allow(clippy::disallowed_methods, reason = "tests write files as any program could")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::support::http::{JSON, Serving, path, post};
use crate::support::{Ran, SDKS, Sandbox, python, secret_id, tally, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// The scopes of a secret: options of a command, and the scope in words.
const SCOPES: [(&[&str], &str); 4] = [
    (&[], "organization"),
    (&["-p", "p"], "project p"),
    (&["-d", "d"], "domain d"),
    (&["-p", "p", "-d", "d"], "project p, domain d"),
];

/// The places of these scopes for [`Sandbox::secret_file`], in the same order.
const PLACES: [&str; 4] = ["org", "project/p", "domain/d", "project/p/domain/d"];

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}

/// `flyte-local serve --log -- python SCRIPT ARGUMENTS`.
fn serve_python(sandbox: &Sandbox, sdk: &str, name: &str, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(&["serve", "--log", "--"]);
    command.arg(python(sdk)).arg(script(name)).args(arguments);
    command
}

fn ran(command: &mut Command) -> Ran {
    Ran::from(command.output().expect("it starts"))
}

fn piped(command: &mut Command, input: &[u8]) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let _ = child.stdin.take().expect("piped").write_all(input);
    Ran::from(child.wait_with_output().expect("it ends"))
}

/// The result of one of Flyte's commands, without frames and padding.
#[derive(Debug, PartialEq)]
struct Said {
    code: i64,
    lines: Vec<String>,
}

impl Said {
    /// Returns the rows of a table without the time, which must be after 2020.
    fn rows<'a>(&'a self) -> Vec<Vec<&'a str>> {
        let heading = self.lines.iter().position(|line| line.ends_with("Status Cluster_status")).expect("a table");
        let row = |line: &'a String| {
            let mut cells: Vec<&str> = line.split(' ').collect();
            assert!(cells.remove(4) > "2020-", "{line}");
            cells
        };
        self.lines[heading + 1..].iter().map(row).collect()
    }

    /// Returns the output as JSON; it may also be in Python's notation.
    fn json(&self) -> Value {
        let text = self.lines.join(" ").replace('\'', "\"");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    fn is(&self, code: i64, last: &str) -> bool {
        self.code == code && self.lines.last().map_or("", String::as_str) == last
    }
}

/// A sequence of Flyte's commands.
#[derive(Default)]
struct Session {
    steps: Vec<Vec<String>>,
}

impl Session {
    /// Adds a command. Returns its number.
    fn step(&mut self, arguments: &[&str], more: &[&str]) -> usize {
        self.steps.push(arguments.iter().chain(more).map(|&argument| argument.to_owned()).collect());
        self.steps.len() - 1
    }

    /// Runs the commands. Returns the result of each, and the log.
    fn run(&self, sandbox: &Sandbox, sdk: &str) -> (Vec<Said>, String) {
        let input: String = self.steps.iter().map(|step| format!("{}\n", json!(step))).collect();
        let ran = piped(&mut serve_python(sandbox, sdk, "serve_cli.py", &[]), input.as_bytes());
        assert_eq!(ran.code, 0, "{ran:?}");
        let said = |line: &str| {
            let answer: Value = serde_json::from_str(line).expect("JSON");
            let lines = answer["said"].as_array().expect("a list").iter();
            let lines = lines.map(|line| line.as_str().expect("text").to_owned()).collect();
            Said { code: answer["code"].as_i64().expect("a number"), lines }
        };
        let said: Vec<_> = ran.text().lines().map(said).collect();
        assert_eq!(said.len(), self.steps.len(), "{ran:?}");
        (said, ran.stderr)
    }
}

/// The oldest SDK's error for `get secret NAME` of an existing secret, and for `--output-format json` of any list.
const NOT_ITERABLE: &str = "Error invoking command: 'Secret' object is not iterable";

const NOT_FOUND: &str = "Requested object NOT FOUND. Please check your input. Error: there is no secret";
const HINT: &str = "hint: list the secrets: flyte-local get secret";

/// The scopes, by number, that a list with the options of each scope shows: without options every scope, otherwise those
/// with that project and that domain.
const SHOWN: [&[usize]; 4] = [&[0, 1, 2, 3], &[1, 3], &[2, 3], &[3]];

/// Asserts that a table has a row of the secret `s` in each of these scopes, and no others.
fn assert_rows(sdk: &str, said: &Said, scopes: &[usize]) {
    let mut rows = said.rows();
    rows.sort();
    let cluster_status: &[&str] = if sdk == "oldest" { &["{}"] } else { &[] };
    let row = |&scope: &usize| {
        let (project, domain) = [("-", "-"), ("p", "-"), ("-", "d"), ("p", "d")][scope];
        [&[project, domain, "s", "regular", "FULLY_PRESENT"], cluster_status].concat()
    };
    let mut expected: Vec<_> = scopes.iter().map(row).collect();
    expected.sort();
    assert_eq!(rows, expected, "{sdk}: {said:?}");
}

/// Asserts that a list in JSON has the secret `s` in each of these scopes, and no others.
fn assert_documents(sdk: &str, said: &Said, scopes: &[usize]) {
    if sdk == "oldest" {
        assert!(said.is(1, NOT_ITERABLE), "{said:?}");
        return;
    }
    let document = said.json();
    let document = document.as_array().expect("a list");
    let mut ids = BTreeSet::new();
    for secret in document {
        let about = &secret["secretMetadata"];
        let created = about["createdTime"].as_str().expect("a time");
        assert!(created > "2020-" && created.ends_with('Z'), "{secret}");
        assert_eq!(about["secretStatus"], json!({ "overallStatus": "FULLY_PRESENT" }), "{secret}");
        assert_eq!(
            (about.as_object().map(|about| about.len()), secret.as_object().map(|it| it.len())),
            (Some(2), Some(2))
        );
        ids.insert(secret["id"].to_string());
    }
    let id = |&scope: &usize| {
        let mut id = json!({ "name": "s" });
        for part in SCOPES[scope].0.chunks(2) {
            id[if part[0] == "-p" { "project" } else { "domain" }] = part[1].into();
        }
        id.to_string()
    };
    assert_eq!(ids, scopes.iter().map(id).collect(), "{sdk}: {said:?}");
    assert_eq!(document.len(), scopes.len(), "{sdk}: {said:?}");
}

/// Adds all four verbs in a scope. Returns each step's number, exit code and last line.
fn verbs(session: &mut Session, (scope, words): (&[&str], &str)) -> Vec<(usize, i64, &'static str)> {
    let value = format!("value of {words}");
    let steps: [(&[&str], i64, &str); 6] = [
        (&["create", "secret", "s", "--value", &value], 0, ""),
        (&["create", "secret", "s", "--value", "another"], 1, "Resource already exists."),
        (&["create", "secret", "gone", "--value", "x"], 0, ""),
        (&["delete", "secret", "gone"], 0, "Successfully deleted secret gone."),
        (&["delete", "secret", "gone"], 1, HINT),
        (&["get", "secret", "gone"], 1, HINT),
    ];
    steps.map(|(arguments, code, last)| (session.step(arguments, scope), code, last)).into()
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn every_verb_works_in_every_scope() {
    let mut commands = 0;
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let mut session = Session::default();
        let expected = SCOPES.map(|scope| verbs(&mut session, scope));
        let one = SCOPES.map(|(scope, _)| session.step(&["get", "secret", "s"], scope));
        let lists = ["table", "table-simple", "json", "json-raw"]
            .map(|format| SCOPES.map(|(scope, _)| session.step(&["--output-format", format, "get", "secret"], scope)));
        let (said, log) = session.run(&sandbox, sdk);
        for ((_, words), steps) in SCOPES.iter().zip(&expected) {
            for (number, code, last) in steps {
                assert!(said[*number].is(*code, last), "{sdk}: {:?}: {:?}", session.steps[*number], said[*number]);
                let line = format!("{NOT_FOUND} gone ({words})");
                assert!(*last != HINT || said[*number].lines.contains(&line), "{sdk}: {:?}", said[*number]);
            }
        }
        for (scope, number) in one.into_iter().enumerate() {
            assert_documents(sdk, &said[number], &[scope]);
        }
        let [table, table_simple, json, json_raw] = lists;
        for (scope, shown) in SHOWN.into_iter().enumerate() {
            assert_rows(sdk, &said[table[scope]], shown);
            assert_rows(sdk, &said[table_simple[scope]], shown);
            assert_documents(sdk, &said[json[scope]], shown);
            assert_documents(sdk, &said[json_raw[scope]], shown);
        }
        for (scope, words) in SCOPES {
            let revealed = sandbox.ok(&[&["get", "secret", "s", "--reveal"], scope].concat());
            assert_eq!(revealed, format!("value of {words}").as_bytes(), "{sdk}");
            for line in ["CreateSecret secret s (?): done", "CreateSecret secret s (?): already_exists"]
                .into_iter()
                .chain(["DeleteSecret secret gone (?): not_found", "GetSecret secret gone (?): not_found"])
            {
                assert!(log.contains(&line.replace('?', words)), "{sdk}: {line}: {log}");
            }
        }
        assert!(!log.contains("value of") && !log.contains("another"), "a value is in the log: {log}");
        commands += said.len();
    }
    tally(&format!(
        "serve: {commands} commands of two SDKs' own command lines in 4 scopes, each with the expected outcome"
    ));
}

/// Values that a careless client or server would change.
fn values() -> [(&'static str, Vec<u8>); 6] {
    [
        ("every_byte", (0..=255).collect()),
        ("nul", b"\0".to_vec()),
        ("empty", Vec::new()),
        ("newline", b"\r\n".to_vec()),
        ("words", "f\u{fc}r \u{1f511}".into()),
        ("mebibyte", (0..1_u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
    ]
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn valid_values_arrive_unchanged_and_invalid_ones_are_refused() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let mut session = Session::default();
        for (name, value) in values() {
            sandbox.file(name, value);
            session.step(&["create", "secret", name, "--from-file", name], &[]);
        }
        session.step(&["create", "secret", "typed", "--value", "a b\nc"], &[]);
        session.step(&["create", "secret", "typed_empty", "--value", ""], &[]);
        let pull = ["--type", "image_pull", "--registry", "ghcr.io", "--username", "u", "--password", "hunter2"];
        session.step(&["create", "secret", "pull"], &pull);
        let good = session.steps.len();

        let long = "n".repeat(300);
        let only = "has only letters, digits, '-' and '_', this one has";
        let refused: [(&[&str], &[&str], String); 9] = [
            (&["a/b"], &[], format!("a secret name {only} '/'")),
            (&["../up"], &[], format!("a secret name {only} '.'")),
            (&["a b"], &[], format!("a secret name {only} ' '")),
            (&["\u{e9}"], &[], format!("a secret name {only} '\u{e9}'")),
            (&[""], &[], "a secret name cannot be empty".to_owned()),
            (&[&long], &[], "a secret name is at most 251 bytes long, this one has 300".to_owned()),
            (&["ok"], &["-p", "a b"], format!("a project {only} ' '")),
            (&["ok"], &["-d", "a.b"], format!("a domain {only} '.'")),
            (&["ok"], &["-p", "..", "-d", "d"], format!("a project {only} '.'")),
        ];
        for (name, scope, _) in &refused {
            session.step(&[&["create", "secret", "--value", "hunter2", "--"], *name].concat(), &[]);
            let step = session.steps.last_mut().expect("just added");
            step.splice(2..2, scope.iter().map(|&option| option.to_owned()));
        }
        sandbox.file("too_much", vec![b'x'; (1 << 20) + 1]);
        sandbox.file("far_too_much", vec![b'x'; 2 << 20]);
        let too_much = session.step(&["create", "secret", "ok", "--from-file", "too_much"], &[]);
        let far_too_much = session.step(&["create", "secret", "ok", "--from-file", "far_too_much"], &[]);
        let scoped_pull = session.step(&["create", "secret", "ok", "-p", "p"], &pull);
        let list = session.step(&["--output-format", "table-simple", "get", "secret"], &[]);
        let (said, log) = session.run(&sandbox, sdk);

        for (step, said) in session.steps.iter().zip(&said).take(good) {
            assert!(said.is(0, ""), "{sdk}: {step:?}: {said:?}");
        }
        for ((_, _, words), said) in refused.iter().zip(&said[good..]) {
            assert!(
                said.is(1, &format!("Invalid argument provided. Please check your input. Error: {words}")),
                "{said:?}"
            );
        }
        let words =
            "Invalid argument provided. Please check your input. Error: a value is at most 1048576 bytes (1 MiB)";
        assert!(said[too_much].is(1, words), "{sdk}: {:?}", said[too_much]);
        assert_eq!(said[far_too_much].code, 1, "{sdk}: {:?}", said[far_too_much]);
        assert!(said[far_too_much].lines.concat().contains("exceed"), "{sdk}: {:?}", said[far_too_much]);
        let words = "Error invoking command: Project and domain must not be set when creating an image pull secret.";
        assert!(said[scoped_pull].is(1, words), "{sdk}: {:?}", said[scoped_pull]);

        let rows = said[list].rows();
        let names: BTreeSet<_> = rows.iter().map(|row| row[2]).collect();
        let expected = values().map(|(name, _)| name).into_iter().chain(["typed", "typed_empty", "pull"]);
        assert_eq!(names, expected.collect(), "{sdk}");
        for row in &rows {
            assert_eq!(row[3], if row[2] == "pull" { "image_pull" } else { "regular" }, "{row:?}");
        }
        let document = br#"{"auths": {"ghcr.io": {"auth": "dTpodW50ZXIy"}}}"#;
        let more = [("typed", b"a b\nc".to_vec()), ("typed_empty", Vec::new()), ("pull", document.to_vec())];
        for (name, value) in values().into_iter().chain(more) {
            let revealed = sandbox.ok(&["get", "secret", name, "--reveal"]);
            assert!(revealed == value, "{sdk}: {name}: {:?}", String::from_utf8_lossy(&revealed));
        }
        assert!(!log.contains("hunter2") && !log.contains("dTpodW50ZXIy"), "a value is in the log: {log}");
        assert!(!log.contains(&long) && !log.contains("../up"), "an invalid name is in the log: {log}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn scripts_work_with_the_sync_and_the_async_api() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let ran = ran(&mut serve_python(&sandbox, sdk, "serve_sdk.py", &["verbs"]));
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let scopes = [("", ""), ("p", ""), ("", "d"), ("p", "d")];
        let mut expected = Vec::new();
        for (project, domain) in scopes {
            let scope = format!("[{project}|{domain}]");
            let found = json!([project, domain, "text", "regular", true]);
            let listed = json!([[project, domain, "bytes"], [project, domain, "text"]]);
            expected.extend([
                format!("create {scope} ALREADY_EXISTS"),
                format!("get {scope} {found}"),
                format!("list {scope} {listed}"),
                format!("delete {scope} NOT_FOUND"),
                format!("get {scope} NOT_FOUND"),
            ]);
        }
        let names: Vec<_> = (0..8).map(|number| format!("aio-{number}")).collect();
        for ((project, domain), listed) in scopes.into_iter().zip([16, 12, 12, 10]) {
            let scope = format!("[{project}|{domain}]");
            expected.extend([
                format!("create {scope} ALREADY_EXISTS"),
                format!("get {scope} {}", json!(names)),
                format!("list {scope} {listed} 8"),
                format!("delete {scope} NOT_FOUND"),
                format!("get {scope} NOT_FOUND"),
            ]);
        }
        let said: Vec<_> = ran.said().iter().map(|line| line.replace(", ", ",")).collect();
        assert_eq!(said, expected, "{sdk}: {ran:?}");
        for (place, (project, domain)) in PLACES.iter().zip(scopes) {
            let scope = format!("[{project}|{domain}]");
            let value = |name: &str| sandbox.value(&format!("{place}/{name}"));
            let every_byte: Vec<u8> = (0..=255).chain(scope.bytes()).collect();
            assert_eq!(value("bytes"), Some(every_byte), "{sdk}: {scope}");
            assert_eq!(value("text"), Some(format!("text of {scope}").into_bytes()), "{sdk}");
            for number in 0..8 {
                let expected = (number < 7).then(|| format!("{number} of {scope}").into_bytes());
                assert_eq!(value(&format!("aio-{number}")), expected, "{sdk}: {scope}");
            }
        }
    }
}

/// The number of secrets that a list pages through.
const MANY: usize = 1000;

fn many(number: usize) -> (String, Vec<u8>) {
    (format!("{}/s{number:04}", PLACES[number % 4]), format!("value {number} of {MANY}").into_bytes())
}

/// A task that declares all of them, and prints a digest of their values.
const READS_MANY: &str = r#"
import hashlib, os, pathlib
import flyte

NAMES = [f"s{number:04}" for number in range(COUNT)]
FILE = flyte.Secret("every_byte", mount="/etc/flyte/secrets")
env = flyte.TaskEnvironment("many", secrets=[*NAMES, FILE])

@env.task
def main() -> str:
    digest = hashlib.sha256()
    for name in NAMES:
        digest.update(os.environ[name.upper()].encode() + b"\n")
    every_byte = pathlib.Path("/etc/flyte/secrets/every_byte").read_bytes()
    print("=>", digest.hexdigest(), every_byte == bytes(range(256)), flush=True)
    return "done"
"#;

/// Stops the other threads when dropped, even if the test fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Creates and deletes secrets with the command line until stopped. Returns how many.
fn write_and_delete(sandbox: &Sandbox, stop: &AtomicBool) -> usize {
    let mut cycles = 0;
    while !stop.load(Ordering::Relaxed) {
        // The names sort before, between and after the others, in each scope.
        let name = format!("{}{cycles:04}_by_another", ["a", "s", "z"][cycles % 3]);
        let scope = SCOPES[cycles % 4].0;
        sandbox.ok(&[&["create", "secret", &name, "--value", "x"], scope].concat());
        sandbox.ok(&[&["delete", "secret", &name], scope].concat());
        cycles += 1;
    }
    cycles
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_thousand_secrets_are_paged_while_others_write_and_reach_tasks() {
    use sha2::{Digest, Sha256};
    let sandbox = Sandbox::in_memory();
    sandbox.ok(&["init"]);
    let mut vault = sandbox.open_vault();
    let mut digest = Sha256::new();
    for (place, value) in (0..MANY).map(many) {
        let stored = flyte_local::secret::SecretValue::new(value.clone().into()).expect("a short one");
        let regular = flyte_local::secret::SecretType::Regular;
        vault.writer().expect("writable").create_secret(&secret_id(&place), regular, &stored).expect("created");
        digest.update([&value[..], b"\n"].concat());
    }
    let stop = AtomicBool::new(false);
    let (mut pages, mut cycles) = (0, 0);
    std::thread::scope(|threads| {
        let stops = Stops(&stop);
        let writer = threads.spawn(|| write_and_delete(&sandbox, &stop));
        for sdk in SDKS {
            let ran = ran(&mut serve_python(&sandbox, sdk, "serve_sdk.py", &["pages", "7", "10", "1000"]));
            pages += ran.stderr.matches("ListSecrets: done").count();
            let lists = ran.said();
            assert_eq!((ran.code, lists.len()), (0, 3), "{sdk}: {ran:?}");
            for list in lists {
                let names: Vec<String> =
                    serde_json::from_str(list.strip_prefix("list ").expect("a list")).expect("JSON");
                let (mut ours, others): (Vec<_>, Vec<_>) =
                    names.iter().partition(|name| !name.ends_with("_by_another"));
                ours.sort();
                let all: Vec<_> = (0..MANY).map(|number| format!("s{number:04}")).collect();
                assert!(ours.into_iter().eq(&all), "{sdk}: not every secret exactly once: {names:?}");
                assert_eq!(
                    others.iter().collect::<BTreeSet<_>>().len(),
                    others.len(),
                    "{sdk}: one is listed twice: {others:?}"
                );
            }
        }
        drop(stops);
        cycles = writer.join().expect("no panic");
    });
    assert!(cycles > 0, "no other process wrote meanwhile");
    let every_byte: Vec<u8> = (0..=255).collect();
    let input = format!("{}\n", json!(["create", "secret", "every_byte", "--from-file", "every_byte", "-p", "p"]));
    sandbox.file("every_byte", every_byte);
    let created = piped(&mut serve_python(&sandbox, "newest", "serve_cli.py", &[]), input.as_bytes());
    assert_eq!(created.text(), "{\"code\": 0, \"said\": []}\n", "{created:?}");
    sandbox.file("many.py", READS_MANY.replace("COUNT", &MANY.to_string()));
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    for sdk in SDKS {
        let ran = sandbox.flyte_run(sdk, &["-p", "p", "-d", "d", "many.py", "main"]);
        assert_eq!((ran.code, ran.said()), (0, vec![format!("{digest} True")]), "{sdk}: {ran:?}");
    }
    tally(&format!(
        "serve: {MANY} secrets listed 6 times in {pages} pages while the command line wrote {cycles} others: \
         each seen once, and all injected by run"
    ));
}

/// A stand-in for another cluster and for a proxy, which counts connections.
struct Elsewhere {
    port: u16,
    calls: std::sync::Arc<AtomicUsize>,
}

impl Elsewhere {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let calls = std::sync::Arc::new(AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&calls);
        std::thread::spawn(move || {
            listener.incoming().for_each(|_| {
                counted.fetch_add(1, Ordering::SeqCst);
            })
        });
        Self { port, calls }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns how many connections were made so far.
    fn calls(&self) -> usize {
        // Connections are accepted in order, and this one is the last.
        let before = self.calls.load(Ordering::SeqCst);
        std::net::TcpStream::connect(self.address()).expect("it listens");
        until("the last call", || self.calls.load(Ordering::SeqCst) > before);
        self.calls.load(Ordering::SeqCst) - 1
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn neither_configuration_nor_environment_redirects_the_client() {
    let session = r#"
# The newest SDK's HTTP library now and then aborts while Python ends, when all is done.
flyte() { "$flyte" "$@" || [ $? = 134 ]; }
flyte create secret kept --value "$VALUE" -p p && flyte create secret s --value x && flyte get secret
flyte delete secret s
echo "deleted: $?"
"#;
    for (sdk, sign_in) in SDKS.into_iter().zip(["ClientSecret", "ExternalCommand"]) {
        let (sandbox, elsewhere) = (Sandbox::new(), Elsewhere::new());
        let there = elsewhere.address();
        let config = format!(
            "admin:\n  endpoint: dns:///{there}\n  insecure: false\n  authType: {sign_in}\n  clientId: me\n  \
             clientSecretEnvVar: VALUE\n  command: [touch, signed_in]\n  httpProxyURL: http://{there}\n\
             task:\n  org: o\n  project: other\n  domain: production\n"
        );
        sandbox.file(".flyte/config.yaml", config);
        let mut command = sandbox.command(&["serve", "--log", "--", "sh", "-c", session]);
        // The cluster's address and credentials, which the newest SDK reads before any endpoint.
        let key = "aGVyZS5pbnZhbGlkOmlkOmh1bnRlcjI6bw==";
        command.env("flyte", python(sdk).with_file_name("flyte")).env("VALUE", "hunter2").env("FLYTE_API_KEY", key);
        for scheme in ["http", "https", "all", "grpc"] {
            let name = format!("{scheme}_proxy");
            command.env(name.to_uppercase(), format!("http://{there}")).env(name, format!("http://{there}"));
        }
        let ran = ran(&mut command);
        assert_eq!(elsewhere.calls(), 0, "{sdk}: it called elsewhere: {ran:?}");
        assert!(!sandbox.work().join("signed_in").exists(), "{sdk}: it signed in: {ran:?}");
        assert_eq!(sandbox.value("project/p/kept"), Some(b"hunter2".to_vec()), "{sdk}: {ran:?}");
        assert!(ran.text().contains(" kept ") && !ran.all().contains("hunter2"), "{sdk}: {ran:?}");
        // The oldest SDK deletes in the scope of the configuration, but creates in the organization.
        let (deleted, left) = if sdk == "oldest" { (1, Some(b"x".to_vec())) } else { (0, None) };
        assert!(ran.text().ends_with(&format!("deleted: {deleted}\n")), "{sdk}: {ran:?}");
        assert_eq!(sandbox.value("org/s"), left, "{sdk}: {ran:?}");
        let looked = "DeleteSecret secret s (project other, domain production): not_found";
        assert_eq!(ran.stderr.contains(looked), sdk == "oldest", "{sdk}: {ran:?}");
    }
}

/// Returns the command `flyte-local serve ARGUMENTS -- sh -c SCRIPT`.
fn serve_sh(sandbox: &Sandbox, script: &str) -> Command {
    sandbox.command(&["serve", "--", "sh", "-c", script])
}

#[test]
fn a_command_runs_unchanged() {
    let sandbox = Sandbox::new();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        let ran = ran(&mut serve_sh(&sandbox, script));
        assert_eq!((ran.code, ran.all()), (code, String::new()), "{script}");
    }
    let every_byte: Vec<u8> = (0..=255).collect();
    let ran_with_input = piped(&mut serve_sh(&sandbox, "cat; cat /proc/self/fd/0; echo said >&2"), &every_byte);
    assert_eq!((ran_with_input.code, ran_with_input.stdout), (0, every_byte));
    assert_eq!(ran_with_input.stderr, "said\n");

    let mut command = serve_sh(&sandbox, "env");
    command.env("FLYTE_LOCAL_IDENTITY_KEY", "AGE-SECRET-KEY-1").env("FLYTE_API_KEY", "key");
    command.env("NO_PROXY", "example.org").env("FLYTE_ADMIN_ENDPOINT", "dns:///example.org").env("KEPT", "yes");
    let environment = ran(&mut command).text();
    for (name, value) in [
        ("FLYTE_LOCAL_IDENTITY_KEY", None),
        ("FLYTE_API_KEY", None),
        ("FLYTE_ADMIN_INSECURE", Some("true")),
        ("FLYTECTL_CONFIG", Some("/dev/null")),
        ("NO_PROXY", Some("example.org,127.0.0.1")),
        ("no_proxy", Some("example.org,127.0.0.1")),
        ("no_grpc_proxy", None),
        ("KEPT", Some("yes")),
    ] {
        let found = environment.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        assert_eq!(found, value, "{name}");
    }
    let mut command = serve_sh(&sandbox, "echo $NO_PROXY $no_proxy $no_grpc_proxy");
    let hosts = ran(command.env("no_proxy", "a").env("no_grpc_proxy", "b")).text();
    assert_eq!(hosts, "a,127.0.0.1 a,127.0.0.1 b,127.0.0.1\n");
    let endpoint = environment.lines().find_map(|line| line.strip_prefix("FLYTE_ADMIN_ENDPOINT=dns:///127.0.0.1:"));
    assert_ne!(endpoint.expect("it is there"), "30081", "{environment}");

    for name in [".flyte/config.yaml", ".union/config.yaml"] {
        let config = sandbox.home().join(name);
        std::fs::create_dir_all(config.parent().expect("a directory")).expect("made");
        std::fs::write(&config, "task:\n  project: p\n").expect("written");
        let environment = ran(&mut serve_sh(&sandbox, "env")).text();
        assert!(!environment.contains("FLYTECTL_CONFIG"), "{name} does not count: {environment}");
        std::fs::remove_file(config).expect("it was there");
    }

    for (program, code) in [("no-such-command", 127), ("./no-program", 126)] {
        sandbox.file("no-program", "text");
        let ran = sandbox.run(&["serve", "--", program]);
        assert_eq!((ran.code, ran.stdout), (code, Vec::new()), "{}", ran.stderr);
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(program), "{}", ran.stderr);
    }
}

#[test]
#[ignore = "needs Bash: scripts/test"]
fn a_passphrase_does_not_reach_the_command() {
    let sandbox = Sandbox::new();
    let script = r#""$0" --passphrase-fd 3 serve -- sh -c 'cat <&3' 3< <(echo hunter2)"#;
    let ran = ran(sandbox.program("bash").args(["-c", script, crate::support::FLYTE_LOCAL]));
    assert_eq!((ran.code, ran.all()), (0, String::new()));
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_printed_commands_reach_the_service_past_configuration_and_proxy() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "known", "value"]);
    let mut command = sandbox.command(&["serve", "--port", "0"]);
    let serving = Serving::start(
        {
            command.env("http_proxy", "http://127.0.0.1:9");
            command
        },
        &sandbox.work(),
    );
    // The line comes after the endpoint.
    until("it says what to type", || serving.log().contains("unset FLYTE_API_KEY\n"));
    let log = serving.log();
    let typed = log
        .lines()
        .find_map(|line| line.strip_prefix("hint: or, for everything that a shell starts: "))
        .expect("a hint");
    let list = "import os, flyte; flyte.init_from_config(); from flyte.remote import Secret; \
                print([secret.name for secret in Secret.listall()], flush=True); os._exit(0)";
    for sdk in SDKS {
        let script = format!("{typed}; exec '{}' -c \"$0\"", python(sdk).display());
        let mut shell = sandbox.program("sh");
        shell.args(["-c", &script, list]).env("http_proxy", "http://127.0.0.1:9").env("FLYTE_API_KEY", "key");
        assert_eq!(ran(&mut shell).text(), "['known']\n", "{sdk}: {typed}");
    }
}

#[test]
fn signals_pass_to_the_command() {
    let sandbox = Sandbox::new();
    for (signal, name) in [(Signal::INT, "INT"), (Signal::TERM, "TERM"), (Signal::HUP, "HUP")] {
        let script = format!("trap 'echo caught {name}; exit 9' {name}; sleep 1000 & echo ready; wait");
        let mut child = serve_sh(&sandbox, &script).stdout(Stdio::piped()).spawn().expect("flyte-local starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says so");
        assert_eq!(line, "ready\n");
        kill_process(Pid::from_child(&child), signal).expect("it is there");
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).expect("it ends");
        assert_eq!((rest.as_str(), child.wait().expect("it ends").code()), (&*format!("caught {name}\n"), Some(9)));
    }
}

#[test]
fn a_taken_port_is_an_error_with_a_hint() {
    let sandbox = Sandbox::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    for more in [&[][..], &["--", "touch", "ran"]] {
        let ran = sandbox.run(&[&["serve", "--port", &port], more].concat());
        let expected = format!(
            "error: cannot serve on port {port}\ncaused by: Address already in use (os error 98)\n\
             hint: choose another port: --port N, or --port 0 for a free one\n"
        );
        assert_eq!((ran.code, ran.stdout, ran.stderr), (1, Vec::new(), expected));
    }
    assert!(!sandbox.work().join("ran").exists());
    let ran = Sandbox::empty().run(&["serve", "--", "true"]);
    assert!(ran.code != 0 && ran.stderr.contains("flyte-local init"), "{ran:?}");
}

#[test]
fn a_service_answers_pending_calls_before_it_ends() {
    for (number, signal) in [Signal::INT, Signal::TERM, Signal::HUP].into_iter().enumerate() {
        let sandbox = Sandbox::new();
        let serving = sandbox.serve();
        let listed = serving.connect().call("ListSecrets", "{}");
        assert_eq!(listed.status, 200, "{listed:?}");
        // The service shows that it has begun a call by asking for the body, which comes after the signal.
        let name = format!("s{number}");
        let body = json!({ "id": { "name": name }, "secretSpec": { "stringValue": "hunter2" } }).to_string();
        let expects = [&JSON[..], &[("Expect", "100-continue")]].concat();
        let request = post(&path("CreateSecret"), &expects, body.as_bytes());
        let (head, body) = request.split_at(request.len() - body.len());
        let mut connection = serving.connect();
        connection.send(head);
        let mut interim = [0; 25];
        connection.stream.read_exact(&mut interim).expect("it answers");
        assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        serving.signal(signal);
        until("no connection is taken any more", || std::net::TcpStream::connect(serving.address()).is_err());
        connection.send(body);
        let reply = connection.reply().expect("it answers");
        assert_eq!((reply.status, &reply.body[..]), (200, &b"{}"[..]), "{reply:?}");
        let ran = serving.ended();
        assert_eq!((ran.code, &ran.stdout[..]), (0, &b""[..]), "{ran:?}");
        assert_eq!(sandbox.value(&format!("org/{name}")), Some(b"hunter2".to_vec()));
        let said = ran.stderr.lines().filter_map(|line| line.split_once("Z ")).map(|(_, said)| said);
        // The owner of a connection that is closed before it is accepted is unknown.
        let said: Vec<_> = said.filter(|said| !said.starts_with("refused a connection")).collect();
        assert_eq!(said, ["ListSecrets: done", &format!("CreateSecret secret {name} (organization): done")]);
        assert!(!ran.stderr.contains("hunter2"), "{ran:?}");
    }
}
