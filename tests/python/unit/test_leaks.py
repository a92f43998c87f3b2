"""The search for a task's own secrets in what it returns."""

import array
import collections
import enum
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flyte_local.bootstrap import leaks
from flyte_local.bootstrap.leaks import LeakGuard, Search, own_values

SECRET = b"a long secret"


def themselves(value: bytes) -> set[bytes]:
    """Stands in for the forms of a value, which flyte-local lists."""
    return {value}


def place(value: object, wanted: bytes = SECRET) -> str | None:
    """Returns where in an output called `o0` the secret is found."""
    search = Search([("key", wanted)], themselves)
    search.look_at("o0", value)
    return search.found.get("key")


class Slotted:
    __slots__ = ("__private", "empty", "value")

    def __init__(self, value: object) -> None:
        self.value = value


class Private:
    __slots__ = ("__hidden",)

    def __init__(self, value: object) -> None:
        self.__hidden = value


class Colour(enum.Enum):
    RED = "a long secret"


Pair = collections.namedtuple("Pair", ["first", "second"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a long secret", "o0"),
        ("before a long secret after", "o0"),
        (b"a long secret", "o0"),
        (bytearray(b"a long secret"), "o0"),
        (memoryview(b"\xff a long secret"), "o0"),
        (array.array("b", b"a long secret"), "o0"),
        (["x", "a long secret"], "o0[1]"),
        ({"b": {"c": "a long secret"}}, "o0['b']['c']"),
        ({3: "a long secret"}, "o0[3]"),
        ({(1, 2): "a long secret"}, "o0[…]"),
        ({"a long secret": 1}, "o0{}"),
        ({"a long secret"}, "o0{}"),
        (collections.deque(["a long secret"]), "o0[0]"),
        (types.MappingProxyType({"b": "a long secret"}), "o0['b']"),
        (Pair("x", "a long secret"), "o0.second"),
        (Slotted("a long secret"), "o0.value"),
        (Private("a long secret"), "o0._Private__hidden"),
        (types.SimpleNamespace(token="a long secret"), "o0.token"),
        (Colour.RED, "o0.value"),
    ],
)
def test_a_secret_is_found_in_every_kind_of_value(value: object, expected: str) -> None:
    assert place(value) == expected


@pytest.mark.parametrize("value", [None, 3, 2.5, True, [], {}, "another value", b"", len, types, object()])
def test_a_value_without_the_secret_is_passed_over(value: object) -> None:
    assert place(value) is None


@pytest.mark.parametrize("write", [str, str.encode, lambda value: bytearray(value.encode())])
@pytest.mark.parametrize(
    "sequence", ["\x1b[1;36m", "\x1b]8;;http://a\x07", "\x1b]0;a\x1b\\", "\x1bPa\x1b\\", "\x1b(B", "\x1b7"]
)
def test_escape_sequences_do_not_interrupt_a_secret(write: Any, sequence: str) -> None:
    assert place(write(f"it is {sequence.join('a long secret')}!")) == "o0"


def test_a_word_counts_as_a_value_but_not_as_a_name() -> None:
    assert place({"password": 1}, b"password") is None
    assert place({"password": "password"}, b"password") == "o0[…]"


def test_a_place_that_could_itself_be_secret_is_not_shown() -> None:
    assert place({"\x1b[0m": "a long secret"}) == "o0[…]"
    assert place({"y" * 100: "a long secret"}) == "o0[…]"


def test_a_long_place_is_shortened() -> None:
    value: Any = "a long secret"
    for _ in range(50):
        value = [value]
    assert place(value) == "o0" + "[0]" * 9 + "…" + "[0]" * 10


def test_a_cycle_ends() -> None:
    cycle: dict[str, Any] = {}
    cycle["self"] = [cycle, "a long secret"]
    assert place(cycle) == "o0['self'][1]"


def test_a_search_is_cut_short_after_many_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "MAX_OBJECTS", 10)
    search = Search([("key", SECRET)], themselves)
    search.look_at("o0", [str(number) for number in range(20)])
    assert search.is_cut_short and not search.found


class Ending:
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise SystemExit(3)


class Interrupted:
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise KeyboardInterrupt


def test_code_of_a_value_that_fails_does_not_end_the_search() -> None:
    assert place([Ending(), "a long secret"]) == "o0[1]"


def test_an_interrupt_ends_the_search() -> None:
    with pytest.raises(KeyboardInterrupt):
        place(Interrupted())


@dataclass
class StubSecret:
    key: str
    as_env_var: str | None = None
    group: str | None = None


def test_own_values_are_those_of_variables_and_files(tmp_path: Path) -> None:
    (tmp_path / "mounted").write_bytes(b"\xff in a file")
    secrets = [StubSecret("variable", "VARIABLE"), StubSecret("mounted"), StubSecret("absent")]
    variables = {"VARIABLE": "value \udcff", "FLYTE_SECRETS_DEFAULT_DIR": str(tmp_path)}
    assert list(own_values(secrets, variables)) == [("variable", b"value \xff"), ("mounted", b"\xff in a file")]


@dataclass
class StubBroker:
    asked: list[Any] = field(default_factory=list)

    forked: bool = False

    def is_forked(self) -> bool:
        return self.forked

    def ask(self, request: Any) -> Any:
        self.asked.append(request)
        return {"forms": [f"<{request['value']}>"]} if request["op"] == "forms" else {}


class ReturnedError(Exception):
    pass


def guard(setting: str) -> LeakGuard:
    arguments: Any = (setting, StubBroker(), None, ReturnedError)
    return LeakGuard(*arguments)


def task(*outputs: str) -> Any:
    return types.SimpleNamespace(name="env.main", native_interface=types.SimpleNamespace(outputs=dict.fromkeys(outputs)))


def test_a_returned_secret_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    warns = guard("warn")
    for _ in range(2):
        warns.check(task("o0"), [("key", SECRET)], ["a long secret"])
    said = "flyte-local: task env.main returns its secret key, in o0[0]: Flyte stores what tasks return in plain text"
    assert capsys.readouterr().err == f"{said} and shows it in its UI\n"


def test_a_returned_secret_fails_the_task_where_that_is_denied() -> None:
    with pytest.raises(ReturnedError) as raised:
        guard("deny").check(task("first", "second"), [("key", SECRET)], ("x", "a long secret"))
    message = "task env.main returns its secret key, in second, which --leaks=deny forbids"
    assert raised.value.args == (message,)


def test_nothing_is_searched_where_that_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    guard("off").check(task("o0"), [("key", SECRET)], "a long secret")
    assert capsys.readouterr().err == ""


def guard_of(broker: StubBroker) -> LeakGuard:
    arguments: Any = ("deny", broker, None, ReturnedError)
    return LeakGuard(*arguments)


def returns_a_secret(guard: LeakGuard, value: bytes, returned: object) -> bool:
    try:
        guard.check(task("o0"), [("key", value)], returned)
    except ReturnedError:
        return True
    return False


def test_the_forms_of_a_value_are_asked_for_once() -> None:
    broker = StubBroker()
    guard = guard_of(broker)
    for _ in range(2):
        assert returns_a_secret(guard, b"a \xff secret", b"<a \xff secret>")
    assert broker.asked == [{"op": "forms", "value": "a \xff secret"}]


def test_a_forked_process_has_the_forms_that_were_learned_and_the_values_themselves() -> None:
    broker = StubBroker()
    guard = guard_of(broker)
    guard.learn([("key", b"learned value\n")])
    broker.forked = True
    assert returns_a_secret(guard, b"learned value\n", "<learned value\n>")
    assert returns_a_secret(guard, b"another value", "another value")
    assert len(broker.asked) == 1


@pytest.mark.parametrize("value", [b"7 bytes", b"7 bytes\n", b"          ", b""])
def test_short_and_blank_values_are_not_looked_for(value: bytes) -> None:
    broker = StubBroker()
    assert not returns_a_secret(guard_of(broker), value, value.decode())
    assert not broker.asked


def test_a_trailing_newline_takes_no_part() -> None:
    assert returns_a_secret(guard_of(StubBroker()), SECRET + b"\r\n", "a long secret")


def test_of_a_large_value_only_the_value_is_looked_for() -> None:
    broker = StubBroker()
    large = b"x" * (leaks.MAX_OTHER_FORMS + 1)
    assert returns_a_secret(guard_of(broker), large, large)
    assert not broker.asked
