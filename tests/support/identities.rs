//! Identities of each kind, made by the other programs, and passphrases on a descriptor.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Ran, Sandbox, require};

/// A scrypt work factor that takes almost no time.
const CHEAP: u8 = 4;

impl Sandbox {
    /// Makes a key with `ssh-keygen`, of this type and with this passphrase, in the working directory.
    pub fn ssh_key(&self, name: &str, kind: &[&str], passphrase: &str) -> PathBuf {
        self.ssh_keygen(&[&["-q", "-t"], kind, &["-N", passphrase, "-f", name]].concat());
        self.work().join(name)
    }

    pub fn ssh_keygen(&self, arguments: &[&str]) {
        require("ssh-keygen", "openssh-client");
        let ran = Ran::from(self.program("ssh-keygen").args(arguments).output().expect("it starts"));
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    /// Writes an age identity that this passphrase unlocks quickly into a file in the working directory.
    pub fn locked_identity(&self, name: &str, passphrase: &str) -> PathBuf {
        let identity = flyte_local::crypto::Identity::generate();
        let path = self.file(name, locked(identity.to_file("now").as_bytes(), passphrase));
        private(&path);
        path
    }

    /// Protects the user's identity with a passphrase that is quick to check.
    pub fn lock_identity(&self, passphrase: &str) {
        let identity = std::fs::read(self.identity()).expect("there is one");
        let file = self.file("locked", locked(&identity, passphrase));
        private(&file);
        std::fs::rename(file, self.identity()).expect("moved");
    }

    /// Runs `flyte-local` with these lines on a passphrase descriptor.
    pub fn with_passphrases(&self, lines: &[&str], arguments: &[&str]) -> Ran {
        let mut lines = lines.join("\n");
        lines.push('\n');
        self.pipe(&[&["--passphrase-fd", "0"], arguments].concat(), lines.as_bytes())
    }
}

/// Encrypts with a passphrase as age does, at less cost.
pub fn locked(text: &[u8], passphrase: &str) -> Vec<u8> {
    let mut recipient = age::scrypt::Recipient::new(passphrase.to_owned().into());
    recipient.set_work_factor(CHEAP);
    let mut file = Vec::new();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
    let mut writer = encryptor.expect("a recipient").wrap_output(&mut file).expect("into memory");
    writer.write_all(text).and_then(|()| writer.finish()).expect("into memory");
    file
}

/// Makes a file readable only by its owner.
pub fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
}
