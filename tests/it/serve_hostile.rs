//! Hostile and broken clients of `serve`: their requests are refused, cost little and change nothing, and values in them are
//! not repeated. They send bytes over TCP, as any program can.

#![allow(clippy::disallowed_methods, reason = "tests read their own variables")]

use std::collections::BTreeSet;
use std::io::{Read, Write};

use crate::support::http::{GO_AWAY, JSON, RESET, Reply, Serving, about, call, gzip, path, post, with_value};
use crate::support::served::{MARKER, MOST_MEMORY, Served};
use crate::support::{FLYTE_LOCAL, Random, Sandbox, require, tally};
use rustix::process::Signal;

/// A value and its overhead, the limit in the documentation.
const MOST_BODY: usize = (1 << 20) + (64 << 10);

fn said(reply: &Reply) -> String {
    format!("{}{}", reply.head, String::from_utf8_lossy(&reply.body))
}

#[test]
fn the_service_listens_on_the_loopback_interface_alone() {
    let served = Served::new();
    let process = format!("/proc/{}", served.serving.process().as_raw_pid());
    let descriptors = std::fs::read_dir(format!("{process}/fd")).expect("listed");
    let sockets: BTreeSet<String> = descriptors
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    // The kernel's table: the local address is the second field, the state the fourth (0A listens), the socket the tenth.
    let mut listening = Vec::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let table = std::fs::read_to_string(format!("{process}/net/{table}")).unwrap_or_default();
        let rows = table.lines().skip(1).map(|row| row.split_whitespace().collect::<Vec<_>>());
        let open = rows.filter(|row| sockets.contains(row[9]) && (row[3] == "0A" || row[3] == "07"));
        listening.extend(open.map(|row| row[1].to_owned()));
    }
    // 127.0.0.1 in the byte order of the machine.
    let address = u32::from_ne_bytes([127, 0, 0, 1]);
    assert_eq!(listening, [format!("{address:08X}:{:04X}", served.serving.address().port())]);
    served.unharmed();
}

#[test]
fn requests_of_web_pages_are_refused_before_the_body_is_read() {
    let served = Served::new();
    let target = path("CreateSecret");
    let heads: &[(&str, &[&str])] = &[
        (&target, &["Host: evil.example"]),
        (&target, &["Host: 127.0.0.1.evil.example"]),
        (&target, &["Host: localhost.evil.example:30081"]),
        (&target, &["Host: 0.0.0.0"]),
        (&target, &["Host: [::ffff:127.0.0.1]"]),
        (&target, &["Host: "]),
        (&target, &["Host: evil.example@localhost"]),
        (&target, &["Host: localhost, evil.example"]),
        (&target, &[]),
        (&target, &["X-Forwarded-Host: localhost"]),
        (&target, &["Host: localhost", "Host: evil.example"]),
        (&target, &["Host: evil.example", "Host: localhost"]),
        (&target, &["Host: localhost", "Host: localhost"]),
        (&format!("http://evil.example{target}"), &["Host: localhost"]),
        (&format!("http://localhost@evil.example{target}"), &["Host: localhost"]),
        (&format!("http://localhost{target}"), &["Host: evil.example"]),
        (&target, &["Host: localhost", "Origin: http://localhost:30081"]),
        (&target, &["Host: localhost", "Origin: null"]),
        (&target, &["Host: localhost", "origin:"]),
        ("/", &["Host: localhost", "Origin: https://evil.example"]),
    ];
    for (target, lines) in heads {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        for verb in ["POST", "GET", "OPTIONS"] {
            // The promised body never comes.
            let request = format!(
                "{verb} {target} HTTP/1.1\r\n{lines}Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
            );
            let reply = served.serving.connect().ask(request.as_bytes());
            assert_eq!((reply.status, reply.code().as_str()), (403, "permission_denied"), "{request}");
            assert!(!reply.head.to_lowercase().contains("access-control"), "{reply:?}");
        }
    }
    // HTTP/1.0 does not require a Host header.
    let old = format!("POST {target} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}");
    assert_eq!(served.serving.connect().ask(old.as_bytes()).status, 403);
    let refused = 3 * heads.len() + 1;

    let body = with_value("new", MARKER);
    let json = ("content-type", "application/json");
    let headers: [(&str, &[(&str, &str)]); 4] = [
        ("evil.example", &[json]),
        ("localhost", &[json, ("host", "evil.example")]),
        ("localhost", &[json, ("origin", "http://localhost")]),
        ("", &[json]),
    ];
    for (authority, headers) in headers {
        let mut http2 = served.serving.http2();
        let stream = http2.post(authority, &target, headers, body.as_bytes());
        // A malformed authority may end the stream instead.
        let reply = http2.reply(stream);
        assert!(!reply.as_ref().is_some_and(|(is_ok, _)| *is_ok), "{authority} {headers:?}: {reply:?}");
    }
    let log = served.unharmed();
    // Each reason is logged once, because a page could fill the terminal.
    assert_eq!(log.matches("refused a request").count(), 3, "{log}");
    assert!(!log.contains("CreateSecret"), "{log}");
    tally(&format!("serve: {} requests of web pages refused", refused + headers.len()));
}

/// Returns a compression bomb: 1 MiB that unpacks to a gibibyte of zeros. Each mebibyte has the same compressed bytes.
fn bomb() -> Vec<u8> {
    let mut compressor = flate2::Compress::new(flate2::Compression::best(), false);
    let mut mebibyte = Vec::with_capacity(1 << 14);
    compressor.compress_vec(&[0; 1 << 20], &mut mebibyte, flate2::FlushCompress::Full).expect("in memory");
    assert_eq!(compressor.total_in(), 1 << 20);
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &mebibyte.repeat(1 << 10)].concat()
}

/// Sends a body in chunks of this many bytes.
fn chunked(headers: &[(&str, &str)], body: &[u8], size: usize) -> Vec<u8> {
    let mut request = format!("POST {} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", path("CreateSecret"));
    headers.iter().for_each(|(name, value)| request.push_str(&format!("{name}: {value}\r\n")));
    let mut request = [request.as_bytes(), b"\r\n"].concat();
    for chunk in body.chunks(size) {
        request.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    }
    [&request[..], b"0\r\n\r\n"].concat()
}

#[test]
fn an_invalid_body_is_refused_and_not_repeated() {
    let served = Served::new();
    let create = path("CreateSecret");
    let good = with_value("new", MARKER);
    let zipped = gzip(good.as_bytes());
    let header = |name, value| [JSON[0], JSON[1], (name, value)];
    let gzipped = header("Content-Encoding", "gzip");
    let proto = [JSON[0], ("Content-Type", "application/proto")];
    let large = good.replace(MARKER, &MARKER.repeat(MOST_BODY / MARKER.len()));
    let deep = format!(r#"{{"id":{}"{MARKER}"{}}}"#, r#"{"name":"#.repeat(50_000), "}".repeat(50_000));
    let arrays = format!(r#"{{"id":{}"{MARKER}"{}}}"#, "[".repeat(500_000), "]".repeat(500_000));
    let unknown = format!(r#"{{"id":{{"name":"new"}},"x":{}"{MARKER}"{}}}"#, "[".repeat(500_000), "]".repeat(500_000));
    let many = format!(
        r#"{{"perClusterTokens":{{{}}}}}"#,
        (0..40_000).map(|i| format!(r#""{i}":"{MARKER}""#)).collect::<Vec<_>>().join(",")
    );
    let bad_crc = [&zipped[..zipped.len() - 8], &[0; 8]].concat();
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("a bomb", "resource_exhausted", post(&create, &gzipped, &bomb())),
        ("too large", "resource_exhausted", post(&create, &JSON, large.as_bytes())),
        ("too large, in chunks", "resource_exhausted", chunked(&JSON, large.as_bytes(), 4096)),
        ("too large when unpacked", "resource_exhausted", post(&create, &gzipped, &gzip(large.as_bytes()))),
        ("gzip without its end", "invalid_argument", post(&create, &gzipped, &zipped[..zipped.len() - 9])),
        ("gzip with another sum", "invalid_argument", post(&create, &gzipped, &bad_crc)),
        ("no gzip", "invalid_argument", post(&create, &gzipped, good.as_bytes())),
        ("another encoding", "unimplemented", post(&create, &header("Content-Encoding", "br"), good.as_bytes())),
        ("two encodings", "unimplemented", post(&create, &header("Content-Encoding", "gzip, gzip"), &gzip(&zipped))),
        ("deep messages", "invalid_argument", post(&create, &JSON, deep.as_bytes())),
        ("deep arrays", "invalid_argument", post(&create, &JSON, arrays.as_bytes())),
        ("deep, and unknown", "invalid_argument", post(&create, &JSON, unknown.as_bytes())),
        ("many members", "", post(&path("ListSecrets"), &JSON, many.as_bytes())),
        ("half a document", "invalid_argument", post(&create, &JSON, &good.as_bytes()[..good.len() - 1])),
        ("two documents", "invalid_argument", post(&create, &JSON, format!("{good}{good}").as_bytes())),
        ("not UTF-8", "invalid_argument", post(&create, &JSON, &[good.as_bytes(), b"\xff"].concat())),
        (
            "no base64",
            "invalid_argument",
            post(&create, &JSON, good.replace("string", "binary").replace(MARKER, &format!("{MARKER}!")).as_bytes()),
        ),
        (
            "another type",
            "invalid_argument",
            post(&create, &JSON, good.replace(r#""new""#, &format!(r#"["{MARKER}"]"#)).as_bytes()),
        ),
        (
            "a value for a name",
            "invalid_argument",
            post(&create, &JSON, with_value(&format!("{MARKER}!"), MARKER).as_bytes()),
        ),
        (
            "a value for a project",
            "invalid_argument",
            post(&create, &JSON, good.replace(r#""new""#, &format!(r#""new","project":"../{MARKER}""#)).as_bytes()),
        ),
        (
            "a value for a type",
            "invalid_argument",
            post(&create, &JSON, good.replace("}}", &format!(r#","type":"{MARKER}"}}}}"#)).as_bytes()),
        ),
        ("no value", "invalid_argument", post(&create, &JSON, about("new").as_bytes())),
        ("nothing", "invalid_argument", post(&create, &JSON, b"{}")),
        ("no bytes", "invalid_argument", post(&create, &JSON, b"")),
        ("JSON for protobuf", "invalid_argument", post(&create, &proto, good.as_bytes())),
        ("no type of body", "HTTP 415", post(&create, &[JSON[0]], good.as_bytes())),
        (
            "a form",
            "HTTP 415",
            post(&create, &[JSON[0], ("Content-Type", "application/x-www-form-urlencoded")], good.as_bytes()),
        ),
        ("plain text", "HTTP 415", post(&create, &[JSON[0], ("Content-Type", "text/plain")], good.as_bytes())),
        (
            "another protocol",
            "invalid_argument",
            post(&create, &header("Connect-Protocol-Version", "2"), good.as_bytes()),
        ),
        ("what exists", "already_exists", post(&create, &JSON, with_value("s", MARKER).as_bytes())),
        ("what is missing", "not_found", post(&path("UpdateSecret"), &JSON, good.as_bytes())),
        ("an unknown method", "unimplemented", post(&path("ReadSecret"), &JSON, good.as_bytes())),
        ("an unknown service", "unimplemented", post("/flyteidl2.secret.Other/CreateSecret", &JSON, good.as_bytes())),
        ("no path", "unimplemented", post("/", &JSON, good.as_bytes())),
    ];
    let mut wrong = Vec::new();
    for (what, code, request) in &cases {
        let mut connection = served.serving.connect();
        let reply = connection.ask(request);
        if reply.code() != *code || said(&reply).contains(MARKER) {
            wrong.push(format!("{what}: not {code}: {}", said(&reply)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let memory = served.serving.most_memory();
    served.unharmed();
    tally(&format!("serve: {} bad requests refused, at most {} MiB in memory", cases.len(), memory >> 10));
}

#[test]
fn an_incomplete_body_has_no_effect() {
    let served = Served::new();
    let request = call("CreateSecret", &with_value("new", MARKER));
    let chunks = chunked(&JSON, with_value("new", MARKER).as_bytes(), 10);
    for request in [&request, &chunks] {
        for sent in (0..request.len()).step_by(3) {
            let mut connection = served.serving.connect();
            connection.send(&request[..sent]);
            connection.stream.shutdown(std::net::Shutdown::Write).expect("it is open");
            // The service may answer with an error, or not at all.
            let reply = connection.reply();
            assert!(reply.is_none_or(|reply| reply.status >= 400 && !said(&reply).contains(MARKER)), "{sent} bytes");
        }
    }
    for bad in ["zz\r\nx", "-1\r\nx", "ffffffffffffffffff\r\nx", "5;\nhello", "5\r\nhelloworld"] {
        let head =
            format!("POST {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n", path("CreateSecret"));
        let mut connection = served.serving.connect();
        connection.send(format!("{head}Content-Type: application/json\r\n\r\n{bad}").as_bytes());
        connection.stream.shutdown(std::net::Shutdown::Write).expect("it is open");
        assert!(connection.reply().is_none_or(|reply| reply.status >= 400), "{bad}");
    }
    served.unharmed();
}

#[test]
fn other_http_methods_do_nothing() {
    let served = Served::new();
    let create = path("CreateSecret");
    let body = with_value("new", MARKER);
    let query = format!("{create}?connect=v1&encoding=json&message={}", body.replace('"', "%22"));
    for verb in ["GET", "PUT", "OPTIONS", "HEAD", "DELETE", "PATCH", "TRACE", "CONNECT", "post", "QUERY"] {
        for target in [create.as_str(), "/", "*", &query] {
            let request = format!(
                "{verb} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let mut connection = served.serving.connect();
            connection.send(request.as_bytes());
            let mut reply = Vec::new();
            let _ = connection.stream.read_to_end(&mut reply);
            let reply = String::from_utf8(reply).expect("text");
            assert!(!reply.starts_with("HTTP/1.1 2") && !reply.contains(MARKER), "{request}: {reply}");
        }
    }
    served.unharmed();
}

#[test]
fn random_messages_do_no_harm() {
    let served = Served::new();
    let mut random = Random::seeded();
    let proto = [JSON[0], ("Content-Type", "application/proto")];
    // id { name: "new" }, secret_spec { string_value: MARKER }
    // A changed message may have the value in the place of a name, and the `!` makes it an invalid one.
    let value = format!("{MARKER}!");
    let spec = [&[0x0a, value.len() as u8][..], value.as_bytes()].concat();
    let good = [&[0x0a, 5, 0x0a, 3][..], b"new", &[0x12, spec.len() as u8], &spec].concat();
    let count = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 100_000 } else { 2_000 };
    let (mut connection, mut refused) = (served.serving.connect(), 0);
    for _ in 0..count {
        let mut message = good.clone();
        if random.below(4) == 0 {
            message = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
        } else {
            // Only the framing is changed, not the value or the name.
            for _ in 0..1 + random.below(3) {
                let at = [0, 1, 2, 3, 7, 8, 9, 10][random.below(8) as usize];
                message[at] = random.below(256) as u8;
            }
            message.truncate(random.below(message.len() as u64 + 30) as usize);
        }
        let method = ["CreateSecret", "UpdateSecret", "GetSecret", "ListSecrets"][random.below(4) as usize];
        let reply = connection.ask(&post(&path(method), &proto, &message));
        assert!([200, 400, 404, 409, 429].contains(&reply.status), "{message:?}: {reply:?}");
        assert!(!said(&reply).contains(MARKER), "{message:?}: {reply:?}");
        if reply.status == 200 && method == "CreateSecret" {
            // A message without a part of its beginning or end may still be valid.
            let listed = connection.call("ListSecrets", "{}").json();
            for secret in listed["secrets"].as_array().expect("a list") {
                let id = secret["id"].clone();
                if id["name"] != "s" {
                    let deleted = connection.call("DeleteSecret", &serde_json::json!({ "id": id }).to_string());
                    assert_eq!(deleted.status, 200, "{deleted:?}");
                }
            }
        }
        refused += usize::from(reply.status != 200);
    }
    assert_eq!(served.sandbox.run(&["check"]).code, 0);
    assert!(!served.serving.log().contains(MARKER));
    assert!(served.serving.most_memory() < MOST_MEMORY);
    tally(&format!("serve: {count} random messages, {refused} of them refused"));
}

#[test]
fn clients_that_close_at_once_do_no_harm() {
    let served = Served::new();
    let request = call("CreateSecret", &with_value("new", MARKER));
    for round in 0..200 {
        let mut connection = served.serving.connect();
        if round % 2 == 0 {
            rustix::net::sockopt::set_socket_linger(&connection.stream, Some(std::time::Duration::ZERO)).expect("ours");
        }
        connection.send(&request[..request.len() - 1]);
    }
    served.unharmed();
}

#[test]
fn short_connections_are_accepted_every_time() {
    let served = Served::new();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..500 {
                    assert_eq!(served.serving.connect().call("GetSecret", &about("s")).status, 200);
                }
            });
        }
    });
    let log = served.unharmed();
    assert!(!log.contains("refused"), "{log}");
}

#[test]
#[ignore = "needs strace: scripts/test"]
fn the_kernels_tables_name_a_connections_owner_when_netlink_fails() {
    require("strace", "strace");
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    // All sockets except the first, which listens. With -D, strace is not the parent of its tracee.
    let mut command = sandbox.program("strace");
    command.args(["-D", "-f", "-o", "trace", "-e", "trace=socket", "-e", "inject=socket:error=EACCES:when=2+"]);
    command.args([FLYTE_LOCAL, "serve", "--port=0"]);
    let serving = Serving::start(command, &sandbox.work());
    for _ in 0..5 {
        assert_eq!(serving.connect().call("GetSecret", &about("s")).status, 200);
    }
    assert_eq!(serving.end(Signal::TERM), 0);
    let trace = std::fs::read_to_string(sandbox.work().join("trace")).expect("strace wrote it");
    assert!(trace.contains("(INJECTED)"), "{trace}");
}

#[test]
fn the_sixty_fifth_connection_waits_for_its_turn() {
    let served = Served::new();
    let mut taken: Vec<_> = (0..64).map(|_| served.serving.connect()).collect();
    for connection in &mut taken {
        assert_eq!(connection.call("GetSecret", &about("s")).status, 200);
    }
    let mut waiting = served.serving.connect();
    waiting.send(&call("GetSecret", &about("s")));
    let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 300_000_000 };
    let mut events = [rustix::event::PollFd::new(&waiting.stream, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut events, Some(&timeout)).expect("polled"), 0, "it was not made to wait");
    for connection in &mut taken {
        assert_eq!(connection.call("GetSecret", &about("s")).status, 200, "it is served as before");
    }
    taken.pop();
    assert_eq!(waiting.reply().expect("it has its turn").status, 200);
    drop((taken, waiting));
    served.unharmed();
}

#[test]
fn a_requests_head_has_a_limit() {
    let served = Served::new();
    let start = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n", path("GetSecret"));
    let long = format!("{start}X: {}\r\n\r\n", MARKER.repeat(1 << 17));
    let many = format!("{start}{}\r\n", format!("X: {MARKER}\r\n").repeat(1 << 16));
    let target = format!("POST /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", MARKER.repeat(1 << 17));
    let endless = format!("POST {}", "x".repeat(1 << 20));
    for head in [long, many, target, endless] {
        let mut connection = served.serving.connect();
        connection.send(head.as_bytes());
        let reply = connection.reply();
        assert!(reply.is_none_or(|reply| (400..500).contains(&reply.status) && !said(&reply).contains(MARKER)));
    }
    let mut http2 = served.serving.http2();
    let half = "y".repeat(8_100);
    let json = ("content-type", "application/json");
    let stream =
        http2.post("localhost", &path("GetSecret"), &[json, ("x", &half), ("y", &half)], about("s").as_bytes());
    let reply = http2.reply(stream);
    assert!(!reply.is_some_and(|(is_ok, _)| is_ok));
    served.unharmed();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let served = Served::new();
    let mut connection = served.serving.connect();
    let names = ["s", "missing", "s", "a b"];
    let requests: Vec<u8> = (0..400).flat_map(|index| call("GetSecret", &about(names[index % names.len()]))).collect();
    let mut writer = connection.stream.try_clone().expect("a descriptor");
    std::thread::scope(|threads| {
        threads.spawn(move || writer.write_all(&requests).expect("all is read"));
        for index in 0..400 {
            let expected = ["", "not_found", "", "invalid_argument"][index % names.len()];
            assert_eq!(connection.reply().expect("a reply").code(), expected);
        }
    });
    // A request with two lengths is refused.
    for smuggled in ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 50"] {
        let mut connection = served.serving.connect();
        connection.send(format!("POST /x HTTP/1.1\r\nHost: localhost\r\n{smuggled}\r\n\r\n").as_bytes());
        connection.send(&[b"0\r\n\r\n", &call("CreateSecret", &with_value("new", MARKER))[..]].concat());
        let reply = connection.reply();
        assert!(reply.is_none_or(|reply| reply.status >= 400));
        assert!(connection.reply().is_none_or(|reply| reply.status >= 400), "a request within a request was served");
    }
    served.unharmed();
}

#[test]
fn the_streams_of_a_connection_are_limited() {
    let served = Served::new();
    let get = about("s");
    let json = [("content-type", "application/json")];
    // The service answers as many streams as it allows, and refuses the others as the protocol says, so that a client may retry.
    let mut http2 = served.serving.http2();
    let streams: Vec<u32> =
        (0..300).map(|_| http2.post("localhost", &path("GetSecret"), &json, get.as_bytes())).collect();
    let (mut answered, mut refused) = (BTreeSet::new(), BTreeSet::new());
    while answered.len() + refused.len() < streams.len() {
        let frame = http2.frame().expect("the connection stays");
        match frame.kind {
            // More frames may come for a stream that was refused.
            RESET => drop(refused.insert(frame.stream)),
            _ if frame.ends => drop(answered.insert(frame.stream)),
            _ => {}
        }
    }
    assert!(answered.len() >= 16, "{answered:?} answered, {refused:?} refused");

    // Streams that are opened and reset at once, repeatedly.
    let mut http2 = served.serving.http2();
    for _ in 0..20_000 {
        let own =
            [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", &path("GetSecret"))];
        let stream = http2.begin(&[&own[..], &json].concat());
        http2.send(RESET, 0, stream, &8u32.to_be_bytes());
    }
    let ended = std::iter::from_fn(|| http2.frame()).any(|frame| frame.kind == GO_AWAY);
    assert!(ended, "the connection stays open");

    // Frames of unknown or misplaced kinds, and a head that never ends.
    for (kind, flags, content) in [(HUGE_KIND, 0, vec![0; 100]), (1, 0, vec![0; 16_384]), (9, 0, vec![0; 16_384])] {
        let mut http2 = served.serving.http2();
        for _ in 0..200 {
            http2.send(kind, flags, 1, &content);
        }
        drop(http2);
    }
    served.unharmed();
    tally(&format!(
        "serve: 300 streams at once: {} answered, {} refused; 20,000 given up: ended",
        answered.len(),
        refused.len()
    ));
}

/// An undefined kind of frame.
const HUGE_KIND: u8 = 200;
