//! The limits, as the document's table states them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

static TABLE: LazyLock<BTreeMap<String, usize>> = LazyLock::new(|| {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/vault-format.md");
    let document = std::fs::read_to_string(path).expect("the format's document");
    let rows = document.lines().filter_map(|line| {
        let (what, limit) = line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | ")?;
        Some((what.to_owned(), limit.parse().ok()?))
    });
    rows.collect()
});

/// Returns the limit of this row of the table.
pub(super) fn limit(what: &str) -> usize {
    *TABLE.get(what).unwrap_or_else(|| panic!("the document has no limit for {what}"))
}
