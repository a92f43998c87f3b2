//! Base64 of a value, alone and inside of a longer one.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::{Zeroize, Zeroizing};

use super::{Form, percent, written};
use crate::redact::MIN_BYTES;

/// Lengths of the lines into which programs break base64: MIME and `base64(1)`, and PEM.
const LINES: [usize; 2] = [76, 64];

pub(super) fn encoded(value: &[u8], text: &[u8]) -> Vec<Form> {
    let mut forms = Vec::new();
    // Without its padding, a short value's base64 occurs in other output by chance.
    let engines: &[_] = if text.len() < MIN_BYTES {
        &[&STANDARD, &URL_SAFE]
    } else {
        &[&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
    };
    for whole in [value, text] {
        for engine in engines {
            let encoded = Zeroizing::new(engine.encode(whole).into_bytes());
            for length in LINES {
                let lines = encoded.chunks(length).filter(|line| line.len() >= MIN_BYTES);
                forms.extend(lines.map(|line| Zeroizing::new(line.to_vec())));
            }
            forms.push(encoded);
        }
    }
    if text.len() >= MIN_BYTES {
        for before in 0..3 {
            forms.extend(inside(&STANDARD_NO_PAD, text, before));
            forms.extend(inside(&URL_SAFE_NO_PAD, text, before));
        }
    }
    forms
}

/// Base64 as PHP writes it in JSON, and as an address holds it.
pub(super) fn escaped(value: &[u8], text: &[u8]) -> Vec<Form> {
    let mut forms = Vec::new();
    for whole in [value, text] {
        if text.len() < MIN_BYTES {
            continue;
        }
        let encoded = Zeroizing::new(STANDARD.encode(whole).into_bytes());
        forms.push(written(encoded.iter(), 2 * encoded.len(), |&byte, form| {
            form.extend_from_slice(if byte == b'/' { b"\\/" } else { std::slice::from_ref(&byte) });
        }));
        forms.extend(percent::encoded(&encoded));
    }
    forms
}

/// The base64 of `text` where it stands `before` bytes (modulo 3) into a longer text, as after `user:` in an
/// `Authorization` header: without the characters that depend on its neighbours too, and as it is where none follows.
fn inside(engine: &impl Engine, text: &[u8], before: usize) -> [Form; 2] {
    let mut shifted = Vec::with_capacity(before + text.len());
    shifted.resize(before, 0);
    shifted.extend_from_slice(text);
    let mut encoded = engine.encode(&shifted).into_bytes();
    // A character holds 6 bits, a byte 8.
    let (first, end) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
    let inside = [encoded[first..end].to_vec(), encoded[first..].to_vec()];
    shifted.zeroize();
    encoded.zeroize();
    inside.map(Zeroizing::new)
}
