//! The service's methods, each a call of the vault.

use std::sync::Arc;

use buffa::Message;
use bytes::Bytes;
use connectrpc::dispatcher::{RequestStream, StreamingResult, UnaryResult};
use connectrpc::{
    CodecFormat, ConnectError, Dispatcher, Encodable, EncodedResponse, JsonDeserialize, JsonSerialize,
    MethodDescriptor, Payload, RequestContext, Response,
};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::generated::{
    CreateSecretRequest, CreateSecretResponse, DeleteSecretRequest, DeleteSecretResponse, GetSecretRequest,
    ListSecretsRequest, UpdateSecretRequest, UpdateSecretResponse,
};
use super::{Event, Host, cluster_pool, reply, request};
use crate::secret::{SecretId, SecretType, SecretValue};
use crate::vault::{Vault, VaultError};

/// A method. The paths and the names are Flyte's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Create,
    Update,
    Get,
    Delete,
    List,
    SelectCluster,
}

impl Method {
    fn of(path: &str) -> Option<Self> {
        match path.split_once('/')? {
            ("flyteidl2.cluster.ClusterService", "SelectCluster") => Some(Self::SelectCluster),
            ("flyteidl2.secret.SecretService", name) => {
                [Self::Create, Self::Update, Self::Get, Self::Delete, Self::List].into_iter().find(|m| m.name() == name)
            }
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Create => "CreateSecret",
            Self::Update => "UpdateSecret",
            Self::Get => "GetSecret",
            Self::Delete => "DeleteSecret",
            Self::List => "ListSecrets",
            Self::SelectCluster => "SelectCluster",
        }
    }
}

/// The methods, over one vault.
#[derive(Clone)]
pub(super) struct Methods(Arc<State>);

struct State {
    /// Reopened for each call, because other processes change it and its `vault.toml`.
    vault: Vault,
    host: Arc<dyn Host>,
    /// Lets one call write at a time. The others wait here, without a thread that readers could use.
    writing: Arc<Semaphore>,
}

impl Methods {
    pub(super) fn new(vault: Vault, host: Arc<dyn Host>) -> Self {
        Self(Arc::new(State { vault, host, writing: Arc::new(Semaphore::new(1)) }))
    }

    async fn answer(self, method: Method, request: Payload) -> Result<EncodedResponse, ConnectError> {
        let format = request.format();
        let mut told =
            Told { host: Arc::clone(&self.0.host), method: method.name(), about: None, failed: Some("canceled") };
        let answer = self.call(method, request, &mut told.about).await.and_then(|reply| reply.encode(format));
        told.failed = answer.as_ref().err().map(|error| error.code.as_str());
        answer
    }

    async fn call(
        &self,
        method: Method,
        request: Payload,
        about: &mut Option<String>,
    ) -> Result<EncodableReply, ConnectError> {
        match method {
            Method::Create => {
                let CreateSecretRequest { id, secret_spec } = decode(request)?;
                let id = named(id.into_option(), about)?;
                let (secret_type, value) = request::spec(secret_spec.into_option())?;
                request::require_scope(&id, secret_type)?;
                request::require_fit(secret_type, &value)?;
                self.write(move |vault| vault.writer()?.create_secret(&id, secret_type, &value)).await?;
                Ok(EncodableReply::new(CreateSecretResponse {}))
            }
            Method::Update => {
                let UpdateSecretRequest { id, secret_spec } = decode(request)?;
                let id = named(id.into_option(), about)?;
                let (secret_type, value) = request::spec(secret_spec.into_option())?;
                self.update(id, secret_type, value).await
            }
            Method::Get => {
                let GetSecretRequest { id, .. } = decode(request)?;
                let id = named(id.into_option(), about)?;
                let metadata = self.read(move |vault| vault.metadata(&id)).await?;
                Ok(EncodableReply::new(reply::found(&metadata)))
            }
            Method::Delete => {
                let DeleteSecretRequest { id, .. } = decode(request)?;
                let id = named(id.into_option(), about)?;
                self.write(move |vault| vault.lock()?.delete_secret(&id)).await?;
                Ok(EncodableReply::new(DeleteSecretResponse {}))
            }
            Method::List => {
                let page = request::page(decode::<ListSecretsRequest>(request)?)?;
                let found = self.read(move |vault| vault.page(&page.filter, page.after.as_ref(), page.limit)).await?;
                found.listing.refused.iter().for_each(|error| self.0.host.happened(&Event::LeftOut(error)));
                Ok(EncodableReply::new(reply::page(&found)))
            }
            Method::SelectCluster if cluster_pool::is_named(&request) => Err(ConnectError::invalid_argument(
                "a vault has no cluster pools: leave out the pool, and send the secret to it with push secret --cluster-pool",
            )),
            // An empty message names no endpoint, and so the client stays with this one, whatever else the request asks for.
            Method::SelectCluster => Ok(EncodableReply::new(CreateSecretResponse {})),
        }
    }

    async fn update(
        &self,
        id: SecretId,
        secret_type: SecretType,
        value: SecretValue,
    ) -> Result<EncodableReply, ConnectError> {
        let objection = self.write(move |vault| {
            let known = vault.metadata(&id)?.secret_type;
            // A missing type means the regular one, so an update without a type does not change it.
            if known == SecretType::Regular && secret_type == SecretType::ImagePull {
                return Ok(Some(ConnectError::invalid_argument(
                    "it is a regular secret: an update does not change the type",
                )));
            }
            match request::require_fit(known, &value) {
                Err(objection) => Ok(Some(objection)),
                Ok(()) => vault.writer()?.update_secret(&id, &value).map(|_| None),
            }
        });
        match objection.await? {
            Some(objection) => Err(objection),
            None => Ok(EncodableReply::new(UpdateSecretResponse {})),
        }
    }

    async fn write<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Vault) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, ConnectError> {
        let turn = Arc::clone(&self.0.writing).acquire_owned().await;
        self.with_vault(Vault::reopen, move |vault| {
            let done = act(vault);
            // Not earlier, even if the client is gone: otherwise a later write could overtake this one.
            drop(turn);
            done
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Vault) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, ConnectError> {
        self.with_vault(Vault::reopen_for_metadata, |vault| act(vault)).await
    }

    /// Works on the vault in a thread that may wait for disks and locks. If the client goes away, work that has begun is finished,
    /// and other work is not begun.
    async fn with_vault<T: Send + 'static>(
        &self,
        open: impl FnOnce(&Vault) -> Result<Vault, VaultError> + Send + 'static,
        act: impl FnOnce(&mut Vault) -> Result<T, VaultError> + Send + 'static,
    ) -> Result<T, ConnectError> {
        let state = Arc::clone(&self.0);
        let waiting = Arc::new(());
        let is_waited_for = Arc::downgrade(&waiting);
        let done = spawn_blocking(move || {
            if is_waited_for.strong_count() == 0 {
                return Err(ConnectError::canceled("the client does not wait any more"));
            }
            let done = open(&state.vault).and_then(|mut vault| act(&mut vault));
            done.map_err(|error| reply::failure(&error, state.host.explain(&error)))
        });
        let done = done.await.unwrap_or_else(|_| Err(ConnectError::internal("the service failed")));
        drop(waiting);
        done
    }
}

/// Reports a call when it is over, also if the client gave it up.
struct Told {
    host: Arc<dyn Host>,
    method: &'static str,
    about: Option<String>,
    failed: Option<&'static str>,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.host.happened(&Event::Called { method: self.method, about: self.about.as_deref(), failed: self.failed });
    }
}

fn named(id: Option<super::generated::SecretIdentifier>, about: &mut Option<String>) -> Result<SecretId, ConnectError> {
    let id = request::id(id)?;
    *about = Some(id.to_string());
    Ok(id)
}

/// Reads the message in a request. The library's own errors may repeat a value that they could not read.
fn decode<M: Message + JsonDeserialize + 'static>(request: Payload) -> Result<M, ConnectError> {
    request.take_message().map_err(|error| ConnectError::new(error.code, "the request is not a message of this method"))
}

/// A message of any method.
struct EncodableReply(Box<dyn FnOnce(CodecFormat) -> Result<Bytes, ConnectError> + Send>);

impl EncodableReply {
    fn new<M: Message + JsonSerialize + Send + 'static>(message: M) -> Self {
        Self(Box::new(move |format| Encodable::<M>::encode(&message, format)))
    }

    fn encode(self, format: CodecFormat) -> Result<EncodedResponse, ConnectError> {
        Ok(Response::new((self.0)(format)?.into()))
    }
}

impl Dispatcher for Methods {
    fn lookup(&self, path: &str) -> Option<MethodDescriptor> {
        Method::of(path).map(|_| MethodDescriptor::unary(false))
    }

    fn call_unary(&self, path: &str, _: RequestContext, request: Payload, _: CodecFormat) -> UnaryResult {
        let (methods, method) = (self.clone(), Method::of(path));
        Box::pin(async move { methods.answer(method.ok_or_else(no_such_method)?, request).await })
    }

    fn call_server_streaming(&self, _: &str, _: RequestContext, _: Bytes, _: CodecFormat) -> StreamingResult {
        Box::pin(async { Err(no_such_method()) })
    }

    fn call_client_streaming(&self, _: &str, _: RequestContext, _: RequestStream, _: CodecFormat) -> UnaryResult {
        Box::pin(async { Err(no_such_method()) })
    }

    fn call_bidi_streaming(&self, _: &str, _: RequestContext, _: RequestStream, _: CodecFormat) -> StreamingResult {
        Box::pin(async { Err(no_such_method()) })
    }
}

fn no_such_method() -> ConnectError {
    ConnectError::unimplemented("there is no such method")
}
