//! Kills and errors for the commands of [`Change`].

use std::collections::BTreeSet;

use rustix::io::Errno;

use super::fail::{CANNOT_FAIL, DECISIVE, ERRORS, INTERRUPTED, PASSED_OVER, assert_names_file_and_cause, is_needed};
use super::kill::KILLED;
use super::runner::{Call, Trace};
use super::several::{Change, Done, Several};
use super::{While, is_long, on_two_threads};
use crate::support::{Random, tally};

/// So many of the calls that decide are met in the short form, and of the others.
const SAMPLE: [usize; 2] = [20, 6];

/// So many of a command each of whose runs takes seconds.
const DEAR_SAMPLE: usize = 4;

/// The short form makes the same choice each time, unless it is told another: a change is judged by what it changed.
fn random() -> Random {
    let is_free = is_long() || std::env::var_os("FLYTE_LOCAL_TEST_SEED").is_some();
    if is_free { Random::seeded() } else { Random::from_seed(1) }
}

/// How often each of these is made depends on where the system put things, on what is random, and on other threads.
const VARYING: [&str; 8] =
    ["brk", "mmap", "munmap", "mprotect", "madvise", "futex", "sched_yield", "sched_getaffinity"];

#[derive(Default)]
struct Count {
    points: usize,
    /// By what was done: nothing, some of it, or all.
    nothing: usize,
    some: usize,
    all: usize,
    swept: usize,
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

/// Whether a call may change the disk: between two of these there is nothing that a kill could tell apart.
fn decides(call: &Call) -> bool {
    DECISIVE.contains(&&*call.name) && call.name != "getrandom" && !call.line.starts_with("write(2<")
        || call.line.contains("O_CREAT")
}

/// Where the kills are, or the errors. In the short form, of a command that computes a passphrase's key, only what comes after
/// that: the calls that write the file.
fn choose(change: Change, trace: &Trace, from: usize, random: &mut Random) -> BTreeSet<usize> {
    let all = from..trace.calls.len();
    if is_long() {
        return all.collect();
    }
    let mut any = |limit: usize| random.below(limit as u64) as usize;
    let deciding = (trace.first_change..trace.calls.len()).filter(|&index| decides(&trace.calls[index]));
    let mut deciding: Vec<_> = deciding.collect();
    // The first of them, and the end, are on the two sides of everything.
    let mut chosen = BTreeSet::from([deciding.remove(0), trace.calls.len() - 1]);
    let [deciding_sample, others] = if change.is_dear() { [DEAR_SAMPLE - 2, 0] } else { SAMPLE };
    for _ in 0..deciding_sample.min(deciding.len()) {
        chosen.insert(deciding.swap_remove(any(deciding.len())));
    }
    chosen.extend((0..others).map(|_| from + any(all.len())));
    chosen
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn what_is_killed_halfway_is_whole_and_done_when_it_is_typed_again() {
    let mut random = random();
    let runs = Change::ALL.map(|change| (change, random.below(u64::MAX)));
    let counts = on_two_threads(&runs, |&(change, seed)| kill(change, Random::from_seed(seed)));
    let total = |part: fn(&Count) -> usize| counts.iter().map(part).sum::<usize>();
    for (count, change) in counts.iter().zip(Change::ALL) {
        let Count { points, nothing, some, all, swept } = count;
        println!("{change:?}: {points} points, {nothing} old, {some} halfway, {all} new, {swept} swept");
        let both = *all > 0 && (*nothing > 0 || change == Change::InitProtected);
        assert!(both, "{change:?} was not killed on both sides");
        let has_steps = matches!(change, Change::Rekey | Change::Join | Change::Leave | Change::Import | Change::Move);
        assert!(!has_steps || *some > 0, "{change:?} was never killed halfway");
    }
    tally(&format!(
        "commands of several steps killed at {} points: 0 torn, 0 lost, {} halfway, all done when typed again, {} \
         orphans swept",
        total(|count| count.points),
        total(|count| count.some),
        total(|count| count.swept)
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
            assert!(VARYING.contains(&&*call.name), "it makes the same calls each time");
            continue;
        }
        assert_eq!(outcome.ran.code, KILLED, "{:?}", outcome.ran);
        count.swept += several.leftovers();
        let done = several.done();
        several.again(done);
        count.add(done);
    }
    count
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_failed_call_of_a_command_of_several_steps_is_told_and_all_is_done_when_it_is_typed_again() {
    let mut random = random();
    let runs = Change::ALL.map(|change| (change, random.below(u64::MAX)));
    let counts = on_two_threads(&runs, |&(change, seed)| fail(change, Random::from_seed(seed)));
    let (mut injected, mut told, mut some) = (0, 0, 0);
    for ((count, failed), change) in counts.iter().zip(Change::ALL) {
        println!("{change:?}: {} failed calls, {failed} told, {} left it halfway", count.points, count.some);
        // Of a dear one, few are met.
        assert!(*failed > 0 || change.is_dear(), "no failure of {change:?} was ever told");
        (injected, told, some) = (injected + count.points, told + failed, some + count.some);
    }
    tally(&format!(
        "commands of several steps, {injected} system calls failed: 0 panics, 0 torn, 0 temporary files left; {told} told \
         with file and cause, {some} of them halfway, {} done all the same",
        injected - told
    ));
}

/// The counts, and how many failures were told.
fn fail(change: Change, mut random: Random) -> (Count, usize) {
    let several = Several::new(change);
    let trace = several.trace();
    let (mut count, mut told) = (Count::default(), 0);
    for index in choose(change, &trace, trace.first_of_ours, &mut random) {
        let call = &trace.calls[index];
        let is_passed_over = PASSED_OVER.contains(&&*call.name) || VARYING.contains(&&*call.name);
        // strace closes nothing then, and the lock stays with whom it is to be taken by again; a kernel closes what it fails to.
        let is_unlocking = call.name == "close" && call.line.contains("/.lock>");
        // std seeds the hash maps of each thread, and panics without; a thread that opens secrets does not expect that yet.
        let is_seed = call.name == "getrandom" && change.is_of_recipients();
        if is_passed_over || is_unlocking || is_seed || CANNOT_FAIL.iter().any(|part| call.line.contains(part)) {
            continue;
        }
        // In the long form, one error for each call of a dear one: hours otherwise.
        let errors = if is_long() && !change.is_dear() { ERRORS.to_vec() } else { vec![any_error(&mut random)] };
        for error in errors {
            let (ran_code, done) = fail_at(&several, change, call, error);
            count.add(done);
            told += usize::from(ran_code != 0);
        }
    }
    (count, told)
}

fn any_error(random: &mut Random) -> (&'static str, Errno) {
    ERRORS[random.below(ERRORS.len() as u64) as usize]
}

fn fail_at(several: &Several, change: Change, call: &Call, (name, errno): (&str, Errno)) -> (i32, Done) {
    let fault = format!("{}:error={name}:when={}", call.name, call.nth);
    let outcome = several.run(&fault);
    let ran = &outcome.ran;
    let _while = While(format!("{change:?} had {fault} at {}:\n{ran:?}", call.line));
    assert!(outcome.injected, "it makes the same calls each time");
    // 101 is a panic, 134 an abort.
    let is_of_descriptor = ran.code == 2 && ran.stderr.starts_with("error: cannot read file descriptor 0");
    assert!([0, 1, 11, 13].contains(&ran.code) || is_of_descriptor, "it ends with an exit code of its own");
    assert!(!ran.stderr.contains("has a bug") && !ran.stderr.contains("panicked"), "it panicked");
    assert_eq!(several.leftovers(), 0, "it lived, and left a temporary file");
    let done = several.done();
    assert!(ran.code != 0 || done == Done::All, "it says that it is done: {done:?}");
    let is_interruption = errno == Errno::INTR && INTERRUPTED.contains(&&*call.name);
    if is_needed(call) && !is_interruption && outcome.in_first_thread {
        assert_ne!(ran.code, 0, "without that call it is not done");
    }
    if ran.code != 0 && outcome.in_first_thread {
        assert_names_file_and_cause(several, call, &ran.stderr, errno);
    }
    if is_interruption {
        assert_eq!(ran.code, 0, "what was interrupted is done again");
    }
    several.again(done);
    (ran.code, done)
}
