//! A value is read only if one of the vault's authors signed the file, for this place and this value.

#![allow(clippy::disallowed_methods, reason = "tests damage files as any program could")]

use std::cell::RefCell;

use crate::support::{Ran, Sandbox, forger, require, secret_id};
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use flyte_local::crypto::{self, AuthorKey, SIGNED_TAG, UNSIGNED_TAG};
use flyte_local::vault::{SecretFileError, VaultError};
use hmac::{Hmac, Mac};
use serde_json::Value;

/// Returns a sandbox whose vault has two secrets.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "a value"]);
    sandbox.ok(&["create", "secret", "other", "another value"]);
    sandbox
}

fn recipient(sandbox: &Sandbox) -> String {
    sandbox.identities()[0].recipient().to_string()
}

/// Returns the body of a secret's binding.
fn body(sandbox: &Sandbox, place: &str) -> Vec<u8> {
    crypto::peek(&std::fs::read(sandbox.secret_file(place)).expect("it was created")).expect("it has one").binding.body
}

fn json(sandbox: &Sandbox, place: &str) -> Value {
    serde_json::from_slice(&body(sandbox, place)).expect("JSON")
}

/// Puts a file in the place of the secret `s`, and asserts that no command reads or overwrites it.
fn refused(sandbox: &Sandbox, file: &[u8], reason: &str) -> Ran {
    let ran = unread(sandbox, file, reason);
    let updated = sandbox.run(&["update", "secret", "s", "new"]);
    assert_eq!(updated.code, 13, "{updated:?}");
    assert_eq!(std::fs::read(sandbox.secret_file("org/s")).expect("there"), file, "it was overwritten");
    ran
}

/// Puts a file in the place of the secret `s`, and asserts that no command reads it.
fn unread(sandbox: &Sandbox, file: &[u8], reason: &str) -> Ran {
    std::fs::write(sandbox.secret_file("org/s"), file).expect("written");
    let ran = sandbox.run(&["exec", "--secret", "s", "--", "env"]);
    assert!(ran.code == 13 && !ran.all().contains("S="), "{ran:?}");
    let ran = sandbox.run(&["get", "secret", "s", "--reveal"]);
    assert_eq!((ran.code, ran.stdout.len()), (13, 0), "{ran:?}");
    assert!(ran.stderr.contains(reason), "not {reason}: {ran:?}");
    ran
}

#[test]
fn a_copied_binding_does_not_fit_another_value() {
    let sandbox = filled();
    let forged = forger::file(&recipient(&sandbox), SIGNED_TAG, &body(&sandbox, "org/s"), b"planted");
    unread(&sandbox, &forged, "its signature does not hold");
    // The binding does not fit the same value in another file either: the commitment depends on the file's key.
    let forged = forger::file(&recipient(&sandbox), SIGNED_TAG, &body(&sandbox, "org/s"), b"a value");
    unread(&sandbox, &forged, "its signature does not hold");
    // An update opens no value: it keeps only what the binding says, and that is still the original.
    sandbox.ok(&["update", "secret", "s", "new"]);
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"new");
}

#[test]
fn a_signature_does_not_fit_another_binding() {
    let sandbox = filled();
    let (ours, other) = (json(&sandbox, "org/s"), json(&sandbox, "org/other"));
    let forged = |changes: &[(&str, Value)]| {
        let mut json = ours.clone();
        changes.iter().for_each(|(member, value)| json[*member] = value.clone());
        let body = serde_json::to_vec(&json).expect("JSON");
        refused(
            &sandbox,
            &forger::file(&recipient(&sandbox), SIGNED_TAG, &body, b"planted"),
            "signature does not hold",
        );
    };
    forged(&[("updated", "2999-01-01T00:00:00Z".into())]);
    forged(&[("created", "1999-01-01T00:00:00Z".into())]);
    forged(&[("type", "image_pull".into())]);
    forged(&[("commitment", other["commitment"].clone())]);
    forged(&[("signature", other["signature"].clone())]);
    forged(&[("commitment", other["commitment"].clone()), ("signature", other["signature"].clone())]);
    let theirs = AuthorKey::generate().expect("randomness");
    forged(&[("author", theirs.author().to_string().into())]);
}

#[test]
fn malformed_signatures_and_keys_are_refused() {
    let sandbox = filled();
    let ours = json(&sandbox, "org/s");
    let forged = |member: &str, value: String| {
        let mut json = ours.clone();
        json[member] = value.into();
        let body = serde_json::to_vec(&json).expect("JSON");
        refused(
            &sandbox,
            &forger::file(&recipient(&sandbox), SIGNED_TAG, &body, b"a value"),
            "its binding is not underst",
        );
    };
    let signature = STANDARD.decode(ours["signature"].as_str().expect("a string")).expect("base64");
    forged("signature", String::new());
    forged("signature", STANDARD.encode(&signature[1..]));
    forged("signature", STANDARD_NO_PAD.encode(&signature));
    forged("commitment", STANDARD.encode([0; 33]));
    // A key of small order, for which one signature fits many messages.
    let prefix = bech32::Hrp::parse("flyteauthor").expect("a prefix");
    forged("author", bech32::encode::<bech32::Bech32>(prefix, &[0; 32]).expect("short enough"));
    forged("author", ours["author"].as_str().expect("a string").to_uppercase());
    forged("author", recipient(&sandbox));
}

#[test]
fn a_file_with_an_unsigned_or_a_second_binding_is_refused() {
    let sandbox = filled();
    let file = std::fs::read(sandbox.secret_file("org/s")).expect("there");
    let unsigned = forger::file(&recipient(&sandbox), UNSIGNED_TAG, &body(&sandbox, "org/s"), b"planted");
    refused(&sandbox, &unsigned, "it is not signed");
    // A file with both bindings is refused: two readers might each take a different one.
    let text = String::from_utf8_lossy(&file).into_owned();
    assert_eq!(text.matches(SIGNED_TAG).count(), 1);
    let at = file.windows(4).position(|window| window == b"\n---").expect("a MAC") + 1;
    let both = [&file[..at], b"-> flyte-local/secret-v1\ne30\n", &file[at..]].concat();
    refused(&sandbox, &both, "");
}

/// An identity that keeps the file key of the file that it opens.
struct Keeper(age::x25519::Identity, RefCell<Option<[u8; 16]>>);

impl age::Identity for Keeper {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        let found = self.0.unwrap_stanza(stanza);
        if let Some(Ok(key)) = &found {
            *self.1.borrow_mut() = Some(*key.expose_secret());
        }
        found
    }
}

/// The strongest forger is a recipient, who can open the file and therefore compute a valid MAC for any header.
#[test]
fn a_recipient_cannot_change_a_byte_of_a_binding() {
    let sandbox = Sandbox::new();
    // The secret has a project and a domain, because a null member can be renamed unnoticed: absent members count as
    // null.
    let place = "project/p/domain/d/s";
    sandbox.ok(&["create", "secret", "s", "a value", "-p", "p", "-d", "d"]);
    let (path, vault, identities) = (sandbox.secret_file(place), sandbox.open_vault(), sandbox.identities());
    let file = std::fs::read(&path).expect("there");
    let text = std::fs::read_to_string(sandbox.identity()).expect("an identity");
    let key = text.lines().find(|line| !line.starts_with('#')).expect("a key").parse().expect("a key");
    let keeper = Keeper(key, RefCell::new(None));
    let decryptor = age::Decryptor::new_buffered(&file[..]).expect("an age file");
    assert!(decryptor.decrypt(std::iter::once(&keeper as &dyn age::Identity)).is_ok());
    let file_key = keeper.1.into_inner().expect("it opened");

    let old = stanza(&body(&sandbox, place));
    let with = |body: &[u8]| {
        let mac_at = file.windows(5).position(|window| window == b"\n--- ").expect("a MAC") + 1;
        let header = std::str::from_utf8(&file[..mac_at]).expect("ASCII").replacen(&old, &stanza(body), 1) + "---";
        let mac_key = age_core::primitives::hkdf(b"", b"header", &file_key);
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&mac_key).expect("a key");
        mac.update(header.as_bytes());
        let mac = STANDARD_NO_PAD.encode(mac.finalize().into_bytes());
        let payload_at = mac_at + file[mac_at..].iter().position(|&byte| byte == b'\n').expect("an end") + 1;
        [header.as_bytes(), b" ", mac.as_bytes(), b"\n", &file[payload_at..]].concat()
    };
    let body = body(&sandbox, place);
    assert!(with(&body) == file, "this forger makes valid MACs");
    let mut reasons = std::collections::BTreeMap::<String, usize>::new();
    for index in 0..body.len() {
        let mut changed = body.clone();
        changed[index] ^= 1 << (index % 8);
        std::fs::write(&path, with(&changed)).expect("written");
        let error = vault.value(&secret_id(place), &identities).expect_err("refused");
        let VaultError::Refused { source, .. } = error else { panic!("byte {index}: {error:?}") };
        assert!(
            !matches!(source, SecretFileError::Envelope(_)),
            "byte {index}: age found the change, so the test proves nothing: {source:?}"
        );
        *reasons.entry(format!("{source:?}").split(['(', ' ']).next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    println!("{} bytes: {reasons:?}", body.len());
    // About half of the bit flips in the commitment and the signature leave valid base64.
    assert!(reasons["Forged"] > 40, "{reasons:?}");
}

/// Returns a body as a header writes it.
fn stanza(body: &[u8]) -> String {
    let text = STANDARD_NO_PAD.encode(body);
    let mut lines: String =
        text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
    if text.len().is_multiple_of(64) {
        lines.push('\n');
    }
    lines
}

/// Returns a file that is correct except that an unknown author signed it, and that author's key.
fn by_another(sandbox: &Sandbox) -> (Vec<u8>, String) {
    let other = Sandbox::new();
    let manifest = std::fs::read_to_string(sandbox.vault().join("vault.toml")).expect("there");
    // The other author signs in a copy of the vault that names them as its author.
    let (ours, theirs) = (sandbox.author_key().author().to_string(), other.author_key().author().to_string());
    std::fs::write(other.vault().join("vault.toml"), manifest.replace(&ours, &theirs)).expect("written");
    other.ok(&["update", "vault", "--accept"]);
    other.ok(&["create", "secret", "s", "theirs"]);
    (std::fs::read(other.secret_file("org/s")).expect("created"), theirs)
}

#[test]
fn a_value_of_an_unknown_author_is_read_once_they_are_trusted() {
    let sandbox = filled();
    let (file, theirs) = by_another(&sandbox);
    let ran = refused(&sandbox, &file, &format!("it is signed by {theirs}, who is not an author of this vault"));
    let trusted = sandbox.type_hint(&ran, "--trust-author");
    assert_eq!(trusted.code, 0, "{trusted:?}");
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"theirs");
    sandbox.ok(&["update", "secret", "s", "ours again"]);
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"ours again");
}

#[test]
fn a_value_of_an_unknown_author_can_be_adopted() {
    let sandbox = filled();
    let (file, theirs) = by_another(&sandbox);
    let ran = refused(&sandbox, &file, "who is not an author of this vault");
    let adopted = sandbox.type_hint(&ran, "--adopt");
    assert_eq!(adopted.code, 0, "{adopted:?}");
    assert!(adopted.stderr.contains(&format!("it was signed by {theirs}")), "{adopted:?}");
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"theirs");
    assert_eq!(json(&sandbox, "org/s")["author"], sandbox.author_key().author().to_string());
}

#[test]
#[ignore = "needs age: scripts/test"]
fn an_unsigned_value_is_read_once_it_is_adopted_and_age_opens_both() {
    require("age", "age");
    let sandbox = filled();
    let file = forger::file(&recipient(&sandbox), UNSIGNED_TAG, &body(&sandbox, "org/s"), b"from before");
    let ran = refused(&sandbox, &file, "it is not signed");
    let created = json(&sandbox, "org/s")["created"].clone();
    let updated = || json(&sandbox, "org/s")["updated"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let before = updated();
    let age = || {
        let mut age = sandbox.program("age");
        let output = age.arg("-d").arg("-i").arg(sandbox.identity()).arg(sandbox.secret_file("org/s")).output();
        Ran::from(output.expect("age starts")).text()
    };
    assert_eq!(age(), "from before");
    let adopted = sandbox.type_hint(&ran, "--adopt");
    assert_eq!(adopted.code, 0, "{adopted:?}");
    assert!(adopted.stderr.contains("it was not signed"), "{adopted:?}");
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"from before");
    assert_eq!((age(), &json(&sandbox, "org/s")["created"]), ("from before".to_owned(), &created));
    assert!(updated() > before, "the unsigned file is older than the adopted one");
    assert!(
        crypto::peek(&std::fs::read(sandbox.secret_file("org/s")).expect("there")).expect("bound").binding.is_signed
    );
}

#[test]
fn adopt_refuses_forged_and_damaged_files() {
    let sandbox = filled();
    let forged = forger::file(&recipient(&sandbox), SIGNED_TAG, &body(&sandbox, "org/s"), b"planted");
    let damaged = [&std::fs::read(sandbox.secret_file("org/s")).expect("there")[..], b"x"].concat();
    for file in [forged, damaged] {
        std::fs::write(sandbox.secret_file("org/s"), &file).expect("written");
        let ran = sandbox.run(&["update", "secret", "s", "--adopt"]);
        assert_eq!(ran.code, 13, "{ran:?}");
        assert_eq!(std::fs::read(sandbox.secret_file("org/s")).expect("there"), file);
    }
}

#[test]
fn a_vault_without_authors_is_upgraded_step_by_step() {
    let sandbox = filled();
    let manifest = std::fs::read_to_string(sandbox.vault().join("vault.toml")).expect("there");
    let before = manifest.split("\n[[authors]]").next().expect("a part").replace("format = 2", "format = 1");
    std::fs::write(sandbox.vault().join("vault.toml"), before).expect("written");
    std::fs::remove_dir_all(sandbox.state()).expect("never seen here");
    let file = forger::file(&recipient(&sandbox), UNSIGNED_TAG, &body(&sandbox, "org/s"), b"from before");
    std::fs::write(sandbox.secret_file("org/s"), file).expect("written");

    let listed = sandbox.run(&["get", "secret"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(listed.stderr.contains("first use of") && !listed.stderr.contains("author"), "{listed:?}");
    for hint in ["--accept", "--trust-author"] {
        let ran = sandbox.run(&["create", "secret", "new", "value"]);
        assert_eq!(ran.code, 13, "{ran:?}");
        assert_eq!(sandbox.type_hint(&ran, hint).code, 0);
    }
    sandbox.ok(&["create", "secret", "new", "value"]);
    let ran = sandbox.run(&["get", "secret", "s", "--reveal"]);
    assert_eq!(sandbox.type_hint(&ran, "--adopt").code, 0);
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"from before");
}
