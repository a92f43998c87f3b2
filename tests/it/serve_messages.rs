//! Compares our copy of Flyte's messages (`src/service/messages.proto`) with those of the installed SDKs, and their JSON with
//! that of protobuf's own Python.

#![allow(clippy::disallowed_methods, reason = "tests write files, and read the environment")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::http::{JSON, post};
use crate::support::{Ran, Random, SDKS, Sandbox, python, tally};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn messages<A: AsRef<std::ffi::OsStr>>(sandbox: &Sandbox, sdk: &str, arguments: &[A]) -> Value {
    let mut command = sandbox.program(python(sdk));
    command.arg(root().join("tests/python/serve_messages.py")).args(arguments);
    let ran = Ran::from(command.output().expect("Python starts"));
    assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{sdk}: {error}: {ran:?}"))
}

/// Fields that the SDK's description has and ours leaves out: a vault has no values for them.
const LEFT_OUT: [&str; 3] = [
    "flyteidl2.secret.SecretStatus 2",
    "flyteidl2.secret.SecretPresenceStatus",
    "flyteidl2.secret.ClusterSecretStatus",
];

/// Fields that the oldest SDK does not have yet.
const NEWER: [&str; 3] = [
    "flyteidl2.secret.GetSecretRequest 2",
    "flyteidl2.secret.DeleteSecretRequest 2",
    "flyteidl2.secret.ListSecretsRequest 7",
];

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn messages_and_paths_match_flytes() {
    let sandbox = Sandbox::new();
    let ours = root().join("fixtures/messages.descriptor");
    let serving = sandbox.serve();
    let (mut compared, mut paths) = (0, BTreeSet::new());
    for sdk in SDKS {
        let both = messages(&sandbox, sdk, &[std::ffi::OsStr::new("describe"), ours.as_os_str()]);
        let (ours, theirs) = (both["ours"].as_object().expect("ours"), both["theirs"].as_object().expect("theirs"));
        for (name, fields) in ours {
            let fields = fields.as_object().expect("its fields");
            let their = theirs.get(name).unwrap_or_else(|| panic!("{sdk}: there is no {name}"));
            for (number, field) in fields {
                let place = format!("{name} {number}");
                if sdk == "oldest" && NEWER.contains(&&*place) {
                    assert_eq!(their.get(number), None, "{place} is not new");
                    continue;
                }
                assert_eq!(Some(field), their.get(number), "{sdk}: {place}");
                compared += 1;
            }
        }
        assert!(ours.contains_key("flyteidl2.secret.SecretSpec"), "{ours:?}");
        for (name, fields) in theirs.iter().filter(|(name, _)| name.starts_with("flyteidl2.secret.")) {
            for number in fields.as_object().expect("its fields").keys() {
                let is_there = ours.get(name).is_some_and(|fields| fields.get(number).is_some());
                let is_left_out = LEFT_OUT.iter().any(|left| name == left || format!("{name} {number}") == *left);
                assert!(is_there != is_left_out, "{sdk}: {name} {number} is new, or there again");
            }
        }
        paths.extend(both["services"].as_object().expect("services").keys().cloned());
    }
    let methods = ["CreateSecret", "UpdateSecret", "GetSecret", "ListSecrets", "DeleteSecret"];
    let mut expected: BTreeSet<_> =
        methods.iter().map(|method| format!("/flyteidl2.secret.SecretService/{method}")).collect();
    expected.insert("/flyteidl2.cluster.ClusterService/SelectCluster".to_owned());
    assert_eq!(paths, expected);
    for path in &paths {
        let reply = serving.connect().ask(&post(path, &JSON, b"{}"));
        assert!([200, 400].contains(&reply.status), "{path}: {reply:?}");
    }
    for path in ["/flyteidl2.secret.SecretService/RevealSecret", "/flyteidl2.secret.Secrets/GetSecret", "/", "//"] {
        let reply = serving.connect().ask(&post(path, &JSON, b"{}"));
        assert!(![200, 400].contains(&reply.status), "{path}: {reply:?}");
    }
    tally(&format!("serve: {compared} fields of messages and values of enums are those of two SDKs"));
}

/// Returns each secret of a vault with its value, by its name and scope in words.
fn contents(sandbox: &Sandbox) -> BTreeMap<String, (String, Vec<u8>)> {
    let (vault, identities) = (sandbox.open_vault(), sandbox.identities());
    let listing = vault.list(&Default::default()).expect("listed");
    assert!(listing.refused.is_empty(), "{:?}", listing.refused);
    let content = |metadata: flyte_local::vault::Metadata| {
        let value = vault.value(&metadata.id, &identities).expect("it opens").expose().to_vec();
        (metadata.id.to_string(), (format!("{:?}", metadata.secret_type), value))
    };
    listing.secrets.into_iter().map(content).collect()
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn json_and_protobuf_mean_the_same() {
    let count: usize = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 20_000 } else { 500 };
    let mut random = Random::seeded();
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for sdk in SDKS {
        let sandboxes = [(); 2].map(|()| Sandbox::in_memory());
        sandboxes.iter().for_each(|sandbox| drop(sandbox.ok(&["init"])));
        let serving = sandboxes.each_ref().map(Sandbox::serve);
        let [one, other] = serving.each_ref().map(|serving| serving.address().to_string());
        let (seed, count) = (random.below(1 << 32).to_string(), count.to_string());
        let outcomes = messages(&sandboxes[0], sdk, &["requests", &one, &other, &seed, &count]);
        for (outcome, times) in outcomes.as_object().expect("outcomes") {
            *seen.entry(outcome.clone()).or_default() += times.as_u64().expect("a number");
        }
        let [one, other] = sandboxes.each_ref().map(contents);
        assert!(one == other, "{sdk}: {:?} and {:?}", one.keys(), other.keys());
        assert!(!one.is_empty(), "{sdk}: nothing was written");
        for serving in serving {
            assert_eq!(serving.end(rustix::process::Signal::TERM), 0);
        }
    }
    for outcome in
        ["Create done", "Create already_exists", "Update done", "Update not_found", "Get done", "Delete done"]
    {
        let (method, outcome) = outcome.split_once(' ').expect("two words");
        assert!(seen.contains_key(&format!("{method}Secret {outcome}")), "{method} {outcome}: {seen:?}");
    }
    for method in ["CreateSecret", "UpdateSecret", "GetSecret", "DeleteSecret", "ListSecrets"] {
        assert!(seen.contains_key(&format!("{method} invalid_argument")), "{method}: {seen:?}");
    }
    let done: u64 = seen.iter().filter(|(outcome, _)| outcome.ends_with(" done")).map(|(_, times)| times).sum();
    tally(&format!(
        "serve: {} random requests as JSON and as protobuf answered alike, {done} of them done, in {} ways",
        seen.values().sum::<u64>(),
        seen.len()
    ));
}
