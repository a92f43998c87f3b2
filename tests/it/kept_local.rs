//! Calls that a run keeps from the cluster, and the messages about them.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::net::TcpListener;

use crate::support::{SDKS, Sandbox, python};

/// A sandbox whose Flyte configuration names a cluster that must not be called, and a script that calls it with `call`.
fn sandbox(call: &str) -> (Sandbox, TcpListener, String) {
    let sandbox = Sandbox::new();
    let cluster = TcpListener::bind("127.0.0.1:0").expect("a free port");
    cluster.set_nonblocking(true).expect("it can be asked");
    let endpoint = format!("dns:///{}", cluster.local_addr().expect("bound"));
    let configuration = format!(
        "admin:\n  endpoint: {endpoint}\n  insecure: true\ntask:\n  org: o\n  project: p\n  domain: d\nlocal:\n  tracked: true\n"
    );
    sandbox.file("config.yaml", configuration);
    sandbox.file(
        "script.py",
        format!(
            "import flyte\nimport flyte.remote\n\nenv = flyte.TaskEnvironment(name='env')\n\n\n@env.task\ndef main(x: int = 1) -> int:\n    \
             return x\n\n\n@env.task\ndef asks() -> str:\n    return flyte.remote.Run.get('a').name\n\n\n\
             if __name__ == '__main__':\n    flyte.init_from_config()\n    {call}\n"
        ),
    );
    (sandbox, cluster, endpoint)
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_call_that_a_run_keeps_from_the_cluster_is_named_with_ways_to_go_on() {
    for sdk in SDKS {
        for (call, name, first_hint) in [
            ("flyte.deploy(env)", "flyte.deploy", "use Flyte's own command: flyte-local flyte deploy --all script.py"),
            ("print(flyte.remote.Run.get('a'))", "flyte.remote.Run.get", ""),
            ("list(flyte.remote.Run.listall())", "flyte.remote.Run.listall", ""),
            ("flyte.remote.Secret.create('a', 'b')", "flyte.remote.Secret.create", ""),
            ("flyte.run(asks)", "flyte.remote.Run.get", ""),
        ] {
            let (sandbox, cluster, endpoint) = sandbox(call);
            let ran = sandbox.flyte_run(sdk, &["script.py"]);
            assert_eq!(ran.code, 1, "{sdk} {call}: {ran:?}");
            let python = python(sdk);
            let mut said = format!(
                "error: {name} was kept from the cluster {endpoint}: flyte-local run keeps everything on this machine\n"
            );
            if !first_hint.is_empty() {
                said += &format!("hint: {first_hint}\n");
            }
            said +=
                "hint: to run a task here that may call the cluster: flyte-local flyte run --local script.py TASK\n";
            let by_exec = format!("flyte-local exec --all -- {} script.py", python.display());
            said += &format!("hint: to run the code as it is, with secrets as variables: {by_exec}\n");
            assert!(ran.stderr.ends_with(&said), "{sdk} {call}: {ran:?}\n{said}");
            assert!(!ran.all().contains("has not been initialized"), "{sdk} {call}: {ran:?}");
            assert!(!ran.stderr.contains("Traceback"), "{sdk} {call}: {ran:?}");
            assert!(cluster.accept().is_err(), "{sdk} {call}: the cluster was called");
        }
        // A task that Flyte's own command starts says the same.
        let (sandbox, _cluster, endpoint) = sandbox("pass");
        let ran = sandbox.flyte_run(sdk, &["script.py", "asks"]);
        let said = format!("error: flyte.remote.Run.get was kept from the cluster {endpoint}: ");
        assert!(ran.code == 1 && ran.stderr.contains(&said), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_script_without_a_cluster_gets_the_error_of_the_sdk() {
    for sdk in SDKS {
        let (sandbox, ..) = sandbox("flyte.remote.Run.get('a')");
        sandbox.file("config.yaml", "task:\n  project: p\n");
        let ran = sandbox.flyte_run(sdk, &["script.py"]);
        assert!(ran.code == 1 && ran.all().contains("Client has not been initialized"), "{sdk}: {ran:?}");
        assert!(!ran.all().contains("kept from"), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_tracked_run_stays_here_and_the_hint_names_flytes_own_command() {
    let hint = "hint: Flyte's own command reports a run to its control plane: flyte-local flyte run --tracked script.py TASK\n";
    for (call, what) in [
        ("print('=>', flyte.run(main).outputs()[0])", "local.tracked"),
        (
            "print('=>', flyte.with_runcontext('local', tracked=True, tracked_strict=True).run(main).outputs()[0])",
            "tracked=True",
        ),
    ] {
        let (sandbox, cluster, _) = sandbox(call);
        let ran = sandbox.flyte_run("newest", &["script.py"]);
        assert_eq!((ran.code, ran.said()), (0, vec!["1".to_owned()]), "{call}: {ran:?}");
        let said = format!("flyte-local: {what} is passed over: a run stays on this machine\n{hint}");
        assert!(ran.stderr.contains(&said), "{call}: {ran:?}");
        assert!(cluster.accept().is_err(), "{call}: the cluster was called");
    }
}
