//! Finds secret values in bytes: to mask them in a run's output, and to name those that a file holds.
//!
//! Pure: bytes in, bytes out. It knows nothing of terminals, files or vaults. It is not a sandbox either: it does not find a
//! value that a program has changed in other ways than those of `patterns.rs` and `forms.rs` (reversed, compressed, encrypted).

mod automaton;
mod finder;
mod forms;
mod masker;
mod patterns;
mod scanner;
mod sequences;
mod watchlist;

pub use finder::ValueFinder;
pub use masker::Masker;
pub use watchlist::Watchlist;

/// The mask, shown in place of a value of any length.
pub const MASK: &[u8] = b"*****";

/// The fewest bytes of a value, or a line of one, that is searched in other forms than the whole value: shorter ones occur in
/// other data by chance.
pub const MIN_BYTES: usize = 8;

/// The largest value, in bytes, whose base64, quoted forms and JSON strings are searched. These forms are many times as long as
/// the value, and a masked run spends about 40 bytes of memory on each of their bytes. Larger values are files, which programs
/// rarely print in another form.
pub const MAX_OTHER_FORMS: usize = 1 << 16;
