//! `flyte-local run`: the Python process: the signals that it gets and ignores, forks, and a module as the main one.
//!
//! No test waits for a fixed time: the script says when it is ready.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::support::{FLYTE_LOCAL, Ran, SDKS, Sandbox, python, require};
use rustix::process::{Pid, Signal, kill_process};

/// A run whose script has printed that it is ready, and waits for its standard input to end.
struct Ready {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Ready {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stdin = child.stdin.take().expect("piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Self { child, stdin, stdout }
    }

    /// Sends a signal to the started process, which is flyte-local because each command before it execs the next.
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Returns the result. Standard input ends before or after the wait.
    fn end(mut self, stdin_ends: bool) -> Ran {
        let mut stdin = Some(self.stdin);
        if stdin_ends {
            stdin = None;
        }
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).expect("read");
        let output = self.child.wait_with_output().expect("it ends");
        drop(stdin);
        let ran = Ran::from(output);
        Ran { stdout: rest, ..ran }
    }
}

/// `program WORDS… flyte-local run --python PYTHON ARGUMENTS…`
fn through(sandbox: &Sandbox, words: &[&str], sdk: &str, arguments: &[&str]) -> Command {
    let mut command = sandbox.program(words[0]);
    command.args(&words[1..]).args([FLYTE_LOCAL, "run", "--python"]).arg(python(sdk)).args(arguments);
    command
}

fn plain_python(sandbox: &Sandbox, sdk: &str, arguments: &[&str]) -> Ran {
    Ran::from(sandbox.program(python(sdk)).args(arguments).output().expect("Python starts"))
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn flyte_local_and_python_ignore_a_hangup_under_nohup() {
    let script = "
import sys
import flyte

if __name__ == '__main__':
    print('ready', flush=True)
    sys.stdin.read()
    with open('/proc/self/status') as status:
        ignored = next(int(line.split()[1], 16) for line in status if line.startswith('SigIgn'))
    # SIGHUP is signal 1, SIGUSR1 signal 10.
    print(bool(ignored & 1), bool(ignored & 1 << 9))
    sys.exit(5)
";
    for sdk in SDKS {
        for (trap, ignored) in [("trap '' HUP; ", "True False\n"), ("", "False False\n")] {
            let sandbox = Sandbox::new();
            sandbox.file("script.py", script);
            let shell = format!("{trap}exec \"$0\" \"$@\"");
            let run = Ready::start(through(&sandbox, &["sh", "-c", &shell], sdk, &["script.py"]));
            if !trap.is_empty() {
                run.signal(Signal::HUP);
            }
            let ran = run.end(true);
            assert_eq!((ran.code, ran.text().as_str()), (5, ignored), "{sdk} {trap}: {ran:?}");
        }
    }
}

/// An `env` command that starts another with SIGCHLD ignored, which a shell cannot do.
fn ignoring_sigchld() -> [&'static str; 2] {
    require("env", "coreutils");
    ["env", "--ignore-signal=CHLD"]
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_exit_code_is_kept_when_sigchld_is_ignored() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("script.py", "import sys\nif __name__ == '__main__':\n    sys.exit(int(sys.argv[1]))\n");
        for code in [0, 3] {
            let arguments = ["script.py", "--", &code.to_string()];
            let mut command = through(&sandbox, &ignoring_sigchld(), sdk, &arguments);
            let ran = Ran::from(command.output().expect("env starts"));
            assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (code, "", ""), "{sdk}");
        }
    }
}

#[test]
fn file_secrets_work_when_sigchld_is_ignored() {
    let sandbox = Sandbox::new();
    sandbox.secret("a", "one", &[]);
    let [program, option] = ignoring_sigchld();
    let mut command = sandbox.program(program);
    command.args([option, FLYTE_LOCAL, "exec", "--mount", "a", "--", "cat", "/etc/flyte/secrets/a"]);
    let ran = Ran::from(command.output().expect("env starts"));
    assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (0, "one", ""));
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn without_a_terminal_an_interrupt_is_passed_on() {
    let script = "
import faulthandler
import sys
import flyte

if __name__ == '__main__':
    # Not a wait for a time: the longest that a failing test may take.
    faulthandler.dump_traceback_later(60, exit=True)
    try:
        print('ready', flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        print('interrupted', flush=True)
        raise
";
    // A new session has no terminal, even if the tester has one.
    require("setsid", "util-linux");
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("script.py", script);
        let run = Ready::start(through(&sandbox, &["setsid"], sdk, &["script.py"]));
        run.signal(Signal::INT);
        let ran = run.end(false);
        // The SDK writes a part of the traceback after it.
        assert_eq!((ran.code, ran.text().lines().next()), (130, Some("interrupted")), "{sdk}: {ran:?}");
    }
}

#[test]
fn a_signal_while_python_starts_ends_it_silently() {
    let sandbox = Sandbox::new().with_tasks();
    // An interpreter that never answers. The shell writes it, because a file that another test's forked process has open for
    // writing cannot be executed.
    let write = "mkfifo fifo && printf '#!/bin/sh\\necho ready\\nread line < fifo\\n' > stand-in && chmod +x stand-in";
    assert!(sandbox.program("sh").args(["-c", write]).status().expect("sh starts").success());
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let run = Ready::start(sandbox.command(&["run", "--python", "./stand-in", "single.py"]));
        run.signal(signal);
        let ran = run.end(false);
        assert_eq!((ran.code, ran.text().as_str(), ran.stderr.as_str()), (code, "", ""), "{signal:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn declaring_in_a_forked_child_gives_it_no_new_secrets() {
    let script = "
import multiprocessing
import os
import flyte

env = flyte.TaskEnvironment(name='parent', secrets='of-parent')

def declare(_):
    import declaring
    return declaring.env.name, os.environ['OF_PARENT'], os.environ.get('OF_CHILD')

if __name__ == '__main__':
    with multiprocessing.get_context('fork').Pool(1) as pool:
        print(pool.map(declare, range(2)))
    # The parent still gets new secrets.
    import declaring
    print(os.environ['OF_CHILD'])
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.secret("of-parent", "one", &[]);
        sandbox.secret("of-child", "two", &[]);
        sandbox.file("script.py", script);
        // Not a constant, because the parent would have got a constant's secret with the script.
        let declaring =
            "import flyte\n\nenv = flyte.TaskEnvironment(name='child', secrets='-'.join(['of', 'child']))\n";
        sandbox.file("declaring.py", declaring);
        let ran = sandbox.flyte_run(sdk, &["script.py"]);
        let child = "('child', 'one', None)";
        let expected = format!("[{child}, {child}]\ntwo\n");
        assert_eq!((ran.code, ran.text(), ran.stderr.as_str()), (0, expected, ""), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_module_stays_the_main_module_until_exit() {
    let module = "
import atexit
import pickle
import sys
import threading

class Own:
    pass

def is_main():
    main = sys.modules['__main__']
    return main.__dict__ is globals(), main.Own is Own, __spec__.name

def after_main():
    # After the main thread, which can be joined, has ended.
    threading.main_thread().join()
    print('thread', *is_main())

atexit.register(lambda: print('atexit', *is_main()))

if __name__ == '__main__':
    print(sys.argv, *is_main())
    print(type(pickle.loads(pickle.dumps(Own()))) is Own, pickle.dumps(Own()))
    threading.Thread(target=after_main).start()
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("package/__init__.py", "");
        sandbox.file("package/module.py", module);
        let arguments = ["-m", "package.module", "-x", "--", "a"];
        let (ours, plain) = (sandbox.flyte_run(sdk, &arguments), plain_python(&sandbox, sdk, &arguments));
        let own_path = sandbox.work().join("package/module.py");
        let first = format!("['{}', '-x', '--', 'a'] True True package.module\n", own_path.display());
        assert!(plain.code == 0 && plain.text().starts_with(&first), "{sdk}: {plain:?}");
        assert!(
            plain.text().ends_with("\nthread True True package.module\natexit True True package.module\n"),
            "{sdk}"
        );
        assert_eq!((ours.code, ours.text(), ours.stderr), (plain.code, plain.text(), plain.stderr), "{sdk}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_module_that_cannot_be_run_fails_as_under_plain_python() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.file("package/__init__.py", "");
        for module in ["nosuch", "nosuch.below", "package", "package.nosuch"] {
            let (ours, plain) = (sandbox.flyte_run(sdk, &["-m", module]), plain_python(&sandbox, sdk, &["-m", module]));
            assert_eq!(plain.code, 1, "{sdk} {module}: {plain:?}");
            assert_eq!((ours.code, ours.text(), &ours.stderr), (1, String::new(), &plain.stderr), "{sdk} {module}");
            if module == "nosuch" {
                assert!(ours.stderr.ends_with(": No module named nosuch\n"), "{sdk}: {ours:?}");
            }
        }
    }
}
