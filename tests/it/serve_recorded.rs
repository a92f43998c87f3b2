//! Requests of the real clients, recorded in `fixtures/service` and replayed without Python: `newest/` has requests of HTTP/1.1
//! (Connect, gzip), and `oldest.connection` all bytes that a client sent on one connection of HTTP/2 (gRPC). To record them
//! again, while port 30081 is free:
//!
//!     cargo test --test it by_hand_record -- --ignored

#![allow(clippy::disallowed_methods, reason = "it writes fixtures")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::support::http::Serving;
use crate::support::{Ran, Sandbox, python, secret_id, tally};
use flyte_local::vault::Metadata;

/// The default port of `serve`, so that the recorded bytes do not differ each time.
const PORT: u16 = 30081;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/service")
}

/// A reply's message, or the status and the code of an error.
type Outcome = Result<Body, (u16, &'static str)>;

/// The calls of `tests/python/record_calls.py`, in order, each with its outcome.
const OUTCOMES: [(&str, Outcome); 14] = [
    ("CreateSecret", Ok(Body::Empty)),
    ("CreateSecret", Err((409, "already_exists"))),
    ("CreateSecret", Ok(Body::Empty)),
    ("CreateSecret", Ok(Body::Empty)),
    ("GetSecret", Ok(Body::One("org/recorded"))),
    ("GetSecret", Err((404, "not_found"))),
    ("UpdateSecret", Ok(Body::Empty)),
    ("ListSecrets", Ok(Body::Page(&["org/pull", "org/recorded"], "::recorded"))),
    ("ListSecrets", Ok(Body::Page(&["org/text"], ""))),
    ("DeleteSecret", Ok(Body::Empty)),
    ("DeleteSecret", Err((404, "not_found"))),
    ("CreateSecret", Err((400, "invalid_argument"))),
    ("CreateSecret", Ok(Body::Empty)),
    ("ListSecrets", Ok(Body::Page(&["project/p/domain/d/scoped"], ""))),
];

/// The content of a message.
#[derive(Clone, Copy)]
enum Body {
    Empty,
    One(&'static str),
    Page(&'static [&'static str], &'static str),
}

/// The metadata of secrets at the time of a message, because some are deleted later.
type Seen = std::collections::BTreeMap<&'static str, Metadata>;

impl Body {
    /// Returns the message's bytes. Every field here is short, and written even if other writers would pack it differently.
    fn bytes(self, sandbox: &Sandbox, seen: &mut Seen) -> Vec<u8> {
        let mut secret = |place: &'static str| {
            let metadata = sandbox.open_vault().metadata(&secret_id(place));
            if let Ok(metadata) = metadata {
                seen.insert(place, metadata);
            }
            secret(seen.get(place).expect("it was there once"))
        };
        match self {
            Self::Empty => Vec::new(),
            Self::One(place) => bytes(1, &secret(place)),
            Self::Page(places, token) => {
                let mut page: Vec<u8> = places.iter().flat_map(|place| bytes(1, &secret(place))).collect();
                if !token.is_empty() {
                    page.extend(text(2, token));
                    page.extend(bytes(3, &[text(1, "local"), text(2, token)].concat()));
                }
                page
            }
        }
    }
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut written = Vec::new();
    while number > 0x7f {
        written.push(number as u8 | 0x80);
        number >>= 7;
    }
    written.push(number as u8);
    written
}

/// Encodes a numeric field; 0 is left out.
fn number(field: u8, number: u64) -> Vec<u8> {
    if number == 0 { Vec::new() } else { [vec![field << 3], varint(number)].concat() }
}

/// Encodes a message field.
fn bytes(field: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![field << 3 | 2], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// Encodes a text field; an empty one is left out.
fn text(field: u8, text: &str) -> Vec<u8> {
    if text.is_empty() { Vec::new() } else { bytes(field, text.as_bytes()) }
}

/// Encodes the message `Secret`, with the field numbers of Flyte's description.
fn secret(metadata: &Metadata) -> Vec<u8> {
    let (id, created) = (&metadata.id, metadata.created);
    let project = id.scope.project().map_or("", |project| project.as_str());
    let domain = id.scope.domain().map_or("", |domain| domain.as_str());
    let name = text(1, &id.name.to_string());
    let created = [number(1, created.as_second() as u64), number(2, created.subsec_nanosecond() as u64)].concat();
    let is_pull = metadata.secret_type == flyte_local::secret::SecretType::ImagePull;
    let about = [bytes(1, &created), bytes(2, &number(1, 2)), number(3, is_pull.into())].concat();
    [bytes(1, &[name, text(3, domain), text(4, project)].concat()), bytes(2, &about)].concat()
}

/// Asserts the final content of the vault and of the log.
fn assert_state_after_replay(sandbox: &Sandbox, serving: Serving, calls: usize) {
    let value = |place| sandbox.value(place);
    assert_eq!(value("org/recorded"), Some(b"updated".to_vec()));
    assert_eq!(value("org/text"), None);
    assert_eq!(value("org/pull"), Some(br#"{"auths": {"ghcr.io": {"auth": "bWU6aHVudGVyMg=="}}}"#.to_vec()));
    assert_eq!(value("project/p/domain/d/scoped"), Some(vec![b'x'; 4096]));
    assert_eq!(sandbox.open_vault().list(&Default::default()).expect("listed").secrets.len(), 3);
    let log = serving.log();
    let said: Vec<_> = log.lines().filter_map(|line| line.split_once("Z ")).map(|(_, said)| said).collect();
    let mut outcomes = OUTCOMES.iter();
    for line in &said {
        let (method, outcome) = match line.strip_prefix("SelectCluster") {
            Some(rest) => (&"SelectCluster", rest.trim_start_matches(": ") == "done"),
            None => {
                let (method, outcome) = outcomes.next().expect("a call");
                let expected = outcome.map_or_else(|(_, code)| code, |_| "done");
                (method, line.ends_with(&format!(": {expected}")))
            }
        };
        assert!(line.starts_with(method) && outcome, "{line}: {log}");
    }
    assert_eq!(said.len(), calls, "{log}");
    for value in ["binary", "again", "a value", "auths", "updated", "xxxx", "no name"] {
        assert!(!log.contains(value), "{value} is in the log: {log}");
    }
}

#[test]
fn recorded_requests_of_the_newest_sdk_are_answered() {
    let sandbox = Sandbox::new();
    let serving = sandbox.serve();
    let mut names: Vec<_> = std::fs::read_dir(fixtures().join("newest"))
        .expect("fixtures")
        .map(|entry| entry.expect("one").path())
        .collect();
    names.sort();
    let (mut outcomes, mut seen) = (OUTCOMES.iter(), Seen::new());
    let mut connection = serving.connect();
    for path in &names {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let request = std::fs::read(path).expect("a fixture");
        let reply = connection.ask(&request);
        let (status, content_type) = (reply.status, reply.header("content-type").expect("it is there").to_owned());
        if name.ends_with("SelectCluster") {
            assert_eq!((status, &*content_type, reply.body), (200, "application/proto", Vec::new()), "{name}");
            continue;
        }
        let (method, outcome) = outcomes.next().expect("a call");
        assert!(name.ends_with(method), "{name}: not {method}");
        match outcome {
            Ok(body) => {
                assert_eq!((status, &*content_type), (200, "application/proto"), "{name}: {reply:?}");
                assert_eq!(reply.body, body.bytes(&sandbox, &mut seen), "{name}");
            }
            Err((expected, code)) => {
                assert_eq!((status, &*content_type), (*expected, "application/json"), "{name}: {reply:?}");
                let error: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
                assert_eq!(error["code"], *code, "{name}: {error}");
                assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{name}: {error}");
            }
        }
    }
    assert_eq!(outcomes.len(), 0, "not all calls were recorded");
    assert_state_after_replay(&sandbox, serving, names.len());
    tally(&format!("serve: {} recorded requests of the newest SDK answered as expected", names.len()));
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Frame {
    fn read(from: &mut impl Read) -> Self {
        let mut head = [0; 9];
        from.read_exact(&mut head).expect("a frame");
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, l0, l1, l2]) as usize];
        from.read_exact(&mut payload).expect("a whole frame");
        Self { kind, flags, stream: u32::from_be_bytes([s0, s1, s2, s3]), payload }
    }

    fn bytes(&self) -> Vec<u8> {
        let length = (self.payload.len() as u32).to_be_bytes();
        let head = [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()].concat();
        [head, self.payload.clone()].concat()
    }

    fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// Returns the data sent on a stream until its end.
fn answer(connection: &mut impl Read, stream: u32) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let frame = Frame::read(connection);
        assert!(frame.kind != GOAWAY, "the connection is ended: {}", String::from_utf8_lossy(&frame.payload));
        if frame.stream != stream {
            continue;
        }
        assert_ne!(frame.kind, RST_STREAM, "the stream is ended");
        if frame.kind == DATA {
            data.extend_from_slice(&frame.payload);
        }
        if frame.ends_stream() {
            return data;
        }
    }
}

/// The headers with the outcome of a call are compressed with state, so the log shows the outcome instead, and a failed call
/// has no message. The messages are compared, because they have the same bytes as Connect's.
#[test]
fn a_recorded_connection_of_the_oldest_sdk_is_answered() {
    let sandbox = Sandbox::new();
    let serving = sandbox.serve();
    let recorded = std::fs::read(fixtures().join("oldest.connection")).expect("a fixture");
    let mut frames = recorded.strip_prefix(PREFACE).expect("a connection of HTTP/2");
    let mut connection = serving.connect().stream;
    connection.write_all(PREFACE).expect("it listens");
    let (mut outcomes, mut seen, mut calls) = (OUTCOMES.iter(), Seen::new(), 0);
    while !frames.is_empty() {
        let frame = Frame::read(&mut frames);
        connection.write_all(&frame.bytes()).expect("it listens");
        if !frame.ends_stream() {
            continue;
        }
        calls += 1;
        let (method, outcome) = outcomes.next().expect("a call");
        let data = answer(&mut connection, frame.stream);
        let Ok(body) = outcome else {
            assert!(data.is_empty(), "{method}: it was to fail");
            continue;
        };
        let message = body.bytes(&sandbox, &mut seen);
        let expected = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
        assert_eq!(data, expected, "{method}");
    }
    assert_eq!(outcomes.len(), 0, "not all calls were recorded");
    assert_state_after_replay(&sandbox, serving, calls);
    tally(&format!("serve: {calls} recorded calls of the oldest SDK answered as expected"));
}

/// Sits between clients and a service, and keeps the bytes that the clients send.
#[derive(Clone, Default)]
struct Tap {
    service: Arc<Mutex<Option<SocketAddr>>>,
    /// The bytes of each connection.
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Tap {
    fn listen(&self, listener: TcpListener) {
        let tap = self.clone();
        std::thread::spawn(move || listener.incoming().for_each(|client| tap.connect(client.expect("a client"))));
    }

    fn connect(&self, mut client: TcpStream) {
        let service = self.service.lock().expect("no panic").expect("one is there");
        let mut server = TcpStream::connect(service).expect("it listens");
        let (mut answers, mut to_client) = (server.try_clone().expect("ours"), client.try_clone().expect("ours"));
        std::thread::spawn(move || std::io::copy(&mut answers, &mut to_client));
        let kept = Arc::clone(&self.kept);
        let number = {
            let mut kept = kept.lock().expect("no panic");
            kept.push(Vec::new());
            kept.len() - 1
        };
        std::thread::spawn(move || {
            let mut buffer = [0; 1 << 16];
            while let Ok(length @ 1..) = client.read(&mut buffer) {
                kept.lock().expect("no panic")[number].extend_from_slice(&buffer[..length]);
                if server.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
        });
    }

    /// Records all bytes that this SDK sends, one connection after another.
    fn record(&self, sdk: &str) -> Vec<Vec<u8>> {
        let sandbox = Sandbox::new();
        let serving = sandbox.serve();
        *self.service.lock().expect("no panic") = Some(serving.address());
        let calls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/record_calls.py");
        let mut command = sandbox.program(python(sdk));
        command.arg(calls).env("FLYTECTL_CONFIG", "/dev/null").env("FLYTE_ADMIN_INSECURE", "true");
        command.env("FLYTE_ADMIN_ENDPOINT", format!("dns:///127.0.0.1:{PORT}"));
        let ran = Ran::from(command.output().expect("Python starts"));
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        std::mem::take(&mut *self.kept.lock().expect("no panic"))
    }
}

#[test]
#[ignore = "by hand: writes the fixtures, and needs a fixed port"]
fn by_hand_record_the_fixtures() {
    let tap = Tap::default();
    tap.listen(TcpListener::bind(("127.0.0.1", PORT)).expect("the port is free"));
    let newest = fixtures().join("newest");
    let _ = std::fs::remove_dir_all(fixtures());
    std::fs::create_dir_all(&newest).expect("made");
    let oldest = tap.record("oldest");
    assert_eq!(oldest.len(), 1, "the oldest made several connections");
    std::fs::write(fixtures().join("oldest.connection"), &oldest[0]).expect("written");
    let recorded = tap.record("newest").concat();
    let (mut rest, mut number) = (&recorded[..], 0);
    while !rest.is_empty() {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head") + 4;
        let head = String::from_utf8(rest[..end].to_vec()).expect("text");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("its length");
        let (request, next) = rest.split_at(end + length.parse::<usize>().expect("a number"));
        let method = head.split(' ').nth(1).and_then(|path| path.rsplit('/').next()).expect("a path");
        number += 1;
        std::fs::write(newest.join(format!("{number:02}-{method}.request")), request).expect("written");
        rest = next;
    }
}
