//! The binding in a file's header: only a binding that names the file's own place, with a signature over exactly that binding,
//! gives a value. Input: a digit that chooses the place, and the binding's JSON, in which `$AUTHOR`, `$COMMITMENT` and
//! `$SIGNATURE` stand for valid ones.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flyte_local::crypto::{self, AuthorKey};
use flyte_local::secret::SecretValue;
use flyte_local_fuzz::{Home, VAULT_ID, author, id, identities, path};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const VALUE: &[u8] = b"a value";

/// Project, domain and name.
const PLACES: [(&str, &str, &str); 4] = [("", "", "n"), ("p", "", "n"), ("", "d", "n"), ("p", "d", "n")];

thread_local!(static HOME: (Home, AuthorKey) = (Home::new(), author()));

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, template)) = bytes.split_first() else { return };
    let Ok(template) = std::str::from_utf8(template) else { return };
    let place @ (project, domain, name) = PLACES[usize::from(choice % 4)];
    let value = SecretValue::new(VALUE.to_vec().into()).expect("small enough");
    HOME.with(|(home, key)| {
        let made = std::cell::RefCell::new(String::new());
        let bind = |commitment: &crypto::Commitment| {
            let text = template.replace("$AUTHOR", &key.author().to_string());
            let text = text.replace("$COMMITMENT", &STANDARD.encode(commitment));
            // Over the binding without the signature.
            let signature = serde_json::from_str(&text).ok().and_then(|json| message(&json)).map(|m| key.sign(&m));
            let text = text.replace("$SIGNATURE", &STANDARD.encode(signature.unwrap_or([0; 64])));
            made.borrow_mut().clone_from(&text);
            text.into_bytes()
        };
        let sealed = crypto::seal(&value, &bind, &[identities()[0].recipient()]).expect("it seals");
        home.clear();
        let id = id(project, domain, name);
        home.put(path(&id), &sealed.bytes);
        let vault = home.open();
        let (metadata, opened) = (vault.metadata(&id), vault.value(&id, &identities()));
        let Ok(metadata) = metadata else {
            assert!(opened.is_err());
            return;
        };
        let json: Value = serde_json::from_str(&made.borrow()).expect("it was understood");
        assert_eq!(json["vault"], VAULT_ID);
        let part = |member: &str| json[member].as_str().unwrap_or_default().to_owned();
        assert_eq!((&*part("project"), &*part("domain"), &*part("name")), place);
        assert_eq!(metadata.id, id);
        assert_eq!(part("type"), metadata.secret_type.as_str());
        assert_eq!(part("created").parse::<Timestamp>().expect("a time"), metadata.created);
        assert_eq!(part("updated").parse::<Timestamp>().expect("a time"), metadata.updated);

        let opened = opened.ok();
        // Both ways: a file signed as the format says opens, and no other does.
        let signature = STANDARD.decode(part("signature")).ok().and_then(|bytes| bytes.try_into().ok());
        let commitment = crypto::open(&sealed.bytes, &identities()).expect("a sound file").commitment;
        let is_signed = part("author") == key.author().to_string()
            && part("commitment") == STANDARD.encode(commitment)
            && signature.is_some_and(|bytes| message(&json).is_some_and(|m| key.author().has_signed(&m, &bytes)));
        assert_eq!(opened.is_some(), is_signed);
        assert!(opened.is_none_or(|opened| opened.expose() == VALUE));
    });
});

/// Returns the signed message, written from `docs/vault-format.md` alone.
fn message(json: &Value) -> Option<Vec<u8>> {
    let text = |member: &str| json[member].as_str().unwrap_or_default().as_bytes().to_vec();
    let parts = [
        b"flyte-local/secret-v2".to_vec(),
        text("vault"),
        text("project"),
        text("domain"),
        text("name"),
        text("type"),
        text("created"),
        text("updated"),
        json["author"].as_str()?.parse::<crypto::Author>().ok()?.as_bytes().to_vec(),
        STANDARD.decode(json["commitment"].as_str()?).ok()?,
    ];
    Some(parts.iter().flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part].concat()).collect())
}
