"""The leak guard: looks for a task's own secrets in what the task returns, before the SDK writes that anywhere."""

import array
import base64
import collections
import enum
import itertools
import os
import sys
import threading
import types

# Shorter values are in other data by chance. The same as in `src/redact/`.
MIN_BYTES = 8

# How many objects of a returned value are looked at, numbers not counted: a fraction of a second.
MAX_OBJECTS = 100_000

TEXT = (str, bytes, bytearray)

# They hold no text, or none that is the value's.
PASSED_OVER = (type(None), bool, int, float, complex, type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)


def forms(value):
    """What to look for: the value, and its base64 wherever it stands in a longer one, in both alphabets."""
    text = value.rstrip(b"\r\n")
    if len(text) < MIN_BYTES or text.isspace():
        return set()
    found = {text}
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + text)
        # Without the characters that depend on what stands before and after it.
        inside = encoded[(0, 2, 3)[before] : (before + len(text)) * 8 // 6]
        found.update((inside, inside.translate(bytes.maketrans(b"+/", b"-_"))))
    return found


def own_values(declared, variables):
    """The key and the bytes of each of these `flyte.Secret`s, as the task finds them."""
    directory = variables.get("FLYTE_SECRETS_DEFAULT_DIR", "/etc/flyte/secrets")
    for secret in declared:
        if secret.as_env_var:
            value = variables.get(secret.as_env_var, "")
            yield secret.key, value.encode("utf-8", "surrogateescape")
            continue
        try:
            with open(os.path.join(directory, secret.key), "rb") as file:
                yield secret.key, file.read()
        except OSError:
            pass


def slots(thing):
    for cls in type(thing).__mro__:
        names = cls.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else tuple(names):
            if name in ("__dict__", "__weakref__"):
                continue
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{cls.__name__.lstrip('_')}{name}"
            try:
                yield name, cls.__dict__[name].__get__(thing)
            except (AttributeError, KeyError, TypeError):
                pass  # It has no value.


def is_hidden(thing):
    """Pydantic writes them as asterisks."""
    return any(c.__name__ in ("SecretStr", "SecretBytes") and c.__module__ == "pydantic.types" for c in type(thing).__mro__)


def parts(thing):
    """The things in a container or an object: how one gets there, and what is there."""
    if is_hidden(thing):
        return
    if isinstance(thing, enum.Enum):
        yield ".value", thing._value_
        return
    if isinstance(thing, (dict, types.MappingProxyType)):
        for key, value in thing.items():
            yield "{}", key
            if not isinstance(value, PASSED_OVER):
                yield f"[{key!r}]" if type(key) in (str, int) else "[…]", value
    elif isinstance(thing, (list, tuple, collections.deque)):
        names = getattr(thing, "_fields", None) if isinstance(thing, tuple) else None
        for index, value in enumerate(thing):
            if not isinstance(value, PASSED_OVER):
                yield f".{names[index]}" if names else f"[{index}]", value
    elif isinstance(thing, (set, frozenset)):
        yield from (("{}", value) for value in thing)
    # A container of a class of its own may have attributes too.
    attributes = getattr(thing, "__dict__", None)
    if isinstance(attributes, dict):
        for name, value in attributes.items():
            yield "{}", name
            yield f".{name}", value
    yield from ((f".{name}", value) for name, value in slots(thing))


class Search:
    """Where in a value each of some secrets is first found."""

    def __init__(self, values):
        # Text is searched as text: a copy of it as bytes may be large.
        self._wanted = {}
        for key, value in values:
            for form in forms(value):
                as_bytes, as_text = self._wanted.setdefault(key, (set(), set()))
                as_bytes.add(form)
                try:
                    as_text.add(form.decode())
                except UnicodeDecodeError:
                    pass
        self.found = {}
        self.is_cut_short = False

    def look_at(self, name, value):
        # Iterative, as a value may be nested deeper than Python's stack. Each thing is kept, so that no other one gets its
        # identity: a property can make one on the spot.
        seen, rest = {}, [((None, name), value)]
        while rest and len(self.found) < len(self._wanted):
            path, thing = rest.pop()
            if id(thing) in seen or isinstance(thing, PASSED_OVER):
                continue
            if len(seen) == MAX_OBJECTS:
                self.is_cut_short = True
                return
            seen[id(thing)] = thing
            try:
                for key in self._keys_in(thing):
                    self.found.setdefault(key, self._shown(path))
                if type(thing) not in TEXT:
                    inner = [((path, step), part) for step, part in itertools.islice(parts(thing), 2 * MAX_OBJECTS)]
                    rest.extend(reversed(inner))
            except Exception:  # Changed by a thread meanwhile, or stranger than that: no reason for a task to fail.
                pass

    def _keys_in(self, thing):
        if isinstance(thing, (memoryview, array.array)):
            thing = thing.tobytes()
        for key, (as_bytes, as_text) in self._wanted.items():
            if isinstance(thing, str):
                found = any(str.__contains__(thing, form) for form in as_text)
            else:
                found = isinstance(thing, TEXT) and any(form in thing for form in as_bytes)
            if found:
                yield key

    def _shown(self, path):
        steps = []
        while path is not None:
            path, step = path
            # The key of a dictionary, or an attribute's name, may be a secret as well, or anything else.
            is_plain = len(step) <= 60 and step.isprintable() and "\\" not in step
            steps.append(step if is_plain and not any(self._keys_in(step)) else "[…]")
        steps.reverse()
        return "".join(steps if len(steps) <= 20 else [*steps[:10], "…", *steps[-10:]])


class LeakGuard:
    """What becomes of a task that returns a secret of its own: `setting` is `warn`, `deny` or `off`."""

    def __init__(self, setting, broker, flyte, error):
        self._setting = setting
        self._broker = broker
        self._flyte = flyte
        # Makes an error that is not worth a retry.
        self._error = error
        self._told = set()
        self._lock = threading.Lock()

    def check(self, task, values, returned):
        """Looks for `values`, keys and bytes, in what the task returned.

        Raises, where this is denied.
        """
        if self._setting == "off" or returned is None:
            return
        search = Search(values)
        for name, value in self._outputs(task, returned):
            search.look_at(name, value)
        for key, where in search.found.items():
            what = f"task {task.name} returns its secret {key}, in {where}"
            if self._setting == "deny":
                raise self._error(self._flyte, f"{what}, which --leaks=deny forbids", "SecretReturned")
            self._tell(f"{what}: Flyte stores what tasks return in plain text and shows it in its UI", (task.name, key))
        if search.is_cut_short:
            self._tell(f"of what task {task.name} returns, {MAX_OBJECTS} objects were searched for its secrets", task.name)

    def _outputs(self, task, returned):
        """Each output by the name that the SDK gives it."""
        names = list(task.native_interface.outputs)
        if len(names) > 1 and isinstance(returned, tuple) and len(returned) == len(names):
            return list(zip(names, returned))
        return [(names[0] if names else "o0", returned)]

    def _tell(self, line, about):
        with self._lock:
            if about in self._told:
                return
            self._told.add(about)
        print(f"flyte-local: {line}", file=sys.stderr)

    def note_places(self):
        """Tells flyte-local the directories in which the SDK keeps what this run makes, for a look after it."""
        if self._setting == "off" or self._broker.is_forked():
            return
        context = self._flyte.ctx()
        base = context.run_base_dir if context else None
        with self._lock:
            if ("places", base) in self._told:
                return
            self._told.add(("places", base))
        # The rule of the SDK's `LocalDB`.
        source = self._flyte.config.auto().source
        places = [os.path.join(source.parent if source else os.path.expanduser("~/.flyte"), "local-cache")]
        if context:
            places += [base, context.raw_data_path.path]
        local = [os.path.abspath(place) for place in places if "://" not in str(place)]
        self._broker.ask("keeps", directories=local)
