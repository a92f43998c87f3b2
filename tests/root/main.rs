//! Tests that need root: they mount disk images.

#[path = "../support/mod.rs"]
mod support;

mod nothing_left;
mod power_cut;
