//! Asks the kernel about one connection (sock_diag(7)). The tables in `/proc/net` have the same facts, but reading them means
//! reading all connections. On a machine with much memory, this takes longer than a call, and connections that open and close
//! meanwhile can hide a line.

use std::net::SocketAddrV4;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    /// True if neither side has closed it.
    pub(super) is_established: bool,
    /// The socket's owner.
    pub(super) user: u32,
    /// The number of its file; 0 if no process has it open any more.
    pub(super) inode: u64,
}

// <linux/netlink.h>, <linux/sock_diag.h> and <linux/inet_diag.h>. Numbers are in the machine's order, but for ports and addresses.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const AF_INET: u8 = 2;
const IPPROTO_TCP: u8 = 6;
const TCP_ESTABLISHED: u8 = 1;
const HEADER: usize = 16;
const REQUEST: usize = HEADER + 56;
const REPLY: usize = HEADER + 72;

/// Returns the end at `local` of a connection, in any process; `None` if it does not exist.
///
/// # Errors
/// The kernel cannot be asked. A kernel without such requests answers that the connection does not exist.
pub(super) fn end(local: SocketAddrV4, remote: SocketAddrV4) -> Result<Option<End>, Errno> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    send(&socket, &request(local, remote), SendFlags::empty())?;
    let mut bytes = [0; 512];
    // The kernel answers while the request is sent.
    let (length, _) = recv(&socket, &mut bytes, RecvFlags::DONTWAIT)?;
    parse(&bytes[..length], local, remote)
}

fn request(local: SocketAddrV4, remote: SocketAddrV4) -> [u8; REQUEST] {
    let mut bytes = [0; REQUEST];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(0, &(REQUEST as u32).to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &NLM_F_REQUEST.to_ne_bytes());
    put(HEADER, &[AF_INET, IPPROTO_TCP]);
    // Any state.
    put(HEADER + 4, &[0xff; 4]);
    put(HEADER + 8, &id(local, remote));
    // No cookie.
    put(HEADER + 48, &[0xff; 8]);
    bytes
}

/// Returns ports and addresses as requests and replies hold them.
fn id(local: SocketAddrV4, remote: SocketAddrV4) -> [u8; 40] {
    let mut bytes = [0; 40];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(0, &local.port().to_be_bytes());
    put(2, &remote.port().to_be_bytes());
    put(4, &local.ip().octets());
    put(20, &remote.ip().octets());
    bytes
}

fn parse(reply: &[u8], local: SocketAddrV4, remote: SocketAddrV4) -> Result<Option<End>, Errno> {
    let number = |at: usize| reply.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let kind = reply.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
    if kind == Some(NLMSG_ERROR) {
        let code = number(HEADER).map(|code| code.cast_signed().wrapping_neg());
        let error = code.map_or(Errno::PROTO, Errno::from_raw_os_error);
        return if error == Errno::NOENT { Ok(None) } else { Err(error) };
    }
    if kind != Some(SOCK_DIAG_BY_FAMILY) || reply.len() < REPLY {
        return Err(Errno::PROTO);
    }
    // If the connection does not exist, the kernel may name the listener at that port. An IPv6 socket has another form.
    if reply[HEADER + 4..HEADER + 8] != id(local, remote)[..4] {
        return Ok(None);
    }
    let (Some(user), Some(inode)) = (number(HEADER + 64), number(HEADER + 68)) else { return Err(Errno::PROTO) };
    Ok(Some(End { is_established: reply[HEADER + 1] == TCP_ESTABLISHED, user, inode: inode.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::os::fd::AsFd;

    fn v4(address: SocketAddr) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port())
    }

    fn inode(socket: impl AsFd) -> u64 {
        rustix::fs::fstat(socket).expect("a socket").st_ino
    }

    #[test]
    fn each_end_of_a_connection_is_found_until_it_is_closed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let mapped = SocketAddr::from((Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port));
        for address in [SocketAddr::from((Ipv4Addr::LOCALHOST, port)), mapped] {
            let client = TcpStream::connect(address).expect("it listens");
            let (server, _) = listener.accept().expect("accepted");
            let (ours, theirs) = (v4(server.local_addr().expect("known")), v4(client.local_addr().expect("known")));
            for (local, remote, inode) in [(ours, theirs, inode(&server)), (theirs, ours, inode(&client))] {
                let end = end(local, remote).expect("Linux tells").expect("it is there");
                let user = rustix::process::geteuid().as_raw();
                assert_eq!((end.is_established, end.user, end.inode), (true, user, inode));
            }
            drop(client);
            let is_open =
                |local, remote| end(local, remote).expect("Linux tells").is_some_and(|end| end.is_established);
            while is_open(theirs, ours) || is_open(ours, theirs) {}
            // The listener at that port does not count as an end.
            drop(server);
            while end(ours, theirs).expect("Linux tells").is_some_and(|end| end.inode != 0) {}
        }
    }

    #[test]
    fn bytes_other_than_a_reply_are_an_error() {
        let (local, remote) = (SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1), SocketAddrV4::new(Ipv4Addr::LOCALHOST, 2));
        let mut good = request(local, remote).to_vec();
        good.resize(REPLY, 0);
        good.copy_within(HEADER + 8..HEADER + 48, HEADER + 4);
        assert!(parse(&good, local, remote).expect("a reply").is_some());
        assert!(parse(&good, remote, local).expect("a reply").is_none());
        for length in 0..REPLY {
            assert!(parse(&good[..length], local, remote).is_err(), "{length}");
        }
        good[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        good[HEADER..HEADER + 4].copy_from_slice(&(-2i32).to_ne_bytes());
        assert!(parse(&good, local, remote).expect("there is none").is_none());
        good[HEADER..HEADER + 4].copy_from_slice(&(-13i32).to_ne_bytes());
        assert_eq!(parse(&good, local, remote).expect_err("an error"), Errno::ACCESS);
    }
}
