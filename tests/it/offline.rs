//! The session of `docs/offline.md`, run without a network: in a namespace with only a loopback.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::path::Path;
use std::process::Command;

use crate::support::pages::{Step, blocks, steps, without_times};
use crate::support::{FLYTE_LOCAL, Ran, Sandbox, executable, python, require};

/// The user's name in the prompts inside the session.
const INSIDE: &str = "offline";

/// Marks the end of a command's output. No text contains it.
const END: char = '\u{1}';

/// A script that runs each argument as a command of one shell and prints its exit code.
const SESSION: &str = r#"for typed; do eval "$typed"; printf '\001%d\n' $?; done 2>&1"#;

/// A script that brings up the loopback first, as root or as a user who is root of the namespace.
const WITHOUT_NETWORK: &str = r#"ip link set lo up && exec "$@""#;

/// Makes commands `flyte` and `python` of the newest SDK, and returns a PATH that has them.
fn programs(sandbox: &Sandbox) -> String {
    let bin = sandbox.home().join("bin");
    std::fs::create_dir(&bin).expect("a directory");
    let quick_end = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/quick_end.py");
    for name in ["flyte", "python"] {
        let script =
            format!("#!/bin/sh\nexec '{}' '{}' {name} \"$@\"\n", python("newest").display(), quick_end.display());
        executable(&bin.join(name), script);
    }
    let binary = Path::new(FLYTE_LOCAL).parent().expect("it lies in a directory");
    let path = std::env::var("PATH").expect("PATH is set");
    format!("{}:{}:{path}", bin.display(), binary.display())
}

fn without_network(sandbox: &Sandbox, path: &str, arguments: &[&str]) -> Command {
    let environment = python("newest").ancestors().nth(2).expect("bin/python lies two below").to_owned();
    let mut command = sandbox.program("unshare");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "sh", "-c", WITHOUT_NETWORK, "sh"]).args(arguments);
    command.env("PATH", path).env("VIRTUAL_ENV", environment).env("COLUMNS", "120").env("TERM", "dumb");
    command
}

/// Returns the output as the page shows it, with a single space between columns.
fn shown(sandbox: &Sandbox, output: &str) -> String {
    let output = output.replace(&sandbox.home().display().to_string(), "/home/you");
    let lines = output.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    without_times(&lines.filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect::<String>())
}

#[test]
#[ignore = "needs the Flyte SDKs, iproute2 and util-linux: scripts/test"]
fn the_session_of_the_page_works() {
    require("unshare", "util-linux");
    require("ip", "iproute2");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/offline.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let sandbox = Sandbox::empty();
    let path = programs(&sandbox);
    for (name, block) in ["hello.py", "more.py"].into_iter().zip(blocks(&page, "python")) {
        sandbox.file(name, block);
    }
    let all: Vec<Step> = blocks(&page, "console").into_iter().flat_map(|block| steps(block, &["", INSIDE])).collect();
    let mut differences = String::new();
    let mut compare = |step: &Step, output: &str, code: i32| {
        if shown(&sandbox, output) != shown(&sandbox, &step.output) || code != step.code {
            differences.push_str(&format!("{}$ {}\n{output}? {code}\n", step.who, step.command));
        }
    };
    let (mut rest, mut inside) = (&all[..], 0);
    while let [step, following @ ..] = rest {
        rest = following;
        if step.command != "flyte-local serve -- sh" {
            let ran =
                Ran::from(without_network(&sandbox, &path, &["sh", "-c", &step.command]).output().expect("unshare"));
            compare(step, &ran.all(), ran.code);
            continue;
        }
        let length = following.iter().position(|step| step.command == "exit").expect("a session has an end");
        let (session, after) = following.split_at(length);
        rest = &after[1..];
        let mut arguments = vec!["flyte-local", "serve", "--", "sh", "-c", SESSION, "sh"];
        arguments.extend(session.iter().map(|step| step.command.as_str()));
        let ran = Ran::from(without_network(&sandbox, &path, &arguments).output().expect("unshare starts"));
        let said = ran.all();
        let mut parts = said.split(END);
        let mut output = parts.next().expect("split yields one");
        for step in session {
            let (code, next) = parts.next().and_then(|part| part.split_once('\n')).unwrap_or_else(|| panic!("{ran:?}"));
            compare(step, output, code.parse().expect("an exit code"));
            (output, inside) = (next, inside + 1);
        }
        assert_eq!((output, ran.code), ("", 0), "{ran:?}");
    }
    assert!(differences.is_empty(), "the page differs from what happened:\n{differences}");
    assert!(inside > 8, "the session was not found");
    crate::support::tally(&format!("docs/offline.md: {} commands without a network", all.len()));
}
