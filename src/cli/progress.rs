//! How far long work is, on a terminal: the position, the rate and an estimate. Nothing elsewhere.

use std::fmt::Write;

use super::ui::Ui;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// Less is done before it could be read.
const MANY: usize = 20;

/// A bar, taken away when this is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// One of `total` steps; `what` is a word for what is being done.
    pub(crate) fn start(ui: &Ui, total: usize, what: &'static str) -> Self {
        if total < MANY {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{msg} {pos}/{len} {wide_bar} {rate}/s, {eta} left");
        let bar = ProgressBar::with_draw_target(Some(total as u64), ui.progress_target())
            .with_style(style.expect("a template that is understood").with_key("rate", rate))
            .with_message(what);
        Self(bar)
    }

    pub(crate) fn step(&self) {
        self.0.inc(1);
    }
}

/// As a whole number: the bar's own has four digits after the point.
fn rate(state: &ProgressState, out: &mut dyn Write) {
    let _ = write!(out, "{:.0}", state.per_sec());
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
