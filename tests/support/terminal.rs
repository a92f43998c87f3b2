//! A command on a real terminal: `tests/python/pty_driver.py` holds the other end of it.

use std::path::Path;

use serde::Deserialize;

use super::{FLYTE_LOCAL, Ran, Sandbox, require};

#[derive(Debug, Deserialize)]
pub struct Session {
    /// All that appeared on the terminal.
    pub shown: String,
    pub code: i32,
    pub settings_are_back: bool,
    /// Whether there was a question, with the echo off.
    pub asked: bool,
    /// How many were answered.
    pub questions: usize,
    /// What was typed and not read.
    pub left_over: String,
}

/// Runs `flyte-local` on a terminal; `action` is the driver's.
pub fn on_a_terminal(sandbox: &Sandbox, action: &str, arguments: &[&str]) -> Session {
    program_on_a_terminal(sandbox, action, &[&[FLYTE_LOCAL], arguments].concat())
}

/// Answers each question in turn; there must be exactly so many.
pub fn answering(sandbox: &Sandbox, answers: &[&str], command: &[&str]) -> Session {
    let lines: Vec<_> = answers.iter().map(|answer| format!("{answer}\r")).collect();
    let action = format!("answers:{}", serde_json::to_string(&lines).expect("text"));
    let session = program_on_a_terminal(sandbox, &action, command);
    assert_eq!(session.questions, answers.len(), "{session:?}");
    assert!(session.settings_are_back, "{session:?}");
    assert!(!answers.iter().any(|answer| session.shown.contains(answer)), "an answer shows: {session:?}");
    session
}

fn program_on_a_terminal(sandbox: &Sandbox, action: &str, command: &[&str]) -> Session {
    require("python3", "python3");
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/pty_driver.py");
    let mut python = sandbox.program("python3");
    let ran = Ran::from(python.arg(driver).arg(action).args(command).output().expect("it starts"));
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_slice(&ran.stdout).expect("the driver's JSON")
}
