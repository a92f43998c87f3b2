//! The leak guard of `run`: secrets in the results of tasks, and in the files that Flyte keeps of a run.
//!
//! Flyte keeps these files in `/tmp/flyte`, which all users of a machine share, so every test uses unique values.

#![allow(clippy::disallowed_methods, reason = "the rules on files and variables are for the product")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::support::{Ran, SDKS, Sandbox, python};

/// Returns a value that no other test, and no other run of this test, uses.
fn unique(sandbox: &Sandbox, sdk: &str) -> String {
    let name = sandbox.home().file_name().expect("it has one").to_string_lossy().into_owned();
    format!("value-{name}-{sdk}-{}", std::process::id())
}

/// Returns the messages of flyte-local, without those of the SDK.
fn told(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().filter(|line| line.starts_with("flyte-local:") || line.starts_with("hint:")).collect()
}

fn returns(task: &str, secret: &str, place: &str) -> String {
    format!(
        "flyte-local: task {task} returns its secret {secret}, in {place}: \
         Flyte stores what tasks return in plain text and shows it in its UI"
    )
}

/// Returns the files below these directories that contain the text or its base64.
fn holding(directories: &[&Path], text: &str) -> Vec<PathBuf> {
    let wanted = [text.to_owned(), STANDARD.encode(text), URL_SAFE.encode(text)];
    let mut found = Vec::new();
    let mut rest: Vec<PathBuf> = directories.iter().map(|path| path.to_path_buf()).collect();
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            // Other tests remove their files at the same time.
            rest.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap_or_default();
            // Searched as text, which is much faster than part by part: files of other tests are large.
            let text = String::from_utf8_lossy(&bytes);
            if wanted.iter().any(|wanted| text.contains(wanted)) {
                found.push(path);
            }
        }
    }
    found
}

fn cache(sandbox: &Sandbox) -> PathBuf {
    sandbox.home().join(".flyte/local-cache/cache.db")
}

fn hints_on_the_cache(cache: &Path) -> [String; 2] {
    [
        "hint: Flyte's cache holds the results of all local runs: replace the secret with a new one,".to_owned(),
        format!("hint: or empty the cache, so that cached tasks run again: rm {}", cache.display()),
    ]
}

/// A task that returns its secret as plain text, which Flyte keeps in its cache.
const CACHED: &str = "
import os
import flyte

env = flyte.TaskEnvironment(name='env', secrets='token')

@env.task(cache='auto', retries=2)
def main() -> str:
    print('=> main', flush=True)
    return 'it is ' + os.environ['TOKEN']
";

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_task_that_returns_its_secret_is_reported_with_the_file_that_holds_it() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let value = unique(&sandbox, sdk);
        sandbox.secret("token", &value, &[]);
        sandbox.file("task.py", CACHED);
        for options in [&[][..], &["--leaks=warn"]] {
            let ran = sandbox.flyte_run(sdk, &[options, &["task.py", "main"]].concat());
            let cache = cache(&sandbox);
            assert_eq!((ran.code, ran.said()), (0, vec!["main".to_owned()]), "{sdk}: {ran:?}");
            let [replace, empty] = hints_on_the_cache(&cache);
            let expected = [
                returns("env.main", "token", "o0"),
                format!("flyte-local: secret token in plain text in {}", cache.display()),
                replace,
                empty,
            ];
            assert_eq!(told(&ran), expected, "{sdk}: {ran:?}");
            // The command of the hint removes the value.
            std::fs::remove_file(cache).expect("it is there");
            assert_eq!(holding(&[&sandbox.home().join(".flyte")], &value), Vec::<PathBuf>::new());
        }
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_leak_of_an_earlier_run_is_not_blamed_on_this_one() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.secret("token", unique(&sandbox, sdk), &[]);
        sandbox.file("task.py", CACHED);
        sandbox.flyte_run(sdk, &["task.py", "main"]);
        // This task returns no secret, but its result is kept in the same database.
        sandbox.file("task.py", CACHED.replace("'it is ' + os.environ['TOKEN']", "str(len(os.environ['TOKEN']))"));
        let ran = sandbox.flyte_run(sdk, &["task.py", "main"]);
        let cache = cache(&sandbox);
        let line = format!("flyte-local: secret token in plain text in {}", cache.display());
        let mut expected =
            vec![format!("{line} (the file is older than this run; an earlier run may have written it)")];
        expected.extend(hints_on_the_cache(&cache));
        assert_eq!((ran.code, told(&ran)), (0, expected.iter().map(String::as_str).collect()), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn with_leaks_denied_a_task_that_returns_its_secret_fails_and_nothing_is_written() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let value = unique(&sandbox, sdk);
        sandbox.secret("token", &value, &[]);
        sandbox.file("task.py", CACHED);
        sandbox.file(
            "script.py",
            format!(
                "{CACHED}\nif __name__ == '__main__':\n    flyte.init(local_persistence=True)\n    flyte.run(main)"
            ),
        );
        for arguments in [&["task.py", "main"][..], &["script.py"]] {
            let ran = sandbox.flyte_run(sdk, &[&["--leaks=deny"], arguments].concat());
            // The task is not retried, since it would return the same value again.
            assert_eq!((ran.code, ran.said()), (1, vec!["main".to_owned()]), "{sdk}: {ran:?}");
            let why = "task env.main returns its secret token, in o0, which --leaks=deny forbids";
            let text = ran.all().replace('│', "").split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(why), "{sdk}: {ran:?}");
            assert!(!ran.all().contains(&value), "{sdk}: {ran:?}");
            let found = holding(&[sandbox.home(), Path::new("/tmp/flyte")], &value);
            assert_eq!(found, Vec::<PathBuf>::new(), "{sdk}: {ran:?}");
            assert_eq!(told(&ran), Vec::<&str>::new(), "{sdk}: {ran:?}");
        }
        // This shows that the search above can find the value.
        let ran = sandbox.flyte_run(sdk, &["--leaks=off", "script.py"]);
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        assert_eq!(holding(&[sandbox.home()], &value), [cache(&sandbox)], "{sdk}: {ran:?}");
        assert_eq!(told(&ran), Vec::<&str>::new(), "{sdk}: --leaks=off reports nothing: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_secret_is_found_wherever_a_task_returns_it() {
    let tasks = "
import base64, collections, dataclasses, html, json, os, typing, urllib.parse
import flyte, pydantic

mounted = flyte.Secret('mounted', mount='/etc/flyte/secrets')
env = flyte.TaskEnvironment(name='env', secrets=['token', mounted, 'short'])
other = flyte.TaskEnvironment(name='other')

@dataclasses.dataclass
class Data:
    user: str
    password: str

class Model(pydantic.BaseModel):
    inner: dict[str, list[str]]

class Hidden(pydantic.BaseModel):
    password: pydantic.SecretStr

class Plain:
    def __init__(self, value):
        self.kept = {'deep': [0, (1, {value})]}

class Slotted:
    __slots__ = ('first', '__second')
    def __init__(self, value):
        self.__second = value

def b64(value):
    return base64.urlsafe_b64encode(b'user:' + value.encode()).decode()

kinds = {
    'as_text': (str, lambda value: f'it is {value}.'),
    'as_bytes': (bytes, lambda value: value.encode()),
    'as_base64': (str, b64),
    'as_address': (str, lambda value: 'https://a.example/?token=' + urllib.parse.quote(value, safe='')),
    'as_json_in_json': (str, lambda value: json.dumps(json.dumps({'a': value}))),
    'as_html': (str, html.escape),
    'in_colours': (str, lambda value: value[:9] + '\x1b[1;36m' + value[9:]),
    'as_list': (list[str], lambda value: ['a', value]),
    'as_dict': (dict[str, str], lambda value: {'a': 'b', 'key': value}),
    'as_key': (dict[str, str], lambda value: {value: 'b'}),
    'as_tuple': (tuple[int, str], lambda value: (1, value)),
    'as_dataclass': (Data, lambda value: Data('me', value)),
    'as_model': (Model, lambda value: Model(inner={'all': ['x', value]})),
    'as_hidden': (Hidden, lambda value: Hidden(password=value)),
    'as_object': (Plain, Plain),
    'as_slots': (Slotted, Slotted),
    'as_set': (set, lambda value: {value}),
    'as_deque': (collections.deque, lambda value: collections.deque([value])),
    'as_length': (int, len),
}

def task_of(name, kind, make, environment=env):
    async def task():
        return make(os.environ['TOKEN'])
    task.__name__ = task.__qualname__ = name
    task.__annotations__ = {'return': kind}
    return environment.task(task)

tasks = [task_of(name, kind, make) for name, (kind, make) in kinds.items()]

@env.task
async def from_file() -> tuple[str, str]:
    with open('/etc/flyte/secrets/mounted') as file:
        return os.environ['SHORT'], file.read()

@other.task
async def passes_on() -> str:
    return await tasks[0]()

@env.task
async def main() -> str:
    for task in [*tasks, from_file, passes_on, tasks[0]]:
        await task()
    return os.environ['SHORT']
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let value = unique(&sandbox, sdk);
        sandbox.secret("token", format!("a-<\"/{value}"), &[]);
        sandbox.secret("mounted", format!("b-{value}\n"), &[]);
        sandbox.secret("short", "7 bytes", &[]);
        sandbox.file("task.py", tasks);
        let ran = sandbox.flyte_run(sdk, &["task.py", "main"]);
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let expected = [
            ("as_text", "token", "o0"),
            ("as_bytes", "token", "o0"),
            ("as_base64", "token", "o0"),
            ("as_address", "token", "o0"),
            ("as_json_in_json", "token", "o0"),
            ("as_html", "token", "o0"),
            ("in_colours", "token", "o0"),
            ("as_list", "token", "o0[1]"),
            ("as_dict", "token", "o0['key']"),
            ("as_key", "token", "o0{}"),
            ("as_tuple", "token", "o1"),
            ("as_dataclass", "token", "o0.password"),
            ("as_model", "token", "o0.inner['all'][1]"),
            ("as_object", "token", "o0.kept['deep'][1][1]{}"),
            ("as_slots", "token", "o0._Slotted__second"),
            ("as_set", "token", "o0{}"),
            ("as_deque", "token", "o0[0]"),
            ("from_file", "mounted", "o1"),
        ];
        let expected = expected.map(|(task, secret, place)| returns(&format!("env.{task}"), secret, place));
        // Each task is reported once, although `as_text` ran three times. The task `passes_on` declares no secret.
        let told: Vec<_> = told(&ran).into_iter().filter(|line| !line.contains("in plain text in ")).collect();
        assert_eq!(told, expected, "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_search_ends_for_any_value() {
    let script = r##"
import sys, types, threading
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import leaks

def found(value, wanted=b"a long secret"):
    search = leaks.Search([("key", wanted)], lambda value: {value})
    search.look_at("o0", value)
    return search.found.get("key"), search.is_cut_short

def nested(depth, value):
    for _ in range(depth):
        value = [value]
    return value

class Changing:
    @property
    def __dict__(self):
        raise RuntimeError("no")

class Growing:
    def __getattr__(self, name):
        return Growing()

class Odd(dict):
    def items(self):
        raise RuntimeError("no")

cycle = {}
cycle["self"] = [cycle, "a long secret"]
place, cut = found(nested(50_000, "a long secret"))
assert place.startswith("o0[0]") and len(place) < 200 and not cut, place
assert found(cycle) == ("o0['self'][1]", False)
assert found([Changing(), Growing(), Odd(a=1), sys, threading.Lock(), found, "a long secret"])[0] == "o0[6]"
assert found({"a long secret": {"b": 1}, "x": 2}) == ("o0{}", False)
# The path is not shown if it contains the secret, or could be any text.
assert found({"the a long secret key": ["a long secret"]}, b"a long secret")[0] == "o0{}"
assert found({"\x1b[0m": "a long secret"})[0] == "o0[…]"
assert found([0] * 1_000_000 + ["a long secret"])[0] == "o0[1000000]"
assert found([str(number) for number in range(200_000)]) == (None, True)
assert found("\ud800 a long secret")[0] == "o0"
assert found(memoryview(b"\xff a long secret"))[0] == "o0"
assert found(b"\xff\xfe\xfd\xfc12345678", b"\xff\xfe\xfd\xfc1234")[0] == "o0"
class Proxy:
    @property
    def __class__(self):
        raise RuntimeError("working outside of its context")

class Ending:
    @property
    def __dict__(self):
        raise SystemExit(3)

class Half(dict):
    def items(self):
        yield "a", "a long secret"
        raise SystemExit(3)

class Named(type):
    @property
    def __name__(cls):
        raise SystemExit(3)

class Strange(metaclass=Named):
    pass

class Interrupted:
    @property
    def __dict__(self):
        raise KeyboardInterrupt

odd = [Proxy(), Ending(), Strange()]
assert found([*odd, "a long secret"])[0] == "o0[3]"
assert found((Proxy(), {"a": Proxy(), "b": "a long secret"}))[0] == "o0[1]['b']"
assert found({"a": Proxy(), "b": {Proxy(), "a long secret"}})[0] == "o0['b']{}"
assert found([Half()])[0] == "o0[0]['a']"
assert found(Proxy()) == (None, False)
try:
    found(Interrupted())
    raise AssertionError("an interrupt was swallowed")
except KeyboardInterrupt:
    pass
# A word does not count as a secret where it is a name. It does where the same object is a value.
class Login:
    def __init__(self, password):
        self.password = password

assert found({"password": 1, "b": ("x", Login("y"))}, b"password") == (None, False)
assert found({"password": "password"}, b"password")[0] == "o0[…]"
assert found({"password"}, b"password")[0] == "o0{}"
assert found({"passw0rd": 1}, b"passw0rd")[0] == "o0{}"
print("done")
"##;
    for sdk in SDKS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/flyte_local/bootstrap");
        let ran = Command::new(python(sdk)).args(["-c", script]).arg(directory).output().expect("it starts");
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "done\n", "{}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_task_may_return_objects_that_resist_inspection() {
    let tasks = "
import os
import flyte

env = flyte.TaskEnvironment(name='env', secrets='token')

class Proxy:
    @property
    def __class__(self):
        raise RuntimeError('working outside of its context')

@env.task
def main():
    return [Proxy(), os.environ['TOKEN']]

@env.task
def alone():
    return Proxy()

if __name__ == '__main__':
    print('=>', type(main()[0]).__name__, type(alone()).__name__)
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.secret("token", unique(&sandbox, sdk), &[]);
        sandbox.file("task.py", tasks);
        let ran = sandbox.flyte_run(sdk, &["task.py"]);
        assert_eq!((ran.code, ran.said()), (0, vec!["Proxy Proxy".to_owned()]), "{sdk}: {ran:?}");
        assert_eq!(told(&ran), [returns("env.main", "token", "o0[1]")], "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn returning_a_key_of_a_service_account_is_denied() {
    let tasks = "
import json, os
import flyte

env = flyte.TaskEnvironment(name='env', secrets='account')

@env.task
def main() -> str:
    return json.loads(os.environ['ACCOUNT'])['private_key']
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let value = unique(&sandbox, sdk);
        sandbox.secret("account", format!(r#"{{"private_key": "{value}", "user": "me"}}"#), &[]);
        sandbox.file("task.py", tasks);
        let ran = sandbox.flyte_run(sdk, &["--leaks=deny", "task.py", "main"]);
        assert_eq!(ran.code, 1, "{sdk}: {ran:?}");
        assert_eq!(
            holding(&[sandbox.home(), Path::new("/tmp/flyte")], &value),
            Vec::<PathBuf>::new(),
            "{sdk}: {ran:?}"
        );
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn errors_reports_and_raw_data_are_searched() {
    let tasks = "
import os, pathlib, shutil, sys
import flyte, flyte.report

env = flyte.TaskEnvironment(name='env', secrets='token')

@env.task
async def fails() -> str:
    raise ValueError('cannot log in with ' + os.environ['TOKEN'])

@env.task(report=True)
async def reports() -> str:
    await flyte.report.replace.aio('<p>' + os.environ['TOKEN'] + '</p>')
    await flyte.report.flush.aio()
    return ''

@env.task
async def writes() -> str:
    raw = pathlib.Path(flyte.ctx().raw_data_path.path)
    (raw / 'below').mkdir()
    (raw / 'below' / 'a file').write_text('x' * 70_000 + os.environ['TOKEN'])
    # A copy that is as old as its original.
    (raw / 'dated').write_text(os.environ['TOKEN'])
    os.utime(raw / 'dated', (0, 0))
    (raw / 'link').symlink_to(raw / 'dated')
    (raw / 'up').symlink_to('..')
    os.mkfifo(raw / 'pipe')
    with open(raw / 'large', 'wb') as file:
        file.truncate(1 + (1 << 30))
    return ''

if __name__ == '__main__':
    flyte.init(local_persistence=True)
    flyte.with_runcontext(mode='local', raw_data_path=sys.argv[1]).run(writes)
    print('=>', flyte.run(reports).url)
    flyte.run(fails)
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let value = unique(&sandbox, sdk);
        sandbox.secret("token", &value, &[]);
        sandbox.file("task.py", tasks);
        let raw = sandbox.file("raw/old", &value).parent().expect("it has one").to_owned();
        until_old(&raw.join("old"));
        let ran = sandbox.flyte_run(sdk, &["task.py", "--", raw.to_str().expect("UTF-8")]);
        assert_eq!(ran.code, 1, "{sdk}: {ran:?}");
        let report = holding(&[Path::new(&ran.said()[0])], &value);
        assert_eq!(report.len(), 1, "{sdk}: {ran:?}");
        let mut files = [cache(&sandbox), raw.join("below/a file"), raw.join("dated"), report[0].clone()];
        files.sort();
        let mut expected: Vec<_> =
            files.iter().map(|file| format!("flyte-local: secret token in plain text in {}", file.display())).collect();
        let others: Vec<_> = files.iter().filter(|file| !file.ends_with("cache.db")).collect();
        let quoted = others.into_iter().map(|file| match file.display().to_string() {
            path if path.contains(' ') => format!("'{path}'"),
            path => path,
        });
        let quoted = quoted.collect::<Vec<_>>().join(" ");
        expected.push(format!("hint: Flyte keeps a run's results; to remove them: rm {quoted}"));
        expected.extend(hints_on_the_cache(&cache(&sandbox)));
        let large = raw.join("large");
        expected.push(format!("flyte-local: cannot search {} for secrets: it has more than 1 GiB", large.display()));
        assert_eq!(told(&ran), expected, "{sdk}: {ran:?}");
    }
}

/// Waits until a file has been unchanged for longer than a run looks back.
fn until_old(file: &Path) {
    let changed = std::fs::metadata(file).and_then(|metadata| metadata.modified()).expect("it is there");
    while SystemTime::now() < changed + Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn the_cache_is_found_where_a_configuration_moves_it() {
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        let value = unique(&sandbox, sdk);
        sandbox.secret("token", &value, &[]);
        sandbox.file("task.py", CACHED);
        sandbox.file(".flyte/config.yaml", "task:\n  project: p\n  domain: d\n");
        let ran = sandbox.flyte_run(sdk, &["task.py", "main"]);
        let found = holding(&[sandbox.home()], &value);
        assert_eq!(found, [sandbox.work().join(".flyte/local-cache/cache.db")], "{sdk}: {ran:?}");
        let line = format!("flyte-local: secret token in plain text in {}", found[0].display());
        assert!(told(&ran).contains(&line.as_str()), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn a_run_that_stores_no_secret_reports_nothing() {
    let tasks = CACHED.replace("return 'it is ' + os.environ['TOKEN']", "return str(len(os.environ['TOKEN']))");
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        sandbox.secret("token", unique(&sandbox, sdk), &[]);
        sandbox.file("task.py", &tasks);
        let ran = sandbox.flyte_run(sdk, &["task.py", "main"]);
        assert_eq!((ran.code, told(&ran)), (0, Vec::new()), "{sdk}: {ran:?}");
    }
}

#[test]
#[ignore = "needs the Flyte SDKs: scripts/test"]
fn values_in_names_that_a_task_makes_are_masked_in_every_message() {
    const WORD: &str = "a_secret_word";
    let tasks = "
import os, pathlib
import flyte

env = flyte.TaskEnvironment(name='env', secrets=['token', 'word'])
# A module can read its secrets, and make names of them.
token, word = os.environ['TOKEN'], os.environ['WORD']
named = flyte.TaskEnvironment(name='of_' + word, secrets='token')

@named.task
def other(): pass

@env.task
def writes():
    raw = pathlib.Path(str(flyte.ctx().raw_data_path.path))
    raw.mkdir(parents=True, exist_ok=True)
    (raw / ('out ' + token)).write_text(token)
    (raw / ('name ' + token)).write_text('nothing')
    (raw / ('below ' + token)).mkdir()
    (raw / ('below ' + token) / 'file').write_text(token)
    with open(raw / ('large ' + token), 'wb') as file:
        file.truncate(1 + (1 << 30))
    (raw / 'plain').write_text(token)
    print('=>', raw)

globals()['task_' + word] = writes
";
    for sdk in SDKS {
        let sandbox = Sandbox::new();
        // The tab and the quote are changed by the escapes and quotes of a message.
        let value = format!("{}\tit's", unique(&sandbox, sdk).replace('-', "_"));
        sandbox.secret("token", &value, &[]);
        sandbox.secret("word", WORD, &[]);
        sandbox.file("task.py", tasks);
        let run = |options: &[&str], words: &[&str]| {
            let mut command =
                sandbox.command(&[&["run", "--python", python(sdk).to_str().expect("UTF-8")], options].concat());
            Ran::from(command.args(words).output().expect("flyte-local starts"))
        };
        let ran = run(&[], &["task.py", "writes"]);
        assert_eq!(ran.code, 0, "{sdk}: {ran:?}");
        let raw = ran.said()[0].clone();
        let in_plain_text =
            |place: &str, name: &str| format!("flyte-local: secret token in plain text in {place}{raw}/{name}");
        let expected = [
            in_plain_text("the name of ", "below *****"),
            in_plain_text("", "below *****/file"),
            in_plain_text("the name of ", "large *****"),
            in_plain_text("the name of ", "name *****"),
            in_plain_text("", "out *****"),
            in_plain_text("", "plain"),
            format!("hint: Flyte keeps a run's results; to remove them: rm {raw}/plain"),
            format!("hint: ***** hides a value in a path; to see the whole path: find {raw}"),
            format!("flyte-local: cannot search {raw}/large ***** for secrets: it has more than 1 GiB"),
        ];
        assert_eq!(told(&ran), expected, "{sdk}: {ran:?}");
        assert!(!ran.all().contains(&value[..20]), "{sdk}: {ran:?}");
        std::fs::remove_dir_all(&raw).expect("it is there");

        // The names of the file's tasks, in an error, and of its environments, in a table and in JSON.
        let unknown = run(&[], &["task.py", "no_such_task"]);
        assert!(unknown.stderr.contains("its tasks are "), "{sdk}: {unknown:?}");
        for options in [&["--dry-run"][..], &["--dry-run", "--output-format", "json"]] {
            let surveyed = run(options, &["task.py"]);
            assert!(surveyed.text().contains("of_*****"), "{sdk}: {surveyed:?}");
            assert!(!surveyed.all().contains(WORD), "{sdk}: {surveyed:?}");
        }
        assert!(!unknown.all().contains(WORD), "{sdk}: {unknown:?}");
        // Without the mask, names are shown as they are.
        let shown = run(&["--no-mask"], &["task.py", "no_such_task"]);
        assert!(shown.stderr.contains(WORD), "{sdk}: {shown:?}");
    }
}
