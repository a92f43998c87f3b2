//! From what other programs keep secrets in, to entries, and back. Pure: bytes in, bytes out.
//!
//! No error here repeats what a file holds: it says the line.

pub mod docker;
pub mod dotenv;
mod entry;
pub mod json;
pub mod kubernetes;
pub mod shell;
pub mod yaml;

pub use entry::{Entry, FormatError, SyntaxError};
