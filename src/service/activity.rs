//! Calls under way on one connection, and how long it has had none.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How soon a connection with a call under way is checked again.
const LOOK: Duration = Duration::from_secs(1);

/// The calls of one connection.
pub(super) struct Activity {
    under_way: AtomicUsize,
    last: Mutex<Instant>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self { under_way: AtomicUsize::new(0), last: Mutex::new(Instant::now()) }
    }

    /// Waits until there has been no call for as long as a connection may be silent. The time before the first call counts too.
    pub(super) async fn until_silent(&self, silence: Duration) {
        loop {
            let due = self.last.lock().map_or_else(|_| Instant::now(), |last| *last) + silence;
            let is_silent = self.under_way.load(Ordering::Acquire) == 0;
            if is_silent && due <= Instant::now() {
                return;
            }
            sleep_until(due.max(Instant::now() + LOOK)).await;
        }
    }
}

/// A call that is under way.
pub(super) struct CallGuard<'a>(&'a Activity);

impl<'a> CallGuard<'a> {
    pub(super) fn begin(activity: &'a Activity) -> Self {
        activity.under_way.fetch_add(1, Ordering::AcqRel);
        Self(activity)
    }
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        if let Ok(mut last) = self.0.last.lock() {
            *last = Instant::now();
        }
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}
