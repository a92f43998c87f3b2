//! Random sequences of events in a vault, compared with a map: commands, a second writer, writers killed at a system call,
//! leftovers of killed writers, older states put back as git does it, and files that vanish. After each step every file,
//! the list, and the reports of older and missing secrets must agree with the map. After a crash, the old or the new state
//! is right.
//!
//! `FLYTE_LOCAL_TEST_SEED` repeats a run; `FLYTE_LOCAL_TEST_LONG=1` makes it ten times as long. A failing sequence is
//! printed, shortened as far as it still fails.

#![allow(clippy::disallowed_methods, reason = "a test damages files as any program could")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use crate::support::{FLYTE_LOCAL, Random, Sandbox, require, scope_options, secret_id};
use flyte_local::crypto::Identity;
use flyte_local::secret::{RunScope, ScopeFilter, SecretType, SecretValue};
use flyte_local::vault::{Metadata, NamedRecipient, Vault, VaultError};

/// The number of sequences in the short form, and the steps of each.
const SEQUENCES: usize = 25;
const STEPS: usize = 50;

/// The number of attempts to shorten a failing sequence.
const SHORTENINGS: usize = 150;

const SCOPES: [&str; 4] = ["org", "project/p", "domain/d", "project/p/domain/d"];
const NAMES: [&str; 3] = ["s", "S", "a-longer_name"];

/// Sizes of zero, few bytes, and, less often, around age's chunks of 64 KiB, which are slow in an unoptimised build.
const SIZES: [[usize; 5]; 4] = [
    [0, 1, 15, 16, 17],
    [0, 63, 64, 65, 1_000],
    [0, 1, 7, 100, 5_000],
    [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1],
];

/// System calls at which a writer is killed.
const CALLS: [&str; 8] = ["openat2", "fchmod", "write", "fsync", "unlinkat", "renameat", "renameat2", "lseek"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Create,
    Update,
    Delete,
}

/// A value to write: its size, and a number that decides its bytes.
#[derive(Clone, Copy, Debug)]
struct Content {
    size: usize,
    number: u64,
}

impl Content {
    fn bytes(self) -> Vec<u8> {
        (0..self.size as u64).map(|index| (self.number.wrapping_add(index / 7).wrapping_mul(31)) as u8).collect()
    }
}

/// A step. Each step is possible in any state, so that any part of a sequence is a sequence.
#[derive(Clone, Debug)]
enum Step {
    /// A write by this process, through a vault that has been open for a while.
    Write(Verb, &'static str, Content),
    /// A write by the binary.
    Command(Verb, &'static str, Content),
    /// A write by the binary, which is killed at a system call.
    Killed(Verb, &'static str, Content, &'static str, u64),
    Read(&'static str),
    /// A lookup of a name, as a run does it.
    Resolve(&'static str),
    /// Opens the vault again, as a new process does.
    Reopen,
    /// Leftovers of killed writers: a temporary file, and a lock file with content.
    Leftovers(&'static str),
    /// Puts one file back as it was so many steps ago, or removes it if it did not exist then.
    Restore(&'static str, usize),
    /// Puts all files back as they were so many steps ago.
    Checkout(usize),
    /// `update vault --accept-older`, by the binary if true.
    Accept(bool),
    /// Replaces the recipient that was added last by another. Existing secrets keep their encryption.
    Exchange,
    /// `rekey`, by the binary if true.
    Rekey(bool),
}

fn choose(random: &mut Random) -> Step {
    let mut below = |limit: usize| random.below(limit as u64) as usize;
    let place = PLACES[below(PLACES.len())];
    let verb = [Verb::Create, Verb::Create, Verb::Update, Verb::Update, Verb::Delete][below(5)];
    let content = Content { size: SIZES[below(4)][below(5)], number: below(1 << 30) as u64 };
    match below(112) {
        0..46 => Step::Write(verb, place, content),
        46..50 => Step::Command(verb, place, content),
        50..54 => Step::Killed(verb, place, content, CALLS[below(CALLS.len())], 1 + below(6) as u64),
        54..66 => Step::Read(place),
        66..74 => Step::Resolve(NAMES[below(NAMES.len())]),
        74..80 => Step::Reopen,
        80..85 => Step::Leftovers(place),
        85..92 => Step::Restore(place, below(30)),
        92..95 => Step::Checkout(below(30)),
        95..99 => Step::Accept(false),
        99 => Step::Accept(true),
        100..104 => Step::Exchange,
        104..110 => Step::Rekey(false),
        _ => Step::Rekey(true),
    }
}

const PLACES: [&str; 12] = [
    "org/s",
    "org/S",
    "org/a-longer_name",
    "project/p/s",
    "project/p/S",
    "project/p/a-longer_name",
    "domain/d/s",
    "domain/d/S",
    "domain/d/a-longer_name",
    "project/p/domain/d/s",
    "project/p/domain/d/S",
    "project/p/domain/d/a-longer_name",
];

/// A secret as the map knows it.
#[derive(Debug, PartialEq)]
struct Secret {
    value: Vec<u8>,
    metadata: Metadata,
    file: Vec<u8>,
    /// The added recipient who can open the secret besides the user, by number.
    bob: usize,
}

type Secrets = BTreeMap<&'static str, Rc<Secret>>;
type Known = BTreeMap<&'static str, Newest>;

/// The last that this machine knows of a secret: the time of its newest update, or of its deletion here.
#[derive(Clone, Copy)]
struct Newest {
    time: jiff::Timestamp,
    is_deleted: bool,
}

#[derive(Default, Debug)]
struct Counts {
    steps: usize,
    commands: usize,
    killed: usize,
    new_after_kill: usize,
    stale: usize,
    exchanged: usize,
    rekeyed: usize,
}

struct Bench {
    sandbox: Sandbox,
    identities: Vec<Identity>,
    /// A vault that reports stale secrets and continues.
    vault: Vault,
    secrets: Secrets,
    known: Known,
    /// The secrets before each step.
    history: Vec<Secrets>,
    /// The current recipient besides the user, if any.
    bob: Option<Identity>,
    counts: Counts,
}

impl Bench {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let (identities, vault) = (sandbox.identities(), sandbox.open_vault());
        let (secrets, known, history, bob, counts) = Default::default();
        Self { sandbox, identities, vault, secrets, known, history, bob, counts }
    }

    fn step(&mut self, step: &Step) {
        self.history.push(self.secrets.clone());
        self.counts.steps += 1;
        match *step {
            Step::Write(verb, place, content) => self.write(verb, place, content),
            Step::Command(verb, place, content) => self.command(verb, place, content),
            Step::Killed(verb, place, content, call, nth) => self.killed(verb, place, content, (call, nth)),
            Step::Read(place) => {
                self.read_strictly(place);
                self.read(place);
            }
            Step::Resolve(name) => self.resolve(name),
            Step::Reopen => self.vault = self.sandbox.open_vault(),
            Step::Leftovers(place) => self.leave_behind(place),
            Step::Restore(place, back) => {
                let old = self.past(back).get(place).cloned();
                self.put(place, old);
            }
            Step::Checkout(back) => {
                let old = self.past(back).clone();
                PLACES.into_iter().for_each(|place| self.put(place, old.get(place).cloned()));
            }
            Step::Accept(by_command) => self.accept(by_command),
            Step::Exchange => self.exchange(),
            Step::Rekey(by_command) => self.rekey(by_command),
        }
        self.check();
    }

    fn past(&self, back: usize) -> &Secrets {
        &self.history[self.history.len().saturating_sub(1 + back)]
    }

    /// Returns whether a write succeeds, according to the map.
    fn is_allowed(&self, verb: Verb, place: &str) -> bool {
        match verb {
            Verb::Create => !self.secrets.contains_key(place),
            Verb::Update => self.secrets.contains_key(place),
            // A deletion of a secret that is gone ends the warnings about it.
            Verb::Delete => {
                self.secrets.contains_key(place) || self.known.get(place).is_some_and(|known| !known.is_deleted)
            }
        }
    }

    fn write(&mut self, verb: Verb, place: &'static str, content: Content) {
        let id = secret_id(place);
        let value = SecretValue::new(content.bytes().into()).expect("small enough");
        let before = self.secrets.get(place).map(|secret| secret.metadata.clone());
        let is_allowed = self.is_allowed(verb, place);
        let written = match verb {
            Verb::Create => {
                self.vault.writer().expect("writable").create_secret(&id, SecretType::Regular, &value).map(Some)
            }
            Verb::Update => self.vault.writer().expect("writable").update_secret(&id, &value).map(Some),
            Verb::Delete => self.vault.lock().expect("lockable").delete_secret(&id).map(|removed| {
                assert_eq!(removed, before.is_some(), "a deletion says whether there was a file");
                None
            }),
        };
        match written {
            Ok(metadata) => {
                assert!(is_allowed, "it should have been refused");
                let value = metadata.is_some().then(|| content.bytes());
                self.take_over(place, value);
                assert_eq!(self.secrets.get(place).map(|secret| &secret.metadata), metadata.as_ref());
            }
            Err(VaultError::SecretExists { .. }) => assert!(verb == Verb::Create && !is_allowed),
            Err(VaultError::SecretMissing { .. }) => assert!(verb != Verb::Create && !is_allowed),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn arguments(&self, verb: Verb, place: &str, content: Content) -> Vec<String> {
        let word = format!("{verb:?}").to_lowercase();
        let mut arguments = vec![word, "secret".to_owned(), secret_id(place).name.to_string()];
        arguments.extend(scope_options(place));
        if verb != Verb::Delete {
            let file = self.sandbox.file("value", content.bytes());
            arguments.extend(["--from-file".to_owned(), file.display().to_string()]);
        }
        arguments
    }

    fn command(&mut self, verb: Verb, place: &'static str, content: Content) {
        self.counts.commands += 1;
        let ran = self.sandbox.run(&self.arguments(verb, place, content));
        let expected = match (self.is_allowed(verb, place), verb) {
            (true, _) => 0,
            (false, Verb::Create) => 12,
            (false, _) => 10,
        };
        assert_eq!(ran.code, expected, "{ran:?}");
        if ran.code == 0 {
            self.take_over(place, (verb != Verb::Delete).then(|| content.bytes()));
        }
    }

    fn killed(&mut self, verb: Verb, place: &'static str, content: Content, (call, nth): (&str, u64)) {
        let mut command = self.sandbox.program("strace");
        command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={call}:signal=KILL:when={nth}"), FLYTE_LOCAL]);
        let output = command.args(self.arguments(verb, place, content)).output().expect("strace starts");
        if output.status.signal().is_none() {
            // The command makes fewer such calls, or was refused before.
            assert_eq!(output.status.success(), self.is_allowed(verb, place), "{output:?}");
            if output.status.success() {
                self.take_over(place, (verb != Verb::Delete).then(|| content.bytes()));
            }
            return;
        }
        self.counts.killed += 1;
        let old = self.secrets.get(place).map(|secret| secret.file.clone());
        let found = std::fs::read(self.sandbox.secret_file(place)).ok();
        if found != old {
            assert!(self.is_allowed(verb, place));
            self.counts.new_after_kill += 1;
        }
        if verb == Verb::Delete {
            assert!(found.is_none() || found == old);
            if found.is_none() {
                self.secrets.remove(place);
            }
            // A deletion first removes the pin, and last writes a pin that says deleted.
            match self.pin(place) {
                None => drop(self.known.remove(place)),
                Some(pin) if pin.ends_with(b" deleted\n") => self.take_over(place, None),
                Some(_) => {}
            }
        } else if found != old {
            self.take_over(place, Some(content.bytes()));
        }
        self.read(place);
    }

    /// Returns what this machine remembers of a secret, as stored on disk.
    fn pin(&self, place: &str) -> Option<Vec<u8>> {
        let vaults = std::fs::read_dir(self.sandbox.state().join("vaults")).expect("there");
        let [vault] = &vaults.map(|entry| entry.expect("listed").path()).collect::<Vec<_>>()[..] else {
            panic!("not one vault")
        };
        std::fs::read(vault.join(format!("seen/{place}.pin"))).ok()
    }

    /// Records in the map that a value was written or, without a value, that the secret was deleted. The metadata comes
    /// from the vault.
    fn take_over(&mut self, place: &'static str, value: Option<Vec<u8>>) {
        let Some(value) = value else {
            self.secrets.remove(place);
            self.known.insert(place, Newest { time: jiff::Timestamp::now(), is_deleted: true });
            return;
        };
        let metadata = self.vault.metadata(&secret_id(place)).expect("there");
        let old = self.secrets.get(place).map(|secret| &secret.metadata);
        assert!(old.is_none_or(|old| (old.created, old.secret_type) == (metadata.created, metadata.secret_type)));
        assert!(old.is_none_or(|old| old.updated < metadata.updated), "an update is newer than the version before");
        let known = self.known.insert(place, Newest { time: metadata.updated, is_deleted: false });
        assert!(known.is_none_or(|known| known.time < metadata.updated), "an update is newer than any that was seen");
        assert!(metadata.created <= metadata.updated);
        let file = std::fs::read(self.sandbox.secret_file(place)).expect("there");
        self.secrets.insert(place, Rc::new(Secret { value, metadata, file, bob: self.counts.exchanged }));
        self.read(place);
    }

    /// Asserts that strict mode refuses a secret that is older than it was, or gone.
    fn read_strictly(&self, place: &str) {
        let strict = self.sandbox.open_strict_vault().value(&secret_id(place), &self.identities);
        assert_eq!(matches!(strict, Err(VaultError::Stale(_))), self.missed().contains(place), "{strict:?}");
    }

    /// Asserts that the value is the map's, and records that it was seen.
    fn read(&mut self, place: &'static str) {
        match (self.vault.value(&secret_id(place), &self.identities), self.secrets.get(place)) {
            (Ok(value), Some(found)) => {
                assert!(value.expose() == found.value, "{place} has another value");
                let time = found.metadata.updated;
                if self.known.get(place).is_none_or(|known| known.time < time) {
                    self.known.insert(place, Newest { time, is_deleted: false });
                }
            }
            (Err(VaultError::SecretMissing { .. }), None) => {}
            (value, found) => panic!("{place}: {value:?}, and the map has {}", found.is_some()),
        }
    }

    fn resolve(&mut self, name: &'static str) {
        let run = RunScope { project: "p".parse().ok(), domain: "d".parse().ok() };
        let resolved = self.vault.resolve(&name.parse().expect("a name"), &run, &self.identities).expect("readable");
        let nearest = SCOPES.iter().rev().find_map(|scope| {
            // Narrowest first: both, the project, the domain, the organization.
            let scope = match *scope {
                "domain/d" => "project/p",
                "project/p" => "domain/d",
                scope => scope,
            };
            PLACES.into_iter().find(|place| *place == format!("{scope}/{name}") && self.secrets.contains_key(place))
        });
        let found = resolved.as_ref().map(|found| (&found.scope, found.value.expose()));
        let expected = nearest.map(|place| (secret_id(place).scope, self.secrets[place].value.clone()));
        assert!(found == expected.as_ref().map(|(scope, value)| (scope, &**value)), "{name} is {nearest:?}");
        if let Some(place) = nearest {
            self.read(place);
        }
    }

    fn leave_behind(&self, place: &str) {
        let file = self.sandbox.secret_file(place);
        for directory in [file.parent().expect("a scope's"), &self.sandbox.vault(), &self.sandbox.state()] {
            if directory.exists() {
                std::fs::write(directory.join(".tmp"), b"half of a fi").expect("written");
            }
        }
        std::fs::write(self.sandbox.vault().join(".lock"), b"4711\n").expect("written");
        std::fs::write(self.sandbox.state().join(".lock"), b"4711\n").expect("written");
    }

    /// Replaces a file as git does: removes it and creates it again.
    fn put(&mut self, place: &'static str, secret: Option<Rc<Secret>>) {
        let file = self.sandbox.secret_file(place);
        let _ = std::fs::remove_file(&file);
        let Some(secret) = secret else {
            self.secrets.remove(place);
            return;
        };
        std::fs::write(&file, &secret.file).expect("written");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("set");
        self.secrets.insert(place, secret);
    }

    /// Returns the secrets that are older than a version seen here, gone, or back after a deletion.
    fn missed(&self) -> BTreeSet<&'static str> {
        let is_missed = |place: &str, known: &Newest| match self.secrets.get(place) {
            Some(found) => found.metadata.updated < known.time,
            None => !known.is_deleted,
        };
        self.known.iter().filter(|(place, known)| is_missed(place, known)).map(|(place, _)| *place).collect()
    }

    fn accept(&mut self, by_command: bool) {
        let missed = self.missed();
        self.counts.stale += missed.len();
        if by_command {
            self.sandbox.ok(&["update", "vault", "--accept-older"]);
        } else {
            assert_eq!(self.vault.to_accept(), []);
            let fingerprint = self.vault.fingerprint();
            self.vault.accept(&fingerprint).expect("nothing is in the way");
            assert_eq!(self.vault.accept_older().expect("nothing is in the way").len(), missed.len());
        }
        self.known.retain(|place, _| !missed.contains(place));
    }

    fn exchange(&mut self) {
        let (own, bob) = (self.identities[0].recipient(), Identity::generate());
        let named = NamedRecipient { name: "bob".to_owned(), key: bob.recipient() };
        self.vault.writer().expect("writable").add_recipients(vec![named]).expect("added");
        if let Some(old) = self.bob.replace(bob) {
            self.vault
                .writer()
                .expect("writable")
                .remove_recipients(&old.recipient().to_string(), &[own])
                .expect("removed");
        }
        self.counts.exchanged += 1;
    }

    /// Asserts that a rekey re-encrypts exactly the outdated secrets that are not older than seen here, and keeps values and
    /// times.
    fn rekey(&mut self, by_command: bool) {
        let is_outdated = |secret: &Secret| secret.bob != self.counts.exchanged;
        let outdated: Vec<_> =
            PLACES.into_iter().filter(|place| self.secrets.get(place).is_some_and(|s| is_outdated(s))).collect();
        let found = self.vault.encryption().expect("listed");
        assert_eq!((found.outdated.len(), found.current), (outdated.len(), self.secrets.len() - outdated.len()));
        let missed = self.missed();
        let (left, outdated): (Vec<_>, Vec<_>) = outdated.into_iter().partition(|place| missed.contains(place));
        if by_command {
            let ran = self.sandbox.run(&["rekey"]);
            assert_eq!(ran.code, if left.is_empty() { 0 } else { 13 }, "{ran:?}");
        } else {
            let done = self
                .vault
                .writer()
                .expect("writable")
                .rekey(&self.identities, &mut |_| {})
                .expect("nothing is in the way");
            assert_eq!((done.done, done.failed.len()), (outdated.len(), left.len()), "{done:?}");
        }
        self.counts.rekeyed += outdated.len();
        for place in outdated {
            let file = std::fs::read(self.sandbox.secret_file(place)).expect("there");
            let old = &self.secrets[place];
            assert_ne!(file, old.file, "{place} was not re-encrypted");
            let (value, metadata) = (old.value.clone(), old.metadata.clone());
            self.secrets.insert(place, Rc::new(Secret { value, metadata, file, bob: self.counts.exchanged }));
            self.read(place);
            if let Some(bob) = &self.bob {
                let value =
                    self.vault.value(&secret_id(place), std::array::from_ref(bob)).expect("it is for bob as well");
                assert!(value.expose() == self.secrets[place].value, "{place} has another value for bob");
            }
        }
    }

    /// Asserts that the whole vault agrees with the map.
    fn check(&self) {
        let listing = self.vault.list(&ScopeFilter::default()).expect("listed");
        assert!(listing.refused.is_empty(), "{:?}", listing.refused);
        let key = |m: &Metadata| (m.id.scope.project().cloned(), m.id.scope.domain().cloned(), m.id.name.clone());
        let mut expected: Vec<_> = self.secrets.values().map(|secret| secret.metadata.clone()).collect();
        expected.sort_by_key(key);
        assert!(listing.secrets == expected, "the list: {:?}", listing.secrets);
        for place in PLACES {
            let file = std::fs::read(self.sandbox.secret_file(place)).ok();
            assert!(file.as_ref() == self.secrets.get(place).map(|secret| &secret.file), "{place} was changed");
        }
        let stale = self.vault.stale().expect("understood");
        let missed = self.missed().into_iter().map(secret_id).collect::<BTreeSet<_>>();
        assert_eq!(stale.into_iter().map(|stale| stale.id).collect::<BTreeSet<_>>(), missed);
    }

    /// Asserts that a new process reads every value, and that only leftovers of killed writers remain.
    fn end(mut self) -> Counts {
        self.vault = self.sandbox.open_vault();
        PLACES.into_iter().for_each(|place| self.read(place));
        // One leftover can lie in the vault's own directory, where `vault.toml` is written.
        assert!(self.sandbox.sound_but_for_leftovers() <= SCOPES.len());
        self.counts
    }
}

/// Runs a sequence, and returns the reason if it fails.
fn run(steps: &[Step]) -> Result<Counts, String> {
    let at = std::cell::Cell::new(0);
    let run = || {
        let mut bench = Bench::new();
        for (index, step) in steps.iter().enumerate() {
            at.set(index);
            bench.step(step);
        }
        bench.end()
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default();
        format!("step {}: {text}", at.get())
    })
}

/// Returns the sequence, shortened as far as it still fails.
fn shortened(mut steps: Vec<Step>) -> Vec<Step> {
    let mut tries = 0;
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < steps.len() && tries < SHORTENINGS {
            tries += 1;
            let end = steps.len().min(start + size);
            let without = [&steps[..start], &steps[end..]].concat();
            if run(&without).is_err() { steps = without } else { start = end }
        }
        size /= 2;
    }
    steps
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn a_vault_agrees_with_a_map_after_any_sequence_of_events() {
    require("strace", "strace");
    let mut random = Random::seeded();
    let sequences = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 10 * SEQUENCES } else { SEQUENCES };
    let mut all = Counts::default();
    for _ in 0..sequences {
        let steps: Vec<_> = (0..STEPS).map(|_| choose(&mut random)).collect();
        match run(&steps) {
            Ok(counts) => {
                all.steps += counts.steps;
                all.commands += counts.commands;
                all.killed += counts.killed;
                all.new_after_kill += counts.new_after_kill;
                all.stale += counts.stale;
                all.exchanged += counts.exchanged;
                all.rekeyed += counts.rekeyed;
            }
            Err(reason) => {
                std::panic::set_hook(Box::new(|_| {}));
                let steps = shortened(steps);
                let again = run(&steps).map_or_else(|reason| reason, |_| "not any more".to_owned());
                let _ = std::panic::take_hook();
                panic!("{reason}\nshortened to {steps:#?}\n{again}");
            }
        }
    }
    let Counts { steps, commands, killed, new_after_kill, stale, exchanged, rekeyed } = all;
    crate::support::tally(&format!(
        "model: {steps} steps in {sequences} sequences: 0 differences; {commands} by another process, {killed} writers \
         killed ({new_after_kill} had written already), {stale} older or missing secrets accepted, \
         {exchanged} recipients exchanged and {rekeyed} secrets re-encrypted"
    ));
    assert!(commands > 0 && killed > 0 && stale > 0 && rekeyed > 0, "a kind of step never happened");
}
