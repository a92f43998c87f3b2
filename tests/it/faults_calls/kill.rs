//! `SIGKILL` before each system call.

use std::collections::BTreeSet;

use super::bench::{Bench, VERBS, Verb};
use super::{While, is_long, on_two_threads};
use crate::support::{Random, tally};

/// 128 and SIGKILL.
pub(crate) const KILLED: i32 = 137;

/// Of those that are not in the part that decides, so many are met in the short form.
const SAMPLE: u64 = 15;

#[derive(Default)]
struct Count {
    points: usize,
    old: usize,
    new: usize,
    swept: usize,
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_command_killed_before_any_system_call_leaves_the_old_state_or_the_new_one() {
    let mut random = Random::seeded();
    let runs = VERBS.map(|verb| (verb, random.below(u64::MAX)));
    let counts = on_two_threads(&runs, |&(verb, seed)| kill(verb, Random::from_seed(seed)));
    let total = |part: fn(&Count) -> usize| counts.iter().map(part).sum::<usize>();
    for (count, verb) in counts.iter().zip(VERBS) {
        println!("{verb:?}: {} points, {} old, {} new, {} swept", count.points, count.old, count.new, count.swept);
        // A read, and adoption, show no difference.
        let both = count.old > 0 && count.new > 0;
        assert!(
            both || matches!(verb, Verb::Read | Verb::Adopt),
            "{verb:?} was not killed on both sides of its moment"
        );
    }
    let swept = total(|count| count.swept);
    assert!(swept > 0, "nothing was ever left behind: was anything killed while it wrote?");
    tally(&format!("killed at {} points: 0 torn, 0 lost, {swept} orphans swept", total(|count| count.points)));
}

/// Kills it at each of the calls that are to be met.
fn kill(verb: Verb, mut random: Random) -> Count {
    let bench = Bench::new(verb);
    let trace = bench.trace();
    // Before and after: these are the ones that have to be met.
    let decides = !matches!(verb, Verb::Adopt | Verb::Trust | Verb::Read);
    let first = if decides { trace.first_change } else { trace.calls.len() };
    let mut chosen: BTreeSet<usize> = (first..trace.calls.len()).collect();
    match is_long() {
        true => chosen.extend(1..first),
        // Without the one that starts it, which is strace's own.
        false => chosen.extend((0..SAMPLE).map(|_| 1 + random.below(first as u64 - 1) as usize)),
    }
    let mut count = Count::default();
    for call in chosen.into_iter().map(|index| &trace.calls[index]) {
        let fault = format!("{}:signal=KILL:when={}", call.name, call.nth);
        let _while = While(format!("{verb:?} was killed: {fault}, {}", call.line));
        let outcome = bench.run(&fault);
        if !outcome.injected {
            // How often memory is asked for depends on where the system put it, and on what is random.
            assert!(["brk", "mmap", "munmap"].contains(&&*call.name), "it makes the same calls each time");
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
        count.swept += leftovers;
    }
    count
}
