//! A reader with several identities reads what one of them opens alone, in whatever order it tries them.

use crate::format_list::{bytes, vectors};
use flyte_local::crypto::{self, EnvelopeError, Identity, IdentityFile};

/// The identities of the vault `team`.
const FILES: [&str; 3] = ["identity.txt", "ssh-ed25519", "ssh-rsa"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Value(Vec<u8>),
    Refused,
    CannotDecrypt,
}

/// Opens a file with the identities in these files, in this order.
fn open(secret: &[u8], files: &[&str]) -> Outcome {
    let identities: Vec<Identity> = files
        .iter()
        .flat_map(|file| match IdentityFile::parse(&bytes(file)).expect("identities") {
            IdentityFile::Open(identities) => identities,
            IdentityFile::Locked(_) => panic!("{file} has a passphrase"),
        })
        .collect();
    match crypto::open(secret, &identities) {
        Ok(opened) => Outcome::Value(opened.value.expose().to_vec()),
        Err(EnvelopeError::Tampered) => Outcome::Refused,
        Err(EnvelopeError::NoMatchingIdentity) => Outcome::CannotDecrypt,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_order_of_identities_does_not_change_the_result() {
    let vectors = vectors();
    let of_team: Vec<_> = vectors.secret.iter().filter(|vector| vector.vault == "team").collect();
    assert!(of_team.len() > 20, "the vectors of this vault");
    let mut differences = Vec::new();
    for vector in of_team {
        let secret = vector.bytes();
        let alone = FILES.map(|file| open(&secret, &[file]));
        for first in 0..FILES.len() {
            for second in (0..FILES.len()).filter(|&second| second != first) {
                let single = [&alone[first], &alone[second]];
                let value = single.iter().find(|outcome| matches!(outcome, Outcome::Value(_)));
                let refused = single.iter().find(|outcome| ***outcome == Outcome::Refused);
                let expected = *value.or(refused).unwrap_or(&single[0]);
                let found = open(&secret, &[FILES[first], FILES[second]]);
                if found != *expected {
                    let files = (FILES[first], FILES[second]);
                    differences.push(format!("{} {files:?}: {found:?}, not {expected:?}", vector.file));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}
