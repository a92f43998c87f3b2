//! The text of an identity file while one of its keys takes the place of another: both are in it until the old one is not
//! needed any more, and a comment says which is which, so that what was stopped can go on.

use zeroize::Zeroizing;

use super::{Identity, Recipient};

/// The words before the old key, above the key that replaces it; the vault in which it does so now follows, if any.
const MARK: &str = "# takes the place of: ";

/// The words between the two.
const IN: &str = " in the vault ";

/// A key that takes the place of another, of which both are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The key that is to go.
    pub old: Recipient,
    /// The key that takes its place.
    pub new: Recipient,
    /// The vault whose secrets may be encrypted to either: its id, and where it was. `None` between one vault and the next.
    pub vault: Option<(String, String)>,
}

impl Rotation {
    /// The text in which this one has just begun.
    pub fn begin(&self, text: &str, new: &Identity, created: &str) -> Zeroizing<String> {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        let added = new.to_file(created);
        Zeroizing::new([text, end, &self.mark(), "\n", &added].concat())
    }

    /// The one that a text says is not finished.
    pub fn find(text: &str) -> Option<Self> {
        let keys: Vec<_> = text.lines().filter_map(recipient).collect();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let Some(rest) = line.strip_prefix(MARK) else { continue };
            let (old, vault) = rest.split_once(IN).map_or((rest, None), |(old, vault)| (old, vault.split_once(' ')));
            let Ok(old) = old.parse() else { continue };
            let new = lines.clone().find_map(recipient)?;
            if keys.contains(&old) && old != new {
                let vault = vault.map(|(id, path)| (id.to_owned(), path.to_owned()));
                return Some(Self { old, new, vault });
            }
        }
        None
    }

    /// The text with this mark in the place of another of the same key.
    pub fn remark(&self, text: &str) -> Zeroizing<String> {
        let mut marked = Zeroizing::new(String::with_capacity(text.len() + self.mark().len() + 1));
        for line in text.lines() {
            marked.push_str(&if is_mark(line, &self.old) { self.mark() } else { line.to_owned() });
            marked.push('\n');
        }
        marked
    }

    fn mark(&self) -> String {
        let vault = self.vault.as_ref().map(|(id, path)| format!("{IN}{id} {}", path.replace(char::is_control, "?")));
        format!("{MARK}{}{}", self.old, vault.unwrap_or_default())
    }
}

fn is_mark(line: &str, old: &Recipient) -> bool {
    line.strip_prefix(MARK).is_some_and(|rest| rest.split(' ').next() == Some(&old.to_string()))
}

/// The text without a key, and the text that was taken out: the key with the comments above it.
pub fn end(text: &str, old: &Recipient) -> (Zeroizing<String>, Zeroizing<String>) {
    let (mut left, mut taken) = (Zeroizing::new(String::new()), Zeroizing::new(String::new()));
    // With the room reserved at once, they never grow and leave no copy behind.
    left.reserve_exact(text.len() + 1);
    taken.reserve_exact(text.len() + 1);
    let mut block = 0;
    for (index, line) in text.lines().enumerate() {
        let is_mark = is_mark(line, old);
        if line.starts_with('#') && !is_mark {
            continue;
        }
        let into = if recipient(line).as_ref() == Some(old) { &mut taken } else { &mut left };
        for line in text.lines().take(index + usize::from(!is_mark)).skip(block) {
            into.push_str(line);
            into.push('\n');
        }
        block = index + 1;
    }
    for line in text.lines().skip(block) {
        left.push_str(line);
        left.push('\n');
    }
    (left, taken)
}

/// Returns the public half of the key in a line.
fn recipient(line: &str) -> Option<Recipient> {
    let identities = Identity::parse_file(line).ok()?;
    identities.first().map(Identity::recipient)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<Recipient> {
        Identity::parse_file(text).map(|all| all.iter().map(Identity::recipient).collect()).unwrap_or_default()
    }

    fn rotation(old: &Identity, new: &Identity, vault: Option<(&str, &str)>) -> Rotation {
        let vault = vault.map(|(id, path)| (id.to_owned(), path.to_owned()));
        Rotation { old: old.recipient(), new: new.recipient(), vault }
    }

    #[test]
    fn one_key_takes_the_place_of_another_and_the_rest_stays() {
        let [other, old, new] = std::array::from_fn(|_| Identity::generate());
        let before = format!("# mine\n{}\n{}# at the end", &*other.to_file("1"), &*old.to_file("2"));
        assert_eq!(Rotation::find(&before), None);
        let first = rotation(&old, &new, Some(("0123", "/a vault/elsewhere")));
        let both = first.begin(&before, &new, "3");
        assert!(both.starts_with(&before));
        assert_eq!(keys(&both), [other.recipient(), old.recipient(), new.recipient()]);
        assert_eq!(Rotation::find(&both), Some(first));
        // Between two vaults, and in the next.
        for vault in [None, Some(("4567", "/b"))] {
            let marked = rotation(&old, &new, vault).remark(&both);
            assert_eq!(Rotation::find(&marked), Some(rotation(&old, &new, vault)));
            assert_eq!(keys(&marked), keys(&both));
            let (left, taken) = end(&marked, &old.recipient());
            assert_eq!(*taken, *old.to_file("2"));
            assert_eq!(*left, format!("# mine\n{}\n# at the end\n{}", &*other.to_file("1"), &*new.to_file("3")));
            assert_eq!(Rotation::find(&left), None);
        }
        // And once more, from there.
        let (left, newer) = (end(&both, &old.recipient()).0, Identity::generate());
        let both = rotation(&new, &newer, None).begin(&left, &newer, "4");
        assert_eq!(Rotation::find(&both), Some(rotation(&new, &newer, None)));
        assert_eq!(keys(&end(&both, &new.recipient()).0), [other.recipient(), newer.recipient()]);
    }

    #[test]
    fn a_mark_without_its_keys_is_ignored() {
        let [old, new] = std::array::from_fn(|_| Identity::generate());
        let both = rotation(&old, &new, None).begin(&old.to_file("1"), &new, "2");
        let last = |identity: &Identity| identity.to_file("").lines().last().expect("the key").to_owned();
        for gone in [last(&old), last(&new)] {
            assert_eq!(Rotation::find(&both.replace(&gone, "")), None);
        }
        assert_eq!(Rotation::find(&format!("{MARK}{}\n", old.recipient())), None);
    }
}
