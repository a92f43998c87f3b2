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

    /// Sends these bytes by a connection of their own; the reply.
    pub fn exchange(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("it listens");
        Reply::read(&mut BufReader::new(stream))
    }

    /// Calls a method.
    pub fn call(&self, path: &str, content_type: &str, body: &[u8]) -> Reply {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.exchange(&[head.as_bytes(), body].concat())
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
    /// The next one on a connection.
    pub fn read(from: &mut impl BufRead) -> Self {
        let line = |from: &mut dyn BufRead| {
            let mut line = String::new();
            from.read_line(&mut line).expect("it answers");
            line.strip_suffix("\r\n").unwrap_or_else(|| panic!("no whole line: {line:?}")).to_owned()
        };
        let take = |from: &mut dyn BufRead, length: usize| {
            let mut bytes = vec![0; length];
            from.read_exact(&mut bytes).expect("it answers");
            bytes
        };
        let first = line(from);
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {first:?}"));
        let mut reply = Self { status, headers: Vec::new(), body: Vec::new() };
        loop {
            let header = line(from);
            let Some((name, value)) = header.split_once(": ") else { break };
            reply.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&line(from), 16).expect("a chunk's size");
                reply.body.extend(take(from, size));
                assert_eq!(line(from), "", "a chunk's end");
                if size == 0 {
                    break;
                }
            }
        } else {
            let length = reply.header("content-length").map_or(0, |length| length.parse().expect("a number"));
            reply.body = take(from, length);
        }
        reply
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}
