//! Public keys: of authors, of age and of OpenSSH.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bech32::primitives::decode::CheckedHrpstring;
use ed25519_dalek::VerifyingKey;

use super::{Reader, Wrong};

impl Reader {
    /// Returns the 32 bytes of Bech32 text with this prefix, in its only form.
    fn bech32(&self, prefix: &str, text: &str) -> Option<[u8; 32]> {
        let checked = CheckedHrpstring::new::<bech32::Bech32>(text).ok()?;
        let bytes: [u8; 32] = checked.byte_iter().collect::<Vec<_>>().try_into().ok()?;
        let found = checked.hrp().to_lowercase();
        let is_prefix = found == prefix || (self.is(Wrong::AnyPrefix) && prefix == "flyteauthor");
        let written = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse(&found).ok()?, &bytes).ok()?;
        let is_only_form = text == written
            || (self.is(Wrong::UpperCaseAuthor) && text == written.to_uppercase())
            || (self.is(Wrong::PaddingBits) && text == text.to_lowercase());
        (is_prefix && is_only_form).then_some(bytes)
    }

    /// Returns `true` if the number is below 2^255 - 19.
    fn is_reduced(&self, bytes: &[u8; 32]) -> bool {
        let mut prime = [0xff; 32];
        (prime[0], prime[31]) = (0xed, 0x7f);
        let is_high = bytes[31] & 0x80 != 0;
        let is_less = bytes.iter().rev().lt(prime.iter().rev());
        is_less || (self.is(Wrong::AnyPoint) && !is_high) || (self.is(Wrong::HighBit) && is_high)
    }

    /// Returns `true` if these are the bytes of a point of Ed25519.
    fn is_point(&self, bytes: &[u8; 32]) -> bool {
        let mut number = *bytes;
        number[31] &= 0x7f;
        let point = VerifyingKey::from_bytes(bytes);
        self.is_reduced(&number) && point.is_ok_and(|point| !point.is_weak() || self.is(Wrong::SmallOrder))
    }

    /// Returns the seed in a file of an author's private key.
    pub(crate) fn author_key(&self, text: &str) -> Option<[u8; 32]> {
        let is_space = |c: char| match self.is(Wrong::AnyWhiteSpace) {
            true => c.is_whitespace(),
            false => [' ', '\t', '\r', '\u{c}'].contains(&c),
        };
        let text = if self.is(Wrong::KeyFileByteOrderMark) { text.trim_start_matches('\u{feff}') } else { text };
        let is_comment = |line: &&str| line.starts_with('#') && !self.is(Wrong::NoCommentsInKeyFile);
        let lines = text.split('\n').map(|line| line.trim_matches(is_space));
        let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !is_comment(line)).collect();
        let line = match lines[..] {
            [line] => line,
            [line, ..] if self.is(Wrong::FirstKeyOfFile) => line,
            _ => return None,
        };
        let line = if self.is(Wrong::TextAfterKey) { line.split(' ').next()? } else { line };
        let is_upper = line == line.to_uppercase() || self.is(Wrong::LowerCaseKeyFile);
        is_upper.then(|| self.bech32("flyte-author-key-", &line.to_lowercase())).flatten()
    }

    pub(super) fn author(&self, text: &str) -> Option<[u8; 32]> {
        self.bech32("flyteauthor", text).filter(|bytes| self.is_point(bytes))
    }

    /// Returns a recipient's key in the form that the digest is made of.
    pub(super) fn recipient(&self, text: &str) -> Option<String> {
        if let Some(bytes) = self.bech32("age", text) {
            let is_small = x25519_dalek::x25519([9; 32], bytes) == [0; 32];
            let is_sound = self.is_reduced(&bytes) && (!is_small || self.is(Wrong::SmallOrder));
            return is_sound.then(|| text.to_owned());
        }
        let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
        let [kind, key, comment @ ..] = &words[..] else { return None };
        let written = format!("{kind} {key}");
        if text != written && (comment.is_empty() || !self.is(Wrong::Comments)) {
            return None;
        }
        let blob = STANDARD.decode(key).ok()?;
        let parts = parts(&blob)?;
        let is_sound = match &parts[..] {
            _ if self.is(Wrong::NoSsh) => false,
            [name, point] if *kind == "ssh-ed25519" && *name == b"ssh-ed25519" => {
                <[u8; 32]>::try_from(*point).is_ok_and(|point| self.is_point(&point))
            }
            [name, exponent, modulus, more @ ..] if *kind == "ssh-rsa" && *name == b"ssh-rsa" => {
                self.is_rsa(exponent, modulus) && (more.is_empty() || self.is(Wrong::AnyRsaParts))
            }
            _ => false,
        };
        is_sound.then_some(written)
    }

    fn is_rsa(&self, exponent: &[u8], modulus: &[u8]) -> bool {
        let bits = |number: &[u8]| {
            let zeros = number.iter().take_while(|&&byte| byte == 0).count();
            number.get(zeros).map_or(0, |first| 8 * (number.len() - zeros) - first.leading_zeros() as usize)
        };
        let is_shortest = |number: &[u8]| self.is(Wrong::AnyRsaParts) || number.len() == bits(number) / 8 + 1;
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
        let is_exponent = (2..=33).contains(&bits(exponent)) || self.is(Wrong::AnyExponent);
        let is_size = (2048..=4096).contains(&bits(modulus)) || self.is(Wrong::AnyRsaSize);
        [exponent, modulus].iter().all(|number| is_shortest(number) && is_odd(number)) && is_exponent && is_size
    }
}

/// Returns the parts of an OpenSSH key, each of which follows its length.
fn parts(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        parts.push(part);
        blob = rest;
    }
    Some(parts)
}
