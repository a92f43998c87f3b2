//! `flyte-local serve`, and a client for it that sends arbitrary bytes over TCP.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Ran, Sandbox};

/// Longer than the time limits of the service, which end connections that would wait for ever.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running service, which is ended when dropped.
pub struct Serving {
    child: Child,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
    log: PathBuf,
}

impl Sandbox {
    /// Starts `serve` on a free port, with its log in a file.
    pub fn serve(&self) -> Serving {
        Serving::start(self.command(&["serve", "--port", "0"]), &self.work())
    }
}

impl Serving {
    /// Starts a command that serves and prints its endpoint on standard output.
    pub fn start(mut command: Command, work: &Path) -> Self {
        let log = work.join("serve.log");
        let stderr = File::options().create(true).append(true).open(&log).expect("made");
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("it starts");
        let (mut stdout, mut line) = (BufReader::new(child.stdout.take().expect("piped")), String::new());
        stdout.read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("dns:///").and_then(|address| address.parse().ok());
        let said = || std::fs::read_to_string(&log).expect("text");
        let address = address.unwrap_or_else(|| panic!("no endpoint: {line} {}", said()));
        Self { child, stdout, address, log }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn connect(&self) -> Connection {
        Connection::to(self.address)
    }

    pub fn http2(&self) -> Http2 {
        Http2::to(self.address)
    }

    /// Returns the whole log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("text")
    }

    pub fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Returns the peak memory use, in KiB.
    pub fn most_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has it");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Returns the number of open file descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs").count()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).expect("it runs");
    }

    /// Waits for the process to end after a request to do so. The standard error of the result is the log.
    pub fn ended(mut self) -> Ran {
        let mut stdout = Vec::new();
        self.stdout.read_to_end(&mut stdout).expect("it ends");
        let status = self.child.wait().expect("ours");
        Ran::from(Output { status, stdout, stderr: self.log().into_bytes() })
    }

    /// Ends the process with this signal. Returns its exit code.
    pub fn end(self, signal: Signal) -> i32 {
        self.signal(signal);
        self.ended().code
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the path of a method.
pub fn path(method: &str) -> String {
    format!("/flyteidl2.secret.SecretService/{method}")
}

/// Returns a request with these headers and its length.
pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    [request.as_bytes(), b"\r\n", body].concat()
}

/// The headers of each request of the Connect protocol in JSON.
pub const JSON: [(&str, &str); 2] = [("Host", "localhost"), ("Content-Type", "application/json")];

/// Returns a call of the Connect protocol in JSON.
pub fn call(method: &str, json: &str) -> Vec<u8> {
    post(&path(method), &JSON, json.as_bytes())
}

/// Returns the JSON of a request to write a value.
pub fn with_value(name: &str, value: &str) -> String {
    format!(r#"{{"id":{{"name":"{name}"}},"secretSpec":{{"stringValue":"{value}"}}}}"#)
}

/// Returns the JSON of a request about a secret.
pub fn about(name: &str) -> String {
    format!(r#"{{"id":{{"name":"{name}"}}}}"#)
}

/// Encodes a field of a protobuf message that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let (mut head, mut rest) = (vec![number << 3 | 2], bytes.len());
    while rest >= 128 {
        head.push(u8::try_from(rest % 128 + 128).expect("a byte"));
        rest /= 128;
    }
    head.push(u8::try_from(rest).expect("a byte"));
    [&head, bytes].concat()
}

/// Returns the protobuf of a request to write a value.
pub fn message_with_value(name: &str, value: &[u8]) -> Vec<u8> {
    [field(1, &field(1, name.as_bytes())), field(2, &field(2, value))].concat()
}

/// Frames a message as gRPC does.
pub fn grpc(message: &[u8], is_gzip: bool) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("small").to_be_bytes();
    [&[u8::from(is_gzip)][..], &length, message].concat()
}

/// Sends a value to a service in every possible way, valid and malformed. Returns the names of the secrets that then have it.
pub fn send_everyhow(address: SocketAddr, value: &str) -> [&'static str; 6] {
    use base64::Engine;
    let gzipped = ("Content-Encoding", "gzip");
    let proto = [JSON[0], ("Content-Type", "application/proto")];
    let (create, update) = (path("CreateSecret"), path("UpdateSecret"));
    let json = |name: &str| with_value(name, value);
    let base64 = base64::engine::general_purpose::STANDARD.encode(value);
    let binary = format!(r#"{{"id":{{"name":"binary"}},"secretSpec":{{"binaryValue":"{base64}"}}}}"#);
    let message = |name: &str| message_with_value(name, value.as_bytes());
    let zipped = gzip(json("bad").as_bytes());
    let large = with_value("bad", &value.repeat((1 << 20) / value.len() + 1));
    let json_gzipped = [JSON[0], JSON[1], gzipped];
    let proto_gzipped = [proto[0], proto[1], gzipped];
    let requests = [
        (200, post(&create, &JSON, json("json").as_bytes())),
        (200, post(&update, &json_gzipped, &gzip(json("json").as_bytes()))),
        (200, post(&create, &JSON, binary.as_bytes())),
        (200, post(&create, &proto, &message("proto"))),
        (200, post(&create, &proto_gzipped, &gzip(&message("zipped")))),
        (409, post(&create, &JSON, json("json").as_bytes())),
        (404, post(&update, &proto, &message("missing"))),
        (400, post(&create, &JSON, json("a name").as_bytes())),
        (400, post(&create, &JSON, large.as_bytes())),
        (400, post(&create, &json_gzipped, &gzip(large.as_bytes()))),
        (400, post(&create, &json_gzipped, &zipped[..zipped.len() - 9])),
        (400, post(&create, &JSON, format!("{} {value}", json("bad")).as_bytes())),
        (400, post(&create, &proto, &message("bad")[..200])),
        (415, post(&create, &[JSON[0]], json("bad").as_bytes())),
        (403, post(&create, &[("Host", "evil.example"), JSON[1]], json("bad").as_bytes())),
        (404, post("/nothing", &JSON, json("bad").as_bytes())),
    ];
    let mut connection = Connection::to(address);
    for (index, (status, request)) in requests.iter().enumerate() {
        let reply = connection.ask(request);
        assert_eq!(reply.status, *status, "{index}: {reply:?}");
        assert!(!String::from_utf8_lossy(&reply.body).contains(&value[..20]), "{index}: {reply:?}");
        if *status == 403 || *status == 415 {
            // The service may not read the rest of the body.
            connection = Connection::to(address);
        }
    }
    // A request that is cut off.
    let mut half = Connection::to(address);
    half.send(&requests[0].1[..requests[0].1.len() / 2]);
    drop(half);
    let mut http2 = Http2::to(address);
    let grpc_headers = [("content-type", "application/grpc"), ("te", "trailers")];
    for (name, is_gzip) in [("grpc", false), ("grpc-gzip", true), ("a name", true)] {
        let message = if is_gzip { gzip(&message(name)) } else { message(name) };
        let encoding = [("grpc-encoding", if is_gzip { "gzip" } else { "identity" })];
        let headers = [&grpc_headers[..], &encoding].concat();
        let stream = http2.post("localhost", &create, &headers, &grpc(&message, is_gzip));
        http2.reply(stream).expect("a reply");
    }
    ["json", "binary", "proto", "zipped", "grpc", "grpc-gzip"]
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("in memory")
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(header, _)| header.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the Connect code of an error; empty for a success.
    pub fn code(&self) -> String {
        match self.status {
            200 => String::new(),
            _ if self.body.is_empty() => format!("HTTP {}", self.status),
            _ => self.json()["code"].as_str().expect("a code").to_owned(),
        }
    }
}

/// A connection of HTTP/1.1.
pub struct Connection {
    pub stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_nodelay(true).expect("ours");
        Self { stream, unread: Vec::new() }
    }

    /// Sends as much as the service takes.
    pub fn send(&mut self, bytes: &[u8]) {
        // The service may answer before it has read everything.
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a request and returns the reply.
    pub fn ask(&mut self, request: &[u8]) -> Reply {
        self.send(request);
        self.reply().expect("a reply")
    }

    /// Calls a method, in JSON.
    pub fn call(&mut self, method: &str, json: &str) -> Reply {
        self.ask(&call(method, json))
    }

    /// Returns the next reply; `None` if the connection ends before it is complete.
    pub fn reply(&mut self) -> Option<Reply> {
        const END: &[u8] = b"\r\n\r\n";
        let end = loop {
            match self.unread.windows(END.len()).position(|window| window == END) {
                Some(end) => break end,
                None => self.more()?,
            }
        };
        let head = String::from_utf8(self.unread.drain(..end + END.len()).collect()).expect("text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let mut reply = Reply { status, head, body: Vec::new() };
        reply.body = match reply.header("transfer-encoding") {
            Some(_) => self.chunks()?,
            None => self.take(reply.header("content-length").map_or(0, |length| length.parse().expect("a number")))?,
        };
        if reply.header("content-encoding").is_some() {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&reply.body[..]).read_to_end(&mut plain).expect("gzip");
            reply.body = plain;
        }
        Some(reply)
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let length = self.line()?;
            let chunk = self.take(usize::from_str_radix(&length, 16).expect("a length"))?;
            self.line()?;
            if chunk.is_empty() {
                return Some(body);
            }
            body.extend(chunk);
        }
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.unread.len() < length {
            self.more()?;
        }
        Some(self.unread.drain(..length).collect())
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|window| window == b"\r\n") {
                let line = self.take(end + 2)?;
                return Some(String::from_utf8(line[..end].to_vec()).expect("text"));
            }
            self.more()?;
        }
    }

    fn more(&mut self) -> Option<()> {
        let mut bytes = [0; 1 << 16];
        match self.stream.read(&mut bytes) {
            Ok(0) => None,
            Ok(read) => {
                self.unread.extend_from_slice(&bytes[..read]);
                Some(())
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no reply and no end of the connection: {error}"),
        }
    }

    /// Returns true if the connection ends without another byte.
    pub fn ends(&mut self) -> bool {
        self.unread.is_empty() && self.more().is_none()
    }
}

/// A connection of HTTP/2, whose handshake is only the preface. It sends without compression.
pub struct Http2 {
    connection: Connection,
    streams: u32,
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const GO_AWAY: u8 = 7;

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub ends: bool,
    pub stream: u32,
    pub content: Vec<u8>,
}

impl Http2 {
    pub fn to(address: SocketAddr) -> Self {
        let mut http2 = Self { connection: Connection::to(address), streams: 0 };
        http2.connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        http2.send(4, 0, 0, b"");
        http2
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, content: &[u8]) {
        let length = u32::try_from(content.len()).expect("small").to_be_bytes();
        let frame = [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat();
        self.connection.send(&frame);
    }

    /// Opens a stream with these headers. Returns its number.
    pub fn begin(&mut self, headers: &[(&str, &str)]) -> u32 {
        let stream = 2 * self.streams + 1;
        self.streams += 1;
        let block: Vec<u8> = headers.iter().flat_map(|(name, value)| literal(name, value)).collect();
        self.send(HEADERS, 4, stream, &block);
        stream
    }

    /// Sends a request. Returns the number of its stream.
    pub fn post(&mut self, authority: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> u32 {
        let own = [(":method", "POST"), (":scheme", "http"), (":authority", authority), (":path", path)];
        let stream = self.begin(&[&own, headers].concat());
        for chunk in body.chunks(1 << 14) {
            self.send(DATA, 0, stream, chunk);
        }
        self.send(DATA, 1, stream, b"");
        stream
    }

    /// Returns the next frame; `None` when the connection ends.
    pub fn frame(&mut self) -> Option<Frame> {
        let head = self.connection.take(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let ends = head[4] & 1 == 1 && matches!(head[3], DATA | HEADERS);
        Some(Frame { kind: head[3], ends, stream, content: self.connection.take(length)? })
    }

    /// Returns the reply on a stream: true if its status is 200, and its content.
    pub fn reply(&mut self, stream: u32) -> Option<(bool, Vec<u8>)> {
        /// `:status: 200`, from HPACK's static table.
        const OK: u8 = 0x88;
        let (mut is_ok, mut content) = (None, Vec::new());
        loop {
            let frame = self.frame()?;
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                HEADERS => is_ok = is_ok.or(Some(frame.content.contains(&OK))),
                DATA => content.extend(frame.content),
                RESET => return None,
                _ => {}
            }
            if frame.ends {
                return is_ok.map(|is_ok| (is_ok, content));
            }
        }
    }
}

/// Encodes a header in HPACK without any table.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let (mut bytes, length) = (Vec::new(), text.len());
        if length < 127 {
            bytes.push(u8::try_from(length).expect("small"));
        } else {
            bytes.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128 + 128).expect("a byte"));
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).expect("a byte"));
        }
        [&bytes, text.as_bytes()].concat()
    };
    [&[0][..], &text(name), &text(value)].concat()
}
