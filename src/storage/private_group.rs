//! The group that most systems make for each user: it has the user's number and no other member.
//!
//! On these systems the umask leaves new files open to that group, so its permissions are accepted as long as the user is
//! alone in it. The members are those of `/etc/group` and `/etc/passwd`: a directory service (LDAP) is not asked.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use rustix::fs::Stat;

const GROUPS: &str = "/etc/group";
const USERS: &str = "/etc/passwd";

/// Returns `true` if only the file's owner can use the permissions of its group. `has_acl` tells whether an access control
/// list gives them to others too: its entries are hidden behind the group's bits.
pub(super) fn is_of_private_group(stat: &Stat, has_acl: impl FnOnce() -> bool) -> bool {
    let user = rustix::process::geteuid().as_raw();
    user != 0 && stat.st_uid == user && stat.st_gid == user && !has_acl() && is_alone(user)
}

/// Returns `true` if no other user is in the group with this user's number. The files are read once.
fn is_alone(user: u32) -> bool {
    static IS_ALONE: OnceLock<bool> = OnceLock::new();
    *IS_ALONE.get_or_init(|| {
        let read = |path: &str| match std::fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Vec::new()),
            Err(_) => None,
        };
        match (read(GROUPS), read(USERS)) {
            (Some(groups), Some(users)) => has_no_other(&groups, &users, user),
            _ => false,
        }
    })
}

/// Returns `true` if no user but this one is a member of the group with this number, or has it as the first group.
fn has_no_other(groups: &[u8], users: &[u8], number: u32) -> bool {
    let lines =
        |text| <[u8]>::split(text, |&byte| byte == b'\n').map(|line| line.split(|&byte| byte == b':').collect());
    let is =
        |field: Option<&&[u8]>| field.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()) == Some(number);
    let mut own_names = BTreeSet::new();
    for user in lines(users) {
        let user: Vec<&[u8]> = user;
        match (is(user.get(2)), is(user.get(3))) {
            (true, _) => drop(own_names.insert(user[0])),
            (false, true) => return false,
            (false, false) => {}
        }
    }
    lines(groups).filter(|group: &Vec<&[u8]>| is(group.get(2))).all(|group| {
        let members = group.get(3).copied().unwrap_or_default();
        members
            .split(|&byte| byte == b',')
            .all(|name| name.trim_ascii().is_empty() || own_names.contains(name.trim_ascii()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_member_is_found() {
        let users = "root:x:0:0::/:\nann:x:1000:1000:Ann,,,:/home/ann:/bin/sh\nbob:x:1001:1001::/:\n";
        let alone = |groups: &str, users: &str| has_no_other(groups.as_bytes(), users.as_bytes(), 1000);
        for groups in [
            "",
            "ann:x:1000:\n",
            "ann:x:1000:ann\n",
            "ann:x:1000",
            "staff:x:50:bob\nann:x:1000:\n",
            "no line\n:::\n",
            "ann:x:10000:bob\n",
        ] {
            assert!(alone(groups, users), "{groups:?}");
        }
        for groups in
            ["ann:x:1000:bob\n", "ann:x:1000:ann,bob", "ann:x:1000:\nother:x:1000: bob \n", "ann:x:1000:gone\n"]
        {
            assert!(!alone(groups, users), "{groups:?}");
        }
        // Another user's first group; and another name of the same user.
        assert!(!alone("ann:x:1000:\n", &format!("{users}carl:x:1002:1000::/:\n")));
        assert!(alone("ann:x:1000:too\n", &format!("{users}too:x:1000:1000::/:\n")));
    }
}
