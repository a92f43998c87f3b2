//! Commands that die before each of their system calls in turn, and commands to which each of these fails. The faults are
//! strace's: a `signal=KILL` comes before the call is made, an `error=` in its place. (Never `retval=`, which lies.)
//!
//! `FLYTE_LOCAL_TEST_LONG=1` is for every call; otherwise every call of the part that decides is met by a kill, and the rest
//! by a sample, which `FLYTE_LOCAL_TEST_SEED` repeats.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests damage files as any program could, and say what they did"
)]

mod bench;
mod fail;
mod kill;
mod rounds;
mod runner;
mod several;

/// Whether to do all of it.
fn is_long() -> bool {
    std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some()
}

/// Does `work` for each item, on two threads: the cores that CI has. What came of it, in the items' order.
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

/// Says where a test was when it failed.
struct While(String);

impl Drop for While {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("while {}", self.0);
        }
    }
}
