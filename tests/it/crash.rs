//! `kill -9` at random moments of a write: an acknowledged write is there, and any other leaves the old or the new
//! value, never a torn one.
//!
//! `FLYTE_LOCAL_TEST_SEED` repeats a run's choices, although the exact moments still depend on the scheduler.
//! `FLYTE_LOCAL_TEST_LONG=1` kills ten times as often. `faults_calls` kills before each system call in turn.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test may read its own variables, and print what it did"
)]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Random, Sandbox, scope_options, secret_id, tally};

const SIGKILL: i32 = 9;

/// The number of processes that have to be killed while they are alive.
const KILLS: usize = 500;

/// A write of one secret, and the value that it leads to: `None` for a delete.
struct Write {
    place: String,
    verb: &'static str,
    value: Option<Vec<u8>>,
}

/// A vault, and the values that it must have.
struct Model {
    sandbox: Sandbox,
    random: Random,
    known: BTreeMap<String, Vec<u8>>,
    writes: usize,
}

impl Model {
    /// Chooses a random write: mostly in one of a few places, sometimes in a scope that has no directory yet.
    fn choose(&mut self) -> Write {
        self.writes += 1;
        let scopes = ["org", "project/p", "domain/d", "project/p/domain/d"];
        let place = match self.random.below(12) {
            0 if self.known.len() < 20 => format!("project/p{}/domain/d/s", self.writes),
            choice => format!("{}/s{}", scopes[choice as usize % 4], choice / 4),
        };
        let verb = match (self.known.contains_key(&place), self.random.below(3)) {
            (false, _) => "create",
            (true, 0) => "delete",
            (true, _) => "update",
        };
        // The stamp makes the first bytes of each value unique.
        let size = [0, 40, 5_000, 70_000][self.random.below(4) as usize];
        let stamp = format!("{} {place} ", self.writes);
        let value = stamp.bytes().chain((0..size).map(|index| (index % 251) as u8)).collect();
        Write { verb, value: (verb != "delete").then_some(value), place }
    }

    /// Runs a write, kills it after `delay` if it still runs, and returns whether it was killed.
    fn run(&mut self, write: &Write, delay: Option<Duration>) -> bool {
        let mut command = self.sandbox.command(&[write.verb, "secret"]);
        command.arg(secret_id(&write.place).name.to_string()).args(scope_options(&write.place));
        if let Some(value) = &write.value {
            command.arg("--from-file").arg(self.sandbox.file("value", value));
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("flyte-local starts");
        if let Some(delay) = delay {
            // This sleep does not wait for anything: it varies the moment of the kill.
            std::thread::sleep(delay);
            child.kill().expect("it is our child");
        }
        let output = child.wait_with_output().expect("it ends");
        let killed = output.status.signal() == Some(SIGKILL);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(killed || output.status.success(), "{} {}: {:?} {stderr}", write.verb, write.place, output.status);
        killed
    }

    /// Checks the secret just written, records which of the two values it has, and returns whether that is the new one.
    fn settle(&mut self, write: Write, killed: bool) -> bool {
        let found = self.sandbox.value(&write.place);
        let is_new = found == write.value;
        let is_old = found.as_ref() == self.known.get(&write.place);
        assert!(is_new || killed, "{} {} was acknowledged and is lost", write.verb, write.place);
        assert!(is_new || is_old, "{} {}: neither the old value nor the new one", write.verb, write.place);
        match found {
            Some(value) => self.known.insert(write.place, value),
            None => self.known.remove(&write.place),
        };
        is_new
    }

    /// Asserts that every secret has its value, and that the vault has no others.
    fn check_all(&self) {
        for (place, value) in &self.known {
            assert!(self.sandbox.value(place).as_ref() == Some(value), "{place} was acknowledged and is lost");
        }
        let listed = self.sandbox.ok(&["--output-format", "table-simple", "get", "secret"]);
        let lines = String::from_utf8(listed).expect("UTF-8").lines().count();
        assert_eq!(lines, 1 + self.known.len(), "the list and what was acknowledged differ");
    }
}

#[test]
fn no_acknowledged_write_is_lost_to_kill_9() {
    let kills = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 10 * KILLS } else { KILLS };
    let random = Random::seeded();
    let mut model = Model { sandbox: Sandbox::new(), random, known: BTreeMap::new(), writes: 0 };

    let mut durations: Vec<Duration> = (0..40)
        .map(|_| {
            let write = model.choose();
            let start = Instant::now();
            model.run(&write, None);
            let duration = start.elapsed();
            assert!(model.settle(write, false));
            duration
        })
        .collect();
    durations.sort();
    let median = durations[durations.len() / 2];
    let longest = u64::try_from((median + median / 4).as_nanos()).expect("less than centuries");

    let (mut attempts, mut hits, mut new_unacknowledged, mut leftovers) = (0, 0, 0, 0);
    while hits < kills {
        attempts += 1;
        assert!(attempts <= 5 * kills, "only {hits} of {attempts} kills met a live process, too few to prove anything");
        let write = model.choose();
        let delay = Duration::from_nanos(model.random.below(longest));
        let killed = model.run(&write, Some(delay));
        let is_new = model.settle(write, killed);
        hits += usize::from(killed);
        new_unacknowledged += usize::from(killed && is_new);
        leftovers += usize::from(model.sandbox.sound_but_for_leftovers() > 0);
        if attempts % 50 == 0 {
            model.check_all();
        }
    }
    model.check_all();
    println!("a write takes {median:?}; {new_unacknowledged} of the killed writes had already taken effect");
    tally(&format!(
        "killed at {hits} random moments (of {attempts} tried): 0 torn, 0 lost; {leftovers} of them left a temporary file"
    ));
    // Otherwise every kill came before or after the actual write.
    assert!(leftovers > 0 && new_unacknowledged > 0, "no kill fell into a write");

    for scope in ["org", "project/p", "domain/d", "project/p/domain/d"] {
        let place = format!("{scope}/last");
        assert!(!model.run(&Write { place: place.clone(), verb: "create", value: Some(Vec::new()) }, None));
        let leftover = model.sandbox.secret_file(&place).with_file_name(".tmp");
        assert!(!leftover.exists(), "the next write removes {}", leftover.display());
    }
}
