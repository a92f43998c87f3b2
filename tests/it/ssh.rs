//! OpenSSH keys of each kind that `ssh-keygen` makes here: a vault made with a key is opened with it, also by stock age.

#![allow(clippy::disallowed_methods, reason = "the rules on files are for the product")]

use std::path::Path;

use crate::support::terminal::answering;
use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require, tally};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const PASSPHRASE: &str = "a passphrase";

/// Makes a vault with the key, and opens one of its secrets with flyte-local and with age.
fn opens(sandbox: &Sandbox, key: &str, passphrase: &str) {
    require("age", "age");
    let vault = format!("vault-{key}");
    let ours = ["--vault", &vault, "--identity", key];
    let made = sandbox.run(&[&ours[..], &["init"]].concat());
    assert_eq!(made.code, 0, "{key}: {made:?}");
    assert!(made.stderr.contains(&format!("identity: {key} (it was there already)")), "{key}: {made:?}");
    let public = std::fs::read_to_string(sandbox.work().join(format!("{key}.pub"))).expect("its public half");
    let public: Vec<_> = public.split_whitespace().take(2).collect();
    let manifest = std::fs::read_to_string(sandbox.work().join(&vault).join("vault.toml")).expect("there is one");
    assert!(manifest.contains(&public.join(" ")), "{key}: {manifest}");
    assert!(!sandbox.identity().exists(), "{key}: another identity was made");
    sandbox.ok(&[&ours[..], &["create", "secret", "s", "its value"]].concat());

    let read = [&ours[..], &["get", "secret", "s", "--reveal"]].concat();
    let ran = if passphrase.is_empty() { sandbox.run(&read) } else { sandbox.with_passphrases(&[passphrase], &read) };
    assert_eq!((ran.code, &ran.stdout[..]), (0, &b"its value"[..]), "{key}: {ran:?}");

    // Go's library, which age uses, supports no other ciphers.
    if ["aes128-ctr", "aes192-ctr", "aes256-gcm@openssh.com"].contains(&key) {
        return;
    }
    let file = format!("{vault}/secrets/org/s.age");
    let command = ["age", "-d", "-i", key, "-o", "opened", &file];
    let code = match passphrase {
        "" => Ran::from(sandbox.program("age").args(&command[1..]).output().expect("it starts")).code,
        _ => answering(sandbox, &[passphrase], &command).code,
    };
    assert_eq!(code, 0, "{key}: age does not open it");
    assert_eq!(std::fs::read(sandbox.work().join("opened")).expect("age wrote it"), b"its value", "{key}");
}

#[test]
#[ignore = "needs the Flyte SDKs, OpenSSH, Python and age: scripts/test"]
fn each_kind_of_key_opens_the_vault_that_was_made_with_it() {
    let sandbox = Sandbox::empty();
    let mut kinds = 0;
    let mut check = |key: &str, passphrase: &str| {
        opens(&sandbox, key, passphrase);
        kinds += 1;
    };
    for (key, passphrase) in [("ed25519", ""), ("ed25519-locked", PASSPHRASE)] {
        sandbox.ssh_key(key, &["ed25519"], passphrase);
        check(key, passphrase);
    }
    for cipher in ["aes256-cbc", "aes128-ctr", "aes192-ctr", "aes256-gcm@openssh.com"] {
        sandbox.ssh_key(cipher, &["ed25519", "-Z", cipher], PASSPHRASE);
        check(cipher, PASSPHRASE);
    }
    for bits in ["2048", "4096"] {
        let key = format!("rsa{bits}");
        sandbox.ssh_key(&key, &["rsa", "-b", bits], "");
        check(&key, "");
        let (pem, locked) = (format!("{key}-pem"), format!("{key}-locked"));
        for copy in [&pem, &locked] {
            for end in ["", ".pub"] {
                let (from, to) = (format!("{key}{end}"), format!("{copy}{end}"));
                std::fs::copy(sandbox.work().join(from), sandbox.work().join(to)).expect("copied");
            }
        }
        sandbox.ssh_keygen(&["-q", "-p", "-m", "PEM", "-P", "", "-N", "", "-f", &pem]);
        let text = std::fs::read_to_string(sandbox.work().join(&pem)).expect("there");
        assert!(text.starts_with("-----BEGIN RSA PRIVATE KEY-----"), "not the old format: {text}");
        check(&pem, "");
        sandbox.ssh_keygen(&["-q", "-p", "-P", "", "-N", PASSPHRASE, "-f", &locked]);
        check(&locked, PASSPHRASE);
    }
    tally(&format!("OpenSSH keys: {kinds} kinds, with and without a passphrase, open the vault made with them"));
}

/// Makes a key claim that trying its passphrase takes this many rounds.
fn ask_for_rounds(key: &Path, rounds: u32) {
    let text = std::fs::read_to_string(key).expect("there");
    let lines: Vec<_> = text.lines().collect();
    let mut file = STANDARD.decode(lines[1..lines.len() - 1].concat()).expect("base64");
    // The salt is 16 bytes long, and the rounds follow it.
    let start = b"bcrypt\0\0\0\x18\0\0\0\x10";
    let at = file.windows(start.len()).position(|window| window == start).expect("encrypted") + start.len() + 16;
    file[at..at + 4].copy_from_slice(&rounds.to_be_bytes());
    let (first, last) = (lines[0], lines[lines.len() - 1]);
    std::fs::write(key, format!("{first}\n{}\n{last}\n", STANDARD.encode(file))).expect("ours");
}

#[test]
#[ignore = "needs the Flyte SDKs, OpenSSH, Python and age: scripts/test"]
fn a_key_type_without_age_support_is_named_and_makes_no_vault() {
    let sandbox = Sandbox::empty();
    sandbox.ssh_key("ecdsa", &["ecdsa"], "");
    sandbox.ssh_key("ecdsa-locked", &["ecdsa"], PASSPHRASE);
    sandbox.ssh_key("rsa1024", &["rsa", "-b", "1024"], "");
    sandbox.ssh_key("rsa", &["rsa", "-b", "2048"], "");
    sandbox.ssh_keygen(&["-q", "-p", "-m", "PEM", "-P", "", "-N", PASSPHRASE, "-f", "rsa"]);
    sandbox.ssh_key("pkcs8", &["rsa", "-b", "2048", "-m", "PKCS8"], "");
    sandbox.ssh_key("cipher", &["ed25519", "-Z", "3des-cbc"], PASSPHRASE);
    // Others may read this file, which opens nothing in any case.
    std::fs::copy(sandbox.work().join("ecdsa.pub"), sandbox.work().join("closed")).expect("copied");
    crate::support::identities::private(&sandbox.work().join("closed"));
    sandbox.ssh_key("rounds", &["ed25519"], PASSPHRASE);
    ask_for_rounds(&sandbox.work().join("rounds"), 1 << 31);
    for (key, words, hint) in [
        ("ecdsa", "a key of type ecdsa-sha2-nistp256", "ssh-keygen -t ed25519"),
        ("ecdsa-locked", "a key of type ecdsa-sha2-nistp256", "ssh-keygen -t ed25519"),
        ("ecdsa.pub", "it holds a public key", "the one without .pub"),
        ("closed", "it holds a public key", "the one without .pub"),
        ("rsa1024", "this RSA key cannot be used: it has less than 2048 bits", ""),
        ("rsa", "the old format PEM, encrypted", "ssh-keygen -p -f rsa"),
        ("pkcs8", "the format PKCS#8", "ssh-keygen -p -f pkcs8"),
        ("cipher", "it is encrypted with 3des-cbc", "ssh-keygen -p -Z aes256-ctr -f cipher"),
        ("rounds", "takes 2147483648 rounds of bcrypt", "ssh-keygen -p -a 100 -f rounds"),
    ] {
        let ran = sandbox.run(&["--identity", key, "init"]);
        assert_eq!(ran.code, 1, "{key}: {ran:?}");
        assert!(ran.stderr.contains(words) && ran.stderr.contains(hint), "{key}: {ran:?}");
        assert!(!sandbox.vault().exists() && !sandbox.identity().exists(), "{key}");
    }
    // The hints work.
    for (command, key) in [
        (&["-q", "-p", "-P", PASSPHRASE, "-N", "", "-f", "rsa"][..], "rsa"),
        (&["-q", "-p", "-P", "", "-N", "", "-f", "pkcs8"], "pkcs8"),
        (&["-q", "-p", "-Z", "aes256-ctr", "-P", PASSPHRASE, "-N", "", "-f", "cipher"], "cipher"),
    ] {
        sandbox.ssh_keygen(command);
        opens(&sandbox, key, "");
    }
}

#[test]
#[ignore = "needs OpenSSH: scripts/test"]
fn the_hints_for_rotating_a_key_of_openssh_replace_it() {
    let sandbox = Sandbox::empty();
    sandbox.ssh_key("the key", &["ed25519"], "");
    let vault = ["--vault", "the vault", "--identity", "the key"];
    let read = |identity: &str| sandbox.run(&[&vault[..3], &[identity, "get", "secret", "s", "--reveal"]].concat());
    sandbox.ok(&[&vault[..], &["init"]].concat());
    sandbox.ok(&[&vault[..], &["create", "secret", "s", "a value"]].concat());
    let refused = sandbox.run(&[&vault[..], &["update", "identity", "--rotate"]].concat());
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(!refused.stderr.contains("ssh-keygen -p"), "{refused:?}");
    assert_eq!(sandbox.type_hint(&refused, "create identity").code, 0, "{refused:?}");
    let new = std::fs::read_to_string(sandbox.work().join("the key.new")).expect("just created");
    let key = new.lines().find_map(|line| line.strip_prefix("# public key: ")).expect("it has one");
    let stderr = refused.stderr.replace(" KEY ", &format!(" {key} ")).replace(" NAME", " me");
    let named = Ran { stderr, ..refused };
    assert_eq!(sandbox.type_hint(&named, "create recipient").code, 0, "{named:?}");
    assert_eq!(sandbox.type_hint(&named, "delete recipient").code, 0, "{named:?}");
    assert_eq!((read("the key.new").text().as_str(), read("the key").code), ("a value", 11));
}

#[test]
#[ignore = "needs OpenSSH: scripts/test"]
fn a_configured_key_makes_and_opens_a_vault() {
    let sandbox = Sandbox::empty();
    std::fs::create_dir_all(sandbox.home().join(".ssh")).expect("made");
    let directory = sandbox.identity().parent().expect("it has one").to_owned();
    std::fs::create_dir_all(&directory).expect("made");
    let configuration = sandbox.file("config.toml", "identity = \"~/.ssh/id_ed25519\"\n");
    std::fs::rename(configuration, directory.join("config.toml")).expect("moved");
    sandbox.ssh_key("../.ssh/id_ed25519", &["ed25519"], "");
    sandbox.ok(&["init"]);
    sandbox.ok(&["create", "secret", "s", "a value"]);
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"a value");
    assert!(!sandbox.identity().exists());
}

#[test]
#[ignore = "needs the Flyte SDKs, OpenSSH and Python: scripts/test"]
fn a_passphrase_prompt_appears_only_for_keys_that_may_open_the_file() {
    let sandbox = Sandbox::empty();
    for key in ["one", "two"] {
        sandbox.ssh_key(key, &["ed25519"], PASSPHRASE);
    }
    sandbox.ok(&["--identity", "two", "init"]);
    sandbox.ok(&["create", "secret", "s", "a value"]);
    let both = [FLYTE_LOCAL, "--identity", "one", "--identity", "two", "get", "secret", "s", "--reveal"];
    // The other key's passphrase is not requested: the file's header shows that the key does not open it.
    let session = answering(&sandbox, &[PASSPHRASE], &both);
    assert_eq!((session.code, session.shown.as_str()), (0, "passphrase of two: \r\na value\r\n"));
    let session = answering(&sandbox, &["another guess", PASSPHRASE], &both);
    assert_eq!(session.code, 0, "{session:?}");
}
