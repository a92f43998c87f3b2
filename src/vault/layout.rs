//! The layout of a vault: the only code that builds a path inside one.

use std::path::PathBuf;

use super::Vault;
use crate::secret::{Domain, Project, Scope, SecretId, SecretName};
use crate::storage::{Directory, DirectoryEntry, StorageError};

pub(super) const MANIFEST: &str = "vault.toml";
pub(super) const LOCK: &str = ".lock";
pub(super) const SECRETS: &str = "secrets";

/// The most bytes of `vault.toml`: room for as many recipients and authors as it may have, with the longest keys and names.
pub(super) const MAX_MANIFEST_BYTES: usize = 256 << 10;

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

/// The directories that lead to a scope's.
pub(super) fn components(scope: &Scope) -> Vec<&str> {
    match scope {
        Scope::Organization => vec![ORGANIZATION],
        Scope::Project(project) => vec![PROJECT, project.as_str()],
        Scope::Domain(domain) => vec![DOMAIN, domain.as_str()],
        Scope::ProjectDomain(project, domain) => vec![PROJECT, project.as_str(), DOMAIN, domain.as_str()],
    }
}

/// A directory of the tree of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TreeDirectory {
    /// `secrets` itself.
    Tree,
    /// `project`.
    Projects,
    /// `domain`, in a project's directory or not.
    Domains(Option<Project>),
    /// The directory of a scope's secrets.
    Scope(Scope),
}

impl TreeDirectory {
    /// Returns the directory of this name in it; `None` if it does not belong to the tree.
    pub(super) fn below(&self, name: &str) -> Option<Self> {
        match (self, name) {
            (Self::Tree, ORGANIZATION) => Some(Self::Scope(Scope::Organization)),
            (Self::Tree, PROJECT) => Some(Self::Projects),
            (Self::Tree, DOMAIN) => Some(Self::Domains(None)),
            (Self::Projects, name) => name.parse().ok().map(|project| Self::Scope(Scope::Project(project))),
            (Self::Domains(None), name) => name.parse().ok().map(|domain| Self::Scope(Scope::Domain(domain))),
            (Self::Domains(Some(project)), name) => {
                name.parse().ok().map(|domain| Self::Scope(Scope::ProjectDomain(project.clone(), domain)))
            }
            (Self::Scope(Scope::Project(project)), DOMAIN) => Some(Self::Domains(Some(project.clone()))),
            (Self::Tree | Self::Scope(_), _) => None,
        }
    }

    /// The scope whose secrets lie in it.
    pub(super) fn scope(&self) -> Option<Scope> {
        match self {
            Self::Scope(scope) => Some(scope.clone()),
            Self::Tree | Self::Projects | Self::Domains(_) => None,
        }
    }
}

impl Vault {
    /// The directory of a scope; `None` while no secret was ever created in it.
    pub(super) fn scope_directory(&self, scope: &Scope) -> Result<Option<Directory>, StorageError> {
        self.root.subdirectory(SECRETS)?.map_or(Ok(None), |secrets| scope_below(&secrets, scope))
    }

    /// Returns the path of a secret's file, for messages.
    pub(super) fn place(&self, id: &SecretId) -> PathBuf {
        let mut place = self.root.join(SECRETS);
        place.extend(components(&id.scope));
        place.push(file_name(&id.name));
        place
    }

    /// The directory of a scope, made where it is missing.
    pub(super) fn create_scope_directory(&self, scope: &Scope) -> Result<Directory, StorageError> {
        let mut directory = self.root.create_subdirectory(SECRETS)?;
        for component in components(scope) {
            directory = directory.create_subdirectory(component)?;
        }
        Ok(directory)
    }

    /// Every scope that has a directory. Not the directories: a vault may have more than a process may open.
    pub(super) fn scopes(&self) -> Result<Vec<Scope>, StorageError> {
        self.root.subdirectory(SECRETS)?.map_or(Ok(Vec::new()), |secrets| scopes_below(&secrets))
    }
}

/// The directory of a scope in a tree of them; `None` where there is none.
pub(super) fn scope_below(tree: &Directory, scope: &Scope) -> Result<Option<Directory>, StorageError> {
    let mut found: Option<Directory> = None;
    for component in components(scope) {
        match found.as_ref().unwrap_or(tree).subdirectory(component)? {
            Some(directory) => found = Some(directory),
            None => return Ok(None),
        }
    }
    Ok(found)
}

/// Every scope that has a directory in a tree of them.
pub(super) fn scopes_below(tree: &Directory) -> Result<Vec<Scope>, StorageError> {
    let mut scopes = Vec::new();
    if tree.subdirectory(ORGANIZATION)?.is_some() {
        scopes.push(Scope::Organization);
    }
    scopes.extend(named(tree.subdirectory(DOMAIN)?.as_ref())?.into_iter().map(Scope::Domain));
    let Some(projects) = tree.subdirectory(PROJECT)? else { return Ok(scopes) };
    for project in named::<Project>(Some(&projects))? {
        let domains = match projects.subdirectory(project.as_str())? {
            Some(directory) => directory.subdirectory(DOMAIN)?,
            None => None,
        };
        for domain in named::<Domain>(domains.as_ref())? {
            scopes.push(Scope::ProjectDomain(project.clone(), domain));
        }
        scopes.push(Scope::Project(project));
    }
    Ok(scopes)
}

/// The names of the directories in `parent`, as far as they parse.
fn named<N: std::str::FromStr>(parent: Option<&Directory>) -> Result<Vec<N>, StorageError> {
    let Some(parent) = parent else { return Ok(Vec::new()) };
    let names = parent.entries()?.into_iter().filter_map(|entry| match entry {
        DirectoryEntry::Directory(name) => name.parse().ok(),
        DirectoryEntry::File(_) | DirectoryEntry::Other(_) => None,
    });
    Ok(names.collect())
}
