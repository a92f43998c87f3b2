//! Settings for a vault in a git repository: git must not change a byte of a secret, must not merge two of them, and must not
//! keep files of this machine. Git itself is not started.

use super::{LockedVault, Vault, VaultError};

/// Git's files: each line that is needed, after what it is for.
const FILES: [(&str, &str, &[&str]); 2] = [
    (
        ".gitattributes",
        "# Secrets are bytes: git is not to convert line ends in them, nor to merge two of them into one.",
        &["*.age binary", "vault.toml text eol=lf"],
    ),
    (
        ".gitignore",
        "# The lock, and what a writer that was killed left behind.",
        &["/.lock", ".tmp", ".flyte-local-*.tmp"],
    ),
];

/// More than such a file needs.
const MAX_BYTES: usize = 1 << 20;

impl Vault {
    /// Adds the lines that suit a vault to `.gitattributes` and `.gitignore` in its directory, behind what is there; the
    /// names of those that were changed.
    ///
    /// # Errors
    /// Those of [`Vault::lock`]; the system's; what is there is no regular file.
    pub fn suit_git(&mut self) -> Result<Vec<&'static str>, VaultError> {
        let LockedVault { vault, lock, .. } = self.lock()?;
        let mut changed = Vec::new();
        for (name, comment, lines) in FILES {
            let found = vault.root.read(name, MAX_BYTES)?;
            if let Some(text) = completed(found.as_deref().map_or(&[], Vec::as_slice), comment, lines) {
                vault.root.put(&lock, name, &text)?;
                changed.push(name);
            }
        }
        Ok(changed)
    }
}

/// The text with the lines that it lacks at its end; `None` if it lacks none.
fn completed(text: &[u8], comment: &str, lines: &[&str]) -> Option<Vec<u8>> {
    let has = |line: &&&str| text.split(|&byte| byte == b'\n').any(|other| other.trim_ascii_end() == line.as_bytes());
    let lacking: Vec<_> = lines.iter().filter(|line| !has(line)).copied().collect();
    if lacking.is_empty() {
        return None;
    }
    let between = if text.is_empty() || text.ends_with(b"\n") { "" } else { "\n" };
    Some([text, between.as_bytes(), comment.as_bytes(), b"\n", lacking.join("\n").as_bytes(), b"\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_lines_stay_and_missing_lines_are_added_once() {
        let completed = |text: &str| completed(text.as_bytes(), "# why", &["a", "b c"]);
        let text = |text: &str| String::from_utf8(completed(text).expect("changed")).expect("UTF-8");
        assert_eq!(text(""), "# why\na\nb c\n");
        assert_eq!(text("x\n"), "x\n# why\na\nb c\n");
        assert_eq!(text("x"), "x\n# why\na\nb c\n");
        assert_eq!(text("b c\nab"), "b c\nab\n# why\na\n");
        assert_eq!(text("# a\n a\n"), "# a\n a\n# why\na\nb c\n");
        for whole in ["# why\na\nb c\n", "b c\na", "a\r\nb c\r\n", "z\nb c \na\ny"] {
            assert_eq!(completed(whole), None, "{whole:?}");
        }
    }
}
