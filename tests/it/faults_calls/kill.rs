//! `SIGKILL` before each system call.

use std::collections::BTreeSet;

use super::bench::{Bench, VERBS, Verb};
use super::{While, is_long, on_two_threads};
use crate::support::{Random, tally};

/// The exit code after SIGKILL: 128 plus the signal's number.
pub(crate) const KILLED: i32 = 137;

/// The number of kills in the short form before calls that come ahead of the first change.
const SAMPLE: u64 = 15;

#[derive(Default)]
struct Count {
    points: usize,
    old: usize,
    new: usize,
    leftovers: usize,
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_command_killed_before_any_system_call_leaves_the_old_state_or_the_new_one() {
    let mut random = Random::seeded();
    let runs = VERBS.map(|verb| (verb, random.below(u64::MAX)));
    let counts = on_two_threads(&runs, |&(verb, seed)| kill(verb, Random::from_seed(seed)));
    let total = |part: fn(&Count) -> usize| counts.iter().map(part).sum::<usize>();
    for (count, verb) in counts.iter().zip(VERBS) {
        println!(
            "{verb:?}: {} points, {} old, {} new, {} leftovers",
            count.points, count.old, count.new, count.leftovers
        );
        // For a read and an adoption, the old and the new state look the same.
        let both = count.old > 0 && count.new > 0;
        assert!(
            both || matches!(verb, Verb::Read | Verb::Adopt),
            "{verb:?} was not killed both before and after its change"
        );
    }
    let leftovers = total(|count| count.leftovers);
    assert!(leftovers > 0, "no kill left a temporary file: was any writer killed while it wrote?");
    tally(&format!(
        "killed at {} points: 0 torn, 0 lost, {leftovers} temporary files removed by the next writer",
        total(|count| count.points)
    ));
}

/// Runs a command and kills it, once for each chosen call.
fn kill(verb: Verb, mut random: Random) -> Count {
    let bench = Bench::new(verb);
    let trace = bench.trace();
    // For the other commands, the calls from the first change on are all covered.
    let covers_changes = !matches!(verb, Verb::Adopt | Verb::Read);
    let first = if covers_changes { trace.first_change } else { trace.calls.len() };
    let mut chosen: BTreeSet<usize> = (first..trace.calls.len()).collect();
    match is_long() {
        true => chosen.extend(1..first),
        // The first call is strace's own: it starts the command.
        false => chosen.extend((0..SAMPLE).map(|_| 1 + random.below(first as u64 - 1) as usize)),
    }
    let mut count = Count::default();
    for call in chosen.into_iter().map(|index| &trace.calls[index]) {
        let fault = format!("{}:signal=KILL:when={}", call.name, call.nth);
        let _while = While(format!("{verb:?} was killed: {fault}, {}", call.line));
        let outcome = bench.run(&fault);
        if !outcome.injected {
            // The number of calls for memory depends on the address space layout and on random data.
            assert!(["brk", "mmap", "munmap"].contains(&&*call.name), "the command makes the same calls each time");
            continue;
        }
        assert_eq!(outcome.ran.code, KILLED, "{verb:?} {fault}: {:?}", outcome.ran);
        let leftovers = bench.leftovers();
        let state = bench.state();
        assert!(state.is_old || state.is_new, "{verb:?} {fault}: neither the old state nor the new one");
        bench.write_again(&state);
        count.points += 1;
        count.old += usize::from(state.is_old);
        count.new += usize::from(state.is_new);
        count.leftovers += leftovers;
    }
    count
}
