//! Flyte's own configuration file, as the SDK finds it. The SDK reads it; here is only the question who could have written it.

use std::path::{Path, PathBuf};

use crate::storage::{FoundError, Permissions, require_trusted};

/// The places in which the SDK looks for its configuration file.
#[derive(Debug)]
pub struct ConfigurationSearch<'a> {
    /// The working directory.
    pub directory: &'a Path,
    /// The user's home directory.
    pub home: Option<&'a Path>,
    /// True if a variable names a file: the SDK prefers it to those in the home directory.
    pub is_named: bool,
}

impl ConfigurationSearch<'_> {
    /// Requires that each file that the SDK could find, now or later, can be believed although it was not named.
    ///
    /// # Errors
    /// Another user could have made or changed one, or can still make one.
    pub fn require_trusted(&self, permissions: Permissions) -> Result<(), FoundError> {
        let places = self.places();
        let (there, absent): (Vec<_>, Vec<_>) = places.iter().partition(|place| place.symlink_metadata().is_ok());
        there.iter().try_for_each(|place| require_trusted(place, permissions))?;
        // The SDK looks no further than there, and no other user can remove it.
        if places.first().is_some_and(|first| first.exists()) {
            return Ok(());
        }
        absent.iter().try_for_each(|place| match require_trusted(place, permissions) {
            // The SDK cannot look there either.
            Err(error) if error.exposure().is_none() => Ok(()),
            checked => checked,
        })
    }

    /// Returns the places in the order in which the SDK looks there.
    fn places(&self) -> Vec<PathBuf> {
        let mut places = vec![self.directory.join("config.yaml"), self.directory.join(".flyte/config.yaml")];
        // The SDK asks git, which passes over a broken repository.
        let repositories = self.directory.ancestors().filter(|above| above.join(".git").symlink_metadata().is_ok());
        places.extend(repositories.map(|root| root.join(".flyte/config.yaml")));
        if let (Some(home), false) = (self.home, self.is_named) {
            places.extend([".union", ".flyte"].map(|name| home.join(name).join("config.yaml")));
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_are_those_of_the_sdk() {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let root = keep.path();
        std::fs::create_dir_all(root.join("repository/.git")).expect("made");
        std::fs::create_dir_all(root.join("repository/a/b")).expect("made");
        let directory = root.join("repository/a/b");
        let places = |is_named| {
            let search = ConfigurationSearch { directory: &directory, home: Some(Path::new("/home/me")), is_named };
            search.places()
        };
        let near = ["a/b/config.yaml", "a/b/.flyte/config.yaml", ".flyte/config.yaml"];
        let near = near.map(|place| root.join("repository").join(place));
        let far = ["/home/me/.union/config.yaml", "/home/me/.flyte/config.yaml"].map(PathBuf::from);
        assert_eq!(places(true), near);
        assert_eq!(places(false), [&near[..], &far].concat());
    }
}
