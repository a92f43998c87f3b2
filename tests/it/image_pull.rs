//! Image pull secrets are byte for byte what the SDK's own functions make of the same inputs, for any Docker configuration
//! and credential helpers. Inputs that the SDK refuses are refused, and no password is shown.

#![allow(clippy::disallowed_methods, reason = "tests write files as any program could")]

use std::path::Path;
use std::process::Command;

use crate::support::{FLYTE_LOCAL, Ran, Random, SDKS, Sandbox, executable, python, regressions, require, tally};
use serde_json::{Value, json};

/// Python code that reads a list of cases and answers with each case's document in base64, or null for a refused case.
const SDKS_OWN: &str = r#"
import base64, json, logging, sys
from flyte._utils import docker_credentials as docker

logging.disable(logging.CRITICAL)
answers = []
for number, case in enumerate(json.load(open("cases.json"))):
    try:
        if "config" in case:
            path = f"{number}.config"
            open(path, "w", encoding="utf-8").write(case["config"])
            # As its command reads the option.
            registries = [name.strip() for name in case["registries"].split(",")] if case["registries"] else None
            document = docker.create_dockerconfigjson_from_config(registries=registries, docker_config_path=path)
        else:
            document = docker.create_dockerconfigjson_from_credentials(*case["credentials"])
        answers.append(base64.b64encode(document.encode()).decode())
    except Exception:
        answers.append(None)
json.dump(answers, sys.stdout)
"#;

/// Credential helpers, as scripts: one knows every registry, one knows none and says so as Docker's helpers do, one
/// answers in another form, and one answers with a token.
const HELPERS: [(&str, &str); 5] = [
    // As Docker's own, it knows Docker Hub by one name.
    ("hub", r#"test "$(cat)" = https://index.docker.io/v1/ && printf '{"Username":"me","Secret":"hunter2"}'"#),
    (
        "good",
        r#"test "$1" = get && test -z "$FLYTE_LOCAL_IDENTITY_KEY" || exit 3
printf '{"ServerURL":"%s","Username":"us\\u00e9r","Secret":"hunter2 für %s 🔑"}' "$(cat)" "$FOR""#,
    ),
    ("fails", "cat >/dev/null; echo 'credentials not found in native keychain: hunter2'; exit 1"),
    ("junk", "cat >/dev/null; echo hunter2"),
    ("to-ken_1.0", r#"printf '{"Username":"<token>","Secret":"hunter2 %s"}' "$(wc -c)""#),
];

struct Docker {
    sandbox: Sandbox,
}

impl Docker {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        for (name, script) in HELPERS {
            let path = sandbox.work().join(format!("bin/docker-credential-{name}"));
            executable(&path, format!("#!/bin/sh\n{script}\n"));
        }
        Self { sandbox }
    }

    /// Adds the helpers to the command's PATH.
    fn prepared(&self, mut command: Command) -> Command {
        let path = std::env::var_os("PATH").expect("PATH is set");
        let helpers = std::iter::once(self.sandbox.work().join("bin")).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(helpers).expect("paths")).env("FOR", "a registry");
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.prepared(self.sandbox.command(arguments));
        command.env("FLYTE_LOCAL_IDENTITY_KEY", "an identity");
        Ran::from(command.output().expect("flyte-local starts"))
    }

    /// Returns the documents that the SDK makes of these cases.
    fn sdks_own(&self, sdk: &str, cases: &[Value]) -> Vec<Option<Vec<u8>>> {
        use base64::Engine;
        self.sandbox.file("cases.json", Value::from(cases.to_vec()).to_string());
        let mut command = self.prepared(self.sandbox.program(python(sdk)));
        let ran = Ran::from(command.args(["-c", SDKS_OWN]).output().expect("Python starts"));
        assert_eq!(ran.code, 0, "{ran:?}");
        let answers: Vec<Option<String>> = serde_json::from_slice(&ran.stdout).expect("JSON");
        let decoded = |text| base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
        answers.into_iter().map(|answer| answer.map(decoded)).collect()
    }

    /// Returns the document that flyte-local makes of a case.
    fn ours(&self, name: &str, case: &Value) -> (Ran, Option<Vec<u8>>) {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let mut options = vec!["create".to_owned(), "secret".into(), name.into(), "--type=image_pull".into()];
        if let Some(config) = case.get("config") {
            let path = self.sandbox.file("config.json", text(config));
            options.extend(["--from-docker-config".into(), "--docker-config-path".into()]);
            options.push(path.into_os_string().into_string().expect("UTF-8"));
            options.extend(case["registries"].as_str().map(|list| format!("--registries={list}")));
        } else {
            let parts = ["registry", "username", "password"].into_iter().enumerate();
            options.extend(parts.map(|(at, part)| format!("--{part}={}", text(&case["credentials"][at]))));
        }
        let ran = self.run(&options.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!ran.all().contains("hunter2"), "a password is shown: {ran:?}");
        (ran, self.sandbox.value(&format!("org/{name}")))
    }

    /// Asserts that both make the same document of each case. Returns the number of cases, and of those that were refused.
    fn compare(&self, cases: &[Value]) -> (usize, usize) {
        let ours: Vec<_> =
            cases.iter().enumerate().map(|(number, case)| self.ours(&format!("c{number}"), case)).collect();
        for sdk in SDKS {
            for ((case, (ran, ours)), theirs) in cases.iter().zip(&ours).zip(self.sdks_own(sdk, cases)) {
                let shown = |document: &Option<Vec<u8>>| {
                    document.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                };
                assert_eq!(shown(ours), shown(&theirs), "{sdk}: {case}: {ran:?}");
                assert_eq!(ran.code == 0, theirs.is_some(), "{sdk}: {case}: {ran:?}");
            }
        }
        (cases.len(), ours.iter().filter(|(_, document)| document.is_none()).count())
    }
}

/// Every kind of character that JSON escapes.
const REGISTRIES: [&str; 9] = [
    "ghcr.io",
    "https://index.docker.io/v1/",
    "localhost:5000",
    "registry.example/päth",
    "日本.example",
    "a\"b\\c\u{7f}\u{1f}/",
    "\u{1f511}\n\t\r\u{8}\u{c}",
    "\u{2028}\u{ffff}\u{e000}",
    "000000000000.dkr.ecr.us-west-2.amazonaws.com",
];

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn typed_credentials_become_the_sdks_document() {
    let mut cases: Vec<Value> = Vec::new();
    for registry in REGISTRIES {
        for (username, password) in [("me", "hunter2"), ("日本", "hunter2:ü\u{1f511}\"\\\n"), ("<token>", "-hunter2")]
        {
            cases.push(json!({ "credentials": [registry, username, password] }));
        }
    }
    let (compared, refused) = Docker::new().compare(&cases);
    assert_eq!(refused, 0);
    tally(&format!("image pull secrets, typed: {compared} documents as two SDKs make them"));
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn docker_credentials_become_the_sdks_document() {
    let count = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 600 } else { 40 };
    let mut random = Random::seeded();
    let cases: Vec<Value> = (0..count).map(|_| random_config(&mut random)).collect();
    let (compared, refused) = Docker::new().compare(&cases);
    assert!(refused > 0 && compared - refused > 4, "{refused} of {compared}");
    tally(&format!(
        "image pull secrets, of Docker: {compared} configurations as two SDKs read them, {refused} refused"
    ));
}

fn random_config(random: &mut Random) -> Value {
    fn one<T: Copy>(random: &mut Random, of: &[T]) -> T {
        of[random.below(of.len() as u64) as usize]
    }
    const ENTRIES: [&str; 8] = [
        r#"{"auth": "bWU6aHVudGVyMg=="}"#,
        r#"{"email": "x@y", "auth": "bWU6\u0061HVudGVyMg=="}"#,
        // Credentials that are not UTF-8, and credentials with a token.
        r#"{"auth": "/zr//w=="}"#,
        r#"{"auth": "MDAwOg==", "identitytoken": "hunter2"}"#,
        r#"{"auth": ""}"#,
        r#"{"auth": null, "identitytoken": "hunter2"}"#,
        "{}",
        "{}",
    ];
    const HELPED: [&str; 7] = ["good", "good", "to-ken_1.0", "fails", "junk", "missing", ""];
    let quoted = |text: &str| Value::from(text).to_string();
    let mut members = Vec::new();
    let auths: Vec<String> = (0..1 + random.below(4))
        .map(|_| format!("{}:{}", quoted(one(random, &REGISTRIES)), one(random, &ENTRIES)))
        .collect();
    if random.below(8) > 0 {
        members.push(format!("\"auths\" : {{ {} }}", auths.join(" ,\n")));
    }
    if random.below(2) == 0 {
        let helpers: Vec<String> = (0..random.below(4))
            .map(|_| format!("{}:{}", quoted(one(random, &REGISTRIES)), quoted(one(random, &HELPED))))
            .collect();
        members.push(format!("\"credHelpers\":{{{}}}", helpers.join(",")));
    }
    if random.below(2) == 0 {
        members.push(format!("\"credsStore\":{}", quoted(one(random, &HELPED))));
    }
    members.push(r#""HttpHeaders": {"User-Agent": "Docker"}, "detachKeys": "ctrl-e""#.to_owned());
    let named: Vec<&str> = (0..1 + random.below(3)).map(|_| one(random, &REGISTRIES)).collect();
    let registries = if random.below(2) == 0 { Value::Null } else { named.join(" , ").into() };
    json!({ "config": format!("{{{}}}", members.join(",")), "registries": registries })
}

#[test]
fn left_out_registries_are_listed_with_the_reason() {
    let docker = Docker::new();
    let config = r#"{"auths": {"a": {"auth": "YTpi"}, "b": {}, "c": {}, "d": {}, "e": {}, "f": {},
        "g": {"auth": "YTo=", "identitytoken": "hunter2"}},
        "credHelpers": {"b": "fails", "c": "junk", "d": "missing", "e": "../../bin/docker-credential-good"}}"#;
    let (ran, document) = docker.ours("s", &json!({ "config": config, "registries": null }));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(document.expect("created"), br#"{"auths": {"a": {"auth": "YTpi"}, "g": {"auth": "YTo="}}}"#);
    for told in [
        "left out b: docker-credential-fails ended with code 1\n",
        "left out c: docker-credential-junk gave an answer that is not in the format of credential helpers\n",
        "left out d: docker-credential-missing is not in PATH\n",
        "left out e: \"../../bin/docker-credential-good\" is not the name of a credential helper\n",
        "left out f: there are no credentials for it\n",
        "g has an identity token, which an image pull secret cannot hold\n",
    ] {
        assert!(ran.stderr.contains(told), "{told}: {ran:?}");
    }
}

#[test]
fn dockers_configuration_is_found_where_docker_keeps_it() {
    let docker = Docker::new();
    let sandbox = &docker.sandbox;
    let from = |name: &str, directory: Option<&Path>| {
        let mut command = sandbox.command(&["create", "secret", name, "--type", "image_pull", "--from-docker-config"]);
        command.envs(directory.map(|path| ("DOCKER_CONFIG", path)));
        let ran = Ran::from(command.output().expect("it starts"));
        (ran, sandbox.value(&format!("org/{name}")).map(|value| String::from_utf8(value).expect("ASCII")))
    };
    let (missing, _) = from("none", None);
    assert_eq!(missing.code, 10, "{missing:?}");
    assert!(missing.stderr.contains(".docker/config.json\nhint: name Docker's"), "{missing:?}");

    sandbox.file("../.docker/config.json", r#"{"auths": {"home": {"auth": "YTpi"}}}"#);
    sandbox.file("elsewhere/config.json", r#"{"auths": {"elsewhere": {"auth": "YTpi"}}}"#);
    assert_eq!(from("home", None).1.as_deref(), Some(r#"{"auths": {"home": {"auth": "YTpi"}}}"#));
    assert_eq!(from("empty", Some(Path::new(""))).1, from("again", None).1);
    let elsewhere = sandbox.work().join("elsewhere");
    assert_eq!(from("other", Some(&elsewhere)).1.as_deref(), Some(r#"{"auths": {"elsewhere": {"auth": "YTpi"}}}"#));
}

/// A spelling of a registry, in `tests/regressions/registries.toml`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Spelling {
    why: String,
    config: String,
    registries: String,
    /// The names in the document.
    names: Vec<String>,
}

#[test]
fn another_spelling_of_a_registry_leads_to_the_entry_that_is_there() {
    let docker = Docker::new();
    for (number, case) in regressions::<Spelling>("registries").into_iter().enumerate() {
        let given = json!({ "config": case.config, "registries": case.registries });
        let (ran, document) = docker.ours(&format!("s{number}"), &given);
        assert_eq!(ran.code, 0, "{}: {ran:?}", case.why);
        let document: Value = serde_json::from_slice(&document.expect("created")).expect("JSON");
        let auths = document["auths"].as_object().expect("an object");
        let mut names: Vec<_> = auths.keys().cloned().collect();
        names.sort();
        assert_eq!(names, case.names, "{}: {ran:?}", case.why);
        assert!(auths.values().all(|entry| entry["auth"].as_str().is_some_and(|auth| auth.len() > 3)), "{}", case.why);
    }
}

/// Runs a command on a terminal. Returns its screen and its exit code.
fn play(sandbox: &Sandbox, steps: &Value, command: &[&str]) -> (String, i64) {
    require("python3", "python3");
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/terminal.py");
    let mut player = sandbox.program("python3");
    let output = player.arg(driver).arg(steps.to_string()).arg(FLYTE_LOCAL).args(command).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(result["settings_are_back"], true, "{result}");
    (result["shown"].as_str().expect("text").to_owned(), result["code"].as_i64().expect("it ended"))
}

#[test]
#[ignore = "needs Python: scripts/test"]
fn missing_inputs_are_prompted_for_on_a_terminal() {
    let sandbox = Sandbox::new();
    let asked = json!([
        ["expect", "Registry (e.g., ghcr.io, docker.io): "],
        ["type", "ghcr.io\r"],
        ["expect", "Username: "],
        ["type", "mü\r"],
        ["expect", "Password: "],
        ["type", "hunter2\r"],
        ["expect", "created secret a (organization)"],
        ["end"],
    ]);
    let (shown, code) = play(&sandbox, &asked, &["create", "secret", "a", "--type", "image_pull"]);
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(sandbox.value("org/a").expect("created"), br#"{"auths": {"ghcr.io": {"auth": "bcO8Omh1bnRlcjI="}}}"#);

    let rest = json!([["expect", "Password: "], ["type", "other\r"], ["expect", "updated secret a"], ["end"]]);
    let (shown, code) = play(&sandbox, &rest, &["update", "secret", "a", "--registry", "q.io", "--username", "me"]);
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("Username"), "{shown}");
    assert_eq!(sandbox.value("org/a").expect("there"), br#"{"auths": {"q.io": {"auth": "bWU6b3RoZXI="}}}"#);

    let nothing = json!([["expect", "docker.io): "], ["type", "\r"], ["expect", "nothing was typed"], ["end"]]);
    assert_eq!(play(&sandbox, &nothing, &["update", "secret", "a"]).1, 1);
    let taken_back = json!([["expect", "docker.io): "], ["bytes", "03"], ["end"]]);
    assert_eq!(play(&sandbox, &taken_back, &["update", "secret", "a"]).1, 130);
    assert_eq!(sandbox.value("org/a").expect("there"), br#"{"auths": {"q.io": {"auth": "bWU6b3RoZXI="}}}"#);
}

#[test]
fn a_password_on_standard_input_does_not_show_in_the_process_list() {
    let sandbox = Sandbox::new();
    let options = ["create", "secret", "a", "--type=image_pull", "--registry=ghcr.io", "--username=me"];
    for (name, more) in [("a", &[][..]), ("b", &["--password-stdin"])] {
        let mut options = options;
        options[2] = name;
        assert_eq!(sandbox.pipe(&[&options, more].concat(), b"hunter2\n").code, 0);
        let document = sandbox.value(&format!("org/{name}")).expect("created");
        assert_eq!(document, br#"{"auths": {"ghcr.io": {"auth": "bWU6aHVudGVyMg=="}}}"#);
    }
}

/// A cluster gives a declared image pull secret to the task like any other secret, besides using it to pull the image.
#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_task_that_declares_an_image_pull_secret_gets_its_document() {
    let sandbox = Sandbox::new();
    let document = r#"{"auths": {"ghcr.io": {"auth": "YTpi"}}}"#;
    sandbox.ok(&["create", "secret", "pull", document, "--type", "image_pull"]);
    assert_eq!(sandbox.ok(&["exec", "--secret", "pull", "--", "printenv", "PULL"]), format!("{document}\n").as_bytes());
    sandbox.file(
        "task.py",
        "
import os
import flyte
env = flyte.TaskEnvironment(name='env', secrets='pull')
@env.task
def main():
    print('=>', os.environ['PULL'])
",
    );
    let ran = sandbox.flyte_run("newest", &["task.py"]);
    assert_eq!(ran.said(), [document], "{ran:?}");
}
