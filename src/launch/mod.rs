//! Starting a child: its private mount, its variables, its streams, its signals and its end.
//!
//! Nothing here knows of vaults or of Flyte, and everything leaves the host as it was. Only this process and its children see
//! the mount, which is gone when the last of them ends. If this process cannot mount anything, `memory_directory.rs` makes a
//! directory that is removed afterwards.

mod child;
mod control;
mod directory;
mod dumps;
mod edit;
mod job_control;
mod keyboard;
mod leftovers;
mod memory_directory;
#[cfg(target_os = "linux")]
mod mount;
#[cfg(not(target_os = "linux"))]
#[path = "no_mount.rs"]
mod mount;
mod pumps;
mod signals;
mod streams;
mod supervisor;
mod terminal;

pub use child::{ChildError, Ended, Leftovers, Surroundings, is_too_large_for_a_variable, replace, run};
pub use directory::{DirectoryError, PrivateDirectory, Readers};
pub use dumps::{forbid_dumps, wipe_stack};
pub use edit::{EditError, EditedFile, edit};
pub use memory_directory::{LinkByHand, MemoryBase, MemoryDirectory, PlannedDirectory, Removal, remove};
pub use pumps::OutputStream;
pub use supervisor::supervise;
