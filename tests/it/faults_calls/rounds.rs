//! Kills and errors for the commands of [`Change`].

use std::collections::BTreeSet;

use rustix::io::Errno;

use super::fail::{CANNOT_FAIL, DECISIVE, ERRORS, INTERRUPTED, PASSED_OVER, assert_names_file_and_cause, is_needed};
use super::kill::KILLED;
use super::runner::{Call, Trace};
use super::several::{Change, Done, Several};
use super::{While, is_long, on_two_threads};
use crate::support::{Random, tally};

/// The number of calls that the short form covers: of those that may change the disk, and of the others.
const SAMPLE: [usize; 2] = [20, 6];

/// The same number for a command whose runs each take seconds.
const SLOW_SAMPLE: usize = 4;

/// Returns the source of random choices. The short form makes the same choices each time, unless a seed is given, so
/// that two versions of the code are compared on the same faults.
fn random() -> Random {
    let is_free = is_long() || std::env::var_os("FLYTE_LOCAL_TEST_SEED").is_some();
    if is_free { Random::seeded() } else { Random::from_seed(1) }
}

/// Calls whose number depends on the address space layout, on random data, and on other threads.
const VARYING: [&str; 8] =
    ["brk", "mmap", "munmap", "mprotect", "madvise", "futex", "sched_yield", "sched_getaffinity"];

#[derive(Default)]
struct Count {
    points: usize,
    /// The number of runs that did nothing, a part, or everything.
    nothing: usize,
    some: usize,
    all: usize,
    leftovers: usize,
}

impl Count {
    fn add(&mut self, done: Done) {
        self.points += 1;
        match done {
            Done::Nothing => self.nothing += 1,
            Done::Some => self.some += 1,
            Done::All => self.all += 1,
        }
    }
}

/// Returns whether a call may change the disk. Kills between two such calls all leave the same state.
fn decides(call: &Call) -> bool {
    DECISIVE.contains(&&*call.name) && call.name != "getrandom" && !call.line.starts_with("write(2<")
        || call.line.contains("O_CREAT")
}

/// Chooses the calls to fail, or to kill before. For a command that computes a passphrase's key, the short form covers
/// only the later calls, which write the file.
fn choose(change: Change, trace: &Trace, from: usize, random: &mut Random) -> BTreeSet<usize> {
    let all = from..trace.calls.len();
    if is_long() {
        return all.collect();
    }
    let mut any = |limit: usize| random.below(limit as u64) as usize;
    let deciding = (trace.first_change..trace.calls.len()).filter(|&index| decides(&trace.calls[index]));
    let mut deciding: Vec<_> = deciding.collect();
    // The first change and the last call are always covered: all changes lie between them.
    let mut chosen = BTreeSet::from([deciding.remove(0), trace.calls.len() - 1]);
    // Secrets that are written together are halfway only between two renames.
    if !change.is_slow() {
        chosen.extend(deciding.extract_if(.., |&mut index| trace.calls[index].name.starts_with("renameat")));
    }
    let [deciding_sample, others] = if change.is_slow() { [SLOW_SAMPLE - 2, 0] } else { SAMPLE };
    for _ in 0..deciding_sample.min(deciding.len()) {
        chosen.insert(deciding.swap_remove(any(deciding.len())));
    }
    chosen.extend((0..others).map(|_| from + any(all.len())));
    chosen
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_command_killed_halfway_loses_nothing_and_can_be_repeated() {
    let mut random = random();
    let runs = Change::ALL.map(|change| (change, random.below(u64::MAX)));
    let counts = on_two_threads(&runs, |&(change, seed)| kill(change, Random::from_seed(seed)));
    let total = |part: fn(&Count) -> usize| counts.iter().map(part).sum::<usize>();
    for (count, change) in counts.iter().zip(Change::ALL) {
        let Count { points, nothing, some, all, leftovers } = count;
        println!("{change:?}: {points} points, {nothing} old, {some} halfway, {all} new, {leftovers} removed");
        let both = *all > 0 && (*nothing > 0 || change == Change::InitProtected);
        assert!(both, "{change:?} was not killed both before and after its change");
        let has_steps = matches!(change, Change::Rekey | Change::Join | Change::Leave | Change::Import | Change::Move);
        assert!(!has_steps || *some > 0, "{change:?} was never killed halfway");
    }
    tally(&format!(
        "commands of several steps killed at {} points: 0 torn, 0 lost, {} halfway, all done when repeated, {} \
         temporary files removed",
        total(|count| count.points),
        total(|count| count.some),
        total(|count| count.leftovers)
    ));
}

fn kill(change: Change, mut random: Random) -> Count {
    let several = Several::new(change);
    let trace = several.trace();
    let mut count = Count::default();
    for call in choose(change, &trace, 1, &mut random).into_iter().map(|index| &trace.calls[index]) {
        let fault = format!("{}:signal=KILL:when={}", call.name, call.nth);
        let _while = While(format!("{change:?} was killed: {fault}, {}", call.line));
        let outcome = several.run(&fault);
        if !outcome.injected {
            assert!(VARYING.contains(&&*call.name), "the command makes the same calls each time");
            continue;
        }
        assert_eq!(outcome.ran.code, KILLED, "{:?}", outcome.ran);
        count.leftovers += several.leftovers();
        let done = several.done();
        several.repeat(done);
        count.add(done);
    }
    count
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_command_of_several_steps_reports_a_failed_call_and_can_be_repeated() {
    let mut random = random();
    let runs = Change::ALL.map(|change| (change, random.below(u64::MAX)));
    let counts = on_two_threads(&runs, |&(change, seed)| fail(change, Random::from_seed(seed)));
    let (mut injected, mut reported, mut some) = (0, 0, 0);
    for ((count, failed), change) in counts.iter().zip(Change::ALL) {
        println!("{change:?}: {} failed calls, {failed} reported, {} left it halfway", count.points, count.some);
        // For a slow command, only a few calls are covered.
        assert!(*failed > 0 || change.is_slow(), "no failure of {change:?} was ever reported");
        (injected, reported, some) = (injected + count.points, reported + failed, some + count.some);
    }
    tally(&format!(
        "commands of several steps, {injected} system calls failed: 0 panics, 0 torn, 0 temporary files left; {reported} \
         reported with file and cause, {some} of them halfway, {} done anyway",
        injected - reported
    ));
}

/// Lets the chosen calls fail, and returns the counts and the number of failures that were reported.
fn fail(change: Change, mut random: Random) -> (Count, usize) {
    let several = Several::new(change);
    let trace = several.trace();
    let (mut count, mut reported) = (Count::default(), 0);
    for index in choose(change, &trace, trace.first_of_ours, &mut random) {
        let call = &trace.calls[index];
        let is_passed_over = PASSED_OVER.contains(&&*call.name) || VARYING.contains(&&*call.name);
        // With an injected error, strace closes nothing, and the process keeps the lock that it takes again later. A
        // kernel closes the file even if it reports an error.
        let is_unlocking = call.name == "close" && call.line.contains("/.lock>");
        // std panics without a seed for a thread's hash maps, and the threads that open secrets do not handle that yet.
        let is_seed = call.name == "getrandom" && change.is_of_recipients();
        if is_passed_over || is_unlocking || is_seed || CANNOT_FAIL.iter().any(|part| call.line.contains(part)) {
            continue;
        }
        // In the long form, a slow command gets one error for each call: all of them would take hours.
        let errors = if is_long() && !change.is_slow() { ERRORS.to_vec() } else { vec![any_error(&mut random)] };
        for error in errors {
            let (ran_code, done) = fail_at(&several, change, call, error);
            count.add(done);
            reported += usize::from(ran_code != 0);
        }
    }
    (count, reported)
}

fn any_error(random: &mut Random) -> (&'static str, Errno) {
    ERRORS[random.below(ERRORS.len() as u64) as usize]
}

/// Lets one call fail, and returns the exit code and how much was done.
fn fail_at(several: &Several, change: Change, call: &Call, (name, errno): (&str, Errno)) -> (i32, Done) {
    let fault = format!("{}:error={name}:when={}", call.name, call.nth);
    let outcome = several.run(&fault);
    let ran = &outcome.ran;
    let _while = While(format!("{change:?} had {fault} at {}:\n{ran:?}", call.line));
    assert!(outcome.injected, "the command makes the same calls each time");
    // 101 would be a panic, 134 an abort.
    let is_of_descriptor = ran.code == 2 && ran.stderr.starts_with("error: cannot read file descriptor 0");
    assert!([0, 1, 11, 13].contains(&ran.code) || is_of_descriptor, "the exit code is not documented");
    assert!(!ran.stderr.contains("has a bug") && !ran.stderr.contains("panicked"), "the command panicked");
    assert_eq!(several.leftovers(), 0, "the command ran to its end, and left a temporary file");
    let done = several.done();
    assert!(ran.code != 0 || done == Done::All, "the command succeeded without doing everything: {done:?}");
    let is_interruption = errno == Errno::INTR && INTERRUPTED.contains(&&*call.name);
    if is_needed(call) && !is_interruption && outcome.in_first_thread {
        assert_ne!(ran.code, 0, "the command cannot succeed without that call");
    }
    if ran.code != 0 && outcome.in_first_thread {
        assert_names_file_and_cause(several, call, &ran.stderr, errno);
    }
    if is_interruption {
        assert_eq!(ran.code, 0, "an interrupted call is repeated");
    }
    several.repeat(done);
    (ran.code, done)
}
