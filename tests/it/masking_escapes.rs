//! Masking of values that programs escape, and of values whose blanks they strip.

#![allow(clippy::disallowed_methods, reason = "the rule on child processes is for the product")]

use std::process::Command;

use flyte_local::redact::{ValueFinder, forms_of};

use crate::masking_forms::{assert_values_masked, list, masked, values};
use crate::support::{Random, Sandbox, python};

/// Characters beyond ASCII: letters, and ones that Python does not find printable.
const BEYOND_ASCII: [&str; 9] =
    ["\u{e4}", "\u{20ac}", "\u{a0}", "\u{ad}", "\u{85}", "\u{200b}", "\u{2028}", "\u{e000}", "\u{3000}"];

#[test]
fn a_value_is_masked_as_python_escapes_it() {
    let script = r#"
import csv, io, json, sys
for value in sys.stdin.buffer.read().decode().split("\0")[:-1]:
    table = io.StringIO()
    csv.writer(table, quoting=csv.QUOTE_ALL, lineterminator="").writerow([value])
    forms = [
        repr(value), ascii(value), json.dumps(ascii(value))[1:-1], value.encode("ascii", "backslashreplace").decode(),
        value.encode("latin-1", "backslashreplace").decode("latin-1"), value.replace("'", "''"), table.getvalue(),
    ]
    sys.stdout.buffer.write("".join(form + "\0" for form in forms).encode())
"#;
    let values = values(&mut Random::seeded(), &BEYOND_ASCII);
    let quotes = ["V", "\"V\"", "'V'", "\\\"V\\\""];
    assert_values_masked(Command::new("python3").args(["-c", script]), &values, 7, &quotes);
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_value_is_masked_as_yaml_escapes_it() {
    let script = r#"
import sys, yaml
for value in sys.stdin.buffer.read().decode().split("\0")[:-1]:
    written = [yaml.safe_dump(value, default_style='"', width=9999, allow_unicode=unicode) for unicode in (False, True)]
    sys.stdout.buffer.write("".join(form.removesuffix("\n") + "\0" for form in written).encode())
"#;
    let values = values(&mut Random::seeded(), &BEYOND_ASCII);
    assert_values_masked(Command::new(python("newest")).args(["-c", script]), &values, 2, &["\"V\""]);
}

#[test]
fn a_value_is_masked_without_the_blanks_around_it() {
    let blanks = [" ", "\t", "\n", "\r\n", "  ", "\u{a0}", "\u{feff}", "\u{3000}", "\x1c", "\x0c", ""];
    let mut random = Random::seeded();
    for value in ["hunter2pass", "#pass 'word'", "~a", "a long value/with=parts & more"] {
        let forms = forms_of(value.as_bytes());
        let all: Vec<u8> = forms.iter().flat_map(|form| [form, &b"\0"[..]].concat()).collect();
        for _ in 0..10 {
            let [before, after] = [(); 2].map(|()| blanks[random.up_to(blanks.len())]);
            let list = list(format!("{before}{value}{after}").as_bytes());
            assert_eq!(masked(&list, value.as_bytes()), b"*****", "{before:?} {value} {after:?}");
            let shown = masked(&list, &all);
            for (shown, form) in shown.split(|byte| *byte == 0).zip(&forms) {
                let form = String::from_utf8_lossy(form);
                assert!(shown.starts_with(b"*****"), "{before:?} {value} {after:?}: {form}");
            }
            if let Some(mut finder) = ValueFinder::new(&list).filter(|_| value.len() >= 8) {
                let found = finder.names_in(value.as_bytes()).expect("memory can be read");
                assert_eq!(found.len(), 1, "{before:?} {value} {after:?}");
            }
        }
    }
    // A short value is not searched for in files because blanks make it long.
    assert!(
        ValueFinder::new(&list(b"a         "))
            .is_none_or(|mut finder| { finder.names_in(&b"a banana"[..]).expect("memory can be read").is_empty() })
    );
}

#[test]
fn a_value_is_masked_as_a_shell_splits_it() {
    let sandbox = Sandbox::new();
    for (name, value) in [
        ("a", "	hunter2pass "),
        ("b", "two  words		here"),
        (
            "c", "a b
c d",
        ),
    ] {
        sandbox.ok(&["create", "secret", name, value]);
        let secret = format!("{name}=V");
        let ran = sandbox.run(&["exec", "--mask", "--secret", &secret, "--", "sh", "-c", "echo $V"]);
        assert_eq!(
            (ran.code, ran.text().as_str()),
            (
                0, "*****
"
            ),
            "{value:?} {ran:?}"
        );
    }
}
