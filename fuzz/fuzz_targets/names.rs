//! Names and the places of secrets: the accepted ones are those of the format's document, each leads to one file in the vault,
//! and that file leads back. Input: a name, a project, a domain and any file's name, with a NUL between each.
#![no_main]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use flyte_local::secret::{Domain, Project, ScopeFilter, SecretId, SecretName, SecretType, SecretValue};
use flyte_local::vault::VaultError;
use flyte_local_fuzz::{Home, files, id, identities, path};
use libfuzzer_sys::fuzz_target;

thread_local!(static HOME: Home = Home::new());

/// Returns true if the text matches `^[-a-zA-Z0-9_]+$` and is not too long.
fn is_good(text: &[u8], limit: usize) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=limit).contains(&text.len()) && text.iter().all(allowed)
}

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(4, |&byte| byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (name, project, domain, file) = (next(), next(), next(), next());
    for part in [name, project, domain] {
        let Ok(text) = std::str::from_utf8(part) else { continue };
        assert_eq!(text.parse::<SecretName>().is_ok_and(|name| name.to_string() == text), is_good(part, 251));
        assert_eq!(text.parse::<Project>().is_ok_and(|name| name.to_string() == text), is_good(part, 63));
        assert_eq!(text.parse::<Domain>().is_ok_and(|name| name.to_string() == text), is_good(part, 63));
        let json = serde_json::Value::from(text);
        assert_eq!(serde_json::from_value::<SecretName>(json).is_ok(), is_good(part, 251));
    }
    HOME.with(|home| {
        home.clear();
        if is_good(name, 251) {
            let text = |part| std::str::from_utf8(part).unwrap_or_default();
            there_and_back(home, &id(text(project), text(domain), text(name)));
        }
        home.clear();
        let found = home.vault().join("secrets").join("project").join(OsStr::from_bytes(project));
        // A file system does not allow every name.
        let is_name = |name: &[u8]| {
            (1..=255).contains(&name.len())
                && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
                && name != b"."
                && name != b".."
        };
        // A file in the place of the directory with a project's domains is a different error.
        if is_name(project) && is_name(file) && file != b"domain" {
            std::fs::create_dir_all(&found).expect("made");
            std::fs::write(found.join(OsStr::from_bytes(file)), b"").expect("written");
            let listing = home.open().list(&ScopeFilter::default()).expect("listed");
            assert!(listing.secrets.is_empty());
            let is_secret = file.strip_suffix(b".age").is_some_and(|name| is_good(name, 251)) && is_good(project, 63);
            assert_eq!(listing.refused.len(), usize::from(is_secret));
            if let [VaultError::Refused { id, path: refused, .. }] = &listing.refused[..] {
                assert_eq!(path(id).as_bytes(), [b"secrets/project/", project, b"/", file].concat());
                assert_eq!(refused, &found.join(OsStr::from_bytes(file)));
            }
        }
    });
});

fn there_and_back(home: &Home, id: &SecretId) {
    let mut vault = home.open();
    let value = SecretValue::new(id.to_string().into_bytes().into()).expect("small enough");
    vault.writer().expect("writable").create_secret(id, SecretType::Regular, &value).expect("created");
    let beneath: Vec<_> = files(&home.vault()).into_iter().filter(|file| file.starts_with("secrets")).collect();
    assert_eq!(beneath, [path(id)]);
    let listing = vault.list(&ScopeFilter::default()).expect("listed");
    assert!(listing.refused.is_empty());
    assert_eq!(listing.secrets.iter().map(|found| &found.id).collect::<Vec<_>>(), [id]);
    assert_eq!(vault.scopes_of(&id.name).expect("listed"), [id.scope.clone()]);
    assert_eq!(vault.value(id, &identities()).expect("it opens").expose(), value.expose());
    assert!(vault.lock().expect("lockable").delete_secret(id).expect("deleted"));
    assert!(files(&home.vault().join("secrets")).is_empty());
}
