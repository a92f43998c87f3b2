//! Flyte's `SecretService` over a vault, on this machine's loopback: what the unmodified `flyte` command and SDK speak.
//!
//! The protocol (Connect, gRPC and gRPC-Web; protobuf and JSON; gzip) is `connectrpc`'s, HTTP is `hyper`'s. What is here: who
//! is let in (`peer.rs`, `guard.rs`), what a method means to a vault (`methods.rs`, `request.rs`, `reply.rs`), and limits
//! (`server.rs`, `connection.rs`, `activity.rs`). The only part of the program with an async runtime.

#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, dead_code, unused_imports, clippy::all, reason = "made by buffa-codegen of messages.proto")]
mod generated;
mod activity;
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

/// The most bytes of a request, as it comes and unpacked: a value and what is around it.
pub const MAX_BODY_BYTES: usize = MAX_VALUE_BYTES + (64 << 10);

/// The most connections at a time; more wait to be taken.
pub const MAX_CONNECTIONS: usize = 64;

/// The most secrets in one page of a list, and what a client gets that does not say how many it wants.
pub const MAX_PAGE: usize = 1000;

/// What the service tells whoever runs it.
pub trait Host: Send + Sync + 'static {
    /// What a client reads of an error.
    fn explain(&self, error: &VaultError) -> String;

    /// What happened. It never has a value, nor any text of a client's that is no sound name.
    fn happened(&self, event: &Event<'_>);
}

/// Something that is worth a line in a log.
#[derive(Debug)]
pub enum Event<'a> {
    /// A method was called.
    Called {
        /// Its name, such as `CreateSecret`.
        method: &'static str,
        /// What it was called for: a secret, or the scopes of a list.
        about: Option<&'a str>,
        /// Connect's word for how it failed.
        failed: Option<&'static str>,
    },
    /// A file of the vault is not in a list.
    LeftOut(&'a VaultError),
    /// A connection was closed before a byte of it was read: this user's, or nobody's that could be found.
    Stranger(Option<u32>),
    /// A request was refused before it was read.
    Refused(&'static str),
}
