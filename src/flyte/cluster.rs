//! A cluster, as the user's Flyte SDK reaches it: `push.py` in the user's Python, at the other end of one inherited socket.
//!
//! Values go over that socket and no other way; Python's standard error is the user's, as a login has to be seen there.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::broker::LOAD;
use super::cluster_messages::{ClusterReply, ClusterRequest, Start};
use super::python::Connected;
use super::{Interpreter, OLDEST_PYTHON};
use crate::process::Spawner;
use crate::secret::{SecretId, SecretType, SecretValue};

const MODULES: &[(&str, &str)] =
    &[("broker", include_str!("bootstrap/broker.py")), ("push", include_str!("bootstrap/push.py"))];

/// What the interpreter runs; any Python since 2.7 can parse it.
const LOADER: &str = concat!(
    include_str!("bootstrap/load.py"),
    r#"
socket = int(sys.argv[1])
start = load(socket, '{"op":"hello","python":[%d,%d,%d]}' % tuple(sys.version_info[:3]))
sys.modules["_flyte_local.push"].start(socket, start["target"], start["parent"])
"#
);

/// The longest thing that Python says: an error of the cluster's, whose message it chooses.
const MAX_REPLY_BYTES: u64 = 4 << 20;

/// How many calls are under way at once.
const AT_ONCE: usize = 8;

/// What is said to the SDK's own command before it looks for its configuration.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Target {
    /// The configuration file, if not the one the SDK finds.
    pub config: Option<String>,
    /// The endpoint, if not the configuration's.
    pub endpoint: Option<String>,
    /// Whether to do without TLS.
    pub insecure: bool,
}

/// What the SDK says of the cluster, before it was asked anything.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct About {
    /// Where it is.
    pub endpoint: String,
    /// The organization that secrets are sent to, if one is known.
    pub organization: Option<String>,
    /// The configuration file that named it, if one did.
    pub config: Option<PathBuf>,
}

/// Why there is no cluster to talk to.
#[derive(Debug)]
pub enum ConnectError {
    /// The interpreter could not be started.
    Start(io::Error),
    /// What was started is no Python; the exit code it had.
    NotPython(i32),
    /// The interpreter is older than Flyte 2 supports: major, minor and micro version.
    PythonTooOld((u32, u32, u32)),
    /// The interpreter, by its own name for itself, has no Flyte SDK.
    LacksSdk(String),
    /// The interpreter's Flyte SDK is not like those that are known; and why not.
    UnknownSdk(String, String),
    /// No configuration and no option names a cluster.
    NoCluster,
    /// The SDK says why.
    Refused(CallError),
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// gRPC's word for it, in lower case, if the cluster or the way there gave one.
    pub code: Option<String>,
    /// The message, which the cluster chooses: it may hold anything, what was sent as well.
    pub message: String,
}

/// What to do with a secret.
#[derive(Debug)]
pub enum Call {
    /// Look whether there is one.
    Look,
    /// Create one that is not there.
    Create(SecretType, SecretValue),
    /// Give one that is there a value.
    Update(SecretType, SecretValue),
}

/// What came of a call: for a look, the type of the secret that is there.
pub type CallResult = Result<Option<SecretType>, CallError>;

/// Calls to make.
pub trait Calls {
    /// The next one, when its turn has come; `None` if no more are to be made.
    fn next(&mut self) -> Option<(SecretId, Call)>;

    /// What came of one, by its place in the order in which they were given.
    fn answered(&mut self, place: usize, answer: CallResult);
}

/// The cluster, until this is dropped.
pub struct Cluster {
    child: Child,
    socket: UnixStream,
    reader: BufReader<UnixStream>,
}

impl Cluster {
    /// Starts the interpreter and has its SDK find the cluster. Nothing was asked of that yet.
    ///
    /// # Errors
    /// There is no interpreter, no SDK or no cluster.
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
        if (python.0, python.1) < OLDEST_PYTHON {
            return Err(ConnectError::PythonTooOld(python));
        }
        let start = Start { load: LOAD, modules: MODULES, target, parent: std::process::id() };
        match cluster.send(&start).and_then(|()| cluster.reply()) {
            Ok(ClusterReply::Connected(about)) => Ok((cluster, about)),
            Ok(ClusterReply::Failed { code, message, python }) => Err(match code.as_deref() {
                Some("no_sdk") => ConnectError::LacksSdk(python),
                Some("unknown_sdk") => ConnectError::UnknownSdk(python, message),
                Some("no_cluster") => ConnectError::NoCluster,
                _ => ConnectError::Refused(CallError { code, message }),
            }),
            _ => Err(ConnectError::Refused(gone())),
        }
    }

    fn spawn(spawner: &Spawner, interpreter: &Interpreter) -> io::Result<Self> {
        let Connected { mut command, socket, child_socket: _inherited } = interpreter.connect(spawner, LOADER)?;
        let reader = BufReader::new(socket.try_clone()?);
        Ok(Self { child: command.spawn()?, socket, reader })
    }

    /// Makes calls, several at once. The first is answered before there is a second: so the user logs in once, and what is
    /// wrong with all of them is found out by one.
    pub fn call(&mut self, calls: &mut dyn Calls) {
        // The places of those under way, oldest first.
        let (mut begun, mut under_way, mut at_once) = (0, Vec::new(), 1);
        loop {
            while under_way.len() < at_once {
                let Some((id, call)) = calls.next() else { break };
                // If Python is gone, the reply will not come either.
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
                _ => under_way.drain(..).for_each(|index| calls.answered(index, Err(gone()))),
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

/// Python ended before it answered.
fn gone() -> CallError {
    CallError { code: Some("gone".to_owned()), message: "Python ended before it answered".to_owned() }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // It was answered, or will not be: there is nothing it has yet to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
