//! The comparison of a file's stanzas with the recipients in `vault.toml`.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use super::header::{Parsed, SIGNED, UNSIGNED};
use super::{Reader, Vault, Wrong};

impl Reader {
    /// Returns `true` if the stanzas are those of a file for the vault's recipients.
    pub(super) fn fits(&self, vault: &Vault, stanzas: &[Parsed]) -> bool {
        let tag = |key: &str| {
            let blob = STANDARD.decode(key).expect("as it was parsed");
            STANDARD_NO_PAD.encode(&Sha256::digest(blob)[..4])
        };
        let expected = vault.recipients.iter().map(|(_, key)| match key.split_once(' ') {
            None => "X25519".to_owned(),
            Some((kind, key)) => format!("{kind} {}", if self.is(Wrong::AnySshTag) { String::new() } else { tag(key) }),
        });
        let is_binding = |stanza: &&Parsed| ![UNSIGNED, SIGNED].contains(&&*stanza.tag);
        let is_grease = |stanza: &&Parsed| !stanza.tag.ends_with("-grease") || self.is(Wrong::GreaseIsStale);
        let is_known = |stanza: &&Parsed| {
            ["X25519", "ssh-ed25519", "ssh-rsa"].contains(&&*stanza.tag) || !self.is(Wrong::UnknownStanzaIsCurrent)
        };
        let counted = stanzas.iter().filter(is_binding).filter(is_grease).filter(is_known);
        let found = counted.map(|stanza| match stanza.tag.as_str() {
            "X25519" => "X25519".to_owned(),
            tag if self.is(Wrong::AnySshTag) => format!("{tag} "),
            tag => format!("{tag} {}", stanza.arguments.first().map_or("", String::as_str)),
        });
        let (mut expected, mut found): (Vec<_>, Vec<_>) = (expected.collect(), found.collect());
        expected.sort();
        found.sort();
        if self.is(Wrong::AnyNumberOfX25519) {
            expected.dedup();
            found.dedup();
        }
        let is_there = |stanza: &String| !self.is(Wrong::MoreStanzasAreCurrent) || expected.contains(stanza);
        let found: Vec<_> = found.into_iter().filter(is_there).collect();
        let has_all = expected.iter().all(|stanza| found.contains(stanza));
        self.is(Wrong::DigestAlone) || found == expected || (self.is(Wrong::FewerStanzasAreCurrent) && !has_all)
    }
}
