//! The broker: answers the bootstrap over one inherited socket.
//!
//! The interpreter closes the socket on exec, and the identity never leaves this process. Only declarations cross in one
//! direction, and the declared values in the other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::bootstrap::{LOAD, RUN, RUN_MODULES, join};
use super::children::{Door, Given};
use super::protocol::{
    BuildSecrets, ConfiguredScope, Declared, Job, Provided, Reply, Request, Settings, Surveyed, bytes_of,
};
use super::python::Connected;
use super::run_error::RunError;
use super::{Interpreter, OLDEST_PYTHON};
use crate::process::Spawner;

/// The longest request, enough for thousands of declared secrets.
const MAX_REQUEST_BYTES: u64 = 1 << 20;

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
            let (settings, source, shared) = (settings.clone(), Arc::clone(&source), Arc::clone(&shared));
            std::thread::spawn(move || {
                let supervisor = || shared.lock().parent;
                door.answer(supervisor, |socket| {
                    let (settings, source, shared) = (settings.clone(), Arc::clone(&source), Arc::clone(&shared));
                    let session = Session { socket, settings, source, shared, first: None };
                    std::thread::spawn(move || session.serve());
                });
            });
        }
        let first = Some(First { job, join: program });
        let session = Session { socket, settings, source, shared: Arc::clone(&shared), first };
        std::thread::spawn(move || session.serve());
        Ok((Self { child: Mutex::new(Some(child_socket)), shared }, command))
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

/// The part of the first interpreter of a run, which runs the user's code.
struct First {
    job: Job,
    /// The program with which processes that it starts join the run.
    join: Option<String>,
}

struct Session<S> {
    socket: UnixStream,
    settings: Settings,
    source: Arc<Mutex<S>>,
    shared: Arc<SharedRunState>,
    /// `None` in a conversation with a process that joined the run.
    first: Option<First>,
}

impl<S: SecretSource> Session<S> {
    /// Answers until the interpreter is gone.
    fn serve(self) {
        let Ok(reader) = self.socket.try_clone() else { return };
        let mut reader = BufReader::new(reader);
        let mut line = Zeroizing::new(Vec::new());
        loop {
            line.clear();
            let Ok(length) = (&mut reader).take(MAX_REQUEST_BYTES).read_until(b'\n', &mut line) else { return };
            let answered = match serde_json::from_slice(&line) {
                _ if !line.ends_with(b"\n") && length as u64 == MAX_REQUEST_BYTES => {
                    let rest = skip_line(&mut reader);
                    rest.and_then(|()| self.refuse(&format!("it is longer than {MAX_REQUEST_BYTES} bytes")))
                }
                // The interpreter ended.
                _ if !line.ends_with(b"\n") => return,
                Ok(request) => self.answer(request),
                Err(error) => self.refuse(&error.to_string()),
            };
            if answered.is_err() {
                return;
            }
        }
    }

    fn source(&self) -> MutexGuard<'_, S> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: Request) -> io::Result<()> {
        match request {
            Request::Hello { .. } | Request::Survey { .. } | Request::LacksSdk { .. } | Request::Fail { .. }
                if self.first.is_none() =>
            {
                self.refuse("only the first interpreter of a run asks for this")
            }
            Request::Hello { python: version } => {
                let mut state = self.shared.lock();
                state.greeted = true;
                if version < OLDEST_PYTHON {
                    state.failure = Some(RunError::PythonTooOld { version });
                    return Err(io::ErrorKind::Unsupported.into());
                }
                let waiting = self.shared.started.wait_while(state, |state| state.parent.is_none());
                let parent = waiting.unwrap_or_else(PoisonError::into_inner).parent.unwrap_or_default();
                let Some(First { job, join }) = &self.first else { return Ok(()) };
                let (settings, join) = (&self.settings, join.as_deref());
                let start = Reply::Start { load: LOAD, modules: RUN_MODULES, job, settings, parent, join };
                send(&self.socket, &start)
            }
            Request::Join { variables } => {
                let state = self.shared.lock();
                let (from_run, changed) = state.given.compared(&variables, &*self.source());
                let joined = Reply::Joined { modules: RUN_MODULES, settings: &self.settings, from_run, changed };
                send(&self.socket, &joined)
            }
            Request::Scope(configured) => {
                let taken = self.source().configured_scope(&configured);
                match taken {
                    Ok(()) => send(&self.socket, &Reply::Done {}),
                    Err(SourceError(error)) => send(&self.socket, &Reply::Refused { error: &error }),
                }
            }
            Request::Secrets { needed_by, secrets } => {
                let provided = self.source().provide(needed_by.as_deref(), &secrets);
                match provided {
                    Ok(provided) => {
                        self.shared.lock().given.record(&secrets, &provided);
                        send(&self.socket, &Reply::Secrets(&provided))
                    }
                    Err(SourceError(error)) => send(&self.socket, &Reply::Refused { error: &error }),
                }
            }
            Request::Keeps { directories } => {
                self.shared.lock().keeps.extend(directories);
                send(&self.socket, &Reply::Done {})
            }
            Request::Survey { declared } => {
                self.source().survey(declared);
                send(&self.socket, &Reply::Done {})
            }
            Request::Forms { value } => {
                let Some(value) = bytes_of(&value) else { return self.refuse(NO_BYTE) };
                let forms = self.source().forms(&value);
                let text =
                    |form: &Zeroizing<Vec<u8>>| Zeroizing::new(form.iter().map(|&byte| char::from(byte)).collect());
                send(&self.socket, &Reply::Forms { forms: forms.iter().map(text).collect() })
            }
            Request::Container { task, secrets, variables } => {
                let decoded = variables.iter().map(|(name, value)| Some((name.clone(), bytes_of(value)?)));
                let Some(variables) = decoded.collect::<Option<BTreeMap<_, _>>>() else { return self.refuse(NO_BYTE) };
                let lent = self.source().lend(&task, &secrets, &variables);
                match lent {
                    Ok(directory) => send(&self.socket, &Reply::Lent { directory: &directory }),
                    Err(SourceError(error)) => send(&self.socket, &Reply::Refused { error: &error }),
                }
            }
            Request::Build { needed_by, secrets } => match self.source().build(&needed_by, &secrets) {
                Ok(secrets) => send(&self.socket, &Reply::Build(&secrets)),
                Err(SourceError(error)) => send(&self.socket, &Reply::Refused { error: &error }),
            },
            Request::GiveBack { directory } => {
                self.source().take_back(&directory);
                send(&self.socket, &Reply::Done {})
            }
            Request::LacksSdk { python } => self.fail(RunError::LacksSdk { python }),
            Request::Fail { message, hints, code } => self.fail(RunError::Bootstrap { message, hints, code }),
        }
    }

    /// Says why a request was not understood, so that it fails and the run does not.
    fn refuse(&self, invalid: &str) -> io::Result<()> {
        send(&self.socket, &Reply::Invalid { invalid })
    }

    fn fail(&self, failure: RunError) -> io::Result<()> {
        self.shared.lock().failure = Some(failure);
        send(&self.socket, &Reply::Done {})
    }
}

const NO_BYTE: &str = "the value has a character beyond U+00FF, which stands for no byte";

/// Reads to the end of a line.
fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (length, is_over) = (end.map_or(buffer.len(), |end| end + 1), end.is_some() || buffer.is_empty());
        reader.consume(length);
        if is_over {
            return Ok(());
        }
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
        let (_, leaks) = RUN_MODULES.iter().find(|(name, _)| *name == "leaks").expect("the bootstrap has it");
        let limit = |name: &str| {
            let line = leaks.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            let numbers =
                line.expect("the constant").split(" << ").map(|number| number.parse::<usize>().expect("a number"));
            numbers.reduce(|number, shift| number << shift).expect("one number or two")
        };
        assert_eq!(limit("MIN_BYTES"), MIN_BYTES);
        assert_eq!(limit("MAX_OTHER_FORMS"), MAX_OTHER_FORMS);
    }

    /// Takes every scope and provides nothing.
    struct NoSecrets;

    impl SecretSource for NoSecrets {
        fn configured_scope(&mut self, _: &ConfiguredScope) -> Result<(), SourceError> {
            Ok(())
        }

        fn provide(&mut self, _: Option<&str>, _: &[Declared]) -> Result<Provided, SourceError> {
            Ok(Provided::default())
        }
    }

    #[test]
    fn a_message_that_is_not_understood_is_answered_with_the_reason_and_the_next_one_as_usual() {
        let (ours, theirs) = UnixStream::pair().expect("a socket");
        let session = Session {
            socket: theirs,
            settings: Settings::default(),
            source: Arc::new(Mutex::new(NoSecrets)),
            shared: Arc::default(),
            first: Some(First { job: Job::Module { module: "m".to_owned(), arguments: Vec::new() }, join: None }),
        };
        let served = std::thread::spawn(move || session.serve());
        let mut replies = BufReader::new(ours.try_clone().expect("a socket"));
        let mut ask = |request: &str| {
            writeln!(&ours, "{request}").expect("it reads");
            let mut reply = String::new();
            replies.read_line(&mut reply).expect("it answers");
            reply
        };
        let scope = |project: &str| format!(r#"{{"op":"scope","project":{project},"domain":null,"unfit":{{}}}}"#);
        let too_long = format!(r#"{{"op":"keeps","directories":["{}"]}}"#, "x".repeat(3 << 20));
        for (request, reason) in [
            (scope("5"), "invalid type: integer `5`"),
            (scope("true"), "invalid type: boolean `true`"),
            (scope("[\"a\"]"), "invalid type: sequence"),
            (scope("{}"), "invalid type: map"),
            (scope("\"\\udcff\""), "surrogate"),
            (r#"{"op":"secrets","needed_by":null,"secrets":[{"key":5}]}"#.to_owned(), "invalid type: integer `5`"),
            (r#"{"op":"other"}"#.to_owned(), "unknown variant `other`"),
            (r#"{"op":"keeps"}"#.to_owned(), "missing field `directories`"),
            ("[]".to_owned(), "invalid"),
            ("no JSON".to_owned(), "expected"),
            (String::new(), "EOF"),
            (too_long, "it is longer than 1048576 bytes"),
        ] {
            let reply = ask(&request);
            let start: String = request.chars().take(80).collect();
            assert!(reply.starts_with(r#"{"invalid":"#) && reply.contains(reason), "{start}: {reply}");
            assert_eq!(ask(&scope("\"a\"")), "{}\n", "after {start}");
        }
        drop((replies, ours));
        served.join().expect("it ends with the socket");
    }
}
