//! Stock age opens the files that we write, and keys made by stock age open our vaults, so there is no lock-in.

use std::path::Path;

use crate::support::{Ran, Sandbox, require, scope_options, secret_id};

/// Values that a careless reader or writer of text would change.
fn values() -> [(&'static str, Vec<u8>); 7] {
    [
        ("org/empty", Vec::new()),
        ("org/newline", b"\n".to_vec()),
        ("project/p/lines", b"first\r\nsecond\n\n".to_vec()),
        ("domain/d/nul", b"a\0b\0".to_vec()),
        ("project/p/domain/d/not_utf8", vec![0xff, 0xfe, 0x80, 0xc3]),
        ("org/chunk", vec![b'x'; 64 << 10]),
        ("org/mebibyte", (0..1_u32 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
    ]
}

fn age(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    require("age", "age");
    Ran::from(sandbox.program("age").args(arguments).output().expect("age starts"))
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Runs `flyte-local VERB secret NAME -p P -d D` with more arguments.
fn secret(sandbox: &Sandbox, verb: &str, place: &str, more: &[&str]) -> Ran {
    let name = secret_id(place).name.to_string();
    let mut arguments = vec![verb.to_owned(), "secret".to_owned(), name];
    arguments.extend(scope_options(place));
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    sandbox.run(&arguments)
}

#[test]
#[ignore = "needs age: scripts/test"]
fn age_prints_the_exact_bytes_of_every_secret() {
    let sandbox = Sandbox::new();
    let identity = sandbox.identity();
    for (place, bytes) in values() {
        let file = sandbox.file("value", &bytes);
        // Written twice, since an update replaces a file and a create does not.
        assert_eq!(secret(&sandbox, "create", place, &["--value", "before"]).code, 0);
        assert_eq!(secret(&sandbox, "update", place, &["--from-file", text(&file)]).code, 0);
        let decrypted = age(&sandbox, &["-d", "-i", text(&identity), text(&sandbox.secret_file(place))]);
        assert_eq!(decrypted.code, 0, "{place}: {}", decrypted.stderr);
        assert!(decrypted.stdout == bytes, "{place}: age printed something else");
        assert!(secret(&sandbox, "get", place, &["--reveal"]).stdout == bytes, "{place}: we printed something else");
    }
}

#[test]
#[ignore = "needs age: scripts/test"]
fn the_recipient_in_the_vault_is_the_one_age_keygen_derives() {
    require("age-keygen", "age");
    let sandbox = Sandbox::new();
    let output = sandbox.program("age-keygen").arg("-y").arg(sandbox.identity()).output().expect("age-keygen starts");
    let derived = Ran::from(output);
    assert_eq!(derived.code, 0, "{derived:?}");
    let manifest = std::fs::read_to_string(sandbox.vault().join("vault.toml")).expect("there is one");
    assert!(manifest.contains(&format!("key = \"{}\"\n", derived.text().trim_end())), "{manifest}\n{derived:?}");
}

#[test]
#[ignore = "needs age: scripts/test"]
fn an_identity_that_age_keygen_made_opens_the_vault_made_with_it() {
    require("age-keygen", "age");
    let sandbox = Sandbox::empty();
    let identity = sandbox.work().join("key.txt");
    let made = sandbox.program("age-keygen").arg("-o").arg(&identity).output().expect("age-keygen starts");
    assert!(made.status.success(), "{:?}", Ran::from(made));
    let before = std::fs::read(&identity).expect("it was made");

    let ours = ["--identity", text(&identity)];
    sandbox.ok(&[&ours[..], &["init"]].concat());
    assert!(!sandbox.identity().exists(), "init made another identity");
    assert_eq!(std::fs::read(&identity).expect("still there"), before, "init changed the identity");
    sandbox.ok(&["create", "secret", "s", "a value"]);
    assert_eq!(sandbox.ok(&[&ours[..], &["get", "secret", "s", "--reveal"]].concat()), b"a value");
    let decrypted = age(&sandbox, &["-d", "-i", text(&identity), text(&sandbox.secret_file("org/s"))]);
    assert_eq!((decrypted.code, &decrypted.stdout[..]), (0, &b"a value"[..]), "{decrypted:?}");
}

#[test]
#[ignore = "needs age: scripts/test"]
fn another_identity_opens_nothing() {
    let (sandbox, other) = (Sandbox::new(), Sandbox::new());
    sandbox.ok(&["create", "secret", "s", "a value"]);
    let ran = sandbox.run(&["--identity", text(&other.identity()), "get", "secret", "s", "--reveal"]);
    assert_eq!((ran.code, ran.stdout.len()), (11, 0), "{ran:?}");
    let decrypted = age(&sandbox, &["-d", "-i", text(&other.identity()), text(&sandbox.secret_file("org/s"))]);
    assert_ne!(decrypted.code, 0, "{decrypted:?}");
}

#[test]
#[ignore = "needs age: scripts/test"]
fn a_file_that_age_encrypted_to_the_vault_is_refused() {
    let sandbox = Sandbox::new();
    // This secret creates the directory of the scope.
    sandbox.ok(&["create", "secret", "ours", "a value"]);
    let recipient = sandbox.identities()[0].recipient().to_string();
    let (plain, file) = (sandbox.file("plain", "planted"), sandbox.secret_file("org/s"));
    for armor in [&[][..], &["--armor"]] {
        let encrypted = age(&sandbox, &[armor, &["-r", &recipient, "-o", text(&file), text(&plain)]].concat());
        assert_eq!(encrypted.code, 0, "{encrypted:?}");
        for arguments in [
            &["get", "secret"][..],
            &["get", "secret", "s"],
            &["get", "secret", "s", "--reveal"],
            &["update", "secret", "s", "new"],
        ] {
            let ran = sandbox.run(arguments);
            assert_eq!(ran.code, 13, "{armor:?} {arguments:?}: {ran:?}");
            assert!(!ran.all().contains("planted"), "{armor:?} {arguments:?}: {ran:?}");
            assert!(ran.stderr.contains(text(&file)), "{armor:?} {arguments:?}: {ran:?}");
        }
        assert_eq!(sandbox.ok(&["get", "secret", "ours", "--reveal"]), b"a value");
        sandbox.ok(&["delete", "secret", "s"]);
    }
}
