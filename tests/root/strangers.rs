//! Connections of other users to `serve`: refused before a byte is read.

#![allow(clippy::disallowed_methods, reason = "tests read their own variables")]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::support::http::{Connection, Http2, Serving, about, call, path, with_value};
use crate::support::served::{MARKER, Served};
use crate::support::{FLYTE_LOCAL, Ran, Sandbox, executable, require, test_path};
use rustix::process::Signal;

/// A user other than root and 65534, which stands for every unknown user.
const USER: u32 = 12345;

/// The port for the stranger, which is this test binary again.
const STRANGER: &str = "FLYTE_LOCAL_TEST_STRANGER";

#[test]
#[ignore = "a helper process of another test"]
fn helper_process_stranger() {
    let port: u16 = std::env::var(STRANGER).expect("the port to connect to").parse().expect("a number");
    let mapped = SocketAddr::new(IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()), port);
    for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), mapped] {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).expect("it listens");
            let _ = stream.write_all(&call("CreateSecret", &with_value("new", MARKER)));
            let mut reply = Vec::new();
            let _ = stream.read_to_end(&mut reply);
            assert!(reply.is_empty(), "{}", String::from_utf8_lossy(&reply));
        }
        // It keeps some connections open and silent.
        std::mem::forget((0..100).map(|_| TcpStream::connect(address)).collect::<Vec<_>>());
    }
    println!("refused");
}

/// Returns a command of another user, with a copy of the program that the user can reach.
fn as_other(sandbox: &Sandbox, program: &Path, arguments: &[&str]) -> Command {
    require("setpriv", "util-linux");
    let copy = sandbox.work().join(program.file_name().expect("a program"));
    if !copy.exists() {
        executable(&copy, std::fs::read(program).expect("a program"));
    }
    let mut command = sandbox.program("setpriv");
    command.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".to_owned()]);
    command.arg(copy).args(arguments);
    command
}

#[test]
#[ignore = "needs root: scripts/test"]
fn another_user_is_refused_before_a_byte() {
    let served = Served::new();
    let elsewhere = Sandbox::empty();
    std::os::unix::fs::chown(elsewhere.home(), Some(USER), Some(USER)).expect("root may");
    let this = std::env::current_exe().expect("this test");
    let mut command = as_other(
        &elsewhere,
        &this,
        &["--exact", &test_path(module_path!(), "helper_process_stranger"), "--ignored", "--nocapture"],
    );
    command.env(STRANGER, served.serving.address().port().to_string());
    // Meanwhile the service's own user holds all connections but one.
    let mut taken: Vec<Connection> = (0..63).map(|_| served.serving.connect()).collect();
    let ran = Ran::from(command.output().expect("it starts"));
    assert!(ran.code == 0 && ran.text().contains("refused\n"), "{ran:?}");
    for connection in &mut taken {
        assert_eq!(connection.call("GetSecret", &about("s")).status, 200);
    }
    drop(taken);
    let log = served.unharmed();
    assert_eq!(log.matches(&format!("refused a connection of user {USER}\n")).count(), 1, "reported once: {log}");
    assert!(!log.contains("CreateSecret"), "{log}");
}

#[test]
#[ignore = "needs root: scripts/test"]
fn root_is_refused_as_another_user() {
    let sandbox = Sandbox::empty();
    for path in [sandbox.home(), &sandbox.work()] {
        std::os::unix::fs::chown(path, Some(USER), Some(USER)).expect("root may");
    }
    let binary = Path::new(FLYTE_LOCAL);
    let made = as_other(&sandbox, binary, &["init"]).output().expect("it starts");
    assert!(made.status.success(), "{made:?}");
    let serving = Serving::start(as_other(&sandbox, binary, &["serve", "--port=0"]), &sandbox.work());
    for _ in 0..20 {
        let mut connection = serving.connect();
        connection.send(&call("CreateSecret", &with_value("new", MARKER)));
        assert!(connection.ends(), "root is answered");
    }
    let log = serving.log();
    assert_eq!(log.matches("refused a connection of user 0\n").count(), 1, "{log}");
    // The service's own user is accepted, with the same program.
    let this = std::env::current_exe().expect("this test");
    let mut own = as_other(
        &sandbox,
        &this,
        &["--exact", &test_path(module_path!(), "helper_process_own_user"), "--ignored", "--nocapture"],
    );
    let ran = Ran::from(own.env(STRANGER, serving.address().port().to_string()).output().expect("it starts"));
    assert!(ran.code == 0 && ran.text().contains("let in\n"), "{ran:?}");
    assert_eq!(serving.end(Signal::TERM), 0);
}

#[test]
#[ignore = "a helper process of another test"]
fn helper_process_own_user() {
    let port: u16 = std::env::var(STRANGER).expect("the port to connect to").parse().expect("a number");
    let mapped = SocketAddr::new(IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()), port);
    for (name, address) in [("four", SocketAddr::from((Ipv4Addr::LOCALHOST, port))), ("six", mapped)] {
        let reply = Connection::to(address).call("CreateSecret", &with_value(name, MARKER));
        assert_eq!(reply.status, 200, "{reply:?}");
        let mut http2 = Http2::to(address);
        let stream = http2.post(
            "localhost",
            &path("GetSecret"),
            &[("content-type", "application/json")],
            about(name).as_bytes(),
        );
        assert!(http2.reply(stream).is_some_and(|(is_ok, _)| is_ok));
    }
    println!("let in");
}
