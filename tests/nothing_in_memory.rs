//! What is left of a value, and of the keys, in the memory of a process that is about to end: nothing. The same code with the plain allocator,
//! which is this test's own binary, shows that the search would find it.

#![allow(dead_code, unreachable_pub, reason = "the command line's code is a part of this binary, for the control")]
#![allow(clippy::disallowed_methods, reason = "tests read their own variables")]

#[path = "../src/cli/mod.rs"]
mod cli;
mod support;

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use aho_corasick::AhoCorasick;
use rustix::process::{Pid, Signal, kill_process};
use support::canary::Canary;
use support::{FLYTE_LOCAL, MARK, Sandbox, marked, python, require, tally, until};

/// Set for the control, which is this test binary again: the arguments, one a line.
const CONTROL: &str = "FLYTE_LOCAL_TEST_CONTROL";

/// glibc's allocator gives nothing back to the system, and has one heap: what is freed stays where it was.
const KEEPS_ALL: [(&str, &str); 4] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_MAX_", "0"),
    ("MALLOC_TRIM_THRESHOLD_", "1000000000"),
    ("MALLOC_TOP_PAD_", "4000000"),
];

const PASSPHRASE: &str = "quick-brown-foxes-jump-over-lazy-dogs-ok";

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
#[ignore = "the control: run in a process of its own"]
fn control() {
    let Ok(arguments) = std::env::var(CONTROL) else { return };
    cli::run(std::iter::once("flyte-local").chain(arguments.lines()).map(std::ffi::OsString::from));
}

/// Which of two programs with the same code.
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

    /// The program and its arguments.
    fn words(self, arguments: &[&str]) -> Vec<String> {
        let program = self.program().into_os_string().into_string().expect("UTF-8");
        let arguments = match self {
            Which::Product => arguments,
            Which::PlainAllocator => &["--exact", "control", "--ignored", "--nocapture"],
        };
        std::iter::once(program).chain(arguments.iter().map(|&argument| argument.to_owned())).collect()
    }
}

/// What a process ends with.
#[derive(Debug, PartialEq)]
struct Left {
    code: i32,
    /// How often the value is in its memory, and how often a part of the identity, of the signing key or of the passphrase.
    values: usize,
    keys: usize,
}

impl Left {
    fn nothing(code: i32) -> Self {
        Self { code, values: 0, keys: 0 }
    }
}

/// What finds the key in a file, as its text or its bytes: the half of each, as a part that is overwritten may be anywhere.
fn key_finder(files: [PathBuf; 2]) -> AhoCorasick {
    let halves = files.into_iter().flat_map(|file| {
        let text = std::fs::read_to_string(file).expect("a key file");
        let line = text.lines().find(|line| !line.starts_with('#')).expect("a key").to_owned();
        let (_, bytes) = bech32::decode(&line).expect("it is written so");
        let texts = [line.clone(), line.to_lowercase()];
        // From the end, as what each of them begins with is in the program.
        let halves = texts.iter().flat_map(|text| text.as_bytes().rchunks(20).take(2));
        halves.chain(bytes.chunks(16)).map(<[u8]>::to_vec).collect::<Vec<_>>()
    });
    let passphrase = PASSPHRASE.as_bytes().chunks_exact(20).map(<[u8]>::to_vec);
    AhoCorasick::new(halves.chain(passphrase)).expect("a few patterns")
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
        sandbox.file("passphrases", format!("{PASSPHRASE}\n{PASSPHRASE}\n"));
        let keys = key_finder([sandbox.identity(), sandbox.author()]);
        Self { sandbox, canary, keys, searched: 0 }
    }

    /// strace with the program, which it holds back as it is about to end. With `fault`, something fails before.
    fn traced(&self, which: Which, fault: Option<&str>, arguments: &[&str]) -> Vec<String> {
        let mut words: Vec<String> =
            ["strace", "-o", "/dev/null", "-e", "inject=exit_group:delay_enter=60s"].map(str::to_owned).into();
        if let Some(fault) = fault {
            // The control has its code in a thread; with one that starts others, each would be held back.
            words.extend(["-f".to_owned(), "-e".to_owned(), format!("inject={fault}")]);
        }
        words.extend(which.words(arguments));
        words
    }

    /// What a process that is about to end has in its memory. It has it on its standard input, and what
    /// it prints is read to its end.
    fn left(&mut self, which: Which, words: &[String], arguments: &[&str], input: &str) -> Left {
        let mut command = self.sandbox.program(&words[0]);
        self.searched += 1;
        let mark = format!("memory-{}-{}", std::process::id(), self.searched);
        command.env("EDITOR", "sed -i s/7/8/");
        command.args(&words[1..]).env(MARK, &mark).env(CONTROL, arguments.join("\n")).envs(KEEPS_ALL);
        let input = std::fs::File::open(self.sandbox.work().join(input)).expect("it is there");
        let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        // A pipe that is full would hold it back before its end.
        let mut stdout = child.stdout.take().expect("piped");
        let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let (process, code) = at_its_end(&mut child, which, &mark);
        let (values, keys) = self.find_in(process);
        // Else it would wait for the end of the delay.
        for process in marked(&mark) {
            let _ = kill_process(Pid::from_raw(process).expect("not zero"), Signal::KILL);
        }
        child.wait().expect("it ended");
        reader.join().expect("no panic").expect("read");
        Left { code, values, keys }
    }

    /// At the prompt, on a terminal.
    fn typed(&mut self) -> Left {
        require("python3", "python3");
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/terminal.py");
        let line = self.canary.line().repeat(10);
        let steps = format!(r#"[["expect", "value of typed: "], ["type", "{line}\r"], ["end"]]"#);
        let mut words = vec!["python3".to_owned(), driver.into_os_string().into_string().expect("UTF-8"), steps];
        words.extend(self.traced(Which::Product, None, &["create", "secret", "typed"]));
        self.left(Which::Product, &words, &[], "value")
    }

    /// With an identity that has a passphrase.
    fn locked(&mut self) {
        let protect: &[&str] = &["--passphrase-fd", "0", "update", "identity", "--passphrase"];
        let open: &[&str] = &["--passphrase-fd", "0", "update", "identity", "--no-passphrase"];
        let read: &[&str] = &["get", "secret", "s", "--reveal"];
        let asked: &[&str] = &["--passphrase-fd", "0", "get", "secret", "s", "--reveal"];
        let unlock: &[&str] = &["--passphrase-fd", "0", "unlock", "--for", "1h"];
        let sandbox_identity = self.sandbox.identity();
        let mut check = |code, arguments: &[&str]| {
            let words = self.traced(Which::Product, None, arguments);
            let found = self.left(Which::Product, &words, arguments, "passphrases");
            assert_eq!(found, Left::nothing(code), "{arguments:?}");
        };
        // A search through the 256 MiB that this takes is a matter of half a minute.
        if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() {
            check(0, protect);
            check(0, asked);
            check(0, open);
        }
        let plain = std::fs::read(&sandbox_identity).expect("there");
        std::fs::write(&sandbox_identity, support::identities::locked(&plain, PASSPHRASE)).expect("written");
        for (code, arguments) in [(0, asked), (11, read), (0, unlock), (0, read), (0, &["lock"]), (0, open)] {
            check(code, arguments);
        }
    }

    /// The first process of a run, which has given the values to a task and masked its output.
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

/// The process that strace holds back at its end, and its exit code.
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
            // The number of the call that it is in: exit_group, on x86-64 or on other machines; then the call's arguments.
            let call = text("syscall")?;
            let code = call.strip_prefix("231 0x").or(call.strip_prefix("94 0x")).filter(|_| is_it)?;
            let code = i32::from_str_radix(code.split(' ').next()?, 16).ok()?;
            Some((Pid::from_raw(process)?, code))
        });
        ending.is_some()
    });
    ending.expect("there is one now")
}

/// What a search is made after.
struct Case {
    /// What it ends with.
    code: i32,
    arguments: &'static [&'static str],
    /// What fails before the end, as strace takes it.
    fault: Option<&'static str>,
    /// What it reads.
    input: &'static str,
}

const fn case(code: i32, arguments: &'static [&'static str]) -> Case {
    Case { code, arguments, fault: None, input: "value" }
}

const fn failing(code: i32, fault: &'static str, arguments: &'static [&'static str]) -> Case {
    Case { fault: Some(fault), ..case(code, arguments) }
}

#[test]
#[ignore = "looks into other processes, which takes root"]
fn a_command_that_ends_has_no_value_and_no_key_in_its_memory() {
    let mut search = Search::new();
    // What sealed a value and failed then has left more behind than one that went on, and used the same memory again.
    let control = failing(1, "fsync:error=EIO:when=1", &["update", "secret", "s"]);
    let cases = [
        case(0, &["create", "secret", "piped"]),
        case(0, &["create", "secret", "file", "--from-file", "value"]),
        case(0, &["create", "secret", "large", "--from-file", "large"]),
        Case { input: "large", ..case(0, &["update", "secret", "s", "--raw"]) },
        case(0, &["update", "secret", "s"]),
        case(0, &["get", "secret", "s", "--reveal"]),
        case(0, &["get", "secret", "large", "--reveal"]),
        case(0, &["edit", "secret", "piped"]),
        case(0, &["create", "secret", "pull", "--type", "image_pull", "--registry", "ghcr.io", "--username", "me"]),
        case(1, &["update", "secret", "pull"]),
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
    search.locked();
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
