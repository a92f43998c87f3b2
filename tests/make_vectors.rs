//! Makes the files of `fixtures/vault-format` that are missing, and leaves those that are there alone: what an earlier
//! version wrote has to stay readable. A new vector is a line here, an entry in `vectors.toml`, and
//!
//! ```text
//! cargo test --test make_vectors -- --ignored
//! ```

#![allow(clippy::disallowed_methods, reason = "fixtures need no power cut's worth of care")]

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use age_core::format::{FileKey, Stanza};

const TAG: &str = "flyte-local/secret-v1";
const VAULT: &str = "0123456789abcdef0123456789abcdef";
const OTHER_VAULT: &str = "fedcba9876543210fedcba9876543210";

const IDENTITY_HEADING: &str = "\
# A TEST key. It is published with the source, so it protects nothing: never encrypt anything of yours to it.
";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/vault-format")
}

fn make(file: &str, content: impl FnOnce() -> Vec<u8>) {
    let path = fixtures().join(file);
    if !path.exists() {
        std::fs::create_dir_all(path.parent().expect("below the fixtures")).expect("its directory");
        std::fs::write(&path, content()).expect("written");
    }
}

/// A recipient that puts further stanzas after its own.
struct With<'a>(&'a age::x25519::Recipient, Vec<Stanza>);

impl age::Recipient for With<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let (mut stanzas, labels) = self.0.wrap_file_key(file_key)?;
        stanzas.extend(self.1.iter().map(|s| Stanza {
            tag: s.tag.clone(),
            args: s.args.clone(),
            body: s.body.clone(),
        }));
        Ok((stanzas, labels))
    }
}

fn stanza(tag: &str, arguments: &[&str], body: &[u8]) -> Stanza {
    Stanza { tag: tag.to_owned(), args: arguments.iter().map(|&a| a.to_owned()).collect(), body: body.to_vec() }
}

/// What a good binding says of a secret of the organization.
fn binding(name: &str) -> String {
    binding_in("null", "null", name)
}

fn binding_in(project: &str, domain: &str, name: &str) -> String {
    let times = r#""created":"2026-01-02T03:04:05Z","updated":"2026-02-03T04:05:06.789Z""#;
    format!(r#"{{"vault":"{VAULT}","project":{project},"domain":{domain},"name":"{name}","type":"regular",{times}}}"#)
}

struct Maker {
    recipient: age::x25519::Recipient,
}

impl Maker {
    /// An age file with these stanzas after the recipient's; age adds one of its own at the end.
    fn file(&self, stanzas: Vec<Stanza>, payload: &[u8]) -> Vec<u8> {
        let recipient = With(&self.recipient, stanzas);
        let mut file = Vec::new();
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
        let mut writer = encryptor.expect("a recipient").wrap_output(&mut file).expect("into memory");
        writer.write_all(payload).expect("into memory");
        writer.finish().expect("into memory");
        file
    }

    fn bound(&self, binding: &str, payload: &[u8]) -> Vec<u8> {
        self.file(vec![stanza(TAG, &[], binding.as_bytes())], payload)
    }

    fn good(&self, name: &str) -> Vec<u8> {
        self.bound(&binding(name), b"a value")
    }

    /// A good file with this many stanzas: the recipient's, the binding, ours, age's.
    fn with_stanzas(&self, name: &str, count: usize) -> Vec<u8> {
        let mut stanzas = vec![stanza(TAG, &[], binding(name).as_bytes())];
        stanzas.extend((3..count).map(|index| stanza("example.com/other", &[&index.to_string()], b"body")));
        let file = self.file(stanzas, b"a value");
        assert_eq!(header(&file).matches("\n-> ").count(), count);
        file
    }
}

fn header_length(file: &[u8]) -> usize {
    let mac = file.windows(5).position(|window| window == b"\n--- ").expect("it has one") + 1;
    mac + file[mac..].iter().position(|&byte| byte == b'\n').expect("its end") + 1
}

fn header(file: &[u8]) -> &str {
    std::str::from_utf8(&file[..header_length(file)]).expect("ASCII")
}

/// Unpadded, in lines of 64, each ended by a newline, the last shorter than 64: the body of a stanza.
fn encode(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for index in 0..=group.len() {
            if text.len() % 65 == 64 {
                text.push('\n');
            }
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * index) & 63) as usize]));
        }
    }
    if text.len() % 65 == 64 {
        text.push('\n');
    }
    text.push('\n');
    text
}

/// The file with another binding in its header, and the MAC of the old one.
fn rebound(file: &[u8], old: &str, new: &str) -> Vec<u8> {
    let (old, new) = (encode(old.as_bytes()), encode(new.as_bytes()));
    let changed = header(file).replacen(&old, &new, 1);
    assert_ne!(changed, header(file), "the old binding is not there");
    [changed.as_bytes(), &file[header_length(file)..]].concat()
}

fn flipped(mut file: Vec<u8>, at: impl FnOnce(&[u8]) -> usize) -> Vec<u8> {
    let at = at(&file);
    // Another letter of base64 for a letter of it, another byte for any other.
    file[at] = if file[at] == b'A' { b'B' } else { b'A' };
    file
}

fn cut(mut file: Vec<u8>, length: impl FnOnce(&[u8]) -> usize) -> Vec<u8> {
    let length = length(&file);
    file.truncate(length);
    file
}

fn after(file: &[u8], text: &str) -> usize {
    header(file).find(text).expect("it has that") + text.len()
}

#[test]
#[ignore = "writes into fixtures/"]
fn make_what_is_missing() {
    make("identity.txt", || {
        let identity = flyte_local::crypto::Identity::generate();
        (IDENTITY_HEADING.to_owned() + &identity.to_file("2026-01-01T00:00:00Z")).into_bytes()
    });
    let text = std::fs::read_to_string(fixtures().join("identity.txt")).expect("just made");
    let key = text.lines().find(|line| !line.starts_with('#')).expect("a key");
    let recipient = key.parse::<age::x25519::Identity>().expect("a key").to_public();
    let maker = Maker { recipient };
    manifests(&maker);
    vault(&maker);
    accepted(&maker);
    misplaced(&maker);
    bad_headers(&maker);
    bad_bindings(&maker);
    damaged(&maker);
}

fn manifests(maker: &Maker) {
    let recipient = |key: &str| format!("\n[[recipients]]\nname = \"owner\"\nkey = \"{key}\"\n");
    let owner = recipient(&maker.recipient.to_string());
    let good = format!("format = 1\nid = \"{VAULT}\"\n{owner}");
    let (head, tail) = good.split_at("format = 1\n".len());
    make("vault/vault.toml", || good.clone().into());
    make("manifests/later-format.toml", || format!("format = 2\nanything = \"else\"\n{tail}").into());
    make("manifests/unknown-member.toml", || format!("{head}surprise = 1\n{tail}").into());
    make("manifests/unknown-recipient-member.toml", || format!("{good}surprise = 1\n").into());
    make("manifests/short-id.toml", || good.replace(VAULT, &VAULT[1..]).into());
    make("manifests/upper-case-id.toml", || good.replace(VAULT, &VAULT.to_uppercase()).into());
    make("manifests/no-recipient.toml", || format!("format = 1\nid = \"{VAULT}\"\nrecipients = []\n").into());
    make("manifests/bad-recipient.toml", || good.replace("key = \"age1", "key = \"age1x").into());
    make("manifests/two-recipients.toml", || {
        let bob = age::x25519::Identity::generate().to_public().to_string();
        (good.clone() + &recipient(&bob).replace("owner", "Bob's laptop")).into()
    });
    make("manifests/not-toml.toml", || b"format: 1\n".to_vec());
}

fn vault(maker: &Maker) {
    let scoped = |place: &str, binding: String, payload: &[u8]| {
        make(&format!("vault/secrets/{place}.age"), || maker.bound(&binding, payload));
    };
    scoped("org/text", binding("text"), b"a value");
    scoped("org/empty", binding("empty"), b"");
    scoped("org/A-name_of-0123456789", binding("A-name_of-0123456789"), b"\n");
    scoped("project/p/nul_and_newline", binding_in("\"p\"", "null", "nul_and_newline"), b"a\0b\r\n\0\n");
    scoped("domain/d/not_utf8", binding_in("null", "\"d\"", "not_utf8"), &[0xff, 0xfe, 0x80, 0xc3, 0x28]);
    scoped("project/p/domain/d/text", binding_in("\"p\"", "\"d\"", "text"), b"a narrower value");
    let image_pull = binding_in("\"p\"", "\"d\"", "registry").replace("regular", "image_pull");
    scoped("project/p/domain/d/registry", image_pull, br#"{"auths":{}}"#);
}

fn accepted(maker: &Maker) {
    let json = |name: &str, change: &dyn Fn(String) -> String| {
        make(&format!("files/{name}.age"), || maker.bound(&change(binding(name)), b"a value"));
    };
    json("unknown-member", &|json| json.replacen('{', r#"{"later":{"than":["this"]},"#, 1));
    json("absent-scope", &|json| json.replace(r#""project":null,"domain":null,"#, ""));
    json("spaced-json", &|json| format!(" {}\n", json.replace(',', " ,\n\t").replace(':', ": ").replace(": 0", ":0")));
    make("files/sixty-four-stanzas.age", || maker.with_stanzas("sixty-four-stanzas", 64));
    make("files/two-chunks.age", || maker.bound(&binding("two-chunks"), &vec![b'x'; (64 << 10) + 1]));
}

fn misplaced(maker: &Maker) {
    make("files/renamed.age", || maker.good("another-name"));
    make("files/from-a-project.age", || maker.bound(&binding_in("\"p\"", "null", "from-a-project"), b"a value"));
    make("files/from-the-organization.age", || maker.good("from-the-organization"));
    make("files/from-another-vault.age", || {
        maker.bound(&binding("from-another-vault").replace(VAULT, OTHER_VAULT), b"a value")
    });
    make("files/rebound.age", || {
        let old = binding("rebound");
        rebound(&maker.bound(&old, b"a value"), &old, &binding_in("\"p\"", "null", "rebound"))
    });
}

fn bad_headers(maker: &Maker) {
    let stanzas = |name: &str, make_stanzas: &dyn Fn(&[u8]) -> Vec<Stanza>| {
        make(&format!("files/{name}.age"), || maker.file(make_stanzas(binding(name).as_bytes()), b"a value"));
    };
    stanzas("no-binding", &|_| Vec::new());
    stanzas("two-bindings", &|binding| vec![stanza(TAG, &[], binding), stanza(TAG, &[], binding)]);
    stanzas("binding-with-an-argument", &|binding| vec![stanza(TAG, &["argument"], binding)]);
    stanzas("binding-beside-one-with-an-argument", &|binding| {
        vec![stanza(TAG, &[], binding), stanza(TAG, &["argument"], binding)]
    });
    stanzas("long-header", &|binding| vec![stanza(TAG, &[], binding), stanza("example.com/long", &[], &[0; 100_000])]);
    make("files/sixty-five-stanzas.age", || maker.with_stanzas("sixty-five-stanzas", 65));
    make("files/malformed-header.age", || {
        let file = maker.good("malformed-header");
        let end = after(&file, "age-encryption.org/v1\n");
        [&file[..end], b"neither a stanza nor the end\n", &file[end..]].concat()
    });
    make("files/armored.age", || {
        let body = encode(&maker.good("armored"));
        // PEM pads, and has no empty last line; the file's length decides which.
        let body = body.trim_end_matches('\n');
        let padding = "=".repeat((4 - body.replace('\n', "").len() % 4) % 4);
        format!("-----BEGIN AGE ENCRYPTED FILE-----\n{body}{padding}\n-----END AGE ENCRYPTED FILE-----\n").into()
    });
    make("files/empty-file.age", Vec::new);
    make("files/not-age.age", || b"a value in the clear\n".to_vec());
}

fn bad_bindings(maker: &Maker) {
    let json = |name: &str, change: &dyn Fn(String) -> String| {
        make(&format!("files/{name}.age"), || maker.bound(&change(binding(name)), b"a value"));
    };
    json("malformed-json", &|json| json.replace('}', ""));
    json("json-and-more", &|json| json + "{}");
    json("array-binding", &|json| {
        let name = json.split(r#""name":""#).nth(1).and_then(|rest| rest.split('"').next()).expect("a name");
        let times = r#""2026-01-02T03:04:05Z","2026-02-03T04:05:06.789Z""#;
        format!(r#"["{VAULT}",null,null,"{name}","regular",{times}]"#)
    });
    json("missing-member", &|json| json.replace(r#","type":"regular""#, ""));
    json("repeated-member", &|json| json.replace(r#""domain":null"#, r#""domain":"d","domain":null"#));
    json("unknown-type", &|json| json.replace("regular", "irregular"));
    json("bad-name", &|json| json.replace("bad-name", "../bad-name"));
    json("bad-time", &|json| json.replace("2026-01-02T", "2026-13-02T"));
}

fn damaged(maker: &Maker) {
    let damage = |name: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        make(&format!("files/{name}.age"), || change(maker.good(name)));
    };
    damage("header-cut", &|file| cut(file, |file| after(file, TAG) + 20));
    damage("nonce-cut", &|file| cut(file, |file| header_length(file) + 8));
    damage("payload-cut", &|file| cut(file, |file| file.len() - 1));
    damage("payload-missing", &|file| cut(file, |file| header_length(file) + 16));
    damage("payload-flipped", &|file| flipped(file, |file| header_length(file) + 16));
    damage("tag-flipped", &|file| flipped(file, |file| file.len() - 1));
    damage("nonce-flipped", &|file| flipped(file, header_length));
    damage("mac-flipped", &|file| flipped(file, |file| after(file, "\n--- ")));
    damage("recipient-stanza-flipped", &|file| flipped(file, |file| after(file, "\n-> X25519 ") + 44));
    damage("trailing-byte", &|file| [&file[..], b"\n"].concat());
    damage("binding-flipped", &|file| {
        let old = binding("binding-flipped");
        rebound(&file, &old, &old.replace("2026-01-02", "2025-01-02"))
    });
    make("files/cut-between-chunks.age", || {
        let file = maker.bound(&binding("cut-between-chunks"), &vec![b'x'; (64 << 10) + 1]);
        cut(file, |file| header_length(file) + 16 + (64 << 10) + 16)
    });
    make("files/to-another-recipient.age", || {
        let other = Maker { recipient: age::x25519::Identity::generate().to_public() };
        other.good("to-another-recipient")
    });
}
