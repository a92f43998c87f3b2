//! Importing: secrets stay whole after a failure or a kill, values are never shown, and another vault can be the source.

#![allow(clippy::disallowed_methods, reason = "tests look at files as any program could")]

use std::collections::BTreeMap;
use std::process::Stdio;

use crate::support::{FLYTE_LOCAL, Ran, Random, Sandbox, python, require, secret_id, tally, until};
use flyte_local::secret::{SecretType, SecretValue};
use flyte_local::transfer::{Entry, yaml};

/// Returns a `.env` file with `count` variables, from N0 on.
fn env_file(count: usize) -> String {
    (0..count).map(|index| format!("N{index}='hunter{index}'\n")).collect()
}

/// Returns how many of the variables are in the vault. Fails if one of them has another value.
fn imported(sandbox: &Sandbox, count: usize) -> usize {
    let value = |index: usize| sandbox.value(&format!("org/N{index}"));
    let found: Vec<_> = (0..count).filter_map(|index| value(index).map(|value| (index, value))).collect();
    found.iter().for_each(|(index, value)| assert_eq!(value, format!("hunter{index}").as_bytes()));
    found.len()
}

fn create(sandbox: &Sandbox, place: &str, secret_type: SecretType, value: &[u8]) {
    let value = SecretValue::new(value.to_vec().into()).expect("small");
    sandbox
        .open_vault()
        .writer()
        .expect("writable")
        .create_secret(&secret_id(place), secret_type, &value)
        .expect("created");
}

#[test]
fn a_failed_import_says_how_far_it_came_and_a_second_one_continues() {
    let sandbox = Sandbox::new();
    sandbox.file("x.env", format!("A=1\nB=2\nLARGE={}\nC=3\n", "x".repeat(100_000)));
    // The third value exceeds the limit on file sizes.
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" import x.env";
    let ran = Ran::from(sandbox.program("sh").args(["-c", script, FLYTE_LOCAL]).output().expect("sh starts"));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("\ncaused by: 2 of 4 secrets were written before the error\n"), "{ran:?}");
    assert!(ran.stderr.ends_with("\nhint: run the same command again to continue\n"), "{ran:?}");
    assert_eq!(sandbox.sound_but_for_leftovers(), 0);
    let places = ["org/A", "org/B", "org/LARGE", "org/C"].map(|place| sandbox.value(place).is_some());
    assert_eq!(places, [true, true, false, false]);

    let again = sandbox.run(&["import", "x.env"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stderr.contains("created 2, changed 0, left 2 alone\n"), "{again:?}");
}

#[test]
fn a_killed_import_leaves_whole_secrets_and_can_be_repeated() {
    const COUNT: usize = 25;
    let mut random = Random::seeded();
    let rounds = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 100 } else { 5 };
    let mut total = 0;
    for _ in 0..rounds {
        let sandbox = Sandbox::in_memory();
        sandbox.ok(&["init"]);
        sandbox.file("x.env", env_file(COUNT));
        let mut command = sandbox.command(&["import", "x.env"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let wanted = random.below(COUNT as u64) as usize;
        let last = sandbox.secret_file(&format!("org/N{wanted}"));
        until("the secret is there", || last.exists());
        child.kill().expect("killed");
        child.wait().expect("it ended");
        sandbox.sound_but_for_leftovers();
        let found = imported(&sandbox, COUNT);
        assert!(found > wanted, "{found}");
        total += found;
        let again = sandbox.run(&["import", "x.env"]);
        assert_eq!(again.code, 0, "{again:?}");
        assert!(again.stderr.contains(&format!("left {found} alone\n")), "{found}: {again:?}");
        assert_eq!((imported(&sandbox, COUNT), sandbox.sound_but_for_leftovers()), (COUNT, 0));
    }
    tally(&format!(
        "import: killed {rounds} times, with {total} of {} secrets written; after a second import, all were there",
        rounds * COUNT
    ));
}

#[test]
fn a_file_with_an_error_in_each_line_is_refused_with_the_first_and_their_number() {
    use flyte_local::transfer::{dotenv, json};
    const COUNT: usize = 1 << 16;
    let wrong = "=\n".repeat(COUNT);
    let malformed = dotenv::parse(wrong.as_bytes()).err().expect("no line has a name");
    // More are not kept, however many there are.
    assert_eq!((malformed.first().len(), malformed.first()[19].line, malformed.more()), (20, 20, COUNT - 20));
    // JSON has no more members than this.
    const MEMBERS: usize = 10_000;
    let twice = format!("{{{}}}", vec!["\"a\":1"; MEMBERS].join(","));
    let null = format!("{{{}}}", vec!["\"a\":null"; MEMBERS].join(","));
    for (text, more) in [(twice, MEMBERS - 1 - 20), (null, MEMBERS - 20)] {
        let malformed = json::parse(text.as_bytes()).err().expect("refused");
        assert_eq!((malformed.first().len(), malformed.more()), (20, more));
    }
    let sandbox = Sandbox::new();
    let names: String = (0..100).map(|number| format!("ä{number}=1\n")).collect();
    for (text, number) in [(wrong, COUNT), (names, 100)] {
        sandbox.file(".env", text);
        let ran = sandbox.run(&["import", ".env"]);
        let reasons = ran.stderr.lines().filter(|line| line.starts_with("caused by: line ")).count();
        assert_eq!((ran.code, reasons), (1, 20), "{ran:?}");
        assert!(ran.stderr.contains(&format!("\ncaused by: {} more of this kind\n", number - 20)), "{ran:?}");
    }
}

#[test]
fn values_are_never_shown() {
    let sandbox = Sandbox::new();
    let canary = "hunter2hunter2";
    let files = [
        ("x.env", format!("A={canary}\n{canary} b\nC='{canary}\n{canary}\n")),
        ("y.env", format!("A={canary}\n{canary}.{canary}={canary}\n${{{canary}}}\n")),
        ("ok.env", format!("A={canary}\nB=${{{canary}}}\nB='${{{canary}:-{canary}}}'\n")),
        ("same.env", format!("A={canary}\nB={canary}\n")),
        ("x.json", format!("{{\"A\": \"{canary}\", {canary}}}")),
        ("y.json", format!("{{\"{canary}.\": [\"{canary}\"]}}")),
        ("z.json", format!("\"{canary}\"")),
        ("x.yaml", format!("A: {canary}\nB: [{canary}, *{canary}]\n")),
        ("y.yaml", format!("A: \"{canary}\\{canary}\"\n")),
        ("z.yaml", format!("%{canary} {canary}\n--- !{canary} {canary}\n")),
        ("u.yaml", format!("A: !!{canary} x\nA: *{canary}\n")),
    ];
    for (name, content) in files {
        sandbox.file(name, content);
        for options in [&["--dry-run"][..], &[], &["--overwrite"]] {
            let ran = sandbox.run(&[&["import", name], options].concat());
            assert!(!ran.all().contains("hunter2"), "{name} {options:?}: {ran:?}");
        }
    }
    assert_eq!(sandbox.value("org/A"), Some(canary.into()));
}

#[test]
fn another_vaults_secrets_keep_their_scopes_and_types() {
    let sandbox = Sandbox::new();
    create(&sandbox, "org/pull", SecretType::ImagePull, b"{}");
    create(&sandbox, "project/p/domain/d/bytes", SecretType::Regular, b"a\0\xff\n");
    sandbox.ok(&["--vault", "other", "init"]);
    let from = sandbox.vault();
    let from = from.to_str().expect("UTF-8");
    sandbox.ok(&["--vault", "other", "import", "--from-vault", from]);
    let other = sandbox.open_vault_at(&sandbox.work().join("other"));
    let read = |place| {
        let id = secret_id(place);
        let value = other.value(&id, &sandbox.identities()).expect("there");
        (other.metadata(&id).expect("there").secret_type, value.expose().to_vec())
    };
    assert_eq!(read("org/pull"), (SecretType::ImagePull, b"{}".to_vec()));
    assert_eq!(read("project/p/domain/d/bytes"), (SecretType::Regular, b"a\0\xff\n".to_vec()));

    // An existing secret keeps its type, so a value of another type is refused before anything is written.
    sandbox.file("x.env", "new=1\npull={}\n");
    let ran = sandbox.run(&["import", "x.env", "--overwrite"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("secret pull (organization) is of type image_pull, not regular"), "{ran:?}");
    assert_eq!(sandbox.value("org/new"), None);
}

#[test]
#[ignore = "needs script: scripts/test"]
fn a_long_import_shows_a_progress_bar_on_a_terminal_and_removes_it() {
    require("script", "bsdutils");
    for (count, is_shown) in [(40, true), (3, false)] {
        let sandbox = Sandbox::new();
        sandbox.file("x.env", env_file(count));
        let mut command = sandbox.program("script");
        command.env("TERM", "xterm").args(["-qec", &format!("{FLYTE_LOCAL} import x.env"), "/dev/null"]);
        let ran = Ran::from(command.output().expect("script starts"));
        assert_eq!(ran.code, 0, "{ran:?}");
        let text = ran.text();
        let (bar, after) = text.rsplit_once(&format!("/{count} ")).unwrap_or(("", &text));
        assert_eq!(bar.contains("importing "), is_shown, "{text:?}");
        assert!(!is_shown || after.contains("\u{1b}[2K"), "{text:?}");
        assert!(text.contains(&format!("created {count}, changed 0, left 0 alone")), "{text:?}");
        // A pipe gets no progress bar.
        std::fs::remove_dir_all(sandbox.vault().join("secrets")).expect("removed");
        let ran = sandbox.run(&["import", "x.env"]);
        assert!(!ran.all().contains("importing"), "{ran:?}");
    }
}

/// A task declares `api_key` and reads API_KEY: the SDK turns the name that `--lower` made back into the variable's name.
#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_sdk_restores_the_variable_name_that_lower_changed() {
    let sandbox = Sandbox::new();
    sandbox.file("x.env", "API_KEY=1\n_X9=2\nOPENAI_API_KEY_2=3\n");
    sandbox.ok(&["import", "x.env", "--lower"]);
    let listed = sandbox.open_vault().list(&flyte_local::secret::ScopeFilter::default()).expect("listed");
    let names: Vec<_> = listed.secrets.iter().map(|metadata| metadata.id.name.to_string()).collect();
    let script = "import sys, flyte\nprint(*[flyte.Secret(key=key).as_env_var for key in sys.argv[1:]])";
    let ran =
        Ran::from(sandbox.program(python("newest")).args(["-c", script]).args(names).output().expect("it starts"));
    assert_eq!(ran.text(), "_X9 API_KEY OPENAI_API_KEY_2\n", "{ran:?}");
}

#[test]
fn an_import_warns_if_others_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let path = sandbox.file("x.env", "A=1\n");
    for (mode, warns) in [(0o600, false), (0o640, true), (0o604, true), (0o700, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("changed");
        let ran = sandbox.run(&["import", "x.env"]);
        assert_eq!(ran.stderr.contains("other users can read x.env"), warns, "{mode:o}: {ran:?}");
        // If permissions are ignored, there is no warning.
        let mut command = sandbox.command(&["import", "x.env"]);
        let ran = Ran::from(command.env("FLYTE_LOCAL_PERMISSIONS", "ignore").output().expect("it starts"));
        assert!(!ran.stderr.contains("other users can read"), "{mode:o}: {ran:?}");
    }
}

#[test]
fn the_commands_of_the_page_work() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/import-export-push.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let section = page.split("## Import\n").nth(1).and_then(|rest| rest.split("\n## Push").next());
    let blocks = section.expect("the section").split("```sh\n").skip(1);
    let lines: Vec<_> = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()).collect();
    assert!(lines.len() >= 8, "{lines:?}");

    let sandbox = Sandbox::new();
    sandbox.file(".env", "API_KEY=1\nDB_URL=2\n");
    let old = sandbox.home().join("old/vault");
    let old = old.to_str().expect("UTF-8");
    sandbox.ok(&["--vault", old, "init"]);
    sandbox.ok(&["--vault", old, "create", "secret", "from_old", "3"]);
    let ours = std::path::Path::new(FLYTE_LOCAL).parent().expect("a directory").to_str().expect("UTF-8");
    let path = format!("{ours}:{}", std::env::var("PATH").expect("PATH is set"));
    for line in lines {
        // The export writes a new .env file.
        let line = line.replace("-o .env ", "-o new.env ");
        let ran = Ran::from(sandbox.program("sh").args(["-c", &line]).env("PATH", &path).output().expect("sh starts"));
        assert!(ran.code == 0 && !ran.stderr.contains("error:"), "{line}: {ran:?}");
    }
    for place in ["org/api_key", "org/db_url", "org/database_url", "org/from_old"] {
        assert!(sandbox.value(place).is_some(), "{place}");
    }
    assert!(sandbox.work().join("secret.yaml").exists());
}

#[test]
fn a_notice_about_another_vault_names_the_command_for_that_vault() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["--vault", "other", "init"]);
    sandbox.ok(&["--vault", "other", "create", "secret", "s", "value"]);
    let manifest = sandbox.work().join("other/vault.toml");
    let key = flyte_local::crypto::Identity::generate().recipient();
    let text = std::fs::read_to_string(&manifest).expect("there is one");
    sandbox.file("other/vault.toml", format!("{text}\n[[recipients]]\nname = \"eve\"\nkey = \"{key}\"\n"));
    let ran = sandbox.run(&["import", "--from-vault", "other"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains(": flyte-local --vault other check\n"), "{ran:?}");
}

/// Returns random text that YAML's styles treat in different ways.
fn text(random: &mut Random) -> String {
    const PIECES: [&str; 30] = [
        "a", "Z", "0", "10", ".5", "true", "null", "~", "yes", " ", " ", "  ", "\n", "\n\n", "\t", "'", "\"", "\\",
        "#", " #", ": ", ":", "- ", "{", "[", "&a", "*a", "!", "é", "🔑",
    ];
    let length = random.below(10);
    (0..length).map(|_| PIECES[random.below(PIECES.len() as u64) as usize]).collect()
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn yaml_is_read_in_every_style_that_pyyaml_writes() {
    use base64::Engine;
    use std::io::Write;
    let count = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 2000 } else { 60 };
    let mut random = Random::seeded();
    let mut object = || ["a", "null", "1", "-"].map(|name| (name.to_owned(), text(&mut random)));
    let objects: Vec<BTreeMap<_, _>> = (0..count).map(|_| object().into()).collect();
    let lines: String = objects.iter().map(|object| serde_json::to_string(object).expect("text") + "\n").collect();
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/yaml_writer.py");
    let mut command = std::process::Command::new(python("newest"));
    let mut child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
    let mut input = child.stdin.take().expect("piped");
    let asking = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let written = Ran::from(child.wait_with_output().expect("it ends"));
    asking.join().expect("no panic").expect("written");
    assert_eq!(written.code, 0);
    let mut read = 0;
    for (object, line) in objects.iter().zip(written.text().lines()) {
        for document in serde_json::from_str::<Vec<String>>(line).expect("JSON") {
            let document = base64::prelude::BASE64_STANDARD.decode(document).expect("base64");
            let shown = String::from_utf8_lossy(&document);
            let entries = yaml::parse(&document).unwrap_or_else(|error| panic!("{error:?}: {shown}"));
            let value = |entry: Entry| (entry.name.to_string(), entry.value.expect("a value").to_string());
            assert_eq!(&entries.into_iter().map(value).collect::<BTreeMap<_, _>>(), object, "{shown}");
            read += 1;
        }
    }
    tally(&format!("import: {read} YAML documents in 15 styles of PyYAML, read correctly"));
}
