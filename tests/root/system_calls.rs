//! The system calls of a command, which carry a value only where the user asked for it. Commands with a value forbid other
//! processes to read their memory, so strace needs root.

#![allow(clippy::disallowed_methods, reason = "tests look at files as any program could")]

use std::io::Write;
use std::path::Path;

use crate::support::canary::Canary;
use crate::support::identities::{locked, private};
use crate::support::{FLYTE_LOCAL, Ran, SDKS, Sandbox, python, require, tally};
use flyte_local::crypto::Identity;

const MARKER: &str = "hunter2-c0ffee";

/// Returns the lines of a trace of `flyte-local` with these arguments, and the marker on standard input.
fn traced(sandbox: &Sandbox, calls: &str, arguments: &[&str]) -> Vec<String> {
    traced_with(sandbox, calls, arguments, MARKER)
}

fn traced_with(sandbox: &Sandbox, calls: &str, arguments: &[&str], input: &str) -> Vec<String> {
    require("strace", "strace");
    // A pipe, because a passphrase in a file could be read by a program that the command starts.
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(input.as_bytes()).expect("it fits the pipe");
    drop(writer);
    let mut command = sandbox.program("strace");
    command.args(["-f", "-v", "-y", "-s", "100000", "-o", "trace", "-e", calls, FLYTE_LOCAL]).args(arguments);
    command.env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace").env("EDITOR", "sed -i 1s/^/x/");
    let ran = Ran::from(command.stdin(reader).output().expect("strace starts"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let trace = std::fs::read_to_string(sandbox.work().join("trace")).expect("strace wrote it");
    std::fs::remove_file(sandbox.work().join("trace")).expect("it was there");
    trace.lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root: scripts/test"]
fn no_argument_list_holds_a_value() {
    let sandbox = Sandbox::new();
    let create = traced(&sandbox, "trace=execve", &["create", "secret", "s"]);
    assert!(!create.concat().contains(MARKER), "{create:?}");

    let exec = traced(&sandbox, "trace=execve", &["exec", "--secret", "s", "--", "sh", "-c", "exec true"]);
    let calls: Vec<_> = exec.iter().filter(|line| line.contains("execve(")).collect();
    let in_environment = |call: &str| {
        let (arguments, environment) = call.split_once("], [").expect("a list of arguments, a list of variables");
        assert!(!arguments.contains(MARKER), "{call}");
        environment.contains(&format!("\"S={MARKER}\""))
    };
    let (ours, theirs) = calls.split_first().expect("strace starts flyte-local");
    assert!(!in_environment(ours), "{ours}");
    assert!(!theirs.is_empty() && theirs.iter().all(|call| in_environment(call)), "{theirs:?}");
}

/// Parses a traced call: its name, its descriptor, and the descriptor's path.
fn call(line: &str) -> (&str, &str, &str) {
    let line = line.split_once(' ').map_or(line, |(_process, line)| line.trim_start());
    // A call that another process interrupted shows no descriptor.
    if let Some(name) = line.strip_prefix("<... ") {
        return (name.split(' ').next().unwrap_or_default(), "", "");
    }
    let (name, rest) = line.split_once('(').unwrap_or((line, ""));
    let on = rest.split([',', ')']).next().unwrap_or_default();
    let (descriptor, path) = on.split_once('<').unwrap_or((on, ""));
    (name, descriptor, path)
}

/// The ways in which a value may pass.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Read from standard input.
    Stdin,
    /// Read from the named file.
    File,
    /// Written to standard output, on request.
    Stdout,
    /// Passed in the environment of a started program.
    Environment,
    /// Written to a file in memory, on the private mount.
    Mount,
    /// Sent through the socket between flyte-local and the Python that it started.
    Socket,
    /// Written to the requested file, and read back, by its temporary name.
    Export,
    /// In the editor's file, which is in memory.
    Edit,
    /// Passed to or from the kernel's keyring.
    Keyring,
}

impl Way {
    fn is_of(self, line: &str) -> bool {
        match (self, call(line)) {
            // Through another descriptor of the pipe, too.
            (Way::Stdin, ("read", descriptor, path)) => descriptor == "0" || path.starts_with("pipe:"),
            (Way::Stdout, ("write", "1", _)) => true,
            (Way::File, ("read", _, path)) => path.ends_with("/work/value>") || path.ends_with("/work/value.env>"),
            (Way::Mount, ("write", _, path)) => path.starts_with("/etc/flyte/secrets/"),
            (Way::Socket, ("sendto" | "recvfrom", _, path)) => path.starts_with("socket:") || path.is_empty(),
            (Way::Export, ("write" | "read", _, path)) => path.contains("/work/.flyte-local-"),
            (Way::Edit, ("write" | "read", _, path)) => path.starts_with("/dev/shm/flyte-local-"),
            (Way::Keyring, ("add_key" | "keyctl", ..)) => true,
            (Way::Environment, ("execve", ..)) => {
                let arguments = line.split_once("], [").map(|(arguments, _environment)| arguments);
                arguments.is_some_and(|arguments| !arguments.contains(MARKER))
            }
            _ => false,
        }
    }
}

#[test]
#[ignore = "needs root: scripts/test"]
fn only_expected_system_calls_carry_a_value() {
    use Way::{Edit, Environment, Export, File, Mount, Socket, Stdin, Stdout};
    let sandbox = Sandbox::new();
    sandbox.file("value", MARKER);
    sandbox.file("value.env", format!("imported={MARKER}\n"));
    sandbox.file("task.py", TASK);
    sandbox.file("client.py", CLIENT);
    let bob = Identity::generate().recipient().to_string();
    let canary = Canary::of(MARKER);
    let pythons = SDKS.map(|sdk| python(sdk).into_os_string().into_string().expect("UTF-8"));
    let cases: &[(&[Way], &[&str])] = &[
        (&[Stdin], &["create", "secret", "s"]),
        (&[File], &["create", "secret", "f", "--from-file", "value"]),
        (&[Stdin], &["create", "secret", "other", "-p", "p", "-d", "d"]),
        (&[Stdin], &["update", "secret", "s"]),
        (&[File], &["update", "secret", "f", "--from-file", "value"]),
        (&[Stdout], &["get", "secret", "s", "--reveal"]),
        (&[], &["get", "secret"]),
        (&[], &["get", "secret", "s", "--output-format", "json"]),
        (&[], &["get", "secret", "--effective", "-p", "p", "-d", "d"]),
        (&[], &["check"]),
        (&[], &["--vault", "another", "init"]),
        (&[], &["update", "vault", "--accept"]),
        (&[Environment], &["exec", "--secret", "s", "--", "true"]),
        (&[Environment], &["exec", "--mask", "--secret", "s", "--", "true"]),
        (&[Mount], &["exec", "--mount", "f", "--", "true"]),
        (&[Mount], &["exec", "--mask", "--mount", "f", "--", "true"]),
        (&[Socket], &["run", "--dry-run", "--python", &pythons[0], "task.py"]),
        (&[Socket, Mount], &["run", "--python", &pythons[0], "task.py", "main"]),
        (&[Socket, Mount], &["run", "--python", &pythons[1], "task.py", "main"]),
        (&[Socket, Mount], &["run", "--no-mask", "--python", &pythons[1], "task.py", "main"]),
        (&[File], &["import", "value.env"]),
        (&[], &["--vault", "another", "import", "--from-vault", "../.local/share/flyte-local/vault"]),
        (&[], &["create", "recipient", &bob, "--name", "bob"]),
        (&[], &["delete", "recipient", "bob"]),
        (&[], &["rekey"]),
        (&[Stdout], &["export", "s"]),
        (&[Export], &["export", "s", "-o", "exported.env"]),
        (&[Edit], &["edit", "secret", "s"]),
        (&[Stdin, Socket], &["serve", "--log", "--", &pythons[1], "client.py"]),
        (&[], &["delete", "secret", "s"]),
    ];
    let mut calls = 0;
    for (ways, arguments) in cases {
        // Reading a file does not write it anywhere, and Python's reads are mostly the SDK.
        let which = if arguments[0] == "run" { "trace=!read,pread64" } else { "trace=all" };
        let trace = traced(&sandbox, which, arguments);
        calls += trace.len();
        let with_it: Vec<_> = trace.iter().filter(|line| !canary.find(line.as_bytes()).is_empty()).collect();
        let leaks: Vec<_> = with_it.iter().filter(|line| !ways.iter().any(|way| way.is_of(line))).collect();
        assert!(leaks.is_empty(), "{arguments:?}: {leaks:?}");
        for way in *ways {
            assert!(
                with_it.iter().any(|line| way.is_of(line)),
                "{arguments:?}: not by {way:?}, so the trace shows nothing"
            );
        }
    }
    for name in ["value", "value.env", "exported.env"] {
        std::fs::remove_file(sandbox.work().join(name)).expect("it was there");
    }
    assert_eq!(files_with_the_marker(sandbox.home()), 0);
    tally(&format!("traces: {calls} system calls of {} commands: a value only where it was asked for", cases.len()));
}

#[test]
#[ignore = "needs root: scripts/test"]
fn only_expected_system_calls_carry_a_passphrase_or_its_key() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "its value"]);
    let text = std::fs::read_to_string(sandbox.identity()).expect("there is one");
    private(&sandbox.file("locked", locked(text.as_bytes(), MARKER)));
    private(&sandbox.file("changed", locked(text.as_bytes(), MARKER)));
    let key = text.lines().find(|line| !line.starts_with('#')).expect("a key");
    let ssh = sandbox.ssh_key("ssh", &["ed25519"], "");
    let ssh = std::fs::read_to_string(ssh).expect("ssh-keygen wrote it");
    sandbox.ssh_keygen(&["-q", "-p", "-N", MARKER, "-f", "ssh"]);
    sandbox.ok(&["create", "recipient", "--from-file", "ssh.pub", "--name", "ssh"]);
    // The line with the largest part of the seed.
    let line = ssh.lines().nth_back(2).expect("some lines").as_bytes();
    let [passphrase, key, ssh_line] = [MARKER.as_bytes(), key.as_bytes(), line].map(Canary::from_bytes);
    let asks = "--passphrase-fd=0";
    // The ways of the passphrase, and the ways of the key that it protects.
    let cases: &[(&[Way], &[Way], &[&str])] = &[
        (&[Way::Stdin], &[], &[asks, "--identity=locked", "get", "secret", "s", "--reveal"]),
        (&[Way::Stdin], &[], &[asks, "--identity=ssh", "get", "secret", "s", "--reveal"]),
        (&[Way::Stdin], &[], &[asks, "--identity=locked", "check"]),
        (&[Way::Stdin], &[], &[asks, "--identity=locked", "exec", "--secret=s", "--", "true"]),
        (&[Way::Stdin], &[], &[asks, "--identity=locked", "rekey"]),
        (&[Way::Stdin], &[Way::Keyring], &[asks, "--identity=locked", "unlock", "--for=1h"]),
        (&[], &[Way::Keyring], &["--identity=locked", "get", "secret", "s", "--reveal"]),
        // `lock` removes keys without reading them.
        (&[], &[], &["--identity=locked", "lock"]),
        // age's interface does not reveal the key.
        (&[Way::Stdin, Way::Keyring], &[], &[asks, "--identity=ssh", "unlock", "--for=1h"]),
        (&[Way::Keyring], &[], &["--identity=ssh", "get", "secret", "s", "--reveal"]),
        (&[], &[], &["--identity=ssh", "lock"]),
        (&[Way::Stdin], &[], &[asks, "--identity=changed", "update", "identity", "--passphrase"]),
        (&[Way::Stdin], &[], &[asks, "--vault=v", "--identity=made", "init", "--passphrase"]),
    ];
    let mut calls = 0;
    for (ways, ways_of_key, arguments) in cases {
        let lines = format!("{MARKER}\n{MARKER}\n");
        let trace = traced_with(&sandbox, "trace=all", arguments, &lines);
        calls += trace.len();
        let has = |line: &&String, canary: &Canary| !canary.find(line.as_bytes()).is_empty();
        let typed: String =
            trace.iter().filter(|line| Way::Stdin.is_of(line)).filter_map(|line| line.split('"').nth(1)).collect();
        let reads = typed.contains(MARKER);
        assert_eq!(reads, arguments[0] == asks, "{arguments:?}: it read {typed}");
        let found: Vec<_> = trace.iter().filter(|line| has(line, &passphrase)).collect();
        assert!(found.iter().all(|line| ways.iter().any(|way| way.is_of(line))), "{arguments:?}: {found:?}");
        let found: Vec<_> = trace.iter().filter(|line| has(line, &key) || has(line, &ssh_line)).collect();
        assert!(found.iter().all(|line| ways_of_key.iter().any(|way| way.is_of(line))), "{arguments:?}: {found:?}");
        assert_eq!(found.is_empty(), ways_of_key.is_empty(), "{arguments:?}: the trace shows nothing");
    }
    tally(&format!(
        "traces: {calls} system calls of {} commands: a passphrase or a key only where it goes",
        cases.len()
    ));
}

const TASK: &str = "
import os
import flyte

env = flyte.TaskEnvironment(
    name='env',
    secrets=[flyte.Secret(key='s', as_env_var='VALUE'), flyte.Secret(key='f', mount='/etc/flyte/secrets')],
)

@env.task
def main() -> int:
    assert os.environ['VALUE'] == open('/etc/flyte/secrets/f').read()
    return 0
";

/// Sends the value literally, compressed, and in requests that fail.
const CLIENT: &str = "
import gzip, http.client, json, os, sys

value = sys.stdin.read()
connection = http.client.HTTPConnection(os.environ['FLYTE_ADMIN_ENDPOINT'].removeprefix('dns:///'))
wanted = [('CreateSecret', 'served', 200), ('UpdateSecret', 'served', 200), ('CreateSecret', 'served', 409),
          ('UpdateSecret', 'missing', 404), ('CreateSecret', value + '!', 400), ('CreateSecret', 'half', 400)]
for encode, encoding in ((bytes, 'identity'), (gzip.compress, 'gzip')):
    for method, name, status in wanted:
        body = json.dumps({'id': {'name': name + encoding}, 'secretSpec': {'stringValue': value}}).encode()
        body = encode(body[:-1] if name == 'half' else body)
        headers = {'Content-Type': 'application/json', 'Content-Encoding': encoding}
        connection.request('POST', '/flyteidl2.secret.SecretService/' + method, body, headers)
        reply = connection.getresponse()
        assert (reply.status, value.encode() in reply.read()) == (status, False), (method, name, reply.status)
";

fn files_with_the_marker(directory: &Path) -> usize {
    let holds = |path: &Path| {
        let bytes = std::fs::read(path).expect("a file of the test");
        bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
    };
    let entries = std::fs::read_dir(directory).expect("a directory of the test");
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| if path.is_dir() { files_with_the_marker(&path) } else { usize::from(holds(&path)) })
        .sum()
}
