//! Writes through `serve`, one after the other, while another process holds the vault's lock and clients give up.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::fs::File;

use crate::support::Sandbox;
use crate::support::http::{Connection, JSON, Serving, about, path, post, with_value};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

/// Starts a service that waits for the vault's lock longer than any test.
fn serve(sandbox: &Sandbox) -> Serving {
    let mut command = sandbox.command(&["serve", "--port", "0"]);
    command.env("FLYTE_LOCAL_LOCK_TIMEOUT", "3600");
    Serving::start(command, &sandbox.work())
}

/// Returns a request with a short deadline.
fn impatient(method: &str, json: &str) -> Vec<u8> {
    post(&path(method), &[&JSON[..], &[("Connect-Timeout-Ms", "100")]].concat(), json.as_bytes())
}

/// Locks a vault until the file is dropped.
fn lock(sandbox: &Sandbox) -> File {
    let file = File::options().read(true).write(true).open(sandbox.vault().join(".lock")).expect("there is one");
    flock(&file, FlockOperation::LockExclusive).expect("taken");
    file
}

#[test]
fn a_write_that_waits_for_the_lock_does_not_block_reads_and_is_dropped_at_its_deadline() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "known", "value"]);
    let serving = serve(&sandbox);
    let held = lock(&sandbox);
    let names: Vec<_> = (0..40).map(|number| format!("n{number}")).collect();
    for name in &names {
        let reply = serving.connect().ask(&impatient("CreateSecret", &with_value(name, "value")));
        assert_eq!(reply.code(), "deadline_exceeded");
        assert!(serving.connect().call("GetSecret", &about("known")).code().is_empty());
    }
    drop(held);
    // When this call is answered, those before it are over.
    assert_eq!(serving.connect().call("UpdateSecret", &with_value("known", "another")).code(), "");
    let written = names.iter().filter(|name| sandbox.run(&["get", "secret", name]).code == 0).count();
    assert!(written <= 1, "{written} abandoned writes were made");
    for name in &names {
        assert!(serving.log().contains(&format!("CreateSecret secret {name} (organization): canceled\n")), "{name}");
    }
}

#[test]
fn an_abandoned_write_does_not_replace_a_later_acknowledged_one() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "known", "value"]);
    let serving = serve(&sandbox);
    for round in 0..10 {
        let held = lock(&sandbox);
        for other in 0..3 {
            let given_up = impatient("UpdateSecret", &with_value("known", &format!("given up {round} {other}")));
            assert_eq!(serving.connect().ask(&given_up).code(), "deadline_exceeded");
        }
        let mut patient: Connection = serving.connect();
        let newest = format!("newest {round}");
        patient.send(&crate::support::http::call("UpdateSecret", &with_value("known", &newest)));
        drop(held);
        assert_eq!(patient.reply().expect("a reply").code(), "");
        assert_eq!(sandbox.ok(&["get", "secret", "known", "--reveal"]), newest.as_bytes());
    }
    assert_eq!(serving.end(Signal::TERM), 0);
}

#[test]
fn an_image_pull_secret_needs_a_fitting_value_and_scope() {
    let sandbox = Sandbox::new();
    let document = r#"{"auths":{"ghcr.io":{"auth":"bWU6aHVudGVyMg=="}}}"#;
    let serving = serve(&sandbox);
    let mut connection = serving.connect();
    let mut write = |method: &str, place: &str, value: &str| {
        let value = serde_json::to_string(value).expect("text");
        let kind = "SECRET_TYPE_IMAGE_PULL_SECRET";
        let json =
            format!(r#"{{"id":{{"name":"ghcr"{place}}},"secretSpec":{{"stringValue":{value},"type":"{kind}"}}}}"#);
        connection.call(method, &json)
    };
    for value in ["", "hunter2", "{}", r#"{"auths":{"hunter2":{}}}"#] {
        let refused = write("CreateSecret", "", value);
        assert_eq!(refused.code(), "invalid_argument", "{value}");
        assert!(!String::from_utf8_lossy(&refused.body).contains("hunter2"));
    }
    for place in [r#","project":"p""#, r#","domain":"d""#] {
        assert_eq!(write("CreateSecret", place, document).code(), "invalid_argument", "{place}");
    }
    assert_eq!(write("CreateSecret", "", document).code(), "");
    assert_eq!(write("UpdateSecret", "", "hunter2").code(), "invalid_argument");
    let other = document.replace("ghcr.io", "docker.io");
    assert_eq!(write("UpdateSecret", "", &other).code(), "");
    // An update without a type keeps the secret's type, and its value must fit that type.
    let mut update = |value: &str| connection.call("UpdateSecret", &with_value("ghcr", value)).code();
    assert_eq!(update("hunter2"), "invalid_argument");
    assert_eq!(update(&document.replace('"', "\\\"")), "");
    assert_eq!(sandbox.ok(&["get", "secret", "ghcr", "--reveal"]), document.as_bytes());
    sandbox.ok(&["create", "secret", "plain", "value"]);
    let json = r#"{"id":{"name":"plain"},"secretSpec":{"stringValue":"x","type":1}}"#;
    assert_eq!(connection.call("UpdateSecret", json).code(), "invalid_argument");
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn all_connections_are_refused_when_users_cannot_be_distinguished() {
    crate::support::require("unshare", "util-linux");
    let sandbox = Sandbox::new();
    // In a user namespace without mapped users, all of them have one number.
    let mut command = sandbox.program("unshare");
    command.args(["--user", crate::support::FLYTE_LOCAL, "serve", "--port", "0"]);
    let serving = Serving::start(command, &sandbox.work());
    let mut connection = serving.connect();
    connection.send(&crate::support::http::call("ListSecrets", "{}"));
    assert!(connection.ends());
    assert!(serving.log().contains("refused a connection of user 65534\n"), "{}", serving.log());
}
