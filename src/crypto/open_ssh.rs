//! A look at a private key of OpenSSH's before age reads it, for what age does not look at: how long its lines, its numbers and
//! its passphrase keep the machine busy, and numbers that end age's reader in a panic.
//!
//! The format is OpenSSH's PROTOCOL.key. age too refuses a key that this module cannot parse.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::{IdentityError, KeyFormat, RecipientError};

/// The highest number of rounds of bcrypt that is accepted: some seconds. `ssh-keygen` takes 24, and a file could ask for days.
pub const MAX_ROUNDS: u32 = 4096;

const MAGIC: &[u8] = b"openssh-key-v1\0";

/// The most bytes of a number of an RSA key: 4096 bits, and the byte before them that says that it is positive.
const MAX_NUMBER_BYTES: usize = 513;

/// The most bytes of an RSA key in OpenSSL's form: one of 4096 bits has 2,350.
const MAX_PEM_BYTES: usize = 3 << 10;

/// A private key whose text is as age reads it quickly.
pub(super) struct Unwrapped(pub(super) Zeroizing<String>);

/// Takes the line breaks out of the base64 in a key's file: age parses it all again for each of its lines. `text` begins with the
/// line `-----BEGIN `, this `label` and `-----`.
///
/// # Errors
/// It asks for too much work, or holds a number that age does not survive.
pub(super) fn unwrap(text: &str, label: &str) -> Result<Unwrapped, IdentityError> {
    // Large enough from the start: a string that grows leaves a copy behind.
    let mut unwrapped = Zeroizing::new(String::with_capacity(text.len() + 2 * (label.len() + 20)));
    unwrapped.extend(["-----BEGIN ", label, "-----\n"]);
    let start = unwrapped.len();
    for line in text.lines().skip(1).take_while(|line| !line.starts_with("-----END ")) {
        unwrapped.push_str(line);
    }
    let mut file = Zeroizing::new(Vec::with_capacity(text.len()));
    if label == RSA_LABEL && unwrapped[start..].starts_with("Proc-Type: 4,ENCRYPTED") {
        return Err(IdentityError::KeyFormat(KeyFormat::EncryptedPem));
    }
    BASE64_STANDARD.decode_vec(&unwrapped[start..], &mut file).map_err(|_| IdentityError::MalformedKey)?;
    if label == RSA_LABEL && file.len() > MAX_PEM_BYTES {
        return Err(too_large());
    }
    if label == OPENSSH_LABEL {
        parts(&file).unwrap_or(Err(IdentityError::MalformedKey))?;
    }
    unwrapped.extend(["\n-----END ", label, "-----\n"]);
    Ok(Unwrapped(unwrapped))
}

/// The words of the first line of a key in OpenSSH's form.
pub(super) const OPENSSH_LABEL: &str = "OPENSSH PRIVATE KEY";

/// The words of the first line of an RSA key in OpenSSL's form.
pub(super) const RSA_LABEL: &str = "RSA PRIVATE KEY";

fn too_large() -> IdentityError {
    RecipientError::RSA_TOO_LONG.into()
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
    let mut checked = check_numbers(&mut public, 2)?;
    if function == b"none" {
        let _checks = (number(&mut private)?, number(&mut private)?);
        let private = check_numbers(&mut private, 6)?;
        checked = checked.and(private);
    }
    Some(checked)
}

/// Refuses an RSA key with a number that is zero, as age's reader would run past its end, or with one that is larger than any
/// of a key that age accepts. Other kinds of keys have no numbers.
fn check_numbers(key: &mut &[u8], numbers: usize) -> Option<Result<(), IdentityError>> {
    if string(key)? != b"ssh-rsa" {
        return Some(Ok(()));
    }
    for _ in 0..numbers {
        let number = string(key)?;
        if number.len() > MAX_NUMBER_BYTES {
            return Some(Err(too_large()));
        }
        if number.iter().all(|&byte| byte == 0) {
            return Some(Err(IdentityError::MalformedKey));
        }
    }
    Some(Ok(()))
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
    fn a_number_larger_than_that_of_any_key_is_refused() {
        let none: [&[u8]; 3] = [b"none", b"none", b""];
        let large = [1; MAX_NUMBER_BYTES + 1];
        for place in 0..6 {
            let numbers = std::array::from_fn::<_, 6, _>(|index| if index == place { &large[..] } else { b"\x03" });
            let private = [&[7; 8][..], &strings(&[&[&b"ssh-rsa"[..]], &numbers[..]].concat())].concat();
            let public = strings(&[b"ssh-rsa", b"\x03", b"\x05"]);
            assert_eq!(parsed(&none, &public, &private), too_large(), "{place}");
            let public = strings(&[&[&b"ssh-rsa"[..]], &numbers[..2]].concat());
            let good = [&[7; 8][..], &strings(&[&b"ssh-rsa"[..]; 7])].concat();
            assert_eq!(parsed(&none, &public, &good) == too_large(), place < 2, "{place}");
        }
        let pem = |length: usize| {
            let lines = BASE64_STANDARD.encode(vec![0; length]);
            let text = format!("-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----\n");
            IdentityFile::parse(text.as_bytes()).expect_err("it is not a key")
        };
        assert_eq!(pem(MAX_PEM_BYTES), IdentityError::MalformedKey);
        assert_eq!(pem(MAX_PEM_BYTES + 1), too_large());
    }

    #[test]
    fn age_gets_a_key_in_one_line() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nAA\r\nA\nA\n-----END RSA PRIVATE KEY-----\nmore";
        let unwrapped = unwrap(text, RSA_LABEL).expect("base64").0;
        assert_eq!(*unwrapped, "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n");
        for bad in ["A-A\nA", "AA A\nA", " AAAA"] {
            let text = format!("-----BEGIN RSA PRIVATE KEY-----\n{bad}\n-----END RSA PRIVATE KEY-----\n");
            assert!(matches!(unwrap(&text, RSA_LABEL), Err(IdentityError::MalformedKey)), "{bad}");
        }
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
