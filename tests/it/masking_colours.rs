//! Masking in what programs print in colour: Rich, which Flyte brings, `grep` and `git`.

#![allow(clippy::disallowed_methods, reason = "the rule on files is for the product")]

use crate::masking_sequences::split;
use crate::support::terminal::on_screen;
use crate::support::{SDKS, Sandbox, python, require};

/// Rich colours numbers, paths, addresses and more inside of it.
const TOKEN: &str = "sk_live_4eC39/HqLyjWD=0x1f:12:30:45@127.0.0.1?a=True&b='x'";

/// Returns the text on a screen, without colours.
fn text(shown: &[u8]) -> String {
    String::from_utf8(split(shown).0).expect("UTF-8")
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn output_of_rich_on_a_terminal_is_masked() {
    let tasks = "
import os
import flyte
import rich
from rich.console import Console

env = flyte.TaskEnvironment(name='env', secrets='token')

@env.task
def main() -> str:
    token = os.environ['TOKEN']
    console = Console(force_terminal=True, color_system='truecolor')
    rich.print('print', {'token': token}, token)
    console.log('log', token, log_locals=True)
    console.print(f'[link=https://a.example/{token}]link[/link] [bold]{token[:9]}[/bold]{token[9:]}', highlight=True)
    try:
        raise ValueError('cannot log in with ' + token)
    except ValueError:
        console.print_exception(show_locals=True)
    return 'done'
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.secret("token", TOKEN, &[]);
        sandbox.file("task.py", tasks);
        let run = |options: &[&str]| {
            let mut command = sandbox.command(&["run", "--python"]);
            command.arg(python(sdk)).args(options).args(["task.py", "main"]).env("TERM", "xterm-256color");
            let ran = on_screen(command, 250);
            assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
            ran.stdout
        };
        // Without the mask, Rich does put colours into the token.
        let bare = run(&["--no-mask"]);
        assert!(text(&bare).matches(TOKEN).count() >= 5, "{sdk}: {}", text(&bare));
        let count = |shown: &[u8]| String::from_utf8_lossy(shown).matches(TOKEN).count();
        assert!(count(&bare) < text(&bare).matches(TOKEN).count(), "{sdk}: no colour is in a token");
        let shown = run(&[]);
        let shown_text = text(&shown);
        assert!(!shown_text.contains(TOKEN) && !shown_text.contains("HqLyjWD"), "{sdk}: {shown_text}");
        assert!(!String::from_utf8_lossy(&shown).contains("HqLyjWD"), "{sdk}: {}", shown.escape_ascii());
        assert!(shown_text.matches("*****").count() >= 5 && shown_text.contains("done"), "{sdk}: {shown_text}");
        // The screen ends without a colour.
        assert_eq!(split(&shown).1.last(), split(&bare).1.last(), "{sdk}");
    }
}

#[test]
fn coloured_output_of_grep_and_git_is_masked() {
    require("grep", "grep");
    require("git", "git");
    let sandbox = Sandbox::new();
    sandbox.secret("token", "hunter2-and-more", &[]);
    sandbox.file("before", "token=\n");
    sandbox.file("after", "token=hunter2-and-more\n");
    let masked = |command: &[&str]| {
        let arguments = [&["exec", "--mask", "--secret", "token", "--"], command].concat();
        let ran = on_screen(sandbox.command(&arguments), 80);
        (String::from_utf8(ran.stdout.clone()).expect("UTF-8"), text(&ran.stdout))
    };
    for pattern in ["hunter2", "ter2-and", "more", "[0-9]", "e"] {
        let (shown, text) = masked(&["grep", "--color=always", "-r", pattern, "after"]);
        assert!(
            shown.contains("\x1b[") && !text.contains("hunter") && !shown.contains("hunter2"),
            "{pattern}: {shown:?}"
        );
        assert!(text.contains("token=*****"), "{pattern}: {text:?}");
    }
    let diff = ["git", "--no-pager", "diff", "--no-index", "--color=always"];
    for words in [&[][..], &["--color-words=[a-z]+"], &["--word-diff-regex=."]] {
        let (shown, text) = masked(&[&diff[..], words, &["before", "after"]].concat());
        assert!(shown.contains("\x1b[") && text.contains("*****") && !text.contains("hunter"), "{words:?}: {shown:?}");
    }
}
