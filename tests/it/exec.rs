//! `exec` replaces flyte-local by a command that gets secrets as variables and files.

#![allow(clippy::disallowed_methods, reason = "the rules on files are for the product")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Ran, Sandbox};

const MOUNTED: &str = "/etc/flyte/secrets";

/// Returns the command `flyte-local exec OPTIONS… -- sh -c SCRIPT`.
fn shell(sandbox: &Sandbox, options: &[&str], script: &str) -> Command {
    sandbox.command(&[&["exec"], options, &["--", "sh", "-c", script]].concat())
}

fn run(command: &mut Command) -> Ran {
    Ran::from(command.output().expect("flyte-local starts"))
}

/// Runs a script that must succeed, and returns its output. flyte-local itself must print nothing.
fn prints(sandbox: &Sandbox, options: &[&str], script: &str) -> String {
    let ran = run(&mut shell(sandbox, options, script));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{options:?}: {ran:?}");
    ran.text()
}

/// Asserts that flyte-local refuses the command with this exit code and these words, and does not start it.
fn refused(sandbox: &Sandbox, options: &[&str], code: i32, words: &[&str]) {
    let ran = run(&mut shell(sandbox, options, "touch started"));
    assert_eq!(ran.code, code, "{options:?}: {ran:?}");
    assert_eq!(ran.text(), "", "{options:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "{options:?} lacks {word:?}: {ran:?}");
    }
    assert!(!sandbox.work().join("started").exists(), "{options:?}");
}

#[test]
fn a_secret_becomes_a_variable() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "api-key", "one"]);
    sandbox.ok(&["create", "secret", "other", "--value", "two\nlines\n"]);
    assert_eq!(prints(&sandbox, &["--secret", "api-key"], "printenv API_KEY"), "one\n");
    assert_eq!(prints(&sandbox, &["--secret", "api-key=token"], "printenv token; printenv API_KEY || :"), "one\n");
    let several = ["--secret", "api-key", "--secret", "other", "--secret", "api-key=AGAIN"];
    assert_eq!(prints(&sandbox, &several, r#"printf %s "$API_KEY $OTHER $AGAIN""#), "one two\nlines\n one");
    let marker = "printenv FLYTE_SECRETS_ENV_PREFIX; printenv FLYTE_SECRETS_DEFAULT_DIR || :";
    assert_eq!(prints(&sandbox, &["--secret", "other"], marker), "_UNION_\n", "as a cluster sets it");
    let replaced = run(shell(&sandbox, &["--secret", "other"], "printenv OTHER").env("OTHER", "the caller's"));
    assert_eq!(replaced.text(), "two\nlines\n\n");
    let inherited = run(shell(&sandbox, &["--secret", "other"], "printenv MINE").env("MINE", "kept"));
    assert_eq!(inherited.text(), "kept\n");
}

#[test]
fn a_mounted_secret_is_a_file_that_only_the_command_sees() {
    let sandbox = Sandbox::new();
    let bytes = b"\0\xff\r\n".repeat(1000);
    sandbox.file("bytes", &bytes);
    sandbox.ok(&["create", "secret", "Bytes", "--from-file", "bytes"]);
    sandbox.ok(&["create", "secret", "text", "one"]);
    sandbox.ok(&["create", "secret", "unused", "two"]);
    let on_host = || Path::new(MOUNTED).exists();
    let before = on_host();
    let script = "cmp bytes /etc/flyte/secrets/Bytes && ls -A /etc/flyte/secrets && cat /etc/flyte/secrets/text";
    assert_eq!(prints(&sandbox, &["--mount", "Bytes", "--mount", "text"], script), "Bytes\ntext\none");
    let markers = "printenv FLYTE_SECRETS_DEFAULT_DIR; echo [$FLYTE_SECRETS_FILE_PREFIX]; echo [$TEXT]";
    assert_eq!(prints(&sandbox, &["--mount", "text"], markers), format!("{MOUNTED}\n[]\n[]\n"));
    let write = "(echo > /etc/flyte/secrets/text || rm /etc/flyte/secrets/text) 2>/dev/null || echo no";
    assert_eq!(prints(&sandbox, &["--mount", "text"], write), "no\n", "read-only, as on a cluster");
    let both = ["--mount", "text", "--secret", "unused", "--secret", "text=T"];
    assert_eq!(prints(&sandbox, &both, "cat /etc/flyte/secrets/text; printenv UNUSED T"), "onetwo\none\n");

    let mut command = shell(&sandbox, &["--mount", "text"], "cat /etc/flyte/secrets/text; echo; read line");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("flyte-local starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert_eq!(line, "one\n");
    assert!(!Path::new(MOUNTED).join("text").exists(), "the host sees it while the command runs");
    child.stdin.take().expect("piped").write_all(b"\n").expect("it waits");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(on_host(), before);
}

#[test]
fn all_injects_every_secret_that_the_project_and_domain_see() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "a-b", "organization"]);
    sandbox.ok(&["create", "secret", "c", "organization"]);
    sandbox.ok(&["create", "secret", "c", "project", "-p", "p"]);
    sandbox.ok(&["create", "secret", "hidden", "other", "-p", "other"]);
    let script = "echo $A_B $C $HIDDEN";
    assert_eq!(prints(&sandbox, &["--all"], script), "organization organization\n");
    assert_eq!(prints(&sandbox, &["--all", "-p", "p"], script), "organization project\n");
    assert_eq!(prints(&sandbox, &["--all", "-p", "other"], script), "organization organization other\n");
    assert_eq!(
        prints(&sandbox, &["--all", "--secret", "c=D"], "echo [$C] $D"),
        "[] organization\n",
        "a secret that is named is not injected twice"
    );

    sandbox.ok(&["create", "secret", "a_b", "two"]);
    refused(&sandbox, &["--all"], 1, &["secrets a-b and a_b would both be A_B", "--secret a_b=VAR"]);
    assert_eq!(prints(&sandbox, &["--all", "--secret", "a_b=VAR"], "echo $A_B $VAR"), "organization two\n");
    sandbox.ok(&["create", "secret", "1password", "three", "-d", "d"]);
    let digit = ["--all", "--secret", "a_b=VAR", "-d", "d"];
    refused(&sandbox, &digit, 1, &["secret 1password does not make a variable name", "--secret 1password=VAR"]);
    assert!(run(&mut shell(&Sandbox::new(), &["--all"], "true")).code == 0, "an empty vault is not an error");
}

/// `--all` injects each secret only once, so a mounted secret need not be text.
#[test]
fn all_leaves_out_mounted_secrets() {
    let sandbox = Sandbox::new();
    sandbox.file("bytes", b"\xff");
    sandbox.ok(&["create", "secret", "a", "one"]);
    sandbox.ok(&["create", "secret", "bytes", "--from-file", "bytes"]);
    let script = "cmp bytes /etc/flyte/secrets/bytes && echo $A [$BYTES]";
    assert_eq!(prints(&sandbox, &["--all", "--mount", "bytes"], script), "one []\n");
}

#[test]
fn values_that_cannot_be_variables_are_refused_with_a_hint() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "good", "one"]);
    sandbox.file("bytes", b"\xff");
    sandbox.ok(&["create", "secret", "bytes", "--from-file", "bytes"]);
    sandbox.file("nul", b"a\0b");
    sandbox.ok(&["create", "secret", "nul", "--from-file", "nul"]);
    refused(&sandbox, &["--secret", "bytes"], 1, &["secret bytes cannot", "not valid UTF-8", "--mount bytes"]);
    refused(&sandbox, &["--secret", "good", "--secret", "nul"], 1, &["secret nul cannot", "NUL byte", "--mount nul"]);
    refused(&sandbox, &["--all"], 1, &["secret bytes cannot", "--mount bytes"]);
    refused(&sandbox, &["--secret", "good=X", "--secret", "bytes=X", "--mount", "bytes"], 1, &["bytes cannot"]);
}

#[test]
fn variables_that_load_code_are_refused_unless_allowed() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "path", "/usr/bin:/bin"]);
    for name in ["PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONSTARTUP", "BASH_ENV", "NODE_OPTIONS"] {
        let secret = format!("path={name}");
        refused(&sandbox, &["--secret", &secret], 1, &[name, "--allow-loader-variables", "--secret path=VAR"]);
    }
    refused(&sandbox, &["--secret", "path"], 1, &["PATH changes how programs load"]);
    refused(&sandbox, &["--all"], 1, &["PATH changes how programs load"]);
    let allowed = ["--secret", "path=PYTHONPATH", "--allow-loader-variables"];
    assert_eq!(prints(&sandbox, &allowed, "printenv PYTHONPATH"), "/usr/bin:/bin\n");
}

#[test]
fn a_missing_secret_stops_the_command_from_starting() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "there", "one"]);
    sandbox.ok(&["create", "secret", "elsewhere", "two", "-p", "other", "-d", "d"]);
    let options = ["--secret", "there", "--secret", "gone", "-p", "p", "-d", "d"];
    let tried = "searched: project p, domain d; project p; domain d; organization";
    refused(
        &sandbox,
        &options,
        10,
        &["secret gone does not exist", tried, "create it: flyte-local create secret gone"],
    );
    refused(&sandbox, &["--mount", "gone"], 10, &["secret gone does not exist", "searched: organization"]);
    let hint = "see it: -p other -d d";
    refused(&sandbox, &["--secret", "elsewhere"], 10, &["it exists in: project other, domain d", hint]);
    let followed = ["--secret", "elsewhere", "-p", "other", "-d", "d"];
    assert_eq!(prints(&sandbox, &followed, "printenv ELSEWHERE"), "two\n");
}

#[test]
fn exec_requires_a_secret_and_a_command() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "a", "one"]);
    refused(&sandbox, &[], 2, &["--secret", "--mount", "--all"]);
    assert_eq!(sandbox.run(&["exec", "--secret", "a"]).code, 2);
    assert_eq!(sandbox.run(&["exec", "--secret", "a", "--"]).code, 2);
    assert_eq!(sandbox.run(&["exec", "--secret", "a", "true"]).code, 2, "the command comes after --");
}

#[test]
fn flags_beat_variables_and_variables_beat_the_configuration_file() {
    let sandbox = Sandbox::new();
    for (value, scope) in [
        ("organization", &[][..]),
        ("domain", &["-d", "d"]),
        ("project", &["-p", "p"]),
        ("both", &["-p", "p", "-d", "d"]),
        ("other", &["-p", "other"]),
    ] {
        sandbox.ok(&[&["create", "secret", "a", value], scope].concat());
    }
    let seen = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command = shell(&sandbox, &[&["--secret", "a"], flags].concat(), "printf %s $A");
        run(command.envs(variables.iter().copied())).text()
    };
    let (project, domain) = (("FLYTE_LOCAL_PROJECT", "p"), ("FLYTE_LOCAL_DOMAIN", "d"));
    assert_eq!(seen(&[], &[]), "organization");
    assert_eq!(seen(&[], &["-d", "d"]), "domain");
    assert_eq!(seen(&[], &["-p", "p"]), "project");
    assert_eq!(seen(&[], &["-p", "p", "-d", "d"]), "both");
    assert_eq!(seen(&[], &["-p", "p", "-d", "unknown"]), "project", "a project scope beats a domain scope");
    assert_eq!(seen(&[], &["-p", "unknown", "-d", "d"]), "domain");
    assert_eq!(seen(&[project, domain], &[]), "both");
    assert_eq!(seen(&[project], &["-d", "d"]), "both", "project and domain are looked up separately");
    assert_eq!(seen(&[project], &["-p", "other"]), "other", "a flag beats a variable");

    let config = sandbox.home().join(".config/flyte-local/config.toml");
    let mut file = std::fs::File::create(config).expect("its directory is there");
    file.write_all(b"project = \"p\"\ndomain = \"d\"\n").expect("written");
    assert_eq!(seen(&[], &[]), "both");
    assert_eq!(seen(&[("FLYTE_LOCAL_PROJECT", "other")], &[]), "other", "a variable beats the configuration file");
    assert_eq!(seen(&[("FLYTE_LOCAL_PROJECT", "")], &["-d", "x"]), "project", "an empty variable does not count");
}

#[test]
fn the_command_replaces_the_process_of_flyte_local() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "a", "one"]);
    for options in [["--secret", "a"], ["--mount", "a"]] {
        let mut command = shell(&sandbox, &options, "echo $$");
        let child = command.stdout(Stdio::piped()).spawn().expect("flyte-local starts");
        let id = child.id();
        let ran = Ran::from(child.wait_with_output().expect("it ends"));
        assert_eq!(ran.text(), format!("{id}\n"), "{options:?}");

        for code in [0, 1, 2, 10, 14, 42, 125, 126, 127, 128, 143, 255] {
            assert_eq!(run(&mut shell(&sandbox, &options, &format!("exit {code}"))).code, code);
        }
        for signal in [1, 2, 9, 15] {
            let status = shell(&sandbox, &options, &format!("kill -{signal} $$")).status().expect("it starts");
            assert_eq!(status.signal(), Some(signal), "{options:?}");
        }
    }
}

#[test]
fn the_command_inherits_what_it_would_without_flyte_local() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "a", "one"]);
    // Only signals 1 to 28 are compared: glibc itself uses some of the highest.
    let script =
        "ls /proc/self/fd; awk '/^Sig(Blk|Ign)/ { print $1, substr($2, 10) }' /proc/self/status; umask; pwd; id";
    let plain = run(sandbox.program("sh").args(["-c", script]));
    for options in [["--secret", "a"], ["--mount", "a"]] {
        assert_eq!(prints(&sandbox, &options, script), plain.text(), "{options:?}");
    }
    let mut command = shell(&sandbox, &["--secret", "a"], "cat");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("flyte-local starts");
    child.stdin.take().expect("piped").write_all(b"for \0 the command").expect("it reads");
    assert_eq!(child.wait_with_output().expect("it ends").stdout, b"for \0 the command");
}

#[test]
fn a_command_that_cannot_run_has_the_exit_code_of_a_shell() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "a", "one"]);
    sandbox.file("text", "no program");
    std::fs::create_dir(sandbox.work().join("directory")).expect("made");
    for (program, code) in
        [("no-such-command", 127), ("./no/such", 127), ("", 127), ("./text", 126), ("./directory", 126)]
    {
        let ran = sandbox.run(&["exec", "--secret", "a", "--", program]);
        assert_eq!(ran.code, code, "{program:?}: {ran:?}");
        assert!(ran.stderr.starts_with(&format!("error: cannot run {program}\ncaused by: ")), "{ran:?}");
        assert!(!ran.stderr.contains("one"), "{ran:?}");
    }
}
