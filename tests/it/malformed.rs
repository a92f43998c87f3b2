//! Damaged and hostile vaults: no wrong value comes out, nothing outside the vault is read or written, and nothing hangs.

#![allow(clippy::disallowed_methods, reason = "tests damage files as any program could")]

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, secret_id};
use flyte_local::secret::{ScopeFilter, SecretType, SecretValue};
use rustix::fs::{CWD, FileType, Mode, RenameFlags};

/// Far longer than any file takes on the slowest machine. A quadratic parser, or one that waits, takes longer still.
const BOUND: Duration = Duration::from_secs(20);

/// The memory that a process may use, in KiB.
const MEMORY: &str = "262144";

/// Runs a command, which must end within the limits on time and memory.
fn bounded(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let mut command = sandbox.program("timeout");
    let script = format!("ulimit -v {MEMORY} && exec \"$0\" \"$@\"");
    command.args(["-s", "KILL", &BOUND.as_secs().to_string(), "sh", "-c", &script, FLYTE_LOCAL]).args(arguments);
    let ran = Ran::from(command.output().expect("timeout starts"));
    assert!(ran.code != 137 && ran.code != 101 && ran.code != 134, "{arguments:?} hung or crashed: {ran:?}");
    ran
}

/// Commands on the organization's secret `s`. None of them may have an effect outside the vault.
const COMMANDS: [&[&str]; 8] = [
    &["get", "secret", "s", "--reveal"],
    &["get", "secret", "s"],
    &["get", "secret"],
    &["exec", "--all", "--", "printenv", "S"],
    &["update", "secret", "s", "written"],
    &["create", "secret", "t", "written"],
    &["delete", "secret", "s"],
    &["check"],
];

/// Returns the file with each single bit flipped, and cut to each length.
fn damaged(good: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let cuts = (0..good.len()).map(|length| (format!("cut to {length}"), good[..length].to_vec()));
    let flips = (0..good.len() * 8).map(|bit| {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {bit}"), bytes)
    });
    cuts.chain(flips)
}

#[test]
fn a_cut_or_a_flipped_bit_of_a_file_never_gives_a_wrong_value() {
    let sandbox = Sandbox::new();
    let identities = sandbox.identities();
    let look_at = &|place: &str, length: usize| {
        let (mut vault, id, value) = (sandbox.open_vault(), secret_id(place), vec![b'v'; length]);
        let sealed = SecretValue::new(value.clone().into()).expect("small enough");
        vault.writer().expect("writable").create_secret(&id, SecretType::Regular, &sealed).expect("created");
        let file = sandbox.secret_file(place);
        let good = std::fs::read(&file).expect("just written");
        assert_eq!(sandbox.value(place), Some(value), "the file is good before it is damaged");
        let mut looks = 0;
        for (what, bytes) in damaged(&good) {
            std::fs::write(&file, &bytes).expect("damaged");
            let started = Instant::now();
            assert!(vault.value(&id, &identities).is_err(), "{place} {what}");
            // Without a key, a list cannot detect the damage. It must only show the secret's own place.
            if let Ok(metadata) = vault.metadata(&id) {
                assert_eq!(metadata.id, id, "{place} {what}");
            }
            assert!(started.elapsed() < BOUND, "{place} {what}: {:?}", started.elapsed());
            looks += 1;
        }
        looks
    };
    let places = [("org/empty", 0), ("project/p/domain/d/short", 7), ("domain/d/longer", 300)];
    let looks: usize = std::thread::scope(|scope| {
        let threads = places.map(|(place, length)| scope.spawn(move || look_at(place, length)));
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    crate::support::tally(&format!(
        "malformed: {looks} cuts and flipped bits of {} files: 0 wrong values",
        places.len()
    ));
    assert!(looks > 10_000, "{looks}");
}

#[test]
fn a_cut_or_a_flipped_bit_of_vault_toml_never_gives_a_wrong_value() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    let (id, identities) = (secret_id("org/s"), sandbox.identities());
    let file = sandbox.vault().join("vault.toml");
    let good = std::fs::read(&file).expect("the vault's");
    for (what, bytes) in damaged(&good) {
        std::fs::write(&file, &bytes).expect("damaged");
        let Ok(vault) = sandbox.open_unpinned_vault() else { continue };
        if let Ok(value) = vault.value(&id, &identities) {
            assert_eq!(value.expose(), b"value", "{what}");
        }
    }
}

#[test]
fn oversized_headers_are_refused_within_the_limits() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    let file = sandbox.secret_file("org/s");
    let good = std::fs::read(&file).expect("just written");
    let first_line = good.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
    let (start, rest) = good.split_at(first_line);
    let stanza = format!("-> X25519 {0}\n{0}\n", "A".repeat(43));
    let ours = "-> flyte-local/secret-v1\nAAAA\n";
    let mut bombs: Vec<(String, Vec<u8>)> = Vec::new();
    for count in [63, 64, 65, 1_000, 4_000, 50_000] {
        bombs.push((format!("{count} stanzas"), stanza.repeat(count).into_bytes()));
        bombs.push((format!("{count} bindings"), ours.repeat(count).into_bytes()));
    }
    // As many bytes as allowed, as many arguments, and as many lines.
    bombs.push(("60 long stanzas".to_owned(), format!("-> x {}\n\n", "a".repeat(2_000)).repeat(60).into_bytes()));
    let line = "A".repeat(64) + "\n";
    bombs.push(("240 lines".to_owned(), format!("-> x\n{}\n", line.repeat(230)).into_bytes()));
    bombs.push(("1,020 lines".to_owned(), format!("-> x\n{}\n", line.repeat(1_010)).into_bytes()));
    let arguments = format!("-> x{}\n{}\n", " a".repeat(25), line.repeat(24));
    bombs.push(("40 stanzas of 25 arguments and 25 lines".to_owned(), arguments.repeat(40).into_bytes()));
    for length in [130_000, 131_072, 1_000_000] {
        bombs.push((format!("an argument of {length}"), format!("-> x {}\n\n", "a".repeat(length)).into_bytes()));
        bombs.push((format!("{length} arguments"), format!("-> x{}\n\n", " a".repeat(length)).into_bytes()));
        let body = "A".repeat(64) + "\n";
        bombs.push((format!("a body of {length}"), format!("-> x\n{}\n", body.repeat(length / 65)).into_bytes()));
        bombs.push((format!("{length} newlines"), vec![b'\n'; length]));
        bombs.push((format!("{length} NULs"), vec![0; length]));
    }
    for (what, bomb) in bombs {
        std::fs::write(&file, [start, &bomb, rest].concat()).expect("written");
        for arguments in COMMANDS.iter().filter(|arguments| matches!(arguments[0], "get" | "exec" | "update")) {
            let ran = bounded(&sandbox, arguments);
            // Within the limits, only the MAC reveals added stanzas, and checking it needs the key.
            let sees = arguments[0] == "exec" || arguments.contains(&"--reveal");
            assert!(ran.code == 13 || ran.code == 0 && !sees, "{what} {arguments:?}: {ran:?}");
            assert!(!String::from_utf8_lossy(&ran.stdout).contains("value"), "{what} {arguments:?}: {ran:?}");
            std::fs::write(&file, [start, &bomb, rest].concat()).expect("written again");
        }
    }
}

#[test]
fn a_file_of_a_gigabyte_is_not_read() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "value"]);
    let sparse = |path: &Path| {
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(path).expect("opened");
        file.set_len(1 << 30).expect("a sparse file");
    };
    let config = sandbox.home().join(".config/flyte-local/config.toml");
    for path in [sandbox.secret_file("org/s"), sandbox.vault().join("vault.toml"), sandbox.identity(), config] {
        let good = std::fs::read(&path).ok();
        sparse(&path);
        let ran = bounded(&sandbox, &["exec", "--secret", "s", "--", "true"]);
        assert!(ran.code != 0, "{}: {ran:?}", path.display());
        assert!(ran.stderr.contains("larger than"), "{}: {ran:?}", path.display());
        match good {
            Some(good) => std::fs::write(&path, good).expect("put back"),
            None => std::fs::remove_file(&path).expect("it was there"),
        }
    }
    sparse(&sandbox.work().join("large"));
    let ran = bounded(&sandbox, &["update", "secret", "s", "--from-file", "large"]);
    assert!(ran.code == 1 && ran.stderr.contains("larger than 1 MiB"), "{ran:?}");
    assert_eq!(sandbox.value("org/s").as_deref(), Some(&b"value"[..]));
}

/// Returns every file below a directory, with its bytes.
fn tree(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("listed").map(|entry| entry.expect("listed")) {
        match entry.file_type().expect("known") {
            kind if kind.is_dir() => {
                found.insert(entry.path(), Vec::new());
                found.extend(tree(&entry.path()));
            }
            kind if kind.is_file() => drop(found.insert(entry.path(), std::fs::read(entry.path()).expect("read"))),
            _ => drop(found.insert(entry.path(), Vec::new())),
        }
    }
    found
}

/// A vault whose secret `s` is `inside`, and a valid copy of the vault elsewhere whose `s` is `outside`. A process that follows
/// a link to the copy would accept it.
fn with_a_twin() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "outside"]);
    let twin = sandbox.work().join("twin");
    let copied = sandbox.program("cp").args(["-a"]).arg(sandbox.vault()).arg(&twin).status();
    assert!(copied.expect("cp starts").success());
    sandbox.ok(&["update", "secret", "s", "inside"]);
    (sandbox, twin)
}

#[test]
fn links_and_special_files_are_not_followed_and_nothing_hangs() {
    let mut cases = 0;
    for place in ["vault.toml", ".lock", "secrets", "secrets/org", "secrets/org/s.age", "secrets/org/.tmp"] {
        for kind in
            ["a link", "a link to itself", "a link to a device", "a FIFO", "a socket", "a device", "a directory"]
        {
            let (sandbox, twin) = with_a_twin();
            let path = sandbox.vault().join(place);
            let before = tree(&twin);
            let is_directory = path.is_dir();
            // Moves the file or directory aside.
            let _ = std::fs::rename(&path, sandbox.work().join("aside"));
            match kind {
                "a link" => symlink(twin.join(place), &path).expect("a link"),
                "a link to itself" => symlink(&path, &path).expect("a link"),
                "a link to a device" => symlink("/dev/zero", &path).expect("a link"),
                "a FIFO" => rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).expect("a FIFO"),
                "a socket" => drop(UnixListener::bind(&path).expect("a socket")),
                "a device" => {
                    let zero = rustix::fs::makedev(1, 5);
                    if rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::RWXU, zero).is_err() {
                        continue; // Only root can make a device.
                    }
                }
                _ if is_directory => continue,
                _ => std::fs::create_dir(&path).expect("a directory"),
            }
            for arguments in COMMANDS {
                let ran = bounded(&sandbox, arguments);
                let said = ran.all();
                assert!(!said.contains("outside"), "{place} is {kind}, {arguments:?}: {ran:?}");
                assert_eq!(tree(&twin), before, "{place} is {kind}, {arguments:?}");
                // The next writer removes `.tmp`. A wrong type of file is an error everywhere else.
                let may_be = place == "secrets/org/.tmp" || arguments[0] == "check" && place != "vault.toml";
                let reads = matches!(arguments[0], "get" | "exec") && place == ".lock";
                let elsewhere = arguments[0] == "create" && place == "secrets/org/s.age";
                let removed = arguments[0] == "delete" && place == "secrets/org/s.age";
                let good = may_be || reads || elsewhere || removed;
                assert!(good || ran.code != 0, "{place} is {kind}, {arguments:?}: {ran:?}");
                if ran.code == 0 && removed {
                    break;
                }
                cases += 1;
            }
        }
    }
    println!("{cases} commands");
    assert!(cases > 200, "{cases}");
}

/// A thread swaps a directory or a file for a link, over and over, while we read and write.
#[test]
fn a_link_swapped_in_at_any_moment_is_not_followed() {
    let rounds = if std::env::var_os("FLYTE_LOCAL_TEST_LONG").is_some() { 7000 } else { 700 };
    for place in ["secrets", "secrets/org", "secrets/org/s.age"] {
        let (sandbox, twin) = with_a_twin();
        let (path, other) = (sandbox.vault().join(place), sandbox.work().join("other"));
        let before = tree(&twin);
        symlink(twin.join(place), &other).expect("a link");
        let (mut vault, identities, id) = (sandbox.open_vault(), sandbox.identities(), secret_id("org/s"));
        let stop = AtomicBool::new(false);
        let value = SecretValue::new(b"written".to_vec().into()).expect("small enough");
        let (mut read, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(CWD, &path, CWD, &other, RenameFlags::EXCHANGE).expect("exchanged");
                }
            });
            for round in 0..rounds {
                match vault.value(&id, &identities) {
                    Ok(found) => {
                        assert_ne!(found.expose(), b"outside", "{place}");
                        read += 1;
                    }
                    Err(_) => refused += 1,
                }
                let name = secret_id(&format!("org/t{round}"));
                let _ = vault.writer().and_then(|mut writer| writer.create_secret(&name, SecretType::Regular, &value));
                let _ = vault.list(&ScopeFilter::default());
                let _ = vault.lock().and_then(|mut locked| locked.delete_secret(&name));
            }
            stop.store(true, Ordering::Relaxed);
        });
        crate::support::tally(&format!("exchanged for a link, {place}: {read} read, {refused} refused, 0 escapes"));
        assert!(read > 0 && refused > 0, "{place}: the link was not swapped in during the test: {read} {refused}");
        assert_eq!(tree(&twin), before, "{place}");
    }
}
