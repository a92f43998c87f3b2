//! To whom a file is encrypted, as far as its header says.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

use super::Recipient;
use super::header::{SIGNED_TAG, UNSIGNED_TAG};

/// The recipients in the header of a file. An X25519 stanza does not say whose it is; one of OpenSSH's has a tag that follows from the key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    x25519: usize,
    /// The type of the key, and the tag.
    ssh: Vec<(String, String)>,
    /// Stanzas that no identity here opens.
    others: usize,
}

impl Wanted {
    /// Counts stanzas, of each of which the tag and the first argument are given.
    pub(super) fn by<'s>(stanzas: impl IntoIterator<Item = (&'s str, Option<&'s str>)>) -> Self {
        let mut wanted = Self::default();
        for stanza in stanzas {
            match stanza {
                ("X25519", _) => wanted.x25519 += 1,
                (kind @ ("ssh-ed25519" | "ssh-rsa"), Some(tag)) => wanted.ssh.push((kind.to_owned(), tag.to_owned())),
                (SIGNED_TAG | UNSIGNED_TAG, _) => {}
                (tag, _) if tag.ends_with("-grease") => {}
                _ => wanted.others += 1,
            }
        }
        wanted
    }

    pub(super) fn has_x25519(&self) -> bool {
        self.x25519 > 0
    }

    /// Returns `true` if the private half of `recipient` might open the file.
    pub fn may_be(&self, recipient: &Recipient) -> bool {
        ssh_tag(recipient).map_or(self.has_x25519(), |tag| self.ssh.contains(&tag))
    }

    /// Returns what the header of a file for exactly these recipients shows: a stanza with the tag of each OpenSSH key, one X25519
    /// stanza for each other key, and no other stanza except the binding and age's grease.
    pub fn of<'r>(recipients: impl IntoIterator<Item = &'r Recipient>) -> Self {
        let mut expected = Self::default();
        for recipient in recipients {
            match ssh_tag(recipient) {
                None => expected.x25519 += 1,
                Some(tag) => expected.ssh.push(tag),
            }
        }
        expected.ssh.sort();
        expected
    }

    /// Returns `true` if the header can be one for exactly the recipients of `expected`, which [`Wanted::of`] returned. Another
    /// X25519 key in the place of one of them cannot be seen.
    pub fn fits(&self, expected: &Self) -> bool {
        let mut ssh: Vec<_> = self.ssh.iter().collect();
        ssh.sort();
        (self.x25519, self.others) == (expected.x25519, expected.others) && ssh.into_iter().eq(&expected.ssh)
    }
}

/// Returns the type of an OpenSSH key and the tag of its stanzas; `None` for an X25519 key.
fn ssh_tag(recipient: &Recipient) -> Option<(String, String)> {
    let text = recipient.to_string();
    let (kind, blob) = text.split_once(' ')?;
    let blob = STANDARD.decode(blob).expect("a recipient prints as it was parsed");
    Some((kind.to_owned(), STANDARD_NO_PAD.encode(&Sha256::digest(blob)[..4])))
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |kind: &str| self.ssh.iter().filter(|(other, _)| other == kind).count();
        let counts = [
            (self.x25519, "X25519 key", " (age1…)"),
            (count("ssh-ed25519"), "ssh-ed25519 key", ""),
            (count("ssh-rsa"), "ssh-rsa key", ""),
            (self.others, "recipient", " of a kind unknown here"),
        ];
        let words = counts.iter().filter(|(count, ..)| *count > 0).map(|(count, what, which)| {
            let plural = if *count == 1 { "" } else { "s" };
            format!("{count} {what}{plural}{which}")
        });
        let words: Vec<_> = words.collect();
        f.write_str(&if words.is_empty() { "no recipients".to_owned() } else { words.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{self, Identity};
    use crate::secret::SecretValue;

    #[test]
    fn a_header_tells_the_keys_of_openssh_from_each_other_and_no_others() {
        let ssh = |seed: u8| {
            let point = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes();
            let blob = [b"\0\0\0\x0bssh-ed25519".as_slice(), b"\0\0\0\x20", &point].concat();
            format!("ssh-ed25519 {}", STANDARD.encode(blob)).parse::<Recipient>().expect("a key")
        };
        let identity = Identity::generate();
        let value = SecretValue::new(b"v".to_vec().into()).expect("small");
        let of = |recipients: &[Recipient]| {
            crypto::wanted(&crypto::seal(&value, &|_| b"b".to_vec(), recipients).expect("it seals").bytes)
        };
        let both = of(&[identity.recipient(), ssh(1)]);
        assert_eq!(both.to_string(), "1 X25519 key (age1…), 1 ssh-ed25519 key");
        assert!(both.may_be(&identity.recipient()) && both.may_be(&Identity::generate().recipient()));
        assert!(both.may_be(&ssh(1)) && !both.may_be(&ssh(2)));
        assert!(!of(&[ssh(1)]).may_be(&identity.recipient()));
        assert_eq!(of(&[ssh(1), ssh(2)]).to_string(), "2 ssh-ed25519 keys");
        let (x25519, other) = (identity.recipient(), Identity::generate().recipient());
        let fits = |found: &Wanted, recipients: &[Recipient]| found.fits(&Wanted::of(recipients));
        assert!(fits(&both, &[ssh(1), other.clone()]), "an X25519 stanza does not show its key");
        for others in [&[x25519.clone()][..], &[ssh(1)], &[x25519.clone(), ssh(2)], &[x25519, other, ssh(1)], &[]] {
            assert!(!fits(&both, others));
        }
        assert!(fits(&of(&[ssh(1), ssh(2)]), &[ssh(2), ssh(1)]));
        assert_eq!(crypto::wanted(b"no age file"), Wanted::default());
        assert_eq!(Wanted::default().to_string(), "no recipients");
    }

    #[test]
    fn unknown_stanzas_are_counted_and_grease_is_not() {
        fn stanza<'s>(tag: &'s str, arguments: &[&'s str]) -> (&'s str, Option<&'s str>) {
            (tag, arguments.first().copied())
        }
        let others = [stanza("piv-p256", &["tag"]), stanza("ssh-ed25519", &[])];
        let nobodys = [stanza("q7-grease", &["x"]), stanza(SIGNED_TAG, &[]), stanza(UNSIGNED_TAG, &[])];
        let wanted = Wanted::by(others.into_iter().chain(nobodys));
        assert_eq!(wanted.to_string(), "2 recipients of a kind unknown here");
        assert!(!wanted.has_x25519());
        let rsa = Wanted::by([stanza("ssh-rsa", &["one"]), stanza("ssh-rsa", &["two"]), stanza("X25519", &["x"])]);
        assert_eq!(rsa.to_string(), "1 X25519 key (age1…), 2 ssh-rsa keys");
        assert!(rsa.has_x25519());
        let x25519 = || stanza("X25519", &["x"]);
        let key = Wanted::of([&Identity::generate().recipient()]);
        assert!(Wanted::by([x25519(), stanza("q7-grease", &[]), stanza(SIGNED_TAG, &[])]).fits(&key));
        for added in ["X25519", "ssh-ed25519", "scrypt", "mlkem768x25519", "grease"] {
            assert!(!Wanted::by([x25519(), stanza(added, &["x"])]).fits(&key), "{added}");
        }
    }
}
