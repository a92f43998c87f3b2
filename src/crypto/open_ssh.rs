//! A look at a private key of OpenSSH's before age reads it, for what age does not look at: how long its passphrase keeps the
//! machine busy, and numbers that end age's reader in a panic.
//!
//! The format is OpenSSH's PROTOCOL.key. age too refuses a key that this module cannot parse.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::IdentityError;

/// The highest number of rounds of bcrypt that is accepted: some seconds. `ssh-keygen` takes 24, and a file could ask for days.
pub const MAX_ROUNDS: u32 = 4096;

const MAGIC: &[u8] = b"openssh-key-v1\0";

/// Refuses a file that asks for too much work, or holds a number that age does not survive. `text` begins with the line
/// `-----BEGIN OPENSSH PRIVATE KEY-----`.
pub(super) fn look_at(text: &str) -> Result<(), IdentityError> {
    let mut file = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut lines = Zeroizing::new(Vec::with_capacity(text.len()));
    for line in text.lines().skip(1).take_while(|line| !line.starts_with("-----END ")) {
        lines.extend_from_slice(line.as_bytes());
    }
    BASE64_STANDARD.decode_vec(&*lines, &mut file).map_err(|_| IdentityError::MalformedKey)?;
    parts(&file).unwrap_or(Err(IdentityError::MalformedKey))
}

/// `None` for what is not of the format.
fn parts(file: &[u8]) -> Option<Result<(), IdentityError>> {
    let mut rest = file.strip_prefix(MAGIC)?;
    let (_cipher, function, mut options) = (string(&mut rest)?, string(&mut rest)?, string(&mut rest)?);
    let (_count, mut public, mut private) = (number(&mut rest)?, string(&mut rest)?, string(&mut rest)?);
    if function == b"bcrypt" {
        let (_salt, rounds) = (string(&mut options)?, number(&mut options)?);
        if rounds > MAX_ROUNDS {
            return Some(Err(IdentityError::TooManyRounds(rounds)));
        }
    }
    // An encrypted key shows its public half alone.
    let are_sound = if function == b"none" {
        let _checks = (number(&mut private)?, number(&mut private)?);
        are_sound(&mut public, 2)? && are_sound(&mut private, 6)?
    } else {
        are_sound(&mut public, 2)?
    };
    Some(if are_sound { Ok(()) } else { Err(IdentityError::MalformedKey) })
}

/// Returns `true` if no number of an RSA key is zero: age's reader would run past the end of one.
/// Other kinds of keys have none.
fn are_sound(key: &mut &[u8], numbers: usize) -> Option<bool> {
    if string(key)? != b"ssh-rsa" {
        return Some(true);
    }
    for _ in 0..numbers {
        if string(key)?.iter().all(|&byte| byte == 0) {
            return Some(false);
        }
    }
    Some(true)
}

/// The next four bytes.
fn number(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

/// The next bytes that follow their length.
fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (string, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::IdentityFile;

    fn framed(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).expect("short");
        [&length.to_be_bytes(), bytes].concat()
    }

    fn strings(all: &[&[u8]]) -> Vec<u8> {
        all.iter().flat_map(|bytes| framed(bytes)).collect()
    }

    /// The error for a file of these parts.
    fn parsed(encryption: &[&[u8]], public: &[u8], private: &[u8]) -> IdentityError {
        let file = [MAGIC, &strings(encryption), &[0, 0, 0, 1], &framed(public), &framed(private)].concat();
        let lines = BASE64_STANDARD.encode(file);
        let text = format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}\n-----END OPENSSH PRIVATE KEY-----\n");
        IdentityFile::parse(text.as_bytes()).expect_err("it is not a key")
    }

    #[test]
    fn a_number_that_is_zero_in_many_bytes_is_malformed() {
        let none: [&[u8]; 3] = [b"none", b"none", b""];
        for zero in [&[][..], &[0], &[0; 8]] {
            let private = [&[7; 8][..], &strings(&[b"ssh-rsa", b"\x05", zero, b"\x03", b"\x03", b"\x03", b"\x03"])];
            let public = strings(&[b"ssh-rsa", b"\x03", b"\x05"]);
            assert_eq!(parsed(&none, &public, &private.concat()), IdentityError::MalformedKey);
        }
        let salt = [&framed(&[1; 16])[..], &[0, 0, 0, 1]].concat();
        let public = strings(&[b"ssh-rsa", &[0; 3], b"\x05"]);
        assert_eq!(parsed(&[b"aes256-ctr", b"bcrypt", &salt], &public, &[0; 16]), IdentityError::MalformedKey);
    }

    #[test]
    fn work_without_end_is_refused() {
        for rounds in [MAX_ROUNDS + 1, 1 << 31, u32::MAX] {
            let options = [&framed(&[1; 16])[..], &rounds.to_be_bytes()].concat();
            let public = strings(&[b"ssh-ed25519", &[7; 32]]);
            let error = parsed(&[b"aes256-ctr", b"bcrypt", &options], &public, &[0; 64]);
            assert_eq!(error, IdentityError::TooManyRounds(rounds));
        }
    }

    #[test]
    fn a_key_that_is_cut_short_is_malformed() {
        let options = [&framed(&[1; 16])[..], &16_u32.to_be_bytes()].concat();
        let public = framed(&strings(&[b"ssh-ed25519", &[7; 32]]));
        let encryption = strings(&[b"aes256-ctr", b"bcrypt", &options]);
        let file = [MAGIC, &encryption, &[0, 0, 0, 1], &public, &framed(&[0; 64])].concat();
        assert_eq!(parts(&file), Some(Ok(())));
        for length in 0..file.len() {
            assert_eq!(parts(&file[..length]), None, "{length} bytes");
        }
    }
}
