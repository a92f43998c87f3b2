"""Programs that a task starts have its part of the environment."""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from flyte_local.bootstrap import processes, views

ENVIRONMENT = {b"OWN": b"of the task"}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[bytes, bytes]]:
    """Stands for a task under way that sees these variables."""
    monkeypatch.setattr(views, "shown_to_task", lambda: ENVIRONMENT)
    yield ENVIRONMENT


def printed(variable: str) -> str:
    return f'test "${variable}" = "of the task"'


def test_a_function_passes_the_variables_of_the_task(shown: object) -> None:
    start = processes.Start(os.system, processes.system)
    assert start(printed("OWN")) == 0
    assert start('test -z "$HOME"') == 0
    assert os.waitstatus_to_exitcode(start("exit 3")) == 3
    assert start("kill -9 $$") == 9


def test_outside_tasks_a_function_is_pythons_own() -> None:
    assert processes.Start(len, processes.system)("four") == 4


def test_a_class_that_holds_a_function_does_not_bind_it(shown: object) -> None:
    held = type("Holder", (), {"run": processes.Start(os.system, processes.system)})()
    assert held.run("true") == 0


def test_a_function_can_be_passed_to_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "system", processes.Start(os.system, processes.system))
    assert pickle.loads(pickle.dumps(os.system)) is os.system


def test_commands_of_other_threads_leave_the_handlers_of_signals_alone(shown: object) -> None:
    found = []
    start = processes.Start(os.system, processes.system)
    thread = threading.Thread(target=lambda: found.append(start("true")))
    thread.start()
    thread.join()
    assert found == [0]


def test_an_explicit_environment_is_passed_as_it_is() -> None:
    taken: list[Any] = []
    arguments = ([b"sh"], [b"/bin/sh"], True, (), None)

    def function(*args: Any) -> None:
        taken.append(args)

    processes.fork_exec(function, ENVIRONMENT, *arguments, [b"X=1"], "rest")
    processes.fork_exec(function, ENVIRONMENT, *arguments, None, "rest")
    assert taken == [(*arguments, [b"X=1"], "rest"), (*arguments, [b"OWN=of the task"], "rest")]


def test_reading_a_preparation_sets_the_variables_of_the_new_process(shown: object) -> None:
    data = pickle.dumps(processes.Preparation({"name": "one"}))
    code = "import os, pickle, sys; print(pickle.loads(sys.stdin.buffer.read()), dict(os.environ))"
    ran = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert ran.stdout.decode() == "{'name': 'one'} {'OWN': 'of the task'}\n"


def test_a_module_is_changed_when_it_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    changed: list[ModuleType] = []
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in ("sched", "cmd"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    __import__("cmd")
    processes.Changes({"sched": changed.append, "cmd": changed.append}).install()
    assert [module.__name__ for module in changed] == ["cmd"]
    sched: Any = __import__("sched")
    assert [module.__name__ for module in changed] == ["cmd", "sched"]
    assert hasattr(sched, "scheduler")


def test_a_pool_replaces_processes_as_the_task_that_started_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    pool = type("ProcessPoolExecutor", (), {"_spawn_process": lambda self: seen.append(views.current.get())})
    processes.change_process_pool(SimpleNamespace(ProcessPoolExecutor=pool))  # type: ignore[arg-type]
    task: Any = SimpleNamespace(name="env.main")
    view, executor = views.View(task, "task env.main", None, {}), pool()
    with view:
        executor._spawn_process()
    executor._spawn_process()
    assert seen == [view, view]
