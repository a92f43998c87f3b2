//! A service of `flyte-local serve` that clients attack, with the checks that they changed nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::process::Signal;

use super::Sandbox;
use super::http::{Serving, about};

/// A value that hostile requests carry, and that the service must not repeat.
pub const MARKER: &str = "hunter2-c0ffee";

/// The most that the service may ever have in memory, in KiB; it has some 12 MiB when nobody asks for anything.
pub const MOST_MEMORY: usize = 128 << 10;

/// Every file of the vault, but for what is no part of it.
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

/// A vault with a secret, its service, and what must hold in the end.
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

    /// That nothing was written and nothing said, and that it still works; its log.
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
