//! The same work on many secrets, on as many threads as there are cores, with the results in the order of the secrets.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Work on one secret, as the number of secrets from which a second thread is worth its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// A look at a header: some ten microseconds.
    Header,
    /// Opening a file: some hundred.
    Value,
}

impl Weight {
    fn worth_a_thread(self) -> usize {
        match self {
            Self::Header => 64,
            Self::Value => 8,
        }
    }
}

/// Does `work` on each item, and hands the results to `take` in the order of the items, on the caller's thread. Each thread has a
/// state, which `start` makes.
///
/// # Errors
/// The first error of `take`, which ends the work.
pub(super) fn in_order<T: Sync, S, R: Send, E>(
    items: &[T],
    weight: Weight,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let threads = if items.len() < weight.worth_a_thread() { 0 } else { cores() };
    let next = AtomicUsize::new(0);
    let claim = || {
        let index = next.fetch_add(1, Ordering::Relaxed);
        items.get(index).map(|item| (index, item))
    };
    std::thread::scope(|scope| {
        // Room for one each: values wait in memory no longer than they must.
        let (sender, ready) = mpsc::sync_channel(threads);
        for _ in (0..threads).filter(|_| threads > 1) {
            let (sender, claim, start, work) = (sender.clone(), &claim, &start, &work);
            let each = move || {
                let mut state = start();
                while let Some((index, item)) = claim() {
                    // The receiver is gone once `take` has failed.
                    if sender.send((index, work(&mut state, item))).is_err() {
                        return;
                    }
                }
            };
            // One that cannot be started is done without.
            let _ = std::thread::Builder::new().spawn_scoped(scope, each);
        }
        drop(sender);
        // The items that no thread took: all of them, if there is no other thread.
        let mut state = None;
        let rest = std::iter::from_fn(|| {
            let (index, item) = claim()?;
            Some((index, work(state.get_or_insert_with(&start), item)))
        });
        let (mut early, mut expected) = (BTreeMap::new(), 0);
        for (index, result) in ready.into_iter().chain(rest) {
            early.insert(index, result);
            while let Some(result) = early.remove(&expected) {
                expected += 1;
                take(result)?;
            }
        }
        Ok(())
    })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items_and_an_error_ends_the_work() {
        for count in [0, 1, 7, 8, 1000] {
            let items: Vec<usize> = (0..count).collect();
            let mut taken = Vec::new();
            let work = |calls: &mut usize, &item: &usize| {
                *calls += 1;
                (item, *calls)
            };
            let take = |(item, calls)| {
                assert!(calls <= item + 1, "each thread counts its calls");
                taken.push(item);
                if item == 500 { Err(item) } else { Ok(()) }
            };
            let done = in_order(&items, Weight::Value, || 0, work, take);
            let expected = items.iter().copied().take(501).collect::<Vec<_>>();
            assert_eq!((done.err(), taken), ((count > 500).then_some(500), expected));
        }
    }
}
