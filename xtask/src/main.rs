//! Generates files that are checked in: `cargo xtask messages [--check]`, `cargo xtask vectors`.

#![allow(clippy::disallowed_methods, reason = "generated files need no protection from a power cut")]
#![allow(clippy::print_stderr, reason = "a tool for developers")]

#[allow(dead_code, unreachable_pub, reason = "shared with the tests")]
#[path = "../../tests/support/forger.rs"]
mod forger;
mod messages;
mod vectors;

use std::path::Path;
use std::process::ExitCode;

/// Returns the repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the directory above")
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["messages"] => messages::generate(false),
        ["messages", "--check"] => messages::generate(true),
        ["vectors"] => {
            vectors::make_missing();
            Ok(())
        }
        _ => Err("usage: cargo xtask messages [--check] | vectors".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
