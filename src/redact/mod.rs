//! Finds secret values in bytes: to mask them in a run's output, and to name those that a file holds.
//!
//! Pure: bytes in, bytes out. It knows nothing of terminals, files or vaults. It is not a sandbox either: it does not find a
//! value that a program has changed in other ways than those of `forms/` and `patterns.rs` (reversed, compressed, encrypted).

mod automaton;
mod finder;
mod forms;
mod json;
mod masker;
mod patterns;
mod scanner;
mod sequences;
mod watchlist;

use zeroize::Zeroizing;

pub use finder::ValueFinder;
pub use masker::Masker;
pub use watchlist::Watchlist;

/// The mask, shown in place of a value of any length.
pub const MASK: &[u8] = b"*****";

/// The fewest bytes of a value, or a line of one, that is searched in other forms than the whole value: shorter ones occur in
/// other data by chance.
pub const MIN_BYTES: usize = 8;

/// The largest value, in bytes, whose percent-encoding, shell quoting, HTML and other JSON are searched: some thirty forms.
pub const MAX_ENCODED: usize = 1 << 13;

/// The largest value, in bytes, whose base64, quoted forms and JSON strings are searched. These forms are many times as long as
/// the value, and a masked run spends about 40 bytes of memory on each of their bytes. Larger values are files, which programs
/// rarely print in another form.
pub const MAX_OTHER_FORMS: usize = 1 << 16;

/// Returns the forms of a value that are searched, whatever its length: the list that all searches share. Without the value
/// itself, its parts, and the strings of a JSON value.
pub fn forms_of(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let forms::Forms { common, encoded } = patterns::forms_of_texts(value, 0);
    common.into_iter().chain(encoded).collect()
}

/// Returns what a search in files looks for: the value and its forms, and those of the secret strings in a JSON value. Nothing
/// of a value, or a string, with fewer than [`MIN_BYTES`].
pub fn kept_forms(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    patterns::Patterns::kept([value].into_iter()).iter().map(|form| Zeroizing::new(form.to_vec())).collect()
}
