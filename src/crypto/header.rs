//! A look at an age header before age parses it.
//!
//! age's parser has no limit on stanzas and its unbuffered reader is quadratic in the header's size: 98 KB of stanzas
//! took 9.3 s (age 0.12.1). So the header is bounded here, by its lines alone, and only then handed over.

use super::EnvelopeError;

/// The tag of the stanza that binds a file to its vault, scope and name, and says who wrote it. It takes no arguments.
pub const SIGNED_TAG: &str = "flyte-local/secret-v2";

/// The tag of the first version, which did not say who wrote it.
pub const UNSIGNED_TAG: &str = "flyte-local/secret-v1";

/// The most stanzas a header may have.
pub const MAX_STANZAS: usize = 64;

/// The most bytes a header may have, from the version line to the end of the MAC line.
pub const MAX_HEADER_BYTES: usize = 128 << 10;

/// The most lines a header may have: two for each stanza, and as many again. age reads line by line and parses all lines
/// again for each: 2,000 lines, 128 KiB in all, took a hundred times as long as a good file.
const MAX_LINES: usize = 256;

const VERSION_LINE: &[u8] = b"age-encryption.org/v1\n";

/// How many bytes of `file` are its age header.
///
/// # Errors
/// It is not a binary age file, it ends within its header, or the header is over one of the limits.
pub(super) fn measure(file: &[u8]) -> Result<usize, EnvelopeError> {
    if !file.starts_with(VERSION_LINE) {
        return Err(EnvelopeError::NotAge);
    }
    let mut end = VERSION_LINE.len();
    // The version's line and the MAC's.
    let (mut stanzas, mut lines) = (0, 2);
    for line in file[end..].split_inclusive(|&byte| byte == b'\n') {
        end += line.len();
        if end > MAX_HEADER_BYTES {
            return Err(EnvelopeError::HeaderTooLarge);
        }
        if !line.ends_with(b"\n") {
            return Err(EnvelopeError::Truncated);
        }
        if line.starts_with(b"--- ") {
            return Ok(end);
        }
        lines += 1;
        stanzas += usize::from(line.starts_with(b"-> "));
        if stanzas > MAX_STANZAS || lines > MAX_LINES {
            return Err(EnvelopeError::HeaderTooLarge);
        }
    }
    Err(EnvelopeError::Truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(stanzas: usize) -> Vec<u8> {
        let mut file = VERSION_LINE.to_vec();
        for _ in 0..stanzas {
            file.extend(b"-> X25519 abc\nbody\n");
        }
        file.extend(b"--- mac\npayload");
        file
    }

    #[test]
    fn it_ends_after_the_mac_line() {
        let file = file(1);
        assert_eq!(measure(&file).ok(), Some(file.len() - b"payload".len()));
    }

    #[test]
    fn its_limits_hold() {
        assert!(measure(&file(MAX_STANZAS)).is_ok());
        assert!(matches!(measure(&file(MAX_STANZAS + 1)), Err(EnvelopeError::HeaderTooLarge)));
        let body = |lines: usize| [VERSION_LINE, b"-> x\n", &b"body\n".repeat(lines), b"--- mac\n"].concat();
        assert!(measure(&body(MAX_LINES - 3)).is_ok());
        assert!(matches!(measure(&body(MAX_LINES - 2)), Err(EnvelopeError::HeaderTooLarge)));
        let of_length = |length: usize| {
            let rest = [VERSION_LINE, b"-> x\n", b"\n--- mac\n"].concat().len();
            [VERSION_LINE, b"-> x\n", &b"a".repeat(length - rest), b"\n--- mac\n"].concat()
        };
        assert_eq!(measure(&of_length(MAX_HEADER_BYTES)).ok(), Some(MAX_HEADER_BYTES));
        assert!(matches!(measure(&of_length(MAX_HEADER_BYTES + 1)), Err(EnvelopeError::HeaderTooLarge)));
        let mut long = VERSION_LINE.to_vec();
        long.extend(std::iter::repeat_n(b'a', MAX_HEADER_BYTES));
        assert!(matches!(measure(&long), Err(EnvelopeError::HeaderTooLarge)));
    }

    #[test]
    fn an_incomplete_header_is_refused() {
        assert!(matches!(measure(b""), Err(EnvelopeError::NotAge)));
        assert!(matches!(measure(b"-----BEGIN AGE ENCRYPTED FILE-----\n"), Err(EnvelopeError::NotAge)));
        assert!(matches!(measure(VERSION_LINE), Err(EnvelopeError::Truncated)));
        assert!(matches!(measure(&file(2)[..40]), Err(EnvelopeError::Truncated)));
    }
}
