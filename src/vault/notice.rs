//! Notices: the facts that a vault reports besides errors.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::VaultError;
use super::trust::{Change, Since, Stale};

/// A fact that the user should see although the call succeeds.
#[derive(Debug)]
pub enum Notice<'a> {
    /// This machine reads the vault for the first time and pins it as it is. It does not write to it before it is accepted.
    FirstUse {
        /// The vault's path.
        path: &'a Path,
        /// Its id, recipients and authors.
        changes: &'a [Change],
        /// Its fingerprint.
        fingerprint: &'a str,
    },
    /// The vault differs from its pin. It can still be read, except for values by authors who are not pinned.
    Changed {
        /// The vault's path.
        path: &'a Path,
        /// The time of the pin.
        since: Since,
    },
    /// A secret was rolled back or is gone.
    Stale(&'a Stale),
    /// The version that was just read or written could not be recorded.
    Unremembered(&'a VaultError),
    /// The vault could not be pinned, so the authors that it names itself are believed.
    Unpinned(&'a VaultError),
}

/// The function that receives each [`Notice`].
pub type Listen = dyn Fn(&Notice<'_>) + Send + Sync;

/// The receiver of a vault's notices. The default ignores them.
#[derive(Clone, Default)]
pub struct Listener(Option<Arc<Listen>>);

impl Listener {
    /// Returns a listener that calls `listen` with each notice, from any thread.
    pub fn new(listen: impl Fn(&Notice<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listen)))
    }

    /// Reports a notice.
    pub(super) fn tell(&self, notice: &Notice<'_>) {
        if let Some(listen) = &self.0 {
            listen(notice);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
