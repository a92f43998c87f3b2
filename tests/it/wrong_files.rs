//! Files that git, an editor or another system changed: the error names the cause, and its hint mends the file.

#![allow(clippy::disallowed_methods, reason = "tests write files as any program could")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::{Ran, Sandbox, regressions, require};
use serde::Deserialize;

/// A file of `tests/regressions/wrong_files.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrongFile {
    why: String,
    places: Vec<String>,
    #[serde(default)]
    text: String,
    #[serde(default)]
    encoding: Option<String>,
    /// How it is made of the file of a real secret.
    #[serde(default)]
    made: Option<String>,
    says: String,
    #[serde(default)]
    hint: String,
}

impl WrongFile {
    fn bytes(&self, secret: &[u8]) -> Vec<u8> {
        let units = self.text.encode_utf16();
        match (self.made.as_deref(), self.encoding.as_deref()) {
            (Some(made), _) => made_of(secret, made),
            (None, None) => self.text.clone().into_bytes(),
            (None, Some("UTF-16LE")) => units.flat_map(u16::to_le_bytes).collect(),
            (None, Some("UTF-16BE")) => units.flat_map(u16::to_be_bytes).collect(),
            // Each of its characters is in Latin-1, of which Windows-1252 keeps the letters.
            (None, Some("WINDOWS-1252")) => self.text.chars().map(|c| u8::try_from(c).expect("in Latin-1")).collect(),
            (None, Some(other)) => panic!("the encoding {other} is not known"),
        }
    }
}

/// Makes a wrong file of a secret's file.
fn made_of(secret: &[u8], made: &str) -> Vec<u8> {
    let version = secret.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
    let (version, rest) = secret.split_at(version);
    match made {
        "secret" => secret.to_vec(),
        "crlf" => secret.iter().flat_map(|&byte| if byte == b'\n' { vec![b'\r', b'\n'] } else { vec![byte] }).collect(),
        "conflict" => [version, b"<<<<<<< HEAD\n", rest, b"\n=======\n", rest, b"\n>>>>>>> theirs\n"].concat(),
        "armored" => {
            use base64::Engine;
            let text = base64::engine::general_purpose::STANDARD.encode(secret);
            let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| [line, b"\n"].concat()).collect();
            [&b"-----BEGIN AGE ENCRYPTED FILE-----\n"[..], &lines.concat(), b"-----END AGE ENCRYPTED FILE-----\n"]
                .concat()
        }
        other => panic!("nothing is made by {other}"),
    }
}

/// A place for a file: its path, the arguments of a command that reads it, and the exit code if that cannot be done.
struct Place {
    path: PathBuf,
    arguments: Vec<&'static str>,
    code: i32,
}

fn place(sandbox: &Sandbox, name: &str) -> Place {
    let reveal = ["get", "secret", "s", "--reveal"];
    let work = |name: &str| sandbox.work().join(name);
    let (path, arguments, code) = match name {
        "secret" => (sandbox.secret_file("org/s"), reveal.to_vec(), 13),
        "vault.toml" => (sandbox.vault().join("vault.toml"), reveal.to_vec(), 13),
        "identity" => (work("id.txt"), [&["--identity", "id.txt"], &reveal[..]].concat(), 1),
        "author" => (sandbox.author(), vec!["create", "secret", "t", "a value"], 1),
        "config.toml" => (sandbox.identity().with_file_name("config.toml"), reveal.to_vec(), 1),
        "recipients" => (work("keys"), vec!["create", "recipient", "--from-file", "keys", "--name", "bob"], 1),
        ".env" => (work(".env"), vec!["import", ".env"], 1),
        "docker" => (
            work("docker.json"),
            vec![
                "create",
                "secret",
                "d",
                "--type=image_pull",
                "--from-docker-config",
                "--docker-config-path=docker.json",
            ],
            1,
        ),
        other => panic!("there is no place {other}"),
    };
    Place { path, arguments, code }
}

/// Writes a file for its owner alone, as a file of keys must be.
fn write(path: &PathBuf, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("written");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("ours");
}

/// Returns the commands that a hint of `ran` gives after its first colon.
fn hinted(ran: &Ran, word: &str) -> String {
    let line = ran.stderr.lines().find(|line| line.starts_with("hint: ") && line.contains(word));
    let line = line.unwrap_or_else(|| panic!("no hint has {word}: {ran:?}"));
    line.splitn(3, ": ").nth(2).expect("a command").to_owned()
}

fn shell(sandbox: &Sandbox, command: &str) -> Ran {
    Ran::from(sandbox.program("sh").args(["-c", command]).output().expect("sh starts"))
}

#[test]
fn a_file_in_a_wrong_form_is_named_for_what_it_is() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "its value"]);
    let secret = std::fs::read(sandbox.secret_file("org/s")).expect("just written");
    for case in regressions::<WrongFile>("wrong_files") {
        for name in &case.places {
            let Place { path, arguments, code } = place(&sandbox, name);
            let good = std::fs::read(&path).ok();
            write(&path, &case.bytes(&secret));
            let ran = sandbox.run(&arguments);
            let what = format!("{} in the place of {name}: {ran:?}", case.why);
            assert_eq!(ran.code, code, "{what}");
            let first = ran.stderr.split("\nhint: ").next().unwrap_or_default();
            assert!(first.contains(&case.says), "{}: {what}", case.says);
            assert!(ran.stderr.contains(&case.hint), "{}: {what}", case.hint);
            assert!(!ran.all().contains("hunter2"), "{what}");
            match good {
                Some(good) => write(&path, &good),
                None => std::fs::remove_file(&path).expect("just written"),
            }
        }
    }
    assert_eq!(sandbox.value("org/s").as_deref(), Some(&b"its value"[..]));
}

#[test]
fn an_empty_env_file_is_told_and_imports_nothing() {
    let sandbox = Sandbox::new();
    write(&sandbox.work().join(".env"), b"");
    let ran = sandbox.run(&["import", ".env"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.starts_with("flyte-local: .env is empty\n"), "{ran:?}");
}

#[test]
fn an_empty_file_that_no_backup_has_is_not_to_be_restored() {
    let sandbox = Sandbox::new();
    write(&sandbox.work().join("keys"), b"");
    for (file, hint) in [("keys", "write each public key on a line of it"), ("/dev/null", "write each public key")] {
        let ran = sandbox.run(&["create", "recipient", "--from-file", file, "--name", "bob"]);
        assert!(ran.code == 1 && ran.stderr.contains(&format!("hint: {hint}")), "{file}: {ran:?}");
        assert!(!ran.stderr.contains("backup"), "{file}: {ran:?}");
    }
    for arguments in [
        &["--identity", "/dev/null", "get", "secret", "s", "--reveal"][..],
        &["create", "secret", "d", "--type=image_pull", "--from-docker-config", "--docker-config-path=/dev/null"],
    ] {
        let ran = sandbox.run(arguments);
        assert!(ran.code != 0 && !ran.stderr.contains("backup"), "{ran:?}");
    }
}

#[test]
fn the_hint_for_another_encoding_makes_the_file_readable() {
    require("iconv", "libc-bin");
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for (bytes, word, value) in [
        (utf16("\u{feff}A='größe'\n"), "UTF-16", "größe"),
        (utf16("A='größe'\n"), "UTF-16LE", "größe"),
        (b"A='gr\xf6\xdfe'\n".to_vec(), "WINDOWS-1252", "größe"),
        (b"A='5 \x80'\n".to_vec(), "WINDOWS-1252", "5 €"),
    ] {
        let sandbox = Sandbox::new();
        write(&sandbox.work().join(".env"), &bytes);
        let refused = sandbox.run(&["import", ".env"]);
        let command = hinted(&refused, word);
        let mended = shell(&sandbox, &command);
        assert_eq!(mended.code, 0, "{command}: {mended:?}");
        sandbox.ok(&["import", ".env"]);
        assert_eq!(sandbox.value("org/A").as_deref(), Some(value.as_bytes()), "{command}");
    }
}

#[test]
fn the_hints_for_an_identity_with_a_mark_and_an_armored_secret_mend_them() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "its value"]);
    let identity = sandbox.identity();
    let key = std::fs::read(&identity).expect("there is one");
    write(&identity, &[b"\xef\xbb\xbf", &key[..]].concat());
    let file = sandbox.secret_file("org/s");
    let secret = std::fs::read(&file).expect("just written");
    write(&file, &made_of(&secret, "armored"));
    for word in ["remove the mark", "binary form"] {
        let refused = sandbox.run(&["get", "secret", "s", "--reveal"]);
        let mended = shell(&sandbox, &hinted(&refused, word));
        assert_eq!(mended.code, 0, "{word}: {mended:?}");
    }
    assert_eq!((std::fs::read(&identity).ok(), std::fs::read(&file).ok()), (Some(key), Some(secret)));
    assert_eq!(sandbox.ok(&["get", "secret", "s", "--reveal"]), b"its value");
}

#[test]
#[ignore = "needs Git: scripts/test"]
fn the_hints_for_git_mend_a_conflict_and_converted_line_ends() {
    require("git", "git");
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "its value"]);
    let (vault, file) = (sandbox.vault(), sandbox.secret_file("org/s"));
    // Without a zero byte, git takes a file for text.
    let write = |value: &str| {
        while {
            sandbox.ok(&["update", "secret", "s", value]);
            std::fs::read(&file).expect("just written").contains(&0)
        } {}
    };
    let git = |command: &str| {
        let path = vault.display();
        let ran = shell(&sandbox, &format!("git -C {path} -c user.name=me -c user.email=me@localhost {command}"));
        assert_eq!(ran.code, 0, "{command}: {ran:?}");
    };
    std::fs::write(vault.join(".gitattributes"), "*.age text\n").expect("written");
    git("init --quiet --initial-branch=ours");
    write("its value");
    git("add .");
    git("commit --quiet --message one");
    git("branch theirs");
    write("our value");
    git("commit --quiet --all --message two");
    git("switch --quiet theirs");
    write("their value");
    git("commit --quiet --all --message three");
    git("switch --quiet ours");
    git("merge theirs || true");
    let reveal = ["get", "secret", "s", "--reveal"];
    let refused = sandbox.run(&reveal);
    let command = hinted(&refused, "take one side");
    let (ours, theirs) = command.split_once(", or ").expect("two commands");
    assert!(theirs.contains("--theirs"), "{command}");
    let mended = shell(&sandbox, ours);
    assert_eq!(mended.code, 0, "{mended:?}");
    assert_eq!(sandbox.ok(&reveal), b"our value");
    git("commit --quiet --all --message four");

    let good = std::fs::read(&file).expect("there");
    std::fs::remove_file(&file).expect("there");
    git("-c core.autocrlf=true checkout -- secrets");
    assert_ne!(std::fs::read(&file).expect("checked out"), good, "git converts line ends");
    let refused = sandbox.run(&reveal);
    let command = hinted(&refused, "get it again");
    std::fs::write(vault.join(".gitattributes"), "*.age binary\n").expect("written");
    let mended = shell(&sandbox, &command);
    assert_eq!(mended.code, 0, "{command}: {mended:?}");
    assert_eq!(sandbox.ok(&reveal), b"our value");
}
