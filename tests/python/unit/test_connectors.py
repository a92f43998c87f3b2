"""The methods that task classes have from other classes, and the names that connector tasks give for parameters."""

from types import SimpleNamespace
from typing import Any

import pytest

from flyte_local.bootstrap import connectors, views


class Template:
    def execute(self) -> str:
        return "template"


class Mixin:
    def execute(self) -> str:
        return f"mixin of {super().execute()}"  # type: ignore[misc]


class Connector(Mixin, Template):
    pass


class Own(Connector):
    def execute(self) -> str:
        return f"own of {super().execute()}"


class Inherits(Own):
    pass


def test_a_method_of_a_mixin_is_wrapped_in_the_class_that_has_the_mixin(monkeypatch: pytest.MonkeyPatch) -> None:
    found = connectors.own_method(Template, Connector, "execute")
    assert found is not None
    assert (found(Connector()), found.__name__) == ("mixin of template", "execute")
    assert "execute" not in vars(Connector)
    # A test may replace the method later.
    monkeypatch.setattr(Mixin, "execute", lambda self: "replaced")
    assert found(Connector()) == "replaced"


def test_a_method_of_a_task_class_is_wrapped_once() -> None:
    assert connectors.own_method(Template, Template, "execute") is Template.__dict__["execute"]
    assert connectors.own_method(Template, Own, "execute") is Own.__dict__["execute"]
    assert connectors.own_method(Template, Inherits, "execute") is None


def test_a_declared_variable_takes_the_place_of_a_parameters_name(monkeypatch: pytest.MonkeyPatch) -> None:
    named = [("one", "ONE"), ("two", "TWO"), ("three", "THREE")]
    monkeypatch.setattr(connectors, "parameters", lambda flyte, task: named)
    monkeypatch.setattr(views, "managed", {views.encoded("TWO"): {None: None, ("other-key", "group"): "task t"}})
    own: Any = SimpleNamespace(key="key", group=None, as_env_var="ONE")
    nothing: Any = None
    assert connectors.wanted(nothing, nothing, [own]) == [
        connectors.Parameter("other-key", "group", "TWO", "two"),
        connectors.Parameter("THREE", None, "THREE", "three"),
    ]
