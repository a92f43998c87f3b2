//! Commands that are killed before each of their system calls in turn, and commands in which each of these calls fails.
//! strace injects the faults: a `signal=KILL` comes before the call, and an `error=` replaces it. (A `retval=` would
//! pretend that the call succeeded.)
//!
//! `FLYTE_LOCAL_TEST_LONG=1` covers every call. Otherwise, the kills cover every call from the first change of the disk
//! on, and a random sample of the others. `FLYTE_LOCAL_TEST_SEED` repeats a sample.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests damage files as any program could, and print what they did"
)]

mod bench;
mod fail;
mod kill;
mod rounds;
mod runner;
mod several;

/// The time for which to wait for the lock of a vault. A program that another test is just starting has a copy of every file
/// that this process has open, a lock among them, until it calls `execve`.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Returns whether to cover every call.
fn is_long() -> bool {
    std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some()
}

/// Does `work` for each item, on two threads because CI has two cores. Returns the results in the items' order.
fn on_two_threads<T: Send + Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, results) = (std::sync::atomic::AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let result = work(item);
                    results.lock().expect("no panic while it is held").push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no panic while it was held");
    results.sort_by_key(|&(index, _)| index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// A guard that prints what a test was doing when it failed.
struct While(String);

impl Drop for While {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("while {}", self.0);
        }
    }
}
