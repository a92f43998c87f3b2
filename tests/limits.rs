//! What is many: a vault with more scopes than a process may have files open.

mod support;

use flyte_local::secret::{SecretType, SecretValue};
use support::{FLYTE_LOCAL, Ran, Sandbox, secret_id};

/// Each has a directory for itself and one for its domain.
const PROJECTS: usize = 300;

/// The most files that may be open: far fewer than there are scopes.
const FILES: usize = 64;

#[test]
fn a_vault_with_more_scopes_than_files_may_be_open_is_read() {
    let sandbox = Sandbox::new();
    let mut vault = sandbox.open_vault();
    let value = SecretValue::new(b"a value".to_vec().into()).expect("small enough");
    let mut create =
        |place: &str| vault.create_secret(&secret_id(place), SecretType::Regular, &value).expect("created");
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

    // The hint of a missing secret looks into every scope too.
    let missing = limited(&["exec", "--secret", "s", "--", "true"]);
    assert_eq!(missing.code, 10, "{missing:?}");
    assert!(missing.stderr.contains("\n  it exists in: project p0; project p1; "), "{missing:?}");
    let one = limited(&["exec", "--secret", "s", "-p", "p7", "-d", "d", "--", "printenv", "S"]);
    assert_eq!((one.code, one.text().as_str()), (0, "a value\n"), "{one:?}");
}
