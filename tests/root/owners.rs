//! Files that belong to other users and groups. Only root can give a file away.

#![allow(clippy::disallowed_methods, reason = "a test moves a vault")]

use crate::support::Sandbox;
use crate::support::permissions::{USER, chmod, mode, reachable_binary, run_the_hint, under};

/// Many systems give each user a private group, and a umask of 002 with it.
#[test]
#[ignore = "needs root: scripts/test"]
fn files_writable_by_the_users_private_group_are_accepted() {
    let sandbox = Sandbox::empty();
    let binary = reachable_binary(&sandbox);
    let run = |arguments: &[&str]| under("022", &sandbox, &binary, arguments);
    for arguments in [&["init"][..], &["create", "secret", "s", "value"]] {
        assert_eq!(run(arguments).code, 0, "{arguments:?}");
    }
    let reveal = ["get", "secret", "s", "--reveal"];
    for path in [sandbox.vault(), sandbox.vault().join("vault.toml"), sandbox.secret_file("org/s")] {
        let good = mode(&path);
        for (group, open, code) in [(USER, 0o020, 0), (USER, 0o002, 13), (USER + 1, 0, 0), (USER + 1, 0o020, 13)] {
            std::os::unix::fs::chown(&path, None, Some(group)).expect("root may");
            chmod(&path, good | open);
            let ran = run(&reveal);
            assert_eq!(ran.code, code, "{} {group} {open:o}: {ran:?}", path.display());
        }
        chmod(&path, good);
    }
}

/// The entries of an access control list are hidden behind the permissions of the group.
#[test]
#[ignore = "needs root: scripts/test"]
fn a_user_of_an_access_control_list_is_not_hidden_by_the_users_private_group() {
    const OTHER: u16 = 4242;
    let sandbox = Sandbox::empty();
    let binary = reachable_binary(&sandbox);
    let run = |arguments: &[&str]| under("022", &sandbox, &binary, arguments);
    assert_eq!(run(&["init"]).code, 0);
    let manifest = sandbox.vault().join("vault.toml");
    chmod(&manifest, 0o660);
    assert_eq!(run(&["get", "secret"]).code, 0);
    // Version 2; each entry has a tag, permissions and a number: owner, another user, group, mask, others.
    let none = [0xff; 4];
    let other = [OTHER.to_le_bytes(), [0, 0]].concat();
    let entry = |tag: u8, may: u8, number: &[u8]| [&[tag, 0, may, 0], number].concat();
    let entries =
        [entry(1, 6, &none), entry(2, 6, &other), entry(4, 0, &none), entry(16, 6, &none), entry(32, 0, &none)];
    let list = [vec![2, 0, 0, 0], entries.concat()].concat();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&manifest, "system.posix_acl_access", &list, flags).expect("the file system has such lists");
    let ran = run(&["get", "secret"]);
    assert_eq!((ran.code, mode(&manifest)), (13, 0o660), "{ran:?}");
    assert!(ran.stderr.contains("others can write to it"), "{ran:?}");
}

#[test]
#[ignore = "needs root: scripts/test"]
fn files_of_other_users_are_refused_and_those_of_root_accepted() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    let org = sandbox.vault().join("secrets/org");
    for path in
        [sandbox.identity(), sandbox.vault(), sandbox.vault().join("vault.toml"), org, sandbox.secret_file("org/s")]
    {
        std::os::unix::fs::chown(&path, Some(65533), None).expect("root may");
        let ran = sandbox.run(&["get", "secret", "s", "--reveal"]);
        assert_eq!(ran.code, 13, "{}: {ran:?}", path.display());
        assert!(ran.stderr.contains("it belongs to another user (number 65533)"), "{ran:?}");
        run_the_hint(&sandbox, &ran, ": sudo chown ");
        assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"value", "{}", path.display());
    }

    // A vault of root that all may read, and the user's own identity. In the user namespace, root appears as an unknown user.
    let (mut unvisited, shared) = (vec![sandbox.vault()], sandbox.work().join("shared"));
    while let Some(path) = unvisited.pop() {
        chmod(&path, if path.is_dir() { 0o755 } else { 0o644 });
        if path.is_dir() {
            unvisited.extend(path.read_dir().expect("listed").map(|entry| entry.expect("listed").path()));
        }
    }
    std::fs::rename(sandbox.vault(), &shared).expect("moved");
    let own = [".config", ".config/flyte-local", ".local", ".local/state", ".local/state/flyte-local"];
    let own = own.map(|path| sandbox.home().join(path)).into_iter().chain([sandbox.identity()]);
    for path in own {
        std::os::unix::fs::chown(path, Some(USER), Some(USER)).expect("root may");
    }
    // The user accepted the vault.
    let mut unvisited = vec![sandbox.state()];
    while let Some(path) = unvisited.pop() {
        std::os::unix::fs::chown(&path, Some(USER), Some(USER)).expect("root may");
        if path.is_dir() {
            unvisited.extend(path.read_dir().expect("listed").map(|entry| entry.expect("listed").path()));
        }
    }
    let binary = reachable_binary(&sandbox);
    let vault = ["--vault", "shared"];
    for arguments in
        [&["get", "secret", "s", "--reveal"][..], &["exec", "--mount", "s", "--", "cat", "/etc/flyte/secrets/s"]]
    {
        let ran = under("022", &sandbox, &binary, &[&vault, arguments].concat());
        assert_eq!((ran.code, ran.text().as_str()), (0, "value"), "{arguments:?}: {ran:?}");
    }
    let ran = under("022", &sandbox, &binary, &[&vault[..], &["update", "secret", "s", "new"]].concat());
    assert_eq!(ran.code, 1, "the user cannot write to it: {ran:?}");
}
