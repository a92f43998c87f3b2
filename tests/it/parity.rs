//! The tables of `docs/cluster-parity.md` and `docs/threat-model.md`: every row names tests that exist, every suite of a run's
//! behaviour appears, and every promise has its row.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::collections::BTreeSet;
use std::path::Path;

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a readable file")
}

/// Returns the tests of a module of one of the test binaries: a file, or a directory of files.
fn tests_in(suite: &str) -> BTreeSet<String> {
    let mut text = String::new();
    for binary in ["it", "root", "memory"] {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(binary).join(suite);
        match std::fs::read_dir(&module) {
            Ok(files) => files.for_each(|file| text.push_str(&read(file.expect("listed").path()))),
            Err(_) => text.push_str(&std::fs::read_to_string(module.with_extension("rs")).unwrap_or_default()),
        }
    }
    let after = text.split("#[test]\n").skip(1);
    let names = after.filter_map(|rest| rest.lines().find_map(|line| line.strip_prefix("fn ")));
    names.filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())).collect()
}

/// Returns the rows of every table of a document, each as a list of cells, without the headings.
fn rows(document: &str) -> Vec<Vec<String>> {
    let text = read(document);
    let lines: Vec<&str> = text.lines().collect();
    let is_row = |line: &str| line.starts_with("| ");
    let is_heading = |index: usize| lines.get(index + 1).is_some_and(|next| next.starts_with("|---"));
    let rows = lines.iter().enumerate().filter(|(index, line)| is_row(line) && !is_heading(*index));
    rows.map(|(_, line)| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// Returns the `suite::test` words of a text.
fn named(text: &str) -> Vec<(String, String)> {
    let words = text.split('`').filter(|word| word.contains("::") && !word.contains(' '));
    words.filter_map(|word| word.split_once("::")).map(|(suite, test)| (suite.to_owned(), test.to_owned())).collect()
}

#[test]
fn every_row_is_complete_and_names_tests_that_exist() {
    let rows = rows("docs/cluster-parity.md");
    assert!(rows.len() > 30, "the tables were not found");
    for row in rows {
        let [cluster, local, tests, differs] = &row[..] else { panic!("not four cells: {row:?}") };
        assert!(!cluster.is_empty() && !local.is_empty() && !differs.is_empty(), "{row:?}");
        assert!(!named(tests).is_empty(), "no test is named: {row:?}");
        for (suite, test) in named(&row.join(" ")) {
            assert!(tests_in(&suite).contains(&test), "there is no test {suite}::{test}");
        }
    }
}

#[test]
fn every_promise_names_tests_that_exist() {
    let text = read("docs/threat-model.md");
    for (suite, test) in named(&text) {
        assert!(tests_in(&suite).contains(&test), "there is no test {suite}::{test}");
    }
    let promises = rows("docs/threat-model.md").into_iter().filter(|row| row[0].starts_with("**I"));
    for (index, row) in promises.clone().enumerate() {
        let [promise, how, tests, remains] = &row[..] else { panic!("not four cells: {row:?}") };
        assert!(promise.starts_with(&format!("**I{}** ", index + 1)), "{row:?}");
        assert!(!how.is_empty() && !remains.is_empty() && !named(tests).is_empty(), "{row:?}");
    }
    assert_eq!(promises.count(), 9);

    // Every table that says by which tests something is shown says it in each row.
    let mut shown = 0;
    for table in text.split("\n\n").filter(|paragraph| paragraph.starts_with("| ")) {
        let mut rows = table.lines().map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
        let heading = rows.next().expect("a heading");
        let Some(column) = heading.iter().position(|cell| *cell == "shown by") else { continue };
        for row in rows.skip(1) {
            assert_eq!(row.len(), heading.len(), "{row:?}");
            assert!(!named(row[column]).is_empty(), "no test is named: {row:?}");
            shown += 1;
        }
    }
    assert!(shown > 30, "the tables were not found");
}

#[test]
fn no_suite_of_a_run_is_left_out() {
    let text = read("docs/cluster-parity.md");
    let named: BTreeSet<String> = named(&text).into_iter().map(|(suite, _)| suite).collect();
    let tests = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it")).expect("listed");
    for entry in tests {
        let name = entry.expect("listed").file_name().into_string().expect("UTF-8");
        let Some(suite) = name.strip_suffix(".rs").filter(|suite| suite.starts_with("run_")) else { continue };
        assert!(named.contains(suite), "{suite} does not appear in a table");
    }
}
