//! A look at a header, whatever the bytes: the result agrees with a line-by-line reader, and no byte after the header and
//! its nonce changes it. age's parser accepts each header that is accepted. Input: a file.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use flyte_local::crypto::{self, MAX_HEADER_BYTES, MAX_STANZAS, SIGNED_TAG, UNSIGNED_TAG};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|file: &[u8]| {
    let Ok(peeked) = crypto::peek(file) else {
        assert!(crypto::open(file, &[]).is_err());
        return;
    };
    assert!(is_read_by_age(file), "age's parser refuses it");
    let (length, stanzas) = read(file);
    assert!(length <= MAX_HEADER_BYTES && stanzas.len() <= MAX_STANZAS);
    let ours: Vec<_> = stanzas.iter().filter(|(tag, _)| tag == SIGNED_TAG || tag == UNSIGNED_TAG).collect();
    let [(tag, body)] = ours[..] else { panic!("{} bindings", ours.len()) };
    assert_eq!((peeked.binding.is_signed, &peeked.binding.body), (tag == SIGNED_TAG, body));

    let end = length + 16;
    assert_eq!(crypto::peek(&file[..end]).expect("it is all that is looked at"), peeked);
    assert!(crypto::peek(&file[..end - 1]).is_err(), "without a whole nonce");
    let mut longer = file[..end].to_vec();
    longer.extend_from_slice(b"\n-> flyte-local/secret-v1\n\n--- ");
    assert_eq!(crypto::peek(&longer).expect("what follows does not count"), peeked);
});

/// Returns true if age's parser accepts the header, and none of its stanzas is for a passphrase.
fn is_read_by_age(file: &[u8]) -> bool {
    age::Decryptor::new_buffered(file).is_ok_and(|decryptor| !decryptor.is_scrypt())
}

/// Returns the length of the header, and each stanza's first line after the arrow with its body.
fn read(file: &[u8]) -> (usize, Vec<(String, Vec<u8>)>) {
    let mut length = 0;
    let mut stanzas = Vec::<(String, String)>::new();
    for line in file.split_inclusive(|&byte| byte == b'\n') {
        length += line.len();
        let line = std::str::from_utf8(line).expect("a header is text").strip_suffix('\n').expect("whole lines");
        if line.starts_with("---") {
            break;
        } else if let Some(first) = line.strip_prefix("-> ") {
            stanzas.push((first.to_owned(), String::new()));
        } else if let Some((_, body)) = stanzas.last_mut() {
            body.push_str(line);
        }
    }
    let decode = |(tag, body)| (tag, STANDARD_NO_PAD.decode(body).expect("base64"));
    (length, stanzas.into_iter().map(decode).collect())
}
