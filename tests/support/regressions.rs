//! Small inputs that once went wrong, each with the right answer: `tests/regressions/AREA.toml`.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "Case: DeserializeOwned")]
struct Cases<Case> {
    case: Vec<Case>,
}

/// Reads the cases of an area. Each is a `[[case]]` table; at least one must be there.
pub fn regressions<Case: DeserializeOwned>(area: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions").join(format!("{area}.toml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let cases: Cases<Case> = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(!cases.case.is_empty(), "{} has no cases", path.display());
    cases.case
}
