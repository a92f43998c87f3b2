"""The variables of `env_vars=`."""

from typing import Any

import pytest

from flyte_local.bootstrap import views
from flyte_local.bootstrap.env_vars import plain_variables


def test_only_text_becomes_a_variable_and_the_rest_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    declared: Any = {"PLAIN": "value", "EMPTY": "", "NUMBER": 5, "": "x", "A=B": "x", "NUL": "a\0b", "HALF": "\ud800", 7: "x"}
    assert plain_variables(declared, "task t") == {b"PLAIN": b"value", b"EMPTY": b""}
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("'")[1] for line in lines] == ["NUMBER", "", "A=B", "NUL", "HALF", "7"]


def test_a_variable_of_the_shell_that_is_replaced_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(views, "SHELL", {b"SAME": b"value", b"OTHER": b"of the shell"})
    for _ in range(2):
        plain_variables({"SAME": "value", "OTHER": "value"}, "task u")
    assert capsys.readouterr().err == "flyte-local: OTHER of the shell is replaced by env_vars= of task u\n"


@pytest.mark.parametrize("declared", [None, {}])
def test_without_variables_there_are_none(declared: Any) -> None:
    assert plain_variables(declared, "task t") == {}
