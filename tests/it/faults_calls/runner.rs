//! A command that runs under strace, in a home directory that is reset before each run.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require};

/// A system call of a run, and its number among the calls of that name.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) nth: usize,
    /// The line of strace's log, with the path of each file.
    pub(crate) line: String,
}

/// The system calls of a run.
pub(crate) struct Trace {
    pub(crate) calls: Vec<Call>,
    /// The index of the first call that flyte-local makes itself, after it is loaded.
    pub(crate) first_of_ours: usize,
    /// The index of the first call that changes the disk.
    pub(crate) first_change: usize,
}

/// The outcome of a run with an injected fault.
pub(crate) struct Outcome {
    pub(crate) ran: Ran,
    /// True if the fault occurred.
    pub(crate) injected: bool,
    /// True if the fault occurred in the first thread, which made the calls of [`Trace`].
    pub(crate) in_first_thread: bool,
}

pub(crate) struct Runner {
    pub(crate) sandbox: Sandbox,
    template: tempfile::TempDir,
    pub(crate) arguments: Vec<String>,
    /// The file that is the command's standard input.
    input: Option<std::path::PathBuf>,
}

impl Runner {
    /// Returns a runner that starts each run from the sandbox's present home directory.
    pub(crate) fn new(sandbox: Sandbox, arguments: Vec<String>, input: Option<&str>) -> Self {
        require("strace", "strace");
        let template = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
        copy(sandbox.home(), template.path());
        let input = input.map(|text| sandbox.file("input", text));
        Self { sandbox, template, arguments, input }
    }

    pub(crate) fn home(&self) -> &Path {
        self.sandbox.home()
    }

    /// Returns the content that a file had at the beginning.
    pub(crate) fn before(&self, path: &Path) -> Option<Vec<u8>> {
        let relative = path.strip_prefix(self.home()).expect("in the home");
        std::fs::read(self.template.path().join(relative)).ok()
    }

    /// Returns whether a file has the content that it had at the beginning.
    pub(crate) fn is_unchanged(&self, path: &Path) -> bool {
        std::fs::read(path).ok() == self.before(path)
    }

    /// Resets the home directory to its state at the beginning.
    fn reset(&self) {
        for part in [".config", ".local"] {
            let (from, to) = (self.template.path().join(part), self.home().join(part));
            if to.exists() {
                std::fs::remove_dir_all(&to).expect("removed");
            }
            if from.exists() {
                copy(&from, &to);
            }
        }
    }

    fn strace(&self, options: &[&str]) -> (Ran, bool, String) {
        self.reset();
        let log = self.sandbox.work().join("strace.log");
        let mut command = self.sandbox.program("strace");
        command.args(["-f", "-o"]).arg(&log).args(options).arg(FLYTE_LOCAL).args(&self.arguments);
        if let Some(input) = &self.input {
            command.stdin(Stdio::from(std::fs::File::open(input).expect("there")));
        }
        let output = command.output().expect("strace starts");
        let killed = output.status.signal().is_some();
        let ran = Ran::from(output);
        let log = std::fs::read_to_string(&log).expect("strace's log");
        assert!(log.contains("+++"), "strace did not work: {ran:?}");
        (ran, killed, log)
    }

    /// Traces a run without faults, and returns the calls of its first thread. The other threads only read.
    pub(crate) fn trace(&self) -> Trace {
        let (ran, _, log) = self.strace(&["-y"]);
        assert_eq!(ran.code, 0, "{:?}: {ran:?}", self.arguments);
        let mut counts = std::collections::HashMap::<String, usize>::new();
        let mut calls = Vec::new();
        let process = log.split(' ').next().expect("a line begins with its process");
        for line in log.lines() {
            // strace counts the calls of each thread separately.
            let Some(line) = line.strip_prefix(process) else { continue };
            let line = line.trim_start();
            let Some((name, _)) = line.split_once('(').filter(|_| !line.starts_with(['+', '-', '<'])) else { continue };
            let nth = counts.entry(name.to_owned()).or_default();
            *nth += 1;
            calls.push(Call { name: name.to_owned(), nth: *nth, line: line.to_owned() });
        }
        // flyte-local forbids core files first. The loader, libc and Rust's runtime make the calls before that.
        let is_ours = |call: &Call| call.line.contains("RLIMIT_CORE");
        let first_of_ours = calls.iter().position(is_ours).expect("flyte-local forbids core files");
        let changes = ["mkdirat", "renameat", "renameat2", "unlinkat", "linkat"];
        let changes = |call: &Call| changes.contains(&&*call.name) || call.line.contains("O_CREAT");
        let first_change = calls.iter().position(changes).expect("the command changes the disk");
        Trace { calls, first_of_ours, first_change }
    }

    /// Runs the command with a fault, as `strace -e inject=` takes it.
    pub(crate) fn run(&self, fault: &str) -> Outcome {
        let call = fault.split(':').next().expect("a fault begins with a call");
        let (trace, inject) = (format!("trace={call}"), format!("inject={fault}"));
        let (ran, killed, log) = self.strace(&["-e", &trace, "-e", &inject]);
        let process = log.split(' ').next().expect("a line begins with its process");
        let hit = log.lines().find(|line| line.contains("(INJECTED"));
        let in_first_thread = hit.is_none_or(|line| line.starts_with(process));
        Outcome { ran, injected: killed || hit.is_some(), in_first_thread }
    }

    /// Returns the number of temporary files. Two in one directory are a failure.
    pub(crate) fn leftovers(&self) -> usize {
        let (mut found, mut unvisited) = (0, vec![self.home().to_owned()]);
        while let Some(directory) = unvisited.pop() {
            let mut here = 0;
            for entry in std::fs::read_dir(&directory).expect("listed").map(|entry| entry.expect("listed")) {
                // Also a directory of them: those of a command that writes several files together.
                if entry.file_name().to_string_lossy().ends_with(".tmp") {
                    here += 1;
                } else if entry.file_type().expect("known").is_dir() {
                    unvisited.push(entry.path());
                }
            }
            assert!(here <= 1, "{here} temporary files in {}", directory.display());
            found += here;
        }
        found
    }
}

/// Copies a tree with its permissions.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    std::fs::set_permissions(to, from.metadata().expect("there").permissions()).expect("ours");
    for entry in std::fs::read_dir(from).expect("listed").map(|entry| entry.expect("listed")) {
        let to = to.join(entry.file_name());
        if entry.file_type().expect("known").is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("copied");
        }
    }
}
