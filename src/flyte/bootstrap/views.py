"""What a task sees of the environment: of the variables that hold declared secrets, its own and no others.

On a cluster each task has a pod, and so an environment, of its own. Here all share the process's, and `os.environ`
shows each its part. The object stays the one it was, so that `from os import environ` holds it too; its class changes.
What reads variables by other means (subprocesses, native code) sees the process's, where the task that began last wins.
"""

import concurrent.futures
import contextvars
import functools
import json
import os
import sys
import threading

# As the shell handed it over: the bootstrap comes before the SDK and the user's code.
SHELL = dict(os.environ._data)

# The execution under way. It follows the task through `await` and into threads that the SDK or the user's code starts.
current = contextvars.ContextVar("flyte_local_view", default=None)

# By variable: the secrets that somebody puts there, and who does. Variables and values are encoded, as `os` keeps them.
managed = {}

# By variable: every secret's value that was put there.
given = {}

# By variable: what code outside tasks has set, or deleted (None). It may be before anybody declares the variable, so it is
# kept of all. `added` are those set in place of a declared secret that is missing: to delete them is to undo that.
outside = {}
added = set()

# By variable: why a declared secret is not there.
lacking = {}

# Whether tasks see what every other has.
shared = False

# What a cluster sets beside a secret. Nobody means to read these of another environment, so nothing is said of them.
MARKERS = "FLYTE_SECRETS_"

_told = {}
_absent = object()


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


def inherit(shell, set_outside):
    """Begins, as a worker of the process that has this from its shell and its code, where that one is."""
    SHELL.clear()
    SHELL.update((encoded(name), os.environ.encodevalue(value)) for name, value in shell.items())
    outside.update(
        (encoded(name), None if value is None else os.environ.encodevalue(value)) for name, value in set_outside.items()
    )


def bequest():
    """What `inherit` takes."""

    def text(values):
        decoded = ((name, None if value is None else os.environ.decodevalue(value)) for name, value in values.items())
        return {os.environ.decodekey(name): value for name, value in decoded}

    return {"shell": text(SHELL), "set_outside": text(outside)}


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

    def run(self, function, /, *args, **kwargs):
        """Calls the function, on a thread of the task's, as the task."""
        token = current.set(self)
        try:
            return function(*args, **kwargs)
        finally:
            current.reset(token)

    def report(self, name):
        """Says that the task read what is not its own."""
        variable = os.environ.decodekey(name)
        if variable.startswith(MARKERS) or name in self.written or name in outside:
            return
        (key, group), holder = max(list(managed[name].items()), key=lambda item: rank(item[1]))
        group = f", group={json.dumps(group)}" if group else ""
        say_once(
            f"task {self.task.name} reads {variable}, which holds secret {key} of {holder or 'another task'}: on a "
            f"cluster it is not set there; declare it: "
            f'flyte.Secret(key={json.dumps(key)}{group}, as_env_var="{variable}")',
            about=(self.task.name, variable),
        )


def filtering():
    """The execution whose part of the environment is shown."""
    return None if shared else current.get()


def report_lacking(name):
    """Says why code that runs outside tasks, as when a file is imported, does not find a declared secret."""
    variable = os.environ.decodekey(name)
    say_once(f"{variable} is not set: {lacking[name]}", about=("lacking", variable))


class TaskEnviron(os._Environ):
    """`os.environ`, and `os.environb`, as the code that asks is to see it."""

    def _shown(self):
        view = filtering()
        shown = dict(self._data)
        if view is not None:
            for name in list(managed):
                value = view.get(name)
                if value is None:
                    shown.pop(name, None)
                else:
                    shown[name] = value
        return shown

    def _value(self, name):
        """What is seen of a variable, or None."""
        view = filtering()
        return self._data.get(name) if view is None or name not in managed else view.get(name)

    def __getitem__(self, key):
        name = self.encodekey(key)
        value = self._value(name)
        if value is None:
            self._report(name)
            raise KeyError(key)
        return self.decodevalue(value)

    def _report(self, name):
        view = filtering()
        if view is not None and name in managed:
            view.report(name)
        elif current.get() is None and name in lacking:
            report_lacking(name)

    def __contains__(self, key):
        name = self.encodekey(key)
        if self._value(name) is not None:
            return True
        if filtering() is not None:
            self._report(name)
        return False

    def get(self, key, default=None):
        # Outside tasks, who has a default does without the secret.
        if default is not None and filtering() is None:
            value = self._value(self.encodekey(key))
            return default if value is None else self.decodevalue(value)
        return super().get(key, default)

    def setdefault(self, key, value):
        """As ever; but nothing is said of a variable that is not there, which this deals with. So does `pop`."""
        if self._value(self.encodekey(key)) is None:
            self[key] = value
        return self[key]

    def pop(self, key, default=_absent):
        if default is not _absent and self._value(self.encodekey(key)) is None:
            return default
        value = self[key]
        del self[key]
        return value

    def __setitem__(self, key, value):
        name = self.encodekey(key)
        was_absent = name not in self._data
        super().__setitem__(key, value)
        value, view = self.encodevalue(value), current.get()
        if view is not None:
            view.written[name] = value
        # To put back what was there, as the end of a test's patch does, is not to replace it.
        elif value in given.get(name, ()) or value == SHELL.get(name):
            outside.pop(name, None)
            added.discard(name)
        else:
            if was_absent and name in managed and name not in outside:
                added.add(name)
            outside[name] = value

    def __delitem__(self, key):
        view, name = current.get(), self.encodekey(key)
        if view is None:
            super().__delitem__(key)
            if name in added or name not in managed and name not in SHELL:
                added.discard(name)
                outside.pop(name, None)
            else:
                outside[name] = None
            return
        if name not in managed or shared:
            super().__delitem__(key)
            view.written.pop(name, None)
            return
        if view.get(name) is None:
            raise KeyError(key)
        view.written[name] = None
        if name in self._data:
            super().__delitem__(key)

    def clear(self):
        """Empties it. Outside tasks this is half of putting back a copy, and takes no secret from them."""
        if current.get() is not None:
            super().clear()
            return
        for name in list(self._data):
            if name in outside:
                del self[self.decodekey(name)]
            else:
                os._Environ.__delitem__(self, self.decodekey(name))

    def __iter__(self):
        return map(self.decodekey, list(self._shown()))

    def __len__(self):
        return len(self._shown())

    def __repr__(self):
        items = (f"{self.decodekey(name)!r}: {self.decodevalue(value)!r}" for name, value in self._shown().items())
        return f"environ({{{', '.join(items)}}})"

    def __reduce_ex__(self, protocol):
        """A copy is a plain one, of what is seen where it is made: it may go where this class does not exist."""
        data = self._data if filtering() is None else self._shown()
        return os._Environ, (data, self.encodekey, self.decodekey, self.encodevalue, self.decodevalue)


# What prints the type, prints what it always did.
TaskEnviron.__name__ = TaskEnviron.__qualname__ = os._Environ.__name__
TaskEnviron.__module__ = os._Environ.__module__


def is_the_users(thread):
    """Whether a thread runs the user's code, and not a library's that all tasks share, as an event loop's."""
    from _flyte_local.imports import is_of_the_user

    function = getattr(type(thread), "run", None)
    if function in (threading.Thread.run, threading.Timer.run):
        function = getattr(thread, "_target", None) or getattr(thread, "function", None)
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return code is not None and is_of_the_user(code.co_filename)


def follow_into_threads():
    """Threads and calls that a task hands to a pool run as the task."""
    submit, start = concurrent.futures.ThreadPoolExecutor.submit, threading.Thread.start

    @functools.wraps(submit)
    def submit_as_task(pool, function, /, *args, **kwargs):
        view = current.get()
        if view is None:
            return submit(pool, function, *args, **kwargs)
        return submit(pool, view.run, function, *args, **kwargs)

    @functools.wraps(start)
    def start_as_task(thread):
        view = current.get()
        if view is not None and is_the_users(thread):
            thread.run = functools.partial(view.run, thread.run)
        start(thread)

    concurrent.futures.ThreadPoolExecutor.submit = submit_as_task
    threading.Thread.start = start_as_task


def install(share):
    global shared
    shared = share
    os.environ.__class__ = TaskEnviron
    if os.supports_bytes_environ:
        os.environb.__class__ = TaskEnviron
    follow_into_threads()
