//! Names of secrets that become names of variables: `exec` and `export` refuse the names on which programs act, by one rule, and
//! leave alone a variable that is already set.

#![allow(clippy::disallowed_methods, reason = "the rule on child processes is for the product")]

use crate::support::regressions::regressions;
use crate::support::{Ran, Sandbox};
use flyte_local::variables::{effect_on_programs, is_a_shells_name};
use serde::Deserialize;
use std::collections::BTreeSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    rule: String,
    why: String,
}

/// Returns whether `exec` sets a variable of this name.
fn exec_sets(sandbox: &Sandbox, name: &str, options: &[&str]) -> bool {
    let secret = format!("s={name}");
    // A shell would act on some of the variables itself.
    let ran = sandbox.run(&[&["exec", "--secret", &secret], options, &["--", "/bin/true"]].concat());
    assert!(ran.code == 0 || (ran.code == 1 && ran.stderr.contains("--allow-loader-variables")), "{name}: {ran:?}");
    ran.code == 0
}

/// Returns whether `export` writes a secret of this name.
fn export_writes(sandbox: &Sandbox, name: &str, format: &str, options: &[&str]) -> bool {
    let ran = sandbox.run(&[&["export", name, "--format", format], options].concat());
    assert!(ran.code == 0 || (ran.code == 1 && ran.text().is_empty()), "{name}: {ran:?}");
    assert!(ran.code == 0 || ran.stderr.contains(&format!("secret {name}: the variable ")), "{name}: {ran:?}");
    ran.code == 0
}

#[test]
fn names_on_which_programs_act_are_refused_by_exec_and_export_alike() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "v"]);
    for Case { name, rule, why } in regressions::<Case>("variables") {
        sandbox.ok(&["create", "secret", &name, "v"]);
        assert_eq!(exec_sets(&sandbox, &name, &[]), rule != "refused", "exec {name}: {why}");
        assert!(exec_sets(&sandbox, &name, &["--allow-loader-variables"]), "exec {name}");
        for format in ["shell", "dotenv"] {
            assert_eq!(export_writes(&sandbox, &name, format, &[]), rule == "allowed", "{format} {name}: {why}");
            assert!(export_writes(&sandbox, &name, format, &["--allow-loader-variables"]), "{format} {name}");
        }
        assert!(export_writes(&sandbox, &name, "json", &[]), "JSON sets no variable: {name}");
    }
}

#[test]
#[ignore = "needs make: scripts/test"]
fn a_vault_cannot_make_make_run_a_command() {
    crate::support::require("make", "make");
    let sandbox = Sandbox::new();
    sandbox.file("Makefile", "all:\n\t@echo built\n");
    sandbox.ok(&["create", "secret", "makeflags", "--value", "--eval=$(shell touch ran)"]);
    let ran = sandbox.run(&["exec", "--all", "--", "make"]);
    assert_eq!((ran.code, ran.text().as_str()), (1, ""), "{ran:?}");
    assert!(ran.stderr.contains("MAKEFLAGS changes what a build runs, so secret makeflags cannot go there"), "{ran:?}");
    assert!(!sandbox.work().join("ran").exists(), "a secret ran as a command");
}

/// Returns the variables that make gives a default, and those that its own rules use.
fn variables_of_make() -> BTreeSet<String> {
    let mut make = std::process::Command::new("make");
    let printed = make.args(["-p", "-f", "/dev/null"]).output().expect("make starts");
    let printed = String::from_utf8(printed.stdout).expect("make prints UTF-8");
    let lines: Vec<_> = printed.lines().collect();
    let defaults = lines.windows(2).filter(|pair| pair[0] == "# default").filter_map(|pair| pair[1].split(' ').next());
    let used = printed.split("$(").skip(1).filter_map(|rest| rest.split(')').next());
    defaults.chain(used).filter(|name| is_a_shells_name(name)).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs make: scripts/test"]
fn every_variable_of_makes_own_rules_is_refused() {
    crate::support::require("make", "make");
    let variables = variables_of_make();
    for known in ["CC", "RM", "OUTPUT_OPTION", "LOADLIBES", "TARGET_ARCH", "RFLAGS"] {
        assert!(variables.contains(known), "{known} is not in {variables:?}");
    }
    let allowed: Vec<_> = variables.iter().filter(|name| effect_on_programs(name).is_none()).collect();
    assert!(allowed.is_empty(), "{allowed:?}");
}

/// Runs `exec --all` with a variable of the caller.
fn all_with(sandbox: &Sandbox, options: &[&str], mine: &str) -> Ran {
    let arguments = [&["exec", "--all"], options, &["--", "sh", "-c", "printf %s \"$API_KEY\""]].concat();
    Ran::from(sandbox.command(&arguments).env("API_KEY", mine).output().expect("flyte-local starts"))
}

#[test]
fn all_leaves_a_variable_alone_that_is_already_set() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "api-key", "the vault's"]);
    let kept = all_with(&sandbox, &[], "mine");
    assert_eq!((kept.code, kept.text().as_str()), (0, "mine"), "{kept:?}");
    let notice =
        "flyte-local: API_KEY is already set and stays as it is; for the value of the secret: --secret api-key\n";
    assert_eq!(kept.stderr, notice);
    let emptied = all_with(&sandbox, &[], "");
    assert_eq!((emptied.text().as_str(), emptied.stderr.as_str()), ("", notice), "set to nothing is set");
    let same = all_with(&sandbox, &[], "the vault's");
    assert_eq!((same.text().as_str(), same.stderr.as_str()), ("the vault's", ""), "the same value needs no notice");
    let named = all_with(&sandbox, &["--secret", "api-key"], "mine");
    assert_eq!((named.text().as_str(), named.stderr.as_str()), ("the vault's", ""), "the user named it");
    let allowed = all_with(&sandbox, &["--allow-loader-variables"], "mine");
    assert_eq!(allowed.text(), "mine", "the option is about names");
}

#[test]
fn export_for_a_shell_leaves_a_variable_alone_that_is_already_set() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "API_KEY", "the vault's"]);
    sandbox.ok(&["create", "secret", "OTHER", "other"]);
    let export = |arguments: &[&str], mine: &str| {
        let mut command = sandbox.command(&[&["export"], arguments].concat());
        Ran::from(command.env("API_KEY", mine).output().expect("flyte-local starts"))
    };
    let all = export(&["--format", "shell"], "mine");
    assert_eq!((all.code, all.text().as_str()), (0, "export OTHER='other'\n"), "{all:?}");
    let notice = "flyte-local: API_KEY is already set and stays as it is; for the value of the secret: name it\n";
    assert_eq!(all.stderr, notice);
    let both = "export API_KEY='the vault'\\''s'\nexport OTHER='other'\n";
    let same = export(&["--format", "shell"], "the vault's");
    assert_eq!((same.text().as_str(), same.stderr.as_str()), (both, ""));
    let named = export(&["API_KEY", "--format", "shell"], "mine");
    assert_eq!((named.text().as_str(), named.stderr.as_str()), ("export API_KEY='the vault'\\''s'\n", ""));
    let file = export(&["--format", "json"], "mine");
    assert!(file.text().contains("the vault's") && file.stderr.is_empty(), "a file is for later: {file:?}");
}
