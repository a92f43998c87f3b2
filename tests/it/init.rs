//! Several `init`s at the same time. `tests/cmd/init*.txt` has the cases of a single one.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, secret_id};
use flyte_local::crypto::Identity;
use flyte_local::secret::{SecretType, SecretValue};

/// The number of processes at a time, and of rounds: an `init` rarely reads the identity before another has written it.
const PROCESSES: usize = 4;
const ROUNDS: usize = 25;

/// Starts an `init` for each of these vaults, as nearly at the same time as possible.
fn at_once(sandbox: &Sandbox, vaults: &[String]) -> Vec<Ran> {
    // Each waits for a line, so all have started before the first one proceeds.
    let start = |vault: &String| {
        let mut command = sandbox.program("sh");
        command.args(["-c", "read line && exec \"$0\" \"$@\" </dev/null", FLYTE_LOCAL, "--vault", vault, "init"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh starts")
    };
    let mut children: Vec<_> = vaults.iter().map(start).collect();
    for child in &mut children {
        child.stdin.take().expect("piped").write_all(b"go\n").expect("it reads");
    }
    children.into_iter().map(|child| Ran::from(child.wait_with_output().expect("it ends"))).collect()
}

#[test]
fn vaults_made_at_the_same_time_share_one_identity() {
    let vaults: Vec<_> = (0..PROCESSES).map(|index| format!("vault{index}")).collect();
    for round in 0..ROUNDS {
        let sandbox = Sandbox::empty();
        let all_ran = at_once(&sandbox, &vaults);
        let identities = sandbox.identities();
        let ours: Vec<_> = identities.iter().map(Identity::recipient).collect();
        assert_eq!(ours.len(), 1, "round {round}: exactly one identity was made");
        for (vault, ran) in vaults.iter().zip(&all_ran) {
            assert_eq!(ran.code, 0, "round {round}, {vault}: {ran:?}");
            let mut vault = sandbox.open_vault_at(&sandbox.work().join(vault));
            let recipients: Vec<_> = vault.recipients().iter().map(|recipient| recipient.key.clone()).collect();
            assert_eq!(recipients, ours, "round {round}, {}", vault.path().display());
            let (id, value) = (secret_id("org/s"), SecretValue::new(b"a value".to_vec().into()).expect("small enough"));
            vault.writer().expect("writable").create_secret(&id, SecretType::Regular, &value).expect("created");
            assert!(vault.value(&id, &identities).expect("it opens") == value, "round {round}");
        }
        // Exactly one says that it made the identity and asks the user to keep a copy.
        let made = all_ran.iter().filter(|ran| ran.stderr.contains("Keep a copy of the identity")).count();
        assert_eq!(made, 1, "round {round}: {all_ran:?}");
        let directory = sandbox.identity().parent().expect("it has one").read_dir().expect("listed");
        let files: BTreeSet<_> = directory.map(|entry| entry.expect("listed").file_name()).collect();
        assert_eq!(
            files,
            BTreeSet::from(["author.key".into(), "identity.txt".into()]),
            "round {round}: the other processes left files behind"
        );
    }
}
