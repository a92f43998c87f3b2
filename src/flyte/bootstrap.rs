//! The Python modules that this binary carries, of `python/flyte_local/bootstrap/`.
//!
//! An interpreter starts with [`LOAD`] alone, fetches the others over its socket, and so keeps their code out of `ps`.

/// The source of one module.
macro_rules! source {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/python/flyte_local/bootstrap/", $name, ".py"))
    };
}

/// The program of an interpreter: it fetches the modules and starts this one.
macro_rules! program {
    ($module:literal) => {
        concat!(
            source!("load"),
            r#"
socket = int(sys.argv[1])
start = load(socket, '{"op":"hello","python":[%d,%d,%d]}' % tuple(sys.version_info[:3]))
sys.modules["_flyte_local."#,
            $module,
            r#""].start(socket, start)
"#
        )
    };
}

/// The names and the sources of modules, each after those that it imports.
macro_rules! modules {
    ($($name:literal),+ $(,)?) => { &[$(($name, source!($name))),+] };
}

/// Fetches the other modules over a socket. The first interpreter and each worker of its tests begin with it. Any Python
/// since 2.7 can parse it, so that one that is too old can say so.
pub(super) const LOAD: &str = source!("load");

/// The program of a run's interpreter.
pub(super) const RUN: &str = program!("start");

/// Returns the program that stands for the package `flyte` in each process that could join a run at this address.
pub(super) fn join(address: &str) -> String {
    concat!(source!("join"), "\n\n", source!("load"), "\n\njoin(make, ADDRESS)\n").replacen(
        "ADDRESS)",
        &format!("{address:?})"),
        1,
    )
}

/// The modules of a run.
pub(super) const RUN_MODULES: &[(&str, &str)] = modules![
    "broker",
    "errors",
    "views",
    "inheritance",
    "children",
    "processes",
    "leaks",
    "kept",
    "connectors",
    "env_vars",
    "threads",
    "containers",
    "subclasses",
    "injection",
    "apps",
    "builds",
    "imports",
    "withheld",
    "local",
    "redirect",
    "modes",
    "workers",
    "survey",
    "command",
    "start",
];

/// The program of an interpreter that becomes Flyte's own command, without anything of flyte-local's.
pub(super) const HANDOVER: &str = source!("handover");

/// The program of the interpreter that calls a cluster.
pub(super) const PUSH: &str = program!("push");

/// The modules of a call to a cluster.
pub(super) const PUSH_MODULES: &[(&str, &str)] = modules!["broker", "push"];
