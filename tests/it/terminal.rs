//! A child on a terminal: it keeps one, each key and signal reaches it once, and every end restores the user's settings.
//!
//! `tests/python/terminal.py` plays the user. Every step waits for the text that it needs, and none for a fixed time.

use std::path::Path;

use crate::support::{FLYTE_LOCAL, Sandbox, python, require};
use serde_json::{Value, json};

/// The result of a session.
#[derive(Debug)]
struct Played {
    shown: String,
    hex: String,
    code: Option<i64>,
    settings_are_back: Option<bool>,
}

fn play(sandbox: &Sandbox, steps: &Value, command: &[&str]) -> Played {
    require("python3", "python3");
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/terminal.py");
    let mut player = sandbox.program("python3");
    player.arg(driver).arg(steps.to_string()).args(command).env("TERM", "xterm-256color");
    let output = player.output().expect("python3 starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{steps}\n{command:?}\n{said}");
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    Played {
        shown: result["shown"].as_str().expect("text").to_owned(),
        hex: result["hex"].as_str().expect("text").to_owned(),
        code: result["code"].as_i64(),
        settings_are_back: result["settings_are_back"].as_bool(),
    }
}

const KEY: &str = "a-long-secret-value";

/// Makes a sandbox with one secret, and `script.py`.
fn with_script(script: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.secret("a", KEY, &[]);
    sandbox.file("script.py", script);
    sandbox
}

/// Returns the words of `flyte-local exec --mask --secret a -- python3 script.py`.
fn masked(words: &[&'static str]) -> Vec<&'static str> {
    let command = [FLYTE_LOCAL, "exec", "--mask", "--secret", "a", "--", "python3", "script.py"];
    [words, &command[..]].concat()
}

/// Returns the same command as a line for a shell.
fn line() -> String {
    masked(&[]).join(" ")
}

/// Reports signals through a pipe, because Python runs handlers before it reads, but not for a signal that arrives between the two.
const SIGNALS: &str = "
import os, signal, sys
told, tell = os.pipe()
os.set_blocking(tell, False)
signal.set_wakeup_fd(tell)
def catch(*numbers):
    for number in numbers:
        signal.signal(number, lambda *_: None)
def caught():
    return signal.Signals(os.read(told, 1)[0]).name
def others():
    os.set_blocking(told, False)
    try:
        return os.read(told, 100)
    except BlockingIOError:
        return b''
";

/// Prints its process number, and answers each line until `end`.
const ANSWERS: &str = "
import os, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
print('ready', os.getpid(), os.getppid(), flush=True)
while (line := input()) != 'end':
    print(f'read <{line}>', flush=True)
print('over')
";

/// Sets a shell's prompt, in a form that differs from the prompt itself.
const PROMPT: &str = "PS1=prompt'> '\r";

const READY: [&str; 3] = ["find", "child", r"ready (\d+)"];

#[test]
#[ignore = "needs Python: scripts/test"]
fn the_child_has_a_terminal_of_the_users_kind_and_size() {
    let sandbox = with_script(&format!(
        "{SIGNALS}
catch(signal.SIGWINCH)
size = os.get_terminal_size()
print([stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)], os.environ['TERM'], *size)
print('\\x1b[31mred\\x1b[0m', os.ttyname(0) == os.ttyname(1) == os.ttyname(2), os.tcgetpgrp(0) == os.getpgrp())
open('/dev/tty', 'w').write('by name\\n')
for _ in range(2):
    print(caught(), *os.get_terminal_size(), flush=True)
print('answer', input('question? '))
"
    ));
    let steps = json!([
        ["expect", "[True, True, True] xterm-256color 80 24\r\n"],
        ["expect", "\u{1b}[31mred\u{1b}[0m True True\r\n"],
        ["expect", "by name\r\n"],
        ["resize", 50, 132],
        ["expect", "SIGWINCH 132 50\r\n"],
        ["resize", 10, 20],
        ["expect", "SIGWINCH 20 10\r\n"],
        ["expect", "question? "],
        ["type", "a line\r"],
        ["expect", "a line\r\nanswer a line\r\n"],
        ["end"]
    ]);
    let played = play(&sandbox, &steps, &masked(&[]));
    assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{played:?}");
    // Line ends are converted once, from the first line on.
    assert!(!played.shown.contains("\r\r"), "{played:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_task_is_debugged_with_pdb() {
    let task = "
import os
import flyte

env = flyte.TaskEnvironment(name='debugged', secrets=flyte.Secret(key='a', as_env_var='A'))

@env.task
def main():
    value = os.environ['A']
    breakpoint()
    print('after', len(value))
";
    for sdk in crate::support::SDKS {
        let sandbox = with_script("");
        sandbox.file("task.py", task);
        let steps = json!([
            ["expect", "(Pdb) "],
            ["type", "p len(value), 1 + 41\r"],
            ["expect", "(19, 42)"],
            ["expect", "(Pdb) "],
            ["type", "p value\r"],
            ["expect", "'*****'"],
            ["expect", "(Pdb) "],
            ["type", "c\r"],
            ["expect", "after 19"],
            ["end"]
        ]);
        let python = python(sdk);
        let python = python.to_str().expect("UTF-8");
        let played = play(&sandbox, &steps, &[FLYTE_LOCAL, "run", "--python", python, "task.py", "main"]);
        assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{sdk}: {played:?}");
        assert!(!played.shown.contains(KEY), "{sdk}: {played:?}");
    }
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn a_signal_key_sends_its_signal_once() {
    let sandbox = with_script(&format!(
        "{SIGNALS}
catch(signal.SIGINT, signal.SIGQUIT)
print('ready', flush=True)
for _ in range(3):
    print('got', caught(), flush=True)
input()
print('others', others(), flush=True)
print('rest', repr(sys.stdin.read()))
"
    ));
    let steps = json!([
        ["expect", "ready"],
        ["settings", "raw"],
        ["type", "\u{3}"],
        ["expect", "got SIGINT"],
        ["type", "\u{1c}"],
        ["expect", "got SIGQUIT"],
        ["type", "\u{3}"],
        ["expect", "got SIGINT"],
        ["type", "\r"],
        ["expect", "others b''"],
        // Ctrl-D only ends the input.
        ["type", "more\r\u{4}"],
        ["expect", "rest 'more\\n'"],
        ["end"]
    ]);
    let played = play(&sandbox, &steps, &masked(&[]));
    assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{played:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs and Python: scripts/test"]
fn a_run_ended_by_ctrl_c_reports_it_once() {
    let sandbox = with_script(
        "
import flyte, time
if __name__ == '__main__':
    print('ready', flush=True)
    # Short sleeps: an interrupt just before one long sleep would not end it.
    while True:
        time.sleep(0.01)
",
    );
    let python = python("newest");
    let python = python.to_str().expect("UTF-8");
    for option in ["--no-mask", "--shared-secrets"] {
        let steps = json!([["expect", "ready"], ["type", "\u{3}"], ["end"]]);
        let played = play(&sandbox, &steps, &[FLYTE_LOCAL, "run", option, "--python", python, "script.py"]);
        assert_eq!((played.code, played.settings_are_back), (Some(130), Some(true)), "{option}: {played:?}");
        assert_eq!(played.shown.matches("KeyboardInterrupt").count(), 1, "{option}: {played:?}");
    }
}

#[test]
#[ignore = "needs Bash and Python: scripts/test"]
fn a_shell_can_stop_and_resume_it() {
    require("bash", "bash");
    let sandbox = with_script(ANSWERS);
    for shell in [&["bash", "--norc", "--noediting", "-i"][..], &["dash", "-i"]] {
        require(shell[0], shell[0]);
        for unmasked in [false, true] {
            let line = if unmasked { "python3 script.py".to_owned() } else { line() };
            let raw = if unmasked { json!(["settings", "back"]) } else { json!(["settings", "raw"]) };
            // Without the mask, a background job that reads stops again. bash must notice that before `fg`, or it does not resume the job.
            let waiting = if unmasked { json!(["stopped", "child"]) } else { json!(["settings", "back"]) };
            let steps = json!([
                ["type", PROMPT],
                ["expect", "prompt> "],
                ["type", format!("{line}\r")],
                READY,
                raw,
                ["type", "one\r"],
                ["expect", "read <one>"],
                ["type", "\u{1a}"],
                ["expect", "Stopped"],
                ["expect", "prompt> "],
                ["settings", "back"],
                ["stopped", "child"],
                ["type", "jobs\r"],
                ["expect", "Stopped"],
                ["expect", "prompt> "],
                ["type", "fg\r"],
                ["expect", "script.py"],
                raw,
                ["type", "two\r"],
                ["expect", "read <two>"],
                ["type", "\u{1a}"],
                ["expect", "Stopped"],
                ["expect", "prompt> "],
                ["type", "bg\r"],
                ["expect", "prompt> "],
                waiting,
                ["type", "fg\r"],
                ["expect", "script.py"],
                raw,
                ["type", "three\r"],
                ["expect", "read <three>"],
                ["type", "end\r"],
                ["expect", "over"],
                ["expect", "prompt> "],
                ["settings", "back"],
                ["type", "exit\r"],
                ["end"]
            ]);
            let played = play(&sandbox, &steps, shell);
            assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{shell:?}: {played:?}");
        }
    }
}

#[test]
#[ignore = "needs Bash and Python: scripts/test"]
fn the_echo_of_a_stop_key_is_shown_whole_before_the_shell_goes_on() {
    let sandbox = with_script(ANSWERS);
    // The mask holds the echo's second character back, because it may be the start of this value.
    sandbox.secret("z", "Z-is-the-first-letter", &[]);
    let line = line().replace("--secret a", "--secret z");
    for shell in [&["bash", "--norc", "--noediting", "-i"][..], &["dash", "-i"]] {
        require(shell[0], shell[0]);
        let mut steps = vec![
            json!(["type", PROMPT]),
            json!(["expect", "prompt> "]),
            json!(["type", format!("{line}\r")]),
            json!(READY),
        ];
        for _ in 0..3 {
            steps.extend([
                json!(["settings", "raw"]),
                json!(["type", "one\r"]),
                json!(["expect", "read <one>"]),
                json!(["type", "\u{1a}"]),
                json!(["expect", "Stopped"]),
                json!(["expect", "prompt> "]),
                json!(["settings", "back"]),
                json!(["type", "fg\r"]),
                json!(["expect", "script.py"]),
            ]);
        }
        steps.extend([
            json!(["settings", "raw"]),
            json!(["type", "end\r"]),
            json!(["expect", "over"]),
            json!(["expect", "prompt> "]),
            json!(["type", "exit\r"]),
            json!(["end"]),
        ]);
        let played = play(&sandbox, &json!(steps), shell);
        assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{shell:?}: {played:?}");
        assert_eq!(played.shown.matches("read <one>\r\n^Z").count(), 3, "{shell:?}: {played:?}");
        assert_eq!(played.shown.matches('Z').count(), 3, "{shell:?}: {played:?}");
    }
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn a_stop_key_pressed_before_it_resumes_stops_it_again() {
    let sandbox = with_script(ANSWERS);
    for shell in [&["bash", "--norc", "--noediting", "-i"][..], &["dash", "-i"]] {
        require(shell[0], shell[0]);
        let mut steps = vec![
            json!(["type", PROMPT]),
            json!(["expect", "prompt> "]),
            json!(["type", format!("{}\r", line())]),
            json!(READY),
            json!(["find", "supervisor", r" (\d+)\r\n"]),
            json!(["settings", "raw"]),
            json!(["type", "\u{1a}"]),
        ];
        for key in [["\u{1a}"; 10].as_slice(), &["end\r"]].concat() {
            steps.extend([
                json!(["expect", "Stopped"]),
                json!(["expect", "prompt> "]),
                json!(["settings", "back"]),
                // So that the key arrives first.
                json!(["kill", "supervisor", 19]),
                json!(["stopped", "supervisor"]),
                json!(["type", "fg\r"]),
                json!(["expect", "script.py"]),
                json!(["settings", "raw"]),
                json!(["type", key]),
                json!(["kill", "supervisor", 18]),
            ]);
        }
        steps.extend([json!(["expect", "over"]), json!(["expect", "prompt> "])]);
        steps.extend([json!(["type", "exit\r"]), json!(["end"])]);
        let played = play(&sandbox, &json!(steps), shell);
        assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{shell:?}: {played:?}");
    }
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn the_child_gets_one_sigcont() {
    let sandbox = with_script(&format!(
        "{SIGNALS}
catch(signal.SIGCONT)
print('ready', os.getpid(), flush=True)
# The start may bring one.
input()
others()
print('from here', flush=True)
while input() != 'end':
    os.set_blocking(told, True)
    print('went on', caught(), others(), flush=True)
"
    ));
    let begin = [json!(READY), json!(["settings", "raw"]), json!(["type", "\r"]), json!(["expect", "from here"])];
    for shell in [&["bash", "--norc", "--noediting", "-i"][..], &["dash", "-i"]] {
        require(shell[0], shell[0]);
        let mut steps = vec![json!(["type", PROMPT]), json!(["expect", "prompt> "])];
        steps.push(json!(["type", format!("{}\r", line())]));
        steps.extend(begin.clone());
        for _ in 0..20 {
            steps.extend([
                json!(["type", "\u{1a}"]),
                json!(["expect", "Stopped"]),
                json!(["expect", "prompt> "]),
                json!(["type", "fg\r"]),
                json!(["expect", "script.py"]),
                json!(["settings", "raw"]),
                json!(["type", "\r"]),
                json!(["expect", "went on SIGCONT b''"]),
            ]);
        }
        steps.extend([json!(["type", "end\r"]), json!(["expect", "prompt> "])]);
        steps.extend([json!(["type", "exit\r"]), json!(["end"])]);
        let played = play(&sandbox, &json!(steps), shell);
        assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{shell:?}: {played:?}");
    }
    // The same holds if it was not stopped.
    let mut steps = begin.to_vec();
    for _ in 0..2 {
        steps.extend([json!(["kill", "command", 18]), json!(["type", "\r"]), json!(["expect", "went on SIGCONT b''"])]);
    }
    steps.extend([json!(["type", "end\r"]), json!(["end"])]);
    let played = play(&sandbox, &json!(steps), &masked(&[]));
    assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{played:?}");
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn a_background_command_gets_the_keys_once_in_the_foreground() {
    let sandbox = with_script(ANSWERS);
    for shell in [&["bash", "--norc", "--noediting", "-i"][..], &["dash", "-i"]] {
        require(shell[0], shell[0]);
        let steps = json!([
            ["type", PROMPT],
            ["expect", "prompt> "],
            ["type", format!("{} &\r", line())],
            READY,
            // Meanwhile the shell gets the keys.
            ["type", "echo $((6 * 7))\r"],
            ["expect", "42"],
            ["settings", "back"],
            ["type", "fg\r"],
            ["expect", "script.py"],
            ["settings", "raw"],
            ["type", "one\r"],
            ["expect", "read <one>"],
            ["type", "end\r"],
            ["expect", "over"],
            ["expect", "prompt> "],
            ["settings", "back"],
            ["type", "exit\r"],
            ["end"]
        ]);
        let played = play(&sandbox, &steps, shell);
        assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{shell:?}: {played:?}");
    }
}

#[test]
#[ignore = "needs Bash and Python: scripts/test"]
fn a_command_from_the_background_edits_and_echoes_what_is_typed() {
    let sandbox = with_script(
        "
import os, pathlib, termios, time
while not pathlib.Path('go').exists():
    time.sleep(0.01)
def shown():
    local = termios.tcgetattr(0)[3]
    return [bool(local & flag) for flag in (termios.ICANON, termios.ECHO, termios.ISIG)]
print('at first', *shown(), flush=True)
while input('> ') != 'answer':
    pass
print('then', *shown())
",
    );
    require("bash", "bash");
    // This shell edits lines itself, so its terminal has no echo while it waits.
    let steps = json!([
        ["type", PROMPT],
        ["expect", "prompt> "],
        ["settings", "raw"],
        ["type", format!("{} &\r", line())],
        ["expect", "[1] "],
        ["expect", "prompt> "],
        ["settings", "raw"],
        ["type", "touch go\r"],
        ["expect", "at first True True True"],
        ["type", "fg\r"],
        ["expect", "script.py"],
        ["settings", "raw"],
        ["type", "answex\u{7f}r\r"],
        ["expect", "answex\u{8} \u{8}r\r\n"],
        ["expect", "then True True True"],
        ["expect", "prompt> "],
        ["type", "exit\r"],
        ["end"]
    ]);
    let played = play(&sandbox, &steps, &["bash", "--norc", "-i"]);
    assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{played:?}");
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn a_stop_is_ignored_without_a_shell_to_resume_it() {
    // flyte-local leads the session here.
    let sandbox = with_script(ANSWERS);
    let steps = json!([
        READY,
        ["settings", "raw"],
        ["type", "\u{1a}"],
        ["type", "\u{1a}"],
        ["type", "one\r"],
        ["expect", "read <one>"],
        ["type", "end\r"],
        ["end"]
    ]);
    let played = play(&sandbox, &steps, &masked(&[]));
    assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{played:?}");
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn the_terminal_is_shared_when_one_stream_is_redirected() {
    let sandbox = with_script(&format!(
        "{SIGNALS}
catch(signal.SIGINT, signal.SIGWINCH)
ttys = [stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)]
print('ready', *ttys, os.environ['A'], file=sys.stderr, flush=True)
while ttys[0] and input() == 'key':
    name = caught()
    # A new size may be reported twice: when the terminal has it, and when the child's terminal has it.
    while ttys[2] and name == 'SIGWINCH' and os.get_terminal_size(2).columns != 90:
        name = caught()
    print('got', name, *os.get_terminal_size(2 if ttys[2] else 0), file=sys.stderr, flush=True)
print('others', others().count(signal.SIGINT), os.environ['A'])
"
    ));
    let command = line();
    let cat = "sh -c 'trap \"\" INT; exec cat'";
    for (line, ready, keys, resizes) in [
        (format!("trap : INT; {command} | {cat}"), "ready True False True *****", true, true),
        (format!("trap : INT; echo from a file > in; {command} < in"), "ready False True True *****", false, false),
        (format!("trap : INT; {command} 2>&1 | {cat}"), "ready True False False *****", true, false),
        (format!("trap : INT; {command} 2>&1 >out | {cat}; cat out"), "ready True False False *****", true, false),
        // The child has a terminal here.
        (format!("trap : INT; {command} 2> >({cat} >&2)"), "ready True True False *****", true, true),
    ] {
        let mut steps = vec![json!(["expect", ready])];
        if keys {
            steps.extend([json!(["type", "\u{3}"]), json!(["type", "key\r"]), json!(["expect", "got SIGINT 80 24"])]);
        }
        if resizes {
            steps.extend([
                json!(["resize", 30, 90]),
                json!(["type", "key\r"]),
                json!(["expect", "got SIGWINCH 90 30"]),
            ]);
        }
        if keys {
            steps.push(json!(["type", "end\r"]));
        }
        steps.extend([json!(["expect", "others 0 *****"]), json!(["end"])]);
        let played = play(&sandbox, &json!(steps), &["bash", "-c", &line]);
        assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{line}: {played:?}");
        assert!(!played.shown.contains(KEY), "{line}: {played:?}");
    }
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn two_streams_that_are_one_terminal_keep_their_order() {
    let sandbox = with_script(
        "
import os
for number in range(500):
    os.write(1 + number % 2, b'%d,' % number)
print()
",
    );
    let played = play(&sandbox, &json!([["end"]]), &masked(&[]));
    let expected: String = (0..500).map(|number| format!("{number},")).collect();
    assert_eq!(played.shown, format!("{expected}\r\n"));
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn nothing_is_lost_at_the_end() {
    let sandbox = with_script("");
    let command = [FLYTE_LOCAL, "exec", "--mask", "--secret", "a", "--", "sh", "-c", "printf %5000s last"];
    for _ in 0..25 {
        let played = play(&sandbox, &json!([["end"]]), &command);
        assert_eq!(played.shown.trim_start(), "last");
        assert_eq!(played.shown.len(), 5000);
    }
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn the_childs_terminal_hangs_up_with_the_users() {
    let sandbox = with_script("input('ready')");
    let steps = json!([["expect", "ready"], ["settings", "raw"], ["hang up"], ["end"]]);
    assert_eq!(play(&sandbox, &steps, &masked(&[])).code, Some(129));

    let sandbox = with_script(
        "
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.write(1, b'ready')
told = open('told', 'w')
try:
    typed = os.read(0, 1)
except OSError:
    typed = b''
print('typed', typed, file=told)
try:
    # More than all buffers on the way hold.
    for _ in range(10000):
        os.write(1, b'x' * 100)
except OSError:
    print('no output', file=told)
",
    );
    let played = play(&sandbox, &steps, &masked(&[]));
    let told = std::fs::read_to_string(sandbox.work().join("told")).unwrap_or_default();
    assert_eq!((played.code, told.as_str()), (Some(0), "typed b''\nno output\n"), "{played:?}");
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn every_end_restores_the_terminals_settings() {
    let sandbox = with_script(ANSWERS);
    let ends: &[(&str, Option<Value>, i64)] = &[
        ("normal", Some(json!(["type", "end\r"])), 0),
        ("exception", Some(json!(["type", "\u{4}"])), 1),
        ("term", Some(json!(["kill", "command", 15])), 143),
        ("hup", Some(json!(["kill", "command", 1])), 129),
        ("int", Some(json!(["kill", "command", 2])), 130),
        ("quit", Some(json!(["kill", "command", 3])), 131),
        ("term to the group", Some(json!(["kill", "group", 15])), 143),
        ("kill -9 of the front", Some(json!(["kill", "command", 9])), 137),
        ("kill -9 of the supervisor", Some(json!(["kill", "supervisor", 9])), 137),
        ("kill -9 of the child", Some(json!(["kill", "child", 9])), 137),
    ];
    for (name, end, code) in ends {
        let steps = json!([
            READY,
            ["find", "supervisor", r" (\d+)\r\n"],
            ["settings", "raw"],
            end,
            ["end"],
            ["settings", "back"],
            ["gone", "child"],
            ["gone", "supervisor"]
        ]);
        let played = play(&sandbox, &steps, &masked(&[]));
        assert_eq!((played.code, played.settings_are_back), (Some(*code), Some(true)), "{name}: {played:?}");
        assert!(!played.shown.contains("\r\r"), "{name}: {played:?}");
    }
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn values_are_masked_on_a_terminal_even_as_they_are_typed() {
    let value = "the first line\nand the second\n";
    let sandbox = with_script(
        "
import os
print('ready', flush=True)
print(os.environ['A'], os.environ['B'], sep='|', flush=True)
print('typed', input() == os.environ['A'])
",
    );
    sandbox.secret("b", value, &[]);
    let steps = json!([
        ["expect", "*****|*****\r\n\r\n"],
        ["settings", "raw"],
        ["type", format!("{KEY}\r")],
        ["expect", "*****\r\ntyped True"],
        ["end"]
    ]);
    let command = [FLYTE_LOCAL, "exec", "--mask", "--secret", "a", "--secret", "b", "--", "python3", "script.py"];
    let played = play(&sandbox, &steps, &command);
    assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{played:?}");
    assert!(!played.shown.contains(KEY) && !played.shown.contains("line"), "{played:?}");
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn a_full_screen_program_gets_and_sends_every_byte() {
    let sandbox = with_script(
        "
import os, sys, termios, tty
before = termios.tcgetattr(0)
tty.setraw(0)
os.write(1, b'<' + bytes(range(256)) * 3 + b'>')
typed = b''
while len(typed) < 512:
    typed += os.read(0, 512)
os.write(1, b'same' if typed == bytes(range(256)) * 2 else typed.hex().encode())
termios.tcsetattr(0, termios.TCSANOW, before)
",
    );
    let every: String = (0..=255).map(|byte| format!("{byte:02x}")).collect();
    let steps = json!([["expect", "<"], ["settings", "raw"], ["bytes", every.repeat(2)], ["expect", "same"], ["end"]]);
    let played = play(&sandbox, &steps, &masked(&[]));
    assert_eq!((played.code, played.settings_are_back), (Some(0), Some(true)), "{played:?}");
    let (open, close, same) = ("3c", "3e", "73616d65");
    assert_eq!(played.hex, format!("{open}{}{close}{same}", every.repeat(3)));
}
