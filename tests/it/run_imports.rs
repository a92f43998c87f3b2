//! `flyte-local run`: a secret exists when a module is imported, before the line that declares it, as on a cluster.

use crate::support::{SDKS, Sandbox};

/// A sandbox with a secret `key` and others, whose values name their secrets.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for key in ["key", "second-key", "third", "grouped", "in_file", "in_function"] {
        sandbox.secret(key, format!("value of {key}"), &[]);
    }
    sandbox
}

/// Returns code that reads variables when it is imported, each of which must hold its secret.
fn reads(variables: &[(&str, &str)]) -> String {
    let reads = variables.iter().map(|(variable, key)| format!("os.environ['{variable}'] == 'value of {key}'"));
    format!("import os\n\nread = [{}]\n", reads.collect::<Vec<_>>().join(", "))
}

const TASK: &str = "
@env.task
def main() -> None:
    print('=> ran')

if __name__ == '__main__':
    print('=>', all(read))
";

/// Runs the file in every possible way, on each SDK.
fn runs_in_every_way(sandbox: &Sandbox) {
    for sdk in SDKS {
        for (arguments, said) in
            [(&["tasks.py", "main"][..], "ran"), (&["tasks.py"], "True"), (&["-m", "tasks"], "True")]
        {
            let ran = sandbox.flyte_run(sdk, arguments);
            assert_eq!((ran.code, ran.said()), (0, vec![said.to_owned()]), "{sdk} {arguments:?}: {ran:?}");
            assert!(!ran.stderr.contains("flyte-local"), "{sdk} {arguments:?}: {ran:?}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_variable_is_read_above_the_line_that_declares_it() {
    let sandbox = sandbox();
    let declares = "
import flyte
env = flyte.TaskEnvironment(name='env', secrets='key')
";
    sandbox.file("tasks.py", format!("{}{declares}{TASK}", reads(&[("KEY", "key")])));
    runs_in_every_way(&sandbox);
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn every_spelling_of_a_constant_declaration_is_found() {
    let sandbox = sandbox();
    let read = reads(&[
        ("KEY", "key"),
        ("SECOND", "second-key"),
        ("THIRD", "third"),
        ("TEAM_GROUPED", "grouped"),
        ("IN_FUNCTION", "in_function"),
        ("FROM_LIST", "third"),
        ("ALIASED", "key"),
    ]);
    let declares = r"
read.append(open('/etc/flyte/secrets/in_file').read() == 'value of in_file')

import pathlib
import flyte as fl
from flyte import Secret as S, Secret

MOUNT = pathlib.Path('/etc/flyte/secrets')
SECOND_KEY: str = 'second-' 'key'
WORD = 'th'
KEY_NAME = f'{WORD}i' + 'rd'
Alias = fl.Secret
MORE = ['third', S('third', as_env_var='FROM_LIST')]

env = fl.TaskEnvironment(
    name='env',
    secrets=[
        'key',
        S(key=SECOND_KEY, as_env_var='SEC' + 'OND'),
        fl.Secret(KEY_NAME),
        Secret('grouped', 'team'),
        Secret(key='in_file', mount=MOUNT),
        Alias('key', as_env_var='ALIASED'),
    ] + MORE,
)
other_env = env.clone_with(name='other', secrets=MORE)

def overrides():
    return main.override(secrets=fl.Secret('in_function'))
";
    sandbox.file("tasks.py", format!("{read}{declares}{TASK}"));
    runs_in_every_way(&sandbox);
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_module_may_be_imported_before_the_module_that_declares_its_secret() {
    let sandbox = sandbox();
    // The main file declares a secret that a helper reads. The module that is imported last declares one that the main file
    // reads. A third module has the names.
    sandbox.file("helper.py", reads(&[("KEY", "key")]));
    sandbox.file("package/__init__.py", reads(&[("THIRD", "third")]));
    sandbox.file("package/names.py", "SECOND = 'second-' + 'key'\nVARIABLE = 'SECOND'\n");
    let below = "
from . import names
from .names import SECOND as KEY
import flyte
env = flyte.TaskEnvironment(name='env', secrets=[flyte.Secret(KEY, as_env_var=names.VARIABLE), 'third'])
";
    sandbox.file("package/below/__init__.py", "");
    sandbox.file("package/declares.py", below);
    let main = format!(
        "{}
from helper import read as more
from package import (  # a comment
    read as most,
    declares,
)
import flyte
read = read + more + most
env = flyte.TaskEnvironment(name='main_env', secrets='key')
{TASK}",
        reads(&[("SECOND", "second-key")])
    );
    sandbox.file("tasks.py", main);
    runs_in_every_way(&sandbox);
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_missing_secret_is_reported_when_its_variable_is_read() {
    let sandbox = sandbox();
    let declares = "
import flyte
env = flyte.TaskEnvironment(name='env', secrets=['key', flyte.Secret('no-such', as_env_var='NOPE')])
";
    let lines = "flyte-local: NOPE is not set: secret no-such does not exist in this run's scopes\nsearched: organization\n\
                 hint: create it: flyte-local create secret no-such\n";
    for sdk in SDKS {
        // A module that reads the variable with a default is fine.
        let quiet =
            "import os\nfound = 'NOPE' in os.environ, os.environ.get('NOPE', 'none'), os.environ.pop('NOPE', 1)\n";
        sandbox.file("tasks.py", format!("{quiet}{declares}read = [found == (False, 'none', 1)]{TASK}"));
        let ran = sandbox.flyte_run(sdk, &["tasks.py"]);
        assert_eq!((ran.code, ran.said(), ran.stderr.as_str()), (0, vec!["True".to_owned()], ""), "{sdk}");

        for read in ["os.environ['NOPE']", "len(os.getenv('NOPE')) + len(os.getenv('NOPE'))"] {
            sandbox.file("tasks.py", format!("import os\nread = {read}\n{declares}{TASK}"));
            let ran = sandbox.flyte_run(sdk, &["tasks.py"]);
            assert_eq!(ran.code, 1, "{sdk}: {ran:?}");
            assert_eq!(ran.stderr.matches(lines).count(), 1, "{sdk}: {ran:?}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn large_files_without_declarations_do_not_delay_a_run() {
    let sandbox = sandbox();
    // A name that would have 2^45 characters if it were put together, and would take as many steps without a cache.
    let sums = (1..=45).map(|i| format!("x{i} = x{0} + x{0}\n", i - 1)).collect::<String>();
    let names = format!("import flyte\nx0 = ''\n{sums}flyte.Secret(x45 + 'third', as_env_var='THIRD')\n");
    let chain = format!("import flyte\nx0 = 'a'\n{sums}");
    sandbox.file("names.py", &names);
    sandbox.file("long.py", "import flyte\nif False:\n    import chain\n");
    sandbox.file("chain.py", format!("{chain}env = flyte.TaskEnvironment(name='chain', secrets=x45)\n"));
    // A list of a hundred thousand values, in a file with a declaration.
    let rows = "    {'name': 'row', 'n': [1, 2]},\n".repeat(20_000);
    sandbox
        .file("data.py", format!("import flyte\nflyte.Secret('second-key', as_env_var='SECOND')\nROWS = [\n{rows}]\n"));
    let declares = "
import long, names, data
import flyte
env = flyte.TaskEnvironment(name='env', secrets='key')
";
    let read = reads(&[("KEY", "key"), ("THIRD", "third"), ("SECOND", "second-key")]);
    sandbox.file("tasks.py", format!("{read}{declares}{TASK}"));
    let ran = sandbox.flyte_run("newest", &["tasks.py"]);
    assert_eq!((ran.code, ran.said()), (0, vec!["True".to_owned()]), "{ran:?}");
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_test_module_reads_its_secret_at_import() {
    let sandbox = sandbox();
    let test = "
import flyte
from conftest import at_start
env = flyte.TaskEnvironment(name='env', secrets='key')

def test_read():
    assert all(read) and at_start
";
    sandbox.file("test_reads.py", format!("{}{test}", reads(&[("KEY", "key")])));
    let conftest = "
import os
at_start = os.environ['THIRD'] == 'value of third'
import flyte
env = flyte.TaskEnvironment(name='fixtures', secrets='third')
";
    sandbox.file("conftest.py", conftest);
    for sdk in SDKS {
        for workers in [&[][..], &["-n", "1"]] {
            let arguments = [&["-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"], workers].concat();
            let ran = sandbox.flyte_run(sdk, &arguments);
            assert_eq!(ran.code, 0, "{sdk} {workers:?}: {ran:?}");
            assert!(ran.text().contains("1 passed"), "{sdk} {workers:?}: {ran:?}");
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn code_that_only_looks_like_a_declaration_changes_nothing() {
    let sandbox = sandbox();
    sandbox.secret("path", "a value named path", &[]);
    sandbox.file("kubernetes_like.py", "class Secret:\n    def __init__(self, key):\n        pass\n");
    let main = r#"
import os
before = dict(os.environ)
import kubernetes_like as k8s

class Box:
    Secret = str

# No `secrets=` and no `flyte.Secret`: a secret named path is in the vault.
Box.Secret("path")
str("Secret('path')")
import flyte
env = flyte.TaskEnvironment(name="env", secrets=flyte.Secret("absent", as_env_var="HOME"))
other_env = flyte.TaskEnvironment(name="other")

@other_env.task
def main() -> None:
    print("=>", os.environ["PATH"] == before["PATH"], "KEY" in os.environ)

if __name__ == "__main__":
    flyte.init()
    print("=>", before == dict(os.environ))
    flyte.run(main)
"#;
    sandbox.file("tasks.py", main);
    for sdk in SDKS {
        let ran = sandbox.flyte_run(sdk, &["tasks.py"]);
        let expected = ["True".to_owned(), "True False".to_owned()].to_vec();
        assert_eq!((ran.code, ran.said(), ran.stderr.as_str()), (0, expected, ""), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_search_for_declarations_prints_nothing() {
    let sandbox = sandbox();
    // Invalid escapes, which the compiler reports once; a file with an error that is never imported; a cycle of imports;
    // and a file in another encoding.
    sandbox.file("mistaken.py", "import flyte\nenv = flyte.TaskEnvironment(secrets=\n");
    sandbox.file("round.py", "import about\nSECRET = 1\n");
    sandbox.file("about.py", "import round\nSECRET = 1\n");
    sandbox.file("latin.py", b"# -*- coding: latin-1 -*-\nSECRETS = 'gr\xf6\xdfe'\n");
    let main = format!(
        "{}
import flyte, latin, about
pattern = '\\d'
def never():
    import mistaken, nosuch.below, os.path
    from ... import above
    from nosuch import (a, b
        , c)
env = flyte.TaskEnvironment(name='env', secrets='key')
{TASK}",
        reads(&[("KEY", "key")])
    );
    sandbox.file("tasks.py", main);
    for sdk in SDKS {
        let mut command = sandbox.flyte_command(sdk, &["tasks.py"]);
        let ran = crate::support::Ran::from(command.env("PYTHONWARNINGS", "default").output().expect("it starts"));
        assert_eq!((ran.code, ran.said()), (0, vec!["True".to_owned()]), "{sdk}: {ran:?}");
        assert_eq!(ran.stderr.matches("invalid escape sequence").count(), 1, "{sdk}: {ran:?}");
    }
}
