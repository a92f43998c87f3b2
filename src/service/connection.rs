//! One connection: the check of its user, its limits, and the answers to its requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use connectrpc::{CompressionRegistry, ConnectError, ConnectRpcBody, ConnectRpcService, DeadlinePolicy, GzipProvider};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tower_service::Service as _;

use super::activity::{Activity, CallGuard};
use super::methods::Methods;
use super::{Event, Host, MAX_BODY_BYTES, MAX_CONNECTIONS, guard, peer};
use crate::vault::Vault;

/// The streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 16;

/// The room for a request's head.
const MAX_HEAD_BYTES: u32 = 16 << 10;

/// Time limits.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// A call, from its head to its answer: a writer may wait half a minute for the vault's lock.
    pub(super) call: Duration,
    /// A connection without a call.
    pub(super) silence: Duration,
    /// Calls under way when the service is asked to end.
    pub(super) grace: Duration,
}

/// The service that all connections share.
#[derive(Clone)]
pub(super) struct Service {
    host: Arc<dyn Host>,
    methods: ConnectRpcService<Methods>,
    /// Calls whose bodies are in memory; an HTTP/2 connection has many.
    calls: Arc<Semaphore>,
    pub(super) limits: Limits,
}

impl Service {
    pub(super) fn new(vault: Vault, host: Arc<dyn Host>, limits: Limits) -> Self {
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

    /// Returns true if a connection belongs to this user; otherwise reports it.
    pub(super) fn lets_in(&self, stream: &TcpStream, peer: SocketAddr) -> bool {
        let owned = stream.local_addr().map_err(|_| None).and_then(|ours| peer::require_own_user(stream, ours, peer));
        let Err(user) = owned else { return true };
        self.host.happened(&Event::Stranger(user));
        false
    }

    /// Serves a connection to its end.
    pub(super) async fn connection(self, stream: TcpStream, mut is_ending: watch::Receiver<()>) {
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
            // The connection ended, and no client is left for an error.
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
        let _call = CallGuard::begin(&activity);
        let (head, body) = request.into_parts();
        if let Some(objection) = guard::objection(&head) {
            self.host.happened(&Event::Refused(objection));
            return Ok(forbidden(objection));
        }
        let _turn = Arc::clone(&self.calls).acquire_owned().await;
        self.methods.call(Request::from_parts(head, body)).await.map(with_length)
    }
}

/// Sets the answer's length, which the library does not, so that a client gets it in one piece, as from the backend.
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
