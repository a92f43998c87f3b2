//! `export`: the format's usual readers and `import` read back each value byte for byte, and values that a format
//! cannot hold are refused. A terminal shows values only with `--reveal`.

#![allow(clippy::disallowed_methods, reason = "tests look at files as any program could")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{FLYTE_LOCAL, Ran, Random, Sandbox, python, secret_id, tally};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flyte_local::secret::{SecretName, SecretType, SecretValue};
use flyte_local::transfer::{
    Entry, FirstErrors, FormatError, SpecialNames, SyntaxError, dotenv, json, kubernetes, shell, yaml,
};
use zeroize::Zeroizing;

type Secrets = Vec<(SecretName, SecretValue)>;
type Values = BTreeMap<String, Vec<u8>>;

const KINDS: [&str; 4] = ["dotenv", "json", "shell", "kubernetes"];

fn render(kind: &str, secrets: &Secrets) -> Result<Zeroizing<Vec<u8>>, Vec<FormatError>> {
    match kind {
        "dotenv" => dotenv::render(secrets, SpecialNames::Refused),
        "json" => json::render(secrets),
        "shell" => shell::render(secrets, SpecialNames::Refused),
        _ => kubernetes::render("flyte-local", secrets),
    }
}

/// Returns whether a format can hold a secret, by the format's documentation.
fn holds(kind: &str, name: &str, value: &[u8]) -> bool {
    let text = std::str::from_utf8(value);
    let is_text = text.is_ok();
    let is_variable = !name.contains('-') && !name.starts_with(|c: char| c.is_ascii_digit()) && name != "_";
    match kind {
        "dotenv" => is_variable && text.is_ok_and(env_files_hold),
        "json" => is_text,
        "shell" => is_variable && !value.contains(&0),
        _ => true,
    }
}

/// Returns whether a `.env` file can hold a value, by the documentation. The random values have no `${` but `${A}`.
fn env_files_hold(value: &str) -> bool {
    let is_altered = value.contains(['\0', '\r']) || value.contains("${A}");
    let has_both = value.contains('\'') && value.contains(['"', '$', '`', '\\']);
    !is_altered && !has_both && !value.contains("\\\\") && !value.ends_with('\\')
}

/// Returns random bytes: text with characters that formats treat specially and, less often, bytes that are not UTF-8.
fn bytes(random: &mut Random) -> Vec<u8> {
    const PIECES: [&[u8]; 30] = [
        b"a",
        b"Z0",
        b" ",
        b"\t",
        b"\n",
        b"\r",
        b"\r\n",
        b"'",
        b"\"",
        b"\\",
        b"\\n",
        b"#",
        b" #",
        b"=",
        b"$A",
        b"${A}",
        b"`",
        b"$(id)",
        b"!",
        b"\0",
        b"\xff",
        b"\xc3\xa9",
        b"\xe2\x80\xa8",
        b"\xef\xbb\xbf",
        b"\xf0\x9f\x94\x91",
        b"\x1b",
        b"\xc2\x85",
        b"\xed\xa0\x80",
        b"-",
        b"\x7f",
    ];
    // Most values have no zero bytes and are valid UTF-8, because few formats hold the others.
    let pieces: Vec<_> = match random.below(4) {
        0 => PIECES.to_vec(),
        _ => PIECES.into_iter().filter(|piece| std::str::from_utf8(piece).is_ok() && !piece.contains(&0)).collect(),
    };
    let length = random.below(12);
    (0..length).flat_map(|_| pieces[random.below(pieces.len() as u64) as usize].to_vec()).collect()
}

fn secrets(random: &mut Random) -> Secrets {
    let names = ["A", "b_c", "_", "null", "yes", "export", "a-b", "1", "-"];
    let count = random.below(names.len() as u64 + 1) as usize;
    let value = |random: &mut Random| SecretValue::new(bytes(random).into()).expect("small");
    names[..count].iter().map(|name| (name.parse().expect("good"), value(random))).collect()
}

fn values(secrets: &Secrets) -> Values {
    secrets.iter().map(|(name, value)| (name.to_string(), value.expose().to_vec())).collect()
}

fn entries(parsed: Result<Vec<Entry>, FirstErrors<SyntaxError>>) -> Values {
    let entries = parsed.unwrap_or_else(|malformed| panic!("{malformed:?}"));
    entries.into_iter().map(|e| (e.name.to_string(), e.value.expect("a value").as_bytes().to_vec())).collect()
}

/// Returns the values that the formats' usual readers find in files.
fn usual_readers(files: &[(&str, PathBuf)]) -> Vec<Values> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/export_reader.py");
    let mut command = Command::new(python("newest"));
    let mut child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
    let lines: String = files.iter().map(|(kind, path)| format!("{kind} {}\n", path.display())).collect();
    let mut input = child.stdin.take().expect("piped");
    let asking = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    asking.join().expect("no panic").expect("written");
    assert!(output.status.success());
    let decoded = |values: BTreeMap<String, String>| {
        values.into_iter().map(|(name, value)| (name, BASE64_STANDARD.decode(value).expect("base64"))).collect()
    };
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().map(|line| decoded(serde_json::from_str(line).expect("JSON"))).collect()
}

/// Returns the variables that a shell has after it sourced each script in a separate subshell.
fn shell_reads(files: &[(PathBuf, Vec<String>)]) -> Vec<Values> {
    let one = |(path, names): &(PathBuf, Vec<String>)| {
        let prints: String = names.iter().map(|name| format!("printf '%s\\0' \"${name}\"; ")).collect();
        format!("(. {}; {prints})\n", path.display())
    };
    let script: String = files.iter().map(one).collect();
    let output = Command::new("sh").args(["-c", &script]).env("LC_ALL", "C").output().expect("sh starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&output.stderr));
    let mut printed = output.stdout.split(|&byte| byte == 0);
    let read = |name: &String| (name.clone(), printed.next().expect("printed").to_vec());
    let mut read = read;
    files.iter().map(|(_, names)| names.iter().map(&mut read).collect()).collect()
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn values_that_a_format_can_hold_come_back_and_others_are_refused() {
    let count = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 20_000 } else { 500 };
    let mut random = Random::seeded();
    let keep = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let (mut files, mut originals, mut scripts, mut in_shells) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut refused = 0;
    for index in 0..count {
        let all = secrets(&mut random);
        for kind in KINDS {
            let fits = |(name, value): &&(SecretName, SecretValue)| holds(kind, name.as_str(), value.expose());
            let copy = |(name, value): &(SecretName, SecretValue)| {
                let value = SecretValue::new(value.expose().to_vec().into()).expect("as small as the original");
                (name.clone(), value)
            };
            let fitting: Secrets = all.iter().filter(fits).map(copy).collect();
            let unfit = render(kind, &all).map_or_else(|unfit| unfit, |_| Vec::new());
            let named: Vec<_> = unfit.iter().map(|unfit| &unfit.name).collect();
            let expected: Vec<_> = all.iter().filter(|secret| !fits(secret)).map(|(name, _)| name).collect();
            assert_eq!(named, expected, "{kind}");
            refused += unfit.len();

            let file = render(kind, &fitting).expect("each fits");
            let original = values(&fitting);
            match kind {
                "dotenv" => assert_eq!(entries(dotenv::parse(&file)), original),
                // JSON is YAML except for escaped surrogate pairs, which we do not write.
                "json" => {
                    assert_eq!(entries(json::parse(&file)), original);
                    assert_eq!(entries(yaml::parse(&file)), original);
                }
                _ => {}
            }
            let path = keep.path().join(format!("{index}-{kind}"));
            std::fs::write(&path, &*file).expect("written");
            if kind == "shell" {
                scripts.push((path, original.keys().cloned().collect()));
                in_shells.push(original);
            } else {
                files.push((kind, path));
                originals.push(original);
            }
        }
    }
    for ((read, original), (kind, path)) in usual_readers(&files).iter().zip(&originals).zip(&files) {
        assert_eq!(read, original, "{kind} {}", path.display());
    }
    let in_batches = scripts.chunks(100).flat_map(shell_reads);
    for (read, original) in in_batches.zip(&in_shells) {
        assert_eq!(&read, original);
    }
    let written: usize = originals.iter().chain(&in_shells).map(Values::len).sum();
    tally(&format!(
        "export: {written} values in 4 formats, read back by python-dotenv, Python's json, PyYAML, sh and import; \
         {refused} that a format cannot hold, refused"
    ));
}

/// Returns the variables that a shell sets when it starts without any.
fn variables_of(shell: &str, list: &str) -> Vec<String> {
    let output = Command::new(shell).args(["-c", list]).env_clear().output().expect("the shell starts");
    let text = String::from_utf8(output.stdout).expect("names");
    let names = text.lines().filter_map(|line| line.split('=').next());
    // A value may continue on the next line, which is then not a variable's name.
    names.filter(|name| name.parse::<SecretName>().is_ok()).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs Bash: scripts/test"]
fn variables_that_a_shell_acts_on_are_refused() {
    crate::support::require("bash", "bash");
    let refused = |name: &str| {
        let secret = (name.parse().expect("good"), SecretValue::new(b"x".to_vec().into()).expect("small"));
        shell::render(&[secret], SpecialNames::Refused).is_err()
    };
    let (bash, sh) = (variables_of("bash", "compgen -v; echo PS0"), variables_of("sh", "set"));
    assert!(bash.iter().any(|name| name == "EUID") && sh.iter().any(|name| name == "PS4"), "{bash:?} {sh:?}");
    for name in bash.iter().chain(&sh) {
        assert!(refused(name), "{name}");
    }
    // Variables of interactive shells, and of zsh, which may not be installed.
    for name in ["PROMPT_COMMAND", "CDPATH", "HISTFILE", "HOME", "PROMPT", "RPS1", "USERNAME", "path", "status"] {
        assert!(refused(name), "{name}");
    }
    for name in ["HOST", "USER", "PASSWORD", "API_KEY", "LANG", "UIDS", "PS", "ps1", "HTTP_PROXIES"] {
        assert!(!refused(name), "{name}");
    }

    let sandbox = Sandbox::new();
    sandbox.secret("PS1", "$(touch ran)> ", &[]);
    let script = format!("eval \"$({FLYTE_LOCAL} export --format shell)\"");
    let mut bash = sandbox.program("bash");
    bash.args(["--norc", "-i"]).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut bash = bash.spawn().expect("it starts");
    bash.stdin.take().expect("piped").write_all(format!("{script}\n:\n").as_bytes()).expect("it reads");
    bash.wait().expect("it ends");
    assert!(!sandbox.work().join("ran").exists(), "a secret ran as a command");
}

#[test]
fn an_exported_and_imported_vault_has_the_same_values() {
    let mut random = Random::seeded();
    let (from, to) = (Sandbox::new(), Sandbox::new());
    let mut vault = from.open_vault();
    let mut values = Values::new();
    for index in 0..20 {
        let bytes = loop {
            let bytes = bytes(&mut random);
            if holds("dotenv", "n", &bytes) {
                break bytes;
            }
        };
        let place = format!("project/p/n{index}");
        let value = SecretValue::new(bytes.clone().into()).expect("small");
        vault
            .writer()
            .expect("writable")
            .create_secret(&secret_id(&place), SecretType::Regular, &value)
            .expect("created");
        values.insert(place, bytes);
    }
    for (kind, name) in [("dotenv", ".env"), ("json", "x.json"), ("json", "x.yaml")] {
        let path = to.work().join(name);
        from.ok(&["export", "-p", "p", "--format", kind, "-o", path.to_str().expect("UTF-8")]);
        let ran = to.run(&["import", name, "-p", "p"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        for (place, value) in &values {
            assert_eq!(to.value(place).as_ref(), Some(value), "{kind}: {place}");
        }
        std::fs::remove_dir_all(to.vault().join("secrets")).expect("removed");
        to.ok(&["update", "vault", "--accept-older"]);
    }
}

#[test]
#[ignore = "needs the Flyte SDKs, Python and script: scripts/test"]
fn a_terminal_shows_values_only_with_reveal() {
    crate::support::require("script", "bsdutils");
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "a", "hunter2"]);
    let on_a_terminal = |arguments: &str| {
        let mut command = sandbox.program("script");
        Ran::from(
            command.args(["-qec", &format!("{FLYTE_LOCAL} {arguments}"), "/dev/null"]).output().expect("it starts"),
        )
    };
    let refused = on_a_terminal("export");
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(!refused.all().contains("hunter2") && refused.text().contains("--reveal"), "{refused:?}");
    let shown = on_a_terminal("export --reveal");
    assert_eq!((shown.code, shown.text().as_str()), (0, "a=hunter2\r\n"));
    let written = on_a_terminal("export -o file");
    assert_eq!(written.code, 0, "{written:?}");
    assert!(!written.all().contains("hunter2"), "{written:?}");
    assert_eq!(std::fs::read(sandbox.work().join("file")).expect("written"), b"a=hunter2\n");
}

#[test]
fn image_pull_secrets_are_left_out_unless_they_are_named() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "a", "hunter2"]);
    let value = SecretValue::new(b"{}".to_vec().into()).expect("small");
    sandbox
        .open_vault()
        .writer()
        .expect("writable")
        .create_secret(&secret_id("org/pull"), SecretType::ImagePull, &value)
        .expect("created");
    for options in [&[][..], &["--effective"], &["--effective", "-p", "p"]] {
        let all = sandbox.run(&[&["export"], options].concat());
        assert_eq!((all.code, all.text().as_str()), (0, "a=hunter2\n"), "{all:?}");
        assert!(all.stderr.contains("left out pull, an image pull secret"), "{all:?}");
        let named = sandbox.run(&[&["export", "pull"], options].concat());
        assert_eq!((named.code, named.text().as_str(), named.stderr.as_str()), (0, "pull='{}'\n", ""));
    }
}

#[test]
fn a_kubernetes_secret_holds_a_mebibyte() {
    let value = |length: usize| SecretValue::new(vec![b'x'; length].into()).expect("small");
    let name = |name: &str| name.parse().expect("good");
    let two = |length| vec![(name("a"), value(1 << 19)), (name("b"), value(length))];
    assert!(kubernetes::render("x", &two(1 << 19)).is_ok());
    let unfit = kubernetes::render("x", &two((1 << 19) + 1)).expect_err("one byte more");
    assert_eq!(unfit[0].name, name("b"));
    for (text, is_good) in
        [("a", true), ("a.b-c.1", true), ("", false), ("A", false), ("-a", false), ("a-", false), ("a..b", false)]
    {
        assert_eq!(kubernetes::is_name(text), is_good, "{text}");
    }
    assert!(kubernetes::is_name(&"a".repeat(253)) && !kubernetes::is_name(&"a".repeat(254)));
}
