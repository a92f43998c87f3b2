//! A service of `flyte-local serve` for hostile clients, with checks that they changed nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::process::Signal;

use super::Sandbox;
use super::http::{Serving, about};

/// A value that hostile requests carry, and that the service must not repeat.
pub const MARKER: &str = "hunter2-c0ffee";

/// The memory that the service may use at most, in KiB; it uses some 12 MiB when idle.
pub const MOST_MEMORY: usize = 128 << 10;

/// Returns every file of the vault with its content.
pub fn files(sandbox: &Sandbox) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut unvisited) = (BTreeMap::new(), vec![sandbox.vault()]);
    while let Some(directory) = unvisited.pop() {
        for entry in std::fs::read_dir(directory).expect("listed").map(|entry| entry.expect("listed")) {
            match entry.file_type().expect("known").is_dir() {
                true => unvisited.push(entry.path()),
                false => drop(found.insert(entry.path(), std::fs::read(entry.path()).expect("read"))),
            }
        }
    }
    found
}

/// A vault with a secret, its service, and the files of the vault at the start.
pub struct Served {
    pub sandbox: Sandbox,
    pub serving: Serving,
    pub before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Served {
    pub fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.ok(&["create", "secret", "s", "value"]);
        let (serving, before) = (sandbox.serve(), files(&sandbox));
        Self { sandbox, serving, before }
    }

    /// Asserts that nothing was written or repeated, and that the service still works. Returns its log.
    pub fn unharmed(self) -> String {
        let reply = self.serving.connect().call("GetSecret", &about("s"));
        assert_eq!((reply.status, &reply.json()["secret"]["id"]["name"]), (200, &"s".into()), "{reply:?}");
        assert!(files(&self.sandbox) == self.before, "the vault is changed");
        let memory = self.serving.most_memory();
        assert!(memory < MOST_MEMORY, "{memory} KiB");
        let log = self.serving.log();
        assert!(!log.contains(MARKER) && !log.contains("flyte-local has a bug"), "{log}");
        assert_eq!(self.serving.end(Signal::TERM), 0);
        log
    }
}
