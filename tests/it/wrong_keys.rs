//! Keys of kinds that flyte-local does not use: errors call them by their names and say what to do, and a file that also has
//! a good key can be used.

#![allow(clippy::disallowed_methods, reason = "tests write files as any program could")]

use std::os::unix::fs::PermissionsExt;

use crate::support::{Ran, Sandbox, regressions, require};
use serde::Deserialize;

/// A key of `tests/regressions/wrong_keys.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrongKey {
    why: String,
    text: String,
    recipient: String,
    #[serde(default)]
    recipient_hint: String,
    identity: String,
    #[serde(default)]
    identity_hint: String,
    #[serde(default = "malformed_author")]
    author: String,
    #[serde(default)]
    author_hint: String,
}

fn malformed_author() -> String {
    "--trust-author: not an author's key (flyteauthor1…)".to_owned()
}

/// The commands that take a name, and some also a public key.
const PLACES_OF_NAMES: [(&[&str], &str); 2] =
    [(&["delete", "recipient", "--"], ""), (&["update", "vault"], "--distrust-author=")];

const READ: [&str; 6] = ["--identity", "id.txt", "get", "secret", "s", "--reveal"];

/// A vault with the secret `s`, and the text of the identity that opens it.
fn with_secret() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "its value"]);
    let text = std::fs::read_to_string(sandbox.identity()).expect("there is one");
    let key = text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-1")).expect("a key").to_owned();
    (sandbox, key)
}

fn write_identity(sandbox: &Sandbox, text: &str) {
    let path = sandbox.file("id.txt", text);
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("ours");
}

/// Asserts what an error says, and that it shows nothing of the key but its kind.
fn assert_says(ran: &Ran, case: &WrongKey, says: &str, hint: &str) {
    let what = format!("{}: {ran:?}", case.why);
    assert!(ran.stderr.split("\nhint: ").next().is_some_and(|error| error.contains(says)), "{says}: {what}");
    let hints: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("hint: ")).collect();
    assert!(hint.is_empty() || hints.iter().any(|line| line.contains(hint)), "{hint}: {what}");
    let shown = ran.all();
    let whole = case.text.lines().any(|line| line.len() > 40 && shown.contains(line));
    assert!(!whole && !shown.to_lowercase().contains("hunter2"), "{what}");
}

#[test]
fn a_key_of_another_kind_is_called_by_its_name_as_recipient_and_as_identity() {
    let (sandbox, _) = with_secret();
    let vault = std::fs::read(sandbox.vault().join("vault.toml")).expect("there");
    for case in regressions::<WrongKey>("wrong_keys") {
        let ran = sandbox.run(&["create", "recipient", "--name", "bob", "--", case.text.trim()]);
        assert_eq!(ran.code, 2, "{}: {ran:?}", case.why);
        assert_says(&ran, &case, &case.recipient, &case.recipient_hint);

        sandbox.file("keys", &case.text);
        let ran = sandbox.run(&["create", "recipient", "--from-file", "keys", "--name", "bob"]);
        assert_eq!(ran.code, 2, "{}: {ran:?}", case.why);
        // A key in a file was never in the shell's history.
        let hint = case.recipient_hint.replace("shell's history", "may have seen this file");
        assert_says(&ran, &case, &case.recipient, &hint);
        assert!(!ran.stderr.contains("shell's history"), "{}: {ran:?}", case.why);

        write_identity(&sandbox, &case.text);
        let ran = sandbox.run(&READ);
        assert_eq!(ran.code, 1, "{}: {ran:?}", case.why);
        assert_says(&ran, &case, &case.identity, &case.identity_hint);
        // Nor is it an author's key, nor a name.
        let author = ["update", "vault", "--name", "bob", &format!("--trust-author={}", case.text.trim())];
        let ran = sandbox.run(&author);
        assert_eq!(ran.code, 2, "{}: {ran:?}", case.why);
        assert_says(&ran, &case, &case.author, &case.author_hint);
        let is_private = ["private key", "identity"].iter().any(|word| case.recipient.contains(word));
        for (place, option) in PLACES_OF_NAMES {
            let ran = sandbox.run(&[place, &[&format!("{option}{}", case.text.trim())]].concat());
            assert!([2, 10].contains(&ran.code), "{}: {ran:?}", case.why);
            let is_told = ran.stderr.contains("a private key is in the place of a name or a public key");
            assert_eq!(is_told && ran.code == 2, is_private, "{place:?} {}: {ran:?}", case.why);
            // A public key is a name like any other, and is repeated.
            if is_private {
                assert_says(&ran, &case, "", "shell's history");
            }
        }
        let variable = sandbox.command(&READ[2..]).env("FLYTE_LOCAL_IDENTITY_KEY", &case.text).output();
        assert_says(&Ran::from(variable.expect("it starts")), &case, &case.identity, "");
    }
    assert_eq!(std::fs::read(sandbox.vault().join("vault.toml")).ok(), Some(vault));
}

#[test]
fn a_key_of_another_kind_does_not_spoil_a_file_with_a_good_one() {
    let (sandbox, key) = with_secret();
    let other = flyte_local::crypto::Identity::generate().to_file("now");
    // A line or a block that is not a key of a known kind is an error in every file, as it is for age.
    let is_unknown = |case: &WrongKey| case.identity.starts_with("line ") || case.identity.ends_with("a known kind");
    let is_key = |case: &WrongKey| !is_unknown(case);
    for case in regressions::<WrongKey>("wrong_keys").into_iter().filter(is_key) {
        let foreign = case.text.trim();
        let both = [format!("# mine\n{key}\n{foreign}\n"), format!("{foreign}\n{key}\n")];
        // A file of PuTTY's ends where the file ends.
        let count = if foreign.starts_with("PuTTY") { 1 } else { 2 };
        for text in &both[..count] {
            write_identity(&sandbox, text);
            let ran = sandbox.run(&READ);
            assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (0, "its value", ""), "{}", case.why);
        }
        // The error names it where it may be the reason of a failure, and so does `check`.
        write_identity(&sandbox, &format!("{}\n{foreign}\n", other.trim_end()));
        let line = other.lines().count() + 1;
        let ran = sandbox.run(&READ);
        assert_eq!(ran.code, 11, "{}: {ran:?}", case.why);
        let told = format!("caused by: passed over line {line} of id.txt: {}", case.identity);
        assert!(ran.stderr.contains(&told), "{told}: {ran:?}");
        write_identity(&sandbox, &both[0]);
        let ran = sandbox.run(&["--identity", "id.txt", "check"]);
        assert_eq!(ran.code, 0, "{}: {ran:?}", case.why);
        let told = format!("id.txt; passed over line 3: {}", case.identity);
        assert!(ran.text().contains(&told), "{told}: {ran:?}");
    }
}

#[test]
#[ignore = "needs age: scripts/test"]
fn an_identity_in_several_forms_is_read_or_refused_as_by_stock_age() {
    require("age", "age");
    let (sandbox, key) = with_secret();
    let plain = sandbox.secret_file("org/s");
    let lower = key.to_ascii_lowercase();
    let mixed = format!("{}{}", &key[..40], key[40..].to_ascii_lowercase());
    for text in [
        format!("{key}\n"),
        format!("{key}\r\n"),
        format!("# comment\r\n\r\n{key}"),
        format!("{lower}\n"),
        format!("{mixed}\n"),
        format!("\u{feff}{key}\n"),
        format!("{key} # comment\n"),
        format!("{key}\nhunter2\n"),
        format!("{}\n", &key[..key.len() - 1]),
        "# comment\n".to_owned(),
        String::new(),
    ] {
        write_identity(&sandbox, &text);
        let mut age = sandbox.program("age");
        let theirs = Ran::from(age.args(["-d", "-i", "id.txt"]).arg(&plain).output().expect("age starts"));
        let ours = sandbox.run(&READ);
        let what = text.replace(&key, "KEY").replace(&lower, "key");
        assert_eq!(ours.code == 0, theirs.code == 0, "{what:?}: {ours:?} {theirs:?}");
        assert!(!ours.all().contains(&key[20..40]) && !ours.all().contains("hunter2"), "{what:?}: {ours:?}");
    }
}

#[test]
fn recipients_beside_keys_of_other_kinds_are_added_and_the_others_are_told() {
    let sandbox = Sandbox::new();
    let good = flyte_local::crypto::Identity::generate().recipient();
    let keys = format!(
        "age1yubikey1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5z5tpwxqergd3c8g7ruszzkhc85l\n\
         -----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENB\n-----END PGP PUBLIC KEY BLOCK-----\n{good}\n"
    );
    sandbox.file("keys", keys);
    let ran = sandbox.run(&["create", "recipient", "--from-file", "keys", "--name", "bob"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for told in [
        "skipped line 1 of keys: this is a recipient of the plugin age-plugin-yubikey",
        "skipped line 2 of keys: this is a PGP public key",
    ] {
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
    }
    assert!(sandbox.open_vault().recipients().iter().any(|known| known.key == good));
}

#[test]
#[ignore = "needs OpenSSH and OpenSSL: scripts/test"]
fn the_hints_for_public_keys_of_openssl_give_a_recipient() {
    require("openssl", "openssl");
    require("ssh-keygen", "openssh-client");
    let sandbox = Sandbox::new();
    let shell = |command: &str| {
        let ran = Ran::from(sandbox.program("sh").args(["-c", command]).output().expect("sh starts"));
        assert_eq!(ran.code, 0, "{command}: {ran:?}");
        ran.text()
    };
    shell("openssl genrsa -out key.pem 2048");
    shell("openssl rsa -in key.pem -pubout -out pkcs8.pem && openssl rsa -in key.pem -RSAPublicKey_out -out pkcs1.pem");
    shell("openssl req -new -x509 -key key.pem -subj /CN=test -out certificate.pem");
    shell("ssh-keygen -i -m PKCS8 -f pkcs8.pem > key.pub && ssh-keygen -e -f key.pub > ssh.com");
    for file in ["pkcs8.pem", "pkcs1.pem", "certificate.pem", "ssh.com"] {
        let ran = sandbox.run(&["create", "recipient", "--from-file", file, "--name", file]);
        assert_eq!(ran.code, 2, "{ran:?}");
        let hint = ran.stderr.lines().find_map(|line| line.strip_prefix("hint: ")).unwrap_or_default();
        let key = shell(hint.split_once(": ").expect("a command").1);
        assert_eq!(key, shell("cat key.pub"), "{hint}");
    }
}

#[test]
#[ignore = "needs OpenSSH and OpenSSL: scripts/test"]
fn the_hint_for_a_private_key_of_openssl_gives_an_identity_or_says_for_which_keys_it_is() {
    require("openssl", "openssl");
    require("ssh-keygen", "openssh-client");
    let (sandbox, _) = with_secret();
    let shell =
        |command: &str| Ran::from(sandbox.program("sh").args(["-c", command]).output().expect("sh starts")).code;
    let types = ["RSA -pkeyopt rsa_keygen_bits:2048", "ed25519", "X25519", "EC -pkeyopt ec_paramgen_curve:P-256"];
    for (kind, is_rsa) in types.into_iter().zip([true, false, false, false]) {
        assert_eq!(shell(&format!("umask 077; openssl genpkey -algorithm {kind} -out id.txt")), 0, "{kind}");
        let refused = sandbox.run(&READ);
        let hints: Vec<_> = refused.stderr.lines().filter_map(|line| line.strip_prefix("hint: ")).collect();
        let [convert, other] = hints[..] else { panic!("{kind}: {refused:?}") };
        let command = convert.strip_prefix("if it is an RSA key, convert it to the current format: ").expect(convert);
        assert!(other.starts_with("if it is of another type, create a new one: "), "{other}");
        let converted = shell(&format!("{command} -N ''")) == 0;
        // It is not a key of this vault's, and is read.
        assert_eq!(converted && sandbox.run(&READ).code == 11, is_rsa, "{kind}");
    }
}

#[test]
#[ignore = "needs OpenSSH: scripts/test"]
fn an_age_identity_and_an_openssh_key_in_one_file_are_both_used() {
    let (sandbox, key) = with_secret();
    let content = |name: &str| std::fs::read_to_string(sandbox.work().join(name)).expect("just made");
    sandbox.ssh_key("plain", &["ed25519"], "");
    sandbox.ssh_key("locked", &["ed25519"], "its passphrase");
    let (plain, locked) = (content("plain"), content("locked"));
    sandbox.ok(&["--vault", "other", "--identity", "plain", "init"]);
    sandbox.ok(&["--vault", "other", "create", "secret", "s", "another value"]);
    for text in [format!("{key}\n{plain}"), format!("{plain}{key}\n{locked}")] {
        write_identity(&sandbox, &text);
        assert_eq!(sandbox.ok(&READ), b"its value");
        assert_eq!(sandbox.ok(&[&["--vault", "other"], &READ[..]].concat()), b"another value");
    }
    let ran = sandbox.run(&["--identity", "id.txt", "check"]);
    let told = ": it holds a key with a passphrase, which must be in a separate file";
    assert!(ran.text().contains(told), "{ran:?}");
    // An identity in lower case is not ignored beside a key.
    write_identity(&sandbox, &format!("{}\n{plain}", key.to_ascii_lowercase()));
    let ran = sandbox.run(&READ);
    assert!(ran.code == 1 && ran.stderr.contains("line 1 is an age identity in lower case"), "{ran:?}");
}
