//! `vault.toml`: an open vault agrees with another reader of its text, and is the same vault after it is rewritten. Input: the
//! file.
#![no_main]

use flyte_local::vault::{Change, NamedAuthor, StateDirectory, VaultOptions};
use flyte_local_fuzz::{Home, author};
use libfuzzer_sys::fuzz_target;

thread_local!(static HOME: Home = Home::new());

fuzz_target!(|bytes: &[u8]| {
    HOME.with(|home| {
        home.clear();
        let path = home.put("vault.toml", bytes);
        let Ok(vault) = VaultOptions::new(StateDirectory::Ignored).open(&home.vault()) else { return };
        let text = std::str::from_utf8(bytes).expect("it was read");
        let table: toml::Table = text.parse().expect("it was read");
        assert!(matches!(table["format"].as_integer(), Some(1 | 2)));
        let id = table["id"].as_str().expect("it was read");
        assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        let recipients: Vec<_> = vault.recipients().iter().map(|r| (r.name.clone(), r.key.to_string())).collect();
        let authors: Vec<_> = vault.authors().iter().map(|a| (a.name.clone(), a.key.to_string())).collect();
        assert_eq!(keys(&table, "recipients"), lower(&recipients));
        assert_eq!(keys(&table, "authors"), lower(&authors));
        assert!(!recipients.is_empty());

        let mut vault = home.options().open(&home.vault()).expect("it is first met");
        let fingerprint = vault.fingerprint();
        vault.accept(&fingerprint).expect("nothing is in the way");
        let key = author().author();
        let is_listed = vault.authors().iter().any(|listed| listed.key == key);
        assert_eq!(vault.trust_author("another", &key).expect("nothing is in the way"), !is_listed);
        let again = home.options().open(&home.vault()).expect("our own format, and pinned");
        assert_eq!(again.changes(), Vec::<Change>::new());
        assert_eq!(again.recipients(), vault.recipients());
        let mut expected = authors;
        if is_listed {
            assert_eq!(std::fs::read(&path).expect("there"), bytes, "there was nothing to write");
        } else {
            expected.push(("another".to_owned(), key.to_string()));
        }
        let of = |authors: &[NamedAuthor]| -> Vec<_> {
            authors.iter().map(|author| (author.name.clone(), author.key.to_string())).collect()
        };
        assert_eq!(of(again.authors()), expected);
    });
});

type Named = Vec<(String, String)>;

/// Returns a list of keys as the file has it.
fn keys(table: &toml::Table, member: &str) -> Named {
    let Some(list) = table.get(member) else { return Named::new() };
    let part = |entry: &toml::Value, part: &str| entry[part].as_str().expect("a string").to_owned();
    let list = list.as_array().expect("a list").iter();
    lower(&list.map(|entry| (part(entry, "name"), part(entry, "key"))).collect::<Vec<_>>())
}

/// Returns the keys in lower case: bech32 allows upper case for a recipient; an author's key has one form.
fn lower(keys: &[(String, String)]) -> Named {
    keys.iter().map(|(name, key)| (name.clone(), key.to_ascii_lowercase())).collect()
}
