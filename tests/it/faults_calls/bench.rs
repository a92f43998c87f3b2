//! A home directory that is reset before each run, so that each run makes the same calls, and the checks after a run.

use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex};

use flyte_local::crypto::{AuthorKey, Identity};
use flyte_local::secret::{SecretType, SecretValue};
use flyte_local::vault::{Listener, Vault, VaultError, VaultOptions};

use super::PATIENCE;
use super::runner::Runner;
use crate::support::{Sandbox, identities, scope_options, secret_id};

pub(crate) const OLD: &[u8] = b"the old value";
pub(crate) const NEW: &[u8] = b"the new value, of another length";
const OTHER: &[u8] = b"a value that no command touches";

/// A command that changes the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verb {
    Init,
    /// Into a scope that has no directory yet.
    Create,
    Update,
    Delete,
    /// Signs the existing value again.
    Adopt,
    /// Writes `vault.toml`, and this machine's pin of it.
    Trust,
    /// Reads on a machine that has never seen the vault, and records it there.
    Read,
}

pub(crate) const VERBS: [Verb; 7] =
    [Verb::Init, Verb::Create, Verb::Update, Verb::Delete, Verb::Adopt, Verb::Trust, Verb::Read];

impl Verb {
    /// Returns the place of the secret that the command uses.
    fn place(self) -> &'static str {
        if self == Verb::Create { "project/p/domain/d/s" } else { "domain/d/s" }
    }

    /// Returns the value before the command, if there is a secret.
    fn before(self) -> Option<&'static [u8]> {
        (!matches!(self, Verb::Init | Verb::Create)).then_some(OLD)
    }

    /// Returns the value after the command, if there is a secret.
    fn after(self) -> Option<&'static [u8]> {
        match self {
            Verb::Init | Verb::Delete => None,
            Verb::Create | Verb::Update => Some(NEW),
            Verb::Adopt | Verb::Trust | Verb::Read => Some(OLD),
        }
    }
}

/// The state after a run: the old one, the new one, or both if no check can tell them apart.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) is_old: bool,
    pub(crate) is_new: bool,
}

pub(crate) struct Bench {
    verb: Verb,
    runner: Runner,
    newcomer: AuthorKey,
}

impl Deref for Bench {
    type Target = Runner;

    fn deref(&self) -> &Runner {
        &self.runner
    }
}

impl Bench {
    pub(crate) fn new(verb: Verb) -> Self {
        let newcomer = AuthorKey::generate().expect("randomness");
        let sandbox = Sandbox::in_memory();
        let new = sandbox.file("new", NEW);
        if verb != Verb::Init {
            sandbox.ok(&["init"]);
            sandbox.secret("other", OTHER, &[]);
        }
        let scope: Vec<_> = scope_options(verb.place());
        let scope: Vec<_> = scope.iter().map(String::as_str).collect();
        if let Some(old) = verb.before() {
            sandbox.secret("s", old, &scope);
        }
        if verb == Verb::Read {
            std::fs::remove_dir_all(sandbox.state()).expect("it was there");
        }
        let (new, author) = (new.to_str().expect("UTF-8"), newcomer.author().to_string());
        let arguments: Vec<&str> = match verb {
            Verb::Init => vec!["init"],
            Verb::Create => vec!["create", "secret", "s", "--from-file", new],
            Verb::Update => vec!["update", "secret", "s", "--from-file", new],
            Verb::Delete => vec!["delete", "secret", "s"],
            Verb::Adopt => vec!["update", "secret", "s", "--adopt"],
            Verb::Trust => vec!["update", "vault", "--trust-author", &author],
            Verb::Read => vec!["get", "secret", "s", "--reveal"],
        };
        let scope = if matches!(verb, Verb::Init | Verb::Trust) { Vec::new() } else { scope };
        let arguments = [arguments, scope].concat().into_iter().map(str::to_owned).collect();
        Self { verb, runner: Runner::new(sandbox, arguments, None), newcomer }
    }

    /// Returns the present state, and asserts that it is intact: no file is torn, no key is lost, nothing else changed.
    pub(crate) fn state(&self) -> State {
        let unchanged = |path: &Path| assert!(self.is_unchanged(path), "{} was changed", path.display());
        if self.verb == Verb::Init {
            return self.state_of_new_vault();
        }
        unchanged(&self.sandbox.identity());
        unchanged(&self.sandbox.author());
        unchanged(&self.sandbox.secret_file("org/other"));
        if self.verb != Verb::Trust {
            unchanged(&self.sandbox.vault().join("vault.toml"));
        }
        let (vault, notices) = self.open();
        let identities = self.sandbox.identities();
        let value = |place: &str| match vault.value(&secret_id(place), &identities) {
            Ok(value) => Some(value.expose().to_vec()),
            Err(VaultError::SecretMissing { .. }) => None,
            Err(error) => panic!("{place} is torn or lost: {error:?}"),
        };
        let found = value(self.verb.place());
        let listing = vault.list(&Default::default()).expect("listed");
        assert!(listing.refused.is_empty(), "{:?}", listing.refused);
        assert_eq!(listing.secrets.len(), 1 + usize::from(found.is_some()));
        let root = flyte_local::storage::Directory::open(&self.sandbox.vault()).expect("there is a vault");
        flyte_local::storage::Lock::acquire(&root, ".lock", PATIENCE).expect("the lock becomes free");
        // Only two notices are expected: the first use of a vault, and an author that is named but not yet accepted.
        let notices = notices.lock().expect("no panic while it is held").clone();
        let is_expected = |notice: &String| match self.verb {
            Verb::Read => notice.starts_with("FirstUse"),
            Verb::Trust => notice.starts_with("Changed"),
            _ => false,
        };
        assert!(notices.iter().all(is_expected), "{notices:?}");

        let trusted = vault.authors().iter().any(|author| author.key == self.newcomer.author());
        let (is_old, is_new) = (found.as_deref() == self.verb.before(), found.as_deref() == self.verb.after());
        match self.verb {
            Verb::Trust => State { is_old: is_old && !trusted, is_new: is_new && trusted },
            _ => State { is_old, is_new },
        }
    }

    /// Opens the vault as its user does, and returns it with the notices about it.
    fn open(&self) -> (Vault, Arc<Mutex<Vec<String>>>) {
        let notices = Arc::new(Mutex::new(Vec::new()));
        let listener = notices.clone();
        let listener = Listener::new(move |notice| {
            listener.lock().expect("no panic while it is held").push(format!("{notice:?}"));
        });
        let options = VaultOptions { listener, ..self.sandbox.vault_options() };
        let vault = options.open(&self.sandbox.vault()).expect("there is a vault, and its pin can be read");
        (vault.with_author(self.sandbox.author_key()), notices)
    }

    /// Returns the state of a new vault. Each key file must be whole or missing, and a vault must have the keys in the
    /// files.
    fn state_of_new_vault(&self) -> State {
        let identities: Vec<Identity> = match self.sandbox.identity() {
            file if file.exists() => identities(&file),
            _ => Vec::new(),
        };
        let author = self.sandbox.author().exists().then(|| self.sandbox.author_key().author());
        match self.sandbox.open_unpinned_vault() {
            Err(VaultError::Missing { .. }) => State { is_old: true, is_new: false },
            Err(error) => panic!("vault.toml is torn: {error:?}"),
            Ok(vault) => {
                let recipient = identities.first().map(Identity::recipient);
                assert_eq!(Some(vault.recipients()[0].key.clone()), recipient, "its identity is lost");
                assert_eq!(Some(vault.authors()[0].key.clone()), author, "its author's key is lost");
                State { is_old: false, is_new: true }
            }
        }
    }

    /// Asserts that the next writer is not hindered, and removes the temporary files of earlier ones.
    pub(crate) fn write_again(&self, state: &State) {
        if self.verb == Verb::Init {
            return self.init_again(state);
        }
        let id = secret_id(self.verb.place());
        let value = SecretValue::new(b"the newest".to_vec().into()).expect("small enough");
        let (mut vault, notices) = self.open();
        match self.verb {
            Verb::Trust => drop(vault.trust_author("newcomer", &self.newcomer.author()).expect("trusted")),
            Verb::Read => drop(vault.value(&id, &self.sandbox.identities()).expect("it is there")),
            _ if vault.metadata(&id).is_ok() => {
                drop(vault.writer().expect("writable").update_secret(&id, &value).expect("updated"))
            }
            _ => drop(
                vault.writer().expect("writable").create_secret(&id, SecretType::Regular, &value).expect("created"),
            ),
        }
        assert!(vault.changes().is_empty(), "{:?}", vault.changes());
        let notices = notices.lock().expect("no panic while it is held").clone();
        let is_expected = |notice: &String| self.verb == Verb::Read && notice.starts_with("FirstUse");
        assert!(notices.iter().all(is_expected), "{notices:?}");
        assert_eq!(self.leftovers(), 0, "the next writer removes what a killed one left");
    }

    fn init_again(&self, state: &State) {
        let again = self.sandbox.run(&["init"]);
        assert_eq!(again.code, if state.is_new { 12 } else { 0 }, "{again:?}");
        let create = self.sandbox.run(&["create", "secret", "s", "v"]);
        // A vault whose `init` was killed is still one that this machine made.
        assert_eq!((create.code, &*create.stderr), (0, "created secret s (organization)\n"), "{create:?}");
        let get = self.sandbox.run(&["get", "secret", "s", "--reveal"]);
        assert_eq!((get.code, &*get.stdout, &*get.stderr), (0, &b"v"[..], ""), "{get:?}");
        assert_eq!(self.leftovers(), 0, "the next commands remove what a killed init left");
    }
}
