//! The power is cut: an acknowledged write is on the disk, and another one is old or new, never torn.
//!
//! The disk is an ext4 file system in a file, shut down without writing its log, and mounted again. Its options keep
//! everything off the disk that no sync requests: a commit after ten minutes, data written late, and no help for programs
//! that rename without a sync. `FLYTE_LOCAL_TEST_SEED` repeats a run's choices, `FLYTE_LOCAL_TEST_LONG=1` cuts ten times as often.

#![allow(clippy::disallowed_methods, reason = "a test reads its own variables")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::support::image::{Image, Log, Power, with_own_mounts};
use crate::support::{FLYTE_LOCAL, Ran, Random, Sandbox, require, scope_options, secret_id, tally, test_path};
use flyte_local::crypto::AuthorKey;
use flyte_local::secret::{ScopeFilter, SecretValue};
use flyte_local::vault::{Strictness, Vault, VaultError, VaultOptions};

const OPTIONS: &str = "noatime,commit=600,noauto_da_alloc,delalloc";

/// 128 plus SIGKILL.
const KILLED: i32 = 137;

/// The number of cuts before a new disk.
const CUTS_OF_A_DISK: u64 = 10;

#[derive(Debug, Clone)]
enum Write {
    Init,
    /// Adds an author to `vault.toml`, and pins it.
    Trust(String),
    /// A write of a secret, with the value after it: `None` for a delete.
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

/// A machine whose disk holds a user's home directory, with the vault in it.
struct Machine {
    // The order matters for dropping: the sandbox is on the image, and the image in the directory.
    sandbox: Sandbox,
    image: Image,
    /// Not on that disk.
    elsewhere: tempfile::TempDir,
    known: BTreeMap<String, Vec<u8>>,
    trusted: Vec<String>,
    has_vault: bool,
    writes: u64,
    /// The number of killed writes: each may have left a temporary file, which the next write in its directory removes.
    killed: usize,
}

impl Machine {
    /// Makes a machine with an empty home. Its state directory, with the pins, may be on another disk that never loses power:
    /// then no write to it brings the vault's changes to their disk as a side effect.
    fn new(is_state_elsewhere: bool) -> Self {
        require("strace", "strace");
        // In memory, because the image's own disk never loses power and would only cost time.
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

    /// Chooses a random write: to a few places again and again, sometimes in a scope without a directory.
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

    /// Runs a write, under strace if there are options for it. Returns the result and strace's output.
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

    /// Opens the vault, with a rollback as an error.
    fn vault(&self) -> Result<Vault, VaultError> {
        let open = |strictness| VaultOptions { strictness, ..self.sandbox.vault_options() }.open(&self.sandbox.vault());
        match open(Strictness::Errors) {
            // A cut may lose the pin: the user then accepts the vault again.
            Err(VaultError::Unaccepted { .. }) => {
                let mut vault = open(Strictness::Notices)?;
                let fingerprint = vault.fingerprint();
                vault.accept(&fingerprint)?;
                open(Strictness::Errors)
            }
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

    /// Asserts what must hold after a cut. For an unacknowledged write, takes over the result; returns true if it is the new one.
    fn settle(&mut self, in_doubt: Option<Write>) -> Option<bool> {
        self.killed += usize::from(in_doubt.is_some());
        let is_new = in_doubt.map(|write| match &write {
            Write::Init => {
                self.has_vault = !matches!(self.sandbox.open_unpinned_vault(), Err(VaultError::Missing { .. }));
                self.has_vault
            }
            Write::Trust(key) => {
                let is_new = self.vault().expect("it opens").authors().iter().any(|it| it.key.to_string() == *key);
                // The write changes two files. If only one changed, every write reports that until the change is repeated.
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
        assert!(vault.recipients().iter().any(|known| known.key == recipient), "the identity is not a recipient");
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

/// Returns the system calls of a write, in the form in which `strace` takes faults: the name, and how many calls of that
/// name there were up to it. They begin at the first lock or directory: calls before that start the program.
fn points(log: &str) -> Vec<(String, usize)> {
    let mut counts = BTreeMap::<&str, usize>::new();
    let mut points = Vec::new();
    let mut has_begun = false;
    for line in log.lines() {
        // `PID CALL(…`; a line without a parenthesis there is not a call.
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
    assert!(points.len() > 20, "the trace has no write: {log}");
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

/// The calls of each kind of write, traced when the first of its kind runs.
type Traces = BTreeMap<&'static str, Vec<(String, usize)>>;

fn kind(write: &Write) -> &'static str {
    match write {
        Write::Init => "init",
        Write::Trust(_) => "trust",
        Write::Secret { verb: "create", place, .. } if place.ends_with("/s") => "create in a new directory",
        Write::Secret { verb, .. } => verb,
    }
}

/// Runs a write to its end; traces it if it is the first of its kind.
fn write_acknowledged(machine: &mut Machine, traces: &mut Traces, random: &mut Random) {
    let write = machine.choose(random);
    let kind = kind(&write);
    if traces.contains_key(kind) {
        machine.acknowledged(write, &[]);
    } else {
        traces.insert(kind, points(&machine.acknowledged(write, &["-e", "trace=all"])));
    }
}

/// Runs some writes, and then cuts the power: after the last one, or in the middle of one more.
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
                    // A call that this write did not make.
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
fn acknowledged_writes_survive_a_power_cut_and_others_are_old_or_new() {
    with_own_mounts(
        &test_path(module_path!(), "acknowledged_writes_survive_a_power_cut_and_others_are_old_or_new"),
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

/// A sync that a write must not omit: that of the file, or that of its directory.
#[derive(Debug, Clone, Copy)]
enum Mutant {
    FileSync,
    DirectorySync,
}

impl Mutant {
    /// Returns options for strace, which makes the call look successful without making it.
    fn options(self, directory: &Path) -> [String; 6] {
        let on: PathBuf = match self {
            Mutant::FileSync => directory.join(".tmp"),
            Mutant::DirectorySync => directory.to_owned(),
        };
        let on = on.into_os_string().into_string().expect("UTF-8");
        ["-P", &on, "-e", "trace=fsync", "-e", "inject=fsync:retval=0"].map(str::to_owned)
    }
}

/// Returns true if an acknowledged write is gone after a cut, or its file is unreadable.
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
                    assert!(lost > 0, "{mutant:?}: the test would not notice that it is missing");
                }
            }
        }
    });
}

/// The number of secrets in a file to import: more than are worth a second thread.
const IMPORTED: usize = 20;

fn imported(index: usize) -> (String, Vec<u8>) {
    (format!("domain/d/i{index}"), format!("value {index} {}", "x".repeat(index * 300)).into_bytes())
}

/// Imports secrets, perhaps with a fault. Returns the result.
fn import(machine: &Machine, strace: &[&str]) -> Ran {
    let file = machine.elsewhere.path().join("new.env");
    let lines = (0..IMPORTED)
        .map(imported)
        .map(|(place, value)| format!("{}='{}'\n", secret_id(&place).name, String::from_utf8(value).expect("ASCII")));
    std::fs::write(&file, lines.collect::<String>()).expect("written");
    let mut command = machine.sandbox.program("strace");
    command.arg("-f").arg("-o").arg(machine.elsewhere.path().join("log")).args(strace);
    command.args([FLYTE_LOCAL, "import", "-d", "d"]).arg(file);
    Ran::from(command.output().expect("it starts"))
}

#[test]
#[ignore = "needs root: scripts/test"]
fn an_import_survives_a_power_cut_as_far_as_it_got() {
    with_own_mounts(&test_path(module_path!(), "an_import_survives_a_power_cut_as_far_as_it_got"), || {
        let cuts = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 300 } else { 30 };
        let (mut random, mut power) = (Random::seeded(), Power::new());
        let (mut whole, mut none, mut part) = (0, 0, 0);
        for cut in 0..cuts {
            let mut machine = Machine::new(cut % 2 == 0);
            machine.acknowledged(Write::Init, &[]);
            let call = ["renameat2", "renameat2", "fsync", "unlinkat"][random.below(4) as usize];
            let kill = format!("inject={call}:signal=KILL:when={}", 1 + random.below(IMPORTED as u64 + 2));
            let strace: &[&str] = if cut % 3 == 0 { &["-e", "trace=none"] } else { &["-e", &kill] };
            let ran = import(&machine, strace);
            assert!(matches!(ran.code, 0 | KILLED), "{kill}: {ran:?}");
            machine.killed += usize::from(ran.code == KILLED);
            power.cut(&machine.image, if random.below(3) == 0 { Log::Written } else { Log::Lost });
            let mut found = 0;
            for (place, value) in (0..IMPORTED).map(imported) {
                let read = machine.value(&place).unwrap_or_else(|error| panic!("{kill}: {place}: {error:?}"));
                if read.is_some() || ran.code == 0 {
                    assert_eq!(read.as_ref(), Some(&value), "{kill}: {place} is lost or torn");
                    machine.known.insert(place, value);
                    found += 1;
                }
            }
            machine.check();
            *(match found {
                0 => &mut none,
                IMPORTED => &mut whole,
                _ => &mut part,
            }) += 1;
        }
        tally(&format!(
            "power cut {cuts} times in or after an import: {whole} whole, {part} in part, {none} old, 0 torn"
        ));
        assert!(whole >= cuts / 3 && none > 0, "the cuts prove little");
    });
}

#[test]
#[ignore = "needs root: scripts/test"]
fn an_import_without_one_of_its_syncs_is_lost() {
    with_own_mounts(&test_path(module_path!(), "an_import_without_one_of_its_syncs_is_lost"), || {
        let mut power = Power::new();
        // A sync of the whole file system would hide that of a file.
        for (calls, is_lost) in [("none", false), ("fsync,syncfs", true)] {
            let mut machine = Machine::new(true);
            machine.acknowledged(Write::Init, &[]);
            let inject = format!("inject={calls}:retval=0");
            let options = ["-e", if is_lost { &inject } else { "trace=none" }];
            let ran = import(&machine, &options);
            assert_eq!(ran.code, 0, "{ran:?}");
            power.cut(&machine.image, Log::Lost);
            let there = (0..IMPORTED)
                .map(imported)
                .filter(|(place, value)| machine.value(place).is_ok_and(|found| found.as_ref() == Some(value)));
            assert_eq!(there.count() < IMPORTED, is_lost, "{calls}");
        }
    });
}
