//! Large numbers: a vault with more scopes than a process may have open files, and a header of the maximum size.

#![allow(clippy::disallowed_methods, reason = "tests change files as any program could")]

use std::os::unix::fs::PermissionsExt;

use crate::support::{FLYTE_LOCAL, Ran, Sandbox, secret_id};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flyte_local::crypto::{Identity, MAX_HEADER_BYTES};
use flyte_local::secret::{SecretType, SecretValue};

/// The number of projects. Each has a directory for itself and one for its domain.
const PROJECTS: usize = 300;

/// The limit on open files: far fewer than there are scopes.
const FILES: usize = 64;

#[test]
fn a_vault_with_more_scopes_than_allowed_open_files_is_read() {
    let sandbox = Sandbox::new();
    let mut vault = sandbox.open_vault();
    let value = SecretValue::new(b"a value".to_vec().into()).expect("small enough");
    let mut create = |place: &str| {
        vault
            .writer()
            .expect("writable")
            .create_secret(&secret_id(place), SecretType::Regular, &value)
            .expect("created")
    };
    for index in 0..PROJECTS {
        create(&format!("project/p{index}/s"));
        create(&format!("project/p{index}/domain/d/s"));
    }
    let limited = |arguments: &[&str]| {
        let mut command = sandbox.program("sh");
        command.args(["-c", &format!("ulimit -n {FILES} && exec \"$0\" \"$@\""), FLYTE_LOCAL]).args(arguments);
        Ran::from(command.output().expect("sh starts"))
    };
    let list = limited(&["get", "secret", "--output-format", "table-simple"]);
    assert_eq!((list.code, list.stderr.as_str()), (0, ""));
    assert_eq!(list.text().lines().count(), 1 + 2 * PROJECTS, "a heading and a line each");

    // The hint for a missing secret searches every scope too.
    let missing = limited(&["exec", "--secret", "s", "--", "true"]);
    assert_eq!(missing.code, 10, "{missing:?}");
    assert!(missing.stderr.contains("\n  it exists in: project p0; project p1; "), "{missing:?}");
    let one = limited(&["exec", "--secret", "s", "-p", "p7", "-d", "d", "--", "printenv", "S"]);
    assert_eq!((one.code, one.text().as_str()), (0, "a value\n"), "{one:?}");
}

#[test]
fn a_header_of_the_maximum_size_is_read_without_the_value() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["create", "secret", "s", "v"]);
    let (vault, id, file) = (sandbox.open_vault(), secret_id("org/s"), sandbox.secret_file("org/s"));
    let good = std::fs::read(&file).expect("there");
    let mac = good.windows(5).position(|window| window == b"\n--- ").expect("it has one") + 1;
    let header = mac + good[mac..].iter().position(|&byte| byte == b'\n').expect("its end") + 1;
    for (length, is_read) in [(MAX_HEADER_BYTES, true), (MAX_HEADER_BYTES + 1, false)] {
        // A stanza of another kind, which age clients ignore.
        let stanza = format!("-> x {}\n\n", "a".repeat(length - header - "-> x \n\n".len()));
        std::fs::write(&file, [&good[..mac], stanza.as_bytes(), &good[mac..]].concat()).expect("written");
        assert_eq!(vault.metadata(&id).is_ok(), is_read, "{length}");
    }
}

/// The most bytes that Linux takes of one variable, with its name, `=` and the zero byte at its end.
#[cfg(target_os = "linux")]
const MOST_VARIABLE_BYTES: usize = 128 << 10;

#[cfg(target_os = "linux")]
#[test]
fn a_value_too_large_for_a_variable_is_named_with_the_way_to_mount_it() {
    let sandbox = Sandbox::new();
    sandbox.secret("small", "a value", &[]);
    let most = MOST_VARIABLE_BYTES - "LARGE=\0".len();
    for (bytes, is_started) in [(most, true), (most + 1, false), (1 << 20, false)] {
        let _ = sandbox.run(&["delete", "secret", "large"]);
        sandbox.secret("large", vec![b'x'; bytes], &[]);
        for options in [&["--secret=small", "--secret=large"][..], &["--all"], &["--all", "--mask"]] {
            let ran = sandbox.run(&[&["exec"], options, &["--", "true"]].concat());
            if is_started {
                assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{bytes} {options:?}");
                continue;
            }
            let said = format!(
                "error: secret large cannot become the variable LARGE: it has {bytes} bytes\n\
                 caused by: the system starts no program with a variable of that size\n\
                 hint: mount it as a file: --mount large\n"
            );
            assert_eq!((ran.code, ran.stderr), (126, said), "{options:?}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn variables_that_are_too_large_together_name_the_largest_secret() {
    let sandbox = Sandbox::new();
    for index in 0..8 {
        sandbox.secret(&format!("s{index}"), vec![b'x'; 100_000 + index], &[]);
    }
    for mask in [&[][..], &["--mask"]] {
        // The system takes a quarter of the stack.
        let limited = |options: &[&str]| {
            let mut command = sandbox.program("sh");
            command.args(["-c", "ulimit -s 2048 && exec \"$0\" \"$@\"", FLYTE_LOCAL, "exec"]).args(options).args(mask);
            Ran::from(command.args(["--", "true"]).output().expect("sh starts"))
        };
        let ran = limited(&["--all"]);
        assert_eq!(ran.code, 126, "{ran:?}");
        let said = "caused by: the largest secret is s7, with 100007 bytes\nhint: mount it as a file: --mount s7\n";
        assert!(ran.stderr.ends_with(said), "{ran:?}");
        assert_eq!(limited(&["--secret=s0", "--secret=s1"]).code, 0);
    }
}

/// Makes a public key.
type MakeKey = fn() -> String;

/// Returns a function that makes public keys of each kind: of age, and two of OpenSSH's, the second with the longest stanza.
fn kinds() -> [(&'static str, MakeKey); 3] {
    fn ssh(kind: &str, parts: &[&[u8]]) -> String {
        let part = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
        let blob: Vec<u8> = [&[kind.as_bytes()], parts].concat().into_iter().flat_map(part).collect();
        format!("{kind} {}", STANDARD.encode(blob))
    }
    fn random<const N: usize>() -> [u8; N] {
        let mut bytes = [0; N];
        getrandom::getrandom(&mut bytes).expect("randomness");
        bytes
    }
    [
        ("age", || Identity::generate().recipient().to_string()),
        ("ssh-ed25519", || {
            let point = ed25519_dalek::SigningKey::from_bytes(&random()).verifying_key().to_bytes();
            ssh("ssh-ed25519", &[&point])
        }),
        ("ssh-rsa", || {
            // A number of 4096 bits. Its factors do not matter for encryption.
            let mut number = random::<513>();
            (number[0], number[1], number[512]) = (0, number[1] | 0x80, number[512] | 1);
            ssh("ssh-rsa", &[b"\x01\0\x01", &number])
        }),
    ]
}

#[test]
fn a_vault_has_room_for_62_keys_of_each_kind() {
    for (kind, key) in kinds() {
        let sandbox = Sandbox::new();
        // The longest binding.
        let [name, project, domain] = [251, 63, 63].map(|length| "n".repeat(length));
        let scope = ["-p", &project, "-d", &domain];
        let in_scope = |arguments: &[&str]| sandbox.run(&[arguments, &scope].concat());
        sandbox.secret(&name, "v", &scope);
        let keys: String = (0..61).map(|_| key() + "\n").collect();
        let file = sandbox.file("keys", keys);
        let file = file.to_str().expect("UTF-8");
        sandbox.ok(&["create", "recipient", "--from-file", file, "--name", &"\u{10348}".repeat(64)]);
        assert_eq!(in_scope(&["get", "secret", &name, "--reveal"]).stdout, b"v", "{kind}");
        let updated = in_scope(&["update", "secret", &name, "w"]);
        assert_eq!(updated.code, 0, "{kind}: {updated:?}");
        assert_eq!(in_scope(&["get", "secret", &name, "--reveal"]).stdout, b"w", "{kind}");

        // One more is refused before anything changes, as an argument and in a file.
        let manifest = sandbox.vault().join("vault.toml");
        let before = std::fs::read(&manifest).expect("there");
        let more: String = (0..64).map(|_| key() + "\n").collect();
        sandbox.file("more", more);
        let one = key();
        for key in [&["--", &one][..], &["--from-file", "more"]] {
            let arguments = [&["create", "recipient", "--name", "more"], key].concat();
            let ran = sandbox.run(&arguments);
            assert_eq!(ran.code, 2, "{kind}: {ran:?}");
            assert!(ran.stderr.contains("62") && ran.stderr.contains("nothing was changed"), "{kind}: {ran:?}");
            assert!(std::fs::read(&manifest).expect("there") == before, "{kind}: vault.toml was changed");
        }
        // A key can still be exchanged, and the vault accepted as it is.
        let rotated = sandbox.run(&["update", "identity", "--rotate"]);
        assert_eq!(rotated.code, 0, "{kind}: {rotated:?}");
        sandbox.ok(&["update", "vault", "--accept"]);
        assert_eq!(in_scope(&["get", "secret", &name, "--reveal"]).stdout, b"w", "{kind}");
        assert_eq!(sandbox.run(&["check"]).code, 0, "{kind}");
    }
}

#[test]
fn a_file_over_a_limit_is_refused_with_the_limit() {
    let sandbox = Sandbox::new();
    sandbox.secret("s", "v", &[]);
    let identities: String = (0..65).map(|_| Identity::generate().to_file("now").to_string()).collect();
    let identities = sandbox.file("identities", identities);
    std::fs::set_permissions(&identities, std::fs::Permissions::from_mode(0o600)).expect("private");
    let ran = sandbox.run(&["--identity", "identities", "get", "secret", "s", "--reveal"]);
    assert!(ran.code == 1 && ran.stderr.contains("more than 64 identities"), "{ran:?}");
    assert!(ran.stderr.contains("split it into several files"), "{ran:?}");

    let registries: Vec<_> = (0..257).map(|index| format!("\"r{index}.example\":{{\"auth\":\"dTpw\"}}")).collect();
    sandbox.file("docker.json", format!("{{\"auths\":{{{}}}}}", registries.join(",")));
    let docker = ["create", "secret", "d", "--type", "image_pull", "--from-docker-config"];
    let docker = [&docker[..], &["--docker-config-path", "docker.json"]].concat();
    let ran = sandbox.run(&docker);
    assert!(ran.code == 1 && ran.stderr.contains("257 registries, and at most 256"), "{ran:?}");
    sandbox.ok(&[&docker[..], &["--registries", "r0.example,r256.example,r0.example"]].concat());

    sandbox.file("large.json", " ".repeat((256 << 10) + 1));
    let large = docker.iter().map(|&word| match word {
        "docker.json" => "large.json",
        "d" => "other",
        word => word,
    });
    let ran = sandbox.run(&large.collect::<Vec<_>>());
    assert!(ran.code == 1 && ran.stderr.contains("larger than 262144 bytes"), "{ran:?}");

    let keys: String = (0..2_500).map(|index| format!("# {index:060}\n")).collect();
    sandbox.file("keys", keys);
    let ran = sandbox.run(&["create", "recipient", "--from-file", "keys", "--name", "them"]);
    assert!(ran.code == 1 && ran.stderr.contains("larger than 131072 bytes"), "{ran:?}");

    let config = sandbox.home().join(".config/flyte-local/config.toml");
    std::fs::write(&config, "#".repeat((64 << 10) + 1)).expect("written");
    let ran = sandbox.run(&["exec", "--secret", "s", "--", "true"]);
    assert!(ran.code == 1 && ran.stderr.contains("larger than 65536 bytes"), "{ran:?}");
    std::fs::remove_file(&config).expect("removed");

    let manifest = sandbox.vault().join("vault.toml");
    let good = std::fs::read_to_string(&manifest).expect("there");
    for (more, told) in [
        ("x".repeat(256 << 10), "larger than 262144 bytes"),
        ("[[a.b.c]]\n#".repeat(8_500), "more than 32768 of the characters"),
    ] {
        std::fs::write(&manifest, format!("{good}#{more}\n")).expect("written");
        let ran = sandbox.run(&["get", "secret"]);
        assert!(ran.code != 0 && ran.stderr.contains(told), "{told}: {ran:?}");
        assert!(ran.stderr.len() < 2_000, "{} bytes", ran.stderr.len());
    }
    // One long line is not shown.
    std::fs::write(&manifest, format!("{good}{} = 1\n", "k".repeat(200_000))).expect("written");
    let ran = sandbox.run(&["get", "secret"]);
    assert!(ran.code != 0 && ran.stderr.len() < 3_000, "{} bytes", ran.stderr.len());
}

#[test]
fn a_file_to_import_has_at_most_10000_entries() {
    let sandbox = Sandbox::new();
    let joined =
        |entries: usize, one: &dyn Fn(usize) -> String, end: &str| (0..entries).map(one).collect::<Vec<_>>().join(end);
    let files = |entries: usize| {
        [
            ("dotenv", joined(entries, &|index| format!("A{index}="), "\n")),
            ("yaml", joined(entries, &|index| format!("A{index}: a"), "\n")),
            ("json", format!("{{{}}}", joined(entries, &|index| format!("\"A{index}\": 1"), ",\n"))),
        ]
    };
    for (entries, is_read) in [(10_000, true), (10_001, false)] {
        for (format, text) in files(entries) {
            let ran = sandbox.pipe(&["import", "-", "--format", format, "--dry-run"], text.as_bytes());
            assert_eq!(ran.code == 0, is_read, "{format} {entries}: {}", ran.stderr);
            let told = "line 10001: it has more than 10000 entries";
            assert_eq!(ran.stderr.contains(told), !is_read, "{format} {entries}: {}", ran.stderr);
        }
    }
    // The parser would keep every token of these.
    for text in [format!("{{{}}}", "a: b, ".repeat(150_001)), format!("{{{}", "a #\n".repeat(300_001))] {
        let ran = sandbox.pipe(&["import", "-", "--format", "yaml", "--dry-run"], text.as_bytes());
        assert!(ran.code == 1 && ran.stderr.contains("more than 300000 of the characters"), "{}", ran.stderr);
    }
}
