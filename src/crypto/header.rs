//! A look at an age header before age parses it.
//!
//! age's parser has no limit on stanzas, lines or arguments, and it parses the whole header again for each line that it
//! reads: 98 KB of stanzas took 9.3 s (age 0.12.1). So the header is bounded here, by its lines alone, and
//! [`MeasuredFile`] hands it over at once.

use std::io::{BufRead, Read};

use super::EnvelopeError;

/// The tag of the stanza that binds a file to its vault, scope and name, and says who wrote it. It takes no arguments.
pub const SIGNED_TAG: &str = "flyte-local/secret-v2";

/// The tag of the first version, which did not say who wrote it.
pub const UNSIGNED_TAG: &str = "flyte-local/secret-v1";

/// The most stanzas a header may have.
pub const MAX_STANZAS: usize = 64;

/// The most bytes a header may have, from the version line to the end of the MAC line.
pub const MAX_HEADER_BYTES: usize = 128 << 10;

/// The most lines a header may have. A stanza for an RSA key of 4096 bits has twelve, so 62 of them fit, and the binding.
pub const MAX_HEADER_LINES: usize = 1024;

/// The most arguments that the stanzas of a header may have together: sixteen for each, of which no known kind has half.
pub const MAX_ARGUMENTS: usize = 1024;

pub(super) const VERSION_LINE: &[u8] = b"age-encryption.org/v1\n";

pub(super) const MAC_PREFIX: &[u8] = b"--- ";

/// The bytes of the MAC in base64.
pub(super) const MAC_LENGTH: usize = 43;

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
    let (mut stanzas, mut arguments, mut lines) = (0, 0, 2);
    for line in file[end..].split_inclusive(|&byte| byte == b'\n') {
        end += line.len();
        if end > MAX_HEADER_BYTES {
            return Err(EnvelopeError::HeaderTooLarge);
        }
        if !line.ends_with(b"\n") {
            return Err(EnvelopeError::Truncated);
        }
        if line.starts_with(MAC_PREFIX) {
            // age would read on after a MAC that is too short.
            let is_whole = line.len() > MAC_PREFIX.len() + MAC_LENGTH;
            return if is_whole { Ok(end) } else { Err(EnvelopeError::MalformedHeader) };
        }
        lines += 1;
        if let Some(words) = line.strip_prefix(b"-> ") {
            stanzas += 1;
            arguments += words.iter().filter(|&&byte| byte == b' ').count();
        }
        if stanzas > MAX_STANZAS || lines > MAX_HEADER_LINES || arguments > MAX_ARGUMENTS {
            return Err(EnvelopeError::HeaderTooLarge);
        }
    }
    Err(EnvelopeError::Truncated)
}

/// An age file whose header was measured. The first line that is read from it is the whole header, so that age parses it once.
pub(super) struct MeasuredFile<'a> {
    /// The bytes that were not read yet.
    rest: &'a [u8],
    /// The bytes of the header; 0 once it was read.
    header: usize,
}

impl<'a> MeasuredFile<'a> {
    /// Measures the header of `file`.
    ///
    /// # Errors
    /// Those of [`measure`].
    pub(super) fn new(file: &'a [u8]) -> Result<Self, EnvelopeError> {
        Ok(Self { rest: file, header: measure(file)? })
    }

    /// Lets age parse the header.
    ///
    /// # Errors
    /// [`EnvelopeError::Truncated`] and [`EnvelopeError::MalformedHeader`].
    pub(super) fn decryptor(self) -> Result<age::Decryptor<Self>, EnvelopeError> {
        age::Decryptor::new_buffered(self).map_err(|error| match error {
            age::DecryptError::Io(_) => EnvelopeError::Truncated,
            _ => EnvelopeError::MalformedHeader,
        })
    }
}

impl Read for MeasuredFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.rest.read(buffer)?;
        self.header = self.header.saturating_sub(length);
        Ok(length)
    }
}

impl BufRead for MeasuredFile<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        Ok(self.rest)
    }

    fn consume(&mut self, length: usize) {
        self.rest.consume(length);
        self.header = self.header.saturating_sub(length);
    }

    fn read_until(&mut self, delimiter: u8, buffer: &mut Vec<u8>) -> std::io::Result<usize> {
        if self.header == 0 {
            return self.rest.read_until(delimiter, buffer);
        }
        let (header, rest) = self.rest.split_at(std::mem::take(&mut self.header));
        buffer.extend_from_slice(header);
        self.rest = rest;
        Ok(header.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &[u8] = b"--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";

    fn file(stanzas: usize) -> Vec<u8> {
        let mut file = VERSION_LINE.to_vec();
        for _ in 0..stanzas {
            file.extend(b"-> X25519 abc\nbody\n");
        }
        file.extend(MAC);
        file.extend(b"payload");
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
        let body = |lines: usize| [VERSION_LINE, b"-> x\n", &b"body\n".repeat(lines), MAC].concat();
        assert!(measure(&body(MAX_HEADER_LINES - 3)).is_ok());
        assert!(matches!(measure(&body(MAX_HEADER_LINES - 2)), Err(EnvelopeError::HeaderTooLarge)));
        let of_length = |length: usize| {
            let rest = [VERSION_LINE, b"-> x\n", b"\n", MAC].concat().len();
            [VERSION_LINE, b"-> x\n", &b"a".repeat(length - rest), b"\n", MAC].concat()
        };
        assert_eq!(measure(&of_length(MAX_HEADER_BYTES)).ok(), Some(MAX_HEADER_BYTES));
        assert!(matches!(measure(&of_length(MAX_HEADER_BYTES + 1)), Err(EnvelopeError::HeaderTooLarge)));
        let with_arguments = |stanzas: usize, each: usize| {
            let stanza = [&b"-> x"[..], &b" a".repeat(each), b"\n\n"].concat();
            [VERSION_LINE, &stanza.repeat(stanzas), MAC].concat()
        };
        assert!(measure(&with_arguments(1, MAX_ARGUMENTS)).is_ok());
        assert!(measure(&with_arguments(64, MAX_ARGUMENTS / 64)).is_ok());
        for (stanzas, each) in [(1, MAX_ARGUMENTS + 1), (33, MAX_ARGUMENTS / 32)] {
            let file = with_arguments(stanzas, each);
            assert!(matches!(measure(&file), Err(EnvelopeError::HeaderTooLarge)), "{stanzas} × {each}");
        }
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

    #[test]
    fn a_mac_that_is_too_short_is_malformed() {
        for length in 4..MAC.len() - 1 {
            let file = [VERSION_LINE, b"-> x\n\n", &MAC[..length], b"\n", &b"\n".repeat(100)].concat();
            assert!(matches!(measure(&file), Err(EnvelopeError::MalformedHeader)), "{length}");
        }
    }

    #[test]
    fn age_gets_the_header_at_once_and_then_the_payload() {
        let file = file(MAX_STANZAS);
        let header = file.len() - b"payload".len();
        let mut measured = MeasuredFile::new(&file).expect("within the limits");
        let mut first = Vec::new();
        assert_eq!(measured.read_until(b'\n', &mut first).expect("in memory"), header);
        assert_eq!(first, file[..header]);
        let mut rest = Vec::new();
        measured.read_to_end(&mut rest).expect("in memory");
        assert_eq!(rest, b"payload");
    }
}
