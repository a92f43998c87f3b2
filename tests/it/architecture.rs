//! The rules of `docs/architecture.md`, read from that document and compared with the code, so that the two stay in
//! step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A generated file, which the rules on size and place do not cover.
const GENERATED: &str = "src/service/generated.rs";

/// The most lines that a file may have, not counting its unit tests.
const MAX_LINES: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(directory).expect("a readable directory") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a readable file");
                found.push((path.strip_prefix(root()).expect("below the root").to_owned(), text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), &mut found);
    assert!(found.len() > 20, "the sources were not found");
    found
}

/// Returns the first path component below `src`, without its extension.
fn module(path: &Path) -> String {
    let first = path.components().nth(1).expect("below src").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// Returns the rows of the document's table: each module and the modules that it may use.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).expect("the document");
    let mut table = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `src/")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [path, _, uses] = cells[..] else { panic!("not three cells: {line}") };
        let name = path.trim_matches('`').trim_start_matches("src/").trim_end_matches('/').trim_end_matches(".rs");
        let uses = if uses == "nothing" { BTreeSet::new() } else { uses.split(", ").map(str::to_owned).collect() };
        table.insert(name.to_owned(), uses);
    }
    table
}

/// Returns the code before the unit tests, without comments.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Returns the modules that follow `prefix` in the code, in both forms: `crate::vault::x` and `crate::{vault,
/// secret::y}`.
fn named_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in code.split(prefix).skip(1) {
        let names = match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let end = name.trim_start().find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = name.trim_start();
            found.insert(name[..end.unwrap_or(name.len())].to_owned());
        }
    }
    found
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let table = table();
    for (path, text) in sources() {
        let (module, code) = (module(&path), code(&text));
        if module == "lib" {
            continue;
        }
        let allowed = table.get(&module).unwrap_or_else(|| panic!("{} has no row in the table", path.display()));
        // In the binary, `crate::` means the binary itself, and the library goes by its name.
        let prefix = if module == "cli" { "flyte_local::" } else { "crate::" };
        for used in named_after(&code, prefix).difference(allowed) {
            assert!(*used == module, "{} may not use {used}", path.display());
        }
    }
}

/// Returns the modules of the command line, by path (`cli::commands::run`), with their code. Each file is a module.
fn modules_of_the_command_line() -> BTreeMap<String, String> {
    let sources = sources().into_iter().filter(|(path, _)| path.starts_with("src/cli"));
    let named = sources.map(|(path, text)| {
        let path = path.with_extension("");
        let parts = path.components().skip(1).map(|part| part.as_os_str().to_string_lossy().into_owned());
        (parts.filter(|part| part != "mod").collect::<Vec<_>>().join("::"), code(&text))
    });
    named.collect()
}

/// Returns the paths that begin with one of these words, in `use` declarations and elsewhere. A group counts as several
/// paths.
fn paths(code: &str, first_words: &[String]) -> Vec<String> {
    fn expand(prefix: &str, tree: &str, found: &mut Vec<String>) {
        let (mut depth, mut start) = (0, 0);
        let mut parts = Vec::new();
        for (index, character) in tree.char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => parts.push(&tree[std::mem::replace(&mut start, index + 1)..index]),
                _ => {}
            }
        }
        parts.push(&tree[start..]);
        for part in parts.into_iter().map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('{') {
                Some((head, rest)) => expand(&format!("{prefix}{head}"), rest.trim_end_matches('}'), found),
                None => found.push(format!("{prefix}{part}")),
            }
        }
    }
    let mut found = Vec::new();
    for word in first_words {
        let start = format!("{word}::");
        for (index, _) in code.match_indices(&start) {
            if code[..index].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = &code[index..];
            let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            let plain = rest.find(|c| !is_path(c)).unwrap_or(rest.len());
            let end = if rest[plain..].starts_with('{') { rest.find(';').unwrap_or(plain) } else { plain };
            expand("", &rest[..end], &mut found);
        }
    }
    found
}

/// Returns the modules that each module uses. `mod` declarations and unit tests do not count.
fn uses(modules: &BTreeMap<String, String>) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut graph = BTreeMap::new();
    for (module, code) in modules {
        let children = modules.keys().filter_map(|other| other.strip_prefix(&format!("{module}::")));
        let children: Vec<String> = children.filter(|child| !child.contains("::")).map(str::to_owned).collect();
        let roots = ["crate", "super", "self"].map(str::to_owned);
        let words: Vec<String> = roots.into_iter().chain(children.iter().cloned()).collect();
        let mut used = BTreeSet::new();
        for path in paths(code, &words) {
            let mut full: Vec<&str> = match path.split("::").next() {
                Some("crate") => Vec::new(),
                _ => module.split("::").collect(),
            };
            for part in path.split("::").map(str::trim) {
                match part {
                    "crate" | "self" => {}
                    "super" => drop(full.pop()),
                    part => full.push(part),
                }
            }
            let longest = (1..=full.len()).rev().map(|length| full[..length].join("::"));
            let found = longest.filter_map(|name| modules.get_key_value(&name)).map(|(name, _)| name.as_str()).next();
            used.extend(found.filter(|found| found != module));
        }
        graph.insert(module.as_str(), used);
    }
    graph
}

/// Returns the modules on a cycle from `start` back to itself, if there is one.
fn cycle<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut routes = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while let Some(route) = routes.pop() {
        for &next in &graph[route.last().expect("it begins at the start")] {
            if next == start {
                return Some(route);
            }
            if seen.insert(next) {
                routes.push(route.iter().copied().chain([next]).collect());
            }
        }
    }
    None
}

/// Returns the command that a module belongs to: `run` for `cli::commands::run::leaks`.
fn command(module: &str) -> Option<&str> {
    module.strip_prefix("cli::commands::")?.split("::").next()
}

#[test]
fn modules_of_the_command_line_have_no_cycles() {
    let modules = modules_of_the_command_line();
    let graph = uses(&modules);
    assert!(graph.values().map(BTreeSet::len).sum::<usize>() > 100, "the uses were not found: {graph:?}");
    let cycles: BTreeSet<_> = graph.keys().filter_map(|module| cycle(&graph, module)).collect();
    assert!(cycles.is_empty(), "{cycles:#?}");
}

#[test]
fn no_command_uses_another() {
    let modules = modules_of_the_command_line();
    for (module, used) in uses(&modules) {
        let Some(own) = command(module) else { continue };
        let others: Vec<_> = used.iter().filter(|used| command(used).is_some_and(|other| other != own)).collect();
        assert!(others.is_empty(), "{module} uses {others:?}");
    }
}

#[test]
fn a_cycle_and_the_use_of_another_command_are_found() {
    let sources = [
        ("cli", "mod a; use a::A;"),
        ("cli::a", "use super::{b::{self, B}, commands::run};"),
        ("cli::b", "fn f() { crate::cli::a::f() }"),
        ("cli::commands", "mod run; mod push;"),
        ("cli::commands::run", "use crate::cli::commands::push::Plan;"),
        ("cli::commands::push", ""),
    ];
    let modules = sources.map(|(module, code)| (module.to_owned(), code.to_owned())).into_iter().collect();
    let graph = uses(&modules);
    assert_eq!(graph["cli::a"], BTreeSet::from(["cli::b", "cli::commands::run"]));
    assert_eq!(cycle(&graph, "cli::b"), Some(vec!["cli::b", "cli::a"]));
    assert_eq!(cycle(&graph, "cli"), None);
    assert_eq!(graph["cli::commands::run"], BTreeSet::from(["cli::commands::push"]));
    assert_eq!(command("cli::commands::run::leaks"), Some("run"));
}

#[test]
fn the_table_has_a_row_for_each_module_and_no_more() {
    let mut modules: BTreeSet<String> = sources().iter().map(|(path, _)| module(path)).collect();
    modules.remove("lib");
    assert_eq!(table().into_keys().collect::<BTreeSet<_>>(), modules);
}

#[test]
fn restricted_code_is_only_in_its_place() {
    let only = [
        ("age::", "src/crypto/"),
        ("age_core::", "src/crypto/"),
        ("linux_keyutils::", "src/keyring/"),
        ("fs2::", "src/storage/lock.rs"),
        ("tokio::", "src/service/"),
        ("hyper::", "src/service/"),
        ("connectrpc::", "src/service/"),
        ("env::var", "src/cli/environment.rs"),
        ("rpassword::", "src/cli/prompt"),
        ("io::stdout", "src/cli/ui.rs"),
        ("Spawner::new", "src/cli/context.rs"),
        ("Spawner::for_supervisor", "src/launch/supervisor.rs"),
        ("println!", "nowhere"),
        ("eprint", "nowhere"),
        ("process::exit", "nowhere"),
        ("unsafe ", "nowhere"),
        ("\"secrets\"", "src/vault/layout.rs"),
        ("\".age\"", "src/vault/layout.rs"),
    ];
    for (path, text) in sources() {
        let code = code(&text);
        for (what, place) in only {
            let at = path.to_string_lossy();
            // `storage::` ends in the same letters as `age::`.
            let found = path != Path::new(GENERATED)
                && code
                    .match_indices(what)
                    .any(|(index, _)| !code[..index].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'));
            assert!(!found || at.starts_with(place), "{at} has {what}, which belongs in {place}");
        }
    }
}

/// Returns the paths among the command-line arguments that the code declares, and the attributes of each.
fn path_arguments(code: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // Between the attributes of one structure and those of the next.
    let structures: Vec<&str> =
        code.split("#[derive(").filter(|part| part.starts_with("clap::Args") || part.starts_with("Args")).collect();
    for structure in structures {
        let mut attributes = String::new();
        for line in structure.lines().take_while(|line| *line != "}").map(str::trim) {
            match line.split_once(": ") {
                _ if line.starts_with("#[") => attributes.push_str(line),
                Some((field, kind)) if kind.contains("PathBuf") => {
                    found.push((field.to_owned(), std::mem::take(&mut attributes)));
                }
                _ => attributes.clear(),
            }
        }
    }
    found
}

/// A path that is parsed in another way would take `~` for the name of a directory.
#[test]
fn every_path_argument_is_parsed_as_a_path_of_the_user() {
    let sources = sources().into_iter().filter(|(path, _)| path.starts_with("src/cli"));
    let arguments: Vec<_> = sources.flat_map(|(_, text)| path_arguments(&code(&text))).collect();
    assert!(arguments.len() > 9, "the arguments were not found: {arguments:?}");
    for (field, attributes) in arguments {
        assert!(attributes.contains("value_parser = user_path()"), "{field} has no user_path()");
    }
    let bad = "#[derive(clap::Args)]\nstruct Args {\n    #[arg(long)]\n    file: Option<PathBuf>,\n}\n";
    assert_eq!(path_arguments(bad), [("file".to_owned(), "#[arg(long)]".to_owned())]);
}

#[test]
fn files_stay_small_and_have_a_purpose() {
    for (path, text) in sources().into_iter().filter(|(path, _)| path != Path::new(GENERATED)) {
        let lines = code(&text).lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
        assert!(text.starts_with("//!"), "{} has no module documentation", path.display());
        let stem = path.file_stem().expect("a file").to_string_lossy().into_owned();
        assert!(!["util", "utils", "common", "helpers", "manager", "misc"].contains(&stem.as_str()), "{stem}");
    }
}

/// Returns the names of the types that the code declares at the start of a line.
fn types(code: &str) -> Vec<&str> {
    let declared = code.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().skip_while(|word| word.starts_with("pub")).collect();
        let is_declaration = !line.starts_with(' ') && ["struct", "enum", "trait", "type"].contains(words.first()?);
        is_declaration.then(|| words.get(1).copied().unwrap_or_default())
    });
    declared.map(|name| name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default()).collect()
}

#[test]
fn type_names_are_unique() {
    let mut places: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| path != Path::new(GENERATED)) {
        // Each command has its arguments in a type of this name.
        for name in types(&code(&text)).into_iter().filter(|name| *name != "Args") {
            if let Some(other) = places.insert(name.to_owned(), path.clone()) {
                panic!("{} and {} both declare {name}", other.display(), path.display());
            }
        }
    }
    assert!(places.len() > 100, "the types were not found");
}

#[test]
fn declarations_of_types_are_found() {
    let code =
        "pub(crate) struct A<'a> {\n    enum: u8,\n}\nenum B {\npub trait C: Copy {\npub type D = u8;\nfn e(f: F) {\n";
    assert_eq!(types(code), ["A", "B", "C", "D"]);
}

#[test]
fn every_dependency_has_its_reason() {
    let document = std::fs::read_to_string(root().join("docs/architecture/dependencies.md")).expect("the document");
    let packages =
        [("Cargo.toml", "dependencies"), ("Cargo.toml", "dev-dependencies"), ("xtask/Cargo.toml", "dependencies")];
    for (manifest, kind) in packages {
        let manifest: toml::Table =
            std::fs::read_to_string(root().join(manifest)).expect("the manifest").parse().expect("TOML");
        for name in manifest[kind].as_table().expect("a table").keys().filter(|name| *name != "flyte-local") {
            assert!(
                document.contains(&format!("`{name}`")),
                "docs/architecture/dependencies.md has no reason for {name}"
            );
        }
    }
}

/// Returns the files that the `main.rs` of a directory of tests does not make part of its binary.
fn forgotten_modules(main: &str, names: &[&str]) -> Vec<String> {
    let stems = names.iter().map(|name| name.strip_suffix(".rs").unwrap_or(name)).filter(|stem| *stem != "main");
    stems.filter(|stem| !main.lines().any(|line| line == format!("mod {stem};"))).map(str::to_owned).collect()
}

#[test]
fn every_file_of_tests_is_a_module_of_its_binary() {
    let listed = |directory: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(directory).expect("a directory");
        entries.map(|entry| entry.expect("listed").file_name().into_string().expect("UTF-8")).collect()
    };
    for (main, binary) in [("main.rs", "it"), ("main.rs", "root"), ("main.rs", "memory"), ("mod.rs", "support")] {
        let directory = root().join("tests").join(binary);
        let names = listed(&directory);
        let modules: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.ends_with(".sh")).collect();
        let text = std::fs::read_to_string(directory.join(main)).expect("the modules");
        let modules: Vec<&str> = modules.into_iter().filter(|name| *name != "mod.rs").collect();
        assert_eq!(
            forgotten_modules(&text.replace("pub mod", "mod"), &modules),
            Vec::<String>::new(),
            "tests/{binary}"
        );
    }
    // Cargo would build a separate binary from a file beside these directories.
    let stray: Vec<_> = listed(&root().join("tests")).into_iter().filter(|name| name.ends_with(".rs")).collect();
    assert_eq!(stray, Vec::<String>::new(), "move these into tests/it");
}

#[test]
fn a_forgotten_file_of_tests_is_found() {
    let forgotten = forgotten_modules("mod known;\n// mod other;\n", &["main.rs", "known.rs", "other.rs", "directory"]);
    assert_eq!(forgotten, ["other", "directory"]);
}
