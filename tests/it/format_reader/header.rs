//! The header of an age file.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD};

use super::limits::limit;
use super::{Reader, Wrong};

pub(super) const UNSIGNED: &str = "flyte-local/secret-v1";
pub(super) const SIGNED: &str = "flyte-local/secret-v2";

pub(super) struct Parsed {
    pub(super) tag: String,
    pub(super) arguments: Vec<String>,
    pub(super) body: Vec<u8>,
}

/// Decodes base64 without a look at the unused bits of the last character.
pub(super) fn lax(padding: base64::engine::DecodePaddingMode, text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(padding);
    GeneralPurpose::new(&STANDARD, config).decode(text).ok()
}

impl Reader {
    /// Returns the stanzas of a header, and its size.
    pub(super) fn header(&self, file: &[u8]) -> Option<(Vec<Parsed>, usize)> {
        let line = file.split_inclusive(|&byte| byte == b'\n').next()?;
        let is_version = line == b"age-encryption.org/v1\n";
        if !(is_version || self.is(Wrong::AnyAgeVersion) && line.starts_with(b"age-encryption.org/v")) {
            return None;
        }
        let (mut end, mut lines, mut texts) = (line.len(), 1, Vec::<Vec<&str>>::new());
        let mac = loop {
            let line = file[end..].split_inclusive(|&byte| byte == b'\n').next()?;
            end += line.len();
            lines += 1;
            let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
            if let Some(mac) = line.strip_prefix("--- ") {
                break mac;
            }
            match line.strip_prefix("-> ") {
                Some(first) => texts.push(vec![first]),
                None => texts.last_mut()?.push(line),
            }
        };
        let arguments: usize =
            texts.iter().map(|lines| lines[0].split(' ').count() - usize::from(!self.is(Wrong::CountsTags))).sum();
        let count = texts.len() - usize::from(self.is(Wrong::CountsRecipientsAlone)).min(texts.len());
        let is_small = (count <= limit("stanzas in a header") || self.is(Wrong::AnyStanzas))
            && (lines <= limit("lines of a header") || self.is(Wrong::AnyLines))
            && (arguments <= limit("arguments in a header") || self.is(Wrong::AnyArguments))
            && (end <= limit("bytes of a header") || self.is(Wrong::AnyHeaderSize))
            && (file.len() >= end + 16 || self.is(Wrong::NoNonce));
        let is_mac = self.decode(mac, Wrong::UnusedBitsInMac).is_some_and(|mac| mac.len() == 32);
        if !is_small || !is_mac {
            return None;
        }
        let stanzas = texts.iter().map(|lines| self.stanza(lines)).collect::<Option<Vec<_>>>()?;
        self.is_known(&stanzas).then_some((stanzas, end))
    }

    fn decode(&self, text: &str, wrong: Wrong) -> Option<Vec<u8>> {
        if self.is(wrong) {
            return lax(base64::engine::DecodePaddingMode::RequireNone, text);
        }
        STANDARD_NO_PAD.decode(text).ok()
    }

    fn stanza(&self, lines: &[&str]) -> Option<Parsed> {
        let (first, body) = lines.split_first()?;
        let mut words = first.split(' ').map(str::to_owned);
        let (tag, arguments) = (words.next()?, words.collect());
        let is_wrapped = match body.split_last() {
            Some((last, full)) => {
                let is_last = last.len() < 64 || (self.is(Wrong::NoLastLine) && last.len() == 64);
                is_last && full.iter().all(|line| line.len() == 64)
            }
            None => self.is(Wrong::NoLastLine),
        };
        if !is_wrapped && !self.is(Wrong::AnyLineLength) {
            return None;
        }
        Some(Parsed { tag, arguments, body: self.decode(&body.concat(), Wrong::UnusedBitsInBody)? })
    }

    /// Returns `true` if each stanza of a known kind has its form.
    fn is_known(&self, stanzas: &[Parsed]) -> bool {
        let is_of = |text: &str, bytes: usize| STANDARD_NO_PAD.decode(text).is_ok_and(|found| found.len() == bytes);
        // Computed with any private key: a point of small order gives zero with each.
        let is_share = |text: &str| {
            let share = STANDARD_NO_PAD.decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            share.is_some_and(|share| {
                x25519_dalek::x25519([9; 32], share) != [0; 32] || self.is(Wrong::SmallOrderShares)
            })
        };
        let has_form = |stanza: &Parsed| {
            let (arguments, body) = (&stanza.arguments[..], stanza.body.len());
            match (stanza.tag.as_str(), arguments) {
                (UNSIGNED | SIGNED, _) => true,
                ("scrypt", _) => self.is(Wrong::Scrypt),
                _ if self.is(Wrong::AnyKnownStanza) => true,
                ("X25519", [share]) => is_share(share) && body == 32,
                ("X25519", _) => false,
                ("ssh-ed25519" | "ssh-rsa", _) if self.is(Wrong::AnySshStanza) => true,
                ("ssh-ed25519", [key, share]) => is_of(key, 4) && is_share(share) && body == 32,
                ("ssh-rsa", [key]) => is_of(key, 4) && (256..=512).contains(&body),
                ("ssh-ed25519" | "ssh-rsa", _) => false,
                (tag, _) => !self.is(Wrong::KnownStanzasOnly) || tag.ends_with("-grease"),
            }
        };
        let of = |tag: &str| stanzas.iter().filter(|stanza| stanza.tag == tag).count();
        let has_grease = stanzas.iter().any(|stanza| stanza.tag.ends_with("-grease"));
        let is_first = stanzas.first().is_some_and(|stanza| [UNSIGNED, SIGNED].contains(&&*stanza.tag));
        stanzas.iter().all(has_form)
            && (has_grease || !self.is(Wrong::RequiresGrease))
            && !(is_first && self.is(Wrong::BindingAfterRecipients))
            && !(of("X25519") > 1 && self.is(Wrong::RefusesSecondStanza))
    }

    /// Returns the body of the binding, and whether it is of the version that is signed.
    pub(super) fn only_binding<'a>(&self, stanzas: &'a [Parsed]) -> Option<(bool, &'a [u8])> {
        let is_binding = |stanza: &&Parsed| [UNSIGNED, SIGNED].contains(&&*stanza.tag);
        let mut found: Vec<_> = stanzas.iter().filter(is_binding).collect();
        if self.is(Wrong::SkipsBindingWithArguments) {
            found.retain(|stanza| stanza.arguments.is_empty());
        }
        let tags = |tag: &str| found.iter().filter(|stanza| stanza.tag == tag).count();
        let of_each = self.is(Wrong::OneBindingOfEachVersion) && tags(SIGNED) == 1;
        if found.len() != 1 && !self.is(Wrong::FirstBinding) && !of_each {
            return None;
        }
        let binding = if of_each { found.iter().find(|stanza| stanza.tag == SIGNED)? } else { found.first()? };
        let is_plain = binding.arguments.is_empty() || self.is(Wrong::BindingWithArguments);
        is_plain.then_some((binding.tag == SIGNED, &binding.body))
    }
}
