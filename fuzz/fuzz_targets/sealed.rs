//! A written secret opens to the same bytes, and an edited file does not. Input: the number of edits (modulo 4), for each two
//! bytes of an offset and one to change it by (0 cuts the file there), and the value.
#![no_main]

use flyte_local::secret::{SecretType, SecretValue};
use flyte_local::vault::Vault;
use flyte_local_fuzz::{Home, id, identities, path};
use libfuzzer_sys::fuzz_target;

thread_local!(static HOME: Home = Home::new());

fuzz_target!(|bytes: &[u8]| {
    let Some((count, rest)) = bytes.split_first() else { return };
    let Some((edits, value)) = rest.split_at_checked(3 * usize::from(count % 4)) else { return };
    let value = SecretValue::new(value.to_vec().into()).expect("the fuzzer's inputs are small");
    HOME.with(|home| {
        home.clear();
        let (mut vault, id) = (home.open(), id("p", "d", "n"));
        vault.writer().expect("writable").create_secret(&id, SecretType::Regular, &value).expect("created");
        let read = |vault: &Vault| vault.value(&id, &identities()).map(|value| value.expose().to_vec());
        assert!(read(&vault).expect("what was sealed opens") == value.expose());

        let file = home.vault().join(path(&id));
        let whole = std::fs::read(&file).expect("there");
        let mut edited = whole.clone();
        for edit in edits.chunks(3) {
            let offset = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % whole.len();
            match edited.get_mut(offset) {
                Some(byte) if edit[2] != 0 => *byte ^= edit[2],
                _ => edited.truncate(offset),
            }
        }
        std::fs::write(&file, &edited).expect("written");
        assert_eq!(read(&vault).is_ok(), edited == whole);
        let updated = vault.writer().expect("writable").update_secret(&id, &value);
        if edited == whole {
            assert!(updated.is_ok() && read(&vault).expect("what was sealed opens") == value.expose());
        } else if updated.is_err() {
            assert!(std::fs::read(&file).expect("there") == edited, "what was refused was left alone");
        } else {
            // The binding is whole, and an update relies on nothing else.
            assert!(read(&vault).expect("what was sealed opens") == value.expose());
        }
    });
});
