//! `--generate`: each value has the requested form, differs from all others, and is not shown.

#![allow(clippy::disallowed_methods, reason = "tests start programs as any shell could")]

use std::collections::BTreeSet;

use crate::support::{Sandbox, tally};

fn is_alphanumeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn is_base64(text: &str) -> bool {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    lengths == [8, 4, 4, 4, 12] && parts.iter().all(|part| is_hex(part)) && parts[2].starts_with('4')
}

/// An option, the length of its values, and a check of their form.
type Form = (&'static str, usize, fn(&str) -> bool);

#[test]
fn each_value_has_its_form_and_is_unique() {
    let sandbox = Sandbox::in_memory();
    sandbox.ok(&["init"]);
    let forms: [Form; 6] = [
        ("--generate", 32, is_alphanumeric),
        ("--generate=48", 48, is_alphanumeric),
        ("--generate=1", 1, is_alphanumeric),
        ("--generate=uuid", 36, is_uuid),
        ("--generate=hex:32", 64, is_hex),
        ("--generate=base64:32", 44, is_base64),
    ];
    let mut made = BTreeSet::new();
    let mut letters = BTreeSet::new();
    for (index, (option, length, has_form)) in forms.into_iter().enumerate() {
        for round in 0..5 {
            let name = format!("s{index}");
            let ran = sandbox.run(&[if round == 0 { "create" } else { "update" }, "secret", &name, option]);
            assert_eq!(ran.code, 0, "{ran:?}");
            let value = sandbox.value(&format!("org/{name}")).expect("made");
            let value = String::from_utf8(value).expect("ASCII");
            assert_eq!(value.len(), length, "{option}");
            assert!(has_form(&value), "{option}: {value}");
            assert!(length == 1 || !ran.all().contains(&value), "the value is shown: {ran:?}");
            if length == 48 {
                letters.extend(value.chars());
            }
            made.extend((length > 1).then_some(value));
        }
    }
    assert_eq!(made.len(), 25, "two values are equal");
    // Among 240 random characters, usually one or two of the 62 are missing, and practically never twelve.
    assert!(letters.len() > 50, "{letters:?}");
    tally(&format!("generated: {} values of 5 forms, all different", made.len()));
}
