"""The leak guard: looks for a task's own secrets in what the task returns, before the SDK writes that anywhere."""

from __future__ import annotations

import array
import collections
import enum
import itertools
import os
import re
import sys
import threading
import types
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from .broker import Broker
    from .messages import Leaks
    from .sdk import Sdk, Secret, Task

    # The things in a container or an object: how one gets there, what is there, and whether that is the name of something,
    # as the key of a dictionary is.
    Parts = Iterator[tuple[str, Any, bool]]

    # How one gets to a thing, the last step first.
    Path = tuple["Path | None", str]

    # By the secret's key: the forms of its value to look for, as bytes and as text.
    Wanted = dict[str, tuple[set[bytes], set[str]]]

# Shorter values are in other data by chance. The same as in `src/redact/`.
MIN_BYTES = 8

# The most objects of a returned value that are searched, numbers not counted: a fraction of a second.
MAX_OBJECTS = 100_000

# The longest value whose other forms are looked for. The same as in `src/redact/`.
MAX_OTHER_FORMS = 1 << 16

# Escape sequences of a terminal, which may interrupt a value.
SEQUENCES = r"\x1b(?:\[[ -?]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
IN_TEXT = re.compile(SEQUENCES)
IN_BYTES = re.compile(SEQUENCES.encode())

TEXT = (str, bytes, bytearray)

# They hold no text, or only text that belongs to code.
PASSED_OVER = (
    type(None),
    bool,
    int,
    float,
    complex,
    type,
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
)


class Wording(NamedTuple):
    """What to say of a secret that is found, of what Flyte keeps, and of a search that ends early."""

    found: str
    kept: str
    searched: str


TASK_RETURNS = Wording("returns its secret", "what tasks return", "returns were searched for its secrets")
TASK_RAISES = Wording("raises an error with its secret", "errors of tasks", "raises were searched for its secrets")
TASK_IS_GIVEN = Wording("is given secret", "what tasks are given", "is given were searched for secrets")
TRACE_RETURNS = Wording("returns secret", "what traced functions return", "returns were searched for secrets")
TRACE_IS_GIVEN = Wording("is given secret", "what traced functions are given", "is given were searched for secrets")


def is_a(thing: object, classes: type | tuple[type, ...]) -> bool:
    """Does as `isinstance`, without asking the thing itself: its `__class__` may be a proxy's, and raise."""
    return issubclass(type(thing), classes)


def own_values(declared: Iterable[Secret], variables: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yields the key and the bytes of each of these `flyte.Secret`s, as the task finds them."""
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


def items(thing: Any) -> Parts:
    """Yields the things in a container."""
    if is_a(thing, enum.Enum):
        yield ".value", thing._value_, False
    elif is_a(thing, (dict, types.MappingProxyType)):
        for key, value in thing.items():
            yield "{}", key, True
            if not is_a(value, PASSED_OVER):
                yield f"[{key!r}]" if type(key) in (str, int) else "[…]", value, False
    elif is_a(thing, (list, tuple, collections.deque)):
        names = getattr(thing, "_fields", None) if is_a(thing, tuple) else None
        for index, value in enumerate(thing):
            if not is_a(value, PASSED_OVER):
                yield f".{names[index]}" if names else f"[{index}]", value, False
    elif is_a(thing, (set, frozenset)):
        yield from (("{}", value, False) for value in thing)


def attributes(thing: Any) -> Parts:
    """Yields the attributes of an object, which may be a container of the user's class too."""
    own: Any = getattr(thing, "__dict__", None)
    if is_a(own, dict):
        for name, value in own.items():
            yield "{}", name, True
            yield f".{name}", value, False


def slots(thing: Any) -> Parts:
    """Yields the attributes that an object keeps in `__slots__`."""
    for cls in type(thing).__mro__:
        names = cls.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else tuple(names):
            if name in ("__dict__", "__weakref__"):
                continue
            if name.startswith("__") and not name.endswith("__"):
                name = f"_{cls.__name__.lstrip('_')}{name}"
            try:
                yield f".{name}", cls.__dict__[name].__get__(thing), False
            except (AttributeError, KeyError, TypeError):
                pass  # The slot has no value.


def kinds_of_parts(thing: object) -> tuple[Callable[[Any], Parts], ...]:
    """Returns the functions that yield a thing's parts. Pydantic writes secrets as asterisks; an enum's member is its value."""
    if type(thing) in TEXT:
        return ()
    for cls in type(thing).__mro__:
        if cls is enum.Enum:
            return (items,)
        if cls.__name__ in ("SecretStr", "SecretBytes") and cls.__module__ == "pydantic.types":
            return ()
    return (items, attributes, slots)


class Tolerant:
    """Lets no exception out: the thing's own code may raise any, and a thread may change it, which must not fail the task."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> bool:
        return kind is not None and not issubclass(kind, (KeyboardInterrupt, GeneratorExit))


TOLERANT = Tolerant()


class Search:
    """A search for the places in a value where each of some secrets is first found."""

    def __init__(self, values: Iterable[tuple[str, bytes]], forms: Callable[[bytes], Iterable[bytes]]) -> None:
        # Text is searched as text: a copy of it as bytes may be large.
        self._wanted: Wanted = {}
        # In names, words say nothing: `password` is often a name without being the secret.
        self._wanted_in_names: Wanted = {}
        for key, value in values:
            for form in forms(value):
                for wanted in (self._wanted,) if form.isalpha() else (self._wanted, self._wanted_in_names):
                    as_bytes, as_text = wanted.setdefault(key, (set(), set()))
                    as_bytes.add(form)
                    try:
                        as_text.add(form.decode())
                    except UnicodeDecodeError:
                        pass
        # By the secret's key: the place.
        self.found: dict[str, str] = {}
        self.is_cut_short = False

    def look_at(self, name: str, value: object) -> None:
        # Iterative, as a value may be nested deeper than Python's stack. Each thing is kept, so that no other one gets its
        # identity: a property can make one on the spot.
        seen: dict[tuple[int, bool], object] = {}
        rest: list[tuple[Path, Any, bool]] = [((None, name), value, False)]
        while rest and len(self.found) < len(self._wanted):
            path, thing, is_name = rest.pop()
            # A word may be a name in one place and a value in another.
            if (id(thing), is_name) in seen or is_a(thing, PASSED_OVER):
                continue
            if len(seen) == MAX_OBJECTS:
                self.is_cut_short = True
                return
            seen[id(thing), is_name] = thing
            with TOLERANT:
                for key in self._keys_in(thing, self._wanted_in_names if is_name else self._wanted):
                    self.found.setdefault(key, self._shown(path))
            inner: list[tuple[Path, Any, bool]] = []
            kinds: tuple[Callable[[Any], Parts], ...] = ()
            with TOLERANT:
                kinds = kinds_of_parts(thing)
            for kind in kinds:
                # If one kind fails, the others are searched all the same.
                with TOLERANT:
                    for step, part, names in itertools.islice(kind(thing), 2 * MAX_OBJECTS):
                        inner.append(((path, step), part, names))
            rest.extend(reversed(inner))

    def _keys_in(self, thing: Any, wanted: Wanted) -> Iterator[str]:
        if is_a(thing, (memoryview, array.array)):
            thing = thing.tobytes()
        if not is_a(thing, TEXT):
            return
        things = [thing]
        if is_a(thing, str) and str.__contains__(thing, "\x1b"):
            things.append(IN_TEXT.sub("", thing))
        elif not is_a(thing, str) and b"\x1b" in thing:
            things.append(IN_BYTES.sub(b"", thing))
        for key, (as_bytes, as_text) in wanted.items():
            for text in things:
                if is_a(text, str):
                    found = any(str.__contains__(text, form) for form in as_text)
                else:
                    found = any(form in text for form in as_bytes)
                if found:
                    yield key
                    break

    def _shown(self, path: Path) -> str:
        steps: list[str] = []
        rest: Path | None = path
        while rest is not None:
            rest, step = rest
            # The key of a dictionary, or an attribute's name, may be a secret as well, or anything else.
            is_plain = len(step) <= 60 and step.isprintable() and "\\" not in step
            steps.append(step if is_plain and not any(self._keys_in(step, self._wanted)) else "[…]")
        steps.reverse()
        return "".join(steps if len(steps) <= 20 else [*steps[:10], "…", *steps[-10:]])


def is_unicode(path: str) -> bool:
    """Returns whether a path can be sent to the broker."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


class LeakGuard:
    """Warns of a task that returns one of its secrets, or fails it, as the setting says."""

    def __init__(self, setting: Leaks | None, broker: Broker, flyte: Sdk, error: Callable[[str], Exception]) -> None:
        self._setting: Leaks = setting or "warn"
        self._broker = broker
        self._flyte = flyte
        # Makes an error that is not worth a retry.
        self._error = error
        self._reported: set[object] = set()
        self._lock = threading.Lock()
        # The forms of each value so far.
        self._forms: dict[bytes, set[bytes]] = {}
        # The key and the value of each secret so far; a dictionary keeps the order.
        self._known: dict[tuple[str, bytes], None] = {}

    def learn(self, values: Iterable[tuple[str, bytes]]) -> None:
        """Asks for the forms of values. A process that is forked from this one cannot ask, but has what was learned."""
        if self._setting != "off":
            for key, value in values:
                if self._forms_of(value):
                    with self._lock:
                        self._known[key, value] = None

    def _forms_of(self, value: bytes) -> set[bytes]:
        """Returns what to look for: the value, and its forms as `src/redact/forms/` lists them."""
        text = value.rstrip(b"\r\n")
        if len(text) < MIN_BYTES or text.isspace():
            return set()
        with self._lock:
            known = self._forms.get(value)
        if known is not None:
            return known
        forms = {text}
        if len(value) <= MAX_OTHER_FORMS and not self._broker.is_forked():
            reply = self._broker.ask({"op": "forms", "value": value.decode("latin-1")})
            forms.update(form.encode("latin-1") for form in reply["forms"])
            with self._lock:
                self._forms[value] = forms
        return forms

    def check(self, task: Task, values: Iterable[tuple[str, bytes]], returned: object) -> None:
        """Looks for `values`, keys and bytes, in what the task returned. Raises where the setting is `deny`."""
        if self._setting != "off" and returned is not None:
            self._search(f"task {task.name}", TASK_RETURNS, dict(self._outputs(task, returned)), values)

    def check_error(self, task: Task, values: Iterable[tuple[str, bytes]], error: BaseException) -> None:
        """Raises another error where the setting is `deny` and the message of the task's error holds a secret."""
        if self._setting == "deny":
            try:
                self._search(f"task {task.name}", TASK_RAISES, {"its message": str(error)}, values)
            except BaseException as denied:
                raise denied from None

    def search_all(self, who: str, wording: Wording, things: Mapping[str, object]) -> None:
        """Looks for every secret so far in things that Flyte is about to keep. Raises where the setting is `deny`."""
        with self._lock:
            known = list(self._known)
        if self._setting != "off" and known:
            self._search(who, wording, things, known)

    def _search(self, who: str, wording: Wording, things: Mapping[str, object], values: Iterable[tuple[str, bytes]]) -> None:
        search = Search(values, self._forms_of)
        for name, value in things.items():
            search.look_at(name, value)
        for key, where in search.found.items():
            what = f"{who} {wording.found} {key}, in {where}"
            if self._setting == "deny":
                raise self._error(f"{what}, which --leaks=deny forbids")
            line = f"{what}: Flyte stores {wording.kept} in plain text and shows it in its UI"
            self._report(line, (who, wording, key))
        if search.is_cut_short:
            searched = f"only the first {MAX_OBJECTS} objects that {who} {wording.searched}"
            self._report(searched, (who, wording))

    def _outputs(self, task: Task, returned: Any) -> list[tuple[str, Any]]:
        """Returns each output by the name that the SDK gives it."""
        names = list(task.native_interface.outputs)
        if len(names) > 1 and is_a(returned, tuple) and len(returned) == len(names):
            return list(zip(names, returned))
        return [(names[0] if names else "o0", returned)]

    def _report(self, line: str, about: object) -> None:
        with self._lock:
            if about in self._reported:
                return
            self._reported.add(about)
        print(f"flyte-local: {line}", file=sys.stderr)

    def note_places(self) -> None:
        """Tells flyte-local the directories in which the SDK keeps the run's data, which are searched after the run."""
        if self._setting == "off" or self._broker.is_forked():
            return
        context = self._flyte.ctx()
        base = context.run_base_dir if context else None
        with self._lock:
            if ("places", base) in self._reported:
                return
            self._reported.add(("places", base))
        # The rule of the SDK's `LocalDB`.
        source = self._flyte.config.auto().source
        places = [os.path.join(source.parent if source else os.path.expanduser("~/.flyte"), "local-cache")]
        if context:
            places += [context.run_base_dir, context.raw_data_path.path]
        local = [os.path.abspath(place) for place in places if "://" not in str(place)]
        for place in local:
            if not is_unicode(place):
                self._report(f"the files in {place!r} are not searched for secrets: the path is not UTF-8", place)
        self._broker.ask({"op": "keeps", "directories": list(filter(is_unicode, local))})
