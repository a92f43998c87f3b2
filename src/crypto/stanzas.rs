//! The form of the stanzas in a header, in which age clients differ: whether a malformed stanza is refused must not depend on the
//! client, on the identities, or on the order of the stanzas.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::EnvelopeError;

/// The characters of a line of a stanza's body, except for the last line, which is shorter.
const LINE: usize = 64;

/// The bytes of a file key that X25519 wrapped.
const WRAPPED: usize = 32;

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

/// Checks that the body of each stanza ends with a line of fewer than 64 characters, that the stanzas of known kinds have their
/// arguments and size and no share of small order, and that none is for a passphrase.
///
/// # Errors
/// [`EnvelopeError::MalformedHeader`].
pub(super) fn check(header: &[u8]) -> Result<(), EnvelopeError> {
    let text = std::str::from_utf8(header).map_err(|_| EnvelopeError::MalformedHeader)?;
    let is_sound = text.split("\n-> ").skip(1).all(|stanza| {
        // The last one is followed by the line of the MAC.
        let stanza = stanza.split("\n--- ").next().unwrap_or_default();
        let (first, body) = stanza.split_once('\n').unwrap_or((stanza, ""));
        has_body(stanza.contains('\n'), body) && is_known_form(first, body)
    });
    if is_sound { Ok(()) } else { Err(EnvelopeError::MalformedHeader) }
}

/// Returns `true` if all lines but the last are full, and the last is not.
fn has_body(is_there: bool, body: &str) -> bool {
    let mut lines = body.split('\n').rev();
    is_there && lines.next().is_some_and(|last| last.len() < LINE) && lines.all(|line| line.len() == LINE)
}

fn is_known_form(first: &str, body: &str) -> bool {
    let mut words = first.split(' ');
    let (tag, arguments): (_, Vec<_>) = (words.next().unwrap_or_default(), words.collect());
    let size = || STANDARD_NO_PAD.decode(body.replace('\n', "")).map_or(0, |body| body.len());
    let is_of = |argument: &str, bytes: usize| STANDARD_NO_PAD.decode(argument).is_ok_and(|it| it.len() == bytes);
    match (tag, &arguments[..]) {
        ("X25519", [share]) => is_share(share) && size() == WRAPPED,
        ("ssh-ed25519", [key, share]) => is_of(key, 4) && is_share(share) && size() == WRAPPED,
        // As long as the modulus of the key.
        ("ssh-rsa", [key]) => is_of(key, 4) && (256..=512).contains(&size()),
        ("X25519" | "ssh-ed25519" | "ssh-rsa" | "scrypt", _) => false,
        _ => true,
    }
}

/// Returns `true` for a point that age computes with. With one of small order, each key would have the same shared secret: so age
/// ends when it comes to such a stanza, and it comes to it only if no stanza before it opens.
fn is_share(argument: &str) -> bool {
    let share = STANDARD_NO_PAD.decode(argument).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    share.is_some_and(|mut share| {
        share[31] &= 0x7f;
        !SMALL_ORDER.contains(&share)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_sound(stanzas: &str) -> bool {
        check(format!("age-encryption.org/v1\n{stanzas}--- {}\n", "m".repeat(43)).as_bytes()).is_ok()
    }

    #[test]
    fn the_last_line_of_a_body_is_short_and_the_others_are_full() {
        let full = "a".repeat(64);
        for good in [String::new(), "ab".to_owned(), format!("{full}\n"), format!("{full}\n{full}\nab")] {
            assert!(is_sound(&format!("-> x\n{good}\n-> y z\n\n")), "{good:?}");
        }
        for bad in ["-> x\n".to_owned(), format!("-> x\n{full}\n"), format!("-> x\nab\n{full}\n\n")] {
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
