//! A cluster, reached through the user's Flyte SDK: `push.py` runs in the user's Python and talks over one inherited socket.
//!
//! Values go only over that socket. Python inherits standard error, because a login has to be shown there.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::bootstrap::{PUSH, PUSH_MODULES};
use super::cluster_messages::{ClusterReply, ClusterRequest, Start};
use super::python::Connected;
use super::{Interpreter, OLDEST_PYTHON, PythonVersion};
use crate::process::Spawner;
use crate::secret::{SecretId, SecretType, SecretValue};

/// The longest reply from Python: the cluster chooses the text of its errors.
const MAX_REPLY_BYTES: u64 = 4 << 20;

/// The number of calls that run at once.
const AT_ONCE: usize = 8;

/// Options for the SDK's search for its configuration.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Target {
    /// The configuration file, if not the one the SDK finds.
    pub config: Option<String>,
    /// The endpoint, if not the configuration's.
    pub endpoint: Option<String>,
    /// Connects without TLS.
    pub insecure: bool,
    /// The cluster pool that gets the secrets, if one is named.
    pub cluster_pool: Option<String>,
}

/// The cluster, as the SDK's configuration describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct About {
    /// Its address.
    pub endpoint: String,
    /// The organization that gets the secrets, if one is known.
    pub organization: Option<String>,
    /// The configuration file that named it, if one did.
    pub config: Option<PathBuf>,
}

/// Reasons why no cluster can be reached.
#[derive(Debug)]
pub enum ConnectError {
    /// The interpreter could not be started.
    Start(io::Error),
    /// The program is not a Python interpreter, and ended with this exit code.
    NotPython(i32),
    /// The interpreter is older than Flyte 2 supports.
    PythonTooOld(PythonVersion),
    /// The interpreter, by its own name for itself, has no Flyte SDK.
    LacksSdk(String),
    /// The interpreter has a Flyte SDK unlike those that are known.
    UnknownSdk {
        /// The interpreter's own name for itself.
        python: String,
        /// The difference.
        reason: String,
    },
    /// No configuration and no option names a cluster.
    NoCluster,
    /// The interpreter, by its own name for itself, has a Flyte SDK that sends secrets to no cluster pool.
    LacksPools(String),
    /// The SDK reports the reason.
    Refused(CallError),
}

/// The reason why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// The gRPC status code in lower case, if the cluster or the connection gave one.
    pub code: Option<String>,
    /// The message. The cluster chooses it, so that it may repeat a value that was sent.
    pub message: String,
}

/// A call about one secret.
#[derive(Debug)]
pub enum Call {
    /// Look whether it exists.
    Look,
    /// Create it.
    Create(SecretType, SecretValue),
    /// Update its value.
    Update(SecretType, SecretValue),
}

/// The result of a call: for a look, the type of the secret if it exists.
pub type CallResult = Result<Option<SecretType>, CallError>;

/// Calls to make.
pub trait Calls {
    /// Returns the next call when its turn has come; `None` after the last one.
    fn next(&mut self) -> Option<(SecretId, Call)>;

    /// Takes the result of a call. `place` counts the calls in the order in which they were made.
    fn answered(&mut self, place: usize, answer: CallResult);
}

/// A connection to the cluster, which ends when this is dropped.
pub struct Cluster {
    child: Child,
    socket: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Cluster {
    /// Starts the interpreter and lets its SDK find the cluster, without a call yet.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(
        spawner: &Spawner,
        interpreter: &Interpreter,
        target: &Target,
    ) -> Result<(Self, About), ConnectError> {
        let mut cluster = Self::spawn(spawner, interpreter).map_err(ConnectError::Start)?;
        let Ok(ClusterReply::Hello { python }) = cluster.reply() else {
            let ended = cluster.child.wait().map_err(ConnectError::Start)?;
            return Err(ConnectError::NotPython(ended.code().unwrap_or_default()));
        };
        if python < OLDEST_PYTHON {
            return Err(ConnectError::PythonTooOld(python));
        }
        let start = Start { modules: PUSH_MODULES, target, parent: std::process::id() };
        match cluster.send(&start).and_then(|()| cluster.reply()) {
            Ok(ClusterReply::Connected(about)) => Ok((cluster, about)),
            Ok(ClusterReply::Failed { code, message, python }) => Err(match code.as_deref() {
                Some("no_sdk") => ConnectError::LacksSdk(python),
                Some("unknown_sdk") => ConnectError::UnknownSdk { python, reason: message },
                Some("no_cluster") => ConnectError::NoCluster,
                Some("no_pools") => ConnectError::LacksPools(python),
                _ => ConnectError::Refused(CallError { code, message }),
            }),
            other => Err(ConnectError::Refused(unanswered(&other))),
        }
    }

    fn spawn(spawner: &Spawner, interpreter: &Interpreter) -> io::Result<Self> {
        let Connected { mut command, socket, child_socket: _inherited } = interpreter.connect(spawner, PUSH)?;
        let reader = BufReader::new(socket.try_clone()?);
        Ok(Self { child: command.spawn()?, socket, reader })
    }

    /// Makes calls, several at once. It waits for the first answer before the second call, so that the user logs in once, and an
    /// error that concerns all of them shows up once.
    pub fn call(&mut self, calls: &mut dyn Calls) {
        // The places of the calls under way, oldest first.
        let (mut begun, mut under_way, mut at_once) = (0, Vec::new(), 1);
        loop {
            while under_way.len() < at_once {
                let Some((id, call)) = calls.next() else { break };
                // If Python is gone, reading the reply fails as well.
                let _ = self.request(begun, &id, &call);
                under_way.push(begun);
                begun += 1;
            }
            if under_way.is_empty() {
                return;
            }
            match self.reply() {
                Ok(ClusterReply::Done { index, found, code, message }) if under_way.contains(&index) => {
                    under_way.retain(|other| *other != index);
                    calls.answered(index, message.map_or(Ok(found), |message| Err(CallError { code, message })));
                }
                other => {
                    let error = unanswered(&other);
                    under_way.drain(..).for_each(|index| calls.answered(index, Err(error.clone())));
                }
            }
            at_once = AT_ONCE;
        }
    }

    fn request(&mut self, index: usize, id: &SecretId, call: &Call) -> io::Result<()> {
        let (op, sent) = match call {
            Call::Look => ("look", None),
            Call::Create(secret_type, value) => ("create", Some((*secret_type, value))),
            Call::Update(secret_type, value) => ("update", Some((*secret_type, value))),
        };
        let value = sent.map(|(_, value)| Zeroizing::new(STANDARD.encode(value.expose())));
        self.send(&ClusterRequest {
            op,
            index,
            name: id.name.as_str(),
            project: id.scope.project().map_or("", |project| project.as_str()),
            domain: id.scope.domain().map_or("", |domain| domain.as_str()),
            secret_type: sent.map(|(secret_type, _)| secret_type),
            value: value.as_ref().map(|value| value.as_str()),
        })
    }

    fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = Zeroizing::new(serde_json::to_vec(message)?);
        line.push(b'\n');
        self.socket.write_all(&line)
    }

    fn reply(&mut self) -> io::Result<ClusterReply> {
        let mut line = Vec::new();
        (&mut self.reader).take(MAX_REPLY_BYTES).read_until(b'\n', &mut line)?;
        Ok(serde_json::from_slice(&line)?)
    }
}

/// The error of a call that Python did not answer: it ended first, or sent a message that cannot be understood.
fn unanswered(reply: &io::Result<ClusterReply>) -> CallError {
    let reason = match reply {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => error.to_string(),
        Ok(_) => "it does not answer what was asked".to_owned(),
        Err(_) => {
            return CallError { code: Some("gone".to_owned()), message: "Python ended before it answered".to_owned() };
        }
    };
    CallError { code: None, message: format!("flyte-local does not understand Python's message: {reason}") }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Every call has been answered, or never will be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
