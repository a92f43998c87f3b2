//! Many processes on one vault: no update is lost, one creator wins, and readers neither wait nor see a torn value.
//! `tests/it/faults_holders.rs` repeats this while processes that hold the locks are killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require, scope_options, secret_id, tally};
use flyte_local::storage::{Directory, Lock};

const WRITERS: usize = 8;
const ROUNDS: usize = 8;

/// Returns a value that would show if it were mixed with another: one stamp many times, and a length unlike the others'.
fn value(writer: usize, round: usize) -> Vec<u8> {
    format!("{writer}.{round};").repeat(1 + 400 * writer + round).into_bytes()
}

/// Returns the writer and round of a whole value.
fn parse(bytes: &[u8]) -> Option<(usize, usize)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (writer, round) = text.split_once(';')?.0.split_once('.')?;
    let (writer, round) = (writer.parse().ok()?, round.parse().ok()?);
    (value(writer, round) == bytes).then_some((writer, round))
}

fn write(sandbox: &Sandbox, verb: &str, name: &str, writer: usize, round: usize) {
    let file = sandbox.file(&format!("value.{writer}"), value(writer, round));
    let ran = sandbox.run(&[verb, "secret", name, "--from-file", file.to_str().expect("UTF-8")]);
    assert_eq!(ran.code, 0, "writer {writer}: {verb} {name}: {ran:?}");
}

/// Creates and updates separate secrets, deletes every other one, and updates the shared one.
fn writer(sandbox: &Sandbox, writer: usize) {
    for round in 0..ROUNDS {
        let own = format!("own-{writer}-{round}");
        write(sandbox, "create", &own, writer, round);
        write(sandbox, "update", &own, writer, round + 1);
        write(sandbox, "update", "shared", writer, round);
        if round % 2 == 1 {
            sandbox.ok(&["delete", "secret", &own]);
        }
    }
}

/// Reads until stopped, through the library and now and then through the binary. Returns the number of reads.
fn reader(sandbox: &Sandbox, stop: &AtomicBool) -> usize {
    let (vault, identities) = (sandbox.open_vault(), sandbox.identities());
    let mut reads = 0;
    while !stop.load(Ordering::Relaxed) {
        let listing = vault.list(&Default::default()).expect("a reader sees no error");
        assert!(listing.refused.is_empty(), "{:?}", listing.refused);
        let shared = secret_id("org/shared");
        assert!(
            listing.secrets.iter().any(|metadata| metadata.id == shared),
            "a secret that is updated is always there"
        );
        let value = vault.value(&shared, &identities).expect("a reader sees no error");
        assert!(parse(value.expose()).is_some(), "torn");
        if reads % 8 == 0 {
            sandbox.ok(&["get", "secret"]);
            let value = sandbox.ok(&["get", "secret", "shared", "--reveal"]);
            assert!(parse(&value).is_some(), "torn");
        }
        reads += 1;
    }
    reads
}

/// Stops the readers even if a writer panics. Otherwise the test would never end.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn eight_writers_lose_no_update_and_readers_see_nothing_torn() {
    let sandbox = Sandbox::new();
    write(&sandbox, "create", "shared", 0, 0);
    let (stop, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _stop = StopWhenDropped(&stop);
        for _ in 0..2 {
            scope.spawn(|| reads.fetch_add(reader(&sandbox, &stop), Ordering::Relaxed));
        }
        let sandbox = &sandbox;
        let writers: Vec<_> = (0..WRITERS).map(|index| scope.spawn(move || writer(sandbox, index))).collect();
        for writer in writers {
            writer.join().expect("no writer failed");
        }
    });

    let read = |name: &str| sandbox.value(&format!("org/{name}")).map(|value| parse(&value).expect("whole"));
    for writer in 0..WRITERS {
        for round in 0..ROUNDS {
            let expected = (round % 2 == 0).then_some((writer, round + 1));
            assert_eq!(read(&format!("own-{writer}-{round}")), expected, "a write was lost");
        }
    }
    // The last writer wrote its last update.
    let (_, round) = read("shared").expect("it was never deleted");
    assert_eq!(round, ROUNDS - 1, "a later update was lost to an earlier one");
    assert_eq!(sandbox.sound_but_for_leftovers(), 0);
    let reads = reads.into_inner();
    assert!(reads > WRITERS, "the readers read too rarely");
    let writes = WRITERS * (3 * ROUNDS + ROUNDS / 2);
    tally(&format!("{WRITERS} writers, {writes} creates, updates and deletes, {reads} reads: 0 lost, 0 torn"));
}

#[test]
fn one_of_eight_creators_of_a_secret_wins() {
    let sandbox = Sandbox::new();
    for round in 0..ROUNDS {
        // Each round has a scope without a directory, which all processes try to make.
        let place = format!("project/p{round}/domain/d/s");
        let arguments = |index: usize| {
            let arguments = ["create", "secret", "s", &format!("value {index}")].map(str::to_owned);
            arguments.into_iter().chain(scope_options(&place)).collect()
        };
        let codes = at_once(&sandbox, arguments);
        let winner = codes.iter().position(|&code| code == 0).expect("one wins");
        let mut expected = [12; WRITERS];
        expected[winner] = 0;
        assert_eq!(codes, expected, "one process creates the secret, and the others report that it exists");
        assert_eq!(sandbox.value(&place), Some(format!("value {winner}").into_bytes()), "the loser's value is there");
    }
}

/// Holds the vault's lock as any other program could: with flock(1), until its standard input ends.
fn hold_lock(sandbox: &Sandbox) -> Child {
    require("flock", "util-linux");
    let mut command = sandbox.program("flock");
    command.arg(sandbox.vault().join(".lock")).args(["-c", "echo held; cat >/dev/null"]);
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("flock starts");
    let mut line = String::new();
    BufReader::new(holder.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "held\n");
    holder
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn a_writer_that_times_out_on_the_lock_reports_it_and_changes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "old"]);
    let mut holder = hold_lock(&sandbox);
    for arguments in
        [&["create", "secret", "new", "x"][..], &["update", "secret", "s", "x"], &["delete", "secret", "s"]]
    {
        let mut command = sandbox.command(arguments);
        let ran = Ran::from(command.env("FLYTE_LOCAL_LOCK_TIMEOUT", "0").output().expect("flyte-local starts"));
        assert_eq!(ran.code, 14, "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("locked by another process") && ran.stderr.contains(".lock"), "{ran:?}");
    }
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"old", "readers need no lock");
    assert_eq!(sandbox.run(&["get", "secret", "new"]).code, 10);

    let mut waiting = sandbox.command(&["update", "secret", "s", "new"]);
    let waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("flyte-local starts");
    drop(holder.stdin.take());
    assert!(holder.wait().expect("it ends").success());
    let ran = Ran::from(waiting.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, 0, "a writer waits for its turn: {ran:?}");
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"new");
}

#[test]
fn a_reader_works_without_write_permission() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    std::fs::remove_file(sandbox.vault().join(".lock")).expect("there is one");
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"value");
    sandbox.ok(&["get", "secret"]);
    assert!(!sandbox.vault().join(".lock").exists(), "a reader made a file");
}

#[test]
fn one_of_eight_creators_of_a_vault_wins() {
    let sandbox = Sandbox::empty();
    let codes = at_once(&sandbox, |_| vec!["init".to_owned()]);
    assert_eq!(codes.iter().filter(|&&code| code == 0).count(), 1, "{codes:?}");
    let manifest = std::fs::read_to_string(sandbox.vault().join("vault.toml")).expect("there is one");
    let recipient = sandbox.identities()[0].recipient().to_string();
    assert!(manifest.contains(&recipient), "the vault is encrypted to an identity that is gone: {codes:?}");
}

#[test]
fn a_vault_is_not_made_while_another_process_has_the_lock() {
    let sandbox = Sandbox::new();
    let manifest = std::fs::read(sandbox.vault().join("vault.toml")).expect("there is one");
    std::fs::remove_file(sandbox.vault().join("vault.toml")).expect("removed");
    let vault = Directory::open(&sandbox.vault()).expect("there is one");
    let lock = Lock::acquire(&vault, ".lock", Duration::ZERO).expect("free");
    let init = sandbox.command(&["init"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // It tries the lock again and again, and sleeps in between.
    let place = format!("/proc/{}/wchan", init.id());
    crate::support::until("it waits for the lock", || {
        let waits = std::fs::read_to_string(&place).is_ok_and(|place| place.contains("nanosleep"));
        waits || sandbox.vault().join("vault.toml").exists()
    });
    vault.write_new("vault.toml", &manifest).expect("another process's vault");
    drop(lock);
    let ran = Ran::from(init.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, 12, "it looks for a vault once it has the lock: {ran:?}");
}

#[test]
fn eight_vaults_made_at_once_open_with_the_remaining_identity() {
    for _ in 0..10 {
        let sandbox = Sandbox::empty();
        let vault = |index: usize| format!("vault{index}");
        let codes = at_once(&sandbox, |index| vec!["--vault".to_owned(), vault(index), "init".to_owned()]);
        let recipient = sandbox.identities()[0].recipient().to_string();
        for (index, code) in codes.iter().enumerate().filter(|(_, code)| **code == 0) {
            let manifest = std::fs::read_to_string(sandbox.work().join(vault(index)).join("vault.toml")).expect("made");
            assert!(manifest.contains(&recipient), "vault {index} ({code}) is encrypted to an identity that is gone");
        }
        assert!(codes.contains(&0), "{codes:?}");
    }
}

/// Starts eight processes as simultaneously as possible. Returns their exit codes.
fn at_once(sandbox: &Sandbox, arguments: impl Fn(usize) -> Vec<String>) -> Vec<i32> {
    // Each waits for a line, so that all of them have started before the first one begins.
    let mut children: Vec<_> = (0..WRITERS)
        .map(|index| {
            let mut command = sandbox.program("sh");
            command.args(["-c", "read line && exec \"$0\" \"$@\" </dev/null", FLYTE_LOCAL]).args(arguments(index));
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh starts")
        })
        .collect();
    for child in &mut children {
        child.stdin.take().expect("piped").write_all(b"go\n").expect("it reads");
    }
    children.into_iter().map(|child| Ran::from(child.wait_with_output().expect("it ends")).code).collect()
}
