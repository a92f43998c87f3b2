//! Flyte's `SecretService` over a vault, on this machine's loopback, for the unmodified `flyte` command and SDK.
//!
//! The protocol (Connect, gRPC and gRPC-Web; protobuf and JSON; gzip) is `connectrpc`'s, HTTP is `hyper`'s. This module adds
//! the checks of connections and requests (`peer.rs`, `guard.rs`), the methods (`methods.rs`, `request.rs`, `reply.rs`), and
//! limits (`server.rs`, `connection.rs`, `activity.rs`). It is the only part of the program with an async runtime.

#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, dead_code, unused_imports, clippy::all, reason = "made by buffa-codegen of messages.proto")]
mod generated;
mod activity;
mod cluster_pool;
mod connection;
#[cfg(target_os = "linux")]
mod diag;
mod guard;
mod methods;
mod peer;
mod reply;
mod request;
mod server;

pub use server::Server;

use crate::secret::MAX_VALUE_BYTES;
use crate::vault::VaultError;

/// The most bytes of a request, compressed or not: a value and the message around it.
pub const MAX_BODY_BYTES: usize = MAX_VALUE_BYTES + (64 << 10);

/// The most connections at a time; others wait.
pub const MAX_CONNECTIONS: usize = 64;

/// The most secrets in one page of a list, and the default.
pub const MAX_PAGE: usize = 1000;

/// The program that runs the service: explains errors and logs events.
pub trait Host: Send + Sync + 'static {
    /// Returns the text of an error for a client.
    fn explain(&self, error: &VaultError) -> String;

    /// Takes an event. It never holds a value, nor text from a client other than a valid name.
    fn happened(&self, event: &Event<'_>);
}

/// Something that is worth a line in a log.
#[derive(Debug)]
pub enum Event<'a> {
    /// A method was called.
    Called {
        /// Its name, such as `CreateSecret`.
        method: &'static str,
        /// The secret, or the scopes of a list.
        about: Option<&'a str>,
        /// Connect's code for the failure.
        failed: Option<&'static str>,
    },
    /// A file of the vault is not in a list.
    LeftOut(&'a VaultError),
    /// A connection was closed before a byte of it was read: this user's, or that of an unknown user.
    Stranger(Option<u32>),
    /// A request was refused before it was read.
    Refused(&'static str),
}
