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

/// The most bytes that Linux takes of one variable, with its name, `=` and the zero byte at its end.
#[cfg(target_os = "linux")]
const MOST_VARIABLE_BYTES: usize = 128 << 10;

#[cfg(target_os = "linux")]
#[test]
fn a_value_too_large_for_a_variable_is_named_with_the_way_to_mount_it() {
    let sandbox = Sandbox::new();
    sandbox.secret("small", "a value", &[]);
    let most = MOST_VARIABLE_BYTES - "LARGE=\0".len();
    for (bytes, is_started) in [(most, true), (most + 1, false), (1 << 20, false)] {
        let _ = sandbox.run(&["delete", "secret", "large"]);
        sandbox.secret("large", vec![b'x'; bytes], &[]);
        for options in [&["--secret=small", "--secret=large"][..], &["--all"], &["--all", "--mask"]] {
            let ran = sandbox.run(&[&["exec"], options, &["--", "true"]].concat());
            if is_started {
                assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{bytes} {options:?}");
                continue;
            }
            let said = format!(
                "error: secret large cannot become the variable LARGE: it has {bytes} bytes\n\
                 caused by: the system starts no program with a variable of that size\n\
                 hint: mount it as a file: --mount large\n"
            );
            assert_eq!((ran.code, ran.stderr), (126, said), "{options:?}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn variables_that_are_too_large_together_name_the_largest_secret() {
    let sandbox = Sandbox::new();
    for index in 0..8 {
        sandbox.secret(&format!("s{index}"), vec![b'x'; 100_000 + index], &[]);
    }
    for mask in [&[][..], &["--mask"]] {
        // The system takes a quarter of the stack.
        let limited = |options: &[&str]| {
            let mut command = sandbox.program("sh");
            command.args(["-c", "ulimit -s 2048 && exec \"$0\" \"$@\"", FLYTE_LOCAL, "exec"]).args(options).args(mask);
            Ran::from(command.args(["--", "true"]).output().expect("sh starts"))
        };
        let ran = limited(&["--all"]);
        assert_eq!(ran.code, 126, "{ran:?}");
        let said = "caused by: the largest secret is s7, with 100007 bytes\nhint: mount it as a file: --mount s7\n";
        assert!(ran.stderr.ends_with(said), "{ran:?}");
        assert_eq!(limited(&["--secret=s0", "--secret=s1"]).code, 0);
    }
}
