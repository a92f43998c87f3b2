//! Commands that write several secrets or an identity, and the checks after a fault, however much of the command was
//! done.

use std::ops::Deref;
use std::path::Path;

use flyte_local::crypto::{Identity, IdentityFile, Passphrase};
use flyte_local::secret::SecretValue;
use flyte_local::vault::{NamedRecipient, Vault, VaultError};

use super::PATIENCE;
use super::runner::Runner;
use crate::support::{Ran, Sandbox, scope_options, secret_id};

const PLACES: [&str; 3] = ["org/a", "domain/d/b", "domain/d/c"];
const PASSPHRASE: &str = "correct horse";
const ANOTHER: &str = "battery staple";

/// A command that changes the disk in several steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// `rekey` of secrets that are not yet encrypted to bob, a recipient
    Rekey,
    /// `create recipient`
    Join,
    /// `delete recipient`
    Leave,
    /// `import` of a file
    Import,
    /// `import --from-vault`
    Move,
    /// `init --git`
    InitGit,
    /// `init --passphrase`
    InitProtected,
    /// `update identity --passphrase`
    Protect,
    /// `update identity --no-passphrase`
    Unprotect,
}

impl Change {
    pub(crate) const ALL: [Change; 9] = [
        // The slow commands come first, so that both threads end at about the same time.
        Change::Protect,
        Change::InitProtected,
        Change::Join,
        Change::Leave,
        Change::Rekey,
        Change::Move,
        Change::Import,
        Change::InitGit,
        Change::Unprotect,
    ];

    /// Returns whether each run computes a passphrase's key, which takes almost a second each time.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Change::InitProtected | Change::Protect)
    }

    /// Returns whether the command creates a vault.
    fn makes(self) -> bool {
        matches!(self, Change::InitProtected | Change::InitGit)
    }

    /// Returns whether the command changes the recipients that secrets are encrypted to.
    pub(crate) fn is_of_recipients(self) -> bool {
        matches!(self, Change::Rekey | Change::Join | Change::Leave)
    }

    fn imports(self) -> bool {
        matches!(self, Change::Import | Change::Move)
    }
}

/// The part of a command that was done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Done {
    Nothing,
    Some,
    All,
}

pub(crate) struct Several {
    change: Change,
    runner: Runner,
    bob: Identity,
}

impl Deref for Several {
    type Target = Runner;

    fn deref(&self) -> &Runner {
        &self.runner
    }
}

impl Several {
    pub(crate) fn new(change: Change) -> Self {
        let (sandbox, bob) = (Sandbox::in_memory(), Identity::generate());
        let key = bob.recipient().to_string();
        let named = NamedRecipient { name: "bob".to_owned(), key: bob.recipient() };
        if !change.makes() {
            sandbox.ok(&["init"]);
        }
        if change == Change::Leave {
            sandbox.open_vault().writer().expect("writable").add_recipients(vec![named.clone()]).expect("added");
        }
        if change.is_of_recipients() {
            create_all(&sandbox, &[]);
        }
        let mut input = None;
        // Absolute paths, because an error then names the whole path.
        let [env, other] = ["new.env", "other"].map(|name| sandbox.work().join(name).display().to_string());
        let arguments: Vec<&str> = match change {
            Change::Rekey => {
                sandbox.open_vault().writer().expect("writable").add_recipients(vec![named]).expect("added");
                vec!["rekey"]
            }
            Change::Join => vec!["create", "recipient", &key, "--name", "bob"],
            Change::Leave => vec!["delete", "recipient", "bob"],
            Change::Import => {
                let lines: String = PLACES.iter().map(|place| format!("{}={place}\n", name_in_file(place))).collect();
                sandbox.file("new.env", lines);
                vec!["import", &env, "-d", "d"]
            }
            Change::Move => {
                sandbox.ok(&["--vault", "other", "init"]);
                create_all(&sandbox, &["--vault", "other"]);
                vec!["import", "--from-vault", &other]
            }
            Change::InitGit => vec!["init", "--git"],
            Change::InitProtected => {
                input = Some(format!("{PASSPHRASE}\n"));
                vec!["--passphrase-fd", "0", "init", "--passphrase"]
            }
            Change::Protect => {
                input = Some(format!("{PASSPHRASE}\n"));
                vec!["--passphrase-fd", "0", "update", "identity", "--passphrase"]
            }
            Change::Unprotect => {
                let text = std::fs::read(sandbox.identity()).expect("there is one");
                std::fs::write(sandbox.identity(), crate::support::identities::locked(&text, PASSPHRASE))
                    .expect("written");
                input = Some(format!("{PASSPHRASE}\n"));
                vec!["--passphrase-fd", "0", "update", "identity", "--no-passphrase"]
            }
        };
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        Self { change, runner: Runner::new(sandbox, arguments, input.as_deref()), bob }
    }

    /// Returns how much of the command was done, and asserts that every file is whole.
    pub(crate) fn done(&self) -> Done {
        if self.change.makes() {
            return self.done_of_new_vault();
        }
        assert!(self.is_unchanged(&self.sandbox.author()), "the signing key was changed");
        let manifest = self.sandbox.vault().join("vault.toml");
        if matches!(self.change, Change::Protect | Change::Unprotect) {
            assert!(self.is_unchanged(&manifest), "vault.toml was changed");
            return self.done_of_identity();
        }
        assert!(self.is_unchanged(&self.sandbox.identity()), "the identity was changed");
        let vault = self.sandbox.open_vault();
        let listing = vault.list(&Default::default()).expect("listed");
        assert!(listing.refused.is_empty(), "{:?}", listing.refused);
        let root = flyte_local::storage::Directory::open(&self.sandbox.vault()).expect("there is a vault");
        flyte_local::storage::Lock::acquire(&root, ".lock", PATIENCE).expect("the lock becomes free");
        let mut steps = Vec::new();
        if matches!(self.change, Change::Join | Change::Leave) {
            let has_bob = vault.recipients().iter().any(|known| known.key == self.bob.recipient());
            let is_new = has_bob == (self.change == Change::Join);
            assert!(is_new || self.is_unchanged(&manifest), "vault.toml is neither the old one nor the new one");
            steps.push(is_new);
        } else {
            assert!(self.is_unchanged(&manifest), "vault.toml was changed");
        }
        steps.extend(self.places().iter().map(|place| self.is_done(&vault, place)));
        assert!(!self.change.is_of_recipients() || listing.secrets.len() == PLACES.len(), "one is lost");
        summed(&steps)
    }

    /// Returns the places of the command's secrets. A file to import has only the names.
    fn places(&self) -> [String; 3] {
        PLACES.map(|place| match self.change {
            Change::Import => format!("domain/d/{}", name_in_file(place)),
            _ => place.to_owned(),
        })
    }

    /// Returns whether one secret is in its new state, and asserts that it is in the old or the new one.
    fn is_done(&self, vault: &Vault, place: &str) -> bool {
        let opens = |identities: &[Identity]| match vault.value(&secret_id(place), &identities.to_vec()) {
            Ok(value) => {
                assert!(PLACES.iter().any(|other| other.as_bytes() == value.expose()), "{place} has another value");
                assert!(value.expose().ends_with(&place.as_bytes()[place.len() - 1..]), "{place} has another's value");
                Ok(true)
            }
            Err(VaultError::SecretMissing { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        let found = opens(&self.sandbox.identities()).unwrap_or_else(|error| panic!("{place} is lost: {error:?}"));
        if self.change.imports() {
            return found;
        }
        assert!(found, "{place} is gone");
        let is_new = !self.is_unchanged(&self.sandbox.secret_file(place));
        let opens_for_bob = matches!(opens(std::slice::from_ref(&self.bob)), Ok(true));
        assert_eq!(
            opens_for_bob,
            is_new == (self.change != Change::Leave),
            "{place} is encrypted neither to the old recipients nor to the new ones"
        );
        is_new
    }

    /// Returns how much of a change of the identity was done. The file must be the old one, or a new one that opens.
    fn done_of_identity(&self) -> Done {
        let file = self.sandbox.identity();
        if self.is_unchanged(&file) {
            return Done::Nothing;
        }
        let identities = match (IdentityFile::parse(&std::fs::read(file).expect("it is there")), self.change) {
            (Ok(IdentityFile::Open(identities)), Change::Unprotect) => identities,
            (Ok(IdentityFile::Locked(locked)), Change::Protect) => opened(&locked, PASSPHRASE),
            (other, _) => panic!("neither the old identity nor the new one: {other:?}"),
        };
        assert_eq!(
            identities[0].recipient(),
            self.sandbox.open_vault().recipients()[0].key,
            "the file has another identity"
        );
        Done::All
    }

    /// Returns how much of `init` was done. Each file must be whole or missing, and a vault must open.
    fn done_of_new_vault(&self) -> Done {
        let recipient = std::fs::read(self.sandbox.identity()).ok().map(|file| {
            let identities = match (IdentityFile::parse(&file), self.change) {
                (Ok(IdentityFile::Open(identities)), Change::InitGit) => identities,
                (Ok(IdentityFile::Locked(locked)), Change::InitProtected) => opened(&locked, PASSPHRASE),
                (other, _) => panic!("the identity is torn, or not protected: {other:?}"),
            };
            identities[0].recipient()
        });
        let author = self.sandbox.author().exists().then(|| self.sandbox.author_key().author());
        match self.sandbox.open_unpinned_vault() {
            Err(VaultError::Missing { .. }) => return Done::Nothing,
            Err(error) => panic!("vault.toml is torn: {error:?}"),
            Ok(vault) => {
                assert_eq!(recipient.as_ref(), Some(&vault.recipients()[0].key), "its identity is lost");
                assert_eq!(author.as_ref(), Some(&vault.authors()[0].key), "its author's key is lost");
            }
        }
        let ends = |(name, end): &(&str, &str)| match std::fs::read_to_string(self.sandbox.vault().join(name)) {
            Ok(text) => {
                assert!(text.ends_with(end), "{name} is torn: {text}");
                true
            }
            Err(_) => false,
        };
        let files = [(".gitattributes", "\nvault.toml text eol=lf\n"), (".gitignore", "\n.flyte-local-*.tmp\n")];
        match self.change {
            Change::InitGit if !files.iter().all(ends) => Done::Some,
            _ => Done::All,
        }
    }

    /// Repeats the command, follows its hints, and asserts that everything is then done. The next writer must leave no
    /// temporary file, and the user need not accept anything.
    pub(crate) fn repeat(&self, before: Done) {
        let ran = self.run_again();
        // The command fails if the first run changed the recipients, although secrets may still need a rekey.
        let refused = match self.change {
            Change::Join => 12,
            Change::Leave => 10,
            Change::InitProtected => 12,
            _ => 0,
        };
        if ran.code != 0 {
            assert!(ran.code == refused && before != Done::Nothing || self.is_half_made(), "{ran:?}");
        }
        if ran.code != 0 && self.change.is_of_recipients() && self.done() != Done::All {
            let rekey = self.sandbox.type_hint(&ran, "rekey");
            assert_eq!(rekey.code, 0, "{rekey:?}");
        }
        if ran.code != 0 && self.is_half_made() {
            // The protected identity exists, and only the vault is missing.
            assert!(ran.code == 12 && ran.stderr.contains("an identity already exists"), "{ran:?}");
            let init = self.sandbox.with_passphrases(&[PASSPHRASE], &["init"]);
            assert_eq!(init.code, 0, "{init:?}");
        }
        assert_eq!(self.done(), Done::All, "{ran:?}");
        self.write_everywhere();
        assert_eq!(self.leftovers(), 0, "the next writer removes temporary files");
    }

    /// Returns whether `init` created the identity but not the vault.
    fn is_half_made(&self) -> bool {
        let is_there = self.sandbox.vault().join("vault.toml").exists();
        self.change == Change::InitProtected && self.sandbox.identity().exists() && !is_there
    }

    /// Runs the command again, with the input that it now needs.
    fn run_again(&self) -> Ran {
        match self.change {
            // If the first run protected the file, the command also asks for the present passphrase.
            Change::Protect if !self.is_unchanged(&self.sandbox.identity()) => {
                let lines = [PASSPHRASE, ANOTHER];
                let ran = self.sandbox.with_passphrases(&lines, &["update", "identity", "--passphrase"]);
                assert_eq!(ran.code, 0, "{ran:?}");
                self.sandbox.with_passphrases(&[ANOTHER, PASSPHRASE], &["update", "identity", "--passphrase"])
            }
            Change::InitProtected | Change::Protect | Change::Unprotect => {
                self.sandbox.pipe(&self.arguments, format!("{PASSPHRASE}\n").as_bytes())
            }
            _ => self.sandbox.run(&self.arguments),
        }
    }

    /// Writes a secret in each place, as a user who continues to work with the vault.
    fn write_everywhere(&self) {
        let mut vault = self.sandbox.open_vault();
        let value = SecretValue::new(b"the newest".to_vec().into()).expect("small enough");
        if self.change.makes() || matches!(self.change, Change::Protect | Change::Unprotect) {
            vault
                .writer()
                .expect("writable")
                .create_secret(&secret_id("org/s"), flyte_local::secret::SecretType::Regular, &value)
                .expect("created");
        } else {
            for place in self.places() {
                vault.writer().expect("writable").update_secret(&secret_id(&place), &value).expect("updated");
            }
        }
        assert!(vault.changes().is_empty(), "{:?}", vault.changes());
    }
}

/// Returns the name that a file to import has for the secret of this place.
fn name_in_file(place: &str) -> &str {
    Path::new(place).file_name().and_then(std::ffi::OsStr::to_str).expect("it has one")
}

/// Creates a secret in each place, whose value is the place.
fn create_all(sandbox: &Sandbox, which: &[&str]) {
    for place in PLACES {
        let scope = scope_options(place);
        let scope: Vec<_> = scope.iter().map(String::as_str).collect();
        let create = ["create", "secret", name_in_file(place), "--value", place];
        sandbox.ok(&[which, &create[..], &scope[..]].concat());
    }
}

fn opened(locked: &flyte_local::crypto::LockedIdentity, passphrase: &str) -> Vec<Identity> {
    let passphrase = Passphrase::new(passphrase.as_bytes()).expect("it is one");
    locked.unlock(&passphrase).expect("it opens with its passphrase").identities
}

fn summed(steps: &[bool]) -> Done {
    match steps.iter().filter(|&&step| step).count() {
        0 => Done::Nothing,
        all if all == steps.len() => Done::All,
        _ => Done::Some,
    }
}
