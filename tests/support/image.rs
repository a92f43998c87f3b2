//! A disk in a file: an ext4 file system that can be mounted, lose its power, and be examined from outside.

#![allow(clippy::disallowed_methods, reason = "tests start programs as any program could")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::require;

/// Set in the child process, which has its own mount namespace.
const OWN_MOUNTS: &str = "FLYTE_LOCAL_TEST_OWN_MOUNTS";

/// Runs the `body` of a test in a child process with its own mount namespace. `test` is its name as [`super::test_path`]
/// returns it. So nothing stays mounted after the test, and no namespace that another process makes meanwhile keeps a
/// copy of a mount and with it the file system.
pub fn with_own_mounts(test: &str, body: impl FnOnce()) {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return body();
    }
    assert!(rustix::process::getuid().is_root(), "only root can mount a disk image");
    require("unshare", "util-linux");
    let mut command = Command::new("unshare");
    command.arg("--mount").arg(std::env::current_exe().expect("this test"));
    command.args(["--exact", test, "--include-ignored", "--nocapture"]).env(OWN_MOUNTS, "yes");
    let output = command.output().expect("unshare starts");
    // `print!` lets the test harness capture the output of a test that passes.
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test}: {}", output.status);
}

/// A mounted image, which is unmounted when dropped.
pub struct Image {
    file: PathBuf,
    mount_point: PathBuf,
    options: &'static str,
}

impl Image {
    /// Makes an empty file system in the file `image` of a directory, and mounts it on `mount_point` with these options.
    pub fn new(directory: &Path, mount_point: &Path, mebibytes: u64, options: &'static str) -> Self {
        for (tool, package) in [("mkfs.ext4", "e2fsprogs"), ("mount", "mount"), ("umount", "mount")] {
            require(tool, package);
        }
        let file = directory.join("image");
        let made = std::fs::File::create(&file).and_then(|image| image.set_len(mebibytes << 20));
        made.expect("a file for the image");
        let mut command = Command::new("mkfs.ext4");
        // Everything is initialised now, so that the kernel has nothing to do in the background.
        command.args(["-q", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"]);
        succeed(command.arg(&file));
        std::fs::create_dir_all(mount_point).expect("made");
        let image = Self { file, mount_point: mount_point.to_owned(), options };
        image.mount();
        image
    }

    /// Returns the whole disk, as a file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    pub fn mount(&self) {
        let options = format!("loop,{}", self.options);
        succeed(Command::new("mount").args(["-t", "ext4", "-o", &options]).arg(&self.file).arg(&self.mount_point));
    }

    pub fn unmount(&self) {
        succeed(Command::new("umount").arg("--recursive").arg(&self.mount_point));
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.mount_point).stderr(Stdio::null()).status();
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The fate of changes that are still in the file system's log in memory when the power fails.
#[derive(Debug, Clone, Copy)]
pub enum Log {
    Lost,
    /// The log is written just before the cut, and the changes that it describes are not. The kernel may do so at any moment.
    Written,
}

/// Cuts the power of images.
pub struct Power {
    helper: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Power {
    pub fn new() -> Self {
        require("python3", "python3");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/power.py");
        let mut command = Command::new("python3");
        let mut helper =
            command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 starts");
        let answers = BufReader::new(helper.stdout.take().expect("piped"));
        Self { helper, answers }
    }

    /// Cuts the power and restores it. Only what was on the disk at the cut is there afterwards.
    pub fn cut(&mut self, image: &Image, log: Log) {
        let flags = match log {
            Log::Written => 1,
            Log::Lost => 2,
        };
        let lines = self.helper.stdin.as_mut().expect("piped");
        writeln!(lines, "{flags} {}", image.mount_point.display()).expect("it listens");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        assert_eq!(answer, "cut\n", "the file system could not be shut down");
        image.unmount();
        image.mount();
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        drop(self.helper.stdin.take());
        let _ = self.helper.wait();
    }
}
