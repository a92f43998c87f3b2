//! Whole files under a real identity: a file opens only if it was sealed on purpose, whatever its bytes. Only the fixtures
//! were sealed to this identity, so a file that opens has one of their bindings with its value. Input: a file.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use flyte_local::crypto;
use flyte_local_fuzz::{Home, files, fixture, id, identities, path};
use libfuzzer_sys::fuzz_target;

/// The binding's version and body, and the value, of each fixture that opens.
static SEALED: LazyLock<BTreeSet<(bool, Vec<u8>, Vec<u8>)>> = LazyLock::new(|| {
    let all = files(&fixture("")).into_iter().filter(|file| file.ends_with(".age"));
    let opened = all.filter_map(|file| {
        let bytes = std::fs::read(fixture(&file)).expect("readable");
        let opened = crypto::open(&bytes, &identities()).ok()?;
        Some((opened.binding.is_signed, opened.binding.body, opened.value.expose().to_vec()))
    });
    let sealed: BTreeSet<_> = opened.collect();
    assert!(sealed.len() > 20, "the fixtures were not found");
    sealed
});

/// The secrets of the vault of format 2.
const SECRETS: [(&str, &[u8]); 3] = [("text", b"a value"), ("empty", b""), ("not_utf8", b"\xff\0\n")];

thread_local!(static HOME: Home = Home::new());

fuzz_target!(|file: &[u8]| {
    if let Ok(opened) = crypto::open(file, &identities()) {
        let found = (opened.binding.is_signed, opened.binding.body, opened.value.expose().to_vec());
        assert!(SEALED.contains(&found), "a file opens that was never sealed");
        let peeked = crypto::peek(file).expect("what opens has a header").binding;
        assert_eq!((peeked.is_signed, peeked.body), (found.0, found.1));
    }
    HOME.with(|home| {
        home.clear();
        for (name, _) in SECRETS {
            home.put(path(&id("", "", name)), file);
        }
        let vault = home.open();
        let values = SECRETS.map(|(name, value)| {
            let opened = vault.value(&id("", "", name), &identities()).ok()?;
            assert_eq!(opened.expose(), value, "{name}");
            Some(())
        });
        assert!(values.iter().flatten().count() < 2, "one file is two secrets");
    });
});
