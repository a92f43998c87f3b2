//! Where things are inside a vault: the only code that builds such a path.

use super::Vault;
use crate::secret::{Domain, Project, Scope, SecretName};
use crate::storage::{Directory, Entry, StorageError};

pub(super) const MANIFEST: &str = "vault.toml";
pub(super) const LOCK: &str = ".lock";
pub(super) const SECRETS: &str = "secrets";

/// A manifest with a thousand recipients is a tenth of this.
pub(super) const MAX_MANIFEST_BYTES: usize = 1 << 20;

const ORGANIZATION: &str = "org";
const PROJECT: &str = "project";
const DOMAIN: &str = "domain";
const EXTENSION: &str = ".age";

/// The file name of a secret.
pub(super) fn file_name(name: &SecretName) -> String {
    format!("{name}{EXTENSION}")
}

/// The secret a file name stands for; `None` for any other file.
pub(super) fn secret_name(file_name: &str) -> Option<SecretName> {
    file_name.strip_suffix(EXTENSION)?.parse().ok()
}

fn components(scope: &Scope) -> Vec<&str> {
    match scope {
        Scope::Organization => vec![ORGANIZATION],
        Scope::Project(project) => vec![PROJECT, project.as_str()],
        Scope::Domain(domain) => vec![DOMAIN, domain.as_str()],
        Scope::ProjectDomain(project, domain) => vec![PROJECT, project.as_str(), DOMAIN, domain.as_str()],
    }
}

impl Vault {
    /// The directory of a scope; `None` while no secret was ever created in it.
    pub(super) fn scope_directory(&self, scope: &Scope) -> Result<Option<Directory>, StorageError> {
        let mut found = self.root.subdirectory(SECRETS)?;
        for component in components(scope) {
            let Some(directory) = found else { return Ok(None) };
            found = directory.subdirectory(component)?;
        }
        Ok(found)
    }

    /// The directory of a scope, made where it is missing.
    pub(super) fn create_scope_directory(&self, scope: &Scope) -> Result<Directory, StorageError> {
        let mut directory = self.root.create_subdirectory(SECRETS)?;
        for component in components(scope) {
            directory = directory.create_subdirectory(component)?;
        }
        Ok(directory)
    }

    /// Every scope that has a directory, with it.
    pub(super) fn scopes(&self) -> Result<Vec<(Scope, Directory)>, StorageError> {
        let mut scopes = Vec::new();
        let Some(secrets) = self.root.subdirectory(SECRETS)? else { return Ok(scopes) };
        if let Some(directory) = secrets.subdirectory(ORGANIZATION)? {
            scopes.push((Scope::Organization, directory));
        }
        for (domain, directory) in named::<Domain>(secrets.subdirectory(DOMAIN)?)? {
            scopes.push((Scope::Domain(domain), directory));
        }
        for (project, directory) in named::<Project>(secrets.subdirectory(PROJECT)?)? {
            for (domain, directory) in named::<Domain>(directory.subdirectory(DOMAIN)?)? {
                scopes.push((Scope::ProjectDomain(project.clone(), domain), directory));
            }
            scopes.push((Scope::Project(project), directory));
        }
        Ok(scopes)
    }
}

/// The directories in `parent` whose names parse.
fn named<N: std::str::FromStr>(parent: Option<Directory>) -> Result<Vec<(N, Directory)>, StorageError> {
    let Some(parent) = parent else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in parent.entries()? {
        let Entry::Directory(name) = entry else { continue };
        let Ok(parsed) = name.parse() else { continue };
        if let Some(directory) = parent.subdirectory(&name)? {
            found.push((parsed, directory));
        }
    }
    Ok(found)
}
