//! The loopback: connections, their limits, and their end.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectrpc::{CompressionRegistry, ConnectError, ConnectRpcBody, ConnectRpcService, DeadlinePolicy, GzipProvider};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener as TokioListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower_service::Service as _;

use super::methods::Methods;
use super::{Event, Host, MAX_BODY_BYTES, MAX_CONNECTIONS, guard, peer};
use crate::vault::Vault;

/// How long things may take.
#[derive(Clone, Copy)]
struct Limits {
    /// A call, from its head to its answer: a writer may wait half a minute for the vault's lock.
    call: Duration,
    /// A connection without a call.
    silence: Duration,
    /// Calls that are under way once the end was asked for.
    grace: Duration,
}

const LIMITS: Limits =
    Limits { call: Duration::from_secs(60), silence: Duration::from_secs(60), grace: Duration::from_secs(5) };

/// How soon a connection with a call under way is looked at again.
const LOOK: Duration = Duration::from_secs(1);

/// How soon a connection is taken again after one could not be.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// The threads that may wait for disks and locks.
const MAX_THREADS: usize = 16;

/// The streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 16;

/// The room for a request's head.
const MAX_HEAD_BYTES: u32 = 16 << 10;

/// A port of the loopback, bound, so that what connects to it waits.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds a port of 127.0.0.1; 0 is any that is free.
    ///
    /// # Errors
    /// As `bind(2)`.
    pub fn bind(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `vault` until this process is asked to end: by SIGINT, SIGTERM or SIGHUP.
    ///
    /// # Errors
    /// The system's, before the first connection is taken.
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

    /// Serves `vault` while `act` goes on in this thread.
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
        // The connections have one thread; what waits for disks has its own.
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
                // Whoever is not let in never had a place.
                Ok((stream, peer)) if service.lets_in(&stream, peer) => {
                    Some((stream, Arc::clone(&room).acquire_owned().await))
                }
                Ok(_) => None,
                Err(_) => {
                    // It went again, or this process has no descriptor left: others end meanwhile.
                    sleep(AFTER_FAILURE).await;
                    None
                }
            }
        };
        let next = tokio::select! { () = &mut end => break, next = next => next };
        // What has ended is not kept until the end.
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

/// What each connection gets.
#[derive(Clone)]
struct Service {
    host: Arc<dyn Host>,
    methods: ConnectRpcService<Methods>,
    /// Calls whose bodies are in memory; an HTTP/2 connection has many.
    calls: Arc<Semaphore>,
    limits: Limits,
}

impl Service {
    fn new(vault: Vault, host: Arc<dyn Host>, limits: Limits) -> Self {
        let sizes = connectrpc::Limits::default()
            .with_max_request_body_size(MAX_BODY_BYTES)
            .with_max_message_size(MAX_BODY_BYTES)
            .with_element_memory_limit(MAX_BODY_BYTES);
        let methods = ConnectRpcService::new(Methods::new(vault, Arc::clone(&host)))
            .with_limits(sizes)
            .with_compression(CompressionRegistry::new().register(GzipProvider::default()))
            .with_deadline_policy(DeadlinePolicy::new().with_max(limits.call).with_default_timeout(limits.call));
        Self { host, methods, calls: Arc::new(Semaphore::new(MAX_CONNECTIONS)), limits }
    }

    /// Whether a connection is our own user's; another's is told.
    fn lets_in(&self, stream: &TcpStream, peer: SocketAddr) -> bool {
        let owned = stream.local_addr().map_err(|_| None).and_then(|ours| peer::require_own_user(stream, ours, peer));
        let Err(user) = owned else { return true };
        self.host.happened(&Event::Stranger(user));
        false
    }

    /// Serves a connection to its end.
    async fn connection(self, stream: TcpStream, mut is_ending: watch::Receiver<()>) {
        let Limits { silence, grace, .. } = self.limits;
        let activity = Arc::new(Activity::new());
        let noted = Arc::clone(&activity);
        let service = service_fn(move |request| self.clone().answer(request, Arc::clone(&noted)));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).max_buf_size(MAX_HEAD_BYTES as usize);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            // Whatever its end was: there is nobody to tell.
            _ = connection.as_mut() => return,
            () = activity.until_silent(silence) => {}
            _ = is_ending.changed() => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(grace, connection).await;
    }

    async fn answer(
        mut self,
        request: Request<Incoming>,
        activity: Arc<Activity>,
    ) -> Result<Response<ConnectRpcBody>, Infallible> {
        let _call = Call::begin(&activity);
        let (head, body) = request.into_parts();
        if let Some(objection) = guard::objection(&head) {
            self.host.happened(&Event::Refused(objection));
            return Ok(forbidden(objection));
        }
        let _turn = Arc::clone(&self.calls).acquire_owned().await;
        self.methods.call(Request::from_parts(head, body)).await.map(with_length)
    }
}

/// Says how long an answer is, which the library does not: so a client has all of it in one piece, as from the backend.
fn with_length(mut response: Response<ConnectRpcBody>) -> Response<ConnectRpcBody> {
    if let ConnectRpcBody::Full(body) = response.body()
        && let Some(length) = body.size_hint().exact()
    {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response
}

fn forbidden(objection: &str) -> Response<ConnectRpcBody> {
    let error = ConnectError::permission_denied(format!("the request is refused: {objection}"));
    let mut response = Response::new(ConnectRpcBody::Full(Full::new(error.to_json())));
    *response.status_mut() = error.http_status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The calls of one connection.
struct Activity {
    under_way: AtomicUsize,
    last: Mutex<Instant>,
}

impl Activity {
    fn new() -> Self {
        Self { under_way: AtomicUsize::new(0), last: Mutex::new(Instant::now()) }
    }

    /// Until there was no call for as long as a connection may be silent; also before its first.
    async fn until_silent(&self, silence: Duration) {
        loop {
            let due = self.last.lock().map_or_else(|_| Instant::now(), |last| *last) + silence;
            let is_silent = self.under_way.load(Ordering::Acquire) == 0;
            if is_silent && due <= Instant::now() {
                return;
            }
            sleep_until(due.max(Instant::now() + LOOK)).await;
        }
    }
}

/// A call that is under way.
struct Call<'a>(&'a Activity);

impl<'a> Call<'a> {
    fn begin(activity: &'a Activity) -> Self {
        activity.under_way.fetch_add(1, Ordering::AcqRel);
        Self(activity)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Ok(mut last) = self.0.last.lock() {
            *last = Instant::now();
        }
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream as Client;

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

    /// Longer than any test takes that goes well.
    const LONG: u64 = 60_000;

    const HEAD: &str = "POST /flyteidl2.secret.SecretService/ListSecrets HTTP/1.1\r\nHost: localhost\r\n\
                        Content-Type: application/json\r\nContent-Length: 2\r\n\r\n";

    fn client(address: SocketAddr) -> Client {
        let client = Client::connect(address).expect("it listens");
        client.set_read_timeout(Some(Duration::from_millis(LONG))).expect("not zero");
        client.set_write_timeout(Some(Duration::from_millis(LONG))).expect("not zero");
        client
    }

    /// What comes until the connection is closed.
    fn rest(mut client: Client) -> String {
        let mut bytes = Vec::new();
        if let Err(error) = client.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "it is not closed");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[test]
    fn who_says_nothing_is_let_go() {
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
    fn a_body_that_does_not_come_is_waited_for_no_longer_than_a_call_may_take() {
        serve(50, 50, |address| {
            let mut client = client(address);
            client.write_all([HEAD, "{"].concat().as_bytes()).expect("sent");
            assert!(rest(client).contains("\"deadline_exceeded\""));
        });
    }

    #[test]
    fn a_client_does_not_choose_to_be_waited_for_longer() {
        serve(50, 50, |address| {
            let mut client = client(address);
            let head = HEAD.replace("Host", "Connect-Timeout-Ms: 9999999\r\nHost");
            client.write_all(head.as_bytes()).expect("sent");
            assert!(rest(client).contains("\"deadline_exceeded\""));
        });
    }

    #[test]
    fn who_reads_no_reply_is_let_go() {
        serve(LONG, 50, |address| {
            let mut client = client(address);
            // What has no method is told with its path: so the replies are large.
            let whole = [&HEAD.replace("ListSecrets", &"x".repeat(10_000)), "{}"].concat();
            // Until nothing more fits anywhere.
            let error = loop {
                if let Err(error) = client.write_all(whole.as_bytes()) {
                    break error;
                }
            };
            assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{error}");
        });
    }

    #[test]
    fn the_end_waits_for_no_connection() {
        let mut left = None;
        serve(LONG, LONG, |address| {
            let mut client = client(address);
            client.write_all(HEAD.as_bytes()).expect("sent");
            left = Some(client);
        });
        assert_eq!(rest(left.expect("it was connected")), "");
    }
}
