//! Keys of kinds that are not used here, recognised so that an error calls them by their names.

use std::fmt;

use bech32::Bech32;
use bech32::primitives::decode::CheckedHrpstring;

/// A key of a kind that secrets are not encrypted to here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its kind.
    pub kind: KeyKind,
    /// The half that it is.
    pub half: KeyHalf,
}

/// One half of a pair of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyHalf {
    /// The half that everyone may have.
    Public,
    /// The half that opens what is encrypted to the other.
    Private,
}

/// A kind of key that is not used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// A key of an age plugin. The plugin's name, if the checksum shows that the text is whole.
    Plugin(Option<String>),
    /// A recipient in hardware, for which age encrypts without a plugin: `age1tag1…`, `age1tagpq1…`.
    Tagged,
    /// A post-quantum key of age's: `age1pq1…`.
    PostQuantum,
    /// PGP's.
    Pgp,
    /// OpenSSL's PKCS#1 or PKCS#8: the format's name for `ssh-keygen -m`.
    Pem(&'static str),
    /// An X.509 certificate.
    Certificate,
    /// The format of ssh.com, RFC 4716.
    SshCom,
    /// PuTTY's.
    Putty,
    /// The fingerprint of an OpenSSH key, not a key.
    Fingerprint,
    /// The key of an author of a vault, which signs.
    Author,
    /// Minisign's or signify's, which signs.
    Minisign,
    /// A signature that such a key made, not a key.
    Signature,
}

/// The types of OpenSSH keys, other than `ssh-ed25519` and `ssh-rsa`, by which a line of a key file may begin.
const SSH_TYPES: [&str; 12] = [
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "ssh-dss",
    "ssh-ed25519-cert-v01@openssh.com",
    "ssh-rsa-cert-v01@openssh.com",
    "rsa-sha2-256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
];

/// The beginnings of keys of each kind. The first that fits counts.
const BEGINNINGS: [(&str, KeyKind, KeyHalf); 13] = [
    ("age1pq1", KeyKind::PostQuantum, KeyHalf::Public),
    ("AGE-SECRET-KEY-PQ-1", KeyKind::PostQuantum, KeyHalf::Private),
    ("age1tag1", KeyKind::Tagged, KeyHalf::Public),
    ("age1tagpq1", KeyKind::Tagged, KeyHalf::Public),
    ("-----BEGIN PGP PUBLIC KEY", KeyKind::Pgp, KeyHalf::Public),
    ("-----BEGIN PGP PRIVATE KEY", KeyKind::Pgp, KeyHalf::Private),
    ("-----BEGIN PUBLIC KEY", KeyKind::Pem("PKCS8"), KeyHalf::Public),
    ("-----BEGIN RSA PUBLIC KEY", KeyKind::Pem("PEM"), KeyHalf::Public),
    ("-----BEGIN CERTIFICATE", KeyKind::Certificate, KeyHalf::Public),
    ("PuTTY-User-Key-File-", KeyKind::Putty, KeyHalf::Private),
    ("SHA256:", KeyKind::Fingerprint, KeyHalf::Public),
    ("flyteauthor1", KeyKind::Author, KeyHalf::Public),
    ("FLYTE-AUTHOR-KEY-1", KeyKind::Author, KeyHalf::Private),
];

/// Plugins that are widely used. Their keys are called by their names even if they are cut.
const PLUGINS: [&str; 6] = ["yubikey", "tpm", "se", "fido2-hmac", "openpgp-card", "sss"];

impl ForeignKey {
    /// Recognises a key by the beginning of its text.
    pub fn of(text: &str) -> Option<Self> {
        let known = BEGINNINGS.into_iter().find(|(beginning, ..)| text.starts_with(beginning));
        known.map(|(_, kind, half)| Self { kind, half }).or_else(|| by_first_line(text)).or_else(|| plugin(text))
    }

    /// Returns the type of an OpenSSH key, a word of OpenSSH's, that age cannot encrypt to.
    pub(super) fn ssh_type(text: &str) -> Option<&'static str> {
        let first = text.split_ascii_whitespace().next().unwrap_or_default();
        SSH_TYPES.into_iter().find(|kind| *kind == first)
    }
}

/// Recognises the files whose first line says at its end which half they hold: those of ssh.com, minisign and signify.
fn by_first_line(text: &str) -> Option<ForeignKey> {
    let line = text.lines().next()?.trim_end();
    if let Some(label) = line.strip_prefix("---- BEGIN SSH2 ") {
        let half = if label.contains("PRIVATE KEY") { KeyHalf::Private } else { KeyHalf::Public };
        return Some(ForeignKey { kind: KeyKind::SshCom, half });
    }
    // The user may choose the words before these.
    let comment = line.strip_prefix("untrusted comment: ")?;
    if comment.starts_with("signature from ") || comment.starts_with("verify with ") {
        Some(ForeignKey { kind: KeyKind::Signature, half: KeyHalf::Public })
    } else if comment.ends_with("secret key") {
        Some(ForeignKey { kind: KeyKind::Minisign, half: KeyHalf::Private })
    } else if comment.contains("public key") {
        Some(ForeignKey { kind: KeyKind::Minisign, half: KeyHalf::Public })
    } else {
        None
    }
}

/// Recognises `age1NAME1…` and `AGE-PLUGIN-NAME-1…`.
fn plugin(text: &str) -> Option<ForeignKey> {
    let is_whole = CheckedHrpstring::new::<Bech32>(text).is_ok();
    // As bech32 reads it: the last 1 ends the prefix.
    let prefix = text.rsplit_once('1').map_or("", |(prefix, _)| prefix);
    let (name, half) = if let Some(name) = prefix.strip_prefix("age1") {
        (name.to_owned(), KeyHalf::Public)
    } else if text.starts_with("AGE-PLUGIN-") {
        let name = prefix.strip_prefix("AGE-PLUGIN-").and_then(|name| name.strip_suffix('-'));
        (name.unwrap_or_default().to_ascii_lowercase(), KeyHalf::Private)
    } else {
        return None;
    };
    // Without its checksum, the text may be anything, a value too.
    let named = (is_whole || PLUGINS.contains(&name.as_str())) && !name.is_empty();
    match (named, half) {
        (true, half) => Some(ForeignKey { kind: KeyKind::Plugin(Some(name)), half }),
        (false, KeyHalf::Private) => Some(ForeignKey { kind: KeyKind::Plugin(None), half }),
        // It may be an ordinary key that is damaged.
        (false, KeyHalf::Public) => None,
    }
}

impl fmt::Display for ForeignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_public = self.half == KeyHalf::Public;
        match (&self.kind, if is_public { "public" } else { "private" }) {
            (KeyKind::Plugin(name), _) => {
                f.write_str(if is_public { "a recipient" } else { "an identity" })?;
                match name {
                    Some(name) => write!(f, " of the plugin age-plugin-{name}"),
                    None => f.write_str(" of an age plugin"),
                }
            }
            (KeyKind::Tagged, _) => f.write_str("a recipient for hardware keys (age1tag…)"),
            (KeyKind::PostQuantum, _) if is_public => f.write_str("a post-quantum recipient (age1pq1…)"),
            (KeyKind::PostQuantum, _) => f.write_str("a post-quantum identity (AGE-SECRET-KEY-PQ-1…)"),
            (KeyKind::Pgp, half) => write!(f, "a PGP {half} key"),
            (KeyKind::Pem("PEM"), half) => write!(f, "a {half} key in the format PKCS#1"),
            (KeyKind::Pem(_), half) => write!(f, "a {half} key in the format PKCS#8"),
            (KeyKind::Certificate, _) => f.write_str("an X.509 certificate"),
            (KeyKind::SshCom, half) => write!(f, "a {half} key in the format of ssh.com"),
            (KeyKind::Putty, half) => write!(f, "a {half} key in PuTTY's format"),
            (KeyKind::Fingerprint, _) => f.write_str("the fingerprint of a key, not the key"),
            (KeyKind::Author, half) => write!(f, "the {half} key of an author, which signs secrets and opens none"),
            (KeyKind::Minisign, half) => write!(f, "a {half} key for signatures"),
            (KeyKind::Signature, _) => f.write_str("a signature, not a key"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugins_name_is_taken_from_a_whole_key_alone() {
        let key = |prefix: &str| {
            bech32::encode::<Bech32>(bech32::Hrp::parse(prefix).expect("a prefix"), &[7; 33]).expect("short")
        };
        let name = |text: &str| match ForeignKey::of(text) {
            Some(ForeignKey { kind: KeyKind::Plugin(name), half }) => Some((name, half)),
            None => None,
            other => panic!("{other:?}"),
        };
        let (public, private) = (key("age1my-own"), key("age-plugin-my-own-").to_ascii_uppercase());
        assert_eq!(name(&public), Some((Some("my-own".to_owned()), KeyHalf::Public)));
        assert_eq!(name(&private), Some((Some("my-own".to_owned()), KeyHalf::Private)));
        // Cut, they could be anything.
        assert_eq!(name(&public[..public.len() - 1]), None);
        assert_eq!(name(&private[..private.len() - 1]), Some((None, KeyHalf::Private)));
        assert_eq!(name("age1yubikey1qqq"), Some((Some("yubikey".to_owned()), KeyHalf::Public)));
        assert_eq!(name("age1hunter21qqq"), None);
        assert_eq!(name(&key("age")), None);
    }
}
