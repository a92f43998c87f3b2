//! The README's tour, executed: each command of a `console` block, with its output as printed there.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::path::Path;

use crate::support::pages::{Step, blocks, steps, without_times};
use crate::support::{FLYTE_LOCAL, Ran, Sandbox, python, require};

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    std::fs::read_to_string(path).expect("the README")
}

#[test]
fn the_tour_does_what_it_says() {
    require("age", "age");
    let readme = readme();
    let tour = readme.split("## A tour").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the tour");
    let sandbox = Sandbox::empty();
    sandbox.file("hello.py", blocks(tour, "python")[0]);
    let environment = python("newest").ancestors().nth(2).expect("bin/python lies two below").to_owned();
    let binary = Path::new(FLYTE_LOCAL).parent().expect("it lies in a directory");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").expect("PATH is set"));

    let steps: Vec<Step> = blocks(tour, "console").into_iter().flat_map(|block| steps(block, &[""])).collect();
    assert!(steps.len() > 10, "the tour was not found");
    for step in steps {
        let mut command = sandbox.program("sh");
        command.args(["-c", &step.command]).env("PATH", &path).env("VIRTUAL_ENV", &environment);
        let ran = Ran::from(command.output().expect("sh starts"));
        let mut output = ran.all().replace(&sandbox.home().display().to_string(), "/home/you");
        if !output.is_empty() && !output.ends_with('\n') {
            output.push('\n');
        }
        assert_eq!(ran.code, step.code, "{}: {ran:?}", step.command);
        assert_eq!(without_times(&output), without_times(&step.output), "{}", step.command);
    }
}

#[test]
fn the_exit_codes_are_those_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/error.rs");
    let source = std::fs::read_to_string(path).expect("the source");
    let list = source.split("enum Exit {").nth(1).and_then(|rest| rest.split('}').next()).expect("the enum");
    let codes: Vec<u8> = list
        .lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(" = "))
        .map(|(_, code)| code.parse().expect("a number"))
        .filter(|code| *code < 126)
        .collect();
    let readme = readme();
    let sentence = readme.split("Exit codes:").nth(1).and_then(|rest| rest.split(';').next()).expect("the sentence");
    let named: Vec<u8> = sentence.split([' ', '\n']).filter_map(|word| word.parse().ok()).collect();
    assert_eq!(named[0], 0);
    assert_eq!(named[1..], codes);
}
