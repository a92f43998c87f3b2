//! `flyte-local run`: the scope from which a secret comes, and the sources of the run's project and domain.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use crate::support::{Ran, SDKS, Sandbox, regressions};

/// Runs the task of `scope.py`, which must succeed. Returns its output: the values of `which` and `where`.
fn shown(sandbox: &Sandbox, sdk: &str, options: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = sandbox.flyte_command(sdk, options);
    let ran = Ran::from(command.envs(variables.iter().copied()).output().expect("flyte-local starts"));
    assert_eq!(ran.code, 0, "{sdk} {options:?} {variables:?}: {ran:?}");
    ran.said().join("\n")
}

/// Makes a sandbox in which the value of `which` is the run's project, and the value of `where` its domain.
fn labelled(projects: &[&str], domains: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new().with_tasks();
    for (name, option, values) in [("which", "-p", projects), ("where", "-d", domains)] {
        sandbox.secret(name, "organization", &[]);
        for value in values {
            sandbox.secret(name, value, &[option, value]);
        }
    }
    sandbox
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_narrower_scope_wins() {
    let scopes: [(&str, &[&str]); 4] = [
        ("project+domain", &["-p", "alpha", "-d", "development"]),
        ("project", &["-p", "alpha"]),
        ("domain", &["-d", "development"]),
        ("organization", &[]),
    ];
    for sdk in SDKS {
        let sandbox = Sandbox::new().with_tasks();
        sandbox.secret("where", "-", &[]);
        for (value, scope) in scopes {
            sandbox.secret("which", value, scope);
        }
        // The secrets of other scopes are never seen.
        sandbox.secret("which", "other", &["-p", "beta", "-d", "development"]);
        sandbox.secret("which", "other", &["-p", "alpha", "-d", "production"]);

        for (options, winner) in
            [(&["-p", "alpha"][..], "project"), (&["-d", "development"], "domain"), (&["-p", "gamma"], "organization")]
        {
            let options = [options, &["scope.py", "show"]].concat();
            assert_eq!(shown(&sandbox, sdk, &options, &[]), format!("{winner} -"), "{sdk} {options:?}");
        }
        let narrowest = ["-p", "alpha", "-d", "development", "scope.py", "show"];
        for (value, scope) in scopes {
            assert_eq!(shown(&sandbox, sdk, &narrowest, &[]), format!("{value} -"), "{sdk}");
            sandbox.ok(&[&["delete", "secret", "which"], scope].concat());
        }
        let ran = sandbox.flyte_run(sdk, &narrowest);
        assert_eq!((ran.code, ran.said()), (1, vec![]), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_nearest_source_names_the_project_and_domain() {
    let names = ["flag", "variable", "flyte", "uctl", "toml"];
    for sdk in SDKS {
        let sandbox = labelled(&names, &names);
        let flyte_config = sandbox.file("config.yaml", "task:\n  project: flyte\n  domain: flyte\n");
        let uctl_config = sandbox.file("elsewhere.yaml", "task:\n  project: uctl\n  domain: uctl\n");
        let toml = sandbox.home().join(".config/flyte-local/config.toml");
        std::fs::write(&toml, "project = \"toml\"\ndomain = \"toml\"\n").expect("written");
        let uctl = [("UCTL_CONFIG", uctl_config.to_str().expect("UTF-8"))];
        let all = [&[("FLYTE_LOCAL_PROJECT", "variable"), ("FLYTE_LOCAL_DOMAIN", "variable")][..], &uctl].concat();
        let task = ["scope.py", "show"];
        let flags = [&["-p", "flag", "-d", "flag"][..], &task].concat();

        assert_eq!(shown(&sandbox, sdk, &flags, &all), "flag flag", "{sdk}");
        assert_eq!(shown(&sandbox, sdk, &task, &all), "variable variable", "{sdk}");
        // The project and the domain are determined separately.
        assert_eq!(shown(&sandbox, sdk, &[&["-d", "flag"][..], &task].concat(), &all), "variable flag", "{sdk}");
        assert_eq!(shown(&sandbox, sdk, &task, &[("FLYTE_LOCAL_DOMAIN", "variable")]), "flyte variable", "{sdk}");
        // An empty variable counts as unset.
        let empty = [("FLYTE_LOCAL_PROJECT", ""), ("FLYTE_LOCAL_DOMAIN", "")];
        assert_eq!(shown(&sandbox, sdk, &task, &empty), "flyte flyte", "{sdk}");
        // The SDK's own order of Flyte's files.
        assert_eq!(shown(&sandbox, sdk, &task, &uctl), "flyte flyte", "{sdk}");
        // As a script, in which the SDK's command is not involved.
        assert_eq!(shown(&sandbox, sdk, &["scope.py"], &[]), "flyte flyte", "{sdk}");
        std::fs::remove_file(flyte_config).expect("removed");
        assert_eq!(shown(&sandbox, sdk, &task, &uctl), "uctl uctl", "{sdk}");
        assert_eq!(shown(&sandbox, sdk, &task, &[]), "toml toml", "{sdk}");
        std::fs::remove_file(toml).expect("removed");
        assert_eq!(shown(&sandbox, sdk, &task, &[]), "organization organization", "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn init_in_the_script_names_the_project_and_domain_unless_a_flag_or_variable_does() {
    let names = ["flag", "variable", "init", "flyte"];
    for sdk in SDKS {
        let sandbox = labelled(&names, &names);
        sandbox.file("config.yaml", "task:\n  project: flyte\n  domain: flyte\n");
        let script = ["scope.py", "--", "init", "init"];
        assert_eq!(shown(&sandbox, sdk, &script, &[]), "init init", "{sdk}");
        let variable = [("FLYTE_LOCAL_PROJECT", "variable")];
        assert_eq!(shown(&sandbox, sdk, &script, &variable), "variable init", "{sdk}");
        let flagged = [&["-d", "flag"][..], &script].concat();
        assert_eq!(shown(&sandbox, sdk, &flagged, &variable), "variable flag", "{sdk}");
    }
}

/// A project in Flyte's configuration, as YAML.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigurationCase {
    why: String,
    project: String,
    /// The value of -p.
    option: Option<String>,
    /// The project of the run, if it succeeds.
    shown: Option<String>,
    /// The error, if it fails.
    error: Option<String>,
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_project_in_flytes_configuration_may_have_any_type() {
    let script = "
import os
import flyte

env = flyte.TaskEnvironment(name='env', secrets='which')

@env.task
def main() -> None:
    print('=>', os.environ['WHICH'])

if __name__ == '__main__':
    flyte.init_from_config()
    flyte.run(main)
";
    for sdk in SDKS {
        let sandbox = labelled(&["5", "0", "2024-01-01", "true", "false", "flag"], &[]);
        sandbox.file("script.py", script);
        for case in regressions::<ConfigurationCase>("flyte_configuration") {
            sandbox.file("config.yaml", format!("task:\n  project: {}\n  domain: development\n", case.project));
            let option: Vec<_> = case.option.iter().flat_map(|option| ["-p", option]).collect();
            // As a task, and as a script that reads the configuration itself.
            for file in [&["script.py", "main"][..], &["script.py"]] {
                let ran = sandbox.flyte_run(sdk, &[&option, file].concat());
                let why = format!("{sdk} {file:?} {}: {ran:?}", case.why);
                if let Some(error) = &case.error {
                    let error = format!("error: Flyte's configuration: {error}\n");
                    assert_eq!((ran.code, ran.text().as_str(), &ran.stderr), (1, "", &error), "{why}");
                } else {
                    assert_eq!((ran.code, ran.said()), (0, Vec::from_iter(case.shown.clone())), "{why}");
                }
            }
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_run_reads_a_configuration_in_a_directory_whose_name_is_not_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    for sdk in SDKS {
        let sandbox = labelled(&["flyte"], &[]);
        let directory = sandbox.work().join(std::ffi::OsStr::from_bytes(b"d\xff"));
        std::fs::create_dir(&directory).expect("made");
        std::fs::copy(sandbox.work().join("scope.py"), directory.join("scope.py")).expect("copied");
        std::fs::write(directory.join("config.yaml"), "task:\n  project: flyte\n").expect("written");
        let mut command = sandbox.flyte_command(sdk, &["scope.py", "show"]);
        let ran = Ran::from(command.current_dir(&directory).output().expect("flyte-local starts"));
        assert_eq!((ran.code, ran.said()), (0, vec!["flyte organization".to_owned()]), "{sdk}: {ran:?}");
        assert_eq!(ran.stderr.matches("not searched for secrets: the path is not UTF-8").count(), 1, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn an_invalid_project_is_refused_from_every_source() {
    let sandbox = Sandbox::new().with_tasks();
    for (variable, what) in [("FLYTE_LOCAL_PROJECT", "project"), ("FLYTE_LOCAL_DOMAIN", "domain")] {
        let mut command = sandbox.flyte_command("newest", &["scope.py", "show"]);
        let ran = Ran::from(command.env(variable, "../x").output().expect("flyte-local starts"));
        let message = format!(
            "error: {variable} is not a {what}: a {what} has only letters, digits, '-' and '_', this one has '.'\n"
        );
        assert_eq!((ran.code, ran.text(), ran.stderr), (2, String::new(), message));
    }
    for sdk in SDKS {
        sandbox.file("config.yaml", "task:\n  project: a.b\n  domain: development\n");
        let ran = sandbox.flyte_run(sdk, &["scope.py", "show"]);
        let message = "error: Flyte's configuration: a project has only letters, digits, '-' and '_', \
                       this one has '.'\n";
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (1, "", message), "{sdk}");
    }
}
