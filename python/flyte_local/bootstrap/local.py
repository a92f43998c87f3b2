"""Keeps every run on this machine, whatever a configuration or the user's code names."""

from __future__ import annotations

import datetime
import functools
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .broker import Broker
    from .sdk import Sdk
    from .withheld import Withheld


def as_text(value: object) -> str | None:
    """Returns a project or a domain as text; None if it is missing or not a scalar.

    A configuration file may hold any value of YAML in its place.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = str.__str__(value)  # Of a member of an enum, this is its value.
        return text if text and is_unicode(text) else None
    return str(value) if isinstance(value, (int, float, datetime.date)) else None


def is_unicode(text: str) -> bool:
    """Returns whether a text has no half of a surrogate pair, which UTF-8 cannot express."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def kind_of(value: object) -> str:
    """Returns the kind of a value that is not a scalar of text, in words."""
    if isinstance(value, str):
        return "not Unicode"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "a map" if isinstance(value, dict) else f"of type {type(value).__name__}"


def report_scope(broker: Broker, project: object, domain: object) -> None:
    """Reports to the broker the project and domain that Flyte's own configuration, or the user's code, names."""
    names = {"project": as_text(project), "domain": as_text(domain)}
    given = {"project": project, "domain": domain}.items()
    unfit = {name: kind_of(value) for name, value in given if value not in (None, "") and names[name] is None}
    if not (names["project"] or names["domain"] or unfit) or broker.is_forked():
        return
    reply = broker.ask({"op": "scope", "project": names["project"], "domain": names["domain"], "unfit": unfit})
    if "error" in reply:
        raise ValueError(reply["error"])


def give_as_text(arguments: dict[str, Any]) -> None:
    """Has the SDK get the project and the domain as text. Leaves out one that is not a scalar: an option has precedence."""
    for name in ("project", "domain"):
        if name in arguments:
            arguments[name] = as_text(arguments[name])


def keep_scope(broker: Broker, flyte: Sdk) -> None:
    """Reports to the broker the project and the domain with which the SDK is initialised."""
    init = flyte.init.fn

    @functools.wraps(init)
    async def init_with_scope(*args: Any, **kwargs: Any) -> Any:
        arguments = inspect.signature(init).bind(*args, **kwargs).arguments
        report_scope(broker, arguments.get("project"), arguments.get("domain"))
        give_as_text(arguments)
        return await init(**arguments)

    flyte.init.fn = init_with_scope


def stay_local(broker: Broker, flyte: Sdk, withheld: Withheld) -> None:
    """Makes `flyte.init…` forget the cluster, so that everything runs here and nothing reaches for a network."""
    parameters = inspect.signature(flyte.init.fn).parameters
    keep_scope(broker, flyte)
    init = flyte.init.fn

    @functools.wraps(init)
    async def init_locally(*args: Any, **kwargs: Any) -> Any:
        arguments = inspect.signature(init).bind(*args, **kwargs).arguments
        withheld.take(arguments.pop("endpoint", None), arguments.pop("api_key", None))
        arguments.pop("local_tracked_strict", None)
        if arguments.pop("local_tracked", False):
            withheld.note_tracking("local.tracked")
        return await init(**arguments)

    flyte.init.fn = init_locally

    # Everything else that initialises goes through `flyte.init`, but this one wants a key first.
    from_key = flyte.init_from_api_key.fn

    @functools.wraps(from_key)
    async def init_without_key(*args: Any, **kwargs: Any) -> None:
        arguments = inspect.signature(from_key).bind(*args, **kwargs).arguments
        withheld.take(None, "the key")
        await init_locally(**{name: value for name, value in arguments.items() if name in parameters})

    flyte.init_from_api_key.fn = init_without_key

    with_runcontext = flyte.with_runcontext

    @functools.wraps(with_runcontext)
    def with_local_runcontext(mode: str | None = None, *args: Any, **kwargs: Any) -> Any:
        if mode not in (None, "local"):
            print(f"flyte-local: mode={mode!r} is passed over, this runs locally", file=sys.stderr)
        if kwargs.pop("tracked", False):
            withheld.note_tracking("tracked=True")
        kwargs.pop("tracked_strict", None)
        report_scope(broker, kwargs.get("project"), kwargs.get("domain"))
        give_as_text(kwargs)
        return with_runcontext("local", *args, **kwargs)

    flyte.with_runcontext = with_local_runcontext
