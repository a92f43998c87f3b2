//! How far long work is, on a terminal: the position, the rate and an estimate. Nothing elsewhere.

use indicatif::{ProgressBar, ProgressStyle};

use super::ui::Ui;

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
        let style = ProgressStyle::with_template("{msg} {pos}/{len} {wide_bar} {per_sec}, {eta} left");
        let bar = ProgressBar::with_draw_target(Some(total as u64), ui.progress_target())
            .with_style(style.expect("a template that is understood"))
            .with_message(what);
        Self(bar)
    }

    pub(crate) fn step(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
