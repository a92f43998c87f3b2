//! Secrets of image builds on this machine, with a stand-in for `docker` that records what it is given and what it can see.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::path::{Path, PathBuf};

use crate::support::{Ran, SDKS, Sandbox, executable, python};

/// The stand-in. It records the arguments and variables of a build, and each secret as Docker would read it. It then waits for
/// the file `go`, if there is a file `wait`.
const DOCKER: &str = r#"#!/usr/bin/env python3
import json, os, pathlib, sys, time
arguments = sys.argv[1:]
if arguments[:2] == ["buildx", "ls"]:
    print("flytex")
elif arguments[:2] == ["buildx", "inspect"]:
    print('network="host"')
elif arguments[:2] == ["buildx", "build"]:
    secrets = {}
    for flag, value in zip(arguments, arguments[1:]):
        if flag == "--secret":
            parts = dict(part.split("=", 1) for part in value.split(","))
            found = os.environb[parts["env"].encode()] if "env" in parts else pathlib.Path(parts["src"]).read_bytes()
            secrets[parts.get("env") or parts["src"]] = found.hex()
    dockerfile = pathlib.Path(arguments[-1], "Dockerfile").read_text()
    here = pathlib.Path(__file__).parent
    record = {"arguments": arguments, "secrets": secrets, "variables": dict(os.environ), "dockerfile": dockerfile}
    with open(here / "records", "a") as file:
        file.write(json.dumps(record) + "\n")
    while (here / "wait").exists() and not (here / "go").exists():
        time.sleep(0.01)
elif arguments[:1] == ["manifest"] or arguments[:2] == ["buildx", "imagetools"]:
    sys.exit("manifest unknown: not found")
"#;

/// A vault, and a directory of programs in which `docker` is the stand-in.
struct World {
    sandbox: Sandbox,
    programs: PathBuf,
}

/// One build, as the stand-in recorded it.
struct Build(serde_json::Value);

impl World {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let programs = sandbox.home().join("programs");
        executable(&programs.join("docker"), DOCKER);
        Self { sandbox, programs }
    }

    fn command(&self, sdk: &str, arguments: &[&str]) -> std::process::Command {
        let mut command = self.sandbox.flyte_command(sdk, arguments);
        self.with_stand_in(&mut command);
        command
    }

    fn with_stand_in(&self, command: &mut std::process::Command) {
        let path = std::env::join_paths(
            std::iter::once(self.programs.clone())
                .chain(std::env::split_paths(&std::env::var_os("PATH").expect("set"))),
        );
        command.env("PATH", path.expect("no colon"));
    }

    fn run(&self, sdk: &str, arguments: &[&str]) -> Ran {
        Ran::from(self.command(sdk, arguments).output().expect("flyte-local starts"))
    }

    /// Returns the builds since the last call.
    fn builds(&self) -> Vec<Build> {
        let records = self.programs.join("records");
        let text = std::fs::read_to_string(&records).unwrap_or_default();
        let _ = std::fs::remove_file(records);
        text.lines().map(|line| Build(serde_json::from_str(line).expect("JSON"))).collect()
    }
}

impl Build {
    /// Returns the value of a secret as Docker reads it, by the name of its variable or its file.
    fn secret(&self, name: &str) -> Vec<u8> {
        let hex = self.0["secrets"][name].as_str().unwrap_or_else(|| panic!("no secret {name}: {}", self.0["secrets"]));
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    }

    fn places(&self) -> Vec<&String> {
        self.0["secrets"].as_object().expect("an object").keys().collect()
    }
}

/// Returns a script that builds an image whose layer mounts these secrets, and prints what the script itself sees afterwards.
fn script(declared: &str) -> String {
    format!(
        "import os, pathlib, subprocess\nimport flyte\n\
         named = flyte.Secret('named-pat')\n\
         image = flyte.Image.from_debian_base(name='img', registry='localhost:1').with_pip_packages(\n    \
             'private', secret_mounts=[{declared}])\n\
         env = flyte.TaskEnvironment(name='e', image=image)\n\
         @env.task\n\
         def main() -> None: ...\n\
         if __name__ == '__main__':\n    \
             flyte.init()\n    \
             flyte.build(image, force=True)\n    \
             print('=>', sorted(name for name in os.environ if name.replace('-', '_').endswith('PAT')))\n    \
             print('=>', subprocess.run(['sh', '-c', 'env | grep -c s3cret'], capture_output=True, text=True).stdout.strip())\n"
    )
}

#[test]
#[ignore = "needs a Flyte SDK: scripts/test"]
fn a_build_has_the_secrets_that_its_layers_mount_and_nothing_else_has() {
    let world = World::new();
    for name in ["pat", "apt-pat", "grouped-pat", "renamed_pat", "file_pat", "named-pat"] {
        world.sandbox.secret(name, format!("s3cret of {name}\nä"), &[]);
    }
    let declared = "'pat', flyte.Secret('apt-pat', mount='/etc/flyte/secrets'), flyte.Secret('grouped-pat', group='a-group'), \
                    flyte.Secret('renamed_pat', as_env_var='OTHER_PAT'), flyte.Secret('file_pat', mount='/etc/flyte/secrets'), \
                    named";
    world.sandbox.file("task.py", script(declared));
    for sdk in SDKS {
        let ran = world.run(sdk, &["task.py"]);
        assert_eq!((ran.code, ran.said()), (0, vec!["[]".to_owned(), "0".to_owned()]), "{sdk}: {ran:?}");
        let builds = world.builds();
        let [build] = &builds[..] else { panic!("{sdk}: {} builds", builds.len()) };
        for (variable, name) in [
            ("PAT", "pat"),
            ("APT-PAT", "apt-pat"),
            ("A-GROUP_GROUPED-PAT", "grouped-pat"),
            ("RENAMED_PAT", "renamed_pat"),
            ("FILE_PAT", "file_pat"),
            ("NAMED-PAT", "named-pat"),
        ] {
            assert_eq!(
                String::from_utf8(build.secret(variable)).expect("text"),
                format!("s3cret of {name}\nä"),
                "{sdk}"
            );
        }
        assert_eq!(build.places().len(), 6, "{sdk}");
        for part in ["arguments", "dockerfile"] {
            assert!(!build.0[part].to_string().contains("s3cret"), "{sdk}: {}", build.0[part]);
        }
        assert!(!ran.all().contains("s3cret"), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs a Flyte SDK: scripts/test"]
fn a_value_that_no_variable_can_hold_is_a_file_in_memory_for_the_build_alone() {
    let world = World::new();
    let values: [(&str, Vec<u8>); 4] = [
        ("text", b"s3cret".to_vec()),
        ("empty", Vec::new()),
        ("binary", (0..=255).collect()),
        ("large", vec![b'x'; 200_000]),
    ];
    for (name, value) in &values {
        world.sandbox.secret(name, value, &[]);
    }
    world.sandbox.file("task.py", script("'text', 'empty', 'binary', 'large'"));
    for sdk in SDKS {
        let ran = world.run(sdk, &["task.py"]);
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let builds = world.builds();
        let [build] = &builds[..] else { panic!("{sdk}: {} builds", builds.len()) };
        assert_eq!(build.secret("TEXT"), b"s3cret", "{sdk}");
        let mut files: Vec<_> = build.places().into_iter().filter(|place| place.starts_with('/')).collect();
        files.sort();
        let found: Vec<_> = files.iter().map(|file| build.secret(file)).collect();
        assert_eq!(found, values[1..].iter().map(|(_, value)| value.clone()).collect::<Vec<_>>(), "{sdk}");
        for file in files {
            assert!(file.starts_with("/dev/shm/flyte-local-") && !Path::new(file).exists(), "{sdk}: {file}");
        }
    }
}

#[test]
#[ignore = "needs a Flyte SDK: scripts/test"]
fn a_secret_that_is_missing_fails_the_build_unless_the_shell_has_it() {
    let world = World::new();
    world.sandbox.secret("both", "of the vault", &[]);
    world.sandbox.file("task.py", script("'absent-pat', 'both'"));
    for sdk in SDKS {
        let ran = world.run(sdk, &["task.py"]);
        assert_eq!(ran.code, 1, "{sdk}: {ran:?}");
        let words = "error: image img: secret absent-pat does not exist in this run's scopes\n";
        assert!(ran.stderr.contains(words), "{sdk}: {ran:?}");
        assert!(world.builds().is_empty(), "{sdk}");

        let mut command = world.command(sdk, &["task.py"]);
        let ran = Ran::from(
            command.envs([("ABSENT-PAT", "of the shell"), ("BOTH", "of the shell")]).output().expect("it starts"),
        );
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        assert!(ran.stderr.contains("ABSENT-PAT is what the shell has there"), "{sdk}: {ran:?}");
        assert!(ran.stderr.contains("BOTH of the shell is replaced by secret both"), "{sdk}: {ran:?}");
        let build = world.builds().pop().expect("a build");
        assert_eq!(
            (build.secret("ABSENT-PAT"), build.secret("BOTH")),
            (b"of the shell".to_vec(), b"of the vault".to_vec())
        );
    }
}

#[test]
#[ignore = "needs a Flyte SDK: scripts/test"]
fn other_code_of_a_run_does_not_see_the_secrets_of_a_build() {
    let world = World::new();
    world.sandbox.secret("pat", "s3cret", &[]);
    // A task reads while the build is under way, and starts a program.
    world.sandbox.file(
        "task.py",
        "import asyncio, os, pathlib, subprocess\nimport flyte\n\
         image = flyte.Image.from_debian_base(name='img', registry='localhost:1').with_pip_packages('p', secret_mounts=['pat'])\n\
         env = flyte.TaskEnvironment(name='e')\n\
         here = pathlib.Path(os.environ['PROGRAMS'])\n\
         @env.task\n\
         async def look() -> str:\n    \
             while not (here / 'records').exists():\n        \
                 await asyncio.sleep(0.01)\n    \
             child = subprocess.run(['sh', '-c', 'echo $PAT'], capture_output=True, text=True).stdout.strip()\n    \
             (here / 'go').touch()\n    \
             return f\"{os.environ.get('PAT')}.{child}\"\n\
         @env.task\n\
         async def main() -> str:\n    \
             return (await asyncio.gather(flyte.build.aio(image, force=True), look()))[1]\n\
         if __name__ == '__main__':\n    \
             flyte.init()\n    \
             print('=>', flyte.run(main).outputs()[0])\n",
    );
    for sdk in SDKS {
        for options in [&["task.py"][..], &["--shared-secrets", "task.py"]] {
            std::fs::write(world.programs.join("wait"), "").expect("written");
            let _ = std::fs::remove_file(world.programs.join("go"));
            let mut command = world.command(sdk, options);
            let ran = Ran::from(command.env("PROGRAMS", &world.programs).output().expect("it starts"));
            assert_eq!((ran.code, ran.said()), (0, vec!["None.".to_owned()]), "{sdk}: {ran:?}");
            assert_eq!(world.builds().pop().expect("a build").secret("PAT"), b"s3cret", "{sdk}");
        }
    }
}

#[test]
#[ignore = "needs a Flyte SDK: scripts/test"]
fn flytes_own_command_builds_and_deploys_with_secrets() {
    for sdk in SDKS {
        // Nothing listens there, so a deployment ends after its images are built.
        let endpoint = ["--endpoint", "dns:///127.0.0.1:1", "--insecure"];
        for verb in [&["build", "task.py", "env"][..], &["deploy", "--version", "1", "task.py", "env"]] {
            // The SDK remembers the images that it has built.
            let world = World::new();
            world.sandbox.secret("apt-pat", "s3cret", &[]);
            world.sandbox.file("task.py", script("'apt-pat'"));
            let mut command = world.sandbox.command(&["flyte", "--python"]);
            world.with_stand_in(&mut command);
            let ran = Ran::from(command.arg(python(sdk)).args(endpoint).args(verb).output().expect("it starts"));
            let build = world.builds().pop().unwrap_or_else(|| panic!("{sdk} {verb:?}: {ran:?}"));
            assert_eq!(build.secret("APT-PAT"), b"s3cret", "{sdk} {verb:?}");
        }
    }
}

#[test]
#[ignore = "needs a Flyte SDK: scripts/test"]
fn a_dry_run_lists_the_secrets_of_image_builds_as_such() {
    let world = World::new();
    world.sandbox.secret("apt-pat", [0xff], &[]);
    world.sandbox.file("task.py", script("'apt-pat', flyte.Secret('absent', group='g')"));
    for sdk in SDKS {
        for task in [&[][..], &["main"]] {
            let arguments = [&["--dry-run", "task.py"], task].concat();
            let ran = world.run(sdk, &arguments);
            assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
            let rows: Vec<_> =
                ran.text().lines().filter(|line| line.contains("mount of image img")).map(str::to_owned).collect();
            let [found, missing] = &rows[..] else { panic!("{sdk}: {ran:?}") };
            assert!(found.contains("apt-pat") && found.contains("organization"), "{sdk}: {ran:?}");
            assert!(missing.contains("absent") && missing.contains("nowhere: missing"), "{sdk}: {ran:?}");
        }
        let mut command = world.sandbox.command(&["--output-format", "json", "run", "--dry-run", "--python"]);
        let ran = Ran::from(command.arg(python(sdk)).arg("task.py").output().expect("it starts"));
        let rows: serde_json::Value = serde_json::from_str(&ran.text()).expect("JSON");
        assert_eq!((&rows[0]["image"], &rows[0]["variable"]), (&"img".into(), &"APT-PAT".into()), "{sdk}: {rows}");
        assert_eq!((&rows[1]["image"], &rows[1]["variable"]), (&"img".into(), &"G_ABSENT".into()), "{sdk}: {rows}");
    }
}

#[test]
#[ignore = "needs a Flyte SDK: scripts/test"]
fn a_registry_secret_is_not_used_and_a_line_says_so() {
    let world = World::new();
    world.sandbox.file(
        "task.py",
        "import flyte\n\
         image = flyte.Image.from_debian_base(name='img', registry='localhost:1', registry_secret='login').with_pip_packages('p')\n\
         if __name__ == '__main__':\n    \
             flyte.init()\n    \
             flyte.build(image, force=True)\n",
    );
    for sdk in SDKS {
        let ran = world.run(sdk, &["task.py"]);
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let line = "flyte-local: image img: a local build does not use the registry secret login: Docker pulls and pushes with its \
                    own login (docker login)\n";
        assert_eq!(ran.stderr.matches(line).count(), 1, "{sdk}: {ran:?}");
        assert!(world.builds().pop().expect("a build").places().is_empty(), "{sdk}");
    }
}
