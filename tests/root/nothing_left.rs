//! No command leaves a value on the disk. Everything that can be written to is on one image, whose every byte is searched
//! after the commands. Temporary files are found too, because each write goes to the disk at once.

#![allow(clippy::disallowed_methods, reason = "a test reads its own variables")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::canary::Canary;
use crate::support::http::{Serving, send_everyhow};
use crate::support::image::{Image, with_own_mounts};
use crate::support::{FLYTE_LOCAL, Ran, SDKS, Sandbox, python, require, tally, test_path, until};
use base64::Engine;
use flyte_local::crypto::{IdentityFile, Passphrase};
use rustix::process::{Pid, Signal, kill_process};

/// The directory of programs' temporary files, and of the results of Flyte's tasks.
const TMP: &str = "/tmp";

const OPTIONS: &str = "sync,dirsync";

/// Searched for as well.
const PASSPHRASE: &str = "correct-horse-battery-staple-c0ffee-Zk31";

/// File systems that are not on a disk.
const IN_MEMORY: &str = "autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs fusectl hugetlbfs \
                         mqueue nsfs proc pstore ramfs rpc_pipefs securityfs selinuxfs sysfs tmpfs tracefs";

/// Mounts a disk image on `/tmp`, for a process with its own mounts. All other disks become read-only, except the directory
/// of this test's files, which no command knows of.
fn the_only_disk(kept: &Path) -> Image {
    let place = env!("CARGO_TARGET_TMPDIR");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
    mount(&["--bind", place], place);
    for line in mounts.lines() {
        let [_, on, kind, ..] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("not a mount: {line}") };
        if !IN_MEMORY.split(' ').any(|other| other == kind) {
            mount(&["-o", "remount,bind,ro"], on);
        }
    }
    // A build below `/tmp` must stay visible.
    let hidden = Some(env!("CARGO_MANIFEST_DIR")).filter(|path| Path::new(path).starts_with(TMP));
    let aside = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let aside = aside.path().to_str().expect("UTF-8");
    if let Some(path) = hidden {
        mount(&["--rbind", path], aside);
    }
    let image = Image::new(kept, Path::new(TMP), 256, OPTIONS);
    if let Some(path) = hidden {
        std::fs::create_dir_all(path).expect("made");
        mount(&["--rbind", aside], path);
        unmount(aside);
    }
    std::fs::set_permissions(TMP, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).expect("ours");
    assert!(std::fs::write("/var/tmp/written", "").is_err(), "another disk can be written to");
    image
}

fn mount(arguments: &[&str], on: &str) {
    let output = Command::new("mount").args(arguments).arg(on).output().expect("mount starts");
    assert!(output.status.success(), "{on}: {}", String::from_utf8_lossy(&output.stderr));
}

fn unmount(path: &str) {
    let output = Command::new("umount").args(["--recursive", path]).output().expect("umount starts");
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes a directory that is not on the image.
fn kept() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}

/// Reads its secrets, passes them on, and waits at the end if told to. It prints them, and they are masked.
const TASK: &str = "
import os
import subprocess
import sys
import flyte

env = flyte.TaskEnvironment(
    name='env',
    secrets=[flyte.Secret(key='stdin', as_env_var='VALUE'), flyte.Secret(key='file', mount='/etc/flyte/secrets')],
)

@env.task
def main(then: str = 'return') -> int:
    value = open('/etc/flyte/secrets/file').read()
    assert value == os.environ['VALUE']
    print('=>', value, flush=True)
    subprocess.run(['sh', '-c', 'test -n \"$VALUE\"'], check=True)
    if then == 'fail':
        raise ValueError('for a reason')
    if then == 'wait':
        open('ready', 'w').close()
        sys.stdin.read()
    return len(value)
";

struct Session {
    sandbox: Sandbox,
    canary: Canary,
    /// A file with the value, which is not on the image.
    file: String,
    /// A directory that is not on the image.
    kept: PathBuf,
    commands: usize,
}

impl Session {
    /// Runs `flyte-local` or another program with the value on standard input, and checks its exit code.
    fn ends(&mut self, code: i32, command: Command) -> Ran {
        let value = self.canary.value();
        self.ends_with(code, command, &value)
    }

    fn ends_with(&mut self, code: i32, mut command: Command, input: &[u8]) -> Ran {
        self.commands += 1;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("RUST_BACKTRACE", "full");
        let mut child = command.spawn().expect("it starts");
        // The program may end before it has read everything.
        let _ = child.stdin.take().expect("piped").write_all(input);
        let ran = Ran::from(child.wait_with_output().expect("it ends"));
        assert_eq!(ran.code, code, "{command:?}: {ran:?}");
        ran
    }

    fn run(&mut self, code: i32, arguments: &[&str]) -> Ran {
        let command = self.sandbox.command(arguments);
        self.ends(code, command)
    }

    fn secrets(&mut self) {
        let (value, file) = (String::from_utf8(self.canary.value()).expect("text"), self.file.clone());
        let from_file = ["--from-file", &file];
        self.run(0, &["init"]);
        for verb in ["create", "update"] {
            self.run(0, &[verb, "secret", "stdin"]);
            self.run(0, &[verb, "secret", "raw", "--raw", "-p", "p"]);
            self.run(0, &[&[verb, "secret", "file"][..], &from_file].concat());
            self.run(0, &[&[verb, "secret", "scoped", "-p", "p", "-d", "d"][..], &from_file].concat());
            self.run(0, &[verb, "secret", "option", "--value", &value]);
            self.run(0, &[verb, "secret", "positional", &value]);
        }
        self.run(12, &["create", "secret", "stdin", &value]);
        self.run(10, &["update", "secret", "missing", &value]);
        self.run(2, &["create", "secret", "two", "one", &value]);
        self.run(10, &["--vault", "/var/none", "create", "secret", "s", "--value", &value]);
        self.run(0, &["get", "secret"]);
        self.run(0, &["get", "secret", "stdin", "--output-format", "json"]);
        self.run(0, &["get", "secret", "--effective", "-p", "p", "-d", "d"]);
        self.run(0, &["check"]);
        assert_eq!(self.run(0, &["get", "secret", "stdin", "--reveal"]).stdout, self.canary.value());
        self.run(1, &["--identity", "/dev/null", "get", "secret", "stdin", "--reveal"]);
        self.run(0, &["delete", "secret", "positional"]);
        self.typed();
    }

    /// Edits with an editor that replaces the file and keeps a copy, with one that fails, and with one whose parent is killed.
    fn edits(&mut self) {
        let editors = [("sed -i.bak s/7/8/g", 0), ("sed -i.bak s/8/7/g", 0), ("false", 1), ("kill -9 $PPID; :", 137)];
        for (editor, code) in editors {
            let mut command = self.sandbox.command(&["edit", "secret", "stdin"]);
            command.env("EDITOR", editor);
            self.ends(code, command);
        }
        self.run(0, &["create", "secret", "generated", "--generate=hex:32"]);
        let document = format!("--password={}", self.canary.line());
        let options = ["--type=image_pull", "--registry=ghcr.io", "--username=me", &document];
        self.run(0, &[&["create", "secret", "pull"][..], &options].concat());
    }

    /// Runs a command with the passphrase on a descriptor, as often as it is needed.
    fn asked(&mut self, code: i32, arguments: &[&str]) -> Ran {
        let command = self.sandbox.command(&[&["--passphrase-fd", "0"], arguments].concat());
        self.ends_with(code, command, format!("{PASSPHRASE}\n{PASSPHRASE}\n").as_bytes())
    }

    /// Runs a command that is killed at one of its system calls.
    fn killed(&mut self, call: &str, arguments: &[&str], input: &[u8]) {
        self.killed_at(2, call, arguments, input);
    }

    fn killed_at(&mut self, when: usize, call: &str, arguments: &[&str], input: &[u8]) {
        require("strace", "strace");
        let mut command = self.sandbox.program("strace");
        command.args(["-f", "-o", "/dev/null", "-e", &format!("inject={call}:signal=KILL:when={when}"), FLYTE_LOCAL]);
        command.args(arguments);
        self.ends_with(137, command, input);
    }

    /// Uses identities with a passphrase. Returns the parts of their keys to search for.
    fn protected(&mut self) -> Vec<Canary> {
        let read = ["get", "secret", "s", "--reveal"];
        let made = ["--vault", "protected", "--identity", "made"];
        self.asked(0, &[&made[..], &["init", "--passphrase"]].concat());
        // OpenSSH's own program makes the other key, outside the image.
        let kept = self.kept.join("key").into_os_string().into_string().expect("UTF-8");
        let open = self.sandbox.ssh_key(&kept, &["ed25519"], "");
        let seed = seed_of(&std::fs::read_to_string(open).expect("ssh-keygen wrote it"));
        self.sandbox.ssh_keygen(&["-q", "-p", "-N", PASSPHRASE, "-f", &kept]);
        std::fs::copy(&kept, self.sandbox.work().join("ssh")).expect("copied");
        let ssh = ["--vault", "ssh-vault", "--identity", "ssh"];
        self.run(0, &[&ssh[..], &["init"]].concat());
        for which in [made, ssh] {
            self.run(0, &[&which[..], &["create", "secret", "s"]].concat());
            self.asked(0, &[&which[..], &read].concat());
            self.run(11, &[&["--passphrase-fd", "0"], &which[..], &read].concat());
            self.asked(0, &[&which[..], &["unlock", "--for", "1h"]].concat());
            assert_eq!(self.run(0, &[&which[..], &read].concat()).stdout, self.canary.value());
            self.run(0, &[&which[..], &["lock"]].concat());
            self.asked(0, &[&which[..], &["check"]].concat());
            let bob = flyte_local::crypto::Identity::generate().recipient().to_string();
            self.asked(0, &[&which[..], &["create", "recipient", &bob, "--name", "bob"]].concat());
            self.asked(0, &[&which[..], &["delete", "recipient", "bob"]].concat());
        }
        let update = ["--identity", "made", "update", "identity", "--passphrase"];
        self.asked(0, &update);
        let lines = format!("{PASSPHRASE}\n{PASSPHRASE}\n");
        self.killed("write", &[&["--passphrase-fd", "0"], &update[..]].concat(), lines.as_bytes());
        let file = std::fs::read(self.sandbox.work().join("made")).expect("there");
        let IdentityFile::Locked(locked) = IdentityFile::parse(&file).expect("an identity") else {
            panic!("it is open")
        };
        let text = locked.unlock(&Passphrase::new(PASSPHRASE.as_bytes()).expect("it is one")).expect("it opens").kept;
        let text = String::from_utf8(text.to_vec()).expect("text");
        let key = text.lines().find(|line| !line.starts_with('#')).expect("a key");
        let (_, bytes) = bech32::decode(key).expect("it is written so");
        [PASSPHRASE.as_bytes(), key.as_bytes(), &bytes, &seed].map(Canary::from_bytes).into()
    }

    /// Re-encrypts, imports from files and vaults, and exports to places outside the image.
    fn moved(&mut self) {
        let bob = flyte_local::crypto::Identity::generate().recipient().to_string();
        // Killed before vault.toml is written, and then before the first secret is.
        self.killed("renameat", &["create", "recipient", &bob, "--name", "bob"], b"");
        self.killed_at(4, "renameat", &["create", "recipient", &bob, "--name", "bob"], b"");
        self.killed("renameat", &["rekey"], b"");
        self.run(0, &["rekey"]);
        self.run(0, &["rekey", "--dry-run"]);
        self.run(0, &["delete", "recipient", "bob"]);
        let place = |kept: &Path, name: &str| kept.join(name).into_os_string().into_string().expect("UTF-8");
        let [env, exported] = ["new.env", "exported.json"].map(|name| place(&self.kept, name));
        let value = self.canary.line().repeat(30);
        std::fs::write(&env, format!("ONE='{value}'\nTWO='{value}'\n")).expect("written");
        self.killed("renameat", &["import", &env], b"");
        self.run(0, &["import", &env]);
        self.run(0, &["import", &env, "--dry-run"]);
        // Names and values that errors must not repeat.
        self.run(1, &["import", "-", "--format", "dotenv", "-p", "q"]);
        self.run(0, &["--vault", "into", "init"]);
        let vault = place(&self.sandbox.vault(), "");
        self.run(0, &["--vault", "into", "import", "--from-vault", &vault]);
        self.run(0, &["export", "stdin", "--format", "json", "-o", &exported]);
        for format in ["json", "kubernetes"] {
            self.run(0, &["export", "stdin", "--format", format]);
        }
    }

    /// Types the value at the prompt.
    fn typed(&mut self) {
        require("python3", "python3");
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/pty_driver.py");
        for end in ["\\r", "\\u0003"] {
            let mut command = self.sandbox.program("python3");
            command.arg(&driver).arg(format!("type:{}{end}", self.canary.line()));
            command.args([FLYTE_LOCAL, "create", "secret", "typed"]);
            self.ends(0, command);
        }
    }

    /// Makes writes fail or be killed at each relevant system call. (Not with SIGSEGV, which std handles.)
    fn faults(&mut self) {
        require("strace", "strace");
        let file = self.file.clone();
        for call in ["write", "fsync", "lseek", "renameat"] {
            for (fault, code) in [("error=ENOSPC", 1), ("signal=KILL", 137), ("signal=ABRT", 134)] {
                let mut command = self.sandbox.program("sh");
                command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh", "strace", "-o", "/dev/null"]);
                command.args(["-e", &format!("inject={call}:{fault}:when=1"), FLYTE_LOCAL]);
                command.args(["update", "secret", "stdin", "--from-file", &file]);
                self.ends(code, command);
            }
        }
        // The next write removes their temporary files.
        self.run(0, &["update", "secret", "stdin"]);
        let damaged = self.sandbox.secret_file("org/option");
        let mut bytes = std::fs::read(&damaged).expect("the secret's file");
        *bytes.last_mut().expect("not empty") ^= 1;
        std::fs::write(&damaged, bytes).expect("damaged");
        self.run(13, &["get", "secret", "option", "--reveal"]);
        self.run(0, &["delete", "secret", "option"]);
    }

    /// Runs services that get the value in every way and end in several ways; their logs are on the image too.
    fn serves(&mut self) {
        let value = String::from_utf8(self.canary.value()).expect("text");
        for (signal, code) in [(Signal::TERM, 0), (Signal::KILL, 137), (Signal::ABORT, 134)] {
            self.commands += 1;
            let mut command = self.sandbox.program("sh");
            command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh", FLYTE_LOCAL, "serve", "--port=0"]);
            let serving = Serving::start(command, &self.sandbox.work());
            let names = send_everyhow(serving.address(), &value);
            assert_eq!(serving.end(signal), code);
            for name in names {
                self.run(0, &["delete", "secret", name]);
            }
        }
    }

    fn execs(&mut self) {
        let script = "test -n \"$STDIN\" && grep -c . /etc/flyte/secrets/file";
        for mask in [&[][..], &["--mask"]] {
            let secrets = ["exec", "--secret", "stdin", "--mount", "file"];
            self.run(0, &[&secrets[..], mask, &["--", "sh", "-c", script]].concat());
            self.run(7, &[&secrets[..], mask, &["--", "sh", "-c", "exit 7"]].concat());
            self.run(127, &[&secrets[..], mask, &["--", "no-such-command"]].concat());
        }
        self.run(0, &["exec", "--all", "-p", "p", "-d", "d", "--mask", "--", "env"]);
    }

    fn runs(&mut self, sdk: &str) {
        self.sandbox.file("task.py", TASK);
        let python = python(sdk).into_os_string().into_string().expect("UTF-8");
        let run = ["run", "--python", &python];
        self.run(0, &[&run[..], &["--dry-run", "task.py"]].concat());
        for options in [&[][..], &["--leaks=deny"], &["--shared-secrets"], &["--no-mask"]] {
            let ran = self.run(0, &[&run[..], options, &["task.py", "main"]].concat());
            assert!(ran.text().contains("=>"), "{sdk}: {ran:?}");
        }
        self.run(1, &[&run[..], &["task.py", "main", "--then", "fail"]].concat());
        for signal in [Signal::TERM, Signal::KILL, Signal::ABORT] {
            self.killed_run(&[&run[..], &["task.py", "main", "--then", "wait"]].concat(), signal);
        }
    }

    /// Sends a signal to the first process of a run while the task has its secrets. flyte-local passes some signals on. If one
    /// ends the task, the caller's limit decides about a core file, as with any command.
    fn killed_run(&mut self, arguments: &[&str], signal: Signal) {
        self.commands += 1;
        let ready = self.sandbox.work().join("ready");
        let mut command = self.sandbox.program("sh");
        command.args(["-c", "ulimit -c 0; exec \"$@\"", "sh", FLYTE_LOCAL]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("it starts");
        until("the task has its secrets", || ready.exists());
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        // The output ends with the last process that has it open.
        let ran = Ran::from(child.wait_with_output().expect("it ends"));
        assert_eq!(ran.code, 128 + signal.as_raw(), "{ran:?}");
        std::fs::remove_file(ready).expect("it was there");
    }
}

/// Returns the seed of an unencrypted ed25519 key in an OpenSSH file.
fn seed_of(text: &str) -> Vec<u8> {
    let lines: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(lines).expect("base64");
    let kind = b"ssh-ed25519";
    let start = bytes.windows(kind.len()).rposition(|part| part == kind).expect("it is one") + kind.len();
    // The length and the bytes of the public half, and the length of the seed with the public half.
    bytes[start + 4 + 32 + 4..][..32].to_vec()
}

#[test]
#[ignore = "needs root: scripts/test"]
fn no_command_leaves_a_value_on_the_disk() {
    with_own_mounts(&test_path(module_path!(), "no_command_leaves_a_value_on_the_disk"), || {
        let kept = kept();
        let image = the_only_disk(kept.path());
        let canary = Canary::new();
        let file = kept.path().join("value");
        std::fs::write(&file, canary.value()).expect("written");
        let file = file.into_os_string().into_string().expect("UTF-8");
        let mut session =
            Session { sandbox: Sandbox::empty(), canary, file, kept: kept.path().to_owned(), commands: 0 };
        session.secrets();
        session.edits();
        session.moved();
        let protected = session.protected();
        session.faults();
        session.serves();
        session.execs();
        let sdks = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { &SDKS[..] } else { &SDKS[1..] };
        sdks.iter().for_each(|sdk| session.runs(sdk));

        let Session { sandbox, canary, commands, .. } = session;
        image.unmount();
        let found = canary.find_in_file(image.file());
        assert!(found.is_empty(), "{} times, first {:?}", found.len(), &found[..found.len().min(10)]);
        for hidden in &protected {
            let found = hidden.find_in_file(image.file());
            assert!(found.is_empty(), "a passphrase or a key: {} times, first {:?}", found.len(), found.first());
        }
        let forms = canary.forms().count();
        tally(&format!(
            "nothing left: {commands} commands, their disk searched for the value, a passphrase and protected keys \
             in {forms} forms: 0 hits"
        ));
        drop(sandbox);
    });
}

#[test]
#[ignore = "needs root: scripts/test"]
fn the_search_finds_each_form_of_a_value_in_a_removed_file() {
    with_own_mounts(&test_path(module_path!(), "the_search_finds_each_form_of_a_value_in_a_removed_file"), || {
        let kept = kept();
        let image = Image::new(kept.path(), &kept.path().join("disk"), 16, OPTIONS);
        let canary = Canary::new();
        for (form, bytes) in canary.forms() {
            let file = image.mount_point().join(form);
            std::fs::write(&file, bytes).and_then(|()| std::fs::remove_file(&file)).expect("written and removed");
        }
        image.unmount();
        let found = canary.find_in_file(image.file());
        let missed: Vec<_> = canary.forms().filter(|(form, _)| !found.iter().any(|(_, name)| name == form)).collect();
        assert!(missed.is_empty(), "{missed:?}");
        tally(&format!("nothing left, control: found in each of {} forms", canary.forms().count()));
    });
}
