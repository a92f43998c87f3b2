"""Starts the programs of a task with the task's part of the environment, where the caller passes none.

On a cluster a program that a task starts has the environment of the task's pod. Here it would have that of the process, in
which another task's secrets are. Programs that native code starts still have it.
"""

from __future__ import annotations

import _posixsubprocess
import functools
import importlib.machinery
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from . import children, views

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    Variables = Mapping[bytes, bytes]

# The place of the environment among the arguments of `_posixsubprocess.fork_exec`, on every Python since 3.2.
ENVIRONMENT = 5


class Start:
    """Stands for a function of Python's that starts a program. Not a function itself, as a class that holds one binds it."""

    __name__: str

    def __init__(self, function: Callable[..., Any], start: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.__module__ = "os"  # Where a process that reads this by its name finds it.
        self._function = function
        self._start = start

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        shown = views.shown_to_task()
        if shown is None:
            return self._function(*args, **kwargs)
        return self._start(self._function, shown, *args, **kwargs)

    def __repr__(self) -> str:
        return repr(self._function)

    def __reduce__(self) -> str:
        return self.__name__


class Execute(Start):
    """Stands for a function of Python's that executes a program in the place of this one."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with children.kept_open():
            return super().__call__(*args, **kwargs)


def fork_exec(function: Callable[..., Any], shown: Variables, *args: Any) -> Any:
    """Starts what `subprocess`, `asyncio` and `multiprocessing` start."""
    if args[ENVIRONMENT] is None:
        listed = [name + b"=" + value for name, value in shown.items()]
        args = (*args[:ENVIRONMENT], listed, *args[ENVIRONMENT + 1 :])
    return function(*args)


def posix_spawn(function: Callable[..., Any], shown: Variables, path: Any, argv: Any, env: Any, /, **options: Any) -> Any:
    return function(path, argv, shown if env is None else env, **options)


def execv(function: Callable[..., Any], shown: Variables, path: Any, argv: Any, /) -> Any:
    """Stands for the only one of the `os.exec…` and `os.spawn…` functions that all others without an environment call."""
    del function
    return os.execve(path, argv, shown)


def execve(function: Callable[..., Any], shown: Variables, path: Any, argv: Any, env: Any) -> Any:
    """Stands for the one that is called with an environment."""
    del shown
    return function(path, argv, env)


def system(function: Callable[..., Any], shown: Variables, command: Any) -> int:
    """Does what the C function does, which passes no environment."""
    del function
    sys.audit("os.system", command)
    ignored: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        # As the C function does; Python lets no other thread do so.
        for number in (signal.SIGINT, signal.SIGQUIT):
            handler = signal.getsignal(number)
            if handler not in (None, signal.SIG_IGN):
                ignored[number] = handler
                signal.signal(number, signal.SIG_IGN)
    try:
        process = os.posix_spawn("/bin/sh", ["sh", "-c", "--", command], shown, setsigdef=list(ignored))
        return os.waitpid(process, 0)[1]
    except ChildProcessError:  # Another thread has waited for it.
        return -1
    finally:
        for number, handler in ignored.items():
            signal.signal(number, handler)


class Preparation(dict[str, Any]):
    """The first object that a new process of a fork server reads. To read it sets the variables of that process.

    A fork server starts once, with the variables of the task that needed it first, and serves all tasks.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        shown = views.shown_to_task()
        self._variables = dict(views.variables_of_process() if shown is None else shown)

    def __reduce__(self) -> tuple[Any, ...]:
        # The new process has none of these modules, so this is an expression.
        text = "(environ.clear(), environ.update(variables), data)[2]"
        text = f"(lambda environ: {text})(__import__('os').environb)"
        return eval, (text, {"variables": self._variables, "data": dict(self)})


class ForkServerSpawn:
    """Stands for the module `multiprocessing.spawn` where processes of a fork server are prepared."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def get_preparation_data(self, name: str) -> Preparation:
        return Preparation(self._module.get_preparation_data(name))


def change_spawn(module: Any) -> None:
    """Has new processes of `multiprocessing`, which import from where this one does, join the run."""
    prepared = module.get_preparation_data

    @functools.wraps(prepared)
    def get_preparation_data(name: str) -> dict[str, Any]:
        data: dict[str, Any] = prepared(name)
        view = views.current.get()
        if children.place and "sys_path" in data and (view is None or view.children_join):
            data["sys_path"] = [children.place, *data["sys_path"]]
        return data

    module.get_preparation_data = get_preparation_data


def change_fork_server(module: ModuleType) -> None:
    setattr(module, "spawn", ForkServerSpawn(module.spawn))


def change_process_pool(module: ModuleType) -> None:
    """Has a pool that replaces a process on its own thread start it as the task that had it start the first one."""
    pool = module.ProcessPoolExecutor
    spawn = pool._spawn_process

    @functools.wraps(spawn)
    def spawn_as_task(self: Any) -> None:
        view = self.__dict__.setdefault("_flyte_local_view", views.current.get())
        if view is None or views.current.get() is not None:
            spawn(self)
        else:
            view.run(spawn, self)

    pool._spawn_process = spawn_as_task


class Changes:
    """Changes modules of the standard library when they are imported, so that runs that do not need them import none."""

    def __init__(self, changes: dict[str, Callable[[ModuleType], None]]) -> None:
        self._changes = changes

    def install(self) -> None:
        for name in self._changes.keys() & sys.modules.keys():
            self._changes.pop(name)(sys.modules[name])
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in self._changes:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute, change = spec.loader.exec_module, self._changes[name]

            def execute_and_change(module: ModuleType) -> None:
                execute(module)
                change(module)

            setattr(spec.loader, "exec_module", execute_and_change)
        return spec


def install() -> None:
    """Puts functions that start programs as the task in the place of Python's own."""
    stands_in = Start(_posixsubprocess.fork_exec, fork_exec)
    for module in (_posixsubprocess, subprocess):
        for name in ("fork_exec", "_fork_exec"):
            if hasattr(module, name):
                setattr(module, name, stands_in)
    for function in (execv, execve):
        replaced = getattr(os, function.__name__)
        execute = Execute(replaced, function)
        setattr(os, function.__name__, execute)
        if replaced in os.supports_fd:
            os.supports_fd.add(execute)
    for name, start in (("posix_spawn", posix_spawn), ("posix_spawnp", posix_spawn), ("system", system)):
        if hasattr(os, name):
            setattr(os, name, Start(getattr(os, name), start))
    Changes(
        {
            "concurrent.futures.process": change_process_pool,
            "multiprocessing.popen_forkserver": change_fork_server,
            "multiprocessing.spawn": change_spawn,
        }
    ).install()
