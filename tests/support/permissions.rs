//! Commands of an ordinary user, and the permissions of files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{FLYTE_LOCAL, Ran, Sandbox, executable, require};

/// An ordinary user. Not 65534, which stands for every unknown user in a user namespace.
pub const USER: u32 = 12345;

pub fn mode(path: &Path) -> u32 {
    path.metadata().expect("it exists").permissions().mode() & 0o7777
}

/// Copies the binary into the sandbox, for a user who cannot reach the original.
pub fn reachable_binary(sandbox: &Sandbox) -> PathBuf {
    let copy = sandbox.work().join("flyte-local");
    executable(&copy, std::fs::read(FLYTE_LOCAL).expect("the binary"));
    copy
}

/// Runs `flyte-local` under this umask, as an ordinary user: root bypasses permissions and would hide a missing one.
pub fn under(umask: &str, sandbox: &Sandbox, binary: &Path, arguments: &[&str]) -> Ran {
    let is_root = rustix::process::getuid().is_root();
    let mut command = sandbox.program(if is_root { "setpriv" } else { "env" });
    if is_root {
        require("setpriv", "util-linux");
        for path in [sandbox.home(), &sandbox.work()] {
            std::os::unix::fs::chown(path, Some(USER), Some(USER)).expect("root may");
        }
        command.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".to_owned()]);
    }
    command.args(["sh", "-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(binary).args(arguments);
    Ran::from(command.output().expect("it starts"))
}

pub fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("our own");
}

/// Runs the command of the first hint that has one after `sign`.
pub fn run_the_hint(sandbox: &Sandbox, ran: &Ran, sign: &str) {
    let line = ran.stderr.lines().find_map(|line| line.strip_prefix("hint: ").and_then(|hint| hint.split_once(sign)));
    let (_, command) = line.unwrap_or_else(|| panic!("a hint with {sign:?}: {ran:?}"));
    let command = format!("{}{command}", sign.trim_start_matches(": ").trim_start_matches("sudo "));
    let done = sandbox.program("sh").args(["-c", &command]).status();
    assert!(done.expect("sh starts").success(), "{command}");
}
