//! `flyte-local run --dry-run` lists the secrets that a file declares and where each would come from, without running a
//! task.

use crate::support::{FLYTE_LOCAL, Ran, SDKS, Sandbox, python};
use serde_json::{Value, json};

const PIPELINE: &str = r#"
import os

import flyte

print("a line of the file's own")
leaf_env = flyte.TaskEnvironment(
    name="leaf", secrets=[flyte.Secret("leaf-key", mount="/etc/flyte/secrets"), flyte.Secret("in-shell")]
)
root_env = flyte.TaskEnvironment(
    name="root", secrets=["wide", flyte.Secret("narrow", group="team")], depends_on=[leaf_env]
)
alone_env = flyte.TaskEnvironment(name="alone")


@leaf_env.task
def leaf() -> None:
    open("marker", "w").close()


@root_env.task
def root() -> None:
    open("marker", "w").close()


@alone_env.task
def alone() -> None:
    open("marker", "w").close()


special = root.override(secrets="other")

if __name__ == "__main__":
    open("marker", "w").close()
"#;

/// Returns a sandbox whose vault has all of the pipeline's secrets except `other` and `in-shell`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.file("pipeline.py", PIPELINE);
    sandbox.secret("wide", "hunter2", &[]);
    sandbox.secret("wide", "hunter2", &["-p", "elsewhere"]);
    sandbox.secret("narrow", "hunter2", &["-p", "p", "-d", "d"]);
    sandbox.secret("leaf-key", "hunter2", &["-d", "d"]);
    sandbox
}

/// Runs `run --dry-run` with these arguments, in an environment that has `IN_SHELL`.
fn dry_run(sandbox: &Sandbox, sdk: &str, arguments: &[&str]) -> Ran {
    let mut command = sandbox.flyte_command(sdk, &[&["--dry-run"], arguments].concat());
    let ran = Ran::from(command.env("IN_SHELL", "hunter2").output().expect("flyte-local starts"));
    assert!(!ran.all().contains("hunter2"), "{sdk}: {ran:?}");
    assert!(!sandbox.work().join("marker").exists(), "{sdk}: a task was executed: {ran:?}");
    ran
}

fn rows(ran: &Ran) -> Vec<Value> {
    serde_json::from_str(&ran.text()).expect("JSON")
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_table_lists_each_declared_secret_and_its_source() {
    for sdk in SDKS {
        let sandbox = sandbox();
        let ran = dry_run(&sandbox, sdk, &["-p", "p", "-d", "d", "pipeline.py"]);
        let table = "\
environment  task     secret    becomes                      from
───────────  ───────  ────────  ───────────────────────────  ────────────────────────
leaf         -        leaf-key  /etc/flyte/secrets/leaf-key  domain d
leaf         -        in-shell  IN_SHELL                     the shell, not the vault
root         -        wide      WIDE                         organization
root         -        narrow    TEAM_NARROW                  project p, domain d
root         special  other     OTHER                        nowhere: missing
";
        let notices = "a line of the file's own
error: secret other does not exist in this run's scopes
  searched: project p, domain d; project p; domain d; organization
hint: create it: flyte-local create secret other
";
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (10, table, notices), "{sdk}");

        sandbox.secret("other", "hunter2", &[]);
        let ran = dry_run(&sandbox, sdk, &["-p", "p", "-d", "d", "--output-format", "table-simple", "pipeline.py"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, "a line of the file's own\n"), "{sdk}");
        assert_eq!(ran.text().lines().count(), 6, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn json_rows_have_one_shape() {
    for sdk in SDKS {
        let sandbox = sandbox();
        let arguments = ["-p", "p", "-d", "d", "--output-format", "json", "pipeline.py"];
        let ran = dry_run(&sandbox, sdk, &arguments);
        assert_eq!(ran.code, 10, "{sdk}: {ran:?}");
        // A member without a value is left out.
        let mut expected = [
            json!({ "environment": "leaf", "key": "leaf-key", "path": "/etc/flyte/secrets/leaf-key" }),
            json!({ "environment": "leaf", "key": "in-shell", "variable": "IN_SHELL" }),
            json!({ "environment": "root", "key": "wide", "variable": "WIDE" }),
            json!({ "environment": "root", "key": "narrow", "group": "team", "variable": "TEAM_NARROW" }),
            json!({ "environment": "root", "task": "special", "key": "other", "variable": "OTHER" }),
        ];
        for (row, status) in expected.iter_mut().zip(["found", "shell", "found", "found", "missing"]) {
            row["status"] = json!(status);
        }
        expected[0]["scope"] = json!({ "domain": "d" });
        expected[2]["scope"] = json!({});
        expected[3]["scope"] = json!({ "project": "p", "domain": "d" });
        let error = "secret other does not exist in this run's scopes
searched: project p, domain d; project p; domain d; organization
hint: create it: flyte-local create secret other";
        expected[4]["error"] = json!(error);
        assert_eq!(rows(&ran), expected, "{sdk}");

        let raw = dry_run(&sandbox, sdk, &["-p", "p", "-d", "d", "--output-format", "json-raw", "pipeline.py"]);
        assert_eq!((raw.text().lines().count(), rows(&raw)), (1, expected.to_vec()), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_task_needs_its_own_secrets_and_those_of_its_dependencies() {
    for sdk in SDKS {
        let sandbox = sandbox();
        for (task, code, expected) in [
            ("leaf", 0, &["leaf leaf leaf-key", "leaf leaf in-shell"][..]),
            // The arguments after the name are for the task, which does not run.
            ("root", 0, &["root root wide", "root root narrow", "leaf - leaf-key", "leaf - in-shell"]),
            ("special", 10, &["root special other", "leaf - leaf-key", "leaf - in-shell"]),
            ("alone", 0, &[]),
        ] {
            let arguments =
                ["-p", "p", "-d", "d", "--output-format", "json", "pipeline.py", task, "--number", "3", "-x"];
            let ran = dry_run(&sandbox, sdk, &arguments);
            let needed = rows(&ran).into_iter().map(|row| {
                let text = |member: &str| row[member].as_str().unwrap_or("-").to_owned();
                format!("{} {} {}", text("environment"), text("task"), text("key"))
            });
            assert_eq!(
                (ran.code, needed.collect::<Vec<_>>()),
                (code, expected.iter().map(|&row| row.into()).collect())
            );
        }
        let ran = dry_run(&sandbox, sdk, &["pipeline.py", "absent"]);
        assert_eq!((ran.code, ran.text().as_str()), (2, ""), "{sdk}: {ran:?}");
        assert!(ran.stderr.contains("pipeline.py has no task 'absent'; its tasks are alone, leaf, root, special"));
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn secrets_that_a_run_could_not_open_are_listed_with_the_runs_exit_code() {
    let script = "
import flyte
env = flyte.TaskEnvironment(name='env', secrets=['first', 'second', flyte.Secret('third', mount='/etc/flyte/secrets')])
";
    for sdk in SDKS {
        for (code, reason, spoil) in [
            (
                13,
                "refused ",
                (|sandbox| {
                    std::fs::copy(sandbox.secret_file("org/first"), sandbox.secret_file("org/second")).expect("copied");
                }) as fn(&Sandbox),
            ),
            // Neither a wider scope nor the shell's variable replaces a secret that is refused.
            (13, "refused ", |sandbox| {
                sandbox.secret("second", "hunter2", &["-p", "p"]);
                std::fs::copy(sandbox.secret_file("org/first"), sandbox.secret_file("project/p/second"))
                    .expect("copied");
            }),
            (11, "cannot decrypt ", |sandbox| {
                std::fs::remove_file(sandbox.identity()).expect("removed");
                sandbox.ok(&["--vault", "other", "init"]);
            }),
            (1, "it is not valid UTF-8", |sandbox| {
                sandbox.pipe(&["update", "secret", "second", "--raw"], b"\xff");
            }),
        ] {
            let sandbox = Sandbox::new();
            sandbox.file("script.py", script);
            for key in ["first", "second", "third"] {
                sandbox.secret(key, "hunter2", &[]);
            }
            spoil(&sandbox);
            let mut command =
                sandbox.flyte_command(sdk, &["--output-format", "json", "--dry-run", "-p", "p", "script.py"]);
            let ran = Ran::from(command.env("SECOND", "x").output().expect("flyte-local starts"));
            assert_eq!(ran.code, code, "{sdk} {reason}: {ran:?}");
            let rows = rows(&ran);
            let statuses = rows.iter().map(|row| row["status"].as_str().expect("a status"));
            let expected = if code == 11 { ["refused"; 3] } else { ["found", "refused", "found"] };
            assert_eq!(statuses.collect::<Vec<_>>(), expected, "{sdk} {reason}: {ran:?}");
            assert!(rows[1]["error"].as_str().expect("an error").contains(reason), "{sdk}: {ran:?}");
            assert!(ran.stderr.contains(reason), "{sdk}: {ran:?}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_file_is_imported_as_in_a_run_but_without_a_private_mount() {
    let script = "
import os
import sys
import flyte

env = flyte.TaskEnvironment(name='env', secrets=['key', flyte.Secret('key', mount='/etc/flyte/secrets')])
# A file can read its secrets while it is imported.
assert len(os.environ['KEY']) == 7
seen = __name__, os.path.basename(__file__), sys.argv[0], sys.path[-1] == os.getcwd(), os.path.exists('/etc/flyte')
print(seen, file=open(os.environ['REPORT'], 'w'))

@env.task
def task() -> None:
    pass
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.secret("key", "hunter2", &[]);
        sandbox.file("script.py", script);
        let seen = |arguments: &[&str]| {
            let report = sandbox.home().join("report");
            let ran =
                sandbox.flyte_command(sdk, arguments).env("REPORT", &report).output().expect("flyte-local starts");
            let ran = Ran::from(ran);
            assert_eq!(ran.code, 0, "{sdk} {arguments:?}: {ran:?}");
            std::fs::read_to_string(report).expect("the file was imported")
        };
        let seen_dry = seen(&["--dry-run", "script.py"]);
        assert_eq!(seen_dry, "('script', 'script.py', 'flyte', True, False)\n", "{sdk}");
        assert_eq!(seen_dry, seen(&["--no-mount", "script.py", "--help"]), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_task_that_the_import_starts_does_not_run() {
    let script = "
import flyte
env = flyte.TaskEnvironment(name='env')

@env.task
def task() -> None:
    open('marker', 'w').close()

flyte.init()
flyte.run(task)
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("script.py", script);
        let ran = dry_run(&sandbox, sdk, &["--output-format", "json", "script.py"]);
        assert_eq!((ran.code, ran.text().as_str()), (1, "[]\n"), "{sdk}: {ran:?}");
        assert!(ran.stderr.contains("a dry run executes no task"), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_failed_import_still_reports_missing_secrets() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let declared = "import os, sys, flyte\nenv = flyte.TaskEnvironment(name='env', secrets='key')\n";
        for (line, code, reason) in [
            ("KEY = os.environ['KEY']", 10, "secret key does not exist in this run's scopes"),
            ("import no_such_module", 10, "No module named 'no_such_module'"),
            ("sys.exit(0)", 1, "error: script.py exited while it was imported"),
            // The spaces make this line longer than the one before: Python tells compiled files apart by the source's
            // time and size.
            ("os._exit( 0 )", 1, "error: the file exited during its import"),
        ] {
            sandbox.file("script.py", format!("{declared}{line}\n"));
            let ran = dry_run(&sandbox, sdk, &["script.py"]);
            assert_eq!(ran.code, code, "{sdk} {line}: {ran:?}");
            assert!(ran.stderr.contains(reason), "{sdk} {line}: {ran:?}");
        }
        // Here the file reads the variable above the declaration, which the import therefore does not reach.
        sandbox.file("script.py", format!("import os\nKEY = os.environ['KEY']\n{declared}"));
        let ran = dry_run(&sandbox, sdk, &["--output-format", "json", "script.py"]);
        assert_eq!(ran.code, 10, "{sdk}: {ran:?}");
        let rows = rows(&ran);
        let row = ["environment", "key", "variable", "status"].map(|member| rows[0][member].as_str().unwrap_or("-"));
        assert_eq!((rows.len(), row), (1, ["?", "key", "KEY", "missing"]), "{sdk}: {ran:?}");

        sandbox.secret("key", "hunter2", &[]);
        sandbox.file("script.py", format!("{declared}import no_such_module\n"));
        let ran = dry_run(&sandbox, sdk, &["script.py"]);
        assert_eq!(ran.code, 1, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn apps_and_files_without_a_task_are_listed_too() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let app = "
import flyte
import flyte.app
app = flyte.app.AppEnvironment(name='an-app', image='auto', secrets='key')
";
        sandbox.file("app.py", app);
        sandbox.file("nothing.py", "import flyte\n");
        let ran = dry_run(&sandbox, sdk, &["--output-format", "json", "app.py"]);
        assert_eq!((ran.code, rows(&ran)[0]["environment"].as_str()), (10, Some("an-app")), "{sdk}: {ran:?}");
        let ran = dry_run(&sandbox, sdk, &["--output-format", "json", "nothing.py"]);
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (0, "[]\n", ""), "{sdk}: {ran:?}");
        // A name that looks like an option, and one that Flyte's own command cannot import.
        sandbox.file("-x.py", app);
        let ran = dry_run(&sandbox, sdk, &["--output-format", "json", "./-x.py"]);
        assert_eq!((ran.code, rows(&ran)[0]["environment"].as_str()), (10, Some("an-app")), "{sdk}: {ran:?}");
        sandbox.file("noext", app);
        let ran = dry_run(&sandbox, sdk, &["noext"]);
        let says = "a dry run reads files whose names end in .py, and noext does not";
        assert!(ran.code != 0 && ran.stderr.contains(says), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_scopes_are_those_of_a_run() {
    let script = "import flyte\nenv = flyte.TaskEnvironment(name='env', secrets='key')\n";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("script.py", script);
        for scope in [&[][..], &["-p", "configured"], &["-p", "chosen"]] {
            sandbox.secret("key", "hunter2", scope);
        }
        let project = |options: &[&str]| {
            let ran = dry_run(&sandbox, sdk, &[options, &["--output-format", "json", "script.py"]].concat());
            assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
            rows(&ran)[0]["scope"]["project"].clone()
        };
        assert_eq!(project(&[]), Value::Null, "{sdk}");
        sandbox.file(".flyte/config.yaml", "task:\n  project: configured\n");
        assert_eq!(project(&[]), "configured", "{sdk}");
        assert_eq!(project(&["-p", "chosen"]), "chosen", "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_missing_vault_is_reported_before_the_file_is_imported() {
    let sandbox = Sandbox::empty();
    sandbox.file("script.py", "open('marker', 'w').close()\n");
    let ran = dry_run(&sandbox, "newest", &["script.py"]);
    assert_eq!((ran.code, ran.text().as_str()), (10, ""), "{ran:?}");
    assert!(ran.stderr.starts_with("error: there is no vault at "), "{ran:?}");
    let module = sandbox
        .program(FLYTE_LOCAL)
        .args(["run", "--python"])
        .arg(python("newest"))
        .args(["--dry-run", "-m", "x"])
        .output();
    assert_eq!(Ran::from(module.expect("it starts")).code, 2);
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn values_that_a_cluster_handles_differently_are_named_once() {
    let tasks = "
import flyte

def file(key):
    return flyte.Secret(key, mount='/etc/flyte/secrets')

a_env = flyte.TaskEnvironment('a_env', secrets=['dollars', 'reference', 'newline', 'plain', file('big'), file('bigger')])
b_env = flyte.TaskEnvironment('b_env', secrets=['newline', file('dollars'), file('reference'), file('bigger')])

@b_env.task
async def main() -> None:
    pass
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("tasks.py", tasks);
        for (key, value) in
            [("dollars", "a$$b"), ("reference", "x $(HOME) y"), ("newline", "text\n"), ("plain", "$HOME $")]
        {
            sandbox.secret(key, value, &[]);
        }
        sandbox.secret("big", "x".repeat(30_000), &[]);
        sandbox.secret("bigger", "x".repeat(70_000), &[]);
        let ran = dry_run(&sandbox, sdk, &["tasks.py"]);
        let expands = |key: &str, variable: &str| {
            format!(
                "secret {key} contains $$ or $(…): on a cluster, the variable {variable} has $ for $$, and may have another \
                 value for $(NAME); a file has the exact value"
            )
        };
        let expected = [
            expands("dollars", "DOLLARS"),
            expands("reference", "REFERENCE"),
            "secret newline ends in a newline, which the variable NEWLINE keeps".to_owned(),
            "secret big has 30000 bytes: a cluster takes at most 25600 if it keeps secrets in Azure".to_owned(),
            "secret bigger has 70000 bytes: a cluster takes at most 65536 if it keeps secrets in AWS or Google Cloud, and \
             25600 in Azure"
                .to_owned(),
            "the file secrets of environment a_env have 100000 bytes together: a pod on a cluster takes about 98304"
                .to_owned(),
        ];
        assert_eq!(
            (ran.code, ran.stderr.lines().collect::<Vec<_>>()),
            (0, expected.iter().map(String::as_str).collect()),
            "{sdk}"
        );
    }
}
