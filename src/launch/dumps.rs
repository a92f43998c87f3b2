//! That no copy of this process's memory is kept, or taken by another process, while secrets are in it.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit on core files that our caller gave us, and our children are to have.
static CALLERS: OnceLock<Rlimit> = OnceLock::new();

/// No core file from here on. On Linux, no other process of the user can read this one's memory, its environment or what it
/// has open either; root can. A program that takes its place, or that it starts, is not affected.
pub fn forbid_dumps() {
    CALLERS.get_or_init(|| getrlimit(Resource::Core));
    limit(true);
    set_dumpable(false);
}

/// Wipes the stack below its caller: a key that is moved leaves a copy of itself in each function that it came through,
/// which nobody owns and no drop wipes. For when what needs keys is done.
#[inline(never)]
pub fn wipe_stack() {
    /// More than those functions use, and a part of the smallest stack that a program has.
    const BYTES: usize = 128 << 10;
    let mut stack = [0_u8; BYTES];
    std::hint::black_box(&mut stack);
}

/// Starts a program, under the limit of whoever started us.
pub(super) fn with_callers_limit<T>(start: impl FnOnce() -> T) -> T {
    limit(false);
    let started = start();
    limit(true);
    started
}

/// To do what the kernel lets only a process do that others could look into: it then owns its files in `/proc`. There is
/// no core file all the same.
#[cfg(target_os = "linux")]
pub(super) fn while_dumpable<T>(act: impl FnOnce() -> T) -> T {
    if CALLERS.get().is_none() {
        return act();
    }
    set_dumpable(true);
    let done = act();
    set_dumpable(false);
    done
}

fn limit(forbid: bool) {
    let Some(callers) = CALLERS.get() else { return };
    let current = if forbid { Some(0) } else { callers.current };
    // The lower bound alone, which anybody may move; it fails for nobody.
    let _ = setrlimit(Resource::Core, Rlimit { current, maximum: callers.maximum });
}

#[cfg(target_os = "linux")]
fn set_dumpable(dumpable: bool) {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    let behavior = if dumpable { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
    let _ = set_dumpable_behavior(behavior);
}

/// Elsewhere there is the limit alone.
#[cfg(not(target_os = "linux"))]
fn set_dumpable(_: bool) {}
