//! `update identity --rotate`: a new key replaces the old one, and at every moment the identity file opens every secret.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests change files as any program could, and say what they did"
)]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, identities, require, secret_id, tally};
use flyte_local::crypto::{Identity, Recipient};

const SECRETS: [&str; 3] = ["org/a", "project/p/b", "project/p/domain/d/c"];

fn vault() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.secret("a", "value of a", &[]);
    sandbox.secret("b", "value of b", &["-p", "p"]);
    sandbox.secret("c", "value of c", &["-p", "p", "-d", "d"]);
    sandbox
}

/// Returns whether every secret opens with these identities. Fails if only some of them do.
fn open(sandbox: &Sandbox, identities: &Vec<Identity>) -> bool {
    let vault = sandbox.open_vault();
    let opened: Vec<_> = SECRETS.iter().map(|place| vault.value(&secret_id(place), identities).is_ok()).collect();
    assert!(opened.iter().all(|&first| first == opened[0]), "only some of the secrets open");
    opened[0]
}

/// Returns the files of retired keys.
fn retired(sandbox: &Sandbox) -> Vec<PathBuf> {
    let directory = sandbox.identity().parent().expect("it has one").read_dir().expect("listed");
    let paths = directory.map(|entry| entry.expect("listed").path());
    paths.filter(|path| path.to_string_lossy().contains("identity.txt.retired-")).collect()
}

fn recipients(identities: &[Identity]) -> Vec<Recipient> {
    identities.iter().map(Identity::recipient).collect()
}

fn in_the_vault(sandbox: &Sandbox) -> Vec<(String, Recipient)> {
    sandbox.open_vault().recipients().iter().map(|known| (known.name.clone(), known.key.clone())).collect()
}

/// Asserts that the user has one new key, which alone opens the secrets, and the old key in a separate file.
fn assert_rotated(sandbox: &Sandbox, old: &[Identity]) {
    let new = sandbox.identities();
    assert_eq!(new.len(), 1);
    assert_ne!(recipients(&new), recipients(old));
    assert_eq!(in_the_vault(sandbox), [("owner".to_owned(), new[0].recipient())]);
    assert!(open(sandbox, &new) && !open(sandbox, &old.to_vec()));
    let retired = retired(sandbox);
    let all_old = |path: &PathBuf| recipients(&identities(path)) == recipients(old);
    assert!(!retired.is_empty() && retired.iter().all(all_old), "{retired:?}");
    for path in retired.iter().chain([&sandbox.identity()]) {
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o7777, 0o600, "{}", path.display());
    }
    assert_eq!(sandbox.run(&["check"]).code, 0);
}

#[test]
#[ignore = "needs age: scripts/test"]
fn a_new_key_replaces_the_old_one() {
    let sandbox = vault();
    let (old, before) = (sandbox.identities(), std::fs::read(sandbox.secret_file(SECRETS[0])).expect("there"));
    let ran = sandbox.run(&["update", "identity", "--rotate"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains("re-encrypted 3 secrets") && ran.stderr.contains("--expect"), "{ran:?}");
    assert_rotated(&sandbox, &old);
    // The retired key opens a file that was written before the rotation.
    require("age", "age");
    let backup = sandbox.file("backup.age", before);
    let opened = sandbox.program("age").arg("-d").arg("-i").arg(&retired(&sandbox)[0]).arg(backup).output();
    assert_eq!(opened.expect("age starts").stdout, b"value of a");
    // The retired key also opens a file by an author who does not know the new key yet, and rekey then re-encrypts it.
    std::fs::write(sandbox.secret_file(SECRETS[0]), std::fs::read(sandbox.work().join("backup.age")).expect("there"))
        .expect("written");
    let ran = sandbox.run(&["get", "secret", "a", "--reveal"]);
    assert_eq!(ran.code, 11, "{ran:?}");
    let options = ran.stderr.split("an old key may open it: ").nth(1).expect("a hint").lines().next();
    let options: Vec<_> = options.expect("a line").split(' ').collect();
    assert_eq!(sandbox.ok(&[&options[..], &["get", "secret", "a", "--reveal"]].concat()), b"value of a");
    sandbox.ok(&[&options[..], &["rekey"]].concat());
    assert_eq!(sandbox.ok(&["get", "secret", "a", "--reveal"]), b"value of a");
    // A second rotation works too.
    let old = sandbox.identities();
    std::fs::remove_file(&retired(&sandbox)[0]).expect("removed");
    assert_eq!(sandbox.run(&["update", "identity", "--rotate"]).code, 0);
    assert_rotated(&sandbox, &old);
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_killed_rotation_continues_if_it_is_repeated() {
    require("strace", "strace");
    let mut kills = 0;
    for when in 1.. {
        let sandbox = vault();
        let old = sandbox.identities();
        let fault = format!("inject=rename,renameat,renameat2,linkat:signal=KILL:when={when}");
        let mut command = sandbox.program("strace");
        let output =
            command.args(["-f", "-o", "/dev/null", "-e", &fault, FLYTE_LOCAL, "update", "identity", "--rotate"]);
        let output = output.output().expect("strace starts");
        // strace counts each call separately, so there are as many kills as the most frequent call has occurrences.
        if output.status.signal().is_none() {
            assert_eq!(Ran::from(output).code, 0);
            assert_rotated(&sandbox, &old);
            break;
        }
        kills += 1;
        let vault = sandbox.open_vault();
        for place in SECRETS {
            assert!(vault.value(&secret_id(place), &sandbox.identities()).is_ok(), "kill {when}: {place}");
        }
        let again = sandbox.run(&["update", "identity", "--rotate"]);
        assert_eq!(again.code, 0, "kill {when}: {again:?}");
        let keys = sandbox.identities();
        assert_eq!(keys.len(), 1, "kill {when}: the second run made another key");
        assert!(open(&sandbox, &keys) && !open(&sandbox, &old), "kill {when}");
    }
    assert!(kills > 6, "{kills} kills");
    tally(&format!(
        "rotation of an identity killed before {kills} changes of files: 0 secrets that did not open, all continued"
    ));
}

#[test]
fn the_old_key_stays_while_a_secret_cannot_be_re_encrypted() {
    let sandbox = vault();
    let old = sandbox.identities();
    let file = sandbox.secret_file(SECRETS[1]);
    let mut bytes = std::fs::read(&file).expect("there");
    *bytes.last_mut().expect("some") ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let ran = sandbox.run(&["update", "identity", "--rotate"]);
    assert_eq!(ran.code, 13, "{ran:?}");
    assert!(
        ran.stderr.contains("keeps both keys until every secret is encrypted to the new one; to continue: flyte-local"),
        "{ran:?}"
    );
    let both = recipients(&sandbox.identities());
    assert_eq!((both.len(), &both[0]), (2, &old[0].recipient()));
    assert!(retired(&sandbox).is_empty());
    // Reading works as before, and so does the rotation once the secret is repaired.
    assert_eq!(sandbox.ok(&["get", "secret", "a", "--reveal"]), b"value of a");
    sandbox.ok(&["delete", "secret", "b", "-p", "p"]);
    sandbox.secret("b", "value of b", &["-p", "p"]);
    sandbox.ok(&["update", "identity", "--rotate"]);
    assert_eq!(recipients(&sandbox.identities()), both[1..]);
    assert_rotated(&sandbox, &old);
}

#[test]
fn the_old_key_is_retired_once_no_vault_uses_it() {
    let sandbox = vault();
    let old = sandbox.identities();
    sandbox.ok(&["--vault", "other", "init"]);
    sandbox.ok(&["--vault", "other", "create", "secret", "there", "its value"]);
    sandbox.ok(&["--vault", "gone", "init"]);
    std::fs::remove_dir_all(sandbox.work().join("gone")).expect("removed");
    let read = || sandbox.ok(&["--vault", "other", "get", "secret", "there", "--reveal"]);

    // A rotation that stopped in one vault cannot be finished in another, which does not know the remaining work.
    let damaged = sandbox.secret_file(SECRETS[1]);
    let before = std::fs::read(&damaged).expect("there");
    std::fs::write(&damaged, b"damaged").expect("written");
    assert_eq!(sandbox.run(&["update", "identity", "--rotate"]).code, 13);
    let elsewhere = sandbox.run(&["--vault", "other", "update", "identity", "--rotate"]);
    assert_eq!(elsewhere.code, 1, "{elsewhere:?}");
    let here = sandbox.vault().canonicalize().expect("it exists");
    let go_on = format!("complete it first: flyte-local --vault {} update identity --rotate", here.display());
    assert!(elsewhere.stderr.contains(&go_on), "{elsewhere:?}");
    std::fs::write(&damaged, before).expect("written");

    let first = sandbox.run(&["update", "identity", "--rotate"]);
    assert_eq!(first.code, 0, "{first:?}");
    let other = sandbox.work().join("other").canonicalize().expect("it exists");
    let next = format!("  flyte-local --vault {} update identity --rotate\n", other.display());
    assert!(first.stderr.ends_with(&next), "the vault that is gone must not be named: {first:?}");
    let both = recipients(&sandbox.identities());
    assert_eq!((both.len(), read()), (2, b"its value".to_vec()));
    assert!(!open(&sandbox, &old) && retired(&sandbox).is_empty());

    let second = sandbox.run(&["--vault", "other", "update", "identity", "--rotate"]);
    assert_eq!(second.code, 0, "{second:?}");
    assert_eq!((recipients(&sandbox.identities()), read()), (both[1..].to_vec(), b"its value".to_vec()));
    assert_rotated(&sandbox, &old);
}

#[test]
fn the_old_key_stays_for_a_known_vault_that_cannot_be_opened_now() {
    let sandbox = vault();
    let old = sandbox.identities();
    sandbox.ok(&["--vault", "other", "init"]);
    sandbox.ok(&["--vault", "other", "create", "secret", "there", "its value"]);
    let other = sandbox.work().join("other").canonicalize().expect("it exists");
    let mode = |mode| std::fs::set_permissions(&other, std::fs::Permissions::from_mode(mode)).expect("set");
    mode(0o770);
    let rotated = sandbox.run(&["update", "identity", "--rotate"]);
    mode(0o700);
    assert_eq!(rotated.code, 0, "{rotated:?}");
    assert!(rotated.stderr.contains(&format!("--vault {} update identity --rotate", other.display())), "{rotated:?}");
    assert!(retired(&sandbox).is_empty() && recipients(&sandbox.identities()).contains(&old[0].recipient()));
    sandbox.ok(&["--vault", "other", "update", "identity", "--rotate"]);
    assert_rotated(&sandbox, &old);
}

#[test]
fn a_known_vault_that_is_not_in_its_place_is_named_before_the_old_key_is_called_needless() {
    let sandbox = vault();
    sandbox.ok(&["--vault", "other", "init"]);
    sandbox.ok(&["--vault", "other", "create", "secret", "there", "its value"]);
    let other = sandbox.work().join("other").canonicalize().expect("it exists");
    std::fs::rename(&other, sandbox.work().join("moved")).expect("moved");
    let rotated = sandbox.run(&["update", "identity", "--rotate"]);
    assert_eq!(rotated.code, 0, "{rotated:?}");
    assert!(rotated.stderr.contains(&other.display().to_string()) && !rotated.stderr.contains("rm "), "{rotated:?}");
    let retired = retired(&sandbox);
    let retired = retired[0].to_str().expect("UTF-8");
    let read = ["--vault", "moved", "--identity", retired, "get", "secret", "there", "--reveal"];
    assert_eq!(sandbox.ok(&read), b"its value");
}

#[test]
fn a_passphrase_protects_the_new_key_and_the_old_one() {
    let sandbox = vault();
    let typed = |arguments: &[&str], lines: &str| {
        let mut command = sandbox.command(arguments);
        command.args(["--passphrase-fd", "0"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("it reads");
        Ran::from(child.wait_with_output().expect("it ends"))
    };
    let set = typed(&["update", "identity", "--passphrase"], "correct horse\n");
    assert_eq!(set.code, 0, "{set:?}");
    let rotated = typed(&["update", "identity", "--rotate"], "correct horse\n");
    assert_eq!(rotated.code, 0, "{rotated:?}");
    let is_locked =
        |path: &Path| std::fs::read(path).expect("there").starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----");
    let retired = retired(&sandbox);
    assert_eq!(retired.len(), 1);
    assert!(is_locked(&sandbox.identity()) && is_locked(&retired[0]));
    let read = typed(&["get", "secret", "a", "--reveal"], "correct horse\n");
    assert_eq!(read.stdout, b"value of a", "{read:?}");
    let kept = retired[0].to_str().expect("UTF-8");
    let old = typed(&["--identity", kept, "get", "secret", "a", "--reveal"], "correct horse\n");
    assert_eq!(old.code, 11, "the old key still opens the secret: {old:?}");
    assert!(old.stderr.contains("tried"), "the old key was not tried: {old:?}");
}

#[test]
#[ignore = "needs OpenSSH: scripts/test"]
fn an_unsuitable_identity_is_not_rotated() {
    let sandbox = vault();
    let before = std::fs::read(sandbox.identity()).expect("there");
    let other = sandbox.file("other.txt", &*Identity::generate().to_file("now"));
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o600)).expect("ours");
    let rotate = |options: &[&str]| sandbox.run(&[options, &["update", "identity", "--rotate"]].concat());
    let not_one = rotate(&["--identity", "other.txt"]);
    assert_eq!(not_one.code, 11, "{not_one:?}");
    let mut command = sandbox.command(&["update", "identity", "--rotate"]);
    let key = String::from_utf8(before.clone()).expect("text");
    let variable = Ran::from(command.env("FLYTE_LOCAL_IDENTITY_KEY", key).output().expect("it starts"));
    assert_eq!(variable.code, 2, "{variable:?}");
    sandbox.ssh_key("ssh", &["ed25519"], "");
    assert_eq!(rotate(&["--identity", "ssh"]).code, 1);
    // The file has two of the vault's keys, and the command cannot know which is meant.
    let second = Identity::generate();
    sandbox.ok(&["create", "recipient", &second.recipient().to_string(), "--name", "second"]);
    let two = [before.as_slice(), second.to_file("now").as_bytes()].concat();
    std::fs::write(sandbox.identity(), &two).expect("written");
    let several = rotate(&[]);
    assert_eq!(several.code, 2, "{several:?}");
    assert_eq!(std::fs::read(sandbox.identity()).expect("there"), two);
    assert!(retired(&sandbox).is_empty());
}
