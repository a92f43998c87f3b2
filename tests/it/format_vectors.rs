//! Compares this implementation with the vectors in `fixtures/vault-format`, and the format's document with it.

#![allow(clippy::disallowed_methods, reason = "copies of fixtures need not survive a power cut")]

use std::collections::BTreeSet;
use std::path::Path;

use crate::format_list::{SecretVector, bytes, fixtures, hexadecimal, vectors};
use crate::support::{open_unpinned, require, secret_id};
use flyte_local::crypto::{self, AuthorKey, EnvelopeError, Identity, IdentityFile};
use flyte_local::secret::{self, ScopeFilter, SecretValue};
use flyte_local::vault::{self, ManifestError, Metadata, SecretFileError, StateDirectory, VaultError, VaultOptions};

/// Returns the identities in a file of the fixtures.
fn identities(file: &str) -> Vec<Identity> {
    match IdentityFile::parse(&bytes(file)).expect("identities") {
        IdentityFile::Open(identities) => identities,
        IdentityFile::Locked(_) => panic!("{file} has a passphrase"),
    }
}

/// Returns the paths of the files below `directory`, as `vectors.toml` writes them.
fn files(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).expect("listed") {
        let path = entry.expect("listed").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let relative = path.strip_prefix(fixtures()).expect("below the fixtures");
            found.insert(relative.to_str().expect("UTF-8").to_owned());
        }
    }
    found
}

/// Copies one of the fixtures' vaults.
fn copy(vault: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    for file in files(&fixtures().join(vault)) {
        put(&file, &copy.path().join(Path::new(&file).strip_prefix(vault).expect("it is in the vault")));
    }
    copy
}

fn test_author() -> AuthorKey {
    let text = std::fs::read_to_string(fixtures().join("author.key")).expect("a signing key");
    AuthorKey::parse_file(&text).expect("one key")
}

fn put(file: &str, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("below the vault")).expect("its directory");
    std::fs::copy(fixtures().join(file), to).expect("copied");
}

/// Returns the README's word for a refusal.
fn reason(error: &VaultError) -> &'static str {
    let VaultError::Refused { source, .. } = error else {
        assert!(matches!(error, VaultError::CannotDecrypt { .. }), "{error:?}");
        return "cannot-decrypt";
    };
    match source {
        SecretFileError::Binding(_) => "binding",
        SecretFileError::Unsigned => "unsigned",
        SecretFileError::Forged => "forged",
        SecretFileError::UnknownAuthor(_) => "unknown-author",
        SecretFileError::OtherVault => "other-vault",
        SecretFileError::OtherSecret(_) => "other-secret",
        SecretFileError::Envelope(EnvelopeError::NotAge | EnvelopeError::Form(_)) => "not-age",
        SecretFileError::Envelope(EnvelopeError::Truncated) => "truncated",
        SecretFileError::Envelope(EnvelopeError::FileTooLarge) => "file-too-large",
        SecretFileError::Envelope(EnvelopeError::HeaderTooLarge) => "header-too-large",
        SecretFileError::Envelope(EnvelopeError::MalformedHeader) => "malformed-header",
        SecretFileError::Envelope(EnvelopeError::NoBinding) => "no-binding",
        SecretFileError::Envelope(EnvelopeError::Tampered) => "tampered",
        other => panic!("no vector expects {other:?}"),
    }
}

fn outcome<T>(result: &Result<T, VaultError>) -> &'static str {
    result.as_ref().map_or_else(reason, |_| "ok")
}

fn check_metadata(vector: &SecretVector, metadata: &Metadata) {
    let text = |time: &str| time.parse::<jiff::Timestamp>().expect("a time").to_string();
    let found = (metadata.secret_type.to_string(), metadata.created.to_string(), metadata.updated.to_string());
    assert_eq!(found, (vector.secret_type.clone(), text(&vector.created), text(&vector.updated)), "{}", vector.file);
}

/// Lists, reads, updates and deletes a vector's file at its place, and returns every difference from the expected
/// outcome.
fn try_secret(vector: &SecretVector) -> Vec<String> {
    let copy = copy(&vector.vault);
    let state = tempfile::tempdir().expect("a temporary directory");
    let path = copy.path().join("secrets").join(format!("{}.age", vector.place));
    std::fs::create_dir_all(path.parent().expect("below the vault")).expect("its directory");
    std::fs::write(&path, vector.bytes()).expect("written");
    let options = VaultOptions::new(StateDirectory::At(state.path().to_owned()));
    let mut vault = options.open(copy.path()).expect("the fixtures' vault opens").with_author(test_author());
    let id = secret_id(&vector.place);

    let listing = vault.list(&ScopeFilter::default()).expect("listed");
    let listed = match listing.secrets.iter().find(|metadata| metadata.id == id) {
        Some(metadata) => {
            if vector.read == "ok" || vector.read == "unsigned" {
                check_metadata(vector, metadata);
            }
            assert!(listing.refused.is_empty(), "{}: {:?}", vector.file, listing.refused);
            "ok"
        }
        None => reason(listing.refused.first().expect("it is either listed or refused")),
    };
    if let Some(stale) = vector.stale {
        let outdated = vault.encryption().expect("looked at").outdated;
        assert_eq!(outdated.contains(&id), stale, "{}", vector.file);
    }
    let value = vault.value(&id, &identities(&vector.identity));
    if let (Ok(value), "ok") = (&value, vector.read.as_str()) {
        assert!(hexadecimal(value.expose()) == vector.expected_value(), "{}: another value", vector.file);
    }
    // Only an accepted vault is written to.
    let fingerprint = vault.fingerprint();
    vault.accept(&fingerprint).expect("accepted");
    // A vault of format 1 has no author until one is added.
    vault.trust_author("owner", &test_author().author()).expect("pinned");
    let new = SecretValue::new(b"new".to_vec().into()).expect("small enough");
    let found = [
        ("list", listed, &*vector.list),
        ("metadata", outcome(&vault.metadata(&id)), &vector.list),
        ("read", outcome(&value), &vector.read),
        // An update has no identity: it checks what a list checks, and the signature of the binding.
        (
            "update",
            outcome(&vault.writer().and_then(|mut writer| writer.update_secret(&id, &new))),
            vector.expected_update(),
        ),
    ];
    vault.lock().expect("lockable").delete_secret(&id).expect("any file can be deleted");
    assert!(!path.exists(), "{}", vector.file);
    let differences = found.into_iter().filter(|(_, found, expected)| found != expected);
    differences.map(|(what, found, expected)| format!("{}: {what}: {found}, not {expected}", vector.file)).collect()
}

#[test]
fn the_list_of_vectors_names_exactly_the_files() {
    let vectors = vectors();
    let secrets = vectors.secret.iter().map(|vector| vector.file.clone());
    let listed = secrets.chain(vectors.manifest.iter().map(|vector| vector.file.clone()));
    let listed: Vec<_> = listed.chain(vectors.author_key.iter().map(|vector| vector.file.clone())).collect();
    let mut expected: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), expected.len(), "a file is listed twice");
    expected.extend(["README.md", "author.key", "identity.txt", "vectors.toml"].map(str::to_owned));
    expected.extend(["ssh-ed25519", "ssh-ed25519.pub", "ssh-rsa", "ssh-rsa.pub"].map(str::to_owned));
    assert_eq!(files(&fixtures()), expected);
}

#[test]
fn every_file_is_accepted_or_refused_as_the_list_says() {
    let differences: Vec<_> = vectors().secret.iter().flat_map(try_secret).collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn every_manifest_is_accepted_or_refused_as_the_list_says() {
    for vector in vectors().manifest {
        let copy = copy(&vector.vault);
        put(&vector.file, &copy.path().join("vault.toml"));
        let opened = match open_unpinned(copy.path()) {
            Ok(vault) => {
                let id = secret_id("org/text");
                let read = vault.value(&id, &identities("identity.txt"));
                assert_eq!(Some(outcome(&read)), vector.read.as_deref(), "{}", vector.file);
                "ok"
            }
            Err(VaultError::Manifest { source, .. }) => match source {
                ManifestError::TooLarge { .. } | ManifestError::TooManyMarks => "too-large",
                ManifestError::Syntax(_) | ManifestError::Form(_) => "syntax",
                ManifestError::Format { .. } => "format",
                ManifestError::Id => "id",
                ManifestError::Recipient { .. } => "recipient",
                ManifestError::Author { .. } => "author",
                ManifestError::NoRecipient => "no-recipient",
                ManifestError::TooMany { .. } => "too-many",
                ManifestError::LongName { .. } => "long-name",
                ManifestError::NotCanonical { .. } => "not-canonical",
                ManifestError::Repeated { .. } => "repeated",
            },
            Err(VaultError::Storage(error)) if error.is_too_large() => "too-large",
            Err(error) => panic!("{}: {error:?}", vector.file),
        };
        assert_eq!(opened, vector.open, "{}", vector.file);
    }
}

#[test]
fn every_file_of_an_authors_key_is_accepted_or_refused_as_the_list_says() {
    for vector in vectors().author_key {
        let text = String::from_utf8(bytes(&vector.file)).expect("UTF-8");
        let found = AuthorKey::parse_file(&text).ok().map(|key| key.author());
        let expected = (vector.parse == "ok").then(|| test_author().author());
        assert_eq!(found, expected, "{}", vector.file);
    }
}

#[test]
fn a_manifest_over_the_limit_is_refused_and_not_truncated() {
    let copy = copy("signed");
    let path = copy.path().join("vault.toml");
    let mut text = std::fs::read_to_string(&path).expect("the fixtures' manifest");
    // Cut at the limit, the manifest would be valid, but the whole file is not.
    text += &format!("#{}\nsurprise = 1\n", "x".repeat(256 << 10));
    std::fs::write(&path, text).expect("written");
    assert!(matches!(open_unpinned(copy.path()), Err(VaultError::Storage(error)) if error.is_too_large()));
}

#[test]
fn a_list_tells_which_places_of_secrets_are_refused_and_passes_over_other_entries() {
    let copy = copy("signed");
    let secrets = copy.path().join("secrets");
    for file in ["org/notes.txt", "org/.age", "org/text.AGE", "org/é.age", "org/.tmp", "other/a.age", "project/README"]
    {
        put("signed/secrets/org/text.age", &secrets.join(file));
    }
    for file in ["project/not.a.project/a.age", "org/below/a.age", "../org/a.age"] {
        put("signed/secrets/org/text.age", &secrets.join(file));
    }
    std::os::unix::fs::symlink("../org", secrets.join("project/linked")).expect("a link");
    std::os::unix::fs::symlink("text.age", secrets.join("org/link.age")).expect("a link");
    std::fs::create_dir(secrets.join("org/directory.age")).expect("a directory");
    let _socket = std::os::unix::net::UnixListener::bind(secrets.join("org/socket.age")).expect("a socket");

    let vault = open_unpinned(copy.path()).expect("it opens");
    let listing = vault.list(&ScopeFilter::default()).expect("listed");
    let names: Vec<_> = listing.secrets.iter().map(|metadata| metadata.id.to_string()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let refused = listing.refused.iter().map(|error| match error {
        VaultError::Refused { id, source: SecretFileError::NoFile, .. } => id.name.to_string(),
        other => panic!("{other:?}"),
    });
    assert_eq!(refused.collect::<Vec<_>>(), ["directory", "link", "socket"]);
    for place in ["project/linked/text", "project/README/text"] {
        let read = vault.value(&secret_id(place), &identities("identity.txt"));
        assert!(matches!(read, Err(VaultError::Storage(_))), "{place}: {read:?}");
    }
    std::fs::write(secrets.join("domain"), "").expect("written");
    assert!(matches!(vault.list(&ScopeFilter::default()), Err(VaultError::Storage(_))));
}

#[test]
#[ignore = "needs age: scripts/test"]
fn age_prints_the_value_of_every_file_that_is_sound() {
    require("age", "age");
    let is_sound = |vector: &&SecretVector| vector.read == "ok" || vector.value.is_some();
    for vector in vectors().secret.iter().filter(is_sound) {
        let mut age = std::process::Command::new("age");
        age.arg("-d").arg("-i").arg(fixtures().join(&vector.identity)).arg(fixtures().join(&vector.file));
        let output = age.output().expect("age starts");
        assert!(output.status.success(), "{}: {}", vector.file, String::from_utf8_lossy(&output.stderr));
        assert!(hexadecimal(&output.stdout) == vector.expected_value(), "{}: another value", vector.file);
    }
}

#[test]
fn the_limits_in_the_document_are_those_of_the_code() {
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vault-format.md"));
    let document = document.expect("the format's document");
    for (what, limit) in [
        ("stanzas in a header", crypto::MAX_STANZAS),
        ("arguments in a header", crypto::MAX_ARGUMENTS),
        ("lines of a header", crypto::MAX_HEADER_LINES),
        ("recipients in `vault.toml`", vault::MAX_RECIPIENTS),
        ("authors in `vault.toml`", 256),
        ("characters of the name of either", 64),
        ("bytes of a header", crypto::MAX_HEADER_BYTES),
        ("bytes of a value", secret::MAX_VALUE_BYTES),
        ("bytes of a file", crypto::MAX_FILE_BYTES),
        ("bytes of a secret's name", 251),
        ("bytes of a project or domain", 63),
        ("bytes of `vault.toml`", 256 << 10),
        ("characters `.`, `,`, `=`, `[` and `{` in `vault.toml`, together", 32 << 10),
    ] {
        assert!(document.contains(&format!("| {what} | {limit} |")), "{what}: {limit}");
    }
    assert!(
        "x".repeat(251).parse::<secret::SecretName>().is_ok() && "x".repeat(252).parse::<secret::SecretName>().is_err()
    );
    assert!("x".repeat(63).parse::<secret::Project>().is_ok() && "x".repeat(64).parse::<secret::Project>().is_err());
}

#[test]
fn the_documents_example_is_the_binding_of_a_vector() {
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vault-format.md"));
    let document = document.expect("the format's document");
    let example = document.split("```json\n").nth(1).and_then(|rest| rest.split("\n```").next()).expect("an example");
    let example: serde_json::Value = serde_json::from_str(example).expect("JSON");
    let vector = &vectors().secret[0];
    let file = std::fs::read(fixtures().join(&vector.file)).expect("a vector");
    let written: serde_json::Value =
        serde_json::from_slice(&crypto::peek(&file).expect("a binding").binding.body).expect("JSON");
    assert_eq!(example, written, "the example is the binding of {}", vector.file);
}
