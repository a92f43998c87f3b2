//! Makes the files of `fixtures/vault-format` that are missing, and leaves the others alone: files that an earlier version
//! wrote must stay readable. To add a vector, add a line here and an entry in `vectors.toml`, and run `cargo xtask vectors`.

mod curve;
mod drafts;
mod forms;
mod long_key;

use std::path::PathBuf;

use crate::forger;
use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

const TAG: &str = "flyte-local/secret-v1";
const SIGNED_TAG: &str = "flyte-local/secret-v2";
const VAULT: &str = "0123456789abcdef0123456789abcdef";
const OTHER_VAULT: &str = "fedcba9876543210fedcba9876543210";

const IDENTITY_HEADING: &str = "\
# A TEST key. It is published with the source, so it protects nothing: never encrypt your own data to it.
";

const AUTHOR_HEADING: &str = "\
# A TEST key. It is published with the source, so anyone can sign with it: never trust it.
";

fn fixtures() -> PathBuf {
    crate::root().join("fixtures/vault-format")
}

fn make(file: &str, content: impl FnOnce() -> Vec<u8>) {
    let path = fixtures().join(file);
    if !path.exists() {
        std::fs::create_dir_all(path.parent().expect("below the fixtures")).expect("its directory");
        std::fs::write(&path, content()).expect("written");
    }
}

fn stanza(tag: &str, arguments: &[&str], body: &[u8]) -> Stanza {
    Stanza { tag: tag.to_owned(), args: arguments.iter().map(|&a| a.to_owned()).collect(), body: body.to_vec() }
}

/// Returns a good binding of a secret of the organization.
fn binding(name: &str) -> String {
    binding_in("null", "null", name)
}

fn binding_in(project: &str, domain: &str, name: &str) -> String {
    let times = r#""created":"2026-01-02T03:04:05Z","updated":"2026-02-03T04:05:06.789Z""#;
    format!(r#"{{"vault":"{VAULT}","project":{project},"domain":{domain},"name":"{name}","type":"regular",{times}}}"#)
}

struct Maker {
    recipient: age::x25519::Recipient,
    author: SigningKey,
}

/// Returns the signed message for a secret of the organization and a commitment. A second implementation, made from the document.
fn message(name: &str, author: &SigningKey, commitment: &[u8]) -> Vec<u8> {
    let author = author.verifying_key();
    let parts: [&[u8]; 10] = [
        SIGNED_TAG.as_bytes(),
        VAULT.as_bytes(),
        b"",
        b"",
        name.as_bytes(),
        b"regular",
        b"2026-01-02T03:04:05Z",
        b"2026-02-03T04:05:06.789Z",
        author.as_bytes(),
        commitment,
    ];
    parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes(), *part].concat()).collect()
}

fn commitment(file_key: &FileKey, payload: &[u8]) -> Vec<u8> {
    commitment_by(file_key.expose_secret(), payload)
}

fn commitment_by(file_key: &[u8], payload: &[u8]) -> Vec<u8> {
    let key = age_core::primitives::hkdf(b"", b"flyte-local/commitment-v2", file_key);
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
    mac.update(payload);
    mac.finalize().into_bytes().to_vec()
}

/// Returns a signed binding of a secret of the organization.
fn signed_by(author: &SigningKey, name: &str, commitment: &[u8]) -> String {
    let signature = author.sign(&message(name, author, commitment)).to_bytes();
    with_proof(&binding(name), &public(author.verifying_key().as_bytes()), commitment, &signature)
}

fn with_proof(binding: &str, author: &str, commitment: &[u8], signature: &[u8]) -> String {
    let (commitment, signature) = (STANDARD.encode(commitment), STANDARD.encode(signature));
    let proof = format!(r#","author":"{author}","commitment":"{commitment}","signature":"{signature}"}}"#);
    binding.strip_suffix('}').expect("an object").to_owned() + &proof
}

/// Returns an author's key as `vault.toml` has it.
fn public(key: &[u8]) -> String {
    let prefix = bech32::Hrp::parse("flyteauthor").expect("a prefix");
    bech32::encode::<bech32::Bech32>(prefix, key).expect("short enough")
}

impl Maker {
    /// Returns an age file with these stanzas after the recipient's; age adds a stanza at the end.
    fn file(&self, stanzas: Vec<Stanza>, payload: &[u8]) -> Vec<u8> {
        let copy = |s: &Stanza| Stanza { tag: s.tag.clone(), args: s.args.clone(), body: s.body.clone() };
        self.keyed(&|_| stanzas.iter().map(copy).collect(), payload)
    }

    /// Returns an age file with the stanzas that `stanzas` makes from the file key.
    fn keyed(&self, stanzas: &dyn Fn(&FileKey) -> Vec<Stanza>, payload: &[u8]) -> Vec<u8> {
        forger::keyed(&self.recipient, stanzas, payload)
    }

    fn bound(&self, binding: &str, payload: &[u8]) -> Vec<u8> {
        self.file(vec![stanza(TAG, &[], binding.as_bytes())], payload)
    }

    /// Returns a signed file of this name, whose binding `change` alters after signing.
    fn signed(&self, name: &str, payload: &[u8], change: &dyn Fn(String) -> String) -> Vec<u8> {
        let bind = |key: &FileKey| change(signed_by(&self.author, name, &commitment(key, payload)));
        self.keyed(&|key| vec![stanza(SIGNED_TAG, &[], bind(key).as_bytes())], payload)
    }

    fn good(&self, name: &str) -> Vec<u8> {
        self.bound(&binding(name), b"a value")
    }

    /// Returns a good file with this many stanzas: the recipient's, the binding, `example.com/other`, age's.
    fn with_stanzas(&self, name: &str, count: usize) -> Vec<u8> {
        let mut stanzas = vec![stanza(TAG, &[], binding(name).as_bytes())];
        stanzas.extend((3..count).map(|index| stanza("example.com/other", &[&index.to_string()], b"body")));
        let file = self.file(stanzas, b"a value");
        assert_eq!(header(&file).matches("\n-> ").count(), count);
        file
    }

    /// Returns a good file whose header has this many lines.
    fn with_lines(&self, name: &str, count: usize) -> Vec<u8> {
        let long = |lines: usize| stanza("example.com/long", &[], &vec![0; 48 * lines]);
        // age's own stanza has a random number of lines.
        let files = (count - 40..count)
            .cycle()
            .map(|lines| self.file(vec![stanza(TAG, &[], binding(name).as_bytes()), long(lines)], b"a value"));
        files.take(1000).find(|file| header(file).lines().count() == count).expect("one of them has it")
    }

    /// Returns a good file whose stanzas have this many arguments together.
    fn with_arguments(&self, name: &str, count: usize) -> Vec<u8> {
        let other = |count: usize| stanza("example.com/other", &vec!["a"; count], b"body");
        let arguments = |file: &[u8]| {
            let stanzas = header(file).lines().filter_map(|line| line.strip_prefix("-> "));
            stanzas.map(|words| words.matches(' ').count()).sum::<usize>()
        };
        // age's own stanza has a random number of arguments.
        let files = (count - 10..count)
            .cycle()
            .map(|others| self.file(vec![stanza(TAG, &[], binding(name).as_bytes()), other(others)], b"a value"));
        files.take(1000).find(|file| arguments(file) == count).expect("one of them has it")
    }
}

fn header_length(file: &[u8]) -> usize {
    let mac = file.windows(5).position(|window| window == b"\n--- ").expect("it has one") + 1;
    mac + file[mac..].iter().position(|&byte| byte == b'\n').expect("its end") + 1
}

fn header(file: &[u8]) -> &str {
    std::str::from_utf8(&file[..header_length(file)]).expect("ASCII")
}

/// Encodes the body of a stanza: unpadded base64 in lines of 64, each with a newline, the last shorter than 64.
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

/// Returns the file with another binding in its header, and the unchanged MAC.
fn rebound(file: &[u8], old: &str, new: &str) -> Vec<u8> {
    let (old, new) = (encode(old.as_bytes()), encode(new.as_bytes()));
    let changed = header(file).replacen(&old, &new, 1);
    assert_ne!(changed, header(file), "the old binding is not there");
    [changed.as_bytes(), &file[header_length(file)..]].concat()
}

fn flipped(mut file: Vec<u8>, at: impl FnOnce(&[u8]) -> usize) -> Vec<u8> {
    let at = at(&file);
    // A letter of base64 becomes another letter of it, and any other byte another byte.
    file[at] = if file[at] == b'A' { b'B' } else { b'A' };
    file
}

/// Returns the file with the next letter of the base64 alphabet at this place, which differs in the last bit alone.
fn flipped_to(mut file: Vec<u8>, at: impl FnOnce(&[u8]) -> usize) -> Vec<u8> {
    let at = at(&file);
    file[at] = match file[at] {
        b'Z' => b'a',
        b'z' => b'0',
        b'9' => b'+',
        b'+' => b'/',
        letter => letter + 1,
    };
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

/// Writes the vectors that are missing.
pub(crate) fn make_missing() {
    make("identity.txt", || {
        let identity = flyte_local::crypto::Identity::generate();
        (IDENTITY_HEADING.to_owned() + &identity.to_file("2026-01-01T00:00:00Z")).into_bytes()
    });
    let text = std::fs::read_to_string(fixtures().join("identity.txt")).expect("just made");
    let key = text.lines().find(|line| !line.starts_with('#')).expect("a key");
    let recipient = key.parse::<age::x25519::Identity>().expect("a key").to_public();
    make("author.key", || {
        let key = flyte_local::crypto::AuthorKey::generate().expect("randomness");
        (AUTHOR_HEADING.to_owned() + &key.to_file("2026-01-01T00:00:00Z")).into_bytes()
    });
    let text = std::fs::read_to_string(fixtures().join("author.key")).expect("just made");
    let key = text.lines().find(|line| !line.starts_with('#')).expect("a key");
    let (_, key) = bech32::decode(key).expect("a key");
    let author = SigningKey::from_bytes(&key.try_into().expect("32 bytes"));
    let maker = Maker { recipient, author };
    signed_vault(&maker);
    signed(&maker);
    manifests(&maker);
    vault(&maker);
    accepted(&maker);
    misplaced(&maker);
    bad_headers(&maker);
    bad_bindings(&maker);
    damaged(&maker);
    forms::make_missing(&maker);
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

/// Writes a vault of format 2.
fn signed_vault(maker: &Maker) {
    let key = |what: &str, key: &str| format!("\n[[{what}]]\nname = \"owner\"\nkey = \"{key}\"\n");
    let author = key("authors", &public(maker.author.verifying_key().as_bytes()));
    let good = format!("format = 2\nid = \"{VAULT}\"\n{}{author}", key("recipients", &maker.recipient.to_string()));
    make("signed/vault.toml", || good.clone().into());
    make("manifests/format-3.toml", || good.replace("format = 2", "format = 3").into());
    make("manifests/authors-in-format-1.toml", || good.replace("format = 2", "format = 1").into());
    make("manifests/no-authors-member.toml", || good.replace(&author, "").into());
    make("manifests/no-author.toml", || good.replace(&author, "").replace("\n\n", "\nauthors = []\n\n").into());
    make("manifests/bad-author.toml", || good.replace("key = \"flyteauthor1", "key = \"flyteauthor1q").into());
    make("manifests/small-order-author.toml", || {
        good.replace(&public(maker.author.verifying_key().as_bytes()), &public(&[0; 32])).into()
    });
    make("manifests/small-order-recipient.toml", || {
        let small = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("age").expect("a prefix"), &[0; 32]);
        good.replace(&maker.recipient.to_string(), &small.expect("short enough")).into()
    });
    let others = |count: usize| -> String {
        let others = (0..count).map(|_| key("recipients", &age::x25519::Identity::generate().to_public().to_string()));
        good.clone() + &others.collect::<String>()
    };
    make("manifests/sixty-two-recipients.toml", || others(61).into());
    make("manifests/sixty-three-recipients.toml", || others(62).into());
    make("manifests/257-authors.toml", || {
        let more = (0..=255).map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes());
        (good.clone() + &more.map(|author| key("authors", &public(&author))).collect::<String>()).into()
    });
    let padded = |length: usize| format!("{good}#{}", "x".repeat(length - good.len() - 1)).into();
    make("manifests/262144-bytes.toml", || padded(262_144));
    make("manifests/262145-bytes.toml", || padded(262_145));
    let marks = good.bytes().filter(|byte| b".,=[{".contains(byte)).count();
    let marked = |count: usize| format!("{good}#{}\n", ".".repeat(count - marks)).into();
    make("manifests/32768-marks.toml", || marked(32_768));
    make("manifests/32769-marks.toml", || marked(32_769));
    make("manifests/long-name.toml", || good.replacen("\"owner\"", &format!("\"{}\"", "n".repeat(65)), 1).into());
    make("manifests/recipient-twice.toml", || (good.clone() + &key("recipients", &maker.recipient.to_string())).into());
    make("manifests/author-twice.toml", || (good.clone() + &author).into());
    for (name, payload) in [("text", &b"a value"[..]), ("empty", b""), ("not_utf8", &[0xff, 0x00, 0x0a])] {
        make(&format!("signed/secrets/org/{name}.age"), || maker.signed(name, payload, &|json| json));
    }
}

/// Makes a binding from a name, its correct signature and its commitment.
type Change<'a> = dyn Fn(&str, [u8; 64], Vec<u8>) -> String + 'a;

/// Writes the files of the vault of format 2.
fn signed(maker: &Maker) {
    let json = |name: &str, change: &dyn Fn(String) -> String| {
        make(&format!("signed-files/{name}.age"), || maker.signed(name, b"a value", change));
    };
    json("later-member", &|json| json.replacen('{', r#"{"later":{"signature":1},"#, 1));
    json("updated-changed", &|json| json.replace("2026-02-03", "2027-02-03"));
    json("type-changed", &|json| json.replace("regular", "image_pull"));
    json("time-in-another-form", &|json| json.replace("06.789Z", "06.7890Z"));
    json("repeated-author", &|json| json.replace(r#","author":"#, r#","author":"","author":"#));
    json("no-signature", &|json| json.replace(r#""signature""#, r#""Signature""#));
    json("signature-without-padding", &|json| json.replace("==\"}", "\"}"));
    json("author-in-upper-case", &|json| {
        let author = public(maker.author.verifying_key().as_bytes());
        json.replace(&author, &author.to_uppercase())
    });
    let proof = |name: &str, change: &Change<'_>| {
        let bind = |key: &FileKey| {
            let commitment = commitment(key, b"a value");
            change(name, maker.author.sign(&message(name, &maker.author, &commitment)).to_bytes(), commitment)
        };
        make(&format!("signed-files/{name}.age"), || {
            maker.keyed(&|key| vec![stanza(SIGNED_TAG, &[], bind(key).as_bytes())], b"a value")
        });
    };
    let ours = public(maker.author.verifying_key().as_bytes());
    // The recipients that the file is encrypted to, signed as an eleventh part of the message if the binding has them.
    let digest: String =
        Sha256::digest(format!("{}\n", maker.recipient)).iter().map(|byte| format!("{byte:02x}")).collect();
    let saying = |json: &str| json.replace(r#","author":"#, &format!(r#","recipients":"{digest}","author":"#));
    let signed_with = |name: &str, commitment: &[u8]| {
        let mut message = message(name, &maker.author, commitment);
        message.extend((digest.len() as u64).to_be_bytes());
        message.extend(digest.as_bytes());
        with_proof(&binding(name), &ours, commitment, &maker.author.sign(&message).to_bytes())
    };
    proof("recipients", &|name, _, commitment| saying(&signed_with(name, &commitment)));
    proof("recipients-not-signed", &|name, _, commitment| saying(&signed_by(&maker.author, name, &commitment)));
    proof("recipients-taken-out", &|name, _, commitment| signed_with(name, &commitment));
    proof("signature-flipped", &|name, mut signature, commitment| {
        signature[0] ^= 1;
        with_proof(&binding(name), &ours, &commitment, &signature)
    });
    proof("signature-stretched", &|name, signature, commitment| {
        with_proof(&binding(name), &ours, &commitment, &stretched(&signature))
    });
    proof("small-order-author", &|name, signature, commitment| {
        with_proof(&binding(name), &public(&[0; 32]), &commitment, &signature)
    });
    // Signed, but with another key, over another value, or in another form.
    proof("commitment-to-another-value", &|name, _, mut commitment| {
        commitment[0] ^= 1;
        signed_by(&maker.author, name, &commitment)
    });
    proof("unknown-author", &|name, _, commitment| signed_by(&SigningKey::from_bytes(&[7; 32]), name, &commitment));
    make("signed-files/copied-binding.age", || {
        let file = maker.signed("copied-binding", b"a value", &|json| json);
        let binding = flyte_local::crypto::peek(&file).expect("just made").binding.body;
        maker.file(vec![stanza(SIGNED_TAG, &[], &binding)], b"planted")
    });
    make("signed-files/unsigned.age", || maker.good("unsigned"));
    make("signed-files/unsigned-as-signed.age", || {
        maker.file(vec![stanza(SIGNED_TAG, &[], binding("unsigned-as-signed").as_bytes())], b"a value")
    });
    make("signed-files/both-versions.age", || {
        let both = |key: &FileKey| {
            let signed = signed_by(&maker.author, "both-versions", &commitment(key, b"a value"));
            vec![stanza(SIGNED_TAG, &[], signed.as_bytes()), stanza(TAG, &[], binding("both-versions").as_bytes())]
        };
        maker.keyed(&both, b"a value")
    });
}

/// Returns the signature with the group's order added to its second half: the same number in another form.
fn stretched(signature: &[u8; 64]) -> [u8; 64] {
    let (mut result, mut carry) = (*signature, 0);
    for (byte, order) in result[32..].iter_mut().zip(curve::ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    result
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
    make("files/256-lines.age", || maker.with_lines("256-lines", 256));
    make("files/1024-lines.age", || maker.with_lines("1024-lines", 1024));
    make("files/1024-arguments.age", || maker.with_arguments("1024-arguments", 1024));
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
    make("files/257-lines.age", || maker.with_lines("257-lines", 257));
    make("files/1025-lines.age", || maker.with_lines("1025-lines", 1025));
    make("files/1025-arguments.age", || maker.with_arguments("1025-arguments", 1025));
    make("files/sixty-five-stanzas.age", || maker.with_stanzas("sixty-five-stanzas", 65));
    make("files/malformed-header.age", || {
        let file = maker.good("malformed-header");
        let end = after(&file, "age-encryption.org/v1\n");
        [&file[..end], b"neither a stanza nor the end\n", &file[end..]].concat()
    });
    make("files/armored.age", || {
        let body = encode(&maker.good("armored"));
        // PEM pads, and has no empty last line; the file's length determines the difference.
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
        let recipient = age::x25519::Identity::generate().to_public();
        let other = Maker { recipient, author: maker.author.clone() };
        other.good("to-another-recipient")
    });
}
