//! The values to look for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::Masker;
use super::automaton::Automaton;
use super::patterns::Patterns;

/// The values to look for. Clones share one list; a value added while output flows is known from the next chunk on.
#[derive(Clone, Default)]
pub struct Watchlist(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The number of values added. It shows each stream, without a lock, that there are new ones.
    version: AtomicUsize,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    /// Each name with every value it has had: a secret can be updated during a run.
    values: BTreeMap<String, Vec<Zeroizing<Vec<u8>>>>,
    /// The automaton that the streams of a run share, and its version.
    automaton: (usize, Option<Arc<Automaton>>),
}

impl Watchlist {
    /// Makes an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value under the name to report it by. Adding the same again is cheap.
    pub fn add(&self, name: &str, value: &[u8]) {
        let mut list = self.lock();
        let values = list.values.entry(name.to_owned()).or_default();
        if values.iter().any(|known| known.as_slice() == value) {
            return;
        }
        values.push(Zeroizing::new(value.to_vec()));
        self.0.version.fetch_add(1, Ordering::Release);
    }

    /// Returns a complete text with the values masked.
    pub fn masked(&self, text: &[u8]) -> Vec<u8> {
        let mut masker = Masker::new(self.clone());
        let mut shown = Vec::new();
        masker.feed(text, &mut shown);
        masker.flush(&mut shown);
        shown
    }

    pub(super) fn version(&self) -> usize {
        self.0.version.load(Ordering::Acquire)
    }

    /// Returns the automaton for all current values, and its version. `None` if the list is empty.
    pub(super) fn automaton(&self) -> (usize, Option<Arc<Automaton>>) {
        let mut list = self.lock();
        let version = self.version();
        if list.automaton.0 != version {
            let patterns = Patterns::printed(list.values.values().flatten().map(|value| value.as_slice()));
            list.automaton = (version, Automaton::new(&patterns).map(Arc::new));
        }
        list.automaton.clone()
    }

    /// Returns the patterns to search in a file, by the name of the value.
    pub(super) fn kept(&self) -> BTreeMap<String, Patterns> {
        let mut kept = BTreeMap::new();
        for (name, values) in &self.lock().values {
            kept.insert(name.clone(), Patterns::kept(values.iter().map(|value| value.as_slice())));
        }
        kept
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // A list is changed by one `push` alone, so a thread that died has not left half a change.
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
