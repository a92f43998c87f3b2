//! Vectors for what two implementations of the format read differently, and for what a wrong reader could leave out.

use std::process::Command;

use age_core::format::FileKey;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ed25519_dalek::SigningKey;

use super::curve::{not_canonical, padded, small_order_signature};
use super::drafts::{Draft, digest, other_key, raw, unsorted_digest, wrapped};
use super::{Maker, OTHER_VAULT, TAG, commitment, fixtures, make, public};

/// The value of these files.
pub(super) const PAYLOAD: &[u8] = b"a value";

/// Makes what is missing.
pub(super) fn make_missing(maker: &Maker) {
    scopes(maker);
    messages(maker);
    sizes(maker);
    stanzas(maker);
    json(maker);
    times(maker);
    proofs(maker);
    team(maker);
    manifests(maker);
    author_keys(maker);
}

fn signed(name: &str, content: impl FnOnce() -> Vec<u8>) {
    make(&format!("signed-files/{name}.age"), content);
}

fn none(_: &FileKey) -> Vec<String> {
    Vec::new()
}

/// Secrets of other scopes than the organization.
fn scopes(maker: &Maker) {
    let scoped = |name: &str, project, domain| {
        signed(name, || maker.with(&Draft { project, domain, ..Draft::new(maker, name) }, &none));
    };
    scoped("of-a-project", Some("p"), None);
    scoped("of-a-domain", None, Some("d"));
    scoped("of-both", Some("p"), Some("d"));
    scoped("of-one-name", Some("same"), Some("same"));
    scoped("another-domain", Some("p"), Some("e"));
    scoped("another-project", Some("q"), Some("d"));
    signed("image-pull", || maker.with(&Draft { secret_type: "image_pull", ..Draft::new(maker, "image-pull") }, &none));
}

/// Bindings whose signature is of another message.
fn messages(maker: &Maker) {
    let pair = |name: &'static str, says: Draft<'_>, signs: Draft<'_>| {
        signed(name, || maker.by_hand(&|key| vec![wrapped(&maker.recipient, key), says.signed_as(&signs, key)]));
    };
    let draft = |name: &'static str| Draft::new(maker, name);
    let scope = |name: &'static str, project, domain| Draft { project, domain, ..draft(name) };
    let name = "signed-project-for-domain";
    pair(name, scope(name, Some("p"), None), scope(name, None, Some("p")));
    let name = "signed-scope-swapped";
    pair(name, scope(name, Some("p"), Some("d")), scope(name, Some("d"), Some("p")));
    let name = "signed-for-the-organization";
    pair(name, scope(name, Some("p"), None), draft(name));
    pair("signed-under-another-name", draft("signed-under-another-name"), draft("another-name"));
    let name = "signed-for-another-vault";
    pair(name, draft(name), Draft { vault: OTHER_VAULT, ..draft(name) });
    let name = "signed-with-the-first-tag";
    pair(name, draft(name), Draft { tag: TAG, ..draft(name) });
    let name = "created-changed";
    pair(name, draft(name), Draft { created: "2026-01-02T03:04:06Z", ..draft(name) });
    let name = "recipients-changed";
    pair(name, draft(name), Draft { recipients: Some(digest(&["age1".to_owned()])), ..draft(name) });
    signed("signed-without-lengths", || {
        let bare = |commitment: &[u8]| -> Vec<u8> {
            let message = draft("signed-without-lengths").message(commitment);
            let (mut rest, mut bare) = (&message[..], Vec::new());
            while let Some((length, after)) = rest.split_first_chunk::<8>() {
                let (part, after) = after.split_at(u64::from_be_bytes(*length) as usize);
                bare.extend(part);
                rest = after;
            }
            bare
        };
        maker.by_hand(&|key| {
            use ed25519_dalek::Signer;
            let commitment = commitment(key, PAYLOAD);
            let signature = maker.author.sign(&bare(&commitment)).to_bytes();
            let json = draft("signed-without-lengths").json(&commitment, &signature);
            vec![wrapped(&maker.recipient, key), raw(super::SIGNED_TAG, json.as_bytes())]
        })
    });
    signed("signature-of-small-order", || {
        let draft = draft("signature-of-small-order");
        maker.by_hand(&|key| {
            let commitment = commitment(key, PAYLOAD);
            let signature = small_order_signature(&maker.author, &draft.message(&commitment));
            let json = draft.json(&commitment, &signature);
            vec![wrapped(&maker.recipient, key), raw(super::SIGNED_TAG, json.as_bytes())]
        })
    });
    // Signed as version 2 prescribes, in a stanza of version 1.
    signed("signed-as-unsigned", || {
        let draft = draft("signed-as-unsigned");
        maker.by_hand(&|key| {
            vec![wrapped(&maker.recipient, key), draft.stanza(key).replacen("secret-v2", "secret-v1", 1)]
        })
    });
}

/// Files that the test fills up with zeros to the size in `vectors.toml`.
fn sizes(maker: &Maker) {
    for name in ["one-byte-too-large", "as-large-as-possible"] {
        signed(name, || maker.with(&Draft::new(maker, name), &none));
    }
}

/// Headers in other orders and forms.
fn stanzas(maker: &Maker) {
    let more = |name: &str, more: &dyn Fn(&FileKey) -> Vec<String>| {
        signed(name, || maker.with(&Draft::new(maker, name), more));
    };
    let owner = |key: &FileKey| wrapped(&maker.recipient, key);
    let of = |name: &str, make: &dyn Fn(String, String, &FileKey) -> Vec<String>| {
        signed(name, || maker.by_hand(&|key| make(owner(key), Draft::new(maker, name).stanza(key), key)));
    };
    more("no-grease", &none);
    of("binding-first", &|owner, binding, _| vec![binding, raw("example.com/other", b"body"), owner]);
    more("two-other-stanzas", &|_| vec![raw("example.com/other", b""), raw("example.com/other a b", b"body")]);
    more("full-last-line", &|_| vec![raw("example.com/other", &[1; 48])]);
    more("no-last-line", &|_| vec![raw("example.com/other", &[1; 48]).trim_end().to_owned() + "\n"]);
    more("no-body", &|_| vec!["-> example.com/other\n".to_owned()]);
    more("short-line-first", &|_| vec![format!("-> example.com/other\nAAAA\n{}\n\n", "A".repeat(64))]);
    more("unused-bits-in-a-body", &|_| vec!["-> example.com/other\nAB\n".to_owned()]);
    more("padding-in-a-body", &|_| vec!["-> example.com/other\nAA==\n".to_owned()]);
    let share = "A".repeat(43);
    more("x25519-twice", &|key| vec![owner(key)]);
    more("x25519-with-two-arguments", &|_| vec![raw(&format!("X25519 {share} more"), &[1; 32])]);
    more("x25519-with-unused-bits", &|_| vec![raw(&format!("X25519 {}B", &share[1..]), &[1; 32])]);
    more("x25519-with-a-long-body", &|_| vec![raw(&format!("X25519 {share}"), &[1; 33])]);
    more("ssh-ed25519-without-a-share", &|_| vec![raw("ssh-ed25519 AAAAAA", &[1; 32])]);
    more("ssh-rsa-with-a-short-body", &|_| vec![raw("ssh-rsa AAAAAA", &[1; 255])]);
    let (zero, mut order_eight) = ([0; 32], super::curve::X25519_OF_ORDER_EIGHT);
    let of_share = |kind: &str, share: &[u8; 32]| raw(&format!("{kind} {}", STANDARD_NO_PAD.encode(share)), &[1; 32]);
    more("x25519-with-the-share-zero", &|_| vec![of_share("X25519", &zero)]);
    more("x25519-with-a-share-of-order-eight", &|_| vec![of_share("X25519", &order_eight)]);
    order_eight[31] |= 0x80;
    more("x25519-with-a-share-of-order-eight-and-the-high-bit", &|_| vec![of_share("X25519", &order_eight)]);
    more("ssh-ed25519-with-the-share-zero", &|_| vec![of_share("ssh-ed25519 AAAAAA", &zero)]);
    let scrypt = || raw("scrypt AAAAAAAAAAAAAAAAAAAAAA 10", &[1; 32]);
    more("scrypt-beside", &|_| vec![scrypt()]);
    signed("scrypt-alone", || maker.by_hand(&|_| vec![scrypt()]));
    more("long-argument", &|_| vec![raw(&format!("example.com/other {}", "a".repeat(131_072)), b"")]);
    // Two stanzas for one identity: the first one that opens decides.
    of("another-key-first", &|ours, binding, _| vec![owner(&other_key()), ours, binding]);
    of("another-key-second", &|ours, binding, _| vec![ours, owner(&other_key()), binding]);
    signed("unused-bits-in-the-mac", || {
        let file = maker.with(&Draft::new(maker, "unused-bits-in-the-mac"), &none);
        super::flipped_to(file, |file| super::header_length(file) - 2)
    });
    signed("age-version-2", || {
        let file = maker.with(&Draft::new(maker, "age-version-2"), &none);
        [b"age-encryption.org/v2\n", &file[b"age-encryption.org/v1\n".len()..]].concat()
    });
}

/// Bindings in other forms of JSON.
fn json(maker: &Maker) {
    let altered = |name: &str, change: &dyn Fn(String) -> Vec<u8>| {
        signed(name, || maker.altered(&Draft::new(maker, name), change));
    };
    let member = |name: &str, member: &[u8]| {
        altered(name, &|json| [b"{", member, b",", &json.as_bytes()[1..]].concat());
    };
    member("unknown-member-in-latin-1", b"\"later\":\"\xe9\"");
    member("unknown-member-in-utf-8", "\"später\":\"é😀\"".as_bytes());
    member("half-a-surrogate-pair", br#""later":"\ud83d""#);
    member("a-surrogate-pair", br#""later":"\ud83d\ude00""#);
    member("half-a-pair-in-a-name", br#""\udc00":1"#);
    member("a-huge-number", br#""later":1e999"#);
    member("unknown-member-twice", br#""later":1,"later":2"#);
    let nested = |depth: usize| format!("\"later\":{}{}", "[".repeat(depth), "]".repeat(depth));
    member("thirty-two-levels", nested(31).as_bytes());
    member("thirty-three-levels", nested(32).as_bytes());
    member("name-in-upper-case", br#""NAME":"x""#);
    altered("escaped-member-name", &|json| json.replace(r#""name""#, r#""n\u0061me""#).into());
    altered("repeated-with-an-escape", &|json| json.replacen('{', r#"{"n\u0061me":"x","#, 1).into());
    altered("repeated-at-the-end", &|json| json.replacen('}', r#","name":"x"}"#, 1).into());
    altered("escaped-value", &|json| json.replace("2026-01-02T03:04:05Z", r"2026-01-02T03:04:05\u005a").into());
    altered("members-in-another-order", &|json| {
        let (first, rest) = json[1..].split_once(',').expect("two members");
        format!("{{{},{first}}}", rest.strip_suffix('}').expect("an object")).into()
    });
    altered("byte-order-mark", &|json| [b"\xef\xbb\xbf", json.as_bytes()].concat());
    altered("form-feed", &|json| format!("\u{c}{json}").into());
    altered("nul-after", &|json| (json + "\0").into());
    altered("empty-project", &|json| json.replace(r#""project":null"#, r#""project":"""#).into());
    altered("scope-absent", &|json| json.replace(r#""project":null,"domain":null,"#, "").into());
    altered("type-in-upper-case", &|json| json.replace("regular", "Regular").into());
    altered("number-as-a-name", &|json| json.replace(r#""name":"number-as-a-name""#, r#""name":1"#).into());
    altered("recipients-null", &|json| {
        let (before, after) = json.split_once(r#""recipients":""#).expect("it has them");
        format!(r#"{before}"recipients":null{}"#, &after[65..]).into()
    });
    altered("recipients-twice", &|json| json.replacen('{', r#"{"recipients":"","#, 1).into());
    let recipients = |name: &str, change: &dyn Fn(String) -> String| {
        let mut draft = Draft::new(maker, name);
        draft.recipients = draft.recipients.map(change);
        signed(name, || maker.with(&draft, &none));
    };
    recipients("recipients-in-upper-case", &|digest| digest.to_uppercase());
    recipients("recipients-too-short", &|digest| digest[1..].to_owned());
    recipients("recipients-empty", &|_| String::new());
    // Signed without the member, which is then there as null.
    signed("recipients-null-unsigned", || {
        let draft = Draft { recipients: None, ..Draft::new(maker, "recipients-null-unsigned") };
        maker.altered(&draft, &|json| json.replace(r#""author":"#, r#""recipients":null,"author":"#).into())
    });
}

/// Bindings with unusual times, signed as they are.
fn times(maker: &Maker) {
    let times = |name: &str, created: &str, updated: &str| {
        signed(name, || maker.with(&Draft { created, updated, ..Draft::new(maker, name) }, &none));
    };
    let (created, updated) = ("2026-01-02T03:04:05Z", "2026-02-03T04:05:06.789Z");
    times("updated-before-created", updated, created);
    times("updated-a-nanosecond-before", "2026-01-02T03:04:05.000000001Z", created);
    times("updated-when-created", created, created);
    times("updated-at-the-same-time-in-another-form", "2026-01-02T03:04:05.0Z", created);
    times("year-0000", "0000-12-31T23:59:59Z", updated);
    times("year-0001", "0001-01-01T00:00:00Z", updated);
    times("year-9998", created, "9998-12-31T23:59:59.999999999Z");
    times("year-9999", created, "9999-01-01T00:00:00Z");
    times("nine-digits", created, "2026-02-03T04:05:06.789000000Z");
    times("ten-digits", created, "2026-02-03T04:05:06.7890000000Z");
    times("point-without-digits", created, "2026-02-03T04:05:06.Z");
    times("comma-for-a-point", created, "2026-02-03T04:05:06,789Z");
    times("second-60", created, "2026-12-31T23:59:60Z");
    times("hour-24", created, "2026-02-03T24:00:00Z");
    times("february-30", created, "2026-02-30T04:05:06.789Z");
    times("february-29", created, "2027-02-29T04:05:06.789Z");
    times("lower-case-z", created, "2026-02-03T04:05:06.789z");
    times("lower-case-t", created, "2026-02-03t04:05:06.789Z");
    times("space-for-t", created, "2026-02-03 04:05:06.789Z");
    times("offset", created, "2026-02-03T04:05:06.789+00:00");
    times("no-seconds", created, "2026-02-03T04:05Z");
}

/// Authors, commitments and signatures in other forms.
fn proofs(maker: &Maker) {
    let altered = |name: &str, change: &dyn Fn(String) -> String| {
        signed(name, || maker.altered(&Draft::new(maker, name), &|json| change(json).into_bytes()));
    };
    let member = |json: &str, member: &str| -> String {
        let after = json.split(&format!(r#""{member}":""#)).nth(1).expect("it has that");
        after.split('"').next().expect("its end").to_owned()
    };
    // The last letter before the padding has unused bits: two of the commitment's, four of the signature's.
    let unused = |text: &str, padding: usize| {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let at = text.len() - padding - 1;
        let value = ALPHABET.iter().position(|&letter| letter == text.as_bytes()[at]).expect("base64");
        let letter = char::from(ALPHABET[value | 1]);
        format!("{}{letter}{}", &text[..at], "=".repeat(padding))
    };
    altered("unused-bits-in-the-commitment", &|json| {
        let old = member(&json, "commitment");
        json.replace(&old, &unused(&old, 1))
    });
    altered("unused-bits-in-the-signature", &|json| {
        let old = member(&json, "signature");
        json.replace(&old, &unused(&old, 2))
    });
    altered("signature-in-lines", &|json| {
        let old = member(&json, "signature");
        json.replace(&old, &format!("{}\\n{}", &old[..64], &old[64..]))
    });
    altered("commitment-without-padding", &|json| {
        let old = member(&json, "commitment");
        json.replace(&old, old.trim_end_matches('='))
    });
    altered("short-commitment", &|json| {
        let old = member(&json, "commitment");
        json.replace(&old, &STANDARD.encode([1; 31]))
    });
    altered("no-author", &|json| json.replace(r#""author""#, r#""Author""#));
    altered("no-commitment", &|json| json.replace(r#""commitment""#, r#""Commitment""#));
    let ours = public(maker.author.verifying_key().as_bytes());
    altered("author-with-padding-bits", &|json| {
        json.replace(&ours, &padded("flyteauthor", maker.author.verifying_key().as_bytes()))
    });
    altered("author-with-another-prefix", &|json| {
        let prefix = bech32::Hrp::parse("flyteauthors").expect("a prefix");
        let key = bech32::encode::<bech32::Bech32>(prefix, maker.author.verifying_key().as_bytes());
        json.replace(&ours, &key.expect("short enough"))
    });
    let another = SigningKey::from_bytes(&[7; 32]);
    // Signed by the vault's author, and in another's name.
    signed("in-another-name", || {
        let (says, signs) = (Draft::new(maker, "in-another-name"), Draft::new(maker, "in-another-name"));
        let says = Draft { author: &another, ..says };
        maker.by_hand(&|key| vec![wrapped(&maker.recipient, key), says.signed_as(&signs, key)])
    });
}

/// Makes a key with `ssh-keygen`, and returns its public half as `vault.toml` has it.
fn ssh(name: &str, options: &[&str]) -> String {
    let path = fixtures().join(name);
    if !path.exists() {
        #[allow(clippy::disallowed_methods, reason = "a tool for developers")]
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-N", "", "-C", "a TEST key of flyte-local", "-f"]).arg(&path).args(options);
        assert!(keygen.status().expect("ssh-keygen starts").success());
    }
    let public = std::fs::read_to_string(path.with_extension("pub")).expect("beside it");
    public.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn part(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn ssh_key(kind: &str, parts: &[&[u8]]) -> String {
    let parts: Vec<u8> = parts.iter().flat_map(|bytes| part(bytes)).collect();
    format!("{kind} {}", STANDARD.encode([part(kind.as_bytes()), parts].concat()))
}

/// Writes a vault with recipients of every kind.
fn team(maker: &Maker) {
    let [ed25519, rsa] = [ssh("ssh-ed25519", &["-t", "ed25519"]), ssh("ssh-rsa", &["-t", "rsa", "-b", "2048"])];
    let recipient = |name: &str, key: &str| format!("\n[[recipients]]\nname = \"{name}\"\nkey = \"{key}\"\n");
    let keys = [maker.recipient.to_string(), ed25519.clone(), rsa.clone()];
    make("team/vault.toml", || {
        let signed = std::fs::read_to_string(fixtures().join("signed/vault.toml")).expect("just made");
        // In another order than that of the digest.
        let others = recipient("server", &rsa) + &recipient("laptop", &ed25519);
        signed.replacen("\n[[recipients]]", &format!("{others}\n[[recipients]]"), 1).into()
    });
    let ssh = |key: &str| key.parse::<age::ssh::Recipient>().expect("a key");
    let all = |name: &str, recipients: Option<String>| {
        let draft = Draft { recipients, ..Draft::new(maker, name) };
        maker.with(&draft, &|key| {
            vec![wrapped(&ssh(&format!("{ed25519}\n")), key), wrapped(&ssh(&format!("{rsa}\n")), key)]
        })
    };
    for name in ["for-all", "for-all-ed25519", "for-all-rsa"] {
        make(&format!("team/secrets/org/{name}.age"), || all(name, Some(digest(&keys))));
    }
    make("team-files/without-digest.age", || all("without-digest", None));
    make("team-files/digest-of-others.age", || all("digest-of-others", Some(digest(&keys[..2]))));
    make("team-files/digest-unsorted.age", || {
        let mut reversed = keys.to_vec();
        reversed.sort();
        reversed.reverse();
        all("digest-unsorted", Some(unsorted_digest(&reversed)))
    });
    // The digest is right, and a recipient changed the stanzas.
    let fitting = |name: &str, change: &dyn Fn(Vec<String>, &FileKey) -> Vec<String>| {
        let recipients = Some(digest(&keys));
        make(&format!("team-files/{name}.age"), || {
            let draft = Draft { recipients, ..Draft::new(maker, name) };
            maker.by_hand(&|key| {
                let wrap = |ours: &str| wrapped(&ssh(&format!("{ours}\n")), key);
                let stanzas = vec![wrapped(&maker.recipient, key), draft.stanza(key), wrap(&ed25519), wrap(&rsa)];
                change(stanzas, key)
            })
        });
    };
    let point = SigningKey::from_bytes(&[9; 32]).verifying_key().to_bytes();
    let another = ssh_key("ssh-ed25519", &[&point]);
    fitting("without-rsa", &|stanzas, _| stanzas[..3].to_vec());
    fitting("without-x25519", &|stanzas, _| stanzas[1..].to_vec());
    fitting("with-another-ssh-key", &|mut stanzas, key| {
        stanzas[2] = wrapped(&ssh(&format!("{another}\n")), key);
        stanzas
    });
    fitting("with-a-second-x25519", &|stanzas, key| [stanzas, vec![wrapped(&maker.recipient, key)]].concat());
    fitting("with-an-unknown-stanza", &|stanzas, _| [stanzas, vec![raw("example.com/other", b"")]].concat());
    fitting("with-grease", &|stanzas, _| [stanzas, vec![raw("a-grease b", b"c"), raw("-grease", b"")]].concat());
    // A recipient made a stanza useless, and left its tag and its arguments.
    let broken = |stanza: &str| {
        let first = stanza.lines().next().and_then(|line| line.strip_prefix("-> ")).expect("a stanza");
        raw(first, &vec![1; if first.starts_with("ssh-rsa") { 256 } else { 32 }])
    };
    let with_broken = |name: &str, index: usize| {
        fitting(name, &|mut stanzas, _| {
            stanzas[index] = broken(&stanzas[index]);
            stanzas
        });
    };
    with_broken("broken-ed25519", 2);
    with_broken("broken-rsa", 3);
    with_broken("broken-rsa-for-another-identity", 3);
    fitting("x25519-for-another-key", &|mut stanzas, key| {
        stanzas[0] = wrapped(&age::x25519::Identity::generate().to_public(), key);
        stanzas
    });
    fitting("rsa-with-another-file-key", &|mut stanzas, _| {
        stanzas[3] = wrapped(&ssh(&format!("{rsa}\n")), &other_key());
        stanzas
    });
    for (kind, index) in [("ed25519", 2), ("rsa", 3)] {
        let first = format!("broken-{kind}-first");
        fitting(&first, &|stanzas, _| [vec![broken(&stanzas[index])], stanzas].concat());
        let second = format!("broken-{kind}-second");
        fitting(&second, &|stanzas, _| [stanzas.clone(), vec![broken(&stanzas[index])]].concat());
    }
    make("team-files/file-key-of-17-bytes.age", || {
        let draft = Draft { recipients: Some(digest(&keys)), ..Draft::new(maker, "file-key-of-17-bytes") };
        super::long_key::file(&draft, &rsa)
    });
    make("team-files/for-the-owner-alone.age", || maker.with(&Draft::new(maker, "for-the-owner-alone"), &none));
}

/// Writes files of an author's private key.
fn author_keys(maker: &Maker) {
    let prefix = bech32::Hrp::parse("flyte-author-key-").expect("a prefix");
    let text = |bytes: &[u8]| bech32::encode::<bech32::Bech32>(prefix, bytes).expect("short enough").to_uppercase();
    let seed = maker.author.to_bytes();
    let key = text(&seed);
    let file = |name: &str, content: String| make(&format!("author-keys/{name}.key"), || content.into());
    file("bare", key.clone());
    file("with-comments", format!("# A TEST key.\r\n\n  \t{key} \t\r\n# {key}\n"));
    file("lower-case", key.to_lowercase() + "\n");
    file("padding-bits", padded("flyte-author-key-", &seed).to_uppercase() + "\n");
    file("two-keys", format!("{key}\n{key}\n"));
    file("no-key", "# no key\n\n".to_owned());
    file("public-key", public(maker.author.verifying_key().as_bytes()) + "\n");
    file("short", text(&seed[1..]) + "\n");
    file("text-after", format!("{key} # a comment\n"));
    file("byte-order-mark", format!("\u{feff}{key}\n"));
    file("no-break-space", format!("\u{a0}{key}\n"));
}

/// Writes `vault.toml` files in other forms.
fn manifests(maker: &Maker) {
    let good = std::fs::read_to_string(fixtures().join("signed/vault.toml")).expect("just made");
    let (recipient, author) = (maker.recipient.to_string(), public(maker.author.verifying_key().as_bytes()));
    let changed = |name: &str, change: &dyn Fn(&str) -> String| {
        make(&format!("manifests/{name}.toml"), || {
            let text = change(&good);
            assert_ne!(text, good, "{name} has no difference");
            text.into()
        });
    };
    let inline = |recipients: &str| {
        let (authors, id) =
            (good.split("[[authors]]").nth(1).expect("one"), good.split("\n\n").next().expect("a part"));
        format!("{id}\nrecipients = {recipients}\n\n[[authors]]{authors}")
    };
    let entry = format!("name = \"owner\", key = \"{recipient}\"");
    changed("inline-tables", &|_| inline(&format!("[\n  {{ {entry} }}, # the only one\n]")));
    changed("inline-table-with-lines", &|_| inline(&format!("[{{\n  {entry}\n}}]")));
    changed("inline-table-with-a-last-comma", &|_| inline(&format!("[{{ {entry}, }}]")));
    changed("escape-e", &|good| good.replacen("\"owner\"", r#""\e""#, 1));
    changed("escape-x", &|good| good.replacen("\"owner\"", r#""\x41""#, 1));
    changed("escape-u", &|good| good.replacen("\"owner\"", r#""\u00e9\\x41""#, 1));
    changed("literal-string", &|good| good.replacen("\"owner\"", r"'\x41\e'", 1));
    changed("name-with-conflict-marks", &|good| {
        good.replacen("\"owner\"", "\"\"\"\n<<<<<<< ours\n=======\n>>>>>>> theirs\n\"\"\"", 1)
    });
    changed("byte-order-mark", &|good| format!("\u{feff}{good}"));
    changed("lines-end-with-crlf", &|good| good.replace('\n', "\r\n"));
    changed("format-in-hexadecimal", &|good| good.replace("format = 2", "format = 0x2"));
    changed("format-as-a-string", &|good| good.replace("format = 2", "format = \"2\""));
    changed("format-as-a-float", &|good| good.replace("format = 2", "format = 2.0"));
    changed("format-3-in-another-form", &|_| "format = 3\nkeys = {\n}\n".to_owned());
    changed("member-twice", &|good| good.replace("format = 2\n", "format = 2\nformat = 2\n"));
    changed("id-with-a-line-break", &|good| good.replace("89abcdef\"", "89abcdef\\n\""));
    make("manifests/latin-1.toml", || {
        good.bytes().flat_map(|byte| if byte == b'w' { vec![0xe9] } else { vec![byte] }).collect()
    });
    changed("no-name", &|good| good.replacen("name = \"owner\"\n", "", 1));
    changed("empty-name", &|good| good.replacen("\"owner\"", "\"\"", 1));
    changed("sixty-four-characters", &|good| good.replacen("owner", &"😀".repeat(64), 1));
    changed("two-hundred-and-fifty-six-authors", &|good| {
        let more = (1..=255).map(|seed| public(&SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()));
        good.to_owned() + &more.map(|key| format!("\n[[authors]]\nname = \"a\"\nkey = \"{key}\"\n")).collect::<String>()
    });
    let key = |name: &str, old: &str, new: &str| changed(name, &|good| good.replace(old, new));
    key("author-in-upper-case", &author, &author.to_uppercase());
    key("author-with-padding-bits", &author, &padded("flyteauthor", maker.author.verifying_key().as_bytes()));
    key("author-not-canonical", &author, &public(&not_canonical()));
    let (_, bytes) = bech32::decode(&recipient).expect("a key");
    let age = |bytes: &[u8]| {
        bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("age").expect("a prefix"), bytes).expect("short enough")
    };
    let mut high = bytes.clone();
    high[31] |= 0x80;
    let mut large = [0xff; 32];
    (large[0], large[31]) = (0xed + 9, 0x7f);
    key("recipient-in-upper-case", &recipient, &recipient.to_uppercase());
    key("recipient-with-padding-bits", &recipient, &padded("age", &bytes));
    key("recipient-with-the-high-bit", &recipient, &age(&high));
    key("recipient-not-canonical", &recipient, &age(&large));
    let [ed25519, rsa] = [ssh("ssh-ed25519", &[]), ssh("ssh-rsa", &[])];
    key("ssh-recipient", &recipient, &ed25519);
    key("ssh-recipient-with-a-comment", &recipient, &format!("{ed25519} me@laptop"));
    key("ssh-recipient-with-two-spaces", &recipient, &ed25519.replace(' ', "  "));
    key("ssh-recipient-and-more", &recipient, &format!("{ed25519}AAAA"));
    key("ssh-recipient-not-canonical", &recipient, &ssh_key("ssh-ed25519", &[&not_canonical()]));
    key("ssh-recipient-of-small-order", &recipient, &ssh_key("ssh-ed25519", &[&[0; 32]]));
    let blob = STANDARD.decode(rsa.split(' ').nth(1).expect("a key")).expect("base64");
    key("rsa-with-another-part", &recipient, &format!("ssh-rsa {}", STANDARD.encode([blob, part(b"more")].concat())));
    let modulus = |bytes: usize| [&[0][..], &vec![0xab; bytes]].concat();
    key("rsa-1024", &recipient, &ssh_key("ssh-rsa", &[&[1, 0, 1], &modulus(128)]));
    key("rsa-8192", &recipient, &ssh_key("ssh-rsa", &[&[1, 0, 1], &modulus(1024)]));
    key("rsa-with-the-exponent-one", &recipient, &ssh_key("ssh-rsa", &[&[1], &modulus(256)]));
    key("rsa-with-a-leading-zero", &recipient, &ssh_key("ssh-rsa", &[&[0, 1, 0, 1], &modulus(256)]));
    let point = [&[4][..], &[0xab; 64]].concat();
    key("ecdsa", &recipient, &ssh_key("ecdsa-sha2-nistp256", &[b"nistp256", &point]));
}
