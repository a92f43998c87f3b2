//! Connector tasks, which hand their work to another service: the secrets that they declare, and those that the connector takes
//! as parameters. A cluster looks the latter up by name; the SDK of a local run reads variables of these names.

use crate::support::{Ran, Sandbox};
use serde_json::{Value, json};

/// The oldest and the newest SDK, with what its connectors import.
const SDKS: [&str; 2] = ["connectors-oldest", "connectors"];

fn sandbox(keys: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new().with_tasks();
    for key in keys {
        sandbox.secret(key, value(key), &[]);
    }
    sandbox
}

fn value(key: &str) -> String {
    format!("the value of {key}")
}

/// Returns the reports of the connector: the task, its parameters, its variables and its files.
fn reports(ran: &Ran) -> Vec<Value> {
    ran.said().iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_connector_gets_its_parameters_and_its_task_what_it_declares() {
    for sdk in SDKS {
        let keys = ["query-password", "TEAM_QUERY_PASSWORD", "function-token", "declared-key", "file-key", "other-key"];
        let sandbox = sandbox(&keys);
        let tasks = ["query", "upper", "plain", "function", "overridden"];
        let ran = sandbox.flyte_run(sdk, &[&["--leaks", "off", "connectors.py", "--"][..], &tasks].concat());
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let file = json!({ "file-key": value("file-key") });
        let password = value("query-password");
        let token = value("function-token");
        // The SDK reads the parameter from a variable of its name, whatever that name is.
        let variables = json!({ "DECLARED": value("declared-key"), "query-password": password });
        let upper = value("TEAM_QUERY_PASSWORD");
        let expected = [
            json!(["query", { "password": password }, variables, file]),
            json!(["upper", { "password": upper }, { "TEAM_QUERY_PASSWORD": upper }, file]),
            json!(["plain", {}, { "DECLARED_KEY": value("declared-key") }, file]),
            json!(["function", { "token": token }, { "function-token": token }, file]),
            json!(["function", { "token": token }, { "DECLARED": value("declared-key"), "function-token": token }, file]),
        ];
        assert_eq!(reports(&ran), expected, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_connector_task_without_one_of_its_secrets_fails_before_the_connector_is_called() {
    for sdk in SDKS {
        let sandbox = sandbox(&["other-key"]);
        for (task, key) in
            [("lacks_declared", "absent"), ("lacks_own", "ABSENT_PASSWORD"), ("function", "function-token")]
        {
            let ran = sandbox.flyte_run(sdk, &["connectors.py", "--", task]);
            assert_eq!((ran.code, reports(&ran)), (1, Vec::new()), "{sdk} {task}: {ran:?}");
            let reason = format!("secret {key} does not exist in this run's scopes");
            assert!(ran.stderr.contains(&reason), "{sdk} {task}: {ran:?}");
            assert!(
                ran.stderr.contains(&format!("hint: create it: flyte-local create secret {key}")),
                "{sdk}: {ran:?}"
            );
        }
        let mut command = sandbox.flyte_command(sdk, &["connectors.py", "--", "lacks_own"]);
        let ran = Ran::from(command.env("ABSENT_PASSWORD", value("the shell")).output().expect("flyte-local starts"));
        assert_eq!(reports(&ran)[0][1], json!({ "password": value("the shell") }), "{sdk}: {ran:?}");
        assert!(ran.stderr.contains("ABSENT_PASSWORD is what the shell has there"), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_declared_variable_of_the_parameters_name_is_what_the_connector_gets() {
    for sdk in SDKS {
        let sandbox = sandbox(&["under-another-name", "of-the-caller"]);
        let ran = sandbox.flyte_run(sdk, &["--leaks", "off", "connectors.py", "--", "declares", "caller"]);
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let parameters: Vec<_> = reports(&ran).iter().map(|report| report[1].clone()).collect();
        let expected = ["under-another-name", "of-the-caller"].map(|key| json!({ "password": value(key) }));
        assert_eq!(parameters, expected, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_connector_that_returns_a_parameter_is_reported() {
    for sdk in SDKS {
        let sandbox = sandbox(&["query-password", "declared-key", "file-key"]);
        let line = "task query returns its secret query-password, in o0";
        for (setting, code) in [("warn", 0), ("deny", 1)] {
            let ran = sandbox.flyte_run(sdk, &["--leaks", setting, "connectors.py", "--", "query"]);
            assert_eq!((ran.code, ran.stderr.contains(line)), (code, true), "{sdk} {setting}: {ran:?}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_dry_run_lists_parameters_and_declarations() {
    for sdk in SDKS {
        let sandbox = sandbox(&["query-password", "declared-key", "file-key", "function-token"]);
        sandbox.file("alone.py", "from connectors import Query\nalone = Query('alone', password='query-password')\n");
        let rows = |arguments: &[&str]| {
            let ran = sandbox.flyte_run(sdk, &[&["--dry-run"], arguments].concat());
            assert!(reports(&ran).is_empty(), "{sdk}: {ran:?}");
            ran.text().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
        };
        let all = rows(&["connectors.py"]);
        for row in [
            "queries query declared-key DECLARED organization",
            "queries query file-key /etc/flyte/secrets/file-key organization",
            "queries query query-password parameter password organization",
            "queries upper TEAM_QUERY_PASSWORD parameter password nowhere: missing",
            "queries lacks_own ABSENT_PASSWORD parameter password nowhere: missing",
            "queries declares under-another-name VARIABLE nowhere: missing",
            "functions function function-token parameter token organization",
        ] {
            assert!(all.iter().any(|line| line == row), "{sdk}: {row}: {all:?}");
        }
        assert_eq!(
            rows(&["connectors.py", "function"])[2..],
            ["functions function function-token parameter token organization"]
        );
        let alone = rows(&["alone.py"]);
        assert_eq!(alone.last().expect("a row"), "- alone query-password parameter password organization", "{sdk}");

        let ran = sandbox.flyte_run(sdk, &["--dry-run", "--output-format", "json", "alone.py"]);
        let listed: Vec<Value> = serde_json::from_str(&ran.text()).expect("JSON");
        let row = json!({ "task": "alone", "key": "query-password", "variable": "query-password", "parameter": "password",
            "status": "found", "scope": {} });
        assert_eq!(listed.last(), Some(&row), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_plugins_of_three_databases_get_their_secrets() {
    let own = ["TEAM_PRIVATE_KEY", "TEAM_PASSPHRASE", "google-credentials", "databricks-token"];
    let sandbox = sandbox(&own);
    let ran = sandbox.flyte_run("connectors", &["connector_plugins.py"]);
    assert_eq!((ran.code, reports(&ran)), (1, Vec::new()), "{ran:?}");
    assert!(ran.stderr.contains("secret declared-key does not exist in this run's scopes"), "{ran:?}");

    sandbox.secret("declared-key", value("declared-key"), &[]);
    let ran = sandbox.flyte_run("connectors", &["connector_plugins.py"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let [private_key, passphrase, google, databricks] = own.map(value);
    let variables =
        json!({ "DECLARED": value("declared-key"), "TEAM_PRIVATE_KEY": private_key, "TEAM_PASSPHRASE": passphrase });
    let expected = [
        json!(["snowflake",
            { "snowflake_private_key": private_key, "snowflake_private_key_passphrase": passphrase }, variables]),
        json!(["bigquery_query_job_task", { "google_application_credentials": google }, { "google-credentials": google }]),
        json!(["databricks", { "databricks_token": databricks }, { "databricks-token": databricks }]),
    ];
    assert_eq!(reports(&ran), expected, "{ran:?}");
}
