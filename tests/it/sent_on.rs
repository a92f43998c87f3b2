//! A secret that was rolled back is not sent on: to another file, another vault or a cluster, no pin would notice it.

#![allow(clippy::disallowed_methods, reason = "tests change files as any program could")]

use crate::support::{Ran, Sandbox};

/// A vault with secrets that are older than seen, missing, and back after a deletion, and others that are not.
struct RolledBack(Sandbox);

impl RolledBack {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        for options in [&[][..], &["-p", "other"]] {
            sandbox.ok(&[&["create", "secret", "kept", "a value"][..], options].concat());
        }
        for name in ["older", "missing", "restored"] {
            sandbox.ok(&["create", "secret", name, "old"]);
        }
        let old = |name: &str| std::fs::read(sandbox.secret_file(&format!("org/{name}"))).expect("there");
        let (older, restored) = (old("older"), old("restored"));
        sandbox.ok(&["update", "secret", "older", "new"]);
        sandbox.ok(&["delete", "secret", "restored"]);
        std::fs::write(sandbox.secret_file("org/older"), older).expect("put back");
        std::fs::write(sandbox.secret_file("org/restored"), restored).expect("put back");
        std::fs::remove_file(sandbox.secret_file("org/missing")).expect("removed");
        Self(sandbox)
    }

    fn refused(&self, arguments: &[&str], lines: &[&str]) -> Ran {
        let ran = self.0.run(arguments);
        assert_eq!((ran.code, ran.text().as_str()), (13, ""), "{arguments:?} {ran:?}");
        assert!(ran.stderr.contains("update vault --accept-older"), "{arguments:?} {ran:?}");
        for line in [OLDER, MISSING, RESTORED] {
            assert_eq!(ran.stderr.contains(line), lines.contains(&line), "{line}: {arguments:?} {ran:?}");
        }
        ran
    }
}

const OLDER: &str = "secret older (organization) dates from ";
const MISSING: &str = "secret missing (organization) is gone, ";
const RESTORED: &str = "secret restored (organization) dates from ";

#[test]
fn a_rolled_back_secret_is_not_exported() {
    let vault = RolledBack::new();
    let all = [OLDER, MISSING, RESTORED];
    for format in ["dotenv", "json", "shell", "kubernetes"] {
        vault.refused(&["export", "--format", format], &all);
    }
    vault.refused(&["export", "--output", "file"], &all);
    assert!(!vault.0.work().join("file").exists());
    vault.refused(&["export", "--effective", "-p", "p"], &all);
    vault.refused(&["export", "older", "kept"], &[OLDER]);
    vault.refused(&["export", "missing"], &[MISSING]);
    vault.refused(&["export", "restored"], &[RESTORED]);
    // Others are exported.
    assert_eq!(vault.0.ok(&["export", "kept", "--format", "json"]), b"{\n  \"kept\": \"a value\"\n}\n");
    assert!(!vault.0.ok(&["export", "-p", "other"]).is_empty());
    let refused = vault.refused(&["export"], &all);
    assert_eq!(vault.0.type_hint(&refused, "--accept-older").code, 0);
    let exported = String::from_utf8(vault.0.ok(&["export", "--format", "json"])).expect("UTF-8");
    assert!(exported.contains("\"older\": \"old\"") && exported.contains("restored"), "{exported}");
}

#[test]
fn a_wider_secret_is_not_exported_in_the_place_of_a_missing_one() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "wide"]);
    sandbox.ok(&["create", "secret", "s", "narrow", "-p", "p"]);
    sandbox.ok(&["update", "secret", "s", "wide, and new"]);
    let narrow = std::fs::read(sandbox.secret_file("project/p/s")).expect("there");
    std::fs::remove_file(sandbox.secret_file("project/p/s")).expect("removed");
    let effective = ["export", "--effective", "-p", "p", "--format", "json"];
    let ran = sandbox.run(&effective);
    assert!(ran.code == 13 && ran.stderr.contains("secret s (project p) is gone"), "{ran:?}");
    // A secret that is shadowed is not sent.
    std::fs::write(sandbox.secret_file("project/p/s"), narrow).expect("restored");
    std::fs::remove_file(sandbox.secret_file("org/s")).expect("removed");
    assert_eq!(sandbox.ok(&effective), b"{\n  \"s\": \"narrow\"\n}\n");
    assert_eq!(sandbox.run(&["export"]).code, 13);
}

#[test]
fn a_rolled_back_secret_is_not_imported_into_another_vault() {
    let vault = RolledBack::new();
    vault.0.ok(&["--vault", "second", "init"]);
    let from = vault.0.vault().display().to_string();
    let import = ["--vault", "second", "import", "--from-vault", &from];
    let ran = vault.refused(&import, &[OLDER, MISSING, RESTORED]);
    assert!(ran.stderr.contains(&format!("flyte-local --vault {from} update vault --accept-older")), "{ran:?}");
    vault.refused(&[&import[..], &["--dry-run"]].concat(), &[OLDER, MISSING, RESTORED]);
    assert_eq!(vault.0.ok(&["--vault", "second", "--output-format", "json", "get", "secret"]), b"[]\n");
    vault.0.ok(&[&import[..], &["--only", "kept"]].concat());
    vault.0.ok(&["update", "vault", "--accept-older"]);
    vault.0.ok(&import);
}

#[test]
fn a_rolled_back_secret_is_not_adopted_with_a_new_time() {
    let vault = RolledBack::new();
    vault.refused(&["update", "secret", "older", "--adopt"], &[OLDER]);
    vault.refused(&["update", "secret", "restored", "--adopt"], &[RESTORED]);
    vault.0.ok(&["update", "vault", "--accept-older"]);
    vault.0.ok(&["update", "secret", "older", "--adopt"]);
}

#[test]
fn a_rolled_back_secret_is_not_pushed() {
    let vault = RolledBack::new();
    let all = [OLDER, MISSING, RESTORED];
    // The refusal comes before a Python is looked for.
    for how in ["--yes", "--dry-run"] {
        let push = |names: &[&str], lines: &[&str]| {
            vault.refused(&[&["push", "secret", "--python", "none", how], names].concat(), lines);
        };
        push(&[], &all);
        push(&["kept", "older"], &[OLDER]);
        push(&["missing"], &[MISSING]);
        push(&["restored"], &[RESTORED]);
        let others = vault.0.run(&["push", "secret", "-p", "other", "--python", "none", how]);
        assert!(!others.stderr.contains("--accept-older"), "{others:?}");
    }
}
