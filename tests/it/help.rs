//! The examples that `--help` prints run as they are printed.

#![allow(clippy::disallowed_methods, reason = "tests write files as any program could")]

use std::path::Path;

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, executable};

/// The commands whose examples need only a vault.
const COMMANDS: [&str; 6] = ["create secret", "get secret", "update secret", "delete secret", "export", "import"];

#[test]
fn the_examples_work_when_they_are_typed() {
    for command in COMMANDS {
        let examples = examples(command);
        assert!(examples.len() > 1, "{command}: the examples were not found");
        for example in examples {
            let ran = typed(&prepared(command), &example);
            assert_eq!(ran.code, 0, "{example}: {ran:?}");
        }
    }
}

/// Returns the commands below `Examples:`, without the remarks beside them.
fn examples(command: &str) -> Vec<String> {
    let words: Vec<&str> = ["help"].into_iter().chain(command.split(' ')).collect();
    let help = String::from_utf8(Sandbox::empty().ok(&words)).expect("UTF-8");
    let examples = help.split("Examples:\n").nth(1).unwrap_or_default();
    let lines = examples.lines().take_while(|line| !line.is_empty());
    lines.map(|line| line.trim().split("   ").next().unwrap_or_default().to_owned()).collect()
}

/// Returns a home directory with the files, programs and secrets that the examples of this command name.
fn prepared(command: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.file("cert.pem", "a certificate\n");
    let programs = sandbox.home().join("bin");
    std::fs::create_dir_all(&programs).expect("a directory");
    executable(&programs.join("pass"), "#!/bin/sh\necho '{\"token\": \"from pass\"}'\n");
    for reader in ["jq", "kubectl"] {
        executable(&programs.join(reader), "#!/bin/sh\ncat\n");
    }
    let docker = sandbox.home().join(".docker");
    std::fs::create_dir_all(&docker).expect("a directory");
    sandbox.file("../.docker/config.json", r#"{"auths": {"ghcr.io": {"auth": "bWU6cGFzc3dvcmQ="}}}"#);
    if command == "import" {
        sandbox.file(".env", "API_KEY=one\nTOKEN=two\n");
        let old = sandbox.home().join("old/vault");
        let old = old.to_str().expect("UTF-8");
        sandbox.ok(&["--vault", old, "init"]);
        sandbox.ok(&["--vault", old, "create", "secret", "old_secret", "value"]);
    } else if command != "create secret" {
        for name in ["my_secret", "my_cert", "session_key", "api_key"] {
            sandbox.secret(name, "value", &[]);
        }
        sandbox.secret("my_cert", "value", &["-p", "my_project"]);
        sandbox.secret("my_secret", "value", &["-p", "my_project", "-d", "development"]);
        sandbox.ok(&["create", "secret", "ghcr", "--type", "image_pull", "--from-docker-config"]);
    }
    sandbox
}

/// Runs a command in a shell whose standard input has a value.
fn typed(sandbox: &Sandbox, command: &str) -> Ran {
    let ours = Path::new(FLYTE_LOCAL).parent().expect("a directory").display();
    let path =
        format!("{}:{ours}:{}", sandbox.home().join("bin").display(), std::env::var("PATH").expect("PATH is set"));
    let script = format!("echo value | ({command})");
    Ran::from(sandbox.program("sh").args(["-c", &script]).env("PATH", path).output().expect("sh starts"))
}
