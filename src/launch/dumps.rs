//! Keeps secrets in this process's memory out of core files and away from other processes.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The caller's limit on core files, which our children get as well.
static CALLERS: OnceLock<Rlimit> = OnceLock::new();

/// Forbids core files from here on. On Linux, the user's other processes cannot read this one's memory, environment or open
/// files either; root can. Programs that this process starts or becomes are not affected.
pub fn forbid_dumps() {
    CALLERS.get_or_init(|| getrlimit(Resource::Core));
    limit(CoreFiles::Forbidden);
    set_dumpable(false);
}

/// Wipes the stack below its caller, once no keys are needed any more. A key that is moved leaves a copy in each function
/// that it passed through, and no drop wipes those.
#[inline(never)]
pub fn wipe_stack() {
    /// More than those functions use, and a part of the smallest stack that a program has.
    const BYTES: usize = 128 << 10;
    let mut stack = [0_u8; BYTES];
    std::hint::black_box(&mut stack);
}

/// Starts a program with the caller's limit on core files.
pub(super) fn with_callers_limit<T>(start: impl FnOnce() -> T) -> T {
    limit(CoreFiles::AsOurCaller);
    let started = start();
    limit(CoreFiles::Forbidden);
    started
}

/// Makes this process dumpable while `act` runs: the kernel lets only a dumpable process write its own files in `/proc`. Core
/// files stay forbidden.
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

/// Limits on core files.
enum CoreFiles {
    Forbidden,
    AsOurCaller,
}

fn limit(core_files: CoreFiles) {
    let Some(callers) = CALLERS.get() else { return };
    let current = match core_files {
        CoreFiles::Forbidden => Some(0),
        CoreFiles::AsOurCaller => callers.current,
    };
    // Only the soft limit, which every process may change below the hard one.
    let _ = setrlimit(Resource::Core, Rlimit { current, maximum: callers.maximum });
}

#[cfg(target_os = "linux")]
fn set_dumpable(dumpable: bool) {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    let behavior = if dumpable { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
    let _ = set_dumpable_behavior(behavior);
}

/// Other systems have only the limit.
#[cfg(not(target_os = "linux"))]
fn set_dumpable(_: bool) {}
