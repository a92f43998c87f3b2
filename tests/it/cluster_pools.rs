//! Cluster pools, which a vault does not have: `push` sends to one, and every other command and `serve` refuse one.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use crate::push::Cluster;
use crate::support::{Ran, Sandbox, python};
use serde_json::json;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.secret("api_key", "a-value-for-the-pool", &[]);
    sandbox.secret("of_a_project", "another-value", &["-p", "shop"]);
    sandbox
}

/// SDK 2.4 cannot call `SelectCluster` through the client that is installed beside it.
#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn secrets_of_the_organization_are_sent_to_a_cluster_pool() {
    for sdk in ["2.8", "newest"] {
        let sandbox = sandbox();
        let cluster = Cluster::start(&sandbox, sdk, &json!({}));
        let ran = cluster.push(&sandbox, &["--yes", "--cluster-pool", "pool-a"]);
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        assert!(ran.stderr.contains(", cluster pool pool-a"), "{sdk}: {ran:?}");
        assert_eq!(cluster.written(), [("org/api_key".to_owned(), b"a-value-for-the-pool".to_vec())], "{sdk}");
        let calls = cluster.calls();
        let pools: Vec<_> = calls.iter().filter(|call| call["method"] == "SelectCluster").collect();
        assert!(!pools.is_empty() && pools.iter().all(|call| call["place"][2] == "pool-a"), "{sdk}: {calls:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_pool_that_the_cluster_lacks_or_the_sdk_does_not_know_ends_the_push() {
    let sandbox = sandbox();
    let cluster = Cluster::start(&sandbox, "newest", &json!({}));
    let ran = cluster.push(&sandbox, &["--yes", "--cluster-pool", "other"]);
    assert_eq!((ran.code, cluster.written().len()), (1, 0), "{ran:?}");
    assert!(ran.stderr.contains("error: the Flyte SDK cannot find the cluster pool other\n"), "{ran:?}");
    assert!(ran.stderr.contains("there is no such pool"), "{ran:?}");
    drop(cluster);
    let cluster = Cluster::start(&sandbox, "oldest", &json!({}));
    let ran = cluster.push(&sandbox, &["--yes", "--cluster-pool", "pool-a"]);
    let old = python("oldest");
    let said = format!("error: the Flyte SDK of {} sends secrets to no cluster pool\n", old.display());
    assert!(ran.code == 1 && ran.stderr.contains(&said), "{ran:?}");
    assert_eq!(cluster.written().len(), 0);
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_service_refuses_a_cluster_pool() {
    let sandbox = sandbox();
    let own = python("newest").with_file_name("flyte");
    let own = own.to_str().expect("UTF-8");
    for (arguments, finds) in [
        (&["create", "secret", "new", "--value", "b", "--cluster-pool", "gpu"][..], false),
        (&["get", "secret", "api_key", "--cluster-pool", "gpu"], false),
        (&["delete", "secret", "api_key", "--cluster-pool", "gpu"], false),
        (&["get", "secret", "api_key"], true),
        (&["create", "secret", "new", "--value", "b"], true),
    ] {
        let command = [&["serve", "--", own][..], arguments].concat();
        let ran: Ran = sandbox.run(&command);
        assert_eq!(ran.code == 0, finds, "{arguments:?}: {ran:?}");
        // The SDK draws a frame and wraps the words in it.
        let said = ran.all().replace(['│', '\n'], " ");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(said.contains("a vault has no cluster pools"), !finds, "{arguments:?}: {ran:?}");
    }
    assert_eq!(sandbox.value("org/api_key"), Some(b"a-value-for-the-pool".to_vec()));
}
