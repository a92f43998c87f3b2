//! One thing that `check` looked at.

use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::report::ErrorReport;
use crate::cli::sanitize::harmless;
use crate::cli::table::{Cell, Column, Layout, Row};
use crate::cli::ui::Color;
use serde::Serialize;

/// One thing that was looked at.
pub(super) struct Finding {
    pub(super) what: &'static str,
    /// The state in words, or the error.
    pub(super) state: Result<String, ErrorReport>,
    /// A hint for a state that is not an error.
    pub(super) hint: Option<String>,
}

impl Finding {
    pub(super) fn new(context: &Context<'_>, what: &'static str, state: Result<String, CommandError>) -> Self {
        Self { what, state: state.map_err(|error| error.report(&context.command)), hint: None }
    }

    pub(super) fn detail(&self) -> String {
        match &self.state {
            Ok(detail) => harmless(detail),
            Err(error) => harmless(&error.reasons()).replace('\n', "; "),
        }
    }

    pub(super) fn hints(&self) -> Vec<&str> {
        match &self.state {
            Ok(_) => self.hint.iter().map(String::as_str).collect(),
            Err(error) => error.hints().iter().map(String::as_str).collect(),
        }
    }
}

/// A finding, and the commands that would make it better.
#[derive(Serialize)]
pub(super) struct FindingRow<'a> {
    pub(super) what: &'static str,
    ok: bool,
    detail: String,
    hints: Vec<&'a str>,
}

impl<'a> From<&'a Finding> for FindingRow<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self { what: finding.what, ok: finding.state.is_ok(), detail: finding.detail(), hints: finding.hints() }
    }
}

impl Row for FindingRow<'_> {
    const COLUMNS: &'static [Column] = &[Column::new("what"), Column::new("status"), Column::new("detail")];
    const LAYOUT: Layout = Layout::Bare;

    fn cells(&self) -> Vec<Cell> {
        let status = if self.ok { Cell::new("ok").color(Color::Green) } else { Cell::new("failed").color(Color::Red) };
        vec![Cell::new(self.what), status, Cell::with_keys(&self.detail)]
    }
}
