//! The user's identities and signing key.

use super::{Context, NAME_AN_IDENTITY};
use crate::cli::environment::{inherited, path_variable, permissions, variable_is_set};
use crate::cli::error::{CommandError, Exit};
use crate::cli::explain;
use crate::cli::identities::UserIdentities;
use crate::cli::identity_place::{IDENTITY_KEY, IdentityPlace, none_at};
use crate::cli::passphrases::Passphrases;
use crate::cli::paths::{expanded, real, split};
use flyte_local::config::Config;
use flyte_local::crypto::{AuthorKey, MAX_IDENTITY_FILE_BYTES};
use flyte_local::file_form::{FileForm, has_byte_order_mark};
use flyte_local::storage::{Directory, read_private_file};
use flyte_local::vault::Vault;
use std::path::Path;
use zeroize::Zeroizing;

impl Context<'_> {
    /// Checks that the identities, the signing key and the state directory are outside the vault, so that other users who can
    /// write the vault cannot change them.
    pub(crate) fn require_outside_of_vault(&self) -> Result<(), CommandError> {
        let vault = real(self.vault_path()?)?;
        let is_known = !self.identities.is_empty() || self.default_identity.path.is_some();
        let identities = if is_known { self.identity_places()? } else { Vec::new() };
        let identities = identities.iter().filter_map(IdentityPlace::path);
        let identities = identities.map(|path| (path, "your identity", NAME_AN_IDENTITY));
        let places = [(&self.author, "your signing key"), (&self.state, "the state directory")];
        let places = places.iter().filter_map(|(place, what)| Some((place.path.as_deref()?, *what, place.option)));
        identities.chain(places).try_for_each(|(path, what, option)| require_outside(&vault, path, what, option))
    }

    /// Checks that the state directory is outside a vault, which would otherwise say itself that it was accepted.
    pub(super) fn require_state_outside(&self, vault: &Path) -> Result<(), CommandError> {
        let Some(path) = self.state.path.as_deref() else { return Ok(()) };
        require_outside(&real(vault)?, path, "the state directory", self.state.option)
    }

    pub(crate) fn author_path(&self) -> Result<&Path, CommandError> {
        self.author.get()
    }

    /// Returns the user's name as an author.
    pub(crate) fn user_name(&self) -> String {
        let name = |variable| inherited(variable).and_then(|name| String::from_utf8(name.to_vec()).ok());
        let named = name("USER").or_else(|| name("LOGNAME")).filter(|name| !name.is_empty());
        named.unwrap_or_else(|| "me".to_owned())
    }

    /// Returns the signing key, created if there is none, and whether it is new.
    pub(crate) fn author_key(&self) -> Result<(AuthorKey, bool), CommandError> {
        if let Some(key) = self.read_author_file()? {
            return Ok((key, false));
        }
        let path = self.author_path()?;
        let key = AuthorKey::generate().map_err(|error| {
            CommandError::new(Exit::Failed, format!("cannot create a key for {}", path.display()))
                .because(error.to_string())
        })?;
        let made = self.write_key_file(path, key.to_file(&self.now()).as_bytes())?;
        // Another process may have been faster: use the file on the disk.
        Ok((self.read_author_file()?.unwrap_or(key), made))
    }

    /// Reads the signing key; `None` if there is no file.
    pub(crate) fn read_author_file(&self) -> Result<Option<AuthorKey>, CommandError> {
        let path = self.author_path()?;
        let Some(bytes) = read_key_file(path)? else { return Ok(None) };
        let mark = has_byte_order_mark(&bytes).then_some(FileForm::ByteOrderMark);
        let text = match FileForm::recognise_text(&bytes).or(mark) {
            Some(form) => return Err(explain::file_form::unreadable(path, form).into()),
            None => std::str::from_utf8(&bytes).unwrap_or_default(),
        };
        let parsed = AuthorKey::parse_file(text).map(Some);
        parsed.map_err(|error| CommandError::new(Exit::Failed, format!("{}: {error}", path.display())))
    }

    /// Writes a key into a new file; `false` if the file exists.
    pub(crate) fn write_key_file(&self, path: &Path, bytes: &[u8]) -> Result<bool, CommandError> {
        let (directory, name) = split(path)
            .ok_or_else(|| CommandError::new(Exit::Usage, format!("{} is not a file name", path.display())))?;
        match Directory::create(directory)?.write_new(name, bytes) {
            Err(error) if error.already_exists() => Ok(false),
            written => Ok(written.map(|()| true)?),
        }
    }

    /// Returns the places of identities. They come from the first of these that names any: options, variables, the configuration,
    /// the default.
    pub(crate) fn identity_places(&self) -> Result<Vec<IdentityPlace>, CommandError> {
        if !self.identities.is_empty() {
            return Ok(self.identities.iter().cloned().map(IdentityPlace::File).collect());
        }
        let file = path_variable("FLYTE_LOCAL_IDENTITY")?.map(IdentityPlace::File);
        let key = variable_is_set(IDENTITY_KEY).then_some(IdentityPlace::Variable);
        let named: Vec<_> = file.into_iter().chain(key).collect();
        if !named.is_empty() {
            return Ok(named);
        }
        if let Some(directory) = &self.configuration {
            let config = Config::load(directory, permissions()?)?;
            let paths = config.identity.as_written().iter().map(|path| match expanded(path.clone()) {
                // A relative path starts at the configuration's directory.
                Ok(path) => Ok(IdentityPlace::File(directory.join(path))),
                Err(error) => Err(CommandError::new(Exit::Failed, format!("config.toml names {}", path.display()))
                    .because(error.to_string())
                    .hint(format!("correct its identity in {}", directory.join("config.toml").display()))),
            });
            let paths: Vec<_> = paths.collect::<Result<_, _>>()?;
            if !paths.is_empty() {
                return Ok(paths);
            }
        }
        Ok(vec![IdentityPlace::File(self.default_identity.get()?.to_owned())])
    }

    /// Returns the user's identities, of which some may be locked.
    pub(crate) fn identities(&self) -> Result<UserIdentities, CommandError> {
        let places = self.identity_places()?;
        self.read_identities(&places)?.ok_or_else(|| none_at(&places[0]))
    }

    /// Reads the identities in these places; `None` if all of them are empty.
    pub(crate) fn read_identities(&self, places: &[IdentityPlace]) -> Result<Option<UserIdentities>, CommandError> {
        UserIdentities::read(places, permissions()?, &self.passphrases)
    }

    /// Says so if no identity of this machine opens what was just written. An identity that cannot be read is reported when a
    /// value is read, and not here.
    pub(crate) fn tell_if_unreadable(&self, vault: &Vault, what: &str) {
        let may_open = match self.identity_places().and_then(|places| self.read_identities(&places)) {
            Ok(identities) => identities.is_some_and(|identities| identities.may_open(vault)),
            Err(error) => !error.is_not_found(),
        };
        if !may_open {
            self.ui.say(&format!(
                "flyte-local: no identity of this machine opens {what}, only the vault's recipients do: {} get recipient",
                self.command
            ));
        }
    }

    /// Reads the bytes in a place of identities; `None` if there is nothing.
    pub(crate) fn read_identity_place(
        &self,
        origin: &IdentityPlace,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, CommandError> {
        origin.read(permissions()?)
    }

    /// Returns the source of passphrases.
    pub(crate) fn passphrases(&self) -> &Passphrases {
        &self.passphrases
    }
}

/// Reads a key file, which other users must not be able to read; `None` if there is none.
fn read_key_file(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, CommandError> {
    Ok(read_private_file(path, MAX_IDENTITY_FILE_BYTES, permissions()?)?)
}

/// `vault` is without links.
fn require_outside(vault: &Path, path: &Path, what: &str, option: &str) -> Result<(), CommandError> {
    if !real(path)?.starts_with(vault) {
        return Ok(());
    }
    let message = format!("{}, {what}, would be inside the vault", path.display());
    Err(CommandError::new(Exit::Usage, message).hint(format!("name another path with {option}")))
}
