//! `config.toml`: the parsed settings agree with another reader, and read the same after they are printed. Input: the file.
#![no_main]

use flyte_local::config::Config;
use flyte_local::storage::Permissions;
use flyte_local_fuzz::put;
use libfuzzer_sys::fuzz_target;

thread_local!(static DIRECTORY: tempfile::TempDir = tempfile::TempDir::new().expect("a temporary directory"));

fuzz_target!(|bytes: &[u8]| {
    DIRECTORY.with(|directory| {
        let load = |bytes: &[u8]| {
            put(&directory.path().join("config.toml"), bytes);
            Config::load(directory.path(), Permissions::Checked)
                .map(|config| [config.project.map(String::from), config.domain.map(String::from)])
        };
        let Ok(found) = load(bytes) else { return };
        let table: toml::Table = std::str::from_utf8(bytes).expect("it was read").parse().expect("it was read");
        let names = ["project", "domain"];
        assert!(table.keys().all(|key| names.contains(&&**key)));
        assert_eq!(found, names.map(|name| table.get(name).map(|value| value.as_str().expect("a string").to_owned())));
        assert_eq!(load(table.to_string().as_bytes()).expect("our own text"), found);
    });
});
