//! The text of an identity file while one of its keys takes the place of another: both are in it until the old one is not
//! needed any more, and a comment says which is which, so that what was stopped can go on.

use zeroize::Zeroizing;

use super::{Identity, Recipient};

/// What stands before a key that takes the place of another.
const MARK: &str = "# takes the place of: ";

/// The text with a new key in it, which is to take the place of `old`.
pub fn begin(text: &str, old: &Recipient, new: &Identity, created: &str) -> Zeroizing<String> {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let added = new.to_file(created);
    Zeroizing::new([text, end, MARK, &old.to_string(), "\n", &added].concat())
}

/// The key that is to go and the one that takes its place, if both are there.
pub fn unfinished(text: &str) -> Option<(Recipient, Recipient)> {
    let keys: Vec<_> = text.lines().filter_map(recipient).collect();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(old) = line.strip_prefix(MARK).and_then(|old| old.parse().ok()) else { continue };
        let new = lines.clone().find_map(recipient)?;
        if keys.contains(&old) && old != new {
            return Some((old, new));
        }
    }
    None
}

/// The text without a key, and the text that was taken out: the key with the comments above it.
pub fn end(text: &str, old: &Recipient) -> (Zeroizing<String>, Zeroizing<String>) {
    let (mut left, mut taken) = (Zeroizing::new(String::new()), Zeroizing::new(String::new()));
    // With the room reserved at once, they never grow and leave no copy behind.
    left.reserve_exact(text.len() + 1);
    taken.reserve_exact(text.len() + 1);
    let mut block = 0;
    for (index, line) in text.lines().enumerate() {
        let is_mark = line.strip_prefix(MARK).is_some_and(|replaced| replaced == old.to_string());
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

/// Whose key a line holds.
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

    #[test]
    fn one_key_takes_the_place_of_another_and_the_rest_stays() {
        let [other, old, new] = std::array::from_fn(|_| Identity::generate());
        let before = format!("# mine\n{}\n{}# at the end", &*other.to_file("1"), &*old.to_file("2"));
        assert_eq!(unfinished(&before), None);
        let both = begin(&before, &old.recipient(), &new, "3");
        assert!(both.starts_with(&before));
        assert_eq!(keys(&both), [other.recipient(), old.recipient(), new.recipient()]);
        assert_eq!(unfinished(&both), Some((old.recipient(), new.recipient())));
        let (left, taken) = end(&both, &old.recipient());
        assert_eq!(*taken, *old.to_file("2"));
        assert_eq!(*left, format!("# mine\n{}\n# at the end\n{}", &*other.to_file("1"), &*new.to_file("3")));
        assert_eq!(unfinished(&left), None);
        // And once more, from there.
        let newer = Identity::generate();
        let both = begin(&left, &new.recipient(), &newer, "4");
        assert_eq!(unfinished(&both), Some((new.recipient(), newer.recipient())));
        assert_eq!(keys(&end(&both, &new.recipient()).0), [other.recipient(), newer.recipient()]);
    }

    #[test]
    fn a_mark_without_its_keys_is_none() {
        let [old, new] = std::array::from_fn(|_| Identity::generate());
        let both = begin(&old.to_file("1"), &old.recipient(), &new, "2");
        assert_eq!(unfinished(&both.replace(&format!("\n{}", old_key(&old)), "\n")), None);
        let cut = &both[..both.find("AGE-SECRET-KEY").expect("one") + 80];
        assert_eq!(unfinished(cut.lines().next().expect("one")), None);
        assert_eq!(unfinished(&format!("{MARK}{}\n", old.recipient())), None);
    }

    fn old_key(identity: &Identity) -> String {
        identity.to_file("").lines().last().expect("the key").to_owned()
    }
}
