//! A conversation with the broker: each valid request has one reply, the source of secrets gets exactly the requested names,
//! nothing else is provided, and an invalid line changes nothing but gets a reply that says so. Input: the lines of an interpreter.
#![no_main]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use flyte_local::flyte::{
    Broker, ConfiguredScope, Declared, Interpreter, InterpreterOrigin, Job, Leaks, OLDEST_PYTHON, Provided,
    PythonVersion, SecretSource, Settings, SourceError, Surveyed,
};
use flyte_local::process::Spawner;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// A longer input would have to be read while it is written.
const MAX_INPUT: usize = 16 << 10;

fuzz_target!(
    init: {
        // The broker hangs up whenever it likes. SAFETY: no other thread was started yet.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    },
    |input: &[u8]| {
        if input.len() > MAX_INPUT {
            return;
        }
        let mut told = talk(input);
        let answered = input.split_inclusive(|&byte| byte == b'\n').zip(&told.replies);
        let valid = answered.filter(|(_, reply)| reply["invalid"].is_null());
        let requests: Vec<Value> =
            valid.map(|(line, _)| serde_json::from_slice(line).expect("a request is JSON")).collect();
        told.replies.retain(|reply| reply["invalid"].is_null());
        // The same requests, printed by another writer, get the same replies.
        check(&requests, &told);
        let printed: String = requests.iter().map(|request| format!("{request}\n")).collect();
        assert_eq!(talk(printed.as_bytes()), told);
    }
);

/// The result of a conversation: the replies, and the requests to the source.
#[derive(Debug, PartialEq)]
struct Told {
    replies: Vec<Value>,
    asked: Vec<Value>,
    kept: Vec<Value>,
}

#[derive(Clone, Default)]
struct Source(Arc<Mutex<Vec<Value>>>);

impl Source {
    fn note(&self, asked: Value) {
        self.0.lock().expect("no panic").push(asked);
    }
}

fn declared(secret: &Declared) -> Value {
    json!({"key": secret.key, "group": secret.group, "variable": secret.variable, "shell": secret.shell})
}

impl SecretSource for Source {
    fn configured_scope(&mut self, configured: &ConfiguredScope) -> Result<(), SourceError> {
        let ConfiguredScope { project, domain, .. } = configured;
        self.note(json!({"op": "scope", "project": project, "domain": domain}));
        if project.as_deref().is_some_and(str::is_empty) { Err(SourceError("no project".to_owned())) } else { Ok(()) }
    }

    fn provide(&mut self, needed_by: Option<&str>, secrets: &[Declared]) -> Result<Provided, SourceError> {
        let asked = secrets.iter().map(declared).collect::<Vec<_>>();
        self.note(json!({"op": "secrets", "needed_by": needed_by, "secrets": asked}));
        let mut provided = Provided::default();
        for secret in secrets {
            let Some(variable) = &secret.variable else { continue };
            provided.variables.insert(variable.clone(), format!("value of {}", secret.key).into());
        }
        Ok(provided)
    }

    fn survey(&mut self, found: Vec<Surveyed>) {
        let all = found.iter().map(|one| {
            let secrets = one.secrets.iter().map(declared).collect::<Vec<_>>();
            json!({"environment": one.environment, "task": one.task, "secrets": secrets})
        });
        self.note(json!({"op": "survey", "declared": all.collect::<Vec<_>>()}));
    }
}

fn talk(input: &[u8]) -> Told {
    let source = Source::default();
    let interpreter = Interpreter { program: "python3".into(), origin: InterpreterOrigin::Path, lacks_uv: false };
    let job = Job::Module { module: "m".to_owned(), arguments: Vec::new() };
    let settings = Settings { leaks: Some(Leaks::Warn), ..Settings::default() };
    let (broker, command) =
        Broker::start(&Spawner::new([]), &interpreter, job, settings, source.clone()).expect("a socket");
    let socket =
        command.get_args().last().and_then(|number| number.to_str()?.parse().ok()).expect("the inherited socket");
    // SAFETY: it is open until `started` closes the broker's copy.
    let socket = unsafe { BorrowedFd::borrow_raw(socket) }.try_clone_to_owned().expect("a descriptor");
    let mut socket = UnixStream::from(socket);
    broker.started(1);
    let _ = socket.write_all(input);
    let _ = socket.shutdown(Shutdown::Write);
    let mut replies = Vec::new();
    // It ends when the broker hangs up, which is a reset if there was more to read.
    let _ = socket.read_to_end(&mut replies);
    let lines = replies.split_inclusive(|&byte| byte == b'\n').map(|line| serde_json::from_slice(line).expect("JSON"));
    let replies = lines.collect();
    let asked = std::mem::take(&mut *source.0.lock().expect("no panic"));
    let kept = broker.keeps().iter().map(|path| json!(path)).collect();
    Told { replies, asked, kept }
}

/// Returns a request with `null` for the members that it leaves out.
fn whole(request: &Value, members: &[&str]) -> Value {
    members.iter().map(|&member| (member.to_owned(), request[member].clone())).collect()
}

fn check(requests: &[Value], told: &Told) {
    let secrets = |list: &Value| -> Value {
        let list = list.as_array().expect("a list").iter();
        list.map(|secret| whole(secret, &["key", "group", "variable", "shell"])).collect()
    };
    let (mut asked, mut kept) = (Vec::new(), Vec::new());
    for (request, reply) in requests.iter().zip(&told.replies) {
        let mut expected = json!({});
        match request["op"].as_str().expect("a request has one") {
            "hello" => {
                let version = |index: usize| request["python"][index].as_u64().expect("a number") as u32;
                assert!(PythonVersion::from((version(0), version(1), version(2))) >= OLDEST_PYTHON);
                assert_eq!(reply["job"], json!({"mode": "module", "module": "m", "arguments": []}));
                continue;
            }
            "scope" => {
                asked.push(whole(request, &["op", "project", "domain"]));
                if request["project"] == "" {
                    expected = json!({"error": "no project"});
                }
            }
            "secrets" => {
                let mut whole = whole(request, &["op", "needed_by", "secrets"]);
                whole["secrets"] = secrets(&request["secrets"]);
                let mut variables = json!({});
                for secret in whole["secrets"].as_array().expect("a list") {
                    let Some(variable) = secret["variable"].as_str() else { continue };
                    variables[variable] = format!("value of {}", secret["key"].as_str().expect("a string")).into();
                }
                asked.push(whole);
                let none: [Value; 0] = [];
                expected = json!({
                    "variables": variables, "shell": none, "missing": none, "why_missing": none, "notes": none,
                });
            }
            "survey" => {
                let all = request["declared"].as_array().expect("a list").iter().map(|one| {
                    let mut whole = whole(one, &["environment", "task", "secrets"]);
                    whole["secrets"] = secrets(&one["secrets"]);
                    whole
                });
                asked.push(json!({"op": "survey", "declared": all.collect::<Vec<_>>()}));
            }
            "keeps" => kept.extend(request["directories"].as_array().expect("a list").iter().cloned()),
            "forms" => {
                let none: [Value; 0] = [];
                expected = json!({"forms": none});
            }
            // This source lends nothing, and this conversation is that of the first interpreter.
            "join" | "container" | "build" | "give_back" => continue,
            "lacks_sdk" | "fail" => {}
            other => panic!("{other:?} is not a request"),
        }
        assert_eq!(reply, &expected);
    }
    assert_eq!(told.asked, asked);
    // As paths, of which some are equal and written differently.
    assert!(kept.iter().all(|path| told.kept.contains(path) || told.kept.len() < kept.len()));
}
