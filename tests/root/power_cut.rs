//! The power is cut: what was acknowledged is on the disk, and what was not is old or new, never torn.
//!
//! The disk is an ext4 file system in a file, shut down without writing its log, and mounted again. It is mounted so that
//! nothing gets there which nobody asked for: a commit after ten minutes, data written late, and no help for programs that
//! rename without a sync. `FLYTE_LOCAL_TEST_SEED` repeats a run's choices, `FLYTE_LOCAL_TEST_LONG=1` cuts ten times as often.

#![allow(clippy::disallowed_methods, reason = "a test reads its own variables")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::image::{Image, Log, Power, with_own_mounts};
use crate::support::{FLYTE_LOCAL, Ran, Random, Sandbox, require, scope_options, secret_id, tally, test_path};
use flyte_local::crypto::AuthorKey;
use flyte_local::secret::{ScopeFilter, SecretValue};
use flyte_local::vault::{Strictness, Vault, VaultError, VaultOptions};

const OPTIONS: &str = "noatime,commit=600,noauto_da_alloc,delalloc";

/// 128 and SIGKILL.
const KILLED: i32 = 137;

/// How many cuts a disk goes through before there is a new one.
const CUTS_OF_A_DISK: u64 = 10;

#[derive(Debug, Clone)]
enum Write {
    Init,
    /// Names one more author in `vault.toml`, and remembers that.
    Trust(String),
    /// The value it leads to, `None` for a delete.
    Secret {
        verb: &'static str,
        place: String,
        value: Option<Vec<u8>>,
    },
}

impl Write {
    fn name(&self) -> String {
        match self {
            Write::Init => "init".to_owned(),
            Write::Trust(key) => format!("trust {key}"),
            Write::Secret { verb, place, .. } => format!("{verb} {place}"),
        }
    }
}

/// A machine whose disk holds the home directory of a user, with the vault in it.
struct Machine {
    // In this order: the sandbox is on the image, and that in the directory.
    sandbox: Sandbox,
    image: Image,
    /// Not on that disk.
    elsewhere: tempfile::TempDir,
    known: BTreeMap<String, Vec<u8>>,
    trusted: Vec<String>,
    has_vault: bool,
    writes: u64,
    /// How many writes were killed: each may have left one file behind, which the next one there takes away.
    killed: usize,
}

impl Machine {
    /// One with an empty home. Its state directory, with what it remembers of vaults, may be on another disk, which has
    /// power all the time: then no write to it brings the vault's changes to their disk by the way.
    fn new(is_state_elsewhere: bool) -> Self {
        require("strace", "strace");
        // In memory, as the image's own disk has power all the time, and would only take its time.
        let elsewhere = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
        let image = Image::new(elsewhere.path(), &elsewhere.path().join("disk"), 16, OPTIONS);
        let sandbox = Sandbox::empty_in(image.mount_point());
        if is_state_elsewhere {
            let [state, local] = [elsewhere.path().join("state"), sandbox.home().join(".local")];
            std::fs::create_dir(&state).and_then(|()| std::fs::create_dir(&local)).expect("made");
            std::os::unix::fs::symlink(&state, local.join("state")).expect("a link");
        }
        let disk = std::fs::File::open(image.mount_point()).expect("mounted");
        rustix::fs::syncfs(disk).expect("written");
        Self {
            sandbox,
            image,
            elsewhere,
            known: BTreeMap::new(),
            trusted: Vec::new(),
            has_vault: false,
            writes: 0,
            killed: 0,
        }
    }

    /// A write at random: of a few places again and again, sometimes in a scope that has no directory yet.
    fn choose(&mut self, random: &mut Random) -> Write {
        if !self.has_vault {
            return Write::Init;
        }
        self.writes += 1;
        if random.below(15) == 0 {
            return Write::Trust(AuthorKey::generate().expect("random bytes").author().to_string());
        }
        let scopes = ["org", "project/p", "domain/d", "project/p/domain/d"];
        let place = match random.below(12) {
            0 | 1 => format!("project/p{}/domain/d/s", self.writes),
            choice => format!("{}/s{}", scopes[choice as usize % 4], choice / 8),
        };
        let verb = match (self.known.contains_key(&place), random.below(3)) {
            (false, _) => "create",
            (true, 0) => "delete",
            (true, _) => "update",
        };
        let size = [0, 40, 5_000, 70_000][random.below(4) as usize];
        let stamp = format!("{} {place} ", self.writes);
        let value = stamp.bytes().chain((0..size).map(|index| (index % 251) as u8)).collect();
        Write::Secret { verb, value: (verb != "delete").then_some(value), place }
    }

    /// Runs it, under strace if there are options for that; what strace wrote.
    fn run(&self, write: &Write, strace: &[&str]) -> (Ran, String) {
        let log = self.elsewhere.path().join("log");
        let mut command = self.sandbox.program(if strace.is_empty() { FLYTE_LOCAL } else { "strace" });
        if !strace.is_empty() {
            command.arg("-f").arg("-o").arg(&log).args(strace).arg(FLYTE_LOCAL);
        }
        match write {
            Write::Init => command.arg("init"),
            Write::Trust(key) => command.args(["update", "vault", "--trust-author", key]),
            Write::Secret { verb, place, value } => {
                command.args([verb, "secret"]).arg(secret_id(place).name.to_string()).args(scope_options(place));
                match value {
                    Some(value) => {
                        let file = self.elsewhere.path().join("value");
                        std::fs::write(&file, value).expect("written");
                        command.arg("--from-file").arg(file)
                    }
                    None => &mut command,
                }
            }
        };
        let ran = Ran::from(command.output().expect("it starts"));
        (ran, if strace.is_empty() { String::new() } else { std::fs::read_to_string(log).expect("strace's log") })
    }

    fn acknowledged(&mut self, write: Write, strace: &[&str]) -> String {
        let (ran, log) = self.run(&write, strace);
        assert_eq!(ran.code, 0, "{}: {ran:?}", write.name());
        self.take_over(write);
        log
    }

    fn take_over(&mut self, write: Write) {
        match write {
            Write::Init => self.has_vault = true,
            Write::Trust(key) => self.trusted.push(key),
            Write::Secret { place, value: Some(value), .. } => drop(self.known.insert(place, value)),
            Write::Secret { place, value: None, .. } => drop(self.known.remove(&place)),
        }
    }

    /// The vault, which refuses what is older than this machine has seen it.
    fn vault(&self) -> Result<Vault, VaultError> {
        let open = |strictness| VaultOptions { strictness, ..self.sandbox.vault_options() }.open(&self.sandbox.vault());
        match open(Strictness::Errors) {
            // A cut may lose the pin: the vault is then pinned again on first use.
            Err(VaultError::FirstUse { .. }) => open(Strictness::Notices).and_then(|_| open(Strictness::Errors)),
            opened => opened,
        }
    }

    fn value(&self, place: &str) -> Result<Option<Vec<u8>>, VaultError> {
        self.value_in(&self.vault()?, place)
    }

    fn value_in(&self, vault: &Vault, place: &str) -> Result<Option<Vec<u8>>, VaultError> {
        match vault.value(&secret_id(place), &self.sandbox.identities()) {
            Ok(value) => Ok(Some(SecretValue::expose(&value).to_vec())),
            Err(VaultError::SecretMissing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What must hold after a cut. Of a write that was not acknowledged, takes over what is there; whether it is the new.
    fn settle(&mut self, in_doubt: Option<Write>) -> Option<bool> {
        self.killed += usize::from(in_doubt.is_some());
        let is_new = in_doubt.map(|write| match &write {
            Write::Init => {
                self.has_vault = !matches!(self.sandbox.open_unpinned_vault(), Err(VaultError::Missing { .. }));
                self.has_vault
            }
            Write::Trust(key) => {
                let is_new = self.vault().expect("it opens").authors().iter().any(|it| it.key.to_string() == *key);
                // Two files are written. Where they differ, that is told with every write, until it is done again.
                self.acknowledged(write, &[]);
                is_new
            }
            Write::Secret { place, value, .. } => {
                let found = self.value(place).unwrap_or_else(|error| panic!("{}: {error:?}", write.name()));
                let (is_new, is_old) = (found == *value, found.as_ref() == self.known.get(place));
                assert!(is_new || is_old, "{} is torn", write.name());
                if is_new {
                    self.take_over(write);
                }
                is_new
            }
        });
        if self.has_vault {
            self.check();
        }
        is_new
    }

    fn check(&self) {
        let vault = self.vault().expect("it opens");
        let changes = vault.changes();
        assert!(changes.is_empty(), "a false alarm: {changes:?}");
        let recipient = self.sandbox.identities()[0].recipient();
        assert!(vault.recipients().iter().any(|known| known.key == recipient), "nobody can open it");
        let authors: Vec<_> = vault.authors().iter().map(|author| author.key.to_string()).collect();
        assert!(self.trusted.iter().all(|key| authors.contains(key)), "an author who was trusted is forgotten");
        for (place, value) in &self.known {
            let found = self.value_in(&vault, place).unwrap_or_else(|error| panic!("{place}: {error:?}"));
            assert!(found.as_ref() == Some(value), "{place} was acknowledged and is lost");
        }
        let listed = vault.list(&ScopeFilter::default()).expect("listed").secrets.len();
        assert_eq!(listed, self.known.len(), "a secret that was deleted is back");
        assert!(self.sandbox.sound_but_for_leftovers() <= self.killed);
    }
}

/// The system calls of a write, as `strace` takes the faults: the name and how many of that name came before, and itself.
/// Only those from the first lock on, or before that, the first directory: before them comes what starts any program.
fn points(log: &str) -> Vec<(String, usize)> {
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut points = Vec::new();
    let mut has_begun = false;
    for line in log.lines() {
        // `PID CALL(…`; what is not a call has no parenthesis there.
        let Some((call, _)) = line.split_once(' ').and_then(|(_, line)| line.trim_start().split_once('(')) else {
            continue;
        };
        if !call.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
            continue;
        }
        let count = counts.entry(call).or_default();
        *count += 1;
        has_begun |= matches!(call, "flock" | "mkdirat");
        if has_begun {
            points.push((call.to_owned(), *count));
        }
    }
    assert!(points.len() > 20, "no write: {log}");
    points
}

#[derive(Default)]
struct Counts {
    acknowledged: usize,
    after: usize,
    at_a_call: usize,
    old: usize,
    new: usize,
}

/// The calls of each kind of write, found out when the first one of it runs.
type Traces = BTreeMap<&'static str, Vec<(String, usize)>>;

fn kind(write: &Write) -> &'static str {
    match write {
        Write::Init => "init",
        Write::Trust(_) => "trust",
        Write::Secret { verb: "create", place, .. } if place.ends_with("/s") => "create in a new directory",
        Write::Secret { verb, .. } => verb,
    }
}

/// A write that is to end; traced, if none of its kind was yet.
fn write_acknowledged(machine: &mut Machine, traces: &mut Traces, random: &mut Random) {
    let write = machine.choose(random);
    let kind = kind(&write);
    if traces.contains_key(kind) {
        machine.acknowledged(write, &[]);
    } else {
        traces.insert(kind, points(&machine.acknowledged(write, &["-e", "trace=all"])));
    }
}

/// Some writes, and then the cut; after the last one, or in the middle of one more.
fn round(machine: &mut Machine, power: &mut Power, traces: &mut Traces, random: &mut Random, counts: &mut Counts) {
    let is_after = random.below(2) == 0;
    for _ in 0..random.below(4) + u64::from(is_after) {
        write_acknowledged(machine, traces, random);
        counts.acknowledged += 1;
    }
    let log = if random.below(3) == 0 { Log::Written } else { Log::Lost };
    let mut in_doubt = None;
    if !is_after {
        let write = machine.choose(random);
        match traces.get(kind(&write)) {
            None => write_acknowledged(machine, traces, random),
            Some(points) => {
                let (call, nth) = &points[random.below(points.len() as u64) as usize];
                let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={nth}"));
                let (ran, _) = machine.run(&write, &["-e", &trace, "-e", &inject]);
                match ran.code {
                    // A call that this one did not make.
                    0 => machine.take_over(write),
                    KILLED => in_doubt = Some(write),
                    _ => panic!("{} {inject}: {ran:?}", write.name()),
                }
            }
        }
    }
    power.cut(&machine.image, log);
    *if in_doubt.is_some() { &mut counts.at_a_call } else { &mut counts.after } += 1;
    match machine.settle(in_doubt) {
        Some(true) => counts.new += 1,
        Some(false) => counts.old += 1,
        None => {}
    }
}

#[test]
#[ignore = "needs root: scripts/test"]
fn what_was_acknowledged_survives_a_power_cut_and_what_was_not_is_old_or_new() {
    with_own_mounts(
        &test_path(module_path!(), "what_was_acknowledged_survives_a_power_cut_and_what_was_not_is_old_or_new"),
        || {
            let cuts = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 1000 } else { 100 };
            let (mut random, mut power) = (Random::seeded(), Power::new());
            let (mut traces, mut counts) = (Traces::new(), Counts::default());
            for disk in 0..cuts / CUTS_OF_A_DISK {
                let mut machine = Machine::new(disk % 2 == 0);
                for _ in 0..CUTS_OF_A_DISK {
                    round(&mut machine, &mut power, &mut traces, &mut random, &mut counts);
                }
            }
            let Counts { acknowledged, after, at_a_call, old, new } = counts;
            tally(&format!(
                "power cut {cuts} times, {after} after an acknowledgement, {at_a_call} at a system call: \
             {acknowledged} acknowledged writes, 0 lost; {old} unacknowledged old, {new} new, 0 torn"
            ));
            assert!(after > cuts as usize / 4 && old > 0 && new > 0, "the cuts prove little");
        },
    );
}

/// What a write must not do without: the sync of the file, and that of its directory.
#[derive(Debug, Clone, Copy)]
enum Mutant {
    FileSync,
    DirectorySync,
}

impl Mutant {
    /// strace, which makes the call look as if it were done.
    fn options(self, directory: &Path) -> [String; 6] {
        let on: PathBuf = match self {
            Mutant::FileSync => directory.join(".tmp"),
            Mutant::DirectorySync => directory.to_owned(),
        };
        let on = on.into_os_string().into_string().expect("UTF-8");
        ["-P", &on, "-e", "trace=fsync", "-e", "inject=fsync:retval=0"].map(str::to_owned)
    }
}

/// Whether a write that was acknowledged is gone after a cut, or its file is no longer readable.
fn is_lost(mutant: Option<Mutant>, write: Write, power: &mut Power) -> bool {
    let mut machine = Machine::new(true);
    machine.acknowledged(Write::Init, &[]);
    let Write::Secret { verb, place, value } = &write else { panic!("of a secret") };
    if *verb != "create" {
        let value = Some(b"old".to_vec());
        machine.acknowledged(Write::Secret { verb: "create", place: place.clone(), value }, &[]);
    }
    let directory = machine.sandbox.secret_file(place).parent().expect("it lies in one").to_owned();
    let options = mutant.map(|mutant| mutant.options(&directory));
    let options: Vec<_> = options.iter().flatten().map(String::as_str).collect();
    let (value, place) = (value.clone(), place.clone());
    let log = machine.acknowledged(write, &options);
    assert_eq!(log.matches("(INJECTED)").count(), usize::from(mutant.is_some()), "{log}");
    power.cut(&machine.image, Log::Lost);
    machine.value(&place).ok() != Some(value)
}

#[test]
#[ignore = "needs root: scripts/test"]
fn a_write_without_one_of_its_syncs_is_lost() {
    with_own_mounts(&test_path(module_path!(), "a_write_without_one_of_its_syncs_is_lost"), || {
        let mut power = Power::new();
        let writes =
            [("create", "org/s"), ("create", "project/p/domain/d/s"), ("update", "org/s"), ("delete", "org/s")];
        for mutant in [None, Some(Mutant::FileSync), Some(Mutant::DirectorySync)] {
            let mut lost = 0;
            let mut cuts = 0;
            for (verb, place) in writes {
                // A delete has no file.
                if verb == "delete" && matches!(mutant, Some(Mutant::FileSync)) {
                    continue;
                }
                let value = (verb != "delete").then(|| b"new".to_vec());
                let write = Write::Secret { verb, place: place.to_owned(), value };
                lost += usize::from(is_lost(mutant, write, &mut power));
                cuts += 1;
            }
            match mutant {
                None => assert_eq!(lost, 0, "by a cut after all of its syncs"),
                Some(mutant) => {
                    tally(&format!("power cut, {mutant:?} left out: {lost} of {cuts} acknowledged writes lost"));
                    assert!(lost > 0, "{mutant:?}: nobody would notice that it is missing");
                }
            }
        }
    });
}
