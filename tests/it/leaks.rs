//! A value shows up nowhere but where it was asked for: not in what a command says, not in an argument list, not in a
//! file.

#![allow(clippy::disallowed_methods, reason = "tests damage files as any program could")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use crate::support::canary::Canary;
use crate::support::identities::{locked, private};
use crate::support::{FLYTE_LOCAL, Ran, SDKS, Sandbox, keyring_turn, python, require, tally};
use flyte_local::crypto::Identity;

const MARKER: &str = "hunter2-c0ffee";

/// Runs `flyte-local` with the marker on standard input and in the file `value`; nothing it says may hold the marker.
fn silent(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let mut command = sandbox.command(arguments);
    command
        .env("RUST_BACKTRACE", "1")
        .env("EDITOR", "false")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // It may refuse before it has read everything.
    let _ = child.stdin.take().expect("piped").write_all(MARKER.as_bytes());
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    assert!(!ran.all().contains(MARKER), "{arguments:?}: {ran:?}");
    ran
}

#[test]
fn no_command_says_a_value() {
    let sandbox = Sandbox::new();
    let value = sandbox.file("value", MARKER);
    // Some cases take it for an identity, and one that others can read would not be looked at.
    std::fs::set_permissions(value, PermissionsExt::from_mode(0o600)).expect("our own file");
    sandbox.file("too_large", MARKER.repeat(100_000));
    sandbox.file("not_utf8", [MARKER.as_bytes(), b"\xff"].concat());
    sandbox.file("new.env", format!("NEW={MARKER}\ns=another-{MARKER}\n"));
    sandbox.locked_identity("locked", "another passphrase");
    let bob = Identity::generate().recipient().to_string();
    let cases: &[(i32, &[&str])] = &[
        (0, &["create", "secret", "s", MARKER]),
        (0, &["create", "secret", "option", "--value", MARKER]),
        (0, &["create", "secret", "file", "--from-file", "value"]),
        (0, &["create", "secret", "stdin"]),
        (0, &["create", "secret", "bytes", "--from-file", "not_utf8"]),
        (0, &["update", "secret", "s", MARKER]),
        (0, &["update", "secret", "s"]),
        (0, &["get", "secret"]),
        (0, &["get", "secret", "s"]),
        (0, &["get", "secret", "s", "--output-format", "json"]),
        (0, &["exec", "--secret", "s", "--", "true"]),
        (12, &["create", "secret", "s", MARKER]),
        (12, &["create", "secret", "s", "--value", MARKER]),
        (12, &["create", "secret", "s"]),
        (10, &["update", "secret", "missing", MARKER]),
        (10, &["update", "secret", "missing"]),
        (1, &["create", "secret", "large", "--from-file", "too_large"]),
        (1, &["exec", "--secret", "bytes", "--", "true"]),
        (1, &["exec", "--secret", "s=LD_PRELOAD", "--", "true"]),
        (127, &["exec", "--secret", "s", "--", "no-such-command"]),
        (1, &["--identity", "value", "get", "secret", "s", "--reveal"]),
        (1, &["--identity", "value", "exec", "--secret", "s", "--", "true"]),
        (1, &["--vault", "new", "--identity", "value", "init"]),
        (0, &["create", "secret", "p", "--type=image_pull", "--registry=r.io", "--username=u", "--password", MARKER]),
        (12, &["import", "new.env"]),
        (0, &["import", "new.env", "--overwrite", "--only", "NEW", "--dry-run"]),
        (1, &["import", "value"]),
        (1, &["import", "value", "--format", "json"]),
        (1, &["import", "-", "--format", "yaml"]),
        (0, &["export", "s", "-o", "exported.env"]),
        (1, &["edit", "secret", "s"]),
        (0, &["create", "recipient", &bob, "--name", "bob"]),
        (0, &["rekey"]),
        (0, &["delete", "recipient", "bob"]),
        (2, &["create", "recipient", MARKER, "--name", "x"]),
        (2, &["create", "recipient", &format!("AGE-SECRET-KEY-1{MARKER}"), "--name", "x"]),
        (2, &["create", "recipient", "--from-file", "value", "--name", "x"]),
        // The passphrase on a descriptor.
        (11, &["--passphrase-fd=0", "--identity=locked", "get", "secret", "s", "--reveal"]),
        (11, &["--passphrase-fd=0", "--identity=locked", "unlock"]),
        (11, &["--passphrase-fd=0", "--identity=locked", "update", "identity", "--no-passphrase"]),
        (0, &["--passphrase-fd=0", "--vault=v", "--identity=made", "init", "--passphrase"]),
        (0, &["--passphrase-fd=0", "--identity=made", "unlock", "--for=1h"]),
        (0, &["--identity=made", "lock"]),
        (1, &["--passphrase-fd=0", "--identity=made", "update", "identity", "--passphrase"]),
        (0, &["--passphrase-fd=0", "--identity=made", "update", "identity", "--no-passphrase"]),
    ];
    let _turn = keyring_turn();
    for (code, arguments) in cases {
        let ran = silent(&sandbox, arguments);
        assert_eq!(ran.code, *code, "{arguments:?}: {ran:?}");
    }
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), MARKER.as_bytes(), "the one place");
}

#[test]
fn a_value_in_the_wrong_place_is_not_repeated() {
    let sandbox = Sandbox::new();
    let spaced = format!("{MARKER} ");
    let cases: &[&[&str]] = &[
        &["create", "secret", "s", "two", MARKER],
        &["create", "secret", "s", "two", "three", MARKER],
        &["create", "secret", "s", MARKER, "--value", MARKER],
        &["create", "secret", "s", MARKER, "--from-file", MARKER],
        &["create", "secret", "s", "--value", MARKER, "--from-file", MARKER],
        &["create", "secret", "s", "--value", MARKER, "--value", MARKER],
        &["create", "secret", &spaced, "s"],
        &["create", "s", MARKER],
        &["update", "secret", "s", "--vaule", MARKER],
        &["update", "secret", "s", &format!("--vaule={MARKER}")],
        &["update", "secret", "s", &format!("-S{MARKER}")],
        &["get", "secret", "s", MARKER],
        &["get", "secret", &spaced],
        &["delete", "secret", "s", MARKER],
        &["exec", "--secret", &format!("s={MARKER}"), "--", "true"],
        &["create", "secret", "s", &format!("--generate={MARKER}")],
        &["create", "recipient", "age1", MARKER, "--name", "x"],
        &["delete", "recipient", "x", MARKER],
        &["rekey", MARKER],
        &["unlock", MARKER],
        &["unlock", "--for", MARKER],
        &["lock", MARKER],
        &["update", "identity", "--passphrase", MARKER],
        &["update", "identity", &format!("--passphrase={MARKER}")],
        &["--passphrase-fd", MARKER, "unlock"],
        &["init", &format!("--passphrase={MARKER}")],
        &["import", "new.env", "--map", MARKER],
        &["import", "new.env", MARKER],
        &["edit", "secret", "s", MARKER],
    ];
    for arguments in cases {
        let ran = silent(&sandbox, arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
    }
}

#[test]
fn what_follows_the_equals_sign_of_any_option_is_not_repeated() {
    let sandbox = Sandbox::new();
    for option in ["--raw", "--type"] {
        let ran = silent(&sandbox, &["create", "secret", "s", "one", &format!("{option}={MARKER}")]);
        assert_eq!(ran.code, 2, "{option}: {ran:?}");
    }
    let ran = silent(&sandbox, &["get", "secret", "s", &format!("--reveal={MARKER}")]);
    assert_eq!(ran.code, 2, "{ran:?}");
}

/// `flyte-local create secret NAME "$VALUE"` must not succeed without creating anything, whatever the value begins with.
#[test]
fn a_value_that_begins_like_the_help_flag_is_not_taken_for_it() {
    let sandbox = Sandbox::new();
    let ran = sandbox.run(&["create", "secret", "s", "-hunter2"]);
    let created = sandbox.run(&["get", "secret", "s", "--reveal"]).stdout == b"-hunter2";
    assert!(created || ran.code == 2, "{ran:?}");
}

#[test]
fn a_damaged_file_gives_nothing_away() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", MARKER]);
    let path = sandbox.secret_file("org/s");
    let good = std::fs::read(&path).expect("the secret's file");
    let half = [&good[..good.len() - 1], b"x"].concat();
    for bad in [half.as_slice(), MARKER.as_bytes(), &good[..good.len() / 2]] {
        std::fs::File::create(&path).and_then(|mut file| file.write_all(bad)).expect("damaged");
        for arguments in [&["get", "secret", "s", "--reveal"][..], &["exec", "--secret", "s", "--", "true"]] {
            assert_eq!(silent(&sandbox, arguments).code, 13, "{arguments:?}");
        }
    }
}

/// The lines of a trace of `flyte-local` with these arguments, and the marker on standard input.
fn traced(sandbox: &Sandbox, calls: &str, arguments: &[&str]) -> Vec<String> {
    traced_with(sandbox, calls, arguments, MARKER)
}

fn traced_with(sandbox: &Sandbox, calls: &str, arguments: &[&str], input: &str) -> Vec<String> {
    require("strace", "strace");
    let input = sandbox.file("input", input);
    let mut command = sandbox.program("strace");
    command.args(["-f", "-v", "-y", "-s", "100000", "-o", "trace", "-e", calls, FLYTE_LOCAL]).args(arguments);
    command.env("RUST_BACKTRACE", "full").env("RUST_LOG", "trace").env("EDITOR", "sed -i 1s/^/x/");
    let input = std::fs::File::open(input).expect("just written");
    let ran = Ran::from(command.stdin(input).output().expect("strace starts"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let trace = std::fs::read_to_string(sandbox.work().join("trace")).expect("strace wrote it");
    std::fs::remove_file(sandbox.work().join("trace")).expect("it was there");
    std::fs::remove_file(sandbox.work().join("input")).expect("it was there");
    trace.lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "strace is shown nothing of the memory of such a process, save as root"]
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
    let (ours, theirs) = calls.split_first().expect("strace starts us");
    assert!(!in_environment(ours), "{ours}");
    assert!(!theirs.is_empty() && theirs.iter().all(|call| in_environment(call)), "{theirs:?}");
}

/// A traced call, as far as it says who is given what: its name, the descriptor it is on, and the path of that.
fn call(line: &str) -> (&str, &str, &str) {
    let line = line.split_once(' ').map_or(line, |(_process, line)| line.trim_start());
    // One that was interrupted by another process's shows no descriptor.
    if let Some(name) = line.strip_prefix("<... ") {
        return (name.split(' ').next().unwrap_or_default(), "", "");
    }
    let (name, rest) = line.split_once('(').unwrap_or((line, ""));
    let on = rest.split([',', ')']).next().unwrap_or_default();
    let (descriptor, path) = on.split_once('<').unwrap_or((on, ""));
    (name, descriptor, path)
}

/// The ways that a value may go.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// It is read from standard input.
    Stdin,
    /// It is read from the file that was named.
    File,
    /// It is written to standard output, as was asked for.
    Stdout,
    /// It is in the environment of what is started.
    Environment,
    /// It is written to a file that is in memory, on the private mount.
    Mount,
    /// It goes through the socket between flyte-local and the Python that it started.
    Socket,
    /// It is written to the file that was asked for, and read back, by its temporary name.
    Export,
    /// It is in the file that an editor has, which is in memory.
    Edit,
    /// It is given to the kernel's keyring, or comes from there.
    Keyring,
}

impl Way {
    fn is_of(self, line: &str) -> bool {
        match (self, call(line)) {
            (Way::Stdin, ("read", "0", _)) | (Way::Stdout, ("write", "1", _)) => true,
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
#[ignore = "strace is shown nothing of the memory of such a process, save as root"]
fn no_system_call_has_a_value_but_those_that_were_asked_for() {
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
        // What Python reads is not written anywhere by that, and is mostly the SDK.
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
#[ignore = "strace is shown nothing of the memory of such a process, save as root"]
fn no_system_call_has_a_passphrase_or_what_it_protects_but_those_that_were_asked_for() {
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
    // The line with the most of the seed.
    let line = ssh.lines().nth_back(2).expect("some lines").as_bytes();
    let [passphrase, key, ssh_line] = [MARKER.as_bytes(), key.as_bytes(), line].map(Canary::of_bytes);
    let asks = "--passphrase-fd=0";
    // How a passphrase goes, and what it protects.
    let cases: &[(&[Way], &[Way], &[&str])] = &[
        (&[Way::Stdin], &[], &[asks, "--identity=locked", "get", "secret", "s", "--reveal"]),
        (&[Way::Stdin], &[], &[asks, "--identity=ssh", "get", "secret", "s", "--reveal"]),
        (&[Way::Stdin], &[], &[asks, "--identity=locked", "check"]),
        (&[Way::Stdin], &[], &[asks, "--identity=locked", "exec", "--secret=s", "--", "true"]),
        (&[Way::Stdin], &[], &[asks, "--identity=locked", "rekey"]),
        (&[Way::Stdin], &[Way::Keyring], &[asks, "--identity=locked", "unlock", "--for=1h"]),
        (&[], &[Way::Keyring], &["--identity=locked", "get", "secret", "s", "--reveal"]),
        // It drops what it does not look at.
        (&[], &[], &["--identity=locked", "lock"]),
        // As age gives nobody the key.
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
        // A byte a call, so that nothing is read that is another's.
        let typed: String =
            trace.iter().filter_map(|line| line.split_once("/work/input>, ")?.1.split('"').nth(1)).collect();
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

/// Sends the value as it is, compressed, and in requests that fail.
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
        let bytes = std::fs::read(path).expect("a file of ours");
        bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
    };
    let entries = std::fs::read_dir(directory).expect("a directory of ours");
    entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| if path.is_dir() { files_with_the_marker(&path) } else { usize::from(holds(&path)) })
        .sum()
}
