//! Large numbers: a vault with more scopes than a process may have open files, and a header of the maximum size.

#![allow(clippy::disallowed_methods, reason = "tests change files as any program could")]

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, secret_id};
use flyte_local::crypto::MAX_HEADER_BYTES;
use flyte_local::secret::{SecretType, SecretValue};

/// The number of projects. Each has a directory for itself and one for its domain.
const PROJECTS: usize = 300;

/// The limit on open files: far fewer than there are scopes.
const FILES: usize = 64;

#[test]
fn a_vault_with_more_scopes_than_allowed_open_files_is_read() {
    let sandbox = Sandbox::new();
    let mut vault = sandbox.open_vault();
    let value = SecretValue::new(b"a value".to_vec().into()).expect("small enough");
    let mut create = |place: &str| {
        vault
            .writer()
            .expect("writable")
            .create_secret(&secret_id(place), SecretType::Regular, &value)
            .expect("created")
    };
    for index in 0..PROJECTS {
        create(&format!("project/p{index}/s"));
        create(&format!("project/p{index}/domain/d/s"));
    }
    let limited = |arguments: &[&str]| {
        let mut command = sandbox.program("sh");
        command.args(["-c", &format!("ulimit -n {FILES} && exec \"$0\" \"$@\""), FLYTE_LOCAL]).args(arguments);
        Ran::from(command.output().expect("sh starts"))
    };
    let list = limited(&["get", "secret", "--output-format", "table-simple"]);
    assert_eq!((list.code, list.stderr.as_str()), (0, ""));
    assert_eq!(list.text().lines().count(), 1 + 2 * PROJECTS, "a heading and a line each");

    // The hint for a missing secret searches every scope too.
    let missing = limited(&["exec", "--secret", "s", "--", "true"]);
    assert_eq!(missing.code, 10, "{missing:?}");
    assert!(missing.stderr.contains("\n  it exists in: project p0; project p1; "), "{missing:?}");
    let one = limited(&["exec", "--secret", "s", "-p", "p7", "-d", "d", "--", "printenv", "S"]);
    assert_eq!((one.code, one.text().as_str()), (0, "a value\n"), "{one:?}");
}

#[test]
fn a_header_of_the_maximum_size_is_read_without_the_value() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "v"]);
    let (vault, id, file) = (sandbox.open_vault(), secret_id("org/s"), sandbox.secret_file("org/s"));
    let good = std::fs::read(&file).expect("there");
    let mac = good.windows(5).position(|window| window == b"\n--- ").expect("it has one") + 1;
    let header = mac + good[mac..].iter().position(|&byte| byte == b'\n').expect("its end") + 1;
    for (length, is_read) in [(MAX_HEADER_BYTES, true), (MAX_HEADER_BYTES + 1, false)] {
        // A stanza of another kind, which age clients ignore.
        let stanza = format!("-> x {}\n\n", "a".repeat(length - header - "-> x \n\n".len()));
        std::fs::write(&file, [&good[..mac], stanza.as_bytes(), &good[mac..]].concat()).expect("written");
        assert_eq!(vault.metadata(&id).is_ok(), is_read, "{length}");
    }
}
