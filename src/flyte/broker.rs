//! The broker: answers the bootstrap over one inherited socket.
//!
//! The socket is closed on exec in the interpreter, and the identity never leaves this process: what crosses is the
//! declaration one way, and the values declared the other.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::protocol::{Declared, Job, Provided, Reply, Request, Settings, Surveyed};
use super::python::Connected;
use super::{Interpreter, OLDEST_PYTHON};
use crate::process::Spawner;

/// The bootstrap's modules, each after those that it imports.
const BOOTSTRAP: &[(&str, &str)] = &[
    ("broker", include_str!("bootstrap/broker.py")),
    ("views", include_str!("bootstrap/views.py")),
    ("leaks", include_str!("bootstrap/leaks.py")),
    ("injection", include_str!("bootstrap/injection.py")),
    ("imports", include_str!("bootstrap/imports.py")),
    ("local", include_str!("bootstrap/local.py")),
    ("redirect", include_str!("bootstrap/redirect.py")),
    ("modes", include_str!("bootstrap/modes.py")),
    ("workers", include_str!("bootstrap/workers.py")),
    ("survey", include_str!("bootstrap/survey.py")),
    ("start", include_str!("bootstrap/start.py")),
];

/// Fetches the bootstrap over a socket: what the first interpreter and each worker of its tests begin with. Any Python since
/// 2.7 can parse it, so that one that is too old can say so.
pub(super) const LOAD: &str = include_str!("bootstrap/load.py");

/// What the first interpreter runs.
const LOADER: &str = concat!(
    include_str!("bootstrap/load.py"),
    r#"
socket = int(sys.argv[1])
start = load(socket, '{"op":"hello","python":[%d,%d,%d]}' % tuple(sys.version_info[:3]))
sys.modules["_flyte_local.start"].start(socket, start["job"], start["settings"], start["parent"])
"#
);

/// The longest request: thousands of declared secrets.
const MAX_REQUEST_BYTES: u64 = 1 << 20;

/// Where secrets come from and go to.
pub trait SecretSource: Send {
    /// Flyte's own configuration names this project and domain.
    ///
    /// # Errors
    /// A name that is none.
    fn configured_scope(&mut self, project: Option<&str>, domain: Option<&str>) -> Result<(), SourceError>;

    /// Provides what a task declares; or, with no task, what of a new environment's secrets there is. Files are written
    /// where they belong before it returns.
    ///
    /// # Errors
    /// With a task: a secret that cannot be had.
    fn provide(&mut self, task: Option<&str>, secrets: &[Declared]) -> Result<Provided, SourceError>;

    /// Takes what a [`Job::Survey`] found.
    fn survey(&mut self, _declared: Vec<Surveyed>) {}
}

/// Why a task does not get a secret: text for the user, several lines of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// Why a run could not begin or go on, for a reason of ours.
#[derive(Debug)]
pub enum RunError {
    /// The interpreter is older than Flyte 2 supports.
    PythonTooOld {
        /// Major, minor and micro version.
        version: (u32, u32, u32),
    },
    /// The interpreter has no Flyte SDK.
    LacksSdk {
        /// The interpreter's own name for itself.
        python: String,
    },
    /// The bootstrap says why.
    Bootstrap {
        /// What is wrong.
        message: String,
        /// What to do about it; `{run}` stands for the command as it was typed, up to the file.
        hints: Vec<String>,
        /// The exit code.
        code: u8,
    },
}

#[derive(Default)]
struct RunState {
    /// The interpreter's parent, once it is known.
    parent: Option<u32>,
    greeted: bool,
    failure: Option<RunError>,
    keeps: BTreeSet<PathBuf>,
}

/// What the broker's thread and its owner share.
#[derive(Default)]
struct SharedRunState {
    state: Mutex<RunState>,
    /// The interpreter's parent became known.
    started: Condvar,
}

impl SharedRunState {
    fn lock(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One end of a socket whose other end is an interpreter's.
pub struct Broker {
    /// Kept open until the interpreter has inherited it.
    child: Mutex<Option<UnixStream>>,
    shared: Arc<SharedRunState>,
}

impl Broker {
    /// Starts answering, on a thread of its own, and returns the command that starts the interpreter with the other end.
    ///
    /// # Errors
    /// The system has no socket left.
    pub fn start(
        spawner: &Spawner,
        interpreter: &Interpreter,
        job: Job,
        settings: Settings,
        source: impl SecretSource + 'static,
    ) -> io::Result<(Self, Command)> {
        let Connected { command, socket, child_socket } = interpreter.connect(spawner, LOADER)?;
        let shared = Arc::new(SharedRunState::default());
        let session = Session { socket, job, settings, source, shared: Arc::clone(&shared) };
        std::thread::spawn(move || session.serve());
        Ok((Self { child: Mutex::new(Some(child_socket)), shared }, command))
    }

    /// Tells the interpreter, which waits for it, who its parent is; and lets go of the interpreter's end of the socket, so
    /// that the interpreter's exit ends the conversation.
    pub fn started(&self, parent: u32) {
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.lock().parent = Some(parent);
        self.shared.started.notify_all();
    }

    /// Whether the interpreter ever spoke; if not, it was no Python.
    pub fn greeted(&self) -> bool {
        self.shared.lock().greeted
    }

    /// Why the run could not go on, if that was the reason it ended.
    pub fn failure(&self) -> Option<RunError> {
        let mut state = self.shared.lock();
        state.failure.take()
    }

    /// The directories in which Flyte keeps what the run made.
    pub fn keeps(&self) -> BTreeSet<PathBuf> {
        self.shared.lock().keeps.clone()
    }
}

struct Session<S> {
    socket: UnixStream,
    job: Job,
    settings: Settings,
    source: S,
    shared: Arc<SharedRunState>,
}

impl<S: SecretSource> Session<S> {
    /// Answers until the interpreter is gone, or says something that is no request.
    fn serve(mut self) {
        let Ok(reader) = self.socket.try_clone() else { return };
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut reader).take(MAX_REQUEST_BYTES).read_until(b'\n', &mut line) {
                Ok(length) if length > 0 && line.ends_with(b"\n") => {}
                _ => return,
            }
            let Ok(request) = serde_json::from_slice(&line) else { return };
            if self.answer(request).is_err() {
                return;
            }
        }
    }

    fn answer(&mut self, request: Request) -> io::Result<()> {
        match request {
            Request::Hello { python: version } => {
                let mut state = self.shared.lock();
                state.greeted = true;
                if (version.0, version.1) < OLDEST_PYTHON {
                    state.failure = Some(RunError::PythonTooOld { version });
                    return Err(io::ErrorKind::Unsupported.into());
                }
                let waiting = self.shared.started.wait_while(state, |state| state.parent.is_none());
                let parent = waiting.unwrap_or_else(PoisonError::into_inner).parent.unwrap_or_default();
                let (job, settings) = (&self.job, &self.settings);
                let start = Reply::Start { load: LOAD, modules: BOOTSTRAP, job, settings, parent };
                send(&self.socket, &start)
            }
            Request::Scope { project, domain } => {
                match self.source.configured_scope(project.as_deref(), domain.as_deref()) {
                    Ok(()) => send(&self.socket, &Reply::Done {}),
                    Err(SourceError(error)) => send(&self.socket, &Reply::Refused { error: &error }),
                }
            }
            Request::Secrets { task, secrets } => match self.source.provide(task.as_deref(), &secrets) {
                Ok(provided) => send(&self.socket, &Reply::Secrets(&provided)),
                Err(SourceError(error)) => send(&self.socket, &Reply::Refused { error: &error }),
            },
            Request::Keeps { directories } => {
                self.shared.lock().keeps.extend(directories);
                send(&self.socket, &Reply::Done {})
            }
            Request::Survey { declared } => {
                self.source.survey(declared);
                send(&self.socket, &Reply::Done {})
            }
            Request::LacksSdk { python } => self.fail(RunError::LacksSdk { python }),
            Request::Fail { message, hints, code } => self.fail(RunError::Bootstrap { message, hints, code }),
        }
    }

    fn fail(&self, failure: RunError) -> io::Result<()> {
        self.shared.lock().failure = Some(failure);
        send(&self.socket, &Reply::Done {})
    }
}

fn send(mut socket: &UnixStream, reply: &Reply<'_>) -> io::Result<()> {
    let mut line = Zeroizing::new(serde_json::to_vec(reply)?);
    line.push(b'\n');
    socket.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::{MAX_OTHER_FORMS, MIN_BYTES};

    /// Python's leak search and the mask find the same values.
    #[test]
    fn limits_of_the_leak_search_equal_those_of_the_mask() {
        let (_, leaks) = BOOTSTRAP.iter().find(|(name, _)| *name == "leaks").expect("the bootstrap has it");
        let limit = |name: &str| {
            let line = leaks.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            let numbers =
                line.expect("the constant").split(" << ").map(|number| number.parse::<usize>().expect("a number"));
            numbers.reduce(|number, shift| number << shift).expect("one number or two")
        };
        assert_eq!(limit("MIN_BYTES"), MIN_BYTES);
        assert_eq!(limit("MAX_OTHER_FORMS"), MAX_OTHER_FORMS);
    }
}
