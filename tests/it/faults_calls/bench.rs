//! One home, put back to the same state before each run, so that each run makes the same calls; and what must hold after it.

use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex};

use flyte_local::crypto::{AuthorKey, Identity};
use flyte_local::secret::{SecretType, SecretValue};
use flyte_local::vault::{Listener, Vault, VaultError, VaultOptions};

use super::runner::Runner;
use crate::support::{Sandbox, identities, scope_options, secret_id};

pub(crate) const OLD: &[u8] = b"the old value";
pub(crate) const NEW: &[u8] = b"the new value, of another length";
const OTHER: &[u8] = b"a value that nobody touches";

/// What changes the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Verb {
    Init,
    /// Into a scope that has no directory yet.
    Create,
    Update,
    Delete,
    /// Signs the value that is there anew.
    Adopt,
    /// Writes `vault.toml`, and what this machine remembers of it.
    Trust,
    /// Reads, on a machine that has never seen the vault and remembers it from then on.
    Read,
}

pub(crate) const VERBS: [Verb; 7] =
    [Verb::Init, Verb::Create, Verb::Update, Verb::Delete, Verb::Adopt, Verb::Trust, Verb::Read];

impl Verb {
    /// Where the secret is that it is about.
    fn place(self) -> &'static str {
        if self == Verb::Create { "project/p/domain/d/s" } else { "domain/d/s" }
    }

    /// The value before, if there is a secret.
    fn before(self) -> Option<&'static [u8]> {
        (!matches!(self, Verb::Init | Verb::Create)).then_some(OLD)
    }

    /// The value after.
    fn after(self) -> Option<&'static [u8]> {
        match self {
            Verb::Init | Verb::Delete => None,
            Verb::Create | Verb::Update => Some(NEW),
            Verb::Adopt | Verb::Trust | Verb::Read => Some(OLD),
        }
    }
}

/// What a run left: what was before it, what it was to do, or both, where they do not differ in what can be seen.
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

    /// What is there, which must be whole: no file torn, no key lost, and nothing else touched.
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
        let (vault, told) = self.open();
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
        flyte_local::storage::Lock::acquire(&root, ".lock", std::time::Duration::ZERO).expect("the lock is free");
        // The only things to be told: to who never saw the vault, that it is seen; and that an author was named, but not yet
        // accepted.
        let told = told.lock().expect("no panic while it is held").clone();
        let is_expected = |told: &String| match self.verb {
            Verb::Read => told.starts_with("FirstUse"),
            Verb::Trust => told.starts_with("Changed"),
            _ => false,
        };
        assert!(told.iter().all(is_expected), "{told:?}");

        let trusted = vault.authors().iter().any(|author| author.key == self.newcomer.author());
        let (is_old, is_new) = (found.as_deref() == self.verb.before(), found.as_deref() == self.verb.after());
        match self.verb {
            Verb::Trust => State { is_old: is_old && !trusted, is_new: is_new && trusted },
            _ => State { is_old, is_new },
        }
    }

    /// The vault as its user has it, and what is told of it.
    fn open(&self) -> (Vault, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = told.clone();
        let listener = Listener::new(move |notice| {
            listener.lock().expect("no panic while it is held").push(format!("{notice:?}"));
        });
        let options = VaultOptions { listener, ..self.sandbox.vault_options() };
        let vault = options.open(&self.sandbox.vault()).expect("there is a vault, and its pin can be read");
        (vault.with_author(self.sandbox.author_key()), told)
    }

    /// Each key file is whole or not there, and a vault has the keys that are there.
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

    /// The next one to write here finds nothing in its way, and leaves no temporary file, whosoever it was.
    pub(crate) fn write_again(&self, state: &State) {
        if self.verb == Verb::Init {
            return self.init_again(state);
        }
        let id = secret_id(self.verb.place());
        let value = SecretValue::new(b"the newest".to_vec().into()).expect("small enough");
        let (mut vault, told) = self.open();
        match self.verb {
            Verb::Trust => drop(
                vault.lock().expect("lockable").trust_author("newcomer", &self.newcomer.author()).expect("trusted"),
            ),
            Verb::Read => drop(vault.value(&id, &self.sandbox.identities()).expect("it is there")),
            _ if vault.metadata(&id).is_ok() => {
                drop(vault.writer().expect("writable").update_secret(&id, &value).expect("updated"))
            }
            _ => drop(
                vault.writer().expect("writable").create_secret(&id, SecretType::Regular, &value).expect("created"),
            ),
        }
        assert!(vault.changes().is_empty(), "{:?}", vault.changes());
        let told = told.lock().expect("no panic while it is held").clone();
        assert!(told.iter().all(|told| self.verb == Verb::Read && told.starts_with("FirstUse")), "{told:?}");
        assert_eq!(self.leftovers(), 0, "what a killed writer left is swept by the next");
    }

    fn init_again(&self, state: &State) {
        let again = self.sandbox.run(&["init"]);
        assert_eq!(again.code, if state.is_new { 12 } else { 0 }, "{again:?}");
        let create = self.sandbox.run(&["create", "secret", "s", "v"]);
        // One that was killed before it remembered its vault has the next command tell that it is seen.
        let is_first_use = |line: &&str| line.starts_with("flyte-local: first use of ") || line.starts_with("  + ");
        let told: Vec<_> = create.stderr.lines().filter(|line| !is_first_use(line)).collect();
        assert_eq!((create.code, &*told), (0, &["created secret s (organization)"][..]), "{create:?}");
        let get = self.sandbox.run(&["get", "secret", "s", "--reveal"]);
        assert_eq!((get.code, &*get.stdout, &*get.stderr), (0, &b"v"[..], ""), "{get:?}");
        assert_eq!(self.leftovers(), 0, "what a killed init left is swept by the next commands");
    }
}
