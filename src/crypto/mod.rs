//! age, and nothing of our own: identities, recipients, authors, and the envelope a secret is kept in.
//!
//! This is the only module that imports `age`. It composes what age and its own dependencies offer and invents no
//! cryptography: the envelope is a plain age file with one more stanza in its header, which age's own header MAC covers;
//! what is signed in it is a MAC of the value and where it belongs.

mod author;
mod envelope;
mod foreign_key;
mod header;
mod identity;
mod identity_file;
mod identity_list;
mod open;
mod open_ssh;
mod passphrase;
mod randomness;
mod recipient;
pub mod rotation;
mod seal;
mod stanzas;
mod wanted;
mod x25519;

pub use author::{Author, AuthorError, AuthorKey, AuthorKeyError, SIGNATURE_BYTES};
pub use envelope::{Binding, Commitment, EnvelopeError, MAX_FILE_BYTES, Peeked};
pub use foreign_key::{ForeignKey, KeyHalf, KeyKind};
pub use header::{MAX_ARGUMENTS, MAX_HEADER_BYTES, MAX_HEADER_LINES, MAX_STANZAS, SIGNED_TAG, UNSIGNED_TAG};
pub use identity::{Identities, Identity, IdentityError, KeyFormat, MAX_IDENTITIES};
pub use identity_file::{IdentityFile, LockedIdentity, MAX_IDENTITY_FILE_BYTES, Unlocked};
pub use identity_list::PassedOver;
pub use open::{Opened, open, peek, wanted};
pub use open_ssh::MAX_ROUNDS;
pub use passphrase::{MAX_WORK_FACTOR, MemoryError, Passphrase, ProtectError, UnlockError, WORK_FACTOR, lock};
pub use randomness::{RandomnessError, is_lack_of_randomness};
pub use recipient::{Recipient, RecipientError, is_private_key};
pub use seal::{Sealed, seal};
pub use wanted::Wanted;

/// A name for bytes that cannot be one themselves: their SHA-256, in hexadecimal.
pub fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
