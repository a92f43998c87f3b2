//! Messages between [`Cluster`](super::Cluster) and `push.py`: one JSON object a line.

use serde::{Deserialize, Serialize};

use super::PythonVersion;
use super::cluster::{About, Target};
use crate::secret::SecretType;

/// The answer to the interpreter's hello.
#[derive(Serialize)]
pub(super) struct Start<'a> {
    pub(super) modules: &'a [(&'a str, &'a str)],
    pub(super) target: &'a Target,
    pub(super) parent: u32,
}

/// One call, as `push.py` takes it.
#[derive(Serialize)]
pub(super) struct ClusterRequest<'a> {
    pub(super) op: &'static str,
    pub(super) index: usize,
    pub(super) name: &'a str,
    pub(super) project: &'a str,
    pub(super) domain: &'a str,
    #[serde(rename = "type")]
    pub(super) secret_type: Option<SecretType>,
    pub(super) value: Option<&'a str>,
}

/// A message from `push.py`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(super) enum ClusterReply {
    Hello { python: PythonVersion },
    Failed { code: Option<String>, message: String, python: String },
    Connected(About),
    Done { index: usize, found: Option<SecretType>, code: Option<String>, message: Option<String> },
}
