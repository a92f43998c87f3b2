//! After a run: which of its secrets are in the files that Flyte keeps of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirEntry, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};

use crate::cli::context::quoted;
use crate::cli::error::harmless;
use crate::cli::ui::Ui;
use flyte_local::redact::{Finder, Watchlist};

/// A larger file, such as a model's checkpoint, would delay the prompt by seconds.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// How many lines of a kind are said, so that a secret in every file of a data set floods no terminal.
const MAX_LINES: usize = 10;

/// File systems keep times as coarsely as this.
const COARSENESS: Duration = Duration::from_secs(2);

/// Names every secret of the list that a file below one of these directories holds, if it changed since the run began.
pub(super) fn report(ui: &Ui, list: &Watchlist, directories: BTreeSet<PathBuf>, began: SystemTime) {
    let Some(finder) = Finder::new(list) else { return };
    let since = began.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(COARSENESS);
    let mut search = Search { finder, since, found: BTreeMap::new(), skipped: BTreeMap::new() };
    search.look_below(directories);
    search.say(ui);
}

struct Search {
    finder: Finder,
    /// Since 1970.
    since: Duration,
    /// Files, and the secrets in each.
    found: BTreeMap<PathBuf, Vec<String>>,
    /// What could not be looked into, and why.
    skipped: BTreeMap<PathBuf, String>,
}

impl Search {
    /// Follows no symbolic link below the directories.
    fn look_below(&mut self, directories: BTreeSet<PathBuf>) {
        let mut rest: Vec<PathBuf> = directories.into_iter().collect();
        while let Some(directory) = rest.pop() {
            let entries = match std::fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) => {
                    self.skip(&directory, &error);
                    continue;
                }
            };
            for entry in entries.filter_map(Result::ok) {
                match self.look_at(&entry) {
                    Ok(Some(below)) => rest.push(below),
                    Ok(None) => {}
                    Err(error) => self.skip(&entry.path(), &error),
                }
            }
        }
    }

    /// The directory, if it is one.
    fn look_at(&mut self, entry: &DirEntry) -> io::Result<Option<PathBuf>> {
        if entry.file_type()?.is_dir() {
            return Ok(Some(entry.path()));
        }
        if !entry.file_type()?.is_file() {
            return Ok(None);
        }
        // The time of modification can be a copied one; that of the last change cannot.
        let metadata = entry.metadata()?;
        let changed =
            Duration::new(metadata.ctime().try_into().unwrap_or(0), metadata.ctime_nsec().try_into().unwrap_or(0));
        if changed < self.since {
            return Ok(None);
        }
        let path = entry.path();
        // What it is may have changed meanwhile: a link is refused, a pipe does not keep us waiting.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(&path, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        if file.metadata()?.len() > MAX_FILE_BYTES {
            return Err(io::Error::other("it has more than 1 GiB"));
        }
        let names: Vec<String> = self.finder.names_in(&file)?.into_iter().map(str::to_owned).collect();
        if !names.is_empty() {
            self.found.insert(path, names);
        }
        Ok(None)
    }

    fn skip(&mut self, path: &Path, error: &io::Error) {
        // What has not been made, or is gone again, keeps nothing.
        if error.kind() != io::ErrorKind::NotFound {
            self.skipped.insert(path.to_owned(), error.to_string());
        }
    }

    fn say(&self, ui: &Ui) {
        for (path, names) in self.found.iter().take(MAX_LINES) {
            let plural = if names.len() == 1 { "" } else { "s" };
            let line = format!("flyte-local: secret{plural} {} in plain text: {}", names.join(", "), path.display());
            ui.say(&harmless(&line));
        }
        if let Some(more) = self.found.len().checked_sub(MAX_LINES).filter(|more| *more > 0) {
            ui.say(&format!("flyte-local: and in {more} more files"));
        }
        if !self.found.is_empty() {
            let files: Vec<_> = self.found.keys().take(MAX_LINES).map(|path| quoted(path)).collect();
            ui.say(&harmless(&format!("hint: Flyte keeps what a run returns; to remove it: rm {}", files.join(" "))));
        }
        for (path, reason) in self.skipped.iter().take(MAX_LINES) {
            ui.say(&harmless(&format!("flyte-local: not searched for secrets: {}: {reason}", path.display())));
        }
        if let Some(more) = self.skipped.len().checked_sub(MAX_LINES).filter(|more| *more > 0) {
            ui.say(&format!("flyte-local: nor {more} more files"));
        }
    }
}
