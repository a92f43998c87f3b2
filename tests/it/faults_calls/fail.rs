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

/// So many faults a command are met in the short form, besides each call of [`DECISIVE`].
const SAMPLE: u64 = 20;

/// Each one of these fails in the short form too, with an error at random.
pub(crate) const DECISIVE: [&str; 10] =
    ["flock", "mkdirat", "fchmod", "fchmodat", "write", "fsync", "renameat", "renameat2", "unlinkat", "getrandom"];

/// Calls of memory and of signals, and the last one. An error cannot be told by who got no memory to tell it with, and
/// the others have none.
pub(crate) const PASSED_OVER: [&str; 7] =
    ["brk", "mmap", "munmap", "mprotect", "sigaltstack", "rt_sigaction", "exit_group"];

/// Std's own look, in a debug build, at whether what it closes is open; and how a process reads its own limit, and who it is, of
/// which rustix has it, with the manual, that it cannot fail.
pub(crate) const CANNOT_FAIL: [&str; 8] =
    ["F_GETFD", "RLIMIT_CORE, NULL", "geteuid()", "getuid()", "getegid()", "getgid()", "getpid()", "gettid()"];

/// What an interrupted call is made again for. The others, of the manual, are never interrupted.
pub(crate) const INTERRUPTED: [&str; 7] = ["openat", "openat2", "read", "write", "fsync", "flock", "getrandom"];

#[derive(Default)]
struct Count {
    /// How often each call failed.
    injected: BTreeMap<String, usize>,
    told: usize,
    survived: usize,
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_command_to_which_any_system_call_fails_says_so_and_leaves_the_old_state() {
    let mut random = Random::seeded();
    let runs = VERBS.map(|verb| (verb, random.below(u64::MAX)));
    let counts = on_two_threads(&runs, |&(verb, seed)| fail(verb, Random::from_seed(seed)));
    let (mut injected, mut told, mut survived) = (0, 0, 0);
    for (count, verb) in counts.iter().zip(VERBS) {
        println!("{verb:?}: {} told, {} done all the same, {:?}", count.told, count.survived, count.injected);
        injected += count.injected.values().sum::<usize>();
        told += count.told;
        survived += count.survived;
        // Each of these has one error at least that it has to end with.
        assert!(count.told > 0, "no failure of {verb:?} was ever told");
    }
    assert_eq!(injected, told + survived);
    tally(&format!(
        "{injected} system calls failed: 0 panics, 0 torn, 0 temporary files left; {told} told with file and cause, \
         {survived} done all the same"
    ));
}

/// Lets it have each of the errors that are to be met.
fn fail(verb: Verb, mut random: Random) -> Count {
    let bench = Bench::new(verb);
    let trace = bench.trace();
    let is_met =
        |call: &Call| !PASSED_OVER.contains(&&*call.name) && !CANNOT_FAIL.iter().any(|part| call.line.contains(part));
    // What comes before is by the loader, libc and Rust's runtime, none of which has words of ours.
    let calls: Vec<_> = trace.calls[trace.first_of_ours..].iter().filter(|call| is_met(call)).collect();
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
        *(if fail_at(&bench, verb, call, error) { &mut count.told } else { &mut count.survived }) += 1;
    }
    count
}

/// Lets one call fail; whether the command did.
fn fail_at(bench: &Bench, verb: Verb, call: &Call, (name, errno): (&str, Errno)) -> bool {
    let fault = format!("{}:error={name}:when={}", call.name, call.nth);
    let outcome = bench.run(&fault);
    let ran = &outcome.ran;
    let _while = While(format!("{verb:?} had {fault} at {}:\n{ran:?}", call.line));
    assert!(outcome.injected, "it makes the same calls each time");
    // 101 is a panic, 134 an abort.
    assert!([0, 1, 13].contains(&ran.code), "it ends with an exit code of its own");
    assert!(!ran.stderr.contains("has a bug") && !ran.stderr.contains("panicked"), "it panicked");
    assert_eq!(bench.leftovers(), 0, "it lived, and left a temporary file");

    let state = bench.state();
    // The last sync, of the directory, comes when the file has its place: the write is then not acknowledged, and a reader
    // sees the new value.
    let is_in_doubt = ran.stderr.contains("error: cannot sync")
        // Two files are written, in this order: what the machine remembers follows when the command is repeated.
        || (verb == Verb::Trust && ran.stderr.contains("/.local/state/"));
    let expected = if ran.code == 0 { state.is_new } else { state.is_old || (is_in_doubt && state.is_new) };
    assert!(expected, "{state:?}");
    let is_interruption = errno == Errno::INTR && INTERRUPTED.contains(&&*call.name);
    if verb != Verb::Read && is_needed(call) && !is_interruption {
        assert_ne!(ran.code, 0, "without that call it is not done");
    }
    if ran.code != 0 {
        assert_names_file_and_cause(bench, call, &ran.stderr, errno);
    }
    if is_interruption {
        assert_eq!(ran.code, 0, "what was interrupted is done again");
        assert!(!ran.stderr.contains("(os error"), "what was interrupted is done again");
    }
    bench.write_again(&state);
    ran.code != 0
}

/// Whether nothing is done without this call: what makes a file durable, gives it its place, or keeps others out meanwhile.
/// What is remembered outside the vault is no part of that: where it fails, it is told.
pub(crate) fn is_needed(call: &Call) -> bool {
    let changes = ["flock", "mkdirat", "fchmod", "fchmodat", "write", "fsync", "renameat", "renameat2"];
    let reads_back = call.line.contains("tmp>") && (call.name == "read" || call.line.contains("SEEK_SET"));
    // Talk; memory; and a lock that has no other use than to show that its holder lives.
    let is_spared = call.line.starts_with("write(2<")
        || call.line.contains("/.local/state")
        || (call.name == "flock" && call.line.contains("/.flyte-local-"));
    (changes.contains(&&*call.name) || reads_back) && !is_spared
}

pub(crate) fn assert_names_file_and_cause(bench: &Runner, call: &Call, stderr: &str, errno: Errno) {
    let first = stderr.lines().find(|line| line.starts_with("error: ")).expect("an error is told");
    // The home's own directory is synced as well, when something is made in the home.
    let place = bench.home().parent().and_then(std::path::Path::to_str).expect("UTF-8");
    // These have no file.
    let has_none = ["error: cannot write to stdout", "error: cannot get random bytes"].contains(&first);
    // A passphrase's descriptor is the user's own.
    let is_descriptor = first.starts_with("error: cannot read file descriptor 0");
    assert!(has_none || is_descriptor || first.contains(place), "the file is named");
    let cause = std::io::Error::from(errno).to_string();
    // Not everybody adds the number in parentheses, and std does not say why its hash sets have no randomness.
    let cause = cause.split(" (os error").next().expect("a first part");
    let is_named = stderr.contains(cause)
        || (call.name == "getrandom" && stderr.contains("caused by: the system gave no random bytes\n"));
    assert!(is_named, "the cause is named: {cause}");
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn what_reads_back_otherwise_than_it_was_written_is_not_put_in_its_place() {
    let mut count = 0;
    for verb in [Verb::Init, Verb::Create, Verb::Update, Verb::Adopt, Verb::Trust] {
        let bench = Bench::new(verb);
        let trace = bench.trace();
        let is_read_back =
            |call: &&Call| call.name == "read" && call.line.contains("tmp>") && !call.line.ends_with("= 0");
        let reads: Vec<_> = trace.calls.iter().filter(is_read_back).collect();
        assert!(!reads.is_empty(), "{verb:?} reads nothing back");
        for call in reads {
            // As a disk that lost a byte would have it.
            let outcome = bench.run(&format!("read:poke_exit=@arg2=00:when={}", call.nth));
            let ran = &outcome.ran;
            let _while = While(format!("{verb:?} read another byte at {}:\n{ran:?}", call.line));
            assert!(outcome.injected, "it makes the same calls each time");
            assert_eq!(bench.leftovers(), 0);
            let state = bench.state();
            if call.line.contains("/.local/state/") && verb == Verb::Trust {
                // What is to be is announced before, and then nothing is done; or remembered after, and then it was announced.
                assert!(ran.code == 1 && state.is_old || ran.code == 0 && state.is_new, "{state:?}");
                assert_eq!(ran.code == 1, ran.stderr.contains("/.local/state/"), "it is told");
            } else if call.line.contains("/.local/state/") {
                assert_eq!(ran.code, 0, "it is the machine's memory alone");
                assert!(state.is_new && ran.stderr.contains("/.local/state/"), "it is told");
            } else {
                assert!(ran.code == 1 && state.is_old, "{state:?}");
                assert!(ran.stderr.starts_with("error: cannot write "), "it is told");
            }
            bench.write_again(&state);
            count += 1;
        }
    }
    tally(&format!("{count} files read back with another byte: none put in its place"));
}
