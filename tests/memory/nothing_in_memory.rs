//! A process that is about to end has neither a value nor a key in its memory. The same code with the plain allocator, which
//! is this test binary, shows that the search would find them.

#![allow(dead_code, unreachable_pub, reason = "the command line's code is a part of this binary, for the control")]
#![allow(clippy::disallowed_methods, reason = "tests read their own variables")]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::canary::Canary;
use crate::support::http::send_everyhow;
use crate::support::identities::{locked, private};
use crate::support::{FLYTE_LOCAL, MARK, Sandbox, marked, python, require, tally, until};
use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha512};

/// Set for the control, which is this test binary again. It holds the arguments, one a line.
const CONTROL: &str = "FLYTE_LOCAL_TEST_CONTROL";

/// Makes glibc's allocator return nothing to the system, and use one heap: freed bytes stay where they were.
const KEEPS_ALL: [(&str, &str); 4] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_MAX_", "0"),
    ("MALLOC_TRIM_THRESHOLD_", "1000000000"),
    ("MALLOC_TOP_PAD_", "4000000"),
];

/// Changes the value, and keeps the searched text.
const EDITOR: &str = "sed -i 1s/^/x/";

/// Searched for as well. It is longer than the end that wiping may leave.
const PASSPHRASE: &str = "correct-horse-battery-staple-c0ffee-Zk31";

const TASK: &str = "
import os
import flyte

env = flyte.TaskEnvironment(
    name='env',
    secrets=[flyte.Secret(key='s', as_env_var='VALUE'), flyte.Secret(key='large', mount='/etc/flyte/secrets')],
)

@env.task
def main() -> int:
    assert os.environ['VALUE'] in open('/etc/flyte/secrets/large').read()
    print(os.environ['VALUE'])
    open('done', 'w').close()
    return 0
";

#[test]
#[ignore = "a helper process of other tests"]
fn helper_process_control() {
    let arguments = std::env::var(CONTROL).expect("the arguments");
    crate::cli::run(std::iter::once("flyte-local").chain(arguments.lines()).map(std::ffi::OsString::from));
}

/// One of two programs with the same code.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Which {
    Product,
    PlainAllocator,
}

impl Which {
    fn program(self) -> PathBuf {
        let program = match self {
            Which::Product => FLYTE_LOCAL.into(),
            Which::PlainAllocator => std::env::current_exe().expect("this test"),
        };
        program.canonicalize().expect("it exists")
    }

    /// Returns the program and its arguments.
    fn words(self, arguments: &[&str]) -> Vec<String> {
        let program = self.program().into_os_string().into_string().expect("UTF-8");
        let arguments = match self {
            Which::Product => arguments,
            Which::PlainAllocator => {
                &["--exact", "nothing_in_memory::helper_process_control", "--ignored", "--nocapture"]
            }
        };
        std::iter::once(program).chain(arguments.iter().map(|&argument| argument.to_owned())).collect()
    }
}

/// The exit code of a process, and the secrets in its memory at that time.
#[derive(Debug, PartialEq)]
struct Left {
    code: i32,
    /// How often the value is in its memory, and how often a part of the identity or of the signing key.
    values: usize,
    keys: usize,
}

impl Left {
    fn nothing(code: i32) -> Self {
        Self { code, values: 0, keys: 0 }
    }
}

/// Returns the parts of a key file to search for, of its text and of its bytes: halves, because any part may be overwritten.
fn parts_of_key(file: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(file).expect("a key file");
    let line = text.lines().find(|line| !line.starts_with('#')).expect("a key").to_owned();
    let (_, bytes) = bech32::decode(&line).expect("it is written so");
    let texts = [line.clone(), line.to_lowercase()];
    // From the end, because the common beginning of keys is in the program.
    let halves = texts.iter().flat_map(|text| text.as_bytes().rchunks(20).take(2));
    halves.chain(bytes.chunks(16)).map(<[u8]>::to_vec).collect()
}

/// Returns the same for an OpenSSH key without a passphrase: its secret numbers, in either byte order, and the numbers that
/// ed25519 derives from its seed.
fn parts_of_ssh_key(file: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(file).expect("a key file");
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('-')).collect();
    let bytes = STANDARD.decode(lines.concat()).expect("base64");
    let kind: &[u8] = if bytes.windows(7).any(|part| part == b"ssh-rsa") { b"ssh-rsa" } else { b"ssh-ed25519" };
    // The second copy of the public half begins the private part; each field follows its length.
    let start = bytes.windows(kind.len()).rposition(|part| part == kind).expect("its kind is named");
    let (mut rest, mut fields) = (&bytes[start + kind.len()..], Vec::new());
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((field, more)) = more.split_at_checked(length) else { break };
        fields.push(field);
        rest = more;
    }
    let secrets: Vec<Vec<u8>> = if kind == b"ssh-rsa" {
        // d, p and q, of n, e, d, iqmp, p and q.
        [2, 4, 5].map(|index| fields[index].to_vec()).into()
    } else {
        let seed = &fields[1][..32];
        let expanded = Sha512::digest(seed)[..32].to_vec();
        vec![seed.to_vec(), expanded]
    };
    // From the end, where a number's words begin, because RSA's numbers are in the machine's byte order.
    let parts = secrets.iter().flat_map(|secret| secret.rchunks_exact(16));
    let parts: Vec<_> = parts.flat_map(|part| [part.to_vec(), part.iter().rev().copied().collect()]).collect();
    // The last line has the comment, which is not secret, and padding.
    let private = lines.iter().rev().skip(2).take(if kind == b"ssh-rsa" { 8 } else { 1 });
    parts.into_iter().chain(private.map(|line| line.as_bytes()[..40].to_vec())).collect()
}

struct Search {
    sandbox: Sandbox,
    canary: Canary,
    keys: AhoCorasick,
    searched: usize,
}

impl Search {
    fn new() -> Self {
        require("strace", "strace");
        let (sandbox, canary) = (Sandbox::new(), Canary::new());
        sandbox.secret("s", canary.value(), &[]);
        sandbox.file("value", canary.value());
        sandbox.file("large", canary.value().repeat(30));
        sandbox.file("too-large", canary.value().repeat(130));
        let mut search = Self { sandbox, canary, keys: AhoCorasick::new([""; 0]).expect("none"), searched: 0 };
        search.look_for(Vec::new());
        search
    }

    /// Sets the parts to search for besides the identity and the signing key.
    fn look_for(&mut self, mut parts: Vec<Vec<u8>>) {
        parts.extend([self.sandbox.identity(), self.sandbox.author()].iter().flat_map(|file| parts_of_key(file)));
        self.keys = AhoCorasick::new(parts).expect("a few patterns");
    }

    /// Returns the words of strace with the program, which it delays at its exit. With `fault`, a call fails before.
    fn traced(&self, which: Which, fault: Option<&str>, arguments: &[&str]) -> Vec<String> {
        let mut words: Vec<String> =
            ["strace", "-o", "/dev/null", "-e", "inject=exit_group:delay_enter=60s"].map(str::to_owned).into();
        words.extend(["-E".to_owned(), format!("EDITOR={EDITOR}")]);
        if let Some(fault) = fault {
            // The control runs its code in a thread. Following other programs' threads would delay each of them.
            words.extend(["-f".to_owned(), "-e".to_owned(), format!("inject={fault}")]);
        }
        words.extend(which.words(arguments));
        words
    }

    /// Searches the memory of a process that is about to end. The value is on its standard input, and its output is read to the
    /// end.
    fn left(&mut self, which: Which, words: &[String], arguments: &[&str], input: &str) -> Left {
        let mut command = self.sandbox.program(&words[0]);
        self.searched += 1;
        let mark = new_mark();
        command.args(&words[1..]).env(MARK, &mark).env(CONTROL, arguments.join("\n")).envs(KEEPS_ALL);
        let input = std::fs::File::open(self.sandbox.work().join(input)).expect("it is there");
        let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        // A full pipe would delay it before its end.
        let mut stdout = child.stdout.take().expect("piped");
        let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let left = self.left_at_its_end(&mut child, which, &mark);
        reader.join().expect("no panic").expect("read");
        left
    }

    fn left_at_its_end(&self, child: &mut Child, which: Which, mark: &str) -> Left {
        let (process, code) = at_its_end(child, which, mark);
        let (values, keys) = self.find_in(process);
        // Otherwise it would wait for the end of the delay.
        for process in marked(mark) {
            let _ = kill_process(Pid::from_raw(process).expect("not zero"), Signal::KILL);
        }
        child.wait().expect("it ended");
        Left { code, values, keys }
    }

    /// Runs a service that gets the value in every way, and is then asked to end.
    fn served(&mut self, which: Which) -> Left {
        let arguments = ["serve", "--port", "0"];
        let words = self.traced(which, None, &arguments);
        let mut command = self.sandbox.program(&words[0]);
        self.searched += 1;
        let mark = new_mark();
        command.args(&words[1..]).env(MARK, &mark).env(CONTROL, arguments.join("\n")).envs(KEEPS_ALL);
        let log = std::fs::File::create(self.sandbox.work().join("serve.log")).expect("made");
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        // The control prints other text before it.
        let address = lines.find_map(|line| line.expect("text").split("dns:///").nth(1)?.parse().ok());
        let names =
            send_everyhow(address.expect("an endpoint"), &String::from_utf8(self.canary.value()).expect("text"));
        for name in names {
            assert_eq!(self.sandbox.value(&format!("org/{name}")), Some(self.canary.value()), "{name}");
            self.sandbox.ok(&["delete", "secret", name]);
        }
        for process in marked(&mark) {
            if std::fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|exe| exe == which.program()) {
                kill_process(Pid::from_raw(process).expect("not zero"), Signal::TERM).expect("it runs");
            }
        }
        let reader = std::thread::spawn(move || lines.count());
        let left = self.left_at_its_end(&mut child, which, &mark);
        reader.join().expect("no panic");
        left
    }

    /// Types the value at the prompt, on a terminal.
    fn typed(&mut self) -> Left {
        require("python3", "python3");
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/terminal.py");
        let line = self.canary.line().repeat(10);
        let steps = format!(r#"[["expect", "value of typed: "], ["type", "{line}\r"], ["end"]]"#);
        let mut words = vec!["python3".to_owned(), driver.into_os_string().into_string().expect("UTF-8"), steps];
        words.extend(self.traced(Which::Product, None, &["create", "secret", "typed"]));
        self.left(Which::Product, &words, &[], "value")
    }

    /// Searches the first process of a run, which has passed the values to a task and masked its output.
    fn run(&mut self) -> Left {
        self.sandbox.file("task.py", TASK);
        let python = python("newest").into_os_string().into_string().expect("UTF-8");
        let arguments = ["run", "--python", &python, "task.py", "main"];
        let words = self.traced(Which::Product, None, &arguments);
        let found = self.left(Which::Product, &words, &arguments, "value");
        assert!(self.sandbox.work().join("done").exists(), "the task did not run to its end");
        found
    }

    fn find_in(&self, process: Pid) -> (usize, usize) {
        let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).expect("root may");
        let memory = std::fs::File::open(format!("/proc/{process}/mem")).expect("root may");
        let (mut values, mut keys, mut searched) = (0, 0, 0);
        for map in maps.lines().filter(|map| map.contains(" rw")) {
            let range = map.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
            let [start, end] = [range.0, range.1].map(|text| u64::from_str_radix(text, 16).expect("a number"));
            let mut bytes = vec![0; usize::try_from(end - start).expect("it fits")];
            memory.read_exact_at(&mut bytes, start).unwrap_or_else(|error| panic!("{map}: {error}"));
            searched += bytes.len();
            values += self.canary.find(&bytes).len();
            keys += self.keys.find_iter(&bytes).count();
        }
        assert!(searched > 100_000, "not the memory of a program");
        (values, keys)
    }
}

/// Returns a mark that no other search has, because tests run in parallel and end processes by their mark.
fn new_mark() -> String {
    static MARKS: AtomicUsize = AtomicUsize::new(0);
    format!("memory-{}-{}", std::process::id(), MARKS.fetch_add(1, Ordering::Relaxed))
}

/// Returns the process that strace delays at its exit, and its exit code.
fn at_its_end(child: &mut Child, which: Which, mark: &str) -> (Pid, i32) {
    let program = which.program();
    let mut ending = None;
    until("it is about to end", || {
        assert!(child.try_wait().expect("ours").is_none(), "it ended");
        let mut processes = marked(mark).into_iter();
        ending = processes.find_map(|process| {
            let file = |name: &str| Path::new("/proc").join(process.to_string()).join(name);
            let text = |name: &str| std::fs::read_to_string(file(name)).ok();
            let is_held = text("stat")?.rsplit(") ").next()?.starts_with('t');
            let is_it = is_held && std::fs::read_link(file("exe")).ok()? == program;
            // The number of the current call, which is exit_group on x86-64 or on other machines; then its arguments.
            let call = text("syscall")?;
            let code = call.strip_prefix("231 0x").or(call.strip_prefix("94 0x")).filter(|_| is_it)?;
            let code = i32::from_str_radix(code.split(' ').next()?, 16).ok()?;
            Some((Pid::from_raw(process)?, code))
        });
        ending.is_some()
    });
    ending.expect("there is one now")
}

/// A command after which memory is searched.
struct Case {
    /// The expected exit code.
    code: i32,
    arguments: &'static [&'static str],
    /// A fault before the end, in strace's form.
    fault: Option<&'static str>,
    /// The file on its standard input.
    input: &'static str,
}

const fn case(code: i32, arguments: &'static [&'static str]) -> Case {
    Case { code, arguments, fault: None, input: "value" }
}

const fn failing(code: i32, fault: &'static str, arguments: &'static [&'static str]) -> Case {
    Case { fault: Some(fault), ..case(code, arguments) }
}

#[test]
#[ignore = "needs root: scripts/test"]
fn a_finished_command_has_no_value_or_key_in_memory() {
    let mut search = Search::new();
    // A command that fails after sealing leaves more behind than one that continues and reuses the memory.
    let control = failing(1, "fsync:error=EIO:when=1", &["update", "secret", "s"]);
    let cases = [
        case(0, &["create", "secret", "piped"]),
        case(0, &["create", "secret", "file", "--from-file", "value"]),
        case(0, &["create", "secret", "large", "--from-file", "large"]),
        Case { input: "large", ..case(0, &["update", "secret", "s", "--raw"]) },
        case(0, &["update", "secret", "s"]),
        case(0, &["get", "secret", "s", "--reveal"]),
        case(0, &["get", "secret", "large", "--reveal"]),
        case(12, &["create", "secret", "s"]),
        case(1, &["create", "secret", "too-large", "--from-file", "too-large"]),
        case(13, &["get", "secret", "damaged", "--reveal"]),
        case(0, &["exec", "--mask", "--secret", "s", "--mount", "large", "--", "env"]),
        case(127, &["exec", "--secret", "s", "--", "no-such-command"]),
        failing(1, "renameat:error=ENOSPC:when=1", &["update", "secret", "s"]),
        failing(1, "fsync:error=ENOSPC:when=2", &["create", "secret", "failed", "--from-file", "large"]),
        failing(0, "write:error=EPIPE:when=1", &["get", "secret", "s", "--reveal"]),
    ];
    search.sandbox.secret("damaged", search.canary.value().repeat(30), &[]);
    let damaged = search.sandbox.secret_file("org/damaged");
    let mut bytes = std::fs::read(&damaged).expect("the secret's file");
    *bytes.last_mut().expect("not empty") ^= 1;
    std::fs::write(&damaged, bytes).expect("damaged");

    for Case { code, arguments, fault, input } in &cases {
        let words = search.traced(Which::Product, *fault, arguments);
        let found = search.left(Which::Product, &words, arguments, input);
        assert_eq!(found, Left::nothing(*code), "{arguments:?} {fault:?}");
    }
    assert_eq!(search.typed(), Left::nothing(0), "at the prompt");
    assert_eq!(search.run(), Left::nothing(0), "run");
    let [product, plain] = [Which::Product, Which::PlainAllocator].map(|which| {
        let words = search.traced(which, control.fault, control.arguments);
        search.left(which, &words, control.arguments, control.input)
    });
    let searched = search.searched - 1;
    tally(&format!(
        "nothing in memory: {searched} commands searched at their end for the value in {} forms and for the keys: 0 hits; \
         with the plain allocator, after a failed write: {} hits",
        search.canary.forms().count(),
        plain.values
    ));
    assert_eq!(product, Left::nothing(control.code), "{:?} {:?}", control.arguments, control.fault);
    assert!(plain.values > 0, "the control leaves nothing either: the search finds nothing");
}

#[test]
#[ignore = "needs root: scripts/test"]
fn a_finished_service_has_no_value_in_memory() {
    let mut search = Search::new();
    let [product, plain] = [Which::Product, Which::PlainAllocator].map(|which| search.served(which));
    assert_eq!(product, Left::nothing(0));
    assert!(plain.values > 0, "the control leaves nothing either: the search finds nothing");
    tally(&format!(
        "nothing in memory: serve, to which the value came in 19 ways: 0 hits; with the plain allocator: {} hits",
        plain.values
    ));
}

const ASKS: &str = "--passphrase-fd=0";

const fn asking(code: i32, arguments: &'static [&'static str]) -> Case {
    Case { input: "passphrase", ..case(code, arguments) }
}

/// Searches after commands that unlock identities of each kind or re-encrypt, which they do in threads.
#[test]
#[ignore = "needs root: scripts/test"]
fn passphrases_openssh_keys_and_threads_leave_nothing_in_memory() {
    let mut search = Search::new();
    let sandbox = &search.sandbox;
    let passphrase: Vec<_> = PASSPHRASE.as_bytes().chunks(20).map(<[u8]>::to_vec).collect();
    let mut parts = vec![passphrase];
    for (name, kind) in [("ed25519", &["ed25519"][..]), ("rsa", &["rsa", "-b", "2048"])] {
        let open = sandbox.ssh_key(name, kind, "");
        parts.push(parts_of_ssh_key(&open));
        sandbox.ok(&["create", "recipient", "--from-file", &format!("{name}.pub"), "--name", name]);
        let copy = format!("{name}-locked");
        std::fs::copy(&open, sandbox.work().join(&copy)).expect("copied");
        sandbox.ssh_keygen(&["-q", "-p", "-N", PASSPHRASE, "-f", &copy]);
    }
    let text = std::fs::read(sandbox.identity()).expect("there is one");
    for name in ["locked", "changed"] {
        private(&sandbox.file(name, locked(&text, PASSPHRASE)));
    }
    sandbox.file("passphrase", format!("{PASSPHRASE}\n{PASSPHRASE}\n"));
    sandbox.file("new.env", format!("IMPORTED='{}'\n", search.canary.line().repeat(30)));
    for index in 0..12 {
        sandbox.secret(&format!("s{index}"), search.canary.value(), &[]);
    }
    search.look_for(parts.concat());

    let get = ["get", "secret", "s", "--reveal"];
    let with = |options: &[&'static str]| -> &'static [&'static str] { [options, &get[..]].concat().leak() };
    let cases = [
        case(0, &["rekey"]),
        asking(0, with(&[ASKS, "--identity=locked"])),
        case(0, with(&["--identity=ed25519"])),
        asking(0, with(&[ASKS, "--identity=ed25519-locked"])),
        case(0, with(&["--identity=rsa"])),
        asking(0, with(&[ASKS, "--identity=rsa-locked"])),
        case(11, with(&["--identity=ed25519-locked"])),
        Case { input: "value", ..case(11, with(&[ASKS, "--identity=locked"])) },
        asking(0, &[ASKS, "--identity=locked", "unlock", "--for=1h"]),
        case(0, with(&["--identity=locked"])),
        case(0, &["--identity=locked", "lock"]),
        asking(0, &[ASKS, "--identity=ed25519-locked", "unlock", "--for=1h"]),
        case(0, with(&["--identity=ed25519-locked"])),
        case(0, &["--identity=ed25519-locked", "lock"]),
        asking(0, &[ASKS, "--identity=changed", "update", "identity", "--passphrase"]),
        asking(0, &[ASKS, "--identity=changed", "update", "identity", "--no-passphrase"]),
        asking(0, &[ASKS, "--vault=v", "--identity=made", "init", "--passphrase"]),
        case(0, &["check"]),
        asking(0, &[ASKS, "--identity=ed25519-locked", "check"]),
        case(0, &["export", "-o", "exported.env", "s"]),
        case(0, &["import", "new.env"]),
        case(0, &["edit", "secret", "s"]),
    ];
    let bob = flyte_local::crypto::Identity::generate().recipient();
    let bob = flyte_local::vault::NamedRecipient { name: "bob".to_owned(), key: bob };
    search.sandbox.open_vault().writer().expect("writable").add_recipients(vec![bob]).expect("added");
    for Case { code, arguments, fault, input } in &cases {
        let words = search.traced(Which::Product, *fault, arguments);
        let found = search.left(Which::Product, &words, arguments, input);
        assert_eq!(found, Left::nothing(*code), "{arguments:?}");
    }
    let searched = search.searched;
    // Each part separately, so that one is not found in the place of another. Neither program keeps a passphrase, unless a value
    // is the same text.
    let controls = [
        failing(1, "fsync:error=EIO:when=1", &["update", "secret", "s"]),
        case(0, with(&["--identity=ed25519"])),
        case(0, with(&["--identity=rsa"])),
    ];
    let hits = parts.into_iter().zip(controls).map(|(parts, Case { fault, arguments, .. })| {
        search.keys = AhoCorasick::new(parts).expect("a few patterns");
        let words = search.traced(Which::PlainAllocator, fault, arguments);
        let found = search.left(Which::PlainAllocator, &words, arguments, "passphrase");
        assert!(found.keys > 0, "the control leaves nothing either: the search finds nothing: {arguments:?}");
        found.keys.to_string()
    });
    let hits = hits.collect::<Vec<_>>().join(", ");
    tally(&format!(
        "nothing in memory: {searched} commands with passphrases, keys of OpenSSH and threads searched at their end for \
         these and the value: 0 hits; with the plain allocator, of a passphrase, of ed25519 and of RSA: {hits} hits"
    ));
}
