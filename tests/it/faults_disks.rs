//! Real disks without room: one of 8 KiB, one without inodes, and a limit on the size of files. Each has either the
//! vault, the keys or the state directory on it. `disk` asserts the messages word for word.

#![allow(clippy::print_stdout, reason = "a test may print what it did")]

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, require, tally};

/// A directory that is on the disk without room.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Vault,
    Keys,
    State,
}

use Part::{Keys, State, Vault};

impl Part {
    fn path(self) -> &'static str {
        match self {
            Vault => ".local/share/flyte-local",
            Keys => ".config/flyte-local",
            State => ".local/state/flyte-local",
        }
    }
}

/// The resource that the disk lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lack {
    Blocks,
    Inodes,
}

use Lack::{Blocks, Inodes};

/// The outcome of a command in a script.
#[derive(Debug)]
struct Step {
    code: i32,
    stdout: String,
    stderr: String,
    /// The number of temporary files in the home directory after the command.
    leftovers: usize,
}

impl Step {
    /// Asserts that the command succeeded and printed only this message.
    fn assert_done(&self, said: &str) {
        assert_eq!((self.code, &*self.stderr), (0, said), "{self:?}");
    }

    /// Asserts that the command failed because that disk has no room.
    fn assert_refused(&self, part: Part) {
        assert_eq!(self.code, 1, "{self:?}");
        let first = self.stderr.lines().next().expect("an error");
        assert!(
            first.starts_with("error: cannot ") && first.contains(part.path()),
            "the error names the file: {self:?}"
        );
        assert!(self.stderr.contains("caused by: No space left on device"), "the error names the cause: {self:?}");
        assert!(self.stderr.contains("hint: nothing was changed; free some space and try again"), "{self:?}");
    }

    /// Asserts that the command succeeded with this message, and warned that it could not record the change.
    fn assert_done_unrecorded(&self, said: &str) {
        assert_eq!(self.code, 0, "{self:?}");
        let lines: Vec<_> = self.stderr.lines().collect();
        assert!(lines.contains(&said.trim_end()), "{self:?}");
        let notices = ["cannot record this version", "cannot remember this vault"];
        let is_warning = |line: &&&str| notices.iter().any(|notice| line.contains(notice));
        let warning = lines.iter().find(is_warning).expect("a warning");
        assert!(
            warning.contains(State.path()) && warning.ends_with("No space left on device (os error 28)"),
            "{self:?}"
        );
    }
}

/// Runs a script in a home directory whose `part` is on a small disk. `fill` fills the disk, `free` frees it, and `try`
/// runs `flyte-local`.
fn on_a_disk(part: Part, lack: Lack, script: &str) -> Vec<Step> {
    require("unshare", "util-linux");
    let sandbox = Sandbox::in_memory();
    let (size, fill) = match lack {
        Blocks => ("size=8k", "head -c 1000000 /dev/zero > \"$disk/filling\" 2>/dev/null"),
        Inodes => ("nr_inodes=40", "i=0; while touch \"$disk/filling$i\" 2>/dev/null; do i=$((i+1)); done"),
    };
    let script = format!(
        r#"
        set -u
        disk=$HOME/{}
        try() {{
            "$FLYTE_LOCAL" "$@" > out 2> err
            echo "@@@$?"; cat out; echo "@@"; cat err; echo "@@"
            find "$HOME" -name '*.tmp' | wc -l
        }}
        fill() {{ {fill}; }}
        free() {{ rm "$disk"/filling*; }}
        mkdir -p "$disk" && chmod -R go-rwx "$HOME/.config" "$HOME/.local" 2>/dev/null
        mount -t tmpfs -o {size},mode=0700 disk "$disk" || exit
        {script}
        "#,
        part.path()
    );
    let mut command = sandbox.program("unshare");
    let ran = command.args(["-rm", "sh", "-c", &script]).env("FLYTE_LOCAL", FLYTE_LOCAL).output();
    let ran = Ran::from(ran.expect("unshare starts"));
    assert_eq!(ran.stderr, "", "{ran:?}");
    let steps = ran.text().split("@@@").skip(1).map(step).collect::<Vec<_>>();
    assert!(!steps.is_empty(), "{ran:?}");
    for step in &steps {
        assert_eq!(step.leftovers, 0, "{part:?} {lack:?} left a temporary file: {step:?}");
    }
    steps
}

/// Parses what `try` printed.
fn step(text: &str) -> Step {
    let (code, rest) = text.split_once('\n').expect("an exit code");
    let parts: Vec<_> = rest.split("@@\n").collect();
    let [stdout, stderr, leftovers] = parts[..] else { panic!("{text}") };
    let number = |text: &str| text.trim().parse::<i32>().expect("a number");
    let stdout = stdout.to_owned();
    Step { code: number(code), stdout, stderr: stderr.to_owned(), leftovers: number(leftovers) as usize }
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn a_write_without_room_leaves_the_old_value_and_a_delete_makes_room() {
    let mut count = 0;
    for part in [Vault, Keys, State] {
        for lack in [Blocks, Inodes] {
            let steps = on_a_disk(
                part,
                lack,
                "try init; try create secret a old; fill
                 try create secret b new; try create secret p new -p p; try update secret a new
                 try get secret a --reveal
                 try delete secret a; free
                 try create secret a newer; try update secret a newest; try get secret a --reveal",
            );
            let [init, create, b, p, update, get, delete, again, newest, last] = &steps[..] else {
                panic!("{steps:?}")
            };
            let (b_said, p_said) = ("created secret b (organization)\n", "created secret p (project p)\n");
            assert_eq!(init.code, 0, "{init:?}");
            let (a_said, updated) = ("created secret a (organization)\n", "updated secret a (organization)\n");
            let mut value = "new";
            match (part, lack) {
                (Vault, _) => {
                    create.assert_done(a_said);
                    [b, p, update].iter().for_each(|step| step.assert_refused(part));
                    get.assert_done("");
                    value = "old";
                }
                // Commands after `init` write nothing to the disk of the keys.
                (Keys, _) => {
                    create.assert_done(a_said);
                    b.assert_done(b_said);
                    p.assert_done(p_said);
                    update.assert_done(updated);
                    get.assert_done("");
                }
                // The state of the vault itself fills the disk, so no secret's state has room.
                (State, Blocks) => {
                    create.assert_done_unrecorded(a_said);
                    b.assert_done_unrecorded(b_said);
                    p.assert_done_unrecorded(p_said);
                    update.assert_done_unrecorded(updated);
                }
                // A new scope gets no secret if its state cannot be recorded.
                (State, Inodes) => {
                    create.assert_done(a_said);
                    b.assert_done_unrecorded(b_said);
                    p.assert_refused(part);
                    update.assert_done_unrecorded(updated);
                }
            }
            assert_eq!((get.code, &*get.stdout), (0, value), "{part:?} {lack:?}: {get:?}");
            match (part, lack) {
                // No state was recorded whose removal would make room.
                (State, Blocks) => delete.assert_done_unrecorded("deleted secret a (organization)\n"),
                _ => delete.assert_done("deleted secret a (organization)\n"),
            }
            let mut value = "newest";
            match (part, lack) {
                // An update needs room for the old file and the new one.
                (Vault, Blocks) => {
                    again.assert_done(a_said);
                    newest.assert_refused(part);
                    value = "newer";
                }
                (State, Blocks) => {
                    again.assert_done_unrecorded(a_said);
                    newest.assert_done_unrecorded(updated);
                }
                _ => {
                    again.assert_done(a_said);
                    newest.assert_done(updated);
                    last.assert_done("");
                }
            }
            assert_eq!((last.code, &*last.stdout), (0, value), "{last:?}");
            count += steps.len();
        }
    }
    tally(&format!("{count} commands on disks without blocks or inodes: 0 torn, 0 lost, 0 temporary files left"));
}

#[test]
#[ignore = "needs util-linux: scripts/test"]
fn init_without_room_can_be_repeated() {
    for part in [Vault, Keys, State] {
        for lack in [Blocks, Inodes] {
            let steps = on_a_disk(
                part,
                lack,
                "fill; try init; free; try init; try create secret a one; try get secret a --reveal",
            );
            let [full, init, create, get] = &steps[..] else { panic!("{steps:?}") };
            // `init` records the vault before it creates it.
            full.assert_refused(part);
            assert_eq!(init.code, 0, "{init:?}");
            match (part, lack) {
                // The disk holds the pin of the vault and no other.
                (State, Blocks) => create.assert_done_unrecorded("created secret a (organization)\n"),
                _ => create.assert_done("created secret a (organization)\n"),
            }
            assert_eq!((get.code, &*get.stdout), (0, "one"), "{get:?}");
        }
    }
}

/// The kernel writes up to the limit. Then it fails the call, or ends the process unless that ignores SIGXFSZ.
#[test]
fn a_limit_on_the_size_of_files_leaves_the_old_value() {
    let sandbox = Sandbox::in_memory();
    let large = sandbox.file("large", vec![b'x'; 1 << 20]);
    let limited = |blocks: u32, ignore: &str, arguments: &[&str]| {
        let script = format!("{ignore} ulimit -f {blocks} && exec \"$0\" \"$@\"");
        let mut command = sandbox.program("sh");
        Ran::from(command.args(["-c", &script, FLYTE_LOCAL]).args(arguments).output().expect("sh starts"))
    };
    let large = large.to_str().expect("UTF-8");
    let ignored = "trap '' XFSZ;";
    let assert_reported = |ran: &Ran, file: &str| {
        assert_eq!(ran.code, 1, "{ran:?}");
        let first = ran.stderr.lines().next().expect("an error");
        assert!(first.starts_with("error: cannot write ") && first.ends_with(file), "{ran:?}");
        assert!(ran.stderr.contains("caused by: File too large (os error 27)"), "{ran:?}");
    };
    assert_reported(&limited(0, ignored, &["init"]), "identity.txt");
    assert!(!sandbox.vault().exists() && !sandbox.identity().exists());
    // The exit code is 128 plus the number of SIGXFSZ.
    assert_eq!(limited(0, "", &["init"]).code, 128 + 25);
    sandbox.ok(&["init"]);
    let config = std::fs::read_dir(sandbox.identity().parent().expect("a directory")).expect("listed");
    assert_eq!(config.count(), 2, "only the identity and the author's key are there");

    sandbox.ok(&["create", "secret", "s", "old"]);
    for blocks in [0, 1, 100] {
        for verb in ["create", "update"] {
            let name = if verb == "create" { "new" } else { "s" };
            let arguments = [verb, "secret", name, "--from-file", large];
            assert_reported(&limited(blocks, ignored, &arguments), &format!("{name}.age"));
            assert_eq!(sandbox.sound_but_for_leftovers(), 0);
            assert_eq!(limited(blocks, "", &arguments).code, 128 + 25);
            assert_eq!(sandbox.sound_but_for_leftovers(), 1);
            assert_eq!(sandbox.value("org/s").as_deref(), Some(&b"old"[..]));
            assert_eq!(sandbox.value("org/new"), None);
        }
    }
    sandbox.ok(&["update", "secret", "s", "new"]);
    assert_eq!(sandbox.sound_but_for_leftovers(), 0);
    let delete = limited(0, ignored, &["delete", "secret", "s"]);
    assert!(delete.code == 0 && delete.stderr.ends_with("\ndeleted secret s (organization)\n"), "{delete:?}");
    assert!(delete.stderr.contains("cannot record this version"), "{delete:?}");
}
