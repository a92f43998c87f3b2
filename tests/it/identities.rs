//! Sources of identities: the nearest level that sets any wins, and an error lists all that were tried.

#![allow(clippy::disallowed_methods, reason = "the rules on files are for the product")]

use std::path::Path;

use crate::support::identities::private;
use crate::support::{Ran, Sandbox};
use flyte_local::crypto::Identity;

const READ: [&str; 4] = ["get", "secret", "s", "--reveal"];

/// A vault with a secret, whose identity is only in the file `right.txt` of the working directory. The file `wrong.txt` beside
/// it holds an identity that opens nothing.
fn two_identities() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "its value"]);
    std::fs::rename(sandbox.identity(), sandbox.work().join("right.txt")).expect("moved");
    let wrong = Identity::generate();
    private(&sandbox.file("wrong.txt", wrong.to_file("now").as_bytes()));
    (sandbox, wrong.recipient().to_string())
}

fn read_with(sandbox: &Sandbox, options: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = sandbox.command(&[options, &READ].concat());
    Ran::from(command.envs(variables.iter().copied()).output().expect("it starts"))
}

fn configure(sandbox: &Sandbox, text: &str) {
    let file = sandbox.file("config.toml", text);
    std::fs::rename(file, sandbox.identity().with_file_name("config.toml")).expect("moved");
}

fn content(path: &Path) -> String {
    std::fs::read_to_string(path).expect("text")
}

#[test]
fn the_nearest_level_that_names_an_identity_wins_and_within_it_all_are_tried() {
    const FILE: &str = "FLYTE_LOCAL_IDENTITY";
    const KEY: &str = "FLYTE_LOCAL_IDENTITY_KEY";
    let (sandbox, _) = two_identities();
    let (right, wrong) = (sandbox.work().join("right.txt"), sandbox.work().join("wrong.txt"));
    let keys = [content(&right), content(&wrong)];
    let [right_key, wrong_key] = [&*keys[0], &*keys[1]];
    let [right, wrong] = [right.to_str().expect("UTF-8"), wrong.to_str().expect("UTF-8")];
    let option = |file| vec!["--identity", file];
    // The options, the variables, the configured paths, and whether the secret opens.
    type Case<'a> = (Vec<&'a str>, Vec<(&'a str, &'a str)>, Option<&'a str>, bool);
    let cases: [Case<'_>; 14] = [
        (option(right), vec![(FILE, wrong), (KEY, wrong_key)], Some(wrong), true),
        (option(wrong), vec![(FILE, right), (KEY, right_key)], Some(right), false),
        ([option(wrong), option(right)].concat(), vec![], None, true),
        ([option(right), option(wrong)].concat(), vec![], None, true),
        ([option(wrong), option(wrong)].concat(), vec![], None, false),
        (vec![], vec![(FILE, right)], Some(wrong), true),
        (vec![], vec![(FILE, wrong)], Some(right), false),
        (vec![], vec![(KEY, right_key)], Some(wrong), true),
        (vec![], vec![(KEY, wrong_key)], Some(right), false),
        // The two variables are one level.
        (vec![], vec![(FILE, wrong), (KEY, right_key)], None, true),
        (vec![], vec![(FILE, right), (KEY, wrong_key)], None, true),
        // Empty variables set nothing.
        (vec![], vec![(FILE, ""), (KEY, "")], Some(right), true),
        (vec![], vec![], Some(right), true),
        (vec![], vec![], Some(wrong), false),
    ];
    // The default identity counts only if nothing else is set.
    for default in [None, Some(right_key), Some(wrong_key)] {
        for (options, variables, configured, opens) in &cases {
            let _ = std::fs::remove_file(sandbox.identity());
            if let Some(key) = default {
                let file = sandbox.file("default", key);
                private(&file);
                std::fs::rename(file, sandbox.identity()).expect("moved");
            }
            configure(&sandbox, &configured.map(|file| format!("identity = ['{file}']\n")).unwrap_or_default());
            let ran = read_with(&sandbox, options, variables);
            let what = format!("{options:?} {variables:?} {configured:?} {}", default.is_some());
            assert_eq!(ran.code, if *opens { 0 } else { 11 }, "{what}: {ran:?}");
            assert_eq!(ran.stdout == b"its value", *opens, "{what}");
        }
        configure(&sandbox, "");
        let code = match default {
            None => 10,
            Some(key) if key == right_key => 0,
            Some(_) => 11,
        };
        assert_eq!(read_with(&sandbox, &[], &[]).code, code);
    }
}

#[test]
fn the_configuration_takes_one_path_or_several_relative_to_itself() {
    let (sandbox, _) = two_identities();
    let directory = sandbox.identity().parent().expect("it has one").to_owned();
    std::fs::copy(sandbox.work().join("right.txt"), directory.join("key")).expect("copied");
    for (text, code) in [
        ("identity = 'key'", 0),
        ("identity = '~/work/right.txt'", 0),
        ("identity = ['~/work/wrong.txt', 'key']", 0),
        ("identity = '~/work/wrong.txt'", 11),
        // A named file must exist.
        ("identity = ['key', 'none']", 10),
        ("identity = []", 10),
        ("identity = 7", 1),
        ("identities = 'key'", 1),
    ] {
        configure(&sandbox, text);
        let ran = read_with(&sandbox, &[], &[]);
        assert_eq!(ran.code, code, "{text}: {ran:?}");
    }
}

#[test]
#[ignore = "needs OpenSSH: scripts/test"]
fn an_error_lists_each_identity_tried_and_what_the_file_needs() {
    let (sandbox, wrong) = two_identities();
    sandbox.ssh_key("ssh", &["ed25519"], "");
    sandbox.ssh_key("locked-ssh", &["ed25519"], "its passphrase");
    sandbox.locked_identity("locked.txt", "its passphrase");
    let files = ["wrong.txt", "ssh", "locked-ssh", "locked.txt"];
    let options: Vec<_> = files.iter().flat_map(|&file| ["--identity", file]).collect();
    let ran = read_with(&sandbox, &options, &[]);
    assert_eq!(ran.code, 11, "{ran:?}");
    let public = |key: &str| {
        content(&sandbox.work().join(format!("{key}.pub"))).split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    let owner = sandbox.open_vault().recipients()[0].key.clone();
    for line in [
        format!("caused by: tried wrong.txt, the identity of {wrong}"),
        format!("caused by: tried ssh, the identity of {}", public("ssh")),
        format!(
            "caused by: did not try locked-ssh, the identity of {}: it is locked, and the file needs another identity",
            public("locked-ssh")
        ),
        "caused by: could not unlock locked.txt: cannot ask for its passphrase: standard input is not a terminal"
            .to_owned(),
        "caused by: the file is encrypted to 1 X25519 key (age1…)".to_owned(),
        format!("  recipient of the vault: \"owner\" {owner}"),
        "hint: give it on a file descriptor: --passphrase-fd 3 3< <(your-password-manager)".to_owned(),
    ] {
        assert!(ran.stderr.lines().any(|said| said == line), "{line}: {ran:?}");
    }
    // An identity that was unlocked but does not open the secret is listed like the others.
    let ran = sandbox.with_passphrases(&["its passphrase"], &[&options[..], &READ].concat());
    let line = ran.stderr.lines().find(|line| line.contains("locked.txt")).unwrap_or_else(|| panic!("{ran:?}"));
    assert!(line.starts_with("caused by: tried locked.txt, the identity of age1"), "{ran:?}");
    assert!(!ran.stderr.contains("its passphrase"), "{ran:?}");
}

#[test]
#[ignore = "needs OpenSSH: scripts/test"]
fn init_uses_the_key_in_the_variable_and_children_do_not_inherit_it() {
    let sandbox = Sandbox::empty();
    let identity = Identity::generate();
    let key = identity.to_file("now");
    let with_key = |arguments: &[&str]| {
        Ran::from(sandbox.command(arguments).env("FLYTE_LOCAL_IDENTITY_KEY", &**key).output().expect("it starts"))
    };
    let made = with_key(&["init"]);
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.stderr.contains("identity: FLYTE_LOCAL_IDENTITY_KEY (it was there already)"), "{made:?}");
    assert!(!sandbox.identity().exists());
    assert_eq!(sandbox.open_vault().recipients()[0].key, identity.recipient());
    sandbox.ok(&["create", "secret", "s", "its value"]);
    assert_eq!(with_key(&READ).stdout, b"its value");
    let ran = with_key(&["exec", "--secret", "s", "--", "env"]);
    assert!(ran.text().contains("S=its value") && !ran.text().contains("AGE-SECRET-KEY"), "{ran:?}");
    // An OpenSSH key, of several lines; and a value that is not a key, which is not shown.
    sandbox.ssh_key("ssh", &["ed25519"], "");
    let ssh = content(&sandbox.work().join("ssh"));
    sandbox.ok(&["--vault", "other", "--identity", "ssh", "init"]);
    sandbox.ok(&["--vault", "other", "create", "secret", "s", "another"]);
    let ran = read_with(&sandbox, &["--vault", "other"], &[("FLYTE_LOCAL_IDENTITY_KEY", &ssh)]);
    assert_eq!(ran.stdout, b"another", "{ran:?}");
    let ran = read_with(&sandbox, &[], &[("FLYTE_LOCAL_IDENTITY_KEY", "hunter2")]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stderr.contains("FLYTE_LOCAL_IDENTITY_KEY is not an identity") && !ran.stderr.contains("hunter2"),
        "{ran:?}"
    );
}

#[test]
#[ignore = "needs OpenSSH: scripts/test"]
fn an_identity_that_others_can_read_or_that_lies_in_the_vault_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (sandbox, _) = two_identities();
    sandbox.ssh_key("ssh", &["ed25519"], "");
    sandbox.locked_identity("locked.txt", "its passphrase");
    for file in ["wrong.txt", "ssh", "locked.txt"] {
        let path = sandbox.work().join(file);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("ours");
        let options = ["--identity", "right.txt", "--identity", file];
        let ran = read_with(&sandbox, &options, &[]);
        assert_eq!(ran.code, 13, "{file}: {ran:?}");
        assert!(ran.stderr.contains(&format!("chmod 600 {file}")), "{file}: {ran:?}");
        private(&path);

        let inside = sandbox.vault().join(file);
        std::fs::copy(&path, &inside).expect("copied");
        let inside = inside.to_str().expect("UTF-8");
        let create = ["create", "secret", "t", "a value"];
        let ran = sandbox.run(&[&["--identity", "right.txt", "--identity", inside], &create[..]].concat());
        assert_eq!(ran.code, 2, "{file}: {ran:?}");
        configure(&sandbox, &format!("identity = ['~/work/right.txt', '{inside}']"));
        let ran = sandbox.run(&create);
        assert!(ran.code == 2 && ran.stderr.contains("would be inside the vault"), "{file}: {ran:?}");
        configure(&sandbox, "");
        std::fs::remove_file(inside).expect("there");
    }
}
