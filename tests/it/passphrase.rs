//! Identities with a passphrase: on terminals, on descriptors, and without any way to prompt.

#![allow(clippy::disallowed_methods, reason = "the rules on files are for the product")]

use std::process::Stdio;

use crate::support::identities::private;
use crate::support::terminal::{answering, on_a_terminal};
use crate::support::{FLYTE_LOCAL, Ran, Sandbox, regressions, require, tally, until};

const PASSPHRASE: &str = "correct horse";
const ANOTHER: &str = "battery staple";

/// A vault with a secret, whose identity has a passphrase with a low work factor.
fn locked_vault() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.lock_identity(PASSPHRASE);
    sandbox.ok(&["create", "secret", "s", "its value"]);
    sandbox
}

/// A task that prints the length of its secret.
const TASK: &str = "\
import os
import flyte

env = flyte.TaskEnvironment(name='e', secrets=[flyte.Secret(key='s', as_env_var='S')])


@env.task
def main() -> str:
    return 'it has ' + str(len(os.environ['S']))
";

const READ: [&str; 4] = ["get", "secret", "s", "--reveal"];

fn reads(sandbox: &Sandbox, passphrase: &str) -> Ran {
    sandbox.with_passphrases(&[passphrase], &READ)
}

fn opens_with_age(sandbox: &Sandbox, passphrase: &str) {
    require("age", "age");
    let (identity, file) = (sandbox.identity(), sandbox.secret_file("org/s"));
    let [identity, file] = [&identity, &file].map(|path| path.to_str().expect("UTF-8"));
    let session = answering(sandbox, &[passphrase], &["age", "-d", "-i", identity, "-o", "opened", file]);
    assert_eq!(session.code, 0, "{session:?}");
    assert_eq!(std::fs::read(sandbox.work().join("opened")).expect("age wrote it"), b"its value");
}

#[test]
#[ignore = "needs the Flyte SDKs, Python and age: scripts/test"]
fn age_opens_an_identity_made_with_a_passphrase_and_only_with_it() {
    let sandbox = Sandbox::empty();
    let session = answering(&sandbox, &[PASSPHRASE, PASSPHRASE], &[FLYTE_LOCAL, "init", "--passphrase"]);
    assert_eq!(session.code, 0, "{session:?}");
    let identity = sandbox.identity();
    let asked = format!("new passphrase of {}: \r\nrepeat the passphrase: \r\n", identity.display());
    assert!(session.shown.starts_with(&asked), "{session:?}");
    let text = std::fs::read_to_string(&identity).expect("text");
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"), "{text}");
    assert!(!text.contains("AGE-SECRET-KEY"), "{text}");
    let binary = sandbox.program("sh").args(["-c", "sed '/^---/d' \"$0\" | base64 -d"]).arg(&identity).output();
    let header = String::from_utf8_lossy(&binary.expect("it starts").stdout).into_owned();
    let stanza = header.lines().nth(1).expect("a stanza").to_owned();
    assert!(stanza.starts_with("-> scrypt ") && stanza.ends_with(" 18"), "{stanza}");

    // Writing needs no identity.
    sandbox.ok(&["create", "secret", "s", "its value"]);
    assert_eq!(reads(&sandbox, PASSPHRASE).stdout, b"its value");
    let refused = sandbox.run(&READ);
    assert_eq!((refused.code, refused.stdout.len()), (11, 0), "{refused:?}");
    opens_with_age(&sandbox, PASSPHRASE);
    // Another vault of the same user shares the identity.
    let second = sandbox.with_passphrases(&[PASSPHRASE], &["--vault", "second", "init"]);
    assert_eq!(second.code, 0, "{second:?}");
    let recipient = |vault: &std::path::Path| sandbox.open_vault_at(vault).recipients()[0].key.clone();
    assert_eq!(recipient(&sandbox.work().join("second")), recipient(&sandbox.vault()));
}

#[test]
fn too_little_memory_for_a_passphrase_is_an_error_and_not_a_crash() {
    let sandbox = locked_vault();
    let locked = std::fs::read(sandbox.identity()).expect("there");
    let end = b" 4\n";
    let at = locked.windows(end.len()).position(|window| window == end).expect("the work factor");
    std::fs::write(sandbox.identity(), [&locked[..at], b" 18\n", &locked[at + end.len()..]].concat()).expect("ours");
    let init = ["--identity", "another", "--vault", "another-vault", "init", "--passphrase"];
    for (code, arguments) in [(11, &READ[..]), (1, &init)] {
        let mut command = sandbox.program("sh");
        let script = "ulimit -v 200000; echo a passphrase | exec \"$0\" --passphrase-fd 0 \"$@\"";
        let ran = Ran::from(command.args(["-c", script, FLYTE_LOCAL]).args(arguments).output().expect("sh starts"));
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains("a passphrase takes 257 MiB of memory"), "{ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs, Python and age: scripts/test"]
fn a_passphrase_can_be_changed_and_removed() {
    let sandbox = locked_vault();
    let file = sandbox.identity();
    let file = file.to_str().expect("UTF-8");
    let update = |lines: &[&str], option: &str| sandbox.with_passphrases(lines, &["update", "identity", option]);
    let changed = update(&[PASSPHRASE, ANOTHER], "--passphrase");
    assert_eq!((changed.code, changed.stderr), (0, format!("{file} has a passphrase now\n")));
    assert_eq!(reads(&sandbox, PASSPHRASE).code, 11);
    assert_eq!(reads(&sandbox, ANOTHER).stdout, b"its value");
    opens_with_age(&sandbox, ANOTHER);

    let before = std::fs::read(file).expect("there");
    let wrong = update(&[PASSPHRASE], "--no-passphrase");
    assert_eq!(wrong.code, 11, "{wrong:?}");
    // The new passphrase is missing, or empty.
    for lines in [&[ANOTHER][..], &[ANOTHER, ""]] {
        let none = update(lines, "--passphrase");
        assert_eq!(none.code, 1, "{none:?}");
    }
    assert_eq!(std::fs::read(file).expect("there"), before, "a refused command changed the file");

    let taken = update(&[ANOTHER], "--no-passphrase");
    assert_eq!((taken.code, taken.stderr), (0, format!("{file} has no passphrase any more\n")));
    assert_eq!(sandbox.ok(&READ), b"its value");
    let text = std::fs::read_to_string(file).expect("text");
    assert!(text.starts_with("# created: "), "the comments are gone: {text}");
    assert_eq!(sandbox.run(&["update", "identity", "--no-passphrase"]).stderr, format!("{file} has no passphrase\n"));
    // A symlink to the identity stays a symlink.
    std::os::unix::fs::symlink(file, sandbox.work().join("link")).expect("a link");
    let linked = sandbox.with_passphrases(&[PASSPHRASE], &["--identity", "link", "update", "identity", "--passphrase"]);
    assert_eq!(linked.code, 0, "{linked:?}");
    assert!(sandbox.work().join("link").is_symlink());
    assert_eq!(reads(&sandbox, PASSPHRASE).stdout, b"its value");
    let directory = std::fs::read_dir(sandbox.identity().parent().expect("it has one")).expect("listed");
    assert_eq!(directory.count(), 2, "the update left files behind");
}

#[test]
#[ignore = "needs OpenSSH: scripts/test"]
fn update_identity_refuses_ssh_keys_variables_and_several_files() {
    let sandbox = Sandbox::new();
    sandbox.ssh_key("key", &["ed25519"], "");
    let update = ["update", "identity", "--passphrase"];
    let ssh = sandbox.run(&[&["--identity", "key"], &update[..]].concat());
    assert_eq!(ssh.code, 1, "{ssh:?}");
    assert!(ssh.stderr.contains("ssh-keygen -p -f key"), "{ssh:?}");
    let own = sandbox.identity();
    let own = own.to_str().expect("UTF-8");
    let several = sandbox.run(&[&["--identity", "key", "--identity", own], &update[..]].concat());
    assert_eq!(several.code, 2, "{several:?}");
    let key = std::fs::read_to_string(own).expect("there");
    let variable = sandbox.command(&update).env("FLYTE_LOCAL_IDENTITY_KEY", &key).output().expect("it starts");
    assert_eq!(Ran::from(variable).code, 2);
    assert_eq!(sandbox.run(&["update", "identity"]).code, 2);
    let there = sandbox.with_passphrases(&[PASSPHRASE], &["--vault", "new", "init", "--passphrase"]);
    assert_eq!(there.code, 12, "{there:?}");
    assert!(there.stderr.contains("update identity --passphrase"), "{there:?}");
    assert_eq!(std::fs::read_to_string(own).expect("there"), key);
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_terminal_gives_three_attempts_and_its_echo_comes_back() {
    let sandbox = locked_vault();
    let command = [&[FLYTE_LOCAL], &READ[..]].concat();
    let session = answering(&sandbox, &["first guess", "second guess", "third guess"], &command);
    assert_eq!(session.code, 11, "{session:?}");
    assert_eq!(session.shown.matches("wrong passphrase, try again").count(), 2, "{session:?}");
    assert!(session.shown.contains("the passphrase is wrong"), "{session:?}");
    let session = answering(&sandbox, &["first guess", PASSPHRASE], &command);
    assert_eq!(session.code, 0, "{session:?}");
    assert!(session.shown.ends_with("its value\r\n"), "{session:?}");
    // Ctrl-C, Ctrl-D and an empty line.
    for (answer, code) in [(r"guess\u0003", 130), (r"\u0004", 11), (r"\r", 11)] {
        let session = on_a_terminal(&sandbox, &format!("type:{answer}"), &READ);
        assert!(session.settings_are_back && session.questions == 1, "{session:?}");
        assert_eq!(session.code, code, "{session:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_new_passphrase_must_be_typed_twice_and_not_be_empty() {
    let sandbox = Sandbox::empty();
    let init = [FLYTE_LOCAL, "init", "--passphrase"];
    let session = answering(&sandbox, &[PASSPHRASE, ANOTHER], &init);
    assert_eq!(session.code, 1, "{session:?}");
    assert!(session.shown.contains("the two passphrases differ"), "{session:?}");
    let session = on_a_terminal(&sandbox, r"type:\r", &init[1..]);
    assert!(session.code == 1 && session.shown.contains("no passphrase was typed"), "{session:?}");
    let empty = sandbox.with_passphrases(&[""], &["init", "--passphrase"]);
    assert!(empty.code == 1 && empty.stderr.contains("the passphrase must not be empty"), "{empty:?}");
    let bytes = sandbox.pipe(&["--passphrase-fd", "0", "init", "--passphrase"], b"\xff\xfe\n");
    assert!(bytes.code == 1 && bytes.stderr.contains("must be UTF-8"), "{bytes:?}");
    // Without a terminal or a descriptor, the command fails at once.
    let unattended = sandbox.run(&["init", "--passphrase"]);
    assert!(unattended.code == 1 && unattended.stderr.contains("--passphrase-fd"), "{unattended:?}");
    assert!(!sandbox.vault().exists() && !sandbox.identity().exists(), "a refused command left files behind");
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn without_a_terminal_the_error_names_the_descriptor_option() {
    let sandbox = locked_vault();
    // A new session, so that there is no controlling terminal either.
    require("setsid", "util-linux");
    for arguments in [&READ[..], &["exec", "--secret", "s", "--", "true"], &["update", "secret", "s", "--adopt"]] {
        let mut command = sandbox.program("setsid");
        let ran = Ran::from(command.arg("-w").arg(FLYTE_LOCAL).args(arguments).output().expect("it starts"));
        assert_eq!(ran.code, 11, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("standard input is not a terminal"), "{ran:?}");
        assert!(ran.stderr.contains("hint: give it on a file descriptor: --passphrase-fd 3"), "{ran:?}");
    }
    // Commands that need no identity work without the passphrase.
    sandbox.ok(&["update", "secret", "s", "another"]);
    sandbox.ok(&["get", "secret"]);
    let check = sandbox.run(&["check"]);
    assert_eq!(check.code, 11, "{check:?}");
    assert!(check.text().contains("1 with an intact header; not opened, because there is no identity"), "{check:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs, Bash and Python: scripts/test"]
fn a_descriptor_gives_a_line_for_each_question() {
    let sandbox = locked_vault();
    let sh = |script: &str| {
        let mut command = sandbox.program("bash");
        Ran::from(command.args(["-c", script, FLYTE_LOCAL]).output().expect("bash starts"))
    };
    let read = r#""$0" get secret s --reveal --passphrase-fd 3"#;
    for (input, code) in [
        (format!("{read} 3< <(echo '{PASSPHRASE}')"), 0),
        (format!("{read} 3< <(printf '{PASSPHRASE}')"), 0),
        (format!("{read} 3<<<'{PASSPHRASE}'"), 0),
        // The rest answers other questions, so the command does not wait for the end of the input.
        (format!("exec 3< <(echo '{PASSPHRASE}'; exec sleep 1000); {read}; code=$?; kill $!; exit $code"), 0),
        (format!("{read} 3< <(echo 'another guess')"), 11),
        (format!("{read} 3</dev/null"), 11),
        (format!("{read} 3<&-"), 2),
        (format!("{read} 3< <(yes | tr -d '\\n')"), 11),
        (r#""$0" get secret s --reveal --passphrase-fd x"#.to_owned(), 2),
    ] {
        let ran = sh(&input);
        assert_eq!(ran.code, code, "{input}: {ran:?}");
        assert_eq!(ran.stdout == b"its value", code == 0, "{input}: {ran:?}");
        assert!(!ran.stderr.contains(PASSPHRASE), "{input}: {ran:?}");
    }
    let session = on_a_terminal(&sandbox, "none", &["--passphrase-fd", "0", "get", "secret", "s", "--reveal"]);
    assert!(session.code == 2 && session.shown.contains("it is a terminal"), "{session:?}");
}

#[test]
#[ignore = "needs Bash: scripts/test"]
fn a_passphrase_on_standard_input_does_not_become_a_value() {
    let sandbox = Sandbox::new();
    let piped = |arguments: &[&str], input: &str| {
        sandbox.pipe(&[&["--passphrase-fd", "0"], arguments].concat(), input.as_bytes())
    };
    // Writing needs no identity, so there is no prompt that takes the passphrase, which would then become the value.
    for arguments in [
        &["create", "secret", "a"][..],
        &["import", "-"],
        &["create", "secret", "a", "--type", "image_pull", "--registry", "r", "--username", "u", "--password-stdin"],
    ] {
        let refused = piped(arguments, "correct=horse\nB=battery\n");
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("standard input supplies the passphrase"), "{refused:?}");
    }
    let script = r#"printf 'correct\nhorse\n' | "$0" --passphrase-fd 3 create secret a 3<&0"#;
    let ran = Ran::from(sandbox.program("bash").args(["-c", script, FLYTE_LOCAL]).output().expect("bash starts"));
    assert_eq!(ran.code, 2, "{ran:?}");
    assert_eq!(String::from_utf8(sandbox.ok(&["get", "secret"])).expect("UTF-8").lines().count(), 2);
    // A command that needs no passphrase does not wait for a line either.
    let mut command = sandbox.command(&["--passphrase-fd", "0", "get", "secret"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("it starts");
    let idle = child.stdin.take();
    assert!(child.wait().expect("it ends").success());
    drop(idle);
    let output = sandbox.run(&["--passphrase-fd", "1", "get", "secret"]);
    assert_eq!(output.code, 2, "{output:?}");
}

/// A child inherits the descriptor, whether or not the passphrase was needed.
#[test]
#[ignore = "needs Bash: scripts/test"]
fn a_child_cannot_read_the_passphrase_from_the_descriptor() {
    let (locked, open) = (locked_vault(), Sandbox::new());
    open.ok(&["create", "secret", "s", "its value"]);
    for sandbox in [&locked, &open] {
        let ran = sandbox.with_passphrases(&[PASSPHRASE, "the rest"], &["exec", "--secret", "s", "--", "cat"]);
        assert_eq!((ran.code, ran.text().as_str()), (0, ""), "{ran:?}");
        let editor = "sh -c 'cat <&3 >seen' --";
        let script = format!(r#""$0" --passphrase-fd 3 edit secret s 3< <(echo '{PASSPHRASE}')"#);
        let mut command = sandbox.program("bash");
        let edited = command.args(["-c", &script, FLYTE_LOCAL]).env("EDITOR", editor).output().expect("bash starts");
        assert!(edited.status.success(), "{edited:?}");
        assert_eq!(std::fs::read(sandbox.work().join("seen")).expect("the editor ran"), b"");
        let script = format!(r#""$0" --passphrase-fd 3 exec --secret s -- cat /dev/fd/3 3< <(echo '{PASSPHRASE}')"#);
        let ran = Ran::from(sandbox.program("bash").args(["-c", &script, FLYTE_LOCAL]).output().expect("bash starts"));
        assert_eq!((ran.code, ran.text().as_str()), (0, ""), "{ran:?}");
    }
}

/// A child started by a command that gets the passphrase on a descriptor.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct DescriptorCase {
    why: String,
    /// A line for Bash, in which `"$0"` is flyte-local.
    script: String,
    code: i32,
    stdout: String,
    /// A part of standard error, or nothing at all.
    stderr: String,
}

#[test]
#[ignore = "needs Bash: scripts/test"]
fn no_passphrase_is_left_on_the_descriptor_for_a_child() {
    let (locked, open) = (locked_vault(), Sandbox::new());
    open.ok(&["create", "secret", "s", "its value"]);
    for sandbox in [&locked, &open] {
        sandbox.file("passphrases", format!("{PASSPHRASE}\nanother\n"));
        for case in regressions::<DescriptorCase>("passphrase_descriptor") {
            let mut command = sandbox.program("bash");
            command.args(["-c", &case.script, FLYTE_LOCAL]).env("PASSPHRASE", PASSPHRASE);
            let ran = Ran::from(command.output().expect("bash starts"));
            assert_eq!((ran.code, ran.text()), (case.code, case.stdout), "{}: {ran:?}", case.why);
            let is_right =
                if case.stderr.is_empty() { ran.stderr.is_empty() } else { ran.stderr.contains(&case.stderr) };
            assert!(is_right, "{}: {ran:?}", case.why);
        }
    }
}

/// The kill comes before each of the file system calls that `update identity` makes.
#[test]
#[ignore = "needs strace: scripts/test"]
fn update_identity_killed_at_any_moment_leaves_a_good_file() {
    require("strace", "strace");
    let sandbox = locked_vault();
    let before = std::fs::read(sandbox.identity()).expect("there");
    let copy = sandbox.file("before", &before);
    private(&copy);
    let put_back = || std::fs::copy(&copy, sandbox.identity()).expect("put back");
    let directory = sandbox.identity().parent().expect("it has one").to_owned();
    let (mut points, mut old, mut new, mut orphans) = (0, 0, 0, 0);
    for (option, lines) in [("--no-passphrase", [PASSPHRASE, ""]), ("--passphrase", [PASSPHRASE, ANOTHER])] {
        // scrypt is slow, so fewer calls are tried in the direction that uses it.
        let calls: &[&str] = match option {
            "--no-passphrase" => &["openat2", "write", "fchmod", "fsync", "renameat"],
            _ => &["fsync", "renameat"],
        };
        let input = sandbox.file("lines", format!("{}\n{}\n", lines[0], lines[1]));
        for call in calls {
            for nth in 1.. {
                put_back();
                let mut command = sandbox.program("strace");
                let inject = format!("inject={call}:signal=KILL:when={nth}");
                command.args(["-f", "-qq", "-o", "/dev/null", "-e", &inject, FLYTE_LOCAL]);
                command.args(["--passphrase-fd", "0", "update", "identity", option]);
                command.stdin(std::fs::File::open(&input).expect("there"));
                let ran = Ran::from(command.output().expect("strace starts"));
                if ran.code == 0 {
                    break;
                }
                assert_eq!(ran.code, 137, "{call} {nth}: {ran:?}");
                points += 1;
                let now = std::fs::read(sandbox.identity()).expect("there is a file");
                let is_old = now == before;
                (old, new) = (old + usize::from(is_old), new + usize::from(!is_old));
                let passphrases = if is_old { [PASSPHRASE] } else { [ANOTHER] };
                let ran = sandbox.with_passphrases(&passphrases, &READ);
                assert_eq!(ran.stdout, b"its value", "{option} {call} {nth}: {ran:?}");
                orphans += std::fs::read_dir(&directory).expect("listed").count() - 2;
                // The next update removes the leftovers.
                put_back();
                let next = sandbox.with_passphrases(&[PASSPHRASE], &["update", "identity", "--no-passphrase"]);
                assert_eq!(next.code, 0, "{next:?}");
                assert_eq!(std::fs::read_dir(&directory).expect("listed").count(), 2, "{option} {call} {nth}");
            }
        }
    }
    assert!(
        old > 0 && new > 0 && orphans > 0,
        "the kills did not fall on both sides of the rename: {old} {new} {orphans}"
    );
    tally(&format!(
        "update identity: killed at {points} points: {old} old, {new} new, 0 torn, {orphans} orphans removed"
    ));
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn many_secrets_need_one_prompt() {
    let sandbox = locked_vault();
    for name in ["a", "b", "c", "d"] {
        sandbox.ok(&["create", "secret", name, "--value", name]);
    }
    let printed = [FLYTE_LOCAL, "exec", "--all", "--", "sh", "-c", "echo $A$B$C$D"];
    let session = answering(&sandbox, &[PASSPHRASE], &printed);
    assert!(session.code == 0 && session.shown.contains("abcd"), "{session:?}");
    let session = answering(&sandbox, &[PASSPHRASE], &[FLYTE_LOCAL, "check"]);
    assert!(session.shown.contains("5 opened and intact"), "{session:?}");
    // A private mount must not be made by a process with two threads; and the first guess here is wrong.
    let mounted = [FLYTE_LOCAL, "exec", "--mount", "a", "--mount", "b", "--", "cat", "/etc/flyte/secrets/a"];
    let session = answering(&sandbox, &["another guess", PASSPHRASE], &mounted);
    assert!(session.code == 0 && session.shown.ends_with('a'), "{session:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_run_prompts_only_before_it_begins() {
    let sandbox = locked_vault();
    sandbox.file("task.py", TASK);
    let python = crate::support::python("newest");
    let run = [FLYTE_LOCAL, "run", "--python", python.to_str().expect("UTF-8"), "task.py", "main"];
    let session = answering(&sandbox, &[PASSPHRASE], &run);
    assert!(session.code == 0 && session.shown.contains("it has 9"), "{session:?}");
    assert!(session.shown.starts_with("passphrase of "), "{session:?}");
    let unattended = sandbox.run(&run[1..]);
    assert!(unattended.code != 0 && unattended.all().contains("standard input is not a terminal"), "{unattended:?}");
    let session = answering(&sandbox, &["one guess", "two guesses", "three guesses"], &run);
    assert_eq!(session.code, 11, "{session:?}");
}

/// The recipients do not reveal that this secret needs the passphrase: it is still encrypted to a recipient that was
/// removed.
#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn no_prompt_appears_while_a_run_has_the_terminal() {
    let sandbox = Sandbox::empty();
    sandbox.locked_identity("locked.txt", PASSPHRASE);
    let made = sandbox.with_passphrases(&[PASSPHRASE], &["--identity", "locked.txt", "init"]);
    assert_eq!(made.code, 0, "{made:?}");
    sandbox.ok(&["create", "secret", "s", "its value"]);
    let own = flyte_local::crypto::Identity::generate();
    private(&sandbox.file("own.txt", own.to_file("now").as_bytes()));
    let manifest = sandbox.vault().join("vault.toml");
    let text = std::fs::read_to_string(&manifest).expect("there");
    let locked = sandbox.open_vault().recipients()[0].key.to_string();
    let changed = sandbox.file("vault.toml", text.replace(&locked, &own.recipient().to_string()));
    std::fs::copy(changed, &manifest).expect("written");
    sandbox.ok(&["update", "vault", "--accept"]);

    sandbox.file("task.py", TASK);
    let python = crate::support::python("newest");
    let python = python.to_str().expect("UTF-8");
    let both = [FLYTE_LOCAL, "--identity", "locked.txt", "--identity", "own.txt"];
    let session = answering(&sandbox, &[], &[&both[..], &["run", "--python", python, "task.py", "main"]].concat());
    assert_ne!(session.code, 0, "{session:?}");
    assert!(session.shown.contains("does not ask for a passphrase during a run"), "{session:?}");
    // Without a run that uses the terminal, there is a prompt.
    let session = answering(&sandbox, &[PASSPHRASE], &[&both[..], &READ].concat());
    assert_eq!(session.code, 0, "{session:?}");
}

#[test]
fn an_identity_that_changed_during_an_update_is_not_overwritten() {
    use std::io::Write;
    let sandbox = locked_vault();
    let mut command = sandbox.command(&["--passphrase-fd", "0", "update", "identity", "--passphrase"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut lines = child.stdin.take().expect("piped");
    writeln!(lines, "{PASSPHRASE}").expect("it reads");
    // The command has read the file before it takes the line.
    until("the line is taken", || rustix::io::ioctl_fionread(&lines).expect("a pipe") == 0);
    let theirs = std::fs::read(sandbox.locked_identity("theirs", PASSPHRASE)).expect("there");
    std::fs::rename(sandbox.work().join("theirs"), sandbox.identity()).expect("moved");
    writeln!(lines, "{ANOTHER}").expect("it reads");
    let ran = Ran::from(child.wait_with_output().expect("it ends"));
    assert!(ran.code == 1 && ran.stderr.contains("another process changed it"), "{ran:?}");
    assert_eq!(std::fs::read(sandbox.identity()).expect("there"), theirs);
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_locked_identity_is_not_unlocked_if_another_opens_the_file() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "its value"]);
    sandbox.locked_identity("locked.txt", PASSPHRASE);
    let own = sandbox.identity();
    let own = own.to_str().expect("UTF-8");
    let both = [FLYTE_LOCAL, "--identity", "locked.txt", "--identity", own];
    // On a terminal, where a prompt would be possible.
    for (arguments, shown) in [
        (&READ[..], "its value"),
        (&["exec", "--secret", "s", "--", "printenv", "S"], "its value\r\n"),
        (&["check"], "1 opened and intact"),
    ] {
        let session = answering(&sandbox, &[], &[&both[..], arguments].concat());
        assert!(session.code == 0 && session.shown.contains(shown), "{session:?}");
    }
}

#[test]
fn an_excessive_work_factor_is_refused() {
    let sandbox = locked_vault();
    let file = std::fs::read(sandbox.identity()).expect("there");
    let line = b" 4\n";
    let at = file.windows(line.len()).position(|window| window == line).expect("the work factor");
    let dear = [&file[..at], b" 23\n", &file[at + line.len()..]].concat();
    let path = sandbox.file("dear", dear);
    private(&path);
    let ran = sandbox.with_passphrases(&[PASSPHRASE], &[&["--identity", "dear"], &READ[..]].concat());
    assert!(ran.stderr.contains("a work factor of 23, and at most 22 is accepted"), "{ran:?}");
    assert_eq!(ran.code, 11, "{ran:?}");
}
