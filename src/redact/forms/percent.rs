//! Percent-encoding, in the variants of common programs.

use super::{Form, written};

/// Ways to write a blank.
#[derive(Clone, Copy, PartialEq)]
enum Blank {
    Percent,
    Plus,
    /// Either one, in different calls.
    Both,
}

/// The characters, other than letters and digits, that are left as they are.
const LEFT: [(&[u8], Blank); 12] = [
    // Python's `quote(safe="")` and `quote_plus`, curl, Go's `QueryEscape`, jq's `@uri`.
    (b"-_.~", Blank::Both),
    // Python's `quote`.
    (b"-_.~/", Blank::Both),
    // JavaScript's `encodeURIComponent` and `encodeURI`.
    (b"-_.~!*'()", Blank::Percent),
    (b"-_.~!*'();/?:@&=+$,#", Blank::Percent),
    // Forms of browsers, and Java's `URLEncoder`.
    (b"-_.*", Blank::Plus),
    // PHP's `urlencode`.
    (b"-_.", Blank::Both),
    // .NET's `UrlEncode`.
    (b"-_.!*()", Blank::Plus),
    // Go's `PathEscape`.
    (b"-_.~$&+=:@", Blank::Percent),
    // The URL standard: the user and password, the path, and the query.
    (b"-_.~!$%&'()*+,", Blank::Percent),
    (b"-_.~!$%&'()*+,/:;=@[\\]|", Blank::Percent),
    (b"-_.~!$%&'()*+,/:;=@[\\]^`{|}?", Blank::Percent),
    (b"-_.~!$%&()*+,/:;=@[\\]^`{|}?", Blank::Percent),
];

pub(super) fn encoded(text: &[u8]) -> Vec<Form> {
    let mut forms = Vec::new();
    for (left, blank) in LEFT {
        for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
            for plus in [false, true] {
                if blank == Blank::Both || plus == (blank == Blank::Plus) {
                    forms.push(form(text, left, plus, digits));
                }
            }
        }
    }
    super::unique(text, &mut forms);
    forms
}

fn form(text: &[u8], left: &[u8], plus: bool, digits: &[u8; 16]) -> Form {
    written(text.iter(), 3 * text.len(), |&byte, form| match byte {
        b' ' if plus => form.push(b'+'),
        _ if byte.is_ascii_alphanumeric() || left.contains(&byte) => form.push(byte),
        _ => form.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]),
    })
}
