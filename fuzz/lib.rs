//! Code that the targets share: the keys and vaults of `fixtures/vault-format`, and temporary homes.
//!
//! Everything goes through the library's public interface, as it does for the binary.

use std::path::{Path, PathBuf};

use flyte_local::crypto::{AuthorKey, Identity};
use flyte_local::secret::{Scope, SecretId};
use flyte_local::vault::{StateDirectory, Vault, VaultOptions};
use tempfile::TempDir;

/// The id of the vaults in the fixtures.
pub const VAULT_ID: &str = "0123456789abcdef0123456789abcdef";

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/vault-format").join(name)
}

/// The published test identity.
pub fn identities() -> Vec<Identity> {
    let text = std::fs::read_to_string(fixture("identity.txt")).expect("the test identity");
    Identity::parse_file(&text).expect("one identity")
}

/// The published test key that signs.
pub fn author() -> AuthorKey {
    AuthorKey::parse_file(&std::fs::read_to_string(fixture("author.key")).expect("the test key")).expect("one key")
}

/// A vault and its state directory, in a temporary directory: `TMPDIR` should be in memory.
pub struct Home {
    directory: TempDir,
}

impl Home {
    /// Makes a home with the `vault.toml` of the vault of format 2, and no secret.
    #[allow(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let home = Self { directory: TempDir::new().expect("a temporary directory") };
        std::fs::create_dir(home.vault()).expect("made");
        std::fs::copy(fixture("signed/vault.toml"), home.vault().join("vault.toml")).expect("copied");
        home
    }

    pub fn vault(&self) -> PathBuf {
        self.directory.path().join("vault")
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Opens the vault to read and write, and accepts it.
    pub fn open(&self) -> Vault {
        let mut vault = self.options().open(&self.vault()).expect("a sound vault").with_author(author());
        let fingerprint = vault.fingerprint();
        vault.accept(&fingerprint).expect("accepted");
        vault
    }

    /// Returns the default options, with this home's state directory.
    pub fn options(&self) -> VaultOptions {
        VaultOptions::new(StateDirectory::At(self.state()))
    }

    /// Writes a file of the vault, by its path in it.
    pub fn put(&self, path: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
        put(&self.vault().join(path), bytes)
    }

    /// Removes every secret and the state directory.
    pub fn clear(&self) {
        for directory in [self.vault().join("secrets"), self.state()] {
            match std::fs::remove_dir_all(directory) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
                _ => {}
            }
        }
    }
}

/// Writes a file, and makes its directories.
pub fn put(path: &Path, bytes: &[u8]) -> PathBuf {
    std::fs::create_dir_all(path.parent().expect("a file")).expect("made");
    std::fs::write(path, bytes).expect("written");
    path.to_owned()
}

/// Returns the path of a secret below the vault, as `docs/vault-format.md` has it.
pub fn path(id: &SecretId) -> String {
    let name = &id.name;
    match &id.scope {
        Scope::Organization => format!("secrets/org/{name}.age"),
        Scope::Project(project) => format!("secrets/project/{project}/{name}.age"),
        Scope::Domain(domain) => format!("secrets/domain/{domain}/{name}.age"),
        Scope::ProjectDomain(project, domain) => format!("secrets/project/{project}/domain/{domain}/{name}.age"),
    }
}

/// Returns the secret of these parts; an empty project or domain means that it has none.
pub fn id(project: &str, domain: &str, name: &str) -> SecretId {
    SecretId { scope: Scope::new(project.parse().ok(), domain.parse().ok()), name: name.parse().expect("a good name") }
}

/// Returns the files below a directory, by their paths in it.
pub fn files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut unvisited = vec![directory.to_owned()];
    while let Some(next) = unvisited.pop() {
        for entry in std::fs::read_dir(next).expect("listed").map(|entry| entry.expect("listed")) {
            if entry.file_type().expect("known").is_dir() {
                unvisited.push(entry.path());
            } else {
                let path = entry.path();
                found.push(path.strip_prefix(directory).expect("below it").to_str().expect("UTF-8").to_owned());
            }
        }
    }
    found.sort();
    found
}
