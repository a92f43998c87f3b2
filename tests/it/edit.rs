//! `edit secret`: the editor gets the value in a private file, the file's new content becomes the new value, the file
//! is removed however the editor ends, and another process's update is never overwritten without a question.

#![allow(clippy::disallowed_methods, reason = "tests write files as any program could")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{FLYTE_LOCAL, MARK, Ran, Sandbox, marked, require, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const NOT_CHANGED: &str = "did not change secret s (organization)
hint: if your editor returns before you are done, make it wait: EDITOR='code --wait'
";

/// A sandbox with a secret `s`, and a separate runtime directory.
struct Desk {
    sandbox: Sandbox,
    runtime: tempfile::TempDir,
}

impl Desk {
    fn new(value: impl AsRef<[u8]>) -> Self {
        let sandbox = Sandbox::new();
        sandbox.secret("s", value, &[]);
        let runtime = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
        std::fs::set_permissions(runtime.path(), std::fs::Permissions::from_mode(0o700)).expect("ours");
        Self { sandbox, runtime }
    }

    /// Returns a command for any program, with this editor, and with `flyte-local` in PATH. [`MARK`] identifies every
    /// process that it starts.
    fn program(&self, program: &str, editor: &str) -> Command {
        let mut command = self.sandbox.program(program);
        let path = std::env::var_os("PATH").expect("PATH is set");
        let ours = Path::new(FLYTE_LOCAL).parent().expect("a directory").to_owned();
        let path = std::env::join_paths(std::iter::once(ours).chain(std::env::split_paths(&path))).expect("paths");
        command.env("PATH", path).env("XDG_RUNTIME_DIR", self.runtime.path()).env("EDITOR", editor);
        command.env(MARK, self.mark());
        command
    }

    fn mark(&self) -> &str {
        self.runtime.path().to_str().expect("UTF-8")
    }

    fn command(&self, editor: &str) -> Command {
        let mut command = self.program(FLYTE_LOCAL, editor);
        command.args(["edit", "secret", "s"]);
        command
    }

    /// Edits `s`, and asserts that no file is left behind.
    fn edit(&self, editor: &str) -> Ran {
        let ran = Ran::from(self.command(editor).output().expect("flyte-local starts"));
        assert_eq!(self.leftovers(), Vec::<PathBuf>::new(), "{editor}: {ran:?}");
        ran
    }

    fn value(&self) -> String {
        String::from_utf8(self.sandbox.value("org/s").expect("there")).expect("UTF-8")
    }

    /// Returns the files in the runtime directory.
    fn leftovers(&self) -> Vec<PathBuf> {
        let found = std::fs::read_dir(self.runtime.path()).expect("listed");
        found.map(|entry| entry.expect("listed").path()).collect()
    }

    /// Returns the content and the inode of the secret's file in the vault.
    fn stored(&self) -> (Vec<u8>, u64) {
        let file = self.sandbox.secret_file("org/s");
        (std::fs::read(&file).expect("there"), std::fs::metadata(file).expect("there").ino())
    }

    /// Starts an edit whose editor has read the value and never ends.
    fn waiting(&self) -> Child {
        let mut command = self.command("cat >/dev/null \"$1\"; touch ready; exec sleep 1000;:");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("flyte-local starts");
        until("the editor has the value", || self.sandbox.work().join("ready").exists());
        // Before the editor becomes `sleep`, its mark cannot be found at every moment.
        let waits = |process: &i32| std::fs::read(format!("/proc/{process}/comm")).is_ok_and(|name| name == b"sleep\n");
        until("it waits", || marked(self.mark()).iter().any(waits));
        child
    }
}

#[test]
fn the_editor_gets_the_value_in_a_private_file_in_memory() {
    let desk = Desk::new("one\ntwo");
    let look = r#"{ cat "$1"; echo; stat -f -c %T "$1"; stat -c %a "$1" "$(dirname "$1")"; ls -A "$(dirname "$1")"; pwd
        echo "key: $FLYTE_LOCAL_IDENTITY_KEY"; ulimit -c; } >seen; true"#;
    let identity = std::fs::read_to_string(desk.sandbox.identity()).expect("there");
    let mut command = desk.program("sh", look);
    command.args(["-c", "ulimit -S -c unlimited; exec flyte-local edit secret s"]);
    let ran = Ran::from(command.env("FLYTE_LOCAL_IDENTITY_KEY", identity).output().expect("it starts"));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, NOT_CHANGED));
    let seen = std::fs::read_to_string(desk.sandbox.work().join("seen")).expect("the editor wrote it");
    let work = desk.sandbox.work();
    assert_eq!(seen, format!("one\ntwo\ntmpfs\n600\n700\ns\n{}\nkey: \nunlimited\n", work.display()));
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn the_edited_file_becomes_the_new_value() {
    let desk = Desk::new("one\n");
    for (editor, value) in [
        ("printf 'two\\n' >", "two\n"),
        // `sed -i` replaces the file and leaves a backup beside it.
        ("sed -i.bak s/two/thr\u{e9}e/", "thr\u{e9}e\n"),
        ("set -- \"$1\"; touch \"$1~\" \"$(dirname \"$1\")/.s.swp\"; mkdir \"$1.d\"; printf four >\"$1\"; :", "four"),
        ("FIVE='a b' python3 -c 'import os, sys; open(sys.argv[1], \"w\").write(os.environ[\"FIVE\"])'", "a b"),
    ] {
        let ran = desk.edit(editor);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, "updated secret s (organization)\n"), "{editor}");
        assert_eq!(desk.value(), value);
    }
    let ran = desk.edit("printf 'five\\n' >");
    assert_eq!(ran.stderr, "updated secret s (organization), without the newline at the end of the file\n");
    assert_eq!(desk.value(), "five");
}

#[test]
fn the_editor_is_visual_then_editor_then_vi() {
    let desk = Desk::new("one");
    let mut command = desk.command("printf editor >");
    assert_eq!(Ran::from(command.env("VISUAL", "printf visual >").output().expect("it starts")).code, 0);
    assert_eq!(desk.value(), "visual");
    let mut command = desk.command("printf editor >");
    assert_eq!(Ran::from(command.env("VISUAL", " ").output().expect("it starts")).code, 0);
    assert_eq!(desk.value(), "editor");
    let ran = Ran::from(desk.command("").output().expect("it starts"));
    assert_eq!(ran.code, 2, "vi has no terminal: {ran:?}");
}

#[test]
fn nothing_is_written_unless_the_value_changed() {
    let desk = Desk::new("one");
    let before = desk.stored();
    for editor in ["true", "sed -i s/x/y/", "printf 'one\\n' >", "printf one >", "touch"] {
        let ran = desk.edit(editor);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, NOT_CHANGED), "{editor}");
    }
    for (editor, code, error) in [
        ("printf two >\"$1\"; exit 3;", 1, "error: the editor ended with code 3\n"),
        ("rm", 1, "error: the editor left no file\n"),
        ("rm \"$1\"; mkdir", 1, "error: the editor left no file\n"),
        ("rm \"$1\"; ln -s /etc/hostname", 1, "error: the editor left no file\n"),
        ("rm \"$1\"; mkfifo", 1, "error: the editor left no file\n"),
        (": >", 1, "error: the edited file is empty, so nothing was changed\n"),
        ("truncate -s 1048577", 1, "error: the value is larger than 1 MiB"),
        ("truncate -s 1G", 1, "error: the value is larger than 1 MiB"),
        ("printf two >\"$1\"; kill -TERM $$;", 143, "error: the editor was ended by signal 15\n"),
        ("no-such-editor", 1, "error: the editor ended with code 127\n"),
    ] {
        let ran = desk.edit(editor);
        assert_eq!(ran.code, code, "{editor}: {ran:?}");
        assert!(ran.stderr.contains(error), "{editor}: {ran:?}");
    }
    assert!(desk.stored() == before, "the secret's file was rewritten");
}

#[test]
fn uneditable_secrets_are_refused_before_the_editor_starts() {
    let desk = Desk::new(b"\xff\xfe");
    let touched = desk.sandbox.work().join("touched");
    let edit = |words: &[&str]| {
        let mut command = desk.program(FLYTE_LOCAL, "touch touched;:");
        let ran = Ran::from(command.args(["edit", "secret"]).args(words).output().expect("it starts"));
        assert!(!touched.exists(), "the editor was started: {ran:?}");
        ran
    };
    let ran = edit(&["s"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("not UTF-8 text") && ran.stderr.contains("secret s --from-file FILE"), "{ran:?}");
    let ran = edit(&["none", "-p", "p"]);
    assert_eq!(ran.code, 10);
    assert!(ran.stderr.contains("\nhint: or create it: flyte-local create secret none -p p\n"), "{ran:?}");
    assert_eq!(edit(&["s", "--identity", "/dev/null"]).code, 1);
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn without_a_memory_file_system_nothing_is_edited() {
    require("unshare", "util-linux");
    let desk = Desk::new("one");
    let mut command = desk.program("unshare", "touch touched;:");
    let script = "mount --bind /usr /dev/shm && exec flyte-local edit secret s";
    command.args(["--map-root-user", "--mount", "sh", "-c", script]).env("XDG_RUNTIME_DIR", desk.sandbox.home());
    let ran = Ran::from(command.output().expect("unshare starts"));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.starts_with("error: found no directory in memory to edit the value in"), "{ran:?}");
    assert!(ran.stderr.contains("\ncaused by: /dev/shm is not on a memory file system\n"), "{ran:?}");
    assert!(!desk.sandbox.work().join("touched").exists());
}

#[test]
fn an_edited_image_pull_secret_must_be_a_docker_configuration() {
    let desk = Desk::new("one");
    desk.sandbox.ok(&["delete", "secret", "s"]);
    let document = r#"{"auths": {"ghcr.io": {"auth": "YTpi"}}}"#;
    desk.sandbox.ok(&["create", "secret", "s", document, "--type", "image_pull"]);
    assert_eq!(desk.edit("sed -i s/auths/oths/").code, 1);
    assert_eq!(desk.value(), document);
    assert_eq!(desk.edit("sed -i s/ghcr/lhcr/").code, 0);
    assert_eq!(desk.value(), document.replace("ghcr", "lhcr"));
    assert!(String::from_utf8(desk.sandbox.ok(&["get", "secret", "s"])).expect("UTF-8").contains("image_pull"));
}

#[test]
fn a_signal_ends_the_editor_and_the_file_is_removed() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let desk = Desk::new("one");
        let child = desk.waiting();
        assert_eq!(desk.leftovers().len(), 1, "the file is in the runtime directory");
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        let ran = Ran::from(child.wait_with_output().expect("it ends"));
        assert_eq!(ran.code, 128 + signal.as_raw(), "{ran:?}");
        assert_eq!((desk.leftovers(), desk.value().as_str()), (Vec::new(), "one"), "{ran:?}");
        until("no process is left", || marked(desk.mark()).is_empty());
    }
}

#[test]
fn after_a_kill_the_supervisor_or_the_next_edit_removes_the_file() {
    let desk = Desk::new("one");
    let mut child = desk.waiting();
    kill_process(Pid::from_child(&child), Signal::KILL).expect("it runs");
    child.wait().expect("it ends");
    until("the supervisor has removed it", || desk.leftovers().is_empty());
    until("no process is left", || marked(desk.mark()).is_empty());

    std::fs::remove_file(desk.sandbox.work().join("ready")).expect("it was there");
    let mut child = desk.waiting();
    // Kills flyte-local, its supervisor and the editor together. They are stopped first, so that none can react.
    let all = marked(desk.mark());
    let send = |signal| {
        for &process in &all {
            kill_process(Pid::from_raw(process).expect("a process"), signal).expect("it runs");
        }
    };
    send(Signal::STOP);
    let is_stopped = |process: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
        stat.rsplit(") ").next().expect("its state").starts_with('T')
    };
    until("all are stopped", || all.iter().all(is_stopped));
    send(Signal::KILL);
    child.wait().expect("it ends");
    until("no process is left", || marked(desk.mark()).is_empty());
    assert_eq!(desk.leftovers().len(), 1, "no process was left to remove it");
    assert_eq!(desk.edit("true").code, 0);
}

#[test]
fn background_processes_of_the_editor_keep_running() {
    let desk = Desk::new("one");
    let background = "(until test -e go; do sleep 0.01; done; touch done) </dev/null >/dev/null 2>&1 & printf two >";
    assert_eq!(desk.edit(background).code, 0);
    assert_eq!(desk.value(), "two");
    desk.sandbox.file("go", "");
    until("the background process has ended", || desk.sandbox.work().join("done").exists());
}

#[test]
fn an_update_by_another_process_is_not_overwritten() {
    let desk = Desk::new("one");
    let ran = desk.edit("flyte-local update secret s theirs; printf mine >");
    assert_eq!(ran.code, 13, "{ran:?}");
    assert!(
        ran.stderr.contains("\nerror: secret s (organization) was updated by another process meanwhile"),
        "{ran:?}"
    );
    assert_eq!(desk.value(), "theirs");
    // An update to the same value counts as well.
    assert_eq!(desk.edit("flyte-local update secret s theirs; printf mine >").code, 13);
    assert_eq!(desk.edit("flyte-local delete secret s; printf mine >").code, 10);
    assert_eq!(desk.sandbox.value("org/s"), None);
}

/// Edits `s` on a terminal, and returns what the terminal showed and the exit code.
fn play(desk: &Desk, editor: &str, steps: &Value) -> (String, i64) {
    play_as(desk, editor, steps, &[FLYTE_LOCAL, "edit", "secret", "s"])
}

fn play_as(desk: &Desk, editor: &str, steps: &Value, words: &[&str]) -> (String, i64) {
    require("python3", "python3");
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/terminal.py");
    let mut player = desk.program("python3", editor);
    player.arg(driver).arg(steps.to_string()).args(words);
    let output = player.output().expect("python3 starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(result["settings_are_back"], true, "{result}");
    assert_eq!(desk.leftovers(), Vec::<PathBuf>::new(), "{result}");
    (result["shown"].as_str().expect("text").to_owned(), result["code"].as_i64().expect("it ended"))
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn on_a_terminal_the_user_decides_about_a_concurrent_update() {
    let desk = Desk::new("one");
    let typing = |verb: &str| format!("flyte-local {verb}; printf 'type: '; read line; printf %s \"$line\" >");
    let typed = |text: &str, more: &[Value]| {
        let first = [json!(["expect", "type: "]), json!(["type", format!("{text}\r")])];
        Value::from([&first, more, &[json!(["end"])]].concat())
    };
    let (shown, code) = play(&desk, &typing("--version"), &typed("two", &[]));
    assert_eq!((code, desk.value().as_str()), (0, "two"), "{shown}");

    let (over, again) = ("overwrite it with your version? [y/N] ", "create it again with your version? [y/N] ");
    for (verb, question, answer, code, value) in [
        ("update secret s theirs", over, "n\r", 13, Some("theirs")),
        ("update secret s others", over, "\r", 13, Some("others")),
        ("update secret s theirs", over, "y\r", 0, Some("mine")),
        ("delete secret s", again, "\r", 10, None),
    ] {
        let text = if answer == "\r" { "lost" } else { "mine" };
        let steps = typed(text, &[json!(["expect", question]), json!(["type", answer])]);
        let (shown, ended) = play(&desk, &typing(verb), &steps);
        assert_eq!(ended, code, "{shown}");
        assert_eq!(desk.sandbox.value("org/s").as_deref(), value.map(str::as_bytes), "{shown}");
    }
    desk.sandbox.secret("s", "again", &[]);
    let steps = typed("mine", &[json!(["expect", again]), json!(["type", "yes\r"])]);
    let (shown, code) = play(&desk, &typing("delete secret s"), &steps);
    assert_eq!((code, desk.value().as_str()), (0, "mine"), "{shown}");

    // Ctrl-C ends the editor, and later the question.
    let (shown, code) = play(&desk, &typing("--version"), &json!([["expect", "type: "], ["bytes", "03"], ["end"]]));
    assert_eq!((code, desk.value().as_str()), (130, "mine"), "{shown}");
    let steps = typed("late", &[json!(["expect", over]), json!(["bytes", "03"])]);
    let (shown, code) = play(&desk, &typing("update secret s theirs"), &steps);
    assert_eq!((code, desk.value().as_str()), (130, "theirs"), "{shown}");
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn on_a_terminal_a_refused_value_can_be_edited_again() {
    let document = r#"{"auths": {"ghcr.io": {"auth": "YTpi"}}}"#;
    let desk = Desk::new("one");
    desk.sandbox.ok(&["delete", "secret", "s"]);
    desk.sandbox.ok(&["create", "secret", "s", document, "--type", "image_pull"]);
    for spoil in ["sed -i s/auths/oths/ \"$1\"", "printf %1048577s >>\"$1\""] {
        // The second edit starts from the text of the first, so that the user can correct it.
        let script = format!(
            "if rm again 2>/dev/null; then grep -q lhcr \"$1\" && sed -i -e s/oths/auths/ -e 's/  *$//' \"$1\"
             else touch again; sed -i s/ghcr/lhcr/ \"$1\"; {spoil}; fi"
        );
        desk.sandbox.file("editor", script);
        for (answer, code, value) in [("n\r", 1, document.to_owned()), ("y\r", 0, document.replace("ghcr", "lhcr"))] {
            let steps = json!([["expect", "edit it again? [y/N] "], ["type", answer], ["end"]]);
            let (shown, ended) = play(&desk, "sh editor", &steps);
            assert_eq!((ended, desk.value()), (code, value), "{shown}");
            let _ = std::fs::remove_file(desk.sandbox.work().join("again"));
        }
        desk.sandbox.ok(&["update", "secret", "s", document]);
    }
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn an_editor_can_be_suspended_and_resumed_by_its_shell() {
    let desk = Desk::new("one");
    let editor = "echo it is $$; read line; printf %s \"$line\" >";
    let steps = json!([
        ["type", "PS1=prompt'> '\r"],
        ["expect", "prompt> "],
        ["type", "flyte-local edit secret s\r"],
        ["find", "editor", r"it is (\d+)"],
        ["type", "\u{1a}"],
        ["expect", "Stopped"],
        ["expect", "prompt> "],
        ["stopped", "editor"],
        ["type", "fg\r"],
        ["expect", "flyte-local edit secret s"],
        ["type", "two\r"],
        ["expect", "updated secret s"],
        ["expect", "prompt> "],
        ["type", "exit\r"],
        ["end"],
    ]);
    let (shown, code) = play_as(&desk, editor, &steps, &["sh", "-i"]);
    assert_eq!((code, desk.value().as_str()), (0, "two"), "{shown}");
}
