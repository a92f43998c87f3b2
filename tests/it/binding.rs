//! A file is accepted only in the place that it was written for: a copied, swapped or renamed file is refused.

#![allow(clippy::disallowed_methods, reason = "tests damage files as any program could")]

use std::path::Path;

use crate::support::{Sandbox, scope_options, secret_id};
use flyte_local::secret::{RunScope, ScopeFilter, SecretType, SecretValue};
use flyte_local::vault::{SecretFileError, Vault, VaultError};

/// Returns the same names in four scopes, so that two places differ by name, scope, or both.
fn places() -> Vec<String> {
    let scopes = ["org", "project/p", "domain/d", "project/p/domain/d"];
    let names = ["a", "b", "c", "d", "p"];
    scopes.iter().flat_map(|scope| names.iter().map(move |name| format!("{scope}/{name}"))).collect()
}

fn value(text: &str) -> SecretValue {
    SecretValue::new(text.as_bytes().to_vec().into()).expect("small enough")
}

/// Returns a vault with a secret in each of [`places`]; each value is its own place.
fn filled() -> (Sandbox, Vault) {
    let sandbox = Sandbox::new();
    let mut vault = sandbox.open_vault();
    for place in places() {
        vault
            .writer()
            .expect("writable")
            .create_secret(&secret_id(&place), SecretType::Regular, &value(&place))
            .expect("created");
    }
    (sandbox, vault)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("below the vault")).expect("its directory");
    std::fs::copy(from, to).expect("copied");
}

fn swap(one: &Path, other: &Path) {
    let aside = one.with_file_name("aside");
    for (from, to) in [(one, &*aside), (other, one), (&*aside, other)] {
        std::fs::rename(from, to).expect("moved");
    }
}

fn is_written_as(error: &VaultError, source: &str, place: &Path) -> bool {
    let VaultError::Refused { path, source: SecretFileError::OtherSecret(written), .. } = error else { return false };
    **written == secret_id(source) && path == place
}

#[test]
fn each_of_380_files_in_the_place_of_another_is_refused() {
    let (sandbox, mut vault) = filled();
    let identities = sandbox.identities();
    let places = places();
    let mut pairs = 0;
    for target in &places {
        let (id, file) = (secret_id(target), sandbox.secret_file(target));
        let original = std::fs::read(&file).expect("it was created");
        for source in places.iter().filter(|&source| source != target) {
            copy(&sandbox.secret_file(source), &file);
            let refused = |error: &VaultError| is_written_as(error, source, &file);

            let listing = vault.list(&ScopeFilter::default()).expect("listed");
            assert_eq!(listing.secrets.len(), places.len() - 1, "{source} over {target}");
            assert!(matches!(&listing.refused[..], [error] if refused(error)), "{source} over {target}");
            let errors = [
                vault.metadata(&id).expect_err("refused"),
                vault.value(&id, &identities).expect_err("refused"),
                vault.writer().expect("writable").update_secret(&id, &value("new")).expect_err("refused"),
            ];
            assert!(errors.iter().all(refused), "{source} over {target}: {errors:?}");
            // A run must not fall back to a wider scope: a swap could then choose the value.
            let run = RunScope { project: id.scope.project().cloned(), domain: id.scope.domain().cloned() };
            let resolved = vault.resolve(&id.name, &run, &identities).expect_err("refused");
            assert!(refused(&resolved), "{source} over {target}: {resolved:?}");
            let untouched =
                std::fs::read(&file).expect("there") == std::fs::read(sandbox.secret_file(source)).expect("there");
            assert!(untouched, "a refused update overwrote {target}");
            pairs += 1;
        }
        std::fs::write(&file, original).expect("restored");
        assert_eq!(vault.value(&id, &identities).expect("restored").expose(), target.as_bytes());
    }
    assert_eq!(pairs, 380);
}

#[test]
fn both_files_of_a_swap_are_refused_by_every_command() {
    let (sandbox, _) = filled();
    for (one, other) in [("org/a", "org/b"), ("org/a", "project/p/a"), ("domain/d/c", "project/p/domain/d/d")] {
        let (first, second) = (sandbox.secret_file(one), sandbox.secret_file(other));
        swap(&first, &second);

        let listed = sandbox.run(&["get", "secret"]);
        assert_eq!(listed.code, 13, "{listed:?}");
        assert_eq!(listed.stderr.matches("error: refused").count(), 2, "{listed:?}");
        for (place, file) in [(one, &first), (other, &second)] {
            let name = secret_id(place).name.to_string();
            for command in [
                &["get", "secret", &name][..],
                &["get", "secret", &name, "--reveal"],
                &["update", "secret", &name, "--value=new"],
            ] {
                let arguments: Vec<String> =
                    command.iter().map(|s| (*s).to_owned()).chain(scope_options(place)).collect();
                let ran = sandbox.run(&arguments);
                assert_eq!(ran.code, 13, "{arguments:?}: {ran:?}");
                assert!(ran.stdout.is_empty(), "{arguments:?}: {ran:?}");
                assert!(ran.stderr.contains(&file.display().to_string()), "{arguments:?}: {ran:?}");
                assert!(ran.stderr.contains("renamed, swapped or copied"), "{arguments:?}: {ran:?}");
            }
        }
        swap(&first, &second);
    }
    assert_eq!(sandbox.run(&["get", "secret"]).code, 0, "after swapping back, every file is accepted again");
}

#[test]
fn a_file_under_a_new_name_or_in_a_new_scope_is_refused() {
    let (sandbox, vault) = filled();
    let identities = sandbox.identities();
    for place in ["org/renamed", "project/q/a", "domain/p/a", "project/d/domain/p/a", "project/p/domain/e/a"] {
        let file = sandbox.secret_file(place);
        copy(&sandbox.secret_file("org/a"), &file);
        let listing = vault.list(&ScopeFilter::default()).expect("listed");
        assert!(matches!(&listing.refused[..], [error] if is_written_as(error, "org/a", &file)), "{place}");
        let error = vault.value(&secret_id(place), &identities).expect_err("refused");
        assert!(is_written_as(&error, "org/a", &file), "{place}: {error:?}");
        std::fs::remove_file(&file).expect("removed");
    }
}

#[test]
fn a_file_of_another_vault_is_refused_even_for_the_same_identity() {
    let (sandbox, vault) = filled();
    let other = sandbox.work().join("other");
    let arguments = ["--vault", other.to_str().expect("UTF-8")];
    sandbox.ok(&[&arguments[..], &["init"]].concat());
    sandbox.ok(&[&arguments[..], &["create", "secret", "a", "theirs"]].concat());
    assert_eq!(sandbox.ok(&[&arguments[..], &["get", "secret", "a", "--reveal"]].concat()), b"theirs");

    let id = secret_id("org/a");
    copy(&other.join("secrets/org/a.age"), &sandbox.secret_file("org/a"));
    let is_other_vault =
        |error: &VaultError| matches!(error, VaultError::Refused { source: SecretFileError::OtherVault, .. });
    assert!(is_other_vault(&vault.metadata(&id).expect_err("refused")));
    assert!(is_other_vault(&vault.value(&id, &sandbox.identities()).expect_err("refused")));
    let ran = sandbox.run(&["get", "secret", "a", "--reveal"]);
    assert_eq!(ran.code, 13, "{ran:?}");
    assert!(ran.stderr.contains("another vault") && ran.stdout.is_empty(), "{ran:?}");
}

#[test]
fn a_refused_file_can_be_deleted_and_its_place_used_again() {
    let (sandbox, _) = filled();
    copy(&sandbox.secret_file("org/a"), &sandbox.secret_file("org/b"));
    let ran = sandbox.run(&["create", "secret", "b", "new"]);
    assert_eq!(ran.code, 12, "create does not overwrite a file: {ran:?}");
    sandbox.ok(&["delete", "secret", "b"]);
    sandbox.ok(&["create", "secret", "b", "new"]);
    assert_eq!(sandbox.ok(&["get", "secret", "b", "--reveal"]), b"new");
    assert_eq!(sandbox.run(&["get", "secret"]).code, 0);
}
