//! Key files and public keys: a parsed key reads the same after it is printed. Input: the file. (Nothing is unlocked, because
//! that is slow on purpose, and a passphrase opens a file like any other.)
#![no_main]

use flyte_local::crypto::{Author, AuthorKey, Identity, IdentityFile, Recipient, Wanted};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let reads_the_same = |found: &Recipient| assert_eq!(found.to_string().parse().as_ref(), Ok(found));
    match IdentityFile::parse(bytes) {
        Ok(IdentityFile::Open(found)) => {
            assert!(!found.is_empty());
            found.iter().for_each(|identity| reads_the_same(&identity.recipient()));
        }
        Ok(IdentityFile::Locked(found)) => {
            found.recipient().into_iter().for_each(reads_the_same);
            assert!(!found.may_open(&Wanted::default()), "it claims to open a file without recipients");
            assert!(found.restore(b"").is_err());
        }
        // An error is short enough to read, and quotes nothing.
        Err(error) => assert!(error.to_string().len() < 1_000),
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(found) = Identity::parse_file(text) {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        // Keys of other kinds are passed over.
        assert!(lines.count() >= found.len());
        let printed: String = found.iter().map(|identity| identity.to_file("now").to_string()).collect();
        let again = Identity::parse_file(&printed).expect("our own format");
        let recipients = |identities: &[Identity]| identities.iter().map(Identity::recipient).collect::<Vec<_>>();
        assert_eq!(recipients(&again), recipients(&found));
    }
    if let Ok(found) = AuthorKey::parse_file(text) {
        let again = AuthorKey::parse_file(&found.to_file("now")).expect("our own format");
        assert_eq!(again.author(), found.author());
        assert!(found.author().has_signed(text.as_bytes(), &again.sign(text.as_bytes())));
        assert!(Identity::parse_file(text).is_err(), "one key is not taken for the other");
    }
    for line in text.lines() {
        if let Ok(found) = line.parse::<Recipient>() {
            reads_the_same(&found);
        }
        if let Ok(found) = line.parse::<Author>() {
            assert_eq!(found.to_string(), line, "a key has one form");
        }
    }
});
