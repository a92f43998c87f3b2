//! Python processes that the programs of a run start, such as the kernel of a notebook: they join the run over a socket.
//!
//! The socket has a name that the kernel alone keeps, so it is on no disk, and it is gone with this process. Only processes that
//! the run started are answered: descendants of its supervisor, which is a subreaper, so that they stay its descendants.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;

use zeroize::Zeroizing;

use super::broker::SecretSource;
use super::protocol::{Declared, FromRun, Provided, bytes_of};

/// The socket that processes of a run join.
#[derive(Debug)]
pub(super) struct Door {
    #[cfg(target_os = "linux")]
    listener: std::os::unix::net::UnixListener,
    address: String,
}

#[cfg(target_os = "linux")]
impl Door {
    /// Opens a socket.
    ///
    /// # Errors
    /// The system has no socket left.
    pub(super) fn open() -> io::Result<Self> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixListener};
        use std::time::{SystemTime, UNIX_EPOCH};

        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let address = format!("flyte-local-{}-{}", std::process::id(), now.as_nanos());
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&address)?)?;
        Ok(Self { listener, address })
    }

    /// Calls `serve` with the connection of each process that descends from the one that `ancestor` returns.
    pub(super) fn answer(self, ancestor: impl Fn() -> Option<u32>, serve: impl Fn(UnixStream)) {
        for stream in self.listener.incoming().flatten() {
            if ancestor().is_some_and(|ancestor| is_descendant(&stream, ancestor)) {
                serve(stream);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Door {
    /// Fails: no other system says which process is at the other end.
    pub(super) fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn answer(self, _: impl Fn() -> Option<u32>, _: impl Fn(UnixStream)) {}
}

impl Door {
    /// Returns the name of the socket, without the zero byte that starts it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

/// The variables that a run gave to its interpreters, and their values.
#[derive(Default)]
pub(super) struct Given(BTreeMap<String, Vec<GivenValue>>);

/// A value, and the secret that it is; none for a variable that a cluster sets beside a secret.
type GivenValue = (Zeroizing<String>, Option<Declared>);

impl Given {
    pub(super) fn record(&mut self, secrets: &[Declared], provided: &Provided) {
        for (variable, value) in &provided.variables {
            let values = self.0.entry(variable.clone()).or_default();
            if !values.iter().any(|(known, _)| known == value) {
                let secret = secrets.iter().find(|secret| secret.variable.as_ref() == Some(variable));
                values.push((value.clone(), secret.cloned()));
            }
        }
    }

    /// Compares the variables of a process with those of the shell. Returns those whose value the run gave, and the names of
    /// the others that differ.
    pub(super) fn compared<'a>(
        &self,
        variables: &'a BTreeMap<String, Zeroizing<String>>,
        source: &impl SecretSource,
    ) -> (Vec<FromRun>, Vec<&'a str>) {
        let (mut from_run, mut changed) = (Vec::new(), Vec::new());
        for (variable, value) in variables {
            let Some(value) = bytes_of(value) else { continue };
            let name = bytes_of(variable).and_then(|name| String::from_utf8(name.to_vec()).ok());
            let Some(name) = name.filter(|name| source.variable_of_shell(name).as_ref() != Some(&value)) else {
                continue;
            };
            let mut given = self.0.get(&name).into_iter().flatten();
            match given.find(|(given, _)| given.as_bytes() == value.as_slice()) {
                Some((_, secret)) => {
                    let (key, group) = secret.clone().map_or((None, None), |secret| (Some(secret.key), secret.group));
                    from_run.push(FromRun { variable: name, key, group });
                }
                None => changed.push(variable.as_str()),
            }
        }
        (from_run, changed)
    }
}

/// Returns true if a process of this user is at the other end, and has this ancestor.
#[cfg(target_os = "linux")]
fn is_descendant(stream: &UnixStream, ancestor: u32) -> bool {
    let Ok(peer) = rustix::net::sockopt::socket_peercred(stream) else { return false };
    let first = peer.pid.as_raw_nonzero().get().unsigned_abs();
    let mut chain = std::iter::successors(Some(first), |&process| parent(process));
    peer.uid == rustix::process::geteuid() && chain.any(|process| process == ancestor)
}

/// Returns the parent of a process; `None` if it has none, or has ended.
#[cfg(target_os = "linux")]
fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read(format!("/proc/{process}/stat")).ok()?;
    // The name of the program, in parentheses, can hold any byte.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok().filter(|parent| *parent != 0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_descends_from_its_ancestors_and_from_no_other() {
        let (stream, _other) = UnixStream::pair().expect("a socket");
        let own = std::process::id();
        let above = parent(own).expect("the test runner has a parent");
        assert!(is_descendant(&stream, own) && is_descendant(&stream, above));
        assert!(!is_descendant(&stream, u32::MAX));
        assert_eq!(parent(u32::MAX), None);
    }

    #[test]
    fn a_connection_of_another_process_is_closed_without_an_answer() {
        use std::io::Read;
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::SocketAddr;

        let door = Door::open().expect("a socket");
        let address = SocketAddr::from_abstract_name(door.address()).expect("a name");
        std::thread::spawn(move || door.answer(|| Some(u32::MAX), |_| panic!("it is not to be served")));
        let mut stream = UnixStream::connect_addr(&address).expect("it listens");
        assert_eq!(stream.read(&mut [0]).expect("it is closed"), 0);
    }
}
