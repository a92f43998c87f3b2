//! The stanzas of a header, read in one pass.
//!
//! age clients differ in which stanzas they accept: whether a malformed one is refused must not depend on the client, on the
//! identities, or on the order of the stanzas. So this reader accepts the strict form alone, which each of them accepts. age's own
//! parser also accepts an older form, and takes several times as long; `docs/architecture/performance.md` has the figures.

use age_core::format::Stanza;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::EnvelopeError;
use super::header::{MAC_LENGTH, MAC_PREFIX, VERSION_LINE};

/// The characters of a line of a stanza's body, except for the last line, which is shorter.
const LINE: usize = 64;

/// The bytes of a file key that X25519 wrapped.
pub(super) const WRAPPED: usize = 32;

/// The points of Curve25519 and of its twist that have small order, little-endian and without the highest bit, which X25519 ignores:
/// 0, 1, two of order eight, and the numbers around the field's prime.
const SMALL_ORDER: [[u8; 32]; 7] = [
    near_zero(0),
    near_zero(1),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    near_prime(0xec),
    near_prime(0xed),
    near_prime(0xee),
];

const fn near_zero(first: u8) -> [u8; 32] {
    let mut number = [0; 32];
    number[0] = first;
    number
}

const fn near_prime(first: u8) -> [u8; 32] {
    let mut number = [0xff; 32];
    (number[0], number[31]) = (first, 0x7f);
    number
}

/// A stanza of a header, as it is written there.
#[derive(Debug)]
pub(super) struct HeaderStanza<'f> {
    pub(super) tag: &'f str,
    /// The arguments, with a space before each.
    arguments: &'f str,
    /// The lines of the body, without the newline after the last one.
    lines: &'f str,
}

impl<'f> HeaderStanza<'f> {
    /// Returns the words after the tag.
    pub(super) fn arguments(&self) -> impl Iterator<Item = &'f str> + use<'f> {
        self.arguments.split(' ').skip(1)
    }

    /// Returns the bytes of the body.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.lines.len());
        for line in self.lines.split('\n') {
            STANDARD_NO_PAD.decode_vec(line, &mut body).expect("the reader accepts base64 alone");
        }
        body
    }

    /// Returns the number of bytes of the body.
    fn size(&self) -> usize {
        let newlines = self.lines.len() / (LINE + 1);
        (self.lines.len() - newlines) * 3 / 4
    }

    /// Returns the stanza in the form in which age's identities take it.
    pub(super) fn to_age(&self) -> Stanza {
        let args = self.arguments().map(str::to_owned).collect();
        Stanza { tag: self.tag.to_owned(), args, body: self.body() }
    }

    /// Returns `true` if a stanza of a known kind has its arguments and size and no share of small order, and if it is not one for
    /// a passphrase.
    fn has_known_form(&self) -> bool {
        let mut arguments = self.arguments();
        let found = [arguments.next(), arguments.next(), arguments.next()];
        let is_tag = |argument: &str| decode_argument::<4>(argument).is_some();
        match (self.tag, found) {
            ("X25519", [Some(share), None, _]) => is_share(share) && self.size() == WRAPPED,
            ("ssh-ed25519", [Some(key), Some(share), None]) => is_tag(key) && is_share(share) && self.size() == WRAPPED,
            // As long as the modulus of the key.
            ("ssh-rsa", [Some(key), None, _]) => is_tag(key) && (256..=512).contains(&self.size()),
            ("X25519" | "ssh-ed25519" | "ssh-rsa" | "scrypt", _) => false,
            _ => true,
        }
    }
}

/// Reads the stanzas of a header, which is all of `header`. Its limits are not looked at.
///
/// # Errors
/// [`EnvelopeError::MalformedHeader`].
pub(super) fn read(header: &[u8]) -> Result<Vec<HeaderStanza<'_>>, EnvelopeError> {
    parse(header).ok_or(EnvelopeError::MalformedHeader)
}

/// Checks that the stanzas of known kinds have their form.
///
/// # Errors
/// [`EnvelopeError::MalformedHeader`].
pub(super) fn check(stanzas: &[HeaderStanza<'_>]) -> Result<(), EnvelopeError> {
    let is_sound = stanzas.iter().all(HeaderStanza::has_known_form);
    if is_sound { Ok(()) } else { Err(EnvelopeError::MalformedHeader) }
}

fn parse(header: &[u8]) -> Option<Vec<HeaderStanza<'_>>> {
    let mut rest = std::str::from_utf8(header.strip_prefix(VERSION_LINE)?).ok()?;
    let mut stanzas = Vec::with_capacity(4);
    while let Some(stanza) = rest.strip_prefix("-> ") {
        let (first, after) = stanza.split_once('\n')?;
        if !first.split(' ').all(is_word) {
            return None;
        }
        let (tag, arguments) = first.split_at(first.find(' ').unwrap_or(first.len()));
        let (lines, after) = split_body(after)?;
        stanzas.push(HeaderStanza { tag, arguments, lines });
        rest = after;
    }
    let mac = rest.as_bytes().strip_prefix(MAC_PREFIX)?.strip_suffix(b"\n")?;
    let is_mac = mac.len() == MAC_LENGTH && is_base64(mac);
    (is_mac && !stanzas.is_empty()).then_some(stanzas)
}

/// Returns `true` for what age calls an arbitrary string.
fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Splits a body from what follows it: full lines, and then one that is shorter.
fn split_body(text: &str) -> Option<(&str, &str)> {
    let mut start = 0;
    loop {
        let (line, after) = text[start..].split_once('\n')?;
        if line.len() > LINE || !is_base64(line.as_bytes()) {
            return None;
        }
        if line.len() < LINE {
            return Some((&text[..start + line.len()], after));
        }
        start += LINE + 1;
    }
}

/// Returns `true` for base64 without padding, whose last character has no bits that belong to no byte.
fn is_base64(text: &[u8]) -> bool {
    let unused = match (text.len() % 4, text.last()) {
        (1, _) => return false,
        (2, Some(&last)) => VALUES[usize::from(last)] & 0b1111,
        (3, Some(&last)) => VALUES[usize::from(last)] & 0b11,
        _ => 0,
    };
    unused == 0 && text.iter().all(|&byte| VALUES[usize::from(byte)] != NO_VALUE)
}

const NO_VALUE: u8 = 0xff;

/// The value of each character of base64.
static VALUES: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [NO_VALUE; 256];
    let mut value = 0;
    while value < alphabet.len() {
        values[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// Returns the bytes of an argument in base64; `None` if there are not exactly so many.
pub(super) fn decode_argument<const N: usize>(argument: &str) -> Option<[u8; N]> {
    let mut bytes = [0; 48];
    if argument.len() > LINE {
        return None;
    }
    let length = STANDARD_NO_PAD.decode_slice(argument, &mut bytes).ok()?;
    bytes[..length].try_into().ok()
}

/// Returns `true` for a point that age computes with. With one of small order, each key would have the same shared secret: so age
/// ends when it comes to such a stanza, and it comes to it only if no stanza before it opens.
fn is_share(argument: &str) -> bool {
    decode_argument::<32>(argument).is_some_and(|mut share| {
        share[31] &= 0x7f;
        !SMALL_ORDER.contains(&share)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sound(stanzas: &str) -> bool {
        let header = format!("age-encryption.org/v1\n{stanzas}--- {}\n", "A".repeat(43));
        read(header.as_bytes()).is_ok_and(|stanzas| check(&stanzas).is_ok())
    }

    #[test]
    fn the_last_line_of_a_body_is_short_and_the_others_are_full() {
        let full = "a".repeat(64);
        for good in [String::new(), "aQ".to_owned(), format!("{full}\n"), format!("{full}\n{full}\naQ")] {
            assert!(is_sound(&format!("-> x\n{good}\n-> y z\n\n")), "{good:?}");
        }
        for bad in ["-> x\n".to_owned(), format!("-> x\n{full}\n"), format!("-> x\naQ\n{full}\n\n")] {
            assert!(!is_sound(&bad), "{bad:?}");
            assert!(!is_sound(&format!("{bad}-> y z\n\n")), "{bad:?}");
        }
    }

    #[test]
    fn known_stanzas_have_their_arguments_and_size() {
        let (share, tag, wrapped) = (STANDARD_NO_PAD.encode([9; 32]), "AAAAAA", "A".repeat(43));
        let rsa = |bytes: usize| {
            let body = STANDARD_NO_PAD.encode(vec![0; bytes]);
            let lines: Vec<_> =
                body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
            lines.join("\n") + if body.len().is_multiple_of(64) { "\n\n" } else { "\n" }
        };
        for good in [
            format!("-> X25519 {share}\n{wrapped}\n"),
            format!("-> ssh-ed25519 {tag} {share}\n{wrapped}\n"),
            format!("-> ssh-rsa {tag}\n{}", rsa(256)),
            format!("-> ssh-rsa {tag}\n{}", rsa(512)),
            "-> another kind\n\n".to_owned(),
        ] {
            assert!(is_sound(&good), "{good}");
        }
        for bad in [
            format!("-> X25519\n{wrapped}\n"),
            format!("-> X25519 {share} more\n{wrapped}\n"),
            format!("-> X25519 {}\n{wrapped}\n", &share[1..]),
            format!("-> X25519 {share}=\n{wrapped}\n"),
            format!("-> X25519 {share}\n{}\n", &wrapped[2..]),
            // The bits of the last character that belong to no byte.
            format!("-> X25519 {}B\n{wrapped}\n", &share[..42]),
            format!("-> ssh-ed25519 {tag}\n{wrapped}\n"),
            format!("-> ssh-ed25519 {share} {tag}\n{wrapped}\n"),
            format!("-> ssh-ed25519 {tag} {share}\n\n"),
            format!("-> ssh-rsa {tag}\n{}", rsa(255)),
            format!("-> ssh-rsa {tag}\n{}", rsa(513)),
            format!("-> ssh-rsa {tag} {tag}\n{}", rsa(256)),
            "-> scrypt salt 18\nbody\n".to_owned(),
        ] {
            assert!(!is_sound(&bad), "{bad}");
        }
    }

    #[test]
    fn a_stanza_is_read_as_it_is_written() {
        let full = "a".repeat(64);
        let header =
            format!("age-encryption.org/v1\n-> tag one two\n{full}\n{full}\naQ\n-> q\n\n--- {}\n", "A".repeat(43));
        let stanzas = read(header.as_bytes()).expect("sound");
        let [first, second] = &stanzas[..] else { panic!("{stanzas:?}") };
        assert_eq!((first.tag, first.arguments().collect::<Vec<_>>()), ("tag", vec!["one", "two"]));
        let body = STANDARD_NO_PAD.decode(format!("{full}{full}aQ")).expect("base64");
        assert_eq!((first.body(), first.size()), (body.clone(), body.len()));
        assert_eq!((second.tag, second.arguments().count(), second.body(), second.size()), ("q", 0, Vec::new(), 0));
        let age = first.to_age();
        assert_eq!((&*age.tag, &age.args[..], age.body), ("tag", &["one".to_owned(), "two".to_owned()][..], body));
    }

    #[test]
    fn a_share_of_small_order_is_refused_with_and_without_its_highest_bit() {
        for number in SMALL_ORDER {
            assert_eq!(x25519_dalek::x25519([7; 32], number), [0; 32], "{number:?}");
            for high_bit in [0, 0x80] {
                let mut share = number;
                share[31] |= high_bit;
                assert!(!is_share(&STANDARD_NO_PAD.encode(share)), "{share:?}");
            }
            let mut next = number;
            next[1] ^= 1;
            assert!(is_share(&STANDARD_NO_PAD.encode(next)), "{next:?}");
        }
    }
}
