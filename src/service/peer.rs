//! Finds the user who owns a connection: all users of a machine share its loopback, and TCP does not identify them.

use std::net::SocketAddr;
use std::os::fd::AsFd;

#[cfg(target_os = "linux")]
use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

#[cfg(target_os = "linux")]
use rustix::process::geteuid;

#[cfg(target_os = "linux")]
use super::diag;

/// Requires a connection to belong to this process's user.
///
/// # Errors
/// The connection's user, if the system knows one.
#[cfg(target_os = "linux")]
pub(super) fn require_own_user(socket: impl AsFd, ours: SocketAddr, theirs: SocketAddr) -> Result<(), Option<u32>> {
    let inode = rustix::fs::fstat(socket).map_err(|_| None)?.st_ino;
    let owner = match asked(inode, ours, theirs) {
        Some(owner) => owner,
        // The kernel does not support such requests, or something forbids them.
        None => {
            let read = |path| std::fs::read_to_string(path).unwrap_or_default();
            // A program may connect to an IPv4 address with an IPv6 socket.
            owner(&[read("/proc/self/net/tcp"), read("/proc/self/net/tcp6")].concat(), inode, ours, theirs)
        }
    };
    match owner {
        Some(user) if user == geteuid().as_raw() && !stands_for_others(user) => Ok(()),
        other => Err(other),
    }
}

/// Returns true for the number that a user namespace shows for every user outside of it. Two users with that number may differ.
#[cfg(target_os = "linux")]
fn stands_for_others(user: u32) -> bool {
    const ALL: [&str; 3] = ["0", "0", "4294967295"];
    static OVERFLOW: OnceLock<Option<u32>> = OnceLock::new();
    let overflow = OVERFLOW.get_or_init(|| {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let has_all = read("/proc/self/uid_map").split_ascii_whitespace().eq(ALL);
        let overflow = read("/proc/sys/kernel/overflowuid").trim().parse().unwrap_or(65534);
        (!has_all).then_some(overflow)
    });
    *overflow == Some(user)
}

/// Finds the owner, as [`owner`] does, by asking the kernel for the two ends; `None` if the kernel cannot say.
#[cfg(target_os = "linux")]
fn asked(inode: u64, ours: SocketAddr, theirs: SocketAddr) -> Option<Option<u32>> {
    /// True once the kernel has found a connection. From then on, one that it does not find does not exist.
    static IS_KNOWING: AtomicBool = AtomicBool::new(false);
    let (SocketAddr::V4(ours), SocketAddr::V4(theirs)) = (ours, theirs) else { return Some(None) };
    // Ours after theirs: while ours is open, no other process can have the other end's port.
    let (their, our) = (diag::end(theirs, ours).ok()?, diag::end(ours, theirs).ok()?);
    if their.is_some() || our.is_some() {
        IS_KNOWING.store(true, Ordering::Relaxed);
    } else if !IS_KNOWING.load(Ordering::Relaxed) {
        return None;
    }
    let is_ours_open = our.is_some_and(|our| our.is_established && our.inode == inode);
    let their = their.filter(|their| is_ours_open && their.is_established && their.inode != 0);
    Some(their.map(|their| their.user))
}

/// Other systems do not report a connection's user.
#[cfg(not(target_os = "linux"))]
pub(super) fn require_own_user(_: impl AsFd, _: SocketAddr, _: SocketAddr) -> Result<(), Option<u32>> {
    Ok(())
}

/// Finds the owner of the other end of our socket `inode` in the kernel's tables of connections (proc(5)).
///
/// Both ends must be open: the table shows root as the owner of an end that its process has closed, and once ours is closed,
/// another process may have the other end's port.
#[cfg(target_os = "linux")]
fn owner(tables: &str, inode: u64, ours: SocketAddr, theirs: SocketAddr) -> Option<u32> {
    const ESTABLISHED: &str = "01";
    let (ours, theirs) = (in_table(ours)?, in_table(theirs)?);
    let mut is_ours_open = false;
    let mut owner = None;
    for line in tables.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(local), Some(remote), Some(state)) = (fields.nth(1), fields.next(), fields.next()) else { continue };
        let (Some(user), Some(at)) = (fields.nth(3), fields.nth(1)) else { continue };
        if state != ESTABLISHED {
            continue;
        }
        let [local, remote] = [local, remote].map(|address| address.strip_prefix(MAPPED).unwrap_or(address));
        if local == ours && remote == theirs {
            is_ours_open |= at.parse() == Ok(inode);
        } else if local == theirs && remote == ours && at != "0" {
            owner = user.parse().ok();
        }
    }
    owner.filter(|_| is_ours_open)
}

/// The prefix of an IPv4 address that an IPv6 socket has in the tables: words of four bytes in the machine's order.
#[cfg(target_os = "linux")]
const MAPPED: &str =
    if cfg!(target_endian = "little") { "0000000000000000FFFF0000" } else { "00000000000000000000FFFF" };

/// Returns an address as the tables write it: one such word and the port, both in hexadecimal.
#[cfg(target_os = "linux")]
fn in_table(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const OURS: &str = "127.0.0.1:30081";
    const THEIRS: &str = "127.0.0.1:40000";

    fn line(local: &str, remote: &str, state: &str, user: u32, inode: u64) -> String {
        let [local, remote] = [local, remote].map(|text| in_table(text.parse().expect("an address")).expect("IPv4"));
        format!(
            "   1: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {user:>5}        0 {inode} 1 0\n"
        )
    }

    fn owner_in(lines: &[String]) -> Option<u32> {
        let tables = format!("  sl  local_address rem_address   st tx_queue\n{}", lines.concat());
        owner(&tables, 7, OURS.parse().expect("an address"), THEIRS.parse().expect("an address"))
    }

    #[test]
    fn the_owner_of_the_other_end_is_found() {
        let ours = line(OURS, THEIRS, "01", 0, 7);
        let listener = line(OURS, "0.0.0.0:0", "0A", 0, 3);
        let another = line("127.0.0.1:40001", OURS, "01", 1002, 9);
        assert_eq!(owner_in(&[listener, another, ours, line(THEIRS, OURS, "01", 1001, 8)]), Some(1001));
    }

    #[test]
    fn the_owner_of_an_ipv6_socket_is_found() {
        let theirs = line(THEIRS, OURS, "01", 1001, 8);
        let theirs = ["0100007F:9C40", "0100007F:7581"]
            .into_iter()
            .fold(theirs, |line, address| line.replace(address, &format!("0000000000000000FFFF0000{address}")));
        assert_eq!(owner_in(&[line(OURS, THEIRS, "01", 0, 7), theirs]), Some(1001));
    }

    #[test]
    fn a_closed_end_has_no_owner() {
        let ours = line(OURS, THEIRS, "01", 0, 7);
        for state in ["04", "05", "06", "08"] {
            assert_eq!(owner_in(&[ours.clone(), line(THEIRS, OURS, state, 0, 8)]), None, "{state}");
        }
        assert_eq!(owner_in(&[ours.clone(), line(THEIRS, OURS, "01", 0, 0)]), None);
        assert_eq!(owner_in(&[ours]), None);
    }

    #[test]
    fn another_connection_from_the_same_port_says_nothing_of_ours() {
        let theirs = line(THEIRS, OURS, "01", 1001, 8);
        assert_eq!(owner_in(std::slice::from_ref(&theirs)), None);
        assert_eq!(owner_in(&[line(OURS, THEIRS, "01", 0, 0), theirs.clone()]), None);
        assert_eq!(owner_in(&[line(OURS, THEIRS, "08", 0, 7), theirs]), None);
    }

    #[test]
    fn text_other_than_a_table_has_no_owner() {
        for tables in ["", "\n\n\n", "a\nb c d\n", "sl\n 1: x y 01\n"] {
            assert_eq!(owner(tables, 7, OURS.parse().expect("an address"), THEIRS.parse().expect("an address")), None);
        }
    }
}
