//! The table in `docs/cluster-parity.md` of every place in the SDK that takes a secret, compared with the installed SDKs
//! (`tests/python/secret_places.py`). A place that a new SDK adds fails the test until the table says what a run does with it.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::support::{SDKS, Sandbox, python};

/// Returns the places in an SDK, or in the package in this directory.
fn places(sdk: &str, package: Option<&Path>) -> BTreeSet<String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/secret_places.py");
    let mut command = Command::new(python(sdk));
    command.args([program.as_os_str()]).args(package.map(AsRef::<OsStr>::as_ref));
    let output = command.output().expect("Python starts");
    assert!(output.status.success(), "{sdk}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

/// Returns the places that the table names, in the first cell of its rows.
fn listed() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cluster-parity.md");
    let text = std::fs::read_to_string(path).expect("a readable file");
    let (_, section) = text.split_once("## Places that take a secret\n").expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let words: Vec<String> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect();
    let places: BTreeSet<String> = words.iter().cloned().collect();
    assert_eq!(places.len(), words.len(), "a place is listed twice: {words:?}");
    places
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_table_has_every_place_of_the_oldest_and_the_newest_sdk() {
    let listed = listed();
    let mut known = BTreeSet::new();
    for sdk in SDKS {
        let found = places(sdk, None);
        assert!(found.len() > 20, "{sdk}: {found:?}");
        let missing: Vec<_> = found.difference(&listed).collect();
        assert!(missing.is_empty(), "{sdk} takes secrets in places that the table lacks: {missing:?}");
        known.extend(found);
    }
    let gone: Vec<_> = listed.difference(&known).collect();
    assert!(gone.is_empty(), "no SDK has these places: {gone:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn every_spelling_of_a_place_is_found() {
    let sandbox = Sandbox::empty();
    let package = sandbox.file(
        "flyte/_new.py",
        "
from flyte import Secret
import flyte

def positional(a: Secret, /, b: 'list[Secret]', *, c: flyte.Secret | None = None, api_secret=None, other: str = ''): ...
async def several(*values: Secret, **others: 'SecretRequest') -> Secret: ...

class Field:
    value: 'Secret | None' = None
    password_secret: str
    secretary_of_nothing = 5
    if True:
        conditional: Secret

    def method(self, one: str) -> Secret:
        local: Secret = Secret('x')
        def inner(x: Secret): ...

class SecretRequestFactory:
    number: int
",
    );
    sandbox.file("flyte/_internal/passed.py", "def takes(secret): ...\n");
    let found = places("newest", package.parent());
    let expected = [
        "Field(conditional)",
        "Field(password_secret)",
        "Field(value)",
        "Field.method.inner(x)",
        "positional(a)",
        "positional(api_secret)",
        "positional(b)",
        "positional(c)",
        "several(others)",
        "several(values)",
    ];
    assert_eq!(found, expected.iter().map(|place| format!("flyte._new.{place}")).collect());
}
