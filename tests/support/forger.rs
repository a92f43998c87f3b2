//! Makes files for a vault without flyte-local. Anyone who knows its recipients can.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::Write;

use age_core::format::{FileKey, Stanza};
use age_core::secrecy::ExposeSecret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hmac::{Hmac, Mac};

/// A recipient that appends more stanzas to its own. The function makes them from the file key.
struct With<'a>(&'a age::x25519::Recipient, &'a dyn Fn(&FileKey) -> Vec<Stanza>);

impl age::Recipient for With<'_> {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        let (mut stanzas, labels) = self.0.wrap_file_key(file_key)?;
        stanzas.extend((self.1)(file_key));
        Ok((stanzas, labels))
    }
}

/// Returns a valid age file for `recipient`, with the stanzas that `stanzas` makes from its key; age adds a stanza at the end.
pub fn keyed(recipient: &age::x25519::Recipient, stanzas: &dyn Fn(&FileKey) -> Vec<Stanza>, payload: &[u8]) -> Vec<u8> {
    let recipient = With(recipient, stanzas);
    let mut file = Vec::new();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
    let mut writer = encryptor.expect("a recipient").wrap_output(&mut file).expect("into memory");
    writer.write_all(payload).expect("into memory");
    writer.finish().expect("into memory");
    file
}

/// Returns a valid age file with one more stanza, of this tag and body.
pub fn file(recipient: &str, tag: &str, body: &[u8], payload: &[u8]) -> Vec<u8> {
    let stanza = |_: &FileKey| vec![Stanza { tag: tag.to_owned(), args: Vec::new(), body: body.to_vec() }];
    keyed(&recipient.parse().expect("a recipient"), &stanza, payload)
}

/// An identity that remembers the file key.
struct Keeper<'a>(&'a age::x25519::Identity, RefCell<Option<FileKey>>);

impl age::Identity for Keeper<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        let found = self.0.unwrap_stanza(stanza);
        if let Some(Ok(key)) = &found {
            let copy = FileKey::init_with_mut(|bytes| bytes.copy_from_slice(key.expose_secret()));
            *self.1.borrow_mut() = Some(copy);
        }
        found
    }
}

/// Returns the file with other stanzas, as any of its recipients can make it: the payload, the binding and the file key are the
/// same, and the header's MAC is right. `change` gets the text of each stanza, and a function that makes the one of a recipient.
pub fn with_stanzas(
    file: &[u8],
    identity: &age::x25519::Identity,
    change: impl FnOnce(&mut Vec<String>, &dyn Fn(&age::x25519::Recipient) -> String),
) -> Vec<u8> {
    let keeper = Keeper(identity, RefCell::new(None));
    let decryptor = age::Decryptor::new_buffered(file).expect("an age file");
    assert!(decryptor.decrypt(std::iter::once(&keeper as &dyn age::Identity)).is_ok(), "it is a recipient");
    let key = keeper.1.into_inner().expect("it opened the file");
    let end = file.windows(5).position(|bytes| bytes == b"\n--- ").expect("a MAC") + 1;
    let payload = end + file[end..].iter().position(|&byte| byte == b'\n').expect("the end of the header") + 1;
    let header = std::str::from_utf8(&file[..end]).expect("text");
    let mut parts = header.split("-> ");
    let version = parts.next().expect("the version");
    let mut stanzas: Vec<_> = parts.map(|stanza| format!("-> {stanza}")).collect();
    let wrapped = |recipient: &age::x25519::Recipient| {
        let (stanzas, _) = age::Recipient::wrap_file_key(recipient, &key).expect("wrapped");
        let line = |Stanza { tag, args, body }: &Stanza| {
            format!("-> {tag} {}\n{}\n", args.join(" "), STANDARD_NO_PAD.encode(body))
        };
        stanzas.iter().filter(|stanza| stanza.tag == "X25519").map(line).collect::<String>()
    };
    change(&mut stanzas, &wrapped);
    let header = format!("{version}{}---", stanzas.concat());
    let mac_key = age_core::primitives::hkdf(b"", b"header", key.expose_secret());
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&mac_key).expect("any length");
    mac.update(header.as_bytes());
    let mac = STANDARD_NO_PAD.encode(mac.finalize().into_bytes());
    [format!("{header} {mac}\n").as_bytes(), &file[payload..]].concat()
}
