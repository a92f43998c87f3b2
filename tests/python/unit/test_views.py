"""Each task sees its own secrets in `os.environ`; code outside tasks sees all."""

import concurrent.futures
import contextvars
import copy
import importlib.util
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from flyte_local.bootstrap import threads

Loader = Callable[[bool], ModuleType]


@pytest.fixture
def load(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loader]:
    """Makes a fresh module, installs it, and puts everything back that it has changed."""
    kind, variables = type(os.environ), dict(os.environ)
    originals = (concurrent.futures.ThreadPoolExecutor.submit, threading.Thread.start)

    def load(share: bool) -> ModuleType:
        os.environ["OF_SHELL"] = "from the shell"
        spec = importlib.util.spec_from_file_location(
            "flyte_local.bootstrap.views_of_test", root / "python/flyte_local/bootstrap/views.py"
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(threads, "views", module)
        module.install(share)
        threads.install()
        return module

    yield load
    for environment in (os.environ, os.environb):
        setattr(environment, "__class__", kind)
    setattr(concurrent.futures.ThreadPoolExecutor, "submit", originals[0])
    setattr(threading.Thread, "start", originals[1])
    os.environ.clear()
    os.environ.update(variables)


@pytest.fixture
def views(load: Loader) -> ModuleType:
    """Makes the module, with a secret of one task."""
    module = load(False)
    declare(module, "OWN", "a value")
    return module


def declare(module: ModuleType, variable: str, value: str, holder: str = "environment env") -> dict[bytes, bytes]:
    """Has an environment declare a secret that becomes a variable, and returns the variable for a view."""
    module.manage(variable, (variable.lower(), None), holder)
    placed = {variable.encode(): value.encode()}
    module.place(placed)
    return placed


def view(module: ModuleType, name: str = "env.main", **variables: str) -> Any:
    secrets = {variable.encode(): value.encode() for variable, value in variables.items()}
    return module.View(SimpleNamespace(name=name), f"task {name}", None, secrets)


def test_a_task_sees_its_own_secret_and_no_others(views: ModuleType) -> None:
    with view(views, OWN="a value"):
        assert os.environ["OWN"] == "a value"
        assert os.environb[b"OWN"] == b"a value"
        assert os.getenv("OWN") == "a value"
    with view(views, "other.main"):
        assert os.environ.get("OWN") is None
        assert "OWN" not in os.environ
        assert "OWN" not in list(os.environ)
        assert "OWN" not in dict(os.environ)
        assert "OWN" not in repr(os.environ)
        with pytest.raises(KeyError):
            os.environ["OWN"]


def test_code_outside_tasks_sees_all(views: ModuleType) -> None:
    assert os.environ["OWN"] == "a value"
    assert len(os.environ) == len(list(os.environ)) == len(os.environ.copy())


def test_variables_that_are_not_secrets_are_seen_by_all(views: ModuleType) -> None:
    with view(views):
        assert os.environ["OF_SHELL"] == "from the shell"


def test_a_secret_of_another_task_is_reported_once(views: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with view(views, "other.main"):
            os.environ.get("OWN")
    assert capsys.readouterr().err == (
        "flyte-local: task other.main reads OWN, which holds secret own of environment env: on a cluster it is not set there; "
        'declare it: flyte.Secret(key="own", as_env_var="OWN")\n'
    )


def test_nothing_is_reported_of_a_variable_that_the_caller_expects_to_be_missing(
    views: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with view(views, "other.main"):
        assert os.environ.pop("OWN", None) is None
        assert os.environ.setdefault("OWN", "mine") == "mine"
    assert capsys.readouterr().err == ""


def test_a_missing_secret_is_reported_outside_tasks(views: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    views.lacking[b"ABSENT"] = "secret absent does not exist in this run's scopes"
    assert os.environ.get("ABSENT", "a default") == "a default"
    assert capsys.readouterr().err == ""
    with pytest.raises(KeyError):
        os.environ["ABSENT"]
    assert capsys.readouterr().err == ("flyte-local: ABSENT is not set: secret absent does not exist in this run's scopes\n")


def test_shared_secrets_are_seen_by_all(load: Loader) -> None:
    module = load(True)
    declare(module, "OWN", "a value")
    with view(module, "other.main"):
        assert os.environ["OWN"] == "a value"


def test_a_task_sets_variables_for_itself_alone(views: ModuleType) -> None:
    with view(views, OWN="a value"):
        os.environ["OWN"] = "changed"
        assert os.environ["OWN"] == "changed"
    with view(views, OWN="a value"):
        assert os.environ["OWN"] == "a value"


def test_a_task_deletes_variables_for_itself_alone(views: ModuleType) -> None:
    with view(views, OWN="a value"):
        del os.environ["OWN"]
        assert "OWN" not in os.environ
        with pytest.raises(KeyError):
            del os.environ["OWN"]
    with view(views, OWN="a value"):
        assert os.environ["OWN"] == "a value"


def test_a_value_set_outside_tasks_takes_precedence_over_the_secret(views: ModuleType) -> None:
    os.environ["OWN"] = "set by the file"
    with view(views, OWN="a value"):
        assert os.environ["OWN"] == "set by the file"
    # As the end of a test's patch does.
    os.environ["OWN"] = "a value"
    assert b"OWN" not in views.outside


def test_a_callers_variables_are_back_after_a_task_it_called(views: ModuleType) -> None:
    declare(views, "OWN", "of the caller")
    with view(views, "env.caller", OWN="of the caller"):
        views.put(b"OWN", b"of the called")
        with view(views, "env.called", OWN="of the called"):
            assert os.environ["OWN"] == "of the called"
        assert os.environ["OWN"] == "of the caller"
        program = [sys.executable, "-c", "import os; print(os.environ['OWN'])"]
        assert subprocess.run(program, capture_output=True, text=True).stdout == "of the caller\n"


def test_threads_and_pools_of_a_task_run_as_the_task(views: ModuleType) -> None:
    seen: list[str | None] = []

    def look() -> None:
        seen.append(os.environ.get("OWN"))

    for execution in (view(views, OWN="a value"), view(views, "other.main")):
        with execution, concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(look).result()
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
    assert seen == ["a value", "a value", None, None]


def test_a_task_may_end_in_another_context(views: ModuleType) -> None:
    execution = view(views, OWN="a value")
    contextvars.copy_context().run(execution.__enter__)
    execution.__exit__(None, None, None)
    assert views.current.get() is None


def test_a_copy_is_a_plain_environment(views: ModuleType) -> None:
    with view(views, "other.main"):
        copied = copy.copy(os.environ)
    assert type(copied).__mro__[0] is os._Environ
    assert "OWN" not in copied and copied["OF_SHELL"] == "from the shell"
    assert type(pickle.loads(pickle.dumps(dict(os.environ)))) is dict


def test_clear_takes_no_secret_from_tasks(views: ModuleType) -> None:
    before = dict(os.environ)
    os.environ.clear()
    assert len(os.environ) == 0
    with view(views, OWN="a value"):
        assert os.environ["OWN"] == "a value"
    os.environ.update(before)
    with view(views, OWN="a value"):
        assert os.environ["OWN"] == "a value"
