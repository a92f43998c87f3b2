//! The hidden prompt on a real terminal, whose other end `tests/python/pty_driver.py` holds.

use std::path::Path;
use std::process::Stdio;

use crate::support::terminal::{Session, on_a_terminal};
use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require};

fn typed(sandbox: &Sandbox, text: &str) -> Session {
    let session = on_a_terminal(sandbox, &format!("type:{text}"), &["create", "secret", "a"]);
    assert!(session.asked, "{session:?}");
    assert!(session.settings_are_back, "{session:?}");
    session
}

fn value(sandbox: &Sandbox) -> Vec<u8> {
    sandbox.ok(&["get", "secret", "a", "--reveal"])
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_typed_value_is_stored_and_does_not_show() {
    let sandbox = Sandbox::new();
    let session = typed(&sandbox, r"hunter2 \u00e9\r");
    assert_eq!((session.code, session.shown.as_str()), (0, "value of a: \r\ncreated secret a (organization)\r\n"));
    assert_eq!(value(&sandbox), "hunter2 é".as_bytes());

    let session = on_a_terminal(&sandbox, r"type:another\r", &["update", "secret", "a"]);
    assert_eq!((session.code, session.shown.as_str()), (0, "value of a: \r\nupdated secret a (organization)\r\n"));
    assert_eq!(value(&sandbox), b"another");
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_typing_error_can_be_corrected() {
    let sandbox = Sandbox::new();
    assert_eq!(typed(&sandbox, r"wrong\u007f\u007f\u007f\u007f\u007fright\r").code, 0);
    assert_eq!(value(&sandbox), b"right");
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_tab_is_not_dropped_silently() {
    let sandbox = Sandbox::new();
    let session = typed(&sandbox, r"a\tb\r");
    assert_eq!(session.code, 1, "{session:?}");
    assert!(session.shown.contains("--from-file"), "{session:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn an_invalid_byte_is_not_stored_as_another() {
    let sandbox = Sandbox::new();
    let session = typed(&sandbox, r"a\udcffb\r");
    assert_eq!(session.code, 1, "{session:?}");
    assert!(session.shown.contains("--from-file"), "{session:?}");
}

/// In its usual mode, a terminal passes on at most 4095 bytes of a line.
#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_long_value_is_stored_whole_or_not_at_all() {
    let sandbox = Sandbox::new();
    let session = typed(&sandbox, &format!(r"{}\r", "x".repeat(5000)));
    if session.code == 0 {
        assert_eq!(value(&sandbox).len(), 5000);
    } else {
        assert!(session.shown.contains("--from-file"), "{session:?}");
    }
}

/// The first line of a pasted file answers the prompt. The other lines must not run as commands in the shell.
#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn several_pasted_lines_are_stored_whole_or_not_at_all() {
    let sandbox = Sandbox::new();
    let session = typed(&sandbox, r"-----BEGIN-----\rhunter2\r-----END-----\r");
    assert_eq!(session.left_over, "", "the shell would run the rest");
    if session.code == 0 {
        assert_eq!(value(&sandbox), b"-----BEGIN-----\nhunter2\n-----END-----");
    } else {
        assert!(session.shown.contains("--from-file"), "{session:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn an_empty_answer_is_refused() {
    let sandbox = Sandbox::new();
    let session = typed(&sandbox, r"\r");
    assert_eq!(session.code, 1);
    assert!(
        session.shown.ends_with("no value was typed\r\n\u{1b}[36mhint:\u{1b}[0m for an empty value: --value ''\r\n"),
        "{session:?}"
    );
    assert_eq!(sandbox.run(&["get", "secret", "a"]).code, 10);
    // Ctrl-D on an empty line.
    let session = typed(&sandbox, r"\u0004");
    assert_eq!(session.code, 1, "{session:?}");
    assert_eq!(sandbox.run(&["get", "secret", "a"]).code, 10);
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_signal_at_the_prompt_leaves_the_terminal_as_it_was() {
    let sandbox = Sandbox::new();
    // SIGHUP, SIGINT, SIGQUIT, SIGTERM.
    for signal in [1, 2, 3, 15] {
        let (action, code) = (format!("signal:{signal}"), 128 + signal);
        let session = on_a_terminal(&sandbox, &action, &["create", "secret", "a"]);
        assert!(session.asked && session.settings_are_back, "{action}: {session:?}");
        assert_eq!(session.code, code, "{action}: {session:?}");
        assert_eq!(sandbox.run(&["get", "secret", "a"]).code, 10, "{action}");
    }
}

/// In the terminal's own mode Ctrl-C would raise SIGINT. The prompt reads it as a character, and must end the same way.
#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn ctrl_c_at_the_prompt_ends_like_sigint() {
    let sandbox = Sandbox::new();
    let session = typed(&sandbox, r"hunt\u0003");
    assert_eq!(session.code, 130, "{session:?}");
    assert!(!session.shown.contains("error"), "Ctrl-C needs no explanation: {session:?}");
    assert_eq!(sandbox.run(&["get", "secret", "a"]).code, 10);
}

/// In a shell with job control: a stopped prompt restores the terminal, and a continued one asks again.
#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_stopped_prompt_restores_the_terminal_and_asks_again() {
    require("python3", "python3");
    let sandbox = Sandbox::new();
    let session = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/terminal.py");
    // A shell with its own line editor would hide wrong terminal settings.
    let script = r#"set -m; "$0" create secret a; echo "it is $?"; stty -a; fg > /dev/null; echo "then $?"; stty -a"#;
    for stop in [r#"["type", "\u001a"]"#, r#"["stop"]"#] {
        let steps = format!(
            r#"[["expect", "value of a: "], ["type", "wrong"], ["taken"], {stop}, ["expect", "it is 150"], ["expect", " icanon"],
                ["expect", " echo "], ["expect", "value of a: "], ["type", "right\r"], ["expect", "then 0"],
                ["expect", " icanon"], ["expect", " echo "], ["end"]]"#
        );
        let mut command = sandbox.program("python3");
        command.arg(&session).args([&steps, "sh", "-c", script, FLYTE_LOCAL]);
        let ran = Ran::from(command.output().expect("it starts"));
        assert_eq!(ran.code, 0, "{ran:?}");
        let session: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("the session's JSON");
        let shown = session["shown"].as_str().expect("text");
        assert!(!shown.contains("wrong") && !shown.contains("right"), "{shown}");
        assert_eq!(session["settings_are_back"], true, "{shown}");
        assert_eq!(value(&sandbox), b"right", "text typed before the stop does not count");
        sandbox.ok(&["delete", "secret", "a"]);
    }
}

/// Without a shell as its parent, no process could continue the prompt.
#[test]
#[ignore = "needs Python: scripts/test"]
fn a_prompt_without_a_shell_is_not_stopped() {
    require("python3", "python3");
    let sandbox = Sandbox::new();
    let session = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/terminal.py");
    let steps = r#"[["expect", "value of a: "], ["type", "wrong\u001a"], ["expect", "value of a: "],
        ["type", "right\r"], ["end"]]"#;
    let mut command = sandbox.program("python3");
    let ran = command.arg(session).args([steps, FLYTE_LOCAL, "create", "secret", "a"]).output().expect("it starts");
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(value(&sandbox), b"right");
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn errors_come_before_the_prompt() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "a", "one"]);
    let no_vault = ["--vault", "none", "create", "secret", "a"];
    let cases: &[(i32, &[&str])] =
        &[(12, &["create", "secret", "a"]), (10, &["update", "secret", "b"]), (10, &no_vault)];
    for (code, arguments) in cases {
        let session = on_a_terminal(&sandbox, "none", arguments);
        assert_eq!(session.code, *code, "{arguments:?}: {session:?}");
        assert!(!session.shown.contains("value of"), "{arguments:?}: {session:?}");
    }
}

/// The prompt does not use a controlling terminal that is not standard input.
#[test]
#[ignore = "needs Python: scripts/test"]
fn there_is_a_prompt_only_if_standard_input_is_a_terminal() {
    let sandbox = Sandbox::new();
    sandbox.file("value", "from the file");
    require("python3", "python3");
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/pty_driver.py");
    let script = r#""$0" create secret a < value"#;
    let mut command = sandbox.program("python3");
    command.arg(driver).args(["none", "sh", "-c", script, FLYTE_LOCAL]).stdin(Stdio::null());
    let ran = Ran::from(command.output().expect("it starts"));
    let session: Session = serde_json::from_slice(&ran.stdout).expect("the driver's JSON");
    assert_eq!((session.code, session.shown.as_str()), (0, "created secret a (organization)\r\n"));
    assert_eq!(value(&sandbox), b"from the file");
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn colour_appears_only_on_terminals() {
    let sandbox = Sandbox::new();
    let colored = on_a_terminal(&sandbox, "none", &["get", "secret", "a"]);
    assert!(colored.shown.starts_with("\u{1b}[1;31merror:\u{1b}[0m there is no secret"), "{colored:?}");
    let mut command = sandbox.command(&["get", "secret", "a"]);
    let piped = Ran::from(command.output().expect("flyte-local starts"));
    assert!(piped.stderr.starts_with("error: there is no secret"), "{piped:?}");
}
