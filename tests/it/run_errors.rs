//! `flyte-local run`: each error, with its message and its exit code.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::path::Path;

use crate::support::{Ran, SDKS, Sandbox, python};

const ANOTHER: &str = "hint: name another interpreter: flyte-local run --python PYTHON …\n";

/// Returns the failures of the two tasks that `one_secret.py` printed: an error for each failed task.
fn reasons(ran: &Ran) -> Vec<String> {
    let text = ran.text();
    let failures = text.split("=> RuntimeUserError\n").skip(1);
    // The SDK's own log of the next failure begins with the time.
    let is_ours = |line: &&str| !line.starts_with(|c: char| c.is_ascii_digit()) && !line.starts_with("=> ");
    failures.map(|failure| failure.lines().take_while(is_ours).collect::<Vec<_>>().join("\n")).collect()
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_secret_in_no_scope_fails_the_task_that_declares_it_before_its_body_runs() {
    for sdk in SDKS {
        let sandbox = Sandbox::new().with_tasks();
        sandbox.secret("present", "here", &[]);
        sandbox.secret("absent", "elsewhere", &["-p", "beta"]);
        sandbox.secret("absent", "elsewhere", &["-p", "beta", "-d", "production"]);
        let reason = "secret absent does not exist in this run's scopes
searched: project alpha, domain production; project alpha; domain production; organization
it exists in: project beta; project beta, domain production
hint: create it: flyte-local create secret absent
hint: or run in a project and domain that see it: -p beta
";
        let scope = ["-p", "alpha", "-d", "production"];
        let script = sandbox.flyte_run(sdk, &[&scope[..], &["lacking.py"]].concat());
        let both = format!("task lacking_env.lacks_variable: {reason}task file_env.lacks_file: {reason}");
        assert_eq!((script.code, &script.stderr), (0, &both), "{sdk}: {script:?}");
        let own: Vec<_> = ["good here", "caught SecretUnavailable"].to_vec();
        let text = script.text();
        let lines: Vec<_> = text.lines().filter(|line| own.contains(line)).collect();
        assert_eq!(lines, own, "{sdk}: the other tasks run: {script:?}");

        for task in ["lacks_variable", "lacks_file"] {
            let ran = sandbox.flyte_run(sdk, &[&scope[..], &["lacking.py", task]].concat());
            assert_eq!(ran.code, 1, "{sdk} {task}: {ran:?}");
            let error = format!(
                "error: task {}: {reason}",
                if task == "lacks_file" { "file_env.lacks_file" } else { "lacking_env.lacks_variable" }
            );
            assert!(ran.stderr.ends_with(&error), "{sdk} {task}: {error} is missing from {ran:?}");
        }
        assert!(!sandbox.work().join("marker").exists(), "{sdk}: a body ran");
        let other = sandbox.flyte_run(sdk, &["lacking.py", "lacks_nothing"]);
        assert_eq!((other.code, other.text().lines().next()), (0, Some("good here")), "{sdk}: {other:?}");

        // The same task runs with the option from the hint.
        let seen = sandbox.flyte_run(sdk, &["-p", "beta", "lacking.py", "lacks_variable"]);
        assert_eq!(seen.code, 0, "{sdk}: {seen:?}");
        assert!(sandbox.work().join("marker").exists(), "{sdk}: now the body runs");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_hint_for_a_missing_secret_names_the_same_vault() {
    for sdk in SDKS {
        let sandbox = Sandbox::new().with_tasks();
        let vault = sandbox.work().join("a vault");
        let vault = vault.to_str().expect("UTF-8");
        std::fs::rename(sandbox.vault(), vault).expect("moved");
        let ran = sandbox.flyte_run(sdk, &["--vault", vault, "one_secret.py"]);
        let reason = |task| {
            format!(
                "task {task}: secret my_secret does not exist in this run's scopes\nsearched: organization\n\
                 hint: create it: flyte-local --vault '{vault}' create secret my_secret"
            )
        };
        assert_eq!(reasons(&ran), [reason("variable_env.variable"), reason("file_env.file")], "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_value_that_is_not_text_can_be_a_file_but_not_a_variable() {
    for sdk in SDKS {
        for (value, shown, problem) in [
            (&b"\xff\xfe"[..], r"b'\xff\xfe'", "it is not valid UTF-8"),
            (b"a\0b", r"b'a\x00b'", "it holds a NUL byte"),
        ] {
            let sandbox = Sandbox::new().with_tasks();
            sandbox.secret("my_secret", value, &[]);
            let ran = sandbox.flyte_run(sdk, &["one_secret.py"]);
            let reason = format!(
                "task variable_env.variable: secret my_secret cannot become an environment variable: {problem}\n\
                 hint: mount it as a file: flyte.Secret(key=\"my_secret\", mount=\"/etc/flyte/secrets\")"
            );
            assert_eq!((ran.code, reasons(&ran)), (0, vec![reason]), "{sdk}: {ran:?}");
            assert_eq!(ran.said().last(), Some(&format!("file {shown}")), "{sdk}: {ran:?}");
        }
    }
}

/// The container of a cluster does not start with such a variable either.
#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_value_too_large_for_a_variable_can_be_a_file() {
    let sandbox = Sandbox::new().with_tasks();
    sandbox.secret("my_secret", vec![b'x'; 140_000], &[]);
    let ran = sandbox.flyte_run("newest", &["one_secret.py"]);
    let reason = "task variable_env.variable: secret my_secret cannot become an environment variable: it has 140000 bytes, \
                  and no program starts with a variable of that size\n\
                  hint: mount it as a file: flyte.Secret(key=\"my_secret\", mount=\"/etc/flyte/secrets\")";
    assert_eq!((ran.code, reasons(&ran)), (0, vec![reason.to_owned()]), "{}", ran.stderr);
    assert!(ran.said().last().is_some_and(|said| said.starts_with("file b'xxx")));
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_refused_file_stops_the_search_through_the_scopes() {
    for sdk in SDKS {
        let sandbox = Sandbox::new().with_tasks();
        sandbox.secret("my_secret", "the wider one", &[]);
        sandbox.secret("my_secret", "the narrower one", &["-p", "alpha"]);
        let path = sandbox.secret_file("project/alpha/my_secret");
        let mut bytes = std::fs::read(&path).expect("there is one");
        *bytes.last_mut().expect("it is not empty") ^= 1;
        std::fs::write(&path, bytes).expect("tampered with");
        let ran = sandbox.flyte_run(sdk, &["-p", "alpha", "one_secret.py"]);
        assert!(!ran.all().contains("the wider one"), "{sdk}: {ran:?}");
        let path = path.display();
        let reason = |task| {
            format!(
                "task {task}: refused {path}, the file of secret my_secret (project alpha)\n\
                 caused by: its content was changed or damaged after it was written\n\
                 hint: restore it from a backup, or delete it: flyte-local delete secret my_secret -p alpha"
            )
        };
        assert_eq!(reasons(&ran), [reason("variable_env.variable"), reason("file_env.file")], "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn without_a_vault_or_an_identity_the_run_does_not_start() {
    let sandbox = Sandbox::empty().with_tasks();
    let vault = sandbox.vault();
    let no_vault = format!(
        "error: there is no vault at {}\nhint: create one: flyte-local init\n\
         hint: or name another vault with --vault DIR or FLYTE_LOCAL_VAULT\n",
        vault.display()
    );
    let ran = sandbox.flyte_run("newest", &["arguments.py", "show"]);
    assert_eq!((ran.code, ran.text().as_str(), &ran.stderr), (10, "", &no_vault));

    sandbox.ok(&["init"]);
    std::fs::remove_file(sandbox.identity()).expect("removed");
    let no_identity = format!(
        "error: there is no identity at {}\nhint: name another file with --identity FILE or FLYTE_LOCAL_IDENTITY\n\
         hint: or restore it from your copy: without it, you cannot open this vault's secrets\n\
         hint: if you never had one, create it and ask a recipient of the vault to add you: flyte-local create identity\n",
        sandbox.identity().display()
    );
    let ran = sandbox.flyte_run("newest", &["arguments.py", "show"]);
    assert_eq!((ran.code, ran.text().as_str(), &ran.stderr), (10, "", &no_identity));
    assert!(!sandbox.work().join("imports").exists(), "the file was imported");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_wrong_identity_is_named_with_what_it_could_not_open() {
    let other = Sandbox::new();
    let identity = other.identity();
    let identity = identity.to_str().expect("UTF-8");
    for sdk in SDKS {
        let sandbox = Sandbox::new().with_tasks();
        sandbox.secret("my_secret", "a value", &[]);
        let ran = sandbox.flyte_run(sdk, &["--identity", identity, "one_secret.py"]);
        let recipient = crate::support::identities(&other.identity())[0].recipient().to_string();
        let owner = sandbox.identities()[0].recipient();
        let reason = |task| {
            format!(
                "task {task}: cannot decrypt secret my_secret (organization), {}\n\
                 caused by: tried {identity}, the identity of {recipient}\n\
                 caused by: the file is encrypted to 1 X25519 key (age1…)\n\
                 recipient of the vault: \"owner\" {owner}\n\
                 hint: name another identity with --identity FILE or FLYTE_LOCAL_IDENTITY\n\
                 hint: or ask a recipient of the vault to add you, and send them your public key: flyte-local get identity",
                sandbox.secret_file("org/my_secret").display()
            )
        };
        assert_eq!(reasons(&ran), [reason("variable_env.variable"), reason("file_env.file")], "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_missing_file_and_a_directory_are_refused() {
    let sandbox = Sandbox::new().with_tasks();
    let ran = sandbox.flyte_run("newest", &["missing.py", "main"]);
    assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (10, "", "error: there is no file missing.py\n"));
    let ran = sandbox.flyte_run("newest", &["pipeline"]);
    let message = "error: pipeline is a directory, not a Python file\nhint: run a module or a package with -m\n";
    assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (2, "", message));
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_task_file_that_does_not_parse_fails_with_the_sdks_own_words() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("broken.py", "import flyte\n\ndef fail(:\n    pass\n");
        let ran = sandbox.flyte_run(sdk, &["broken.py", "fail"]);
        assert_eq!(ran.code, 1, "{sdk}: {ran:?}");
        assert!(ran.all().contains("invalid syntax (broken.py, line 3)"), "{sdk}: {ran:?}");
    }
}

/// `flyte-local run single.py` with these options and variables; it must fail in this way.
fn fails(sandbox: &Sandbox, options: &[&str], variables: &[(&str, &Path)], code: i32, message: &str) {
    let mut command = sandbox.command(&[&["run"], options, &["single.py"]].concat());
    let ran = Ran::from(command.envs(variables.iter().copied()).output().expect("flyte-local starts"));
    assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (code, "", message), "{options:?} {variables:?}");
}

#[test]
fn the_error_for_an_interpreter_that_does_not_start_names_its_origin() {
    let sandbox = Sandbox::new().with_tasks();
    let nowhere = "caused by: No such file or directory (os error 2)\n";
    let message =
        |what: &str, cause: &str| format!("error: cannot start the Python interpreter {what}\n{cause}{ANOTHER}");
    let option = message("/nonexistent/python (named by --python)", nowhere);
    fails(&sandbox, &["--python", "/nonexistent/python"], &[], 127, &option);
    let environment = message("/nonexistent/bin/python (of VIRTUAL_ENV)", nowhere);
    fails(&sandbox, &[], &[("VIRTUAL_ENV", Path::new("/nonexistent"))], 127, &environment);
    let denied = message("/etc/passwd (named by --python)", "caused by: Permission denied (os error 13)\n");
    fails(&sandbox, &["--python", "/etc/passwd"], &[], 126, &denied);
    let no_python = format!(
        "error: /bin/true (named by --python) did not start as a Python interpreter\n\
         caused by: it ended with exit code 0\n{ANOTHER}"
    );
    fails(&sandbox, &["--python", "/bin/true"], &[], 1, &no_python);

    let mut command = sandbox.command(&["run", "single.py"]);
    let ran = Ran::from(command.env("PATH", "/nonexistent").output().expect("flyte-local starts"));
    assert_eq!(ran.code, 127, "{ran:?}");
    assert!(ran.stderr.starts_with("error: cannot start the Python interpreter python3 ("), "{ran:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_python_without_the_sdk_fails_with_install_hints() {
    let sandbox = Sandbox::new().with_tasks();
    let made = sandbox.program(python("newest")).args(["-m", "venv", "--without-pip", "bare"]).output();
    assert!(made.expect("Python starts").status.success());
    let bare = sandbox.work().join("bare/bin/python");
    let shown = bare.display();
    let no_package = format!(
        "error: {shown} has no flyte package\nhint: install it: {shown} -m pip install flyte\n\
         hint: or name another interpreter: flyte-local run --python PYTHON …\n"
    );
    fails(&sandbox, &["--python", bare.to_str().expect("UTF-8")], &[], 1, &no_package);

    // Flyte 1 has a different package of the same name.
    sandbox.file("other/flyte/__init__.py", "");
    let other_package = format!(
        "error: the flyte package of {shown} is not a Flyte SDK version that flyte-local supports\n\
         hint: it needs flyte 2.0.0 or newer: {shown} -m pip install --upgrade flyte\n"
    );
    let other = sandbox.work().join("other");
    fails(&sandbox, &["--python", bare.to_str().expect("UTF-8")], &[("PYTHONPATH", &other)], 1, &other_package);
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_python_that_is_too_old_is_refused() {
    let sandbox = Sandbox::new().with_tasks();
    // The interpreter is real but reports an older version, so this tests the loader's own message.
    sandbox.file("older/sitecustomize.py", "import sys\nsys.version_info = (3, 9, 18, 'final', 0)\n");
    let python = python("newest");
    let message = format!(
        "error: Python 3.9.18 is too old for Flyte 2, which needs 3.10 or newer\n\
         caused by: it is {} (named by --python)\n{ANOTHER}",
        python.display()
    );
    let older = sandbox.work().join("older");
    fails(&sandbox, &["--python", python.to_str().expect("UTF-8")], &[("PYTHONPATH", &older)], 1, &message);
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_active_environment_comes_first_then_the_nearest_then_python3() {
    let sandbox = Sandbox::new();
    sandbox.file("below/script.py", "import sys\nif __name__ == '__main__':\n    print(sys.prefix)\n");
    let environment = |sdk: &str| python(sdk).ancestors().nth(2).expect("bin/python lies in one").to_owned();
    let prefix = |variable: Option<&Path>| {
        let mut command = sandbox.command(&["run", "script.py"]);
        command.current_dir(sandbox.work().join("below"));
        if let Some(variable) = variable {
            command.env("VIRTUAL_ENV", variable);
        }
        let bin = environment("newest").join("bin");
        let path = std::env::var("PATH").expect("PATH is set");
        let ran = Ran::from(command.env("PATH", format!("{}:{path}", bin.display())).output().expect("it starts"));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        ran.text().trim_end().to_owned()
    };
    assert_eq!(Path::new(&prefix(None)), environment("newest"), "the python3 in PATH");
    let nearest = sandbox.work().join(".venv");
    std::os::unix::fs::symlink(environment("oldest"), &nearest).expect("linked");
    assert_eq!(Path::new(&prefix(None)), nearest.canonicalize().map(|_| nearest.clone()).expect("it exists"));
    assert_eq!(Path::new(&prefix(Some(&environment("newest")))), environment("newest"));
}

/// A task that lacks a secret, a task that calls it, and a task that raises an exception. They run by name or from a
/// script.
const FAILING: &str = "
import sys

import flyte

env = flyte.TaskEnvironment(name='env', secrets='absent')
caller_env = flyte.TaskEnvironment(name='caller_env', depends_on=[env])

@env.task
async def lacks() -> None:
    pass

@caller_env.task
async def calls() -> None:
    await lacks()

@caller_env.task
def fails() -> None:
    raise ValueError('of the task')

if __name__ == '__main__':
    flyte.init()
    flyte.run({'lacks': lacks, 'calls': calls, 'fails': fails}[sys.argv[1]])
";

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_missing_secret_is_shown_once_and_without_a_traceback() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("tasks.py", FAILING);
        for task in ["lacks", "calls"] {
            let script = sandbox.flyte_run(sdk, &["tasks.py", "--", task]);
            let reason = "error: task env.lacks: secret absent does not exist in this run's scopes\n\
                          searched: organization\nhint: create it: flyte-local create secret absent\n";
            assert_eq!((script.code, script.stderr.as_str()), (1, reason), "{sdk} {task}: {script:?}");
            let named = sandbox.flyte_run(sdk, &["tasks.py", task]);
            assert!(named.stderr.ends_with(reason), "{sdk} {task}: {named:?}");
            for ran in [script, named] {
                assert_eq!(ran.code, 1, "{sdk} {task}: {ran:?}");
                for once in ["searched: organization", "hint: create it: flyte-local create secret absent"] {
                    assert_eq!(ran.all().matches(once).count(), 1, "{sdk} {task}: {once}: {ran:?}");
                }
                for frame in ["Traceback", "File \"", "<flyte-local>"] {
                    assert!(!ran.all().contains(frame), "{sdk} {task}: {frame}: {ran:?}");
                }
            }
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn an_exception_of_a_task_keeps_its_traceback_without_our_frames() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("tasks.py", FAILING);
        for arguments in [&["tasks.py", "fails"][..], &["tasks.py", "--", "fails"]] {
            let ran = sandbox.flyte_run(sdk, arguments);
            assert_eq!(ran.code, 1, "{sdk} {arguments:?}: {ran:?}");
            for line in ["tasks.py\", line 19, in fails", "raise ValueError('of the task')", "ValueError: of the task"]
            {
                assert!(ran.all().contains(line), "{sdk} {arguments:?}: {line}: {ran:?}");
            }
            assert!(!ran.all().contains("<flyte-local>"), "{sdk} {arguments:?}: {ran:?}");
        }
    }
}
