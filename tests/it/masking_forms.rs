//! Masking of values that programs encode: in addresses, shells, HTML, and JSON in JSON.

#![allow(clippy::disallowed_methods, reason = "the rule on child processes is for the product")]

use std::io::Write;
use std::process::{Command, Stdio};

use flyte_local::redact::{Masker, ValueFinder, Watchlist, kept_forms};

use crate::support::Random;

/// Encoders that are too simple to be wrong.
pub(crate) mod encodings {
    use super::Random;

    fn percent(text: &[u8], left: &[u8], plus: bool, is_lower: bool) -> Vec<u8> {
        let encoded = text.iter().map(|&byte| match byte {
            b' ' if plus => "+".to_owned(),
            _ if byte.is_ascii_alphanumeric() || left.contains(&byte) => char::from(byte).to_string(),
            _ if is_lower => format!("%{byte:02x}"),
            _ => format!("%{byte:02X}"),
        });
        encoded.collect::<String>().into_bytes()
    }

    fn replaced(text: &str, pairs: &[(&str, &str)]) -> Vec<u8> {
        let one = |character: char| {
            let pair = pairs.iter().find(|(from, _)| from.starts_with(character));
            pair.map_or(character.to_string(), |(_, to)| (*to).to_owned())
        };
        text.chars().map(one).collect::<String>().into_bytes()
    }

    /// Returns the text as a random program writes it.
    pub(crate) fn random(random: &mut Random, text: &[u8]) -> Vec<u8> {
        let left = [&b"-_.~"[..], b"-_.~/", b"-_.~!*'()", b"-_.~!*'();/?:@&=+$,#"][random.up_to(4)];
        let is_lower = random.up_to(2) == 0;
        let Ok(characters) = std::str::from_utf8(text) else { return percent(text, left, false, is_lower) };
        let json = |text: &str| serde_json::to_string(text).expect("JSON").trim_matches('"').to_owned();
        let json = |text: &str| {
            if text.contains('"') { inside(&serde_json::to_string(text).expect("JSON")) } else { json(text) }
        };
        let ampersands = [("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\"", "&quot;"), ("'", "&#39;")];
        match random.up_to(12) {
            0 => percent(text, left, false, is_lower),
            1 => percent(text, b"-_.~", true, is_lower),
            2 => percent(text, b"-_.*", true, false),
            3 => replaced(characters, &ampersands),
            4 => replaced(characters, &ampersands[..3]),
            5 => replaced(characters, &[&ampersands[..4], &[("'", "&#x27;")]].concat()),
            6 => {
                replaced(characters, &[("&", "&#38;"), ("<", "&#60;"), (">", "&#62;"), ("\"", "&#34;"), ("'", "&#39;")])
            }
            7 => json(characters).into_bytes(),
            8 => json(&json(characters)).into_bytes(),
            9 => json(characters).replace('/', "\\/").into_bytes(),
            10 => replaced(characters, &[("'", "'\\''")]),
            _ => text.to_vec(),
        }
    }

    fn inside(quoted: &str) -> String {
        quoted[1..quoted.len() - 1].to_owned()
    }
}

pub(crate) fn list(value: &[u8]) -> Watchlist {
    let list = Watchlist::new();
    list.add("a name", value);
    list
}

pub(crate) fn masked(list: &Watchlist, text: &[u8]) -> Vec<u8> {
    let mut masker = Masker::new(list.clone());
    let mut output = Vec::new();
    masker.feed(text, &mut output);
    masker.flush(&mut output);
    output
}

/// Returns what a program writes for values that it reads, all between NUL bytes.
fn written(program: &mut Command, values: &[String]) -> Vec<String> {
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program is installed");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input: String = values.iter().map(|value| format!("{value}\0")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads everything");
    assert!(output.status.success(), "{program:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.strip_suffix('\0').expect("a NUL byte at the end").split('\0').map(str::to_owned).collect()
}

/// Values with what needs quotes, and with `others`, in random order.
pub(crate) fn values(random: &mut Random, others: &[&'static str]) -> Vec<String> {
    let usual = [
        "word",
        "Pa55",
        " ",
        "'",
        "\"",
        "\\",
        "/",
        "+",
        "=",
        "&",
        "<",
        ">",
        "%",
        "?",
        "#",
        "~",
        "$",
        "`",
        "!",
        "*",
        "(",
        "]",
        "{",
        "|",
        "^",
        ";",
        ":",
        ",",
        ".",
        "@",
        "-",
        "\n",
        "\t",
        "\r\n",
        "\u{1}",
        "\u{7f}",
        "\u{e9}",
        "\u{1f511}",
    ];
    let parts = [&usual, others].concat();
    let pure = |part: &&str| part.chars().all(|character| (' '..='~').contains(&character));
    (0..200)
        .map(|number| {
            let usable: Vec<_> = parts.iter().filter(|part| number % 2 == 0 || pure(part)).collect();
            let mut value: String = (0..12).map(|_| *usable[random.up_to(usable.len())]).collect();
            value.push_str("end");
            value
        })
        .collect()
}

/// Asserts that each of these texts is masked from its first to its last byte, but for the quotes around it.
fn assert_masked(program: &mut Command, forms: usize, quotes: &[&str]) {
    assert_values_masked(program, &values(&mut Random::seeded(), &[]), forms, quotes);
}

/// Asserts the same for these values.
pub(crate) fn assert_values_masked(program: &mut Command, values: &[String], forms: usize, quotes: &[&str]) {
    let written = written(program, values);
    assert_eq!(written.len(), forms * values.len(), "{program:?}");
    for (value, forms) in values.iter().zip(written.chunks(forms)) {
        let list = list(value.as_bytes());
        let mut finder = ValueFinder::new(&list).expect("long enough");
        for (number, form) in forms.iter().enumerate() {
            let shown = String::from_utf8_lossy(&masked(&list, form.as_bytes())).into_owned();
            let is_masked = quotes.iter().any(|around| around.replace('V', "*****") == shown);
            assert!(is_masked, "{value:?} as form {number}, {form:?}, is shown as {shown:?}");
            let found = finder.names_in(form.as_bytes()).expect("memory can be read");
            assert_eq!(found.len(), 1, "{value:?} is not found as form {number}, {form:?}");
        }
    }
}

#[test]
fn a_value_is_masked_as_python_writes_it() {
    let script = r#"
import base64, html, json, re, shlex, sys
from urllib.parse import quote, quote_plus, urlencode
from xml.sax.saxutils import escape
from xml.etree import ElementTree

def lower(text):
    return re.sub("%..", lambda found: found[0].lower(), text)

for value in sys.stdin.buffer.read().decode().split("\0")[:-1]:
    forms = [
        quote(value), quote(value, safe=""), quote_plus(value), urlencode({"": value})[1:], lower(quote(value)),
        lower(quote_plus(value)), html.escape(value), html.escape(value, quote=False), escape(value),
        html.escape(value).encode("ascii", "xmlcharrefreplace").decode(), html.escape(value).replace("&#x27;", "&#39;"),
        json.dumps(value), json.dumps(json.dumps(value))[1:-1],
        json.dumps([json.dumps([value])])[5:-5], json.dumps(repr([value]))[3:-3], repr(json.dumps([value]))[3:-3],
        json.dumps(value).replace("/", "\\/"), json.dumps(value, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        json.dumps(base64.b64encode(value.encode()).decode()).replace("/", "\\/"), quote_plus(base64.b64encode(value.encode())),
        shlex.quote(value),
    ]
    sys.stdout.buffer.write("".join(form + "\0" for form in forms).encode())
"#;
    let quotes = ["V", "\"V\"", "'V'", "\\\"V\\\"", "\\\"V\\", "\"V\\"];
    assert_masked(Command::new("python3").args(["-c", script]), 21, &quotes);
}

#[test]
fn a_value_is_masked_as_shells_write_it() {
    // One line each: `printf %q`, `${x@Q}`, `declare -p`, `export -p` of sh.
    let script = r#"
while IFS= read -r -d '' x; do
    printf '%q\0' "$x"
    printf '%s\0' "${x@Q}"
    y=$(declare -p x; echo .); y=${y#declare -- x=}; printf '%s\0' "${y%$'\n'.}"
    y=$(x=$x env -i "x=$x" sh -c 'export -p'; echo .)
    y=${y#*export x=}; y=${y%%$'\n'export *}; printf '%s\0' "${y%$'\n'.}"
done"#;
    for locale in ["C.UTF-8", "C"] {
        let mut bash = Command::new("bash");
        assert_masked(bash.args(["-c", script]).env("LC_ALL", locale), 4, &["V", "'V'", "\"V\"", "$'V'"]);
    }
}

/// A service account's key as Google makes it, with other names.
fn service_account() -> (String, String) {
    let lines = [
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
        "MzEfYYjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu",
    ];
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let account = serde_json::json!({
        "type": "service_account",
        "project_id": "my-project-123456",
        "private_key_id": "4f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c",
        "private_key": key,
        "client_email": "reader@my-project-123456.iam.gserviceaccount.com",
        "client_id": "123456789012345678901",
        "auth_uri": "https://accounts.google.com/o/oauth2/auth",
        "token_uri": "https://oauth2.googleapis.com/token",
        "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
        "client_x509_cert_url":
            "https://www.googleapis.com/robot/v1/metadata/x509/reader%40my-project-123456.iam.gserviceaccount.com",
        "universe_domain": "googleapis.com"
    });
    (serde_json::to_string_pretty(&account).expect("JSON"), key)
}

#[test]
fn a_service_account_leaves_other_google_output_alone() {
    let (account, key) = service_account();
    let list = list(account.as_bytes());
    let ordinary = "
POST https://oauth2.googleapis.com/token as a service_account
https://www.googleapis.com/robot/v1/metadata/x509/other%40their-project.iam.gserviceaccount.com
https://accounts.google.com/o/oauth2/auth https://www.googleapis.com/oauth2/v1/certs googleapis.com
reader@my-project-123456.iam.gserviceaccount.com of my-project-123456 (123456789012345678901) lacks storage.objects.get
  \"type\": \"service_account\",
  \"token_uri\": \"https://oauth2.googleapis.com/token\",
";
    let shown = |text: &str| String::from_utf8(masked(&list, text.as_bytes())).expect("UTF-8");
    assert_eq!(shown(ordinary), ordinary);
    assert_eq!(shown(&account), "*****");
    assert_eq!(shown(&key), "*****\n");
    for line in key.lines() {
        // Every key has the lines around it.
        assert_eq!(shown(line), if line.starts_with("-----") { line } else { "*****" });
    }
    assert_eq!(shown("expected -----BEGIN PRIVATE KEY-----"), "expected -----BEGIN PRIVATE KEY-----");
    assert_eq!(shown("-----BEGIN RSA PRIVATE KEY-----"), "-----BEGIN RSA PRIVATE KEY-----");
    assert_eq!(shown("kid 4f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c"), "kid *****");
    // The same holds for what is written line by line, and for the search in files.
    let lines: String = account.lines().map(|line| shown(line) + "\n").collect();
    assert!(lines.contains("\"project_id\": \"my-project-123456\"") && !lines.contains("MIIEv"), "{lines}");
    assert!(!lines.contains("4f1a2b3c4d5e"), "{lines}");
    let mut finder = ValueFinder::new(&list).expect("long enough");
    assert_eq!(finder.names_in(ordinary.as_bytes()).expect("memory can be read").len(), 0);
    assert_eq!(finder.names_in(key.as_bytes()).expect("memory can be read").len(), 1);
}

#[test]
fn a_search_for_a_json_value_finds_its_strings_and_not_its_names() {
    let account = r#"{"private_key": "one\ntwo \"three\"", "more": [{"a": "in a list"}], "b": "7 bytes"}"#;
    let names_in = |value: &str, text: &str| {
        let finder = ValueFinder::new(&list(value.as_bytes()));
        finder.map_or(0, |mut finder| finder.names_in(text.as_bytes()).expect("memory can be read").len())
    };
    for leak in [
        "one\ntwo \"three\"",
        "in a list",
        "b25lCnR3byAidGhyZWUi",
        r#"{"x": "one\ntwo \"three\""}"#,
        r#"['one\ntwo "three"']"#,
        account,
    ] {
        assert_eq!(names_in(account, leak), 1, "{leak}");
    }
    assert_eq!(names_in(account, "private_key 7 bytes"), 0);
    assert_eq!(names_in(&"[".repeat(60_000), "a long list of names"), 0);
    assert_eq!(names_in("it's \u{1f511}", r#""it's \ud83d\udd11""#), 1);
    assert_eq!(names_in("7 bytes\n", "7 bytes") + names_in("        ", "        "), 0);
}

#[test]
fn only_what_gives_no_access_is_public_in_json() {
    let shown =
        |value: &str, text: &str| String::from_utf8(masked(&list(value.as_bytes()), text.as_bytes())).expect("UTF-8");
    for (value, secret) in [
        // The path, the user and the query of an address can be secret.
        (
            r#"{"url": "https://hooks.example.com/services/T00000000/B00000000/hQ3xYz7LmN9pRs2TuV4wXy6Z"}"#,
            "hQ3xYz7LmN9pRs2TuV4wXy6Z",
        ),
        (r#"{"url": "https://user:correct-horse@example.com/"}"#, "user:correct-horse@example.com/"),
        (
            r#"{"token_uri": "https://example.com/token?key=correct-horse"}"#,
            "https://example.com/token?key=correct-horse",
        ),
        (r#"{"url": "postgresql://example.com/correct-horse"}"#, "postgresql://example.com/correct-horse"),
        // A name of Google's counts only in a credential, and `type` only with a word.
        (r#"{"client_id": "correct-horse"}"#, "correct-horse"),
        (r#"{"type": "Correct Horse 1"}"#, "Correct Horse 1"),
        (r#"{"type": "authorized_user", "refresh_token": "correct-horse"}"#, "correct-horse"),
        (r#"["correct-horse"]"#, "correct-horse"),
    ] {
        let output = shown(value, &format!("<{secret}>"));
        assert!(
            output.starts_with("<*****") && !output.contains("horse") && !output.contains("YzLmN9pRs2Tu"),
            "{value}: {output}"
        );
    }
    for (value, public) in [
        (r#"{"endpoint": "https://management.azure.com/", "key": "correct-horse"}"#, "https://management.azure.com/"),
        (
            r#"{"installed": {"client_id": "1-a.apps.googleusercontent.com", "token_uri": "https://oauth2.googleapis.com/token"}}"#,
            "1-a.apps.googleusercontent.com",
        ),
        (r#"{"type": "authorized_user", "account": "me@example.org"}"#, "me@example.org"),
        (r#"{"type": "postgresql", "password": "correct-horse"}"#, "postgresql"),
    ] {
        assert_eq!(shown(value, public), public, "{value}");
    }
}

#[test]
fn the_forms_of_many_values_stay_within_bounds() {
    let mut random = Random::seeded();
    let every: Vec<u8> = (1..=255).collect();
    let list = Watchlist::new();
    for number in 0..30 {
        list.add(&number.to_string(), &random.bytes(&every, 8000));
    }
    let value = b"pass word / <&>".to_vec();
    list.add("short", &value);
    assert_eq!(masked(&list, b"pass%20word%20%2F%20%3C%26%3E"), b"*****", "shorter values come first");
    let bytes: usize = kept_forms(&random.bytes(&every, 8000)).iter().map(|form| form.len()).sum();
    assert!(bytes < 3 << 20, "{bytes} bytes");
    let large = random.bytes(b"abc", 1 << 20);
    assert_eq!(kept_forms(&large).len(), 1);
}
