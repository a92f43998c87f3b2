//! The form of the stanzas in a header, in which age clients differ: whether a malformed stanza is refused must not depend on the
//! client, on the identities, or on the order of the stanzas.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::EnvelopeError;

/// The characters of a line of a stanza's body, except for the last line, which is shorter.
const LINE: usize = 64;

/// The bytes of a file key that X25519 wrapped.
const WRAPPED: usize = 32;

/// Checks that the body of each stanza ends with a line of fewer than 64 characters, that the stanzas of known kinds have their
/// arguments and size, and that none is for a passphrase.
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
        ("X25519", [share]) => is_of(share, 32) && size() == WRAPPED,
        ("ssh-ed25519", [key, share]) => is_of(key, 4) && is_of(share, 32) && size() == WRAPPED,
        // As long as the modulus of the key.
        ("ssh-rsa", [key]) => is_of(key, 4) && (256..=512).contains(&size()),
        ("X25519" | "ssh-ed25519" | "ssh-rsa" | "scrypt", _) => false,
        _ => true,
    }
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
        let (share, tag, wrapped) = ("A".repeat(43), "AAAAAA", "A".repeat(43));
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
            format!("-> X25519 {}B\n{wrapped}\n", &share[1..]),
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
}
