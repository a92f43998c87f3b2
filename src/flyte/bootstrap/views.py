"""What a task sees of the environment: of the variables that hold declared secrets, its own and no others.

On a cluster each task has a pod, and so an environment, of its own. Here all share the process's, and `os.environ`
shows each its part. The object stays the one it was, so that `from os import environ` holds it too; its class changes.
What reads variables by other means (subprocesses, native code) sees the process's, where the task that began last wins.
"""

import contextvars
import json
import os
import sys

# As the shell handed it over: the bootstrap comes before the SDK and the user's code.
SHELL = dict(os.environ._data)

# The execution under way. It follows the task through `await` and into the SDK's threads; one of the user's has none.
current = contextvars.ContextVar("flyte_local_view", default=None)

# By variable: the secrets that somebody puts there, and who does. Variables and values are encoded, as `os` keeps them.
managed = {}

# By variable: every secret's value that was put there, and what code outside tasks has put in its place.
given = {}
outside = {}

# What a cluster sets beside a secret. Nobody means to read these of another environment, so nothing is said of them.
MARKERS = "FLYTE_SECRETS_"

_told = {}


def encoded(text):
    return os.environ.encodekey(text)


def say_once(line, about):
    """One line on standard error, however many threads have it to say."""
    mine = object()
    if _told.setdefault(about, mine) is mine and sys.stderr is not None:
        sys.stderr.write(f"flyte-local: {line}\n")


def manage(variable, secret, holder):
    """From now on tasks see `variable` if they declare it. `secret` is None for what is set beside secrets."""
    holders = managed.setdefault(encoded(variable), {})
    if holders.get(secret) is None:
        holders[secret] = holder


def place(variables):
    """Sets variables of the process to secrets."""
    for name, value in variables.items():
        given.setdefault(name, set()).add(value)
        if name not in outside:
            put(name, value)


def put(name, value):
    """Sets a variable of the process, whichever task is under way."""
    if os.environ._data.get(name) != value:
        os._Environ.__setitem__(os.environ, os.environ.decodekey(name), os.environ.decodevalue(value))


def rank(holder):
    """Whom to name: best an environment, then a task, then code that has only been looked at (None)."""
    return -1 if holder is None else holder.startswith("environment ")


class View:
    """One execution of a task."""

    def __init__(self, task, action, secrets):
        self.task = task
        self.action = action
        self.secrets = secrets
        # What the task set, or deleted (None), itself.
        self.written = {}
        self.caller = None

    def is_of(self, task, action):
        return self.task is task and self.action == action

    def get(self, name):
        """The value of a managed variable, or None."""
        for values in (self.written, outside, self.secrets):
            if name in values:
                return values[name]
        return None

    def __enter__(self):
        self.caller = current.get()
        self._token = current.set(self)
        return self

    def __exit__(self, *_):
        try:
            current.reset(self._token)
        except ValueError:  # An abandoned coroutine, closed in another context than it ran in.
            pass
        if self.caller is not None:
            # What the caller starts from here on finds what it would have found before.
            for name in managed.keys() & {*self.caller.secrets, *self.caller.written}:
                value = self.caller.get(name)
                if value is not None:
                    put(name, value)

    def report(self, name):
        """Says that the task read what is not its own."""
        variable = os.environ.decodekey(name)
        if variable.startswith(MARKERS) or name in self.written:
            return
        (key, group), holder = max(list(managed[name].items()), key=lambda item: rank(item[1]))
        group = f", group={json.dumps(group)}" if group else ""
        say_once(
            f"task {self.task.name} reads {variable}, which holds secret {key} of {holder or 'another task'}: on a "
            f"cluster it is not set there; declare it: "
            f'flyte.Secret(key={json.dumps(key)}{group}, as_env_var="{variable}")',
            about=(self.task.name, variable),
        )


class TaskEnviron(os._Environ):
    """`os.environ`, and `os.environb`, as the code that asks is to see it."""

    def _shown(self):
        view = current.get()
        shown = dict(self._data)
        if view is not None:
            for name in list(managed):
                value = view.get(name)
                if value is None:
                    shown.pop(name, None)
                else:
                    shown[name] = value
        return shown

    def __getitem__(self, key):
        view = current.get()
        name = None if view is None else self.encodekey(key)
        if view is None or name not in managed:
            return super().__getitem__(key)
        value = view.get(name)
        if value is None:
            view.report(name)
            raise KeyError(key)
        return self.decodevalue(value)

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        name, value, view = self.encodekey(key), self.encodevalue(value), current.get()
        if view is not None:
            view.written[name] = value
        elif name in managed:
            # To put back a secret that was there, as the end of a test's patch does, is not to replace it.
            if value in given.get(name, ()):
                outside.pop(name, None)
            else:
                outside[name] = value

    def __delitem__(self, key):
        view, name = current.get(), self.encodekey(key)
        if view is None or name not in managed:
            outside.pop(name, None)
            super().__delitem__(key)
            if view is not None:
                view.written.pop(name, None)
            return
        if view.get(name) is None:
            raise KeyError(key)
        view.written[name] = None
        if name in self._data:
            super().__delitem__(key)

    def __iter__(self):
        return map(self.decodekey, list(self._shown()))

    def __len__(self):
        return len(self._shown())

    def __repr__(self):
        items = (f"{self.decodekey(name)!r}: {self.decodevalue(value)!r}" for name, value in self._shown().items())
        return f"environ({{{', '.join(items)}}})"

    def __reduce_ex__(self, protocol):
        """A copy is a plain one, of what is seen where it is made: it may go where this class does not exist."""
        data = self._data if current.get() is None else self._shown()
        return os._Environ, (data, self.encodekey, self.decodekey, self.encodevalue, self.decodevalue)


# What prints the type, prints what it always did.
TaskEnviron.__name__ = TaskEnviron.__qualname__ = os._Environ.__name__
TaskEnviron.__module__ = os._Environ.__module__


def install():
    os.environ.__class__ = TaskEnviron
    if os.supports_bytes_environ:
        os.environb.__class__ = TaskEnviron
