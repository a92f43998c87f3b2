//! Pins, the state that a machine keeps of each vault: changes made behind the user's back are noticed.

#![allow(clippy::disallowed_methods, reason = "what is done to the files here is what must be noticed")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require, secret_id};
use flyte_local::crypto::{AuthorKey, Identity};
use flyte_local::secret::{SecretType, SecretValue};
use flyte_local::vault::VaultError;

/// A vault of Alice's. Bob has the same identity, and a home directory of his own.
struct Shared {
    alice: Sandbox,
    bob: Sandbox,
}

impl Shared {
    fn new() -> Self {
        let (alice, bob) = (Sandbox::new(), Sandbox::empty());
        alice.ok(&["create", "secret", "s", "a value"]);
        std::fs::create_dir_all(bob.identity().parent().expect("a directory")).expect("made");
        std::fs::copy(alice.identity(), bob.identity()).expect("copied");
        Self { alice, bob }
    }

    /// Runs a command as Bob on Alice's vault.
    fn bob(&self, arguments: &[&str]) -> Ran {
        let vault = self.alice.vault().display().to_string();
        self.bob.run(&[&["--vault", &vault][..], arguments].concat())
    }
}

fn manifest(sandbox: &Sandbox) -> PathBuf {
    sandbox.vault().join("vault.toml")
}

/// Adds to `vault.toml`, as any process that can write to the directory can.
fn append(sandbox: &Sandbox, text: &str) {
    let old = std::fs::read_to_string(manifest(sandbox)).expect("there");
    std::fs::write(manifest(sandbox), old + text).expect("written");
}

fn silent(ran: &Ran, value: &[u8]) {
    assert_eq!((ran.code, &ran.stdout[..], ran.stderr.as_str()), (0, value, ""), "{ran:?}");
}

fn reveal(sandbox: &Sandbox) -> Ran {
    sandbox.run(&["get", "secret", "s", "--reveal"])
}

/// Returns every file below a directory, with its content.
fn tree(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("listed").map(|entry| entry.expect("listed").path()) {
        if entry.is_dir() {
            found.extend(tree(&entry))
        } else {
            found.push((entry.clone(), std::fs::read(entry).expect("read")))
        }
    }
    found.sort();
    found
}

#[test]
fn a_vault_is_pinned_by_init_and_announced_at_its_first_use() {
    let both = Shared::new();
    silent(&reveal(&both.alice), b"a value");
    let first = both.bob(&["get", "secret", "s", "--reveal"]);
    assert_eq!((first.code, &first.stdout[..]), (0, &b"a value"[..]), "{first:?}");
    let (author, recipient) = (both.alice.author_key().author(), both.alice.identities()[0].recipient());
    assert_eq!(first.stderr.lines().count(), 4, "{first:?}");
    for part in ["first use of", &author.to_string(), &recipient.to_string(), "\"me\"", "\"owner\""] {
        assert!(first.stderr.contains(part), "{part}: {first:?}");
    }
    silent(&both.bob(&["get", "secret", "s", "--reveal"]), b"a value");
    assert!(!both.bob.author().exists(), "reading makes no key");
}

#[test]
fn a_second_writer_becomes_an_author_once_both_agree() {
    let both = Shared::new();
    both.bob(&["get", "secret"]);
    let before = tree(&both.alice.vault());
    let ran = both.bob(&["create", "secret", "b", "of bob"]);
    assert_eq!((ran.code, both.bob.author().exists()), (13, false), "{ran:?}");
    assert_eq!(both.bob.type_hint(&ran, "--accept").code, 0);
    let ran = both.bob(&["create", "secret", "b", "of bob"]);
    assert_eq!(ran.code, 13, "{ran:?}");
    let bob = both.bob.author_key().author().to_string();
    assert!(ran.stderr.contains("author.key, the key that signs your secrets") && ran.stderr.contains(&bob), "{ran:?}");
    assert_eq!(tree(&both.alice.vault()), before, "the refused command wrote nothing");
    assert_eq!(both.bob.type_hint(&ran, "--trust-author").code, 0);
    let ran = both.bob(&["create", "secret", "b", "of bob"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "created secret b (organization)\n"), "{ran:?}");
    assert_eq!(both.bob(&["get", "secret", "b", "--reveal"]).stdout, b"of bob");

    // Alice did not take part: she does not read his secret, and does not write while he is an author.
    assert_eq!(reveal(&both.alice).stdout, b"a value");
    let ran = both.alice.run(&["get", "secret", "b", "--reveal"]);
    assert_eq!((ran.code, ran.stdout.len()), (13, 0), "{ran:?}");
    assert!(ran.stderr.contains("whom this machine does not trust"), "{ran:?}");
    for command in [&["create", "secret", "c", "v"][..], &["update", "secret", "s", "v"], &["delete", "secret", "s"]] {
        let blocked = both.alice.run(command);
        assert_eq!(blocked.code, 13, "{command:?} {blocked:?}");
        assert!(blocked.stderr.contains(&format!("\n  + author \"me\" {bob}\n")), "{command:?} {blocked:?}");
    }
    let trusted = both.alice.type_hint(&ran, "--trust-author");
    assert_eq!(trusted.code, 0, "{trusted:?}");
    silent(&both.alice.run(&["get", "secret", "b", "--reveal"]), b"of bob");
    both.alice.ok(&["update", "secret", "b", "of alice"]);
    assert_eq!(both.bob(&["get", "secret", "b", "--reveal"]).stdout, b"of alice");
}

#[test]
fn a_recipient_added_by_another_process_gets_nothing_before_it_is_accepted() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "a value"]);
    let eve = Identity::generate();
    append(&sandbox, &format!("\n[[recipients]]\nname = \"eve\"\nkey = \"{}\"\n", eve.recipient()));
    let before = tree(&sandbox.vault());
    let ran = reveal(&sandbox);
    assert_eq!((ran.code, &ran.stdout[..]), (0, &b"a value"[..]), "{ran:?}");
    assert!(ran.stderr.contains("has changed since it was accepted on this machine"), "a reader is warned: {ran:?}");
    let line = format!("\n  + recipient \"eve\" {}\n", eve.recipient());
    let own = sandbox.author_key().author().to_string();
    let another = AuthorKey::generate().expect("randomness").author().to_string();
    for command in [
        &["create", "secret", "new", "v"][..],
        &["update", "secret", "s", "v"],
        &["update", "secret", "s", "--adopt"],
        &["delete", "secret", "s"],
        &["update", "vault", "--trust-author", &another],
        // The refusal comes before the value is read, even from a file that does not exist.
        &["create", "secret", "new", "--from-file", "none"],
        &["update", "secret", "s", "--from-file", "none"],
    ] {
        let ran = sandbox.run(command);
        assert_eq!(ran.code, 13, "{command:?} {ran:?}");
        assert!(ran.stderr.contains(&line), "{command:?} {ran:?}");
        assert_eq!(tree(&sandbox.vault()), before, "{command:?} wrote");
    }
    // Trusting one's own key, which is trusted already, accepts nothing else.
    sandbox.ok(&["update", "vault", "--trust-author", &own]);
    let ran = sandbox.run(&["update", "secret", "s", "v"]);
    assert_eq!(ran.code, 13, "{ran:?}");
    let accepted = sandbox.type_hint(&ran, "--accept");
    assert_eq!(accepted.code, 0, "{accepted:?}");
    assert!(accepted.stderr.contains(line.trim()), "{accepted:?}");
    sandbox.ok(&["update", "secret", "s", "for eve too"]);
    let file = std::fs::read(sandbox.secret_file("org/s")).expect("there");
    assert!(flyte_local::crypto::open(&file, &[eve]).is_ok());
}

#[test]
fn a_recipient_removed_by_another_process_is_shown_too() {
    let sandbox = Sandbox::new();
    let text = std::fs::read_to_string(manifest(&sandbox)).expect("there");
    let (old, new) = (sandbox.identities()[0].recipient().to_string(), Identity::generate().recipient().to_string());
    std::fs::write(manifest(&sandbox), text.replace(&old, &new)).expect("written");
    let ran = sandbox.run(&["create", "secret", "s", "v"]);
    assert_eq!(ran.code, 13, "{ran:?}");
    for line in [format!("\n  - recipient \"owner\" {old}\n"), format!("\n  + recipient \"owner\" {new}\n")] {
        assert!(ran.stderr.contains(&line), "{ran:?}");
    }
}

#[test]
fn a_vault_that_replaced_another_does_not_count_as_a_first_use() {
    let (sandbox, eve) = (Sandbox::new(), Sandbox::new());
    sandbox.ok(&["create", "secret", "s", "a value"]);
    eve.ok(&["create", "secret", "s", "of eve"]);
    // Eve's vault has the user's recipient, so its secrets would open.
    let text = std::fs::read_to_string(manifest(&eve)).expect("there");
    let (hers, ours) = (eve.identities()[0].recipient().to_string(), sandbox.identities()[0].recipient().to_string());
    let both = format!("{text}\n[[recipients]]\nname = \"owner\"\nkey = \"{ours}\"\n");
    std::fs::write(manifest(&eve), both).expect("written");
    eve.ok(&["update", "vault", "--accept"]);
    eve.ok(&["update", "secret", "s", "of eve"]);
    std::fs::remove_dir_all(sandbox.vault()).expect("removed");
    let copied = sandbox.program("cp").arg("-r").args([eve.vault(), sandbox.vault()]).status().expect("cp starts");
    assert!(copied.success());

    let ran = reveal(&sandbox);
    assert_eq!((ran.code, ran.stdout.len()), (13, 0), "{ran:?}");
    assert!(ran.stderr.contains("has changed since it was accepted on this machine\n  - id "), "{ran:?}");
    let ran = sandbox.run(&["create", "secret", "new", "v"]);
    assert_eq!(ran.code, 13, "{ran:?}");
    for part in ["\n  - id ", "\n  + id ", &format!("\n  + recipient \"owner\" {hers}\n"), "\n  + author \"me\" "] {
        assert!(ran.stderr.contains(part), "{part}: {ran:?}");
    }
    assert_eq!(sandbox.type_hint(&ran, "--accept").code, 0);
    silent(&reveal(&sandbox), b"of eve");
}

#[test]
fn an_older_file_causes_a_warning_and_is_refused_under_strict() {
    let sandbox = Sandbox::new();
    let file = sandbox.secret_file("org/s");
    sandbox.ok(&["create", "secret", "s", "old"]);
    let old = std::fs::read(&file).expect("there");
    sandbox.ok(&["update", "secret", "s", "new"]);
    std::fs::write(&file, old).expect("put back");
    for _ in 0..2 {
        let ran = reveal(&sandbox);
        assert_eq!((ran.code, &ran.stdout[..]), (0, &b"old"[..]), "{ran:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
        assert!(
            ran.stderr.contains("secret s (organization) dates from ")
                && ran.stderr.contains("has already seen a version from"),
            "{ran:?}"
        );
    }
    let ran = sandbox.run(&["exec", "--secret", "s", "--", "sh", "-c", "test $S = old"]);
    assert!(ran.code == 0 && ran.stderr.contains("has already seen a version from"), "{ran:?}");
    let strict = sandbox.run(&["--strict", "get", "secret", "s", "--reveal"]);
    let by_variable = Ran::from(
        sandbox
            .command(&["exec", "--secret", "s", "--", "true"])
            .env("FLYTE_LOCAL_STRICT", "1")
            .output()
            .expect("it starts"),
    );
    for ran in [&strict, &by_variable] {
        assert_eq!((ran.code, ran.stdout.len()), (13, 0), "{ran:?}");
        assert!(ran.stderr.contains("has already seen a version from"), "{ran:?}");
    }
    let checked = sandbox.run(&["check"]);
    assert!(checked.all().contains("secret s (organization) dates from "), "{checked:?}");
    let before = tree(&sandbox.vault());
    let accepted = sandbox.type_hint(&strict, "--accept-older");
    assert_eq!(accepted.code, 0, "{accepted:?}");
    silent(&reveal(&sandbox), b"old");
    assert_eq!(tree(&sandbox.vault()), before, "--accept-older writes nothing to the vault");
}

#[test]
fn check_remembers_the_versions_that_it_opened() {
    let both = Shared::new();
    let file = both.alice.secret_file("org/s");
    let old = std::fs::read(&file).expect("there");
    both.alice.ok(&["update", "secret", "s", "newer"]);
    assert_eq!(both.bob(&["update", "vault", "--accept"]).code, 0);
    assert_eq!(both.bob(&["check"]).code, 0);
    std::fs::write(&file, old).expect("rolled back");
    let rolled_back = both.bob(&["--strict", "get", "secret", "s", "--reveal"]);
    assert_eq!((rolled_back.code, rolled_back.stdout.len()), (13, 0), "{rolled_back:?}");
    assert_eq!(both.bob(&["check"]).code, 13);
}

#[test]
fn a_missing_file_causes_a_warning_and_under_strict_no_wider_scope_is_used() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "wide"]);
    sandbox.ok(&["create", "secret", "s", "narrow", "-p", "p"]);
    std::fs::remove_file(sandbox.secret_file("project/p/s")).expect("removed");
    let exec = ["exec", "-p", "p", "--secret", "s", "--", "sh", "-c", "test $S = wide"];
    let ran = sandbox.run(&exec);
    assert!(ran.code == 0 && ran.stderr.contains("secret s (project p) is gone"), "{ran:?}");
    let strict = sandbox.run(&[&["--strict"][..], &exec].concat());
    assert_eq!(strict.code, 13, "{strict:?}");
    let ran = sandbox.run(&["get", "secret", "s", "-p", "p", "--reveal"]);
    assert!(ran.code == 10 && ran.stderr.contains("is gone"), "{ran:?}");

    let accepted = sandbox.type_hint(&strict, "--accept-older");
    assert_eq!(accepted.code, 0, "{accepted:?}");
    let ran = sandbox.run(&[&["--strict"][..], &exec].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    assert_eq!(sandbox.run(&["delete", "secret", "s", "-p", "p"]).code, 10);
}

#[test]
fn a_secret_that_its_user_deleted_does_not_come_back_unnoticed() {
    let sandbox = Sandbox::new();
    let file = sandbox.secret_file("org/s");
    sandbox.ok(&["create", "secret", "s", "revoked"]);
    let old = std::fs::read(&file).expect("there");
    sandbox.ok(&["delete", "secret", "s"]);
    std::fs::write(&file, &old).expect("put back");
    let ran = reveal(&sandbox);
    assert!(ran.code == 0 && ran.stderr.contains("but was deleted on this machine at"), "{ran:?}");
    let strict = sandbox.run(&["--strict", "exec", "--secret", "s", "--", "true"]);
    assert_eq!(strict.code, 13, "{strict:?}");
    assert_eq!(sandbox.run(&["check"]).code, 13);
    assert_eq!(sandbox.type_hint(&strict, "--accept-older").code, 0);
    silent(&sandbox.run(&["--strict", "get", "secret", "s", "--reveal"]), b"revoked");

    sandbox.ok(&["delete", "secret", "s"]);
    sandbox.ok(&["create", "secret", "s", "new"]);
    silent(&reveal(&sandbox), b"new");
    std::fs::write(&file, &old).expect("put back");
    assert!(
        reveal(&sandbox).stderr.contains("has already seen a version from"),
        "an older version of the new secret is noticed"
    );
}

#[test]
fn a_symlink_to_another_vault_is_refused() {
    let (sandbox, eve) = (Sandbox::new(), Sandbox::new());
    sandbox.ok(&["create", "secret", "s", "a value"]);
    eve.ok(&["create", "secret", "s", "of eve"]);
    let (vault, there) = (sandbox.vault(), sandbox.work().join("moved"));
    std::fs::rename(&vault, &there).expect("moved");
    std::os::unix::fs::symlink(&there, &vault).expect("a link");
    silent(&reveal(&sandbox), b"a value");
    std::fs::remove_file(&vault).expect("the link");
    std::os::unix::fs::symlink(eve.vault(), &vault).expect("a link");
    for command in [&["get", "secret", "s", "--reveal"][..], &["create", "secret", "t", "v"]] {
        let ran = sandbox.run(command);
        assert_eq!((ran.code, ran.stdout.len()), (13, 0), "{ran:?}");
        assert!(ran.stderr.contains("has changed since it was accepted on this machine\n  - id "), "{ran:?}");
    }
}

#[test]
fn another_vault_of_the_same_user_is_refused_in_the_place_of_one() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "of production"]);
    sandbox.ok(&["--vault", "dev", "init"]);
    sandbox.ok(&["--vault", "dev", "create", "secret", "s", "of development"]);
    std::fs::rename(sandbox.vault(), sandbox.work().join("away")).expect("moved");
    std::fs::rename(sandbox.work().join("dev"), sandbox.vault()).expect("moved");
    let ran = reveal(&sandbox);
    assert_eq!((ran.code, ran.stdout.len()), (13, 0), "{ran:?}");
    let ran = sandbox.run(&["exec", "--secret", "s", "--", "true"]);
    assert_eq!(ran.code, 13, "{ran:?}");
}

#[test]
fn an_unreadable_pin_is_an_error_and_not_a_first_use() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "a value"]);
    let (pin, content) =
        tree(&sandbox.state()).into_iter().find(|(path, _)| path.ends_with("pin.toml")).expect("pinned");
    let damages: [fn(&Path); 3] = [
        |pin| std::fs::create_dir(pin).expect("made"),
        |pin| std::os::unix::fs::symlink("elsewhere", pin).expect("a link"),
        |pin| std::fs::write(pin, vec![b' '; 2 << 20]).expect("written"),
    ];
    for damage in damages {
        std::fs::remove_file(&pin).expect("there");
        damage(&pin);
        let ran = reveal(&sandbox);
        assert!(ran.code != 0 && ran.stdout.is_empty(), "{ran:?}");
        assert!(ran.stderr.contains(&pin.display().to_string()), "{ran:?}");
        let _ = std::fs::remove_file(&pin).or_else(|_| std::fs::remove_dir(&pin));
        std::fs::write(&pin, &content).expect("restored");
        silent(&reveal(&sandbox), b"a value");
    }
    let path = std::fs::read_dir(sandbox.state().join("paths")).expect("listed").next().expect("one").expect("listed");
    std::fs::write(path.path(), "garbage\n").expect("written");
    assert!(reveal(&sandbox).stderr.contains("it holds no vault's id"));
}

#[test]
fn existing_pins_count_if_no_new_ones_can_be_written() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "a value"]);
    append(&sandbox, &format!("\n[[recipients]]\nname = \"eve\"\nkey = \"{}\"\n", Identity::generate().recipient()));
    std::fs::rename(sandbox.vault(), sandbox.work().join("moved")).expect("moved");
    // The new path should be recorded, but cannot be.
    std::fs::remove_file(sandbox.state().join(".lock")).expect("there");
    std::fs::create_dir(sandbox.state().join(".lock")).expect("made");
    let ran = sandbox.run(&["--vault", "moved", "get", "secret", "s", "--reveal"]);
    assert_eq!((ran.code, &ran.stdout[..]), (0, &b"a value"[..]), "{ran:?}");
    assert!(ran.stderr.contains("has changed since it was accepted on this machine"), "{ran:?}");
    assert!(ran.stderr.contains("cannot record this version"), "{ran:?}");
    let strict = sandbox.run(&["--vault", "moved", "--strict", "get", "secret", "s", "--reveal"]);
    assert!(strict.code != 0 && strict.stdout.is_empty(), "{strict:?}");
}

#[test]
fn pins_that_others_can_write_to_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "a value"]);
    std::fs::set_permissions(sandbox.state(), PermissionsExt::from_mode(0o777)).expect("opened");
    let ran = reveal(&sandbox);
    assert_eq!((ran.code, ran.stdout.len()), (13, 0), "{ran:?}");
    assert!(ran.stderr.contains(&format!("chmod -R go-w {}", sandbox.state().display())), "{ran:?}");
}

#[test]
fn strict_mode_refuses_a_first_use() {
    let both = Shared::new();
    let ran = both.bob(&["--strict", "get", "secret", "s", "--reveal"]);
    assert_eq!((ran.code, ran.stdout.len()), (13, 0), "{ran:?}");
    assert!(ran.stderr.contains(&format!("\n  + author \"me\" {}\n", both.alice.author_key().author())), "{ran:?}");
    assert_eq!(both.bob(&["--strict", "check"]).code, 13);
    assert_eq!(both.bob.type_hint(&ran, "update vault --accept").code, 0);
    silent(&both.bob(&["--strict", "get", "secret", "s", "--reveal"]), b"a value");
    let strict = |value: &str| {
        let mut command = both.alice.command(&["get", "secret", "s", "--reveal"]);
        let ran = Ran::from(command.env("FLYTE_LOCAL_STRICT", value).output().expect("flyte-local starts"));
        ran.code
    };
    assert_eq!((strict("1"), strict("0"), strict(""), strict("yes")), (0, 0, 0, 2));
}

#[test]
fn a_recipient_removed_during_the_prompt_does_not_get_the_value() {
    let sandbox = Sandbox::new();
    let leaver = Identity::generate();
    let before = std::fs::read_to_string(manifest(&sandbox)).expect("there");
    append(&sandbox, &format!("\n[[recipients]]\nname = \"leaver\"\nkey = \"{}\"\n", leaver.recipient()));
    sandbox.ok(&["update", "vault", "--accept"]);
    sandbox.ok(&["create", "secret", "old", "v"]);
    for arguments in [["create", "secret", "s"], ["update", "secret", "old"]] {
        let with = std::fs::read_to_string(manifest(&sandbox)).expect("there");
        let mut command = sandbox.command(&arguments);
        let mut writer = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("flyte-local starts");
        // The vault is open once the process waits for standard input.
        let waits = format!("/proc/{}/wchan", writer.id());
        crate::support::until("it waits for the value", || {
            std::fs::read_to_string(&waits).is_ok_and(|place| place.contains("pipe"))
        });
        std::fs::write(manifest(&sandbox), &before).expect("written");
        sandbox.ok(&["update", "vault", "--accept"]);
        writer.stdin.take().expect("piped").write_all(b"a value").expect("written");
        let ran = Ran::from(writer.wait_with_output().expect("it ends"));
        assert_eq!(ran.code, 0, "{ran:?}");
        let file = std::fs::read(sandbox.secret_file(&format!("org/{}", arguments[2]))).expect("there");
        assert!(flyte_local::crypto::open(&file, &sandbox.identities()).is_ok());
        assert!(flyte_local::crypto::open(&file, std::array::from_ref(&leaver)).is_err(), "{arguments:?}");
        std::fs::write(manifest(&sandbox), with).expect("written");
        sandbox.ok(&["update", "vault", "--accept"]);
    }
}

#[test]
fn no_name_hides_a_key() {
    let sandbox = Sandbox::new();
    let key = |index: usize| (format!("{:064}", index), Identity::generate().recipient().to_string());
    let keys: Vec<_> = (0..61).map(key).collect();
    let entries = keys.iter().map(|(name, key)| format!("\n[[recipients]]\nname = \"{name}\"\nkey = \"{key}\"\n"));
    let before = std::fs::read_to_string(manifest(&sandbox)).expect("there");
    append(&sandbox, &entries.collect::<String>());
    for arguments in [&["create", "secret", "s", "v"][..], &["check"], &["update", "vault", "--accept"]] {
        let ran = sandbox.run(arguments);
        assert!(keys.iter().all(|(_, key)| ran.stderr.contains(key)), "{arguments:?} {ran:?}");
    }
    std::fs::write(manifest(&sandbox), before).expect("written");
    append(&sandbox, &format!("\n[[recipients]]\nname = \"{}\"\nkey = \"{}\"\n", "long".repeat(500), keys[0].1));
    let ran = reveal(&sandbox);
    assert_eq!(ran.code, 13, "{ran:?}");
    assert!(ran.stderr.contains(&format!("the name of {} has more than 64 characters", keys[0].1)), "{ran:?}");
}

#[test]
fn a_secret_of_a_removed_author_is_refused_and_can_be_adopted() {
    let both = Shared::new();
    for hint in ["--accept", "--trust-author"] {
        let bob = both.bob(&["create", "secret", "b", "of bob"]);
        assert_eq!(both.bob.type_hint(&bob, hint).code, 0);
    }
    assert_eq!(both.bob(&["create", "secret", "b", "of bob"]).code, 0);
    both.alice.ok(&["update", "vault", "--accept"]);
    let with_bob = std::fs::read_to_string(manifest(&both.alice)).expect("there");
    let without = with_bob.rsplit_once("[[authors]]").expect("he is the last").0;
    std::fs::write(manifest(&both.alice), without).expect("written");
    let ran = both.alice.run(&["get", "secret", "b", "--reveal"]);
    assert_eq!((ran.code, ran.stdout.len()), (13, 0), "{ran:?}");
    assert!(ran.stderr.contains("whom vault.toml no longer names"), "{ran:?}");
    assert!(!ran.stderr.contains("--trust-author"), "the hint does not trust a removed author again: {ran:?}");
    both.alice.ok(&["update", "vault", "--accept"]);
    let ran = both.alice.run(&["get", "secret", "b", "--reveal"]);
    assert_eq!(both.alice.type_hint(&ran, "--adopt").code, 0);
    silent(&both.alice.run(&["get", "secret", "b", "--reveal"]), b"of bob");
}

#[test]
fn a_secret_that_its_user_deleted_causes_no_warning() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "one"]);
    sandbox.ok(&["delete", "secret", "s"]);
    let ran = reveal(&sandbox);
    assert!(ran.code == 10 && !ran.stderr.contains("gone"), "{ran:?}");
    sandbox.ok(&["create", "secret", "s", "two"]);
    silent(&reveal(&sandbox), b"two");
}

#[test]
fn a_checkout_of_an_older_state_causes_warnings_and_can_be_accepted_as_a_whole() {
    let sandbox = Sandbox::new();
    for name in ["s", "t", "same"] {
        sandbox.ok(&["create", "secret", name, "old"]);
    }
    let commit = tree(&sandbox.vault());
    sandbox.ok(&["update", "secret", "s", "new"]);
    sandbox.ok(&["update", "secret", "t", "new"]);
    sandbox.ok(&["create", "secret", "later", "new"]);
    std::fs::remove_file(sandbox.secret_file("org/later")).expect("removed");
    commit.iter().for_each(|(path, content)| std::fs::write(path, content).expect("put back"));

    assert!(reveal(&sandbox).stderr.contains("has already seen a version from"), "told");
    sandbox.ok(&["create", "secret", "new", "not blocked"]);
    assert_eq!(sandbox.run(&["update", "vault", "--accept"]).stderr, "nothing had changed\n");
    let accepted = sandbox.run(&["update", "vault", "--accept-older"]);
    assert_eq!(accepted.code, 0, "{accepted:?}");
    for (name, is_named) in [("s", true), ("t", true), ("later", true), ("same", false), ("new", false)] {
        assert_eq!(accepted.stderr.contains(&format!("secret {name} (")), is_named, "{name}: {accepted:?}");
    }
    silent(&sandbox.run(&["--strict", "get", "secret", "s", "--reveal"]), b"old");
    assert_eq!(sandbox.run(&["update", "vault", "--accept-older"]).stderr, "nothing had changed\n");
}

#[test]
fn without_a_state_directory_a_vault_is_read_but_not_written() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "a value"]);
    let nowhere = sandbox.file("file", "no directory").join("state");
    let run = |arguments: &[&str]| {
        let output = sandbox.command(arguments).env("FLYTE_LOCAL_STATE", &nowhere).output();
        Ran::from(output.expect("flyte-local starts"))
    };
    let ran = run(&["get", "secret", "s", "--reveal"]);
    assert_eq!((ran.code, &ran.stdout[..]), (0, &b"a value"[..]), "{ran:?}");
    assert_eq!(ran.stderr.matches("cannot remember this vault").count(), 1, "{ran:?}");
    for command in [&["update", "secret", "s", "v"][..], &["delete", "secret", "s"], &["create", "secret", "t", "v"]] {
        let ran = run(command);
        assert_eq!(ran.code, 1, "{ran:?}");
    }
    assert_eq!(run(&["--strict", "get", "secret", "s", "--reveal"]).code, 13);
    let checked = run(&["check"]);
    assert!(checked.code == 1 && checked.all().contains("there is no directory to remember"), "{checked:?}");
    silent(&reveal(&sandbox), b"a value");
}

#[test]
fn a_garbled_pin_is_an_error_and_not_a_first_use() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "a value"]);
    for (name, command) in [("pin.toml", "get secret"), ("s.pin", "get secret s --reveal")] {
        let (path, content) =
            tree(&sandbox.state()).into_iter().find(|(path, _)| path.ends_with(name)).expect("it was pinned");
        std::fs::write(&path, "garbage\n").expect("written");
        let ran = sandbox.run(&command.split(' ').collect::<Vec<_>>());
        assert_eq!((ran.code, ran.stdout.len()), (1, 0), "{ran:?}");
        assert!(ran.stderr.contains(&path.display().to_string()), "{ran:?}");
        std::fs::write(&path, content).expect("restored");
    }
    silent(&reveal(&sandbox), b"a value");
}

#[test]
fn pins_are_private_and_one_file_for_each_secret() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "canary", "-p", "p", "-d", "d"]);
    let files = tree(&sandbox.state());
    let id = std::fs::read_dir(sandbox.state().join("vaults")).expect("listed").next().expect("one").expect("listed");
    assert!(files.iter().any(|(path, _)| *path == id.path().join("seen/project/p/domain/d/s.pin")), "{files:?}");
    for (path, content) in &files {
        assert!(!String::from_utf8_lossy(content).contains("canary"));
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o7777;
        assert_eq!((mode(path), mode(path.parent().expect("a directory"))), (0o600, 0o700), "{}", path.display());
    }
    assert_eq!(files.len(), 4, "the lock, the path, the pin and the secret's pin: {files:?}");
    assert_eq!(sandbox.author().metadata().expect("there").permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_vault_that_was_moved_is_recognised() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "a value"]);
    std::fs::rename(sandbox.vault(), sandbox.work().join("moved")).expect("moved");
    silent(&sandbox.run(&["--vault", "moved", "--strict", "get", "secret", "s", "--reveal"]), b"a value");
    // The old place can hold a new vault.
    sandbox.ok(&["init"]);
    sandbox.ok(&["create", "secret", "s", "another"]);
    silent(&reveal(&sandbox), b"another");
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_secret_is_not_written_if_its_pin_cannot_be() {
    require("strace", "strace");
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "other", "v"]);
    let mut vaults = std::fs::read_dir(sandbox.state().join("vaults")).expect("there");
    let pinned = vaults.next().expect("one vault").expect("listed").path();
    std::fs::remove_dir_all(pinned.join("seen")).expect("removed");
    let mut command = sandbox.program("strace");
    command.args(["-f", "-o", "/dev/null", "-e", "trace=mkdirat", "-e", "inject=mkdirat:error=ENOSPC", FLYTE_LOCAL]);
    let ran = Ran::from(command.args(["create", "secret", "s", "v"]).output().expect("strace starts"));
    assert!(ran.code == 1 && ran.stderr.contains("No space left"), "{ran:?}");
    assert!(!sandbox.secret_file("org/s").exists());
}

#[test]
fn a_moved_vault_is_pinned_at_its_new_path_too() {
    let sandbox = Sandbox::new();
    let moved = sandbox.work().join("moved");
    std::fs::rename(sandbox.vault(), &moved).expect("moved");
    sandbox.ok(&["--vault", "moved", "create", "secret", "s", "a value"]);
    sandbox.ok(&["init"]);
    sandbox.ok(&["--vault", "moved", "update", "secret", "s", "another"]);
    let text = std::fs::read_to_string(moved.join("vault.toml")).expect("there");
    let id = text.lines().find(|line| line.starts_with("id = ")).expect("it has one");
    let another = format!("id = \"{}\"", "0".repeat(32));
    std::fs::write(moved.join("vault.toml"), text.replace(id, &another)).expect("written");
    let ran = sandbox.run(&["--vault", "moved", "create", "secret", "new", "v"]);
    assert_eq!(ran.code, 13, "{ran:?}");
    assert!(ran.stderr.contains("\n  + id ") && !ran.stderr.contains("first use"), "{ran:?}");
}

#[test]
fn a_reader_and_a_writer_at_the_same_time_raise_no_false_alarm() {
    let sandbox = Sandbox::new();
    let (id, identities) = (secret_id("org/s"), sandbox.identities());
    let value = |round: usize| SecretValue::new(round.to_string().into_bytes().into()).expect("small enough");
    let is_done = AtomicBool::new(false);
    let counts = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let vault = sandbox.open_strict_vault();
                    let mut counts = [0, 0];
                    while !is_done.load(Ordering::Relaxed) {
                        match vault.value(&id, &identities) {
                            Ok(_) => counts[0] += 1,
                            Err(VaultError::SecretMissing { .. }) => counts[1] += 1,
                            Err(error) => panic!("{error}: {error:?}"),
                        }
                    }
                    counts
                })
            })
            .collect();
        let mut vault = sandbox.open_vault();
        for round in 0..150 {
            match round % 5 {
                0 => drop(
                    vault
                        .writer()
                        .expect("writable")
                        .create_secret(&id, SecretType::Regular, &value(round))
                        .expect("created"),
                ),
                4 => assert!(vault.lock().expect("lockable").delete_secret(&id).expect("deleted")),
                _ => drop(vault.writer().expect("writable").update_secret(&id, &value(round)).expect("updated")),
            }
        }
        is_done.store(true, Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().expect("no alarm")).collect::<Vec<_>>()
    });
    println!("values read, and not there: {counts:?}");
    assert!(counts.iter().all(|[read, _]| *read > 0), "{counts:?}");
    let (_, pin) = tree(&sandbox.state()).into_iter().find(|(path, _)| path.ends_with("s.pin")).expect("it was seen");
    assert!(pin.ends_with(b" deleted\n"), "the pin says that the deleted secret exists");
}
