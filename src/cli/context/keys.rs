//! The user's identities and signing key.

use super::{Context, NAME_AN_IDENTITY};
use crate::cli::environment::{inherited, path_variable, permissions, variable_is_set};
use crate::cli::error::{CommandError, Exit};
use crate::cli::identities::UserIdentities;
use crate::cli::identity_place::{IDENTITY_KEY, IdentityPlace, MAX_KEY_FILE_BYTES, none_at};
use crate::cli::passphrases::Passphrases;
use crate::cli::paths::{real, split};
use flyte_local::config::Config;
use flyte_local::crypto::AuthorKey;
use flyte_local::storage::{Directory, read_private_file};
use std::path::Path;
use zeroize::Zeroizing;

impl Context<'_> {
    /// That what opens the vault, signs it or remembers it is not in the hands of whoever can write it.
    pub(crate) fn require_outside_of_vault(&self) -> Result<(), CommandError> {
        let vault = real(self.vault_path()?)?;
        let is_known = !self.identities.is_empty() || self.default_identity.path.is_some();
        let identities = if is_known { self.identity_places()? } else { Vec::new() };
        let identities = identities.iter().filter_map(IdentityPlace::path);
        let identities = identities.map(|path| (path, "the identity that opens it", NAME_AN_IDENTITY));
        let places = [(&self.author, "the key that signs it"), (&self.state, "what this machine remembers of it")];
        let places = places.iter().filter_map(|(place, what)| Some((place.path.as_deref()?, *what, place.option)));
        for (path, what, option) in identities.chain(places) {
            if real(path)?.starts_with(&vault) {
                let message = format!("{}, {what}, would lie in the vault", path.display());
                return Err(CommandError::new(Exit::Usage, message).hint(format!("name another place with {option}")));
            }
        }
        Ok(())
    }

    pub(crate) fn author_path(&self) -> Result<&Path, CommandError> {
        self.author.get()
    }

    /// The user's name for themselves as an author.
    pub(crate) fn user_name(&self) -> String {
        let name = |variable| inherited(variable).and_then(|name| String::from_utf8(name.to_vec()).ok());
        let named = name("USER").or_else(|| name("LOGNAME")).filter(|name| !name.is_empty());
        named.unwrap_or_else(|| "me".to_owned())
    }

    /// The key that signs what the user writes, made where there is none; whether it was made.
    pub(crate) fn author_key(&self) -> Result<(AuthorKey, bool), CommandError> {
        if let Some(key) = self.read_author_file()? {
            return Ok((key, false));
        }
        let path = self.author_path()?;
        let key = AuthorKey::generate().map_err(|error| {
            CommandError::new(Exit::Failed, format!("cannot make a key for {}", path.display()))
                .because(error.to_string())
        })?;
        let made = self.write_key_file(path, key.to_file(&self.now()).as_bytes())?;
        // What counts is what lies on the disk, should another process have been faster.
        Ok((self.read_author_file()?.unwrap_or(key), made))
    }

    /// The user's signing key; `None` where there is no file.
    pub(crate) fn read_author_file(&self) -> Result<Option<AuthorKey>, CommandError> {
        let path = self.author_path()?;
        let Some(bytes) = read_key_file(path)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let parsed = AuthorKey::parse_file(text).map(Some);
        parsed.map_err(|error| CommandError::new(Exit::Failed, format!("{}: {error}", path.display())))
    }

    /// Writes a key into a new file; `false` if it is there by now.
    pub(crate) fn write_key_file(&self, path: &Path, bytes: &[u8]) -> Result<bool, CommandError> {
        let (directory, name) = split(path)
            .ok_or_else(|| CommandError::new(Exit::Usage, format!("{} is not a file name", path.display())))?;
        match Directory::create(directory)?.write_new(name, bytes) {
            Err(error) if error.already_exists() => Ok(false),
            written => Ok(written.map(|()| true)?),
        }
    }

    /// Where identities are: the places that the nearest level names, of the options, the variables, the configuration, and
    /// the default.
    pub(crate) fn identity_places(&self) -> Result<Vec<IdentityPlace>, CommandError> {
        if !self.identities.is_empty() {
            return Ok(self.identities.iter().cloned().map(IdentityPlace::File).collect());
        }
        let file = path_variable("FLYTE_LOCAL_IDENTITY").map(IdentityPlace::File);
        let key = variable_is_set(IDENTITY_KEY).then_some(IdentityPlace::Variable);
        let named: Vec<_> = file.into_iter().chain(key).collect();
        if !named.is_empty() {
            return Ok(named);
        }
        if let Some(directory) = &self.configuration {
            let home = directories::BaseDirs::new();
            let home = home.as_ref().map(directories::BaseDirs::home_dir);
            let paths = Config::load(directory)?.identity.paths(directory, home);
            if !paths.is_empty() {
                return Ok(paths.into_iter().map(IdentityPlace::File).collect());
            }
        }
        Ok(vec![IdentityPlace::File(self.default_identity.get()?.to_owned())])
    }

    /// The identities that open the vault, of which some may be locked.
    pub(crate) fn identities(&self) -> Result<UserIdentities, CommandError> {
        let places = self.identity_places()?;
        self.read_identities(&places)?.ok_or_else(|| none_at(&places[0]))
    }

    /// Those in these places; `None` where there is nothing at any of them.
    pub(crate) fn read_identities(&self, places: &[IdentityPlace]) -> Result<Option<UserIdentities>, CommandError> {
        UserIdentities::read(places, permissions()?, &self.passphrases)
    }

    /// The bytes in a place of identities; `None` where there is nothing.
    pub(crate) fn read_identity_place(
        &self,
        origin: &IdentityPlace,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, CommandError> {
        origin.read(permissions()?)
    }

    /// Where passphrases come from.
    pub(crate) fn passphrases(&self) -> &Passphrases {
        &self.passphrases
    }
}

/// A file with keys, which nobody else may read; `None` where there is none.
fn read_key_file(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, CommandError> {
    Ok(read_private_file(path, MAX_KEY_FILE_BYTES, permissions()?)?)
}
