//! The forms that a value takes in output and in files: one list for the mask, for `--leaks` and for the bootstrap.
//!
//! Each form is what some program writes for the whole value. Other searches may add parts of it, such as lines.

mod base64;
mod escapes;
mod html;
mod percent;
mod quoted;
mod shell;

use zeroize::{Zeroize, Zeroizing};

use super::{MAX_ENCODED, MAX_OTHER_FORMS};

/// A form of a value.
pub(super) type Form = Zeroizing<Vec<u8>>;

/// The case of hexadecimal digits.
#[derive(Clone, Copy, PartialEq)]
enum HexDigits {
    Upper,
    Lower,
}

/// The forms of a value, other than the value itself.
#[derive(Default)]
pub(super) struct Forms {
    /// Base64, and the value between quotes in JSON and Python. For values up to [`MAX_OTHER_FORMS`].
    pub(super) common: Vec<Form>,
    /// Percent-encoding, shell quoting, HTML, YAML, JSON of other programs and JSON in JSON. For values up to [`MAX_ENCODED`].
    pub(super) encoded: Vec<Form>,
}

/// Returns the forms of a value, which may end in newlines. `text` is the value without them.
pub(super) fn forms(value: &[u8], text: &[u8]) -> Forms {
    let mut forms = Forms::default();
    if text.len() <= MAX_OTHER_FORMS {
        forms.common = quoted::quoted(text);
        forms.common.extend(base64::encoded(value, text));
    }
    if text.len() <= MAX_ENCODED {
        forms.encoded = percent::encoded(text);
        forms.encoded.extend(shell::quoted(text));
        if let Ok(characters) = std::str::from_utf8(text) {
            forms.encoded.extend(quoted::quoted_otherwise(characters));
            forms.encoded.extend(quoted::quoted_twice(characters));
            forms.encoded.extend(escapes::escaped(characters));
            forms.encoded.extend(html::escaped(characters));
        }
        forms.encoded.extend(base64::escaped(value, text));
        unique(text, &mut forms.encoded);
    }
    forms
}

/// Leaves each form once, and leaves out the text itself.
fn unique(text: &[u8], forms: &mut Vec<Form>) {
    forms.retain(|form| form.as_slice() != text);
    forms.sort_unstable_by(|one, other| one.as_slice().cmp(other.as_slice()));
    forms.dedup();
}

/// Writes a form piece by piece, from the pieces that `piece` appends for each item.
fn written<T>(items: impl Iterator<Item = T>, most: usize, mut piece: impl FnMut(T, &mut Vec<u8>)) -> Form {
    // Allocated once: a vector that grows leaves copies of the value behind.
    let mut form = Vec::with_capacity(most);
    items.for_each(|item| piece(item, &mut form));
    // Drops the unused capacity.
    let exact = Zeroizing::new(form.clone());
    form.zeroize();
    exact
}
