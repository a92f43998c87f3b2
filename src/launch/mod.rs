//! Starting a child: its private mount, its variables, its streams, its signals and its end.
//!
//! Nothing here knows of vaults or of Flyte. Everything leaves the host as it was: what is mounted is seen by this process
//! and its children alone, and is gone with the last of them, however they end. Where nothing can be mounted, `memory_directory.rs`
//! has a directory that is removed instead.

mod child;
mod control;
mod directory;
mod dumps;
mod edit;
mod environment;
mod job_control;
mod keyboard;
mod leftovers;
mod memory_directory;
#[cfg(target_os = "linux")]
mod mount;
#[cfg(not(target_os = "linux"))]
#[path = "no_mount.rs"]
mod mount;
mod signals;
mod streams;
mod supervisor;
mod terminal;

pub use child::{ChildError, Ended, Leftovers, Surroundings, replace, run};
pub use directory::{DirectoryError, PrivateDirectory};
pub use dumps::{forbid_dumps, wipe_stack};
pub use edit::{EditError, edit};
pub use environment::changes_how_programs_load;
pub use memory_directory::{LinkByHand, MemoryBase, MemoryDirectory, Removal, remove};
pub use supervisor::supervise;
