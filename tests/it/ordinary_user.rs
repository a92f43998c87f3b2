//! File secrets for an ordinary user, and for a user who may not make a private mount.

#![allow(clippy::disallowed_methods, reason = "tests start programs as any program could")]

use std::path::Path;
use std::process::Command;

use crate::support::permissions::{reachable_binary, under};
use crate::support::{FLYTE_LOCAL, Ran, SDKS, Sandbox, python, require};

const TASK: &str = r#"
import os, flyte
env = flyte.TaskEnvironment(name="env", secrets=[
    flyte.Secret(key="my_secret", mount="/etc/flyte/secrets"),
    flyte.Secret(key="my_secret", as_env_var="MY_VAR"),
])
@env.task
def show():
    print("uid", os.getuid(), "file", open("/etc/flyte/secrets/my_secret").read(), "variable", os.environ["MY_VAR"])
    try:
        open("/etc/flyte/secrets/other", "w")
    except OSError as error:
        print("write:", error.strerror)
"#;

/// Runs a program as an ordinary user whose home is the sandbox and who owns the files and directories there.
fn as_user(sandbox: &Sandbox, program: &Path, arguments: &[&str]) -> Ran {
    require("setpriv", "util-linux");
    require("unshare", "util-linux");
    if rustix::process::getuid().is_root() {
        let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(sandbox.home()).status();
        assert!(owned.expect("chown starts").success());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/as_user.sh");
    let mut command = sandbox.program("sh");
    command.arg(script).args([env!("CARGO_MANIFEST_DIR"), base_prefix().trim()]);
    // With CARGO_TARGET_DIR set, the binary lies outside the repository.
    command.arg(Path::new(FLYTE_LOCAL).parent().expect("it lies in a directory"));
    command.arg("--").arg(program).args(arguments);
    Ran::from(command.output().expect("sh starts"))
}

/// Returns the prefix of the Python that made the virtual environments.
fn base_prefix() -> String {
    let output = Command::new(python("newest")).args(["-c", "import sys; print(sys.base_prefix)"]).output();
    String::from_utf8(output.expect("Python starts").stdout).expect("UTF-8")
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn an_ordinary_user_gets_file_secrets_and_the_host_is_untouched() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "my_secret", "a value"]);
    sandbox.file("task.py", TASK);
    let uid = if rustix::process::getuid().is_root() { 65534 } else { rustix::process::getuid().as_raw() };
    for sdk in SDKS {
        let python = python(sdk);
        let arguments = ["run", "--no-mask", "--python", python.to_str().expect("UTF-8"), "task.py", "show"];
        let ran = as_user(&sandbox, Path::new(FLYTE_LOCAL), &arguments);
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let text = ran.text();
        assert!(text.contains(&format!("uid {uid} file a value variable a value\n")), "{sdk}: {ran:?}");
        assert!(text.contains("write: Read-only file system\n"), "{sdk}: {ran:?}");
        assert!(!Path::new("/etc/flyte").exists(), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and util-linux: scripts/test"]
fn an_ordinary_user_keeps_no_capabilities_of_the_namespace() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "my_secret", "a value"]);
    let script = "grep CapEff /proc/self/status; umount /etc/flyte/secrets 2>&1; ls /etc | grep -c passwd; \
                  cat /etc/flyte/secrets/my_secret; stat -c ' %U' /etc/passwd; touch /etc/new 2>&1";
    let arguments = ["exec", "--mount", "my_secret", "--", "sh", "-c", script];
    let ran = as_user(&sandbox, Path::new(FLYTE_LOCAL), &arguments);
    let text = ran.text();
    assert!(text.starts_with("CapEff:\t0000000000000000\n"), "{ran:?}");
    assert!(text.contains("umount:"), "{ran:?}");
    // The namespace does not map root, so root's files belong to the overflow user, as the documentation says.
    assert!(text.contains("\na value nobody\n"), "{ran:?}");
    assert!(text.trim_end().ends_with("Read-only file system"), "{ran:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_run_without_a_mount_has_variables_and_no_files() {
    let sandbox = Sandbox::new().with_tasks();
    sandbox.ok(&["create", "secret", "my_secret", "a value"]);
    for sdk in SDKS {
        let ran = sandbox.flyte_run(sdk, &["--no-mount", "example.py", "from_variable"]);
        assert_eq!((ran.code, ran.text().lines().next()), (0, Some("the variable holds: a value")), "{sdk}: {ran:?}");
        let ran = sandbox.flyte_run(sdk, &["--no-mount", "example.py", "from_file"]);
        assert_eq!(ran.code, 1, "{sdk}: {ran:?}");
        let words = ran.all().split_whitespace().collect::<Vec<_>>().join(" ");
        let reason = "my_secret cannot be mounted in /etc/flyte/secrets: --no-mount was given hint: run without it";
        assert!(words.contains(reason), "{sdk}: {ran:?}");
    }
}

/// Runs `flyte-local` as a user who may not make namespaces: without root's capabilities, and with a limit of zero.
fn without_namespaces(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    require("setpriv", "util-linux");
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all -- \"$@\"";
    let mut command = sandbox.program("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh", FLYTE_LOCAL]).args(arguments);
    Ran::from(command.output().expect("unshare starts"))
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn a_forbidden_private_mount_fails_file_secrets_but_not_variables() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "my_secret", "a value"]);
    let ran = without_namespaces(&sandbox, &["exec", "--mount", "my_secret", "--", "touch", "started"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert_eq!(
        ran.stderr,
        "error: secret my_secret cannot be mounted in /etc/flyte/secrets: this system does not let this user make a \
         private mount: the limit user.max_user_namespaces is reached\n\
         hint: allow unprivileged user namespaces (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0), or \
         use the secret as a variable\n"
    );
    assert!(!sandbox.work().join("started").exists());

    let ran = without_namespaces(&sandbox, &["exec", "--secret", "my_secret", "--", "sh", "-c", "echo $MY_SECRET"]);
    assert_eq!((ran.code, ran.text().as_str()), (0, "a value\n"), "{ran:?}");
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn write_permission_for_the_users_own_group_is_accepted() {
    // A umask of 002 makes files like these, and git checks out files like these. The number 65534 is also the group of
    // system accounts, so its group is not private.
    let sandbox = Sandbox::empty();
    let binary = reachable_binary(&sandbox);
    for arguments in [&["init"][..], &["create", "secret", "s", "a value"]] {
        assert_eq!(under("002", &sandbox, &binary, arguments).code, 0);
    }
    let is_own =
        rustix::process::getuid().is_root() || rustix::process::getuid().as_raw() == rustix::process::getgid().as_raw();
    let exec = ["exec", "--secret", "s", "--", "sh", "-c", "test \"$S\" = 'a value'"];
    for (mode, code) in [("g+w", if is_own { 0 } else { 13 }), ("o+w", 13)] {
        let opened = sandbox.program("chmod").args(["-R", mode]).arg(sandbox.vault()).status();
        assert!(opened.expect("chmod starts").success());
        let ran = under("002", &sandbox, &binary, &exec);
        assert_eq!(ran.code, code, "{mode}: {ran:?}");
    }
}
