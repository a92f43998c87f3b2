//! A command on a real terminal. `tests/python/pty_driver.py` holds the other end, or the test itself for a command
//! without prompts.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde::Deserialize;

use super::{FLYTE_LOCAL, Ran, Sandbox, require};

#[derive(Debug, Deserialize)]
pub struct Session {
    /// Everything that appeared on the terminal.
    pub shown: String,
    pub code: i32,
    pub settings_are_back: bool,
    /// True if there was a prompt with the echo off.
    pub asked: bool,
    /// The number of prompts that were answered.
    pub questions: usize,
    /// Typed text that was not read.
    pub left_over: String,
}

/// Runs `flyte-local` on a terminal; `action` is the driver's.
pub fn on_a_terminal(sandbox: &Sandbox, action: &str, arguments: &[&str]) -> Session {
    program_on_a_terminal(sandbox, action, &[&[FLYTE_LOCAL], arguments].concat())
}

/// Answers each prompt in turn. The number of prompts must match.
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
    // Without a TERM, there is no colour.
    python.env("TERM", "xterm");
    let ran = Ran::from(python.arg(driver).arg(action).args(command).output().expect("it starts"));
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_slice(&ran.stdout).expect("the driver's JSON")
}

/// Runs a command with its output on a terminal of this many columns. The standard output of the result is everything
/// that the terminal shows, with the line ends of a file.
pub fn on_screen(command: Command, columns: u16) -> Ran {
    show(command, columns, true)
}

/// Runs a command with its standard output on a terminal of this many columns, and its standard error in a pipe.
pub fn data_on_screen(command: Command, columns: u16) -> Ran {
    show(command, columns, false)
}

fn show(mut command: Command, columns: u16, with_stderr: bool) -> Ran {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&controller).expect("it is ours");
    unlockpt(&controller).expect("it is ours");
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&controller, size).expect("a size");
    let name = ptsname(&controller, Vec::new()).expect("its name");
    let terminal = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
    let terminal = terminal.expect("opened");
    let stderr = if with_stderr { terminal.try_clone().expect("cloned").into() } else { Stdio::piped() };
    let child = command.stdout(terminal).stderr(stderr).spawn().expect("it starts");
    // Reading ends once no process has the terminal open.
    drop(command);
    let mut shown = Vec::new();
    // Linux reports EIO for a terminal that is closed at the other end.
    let _ = File::from(controller).read_to_end(&mut shown);
    let mut ran = Ran::from(child.wait_with_output().expect("it ends"));
    ran.stdout = String::from_utf8(shown).expect("UTF-8").replace("\r\n", "\n").into_bytes();
    ran
}
