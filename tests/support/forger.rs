//! Makes files for a vault without flyte-local. Anyone who knows its recipients can.

use std::collections::HashSet;
use std::io::Write;

use age_core::format::{FileKey, Stanza};

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
