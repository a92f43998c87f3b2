//! One conversation of the broker with an interpreter: reads requests, and answers them.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::{SecretSource, SharedRunState, SourceError};
use crate::flyte::OLDEST_PYTHON;
use crate::flyte::bootstrap::{LOAD, RUN_MODULES};
use crate::flyte::protocol::{Job, Reply, Request, Settings, bytes_of};
use crate::flyte::run_error::RunError;

/// The longest request, enough for thousands of declared secrets.
const MAX_REQUEST_BYTES: u64 = 1 << 20;

/// The part of the first interpreter of a run, which runs the user's code.
pub(super) struct First {
    pub(super) job: Job,
    /// The program with which processes that it starts join the run.
    pub(super) join: Option<String>,
}

/// The conversation with one interpreter.
pub(super) struct Session<S> {
    pub(super) socket: UnixStream,
    pub(super) settings: Settings,
    pub(super) source: Arc<Mutex<S>>,
    pub(super) shared: Arc<SharedRunState>,
    /// `None` in a conversation with a process that joined the run.
    pub(super) first: Option<First>,
}

impl<S: SecretSource> Session<S> {
    /// Answers until the interpreter is gone.
    pub(super) fn serve(self) {
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
    use crate::flyte::protocol::{ConfiguredScope, Declared, Provided};
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
