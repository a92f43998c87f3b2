//! How a table fits a terminal. In this order: cells take their short forms, spare columns are left out, and cells are wrapped
//! within their columns, those of the last column first.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::cell::{Cell, Column, Layout};
use crate::cli::ui::{Color, paint};

const GAP: &str = "  ";

/// The last column is a sentence in most tables: it is wrapped first, but keeps a width in which it can be read.
const LEAST_OF_LAST: usize = 20;

/// The least width of the other columns. A terminal that is narrower than these breaks the lines itself.
const LEAST: usize = 8;

pub(super) struct Grid {
    names: Vec<&'static str>,
    is_spare: Vec<bool>,
    layout: Layout,
    rows: Vec<Vec<Cell>>,
    widths: Vec<usize>,
}

impl Grid {
    pub(super) fn new(columns: &[Column], layout: Layout, rows: Vec<Vec<Cell>>) -> Self {
        let names = columns.iter().map(|column| column.name).collect();
        let is_spare = columns.iter().map(|column| column.is_spare).collect();
        let mut grid = Self { names, is_spare, layout, rows, widths: Vec::new() };
        grid.measure();
        grid
    }

    /// Makes each column as wide as its name and its widest cell.
    fn measure(&mut self) {
        self.widths = self.names.iter().map(|name| name.width()).collect();
        for row in &self.rows {
            debug_assert_eq!(row.len(), self.names.len(), "a cell for each column");
            for (widest, cell) in self.widths.iter_mut().zip(row) {
                *widest = (*widest).max(cell.text.width());
            }
        }
    }

    fn width(&self) -> usize {
        self.widths.iter().sum::<usize>() + GAP.len() * self.widths.len().saturating_sub(1)
    }

    /// Makes the table no wider than `columns`. `false` where its cells belong below each other instead.
    pub(super) fn fit(&mut self, columns: usize) -> bool {
        if self.width() > columns {
            for cell in self.rows.iter_mut().flatten() {
                cell.text = cell.short.take().unwrap_or_else(|| std::mem::take(&mut cell.text));
            }
            self.measure();
        }
        while self.width() > columns
            && let Some(spare) = self.is_spare.iter().position(|is_spare| *is_spare)
        {
            self.names.remove(spare);
            self.is_spare.remove(spare);
            self.rows.iter_mut().for_each(|row| drop(row.remove(spare)));
            self.measure();
        }
        let is_too_wide = self.width() > columns;
        if is_too_wide && self.layout == Layout::Stacked {
            return false;
        }
        self.narrow(columns);
        true
    }

    /// Takes from the last column, and then from whichever is the widest.
    fn narrow(&mut self, columns: usize) {
        let excess = self.width().saturating_sub(columns);
        if let Some(last) = self.widths.last_mut() {
            *last = last.saturating_sub(excess).max(LEAST_OF_LAST.min(*last));
        }
        while self.width() > columns
            && let Some(widest) = self.widths.iter_mut().max()
            && *widest > LEAST
        {
            *widest -= 1;
        }
    }

    pub(super) fn render(&self, is_ruled: bool, color: bool) -> String {
        let mut text = String::new();
        if self.layout != Layout::Bare {
            let names: Vec<_> = self.names.iter().map(Cell::new).collect();
            text.push_str(&self.lines(&names, color));
            if is_ruled {
                let rules: Vec<_> = self.widths.iter().map(|width| "─".repeat(*width)).collect();
                text.push_str(&format!("{}\n", rules.join(GAP)));
            }
        }
        self.rows.iter().for_each(|row| text.push_str(&self.lines(row, color)));
        text
    }

    /// A row: one line, or as many as its tallest cell has.
    fn lines(&self, row: &[Cell], color: bool) -> String {
        let cells: Vec<_> = row.iter().zip(&self.widths).map(|(cell, width)| wrapped(&cell.text, *width)).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or_default();
        let mut text = String::new();
        for index in 0..height {
            let mut line = String::new();
            for ((cell, lines), width) in row.iter().zip(&cells).zip(&self.widths) {
                let part = lines.get(index).map_or("", String::as_str);
                line.push_str(&painted(cell.color.filter(|_| color), part));
                line.push_str(&" ".repeat(width.saturating_sub(part.width())));
                line.push_str(GAP);
            }
            text.push_str(&format!("{}\n", line.trim_end()));
        }
        text
    }

    /// A line for each cell, behind the name of its column, and an empty line between rows.
    pub(super) fn stack(&self, columns: usize, color: bool) -> String {
        let widest = self.names.iter().map(|name| name.width()).max().unwrap_or_default();
        let rest = columns.saturating_sub(widest + GAP.len()).max(LEAST_OF_LAST);
        let mut rows = Vec::new();
        for row in &self.rows {
            let mut text = String::new();
            for (name, cell) in self.names.iter().zip(row) {
                for (index, part) in wrapped(&cell.text, rest).iter().enumerate() {
                    let name = if index == 0 { name } else { "" };
                    let part = painted(cell.color.filter(|_| color), part);
                    text.push_str(&format!("{}\n", format!("{name:<widest$}{GAP}{part}").trim_end()));
                }
            }
            rows.push(text);
        }
        rows.join("\n")
    }
}

fn painted(color: Option<Color>, text: &str) -> String {
    color.filter(|_| !text.is_empty()).map_or_else(|| text.to_owned(), |color| paint(color, text))
}

/// The text in lines of at most `width`, broken at spaces and after slashes where there are any.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut taken) = (Vec::new(), String::new(), 0);
    // The last place at which the line can be broken, in bytes.
    let mut opening = None;
    for character in text.chars() {
        let more = character.width().unwrap_or_default();
        if taken + more > width && !line.is_empty() {
            // A line that a space follows is whole.
            let end = opening.take().filter(|_| character != ' ').unwrap_or(line.len());
            let rest = line.split_off(end);
            lines.push(std::mem::replace(&mut line, rest).trim_end().to_owned());
            taken = line.width();
        }
        // A space at the break is the break.
        if character == ' ' && line.is_empty() && !lines.is_empty() {
            continue;
        }
        line.push(character);
        taken += more;
        if matches!(character, ' ' | '/') {
            opening = Some(line.len());
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] =
        [Column::new("name"), Column::spare("created"), Column::new("scope"), Column::new("action")];

    fn grid(layout: Layout) -> Grid {
        let time = || Cell::time("2026-11-22T06:00:00Z".parse().expect("a time"));
        let scope = || Cell::new("project p, domain d").short("p/d");
        let rows = vec![
            vec![Cell::new("日本語"), time(), scope(), Cell::new("left alone: has another value")],
            vec![Cell::new("naïve"), time(), scope(), Cell::new("create")],
        ];
        Grid::new(&COLUMNS, layout, rows)
    }

    fn fitted(columns: usize) -> String {
        let mut grid = grid(Layout::Headed);
        assert!(grid.fit(columns));
        let text = grid.render(true, false);
        assert!(text.lines().all(|line| line.width() <= columns), "{columns}\n{text}");
        text
    }

    #[test]
    fn wide_characters_count_for_two_columns() {
        let expected = "\
name    created               scope                action
──────  ────────────────────  ───────────────────  ─────────────────────────────
日本語  2026-11-22T06:00:00Z  project p, domain d  left alone: has another value
naïve   2026-11-22T06:00:00Z  project p, domain d  create
";
        assert_eq!(grid(Layout::Headed).render(true, false), expected);
        assert_eq!(fitted(80), expected);
    }

    #[test]
    fn a_narrow_terminal_gets_short_cells_then_fewer_columns_then_wrapped_cells() {
        let short = "\
name    created            scope  action
──────  ─────────────────  ─────  ─────────────────────────────
日本語  2026-11-22T06:00Z  p/d    left alone: has another value
naïve   2026-11-22T06:00Z  p/d    create
";
        assert_eq!([fitted(79), fitted(63)], [short, short]);
        let fewer = "\
name    scope  action
──────  ─────  ─────────────────────────────
日本語  p/d    left alone: has another value
naïve   p/d    create
";
        assert_eq!([fitted(62), fitted(44)], [fewer, fewer]);
        let wrapped = "\
name    scope  action
──────  ─────  ────────────────────────────
日本語  p/d    left alone: has another
               value
naïve   p/d    create
";
        assert_eq!(fitted(43), wrapped);
        fitted(30);
    }

    #[test]
    fn a_stacked_row_has_a_line_for_each_cell() {
        let mut grid = grid(Layout::Stacked);
        assert!(!grid.fit(43));
        let stacked = "\
name    日本語
scope   p/d
action  left alone: has another value

name    naïve
scope   p/d
action  create
";
        assert_eq!(grid.stack(43, false), stacked);
    }

    #[test]
    fn color_takes_no_room() {
        let row = vec![vec![Cell::new("a").color(Color::Green), Cell::new("b")]];
        let grid = Grid::new(&[Column::new("status"), Column::new("x")], Layout::Bare, row);
        assert_eq!(grid.render(true, true), "\u{1b}[32ma\u{1b}[0m       b\n");
        assert_eq!(grid.render(true, false), "a       b\n");
    }

    #[test]
    fn text_is_wrapped_at_spaces_and_after_slashes() {
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrapped("/home/you/.config/x", 10), ["/home/you/", ".config/x"]);
        assert_eq!(wrapped("日本語日本語", 5), ["日本", "語日", "本語"]);
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}
