"""The variables with which a process begins that another one of the run has started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import views

if TYPE_CHECKING:
    from .messages import Bequest, Joined


def inherit(bequest: Bequest) -> None:
    """Begins, in a worker, with the shell and the changes of the process that started it."""
    views.SHELL.clear()
    views.SHELL.update((views.encoded(name), views.environ.encodevalue(value)) for name, value in bequest["shell"].items())
    for name, value in bequest["set_outside"].items():
        views.outside[views.encoded(name)] = None if value is None else views.environ.encodevalue(value)


def bequest() -> Bequest:
    """Returns what `inherit` takes."""
    decode_name, decode = views.environ.decodekey, views.environ.decodevalue
    return {
        "shell": {decode_name(name): decode(value) for name, value in views.SHELL.items()},
        "set_outside": {decode_name(name): None if value is None else decode(value) for name, value in views.outside.items()},
    }


def join(joined: Joined) -> None:
    """Begins in a process that joins the run: of its variables, some have secrets, and its parent set some."""
    for item in joined["from_run"]:
        name = views.encoded(item["variable"])
        views.manage(item["variable"], (item["key"], item["group"]) if item["key"] is not None else None, None)
        views.given.setdefault(name, set()).add(views.SHELL.pop(name))
    for variable in joined["changed"]:
        name = variable.encode("latin-1")
        views.outside[name] = views.SHELL.pop(name)
