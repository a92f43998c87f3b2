"""Shows each task its part of the environment: of the variables that hold declared secrets, its own and no others.

On a cluster each task has a pod, and so an own environment. Here all share the process's, and `os.environ` shows each its
part. The object stays the same, so that `from os import environ` holds it too; its class changes. `processes.py` does so for
the programs that a task starts. Native code sees the process's variables, where the task that began last wins.
"""

from __future__ import annotations

import contextvars
import json
import os
import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
    from typing import ParamSpec, SupportsIndex, TypeVar

    from .sdk import App, Task

    P = ParamSpec("P")
    R = TypeVar("R")

    class Environ(os._Environ[str]):
        """`os.environ` as it is on POSIX: typeshed has other types for these, and leaves `_data` out."""

        _data: dict[bytes, bytes]
        _shown: Callable[[], dict[bytes, bytes]]
        encodekey: Callable[[str], bytes]  # type: ignore[assignment]
        decodekey: Callable[[bytes], str]  # type: ignore[assignment]
        encodevalue: Callable[[str], bytes]  # type: ignore[assignment]
        decodevalue: Callable[[bytes], str]  # type: ignore[assignment]

    # The key and the group of a secret.
    Identity = tuple[str, str | None]
else:
    Environ = os._Environ

environ = cast("Environ", os.environ)


def variables_of_process() -> dict[bytes, bytes]:
    """Returns the variables of the process, whichever task is under way; changes to the dictionary reach no child process."""
    return environ._data


# As the shell handed it over: the bootstrap comes before the SDK and the user's code.
SHELL = dict(variables_of_process())

# The execution under way. It follows the task through `await` and into threads that the SDK or the user's code starts.
current: contextvars.ContextVar[View | None] = contextvars.ContextVar("flyte_local_view", default=None)

# By variable: the secrets that are put there, and their holders: which task or environment declares each. Variables and
# values are encoded, as `os` keeps them.
managed: dict[bytes, dict[Identity | None, str | None]] = {}

# By variable: every secret's value that was put there.
given: dict[bytes, set[bytes]] = {}

# By variable: the value that code outside tasks has set, or None if it deleted it. This may happen before the variable is
# declared, so every variable is kept. `added` are those set in place of a declared secret that is missing: to delete them is
# to undo that.
outside: dict[bytes, bytes | None] = {}
added: set[bytes] = set()

# By variable: why a declared secret is not there.
lacking: dict[bytes, str] = {}

# True if each task sees the secrets of all.
shared = False

# The variables of the shell that this process did not get.
left_out: frozenset[bytes] = frozenset()

# The prefix of the variables that a cluster sets beside a secret. To read these of another environment is never meant, so
# nothing is reported of them.
MARKERS = "FLYTE_SECRETS_"

NOTHING: Mapping[bytes, bytes] = {}

_told: dict[Hashable, object] = {}
_absent = object()


def encoded(text: str) -> bytes:
    return environ.encodekey(text)


def say_once(line: str, about: Hashable) -> None:
    """Writes one line to standard error, however many threads have it to say."""
    mine = object()
    if _told.setdefault(about, mine) is mine and sys.stderr is not None:
        sys.stderr.write(f"flyte-local: {line}\n")


def manage(variable: str, secret: Identity | None, holder: str | None) -> None:
    """Shows `variable` only to tasks that declare it, from now on. `secret` stays None for markers."""
    holders = managed.setdefault(encoded(variable), {})
    if holders.get(secret) is None:
        holders[secret] = holder


def place(variables: Mapping[bytes, bytes]) -> None:
    """Sets variables of the process to secrets."""
    for name, value in variables.items():
        given.setdefault(name, set()).add(value)
        if name not in outside:
            put(name, value)


def put(name: bytes, value: bytes | None) -> None:
    """Sets a variable of the process, or removes it (None), whichever task is under way."""
    if environ._data.get(name) == value:
        return
    if value is None:
        os._Environ.__delitem__(os.environ, environ.decodekey(name))
    else:
        os._Environ.__setitem__(os.environ, environ.decodekey(name), environ.decodevalue(value))


def rank(holder: str | None) -> int:
    """Ranks the holders to name: best an environment, then a task, then code that has only been read (None)."""
    return -1 if holder is None else holder.startswith("environment ")


class View:
    """One execution of a task, or an app that is served; `who` names it in words.

    `plain` are the variables of `env_vars=`, which secrets replace.
    """

    # True if the Python processes that it starts join the run.
    children_join = True

    def __init__(
        self, task: Task | App, who: str, action: object, secrets: Mapping[bytes, bytes], plain: Mapping[bytes, bytes] = NOTHING
    ) -> None:
        self.task = task
        self.who = who
        self.action = action
        self.secrets = secrets
        self.plain = plain
        # The variables that the task itself set, or deleted (None).
        self.written: dict[bytes, bytes | None] = {}
        self.caller: View | None = None

    def is_of(self, task: Task | App, action: object) -> bool:
        return self.task is task and self.action == action

    def get(self, name: bytes) -> bytes | None:
        """Returns the value of a variable that is the task's own, or None."""
        for values in (self.written, outside, self.secrets):
            if name in values:
                return values[name]
        return self.plain.get(name)

    def has_own(self, name: bytes) -> bool:
        """Returns whether the task has this variable apart from those of the process, be it absent."""
        return name in self.plain or (name in managed and not shared)

    def __enter__(self) -> View:
        self.caller = current.get()
        self._token = current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            current.reset(self._token)
        except ValueError:  # An abandoned coroutine, closed in another context than it ran in.
            pass
        if self.caller is not None:
            # Programs that the caller starts from here on find the variables they would have found before.
            for name in managed.keys() & {*self.caller.secrets, *self.caller.written}:
                value = self.caller.get(name)
                if value is not None:
                    put(name, value)

    def owns(self, thread: threading.Thread, is_the_users: bool) -> bool:
        """Returns whether a thread that it starts runs as it: one of the user's code, and none that a library shares."""
        return is_the_users

    def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the function, on a thread of the task's, as the task."""
        token = current.set(self)
        try:
            return function(*args, **kwargs)
        finally:
            current.reset(token)

    def report(self, name: bytes) -> None:
        """Reports that the task read a variable of another."""
        variable = environ.decodekey(name)
        if variable.startswith(MARKERS) or name in self.written or name in outside:
            return
        secret, holder = max(list(managed[name].items()), key=lambda item: rank(item[1]))
        assert secret is not None, "only variables set beside secrets have none, and these are markers"
        key, group = secret
        argument = f", group={json.dumps(group)}" if group else ""
        say_once(
            f"{self.who} reads {variable}, which holds secret {key} of {holder or 'another task'}: on a "
            f"cluster it is not set there; declare it: "
            f'flyte.Secret(key={json.dumps(key)}{argument}, as_env_var="{variable}")',
            about=(self.who, variable),
        )


def filtering() -> View | None:
    """Returns the execution whose part of the environment is shown."""
    return None if shared else current.get()


def shown_to_task() -> dict[bytes, bytes] | None:
    """Returns the variables that the task under way sees; None outside tasks, where the process's are seen."""
    return None if current.get() is None else environ._shown()


def report_lacking(name: bytes) -> None:
    """Reports why code that runs outside tasks, as when a file is imported, does not find a declared secret."""
    variable = environ.decodekey(name)
    say_once(f"{variable} is not set: {lacking[name]}", about=("lacking", variable))


def report_left_out(name: bytes) -> None:
    """Reports that a task reads a variable of the shell that `--clean-env` left out."""
    view = current.get()
    if view is not None and name not in view.written and name not in outside:
        variable = environ.decodekey(name)
        line = f"{view.who} reads {variable} of the shell, which --clean-env left out; to pass it on: --keep {variable}"
        say_once(line, about=("left out", name))


class TaskEnviron(Environ):
    """`os.environ`, as the calling code is to see it; and `os.environb`, whose names and values are bytes."""

    def _shown(self) -> dict[bytes, bytes]:
        view = current.get()
        shown = dict(self._data)
        if view is not None:
            for name in filter(view.has_own, {*managed, *view.plain}):
                value = view.get(name)
                if value is None:
                    shown.pop(name, None)
                else:
                    shown[name] = value
        return shown

    def _value(self, name: bytes) -> bytes | None:
        """Returns the value of a variable that is seen, or None."""
        view = current.get()
        return self._data.get(name) if view is None or not view.has_own(name) else view.get(name)

    def __getitem__(self, key: str) -> str:
        name = self.encodekey(key)
        value = self._value(name)
        if value is None:
            self._report(name)
            raise KeyError(key)
        return self.decodevalue(value)

    def _report(self, name: bytes) -> None:
        view = filtering()
        if view is not None and name in managed:
            view.report(name)
        elif current.get() is None and name in lacking:
            report_lacking(name)
        elif name in left_out:
            report_left_out(name)

    def __contains__(self, key: Any) -> bool:
        name = self.encodekey(key)
        if self._value(name) is not None:
            return True
        if current.get() is not None:
            self._report(name)
        return False

    def get(self, key: str, default: Any = None) -> Any:
        # Outside tasks, code that has a default does without the secret.
        if default is not None and filtering() is None:
            value = self._value(self.encodekey(key))
            return default if value is None else self.decodevalue(value)
        return super().get(key, default)

    def setdefault(self, key: str, value: str) -> str:
        """Behaves as ever, but does not report a variable that is missing, as the caller expects that. Nor does `pop`."""
        if self._value(self.encodekey(key)) is None:
            self[key] = value
        return self[key]

    def pop(self, key: str, default: Any = _absent) -> Any:
        if default is not _absent and self._value(self.encodekey(key)) is None:
            return default
        value = self[key]
        del self[key]
        return value

    def __setitem__(self, key: str, value: str) -> None:
        name = self.encodekey(key)
        was_absent = name not in self._data
        super().__setitem__(key, value)
        stored, view = self.encodevalue(value), current.get()
        if view is not None:
            view.written[name] = stored
        # To put back the value that was there, as the end of a test's patch does, is not to replace it.
        elif stored in given.get(name, ()) or stored == SHELL.get(name):
            outside.pop(name, None)
            added.discard(name)
        else:
            if was_absent and name in managed and name not in outside:
                added.add(name)
            outside[name] = stored

    def __delitem__(self, key: str) -> None:
        view, name = current.get(), self.encodekey(key)
        if view is None:
            super().__delitem__(key)
            if name in added or (name not in managed and name not in SHELL):
                added.discard(name)
                outside.pop(name, None)
            else:
                outside[name] = None
            return
        if not view.has_own(name):
            super().__delitem__(key)
            view.written.pop(name, None)
            return
        if view.get(name) is None:
            raise KeyError(key)
        view.written[name] = None
        if name in self._data:
            super().__delitem__(key)

    def clear(self) -> None:
        """Empties the environment. Outside tasks this is half of putting back a copy, and takes no secret from them."""
        if current.get() is not None:
            super().clear()
            return
        for name in list(self._data):
            if name in outside:
                del self[self.decodekey(name)]
            else:
                os._Environ.__delitem__(self, self.decodekey(name))

    def __iter__(self) -> Iterator[str]:
        return map(self.decodekey, list(self._shown()))

    def __len__(self) -> int:
        return len(self._shown())

    def __repr__(self) -> str:
        items = (f"{self.decodekey(name)!r}: {self.decodevalue(value)!r}" for name, value in self._shown().items())
        return f"environ({{{', '.join(items)}}})"

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Makes copies plain ones of what is seen here: they may go where this class does not exist."""
        return os._Environ, (self._shown(), self.encodekey, self.decodekey, self.encodevalue, self.decodevalue)


# Code that prints the type prints what it always did.
TaskEnviron.__name__ = TaskEnviron.__qualname__ = os._Environ.__name__
TaskEnviron.__module__ = os._Environ.__module__


def install(share: bool, leave_out: Sequence[str] = ()) -> None:
    """Shows each task its own part of the environment, or all of it if `share`. Reads of `leave_out` are reported."""
    global left_out, shared
    shared = share
    left_out = frozenset(map(encoded, leave_out))
    for shown in (os.environ, os.environb) if os.supports_bytes_environ else (os.environ,):
        shown.__class__ = TaskEnviron
