//! Tests that need root: they mount disk images, give files away, trace other processes, become other users and
//! start a Docker daemon.

#[path = "../support/mod.rs"]
mod support;

mod containers;
mod found;
mod nothing_left;
mod owners;
mod power_cut;
mod strangers;
mod system_calls;
