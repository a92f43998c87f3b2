//! `flyte-local serve`, and requests to it without a client of Flyte's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Ran, Sandbox};

/// Where Flyte's services are.
pub const SECRETS: &str = "/flyteidl2.secret.SecretService";

/// One that runs on a port of its own, without a command.
pub struct Serving {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
    /// Where it listens, by what it printed.
    pub address: SocketAddr,
}

impl Serving {
    pub fn start(sandbox: &Sandbox) -> Self {
        let log = sandbox.home().join("serve.log");
        let stderr = std::fs::File::create(&log).expect("a file");
        let mut command = sandbox.command(&["serve", "--port", "0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("flyte-local starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it prints");
        let address = line.strip_prefix("dns:///").and_then(|address| address.trim_end().parse().ok());
        let address = address.unwrap_or_else(|| panic!("no endpoint: {line:?}"));
        Self { child, stdout, log, address }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("there is a log")
    }

    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).expect("it listens")
    }

    /// Sends these bytes, and reads all that comes until the other side ends.
    pub fn exchange(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("it listens");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        answer
    }

    /// Calls a method by a connection of its own.
    pub fn call(&self, path: &str, content_type: &str, body: &[u8]) -> Reply {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        Reply::all(&self.exchange(&[head.as_bytes(), body].concat())).pop().expect("one reply")
    }

    /// Waits for its end, which somebody has asked for. Its standard error is in the log.
    pub fn end(mut self) -> Ran {
        let mut stdout = Vec::new();
        self.stdout.read_to_end(&mut stdout).expect("it ends");
        let status = self.child.wait().expect("it ends");
        Ran::from(std::process::Output { status, stdout, stderr: self.log().into_bytes() })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A reply of HTTP/1.1.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    /// By their names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// Those in what a connection sent, all of them whole.
    pub fn all(mut bytes: &[u8]) -> Vec<Self> {
        let mut replies = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
            let head = std::str::from_utf8(&bytes[..end]).expect("text");
            let (first, lines) = head.split_once("\r\n").unwrap_or((head, ""));
            let status = first
                .split(' ')
                .nth(1)
                .and_then(|status| status.parse().ok())
                .unwrap_or_else(|| panic!("no status: {head:?}"));
            let header = |line: &str| {
                let (name, value) = line.split_once(": ").expect("a header");
                (name.to_ascii_lowercase(), value.to_owned())
            };
            let mut reply = Self { status, headers: lines.lines().map(header).collect(), body: Vec::new() };
            bytes = &bytes[end + 4..];
            if reply.header("transfer-encoding") == Some("chunked") {
                while let Some(chunk) = take_chunk(&mut bytes) {
                    reply.body.extend_from_slice(chunk);
                }
            } else {
                let length = reply.header("content-length").map_or(0, |length| length.parse().expect("a number"));
                let (body, rest) = bytes.split_at(length);
                (reply.body, bytes) = (body.to_vec(), rest);
            }
            replies.push(reply);
        }
        replies
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// The next chunk of a body; `None` is the empty one at the end.
fn take_chunk<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = bytes.windows(2).position(|window| window == b"\r\n").expect("a chunk's size");
    let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
    let (chunk, rest) = bytes[end + 2..].split_at(size.expect("a chunk's size"));
    *bytes = rest.strip_prefix(b"\r\n").expect("a chunk's end");
    (!chunk.is_empty()).then_some(chunk)
}
