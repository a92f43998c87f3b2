//! The server on the loopback: accepts connections, and ends them when it is asked to end.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener as TokioListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::connection::{Limits, Service};
use super::{Host, MAX_CONNECTIONS};
use crate::vault::Vault;

const LIMITS: Limits =
    Limits { call: Duration::from_secs(60), silence: Duration::from_secs(60), grace: Duration::from_secs(5) };

/// How soon the server accepts again after an error.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The most threads that may wait for disks and locks.
const MAX_THREADS: usize = 16;

/// A bound port of the loopback. Clients that connect to it wait until it serves.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds a port of 127.0.0.1; 0 means any free one.
    ///
    /// # Errors
    /// As `bind(2)`.
    pub fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Returns the address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `vault` until this process is asked to end: by SIGINT, SIGTERM or SIGHUP.
    ///
    /// # Errors
    /// The system's, before the first connection is accepted.
    pub fn serve(self, vault: Vault, host: Arc<dyn Host>) -> io::Result<()> {
        let (runtime, listener) = self.start()?;
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let mut hangup = signal(SignalKind::hangup())?;
            let end = async {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {}, _ = hangup.recv() => {} }
            };
            serve_until(end, listener, Service::new(vault, host, LIMITS)).await;
            io::Result::Ok(())
        })?;
        runtime.shutdown_timeout(LIMITS.grace);
        Ok(())
    }

    /// Serves `vault` while `act` runs in this thread.
    ///
    /// # Errors
    /// The system's, before `act` is called.
    pub fn serve_during<T>(self, vault: Vault, host: Arc<dyn Host>, act: impl FnOnce() -> T) -> io::Result<T> {
        let (runtime, listener) = self.start()?;
        let (end, ended) = oneshot::channel::<()>();
        let service = Service::new(vault, host, LIMITS);
        Ok(std::thread::scope(|threads| {
            threads.spawn(move || {
                runtime.block_on(serve_until(async { drop(ended.await) }, listener, service));
                runtime.shutdown_timeout(LIMITS.grace);
            });
            let done = act();
            drop(end);
            done
        }))
    }

    fn start(self) -> io::Result<(Runtime, TokioListener)> {
        // The connections share one thread; work that waits for disks has others.
        let runtime = Builder::new_current_thread().max_blocking_threads(MAX_THREADS).enable_all().build()?;
        let entered = runtime.enter();
        let listener = TokioListener::from_std(self.listener)?;
        drop(entered);
        Ok((runtime, listener))
    }
}

async fn serve_until(end: impl Future<Output = ()>, listener: TokioListener, service: Service) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (ending, is_ending) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut end = pin!(end);
    loop {
        let next = async {
            match listener.accept().await {
                // Connections of other users do not count.
                Ok((stream, peer)) if service.lets_in(&stream, peer) => {
                    Some((stream, Arc::clone(&room).acquire_owned().await))
                }
                Ok(_) => None,
                Err(_) => {
                    // The client is gone again, or this process has no descriptor left until other connections end.
                    sleep(AFTER_FAILURE).await;
                    None
                }
            }
        };
        let next = tokio::select! { () = &mut end => break, next = next => next };
        // Frees connections that have ended.
        while connections.try_join_next().is_some() {}
        if let Some((stream, place)) = next {
            let (service, is_ending) = (service.clone(), is_ending.clone());
            connections.spawn(async move {
                service.connection(stream, is_ending).await;
                drop(place);
            });
        }
    }
    drop(listener);
    drop(ending);
    let _ = timeout(service.limits.grace, async { while connections.join_next().await.is_some() {} }).await;
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream as Client;

    use super::super::Event;
    use super::*;
    use crate::storage::Permissions;
    use crate::vault::{Listener, NamedRecipient, NewVault, VaultError};

    struct Silent;

    impl Host for Silent {
        fn explain(&self, _: &VaultError) -> String {
            String::new()
        }

        fn happened(&self, _: &Event<'_>) {}
    }

    /// Serves a vault with these limits while `act` is a client.
    fn serve(call: u64, silence: u64, act: impl FnOnce(SocketAddr)) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let key = crate::crypto::Identity::generate().recipient();
        let recipient = NamedRecipient { name: "own".to_owned(), key };
        let [path, state] = ["vault", "state"].map(|name| directory.path().join(name));
        let new = NewVault {
            recipients: vec![recipient],
            authors: Vec::new(),
            state,
            permissions: Permissions::Checked,
            listener: Listener::default(),
        };
        let vault = new.create(&path).expect("made");
        let limits = Limits {
            call: Duration::from_millis(call),
            silence: Duration::from_millis(silence),
            grace: Duration::from_millis(100),
        };
        let server = Server::bind(0).expect("a free port");
        let address = server.address();
        let (runtime, listener) = server.start().expect("started");
        let service = Service::new(vault, Arc::new(Silent), limits);
        let (end, ended) = oneshot::channel::<()>();
        std::thread::scope(|threads| {
            threads.spawn(move || runtime.block_on(serve_until(async { drop(ended.await) }, listener, service)));
            let _end = end;
            act(address);
        });
    }

    /// Longer than any passing test takes.
    const LONG: u64 = 60_000;

    const HEAD: &str = "POST /flyteidl2.secret.SecretService/ListSecrets HTTP/1.1\r\nHost: localhost\r\n\
                        Content-Type: application/json\r\nContent-Length: 2\r\n\r\n";

    fn client(address: SocketAddr) -> Client {
        let client = Client::connect(address).expect("it listens");
        client.set_read_timeout(Some(Duration::from_millis(LONG))).expect("not zero");
        client.set_write_timeout(Some(Duration::from_millis(LONG))).expect("not zero");
        client
    }

    /// Reads until the connection is closed.
    fn rest(mut client: Client) -> String {
        let mut bytes = Vec::new();
        if let Err(error) = client.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "it is not closed");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn a_silent_connection_is_closed() {
        serve(LONG, 50, |address| {
            let whole = [HEAD, "{}"].concat();
            for said in ["", "POST", &HEAD[..HEAD.len() - 1], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &whole] {
                let mut client = client(address);
                client.write_all(said.as_bytes()).expect("sent");
                assert_eq!(rest(client).starts_with("HTTP/1.1 200 OK"), said == whole, "{said}");
            }
        });
    }

    #[test]
    fn a_missing_body_is_waited_for_as_long_as_a_call_may_take() {
        serve(50, 50, |address| {
            let mut client = client(address);
            client.write_all([HEAD, "{"].concat().as_bytes()).expect("sent");
            assert!(rest(client).contains("\"deadline_exceeded\""));
        });
    }

    #[test]
    fn a_client_cannot_extend_the_time_limit() {
        serve(50, 50, |address| {
            let mut client = client(address);
            let head = HEAD.replace("Host", "Connect-Timeout-Ms: 9999999\r\nHost");
            client.write_all(head.as_bytes()).expect("sent");
            assert!(rest(client).contains("\"deadline_exceeded\""));
        });
    }

    #[test]
    fn a_client_that_reads_no_reply_is_disconnected() {
        serve(LONG, 50, |address| {
            let mut client = client(address);
            // The error for a missing method repeats the path, so the replies are large.
            let whole = [&HEAD.replace("ListSecrets", &"x".repeat(10_000)), "{}"].concat();
            // Writes until all buffers are full.
            let error = loop {
                if let Err(error) = client.write_all(whole.as_bytes()) {
                    break error;
                }
            };
            assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{error}");
        });
    }

    #[test]
    fn the_server_ends_without_waiting_for_connections() {
        let mut left = None;
        serve(LONG, LONG, |address| {
            let mut client = client(address);
            client.write_all(HEAD.as_bytes()).expect("sent");
            left = Some(client);
        });
        assert_eq!(rest(left.expect("it was connected")), "");
    }
}
