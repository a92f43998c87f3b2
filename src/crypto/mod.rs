//! age, and nothing of our own: identities, recipients, and the envelope a secret is kept in.
//!
//! This is the only module that imports `age`. It composes what age offers and invents no cryptography: the envelope is
//! a plain age file with one more stanza in its header, which age's own header MAC covers.

mod envelope;
mod header;
mod identity;

pub use envelope::{EnvelopeError, MAX_FILE_BYTES, Opened, Sealed, open, peek, seal};
pub use header::{BINDING_TAG, MAX_HEADER_BYTES, MAX_STANZAS};
pub use identity::{BadIdentity, BadRecipient, Identity, Recipient};
