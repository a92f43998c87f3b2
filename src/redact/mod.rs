//! Finds secret values in bytes: to mask them in what a run prints, and to say which of them a file holds.
//!
//! Pure: bytes in, bytes out. It knows nothing of terminals, files or vaults, and it is no sandbox: a value that a program
//! has changed in any other way than those of `patterns.rs` and `forms.rs` (reversed, compressed, encrypted) is another value.

mod automaton;
mod finder;
mod forms;
mod masker;
mod patterns;
mod watchlist;

pub use finder::ValueFinder;
pub use masker::Masker;
pub use watchlist::Watchlist;

/// What is shown in place of a value, whatever its length.
pub const MASK: &[u8] = b"*****";

/// The fewest bytes a value, or a line of one, must have where it is looked for beyond its own whole self: shorter ones
/// occur in other data by chance.
pub const MIN_BYTES: usize = 8;

/// The largest value of which base64, quoted forms and strings in JSON are looked for, in bytes. They are many times as long
/// as the value, and a masked run spends about 40 bytes of memory on each of theirs; larger values are files, which no
/// program prints in another form unasked.
pub const MAX_OTHER_FORMS: usize = 1 << 16;
