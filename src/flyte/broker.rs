//! The broker: answers the bootstrap over one inherited socket.
//!
//! The interpreter closes the socket on exec, and the identity never leaves this process. Only declarations cross in one
//! direction, and the declared values in the other.

mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::Interpreter;
use super::bootstrap::{RUN, join};
use super::children::{Door, Given};
use super::protocol::{BuildSecrets, ConfiguredScope, Declared, Job, Provided, Settings, Surveyed};
use super::python::Connected;
use super::run_error::RunError;
use crate::process::Spawner;
use session::{First, Session};

/// Provides secrets to the tasks of a run.
pub trait SecretSource: Send {
    /// Takes the project and domain of Flyte's own configuration.
    ///
    /// # Errors
    /// An invalid name.
    fn configured_scope(&mut self, configured: &ConfiguredScope) -> Result<(), SourceError>;

    /// Provides declared secrets. Those that nothing needs yet, as when an environment is declared, are provided if they exist.
    /// `needed_by` names in words what is about to use them (`task main`). Writes files before it returns.
    ///
    /// # Errors
    /// A secret that is needed is missing or cannot be opened.
    fn provide(&mut self, needed_by: Option<&str>, secrets: &[Declared]) -> Result<Provided, SourceError>;

    /// Returns the value and the forms in which it may occur.
    fn forms(&self, _value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
        Vec::new()
    }

    /// Returns a variable of the environment in which the run started.
    fn variable_of_shell(&self, _name: &str) -> Option<Zeroizing<Vec<u8>>> {
        None
    }

    /// Makes a directory for the container of a task, and returns its path. In it are the file `variables`, a shell script
    /// that exports them, and the directory `files`, each unless it would be empty.
    ///
    /// # Errors
    /// There is no place for it, or a secret cannot be opened.
    fn lend(
        &mut self,
        task: &str,
        _secrets: &[Declared],
        _variables: &BTreeMap<String, Zeroizing<Vec<u8>>>,
    ) -> Result<String, SourceError> {
        Err(SourceError(format!("task {task}: no container is started here")))
    }

    /// Provides the secrets that the build of an image needs, in the form in which its builder finds them.
    ///
    /// # Errors
    /// A secret exists and cannot be opened, or there is no place for a file.
    fn build(&mut self, needed_by: &str, _secrets: &[Declared]) -> Result<BuildSecrets, SourceError> {
        Err(SourceError(format!("{needed_by}: no image is built here")))
    }

    /// Removes a directory that was lent.
    fn take_back(&mut self, _directory: &Path) {}

    /// Takes the declarations that a [`Job::Survey`] found.
    fn survey(&mut self, _declared: Vec<Surveyed>) {}
}

/// The reason why a task does not get a secret: several lines of text for the user.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

#[derive(Default)]
struct RunState {
    /// The interpreter's parent, once it is known.
    parent: Option<u32>,
    greeted: bool,
    failure: Option<RunError>,
    keeps: BTreeSet<PathBuf>,
    given: Given,
}

/// State that the broker's thread and its owner share.
#[derive(Default)]
struct SharedRunState {
    state: Mutex<RunState>,
    /// Notified when the interpreter's parent becomes known.
    started: Condvar,
}

impl SharedRunState {
    fn lock(&self) -> MutexGuard<'_, RunState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The conversation with an interpreter, over a socket.
pub struct Broker {
    /// The interpreter's end, kept open until the interpreter has inherited it.
    child: Mutex<Option<UnixStream>>,
    shared: Arc<SharedRunState>,
    /// Keeps the source of secrets as long as processes can join the run, and no longer: its end removes the values from memory.
    _source: Arc<dyn Send + Sync>,
}

impl Broker {
    /// Starts a thread that answers, and returns the command that starts the interpreter with the other end.
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
        let Connected { command, socket, child_socket } = interpreter.connect(spawner, RUN)?;
        let shared = Arc::new(SharedRunState::default());
        // A dry run starts no task, and Flyte's own command may call a cluster.
        let door = Some(&job)
            .filter(|job| matches!(job, Job::File { .. } | Job::Module { .. }))
            .and_then(|_| Door::open().ok());
        let program = door.as_ref().map(|door| join(door.address()));
        let source = Arc::new(Mutex::new(source));
        if let Some(door) = door {
            // This thread waits to the end of the process, so it keeps nothing that holds values.
            let (settings, source, shared) = (settings.clone(), Arc::downgrade(&source), Arc::downgrade(&shared));
            std::thread::spawn(move || {
                let supervisor = || shared.upgrade()?.lock().parent;
                door.answer(supervisor, |socket| {
                    let Some((source, shared)) = source.upgrade().zip(shared.upgrade()) else { return };
                    let settings = settings.clone();
                    let session = Session { socket, settings, source, shared, first: None };
                    std::thread::spawn(move || session.serve());
                });
            });
        }
        let first = Some(First { job, join: program });
        let child = Mutex::new(Some(child_socket));
        let broker = Self { child, shared: Arc::clone(&shared), _source: source.clone() };
        let session = Session { socket, settings, source, shared, first };
        std::thread::spawn(move || session.serve());
        Ok((broker, command))
    }

    /// Sends the waiting interpreter its parent's process id. Closes this process's copy of the interpreter's end, so that the
    /// interpreter's exit ends the conversation.
    pub fn started(&self, parent: u32) {
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.shared.lock().parent = Some(parent);
        self.shared.started.notify_all();
    }

    /// Returns true once the interpreter has sent a request. Otherwise the program was not a Python interpreter.
    pub fn greeted(&self) -> bool {
        self.shared.lock().greeted
    }

    /// Returns the reason why the run could not go on, if it ended for that.
    pub fn failure(&self) -> Option<RunError> {
        let mut state = self.shared.lock();
        state.failure.take()
    }

    /// Returns the directories in which Flyte keeps the run's outputs.
    pub fn keeps(&self) -> BTreeSet<PathBuf> {
        self.shared.lock().keeps.clone()
    }
}
