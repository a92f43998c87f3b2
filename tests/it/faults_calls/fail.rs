//! An error from each system call.

use std::collections::{BTreeMap, BTreeSet};

use rustix::io::Errno;

use super::bench::{Bench, VERBS, Verb};
use super::runner::{Call, Runner};
use super::{While, is_long, on_two_threads};
use crate::support::{Random, tally};

pub(crate) const ERRORS: [(&str, Errno); 8] = [
    ("ENOSPC", Errno::NOSPC),
    ("EIO", Errno::IO),
    ("EINTR", Errno::INTR),
    ("EDQUOT", Errno::DQUOT),
    ("EROFS", Errno::ROFS),
    ("EACCES", Errno::ACCESS),
    ("EMFILE", Errno::MFILE),
    ("ENOMEM", Errno::NOMEM),
];

/// The number of random faults for each command in the short form, in addition to the calls of [`DECISIVE`].
const SAMPLE: u64 = 20;

/// Calls that fail in the short form too, each with a random error.
pub(crate) const DECISIVE: [&str; 10] =
    ["flock", "mkdirat", "fchmod", "fchmodat", "write", "fsync", "renameat", "renameat2", "unlinkat", "getrandom"];

/// Calls that are not made to fail: those for memory, because a process without memory cannot report an error, and
/// those that cannot fail.
pub(crate) const PASSED_OVER: [&str; 7] =
    ["brk", "mmap", "munmap", "mprotect", "sigaltstack", "rt_sigaction", "exit_group"];

/// Parts of calls that cannot fail: the check in debug builds of std that a file to close is open, and calls by which a
/// process reads its own limit and identity. The manual and rustix say that these cannot fail.
pub(crate) const CANNOT_FAIL: [&str; 8] =
    ["F_GETFD", "RLIMIT_CORE, NULL", "geteuid()", "getuid()", "getegid()", "getgid()", "getpid()", "gettid()"];

/// Calls that must be repeated when they are interrupted. The manual says that the others are never interrupted.
pub(crate) const INTERRUPTED: [&str; 7] = ["openat", "openat2", "read", "write", "fsync", "flock", "getrandom"];

#[derive(Default)]
struct Count {
    /// The number of failures of each call.
    injected: BTreeMap<String, usize>,
    reported: usize,
    survived: usize,
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_failed_system_call_is_reported_and_leaves_the_old_state() {
    let mut random = Random::seeded();
    let runs = VERBS.map(|verb| (verb, random.below(u64::MAX)));
    let counts = on_two_threads(&runs, |&(verb, seed)| fail(verb, Random::from_seed(seed)));
    let (mut injected, mut reported, mut survived) = (0, 0, 0);
    for (count, verb) in counts.iter().zip(VERBS) {
        println!("{verb:?}: {} reported, {} done anyway, {:?}", count.reported, count.survived, count.injected);
        injected += count.injected.values().sum::<usize>();
        reported += count.reported;
        survived += count.survived;
        // Each command has at least one call whose failure must end it.
        assert!(count.reported > 0, "no failure of {verb:?} was ever reported");
    }
    assert_eq!(injected, reported + survived);
    tally(&format!(
        "{injected} system calls failed: 0 panics, 0 torn, 0 temporary files left; {reported} reported with file \
         and cause, {survived} done anyway"
    ));
}

/// Runs a command once for each chosen error.
fn fail(verb: Verb, mut random: Random) -> Count {
    let bench = Bench::new(verb);
    let trace = bench.trace();
    let may_fail =
        |call: &Call| !PASSED_OVER.contains(&&*call.name) && !CANNOT_FAIL.iter().any(|part| call.line.contains(part));
    // The earlier calls are made by the loader, libc and Rust's runtime, whose errors we cannot word.
    let calls: Vec<_> = trace.calls[trace.first_of_ours..].iter().filter(|call| may_fail(call)).collect();
    let mut chosen = BTreeSet::new();
    for (index, call) in calls.iter().enumerate() {
        if is_long() {
            chosen.extend((0..ERRORS.len()).map(|error| (index, error)));
        } else if DECISIVE.contains(&&*call.name) {
            chosen.insert((index, random.below(ERRORS.len() as u64) as usize));
        }
    }
    if !is_long() {
        let mut any = |limit: usize| random.below(limit as u64) as usize;
        chosen.extend((0..SAMPLE).map(|_| (any(calls.len()), any(ERRORS.len()))));
    }
    let mut count = Count::default();
    for (call, error) in chosen.into_iter().map(|(call, error)| (calls[call], ERRORS[error])) {
        *count.injected.entry(call.name.clone()).or_default() += 1;
        *(if fail_at(&bench, verb, call, error) { &mut count.reported } else { &mut count.survived }) += 1;
    }
    count
}

/// Lets one call fail, and returns whether the command failed.
fn fail_at(bench: &Bench, verb: Verb, call: &Call, (name, errno): (&str, Errno)) -> bool {
    let fault = format!("{}:error={name}:when={}", call.name, call.nth);
    let outcome = bench.run(&fault);
    let ran = &outcome.ran;
    let _while = While(format!("{verb:?} had {fault} at {}:\n{ran:?}", call.line));
    assert!(outcome.injected, "the command makes the same calls each time");
    // 101 would be a panic, 134 an abort.
    assert!([0, 1, 13].contains(&ran.code), "the exit code is not documented");
    assert!(!ran.stderr.contains("has a bug") && !ran.stderr.contains("panicked"), "the command panicked");
    assert_eq!(bench.leftovers(), 0, "the command ran to its end, and left a temporary file");

    let state = bench.state();
    // The last sync, of the directory, comes after the rename: if it fails, the write is not acknowledged although a
    // reader sees the new value.
    let is_in_doubt = ran.stderr.contains("error: cannot sync")
        // Two files are written, in this order: repeating the command then writes the pin in the state directory.
        || (verb == Verb::Trust && ran.stderr.contains("/.local/state/"));
    let expected = if ran.code == 0 { state.is_new } else { state.is_old || (is_in_doubt && state.is_new) };
    assert!(expected, "{state:?}");
    let is_interruption = errno == Errno::INTR && INTERRUPTED.contains(&&*call.name);
    if verb != Verb::Read && is_needed(call) && !is_interruption {
        assert_ne!(ran.code, 0, "the command cannot succeed without that call");
    }
    if ran.code != 0 {
        assert_names_file_and_cause(bench, call, &ran.stderr, errno);
    }
    if is_interruption {
        assert_eq!(ran.code, 0, "an interrupted call is repeated");
        assert!(!ran.stderr.contains("(os error"), "an interrupted call is repeated");
    }
    bench.write_again(&state);
    ran.code != 0
}

/// Returns whether the command must fail if this call fails: the call makes a file durable, puts it in its place, or
/// locks the vault. Calls on the state directory do not count: their failure is only reported.
pub(crate) fn is_needed(call: &Call) -> bool {
    let changes = ["flock", "mkdirat", "fchmod", "fchmodat", "write", "fsync", "renameat", "renameat2"];
    let is_temporary = call.line.contains("tmp>") || call.line.contains("/.tmp/");
    let reads_back = is_temporary && (call.name == "read" || call.line.contains("SEEK_SET"));
    // Messages, the state directory, locks that only show that their holder is alive, and unlocking, as closing a file does it too.
    let is_spared = call.line.starts_with("write(2<")
        || call.line.contains("/.local/state")
        || call.line.contains("LOCK_UN")
        || (call.name == "flock" && call.line.contains("/.flyte-local-"));
    (changes.contains(&&*call.name) || reads_back) && !is_spared
}

/// Asserts that the error message names a file and the cause.
pub(crate) fn assert_names_file_and_cause(bench: &Runner, call: &Call, stderr: &str, errno: Errno) {
    let first = stderr.lines().find(|line| line.starts_with("error: ")).expect("an error");
    // The parent of the home directory is synced too, when a directory is created in the home.
    let place = bench.home().parent().and_then(std::path::Path::to_str).expect("UTF-8");
    // These errors have no file.
    let has_none =
        first.starts_with("error: cannot write to standard output: ") || first == "error: cannot get random bytes";
    // The user chose the descriptor of the passphrase.
    let is_descriptor = first.starts_with("error: cannot read file descriptor 0");
    assert!(has_none || is_descriptor || first.contains(place), "the error names the file");
    let cause = std::io::Error::from(errno).to_string();
    // Not every message has the number in parentheses, and std does not say why its hash maps have no randomness.
    let cause = cause.split(" (os error").next().expect("a first part");
    let is_named = stderr.contains(cause)
        || (call.name == "getrandom" && stderr.contains("caused by: the system gave no random bytes\n"));
    assert!(is_named, "the error names the cause: {cause}");
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_file_that_reads_back_differently_is_not_put_in_its_place() {
    let mut count = 0;
    for verb in [Verb::Init, Verb::Create, Verb::Update, Verb::Adopt, Verb::Trust] {
        let bench = Bench::new(verb);
        let trace = bench.trace();
        let is_read_back =
            |call: &&Call| call.name == "read" && call.line.contains("tmp>") && !call.line.ends_with("= 0");
        let reads: Vec<_> = trace.calls.iter().filter(is_read_back).collect();
        assert!(!reads.is_empty(), "{verb:?} reads nothing back");
        for call in reads {
            // The first byte reads as zero, as from a damaged disk.
            let outcome = bench.run(&format!("read:poke_exit=@arg2=00:when={}", call.nth));
            let ran = &outcome.ran;
            let _while = While(format!("{verb:?} read a wrong byte at {}:\n{ran:?}", call.line));
            assert!(outcome.injected, "the command makes the same calls each time");
            assert_eq!(bench.leftovers(), 0);
            let state = bench.state();
            if call.line.contains("/.local/state/") && verb == Verb::Trust {
                // The state directory is written before and after the change: without the first write, nothing changes,
                // and the second may fail.
                assert!(ran.code == 1 && state.is_old || ran.code == 0 && state.is_new, "{state:?}");
                assert_eq!(ran.code == 1, ran.stderr.contains("/.local/state/"), "the error names the file");
            } else if call.line.contains("/.local/state/") && verb == Verb::Init {
                // A vault is recorded before it is created.
                assert!(ran.code == 1 && state.is_old, "{state:?}");
                assert!(ran.stderr.contains("/.local/state/"), "the error names the file");
            } else if call.line.contains("/.local/state/") {
                assert_eq!(ran.code, 0, "a failed state directory does not fail the command");
                assert!(state.is_new && ran.stderr.contains("/.local/state/"), "a warning names the file");
            } else {
                assert!(ran.code == 1 && state.is_old, "{state:?}");
                assert!(ran.stderr.starts_with("error: cannot write "), "the error is reported");
            }
            bench.write_again(&state);
            count += 1;
        }
    }
    tally(&format!("{count} files read back with a wrong byte: none put in place"));
}
