//! Lists, as Flyte's own command prints them.

use serde_json::Value;

use super::arguments::OutputFormat;
use super::sanitize::{harmless, harmless_json};

/// A list in the format that the user chose: `columns` and `rows`, or `json`, which says the same.
pub(crate) fn formatted<const N: usize>(
    format: OutputFormat,
    columns: [&str; N],
    rows: &[[String; N]],
    json: &Value,
) -> String {
    match format {
        OutputFormat::Table => table(columns, rows, true),
        OutputFormat::TableSimple => table(columns, rows, false),
        OutputFormat::Json => harmless_json(&format!("{json:#}\n")),
        OutputFormat::JsonRaw => harmless_json(&format!("{json}\n")),
    }
}

/// Columns as wide as their widest cell; with a rule below their names, if `ruled`.
fn table<const N: usize>(columns: [&str; N], rows: &[[String; N]], ruled: bool) -> String {
    // A cell may hold what a file of others says.
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| harmless(cell).replace('\n', "\\n"))).collect();
    let mut widths = columns.map(width);
    for row in &rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut text = line(columns);
    if ruled {
        let rules = widths.map(|width| "─".repeat(width));
        text.push_str(&format!("{}\n", rules.join("  ")));
    }
    for row in &rows {
        text.push_str(&line(row.each_ref().map(String::as_str)));
    }
    text
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}
