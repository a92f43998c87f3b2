"""Processes of a run begin with the variables of the process that started them."""

import os
from collections.abc import Iterator

import pytest

from flyte_local.bootstrap import inheritance, views


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives each test its own state of the module."""
    monkeypatch.setattr(views, "SHELL", {b"OF_SHELL": b"from the shell"})
    for name in ("outside", "managed", "given"):
        monkeypatch.setattr(views, name, {})
    yield


def test_a_worker_inherits_the_shell_and_changes_outside_tasks() -> None:
    views.outside.update({b"SET": b"outside", b"OF_SHELL": None})
    bequest = inheritance.bequest()
    assert bequest["shell"] == {"OF_SHELL": "from the shell"}
    assert bequest["set_outside"] == {"SET": "outside", "OF_SHELL": None}
    views.outside.clear()
    inheritance.inherit({"shell": {"ONLY": "this"}, "set_outside": {"SET": "outside", "GONE": None}})
    assert (views.SHELL, views.outside) == ({b"ONLY": b"this"}, {b"SET": b"outside", b"GONE": None})


def test_a_process_that_joins_tells_secrets_and_changes_from_the_shell() -> None:
    views.SHELL.update({b"TOKEN": b"a value", b"FLYTE_SECRETS_X": b"1", "ä".encode(): b"other"})
    inheritance.join(
        {
            "modules": [],
            "settings": {"command": "", "shared_secrets": False, "leaks": "off", "secrets_directory": None, "left_out": []},
            "from_run": [
                {"variable": "TOKEN", "key": "token", "group": "g"},
                {"variable": "FLYTE_SECRETS_X", "key": None, "group": None},
            ],
            "changed": ["ä".encode().decode("latin-1")],
        }
    )
    assert views.SHELL == {b"OF_SHELL": b"from the shell"}
    assert views.outside == {"ä".encode(): b"other"}
    assert views.managed == {b"TOKEN": {("token", "g"): None}, b"FLYTE_SECRETS_X": {None: None}}
    assert views.given == {b"TOKEN": {b"a value"}, b"FLYTE_SECRETS_X": {b"1"}}
    assert "TOKEN" not in os.environ
