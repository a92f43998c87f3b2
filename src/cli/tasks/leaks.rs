//! After a run: finds its secrets in the files that Flyte keeps, and in their names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirEntry, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
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

/// Reports every secret of the list that a file below one of these directories holds, or its name, if the file changed since
/// the run began.
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

/// The secrets in a file, or in the name of a file or directory.
struct LeakedFile {
    secrets: Vec<String>,
    /// Only the name holds them.
    is_name: bool,
    is_directory: bool,
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
        let is_directory = entry.file_type()?.is_dir();
        let path = entry.path();
        // The time of modification can be a copied one; that of the last change cannot.
        let metadata = entry.metadata()?;
        let changed =
            Duration::new(metadata.ctime().try_into().unwrap_or(0), metadata.ctime_nsec().try_into().unwrap_or(0));
        if changed < self.since {
            return Ok(is_directory.then_some(path));
        }
        // If the file system does not record it, the file counts as the run's.
        let is_older = metadata.created().is_ok_and(|created| created < self.began);
        let leaked = |names: BTreeSet<&str>, is_name| LeakedFile {
            secrets: names.into_iter().map(str::to_owned).collect(),
            is_name,
            is_directory,
            is_older,
        };
        let in_name = leaked(self.finder.names_in(entry.file_name().as_bytes())?, true);
        if !in_name.secrets.is_empty() {
            self.found.insert(path.clone(), in_name);
        }
        if is_directory {
            return Ok(Some(path));
        }
        if !entry.file_type()?.is_file() {
            return Ok(None);
        }
        // The file may have been replaced: a symlink is refused, and a pipe does not block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(&path, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        if file.metadata()?.len() > MAX_FILE_BYTES {
            return Err(io::Error::other("it has more than 1 GiB"));
        }
        let in_file = leaked(self.finder.names_in(&file)?, false);
        if !in_file.secrets.is_empty() {
            self.found.insert(path, in_file);
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
        for (path, LeakedFile { secrets, is_name, is_older, .. }) in self.found.iter().take(MAX_LINES) {
            let plural = if secrets.len() == 1 { "" } else { "s" };
            let since =
                if *is_older { " (the file is older than this run; an earlier run may have written it)" } else { "" };
            let (secrets, place) = (secrets.join(", "), if *is_name { "the name of " } else { "" });
            let path = ui.masked_path(path);
            ui.say(&format!("flyte-local: secret{plural} {secrets} in plain text in {place}{}{since}", path.display()));
        }
        if let Some(more) = self.found.len().checked_sub(MAX_LINES).filter(|more| *more > 0) {
            ui.say(&format!("flyte-local: and in {more} more files"));
        }
        self.say_how_to_remove(ui);
        for (path, reason) in self.skipped.iter().take(MAX_LINES) {
            let path = ui.masked_path(path);
            ui.say(&format!("flyte-local: cannot search {} for secrets: {reason}", path.display()));
        }
        if let Some(more) = self.skipped.len().checked_sub(MAX_LINES).filter(|more| *more > 0) {
            ui.say(&format!("flyte-local: nor {more} more files"));
        }
    }

    /// Gives the commands that remove the files that were named.
    fn say_how_to_remove(&self, ui: &Ui) {
        let named = || self.found.iter().take(MAX_LINES);
        // A command with a masked name would do nothing, or, without quotes, remove other files.
        let (named, masked): (Vec<_>, Vec<_>) = named().partition(|(path, _)| *ui.masked_path(path) == **path);
        let (cache, files): (Vec<_>, Vec<_>) = named.into_iter().partition(|(path, _)| is_cache(path));
        if !files.is_empty() {
            let rm = if files.iter().any(|(_, file)| file.is_directory) { "rm -r" } else { "rm" };
            let files: Vec<_> = files.into_iter().map(|(path, _)| quoted(path)).collect();
            ui.say(&format!("hint: Flyte keeps a run's results; to remove them: {rm} {}", files.join(" ")));
        }
        let directory_of = |path: &Path| path.ancestors().find(|path| *ui.masked_path(path) == **path).map(quoted);
        let directories: BTreeSet<_> = masked.into_iter().filter_map(|(path, _)| directory_of(path)).collect();
        if !directories.is_empty() {
            let directories: Vec<_> = directories.into_iter().collect();
            ui.say(&format!(
                "hint: ***** hides a value in a path; to see the whole path: find {}",
                directories.join(" ")
            ));
        }
        if !cache.is_empty() {
            let files: Vec<_> = cache.into_iter().map(|(path, _)| quoted(path)).collect();
            ui.say("hint: Flyte's cache holds the results of all local runs: replace the secret with a new one,");
            ui.say(&format!("hint: or empty the cache, so that cached tasks run again: rm {}", files.join(" ")));
        }
    }
}

/// Tells whether it is the SDK's database, or one of the files that SQLite puts beside it.
fn is_cache(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("cache.db") && path.parent().is_some_and(|directory| directory.ends_with("local-cache"))
}
