//! Conversion between secrets and the files in which other programs keep them. Pure: bytes in, bytes out.
//!
//! An error gives the line, and never repeats the file's content.

pub mod docker;
pub mod dotenv;
mod entry;
pub mod json;
pub mod kubernetes;
pub mod shell;
pub mod yaml;

pub use entry::{Entry, FirstErrors, FormatError, SpecialNames, SyntaxError};
