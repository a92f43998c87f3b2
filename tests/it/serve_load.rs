//! `serve` with the maximum number of busy connections, and the command line on the same vault: each answer is right, and no
//! acknowledged write is lost, even if the service is killed.

#![allow(clippy::disallowed_methods, reason = "tests read their own variables")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::Instant;

use crate::support::http::{Connection, JSON, call, gzip, path, post};
use crate::support::{Random, Sandbox, tally, until};
use rustix::process::{Signal, kill_process};
use serde_json::json;

/// The number of connections that the service accepts.
const CLIENTS: usize = 64;

/// The number of secrets that belong to each client, and to each writer with the command line.
const OWN: u64 = 4;

/// The number of secrets that all of them write.
const SHARED: usize = 4;

/// The memory that the service may use at most, in KiB.
const MOST_MEMORY: usize = 128 << 10;

fn is_long() -> bool {
    std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some()
}

/// Returns a value that would show if it were mixed with another.
fn value(owner: &str, round: usize) -> String {
    format!("{owner}.{round};").repeat(1 + round % 100)
}

fn is_whole(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value);
    let stamp = text.split_inclusive(';').next().expect("split yields one");
    let round = stamp.trim_end_matches(';').rsplit('.').next().and_then(|round| round.parse::<usize>().ok());
    round.is_some_and(|round| text == stamp.repeat(1 + round % 100))
}

/// For each shared secret, how often it was created less how often it was deleted.
#[derive(Default)]
struct Shared([AtomicI64; SHARED]);

/// A client with secrets that only it writes, in a separate project, and that remembers their values.
struct Client {
    connection: Connection,
    project: String,
    own: BTreeMap<String, String>,
    /// An unanswered request: a secret, and the value that it may have now.
    pending: Option<(String, Option<String>)>,
    round: usize,
}

impl Client {
    fn new(address: SocketAddr, index: usize) -> Self {
        let project = format!("p{index}");
        Self { connection: Connection::to(address), project, own: BTreeMap::new(), pending: None, round: 0 }
    }

    /// Calls a method. Returns its code and reply; `None` if the service ends first.
    fn call(&mut self, method: &str, request: &serde_json::Value) -> Option<(String, serde_json::Value)> {
        let text = request.to_string();
        let request = match self.round % 3 {
            0 => post(&path(method), &[JSON[0], JSON[1], ("Content-Encoding", "gzip")], &gzip(text.as_bytes())),
            _ => call(method, &text),
        };
        self.connection.send(&request);
        let reply = self.connection.reply()?;
        Some((reply.code(), reply.json()))
    }

    /// Creates, updates or deletes one of the client's secrets. Returns true if there was an answer, which must be right.
    fn write(&mut self, random: &mut Random) -> bool {
        self.round += 1;
        let name = format!("own-{}", random.below(OWN));
        let value = value(&self.project, self.round);
        let id = json!({ "name": name, "project": self.project });
        let spec = json!({ "stringValue": value });
        let is_there = self.own.contains_key(&name);
        let (method, request, after, expected) = match random.below(3) {
            0 => ("DeleteSecret", json!({ "id": id }), None, if is_there { "" } else { "not_found" }),
            1 if is_there => (
                "CreateSecret",
                json!({ "id": id, "secretSpec": spec }),
                self.own.get(&name).cloned(),
                "already_exists",
            ),
            2 if !is_there => ("UpdateSecret", json!({ "id": id, "secretSpec": spec }), None, "not_found"),
            _ if is_there => ("UpdateSecret", json!({ "id": id, "secretSpec": spec }), Some(value), ""),
            _ => ("CreateSecret", json!({ "id": id, "secretSpec": spec }), Some(value), ""),
        };
        self.pending = Some((name.clone(), after.clone()));
        let Some((code, _)) = self.call(method, &request) else { return false };
        assert_eq!(code, expected, "{method} {name} of {}", self.project);
        self.pending = None;
        match after {
            Some(value) => drop(self.own.insert(name, value)),
            None => drop(self.own.remove(&name)),
        }
        true
    }

    /// Writes a secret that others write too.
    fn write_shared(&mut self, shared: &Shared, random: &mut Random) {
        self.round += 1;
        let index = random.below(SHARED as u64) as usize;
        let id = json!({ "name": format!("shared-{index}") });
        let request = json!({ "id": id, "secretSpec": { "stringValue": value(&self.project, self.round) } });
        let (method, request, change, refusal) = match random.below(3) {
            0 => ("CreateSecret", request, 1, "already_exists"),
            1 => ("UpdateSecret", request, 0, "not_found"),
            _ => ("DeleteSecret", json!({ "id": id }), -1, "not_found"),
        };
        let (code, _) = self.call(method, &request).expect("a reply");
        assert!(code.is_empty() || code == refusal, "{method}: {code}");
        if code.is_empty() {
            shared.0[index].fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Reads one of the client's secrets.
    fn get(&mut self, random: &mut Random) {
        let name = format!("own-{}", random.below(OWN));
        let id = json!({ "name": name, "project": self.project });
        let (code, reply) = self.call("GetSecret", &json!({ "id": id })).expect("a reply");
        let expected = if self.own.contains_key(&name) { "" } else { "not_found" };
        assert_eq!(code, expected, "{name} of {}", self.project);
        assert!(!code.is_empty() || reply["secret"]["id"] == id, "{reply}");
    }

    /// Lists the client's secrets or, page by page, all secrets. Returns the number of calls.
    fn list(&mut self, everything: bool, random: &mut Random) -> usize {
        let limit = [2, 10, 100, 0][random.below(4) as usize];
        let project = if everything { "" } else { self.project.as_str() };
        let mut request = json!({ "limit": if everything { 100 } else { limit }, "project": project });
        let (mut found, mut calls) = (Vec::new(), 0);
        loop {
            let (code, reply) = self.call("ListSecrets", &request).expect("a reply");
            assert_eq!(code, "");
            calls += 1;
            let secrets = reply["secrets"].as_array().cloned().unwrap_or_default();
            found.extend(secrets.iter().map(|secret| {
                let text = |field: &str| secret["id"][field].as_str().unwrap_or_default().to_owned();
                (text("project"), text("domain"), text("name"))
            }));
            request["token"] = reply["token"].clone();
            if reply["token"].as_str().unwrap_or_default().is_empty() {
                break;
            }
        }
        assert!(found.is_sorted() && found.windows(2).all(|pair| pair[0] != pair[1]), "{found:?}");
        let own: Vec<_> = found.into_iter().filter(|(project, ..)| *project == self.project).collect();
        let expected: Vec<_> =
            self.own.keys().map(|name| (self.project.clone(), String::new(), name.clone())).collect();
        assert_eq!(own, expected, "secrets of this client alone");
        calls
    }

    /// Does this client's part of the work. Returns the numbers of writes and of calls.
    fn work(&mut self, calls: usize, shared: &Shared, random: &mut Random) -> (usize, usize) {
        let (mut writes, mut called) = (0, 0);
        while called < calls {
            called += 1;
            match random.below(100) {
                0..10 => assert!(self.write(random), "the service is gone"),
                10..14 => self.write_shared(shared, random),
                14..30 => called += self.list(false, random) - 1,
                30..32 => called += self.list(true, random) - 1,
                _ => {
                    self.get(random);
                    continue;
                }
            }
            writes += 1;
        }
        (writes, called)
    }

    /// Asserts that the vault has what the client expects. The outcome of an unanswered request may be either.
    fn compare(&mut self, sandbox: &Sandbox) {
        for index in 0..OWN {
            let name = format!("own-{index}");
            let found = sandbox.value(&format!("project/{}/{name}", self.project));
            let found = found.map(|value| String::from_utf8(value).expect("text"));
            let pending = self.pending.as_ref().filter(|(pending, _)| *pending == name).map(|(_, after)| after.clone());
            let is_right = found == self.own.get(&name).cloned() || pending.as_ref() == Some(&found);
            assert!(is_right, "{name} of {}: {found:?}, not {:?} nor {pending:?}", self.project, self.own.get(&name));
            match found {
                Some(value) => drop(self.own.insert(name, value)),
                None => drop(self.own.remove(&name)),
            }
        }
        self.pending = None;
    }
}

/// Writes with the command line until stopped. Returns the number of writes.
fn commands(sandbox: &Sandbox, index: usize, shared: &Shared, stop: &AtomicBool, random: &mut Random) -> usize {
    let (owner, mut own, mut round) = (format!("cli{index}"), BTreeMap::new(), 0);
    let write = |verb: &str, name: &str, value: &str, scope: &[&str]| {
        let value: &[&str] = if verb == "delete" { &[] } else { &[value] };
        sandbox.run(&[&[verb, "secret", name], value, scope].concat()).code
    };
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let value = value(&owner, round);
        if random.below(3) == 0 {
            let at = random.below(SHARED as u64) as usize;
            let (verb, change, refusal) =
                [("create", 1, 12), ("update", 0, 10), ("delete", -1, 10)][random.below(3) as usize];
            let code = write(verb, &format!("shared-{at}"), &value, &[]);
            assert!(code == 0 || code == refusal, "{verb}: {code}");
            if code == 0 {
                shared.0[at].fetch_add(change, Ordering::Relaxed);
            }
            continue;
        }
        let name = format!("own-{}", random.below(OWN));
        let scope = ["-p", &owner];
        match (own.contains_key(&name), random.below(3)) {
            (false, _) => {
                assert_eq!(write("create", &name, &value, &scope), 0);
                own.insert(name, value);
            }
            (true, 0) => {
                assert_eq!(write("delete", &name, "", &scope), 0);
                own.remove(&name);
            }
            (true, _) => {
                assert_eq!(write("update", &name, &value, &scope), 0);
                own.insert(name, value);
            }
        }
    }
    for index in 0..OWN {
        let name = format!("own-{index}");
        let found = sandbox.value(&format!("project/{owner}/{name}"));
        assert_eq!(found.as_deref(), own.get(&name).map(|value| value.as_bytes()), "{name} of {owner}");
    }
    round
}

/// Stops the writers even if a client panics. Otherwise the test would never end.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn ten_thousand_requests_and_writers_at_the_command_line_lose_nothing() {
    let calls = if is_long() { 100_000 } else { 10_000 } / CLIENTS + 1;
    // The test does not depend on the disk.
    let sandbox = Sandbox::in_memory();
    sandbox.ok(&["init"]);
    let seed = Random::seeded().below(u64::MAX);
    let serving = sandbox.serve();
    assert_eq!(serving.connect().call("ListSecrets", "{}").status, 200);
    let (idle, start) = (serving.descriptors(), Instant::now());
    let (shared, stop) = (Shared::default(), AtomicBool::new(false));
    let mut clients: Vec<_> = (0..CLIENTS).map(|index| Client::new(serving.address(), index)).collect();
    let (mut writes, mut called, mut typed) = (0, 0, 0);
    std::thread::scope(|threads| {
        let (sandbox, shared, stop) = (&sandbox, &shared, &stop);
        let _stop = StopWhenDropped(stop);
        let typists: Vec<_> = (0..3)
            .map(|index| {
                let mut random = Random::from_seed(seed ^ (1000 + index as u64));
                threads.spawn(move || commands(sandbox, index, shared, stop, &mut random))
            })
            .collect();
        let workers: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(index, client)| {
                let mut random = Random::from_seed(seed ^ index as u64);
                threads.spawn(move || client.work(calls, shared, &mut random))
            })
            .collect();
        for worker in workers {
            let (wrote, asked) = worker.join().expect("every answer is right");
            (writes, called) = (writes + wrote, called + asked);
        }
        stop.store(true, Ordering::Relaxed);
        typed = typists.into_iter().map(|typist| typist.join().expect("every command has the expected outcome")).sum();
    });
    let seconds = start.elapsed().as_secs_f64();
    clients.iter_mut().for_each(|client| client.compare(&sandbox));
    for (index, count) in shared.0.into_iter().enumerate() {
        let found = sandbox.value(&format!("org/shared-{index}"));
        assert!(found.as_deref().is_none_or(is_whole), "torn: {found:?}");
        assert_eq!(count.into_inner(), i64::from(found.is_some()), "shared-{index}: creates less deletes");
    }
    drop(clients);
    until("what it had for its clients is closed", || serving.descriptors() <= idle);
    let (memory, log) = (serving.most_memory(), serving.log());
    assert!(memory < MOST_MEMORY, "{memory} KiB");
    assert!(!log.contains("refused") && !log.contains("bug") && log.lines().count() > 10_000, "{log}");
    assert_eq!(serving.end(Signal::TERM), 0);
    sandbox.ok(&["check"]);
    assert_eq!(sandbox.sound_but_for_leftovers(), 0);
    assert!(typed > 3, "the command line wrote too rarely");
    tally(&format!(
        "serve: {called} requests over {CLIENTS} connections ({writes} writes and lists) and {typed} commands in {seconds:.0} s: \
         0 wrong, 0 lost, at most {} MiB in memory",
        memory >> 10
    ));
}

#[test]
fn acknowledged_writes_survive_a_kill_of_the_service() {
    const WRITERS: usize = 8;
    let kills = if is_long() { 500 } else { 20 };
    let sandbox = Sandbox::in_memory();
    sandbox.ok(&["init"]);
    let mut random = Random::seeded();
    let mut known: Vec<_> = (0..WRITERS).map(|_| (BTreeMap::new(), 0)).collect();
    let (mut acknowledged, mut unknown) = (0, 0);
    for kill in 0..kills {
        let serving = sandbox.serve();
        let done = AtomicUsize::new(0);
        let mut clients: Vec<_> = (0..WRITERS).map(|index| Client::new(serving.address(), index)).collect();
        for (client, (own, round)) in clients.iter_mut().zip(known.drain(..)) {
            (client.own, client.round) = (own, round);
        }
        let enough = 5 + random.below(100) as usize;
        std::thread::scope(|threads| {
            for client in &mut clients {
                let (mut random, done) = (Random::from_seed(random.below(u64::MAX)), &done);
                threads.spawn(move || {
                    while client.write(&mut random) {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            until("enough is acknowledged", || done.load(Ordering::Relaxed) >= enough);
            kill_process(serving.process(), Signal::KILL).expect("it runs");
        });
        for client in &mut clients {
            unknown += usize::from(client.pending.is_some());
            client.compare(&sandbox);
        }
        known = clients.into_iter().map(|client| (client.own, client.round)).collect();
        acknowledged += done.into_inner();
        drop(serving);
        assert!(sandbox.sound_but_for_leftovers() <= WRITERS, "kill {kill}");
    }
    sandbox.ok(&["check"]);
    tally(&format!(
        "serve: killed {kills} times with {unknown} writes under way: 0 torn, 0 of {acknowledged} acknowledged lost"
    ));
}
