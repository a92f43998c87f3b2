//! Files and programs that flyte-local finds by itself: believed only if no other user could have made or changed
//! them. Only root can give a file to another user.

use std::path::Path;

use crate::support::permissions::{USER, reachable_binary, under};
use crate::support::{Ran, Sandbox, executable, regressions, require};
use serde::Deserialize;

/// Another user.
const OTHER: u32 = 4242;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    why: String,
    prepare: String,
    command: String,
    answer: String,
}

/// Runs a case in a new sandbox. `binary` is a copy of `flyte-local` that the user can reach.
fn outcome(case: &Case, binary: &Path) -> Result<(), String> {
    let sandbox = Sandbox::empty();
    for arguments in [&["init"][..], &["create", "secret", "s", "value"]] {
        assert_eq!(under("022", &sandbox, binary, arguments).code, 0);
    }
    let marked = sandbox.home().join("marked");
    let mark = sandbox.home().join("mark");
    executable(&mark, format!("#!/bin/sh\n: > '{}'\nexit 3\n", marked.display()));
    sandbox.file("task.py", "");
    sandbox.file("header.py", "# /// script\n# dependencies = []\n# ///\n");
    let programs = binary.parent().expect("it is in a directory");
    let mut command = sandbox.program("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-euc"])
        .arg(
            "umask 022; eval \"$prepare\"; PATH=\"$programs:/usr/bin:/bin\"; unset prepare
            exec setpriv --reuid $user --regid $user --clear-groups sh -c \"$command\"",
        )
        .env("prepare", &case.prepare)
        .env("command", &case.command)
        .env("programs", programs)
        .env("mark", &mark)
        .envs([("user", USER.to_string()), ("other", OTHER.to_string())]);
    let ran = Ran::from(command.output().expect("unshare starts"));
    let is_marked = marked.exists();
    let shown = |what: &str| Err(format!("{}: {what}\n{ran:?}", case.why));
    match case.answer.split_once(": ") {
        None if case.answer == "started" => {
            if is_marked {
                Ok(())
            } else {
                shown("it did not start")
            }
        }
        None if case.answer == "done" => {
            if ran.code == 0 {
                Ok(())
            } else {
                shown("it failed")
            }
        }
        None => panic!("{case:?}"),
        Some(_) if is_marked => shown("it started"),
        Some((place, reason)) => {
            let path = sandbox.work().join(place);
            let path = match place.strip_prefix("..") {
                Some(below) => sandbox.home().join(below.trim_start_matches('/')),
                None => path,
            };
            let path = path.to_str().expect("UTF-8").trim_end_matches('/');
            let told = format!(" {path}\ncaused by: {reason}\n");
            let is_told = ran.stderr.contains(&told) || ran.stderr.contains(&format!(" {path}: {reason}"));
            // A credential helper is left out, and then no credentials remain.
            let is_refused = ran.code == 13 || ran.stderr.contains("left out ghcr.io");
            if is_told && is_refused && ran.stderr.contains("hint: ") { Ok(()) } else { shown(&told) }
        }
    }
}

#[test]
#[ignore = "needs root: scripts/test"]
fn a_file_that_was_found_is_believed_only_if_no_other_user_could_have_made_it() {
    require("setpriv", "util-linux");
    let keep = Sandbox::empty();
    std::os::unix::fs::chown(keep.home(), Some(USER), Some(USER)).expect("root may");
    let binary = reachable_binary(&keep);
    let cases: Vec<Case> = regressions("found");
    let failed: Vec<_> = cases.iter().filter_map(|case| outcome(case, &binary).err()).collect();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
