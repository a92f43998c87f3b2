//! `unlock` and `lock`, with the kernel's keyring.

#![allow(clippy::disallowed_methods, reason = "the rules on files are for the product")]

use std::sync::MutexGuard;

use crate::support::identities::private;
use crate::support::terminal::answering;
use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require, until};
use flyte_local::keyring;

const PASSPHRASE: &str = "correct horse";
const READ: [&str; 4] = ["get", "secret", "s", "--reveal"];

/// A vault whose keys are removed from the keyring after the test, where they would stay for hours. Tests take turns, because `lock` removes every key.
struct Locked(Sandbox, #[expect(dead_code, reason = "it is held")] MutexGuard<'static, ()>);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.run(&["lock"]);
    }
}

impl std::ops::Deref for Locked {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.0
    }
}

/// Makes a vault with a secret, whose identity has a passphrase.
fn locked_vault() -> Locked {
    let guard = crate::support::keyring_turn();
    if let Err(error) = keyring::find("flyte-local:test") {
        panic!("these tests need a kernel that has keyrings, in a container that allows them: {error}");
    }
    let sandbox = Sandbox::new();
    sandbox.lock_identity(PASSPHRASE);
    sandbox.ok(&["create", "secret", "s", "its value"]);
    Locked(sandbox, guard)
}

fn unlock(sandbox: &Sandbox, more: &[&str]) {
    let ran = sandbox.with_passphrases(&[PASSPHRASE], &[&["unlock"], more].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn an_unlocked_identity_needs_no_passphrase_until_locked() {
    let sandbox = locked_vault();
    assert_eq!(sandbox.run(&READ).code, 11);
    let identity = sandbox.identity();
    let ran = sandbox.with_passphrases(&[PASSPHRASE], &["unlock"]);
    assert_eq!((ran.code, ran.stderr), (0, format!("unlocked {} for 8h\n", identity.display())));
    assert_eq!(sandbox.ok(&READ), b"its value");
    assert_eq!(sandbox.ok(&["exec", "--secret", "s", "--", "printenv", "S"]), b"its value\n");
    let shown = String::from_utf8(sandbox.ok(&["check"])).expect("UTF-8");
    assert!(shown.contains(&format!("{} (unlocked for 7h 59m)", identity.display())), "{shown}");
    // Again, without a prompt, for another time.
    let ran = sandbox.run(&["unlock", "--for", "30m"]);
    assert_eq!((ran.code, ran.stderr), (0, format!("unlocked {} for 30m\n", identity.display())));
    let shown = String::from_utf8(sandbox.ok(&["check"])).expect("UTF-8");
    assert!(shown.contains("(unlocked for 29m "), "{shown}");

    let ran = sandbox.run(&["lock"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "locked the identity that was unlocked\n"));
    assert_eq!(sandbox.run(&READ).code, 11);
    let ran = sandbox.run(&["lock"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "no identity was unlocked\n"));
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn unlocked_identities_are_tried_before_a_prompt() {
    let sandbox = locked_vault();
    unlock(&sandbox, &[]);
    sandbox.locked_identity("other", PASSPHRASE);
    let own = sandbox.identity();
    let both = [FLYTE_LOCAL, "--identity", "other", "--identity", own.to_str().expect("UTF-8")];
    for (arguments, shown) in
        [(&READ[..], "its value\r\n"), (&["exec", "--secret", "s", "--", "printenv", "S"], "its value\r\n")]
    {
        let session = answering(&sandbox, &[], &[&both[..], arguments].concat());
        assert_eq!((session.code, session.shown.as_str()), (0, shown));
    }
}

#[test]
fn it_is_locked_again_when_the_time_is_up() {
    let sandbox = locked_vault();
    unlock(&sandbox, &["--for", "1s"]);
    until("it is locked again", || sandbox.run(&READ).code == 11);
    let bytes = std::fs::read(sandbox.identity()).expect("there");
    let name = format!("flyte-local:{}", flyte_local::crypto::digest(&bytes));
    assert!(keyring::find(&name).expect("a keyring").is_none());
}

#[test]
fn lock_removes_the_key_of_a_deleted_file() {
    let sandbox = locked_vault();
    unlock(&sandbox, &[]);
    let before = std::fs::read(sandbox.identity()).expect("there");
    std::fs::remove_file(sandbox.identity()).expect("removed");
    assert_eq!(sandbox.run(&["lock"]).stderr, "locked the identity that was unlocked\n");
    let file = sandbox.file("before", before);
    private(&file);
    std::fs::rename(file, sandbox.identity()).expect("moved");
    assert_eq!(sandbox.run(&READ).code, 11);
}

/// The kernel's limit does not depend on the time that flyte-local stores with the key.
#[test]
fn the_kernel_limits_the_time_itself() {
    let _guard = crate::support::keyring_turn();
    let name = format!("flyte-local:test-{}", std::process::id());
    let has_it = || {
        let keys =
            std::fs::read_to_string("/proc/keys").expect("these tests read /proc/keys, which must not be hidden");
        keys.lines().any(|line| line.contains(&name) && !line.contains(" expd "))
    };
    keyring::keep(&name, b"payload", std::time::Duration::from_secs(1)).expect("a keyring");
    assert!(has_it(), "it is not there");
    until("the kernel drops it", || !has_it());
}

#[test]
fn a_changed_file_is_not_opened_with_the_stored_key() {
    let sandbox = locked_vault();
    unlock(&sandbox, &[]);
    let before = std::fs::read(sandbox.identity()).expect("there");
    let changed = sandbox.with_passphrases(&[PASSPHRASE, "another"], &["update", "identity", "--passphrase"]);
    assert_eq!(changed.code, 0, "{changed:?}");
    assert_eq!(sandbox.run(&READ).code, 11);
    let name = format!("flyte-local:{}", flyte_local::crypto::digest(&before));
    assert!(keyring::find(&name).expect("a keyring").is_none(), "the key is still in the keyring");
    // Nor a file that is copied there.
    let other = sandbox.locked_identity("other", PASSPHRASE);
    std::fs::copy(other, sandbox.identity()).expect("copied");
    assert_eq!(sandbox.run(&READ).code, 11);
}

#[test]
#[ignore = "needs OpenSSH: scripts/test"]
fn openssh_keys_can_be_unlocked_and_ones_without_a_passphrase_are_reported() {
    let sandbox = locked_vault();
    sandbox.ssh_key("ssh", &["ed25519"], PASSPHRASE);
    sandbox.ssh_key("open", &["ed25519"], "");
    let ours = ["--vault", "v", "--identity", "ssh", "--identity", "open"];
    // For the identity of the two that has a passphrase.
    sandbox.ok(&["--vault", "v", "--identity", "ssh", "init"]);
    sandbox.ok(&[&ours[..], &["create", "secret", "s", "its value"]].concat());
    assert_eq!(sandbox.run(&[&ours[..], &READ].concat()).code, 11);
    let ran = sandbox.with_passphrases(&[PASSPHRASE], &[&ours[..], &["unlock", "--for", "1h"]].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "unlocked ssh for 1h\n"));
    assert_eq!(sandbox.ok(&[&ours[..], &READ].concat()), b"its value");
    assert_eq!(sandbox.run(&["lock"]).stderr, "locked the identity that was unlocked\n");
    let ran = sandbox.run(&["--identity", "open", "unlock"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "no identity has a passphrase\n"));
}

#[test]
fn a_wrong_passphrase_or_time_unlocks_nothing() {
    let sandbox = locked_vault();
    let ran = sandbox.with_passphrases(&["another guess"], &["unlock"]);
    assert_eq!(ran.code, 11, "{ran:?}");
    for time in ["8", "8x", "8d", "0h", ""] {
        let ran = sandbox.with_passphrases(&[PASSPHRASE], &["unlock", "--for", time]);
        assert!(ran.code == 2 && ran.stderr.contains("a number and s, m, h or d"), "{time}: {ran:?}");
    }
    assert_eq!(sandbox.run(&["unlock"]).code, 11);
    assert_eq!(sandbox.run(&READ).code, 11);
}

/// The keyring's system calls fail as in a container that forbids it, and as on a kernel without one.
#[test]
#[ignore = "needs strace: scripts/test"]
fn only_unlock_and_lock_need_a_keyring() {
    require("strace", "strace");
    let sandbox = locked_vault();
    for error in ["EPERM", "ENOSYS"] {
        let without = |arguments: &[&str]| {
            let mut command = sandbox.program("strace");
            let inject = format!("inject=keyctl,add_key,request_key:error={error}");
            command.args(["-f", "-qq", "-o", "/dev/null", "-e", &inject, FLYTE_LOCAL]).args(arguments);
            let line = sandbox.file("line", format!("{PASSPHRASE}\n"));
            command.stdin(std::fs::File::open(line).expect("there"));
            Ran::from(command.output().expect("strace starts"))
        };
        for arguments in [&["--passphrase-fd", "0", "unlock"][..], &["lock"]] {
            let ran = without(arguments);
            assert_eq!(ran.code, 1, "{error} {arguments:?}: {ran:?}");
            assert!(ran.stderr.contains("no kernel keyring, or forbids it"), "{error}: {ran:?}");
            assert!(!ran.stderr.contains(PASSPHRASE), "{ran:?}");
        }
        let ran = without(&[&["--passphrase-fd", "0"], &READ[..]].concat());
        assert_eq!((ran.code, &ran.stdout[..]), (0, &b"its value"[..]), "{error}: {ran:?}");
    }
}
