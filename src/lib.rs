//! A local-first secret vault for Flyte 2, and what it takes to run a task with its secrets on this machine.
//!
//! The library never prints, prompts, exits or reads the user's environment; the `flyte-local` binary does. Its modules,
//! top to bottom, and what each may use, stand in `docs/architecture.md` and are checked by `tests/it/architecture.rs`.

pub mod config;
pub mod crypto;
pub mod file_form;
pub mod flyte;
pub mod json_escape;
pub mod keyring;
pub mod launch;
pub mod process;
pub mod redact;
pub mod secret;
pub mod service;
pub mod storage;
mod toml_file;
pub mod transfer;
pub mod variables;
pub mod vault;
