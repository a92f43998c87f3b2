//! Hints for a key of a kind that is not used here.

use std::path::Path;

use crate::cli::shell::quoted;
use flyte_local::crypto::{AuthorError, ForeignKey, KeyHalf, KeyKind};

/// A hint for keys of kinds that age cannot encrypt to.
pub(crate) const ANOTHER_KEY: &str =
    "ask its owner to create another one: flyte-local create identity, or ssh-keygen -t ed25519";

/// A hint for a private key that neither age nor OpenSSH can make usable.
pub(crate) const CREATE_ONE: &str = "create a new one: flyte-local create identity, or ssh-keygen -t ed25519";

/// A hint for a private key that was given as a public one.
pub(crate) const EXPOSED: &str =
    "remove this one from your shell's history, and stop using it if anyone may have seen it";

/// A hint for a private key in a file of public ones.
pub(crate) const EXPOSED_IN_FILE: &str = "stop using it if anyone else may have seen this file";

/// Returns hints for a key that was to become a recipient. `file` is where it is, unless it was typed.
pub(crate) fn as_recipient(key: &ForeignKey, file: Option<&Path>) -> Vec<String> {
    let exposed = if file.is_some() { EXPOSED_IN_FILE } else { EXPOSED };
    let file = file.map_or("FILE".to_owned(), quoted);
    let mut hints = vec![match key.kind {
        KeyKind::Pem(format) => format!("convert it: ssh-keygen -i -m {format} -f {file}"),
        KeyKind::SshCom if key.half == KeyHalf::Public => format!("convert it: ssh-keygen -i -f {file}"),
        KeyKind::Certificate => {
            format!("give its key: openssl x509 -pubkey -noout -in {file} | ssh-keygen -i -m PKCS8 -f /dev/stdin")
        }
        KeyKind::Putty | KeyKind::SshCom => format!("give the public half: puttygen {file} -L"),
        KeyKind::Fingerprint => "give the key itself, which is a line of the file that ends in .pub".to_owned(),
        KeyKind::Author => "give the key that the author opens secrets with: flyte-local get identity".to_owned(),
        KeyKind::Plugin(_)
        | KeyKind::Tagged
        | KeyKind::PostQuantum
        | KeyKind::Pgp
        | KeyKind::Minisign
        | KeyKind::Signature => ANOTHER_KEY.to_owned(),
    }];
    hints.extend((key.half == KeyHalf::Private).then(|| exposed.to_owned()));
    hints
}

/// Returns hints for a text that was to become an author.
pub(crate) fn as_author(error: &AuthorError) -> Vec<String> {
    let is_private = match error {
        AuthorError::Foreign(key) => key.half == KeyHalf::Private,
        AuthorError::PrivateKey => true,
        AuthorError::Recipient | AuthorError::Malformed => false,
    };
    let mut hints = vec!["give the key that the author's own machine shows: flyte-local get identity".to_owned()];
    hints.extend(is_private.then(|| EXPOSED.to_owned()));
    hints
}

/// Returns hints for a key in the place of an identity.
pub(crate) fn as_identity(key: &ForeignKey, file: Option<&Path>) -> Vec<String> {
    let file = file.map_or("FILE".to_owned(), quoted);
    vec![match (&key.kind, key.half) {
        (KeyKind::Putty, _) | (KeyKind::SshCom, KeyHalf::Private) => {
            format!("convert it: puttygen {file} -O private-openssh -o {file}.openssh")
        }
        (KeyKind::Author, _) => "name the file of your identity; this one is your signing key".to_owned(),
        (KeyKind::Pem(_) | KeyKind::SshCom | KeyKind::Certificate, _) => "name the file of the private key".to_owned(),
        _ => CREATE_ONE.to_owned(),
    }]
}
