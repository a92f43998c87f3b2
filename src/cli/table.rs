//! Lists. A row says once which columns it has for people and which members for programs; [`print`] does the rest.
//!
//! A pipe or a file gets every column and every cell whole. A terminal gets no line that is wider than itself: see
//! [`layout`].

mod cell;
mod layout;

use serde::Serialize;

use super::arguments::OutputFormat;
use super::error::CommandError;
use super::sanitize::{harmless, harmless_json};
use super::ui::{Screen, Ui};
pub(crate) use cell::{Cell, Column, Layout};
use layout::Grid;

/// A row of a list. Its members are documented in `docs/json-output.md`, which a test compares: an absent value's member is
/// left out.
pub(crate) trait Row: Serialize {
    const COLUMNS: &'static [Column];
    const LAYOUT: Layout = Layout::Headed;

    /// The cells below [`Row::COLUMNS`], as many as there are columns.
    fn cells(&self) -> Vec<Cell>;
}

/// Prints a list in the format that the user chose.
pub(crate) fn print<R: Row>(ui: &Ui, format: OutputFormat, rows: &[R]) -> Result<(), CommandError> {
    const TEXT: &str = "rows have texts for names";
    let text = match format {
        OutputFormat::Table => table(rows, true, ui.screen()),
        OutputFormat::TableSimple => table(rows, false, ui.screen()),
        OutputFormat::Json => harmless_json(&(serde_json::to_string_pretty(rows).expect(TEXT) + "\n")),
        OutputFormat::JsonRaw => harmless_json(&(serde_json::to_string(rows).expect(TEXT) + "\n")),
    };
    ui.data(text.as_bytes())
}

/// The list as a table; with a rule below the names of its columns, if `is_ruled`.
fn table<R: Row>(rows: &[R], is_ruled: bool, screen: Screen) -> String {
    // A cell may hold text from a file that others write.
    let safe = |text: String| harmless(&text).replace('\n', "\\n");
    let safe = |cell: Cell| Cell { text: safe(cell.text), short: cell.short.map(safe), color: cell.color };
    let cells = rows.iter().map(|row| row.cells().into_iter().map(safe).collect()).collect();
    let mut grid = Grid::new(R::COLUMNS, R::LAYOUT, cells);
    let Some(columns) = screen.columns else { return grid.render(is_ruled, screen.color) };
    if grid.fit(columns) { grid.render(is_ruled, screen.color) } else { grid.stack(columns, screen.color) }
}
