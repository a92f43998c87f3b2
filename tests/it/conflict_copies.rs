//! `check` recognises the copies that programs put beside a file which was changed on two machines, and says which one is newer
//! before it says what to remove.

#![allow(clippy::disallowed_methods, reason = "tests change files as any program could")]

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;

use crate::support::{Ran, Sandbox, regressions};
use flyte_local::crypto::Identity;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[expect(dead_code, reason = "for the reader of the file")]
    why: String,
    of: String,
    name: String,
    #[serde(default = "yes")]
    is_copy: bool,
}

fn yes() -> bool {
    true
}

fn cases(of: &str) -> Vec<Case> {
    regressions::<Case>("conflict_copies").into_iter().filter(|case| case.of == of).collect()
}

/// Returns the findings of `check` that are not ok, and how it ended.
fn failed(sandbox: &Sandbox) -> (Vec<Value>, Ran) {
    let ran = sandbox.run(&["--output-format", "json", "check"]);
    let found: Vec<Value> = serde_json::from_slice(&ran.stdout).expect("JSON");
    (found.into_iter().filter(|finding| finding["ok"] == false).collect(), ran)
}

/// Returns the command at the end of a hint.
fn command_of(hint: &str) -> Option<&str> {
    let command = hint.rsplit_once(": ").map_or(hint, |(_, command)| command);
    ["mv ", "rm ", "flyte-local "].iter().any(|start| command.starts_with(start)).then_some(command)
}

/// Types a command into a shell that finds the program.
fn type_command(sandbox: &Sandbox, command: &str) -> Ran {
    let ours = std::path::Path::new(crate::support::FLYTE_LOCAL).parent().expect("a directory").display();
    let path = std::env::var("PATH").expect("PATH is set");
    let typed = sandbox.program("sh").args(["-c", command]).env("PATH", format!("{ours}:{path}")).output();
    Ran::from(typed.expect("sh starts"))
}

/// Runs the command at the end of a hint, and asserts that `check` finds nothing more.
fn repair(sandbox: &Sandbox, ran: &Ran, words: &str) {
    let hint = ran.stderr.lines().find(|line| line.starts_with("hint: ") && line.contains(words));
    let hint = hint.unwrap_or_else(|| panic!("no hint has {words}: {ran:?}"));
    let command = command_of(hint).unwrap_or_else(|| panic!("no command: {hint}"));
    let typed = type_command(sandbox, command);
    assert_eq!(typed.code, 0, "{command}: {typed:?}");
    let (found, ran) = failed(sandbox);
    assert_eq!((ran.code, found.len()), (0, 0), "{command}: {ran:?}");
}

fn reveal(sandbox: &Sandbox) -> String {
    String::from_utf8(sandbox.ok(&["get", "secret", "s", "--reveal"])).expect("UTF-8")
}

/// A vault with an older and a newer version of the secret "s".
fn two_versions() -> (Sandbox, [Vec<u8>; 2]) {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "older"]);
    let older = std::fs::read(sandbox.secret_file("org/s")).expect("there");
    sandbox.ok(&["update", "secret", "s", "newer"]);
    let newer = std::fs::read(sandbox.secret_file("org/s")).expect("there");
    (sandbox, [older, newer])
}

#[test]
fn each_copy_of_a_secret_is_recognised_by_its_content() {
    let (sandbox, [older, newer]) = two_versions();
    for Case { name, is_copy, .. } in cases("s") {
        let copy = sandbox.vault().join("secrets/org").join(&name);
        std::fs::write(&copy, &older).expect("written");
        let (found, ran) = failed(&sandbox);
        let [finding] = &found[..] else { panic!("{name}: not one finding: {ran:?}") };
        assert_eq!(finding["what"] == "conflict copy", is_copy, "{name}: {ran:?}");
        if is_copy {
            let detail = finding["detail"].as_str().expect("text");
            assert!(
                detail.contains(&format!("{name} is an older version of secret s (organization): it dates from ")),
                "{ran:?}"
            );
            repair(&sandbox, &ran, "if you do not need the older one: rm ");
            assert_eq!(reveal(&sandbox), "newer");
        }
        let _ = std::fs::remove_file(&copy);
        assert_eq!(std::fs::read(sandbox.secret_file("org/s")).expect("there"), newer);
    }
}

#[test]
fn either_version_can_be_kept() {
    let copy = |sandbox: &Sandbox| sandbox.vault().join("secrets/org/s.sync-conflict-20260101-123456-ABCDEFG.age");
    let (sandbox, [older, newer]) = two_versions();
    std::fs::write(copy(&sandbox), &older).expect("written");
    repair(&sandbox, &failed(&sandbox).1, "to keep the older version: mv ");
    assert_eq!(reveal(&sandbox), "older");

    for (words, kept) in
        [("to keep the newer version, move it to its place: mv ", "newer"), ("remove the copy: rm ", "older")]
    {
        std::fs::write(sandbox.secret_file("org/s"), &older).expect("written");
        sandbox.ok(&["update", "vault", "--accept-older"]);
        std::fs::write(copy(&sandbox), &newer).expect("written");
        let (found, ran) = failed(&sandbox);
        assert!(found[0]["detail"].as_str().expect("text").contains("is a newer version of secret s"), "{ran:?}");
        repair(&sandbox, &ran, words);
        assert_eq!(reveal(&sandbox), kept);
    }

    std::fs::write(copy(&sandbox), std::fs::read(sandbox.secret_file("org/s")).expect("there")).expect("written");
    let (found, ran) = failed(&sandbox);
    assert!(found[0]["detail"].as_str().expect("text").contains("is another file of the version"), "{ran:?}");
    repair(&sandbox, &ran, "remove it: rm ");

    // The only version is not to be removed unseen.
    std::fs::rename(sandbox.secret_file("org/s"), copy(&sandbox)).expect("renamed");
    let (found, ran) = failed(&sandbox);
    let finding = found.iter().find(|finding| finding["what"] == "conflict copy").unwrap_or_else(|| panic!("{ran:?}"));
    assert!(finding["detail"].as_str().expect("text").contains("there is no file in its place"), "{ran:?}");
    repair(&sandbox, &ran, "to keep it, move it to its place: mv ");
}

#[test]
fn a_copy_whose_author_is_not_trusted_is_not_called_a_version() {
    let (sandbox, [older, _]) = two_versions();
    let mut forged = older;
    let find = |start: usize, text: &[u8]| {
        start + forged[start..].windows(text.len()).position(|bytes| bytes == text).expect("there")
    };
    // The binding ends with the signature.
    let end = find(find(0, b"-> flyte-local/secret-v2\n"), b"\n-");
    forged[end - 20] = if forged[end - 20] == b'A' { b'B' } else { b'A' };
    std::fs::write(sandbox.vault().join("secrets/org/s (conflicted copy).age"), &forged).expect("written");
    let (found, ran) = failed(&sandbox);
    assert_eq!((found.len(), &found[0]["what"]), (1, &"stray file".into()), "{ran:?}");
}

#[test]
fn each_copy_of_vault_toml_is_recognised_and_its_keys_are_shown() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    let manifest = sandbox.vault().join("vault.toml");
    let text = std::fs::read_to_string(&manifest).expect("there");
    let eve = Identity::generate().recipient();
    let with_eve = format!("{text}\n[[recipients]]\nname = \"eve\"\nkey = \"{eve}\"\n");
    let age = |path: &PathBuf, age: u64| {
        let time = SystemTime::now() - Duration::from_secs(age);
        std::fs::File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("set");
    };
    for Case { name, is_copy, .. } in cases("vault.toml") {
        let copy = sandbox.vault().join(&name);
        std::fs::write(&copy, &with_eve).expect("written");
        for (of_copy, of_manifest, words) in
            [(100, 200, "is a newer version of vault.toml"), (200, 100, "is an older version of vault.toml")]
        {
            age(&copy, of_copy);
            age(&manifest, of_manifest);
            let (found, ran) = failed(&sandbox);
            assert_eq!(found.len(), usize::from(is_copy), "{name}: {ran:?}");
            if let Some(finding) = found.first() {
                let detail = finding["detail"].as_str().expect("text");
                let key = format!("+ recipient \"eve\" {eve}");
                assert!(detail.contains(&format!("{name} {words}")) && detail.contains(&key), "{ran:?}");
            }
        }
        if is_copy {
            repair(&sandbox, &failed(&sandbox).1, "to keep the recipients and authors of vault.toml: rm ");
        }
        let _ = std::fs::remove_file(&copy);
        assert_eq!(std::fs::read_to_string(&manifest).expect("there"), text);
    }
    let copy = sandbox.vault().join("vault (conflicted copy).toml");
    std::fs::write(&copy, &text).expect("written");
    let (found, ran) = failed(&sandbox);
    assert!(
        found[0]["detail"].as_str().expect("text").contains("both have the same recipients and authors"),
        "{ran:?}"
    );
}

/// The files of the secret "s": the one in its place, and copies.
struct Files {
    place: Option<Vec<u8>>,
    copies: Vec<Vec<u8>>,
}

impl Files {
    fn put(&self, sandbox: &Sandbox) {
        let directory = sandbox.vault().join("secrets/org");
        for entry in std::fs::read_dir(&directory).expect("there") {
            std::fs::remove_file(entry.expect("read").path()).expect("removed");
        }
        if let Some(place) = &self.place {
            std::fs::write(directory.join("s.age"), place).expect("written");
        }
        for (number, copy) in self.copies.iter().enumerate() {
            std::fs::write(directory.join(format!("s.sync-conflict-{number}.age")), copy).expect("written");
        }
    }

    fn has(sandbox: &Sandbox, version: &[u8]) -> bool {
        let mut entries = std::fs::read_dir(sandbox.vault().join("secrets/org")).expect("there");
        entries.any(|entry| std::fs::read(entry.expect("read").path()).is_ok_and(|bytes| bytes == version))
    }
}

#[test]
fn no_command_that_check_hints_at_loses_the_newest_intact_version() {
    let (sandbox, [older, newer]) = two_versions();
    let damaged = newer[..newer.len() - 5].to_vec();
    let cut = newer[..40].to_vec();
    let places = [None, Some(&older), Some(&newer), Some(&damaged), Some(&cut)];
    let copies: [&[&Vec<u8>]; 10] = [
        &[&older],
        &[&newer],
        &[&damaged],
        &[&older, &newer],
        &[&newer, &older],
        &[&newer, &newer],
        &[&damaged, &older],
        &[&older, &damaged],
        &[&damaged, &newer],
        &[&older, &damaged, &newer],
    ];
    for (place, copies) in places.iter().flat_map(|place| copies.iter().map(move |copies| (*place, *copies))) {
        let files = Files { place: place.cloned(), copies: copies.iter().map(|copy| (*copy).clone()).collect() };
        files.put(&sandbox);
        let all = || copies.iter().copied().chain(place);
        let newest = [&newer, &older].into_iter().find(|version| all().any(|file| file == *version));
        let Some(newest) = newest else { continue };
        let name = |file: &Vec<u8>| match file {
            file if *file == older => "older",
            file if *file == newer => "newer",
            file if *file == damaged => "damaged",
            _ => "cut",
        };
        let case =
            format!("place {:?}, copies {:?}", place.map(name), copies.iter().map(|&f| name(f)).collect::<Vec<_>>());
        // A user who types the first hint of everything that is wrong, again and again.
        let mut typed = Vec::new();
        for round in 0.. {
            let (found, ran) = failed(&sandbox);
            if found.is_empty() {
                break;
            }
            assert!(round < 6, "{case}: it does not end: {typed:#?} {ran:?}");
            let details = found.iter().map(|finding| finding["detail"].as_str().expect("text"));
            let are_called_damaged =
                details.filter(|detail| detail.contains("is a damaged version of secret s")).count();
            if round == 0 {
                assert_eq!(
                    are_called_damaged,
                    copies.iter().filter(|copy| ***copy == damaged).count(),
                    "{case}: {ran:?}"
                );
            }
            for finding in &found {
                let hints = finding["hints"].as_array().expect("a list").iter().filter_map(Value::as_str);
                let Some(command) = hints.filter(|hint| !hint.starts_with("or")).find_map(command_of) else { continue };
                typed.push(command.to_owned());
                type_command(&sandbox, command);
                assert!(Files::has(&sandbox, newest), "{case}: lost: {typed:#?} {ran:?}");
            }
        }
        assert_eq!(reveal(&sandbox), name(newest), "{case}: {typed:#?}");
    }
}

#[test]
fn without_an_identity_no_version_is_moved_or_removed() {
    let (sandbox, [older, newer]) = two_versions();
    std::fs::remove_file(sandbox.identity()).expect("removed");
    for (place, copy) in [(Some(&older), &newer), (Some(&newer), &older), (Some(&newer), &newer), (None, &newer)] {
        Files { place: place.cloned(), copies: vec![copy.clone()] }.put(&sandbox);
        let (found, ran) = failed(&sandbox);
        let copy = found.iter().find(|finding| finding["what"] == "conflict copy").unwrap_or_else(|| panic!("{ran:?}"));
        assert!(copy["detail"].as_str().expect("text").contains("it was not opened"), "{ran:?}");
        assert!(!ran.all().contains(" mv ") && !ran.all().contains(" rm "), "{ran:?}");
    }
}

/// Updates the secret "s" as another author, whom this machine does not trust. Returns the file.
fn newest_of_another_author(sandbox: &Sandbox) -> Vec<u8> {
    let other_state = sandbox.work().join("other-state");
    let copied = sandbox.program("cp").arg("-r").args([sandbox.state(), other_state.clone()]).status();
    assert!(copied.expect("cp starts").success());
    let author = sandbox.work().join("other.key");
    let run = |arguments: &[&str], author: &std::path::Path| {
        let mut command = sandbox.command(arguments);
        command.env("FLYTE_LOCAL_STATE", &other_state).env("FLYTE_LOCAL_AUTHOR", author);
        Ran::from(command.output().expect("flyte-local starts"))
    };
    let update = ["update", "secret", "s", "newest"];
    assert_eq!(run(&update, &author).code, 13, "it is not an author yet");
    let key = run(&["check"], &author);
    let key =
        key.all().split_once("--trust-author ").expect("its key").1[..71].split_whitespace().next().map(str::to_owned);
    let key = key.expect("a key");
    let trusted = run(&["update", "vault", "--trust-author", &key], &sandbox.author());
    assert_eq!(trusted.code, 0, "{trusted:?}");
    let updated = run(&update, &author);
    assert_eq!(updated.code, 0, "{updated:?}");
    std::fs::read(sandbox.secret_file("org/s")).expect("there")
}

#[test]
fn a_version_of_an_author_who_is_not_trusted_is_neither_moved_nor_removed() {
    let (sandbox, [older, _]) = two_versions();
    let newest = newest_of_another_author(&sandbox);
    for (place, copy) in [(&newest, &older), (&older, &newest)] {
        Files { place: Some(place.clone()), copies: vec![copy.clone()] }.put(&sandbox);
        let (found, ran) = failed(&sandbox);
        let copy = found.iter().find(|finding| finding["detail"].as_str().expect("text").contains("sync-conflict"));
        let copy = copy.unwrap_or_else(|| panic!("{ran:?}"));
        assert_ne!(copy["what"], "stray file", "{ran:?}");
        assert!(!ran.all().contains(" mv ") && !ran.all().contains(" rm "), "{ran:?}");
    }
}

#[test]
fn a_secret_that_was_moved_away_is_named_and_its_hint_moves_it_back() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "older", "-p", "p"]);
    let place = sandbox.secret_file("project/p/s");
    let secrets = sandbox.vault().join("secrets");
    for moved in [
        "project/p/Copy of s.age",
        "project/p/another.age",
        "project/p (conflict)/s.age",
        "project/p (conflict)/below/s.age",
        "project/q/s.age",
        "s.age",
    ] {
        let moved = secrets.join(moved);
        std::fs::create_dir_all(moved.parent().expect("a directory")).expect("made");
        std::fs::rename(&place, &moved).expect("moved");
        let (found, ran) = failed(&sandbox);
        let misplaced: Vec<_> = found.iter().filter(|finding| finding["what"] == "misplaced secret").collect();
        assert_eq!(misplaced.len(), 1, "{}: {ran:?}", moved.display());
        assert!(!ran.all().contains(" rm ") && !ran.all().contains("delete secret"), "{ran:?}");
        let hint = misplaced[0]["hints"][0].as_str().expect("a hint");
        let (_, command) = hint.split_once(": ").expect("a command");
        assert_eq!(type_command(&sandbox, command).code, 0, "{hint}");
        assert!(place.exists() && !moved.exists(), "{hint}");
        // Beside another version of the secret, the file is left to the user.
        std::fs::copy(&place, &moved).expect("copied");
        sandbox.ok(&["update", "secret", "s", "newer", "-p", "p"]);
        let (found, ran) = failed(&sandbox);
        assert!(found.iter().any(|finding| finding["what"] == "misplaced secret"), "{ran:?}");
        assert!(!ran.all().contains(" mv ") && !ran.all().contains(" rm "), "{ran:?}");
        std::fs::remove_file(&moved).expect("removed");
        let parent = moved.parent().expect("a directory");
        if parent.ends_with("below") || parent.ends_with("p (conflict)") {
            std::fs::remove_dir_all(secrets.join("project/p (conflict)")).expect("removed");
        }
    }
}
