//! Text that an attacker wrote into the vault's files reaches a terminal only as harmless text, and not at full length.

#![allow(clippy::disallowed_methods, reason = "tests damage files as any program could")]

use std::collections::HashSet;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use crate::support::{FLYTE_LOCAL, Ran, SDKS, Sandbox};
use age_core::format::{FileKey, Stanza};

/// Text that changes a terminal's title and colour, rings its bell, reverses the direction of the text after it, and
/// has characters without a width.
const ESCAPES: &str = "\u{1b}]0;owned\u{7}\u{9b}31m\u{7f}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}";

/// Returns whether a character does more than show itself.
fn acts(c: &char) -> bool {
    c.is_control() && *c != '\n' || ESCAPES.contains(*c) && !c.is_ascii() || ('\u{202a}'..='\u{202e}').contains(c)
}

/// A length that no message needs.
const FLOOD: usize = 200_000;

/// The most bytes of a message: one line of error, and three lines that quote TOML.
const MOST: usize = 10_000;

/// Asserts that a command failed with this exit code, and with a short message without control characters.
fn assert_harmless(ran: &Ran, code: i32, what: &str) {
    let length = ran.all().len();
    assert_eq!(ran.code, code, "{what}: {length} bytes: {:.2000?}", ran.all());
    assert!(ran.stderr.starts_with("error: "), "{what}");
    assert!(length <= MOST, "{what}: {length} bytes");
    assert_no_control(ran, what);
}

/// Asserts that the output has no control characters.
fn assert_no_control(ran: &Ran, what: &str) {
    // The Debug form shows the escapes in the output instead of sending them to the terminal.
    let all = ran.all();
    let control: Vec<_> = all.chars().filter(acts).collect();
    assert!(control.is_empty(), "{what}: {control:?} in {all:?}");
}

#[test]
fn errors_quote_vault_toml_briefly_and_without_escapes() {
    let escaped = "\\u001b]0;owned\\u0007\\u202e\\u2066\\u200b\\ufeff\\U000e0041";
    let recipient = |key: &str, name: &str| format!("[[recipients]]\nname = \"{name}\"\nkey = \"{key}\"\n");
    let head = "format = 1\nid = \"0123456789abcdef0123456789abcdef\"\n";
    for (what, text) in [
        ("not TOML", ESCAPES.to_owned()),
        ("not a number", format!("format = {ESCAPES}\n")),
        ("an unknown member", format!("{head}\"{escaped}\" = 1\n")),
        ("a long line", format!("format = {}\n", "x".repeat(FLOOD))),
        ("a long member", format!("{head}{} = 1\n", "x".repeat(FLOOD))),
        ("many lines", format!("format = \"\"\"{}", "\n".repeat(FLOOD))),
        ("a malformed recipient", format!("{head}{}", recipient("age1", escaped))),
        ("a malformed recipient with a long name", format!("{head}{}", recipient("age1", &"x".repeat(FLOOD)))),
    ] {
        let sandbox = Sandbox::new();
        std::fs::write(sandbox.vault().join("vault.toml"), text).expect("written");
        for arguments in [&["get", "secret"][..], &["create", "secret", "s", "v"], &["exec", "--all", "--", "true"]] {
            assert_harmless(&sandbox.run(arguments), 13, &format!("{what}: {arguments:?}"));
        }
        for format in ["table", "json", "json-raw"] {
            let ran = sandbox.run(&["--output-format", format, "check"]);
            assert_eq!(ran.code, 13, "{what}: {ran:?}");
            assert_no_control(&ran, what);
        }
    }
}

/// An attacker may choose a path too, in a vault that was unpacked from an archive.
#[test]
fn a_path_is_shown_without_escapes_and_json_stays_valid() {
    let sandbox = Sandbox::new();
    let vault = format!("vault{ESCAPES}");
    for (code, arguments) in [
        (0, &["init"][..]),
        (10, &["get", "secret", "s"]),
        (0, &["create", "secret", "s", "v"]),
        (12, &["create", "secret", "s", "v"]),
        (12, &["init"]),
    ] {
        let ran = sandbox.run(&[&["--vault", &vault], arguments].concat());
        assert_eq!(ran.code, code, "{ran:?}");
        assert_no_control(&ran, &format!("{arguments:?}"));
    }
    let ran = sandbox.run(&["--vault", &vault, "--output-format", "json", "check"]);
    assert_no_control(&ran, "check");
    let findings: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("JSON");
    assert!(findings[0]["detail"].as_str().is_some_and(|path| path.contains("\\u{202e}")), "{findings:#}");
}

/// A recipient that adds a binding after its own stanza.
struct Binding<'a>(&'a age::x25519::Recipient, &'a [u8]);

impl age::Recipient for Binding<'_> {
    fn wrap_file_key(&self, key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let (mut stanzas, labels) = self.0.wrap_file_key(key)?;
        stanzas.push(Stanza { tag: "flyte-local/secret-v1".to_owned(), args: Vec::new(), body: self.1.to_vec() });
        Ok((stanzas, labels))
    }
}

/// Returns a sandbox with a secret `s` that anyone with the public key could have written: a whole file whose binding
/// has `text`, as JSON writes it, for its type.
fn with_binding(text: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "v"]);
    let manifest = std::fs::read_to_string(sandbox.vault().join("vault.toml")).expect("the vault's");
    let vault = manifest.split('"').nth(1).expect("its id");
    let binding = format!(
        r#"{{"vault":"{vault}","project":null,"domain":null,"name":"s","type":"{text}",
            "created":"2026-01-02T03:04:05Z","updated":"2026-01-02T03:04:05Z"}}"#
    );
    let recipient = sandbox.identities()[0].recipient().to_string().parse().expect("a recipient");
    let recipient = Binding(&recipient, binding.as_bytes());
    let mut file = Vec::new();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
    let mut writer = encryptor.expect("a recipient").wrap_output(&mut file).expect("into memory");
    writer.write_all(b"v").expect("into memory");
    writer.finish().expect("into memory");
    std::fs::write(sandbox.secret_file("org/s"), file).expect("written");
    sandbox
}

/// Returns texts for such bindings, each with a description.
fn bindings() -> [(&'static str, String); 2] {
    [
        ("escapes", "\\u001b]0;owned\\u0007\\u009b31m\\u007f\\u202e\\u2066\\u200b\\ufeff".to_owned()),
        ("long", "x".repeat(60_000)),
    ]
}

#[test]
fn errors_quote_a_binding_briefly_and_without_escapes() {
    // A binding with a valid type is accepted, so the cases below are refused for their type.
    assert!(!with_binding("regular").ok(&["get", "secret", "s"]).is_empty());
    for (what, text) in bindings() {
        let sandbox = with_binding(&text);
        for arguments in [
            &["get", "secret", "s"][..],
            &["get", "secret", "s", "--reveal"],
            &["update", "secret", "s", "new"],
            &["exec", "--secret", "s", "--", "true"],
        ] {
            assert_harmless(&sandbox.run(arguments), 13, &format!("{what}: {arguments:?}"));
        }
        let list = sandbox.run(&["get", "secret", "--output-format", "table-simple"]);
        assert_eq!(list.code, 13, "{what}");
        assert!(list.all().len() <= MOST, "{what}");
        assert_no_control(&list, what);
    }
}

/// In a task, the message goes through the user's Python, whose output we do not control.
#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_task_gets_a_short_error_without_the_escapes_of_a_binding() {
    let tasks = "
import sys
import flyte

env = flyte.TaskEnvironment(name='env', secrets='s')

@env.task
def show() -> None:
    print('ran')

if __name__ == '__main__':
    flyte.init()
    try:
        flyte.run(show)
    except flyte.errors.RuntimeUserError as error:
        sys.stdout.buffer.write(str(error).encode())
        sys.stdout.buffer.flush()
";
    for sdk in SDKS {
        for (what, text) in bindings() {
            let sandbox = with_binding(&text);
            sandbox.file("tasks.py", tasks);
            let ran = sandbox.flyte_run(sdk, &["tasks.py"]);
            assert_eq!(ran.code, 0, "{sdk} {what}");
            let said = ran.text().rsplit_once("task env.show: refused ").expect("the reason").1.to_owned();
            assert!(said.len() <= MOST, "{sdk} {what}: {} bytes", said.len());
            assert!(!said.contains(|c: char| acts(&c)), "{sdk} {what}: {said:?}");
        }
    }
}

#[test]
fn a_hint_with_a_path_that_is_not_utf_8_can_be_typed() {
    let sandbox = Sandbox::empty();
    let vault = std::ffi::OsStr::from_bytes(b"va\xffult 1");
    let arguments = [std::ffi::OsStr::new("--vault"), vault, "get".as_ref(), "secret".as_ref()];
    let ran = sandbox.run(&arguments);
    let hint = ran.stderr.lines().find_map(|line| line.strip_prefix("hint: create one: flyte-local"));
    let typed = format!("{FLYTE_LOCAL}{}", hint.expect("the hint"));
    let shell = sandbox.program("bash").arg("-c").arg(&typed).output().expect("bash");
    assert!(shell.status.success(), "{typed}: {shell:?}");
    assert!(sandbox.work().join(vault).join("vault.toml").is_file(), "{typed}");
}
