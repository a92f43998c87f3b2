"""The secrets that a file declares are read from its source, before its code runs."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flyte_local.bootstrap import imports, injection
from flyte_local.bootstrap.imports import Scan, is_of_the_user


@dataclass(frozen=True)
class Secret:
    """Stands for `flyte.Secret`, with its rule for names."""

    key: str
    group: str | None = None
    mount: str | None = None
    as_env_var: str | None = None

    def __post_init__(self) -> None:
        if self.mount is None and self.as_env_var is None:
            name = f"{self.group}_{self.key}" if self.group else self.key
            object.__setattr__(self, "as_env_var", name.replace("-", "_").upper())
        if self.as_env_var is not None and not self.as_env_var.isidentifier():
            raise ValueError(f"not the name of a variable: {self.as_env_var}")


class StubSdk:
    Secret = Secret


class Provider:
    """Keeps what is provided, in order."""

    def __init__(self) -> None:
        self.provided: list[Secret] = []

    def provide(self, declared: list[Secret]) -> None:
        self.provided += declared


class Project:
    """A directory of Python files, and the scan of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.provider = Provider()
        arguments: Any = (self.provider, StubSdk)
        self.scan = Scan(*arguments)

    def write(self, name: str, source: str | bytes) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source if isinstance(source, bytes) else textwrap.dedent(source).encode())

    def scanned(self, name: str = "tasks.py") -> list[Secret]:
        self.scan.before(str(self.directory / name))
        return self.provider.provided

    def keys(self, name: str = "tasks.py") -> list[str]:
        return [secret.key for secret in self.scanned(name)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Makes a project that Python imports from."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(injection, "scanned", [])
    monkeypatch.setattr(imports, "scanned", [])
    imports.find_module.cache_clear()
    imports.directories_of_the_user.cache_clear()
    yield Project(tmp_path)
    imports.find_module.cache_clear()
    imports.directories_of_the_user.cache_clear()


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ("'key'", ["key"]),
        ("['first', 'second']", ["first", "second"]),
        ("('first', 'second')", ["first", "second"]),
        ("['first'] + ['second']", ["first", "second"]),
        ("'my' + '-' + 'key'", ["my-key"]),
        ("f'{PREFIX}-key'", ["team-key"]),
        ("f'{PREFIX + \"-\"}{NAME}'", ["team-name"]),
        ("PREFIX", ["team"]),
        ("[PREFIX, f'{NAME}']", ["team", "name"]),
        ("KEYS", ["team", "other"]),
        ("MORE", ["team", "other", "more"]),
        ("ANNOTATED", ["annotated"]),
        ("'implicit' 'ly'", ["implicitly"]),
        ("None", []),
        ("[]", []),
        ("3", []),
        ("b'bytes'", []),
        ("unknown()", []),
        ("f'{unknown()}-key'", []),
        ("f'{PREFIX!r}'", []),
        ("f'{PREFIX:>9}'", []),
        ("REBOUND", []),
        ("CHANGED", []),
        ("CYCLE", []),
        ("NOWHERE", []),
        ("'not a variable!'", []),
    ],
)
def test_a_constant_is_folded(project: Project, value: str, keys: list[str]) -> None:
    project.write(
        "tasks.py",
        f"""
        import flyte

        PREFIX = "team"
        NAME = "name"
        KEYS = [PREFIX, "other"]
        MORE = KEYS + ["more"]
        ANNOTATED: str = "annotated"
        REBOUND = "one"
        REBOUND = "two"
        CHANGED = "one"
        CHANGED += "two"
        CYCLE = AGAIN
        AGAIN = CYCLE
        env = flyte.TaskEnvironment(name="env", secrets={value})
        """,
    )
    assert project.keys() == keys


@pytest.mark.parametrize(
    ("call", "secret"),
    [
        ("flyte.Secret('key')", Secret("key")),
        ("flyte.Secret(key='key')", Secret("key")),
        ("flyte.Secret('key', 'team')", Secret("key", "team")),
        ("flyte.Secret('key', group='team')", Secret("key", "team")),
        ("flyte.Secret('key', as_env_var='NAME')", Secret("key", as_env_var="NAME")),
        ("flyte.Secret('key', group=None, as_env_var=None)", Secret("key")),
        ("flyte.Secret('key', mount='/etc/flyte/secrets')", Secret("key", mount="/etc/flyte/secrets")),
        ("flyte.Secret('key', mount=unknown())", Secret("key", mount="/etc/flyte/secrets")),
        ("flyte.Secret('key', mount=None)", Secret("key")),
        ("flyte.Secret('key', group=unknown(), as_env_var='NAME')", Secret("key", as_env_var="NAME")),
        ("fl.Secret('key')", Secret("key")),
        ("Secret('key')", Secret("key")),
        ("Renamed('key')", Secret("key")),
        ("Bound('key')", Secret("key")),
    ],
)
def test_a_declaration_is_known_however_it_is_written(project: Project, call: str, secret: Secret) -> None:
    project.write(
        "tasks.py",
        f"""
        import flyte
        import flyte as fl
        from flyte import Secret
        from flyte import Secret as Renamed

        Bound = flyte.Secret
        env = flyte.TaskEnvironment(name="env", secrets=[{call}])
        """,
    )
    assert project.scanned() == [secret]


@pytest.mark.parametrize(
    "call",
    [
        "other.Secret('key')",
        "Foreign('key')",
        "flyte.Other('key')",
        "flyte.Secret(unknown())",
        "flyte.Secret('key', as_env_var=unknown())",
        "flyte.Secret('key', group=unknown())",
        "flyte.Secret()",
        "flyte.Secret('key', as_env_var='not a name')",
        "[flyte][0].Secret('key')",
    ],
)
def test_nothing_is_guessed(project: Project, call: str) -> None:
    project.write(
        "tasks.py",
        f"""
        import flyte
        import other
        from kubernetes import Secret as Foreign

        env = flyte.TaskEnvironment(name="env", secrets=[{call}])
        """,
    )
    assert project.scanned() == []


def test_a_constant_of_another_module_is_folded(project: Project) -> None:
    project.write("settings.py", "import names\nfrom names import BASE\nKEY = BASE + '-' + names.END\n")
    project.write("names.py", "BASE = 'base'\nEND = 'end'\n")
    project.write(
        "tasks.py",
        """
        import flyte
        import settings
        from settings import KEY as IMPORTED

        env = flyte.TaskEnvironment(name="env", secrets=[settings.KEY, flyte.Secret(IMPORTED, as_env_var="X")])
        """,
    )
    assert set(project.scanned()) == {Secret("base-end"), Secret("base-end", as_env_var="X")}


def test_the_files_that_are_imported_are_read_first_to_last_and_once(project: Project) -> None:
    project.write("tasks.py", "import package.one\nfrom package import two\nimport flyte\nflyte.Secret('own')\n")
    project.write("package/__init__.py", "import flyte\nflyte.Secret('of-package')\n")
    project.write("package/one.py", "from . import two\nfrom .three import x\nimport flyte\nflyte.Secret('of-one')\n")
    project.write("package/two.py", "import flyte\nimport tasks\nflyte.Secret('of-two')\n")
    project.write("package/three.py", "from ..package import one\nimport flyte\nflyte.Secret('of-three')\n")
    keys = project.keys()
    assert keys[0] == "own"
    assert sorted(keys) == ["of-one", "of-package", "of-three", "of-two", "own"]
    # A file that was read is not read again.
    assert project.keys("package/one.py") == keys


@pytest.mark.parametrize(
    "statement",
    [
        "import other",
        "import os, other",
        "import other as something",
        "from other import x",
        "from other import (\n    x,  # a comment, with a comma\n    y,\n)",
        "if True:\n    import other",
        "try:\n    import other\nexcept ImportError:\n    pass",
        "def later():\n    from other import x",
    ],
)
def test_an_import_is_followed_however_it_is_written(project: Project, statement: str) -> None:
    project.write("other.py", "import flyte\nflyte.Secret('key')\n")
    project.write("tasks.py", statement.encode() + b"\n")
    assert project.keys() == ["key"]


@pytest.mark.parametrize(
    "source",
    [
        "def broken(:\n",
        "'''\nfrom   import x\nfrom . import\nimport\n'''\n",
        "import missing, missing.too\nfrom .... import x\nfrom .missing import y\n",
        "\0",
    ],
)
def test_a_file_that_python_itself_refuses_or_that_only_looks_like_imports_is_passed_over(
    project: Project, source: str
) -> None:
    project.write("tasks.py", (source + "secrets='key'\n").encode())
    assert project.keys() in ([], ["key"])


def test_a_file_that_does_not_exist_declares_nothing(project: Project) -> None:
    assert project.keys("missing.py") == []


def test_of_one_variable_the_outermost_declaration_counts(project: Project) -> None:
    project.write(
        "tasks.py",
        """
        import flyte

        def later():
            return flyte.Secret("inner", as_env_var="NAME")

        outer = flyte.Secret("outer", as_env_var="NAME")
        second = flyte.Secret("second", as_env_var="NAME")
        """,
    )
    assert project.keys() == ["outer"]


def test_a_long_text_is_not_put_together(project: Project) -> None:
    project.write("tasks.py", f"import flyte\nHALF = '{'x' * 2049}'\nflyte.Secret(HALF + HALF)\nflyte.Secret(HALF)\n")
    assert [len(secret.key) for secret in project.scanned()] == [2049]


def test_text_that_doubles_with_each_name_ends(project: Project) -> None:
    doubled = "\n".join(f"T{n + 1} = T{n} + T{n}" for n in range(40))
    project.write("tasks.py", f"import flyte\nT0 = 'x'\n{doubled}\nflyte.Secret(T40)\nflyte.Secret(T3)\n".encode())
    assert project.keys() == ["x" * 8]


def test_no_more_files_are_read_than_the_bound(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "MOST_FILES", 3)
    for number in range(5):
        project.write(f"m{number}.py", f"import m{number + 1}\nimport flyte\nflyte.Secret('key-{number}')\n".encode())
    assert project.keys("m0.py") == ["key-0", "key-1", "key-2"]


def test_installed_files_are_not_the_users(tmp_path: Path) -> None:
    assert is_of_the_user(str(tmp_path / "tasks.py"))
    assert not is_of_the_user(str(tmp_path / "lib/site-packages/package/module.py"))
    assert not is_of_the_user(textwrap.__file__)
