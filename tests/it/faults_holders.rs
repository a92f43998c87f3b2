//! Sixteen writers and eight readers share one secret while holders of a lock are killed: no update is lost, no process
//! waits forever, and no reader gets a torn value or a false warning about a rollback.
//!
//! With `FLYTE_LOCAL_TEST_LONG=1`, each writer makes 200 updates, and 200 holders are killed.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test may read its own variables, and print what it did"
)]

use std::os::linux::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Ran, Sandbox, secret_id, tally};
use flyte_local::vault::{Listener, VaultOptions};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

const WRITERS: usize = 16;
const READERS: usize = 8;

/// The lock timeout in seconds, longer than a writer should ever wait. A writer that reaches it fails the test.
const PATIENCE: &str = "120";

/// The writer of a value, and the number of the value among that writer's.
type Stamp = (usize, usize);

/// Returns a value that shows any mixture with another: it repeats its stamp, and its length is unique.
fn value((writer, round): Stamp) -> Vec<u8> {
    format!("{writer}.{round};").repeat(1 + 100 * writer + round).into_bytes()
}

/// Returns the stamp of a value, which must not be torn.
fn parse(bytes: &[u8]) -> Stamp {
    let text = std::str::from_utf8(bytes).expect("torn");
    let (writer, round) = text.split_once(';').and_then(|(stamp, _)| stamp.split_once('.')).expect("torn");
    let stamp = (writer.parse().expect("torn"), round.parse().expect("torn"));
    assert!(value(stamp) == bytes, "torn");
    stamp
}

/// An update, from before its first attempt until after it was acknowledged.
struct Update {
    stamp: Stamp,
    began: Instant,
    ended: Instant,
}

struct Read {
    stamp: Stamp,
    began: Instant,
}

struct Bench {
    sandbox: Sandbox,
    rounds: usize,
    kills: usize,
    /// The process of each writer that is running.
    running: Vec<Mutex<Option<Child>>>,
    acknowledged: AtomicUsize,
    is_over: AtomicBool,
}

/// A guard that ends the readers and the killer even if a writer panics: otherwise the test would never end.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Bench {
    /// Updates the secret until each of this writer's values is acknowledged.
    fn write(&self, writer: usize) -> Vec<Update> {
        let update = |round| {
            let (stamp, began) = ((writer, round), Instant::now());
            let file = self.sandbox.file(&format!("value.{writer}"), value(stamp));
            while !self.try_update(writer, &file) {}
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            Update { stamp, began, ended: Instant::now() }
        };
        (1..=self.rounds).map(update).collect()
    }

    /// Runs an update, and returns `false` if it was killed.
    fn try_update(&self, writer: usize, file: &std::path::Path) -> bool {
        let mut command = self.sandbox.command(&["update", "secret", "s", "--from-file"]);
        command.arg(file).env("FLYTE_LOCAL_LOCK_TIMEOUT", PATIENCE).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("flyte-local starts");
        let process = Pid::from_child(&child);
        *self.running[writer].lock().expect("no panic while it is held") = Some(child);
        // Waits without reaping: as long as the process is not reaped, its number cannot be reused, and the killer may
        // use it.
        waitid(WaitId::Pid(process), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("it is our child");
        let child = self.running[writer].lock().expect("no panic while it is held").take().expect("it was put there");
        let output = child.wait_with_output().expect("it ended");
        if output.status.signal() == Some(Signal::KILL.as_raw()) {
            return false;
        }
        let ran = Ran::from(output);
        assert_eq!((ran.code, &*ran.stderr), (0, "updated secret s (organization)\n"), "{ran:?}");
        true
    }

    /// Reads about once per update, through the library or the binary.
    fn read(&self, reader: usize) -> Vec<Read> {
        let listener = Listener::new(|notice| panic!("a false alarm: {notice:?}"));
        let options = VaultOptions { listener, ..self.sandbox.vault_options() };
        let vault = options.open(&self.sandbox.vault()).expect("this machine knows the vault");
        let (id, identities) = (secret_id("org/s"), self.sandbox.identities());
        let (mut reads, mut seen) = (Vec::new(), usize::MAX);
        while !self.is_over.load(Ordering::Relaxed) {
            let acknowledged = self.acknowledged.load(Ordering::Relaxed);
            if acknowledged == seen {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            seen = acknowledged;
            let began = Instant::now();
            let stamp = if reader < READERS / 4 {
                let ran = self.sandbox.run(&["get", "secret", "s", "--reveal"]);
                assert_eq!((ran.code, &*ran.stderr), (0, ""), "{ran:?}");
                parse(&ran.stdout)
            } else {
                parse(vault.value(&id, &identities).expect("a reader sees no error").expose())
            };
            reads.push(Read { stamp, began });
        }
        reads
    }

    /// Kills holders of the vault's lock and of the state directory's lock in turn, and returns how many were killed.
    fn kill_holders(&self) -> usize {
        let locks = [self.sandbox.vault().join(".lock"), self.sandbox.state().join(".lock")];
        let mut killed = 0;
        while killed < self.kills && !self.is_over.load(Ordering::Relaxed) {
            // Spreads the kills over all updates.
            let is_time = self.acknowledged.load(Ordering::Relaxed) * self.kills >= killed * WRITERS * self.rounds;
            if is_time && self.kill_holder(&locks[killed % 2]) {
                killed += 1;
            } else {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        killed
    }

    /// Kills the writer that holds the lock. Returns `false` if there was none.
    fn kill_holder(&self, lock: &PathBuf) -> bool {
        let Some(holder) = holder(lock) else { return false };
        for slot in &self.running {
            let running = slot.lock().expect("no panic while it is held");
            let Some(process) = running.as_ref().map(Pid::from_child).filter(|&process| process == holder) else {
                continue;
            };
            // The writer may have released the lock meanwhile. After it is stopped, it cannot release it.
            kill_process(process, Signal::STOP).expect("it is our child");
            let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            waitid(WaitId::Pid(process), options).expect("it is our child");
            let holds = self::holder(lock) == Some(process);
            kill_process(process, if holds { Signal::KILL } else { Signal::CONT }).expect("it is our child");
            return holds;
        }
        false
    }
}

/// Returns the process that holds the `flock(2)` on a file.
fn holder(file: &PathBuf) -> Option<Pid> {
    let inode = format!(":{}", std::fs::metadata(file).ok()?.st_ino());
    let locks = std::fs::read_to_string("/proc/locks").expect("Linux");
    // `1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF`
    let process = locks.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, _, process, on, ..] if on.ends_with(&inode) => process.parse().ok(),
        _ => None,
    })?;
    Pid::from_raw(process)
}

#[test]
fn sixteen_writers_whose_lock_holders_are_killed_lose_no_update() {
    let (rounds, kills) = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { (200, 200) } else { (6, 20) };
    let bench = Bench {
        sandbox: Sandbox::new(),
        rounds,
        kills,
        running: (0..WRITERS).map(|_| Mutex::new(None)).collect(),
        acknowledged: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
    };
    bench.sandbox.secret("s", value((0, 0)), &[]);
    let (updates, reads, killed) = std::thread::scope(|scope| {
        let ending = Ending(&bench.is_over);
        let bench = &bench;
        let killer = scope.spawn(|| bench.kill_holders());
        let readers: Vec<_> = (0..READERS).map(|reader| scope.spawn(move || bench.read(reader))).collect();
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || bench.write(writer))).collect();
        let updates: Vec<_> = writers.into_iter().flat_map(|writer| writer.join().expect("no writer fails")).collect();
        drop(ending);
        let reads: Vec<_> = readers.into_iter().flat_map(|reader| reader.join().expect("no reader fails")).collect();
        (updates, reads, killer.join().expect("the killer does not fail"))
    });

    // An update is lost if it ended before a read began, and the read returns a value that was written before it.
    let last = Read { stamp: parse(&bench.sandbox.value("org/s").expect("it is there")), began: Instant::now() };
    for read in reads.iter().chain([&last]) {
        let seen = updates.iter().find(|update| update.stamp == read.stamp);
        let lost = updates
            .iter()
            .find(|update| update.ended < read.began && seen.is_none_or(|seen| seen.ended < update.began));
        assert!(lost.is_none(), "update {:?} is lost: {:?} was read", lost.map(|lost| lost.stamp), read.stamp);
    }
    assert_eq!(updates.len(), WRITERS * rounds);
    assert!(killed >= kills * 9 / 10, "only {killed} of {kills} holders were caught in time");
    assert!(reads.len() > updates.len(), "the readers hardly read");
    bench.sandbox.ok(&["update", "secret", "s", "new"]);
    assert_eq!(bench.sandbox.sound_but_for_leftovers(), 0);
    tally(&format!(
        "{WRITERS} writers, {} updates, {READERS} readers, {} reads, {killed} lock holders killed: 0 lost, 0 torn, \
         0 deadlocks, 0 false alarms",
        updates.len(),
        reads.len()
    ));
}
