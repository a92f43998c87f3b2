//! Files to import: any file is either read or refused with line numbers; entries are the same after they are written and
//! read again, and a JSON object agrees with another reader. Input: the file.
#![no_main]

use std::collections::BTreeMap;

use flyte_local::secret::{SecretName, SecretValue};
use flyte_local::transfer::{Entry, FirstErrors, SpecialNames, SyntaxError, dotenv, json, yaml};
use libfuzzer_sys::fuzz_target;

type Values = BTreeMap<String, Option<String>>;

fn values(entries: &[Entry]) -> Values {
    entries.iter().map(|entry| (entry.name.to_string(), entry.value.as_deref().cloned())).collect()
}

/// Asserts that reported lines are lines of the file, in order.
fn look(bytes: &[u8], parsed: &Result<Vec<Entry>, FirstErrors<SyntaxError>>) {
    let lines: Vec<_> = match parsed {
        Ok(entries) => entries.iter().flat_map(|entry| entry.replaces.into_iter().chain([entry.line])).collect(),
        Err(malformed) => malformed.first().iter().map(|malformed| malformed.line).collect(),
    };
    let most = 1 + bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    assert!(lines.iter().all(|line| (1..=most).contains(line)), "{lines:?} of {most}");
    assert!(parsed.as_ref().err().is_none_or(|malformed| !malformed.is_empty()));
}

fuzz_target!(|bytes: &[u8]| {
    let parsed = dotenv::parse(bytes);
    look(bytes, &parsed);
    if let Ok(entries) = &parsed {
        let mut secrets = Vec::new();
        for entry in entries {
            let Some(value) = &entry.value else { continue };
            dotenv::is_expanded(value);
            let value = SecretValue::new(value.as_bytes().to_vec().into()).expect("less than the fuzzer makes");
            // An invalid name is tested as a value.
            let name = entry.name.parse::<SecretName>().unwrap_or_else(|_| "name".parse().expect("good"));
            let other = SecretValue::new(entry.name.as_bytes().to_vec().into()).expect("less than the fuzzer makes");
            secrets.extend([(name, value), ("name".parse().expect("good"), other)]);
        }
        // If a name occurs twice, the last value counts.
        let secrets: BTreeMap<_, _> =
            secrets.into_iter().map(|(name, value)| (name.to_string(), (name, value))).collect();
        let secrets: Vec<_> = secrets.into_values().collect();
        let expected: Values = secrets
            .iter()
            .map(|(name, value)| (name.to_string(), Some(String::from_utf8(value.expose().to_vec()).expect("text"))))
            .collect();
        let has_nul = secrets.iter().any(|(_, value)| value.expose().contains(&0));
        let file = dotenv::render(&secrets, SpecialNames::Allowed);
        assert!(file.is_err() || !has_nul);
        if let Ok(file) = file {
            assert_eq!(values(&dotenv::parse(&file).unwrap_or_else(|error| panic!("{error:?}"))), expected);
        }
        let file = json::render(&secrets).expect("text");
        assert_eq!(values(&json::parse(&file).unwrap_or_else(|error| panic!("{error:?}"))), expected);
        assert_eq!(values(&yaml::parse(&file).unwrap_or_else(|error| panic!("{error:?}"))), expected);
    }

    let parsed = json::parse(bytes);
    look(bytes, &parsed);
    if let Ok(entries) = parsed {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        // Some numbers keep their exact value only as text.
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(text) {
            let object = value.as_object().expect("it was read");
            assert_eq!(object.len(), entries.len());
            for entry in &entries {
                let found = &object[entry.name.as_str()];
                assert!(!found.is_string() || found.as_str() == entry.value.as_deref().map(String::as_str));
            }
        }
    }

    let parsed = yaml::parse(bytes);
    if let Err(malformed) = &parsed {
        assert!(!malformed.is_empty());
    }
});
