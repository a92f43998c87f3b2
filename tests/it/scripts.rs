//! The README's two commands report what a machine lacks before they start anything.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tools that the scripts use and every machine has.
const BASIC: [&str; 6] = ["bash", "dirname", "cmp", "rm", "cp", "grep"];

/// Returns the first program of this name in the tester's `PATH`.
fn find(tool: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("PATH is set");
    let found = std::env::split_paths(&path).map(|directory| directory.join(tool)).find(|program| program.exists());
    found.unwrap_or_else(|| panic!("this test needs `{tool}`"))
}

/// Runs a script with only these tools. Returns its exit code and standard error.
fn run(script: &str, tools: &[&str]) -> (Option<i32>, String) {
    let bin = tempfile::tempdir().expect("a temporary directory");
    for tool in BASIC.iter().chain(tools) {
        symlink(find(tool), bin.path().join(tool)).expect("a link");
    }
    // The scripts ask Python itself whether it is too old; `false` answers yes.
    symlink(find("false"), bin.path().join("python3")).expect("a link");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
    let output =
        Command::new(find("bash")).arg(script).env_clear().env("PATH", bin.path()).output().expect("bash starts");
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

#[test]
#[ignore = "needs Bash: scripts/test"]
fn a_missing_tool_is_named_with_its_package() {
    for script in ["demo", "test", "faults"] {
        let (code, text) = run(script, &[]);
        assert_eq!(code, Some(1), "{script}");
        assert_eq!(text, "error: cargo is missing\nhint: install it: a Rust toolchain (rustup.rs)\n", "{script}");
    }
    let (code, text) = run("test", &["cargo"]);
    assert_eq!(code, Some(1));
    let packages = "age openssh-client strace util-linux util-linux util-linux iproute2 bsdutils git make e2fsprogs mount \
                    docker.io busybox-static";
    assert_eq!(
        text,
        format!(
            "error: these programs or packages are missing: {packages}\nhint: install them: sudo apt-get install {packages}\n"
        )
    );
}

#[test]
#[ignore = "needs Bash: scripts/test"]
fn a_python_that_is_too_old_is_reported_as_missing() {
    let missing = "error: Python 3.10 or newer is missing (tried python3 python3.13 python3.12 python3.11 python3.10)\n\
                   hint: install python3, or name one: PYTHON=/path/to/python3\n";
    for (script, tools) in [
        ("demo", &["cargo"][..]),
        (
            "test",
            &[
                "cargo",
                "age",
                "strace",
                "ssh-keygen",
                "unshare",
                "setpriv",
                "nsenter",
                "ip",
                "script",
                "git",
                "make",
                "mkfs.ext4",
                "mount",
                "dockerd",
                "busybox",
            ],
        ),
    ] {
        assert_eq!(run(script, tools), (Some(1), missing.to_owned()), "{script}");
    }
}
