//! The Python that `flyte-local run` uses: from the option, the file's PEP 723 header, an environment, or `PATH`.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Ran, Sandbox, executable, python};

/// A script that prints the environment it runs in.
const SCRIPT: &str = "import sys\nif __name__ == '__main__':\n    print(sys.prefix)\n";

const HEADER: &str = "# /// script\n# dependencies = []\n# ///\n";

/// Returns the directory of one of the tests' environments.
fn environment(name: &str) -> PathBuf {
    python(name).ancestors().nth(2).expect("bin/python lies two below").to_owned()
}

/// Makes another environment for the newest SDK at `path`: Python derives its prefix from the path it was called by.
fn environment_at(path: &Path) -> PathBuf {
    std::fs::create_dir_all(path.join("bin")).expect("made");
    for part in ["lib", "pyvenv.cfg", "bin/python"] {
        let target = environment("newest").join(part);
        // The links lead to the real files, since Python follows no link to find `pyvenv.cfg`.
        symlink(std::fs::canonicalize(&target).expect("it is there"), path.join(part)).expect("linked");
    }
    path.to_owned()
}

/// Writes an executable shell script.
fn program(path: &Path, commands: &str) {
    executable(path, format!("#!/bin/sh\n{commands}\n"));
}

/// `flyte-local run` with these arguments and nothing in `PATH` but the sandbox's own `bin`.
fn command(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(&[&["run"], arguments].concat());
    command.env("PATH", sandbox.home().join("bin"));
    command
}

fn ran(command: &mut Command) -> Ran {
    Ran::from(command.output().expect("flyte-local starts"))
}

/// Installs a fake `uv` that makes nothing, logs its arguments and answers with this environment.
fn fake_uv(sandbox: &Sandbox, environment: &Path) {
    let log = sandbox.home().join("uv.log");
    let answer = format!(
        "echo \"$@\" \"${{VIRTUAL_ENV-}}\" >> '{}'\ncase $1 in python) echo '{}/bin/python' ;; esac",
        log.display(),
        environment.display()
    );
    program(&sandbox.home().join("bin/uv"), &answer);
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_first_interpreter_in_the_documented_order_runs() {
    let sandbox = Sandbox::new();
    let (home, work) = (sandbox.home().canonicalize().expect("it is there"), sandbox.work());
    let work = work.canonicalize().expect("it is there");
    let elsewhere = home.join("elsewhere");
    let file = sandbox.file("project/src/script.py", SCRIPT);
    let with_header = sandbox.file("project/src/header.py", format!("{HEADER}{SCRIPT}"));
    symlink(&file, sandbox.work().join("link.py")).expect("linked");
    std::fs::create_dir(&elsewhere).expect("made");
    std::fs::copy(&file, elsewhere.join("script.py")).expect("copied");
    let made = environment_at(&home.join("made-by-uv"));
    let active = environment_at(&home.join("active"));
    let project = environment_at(&work.join("project/.venv"));
    let here = environment_at(&work.join(".venv"));
    fake_uv(&sandbox, &made);
    // A version manager puts a script like this in PATH. It starts the interpreter.
    program(&home.join("bin/python3"), &format!("exec '{}' \"$@\"", python("newest").display()));

    let prefix = |virtual_env: Option<&Path>, arguments: &[&str]| {
        let mut command = command(&sandbox, arguments);
        command.envs(virtual_env.map(|path| ("VIRTUAL_ENV", path)));
        let ran = ran(&mut command);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}: {ran:?}");
        PathBuf::from(ran.text().trim_end())
    };
    let asked = || {
        let log = std::fs::read_to_string(home.join("uv.log")).unwrap_or_default();
        // It depends on the directory of the sandbox: `found.toml` has the rule.
        log.replace(" --no-config", "")
    };

    let given = python("oldest");
    let given = given.to_str().expect("UTF-8");
    let with_header = with_header.to_str().expect("UTF-8");
    assert_eq!(prefix(Some(&active), &["--python", given, with_header]), environment("oldest"));
    assert_eq!(asked(), "", "uv is asked, but an interpreter was named");

    assert_eq!(prefix(Some(&active), &[with_header]), made);
    let script = format!("--script {with_header}");
    let quietly = "--offline --quiet";
    let questions = format!("sync --check {script} {quietly} \nsync {script} {quietly} \npython find {script} \n");
    assert_eq!(asked(), questions, "uv does not see the active environment");

    assert_eq!(prefix(Some(&active), &["project/src/script.py"]), active);
    assert_eq!(asked(), questions, "uv is asked about a file without a header");
    assert_eq!(prefix(None, &["project/src/script.py"]), project);
    assert_eq!(
        prefix(None, &["link.py"]),
        project,
        "the environment beside the file is used, not the one beside the link"
    );
    assert_eq!(prefix(None, &["../elsewhere/script.py"]), here, "the environment in the working directory");
    sandbox.file("module.py", SCRIPT);
    assert_eq!(prefix(None, &["-m", "module"]), here);
    std::fs::remove_dir_all(&here).expect("removed");
    assert_eq!(prefix(None, &["../elsewhere/script.py"]), environment("newest"), "the interpreter in PATH");

    std::fs::remove_file(home.join("bin/uv")).expect("removed");
    assert_eq!(prefix(None, &[with_header]), project, "without uv, the header is ignored");
}

/// A wheel of one module, which can be installed without a build and without a network.
fn wheel(sandbox: &Sandbox) -> PathBuf {
    let wheel = sandbox.home().join("marker-1.0-py3-none-any.whl");
    let make = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    wheel.writestr('marker.py', 'VALUE = 42\\n')
    info = 'marker-1.0.dist-info/'
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: marker\\nVersion: 1.0\\n')
    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(info + 'RECORD', 'marker.py,,\\n' + info + 'METADATA,,\\n' + info + 'WHEEL,,\\n' + info + 'RECORD,,\\n')
";
    let made = Command::new(python("newest")).args(["-c", make]).arg(&wheel).status().expect("Python starts");
    assert!(made.success());
    wheel
}

/// Has the command use the real uv without a network: the SDK comes from the newest environment, by a path.
fn with_real_uv(command: &mut Command) -> &mut Command {
    let sdk = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let path = Ran::from(Command::new(python("newest")).args(["-c", sdk]).output().expect("Python starts")).text();
    command
        .env("PATH", format!("{}/bin:/usr/bin:/bin", environment("uv").display()))
        .env("UV_OFFLINE", "1")
        .env("UV_PYTHON", python("newest"))
        .env("PYTHONPATH", path.trim_end())
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn uv_makes_the_environment_that_a_header_asks_for() {
    let sandbox = Sandbox::new();
    sandbox.secret("key", "a-value", &[]);
    let header = format!("# /// script\n# dependencies = [\"marker @ file://{}\"]\n# ///\n", wheel(&sandbox).display());
    let script = "
import os
import sys
import flyte
import marker

env = flyte.TaskEnvironment(name='env', secrets='key')

@env.task
def main() -> str:
    return f\"{marker.VALUE} {os.environ['KEY'] == 'a-value'}\"

if __name__ == '__main__':
    flyte.init()
    print(flyte.run(main).outputs()[0], sys.prefix)
";
    let path = sandbox.file("script.py", format!("{header}{script}"));
    let run = |options: &[&str]| ran(with_real_uv(&mut command(&sandbox, &[options, &["script.py"]].concat())));
    let first = run(&[]);
    assert_eq!(first.code, 0, "{first:?}");
    assert!(first.stderr.contains("+ marker==1.0"), "uv's output is shown: {first:?}");
    let cache = sandbox.home().canonicalize().expect("it is there").join(".cache/uv");
    let expected = format!("42 True {}", cache.display());
    assert!(first.text().starts_with(&expected), "{first:?}");
    // Once the environment exists, uv prints nothing, not even in a dry run.
    let second = run(&[]);
    assert_eq!((second.code, second.text(), second.stderr.as_str()), (0, first.text(), ""));
    let dry = run(&["--dry-run"]);
    assert_eq!((dry.code, dry.stderr.as_str()), (0, ""), "{dry:?}");

    // An interpreter named by `--python` does not get uv's environment.
    let named = ran(&mut sandbox.flyte_command("newest", &["script.py"]));
    assert!(named.code != 0 && named.all().contains("No module named 'marker'"), "{named:?}");

    // A header without dependencies gets an environment too.
    sandbox.file("nothing.py", format!("{HEADER}{SCRIPT}"));
    let nothing = ran(with_real_uv(&mut command(&sandbox, &["nothing.py"])));
    assert_eq!(nothing.code, 0, "{nothing:?}");
    assert!(nothing.text().starts_with(cache.to_str().expect("UTF-8")), "{nothing:?}");

    let broken = "# /// script\n# dependencies = 3\n# ///\n";
    std::fs::copy(sandbox.file("broken.py", format!("{broken}{script}")), path).expect("copied");
    let failed = run(&[]);
    assert_eq!((failed.code, failed.text().as_str()), (1, ""), "{failed:?}");
    let (uvs, ours) = failed.stderr.split_at(failed.stderr.find("error: uv could not").expect("our error"));
    assert!(uvs.contains("dependencies = 3"), "{failed:?}");
    let words = "error: uv could not make the environment that the header of script.py asks for
caused by: see uv's own message above (exit status: 2)
hint: correct the header: the lines from # /// script to # ///
hint: or run without its environment: flyte-local run --python PYTHON …
";
    assert_eq!(ours, words);
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_failing_uv_ends_the_run_and_its_reason_is_shown() {
    let sandbox = Sandbox::new();
    sandbox.file("script.py", format!("{HEADER}{SCRIPT}"));
    environment_at(&sandbox.work().join(".venv"));
    for (uv, reason) in [
        ("echo 'uv: no such option' >&2; exit 2", "caused by: see uv's own message above (exit status: 2)\n"),
        ("case $1 in python) exit 3 ;; esac", "caused by: see uv's own message above (exit status: 3)\n"),
        ("exit 0", "caused by: see uv's own message above (exit status: 0)\n"),
    ] {
        program(&sandbox.home().join("bin/uv"), uv);
        let ran = ran(&mut command(&sandbox, &["script.py"]));
        assert_eq!((ran.code, ran.text().as_str()), (1, ""), "{uv}: {ran:?}");
        assert!(ran.stderr.contains("error: uv could not make the environment"), "{uv}: {ran:?}");
        assert!(ran.stderr.contains(reason), "{uv}: {ran:?}");
    }
    std::fs::set_permissions(sandbox.home().join("bin/uv"), std::fs::Permissions::from_mode(0o644)).expect("set");
    let ran = ran(&mut command(&sandbox, &["script.py"]));
    assert!(ran.code == 1 && ran.stderr.starts_with("error: cannot start uv\n"), "{ran:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn an_interpreter_without_flyte_fails_with_install_hints() {
    let sandbox = Sandbox::new();
    sandbox.file("plain.py", SCRIPT);
    sandbox.file("header.py", format!("{HEADER}{SCRIPT}"));
    let bare = python("uv");
    program(&sandbox.home().join("bin/python3"), &format!("exec '{}' \"$@\"", bare.display()));
    let install = format!(
        "error: {0} has no flyte package\nhint: install it: {0} -m pip install flyte\n\
         hint: or name another interpreter: flyte-local run --python PYTHON …\n",
        bare.display()
    );
    let plain = ran(&mut command(&sandbox, &["plain.py"]));
    assert_eq!((plain.code, plain.stderr.as_str()), (1, install.as_str()));
    let header = ran(&mut command(&sandbox, &["header.py"]));
    let uv = "hint: or install uv (https://docs.astral.sh/uv), \
              which creates the environment that the file's header asks for\n";
    assert_eq!((header.code, header.stderr.as_str()), (1, format!("{install}{uv}").as_str()));
    // The hint does not name uv if the interpreter was named by `--python`.
    let named = ran(&mut command(&sandbox, &["--python", bare.to_str().expect("UTF-8"), "header.py"]));
    assert_eq!((named.code, named.stderr.as_str()), (1, install.as_str()));

    fake_uv(&sandbox, &environment("uv"));
    let made = ran(&mut command(&sandbox, &["header.py"]));
    let words = format!(
        "error: {} has no flyte package\ncaused by: uv created it for the file's header, which does not \
         list flyte\nhint: add flyte to the header: uv add --script header.py flyte\n",
        bare.display()
    );
    assert_eq!((made.code, made.stderr.as_str()), (1, words.as_str()));
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_version_manager_without_the_selected_python_is_explained() {
    let sandbox = Sandbox::new();
    sandbox.file("script.py", SCRIPT);
    // pyenv answers like this if the selected version is not installed.
    program(&sandbox.home().join("bin/python3"), "echo 'pyenv: python3: command not found' >&2\nexit 127");
    let ran = ran(&mut command(&sandbox, &["script.py"]));
    let words = "pyenv: python3: command not found
error: python3 (looked for in PATH) did not start as a Python interpreter
caused by: it ended with exit code 127
hint: the Python that pyenv or asdf has selected here is not installed: see pyenv versions, or asdf current
hint: or name another interpreter: flyte-local run --python PYTHON …
";
    assert_eq!((ran.code, ran.stderr.as_str()), (1, words), "{ran:?}");
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn the_python3_of_this_machine_starts_even_through_a_wrapper() {
    let sandbox = Sandbox::new();
    sandbox.file("script.py", "import sys\nif __name__ == '__main__':\n    print(sys.executable)\n");
    let plain = Ran::from(
        sandbox.program("python3").args(["-c", "import sys; print(sys.executable)"]).output().expect("it starts"),
    );
    let ran = ran(sandbox.command(&["run", "script.py"]).env_remove("VIRTUAL_ENV"));
    let executable = plain.text();
    let lacks_flyte = ran.stderr.starts_with(&format!("error: {} has no flyte package\n", executable.trim_end()));
    assert!(lacks_flyte || ran.text() == executable, "{executable}{ran:?}");
}
