//! Arguments that several commands take.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::error::{CommandError, Exit};
use super::explain::foreign_key::EXPOSED;
use super::paths::user_path;
use super::sanitize::harmless;
use flyte_local::crypto::{Author, Recipient, is_private_key};
use flyte_local::secret::{Domain, Project, RunScope, Scope, SecretId, SecretName, SecretType};

#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// The vault's directory [default: FLYTE_LOCAL_VAULT, or the user's data directory]
    #[arg(long, global = true, value_name = "DIR", value_parser = user_path())]
    pub(crate) vault: Option<PathBuf>,
    /// An identity file, age's or OpenSSH's; may be repeated
    ///
    /// Identities come from the first of these that sets any; the rest are ignored: this option, FLYTE_LOCAL_IDENTITY
    /// and FLYTE_LOCAL_IDENTITY_KEY together, config.toml, identity.txt in the user's configuration directory.
    #[arg(long, global = true, value_name = "FILE", value_parser = user_path())]
    pub(crate) identity: Vec<PathBuf>,
    /// Read passphrases from this file descriptor, one a line, instead of prompting
    #[arg(long, global = true, value_name = "N")]
    pub(crate) passphrase_fd: Option<u32>,
    /// Refuse rolled back secrets and vaults you did not accept [default: FLYTE_LOCAL_STRICT]
    #[arg(long, global = true)]
    pub(crate) strict: bool,
    /// The format of printed tables: table, table-simple, json or json-raw
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Table)]
    #[arg(hide_possible_values = true)]
    pub(crate) output_format: OutputFormat,
}

/// The formats of Flyte's own command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    Table,
    TableSimple,
    Json,
    JsonRaw,
}

/// `-p` and `-d` of a secret.
#[derive(Args)]
pub(crate) struct ScopeArgs {
    /// Only this project [default: all projects]
    #[arg(short, long)]
    pub(crate) project: Option<Project>,
    /// Only this domain [default: all domains]
    #[arg(short, long)]
    pub(crate) domain: Option<Domain>,
}

/// `-p` and `-d` of what is run.
#[derive(Args)]
pub(crate) struct RunScopeArgs {
    /// The project to run in
    ///
    /// The default is FLYTE_LOCAL_PROJECT, or the project in the configuration.
    #[arg(short, long)]
    pub(crate) project: Option<Project>,
    /// The domain to run in
    ///
    /// The default is FLYTE_LOCAL_DOMAIN, or the domain in the configuration.
    #[arg(short, long)]
    pub(crate) domain: Option<Domain>,
}

/// Returns the secret that a name with `-p` and `-d` means. Without both it is the organization's, as in Flyte, whatever the
/// configuration names.
pub(crate) fn secret_id(name: SecretName, scope: ScopeArgs) -> SecretId {
    SecretId { scope: Scope::new(scope.project, scope.domain), name }
}

/// Flyte's words for the types of secrets.
pub(crate) fn secret_type() -> impl TypedValueParser<Value = SecretType> {
    const ALL: [SecretType; 2] = [SecretType::Regular, SecretType::ImagePull];
    PossibleValuesParser::new(ALL.map(SecretType::as_str))
        .map(|word| ALL.into_iter().find(|known| known.as_str() == word).expect("one of the words"))
}

/// Checks that a secret of this type can have this scope.
pub(crate) fn require_scope(id: &SecretId, secret_type: SecretType) -> Result<(), CommandError> {
    if secret_type == SecretType::Regular || id.scope == Scope::Organization {
        return Ok(());
    }
    // Flyte's reason.
    let reason = "project and domain must not be set when creating an image pull secret";
    Err(CommandError::new(Exit::Usage, reason)
        .hint("leave out -p and -d: an image pull secret is for the whole organization"))
}

/// Refuses a private key in the place of a name or a public key, without repeating it.
pub(crate) fn require_public(text: &str) -> Result<(), CommandError> {
    match is_private_key(text.trim()) {
        false => Ok(()),
        true => {
            Err(CommandError::new(Exit::Usage, "a private key is in the place of a name or a public key").hint(EXPOSED))
        }
    }
}

/// Checks the name of a recipient or an author. It must be visible, and not a key: commands that remove them take either.
pub(crate) fn require_name(name: &str) -> Result<(), CommandError> {
    require_public(name)?;
    let is_visible = harmless(name) == name && !name.contains('\n') && name.trim() == name && !name.is_empty();
    match is_visible && name.parse::<Recipient>().is_err() && name.parse::<Author>().is_err() {
        true => Ok(()),
        false => Err(CommandError::new(
            Exit::Usage,
            "--name must be a visible name: not empty, not a key, and without control characters",
        )),
    }
}

/// Merges two scopes: each part comes from `nearer`, or else from `farther`.
pub(crate) fn merged(nearer: &RunScope, farther: &RunScope) -> RunScope {
    RunScope {
        project: nearer.project.clone().or_else(|| farther.project.clone()),
        domain: nearer.domain.clone().or_else(|| farther.domain.clone()),
    }
}
