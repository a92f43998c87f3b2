//! Pins of a vault: what is parsed agrees with another reader, decides which changes are reported, and reads the same after
//! it is printed. Input: the record of the path, that of a secret, and `pin.toml`, with a NUL between
//! each.
#![no_main]

use std::os::unix::ffi::OsStrExt;

use flyte_local::crypto;
use flyte_local::vault::{Change, Strictness, VaultError, VaultOptions};
use flyte_local_fuzz::{Home, VAULT_ID, fixture, id, identities, put};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

thread_local!(static HOME: Home = Home::new());

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(3, |&byte| byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (record, seen, pin) = (next(), next(), next());
    HOME.with(|home| {
        home.clear();
        let secret = std::fs::read(fixture("signed/secrets/org/text.age")).expect("readable");
        home.put("secrets/org/text.age", &secret);
        let real = home.vault().canonicalize().expect("it is there");
        put(&home.state().join("paths").join(crypto::digest(real.as_os_str().as_bytes())), record);
        let own = home.state().join("vaults").join(VAULT_ID);
        put(&own.join("pin.toml"), pin);
        put(&own.join("seen/org/text.pin"), seen);

        let open = || VaultOptions { strictness: Strictness::Errors, ..home.options() }.open(&home.vault());
        let mut vault = match open() {
            Ok(vault) => vault,
            Err(error) => {
                if matches!(error, VaultError::Unaccepted { .. }) {
                    assert!(pin.windows(5).any(|part| part == b"false"), "{error:?}");
                    return;
                }
                // The file is unchanged, so that the error stays.
                assert!(matches!(error, VaultError::Pin { .. } | VaultError::Storage(_)), "{error:?}");
                assert!(std::fs::read(own.join("pin.toml")).expect("there") == pin);
                return;
            }
        };
        let pinned: toml::Table = std::str::from_utf8(pin).expect("it was read").parse().expect("it was read");
        let listed: toml::Table =
            std::fs::read_to_string(home.vault().join("vault.toml")).expect("there").parse().expect("TOML");
        assert_eq!(vault.changes().iter().map(plain).collect::<Vec<_>>(), difference(&pinned, &listed));

        let text = id("", "", "text");
        let updated = vault.metadata(&text).expect("sound").updated;
        let known = std::str::from_utf8(seen).ok().map(str::trim_end);
        let known = known.map(|text| text.strip_suffix(" deleted").unwrap_or(text));
        let known = known.and_then(|time| time.parse::<Timestamp>().ok());
        // An author who is listed and not pinned is refused before any time is compared.
        let is_believed = keys(&pinned, "authors").iter().any(|key| keys(&listed, "authors").contains(key));
        match (vault.value(&text, &identities()), known) {
            (Ok(value), Some(known)) => assert!(is_believed && known <= updated && value.expose() == b"a value"),
            (Err(VaultError::Stale(_)), Some(known)) => assert!(is_believed && known > updated),
            (Err(VaultError::Refused { .. }), Some(_)) => assert!(!is_believed),
            (Err(VaultError::Pin { .. } | VaultError::Storage(_)), None) => return,
            (found, known) => panic!("{found:?} {known:?}"),
        }

        let fingerprint = vault.fingerprint();
        vault.accept(&fingerprint).expect("nothing is in the way");
        vault.accept_older().expect("nothing is in the way");
        let again = open().expect("our own format");
        assert!(again.changes().is_empty() && again.stale().expect("our own format").is_empty());
        assert!(again.value(&text, &identities()).is_ok());
    });
});

type Entry = (String, String);

fn plain(change: &Change) -> (bool, &'static str, Entry) {
    (change.is_new, change.what, (change.name.clone(), change.key.clone()))
}

/// Returns the names and keys of a list.
fn entries(table: &toml::Table, member: &str) -> Vec<Entry> {
    let text = |entry: &toml::Value, part: &str| entry[part].as_str().expect("a string").to_owned();
    let list = table[member].as_array().expect("a list").iter();
    list.map(|entry| (text(entry, "name"), text(entry, "key").to_ascii_lowercase())).collect()
}

fn keys(table: &toml::Table, member: &str) -> Vec<String> {
    entries(table, member).into_iter().map(|(_, key)| key).collect()
}

/// Returns the entries that only one of the files has.
fn difference(pinned: &toml::Table, listed: &toml::Table) -> Vec<(bool, &'static str, Entry)> {
    let mut changes = Vec::new();
    for (what, member) in [("recipient", "recipients"), ("author", "authors")] {
        let (old, new) = (entries(pinned, member), entries(listed, member));
        changes.extend(old.iter().filter(|entry| !new.contains(entry)).map(|entry| (false, what, entry.clone())));
        changes.extend(new.iter().filter(|entry| !old.contains(entry)).map(|entry| (true, what, entry.clone())));
    }
    changes
}
