//! The oracle for `flyte-local run`: for every way to declare a secret, a run uses the key, group, mount type and variable
//! that the SDK itself serialises for a cluster.
//!
//! The cases are in `fixtures/tasks/oracle/`. `serialized.py` there prints the cluster's side under plain Python, which is
//! compared with the variables and files of the tasks and with `--dry-run`.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Ran, Sandbox, python};
use serde_json::Value;

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_oldest_sdk_declares_what_a_run_uses() {
    agrees("oldest");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn sdk_2_4_declares_what_a_run_uses() {
    agrees("2.4");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn sdk_2_8_declares_what_a_run_uses() {
    agrees("2.8");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_newest_sdk_declares_what_a_run_uses() {
    agrees("newest");
}

/// Key, group, mount type and variable; an absent one is empty, as in the protobuf message.
type Secret = (String, String, String, String);

/// The declarations that the SDK serialises: environment, task (absent for an app), and secrets.
type Serialized = Vec<(String, Option<String>, Vec<Secret>)>;

fn agrees(sdk: &str) {
    let sandbox = Sandbox::new().with_tasks();
    let cluster = serialized(&sandbox, sdk);
    assert!(cluster.len() > 30, "{sdk}: {cluster:?}");
    let keys: BTreeSet<&String> = cluster.iter().flat_map(|(_, _, secrets)| secrets).map(|secret| &secret.0).collect();
    for key in keys {
        let created = sandbox.pipe(&["create", "secret", "--raw", "--", key], format!("the value of {key}").as_bytes());
        assert_eq!(created.code, 0, "{created:?}");
    }
    dry_run_agrees(&sandbox, sdk, &cluster);
    run_agrees(&sandbox, sdk, &cluster);
}

fn serialized(sandbox: &Sandbox, sdk: &str) -> Serialized {
    let command = sandbox.program(python(sdk)).arg("oracle/serialized.py").output();
    let ran = Ran::from(command.expect("Python starts"));
    assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
    // The oldest SDK prints another line before it.
    serde_json::from_str(ran.text().lines().last().expect("a line")).expect("JSON")
}

fn dry_run_agrees(sandbox: &Sandbox, sdk: &str, cluster: &Serialized) {
    let survey = |arguments: &[&str]| {
        let ran =
            sandbox.flyte_run(sdk, &[&["--output-format", "json", "--dry-run", "oracle/cases.py"], arguments].concat());
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let mut found = BTreeMap::<_, Vec<Secret>>::new();
        for row in serde_json::from_str::<Vec<Value>>(&ran.text()).expect("JSON") {
            let text = |member: &str| row[member].as_str().map(str::to_owned);
            let mount = match (&row["variable"], &row["path"]) {
                (Value::String(_), Value::Null) => "ENV_VAR",
                (Value::Null, Value::String(path)) => {
                    assert_eq!(path, &format!("/etc/flyte/secrets/{}", text("key").expect("a key")), "{sdk}");
                    "FILE"
                }
                both => panic!("{sdk}: {both:?}"),
            };
            assert_eq!(row["status"], "found", "{sdk}: {row}");
            let secret = (
                text("key").expect("a key"),
                text("group").unwrap_or_default(),
                mount.to_owned(),
                text("variable").unwrap_or_default(),
            );
            found.entry((text("environment").expect("an environment"), text("task"))).or_default().push(secret);
        }
        found
    };
    let found = survey(&[]);
    let mut used = BTreeSet::new();
    for (environment, task, secrets) in cluster {
        let (own, shared) = ((environment.clone(), task.clone()), (environment.clone(), None));
        let place = if found.contains_key(&own) { own } else { shared };
        assert_eq!(found.get(&place).unwrap_or(&Vec::new()), secrets, "{sdk}: {environment} {task:?}");
        if !secrets.is_empty() {
            used.insert(place);
        }
    }
    assert_eq!(found.into_keys().collect::<BTreeSet<_>>(), used, "{sdk}: the dry run tells of more");

    // An app is the environment that declares its secrets.
    for (app, _, secrets) in cluster.iter().filter(|(_, task, _)| task.is_none()) {
        let expected = Vec::from_iter((!secrets.is_empty()).then(|| ((app.clone(), None), secrets.clone())));
        assert_eq!(survey(&[app]), BTreeMap::from_iter(expected), "{sdk}: {app}");
    }
    let name = "override.twice_task";
    let (environment, task, secrets) =
        cluster.iter().find(|(_, task, _)| task.as_deref() == Some(name)).expect("it is there").clone();
    assert_eq!(survey(&[name]), BTreeMap::from([((environment, task), secrets)]), "{sdk}");
}

/// The variables and paths that hold each key's value.
#[derive(Debug, Default, PartialEq, serde::Deserialize)]
struct Observed {
    variables: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
}

impl Observed {
    fn of(secrets: &[Secret]) -> Self {
        let mut observed = Self::default();
        for (key, group, mount, variable) in secrets {
            if mount == "ENV_VAR" {
                observed.variables.insert(variable.clone(), key.clone());
                continue;
            }
            observed.files.insert(format!("/etc/flyte/secrets/{key}"), key.clone());
            if !group.is_empty() {
                let key_in_group = key.to_ascii_lowercase();
                observed.files.insert(format!("/etc/flyte/secrets/{group}/{key_in_group}"), key.clone());
            }
        }
        observed
    }

    fn add(&mut self, other: Self) {
        self.variables.extend(other.variables);
        self.files.extend(other.files);
    }

    /// Returns true if this is what a task must find: exactly its variables, and at least its files.
    fn is_what_a_task_finds(&self, found: &Self) -> bool {
        self.variables == found.variables && self.files.iter().all(|(path, key)| found.files.get(path) == Some(key))
    }
}

fn run_agrees(sandbox: &Sandbox, sdk: &str, cluster: &Serialized) {
    // Secrets do not reach a container.
    let runs = |task: &Option<String>| task.as_deref() != Some("container.container_task");
    let ran = sandbox.flyte_run(sdk, &["oracle/cases.py"]);
    assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
    let mut finds = BTreeMap::new();
    for line in ran.said() {
        let (task, observed): (Option<String>, Observed) = serde_json::from_str(&line).expect("JSON");
        finds.insert(task, observed);
    }
    let mut declared = Observed::default();
    for (environment, task, secrets) in cluster.iter().filter(|(_, task, _)| runs(task)) {
        let wanted = Observed::of(secrets);
        let name = task.clone().unwrap_or_else(|| format!("app {environment}"));
        let found = finds.get(&Some(name.clone())).unwrap_or_else(|| panic!("{sdk}: {name} did not run: {ran:?}"));
        assert!(wanted.is_what_a_task_finds(found), "{sdk} {name}: {wanted:?}, not {found:?}");
        declared.add(wanted);
    }
    // Code outside tasks sees every secret that a task declares, including a container's.
    let outside = &finds[&None];
    assert_eq!(outside.files, declared.files, "{sdk}");
    for (name, key) in &declared.variables {
        assert_eq!(outside.variables.get(name), Some(key), "{sdk}: {name}");
    }
}

/// A connector task as the SDK serialises it: environment, task, keys and variables that it declares, and the names that it gives
/// for parameters of its connector.
type Connector = (String, String, Vec<(String, String)>, Vec<(String, String)>);

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_dry_run_lists_the_parameters_of_connectors_that_the_sdk_serializes() {
    for (sdk, module) in
        [("connectors-oldest", "connectors"), ("connectors", "connectors"), ("connectors", "connector_plugins")]
    {
        let sandbox = Sandbox::new().with_tasks();
        let command = sandbox.program(python(sdk)).args(["serialized_connectors.py", module]).output();
        let serialized = Ran::from(command.expect("Python starts"));
        assert_eq!(serialized.code, 0, "{sdk}: {serialized:?}");
        let lines = serialized.text();
        let connectors: Vec<Connector> = serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
        assert!(connectors.iter().filter(|connector| !connector.3.is_empty()).count() >= 3, "{sdk}: {connectors:?}");
        for (environment, task, declared, parameters) in connectors {
            let file = format!("{module}.py");
            let ran = sandbox.flyte_run(sdk, &["--output-format", "json", "--dry-run", &file, &task]);
            let rows: Vec<Value> = serde_json::from_str(&ran.text()).expect("JSON");
            // Environments that its own depends on are listed too.
            let rows = rows.iter().filter(|row| row["environment"] == *environment && row["task"] == *task);
            let text = |row: &Value, member: &str| row[member].as_str().unwrap_or_default().to_owned();
            let (of_connector, of_task): (Vec<_>, Vec<_>) = rows.partition(|row| row["parameter"].is_string());
            let listed: Vec<_> = of_task.iter().map(|row| (text(row, "key"), text(row, "variable"))).collect();
            assert_eq!(listed, declared, "{sdk} {task}");
            let listed: BTreeSet<_> =
                of_connector.iter().map(|row| (text(row, "parameter"), text(row, "variable"))).collect();
            // A variable of that name that the task declares is the parameter, and is not listed twice.
            let is_declared = |name: &String| declared.iter().any(|(_, variable)| variable == name);
            let wanted = parameters.into_iter().filter(|(_, name)| !is_declared(name)).collect();
            assert_eq!(listed, wanted, "{sdk} {task}");
        }
    }
}
