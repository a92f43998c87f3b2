//! Tests that need root: they mount disk images, give files away, trace other processes and become other users.

#[path = "../support/mod.rs"]
mod support;

mod found;
mod nothing_left;
mod owners;
mod power_cut;
mod strangers;
mod system_calls;
