"""The project and domain of a configuration file, which may hold any value in their place."""

import datetime
import enum
from typing import Any, cast

import pytest

from flyte_local.bootstrap.broker import Broker
from flyte_local.bootstrap.local import as_text, kind_of, report_scope


class Word(str, enum.Enum):
    A = "a"


class FakeBroker:
    """Takes one request and answers it."""

    def __init__(self, reply: dict[str, str]) -> None:
        self.reply = reply
        self.asked: list[Any] = []

    def is_forked(self) -> bool:
        return False

    def ask(self, request: Any) -> dict[str, str]:
        self.asked.append(request)
        return self.reply


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (Word.A, "a"),
        (5, "5"),
        (0, "0"),
        (1.5, "1.5"),
        (True, "true"),
        (False, "false"),
        (datetime.date(2024, 1, 1), "2024-01-01"),
        ("", None),
        (None, None),
        (["a"], None),
        ({}, None),
        (b"a", None),
    ],
)
def test_a_scalar_is_text(value: object, text: str | None) -> None:
    assert as_text(value) == text


def test_a_kind_is_named_in_words() -> None:
    values: list[object] = [[], (), {}, b""]
    assert [kind_of(value) for value in values] == ["a list", "a list", "a map", "of type bytes"]


def test_values_that_are_no_text_are_reported_by_their_kind() -> None:
    broker = FakeBroker({})
    report_scope(cast("Broker", broker), ["a"], False)
    report_scope(cast("Broker", broker), None, "")
    expected = {"op": "scope", "project": None, "domain": "false", "unfit": {"project": "a list"}}
    assert broker.asked == [expected]


def test_a_refused_scope_raises() -> None:
    with pytest.raises(ValueError, match="no name"):
        report_scope(cast("Broker", FakeBroker({"error": "no name"})), "a.b", None)
