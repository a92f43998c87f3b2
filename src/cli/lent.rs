//! Files that a run lends to a program outside of its private mount, as the Docker daemon is.
//!
//! Each loan is a directory in memory, which is removed when the run ends, or before. The directory above it is closed to
//! other users, so the files can be open to every user of a container.

use std::cell::{Cell, OnceCell};
use std::path::Path;

use super::error::{CommandError, Exit};
use flyte_local::flyte::SECRETS_DIRECTORY;
use flyte_local::launch::{
    DirectoryError, MemoryBase, MemoryDirectory, PlannedDirectory, PrivateDirectory, Readers, Removal,
};

/// The beginning of the name of a lent directory. A file secret cannot have such a name.
const LENT: &str = ".lent-";

/// The directory for loans of a run whose file secrets are elsewhere. It is made when it is first needed.
pub(crate) enum LendingPlace {
    Planned { plan: PlannedDirectory, made: OnceCell<MemoryDirectory> },
    Nowhere { reason: String },
}

/// The loans of a run.
pub(crate) struct Loans {
    place: LendingPlace,
    count: Cell<u32>,
}

/// A lent directory.
pub(crate) struct Loan<'a> {
    within: &'a PrivateDirectory,
    name: String,
}

impl Loans {
    /// Chooses the place, and makes nothing.
    pub(crate) fn plan(runtime: Option<&Path>) -> Self {
        let plan = MemoryBase::find(runtime, Path::new(SECRETS_DIRECTORY)).and_then(|base| base.plan_directory());
        let place = match plan {
            Ok(plan) => LendingPlace::Planned { plan, made: OnceCell::new() },
            Err(error) => LendingPlace::Nowhere { reason: error.to_string() },
        };
        Self { place, count: Cell::new(0) }
    }

    /// Returns a guard that removes all of them when dropped.
    pub(crate) fn removal(&self) -> Option<Removal> {
        match &self.place {
            LendingPlace::Planned { plan, .. } => Some(plan.removal()),
            LendingPlace::Nowhere { .. } => None,
        }
    }

    /// Makes a directory. `files` is the run's own directory in memory, if it has one.
    pub(crate) fn lend<'a>(&'a self, files: Option<&'a PrivateDirectory>) -> Result<Loan<'a>, CommandError> {
        let within = match (files, &self.place) {
            (Some(files), _) => files,
            (None, LendingPlace::Planned { plan, made }) => match made.get() {
                Some(made) => made.files(),
                None => {
                    let directory = plan.create()?;
                    made.get_or_init(|| directory).files()
                }
            },
            (None, LendingPlace::Nowhere { reason }) => {
                let message = format!("there is no directory in memory to pass secrets by: {reason}");
                return Err(CommandError::new(Exit::Failed, message)
                    .hint("set XDG_RUNTIME_DIR to a directory of mode 0700 on a tmpfs"));
            }
        };
        self.count.set(self.count.get() + 1);
        let name = format!("{LENT}{}", self.count.get());
        within.create(&name)?;
        Ok(Loan { within, name })
    }

    /// Removes a lent directory; any other stays.
    pub(crate) fn take_back(&self, files: Option<&PrivateDirectory>, directory: &Path) {
        let made = match &self.place {
            LendingPlace::Planned { made, .. } => made.get().map(MemoryDirectory::files),
            LendingPlace::Nowhere { .. } => None,
        };
        let (Some(within), Some(name)) = (files.or(made), directory.file_name().and_then(|name| name.to_str())) else {
            return;
        };
        if directory.parent() == Some(within.path()) && name.starts_with(LENT) {
            // The end of the run removes the rest.
            let _ = within.remove(name);
        }
    }
}

impl Loan<'_> {
    /// Returns its path.
    pub(crate) fn path(&self) -> String {
        let path = self.within.path().join(&self.name);
        path.into_os_string().into_string().expect("the base is chosen so")
    }

    /// Writes a file that only this user can read, and returns its path.
    pub(crate) fn keep(&self, name: &str, bytes: &[u8]) -> Result<String, DirectoryError> {
        self.within.write(&[&self.name, name], bytes)?;
        Ok(format!("{}/{name}", self.path()))
    }

    /// Writes a file, for every user of a container.
    pub(crate) fn share(&self, path: &[&str], bytes: &[u8]) -> Result<(), DirectoryError> {
        let path: Vec<&str> = std::iter::once(self.name.as_str()).chain(path.iter().copied()).collect();
        self.within.write_for(Readers::Everyone, &path, bytes)
    }
}
