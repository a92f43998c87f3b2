//! `rekey` can be interrupted at any point and repeated, and names the secrets that it left.
//!
//! `FLYTE_LOCAL_TEST_SEED` repeats a run's choices, except for the exact moments of the kills, which the scheduler decides.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests change files as any program could, and say what they did"
)]

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::terminal::answering;
use crate::support::{FLYTE_LOCAL, Ran, Random, Sandbox, require, secret_id, tally};
use flyte_local::crypto::Identity;
use flyte_local::secret::{ScopeFilter, SecretType, SecretValue};
use flyte_local::vault::NamedRecipient;

const SECRETS: usize = 200;
const KILLS: usize = 200;

/// A vault with `count` secrets in four scopes, and their places.
fn vault(count: usize) -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::in_memory();
    sandbox.ok(&["init"]);
    let scopes = ["org", "project/p", "domain/d", "project/p/domain/d"];
    let places: Vec<_> = (0..count).map(|index| format!("{}/s{index}", scopes[index % 4])).collect();
    let mut vault = sandbox.open_vault();
    for place in &places {
        let value = SecretValue::new(place.clone().into_bytes().into()).expect("small enough");
        vault
            .writer()
            .expect("writable")
            .create_secret(&secret_id(place), SecretType::Regular, &value)
            .expect("created");
    }
    (sandbox, places)
}

/// Changes the recipients as `create recipient` and `delete recipient` do before they re-encrypt.
fn exchange(sandbox: &Sandbox, added: &Identity, removed: Option<&Identity>) {
    let mut vault = sandbox.open_vault();
    let named = NamedRecipient { name: "bob".to_owned(), key: added.recipient() };
    vault.writer().expect("writable").add_recipients(vec![named]).expect("added");
    if let Some(removed) = removed {
        let own: Vec<_> = sandbox.identities().iter().map(Identity::recipient).collect();
        vault.writer().expect("writable").remove_recipients(&removed.recipient().to_string(), &own).expect("removed");
    }
}

/// Starts `rekey` and kills it after `delay`. Returns whether it was still running.
fn rekey_killed(sandbox: &Sandbox, delay: Duration) -> bool {
    let mut child =
        sandbox.command(&["rekey"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("flyte-local starts");
    // This is not a wait for a condition: the test varies the moment of the kill.
    std::thread::sleep(delay);
    child.kill().expect("it is our child");
    let output = child.wait_with_output().expect("it ends");
    let killed = output.status.signal().is_some();
    assert!(killed || output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    killed
}

/// Asserts that each secret has its value, for the user and for one of the `known` identities: the old recipient or the
/// new one.
fn assert_each_opens<'a>(sandbox: &Sandbox, places: impl IntoIterator<Item = &'a String>, known: &[&Identity]) {
    let (vault, own) = (sandbox.open_vault(), sandbox.identities());
    let known: Vec<_> = known.iter().map(|&identity| identity.clone()).collect();
    for (index, place) in places.into_iter().enumerate() {
        // Half of the secrets are opened with each, to save time.
        let identities = if index % 2 == 0 || known.is_empty() { &own } else { &known };
        let value = vault.value(&secret_id(place), identities).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(value.expose(), place.as_bytes());
    }
}

#[test]
fn a_killed_rekey_continues_where_it_stopped() {
    let mut random = Random::seeded();
    let (sandbox, places) = vault(SECRETS);
    let mut old = Identity::generate();
    exchange(&sandbox, &old, None);
    let start = Instant::now();
    sandbox.ok(&["rekey"]);
    let whole = u64::try_from(start.elapsed().as_nanos()).expect("less than centuries");

    let (mut hits, mut attempts, mut halfway, mut rounds) = (0, 0, 0, 0);
    while hits < KILLS {
        let new = Identity::generate();
        exchange(&sandbox, &new, Some(&old));
        // The time goes down, since each attempt does a part of the work.
        let mut left = whole;
        loop {
            attempts += 1;
            assert!(
                attempts <= 5 * KILLS,
                "only {hits} of {attempts} kills hit a running process: too few to prove anything"
            );
            let killed = rekey_killed(&sandbox, Duration::from_nanos(random.below(left)));
            hits += usize::from(killed);
            // A sample of the secrets written before the kill, between, and not at all.
            let start = random.below(8) as usize;
            assert_each_opens(&sandbox, places.iter().skip(start).step_by(8), &[&old, &new]);
            let found = sandbox.open_vault().encryption().expect("listed");
            assert!(found.refused.is_empty(), "{:?}", found.refused);
            halfway += usize::from(killed && found.current > 0 && !found.outdated.is_empty());
            if found.outdated.is_empty() {
                break;
            }
            left = whole / 4 + whole / SECRETS as u64 * found.outdated.len() as u64;
        }
        sandbox.ok(&["rekey"]);
        rounds += 1;
        assert_each_opens(&sandbox, &places, &[&new]);
        let (vault, gone) = (sandbox.open_vault(), [old]);
        for place in &places {
            assert!(vault.value(&secret_id(place), &gone).is_err(), "{place} still opens for the removed recipient");
        }
        sandbox.sound_but_for_leftovers();
        old = new;
    }
    assert!(halfway > KILLS / 10, "only {halfway} kills fell between two secrets");
    tally(&format!(
        "rekey of {SECRETS} secrets killed at {hits} random moments (of {attempts} tried, {halfway} of them between two \
         secrets), {rounds} recipients exchanged: 0 lost, 0 torn, 0 that still opened for the removed recipient"
    ));
}

#[test]
fn a_dry_run_lists_outdated_secrets_and_changes_nothing() {
    let (sandbox, places) = vault(5);
    let files = || places.iter().map(|place| std::fs::read(sandbox.secret_file(place)).expect("there"));
    let list = || sandbox.run(&["--output-format", "table-simple", "rekey", "--dry-run"]);
    assert_eq!(list().text(), "project  domain  name\n");
    exchange(&sandbox, &Identity::generate(), None);
    // This secret is written later, so it is already encrypted to the new recipient.
    sandbox.ok(&["update", "secret", "s0", "--value", "new"]);
    let before: Vec<_> = files().collect();
    let ran = list();
    assert_eq!(ran.code, 0, "{ran:?}");
    let listed = ran.text();
    let names: BTreeSet<_> = listed.lines().skip(1).filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(names, BTreeSet::from(["s1", "s2", "s3", "s4"]), "{ran:?}");
    assert!(ran.stderr.contains("4 to re-encrypt, 1 up to date"), "{ran:?}");
    assert!(files().eq(before), "a dry run wrote a file");
    let check = sandbox.run(&["check"]);
    assert_eq!(check.code, 13, "{check:?}");
    assert!(
        check.stderr.contains("the recipients of 4 secrets are out of date") && check.stderr.contains("rekey"),
        "{check:?}"
    );
    assert!(sandbox.run(&["rekey"]).stderr.contains("re-encrypted 4 secrets"));
    assert!(sandbox.run(&["rekey"]).stderr.contains("no secret had to be re-encrypted"));
    assert_eq!(sandbox.run(&["check"]).code, 0);
}

#[test]
fn rekey_keeps_times_and_types_and_leaves_older_files_alone() {
    let (sandbox, _) = vault(0);
    sandbox.ok(&["create", "secret", "a", "old"]);
    let file = sandbox.secret_file("org/a");
    let old = std::fs::read(&file).expect("there");
    sandbox.ok(&["update", "secret", "a", "--value", "new"]);
    let list = || sandbox.open_vault().list(&ScopeFilter::default()).expect("listed").secrets;
    let before = list();
    exchange(&sandbox, &Identity::generate(), None);
    sandbox.ok(&["rekey"]);
    assert_eq!(list(), before);
    // Neither a restored older version nor a restored deleted secret reaches a new recipient.
    std::fs::write(&file, &old).expect("written");
    sandbox.ok(&["create", "secret", "b", "v"]);
    let deleted = std::fs::read(sandbox.secret_file("org/b")).expect("there");
    sandbox.ok(&["delete", "secret", "b"]);
    std::fs::write(sandbox.secret_file("org/b"), &deleted).expect("written");
    exchange(&sandbox, &Identity::generate(), None);
    let ran = sandbox.run(&["rekey"]);
    assert_eq!(ran.code, 13, "{ran:?}");
    assert!(ran.stderr.contains("has already seen a version from") && ran.stderr.contains("--accept-older"), "{ran:?}");
    assert!(ran.stderr.contains("re-encrypted 0 of 2 secrets"), "{ran:?}");
    assert!(std::fs::read(&file).expect("there") == old);
    assert!(std::fs::read(sandbox.secret_file("org/b")).expect("there") == deleted);
    sandbox.ok(&["update", "vault", "--accept-older"]);
    assert!(sandbox.run(&["rekey"]).stderr.contains("re-encrypted 2 secrets"));
}

#[test]
fn unreadable_secrets_are_reported_and_the_others_are_re_encrypted() {
    let (sandbox, places) = vault(12);
    let new = Identity::generate();
    exchange(&sandbox, &new, None);
    let damage = |place: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let file = sandbox.secret_file(place);
        let mut bytes = std::fs::read(&file).expect("there");
        change(&mut bytes);
        std::fs::write(&file, &bytes).expect("written");
        (file, bytes)
    };
    let flipped = damage(&places[3], &|bytes| *bytes.last_mut().expect("some") ^= 1);
    let cut = damage(&places[4], &|bytes| bytes.truncate(40));
    let ran = sandbox.run(&["rekey"]);
    assert_eq!(ran.code, 13, "{ran:?}");
    assert!(ran.stderr.contains("re-encrypted 10 of 12 secrets"), "{ran:?}");
    for (file, bytes) in [flipped, cut] {
        assert!(ran.stderr.contains(&file.display().to_string()), "{ran:?}");
        assert!(std::fs::read(&file).expect("there") == bytes, "{} was written", file.display());
    }
    let others: Vec<_> = places.iter().filter(|&place| *place != places[3] && *place != places[4]).collect();
    assert_each_opens(&sandbox, others, &[&new]);
}

#[test]
fn stanzas_that_a_recipient_adds_or_removes_make_a_file_stale() {
    let ssh_key = |seed: u8| {
        let point = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes();
        let blob = [b"\0\0\0\x0bssh-ed25519".as_slice(), b"\0\0\0\x20", &point].concat();
        format!("ssh-ed25519 {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, blob))
    };
    let (sandbox, _) = vault(0);
    let (bob, eve) = (age::x25519::Identity::generate(), age::x25519::Identity::generate().to_public());
    sandbox.ok(&["create", "recipient", &bob.to_public().to_string(), "--name", "bob"]);
    sandbox.ok(&["create", "recipient", &ssh_key(1), "--name", "carol"]);
    // The stanzas of a file to another key of OpenSSH's, which has another tag.
    let another = Sandbox::new();
    another.ok(&["create", "recipient", &ssh_key(2), "--name", "dave"]);
    another.ok(&["create", "secret", "s", "value"]);
    let text = |sandbox: &Sandbox| std::fs::read(sandbox.secret_file("org/s")).expect("there");
    let foreign = String::from_utf8_lossy(&text(&another)).into_owned();
    let foreign = foreign.split("-> ").find(|stanza| stanza.starts_with("ssh-ed25519")).expect("one").to_owned();
    let foreign = format!("-> {foreign}");

    type Change = fn(&mut Vec<String>, String, String);
    let changes: [(&str, bool, Change); 9] = [
        ("a stanza is added", true, |stanzas, eve, _| stanzas.push(eve)),
        ("a stanza is added before all others", true, |stanzas, eve, _| stanzas.insert(0, eve)),
        ("a stanza is repeated", true, |stanzas, _, _| {
            let first = stanzas.iter().find(|stanza| stanza.starts_with("-> X25519 ")).expect("one").clone();
            stanzas.push(first);
        }),
        ("a stanza is removed", true, |stanzas, _, _| {
            let bob = stanzas.iter().rposition(|stanza| stanza.starts_with("-> X25519 ")).expect("one");
            stanzas.remove(bob);
        }),
        ("the stanza of an OpenSSH key is removed", true, |stanzas, _, _| {
            stanzas.retain(|stanza| !stanza.starts_with("-> ssh-ed25519 "));
        }),
        ("the stanza of an OpenSSH key is that of another key", true, |stanzas, _, foreign| {
            stanzas.retain(|stanza| !stanza.starts_with("-> ssh-ed25519 "));
            stanzas.push(foreign);
        }),
        ("a stanza of an unknown kind is added", true, |stanzas, _, _| {
            stanzas.push("-> piv-p256 abc\nAAAA\n".to_owned());
        }),
        // These are what the format says that no reader can see, or that age itself does.
        ("another X25519 key is in the place of one", false, |stanzas, eve, _| {
            let bob = stanzas.iter().rposition(|stanza| stanza.starts_with("-> X25519 ")).expect("one");
            stanzas[bob] = eve;
        }),
        ("grease is added", false, |stanzas, _, _| stanzas.push("-> some-grease x\nAAAA\n".to_owned())),
    ];
    for (what, is_stale, change) in changes {
        let _ = sandbox.run(&["delete", "secret", "s"]);
        sandbox.ok(&["create", "secret", "s", "value"]);
        let changed = crate::support::forger::with_stanzas(&text(&sandbox), &bob, |stanzas, wrapped| {
            change(stanzas, wrapped(&eve), foreign.clone());
        });
        std::fs::write(sandbox.secret_file("org/s"), &changed).expect("written");
        let listed = sandbox.run(&["rekey", "--dry-run"]);
        assert_eq!((listed.code, listed.text().contains(" s")), (0, is_stale), "{what}: {listed:?}");
        let opens = sandbox.value("org/s").is_some();
        assert!(opens, "{what}: the file is authentic");
        let checked = sandbox.run(&["check"]);
        assert_eq!(checked.code, if is_stale { 13 } else { 0 }, "{what}: {checked:?}");
        sandbox.ok(&["rekey"]);
        assert_eq!(text(&sandbox) != changed, is_stale, "{what}");
        assert_eq!(sandbox.run(&["check"]).code, 0, "{what}");
    }
}

#[test]
fn the_recipients_of_a_file_are_signed_by_its_author() {
    let (sandbox, places) = vault(1);
    let file = sandbox.secret_file(&places[0]);
    let digest = |bytes: &[u8]| {
        let body = String::from_utf8(flyte_local::crypto::peek(bytes).expect("a header").binding.body).expect("JSON");
        let (_, rest) = body.split_once("\"recipients\":\"").expect("it says so");
        rest[..64].to_owned()
    };
    let before = std::fs::read(&file).expect("there");
    exchange(&sandbox, &Identity::generate(), None);
    sandbox.ok(&["rekey"]);
    // A file put back and made to look encrypted to the new recipients, which needs no key.
    let after = digest(&std::fs::read(&file).expect("there"));
    let binding = flyte_local::crypto::peek(&before).expect("a header").binding.body;
    let text = String::from_utf8(binding).expect("JSON");
    let forged = crate::support::forger::file(
        &sandbox.identities()[0].recipient().to_string(),
        flyte_local::crypto::SIGNED_TAG,
        text.replace(&digest(&before), &after).as_bytes(),
        places[0].as_bytes(),
    );
    std::fs::write(&file, forged).expect("written");
    for arguments in [&["rekey", "--dry-run"][..], &["rekey"]] {
        let ran = sandbox.run(arguments);
        assert_eq!(ran.code, 13, "{ran:?}");
        assert!(ran.stderr.contains("its signature does not hold"), "{ran:?}");
    }
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_full_disk_stops_rekey_and_a_second_run_continues() {
    require("strace", "strace");
    let (sandbox, places) = vault(20);
    let new = Identity::generate();
    exchange(&sandbox, &new, None);
    let log: PathBuf = sandbox.work().join("strace.log");
    let mut command = sandbox.program("strace");
    command.arg("-f").arg("-o").arg(&log).args(["-e", "inject=fchmod:error=ENOSPC:when=12+", FLYTE_LOCAL, "rekey"]);
    let ran = Ran::from(command.output().expect("strace starts"));
    assert_eq!(ran.code, 1, "{ran:?}");
    for told in ["No space left on device", "free some space and try again", "to continue: flyte-local rekey"] {
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
    }
    assert_each_opens(&sandbox, &places, &[]);
    let found = sandbox.open_vault().encryption().expect("listed");
    assert!(found.current > 0 && !found.outdated.is_empty(), "it did not stop between two secrets: {found:?}");
    sandbox.ok(&["rekey"]);
    assert_each_opens(&sandbox, &places, &[&new]);
}

/// The situation of a user who may not have more processes.
#[test]
#[ignore = "needs strace: scripts/test"]
fn rekey_works_without_threads() {
    require("strace", "strace");
    for count in [3, 20] {
        let (sandbox, places) = vault(count);
        let new = Identity::generate();
        exchange(&sandbox, &new, None);
        let log: PathBuf = sandbox.work().join("strace.log");
        let mut command = sandbox.program("strace");
        command.arg("-f").arg("-o").arg(&log).args(["-e", "inject=clone3,clone:error=EAGAIN", FLYTE_LOCAL, "rekey"]);
        let ran = Ran::from(command.output().expect("strace starts"));
        assert!(ran.code == 0 && ran.stderr.contains(&format!("re-encrypted {count} secrets")), "{ran:?}");
        // A few secrets are not worth a thread, and one core has no use for a second.
        let cores = std::thread::available_parallelism().expect("known").get();
        let tried = std::fs::read_to_string(&log).expect("strace's log").contains("(INJECTED)");
        assert_eq!(tried, count == 20 && cores > 1, "rekey should try to start threads for many secrets");
        assert_each_opens(&sandbox, &places, &[&new]);
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn rekey_shows_progress_on_a_terminal() {
    let (sandbox, _) = vault(60);
    exchange(&sandbox, &Identity::generate(), None);
    assert_eq!(sandbox.run(&["rekey", "--dry-run"]).stderr.lines().count(), 1);
    let session =
        answering(&sandbox, &[], &["sh", "-c", "stty cols 80 rows 24 && TERM=xterm exec \"$0\" rekey", FLYTE_LOCAL]);
    assert_eq!(session.code, 0, "{}", session.shown);
    for part in ["re-encrypting ", "/60 ", "/s, ", " left", "re-encrypted 60 secrets"] {
        assert!(session.shown.contains(part), "{part}: {}", session.shown);
    }
    exchange(&sandbox, &Identity::generate(), None);
    assert_eq!(
        sandbox.run(&["rekey"]).stderr,
        "re-encrypted 60 secrets\n",
        "without a terminal there is no progress line"
    );
}

#[test]
fn rekey_refuses_an_untrusted_author() {
    let (sandbox, _) = vault(2);
    exchange(&sandbox, &Identity::generate(), None);
    let stranger = sandbox.work().join("stranger.key");
    let mut command = sandbox.command(&["rekey"]);
    let ran = Ran::from(command.env("FLYTE_LOCAL_AUTHOR", &stranger).output().expect("it starts"));
    assert_eq!(ran.code, 13, "{ran:?}");
    assert!(ran.stderr.contains("who is not an author of this vault"), "{ran:?}");
    assert_eq!(sandbox.open_vault().encryption().expect("listed").outdated.len(), 2);
}
