//! `flyte-local run` of a task, of a file's main block, and of a module, and never on a cluster.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::net::TcpListener;

use crate::support::{Ran, SDKS, Sandbox, python};

/// Runs plain Python with these arguments in the sandbox.
fn plain_python(sandbox: &Sandbox, sdk: &str, arguments: &[&str]) -> Ran {
    Ran::from(sandbox.program(python(sdk)).args(arguments).output().expect("Python starts"))
}

/// A sandbox with the tasks, and with the secret that most of them use.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new().with_tasks();
    sandbox.secret("my_secret", "a-value", &[]);
    sandbox
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn arguments_reach_the_task_and_the_file_is_imported_once() {
    for sdk in SDKS {
        for (arguments, said) in [
            (&["show", "--number", "3", "--text", "two words"][..], "3 'two words' False 0.5 a-value"),
            (&["show", "--number", "-3", "--text", "-p", "--switch", "--ratio", "2"], "-3 '-p' True 2.0 a-value"),
            // The task needs no name, since the file has only one.
            (&["--number=4", "--text=--vault"], "4 '--vault' False 0.5 a-value"),
        ] {
            let sandbox = sandbox();
            let ran = sandbox.flyte_run(sdk, &[&["arguments.py"], arguments].concat());
            assert_eq!((ran.code, ran.said()), (0, vec![said.to_owned()]), "{sdk} {arguments:?}: {ran:?}");
            let imports = std::fs::read_to_string(sandbox.work().join("imports")).expect("the file was imported");
            assert_eq!(imports, "arguments\n", "{sdk} {arguments:?}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_error_for_a_file_without_tasks_names_exec() {
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.file("plain.py", "print('plain')\n");
        sandbox.file("block.py", "import sys\nif __name__ == '__main__':\n    print(sys.argv[1:])\n");
        let ran = sandbox.flyte_run(sdk, &["plain.py"]);
        assert_eq!(ran.code, 2, "{sdk}: {ran:?}");
        let (message, hint) = ran.stderr.split_once('\n').expect("two lines");
        assert_eq!(message, "error: plain.py has no tasks", "{sdk}");
        let command = hint.strip_prefix("hint: run an ordinary script with secrets: flyte-local ").expect("a hint");
        let words: Vec<&str> = command.split_whitespace().collect();
        assert_eq!((&words[..3], words.last()), (&["exec", "--all", "--"][..], Some(&"plain.py")), "{sdk}");
        let ran = sandbox.run(&words);
        assert_eq!((ran.code, ran.text().as_str()), (0, "plain\n"), "{sdk}: {ran:?}");
        let ran = sandbox.flyte_run(sdk, &["block.py", "x"]);
        let first = "error: block.py has no tasks\n\
                     hint: arguments of its __main__ block stand after --: flyte-local run block.py -- x\n";
        assert!(ran.code == 2 && ran.stderr.starts_with(first), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_file_without_a_main_block_runs_its_only_task_or_main() {
    for sdk in SDKS {
        let sandbox = sandbox();
        for (arguments, said) in [
            (&["single.py", "--x", "4"][..], "alone 4"),
            (&["with_main.py", "--x", "4"], "main 4"),
            (&["with_main.py", "other"], "other"),
            (&["several.py", "second"], "second"),
            // This task is imported from another file, but named.
            (&["several.py", "alone"], "alone 0"),
        ] {
            let ran = sandbox.flyte_run(sdk, arguments);
            assert_eq!((ran.code, ran.said()), (0, vec![said.to_owned()]), "{sdk} {arguments:?}: {ran:?}");
        }
        for (arguments, problem) in [
            (&["several.py"][..], "several.py has no __main__ block and no task named main, and it defines 2 tasks"),
            (&["several.py", "third", "--x", "3"], "several.py has no task 'third'"),
        ] {
            let ran = sandbox.flyte_run(sdk, arguments);
            let message = format!(
                "error: {problem}; its tasks are alone, first, second\nhint: name one: flyte-local run several.py first\n"
            );
            assert_eq!((ran.code, ran.text().as_str(), &ran.stderr), (2, "", &message), "{sdk} {arguments:?}");
        }
        // The command in the hint repeats the options that were typed, and can be pasted.
        std::fs::rename(sandbox.work().join("several.py"), sandbox.work().join("a b.py")).expect("renamed");
        let vault = sandbox.vault();
        let options = ["--vault", vault.to_str().expect("UTF-8"), "--dry-run", "a b.py", "third"];
        let ran = sandbox.flyte_run(sdk, &options);
        let hint = format!("\nhint: name one: flyte-local --vault {} run --dry-run 'a b.py' first\n", vault.display());
        assert!(ran.code == 2 && ran.stderr.ends_with(&hint), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_script_sees_the_same_as_under_plain_python() {
    for sdk in SDKS {
        let sandbox = sandbox();
        let absolute = sandbox.work().join("script.py");
        let absolute = absolute.to_str().expect("UTF-8");
        for (ours, plain) in [
            (&["script.py"][..], &["script.py"][..]),
            (&["script.py", "-x", "--epochs", "3"], &["script.py", "-x", "--epochs", "3"]),
            (&["script.py", "--", "word", "-x"], &["script.py", "word", "-x"]),
            (&["script.py", "--", "--", "-p"], &["script.py", "--", "-p"]),
            (
                &["script.py", "--help", "--vault", "-m", "--", "-d"],
                &["script.py", "--help", "--vault", "-m", "--", "-d"],
            ),
            (&[absolute], &[absolute]),
            (&["-m", "script", "-x", "--", "--vault"], &["-m", "script", "-x", "--", "--vault"]),
        ] {
            let (ours, plain) = (sandbox.flyte_run(sdk, ours), plain_python(&sandbox, sdk, plain));
            assert_eq!(plain.code, 0, "{sdk}: {plain:?}");
            assert_eq!((ours.code, ours.text(), ours.stderr), (0, plain.text(), plain.stderr), "{sdk}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_script_reached_by_a_symlink_or_a_detour_sees_the_same_as_under_plain_python() {
    for sdk in SDKS {
        let sandbox = sandbox();
        std::fs::create_dir(sandbox.work().join("real")).expect("made");
        std::fs::rename(sandbox.work().join("script.py"), sandbox.work().join("real/script.py")).expect("moved");
        std::os::unix::fs::symlink("real", sandbox.work().join("linked")).expect("linked");
        std::os::unix::fs::symlink("real/script.py", sandbox.work().join("link.py")).expect("linked");
        for path in ["linked/script.py", "link.py", "./real/../real/script.py"] {
            let (ours, plain) = (sandbox.flyte_run(sdk, &[path]), plain_python(&sandbox, sdk, &[path]));
            assert_eq!(plain.code, 0, "{sdk}: {plain:?}");
            assert_eq!((ours.code, ours.text()), (0, plain.text()), "{sdk} {path}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_script_runs_in_its_current_version_and_leaves_nothing_beside_it() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        for word in ["one", "two"] {
            let path = sandbox.file("script.py", format!("if __name__ == '__main__':\n    print('{word}')\n"));
            // An edit within the resolution of the clock, and of the same length.
            let file = std::fs::File::options().write(true).open(path).expect("opened");
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1 << 30)).expect("set");
            let ran = sandbox.flyte_run(sdk, &["script.py"]);
            assert_eq!((ran.code, ran.text(), ran.stderr), (0, format!("{word}\n"), String::new()), "{sdk}");
        }
        let names = std::fs::read_dir(sandbox.work()).expect("listed").map(|entry| entry.expect("listed").file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["script.py"], "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_users_file_does_not_replace_a_standard_module() {
    for sdk in SDKS {
        let sandbox = sandbox();
        for name in ["signal.py", "json.py", "socket.py"] {
            sandbox.file(name, "raise SystemExit('a file of the user was imported')\n");
        }
        sandbox.file("below/script.py", "if __name__ == '__main__':\n    print('ran')\n");
        // Plain Python looks beside the script, but these files lie elsewhere.
        let plain = plain_python(&sandbox, sdk, &["below/script.py"]);
        assert_eq!((plain.code, plain.text().as_str()), (0, "ran\n"), "{sdk}: {plain:?}");
        let ran = sandbox.flyte_run(sdk, &["below/script.py"]);
        assert_eq!((ran.code, ran.text().as_str()), (0, "ran\n"), "{sdk}: {ran:?}");
        // The SDK's own command looks in this directory last.
        let ran = sandbox.flyte_run(sdk, &["single.py", "alone"]);
        assert_eq!((ran.code, ran.said()), (0, vec!["alone 0".to_owned()]), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_run_never_connects_to_the_configured_cluster() {
    let cluster = TcpListener::bind("127.0.0.1:0").expect("a free port");
    cluster.set_nonblocking(true).expect("set");
    let endpoint = format!("dns:///{}", cluster.local_addr().expect("bound"));
    let config = format!(
        "admin:\n  endpoint: {endpoint}\n  insecure: true\ntask:\n  org: an-org\n  project: a-project\n  domain: a-domain\n"
    );
    for sdk in SDKS {
        let sandbox = sandbox();
        sandbox.file("config.yaml", &config);
        let ran = sandbox.flyte_run(sdk, &["cluster.py", "--", &endpoint]);
        let expected: String = (1..=8).map(|x| format!("{x} a-value\n")).collect();
        assert_eq!((ran.code, ran.text()), (0, expected), "{sdk}: {ran:?}");
        let passed_over = "flyte-local: mode='remote' is passed over, this runs locally\n";
        assert_eq!(ran.stderr, passed_over.repeat(2), "{sdk}");

        let task = sandbox.flyte_run(sdk, &["cluster.py", "main", "--x", "9"]);
        assert_eq!(task.code, 0, "{sdk}: {task:?}");
        assert!(task.text().contains("\"9 a-value\""), "{sdk}: {task:?}");
        let refused = cluster.accept().expect_err("there was no connection");
        assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock, "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_exit_code_is_the_scripts_own() {
    let script = "
import os, sys
if __name__ == '__main__':
    kind, value = sys.argv[1:]
    if kind == 'signal':
        os.kill(os.getpid(), int(value))
    sys.exit(int(value) if kind == 'code' else value)
";
    let sandbox = Sandbox::new();
    sandbox.file("script.py", script);
    for sdk in SDKS {
        for (kind, value, code, stderr) in [
            ("code", "0", 0, ""),
            ("code", "1", 1, ""),
            ("code", "3", 3, ""),
            ("code", "255", 255, ""),
            ("text", "why it ended", 1, "why it ended\n"),
            ("signal", "15", 143, ""),
            ("signal", "9", 137, ""),
        ] {
            let ran = sandbox.flyte_run(sdk, &["script.py", "--", kind, value]);
            assert_eq!(
                (ran.code, ran.text().as_str(), ran.stderr.as_str()),
                (code, "", stderr),
                "{sdk} {kind} {value}"
            );
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_traceback_is_the_same_as_under_plain_python() {
    let raises = "
import flyte

def fail():
    raise ValueError('a value')

if __name__ == '__main__':
    try:
        fail()
    except ValueError as error:
        raise KeyError('a key') from error
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("raises.py", raises);
        let (ours, plain) = (sandbox.flyte_run(sdk, &["raises.py"]), plain_python(&sandbox, sdk, &["raises.py"]));
        assert_eq!(plain.code, 1, "{sdk}: {plain:?}");
        assert_eq!((ours.code, ours.text(), ours.stderr), (1, plain.text(), plain.stderr), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_syntax_error_is_shown_as_by_plain_python() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("broken.py", "import flyte\n\ndef fail(:\n    pass\n");
        let (ours, plain) = (sandbox.flyte_run(sdk, &["broken.py"]), plain_python(&sandbox, sdk, &["broken.py"]));
        assert_eq!(plain.code, 1, "{sdk}: {plain:?}");
        assert_eq!((ours.code, ours.text(), ours.stderr), (1, plain.text(), plain.stderr), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn pytest_runs_as_a_module_with_its_own_options_and_exit_codes() {
    for sdk in SDKS {
        let sandbox = sandbox();
        for (selected, code, summary) in [
            ("called or run", 0, "2 passed, 1 deselected"),
            ("fails or called", 1, "1 failed, 1 passed, 1 deselected"),
            ("nothing", 5, "3 deselected"),
        ] {
            let arguments =
                ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "test_tasks.py", "-k", selected];
            let ran = sandbox.flyte_run(sdk, &arguments);
            assert_eq!((ran.code, ran.stderr.as_str()), (code, ""), "{sdk} {selected}: {ran:?}");
            let last = ran.text().lines().last().expect("a summary").to_owned();
            assert!(last.starts_with(&format!("{summary} in ")), "{sdk} {selected}: {last}");
        }
    }
}
