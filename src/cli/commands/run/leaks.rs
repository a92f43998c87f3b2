//! After a run: finds its secrets in the files that Flyte keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirEntry, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags};

use crate::cli::shell::quoted;
use crate::cli::ui::Ui;
use flyte_local::redact::{ValueFinder, Watchlist};

/// A larger file, such as a model's checkpoint, would delay the prompt by seconds.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// How many lines of a kind are said, so that a secret in every file of a data set floods no terminal.
const MAX_LINES: usize = 10;

/// File systems keep times as coarsely as this.
const COARSENESS: Duration = Duration::from_secs(2);

/// Names every secret of the list that a file below one of these directories holds, if it changed since the run began.
pub(super) fn report(ui: &Ui, list: &Watchlist, directories: BTreeSet<PathBuf>, began: SystemTime) {
    let Some(finder) = ValueFinder::new(list) else { return };
    let since = began.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(COARSENESS);
    let mut search = LeakSearch { finder, since, began, found: BTreeMap::new(), skipped: BTreeMap::new() };
    search.look_below(directories);
    search.say(ui);
}

struct LeakSearch {
    finder: ValueFinder,
    /// Since 1970.
    since: Duration,
    began: SystemTime,
    found: BTreeMap<PathBuf, LeakedFile>,
    /// The files that could not be searched, and the reasons.
    skipped: BTreeMap<PathBuf, String>,
}

/// The secrets in a file.
struct LeakedFile {
    secrets: Vec<String>,
    /// The file was there before the run, as the cache is after the first: it may hold them since then.
    is_older: bool,
}

impl LeakSearch {
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
        // The file may have been replaced: a symlink is refused, and a pipe does not block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(&path, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        if file.metadata()?.len() > MAX_FILE_BYTES {
            return Err(io::Error::other("it has more than 1 GiB"));
        }
        let secrets: Vec<String> = self.finder.names_in(&file)?.into_iter().map(str::to_owned).collect();
        if !secrets.is_empty() {
            // If the file system does not record it, the file counts as the run's.
            let is_older = metadata.created().is_ok_and(|created| created < self.began);
            self.found.insert(path, LeakedFile { secrets, is_older });
        }
        Ok(None)
    }

    fn skip(&mut self, path: &Path, error: &io::Error) {
        // A file that does not exist holds nothing.
        if error.kind() != io::ErrorKind::NotFound {
            self.skipped.insert(path.to_owned(), error.to_string());
        }
    }

    fn say(&self, ui: &Ui) {
        for (path, LeakedFile { secrets, is_older }) in self.found.iter().take(MAX_LINES) {
            let plural = if secrets.len() == 1 { "" } else { "s" };
            let since =
                if *is_older { " (the file is older than this run; an earlier run may have written it)" } else { "" };
            let line =
                format!("flyte-local: secret{plural} {} in plain text in {}", secrets.join(", "), path.display());
            ui.say(&format!("{line}{since}"));
        }
        if let Some(more) = self.found.len().checked_sub(MAX_LINES).filter(|more| *more > 0) {
            ui.say(&format!("flyte-local: and in {more} more files"));
        }
        let (cache, files): (Vec<_>, Vec<_>) = self.found.keys().take(MAX_LINES).partition(|path| is_cache(path));
        if !files.is_empty() {
            let files: Vec<_> = files.into_iter().map(|path| quoted(path)).collect();
            ui.say(&format!("hint: Flyte keeps a run's results; to remove them: rm {}", files.join(" ")));
        }
        if !cache.is_empty() {
            let files: Vec<_> = cache.into_iter().map(|path| quoted(path)).collect();
            ui.say("hint: Flyte's cache holds the results of all local runs: replace the secret with a new one,");
            ui.say(&format!("hint: or empty the cache, so that cached tasks run again: rm {}", files.join(" ")));
        }
        for (path, reason) in self.skipped.iter().take(MAX_LINES) {
            ui.say(&format!("flyte-local: cannot search {} for secrets: {reason}", path.display()));
        }
        if let Some(more) = self.skipped.len().checked_sub(MAX_LINES).filter(|more| *more > 0) {
            ui.say(&format!("flyte-local: nor {more} more files"));
        }
    }
}

/// Tells whether it is the SDK's database, or one of the files that SQLite puts beside it.
fn is_cache(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("cache.db") && path.parent().is_some_and(|directory| directory.ends_with("local-cache"))
}
