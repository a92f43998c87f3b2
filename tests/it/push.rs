//! `push secret` through the real SDKs to a stand-in for the cluster that can fail like a cluster
//! (`tests/python/push_cluster.py`).

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::{FLYTE_LOCAL, MARK, Ran, Random, SDKS, Sandbox, executable};
use crate::support::{marked, python, require, scope_options, secret_id, tally, until};
use flyte_local::secret::{ScopeFilter, SecretType, SecretValue};
use flyte_local::vault::Metadata;

/// A cluster that ends when dropped, and a configuration in the working directory that names it.
pub(crate) struct Cluster {
    process: Child,
    journal: PathBuf,
    sdk: &'static str,
    port: u16,
}

impl Cluster {
    /// Starts a cluster that has the secrets written to the previous cluster of this sandbox.
    pub(crate) fn start(sandbox: &Sandbox, sdk: &'static str, faults: &Value) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/push_cluster.py");
        let journal = sandbox.home().join("journal");
        let mut command = sandbox.program(python(sdk));
        command.arg(program).arg(&journal).arg(faults.to_string());
        let mut process = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a port");
        let port = line.trim().parse().unwrap_or_else(|_| panic!("no port: {line:?}"));
        let config = format!(
            "admin:\n  endpoint: dns:///localhost:{port}\n  insecure: true\ntask:\n  project: other\n  domain: other\n"
        );
        sandbox.file(".flyte/config.yaml", config);
        Self { process, journal, sdk, port }
    }

    /// Returns each call: its method, the place as [`Sandbox::secret_file`] takes it, and the answer.
    pub(crate) fn calls(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.journal).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a call")).collect()
    }

    /// Returns the values of successful writes by their places, sorted by name.
    pub(crate) fn written(&self) -> Vec<(String, Vec<u8>)> {
        let taken = self.calls().into_iter().filter(|call| call["type"].is_string() && call["answer"] == "ok");
        let value = |call: &Value| STANDARD.decode(call["value"].as_str().expect("base64")).expect("base64");
        let mut taken: Vec<_> = taken.map(|call| (place(&call), value(&call))).collect();
        taken.sort();
        taken
    }

    pub(crate) fn push(&self, sandbox: &Sandbox, arguments: &[&str]) -> Ran {
        Ran::from(self.command(sandbox, arguments).output().expect("flyte-local starts"))
    }

    fn command(&self, sandbox: &Sandbox, arguments: &[&str]) -> Command {
        let mut command = sandbox.command(&["push", "secret", "--python"]);
        command.arg(python(self.sdk)).args(arguments);
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A vault's `serve`, which ends when dropped.
struct Served {
    process: Child,
    endpoint: String,
}

impl Served {
    fn start(sandbox: &Sandbox) -> Self {
        let mut command = sandbox.command(&["serve", "--port", "0"]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("an endpoint");
        Self { process, endpoint: line.trim().to_owned() }
    }

    fn push(&self, sandbox: &Sandbox, sdk: &str, arguments: &[&str]) -> Command {
        let mut command = sandbox.command(&["push", "secret", "--yes", "--insecure", "--endpoint", &self.endpoint]);
        command.arg("--python").arg(python(sdk)).args(arguments);
        command
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the place of a call's secret, as [`Sandbox::secret_file`] takes it.
fn place(call: &Value) -> String {
    let part = |index: usize| call["place"][index].as_str().expect("text");
    match (part(0), part(1), part(2)) {
        ("", "", name) => format!("org/{name}"),
        (project, "", name) => format!("project/{project}/{name}"),
        ("", domain, name) => format!("domain/{domain}/{name}"),
        (project, domain, name) => format!("project/{project}/domain/{domain}/{name}"),
    }
}

fn secret(sandbox: &Sandbox, place: &str, value: impl AsRef<[u8]>) {
    let options = scope_options(place);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    sandbox.secret(place.rsplit('/').next().expect("a name"), value, &options);
}

/// Returns the actions in the list that a push prints, by the secret's name.
fn actions(ran: &Ran) -> Vec<(String, String)> {
    let rows = serde_json::from_slice::<Vec<Value>>(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    let text = |row: &Value, member: &str| row[member].as_str().expect("text").to_owned();
    rows.iter().map(|row| (text(row, "name"), text(row, "action"))).collect()
}

const DOCUMENT: &str = r#"{"auths": {"ghcr.io": {"auth": "YTpi"}}}"#;

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn every_scope_and_every_kind_of_value_arrives_byte_for_byte() {
    let mut random = Random::seeded();
    let large: Vec<u8> = (0..1 << 20).map(|_| random.below(256) as u8).collect();
    let all: Vec<u8> = (0..=255).collect();
    let values: [(&str, &[u8]); 6] = [
        ("domain/d/text", "naïve\n".as_bytes()),
        ("org/bytes", &all),
        ("org/empty", b""),
        ("org/registry", DOCUMENT.as_bytes()),
        ("project/p/domain/d/large", &large),
        ("project/p/text", b"of a project"),
    ];
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        for (place, value) in values.iter().filter(|(place, _)| *place != "org/registry") {
            secret(&sandbox, place, value);
        }
        sandbox.ok(&["create", "secret", "registry", DOCUMENT, "--type", "image_pull"]);
        let cluster = Cluster::start(&sandbox, sdk, &json!({}));
        let ran = cluster.push(&sandbox, &["--yes"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(ran.stderr.ends_with("\ncreated 6, updated 0, left 0 alone\n"), "{ran:?}");
        let values = values.map(|(place, value)| (place.to_owned(), value.to_vec()));
        assert!(cluster.written() == values, "{sdk}: {ran:?}");
        for call in cluster.calls().iter().filter(|call| call["method"] != "GetSecret") {
            assert_eq!(call["kind"], "binary_value", "the SDK's own command sends this kind");
            let kind =
                if place(call) == "org/registry" { "SECRET_TYPE_IMAGE_PULL_SECRET" } else { "SECRET_TYPE_GENERIC" };
            assert_eq!(call["type"], kind);
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn values_that_a_cluster_handles_differently_are_named_when_they_are_sent() {
    let sandbox = Sandbox::new();
    for (name, value) in [("dollars", "a$$b"), ("newline", "text\n"), ("plain", "$HOME")] {
        secret(&sandbox, &format!("org/{name}"), value);
    }
    secret(&sandbox, "org/large", "x".repeat(70_000));
    secret(&sandbox, "org/larger", "x".repeat(200_000));
    let cluster = Cluster::start(&sandbox, "newest", &json!({}));
    let ran = cluster.push(&sandbox, &["--yes"]);
    let notes = [
        "secret dollars contains $$ or $(…): on a cluster, a variable has $ for $$, and may have another value for $(NAME); a \
         file has the exact value",
        "secret large has 70000 bytes: a cluster takes at most 65536 if it keeps secrets in AWS or Google Cloud, and 25600 in \
         Azure",
        "secret larger has 200000 bytes: a cluster takes at most 65536 if it keeps secrets in AWS or Google Cloud, and 25600 \
         in Azure",
        "secret larger has 200000 bytes: no program starts with a variable of that size, so mount it",
        "secret newline ends in a newline, which a variable keeps",
    ];
    let mut said: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("secret ")).collect();
    said.sort_unstable();
    assert_eq!((ran.code, said), (0, notes.to_vec()), "{ran:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_vault_is_pushed_to_the_service_of_another() {
    let mut random = Random::seeded();
    let mut bytes = |length: u64| (0..length).map(|_| random.below(256) as u8).collect::<Vec<u8>>();
    let scopes = ["org", "project/p", "domain/d", "project/p/domain/d"];
    let mut values: Vec<(String, Vec<u8>)> = Vec::new();
    for number in 0..12 {
        values.extend(scopes.map(|scope| (format!("{scope}/s{number}"), bytes(number))));
    }
    values.push(("org/large".to_owned(), bytes(1 << 20)));
    let source = Sandbox::in_memory();
    source.ok(&["init"]);
    {
        let mut vault = source.open_vault();
        for (place, value) in &values {
            let value = SecretValue::new(value.clone().into()).expect("small enough");
            vault
                .writer()
                .expect("writable")
                .create_secret(&secret_id(place), SecretType::Regular, &value)
                .expect("created");
        }
    }
    source.ok(&["create", "secret", "registry", DOCUMENT, "--type", "image_pull"]);
    for sdk in SDKS {
        let target = Sandbox::in_memory();
        target.ok(&["init"]);
        let half: Vec<_> = values.iter().step_by(2).map(|(place, _)| place.clone()).collect();
        for place in &half {
            let value = SecretValue::new(b"the target's".to_vec().into()).expect("small enough");
            target
                .open_vault()
                .writer()
                .expect("writable")
                .create_secret(&secret_id(place), SecretType::Regular, &value)
                .expect("created");
        }
        let served = Served::start(&target);
        let ran = Ran::from(served.push(&source, sdk, &[]).output().expect("it starts"));
        assert_eq!(ran.code, 0, "{ran:?}");
        let (there, missing) = (half.len(), values.len() + 1 - half.len());
        let summary = format!("\ncreated {missing}, updated 0, left {there} alone\n");
        assert!(ran.stderr.contains(&summary), "{summary}: {ran:?}");
        for (place, value) in &values {
            let expected = if half.contains(place) { b"the target's" } else { &value[..] };
            assert!(target.value(place).as_deref() == Some(expected), "{sdk}: {place}");
        }

        // The service ends in the middle of an update.
        let mut child = served.push(&source, sdk, &["--update"]);
        let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        until("something was updated", || target.value(&values[0].0).as_ref() == Some(&values[0].1));
        drop(served);
        let ran = Ran::from(child.wait_with_output().expect("it ends"));
        assert!(ran.code == 1 && ran.stderr.contains("hint: to continue, run the same command again\n"), "{ran:?}");
        let served = Served::start(&target);
        let ran = Ran::from(served.push(&source, sdk, &["--update"]).output().expect("it starts"));
        assert_eq!(ran.code, 0, "{ran:?}");
        for (place, value) in &values {
            assert!(target.value(place).as_ref() == Some(value), "{sdk}: {place}");
        }
        assert_eq!(target.value("org/registry").as_deref(), Some(DOCUMENT.as_bytes()));
        let listing = target.open_vault().list(&ScopeFilter::default()).expect("listed");
        let is_image_pull = |metadata: &&Metadata| metadata.secret_type == SecretType::ImagePull;
        assert_eq!(listing.secrets.iter().filter(is_image_pull).count(), 1);
        assert_eq!((listing.secrets.len(), listing.refused.len()), (values.len() + 1, 0));
    }
    tally(&format!("push: {} secrets from vault to vault, byte for byte, by {} SDKs", values.len() + 1, SDKS.len()));
}

/// A push needs names that are not public in these SDKs. SDK 2.4 is left out, since it fails with the current versions of
/// its dependencies.
#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn each_sdk_has_what_a_push_needs() {
    for sdk in ["oldest", "2.8", "newest"] {
        let sandbox = Sandbox::new();
        secret(&sandbox, "project/p/domain/d/a", "one");
        let cluster = Cluster::start(&sandbox, sdk, &json!({}));
        for (arguments, value) in [(&["--yes"][..], "one"), (&["--yes", "--update"], "two")] {
            let ran = cluster.push(&sandbox, arguments);
            assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
            assert_eq!(cluster.written().last(), Some(&("project/p/domain/d/a".to_owned(), value.into())), "{sdk}");
            sandbox.ok(&["update", "secret", "a", "two", "-p", "p", "-d", "d"]);
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_dry_run_lists_the_actions_and_sends_nothing() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        for place in ["org/new", "org/old", "project/p/all", "org/other"] {
            secret(&sandbox, place, "a value");
        }
        let cluster = Cluster::start(&sandbox, sdk, &json!({ "refuse_project_only": true }));
        cluster.push(&sandbox, &["--yes", "old"]);
        sandbox.ok(&["delete", "secret", "other"]);
        sandbox.ok(&["create", "secret", "other", DOCUMENT, "--type", "image_pull"]);
        let before = cluster.written();

        let ran = cluster.push(&sandbox, &["--dry-run"]);
        let table = "\
name   type        scope         to            action
─────  ──────────  ────────────  ────────────  ────────────────────────────────────────────────────────────
new    regular     organization  organization  create
old    regular     organization  organization  left alone: is there
other  image_pull  organization  organization  create
all    regular     project p     project p     cannot be: project-scoped secrets must also specify a domain
";
        assert_eq!((ran.code, ran.text().as_str()), (1, table), "{ran:?}");
        let scheme = if sdk == "oldest" { "dns:///" } else { "http://" };
        let config = sandbox.work().canonicalize().expect("it is there").join(".flyte/config.yaml");
        let told = format!(
            "the cluster is {scheme}localhost:{}, using the configuration {}\n\
             through the Flyte SDK of {}\n\
             would create 2, update 0 and leave 1 alone (1 cannot be); nothing was sent\n\
             existing secrets were left unchanged: a cluster does not give values back to compare\n\
             hint: to overwrite them with the vault's values: --update\n\
             error: one secret was not sent\n\
             caused by: secret all (project p) cannot be: project-scoped secrets must also specify a domain\n\
             hint: if the cluster has no secrets for a project in all domains, name one: --to-domain DOMAIN\n",
            cluster.port,
            config.display(),
            python(sdk).display()
        );
        assert_eq!(ran.stderr, told);

        let ran = cluster.push(&sandbox, &["--dry-run", "--output-format", "json", "--update", "-p", "p", "all"]);
        let row = json!([{
            "name": "all", "project": "p", "type": "regular", "to": { "project": "p" },
            "action": "cannot", "reason": "project-scoped secrets must also specify a domain",
        }]);
        assert_eq!(serde_json::from_slice::<Value>(&ran.stdout).expect("JSON"), row);
        let ran = cluster.push(&sandbox, &["--dry-run", "--output-format=json-raw", "--update", "old"]);
        assert_eq!((ran.code, actions(&ran)), (0, vec![("old".to_owned(), "update".to_owned())]), "{ran:?}");
        assert_eq!(cluster.written(), before, "a dry run sent something");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn existing_secrets_are_left_alone_and_updated_only_on_request() {
    let sandbox = Sandbox::new();
    for name in ["a", "b", "c"] {
        secret(&sandbox, &format!("org/{name}"), "old");
    }
    let cluster = Cluster::start(&sandbox, "newest", &json!({}));
    assert_eq!(cluster.push(&sandbox, &["--yes", "a", "b", "a"]).code, 0);
    for name in ["a", "b", "c"] {
        sandbox.ok(&["update", "secret", name, "new"]);
    }
    let written = |count: usize| cluster.calls().iter().filter(|call| call["method"] != "GetSecret").count() == count;
    assert!(written(2));
    let ran = cluster.push(&sandbox, &["--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("\ncreated 1, updated 0, left 2 alone\n"), "{ran:?}");
    assert!(ran.stderr.contains("\nexisting secrets were left unchanged"), "{ran:?}");
    let ran = cluster.push(&sandbox, &["--yes"]);
    assert!(ran.code == 0 && ran.stderr.contains("\nthere is nothing to send\n") && written(3), "{ran:?}");

    let ran = cluster.push(&sandbox, &["--yes", "--update"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.ends_with("\ncreated 0, updated 3, left 0 alone\n"), "{ran:?}");
    let last = cluster.calls().split_off(cluster.calls().len() - 3);
    for call in last {
        assert_eq!((&call["method"], &call["value"]), (&json!("UpdateSecret"), &json!(STANDARD.encode("new"))));
    }

    // A secret of another type on the cluster keeps its type.
    sandbox.ok(&["delete", "secret", "a"]);
    sandbox.ok(&["create", "secret", "a", DOCUMENT, "--type", "image_pull"]);
    let ran = cluster.push(&sandbox, &["--yes", "--update", "a"]);
    assert!(ran.code == 1 && written(6), "{ran:?}");
    assert!(
        ran.stderr.contains("caused by: secret a (organization) cannot be: it is of type regular there\n"),
        "{ran:?}"
    );
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn names_and_options_select_secrets_and_targets() {
    let places = ["org/a", "org/b", "project/p/a", "project/p/domain/d/a", "domain/d/b"];
    let sandbox = Sandbox::new();
    for place in places {
        secret(&sandbox, place, place);
    }
    sandbox.ok(&["create", "secret", "registry", DOCUMENT, "--type", "image_pull"]);
    let cases: &[(&[&str], &[&str], &[&str])] = &[
        (&["a", "b"], &["org/a", "org/b"], &["org/a", "org/b"]),
        (&["a", "-p", "p"], &["project/p/a"], &["project/p/a"]),
        (&["-d", "d"], &["domain/d/b", "project/p/domain/d/a"], &["domain/d/b", "project/p/domain/d/a"]),
        (&["-p", "p"], &["project/p/a", "project/p/domain/d/a"], &["project/p/a", "project/p/domain/d/a"]),
        (&["a", "--to-project", "q"], &["project/q/a"], &["org/a"]),
        (&["a", "--to-domain", "e"], &["domain/e/a"], &["org/a"]),
        (&["a", "-p=p", "-d=d", "--to-domain=e"], &["project/p/domain/e/a"], &["project/p/domain/d/a"]),
        (&["a", "-p=p", "--to-project=q", "--to-domain=e"], &["project/q/domain/e/a"], &["project/p/a"]),
    ];
    for (arguments, written, values) in cases {
        let cluster = Cluster::start(&sandbox, "newest", &json!({}));
        let ran = cluster.push(&sandbox, &[arguments, &["--yes"][..]].concat());
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        let expected: Vec<_> =
            written.iter().zip(*values).map(|(place, value)| (place.to_string(), (*value).into())).collect();
        assert_eq!(cluster.written(), expected, "{arguments:?}");
        std::fs::remove_file(&cluster.journal).expect("removed");
    }

    let cluster = Cluster::start(&sandbox, "newest", &json!({}));
    let ran = cluster.push(&sandbox, &["-d=d", "-p=p", "--to-project=q", "--yes", "registry"]);
    assert_eq!(ran.code, 10, "the scope has no such secret: {ran:?}");
    let ran = cluster.push(&sandbox, &["--yes", "--to-project=q", "registry", "b"]);
    assert!(ran.code == 1 && ran.stderr.contains("\ncreated 1, updated 0, left 0 alone\n"), "{ran:?}");
    let reason = "secret registry (project q) cannot be: an image pull secret is the organization's\n";
    assert!(ran.stderr.contains(reason), "{ran:?}");

    let before = cluster.calls().len();
    let ran = cluster.push(&sandbox, &["--yes", "--to-project=q", "--to-domain=e"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    for (one, other) in [("(organization)", "(project p)"), ("(project p)", "(project p, domain d)")] {
        let told = format!("secret a {one} and secret a {other} would both be secret a (project q, domain e)\n");
        assert!(ran.stderr.contains(&told), "{told}: {ran:?}");
    }
    assert!(cluster.calls().len() == before && ran.stdout.is_empty(), "a refused push does nothing");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_failure_is_listed_and_the_other_secrets_are_sent() {
    const VALUE: &str = "hunter2-correct-horse\nbattery 'staple'";
    const NEIGHBOUR: &str = "swordfish-of-a-neighbour";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        for name in ["told", "taken", "z", "gone"] {
            secret(&sandbox, &format!("org/{name}"), VALUE);
        }
        // This secret is sent first.
        secret(&sandbox, "org/a", NEIGHBOUR);
        secret(&sandbox, "org/bytes", [b"\xff\xfe", VALUE.as_bytes(), b"\xff"].concat());
        secret(&sandbox, "org/torn", VALUE);
        let cluster = Cluster::start(&sandbox, sdk, &json!({}));
        assert_eq!(cluster.push(&sandbox, &["--yes", "taken"]).code, 0);
        let codes = json!({ "told": "invalid_argument", "bytes": "internal", "gone": "failed_precondition" });
        let cluster = Cluster::start(&sandbox, sdk, &json!({ "unseen": ["taken"], "write": codes }));
        // A push detects this damage only when it opens the file.
        let file = sandbox.secret_file("org/torn");
        let mut bytes = std::fs::read(&file).expect("there");
        *bytes.last_mut().expect("not empty") ^= 1;
        std::fs::write(&file, bytes).expect("written");

        // The SDK logs a cluster's answers in this mode.
        let mut command = cluster.command(&sandbox, &["--yes"]);
        command.envs([("LOG_LEVEL", "10"), ("GRPC_TRACE", "all"), ("GRPC_VERBOSITY", "debug"), ("PYTHONDEVMODE", "1")]);
        let ran = Ran::from(command.output().expect("it starts"));
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(
            ran.stderr.contains("\ncreated 2, updated 0, left 0 alone\nerror: 5 secrets were not sent\n"),
            "{ran:?}"
        );
        let causes: Vec<_> = ran.stderr.lines().filter_map(|line| line.strip_prefix("caused by: ")).collect();
        let message = "cannot store \"*****\" nor *****, that is *****, after *****";
        let expected = [
            format!("secret bytes (organization): {message} (internal)"),
            format!("secret gone (organization): {message} (failed_precondition)"),
            "secret taken (organization): it exists now: another user created it, or this command did and lost \
             the answer; --update overwrites it"
                .to_owned(),
            format!("secret told (organization): {message} (invalid_argument)"),
        ];
        assert_eq!(causes[..4], expected, "{ran:?}");
        assert!(causes[4].contains("secret torn (organization)"), "{ran:?}");
        for piece in ["hunter2", "correct-horse", "battery", "staple", "swordfish", &STANDARD.encode(VALUE)[..20]] {
            assert!(!ran.all().contains(piece), "{piece} shows: {ran:?}");
        }
        let names: Vec<_> = cluster.written().into_iter().map(|(place, _)| place).collect();
        assert_eq!(names, ["org/a", "org/taken", "org/z"]);

        // A secret that is deleted in the meantime is not created without a request.
        let cluster = Cluster::start(&sandbox, sdk, &json!({ "write": { "a": "not_found" } }));
        let ran = cluster.push(&sandbox, &["--yes", "--update", "a"]);
        assert!(ran.stderr.contains("secret a (organization): it no longer exists"), "{ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn after_the_first_call_eight_run_at_the_same_time_and_the_report_keeps_its_order() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let names: Vec<_> = (10..27).map(|number| format!("s{number}")).collect();
        names.iter().for_each(|name| secret(&sandbox, &format!("org/{name}"), name));
        let codes: Value = names.iter().map(|name| (name.clone(), json!("failed_precondition"))).collect();
        let cluster = Cluster::start(&sandbox, sdk, &json!({ "together": 8, "write": codes }));
        let ran = cluster.push(&sandbox, &["--yes"]);
        let failed = ran.stderr.lines().filter_map(|line| line.strip_prefix("caused by: secret "));
        let failed: Vec<_> = failed.map(|line| line.split(' ').next().expect("a name").to_owned()).collect();
        assert!(ran.code == 1 && failed == names, "{ran:?}");
        let refused = cluster.calls().iter().filter(|call| call["answer"] == "failed_precondition").count();
        assert_eq!(refused, names.len(), "every call was answered: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn output_of_the_sdk_goes_to_standard_error() {
    let sandbox = Sandbox::new();
    secret(&sandbox, "org/a", "one");
    let cluster = Cluster::start(&sandbox, "newest", &json!({}));
    let hook = "\
import os, sys
class Hook:
    def find_spec(name, *_):
        if name == 'flyte':
            print('go to https://login to log in')
            os.write(1, b'natively\\n')
sys.meta_path.insert(0, Hook)
";
    sandbox.file("hook/sitecustomize.py", hook);
    let mut command = cluster.command(&sandbox, &["--dry-run", "--output-format", "json"]);
    let ran = Ran::from(command.env("PYTHONPATH", sandbox.work().join("hook")).output().expect("it starts"));
    assert_eq!((ran.code, actions(&ran)), (0, vec![("a".to_owned(), "create".to_owned())]), "{ran:?}");
    assert!(ran.stderr.starts_with("go to https://login to log in\nnatively\nthe cluster is "), "{ran:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_push_continues_after_a_cluster_went_away_if_it_is_repeated() {
    const COUNT: usize = 30;
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        for number in 10..10 + COUNT {
            secret(&sandbox, &format!("org/s{number}"), number.to_string());
        }
        let cluster = Cluster::start(&sandbox, sdk, &json!({ "gone_after": 5 }));
        let ran = cluster.push(&sandbox, &["--yes"]);
        assert_eq!(ran.code, 1, "{ran:?}");
        assert_eq!(cluster.written().len(), 5);
        // The cluster may have stored the last secret without an answer.
        let count = ran.stderr.split("error: ").nth(1).and_then(|rest| rest.split(' ').next()).expect("an error");
        assert!((25..=30).contains(&count.parse::<usize>().expect("a number")), "{ran:?}");
        assert!(ran.stderr.contains("were not tried, because the cluster could no longer be reached\n"), "{ran:?}");
        assert!(ran.stderr.contains("hint: to continue, run the same command again\n"), "{ran:?}");

        let cluster = Cluster::start(&sandbox, sdk, &json!({}));
        let ran = cluster.push(&sandbox, &["--yes"]);
        assert!(ran.code == 0 && ran.stderr.contains("\ncreated 25, updated 0, left 5 alone\n"), "{ran:?}");
        let expected: Vec<_> =
            (10..10 + COUNT).map(|number| (format!("org/s{number}"), number.to_string().into())).collect();
        assert_eq!(cluster.written(), expected, "each was sent once");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_killed_push_continues_if_it_is_repeated() {
    const COUNT: usize = 24;
    let (mut random, mut kills) = (Random::seeded(), 0);
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        for number in 10..10 + COUNT {
            secret(&sandbox, &format!("org/s{number}"), number.to_string());
        }
        let cluster = Cluster::start(&sandbox, sdk, &json!({}));
        let marker = format!("push-{}-{sdk}", std::process::id());
        for _ in 0..2 {
            let after = cluster.calls().len() as u64 + 1 + random.below(COUNT as u64);
            let mut child = cluster.command(&sandbox, &["--yes"]);
            child.env(MARK, &marker).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = child.spawn().expect("it starts");
            until("the push is at work", || {
                cluster.calls().len() as u64 >= after || child.try_wait().expect("ours").is_some()
            });
            child.kill().expect("ours");
            child.wait().expect("ours");
            until("its Python has ended", || marked(&marker).is_empty());
            kills += 1;
        }
        let ran = cluster.push(&sandbox, &["--yes"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let expected: Vec<_> =
            (10..10 + COUNT).map(|number| (format!("org/s{number}"), number.to_string().into())).collect();
        assert_eq!(cluster.written(), expected, "each was sent once");
    }
    tally(&format!("push: killed {kills} times, {} secrets there, each once", COUNT * SDKS.len()));
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn arguments_and_variables_of_python_hold_no_value_and_no_identity() {
    const VALUE: &str = "hunter2-of-the-push";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        secret(&sandbox, "org/a", VALUE);
        let go = sandbox.home().join("go");
        let cluster = Cluster::start(&sandbox, sdk, &json!({ "hold": go }));
        let marker = format!("push-argv-{}-{sdk}", std::process::id());
        let identity = std::fs::read_to_string(sandbox.identity()).expect("an identity");
        let identity = identity.lines().last().expect("its key").to_owned();
        // The user allows core files here.
        let mut command = sandbox.program("sh");
        command.args([
            "-c",
            r#"ulimit -S -c "$(ulimit -H -c)"; exec "$0" "$@""#,
            FLYTE_LOCAL,
            "push",
            "secret",
            "--yes",
        ]);
        command.arg("--python").arg(python(sdk)).env(MARK, &marker).env("FLYTE_LOCAL_IDENTITY_KEY", &identity);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        until("the value is under way", || cluster.calls().iter().any(|call| call["answer"] == "held"));
        let mut looked = 0;
        for process in marked(&marker).into_iter().filter(|process| *process != child.id() as i32) {
            for file in ["cmdline", "environ"] {
                let bytes = std::fs::read(format!("/proc/{process}/{file}")).expect("it lives");
                for what in [VALUE, &STANDARD.encode(VALUE), &identity] {
                    let is_there = bytes.windows(what.len()).any(|window| window == what.as_bytes());
                    assert!(!is_there, "{file} of {process} contains {what}");
                }
            }
            let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).expect("it lives");
            let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).expect("a limit");
            assert_eq!(core.split_whitespace().next(), Some("0"), "core files are disabled");
            looked += 1;
        }
        assert_eq!(looked, 1, "exactly one other process has the marker: Python");
        sandbox.file("../go", "");
        let ran = Ran::from(child.wait_with_output().expect("it ends"));
        assert!(ran.code == 0 && !ran.all().contains(VALUE), "{ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_push_asks_for_confirmation_only_on_a_terminal() {
    require("python3", "python3");
    let sandbox = Sandbox::new();
    secret(&sandbox, "org/a", "one");
    let cluster = Cluster::start(&sandbox, "newest", &json!({}));
    let ran = cluster.push(&sandbox, &[]);
    let told = "error: cannot ask for confirmation: standard input is not a terminal\nhint: to send without a question: --yes\n\
                hint: to see what would be sent: --dry-run\n";
    assert_eq!((ran.code, ran.stderr.as_str(), cluster.calls().len()), (2, told, 0));

    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/terminal.py");
    for (answer, code, written) in [("n\r", 1, 0), ("\r", 1, 0), ("y\r", 0, 1)] {
        let question = format!("create one secret at http://localhost:{}? [y/N] ", cluster.port);
        let steps = json!([["expect", question], ["type", answer], ["end"]]);
        let mut command = sandbox.program("python3");
        command.arg(&driver).arg(steps.to_string()).args([FLYTE_LOCAL, "push", "secret", "--python"]);
        let played = Ran::from(command.arg(python("newest")).output().expect("it starts"));
        let session: Value = serde_json::from_slice(&played.stdout).unwrap_or_else(|_| panic!("{played:?}"));
        assert_eq!(session["code"], code, "{session}");
        assert_eq!(cluster.written().len(), written, "{session}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_cluster_that_cannot_be_asked_is_reported_once() {
    let faults = [
        (json!({ "all": "unimplemented" }), "does not answer as Flyte's backend does", "so it is with every call"),
        (json!({ "all": "unauthenticated" }), "", ""),
        (json!({ "get": { "b": "internal" } }), "cannot be asked for its secrets", "not to be seen (internal)"),
    ];
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        for name in ["a", "b", "c"] {
            secret(&sandbox, &format!("org/{name}"), "one");
        }
        for (fault, what, why) in &faults {
            let cluster = Cluster::start(&sandbox, sdk, fault);
            let ran = cluster.push(&sandbox, &["--yes"]);
            assert_eq!(ran.code, 1, "{ran:?}");
            assert!(
                ran.stderr.matches("error: ").count() == 1 && ran.stderr.contains("hint: nothing was sent\n"),
                "{ran:?}"
            );
            assert!(ran.stderr.contains(what) && ran.stderr.contains(why), "{ran:?}");
            assert!(cluster.written().is_empty() && ran.stdout.is_empty(), "{ran:?}");
        }
        // The user may not see one of the secrets. The others are sent.
        let cluster = Cluster::start(&sandbox, sdk, &json!({ "get": { "b": "permission_denied" } }));
        let ran = cluster.push(&sandbox, &["--yes"]);
        assert!(ran.code == 1 && ran.stderr.contains("\ncreated 2, updated 0, left 0 alone\n"), "{ran:?}");
        assert!(ran.stderr.contains("caused by: secret b (organization) cannot be: not to be seen\n"), "{ran:?}");
        drop(cluster);
        let ran = Ran::from(
            sandbox.command(&["push", "secret", "--yes", "--python"]).arg(python(sdk)).output().expect("it starts"),
        );
        assert!(ran.code == 1 && ran.stderr.contains(" cannot be reached\n"), "{ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_missing_cluster_configuration_or_python_is_explained() {
    let sandbox = Sandbox::new();
    secret(&sandbox, "org/a", "one");
    let cluster = Cluster::start(&sandbox, "newest", &json!({}));
    std::fs::rename(sandbox.work().join(".flyte/config.yaml"), sandbox.work().join("other.yaml")).expect("moved");
    let ran = cluster.push(&sandbox, &["--yes"]);
    let told = "error: no Flyte configuration names a cluster\n\
                hint: create one: flyte create config --endpoint ENDPOINT\n\
                hint: or name the cluster: --config FILE, or --endpoint ENDPOINT\n";
    assert_eq!((ran.code, ran.stderr.as_str()), (1, told));
    let endpoint = format!("localhost:{}", cluster.port);
    for named in [&["--config", "other.yaml"][..], &["--endpoint", &endpoint, "--insecure"]] {
        let ran = cluster.push(&sandbox, &[named, &["--dry-run"]].concat());
        assert_eq!(ran.code, 0, "{named:?}: {ran:?}");
    }
    let ran = cluster.push(&sandbox, &["--yes", "--config", "none.yaml"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (10, "error: there is no file none.yaml\n"));
    sandbox.file("bad.yaml", "admin: [");
    let ran = cluster.push(&sandbox, &["--yes", "--config", "bad.yaml"]);
    assert!(
        ran.code == 1 && ran.stderr.contains("reading yaml config file at bad.yaml"),
        "the SDK's message is shown: {ran:?}"
    );
    assert!(ran.stderr.contains("\nerror: no Flyte configuration names a cluster\n"), "{ran:?}");
    let ran = cluster.push(&sandbox, &["--yes", "--endpoint", "ftp://nowhere"]);
    assert!(ran.code == 1 && ran.stderr.starts_with("error: the Flyte SDK cannot set up its client\n"), "{ran:?}");
    let sandbox = Sandbox::new();
    secret(&sandbox, "org/a", "one");
    let with = |python: &str| sandbox.run(&["push", "secret", "--yes", "--python", python]);
    let another = "name another interpreter: flyte-local push secret --python PYTHON …\n";
    for (python, code, told) in [
        ("/nowhere/python", 127, "error: cannot start the Python interpreter /nowhere/python (named by --python)\n"),
        ("false", 1, "error: false (named by --python) did not start as a Python interpreter\n"),
    ] {
        let ran = with(python);
        assert!(ran.code == code && ran.stderr.starts_with(told) && ran.stderr.ends_with(another), "{ran:?}");
    }
    // Without site-packages, there is no SDK.
    let bare = format!("#!/bin/sh\nexec '{}' -S \"$@\"\n", python("newest").display());
    executable(&sandbox.work().join("python"), bare);
    let ran = with("./python");
    assert!(
        ran.code == 1 && ran.stderr.contains(" has no flyte package\n") && ran.stderr.ends_with(another),
        "{ran:?}"
    );
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn an_identity_is_unlocked_before_python_starts_and_python_cannot_read_the_passphrase() {
    let sandbox = Sandbox::new();
    secret(&sandbox, "org/a", "one");
    sandbox.lock_identity("open sesame");
    let cluster = Cluster::start(&sandbox, "newest", &json!({}));
    let script = format!("#!/bin/sh\ncat >read\nexec '{}' \"$@\"\n", python("newest").display());
    executable(&sandbox.work().join("python"), script);
    let push = ["push", "secret", "--yes", "--python", "./python"];
    let ran = sandbox.with_passphrases(&["open barley"], &push);
    assert!(ran.code == 11 && !sandbox.work().join("read").exists(), "{ran:?}");
    let ran = sandbox.with_passphrases(&["open sesame"], &push);
    assert!(ran.code == 0 && cluster.written() == [("org/a".to_owned(), b"one".to_vec())], "{ran:?}");
    assert_eq!(std::fs::read(sandbox.work().join("read")).expect("Python's standard input"), b"");

    // A dry run needs no identity.
    let ran = sandbox.with_passphrases(&["open sesame"], &["push", "secret", "--dry-run", "--python", "./python"]);
    assert_eq!((ran.code, std::fs::read(sandbox.work().join("read")).expect("as before")), (0, Vec::new()), "{ran:?}");
    std::fs::remove_file(sandbox.identity()).expect("removed");
    let ran = sandbox.run(&["push", "secret", "--dry-run", "--python", "./python"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}
