//! A second reader of the vault format agrees with every test vector, and each of many wrong readers differs from at least one.

use std::collections::BTreeMap;

use crate::format_list::{ManifestVector, SecretVector, Vectors, bytes, hexadecimal, vectors};
use crate::format_reader::{Key, Reader, Vault, Verdict, Wrong};
use crate::support::tally;

/// The files that the vectors need, each read once.
struct Files {
    manifests: BTreeMap<String, Vec<u8>>,
    secrets: Vec<Vec<u8>>,
    keys: BTreeMap<String, Key>,
    of_manifests: BTreeMap<String, (Vec<u8>, Vec<u8>)>,
}

impl Files {
    fn of(vectors: &Vectors) -> Self {
        let manifest = |vault: &String| (vault.clone(), bytes(&format!("{vault}/vault.toml")));
        let key = |file: &String| (file.clone(), Key::parse(&String::from_utf8(bytes(file)).expect("UTF-8")));
        let of_manifest = |vector: &ManifestVector| {
            let secret = bytes(&format!("{}/secrets/org/text.age", vector.vault));
            (vector.file.clone(), (bytes(&vector.file), secret))
        };
        Self {
            manifests: vectors.secret.iter().map(|vector| manifest(&vector.vault)).collect(),
            secrets: vectors.secret.iter().map(SecretVector::bytes).collect(),
            keys: vectors.secret.iter().map(|vector| key(&vector.identity)).collect(),
            of_manifests: vectors.manifest.iter().map(of_manifest).collect(),
        }
    }
}

/// Returns the first outcome in which a reader differs from a vector.
fn difference(
    reader: &Reader,
    vault: Option<&Vault>,
    vector: &SecretVector,
    files: &Files,
    file: &[u8],
) -> Option<&'static str> {
    let Some(vault) = vault else { return Some("open") };
    let listed = reader.list(vault, &vector.place, file);
    if listed.is_some() != (vector.list == "ok") {
        return Some("list");
    }
    let right = Reader { wrong: None };
    let time = |text: &str| right.time(text).expect("a time");
    let is_shown = listed.is_none_or(|shown| {
        shown.secret_type == vector.secret_type
            && (shown.created, shown.updated) == (time(&vector.created), time(&vector.updated))
    });
    if !is_shown && ["ok", "unsigned"].contains(&vector.read.as_str()) {
        return Some("metadata");
    }
    if vector.stale.is_some_and(|stale| reader.is_stale(vault, &vector.place, file) != stale) {
        return Some("stale");
    }
    if reader.may_update(vault, &vector.place, file) != (vector.expected_update() == "ok") {
        return Some("update");
    }
    let is_read = match reader.read(vault, &vector.place, file, &files.keys[&vector.identity]) {
        Verdict::Value(value) => vector.read == "ok" && hexadecimal(&value) == vector.expected_value(),
        Verdict::CannotDecrypt => vector.read == "cannot-decrypt",
        Verdict::Refused => !["ok", "cannot-decrypt"].contains(&vector.read.as_str()),
    };
    if is_read { None } else { Some("read") }
}

fn manifest_difference(reader: &Reader, vector: &ManifestVector, files: &Files) -> Option<&'static str> {
    let (manifest, secret) = &files.of_manifests[&vector.file];
    match reader.vault(manifest) {
        None if vector.open == "ok" => Some("open"),
        None => None,
        Some(_) if vector.open != "ok" => Some("open"),
        Some(vault) => {
            let read = reader.read(&vault, "org/text", secret, &files.keys["identity.txt"]);
            let is_read = matches!(read, Verdict::Value(_)) == (vector.read.as_deref() == Some("ok"));
            if is_read { None } else { Some("read") }
        }
    }
}

/// Returns the differences of a reader from the vectors, lazily.
fn differences<'a>(
    reader: &'a Reader,
    vectors: &'a Vectors,
    files: &'a Files,
) -> impl Iterator<Item = (&'a str, &'static str)> {
    let manifests = vectors
        .manifest
        .iter()
        .filter_map(move |vector| manifest_difference(reader, vector, files).map(|what| (vector.file.as_str(), what)));
    let parsed = files.manifests.iter().map(|(name, manifest)| (name, reader.vault(manifest)));
    let vaults: BTreeMap<&String, Option<Vault>> = parsed.collect();
    let secrets = vectors.secret.iter().zip(&files.secrets).filter_map(move |(vector, file)| {
        difference(reader, vaults[&vector.vault].as_ref(), vector, files, file).map(|what| (vector.file.as_str(), what))
    });
    let author_keys = vectors.author_key.iter().filter_map(move |vector| {
        let text = String::from_utf8(bytes(&vector.file)).expect("UTF-8");
        let is_parsed = reader.author_key(&text).is_some();
        (is_parsed != (vector.parse == "ok")).then_some((vector.file.as_str(), "parse"))
    });
    author_keys.chain(manifests).chain(secrets)
}

#[test]
fn a_reader_written_from_the_document_agrees_with_every_vector() {
    let vectors = vectors();
    let files = Files::of(&vectors);
    let reader = Reader { wrong: None };
    let found: Vec<_> = differences(&reader, &vectors, &files).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn each_wrong_reader_differs_from_at_least_one_vector() {
    let vectors = vectors();
    let files = Files::of(&vectors);
    let passes = |wrong: &&Wrong| {
        let reader = Reader { wrong: Some(**wrong) };
        differences(&reader, &vectors, &files).next().is_none()
    };
    let uncaught: Vec<&Wrong> = Wrong::ALL.iter().filter(passes).collect();
    tally(&format!(
        "vault format: {} of {} wrong readers are caught by {} vectors",
        Wrong::ALL.len() - uncaught.len(),
        Wrong::ALL.len(),
        vectors.secret.len() + vectors.manifest.len() + vectors.author_key.len()
    ));
    assert!(uncaught.is_empty(), "no vector notices {uncaught:?}");
}
