//! Tests that search the memory of other processes, one of them this binary with the command line's code in it.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, unreachable_pub, reason = "only the control test uses the command line's code")]
#[path = "../../src/cli/mod.rs"]
mod cli;

mod nothing_in_memory;
